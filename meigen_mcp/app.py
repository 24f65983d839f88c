"""The composition root: the only place where concrete things meet."""

import contextlib
import hashlib
import hmac
import logging
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace

import anyio
import httpx

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
from meigen_mcp.system import termination

log = logging.getLogger(__name__)


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
        await anyio.sleep(0.05)


def account_of(settings: Settings, database: Database) -> str:
    """Return the name of the account in the ledger: API origin and keyed hash of the token."""
    try:
        key = database.secret()
    except LedgerUnavailable:
        key = b""  # nothing can be written down then, so the name is never used
    token = (settings.token or "").encode()
    return f"{settings.base_url} {hmac.new(key, token, hashlib.sha256).hexdigest()[:16]}"


@asynccontextmanager
async def running(
    settings: Settings, transport: httpx.AsyncBaseTransport | None = None
) -> AsyncIterator[App]:
    """Run the poller and the announcements; yield the server to be connected to a transport.

    Args:
        settings: what the environment says.
        transport: what carries requests to the API; by default the network.
    """
    database = Database(settings.data_dir)
    account = account_of(settings, database)
    ledger = Ledger(database)
    api = Api(settings, transport)
    catalogue = LiveCatalogue(settings, ledger, lambda: api)
    catalogue.load()
    service = Service(settings, account, ledger, catalogue)
    media = Media(api, settings.output_dir)
    live = Live(service)
    poller = Poller(
        ledger,
        api,
        media,
        account,
        interval=settings.poll_interval,
        rate_limit=settings.rate_limit,
    )
    for problem in (*settings.problems, media.problem()):
        if problem:
            log.warning("%s", problem)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(poller.run)
            group.start_soon(catalogue.run)
            group.start_soon(live.run)
            yield App(build(service, media, live), service, live)
            group.cancel_scope.cancel()
    finally:
        with anyio.CancelScope(shield=True):
            await api.close()
        database.close()


async def serve_stdio(settings: Settings) -> None:
    """Serve one client over stdin and stdout until it is gone or the process is asked to end.

    Never returns: the SDK's reader thread cannot be cancelled, so the process ends here.
    """
    from mcp.server.stdio import stdio_server

    async with stdio_server() as (read, write):
        with contextlib.suppress(BrokenPipeError, anyio.BrokenResourceError):
            async with running(settings) as app, anyio.create_task_group() as group:

                async def end_on_signal() -> None:
                    await termination()
                    await app.close()
                    group.cancel_scope.cancel()

                group.start_soon(end_on_signal)
                options = app.server.create_initialization_options()
                await app.server.run(read, write, options)
                group.cancel_scope.cancel()
        with contextlib.suppress(OSError, ValueError):
            sys.stderr.flush()
        os._exit(0)


async def serve_stdio_on_sandbox(settings: Settings) -> None:
    """Serve over stdio with an API emulator of our own in this process; never returns."""
    from meigen_mcp.sandbox.running import running as sandbox

    async with sandbox() as origin:
        await serve_stdio(on_sandbox(settings, origin))


SANDBOX_TOKEN = "meigen_sk_" + "sandbox0" * 4


def on_sandbox(settings: Settings, origin: str) -> Settings:
    """Return settings that use a sandbox, with folders of their own."""
    return replace(
        settings,
        token=SANDBOX_TOKEN,
        base_url=origin,
        upload_url=origin,
        data_dir=settings.data_dir / "sandbox",
        output_dir=settings.output_dir and settings.output_dir / "sandbox",
        poll_interval=min(settings.poll_interval, 0.5),
    )
