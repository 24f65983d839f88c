"""The baseline over HTTP: `bare_http.py PORT` serves what `bare.py` does, by SDK and uvicorn."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from bare import bare  # type: ignore[import-not-found]  # it lies beside this, and runs alone
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from starlette.applications import Starlette
from starlette.routing import Route


def main(port: int) -> None:
    """Serve for ever."""
    manager = StreamableHTTPSessionManager(bare())

    @asynccontextmanager
    async def lifespan(app: Any) -> AsyncIterator[None]:
        del app
        async with manager.run():
            yield

    app = Starlette(routes=[Route("/mcp", manager.asgi_app)], lifespan=lifespan)
    config = uvicorn.Config(app, log_level="critical", http="h11")
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)  # no delay
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind(("127.0.0.1", port))
    uvicorn.Server(config).run([listener])


if __name__ == "__main__":
    main(int(sys.argv[1]))
