"""A server behind HTTP for tests: in this process on a free port, or as a process of its own."""

import json
import os
import re
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
import httpx
from anyio.abc import ByteReceiveStream, Process
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from support.in_memory import TOKEN, InMemory, Mode

from meigen_mcp import app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings
from meigen_mcp.transports import auth, http

SERVE = [sys.executable, "-m", "meigen_mcp", "serve"]
_TAKE_TIME = """
from meigen_mcp.commands.cli import main
from meigen_mcp.transports import connections, http, stdio

stdio.ANSWERED_WITHIN = http.ANSWERED_WITHIN = connections.ANSWERED_WITHIN = 60
stdio.LONGEST_END = http.LONGEST_END = 60
main()
"""
UNHURRIED = [sys.executable, "-c", _TAKE_TIME, "serve"]
"""A server that ends as every other, but gives up no answer where a machine stands still."""
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


def patient(origin: str = "", **options: Any) -> httpx.AsyncClient:
    """Return a client that waits as long as a busy machine takes; httpx itself waits 5 s."""
    return httpx.AsyncClient(base_url=origin, **{"timeout": 60.0, **options})


@dataclass
class Served:
    """A server process behind HTTP."""

    process: Process
    origin: str
    stderr: ByteReceiveStream
    said: str
    token: str | None

    def client(self, **options: Any) -> httpx.AsyncClient:
        """Return a client that sends the server's token."""
        return patient(self.origin, headers=bearer(self.token), **options)

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
    folder: Path, sandbox: str, *options: str, serve: Sequence[str] = SERVE, **variables: str
) -> AsyncIterator[Served]:
    """Run `serve --http` on a free port until it has ended or the block has.

    Its token is the one of the environment, else that which it made.
    """
    command = [*serve, "--http", "--port", "0", *options]
    environ = environment(folder, sandbox, **variables)
    async with await anyio.open_process(command, stdin=None, env=environ) as running:
        assert running.stderr is not None
        said = ""
        try:
            with anyio.fail_after(90):
                while (found := re.search(r"MCP on (http://.*)/mcp\n", said)) is None:
                    said += (await running.stderr.receive()).decode()
            origin = found[1].replace("0.0.0.0", "127.0.0.1")  # noqa: S104  # as it is printed
            token = environ.get("MEIGEN_HTTP_TOKEN")
            if (kept := folder / "data" / auth.KEPT_IN).is_file():
                token = token or kept.read_text("ascii")
            yield Served(running, origin, running.stderr, said, token)
        finally:
            if running.returncode is None:
                running.kill()


@asynccontextmanager
async def inside(
    settings: Settings, emulator: Emulator, host: str = "127.0.0.1", *allowed_hosts: str
) -> AsyncIterator[tuple[str, app.App]]:
    """Serve from this process, as `serve --http` does, and yield the origin and the app.

    On loopback a token is asked for only if one is set: what stands behind is a sandbox.
    """
    access = auth.access_for(settings, host, allowed_hosts, sandbox=True)
    with http.listening(host, 0) as listener:
        told = replace(settings, discreet=access.discreet)
        async with (
            app.run_app(told, InMemory(emulator)) as running,
            anyio.create_task_group() as group,
        ):
            end_serving = await http.start_serving(group, running, listener, access)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}", running
            await end_serving(0.0)
            group.cancel_scope.cancel()


@asynccontextmanager
async def connected(
    url: str, mode: Mode, token: str | None = None, **options: Any
) -> AsyncIterator[Client]:
    """Connect the SDK's client of an era, with a bearer token or without."""
    async with (
        create_mcp_http_client(bearer(token)) as client,
        Client(streamable_http_client(url, http_client=client), mode=mode, **options) as on,
    ):
        yield on


def bearer(token: str | None) -> dict[str, str]:
    """Return the header that sends a token, if there is one."""
    return {} if token is None else {"authorization": f"Bearer {token}"}


async def open_session(client: httpx.AsyncClient) -> dict[str, str]:
    """Open a session of 2025 and return the header that names it."""
    hello = await post(client, "legacy", "initialize", HELLO)
    named = {"mcp-session-id": hello.headers["mcp-session-id"]}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await client.post(http.PATH, json=ready, headers={**ACCEPT, **named})
    return named


def structure_of(answer: httpx.Response) -> dict[str, Any]:
    """Return the structured content of the answer to a tool call."""
    said = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        events = [line[5:] for line in said.splitlines() if line.startswith("data:")]
        (said,) = [event for event in events if "method" not in json.loads(event)]
    return dict(json.loads(said)["result"]["structuredContent"])


async def post(
    client: httpx.AsyncClient, mode: Mode, method: str, params: dict[str, Any], **headers: str
) -> httpx.Response:
    """Send one request of an era, and return its whole answer."""
    named = {"mcp-name": params["name"]} if "name" in params else {}
    meta = {"_meta": ENVELOPE} if mode == "auto" else {}
    era = {**MODERN, "mcp-method": method, **named} if mode == "auto" else ACCEPT
    message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}}
    return await client.post(http.PATH, json=message, headers={**era, **headers})
