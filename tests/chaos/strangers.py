"""HTTP while strangers hold connections open and clients leave their sessions behind."""

import os
import re
import signal
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import anyio
import httpx
from anyio.abc import Process

from meigen_mcp.sandbox.running import run_sandbox

from .report import Part, table
from .servers import MODEL, TOKEN, temporary
from .truth import rows

_SERVE = f"{sys.executable} -m meigen_mcp serve --http --port 0"
_SILENCE = Path(__file__).with_name("silence.py")
_ADDRESS = re.compile(r"serving MCP on (http://\S+)/mcp")
_ACCEPT = {"accept": "application/json, text/event-stream"}
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "gone", "version": "1"},
}
_MODERN = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
LARGEST_LOG = 1_000_000
MOST_GROWTH = 20_000
"""Of the memory in KiB, from the first round to the second."""


@dataclass(frozen=True)
class Load:
    """What one round is.

    Attributes:
        strangers: connections that send nothing; whichever is closed is opened again.
        sessions: sessions of 2025 that are opened and left.
        clients: those that work.
        calls: what each of them has made, one after another.
        descriptors: how many the server may have.
    """

    strangers: int = 2000
    sessions: int = 2000
    clients: int = 20
    calls: int = 5
    descriptors: int = 1024


@dataclass
class _Server:
    process: Process
    origin: str
    token: str
    log: Path
    answers: list[str] = field(default_factory=list)

    def memory(self) -> int:
        """Return what it takes, in KiB."""
        status = Path(f"/proc/{self.process.pid}/status").read_text("ascii")
        return int(re.findall(r"VmRSS:\s+(\d+)", status)[0])

    def client(self) -> httpx.AsyncClient:
        bearer = {**_ACCEPT, "authorization": f"Bearer {self.token}"}
        return httpx.AsyncClient(base_url=self.origin, headers=bearer, timeout=120, trust_env=False)


@asynccontextmanager
async def _serve(folder: Path, origin: str, descriptors: int) -> AsyncIterator[_Server]:
    """Run a server that may open so many descriptors, in a process of its own."""
    environ = {
        **os.environ,
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_BASE_URL": origin,
        "MEIGEN_UPLOAD_URL": origin,
        "MEIGEN_DATA_DIR": str(folder / "data"),
        "MEIGEN_OUTPUT_DIR": str(folder / "media"),
        "MEIGEN_POLL_INTERVAL": "0.2",
        "MEIGEN_RATE_LIMIT": "100000",
        "MEIGEN_CONFIRM_ABOVE": "off",
    }
    log = folder / "stderr"
    command = ["/bin/sh", "-c", f"ulimit -n {descriptors} && exec {_SERVE}"]
    with log.open("w", encoding="utf-8") as errors:
        async with await anyio.open_process(
            command, env=environ, stdin=None, stdout=None, stderr=errors
        ) as process:
            try:
                with anyio.fail_after(60):
                    while (found := _ADDRESS.search(log.read_text("utf-8"))) is None:  # noqa: ASYNC110  # another process
                        await anyio.sleep(0.05)
                token = (folder / "data" / "http-token").read_text("ascii")
                yield _Server(process, found[1], token, log)
            finally:
                if process.returncode is None:
                    process.kill()


@asynccontextmanager
async def _strangers(origin: str, count: int) -> AsyncIterator[None]:
    """Have so many connections held by somebody who says nothing."""
    silent = [sys.executable, str(_SILENCE), str(httpx.URL(origin).port), str(count)]
    async with await anyio.open_process(silent, stdin=None, stdout=None, stderr=None) as process:
        try:
            yield
        finally:
            process.kill()


async def _leave(server: _Server, count: int) -> None:
    """Open sessions, and never come back to them."""
    message = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": _HELLO}
    async with server.client() as client:
        for _ in range(count):
            reply = await client.post("/mcp", json=message, headers={"connection": "close"})
            server.answers.append("a session" if "mcp-session-id" in reply.headers else reply.text)


async def _work(server: _Server, name: str, calls: int) -> None:
    """Have pictures made one after another, each on a connection of its own."""
    for number in range(calls):
        asked = {"prompt": f"a lighthouse {name} {number}", "modelId": MODEL, "wait": 40}
        params = {"name": "generate_image", "arguments": asked, "_meta": _MODERN}
        message = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
        headers = {
            "mcp-protocol-version": "2026-07-28",
            "mcp-method": "tools/call",
            "mcp-name": "generate_image",
        }
        async with server.client() as client:
            reply = await client.post("/mcp", json=message, headers=headers)
        found = re.findall(r'"structuredContent":\{.*?"status":"(\w+)"', reply.text)
        server.answers.append((found or [f"{reply.status_code} {reply.text[:80]}"])[-1])


async def _round(server: _Server, load: Load, number: int) -> None:
    """Let all of them come at once, until the work is done and the sessions are left."""
    lanes = 10
    async with (
        _strangers(server.origin, load.strangers),
        anyio.create_task_group() as group,
    ):
        for _ in range(lanes):
            group.start_soon(_leave, server, load.sessions // lanes)
        for client in range(load.clients):
            group.start_soon(_work, server, f"{number}-{client}", load.calls)


async def run(load: Load) -> Part:
    """Have the same load come twice."""
    part = Part(
        f"HTTP with {load.strangers} silent connections and {load.sessions} abandoned sessions,"
        f" twice, while {load.clients} clients work"
    )
    with temporary() as folder:
        async with (
            run_sandbox(speed=0.05, rate_limit=100_000, credits=100_000) as sandbox,
            _serve(folder, sandbox, load.descriptors) as server,
        ):
            await _judge(part, server, load, folder)
    return part


async def _judge(part: Part, server: _Server, load: Load, folder: Path) -> None:
    memory = [server.memory()]
    for number in (1, 2):
        await _round(server, load, number)
        memory.append(server.memory())
    found = rows(folder / "data")
    began = time.monotonic()
    server.process.send_signal(signal.SIGTERM)
    status = await server.process.wait()
    end = time.monotonic() - began
    log = server.log.read_text("utf-8")
    wanted = 2 * load.clients * load.calls
    sessions = 2 * (load.sessions // 10 * 10)
    odd = [answer for answer in server.answers if answer not in ("completed", "a session")]
    saved = sum(1 for row in found if row.saved)
    part.hold(not odd, f"other answers: {odd[:5]}")
    part.hold(server.answers.count("completed") == wanted, "a call was not answered")
    part.hold(server.answers.count("a session") == sessions, "a client was turned away")
    part.hold(saved == wanted, f"{wanted} results, {saved} saved")
    part.hold(len(log) < LARGEST_LOG, f"{len(log)} bytes of log")
    part.hold("Traceback" not in log, "a traceback in the log")
    part.hold(memory[2] - memory[1] < MOST_GROWTH, f"memory: {memory}")
    part.hold(status == 0, f"it ended with {status}")
    part.text = table(
        ("what", "count"),
        [
            ("descriptors that the server may have", load.descriptors),
            ("calls answered with their result", server.answers.count("completed")),
            ("results on the disk", saved),
            ("sessions opened", server.answers.count("a session")),
            ("RSS in KiB: before", memory[0]),
            ("RSS in KiB: after the first round", memory[1]),
            ("RSS in KiB: after the second", memory[2]),
            ("bytes of log", len(log)),
            ("seconds from SIGTERM to the end", f"{end:.2f}"),
        ],
    )
