"""MCP: tools, resources, and the border at which every error becomes an answer."""

import base64
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as t
from mcp.server.caching import CacheHint
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError

from meigen_mcp import __version__, model_views, previews, views
from meigen_mcp.caller import Asked, Caller, ask
from meigen_mcp.catalogue import Model, shipped
from meigen_mcp.errors import BadSettings, MeigenError
from meigen_mcp.generation import Generation, record_uri
from meigen_mcp.live import Live
from meigen_mcp.media import Media
from meigen_mcp.menu import Menu
from meigen_mcp.resources import Resources
from meigen_mcp.service import Listing, Outcome, Service
from meigen_mcp.tools import ABOUT_TOOLS, make_tools

log = logging.getLogger(__name__)
Context = ServerRequestContext[Any, Any]

INSTRUCTIONS = (
    "Makes images and videos with MeiGen. Media cost credits. Call list_models for models, rules"
    " and prices; dryRun gives a quote. generate_image waits for the result; generate_video answers"
    " at once: then call check_status, which waits, instead of generating again. An answer with"
    " status processing, submitting or queued is a running job, never a failure: do not repeat the"
    " call, unless its error says so. needs_approval: ask the person, then repeat the same call"
    " with the given requestId and maxCredits. Follow `next` in every answer. Show the person the"
    " URLs and saved files. To use an earlier result as a reference, pass its meigen://generations/{id}/media/{n}."
)


_NO_FRAMES = ' To show frames of videos here, this server needs "meigen-mcp[video]".'
APPS = "io.modelcontextprotocol/ui"
FRESH = 300_000
"""Milliseconds for which a list may be kept; a change is announced before."""
ICON = (
    "data:image/svg+xml;base64,"
    + base64.b64encode(
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 12 12"><rect width="12" height="12"'
        b' rx="3" fill="#43c"/><path fill="#fff" d="m2 9 3-4 2 3 1-2 2 3zM8 3h1v1H8"/></svg>'
    ).decode()
)


class StudioServer(Server[Any]):
    """A server that tells 2025 clients about changes of its lists, and knows when it is at rest."""

    _under_way = 0
    _rest = anyio.Event()

    async def counted(self, ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
        """Count what is under way; a middleware."""
        self._under_way += 1
        try:
            return await call_next(ctx)
        finally:
            self._under_way -= 1
            if not self._under_way:
                self._rest.set()

    async def at_rest(self) -> None:
        """Wait until nothing is under way."""
        while self._under_way:
            self._rest = anyio.Event()
            await self._rest.wait()

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> Any:
        """Declare `listChanged`, which the SDK leaves out unless asked."""
        changes = NotificationOptions(
            tools_changed=True, resources_changed=True, prompts_changed=True
        )
        return super().create_initialization_options(
            notification_options or changes, experimental_capabilities, extensions
        )


def build(service: Service, media: Media, live: Live) -> StudioServer:
    """Return the server over the use cases."""
    tools, resources, menu = Tools(service, media), Resources(service, media), Menu(service)
    discreet = service.settings.discreet
    server = StudioServer(
        "meigen-mcp",
        version=__version__,
        title="MeiGen",
        instructions=INSTRUCTIONS.replace(" and saved files", "") if discreet else INSTRUCTIONS,
        icons=[t.Icon(src=ICON, mime_type="image/svg+xml")],
        cache_hints={
            "tools/list": CacheHint(ttl_ms=FRESH),
            "prompts/list": CacheHint(ttl_ms=FRESH),
            "resources/templates/list": CacheHint(ttl_ms=FRESH),
        },
        get_tool_input_schema=tools.input_schema,
        on_list_tools=_guarded(tools.list),
        on_call_tool=_guarded(tools.call),
        on_list_resources=_guarded(resources.list),
        on_list_resource_templates=_guarded(resources.list_templates),
        on_read_resource=_guarded(resources.read),
        on_list_prompts=_guarded(menu.list),
        on_get_prompt=_guarded(menu.get),
        on_completion=_guarded(menu.complete),
        on_subscribe_resource=_guarded(live.on_subscribe),
        on_unsubscribe_resource=_guarded(live.on_unsubscribe),
        on_subscriptions_listen=_guarded(live.listen),
    )
    sealed = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name)
    server.middleware.append(sealed)
    server.middleware.append(live.middleware)
    server.middleware.append(server.counted)
    server.extensions[APPS] = {}
    server.middleware.append(_with_extensions)
    # Not by the constructor, which warns: 2026-07-28 has it no more, but 2025 clients call it.
    server.add_request_handler("logging/setLevel", t.SetLevelRequestParams, _set_level)
    return server


async def _with_extensions(ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
    """Tell 2025 hosts of the viewer as well: the SDK leaves extensions out of their handshake."""
    result = await call_next(ctx)
    if ctx.method == "initialize" and result is not None:  # sent as a notification it has none
        result["capabilities"]["extensions"] = {APPS: {}}
    return result


async def _set_level(ctx: Context, params: t.SetLevelRequestParams) -> t.EmptyResult:
    """Serve `logging/setLevel`: whatever the level, the log goes to stderr and to no client."""
    del ctx, params
    return t.EmptyResult()


def _guarded(handler: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
    """Keep the text of unforeseen errors from clients; 2025 sessions would be sent it as it is."""

    async def wrapped(ctx: Context, params: Any) -> Any:
        try:
            return await handler(ctx, params)
        except MCPError:
            raise
        except MeigenError as error:
            raise MCPError(t.INTERNAL_ERROR, error.message) from None
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("%s failed, reference %s", ctx.method, reference)
            message = f"Internal error, reference {reference} in this server's log"
            raise MCPError(t.INTERNAL_ERROR, message) from None

    return wrapped


class Tools:
    """What the tool methods answer."""

    def __init__(self, service: Service, media: Media) -> None:
        self._service = service
        self._media = media
        self._tools: tuple[str, list[t.Tool]] = ("", [])

    def current(self) -> Sequence[t.Tool]:
        """Return the four tools, their schemas made from the catalogue as it is now."""
        current = self._service.catalogue.current
        if self._tools[0] != current.digest:
            try:
                made = make_tools(current)
            except Exception:
                # One odd live model must not take every tool away.
                log.exception("the live catalogue gives no schemas")
                made = make_tools(shipped().only(self._service.settings.models))
            self._tools = (current.digest, made)
        return self._tools[1]

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return a tool's input schema, for the SDK's own header check."""
        return next((tool.input_schema for tool in self.current() if tool.name == name), None)

    async def list(self, ctx: Context, params: Any) -> t.ListToolsResult:
        """Serve `tools/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        return t.ListToolsResult(tools=list(self.current()))

    async def call(
        self, ctx: Context, params: t.CallToolRequestParams
    ) -> t.CallToolResult | t.InputRequiredResult:
        """Serve `tools/call`."""
        if params.name not in ABOUT_TOOLS:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {params.name}")
        given = _readable(params.arguments or {})
        try:
            return await self._call(ctx, params, given)
        except Asked as asked:
            return ask(asked.question)
        except MeigenError as error:
            return self._refused(error, params.name, given)
        except MCPError:
            raise
        except Exception:
            reference = secrets.token_hex(4)
            log.exception("%s failed, reference %s", params.name, reference)
            return self._refused(Unforeseen(reference), params.name, given)

    async def _call(
        self, ctx: Context, params: t.CallToolRequestParams, given: Mapping[str, Any]
    ) -> t.CallToolResult:
        service = self._service
        if service.settings.problems:
            raise BadSettings(
                "Settings of this server are wrong; nothing was sent.\n"
                + "\n".join(f"- {problem}" for problem in service.settings.problems)
            )
        if params.name == "list_models":
            return self._models(given)
        caller = Caller(ctx, params, service.clock)
        match params.name:
            case "generate_image" | "generate_video" as tool:
                result: Any = await service.generate(tool, given, caller)
            case _:
                result = await service.check(given, caller)
        if isinstance(result, Listing):
            structure = views.listing(result)
            return _result(structure, views.listing_text(structure), [])
        structure = views.outcome(result, service.clock())
        links = _links(result.job) if "resourceUri" in structure else []
        picture = await self._picture(result)
        if structure.get("mediaType") == "video" and "mediaUrls" in structure and not picture:
            structure["next"] += "" if previews.video_extra() else _NO_FRAMES
        if "mediaUrls" in structure and not any(result.job.files):
            structure["next"] += await self._not_saved()
        return _result(structure, views.text(structure), [*picture, *links])

    async def _not_saved(self) -> str:
        """Say that the output folder cannot be written, if it cannot and paths may be named."""
        if self._service.settings.discreet:
            return ""
        problem = None
        with anyio.move_on_after(1):  # a folder on a network may hang
            problem = await anyio.to_thread.run_sync(self._media.problem, abandon_on_cancel=True)
        return f" {problem}" if problem else ""

    async def _picture(self, result: Outcome) -> Sequence[t.ImageContent]:
        """Return the preview of a finished generation, for clients that show pictures."""
        found = await self._media.shown(result.preview) if result.preview else None
        if found is None:
            return []
        data = base64.b64encode(found.data).decode()
        return [t.ImageContent(data=data, mime_type=found.mime_type)]

    def _models(self, given: Mapping[str, Any]) -> t.CallToolResult:
        models, details = self._service.models(given)
        if details:
            rows = [self._details(model) for model in models]
            return _result({"models": rows}, json.dumps(rows[0], ensure_ascii=False), [])
        rows = [model_views.model_row(model) for model in models]
        return _result({"models": rows}, model_views.models_text(rows), [])

    def _details(self, model: Model) -> views.Structure:
        current = self._service.catalogue.current
        return model_views.model_details(model, current, self._service.settings.accepts)

    def _refused(self, error: MeigenError, tool: str, given: Mapping[str, Any]) -> t.CallToolResult:
        structure = views.refusal(error, tool, given.get("prompt"))
        return _result(structure, views.text(structure), [])


class Unforeseen(MeigenError):
    """Something that we did not foresee went wrong."""

    code = "internal"
    charged = "unknown"
    next = "Call check_status without arguments to see whether a generation was started."

    def __init__(self, reference: str) -> None:
        super().__init__(
            "Internal error of this server; its log says more under reference"
            f" {reference}. Whether something was charged is not known."
        )


def _links(job: Generation) -> list[t.ResourceLink]:
    """Return one link per final medium and one to the record."""
    links = [
        t.ResourceLink(uri=url, name=name, mime_type=mime_type)
        for url, name, mime_type in views.media_links(job)
    ]
    record = record_uri(job.name)
    return [*links, t.ResourceLink(uri=record, name="record", mime_type="application/json")]


def _result(
    structure: views.Structure, text: str, more: Sequence[t.ContentBlock]
) -> t.CallToolResult:
    return t.CallToolResult(
        content=[t.TextContent(text=text), *more],
        structured_content=structure,
        is_error=views.is_error(structure),
    )


def _readable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Replace half surrogate pairs, which a client makes by cutting a text: no file holds them."""
    clean: dict[str, Any] = json.loads(
        json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace")
    )
    return clean
