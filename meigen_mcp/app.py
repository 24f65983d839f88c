"""The composition root: the only place where concrete things meet.

What lists the tools is loaded with this, everything else with the first call (`backend.py`, and
`server/handlers.py`), or a moment after the start: a client waits for a server that it starts.
"""

from __future__ import annotations

import hashlib
import hmac
import logging
import shutil
import tempfile
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio

from meigen_mcp.errors import BadSettings
from meigen_mcp.ledger.asking import OfWhoeverAsks
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.sqlite.ledger import SqliteLedger
from meigen_mcp.ledger.team import Team
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.settings import Settings
from meigen_mcp.system.extras import install_extra
from meigen_mcp.system.later import Later
from meigen_mcp.tally import Tally

if TYPE_CHECKING:
    import httpx

    from meigen_mcp.api.client import Api
    from meigen_mcp.backend import Backend
    from meigen_mcp.ledger.postgres.ledger import PostgresLedger
    from meigen_mcp.media.store import Media
    from meigen_mcp.server.handlers import Handlers
    from meigen_mcp.server.server import MeigenServer
    from meigen_mcp.server.subscriptions import Subscriptions
    from meigen_mcp.service.service import Service

log = logging.getLogger(__name__)

_CALLS_NEED = ("meigen_mcp.backend", "meigen_mcp.server.handlers", "meigen_mcp.api.transport")
"""Modules, loaded in one go: a thread that loads the rest would hold up the calls meanwhile."""
SANDBOX_LIST = 5.0
"""Seconds that a start waits at most for the models of its own sandbox."""
START_AFTER = 1.0
"""Seconds for which the list of tools comes first, unless a client asks for something else."""
LIST_WITHIN = 0.5
"""Seconds that a start waits for the live list of the last fetch."""


@dataclass(frozen=True, slots=True)
class App:
    """A running server with everything that it stands on."""

    server: MeigenServer
    subscriptions: Subscriptions
    team: Team
    handlers: Later[Handlers]

    @property
    def service(self) -> Service:
        """The use cases."""
        return self.handlers().service

    @property
    def media(self) -> Media:
        """What saves results."""
        return self.handlers().media

    def close(self) -> None:
        """Let waiting calls answer and streams end; the transport knows when that has left."""
        if self.handlers.is_made:
            self.service.close()
        self.subscriptions.listen.close()


def name_account(origin: str, token: str | None, key: bytes) -> str:
    """Return an account's name in the ledger: the API's origin and a keyed hash of the token."""
    hashed = hmac.new(key, (token or "").encode(), hashlib.sha256).hexdigest()
    return f"{origin} {hashed[:16]}"


def open_ledger(settings: Settings) -> Ledger:
    """Return the ledger of an account, which opens itself when it is first asked.

    Raises:
        BadSettings: it is in a database, and what reads that is missing, or its address is none.
    """
    return open_folder(settings) if settings.database_url is None else open_database(settings)


def open_folder(settings: Settings) -> SqliteLedger:
    """Return the ledger of the data folder."""
    return SqliteLedger(
        settings.data_dir,
        origin=settings.base_url,
        gateway=settings.upload_url,
        rate_limit=settings.rate_limit,
        name_account=partial(name_account, settings.base_url, settings.token),
        alone=settings.discreet,  # what others made is not its people's to see
        called="MEIGEN_DATA_DIR" if settings.discreet else None,
    )


def open_database(settings: Settings) -> PostgresLedger:
    """Return the ledger of the database, which many servers share.

    Raises:
        BadSettings: what reads it is missing, or its address is none.
    """
    try:
        from meigen_mcp.ledger.postgres.ledger import PostgresLedger  # noqa: PLC0415  # an extra
    except ImportError:
        raise BadSettings(
            "MEIGEN_DATABASE_URL is set, and what talks to PostgreSQL is not installed. This adds"
            f" it: {install_extra('team')}"
        ) from None
    url = settings.database_url or ""
    return PostgresLedger(
        url,
        settings.database_direct_url or url,
        origin=settings.base_url,
        gateway=settings.upload_url,
        rate_limit=settings.rate_limit,
        name_account=partial(name_account, settings.base_url, settings.token),
        alone=settings.discreet,
    )


async def check_database(settings: Settings) -> None:
    """See that this server can be one of many, before anybody calls it.

    Raises:
        MeigenError: it cannot, and why.
    """
    ledger = open_database(settings)
    try:
        await ledger.must_hear_itself()
    finally:
        await ledger.close()


class Account:
    """One MeiGen account with what stands under a server, and under commands that need none.

    Args:
        settings: what the environment says.
        transport: what carries requests to the API; by default the network.

    Attributes:
        ledger: all that is written down.
        asked: the same, as whoever asks may see it.
    """

    def __init__(self, settings: Settings, transport: httpx.AsyncBaseTransport | None) -> None:
        self._settings = settings
        self._transport = transport
        self.ledger = open_ledger(settings)
        self.asked = OfWhoeverAsks(self.ledger)

    @cached_property
    def api(self) -> Api:
        """The wire to MeiGen."""
        from meigen_mcp.api.client import Api  # noqa: PLC0415  # listing the tools does without

        return Api(self._settings, self._transport)

    @cached_property
    def media(self) -> Media:
        """What saves results and reads them back."""
        from meigen_mcp.media.opening import open_media  # noqa: PLC0415  # as above

        return open_media(self._settings, self.api)

    async def close(self) -> None:
        """Close what was used."""
        for used in ("media", "api", "ledger"):
            if used in vars(self):
                await vars(self)[used].close()


@asynccontextmanager
async def open_account(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Account]:
    """Open an account, and close it again; the arguments are those of `Account`."""
    account = Account(settings, transport)
    try:
        yield account
    finally:
        with anyio.CancelScope(shield=True):
            await account.close()


@asynccontextmanager
async def _run_catalogue(
    settings: Settings, account: Account, monotonic: Callable[[], float]
) -> AsyncIterator[tuple[CurrentCatalogue, Later[Backend]]]:
    """Keep the ledger and the models of an account current; yield these, and what works on them."""
    catalogue = CurrentCatalogue(settings, account.asked, lambda: account.api)
    with anyio.move_on_after(LIST_WITHIN):  # a disk that does not answer holds nothing up
        await catalogue.load()
    if settings.token == SANDBOX_TOKEN:  # it is in this process, so its list is there at once
        await catalogue.wait_until_fresh(SANDBOX_LIST)
    tally = Tally()

    def make() -> Backend:
        from meigen_mcp.backend import Backend  # noqa: PLC0415  # listing the tools does without

        return Backend(
            *(settings, account.ledger, account.asked, account.api, account.media),
            catalogue=catalogue,
            tally=tally,
            monotonic=monotonic,
        )

    for problem in settings.problems:
        log.warning("%s", problem)
    async with anyio.create_task_group() as group:
        group.start_soon(account.ledger.run)
        group.start_soon(catalogue.run)
        if settings.telemetry:
            group.start_soon(_measure, tally, account.ledger)
        yield catalogue, Later(make)
        group.cancel_scope.cancel()


@asynccontextmanager
async def run_service(settings: Settings, account: Account) -> AsyncIterator[Service]:
    """Run the poller of an account; yield the use cases, for a command.

    Args:
        settings: what the environment says.
        account: what they stand on.
    """
    async with (
        _run_catalogue(settings, account, time.monotonic) as (_, backend),
        anyio.create_task_group() as group,
    ):
        group.start_soon(backend().run)
        yield backend().service
        await backend().end()
        group.cancel_scope.cancel()


@asynccontextmanager
async def run_app(
    settings: Settings,
    transport: httpx.AsyncBaseTransport | None = None,
    *,
    monotonic: Callable[[], float] = time.monotonic,
) -> AsyncIterator[App]:
    """Run the poller and the announcements; yield the server to be connected to a transport.

    Args:
        settings: what the environment says.
        transport: what carries requests to the API; by default the network.
        monotonic: the clock by which a person's answer is timed.
    """
    # The transports have loaded it; a command needs no server.
    from meigen_mcp.server.server import build  # noqa: PLC0415  # as said
    from meigen_mcp.server.subscriptions import Subscriptions  # noqa: PLC0415  # as said
    from meigen_mcp.server.tool_schemas import CurrentTools  # noqa: PLC0415  # as said

    async with (
        open_account(settings, transport) as account,
        _run_catalogue(settings, account, monotonic) as (catalogue, backend),
        anyio.create_task_group() as group,
    ):

        def make() -> Handlers:
            from meigen_mcp.server.handlers import Handlers  # noqa: PLC0415  # as `backend.py`

            return Handlers(backend().service, account.media)

        async def run_rest() -> None:
            with anyio.move_on_after(START_AFTER):
                await handlers.made()
            await handlers.get()
            await backend().run()

        handlers = Later(make, *_CALLS_NEED)
        tools = CurrentTools(catalogue)
        subscriptions = Subscriptions(account.asked, catalogue, tools, handlers)
        group.start_soon(subscriptions.run)
        group.start_soon(run_rest)
        server = build(settings, tools, subscriptions, handlers)
        yield App(server, subscriptions, account.ledger.team, handlers)
        if handlers.is_made:
            await backend().end()
        group.cancel_scope.cancel()


async def _measure(tally: Tally, ledger: Ledger) -> None:
    """Send spans and metrics; that they cannot be sent keeps nobody from a picture."""
    try:
        from meigen_mcp import telemetry  # noqa: PLC0415  # an extra, and slow to load
    except ImportError:
        command = install_extra("telemetry")
        log.warning("MEIGEN_TELEMETRY is set, and what it needs is not installed: %s", command)
        return
    try:
        await telemetry.run(tally, ledger)
    except Exception:
        log.exception("nothing is measured: one of the OTEL_* variables may be wrong")


SANDBOX_TOKEN = "meigen_sk_" + "sandbox0" * 4


@asynccontextmanager
async def sandboxed(settings: Settings, name: str = "") -> AsyncIterator[Settings]:
    """Run an API emulator of our own in this process, and yield settings that use it.

    Args:
        settings: what the environment says.
        name: of a sandbox that remembers; empty: a new one.

    Raises:
        BadSettings: there is no place for its ledger, or another program has its port.
    """
    from meigen_mcp.sandbox.running import run_named_sandbox, run_sandbox  # noqa: PLC0415  # rare

    async with AsyncExitStack() as stack:
        folder = sandbox_folder(settings, name)
        try:
            running = run_named_sandbox(folder / "emulator") if name else run_sandbox()
            origin = await stack.enter_async_context(running)
        except OSError:
            raise BadSettings(
                f"The sandbox {name} cannot be used: its folder {folder} cannot be written, or"
                " another program has the port that is named in it. Choose another name, or"
                " delete the folder."
            ) from None
        chosen = on_sandbox(settings, origin, name)
        try:
            yield chosen
        finally:
            discard_sandbox(chosen)


def discard_sandbox(settings: Settings) -> None:
    """Delete a sandbox without a name, once it has ended: nobody knows it any more."""
    if settings.sandbox == "":
        shutil.rmtree(settings.data_dir, ignore_errors=True)


def sandbox_folder(settings: Settings, name: str) -> Path:
    """Return where a sandbox with a name remembers."""
    return settings.data_dir / "sandboxes" / name


def named_sandboxes(settings: Settings) -> list[str]:
    """Return the names of those that remember."""
    try:
        return [path.name for path in (settings.data_dir / "sandboxes").iterdir() if path.is_dir()]
    except OSError:
        return []


def on_sandbox(settings: Settings, origin: str, name: str = "") -> Settings:
    """Return settings that use a sandbox, with folders of their own.

    What earlier ones made is unknown to a new one, and what was spent there is spent nowhere: so
    its ledger is new as well.

    Raises:
        BadSettings: there is no place for it.
    """
    try:
        new = not name and Path(tempfile.mkdtemp(prefix="meigen-sandbox-"))
    except OSError:
        raise BadSettings(
            "There is no folder for temporary files; set TMPDIR to one that can be written."
        ) from None
    folder = new or sandbox_folder(settings, name)
    return replace(
        settings,
        sandbox=name,
        database_url=None,
        token=SANDBOX_TOKEN,
        base_url=origin,
        upload_url=origin,
        data_dir=folder,
        output_dir=settings.output_dir and settings.output_dir / "sandbox",
        media_dir=settings.media_dir and settings.media_dir / "sandbox",
        reference_dirs=(
            *((settings.output_dir,) if settings.output_dir else ()),
            *settings.reference_dirs,
        ),
        poll_interval=min(settings.poll_interval, 0.5),
    )
