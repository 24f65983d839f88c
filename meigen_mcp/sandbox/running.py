"""The sandbox on a real socket of this machine."""

import asyncio
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import asdict
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from meigen_mcp.sandbox.app import HANG_UP, create_app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options


@asynccontextmanager
async def running(*, port: int = 0, host: str = "127.0.0.1", **options: Any) -> AsyncIterator[str]:
    """Serve a fresh sandbox from the running event loop, and yield its origin.

    Args:
        port: 0 for any free one.
        host: an IPv4 address or a name that has one.
        options: fields of `Options`.

    Raises:
        OSError: the port is taken.
    """
    app = create_app(Emulator(Options(**options)))
    listener = socket.create_server((host, port))
    config = uvicorn.Config(
        app,
        http=_Protocol,
        ws="none",
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
    )
    server = _Server(config)
    serving = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        yield f"http://{host}:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        with anyio.CancelScope(shield=True):
            await serving


def serve(
    port: int, options: Options | None = None, announce: Callable[[str], None] = lambda _: None
) -> None:
    """Serve until SIGINT or SIGTERM, then return.

    Args:
        port: 0 for any free one.
        options: of the sandbox.
        announce: is called with the origin once connections are accepted.

    Raises:
        OSError: the port is taken.
    """
    asyncio.run(_serve(port, options or Options(), announce))


async def _serve(port: int, options: Options, announce: Callable[[str], None]) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    signals = (signal.SIGINT, signal.SIGTERM)
    # Not loop.add_signal_handler, which Windows does not have.
    before = [signal.signal(s, lambda *_: loop.call_soon_threadsafe(stop.set)) for s in signals]
    try:
        async with running(port=port, **asdict(options)) as origin:
            announce(origin)
            await stop.wait()
    finally:
        for number, handler in zip(signals, before, strict=True):
            signal.signal(number, handler)


class _Protocol(H11Protocol):
    """Gives the application a way to close its connection without an answer."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self.app: ASGIApp = _with_hang_up(self.app, transport.close)


def _with_hang_up(app: ASGIApp, hang_up: Callable[[], None]) -> ASGIApp:
    async def extended(scope: Scope, receive: Receive, send: Send) -> None:
        await app({**scope, "extensions": {HANG_UP: hang_up}}, receive, send)

    return extended


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to the program that runs the sandbox."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Close open connections first, so that no idle or half-sent request delays the end."""
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await asyncio.sleep(0)
        await super().shutdown(sockets)
