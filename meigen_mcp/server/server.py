"""The MCP server: its handlers, what it declares, and when it is at rest."""

import base64
from collections.abc import Awaitable, Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import mcp_types as t
from mcp.server.caching import CacheHint
from mcp.server.lowlevel.server import NotificationOptions, Server
from mcp.server.request_state import RequestStateBoundary, RequestStateSecurity

from meigen_mcp import __version__
from meigen_mcp.server.guard import Context, guarded
from meigen_mcp.server.subscriptions import Subscriptions
from meigen_mcp.server.tasks import Tasks, serve_tasks
from meigen_mcp.server.tool_schemas import CurrentTools
from meigen_mcp.service.delivery import Delivery, under_way
from meigen_mcp.settings import Settings
from meigen_mcp.system.later import Later

if TYPE_CHECKING:
    from meigen_mcp.server.handlers import Handlers

INSTRUCTIONS = (
    "Makes images and videos with MeiGen: pictures, photos, logos, films, clips. Media cost"
    " credits. Call list_models for models, rules and prices; dryRun gives a quote. generate_image"
    " waits for the result; generate_video answers at once: then call check_status, which waits,"
    " instead of generating again. A call that timed out is not lost: call check_status, never"
    " generate again. If your client says that a call runs in the background, end your turn: the"
    " result comes by itself. An answer with status processing, submitting or queued is a running"
    " job, never a failure: do not repeat the call, unless its error says so. What is queued can be"
    " called off (`meigen-mcp jobs ID --call-off`), what runs cannot; the wait can. needs_approval:"
    " ask the person, then repeat the same call with the given requestId and maxCredits. Follow"
    " `next` in every answer; a gateway may have renamed the tools that it names. Show the person"
    " the URLs and saved files. To use an earlier result as a reference, pass its"
    " meigen://generations/{id}/media/{n}."
)
IN_SANDBOX = (
    "THIS IS THE SANDBOX: nothing here is real. It makes placeholders, and no credits are spent;"
    " tell the person so."
)
Answering = Callable[..., Awaitable[Any]]
WEBSITE = "https://www.meigen.ai"
APPS = "io.modelcontextprotocol/ui"
ICON = (
    "data:image/svg+xml;base64,"
    + base64.b64encode(
        b'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 12 12"><rect width="12" height="12"'
        b' rx="3" fill="#43c"/><path fill="#fff" d="m2 9 3-4 2 3 1-2 2 3zM8 3h1v1H8"/></svg>'
    ).decode()
)


class MeigenServer(Server[Any]):
    """A server that tells 2025 clients about changes of its lists.

    Attributes:
        delivery_of: by the id of a request, the way of its answer, where its transport carries many
            at once.
    """

    delivery_of: Callable[[t.RequestId | None], Delivery | None] | None = None

    async def traced(self, ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
        """Answer a request that knows the way of its answer; a middleware."""
        if self.delivery_of is not None:
            under_way.set(self.delivery_of(ctx.request_id))
        return await call_next(ctx)

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


def build(
    settings: Settings,
    tools: CurrentTools,
    subscriptions: Subscriptions,
    handlers: "Later[Handlers]",
) -> MeigenServer:
    """Return the server.

    Args:
        settings: what the environment says.
        tools: what is listed.
        subscriptions: who hears of changes.
        handlers: what answers everything else, made with the first question.
    """
    discreet, sandbox = settings.discreet, settings.sandbox is not None
    instructions = INSTRUCTIONS.replace(" and saved files", "") if discreet else INSTRUCTIONS
    border = partial(guarded, tell=settings.without_paths)

    def answering(by: "Callable[[Handlers], Answering]") -> Answering:
        async def answer(ctx: Context, params: Any) -> Any:
            return await by(await handlers.get())(ctx, params)

        return border(answer)

    server = MeigenServer(
        "meigen-mcp",
        version=__version__,
        title="MeiGen (sandbox)" if sandbox else "MeiGen",
        instructions=(f"{IN_SANDBOX} " if sandbox else "") + instructions,
        website_url=WEBSITE,
        icons=[t.Icon(src=ICON, mime_type="image/svg+xml")],
        cache_hints={"resources/templates/list": CacheHint(ttl_ms=300_000)},
        get_tool_input_schema=tools.input_schema,
        on_list_tools=border(tools.list),
        on_call_tool=answering(lambda of: of.tools.call),
        on_list_resources=answering(lambda of: of.resources.list),
        on_list_resource_templates=answering(lambda of: of.resources.list_templates),
        on_read_resource=answering(lambda of: of.resources.read),
        on_list_prompts=answering(lambda of: of.prompts.list),
        on_get_prompt=answering(lambda of: of.prompts.get),
        on_completion=answering(lambda of: of.prompts.complete),
        on_subscribe_resource=border(subscriptions.on_subscribe),
        on_unsubscribe_resource=border(subscriptions.on_unsubscribe),
        on_subscriptions_listen=border(subscriptions.listen),
    )
    keys = settings.request_keys
    security = RequestStateSecurity(keys=keys) if keys else RequestStateSecurity.ephemeral()
    sealed = RequestStateBoundary(security, default_audience=server.name)
    server.middleware.append(sealed)
    server.middleware.append(subscriptions.middleware)
    server.middleware.append(server.traced)
    server.extensions[APPS] = {}
    if settings.tasks:

        async def tasks() -> Tasks:
            return (await handlers.get()).tasks

        serve_tasks(server, tasks, settings.without_paths)
    server.middleware.append(_fit_era)
    # Not by the constructor, which warns: 2026-07-28 has it no more, but 2025 clients call it.
    server.add_request_handler("logging/setLevel", t.SetLevelRequestParams, _set_level)
    return server


async def _fit_era(ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
    """Declare what each era knows: the SDK leaves the viewer out of the handshake of 2025.

    Logging is no more in 2026-07-28, and is declared because 2025 clients may set its level. One
    without a session hears nothing outside a call, so no changes are promised there.
    """
    result = await call_next(ctx)
    if ctx.method == "initialize" and result is not None:  # sent as a notification it has none
        result["capabilities"]["extensions"] = {APPS: {}}
        if not ctx.session._connection.has_standalone_channel:  # noqa: SLF001  # no public way
            for changing in ("tools", "resources", "prompts"):
                result["capabilities"][changing] = {}
    if ctx.method == "server/discover" and result is not None:
        result["capabilities"].pop("logging", None)
    return result


async def _set_level(ctx: Context, params: t.SetLevelRequestParams) -> t.EmptyResult:
    """Serve `logging/setLevel`: whatever the level, the log goes to stderr and to no client."""
    del ctx, params
    return t.EmptyResult()
