"""The composition root: the only place where concrete things meet."""

from __future__ import annotations

import hashlib
import hmac
import logging
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, NoReturn

import anyio
import anyio.to_thread

from meigen_mcp.api import Api
from meigen_mcp.database import Database
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger import Ledger
from meigen_mcp.live import Live
from meigen_mcp.live_catalogue import LiveCatalogue
from meigen_mcp.media import Media
from meigen_mcp.poller import Poller
from meigen_mcp.server import StudioServer, build
from meigen_mcp.service import Service
from meigen_mcp.settings import Settings
from meigen_mcp.sources import Sources

if TYPE_CHECKING:
    import httpx

log = logging.getLogger(__name__)

CLOSING = 0.3
"""Seconds in which waiting calls may answer before the process ends."""


@dataclass(frozen=True, slots=True)
class App:
    """A running server with everything that it stands on."""

    server: StudioServer
    service: Service
    live: Live

    async def close(self) -> None:
        """Let waiting calls answer and streams end, and give both a moment to be written."""
        self.service.close()
        self.live.listen.close()
        with anyio.move_on_after(CLOSING):
            await self.server.at_rest()
        await anyio.sleep(0.05)


def account_of(settings: Settings, database: Database) -> str:
    """Return the name of the account in the ledger: API origin and keyed hash of the token.

    Raises:
        LedgerUnavailable: the key cannot be had.
    """
    key = database.secret()
    token = (settings.token or "").encode()
    return f"{settings.base_url} {hmac.new(key, token, hashlib.sha256).hexdigest()[:16]}"


class Keyless(Database):
    """A ledger whose account names have no key: what it held, no later start would find again.

    It stays unavailable while this process lives, even if its folder is mended meanwhile.
    """

    def __init__(self, folder: Path, error: LedgerUnavailable) -> None:
        super().__init__(folder)
        self._error = error.message

    def _open(self) -> NoReturn:
        raise LedgerUnavailable(f"{self._error} Restart this server when that is mended.")


@dataclass(frozen=True, slots=True)
class Parts:
    """What stands under a server, and under the commands that need no server."""

    account: str
    ledger: Ledger
    api: Api
    media: Media


@asynccontextmanager
async def opened(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[Parts]:
    """Open the ledger and the API of an account, and close them again.

    Args:
        settings: what the environment says.
        transport: what carries requests to the API; by default the network.
    """
    database = Database(settings.data_dir, "MEIGEN_DATA_DIR" if settings.discreet else None)
    try:
        account = account_of(settings, database)
    except LedgerUnavailable as error:
        database, account = Keyless(settings.data_dir, error), ""
    api = Api(settings, transport)
    try:
        previews = settings.data_dir / "previews"
        media = Media(api, settings.output_dir, previews=previews, discreet=settings.discreet)
        yield Parts(account, Ledger(database), api, media)
    finally:
        with anyio.CancelScope(shield=True):
            await api.close()
        database.close()


@asynccontextmanager
async def running(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[App]:
    """Run the poller and the announcements; yield the server to be connected to a transport.

    Args:
        settings: what the environment says.
        transport: what carries requests to the API; by default the network.
    """
    async with opened(settings, transport) as parts:
        catalogue = LiveCatalogue(settings, parts.ledger, lambda: parts.api)
        catalogue.load()
        sources = Sources(settings, parts.account, parts.ledger, parts.api, parts.media)
        service = Service(settings, parts.account, parts.ledger, catalogue, sources)
        live = Live(service)
        poller = Poller(
            parts.ledger,
            parts.api,
            parts.media,
            parts.account,
            interval=settings.poll_interval,
            rate_limit=settings.rate_limit,
        )
        for problem in settings.problems:
            log.warning("%s", problem)
        async with anyio.create_task_group() as group:
            group.start_soon(poller.run)
            group.start_soon(catalogue.run)
            group.start_soon(live.run)
            group.start_soon(_look_at_folders, parts.media)
            yield App(build(service, parts.media, live), service, live)
            group.cancel_scope.cancel()


async def _look_at_folders(media: Media) -> None:
    """Say if nothing can be saved, and tidy up; a folder on a network may take its time."""
    problem = await anyio.to_thread.run_sync(media.problem, abandon_on_cancel=True)
    if problem:
        log.warning("%s", problem)
    await anyio.to_thread.run_sync(media.sweep, abandon_on_cancel=True)


SANDBOX_TOKEN = "meigen_sk_" + "sandbox0" * 4


def on_sandbox(settings: Settings, origin: str) -> Settings:
    """Return settings that use a new sandbox, with folders of their own.

    What earlier ones made is unknown to it, and what was spent there is spent nowhere: so its
    ledger is new as well, and goes with the system's other temporary files.
    """
    return replace(
        settings,
        token=SANDBOX_TOKEN,
        base_url=origin,
        upload_url=origin,
        data_dir=Path(tempfile.mkdtemp(prefix="meigen-sandbox-")),
        output_dir=settings.output_dir and settings.output_dir / "sandbox",
        poll_interval=min(settings.poll_interval, 0.5),
    )
