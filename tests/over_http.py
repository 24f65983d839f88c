"""A server behind HTTP for tests: in this process on a free port, or as a process of its own."""

import os
import re
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import ByteReceiveStream, Process
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from studio import TOKEN, InMemory, Mode

from meigen_mcp import app, http
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

SERVE = [sys.executable, "-m", "meigen_mcp", "serve"]
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}
ACCEPT = {"accept": "application/json, text/event-stream", "content-type": "application/json"}
MODERN = {**ACCEPT, "mcp-protocol-version": "2026-07-28"}


def environment(folder: Path, origin: str, **variables: str) -> dict[str, str]:
    """Return the environment of a server on a sandbox, with folders of its own."""
    return {
        **os.environ,
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_BASE_URL": origin,
        "MEIGEN_UPLOAD_URL": origin,
        "MEIGEN_DATA_DIR": str(folder / "data"),
        "MEIGEN_OUTPUT_DIR": str(folder / "media"),
        "MEIGEN_POLL_INTERVAL": "0.05",
        "MEIGEN_CONFIRM_ABOVE": "off",
        **variables,
    }


@dataclass
class Served:
    """A server process behind HTTP."""

    process: Process
    origin: str
    stderr: ByteReceiveStream
    said: str

    @property
    def url(self) -> str:
        """Where it serves MCP."""
        return f"{self.origin}{http.PATH}"

    async def ended(self) -> tuple[int, list[str]]:
        """Return its exit status and what it complained about, once it has ended, in time."""
        with anyio.fail_after(5):
            status = await self.process.wait()
            async for part in self.stderr:
                self.said += part.decode()
        return status, [line for line in self.said.splitlines() if not line.startswith("INFO ")]


@asynccontextmanager
async def process(
    folder: Path, sandbox: str, *options: str, **variables: str
) -> AsyncIterator[Served]:
    """Run `serve --http` on a free port until it has ended or the block has."""
    command = [*SERVE, "--http", "--port", "0", *options]
    environ = environment(folder, sandbox, **variables)
    async with await anyio.open_process(command, stdin=None, env=environ) as running:
        assert running.stderr is not None
        said = ""
        try:
            with anyio.fail_after(20):
                while (found := re.search(r"MCP on (http://.*)/mcp\n", said)) is None:
                    said += (await running.stderr.receive()).decode()
            origin = found[1].replace("0.0.0.0", "127.0.0.1")  # noqa: S104  # as it is printed
            yield Served(running, origin, running.stderr, said)
        finally:
            if running.returncode is None:
                running.kill()


@asynccontextmanager
async def inside(
    settings: Settings, emulator: Emulator, host: str = "127.0.0.1", *allowed_hosts: str
) -> AsyncIterator[tuple[str, app.App]]:
    """Serve from this process, as `serve --http` does, and yield the origin and the app."""
    settings = http.for_address(settings, host)
    with http.listening(host, 0) as listener:
        async with (
            app.running(settings, InMemory(emulator)) as running,
            http.serving(running, listener, host, allowed_hosts),
        ):
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", running


@asynccontextmanager
async def connected(
    url: str, mode: Mode, token: str | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Connect the SDK's client of an era, with a bearer token or without."""
    headers = None if token is None else {"authorization": f"Bearer {token}"}
    async with (
        create_mcp_http_client(headers) as client,
        Client(streamable_http_client(url, http_client=client), mode=mode, **options) as on,
    ):
        yield on


async def post(
    client: httpx.AsyncClient, mode: Mode, method: str, params: dict[str, Any], **headers: str
) -> httpx.Response:
    """Send one request of an era, and return its whole answer."""
    named = {"mcp-name": params["name"]} if "name" in params else {}
    meta = {"_meta": ENVELOPE} if mode == "auto" else {}
    era = {**MODERN, "mcp-method": method, **named} if mode == "auto" else ACCEPT
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}}
    return await client.post(http.PATH, json=message, headers={**era, **headers})
