"""The sandbox on a real socket of this machine."""

import asyncio
import random
import signal
import socket
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from meigen_mcp.sandbox.app import HANG_UP, create_app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.journal import Journal
from meigen_mcp.sandbox.state import Options
from meigen_mcp.system import LOOK_EVERY, Lock, alone, listen_on, private_folder

PORTS = range(20_000, 30_000)
"""Of sandboxes with a name: no system gives these to programs that ask for any."""
BEGUN_WITHIN = 5.0
"""Seconds in which a process that has begun to serve a sandbox does."""


@asynccontextmanager
async def run_sandbox(
    *, port: int = 0, host: str = "127.0.0.1", journal: Journal | None = None, **options: Any
) -> AsyncIterator[str]:
    """Serve a sandbox from the running event loop, and yield its origin.

    Args:
        port: 0 for any free one.
        host: an IPv4 address or a name that has one.
        journal: what it remembers of its earlier processes; None: it is a fresh one.
        options: fields of `Options`.

    Raises:
        OSError: the port is taken.
    """
    app = create_app(Emulator(Options(**options), journal=journal))
    listener = listen_on(host, port)
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


@asynccontextmanager
async def run_named_sandbox(folder: Path, **options: Any) -> AsyncIterator[str]:
    """Serve the sandbox that a folder remembers, or use the process that does; yield its origin.

    Many processes may have it at once: one serves it, the others take its place when it ends. Its
    port stays the same, since the URLs of its results are those of all its processes.

    Args:
        folder: made if it is not there.
        options: fields of `Options`.

    Raises:
        OSError: the folder cannot be used, or another program has the port.
    """
    private_folder(folder)
    port, claim = _port_of(folder), folder / "serving"

    async with AsyncExitStack() as stack:

        async def begin() -> bool:
            if (lock := Lock.take(claim)) is None:
                return False
            stack.callback(lock.release, keep=True)
            journal = Journal(folder)
            await stack.enter_async_context(run_sandbox(port=port, journal=journal, **options))
            return True

        async def take_its_place() -> None:
            with suppress(OSError):  # another program took the port; requests say so
                while not await begin():  # noqa: ASYNC110  # nobody tells when another process ends
                    await anyio.sleep(LOOK_EVERY)

        waiting = None
        if not await begin():
            await _until_served(port)
            waiting = asyncio.create_task(take_its_place())
        try:
            yield f"http://127.0.0.1:{port}"
        finally:
            if waiting is not None:
                waiting.cancel()
                with suppress(asyncio.CancelledError):
                    await waiting


def _port_of(folder: Path) -> int:
    """Return the port of a sandbox with a name, which is chosen once."""
    kept = folder / "port"
    with alone(folder / "port.lock"):
        with suppress(OSError, ValueError):
            return int(kept.read_text(encoding="ascii"))
        for port in random.sample(PORTS, len(PORTS)):
            with suppress(OSError):
                listen_on("127.0.0.1", port).close()
                kept.write_text(str(port), encoding="ascii")
                return port
    raise OSError("no port is free")


async def _until_served(port: int) -> None:
    """Wait until the process that has begun to serve a sandbox does."""
    with anyio.move_on_after(BEGUN_WITHIN):
        while True:
            with suppress(OSError):
                await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                return
            await anyio.sleep(0.05)


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
        async with run_sandbox(port=port, **asdict(options)) as origin:
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
