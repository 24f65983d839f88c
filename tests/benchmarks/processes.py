"""The processes that are measured, and a client of plain JSON lines that costs nothing."""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import ByteSendStream, Process

TOKEN = "meigen_sk_" + "t0ken-32" * 4
MODEL = "z-image-turbo"
_HERE = Path(__file__).parent


def serve(python: str) -> tuple[str, ...]:
    """Return what starts the build that is installed for a Python, whatever folder this is."""
    return (python, "-P", "-m", "meigen_mcp", "serve")


OURS = serve(sys.executable)
_SLOW_DISK = _HERE / "slow_disk.c"
BARE = (sys.executable, str(_HERE / "bare.py"))
PROBED = (sys.executable, str(_HERE / "probed.py"))
INSTANT = (sys.executable, str(_HERE / "instant.py"))
LONGEST = 60.0
"""Seconds after which anything that is waited for counts as lost."""


@contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder for one run."""
    with tempfile.TemporaryDirectory(prefix="meigen-bench-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def environment(
    folder: Path, origin: str = "http://127.0.0.1:9", **variables: str
) -> dict[str, str]:
    """Return the environment of a server on an API, with folders of its own."""
    # With its bytecode, as installed: whoever measures may run without.
    dropped = ("MEIGEN_", "PYTHONDONTWRITEBYTECODE")
    kept = {name: value for name, value in os.environ.items() if not name.startswith(dropped)}
    return {
        **kept,
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_BASE_URL": origin,
        "MEIGEN_UPLOAD_URL": origin,
        "MEIGEN_DATA_DIR": str(folder / "data"),
        "MEIGEN_OUTPUT_DIR": "off",
        "MEIGEN_RATE_LIMIT": "100000",
        "MEIGEN_CONFIRM_ABOVE": "off",
        "MEIGEN_LOG_LEVEL": "error",
        **variables,
    }


def slow_disk(milliseconds: float, count: Path) -> dict[str, str]:
    """Return what makes a server's disk take longer to sync, and count its syncs in a file.

    It is empty where no C compiler is: then nothing is slower, and nothing counted.
    """
    library = _shim()
    if not library:
        return {}
    return {
        "LD_PRELOAD": library,
        "BENCH_SYNC_MS": str(milliseconds),
        "BENCH_SYNCS": str(count),
    }


@cache
def _shim() -> str:
    compiler = shutil.which("cc")
    if compiler is None:
        return ""
    made = Path(tempfile.mkdtemp(prefix="meigen-bench-disk-")) / "slow_disk.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", str(_SLOW_DISK), "-o", str(made), "-ldl"], check=True
    )
    return str(made)


class Unanswered(Exception):
    """The server ended, and had not answered."""


@dataclass
class Server:
    """A server process, spoken to over stdio.

    Attributes:
        updated: when each resource was said to be updated.
        patience: seconds after which an answer counts as lost.
    """

    process: Process
    patience: float = LONGEST
    updated: dict[str, list[float]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Start without questions."""
        self._answers: dict[int, dict[str, Any]] = {}
        self._asked: dict[int, anyio.Event] = {}
        self._last = 0

    @property
    def _stdin(self) -> ByteSendStream:
        assert self.process.stdin is not None
        return self.process.stdin

    async def listen(self) -> None:
        """Read what it says, to the end."""
        assert self.process.stdout is not None
        rest = b""
        async for part in self.process.stdout:
            *lines, rest = (rest + part).split(b"\n")
            now = time.time()
            for said in map(json.loads, lines):
                if said.get("method") == "notifications/resources/updated":
                    self.updated.setdefault(said["params"]["uri"], []).append(now)
                elif said.get("id") in self._asked:
                    self._answers[said["id"]] = said
                    self._asked.pop(said["id"]).set()
        for event in self._asked.values():
            event.set()

    async def request(self, method: str, **params: Any) -> dict[str, Any]:
        """Ask, and return the result.

        Raises:
            Unanswered: it ended before.
        """
        self._last += 1
        number = self._last
        event = self._asked[number] = anyio.Event()
        await self._send({"id": number, "method": method, "params": params})
        with anyio.fail_after(self.patience):
            await event.wait()
        if number not in self._answers:
            raise Unanswered
        return dict(self._answers.pop(number)["result"])

    async def _send(self, message: dict[str, Any]) -> None:
        line = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":"))
        await self._stdin.send(line.encode() + b"\n")

    async def greet(self) -> None:
        """Shake hands as a client of 2025 does."""
        hello = {"name": "benchmark", "version": "1"}
        await self.request(
            "initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=hello
        )
        await self._send({"method": "notifications/initialized"})

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, and return its structured content."""
        result = await self.request("tools/call", name=tool, arguments=arguments)
        return dict(result.get("structuredContent") or {})

    async def close(self) -> None:
        """Close its stdin, as a client that quits."""
        await self._stdin.aclose()

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        self.process.send_signal(number)

    async def ended(self) -> None:
        """Wait for its end."""
        with anyio.fail_after(LONGEST):
            await self.process.wait()

    def memory(self) -> float:
        """Return its resident memory in MB."""
        return resident(self.process.pid)

    def processor(self) -> float:
        """Return the processor time that it has used, in seconds."""
        return processor_of(self.process.pid)


def resident(pid: int) -> float:
    """Return the resident memory of a process in MB."""
    for line in Path(f"/proc/{pid}/status").read_text("ascii").splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1]) * 1024 / 1e6
    return 0.0


def processor_of(pid: int, *, and_ended: bool = False) -> float:
    """Return the processor time that a process has used, in seconds.

    Args:
        pid: the process.
        and_ended: whether that of its children counts that have ended.
    """
    fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
    ticks = sum(map(int, fields[11 : 15 if and_ended else 13]))
    return ticks / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def spawned(command: tuple[str, ...], environ: dict[str, str]) -> AsyncIterator[Server]:
    """Start a server process; it is not greeted yet."""
    process = await anyio.open_process(command, stderr=None, env=environ)
    server = Server(process)
    try:
        async with anyio.create_task_group() as group:
            group.start_soon(server.listen)
            yield server
            if process.returncode is None:
                await server.close()
            with anyio.move_on_after(2):
                await process.wait()
            group.cancel_scope.cancel()
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()


@asynccontextmanager
async def connected(command: tuple[str, ...], environ: dict[str, str]) -> AsyncIterator[Server]:
    """Start a server process and greet it."""
    async with spawned(command, environ) as server:
        await server.greet()
        yield server


@asynccontextmanager
async def instant(*arguments: str) -> AsyncIterator[str]:
    """Run the instant API, and yield its origin; an argument is the picture that it has."""
    process = await anyio.open_process([*INSTANT, *arguments], stderr=None)
    assert process.stdout is not None
    try:
        yield (await process.stdout.receive()).decode().strip()
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
