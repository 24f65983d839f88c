"""MCP: tools, resources, and the border at which every error becomes an answer."""

import base64
import binascii
import json
import logging
import secrets
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from meigen_mcp import __version__, model_views, views
from meigen_mcp.caller import Asked, Caller, ask
from meigen_mcp.catalogue import shipped
from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.live import Live
from meigen_mcp.media import Media
from meigen_mcp.service import Listing, Service
from meigen_mcp.tools import ABOUT_TOOLS, make_tools

log = logging.getLogger(__name__)
Context = ServerRequestContext[Any, Any]

PAGE = 50
LEGACY_NOT_FOUND = -32002
"""What the 2025 specifications ask for an unknown resource; 2026-07-28 asks for -32602."""

INSTRUCTIONS = (
    "Makes images and videos with MeiGen. Media cost credits. Call list_models for models, rules"
    " and prices; dryRun gives a quote. generate_image waits for the result; generate_video answers"
    " at once: then call check_status, which waits, instead of generating again. An answer with"
    " status processing, submitting or queued is a running job, never a failure: do not repeat the"
    " call. needs_approval: ask the person, then repeat the same call with the given requestId and"
    " maxCredits. Follow `next` in every answer. Show the person the URLs and saved files."
    " To continue a video, pass its URL as referenceVideo with its length as"
    " referenceVideoDuration."
)


class StudioServer(Server[Any]):
    """A server that tells 2025 clients about changes of its lists."""

    def create_initialization_options(
        self,
        notification_options: NotificationOptions | None = None,
        experimental_capabilities: dict[str, dict[str, Any]] | None = None,
        extensions: dict[str, dict[str, Any]] | None = None,
    ) -> Any:
        """Declare `listChanged`, which the SDK leaves out unless asked."""
        changes = NotificationOptions(tools_changed=True, resources_changed=True)
        return super().create_initialization_options(
            notification_options or changes, experimental_capabilities, extensions
        )


def build(service: Service, media: Media, live: Live) -> StudioServer:
    """Return the server over the use cases."""
    handlers = Handlers(service, media)
    server = StudioServer(
        "meigen-mcp",
        version=__version__,
        title="MeiGen",
        instructions=INSTRUCTIONS,
        get_tool_input_schema=handlers.input_schema,
        on_list_tools=_guarded(handlers.list_tools),
        on_call_tool=_guarded(handlers.call_tool),
        on_list_resources=_guarded(handlers.list_resources),
        on_list_resource_templates=_guarded(handlers.list_templates),
        on_read_resource=_guarded(handlers.read_resource),
        on_subscribe_resource=_guarded(live.on_subscribe),
        on_unsubscribe_resource=_guarded(live.on_unsubscribe),
        on_subscriptions_listen=live.listen,
    )
    sealed = RequestStateBoundary(RequestStateSecurity.ephemeral(), default_audience=server.name)
    server.middleware.append(sealed)
    server.middleware.append(live.middleware)
    return server


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


class Handlers:
    """What each MCP method answers."""

    def __init__(self, service: Service, media: Media) -> None:
        self._service = service
        self._media = media
        self._tools: tuple[str, list[t.Tool]] = ("", [])

    # --- tools ----------------------------------------------------------------------------------

    def tools(self) -> list[t.Tool]:
        """Return the four tools, their schemas made from the catalogue as it is now."""
        current = self._service.catalogue.current
        if self._tools[0] != current.digest:
            try:
                made = make_tools(current)
            except Exception:
                # One odd live model must not take every tool away.
                log.exception("the live catalogue gives no schemas")
                made = make_tools(shipped())
            self._tools = (current.digest, made)
        return self._tools[1]

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return a tool's input schema, for the SDK's own header check."""
        return next((tool.input_schema for tool in self.tools() if tool.name == name), None)

    async def list_tools(self, ctx: Context, params: Any) -> t.ListToolsResult:
        """Serve `tools/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        return t.ListToolsResult(tools=self.tools())

    async def call_tool(
        self, ctx: Context, params: t.CallToolRequestParams
    ) -> t.CallToolResult | t.InputRequiredResult:
        """Serve `tools/call`."""
        if params.name not in ABOUT_TOOLS:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {params.name}")
        given = params.arguments or {}
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
        return _result(structure, views.text(structure), links)

    def _models(self, given: Mapping[str, Any]) -> t.CallToolResult:
        models, details = self._service.models(given)
        if details:
            rows = [self._details(model.id) for model in models]
            return _result({"models": rows}, json.dumps(rows[0], ensure_ascii=False), [])
        rows = [model_views.model_row(model) for model in models]
        return _result({"models": rows}, model_views.models_text(rows), [])

    def _details(self, model_id: str) -> views.Structure:
        current = self._service.catalogue.current
        model = current.find(model_id)
        if model is None:
            raise LookupError(model_id)
        return model_views.model_details(model, current, self._service.settings.own_origin)

    def _refused(self, error: MeigenError, tool: str, given: Mapping[str, Any]) -> t.CallToolResult:
        structure = views.refusal(error, tool, given.get("prompt"))
        return _result(structure, views.text(structure), [])

    # --- resources ------------------------------------------------------------------------------

    async def list_resources(self, ctx: Context, params: Any) -> t.ListResourcesResult:
        """Serve `resources/list`: what is fixed, then records with their media, newest first."""
        del ctx
        cursor = params.cursor if params is not None else None
        before = None if cursor is None else _place(cursor)
        found = self._service.ledger.newest(self._service.account, PAGE + 1, before)
        resources = list(_FIXED) if before is None else []
        for _, job in found[:PAGE]:
            resources += _resources(job)
        more = _cursor(found[PAGE - 1][0]) if len(found) > PAGE else None
        return t.ListResourcesResult(resources=resources, next_cursor=more)

    async def list_templates(self, ctx: Context, params: Any) -> t.ListResourceTemplatesResult:
        """Serve `resources/templates/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        return t.ListResourceTemplatesResult(resource_templates=list(_TEMPLATES))

    async def read_resource(
        self, ctx: Context, params: t.ReadResourceRequestParams
    ) -> t.ReadResourceResult:
        """Serve `resources/read`."""
        uri = str(params.uri)
        service = self._service
        match uri.removeprefix("meigen://").split("/") if uri.startswith("meigen://") else []:
            case ["generations"]:
                return _json(uri, views.listing(service.listing(PAGE)))
            case ["generations", name] if job := service.ledger.get(service.account, name):
                return _json(uri, views.generation(job, service.clock()))
            case ["generations", name, "media", index] if index.isascii() and index.isdigit():
                found = service.ledger.get(service.account, name)
                if found is not None and int(index) < len(found.media_urls):
                    return await self._medium(uri, found, int(index))
            case ["models"]:
                rows = [
                    model_views.model_row(model) for model in service.catalogue.current.listed()
                ]
                return _json(uri, {"models": rows})
            case ["models", model_id] if service.catalogue.current.find(model_id):
                return _json(uri, self._details(model_id))
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        code = t.INVALID_PARAMS if modern else LEGACY_NOT_FOUND
        raise MCPError(code, "Resource not found", {"uri": uri})

    async def _medium(self, uri: str, job: Generation, index: int) -> t.ReadResourceResult:
        medium = await self._media.read(job, index)
        blob = base64.b64encode(medium.data).decode()
        content = t.BlobResourceContents(uri=uri, mime_type=medium.mime_type, blob=blob)
        return t.ReadResourceResult(contents=[content])


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


_FIXED = (
    t.Resource(
        uri=views.RECORDS,
        name="generations",
        title="Newest generations",
        mime_type="application/json",
    ),
    t.Resource(
        uri=views.MODELS, name="models", title="Models and prices", mime_type="application/json"
    ),
)
_TEMPLATES = (
    t.ResourceTemplate(
        uri_template="meigen://generations/{generationId}",
        name="generation",
        title="A generation",
        description="The record with its final URLs; requestId works as well.",
        mime_type="application/json",
    ),
    t.ResourceTemplate(
        uri_template="meigen://generations/{generationId}/media/{index}",
        name="medium",
        title="A finished image or video",
        description="The bytes; index counts from 0.",
    ),
    t.ResourceTemplate(
        uri_template="meigen://models/{modelId}",
        name="model",
        title="A model",
        description="Rules, prices and the complete JSON Schema.",
        mime_type="application/json",
    ),
)


def _resources(job: Generation) -> list[t.Resource]:
    """Return the entries of one record: itself, then its finished media."""
    title = f"{job.status}: {job.prompt[:60]}"
    entries = [
        t.Resource(
            uri=views.record_uri(job.name),
            name=job.name,
            title=title,
            mime_type="application/json",
        )
    ]
    for index, (_, name, mime_type) in enumerate(views.media_links(job)):
        entries.append(
            t.Resource(
                uri=views.media_uri(job.name, index),
                name=f"{job.name} {name}",
                title=f"{name}: {job.prompt[:60]}",
                mime_type=mime_type,
            )
        )
    return entries


def _links(job: Generation) -> list[t.ResourceLink]:
    """Return one link per final medium and one to the record."""
    links = [
        t.ResourceLink(uri=url, name=name, mime_type=mime_type)
        for url, name, mime_type in views.media_links(job)
    ]
    record = views.record_uri(job.name)
    return [*links, t.ResourceLink(uri=record, name="record", mime_type="application/json")]


def _result(structure: views.Structure, text: str, links: list[t.ResourceLink]) -> t.CallToolResult:
    return t.CallToolResult(
        content=[t.TextContent(text=text), *links],
        structured_content=structure,
        is_error=views.is_error(structure),
    )


def _json(uri: str, structure: views.Structure) -> t.ReadResourceResult:
    text = json.dumps(structure, ensure_ascii=False)
    content = t.TextResourceContents(uri=uri, mime_type="application/json", text=text)
    return t.ReadResourceResult(contents=[content])


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"before {place}".encode()).decode()


def _place(cursor: str) -> int:
    try:
        word, _, place = base64.urlsafe_b64decode(cursor).decode().partition(" ")
    except (binascii.Error, ValueError):
        word, place = "", ""
    if word != "before" or not place.isdigit() or len(place) > 18:
        raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
    return int(place)
