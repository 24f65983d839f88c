"""A company's network: the sandbox with a certificate of the company's, behind a proxy."""

import asyncio
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path

import uvicorn

from meigen_mcp.sandbox.app import create_app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to whoever runs the commands."""
        yield


@asynccontextmanager
async def company(certificate: Path) -> AsyncIterator[str]:
    """Serve a sandbox over TLS, and yield a proxy that leads to it whatever is asked for.

    Args:
        certificate: of the server, with its key.
    """
    config = uvicorn.Config(
        create_app(Emulator(Options(speed=0.01))),
        ssl_certfile=certificate,
        lifespan="off",
        log_config=None,
        ws="none",
    )
    server = _Server(config)
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    serving = asyncio.create_task(server.serve([listener]))

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            there, back = await asyncio.open_connection("127.0.0.1", port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_copy(reader, back), _copy(there, writer))

    proxy = await asyncio.start_server(lead, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
    finally:
        proxy.close()
        server.should_exit = server.force_exit = True
        await serving


async def _copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
    with suppress(OSError):
        while data := await source.read(2**16):
            target.write(data)
            await target.drain()
    target.close()
