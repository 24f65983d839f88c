"""A whole server in memory for tests: a client, the server, and the sandbox behind it."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import httpx
from mcp.client.client import Client

from meigen_mcp import app, settings
from meigen_mcp.sandbox.app import create_app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

ORIGIN = "http://127.0.0.1:8000"
TOKEN = "meigen_sk_" + "t0ken-32" * 4
Mode = Literal["auto", "legacy"]
MODES: tuple[Mode, ...] = ("auto", "legacy")


class InMemory(httpx.AsyncBaseTransport):
    """Carries requests to a sandbox without a socket, as if over one.

    Attributes:
        requests: what was sent, in order.
        refuses: the start of the paths to which no connection can be made.
    """

    def __init__(self, emulator: Emulator) -> None:
        self._inner = httpx.ASGITransport(create_app(emulator))
        self.requests: list[httpx.Request] = []
        self.refuses: str | None = None

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request; a connection that the sandbox drops is a read error."""
        self.requests.append(request)
        if self.refuses is not None and request.url.path.startswith(self.refuses):
            raise httpx.ConnectError("refused", request=request)
        try:
            return await self._inner.handle_async_request(request)
        except ConnectionResetError:
            raise httpx.ReadError("dropped", request=request) from None


def make_settings(folder: Path, **variables: str) -> Settings:
    """Return the settings of a server on the in-memory sandbox."""
    return settings.load(
        {
            "MEIGEN_API_TOKEN": TOKEN,
            "MEIGEN_BASE_URL": ORIGIN,
            "MEIGEN_UPLOAD_URL": ORIGIN,
            "MEIGEN_DATA_DIR": str(folder / "data"),
            "MEIGEN_OUTPUT_DIR": str(folder / "media"),
            "MEIGEN_POLL_INTERVAL": "0.05",
            "MEIGEN_CONFIRM_ABOVE": "off",
            **variables,
        }
    )


@dataclass(frozen=True)
class Connected:
    """A connected client with what stands behind it."""

    client: Client
    app: app.App
    emulator: Emulator
    transport: InMemory

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content."""
        result = await self.client.call_tool(tool, arguments)
        return dict(result.structured_content or {})


@asynccontextmanager
async def connect(
    configured: Settings,
    emulator: Emulator,
    mode: Mode = "auto",
    *,
    monotonic: Callable[[], float] = time.monotonic,
    **client: Any,
) -> AsyncIterator[Connected]:
    """Run a server in memory and connect a client of one protocol era to it."""
    transport = InMemory(emulator)
    async with (
        app.run_app(configured, transport, monotonic=monotonic) as running,
        Client(running.server, mode=mode, **client) as connected,
    ):
        yield Connected(connected, running, emulator, transport)
