"""Announcements to clients of both protocol eras, outside any request.

2026-07-28 clients open a `subscriptions/listen` stream; 2025 clients subscribe to resources on
their session. The ledger says what changed, whichever process changed it. A client that stops
reading slows nobody: each has its own sender and a backlog that only remembers what changed.
"""

import json
import logging
import math
import time
from collections import Counter, defaultdict
from collections.abc import Awaitable, Callable, Iterable
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote

import anyio
import mcp_types as t
from anyio.abc import TaskGroup
from mcp.server.auth.middleware.auth_context import get_access_token
from mcp.server.connection import Connection
from mcp.server.subscriptions import (
    SUBSCRIPTION_ID_META_KEY,
    InMemorySubscriptionBus,
    ListenHandler,
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
    SubscriptionBus,
    ToolsListChanged,
)
from mcp.shared.exceptions import MCPError
from mcp_types.version import HANDSHAKE_PROTOCOL_VERSIONS

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import RECORDS, Generation, record_uri
from meigen_mcp.ledger.asking import acting, acting_for
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.people import EVERYBODY, key_of, person_of
from meigen_mcp.server import prompt_templates
from meigen_mcp.server.guard import Context
from meigen_mcp.server.tool_schemas import CurrentTools
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.system import Signal
from meigen_mcp.system.later import Later
from meigen_mcp.views.structure import MODELS

if TYPE_CHECKING:
    from meigen_mcp.server.handlers import Handlers

log = logging.getLogger(__name__)

WATCH_EVERY = 10.0
LISTS_A_SECOND = 100
"""Words that a list is another now, over all sessions of 2025: with many, each hears seldom."""
MOST_STREAMS = 64
"""Streams of one person who signed in: nobody takes those of the others."""
TRY_AGAIN_AFTER = 5.0


class Subscriptions(SubscriptionBus):
    """The bus of one server: publishes what changes, and keeps subscribed records watched.

    Where people sign in each has a bus, so nobody hears of another's.

    Attributes:
        subscribed: how many clients of each person follow each resource.
    """

    def __init__(
        self,
        ledger: Ledger,
        catalogue: CurrentCatalogue,
        tools: CurrentTools,
        handlers: "Later[Handlers]",
    ) -> None:
        self._buses: defaultdict[str | None, InMemorySubscriptionBus]
        self._buses = defaultdict(InMemorySubscriptionBus)
        self._ledger = ledger
        self._current = catalogue
        self._tools = tools
        self._handlers = handlers
        self._peers: dict[int, _Peer] = {}
        self.subscribed: Counter[tuple[str | None, str]] = Counter()
        self._told: dict[str, tuple[int, tuple[str, str, int]]] = {}  # the record, its entries
        self._relisted: dict[str | None, None] = {}  # whose lists are others, and not told so
        self._lists_change = Signal()
        self._group: TaskGroup | None = None
        self.listen = _Listen(self)

    async def run(self) -> None:
        """Announce for ever."""
        try:
            async with anyio.create_task_group() as group:
                self._group = group
                group.start_soon(self._records)
                group.start_soon(self._lists)
                group.start_soon(self._catalogue)
                group.start_soon(self._watch)
        finally:
            self._group = None

    async def publish(self, event: ServerEvent, person: str | None = EVERYBODY) -> None:
        """Announce an event to every client that asked for it: of a person, or of everybody."""
        for peer in list(self._peers.values()):
            if person in (EVERYBODY, peer.person):
                peer.offer(event)
        for each, bus in list(self._buses.items()):
            if person in (EVERYBODY, each):
                await bus.publish(event)

    def subscribe(self, listener: Callable[[ServerEvent], None]) -> Callable[[], None]:
        """Tell a stream of the request under way what concerns its person."""
        return self._buses[acting.get()].subscribe(listener)

    # --- what changes ---------------------------------------------------------------------------

    async def _records(self) -> None:
        since = None
        acting.set(EVERYBODY)  # in this task, which tells each only what is theirs
        while True:
            try:
                since = await self._ledger.changes.version() if since is None else since
                async for jobs in (await self._handlers.made()).service.changes(since):
                    for job in jobs:
                        if await self._announce(job):
                            self._relisted[person_of(job.account)] = None
                            self._lists_change.set()
                    since = jobs[-1].version
            except LedgerUnavailable:
                await anyio.sleep(TRY_AGAIN_AFTER)
            except Exception:
                log.exception("announcing failed")
                await anyio.sleep(TRY_AGAIN_AFTER)

    async def _lists(self) -> None:
        """Tell whose lists of records and media are others, and for ever so."""
        seen = 0
        while True:
            await self._lists_change.after(seen)
            seen, people, self._relisted = self._lists_change.count, self._relisted, {}
            for person in people:
                await self.publish(ResourceUpdated(uri=RECORDS), person)
                await self.publish(ResourcesListChanged(), person)
            await anyio.sleep(len(self._peers) / LISTS_A_SECOND)

    async def _announce(self, job: Generation) -> bool:
        """Announce what a client would read differently; a look alone changes nothing.

        Returns:
            Whether the lists of records and media are others now.
        """
        from meigen_mcp.views.generations import (  # noqa: PLC0415  # `handlers` has loaded it
            generation_structure,
        )

        person = person_of(job.account)
        uris = [record_uri(name) for name in dict.fromkeys((job.request_id, job.name))]
        followed = [uri for uri in uris if self.subscribed[person, uri]]
        structure = generation_structure(job, job.created_at) if followed else None
        record = hash(json.dumps(structure)) if structure else 0
        entries = (job.name, job.status, len(job.media_urls))
        told = self._told.get(key_of(job), (None, None))
        self._told[key_of(job)] = (record, entries)
        if job.at_rest:  # whatever changes it next is worth a word
            del self._told[key_of(job)]
        if record != told[0]:
            for uri in followed:
                await self.publish(ResourceUpdated(uri=uri), person)
        return entries != told[1]

    async def _catalogue(self) -> None:
        catalogue = self._current
        known, tools, prompts = catalogue.current.digest, self._tools.all(), self._prompts()
        while True:
            await catalogue.change(known)
            known = catalogue.current.digest  # before it is told: it may change meanwhile
            # A list that reads as before is not announced: some hosts tell the person of each.
            if tools != (tools := self._tools.all()):
                await self.publish(ToolsListChanged())
            if prompts != (prompts := self._prompts()):
                await self.publish(PromptsListChanged())
            followed = {u for _, u in self.subscribed if u.startswith(f"{MODELS}/")}
            for uri in [MODELS, *followed]:
                await self.publish(ResourceUpdated(uri=uri))

    def _prompts(self) -> list[str]:
        """Return the prompts that are listed; nothing else of them depends on the models."""
        return [prompt.name for prompt in prompt_templates.offered(self._current.current)]

    # --- who listens ----------------------------------------------------------------------------

    async def _watch(self) -> None:
        """Have subscribed records looked at every interval, as long as they are subscribed to."""
        await self._handlers.made()
        while True:
            for person in {person for person, _ in self.subscribed}:
                await self._watch_now(person, [u for p, u in self.subscribed if p == person])
            await anyio.sleep(WATCH_EVERY)

    async def _watch_now(self, person: str | None, uris: Iterable[str]) -> None:
        names = [
            unquote(u.removeprefix(f"{RECORDS}/")) for u in uris if u.startswith(f"{RECORDS}/")
        ]
        try:
            if names:
                service = (await self._handlers.get()).service
                with acting_for(person):
                    await service.watch(names, 2 * WATCH_EVERY)
        except LedgerUnavailable:
            log.info("nothing can be watched: the ledger is unavailable")

    def subscribe_to(self, uris: Iterable[str]) -> None:
        """Note that a client follows these resources."""
        person, uris = acting.get(), list(uris)
        self.subscribed.update((person, uri) for uri in uris)
        if self._group is not None:
            self._group.start_soon(self._watch_now, person, uris)

    def unsubscribe_from(self, uris: Iterable[str], person: str | None) -> None:
        """Note that a client of a person no longer does."""
        self.subscribed.subtract((person, uri) for uri in uris)
        self.subscribed += Counter()

    # --- 2025 sessions --------------------------------------------------------------------------

    def _peer(self, ctx: Context) -> "_Peer | None":
        connection: Connection = ctx.session._connection  # noqa: SLF001  # no public way
        if (
            ctx.protocol_version not in HANDSHAKE_PROTOCOL_VERSIONS
            or not connection.has_standalone_channel
            or self._group is None
        ):
            return None
        peer = self._peers.get(id(connection))
        if peer is None:
            peer = self._peers[id(connection)] = _Peer(connection)
            connection.exit_stack.callback(self._forget, id(connection))
            self._group.start_soon(peer.run)
        return peer

    def _forget(self, key: int) -> None:
        peer = self._peers.pop(key, None)
        if peer is not None:
            self.unsubscribe_from(peer.uris, peer.person)
            peer.close()

    async def middleware(self, ctx: Context, call_next: Callable[[Context], Awaitable[Any]]) -> Any:
        """Meet each 2025 session when it is initialised, for `list_changed`."""
        result = await call_next(ctx)
        if ctx.method == "notifications/initialized":
            self._peer(ctx)
        return result

    async def on_subscribe(self, ctx: Context, params: t.SubscribeRequestParams) -> t.EmptyResult:
        """Serve `resources/subscribe`."""
        peer = self._peer(ctx)
        if peer is None:
            raise MCPError(t.METHOD_NOT_FOUND, "Method not found", "resources/subscribe")
        uri = str(params.uri)
        if uri not in peer.uris:
            peer.uris.add(uri)
            self.subscribe_to([uri])
        return t.EmptyResult()

    async def on_unsubscribe(
        self, ctx: Context, params: t.UnsubscribeRequestParams
    ) -> t.EmptyResult:
        """Serve `resources/unsubscribe`."""
        peer = self._peer(ctx)
        uri = str(params.uri)
        if peer is not None and uri in peer.uris:
            peer.uris.discard(uri)
            self.unsubscribe_from([uri], peer.person)
        return t.EmptyResult()


class _Listen(ListenHandler):
    """Serves `subscriptions/listen`, and keeps the records that a stream names watched."""

    def __init__(self, subscriptions: Subscriptions) -> None:
        super().__init__(subscriptions)
        self._subscriptions = subscriptions
        self._open: Counter[str | None] = Counter()

    async def __call__(
        self, ctx: Context, params: t.SubscriptionsListenRequestParams
    ) -> t.SubscriptionsListenResult:
        uris, person = list(params.notifications.resource_subscriptions or ()), acting.get()
        if person and self._open[person] >= MOST_STREAMS:
            raise MCPError(t.INTERNAL_ERROR, "Subscription limit reached")
        self._open[person] += 1
        self._subscriptions.subscribe_to(uris)
        try:
            with anyio.move_on_after(_valid_for()):
                return await super().__call__(ctx, params)
            # Whoever may no longer ask is told no more, and that this was the last word.
            return t.SubscriptionsListenResult(_meta={SUBSCRIPTION_ID_META_KEY: ctx.request_id})
        finally:
            self._open[person] -= 1
            self._subscriptions.unsubscribe_from(uris, person)


def _valid_for() -> float:
    """Return for how many seconds more the token of the request under way is good."""
    token = get_access_token()
    if token is None or token.expires_at is None:
        return math.inf
    return max(0.0, token.expires_at - time.time())


class _Peer:
    """A 2025 session: what it follows, and what it has not been told yet."""

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self.person = acting.get()
        self.uris: set[str] = set()
        self._pending: dict[ServerEvent, None] = {}  # one entry an event: bounded
        self._wake = Signal()
        self._scope = anyio.CancelScope()

    def offer(self, event: ServerEvent) -> None:
        if isinstance(event, ResourceUpdated) and event.uri not in self.uris:
            return
        self._pending[event] = None
        self._wake.set()

    def close(self) -> None:
        self._scope.cancel()

    async def run(self) -> None:
        with self._scope:
            heard = 0
            while True:
                await self._wake.after(heard)
                heard = self._wake.count
                while self._pending:
                    event = next(iter(self._pending))
                    del self._pending[event]
                    await self._send(event)

    async def _send(self, event: ServerEvent) -> None:
        match event:
            case ResourceUpdated(uri=uri):
                if uri in self.uris:
                    await self._connection.send_resource_updated(uri)
            case ResourcesListChanged():
                await self._connection.send_resource_list_changed()
            case PromptsListChanged():
                await self._connection.send_prompt_list_changed()
            case ToolsListChanged():
                await self._connection.send_tool_list_changed()
