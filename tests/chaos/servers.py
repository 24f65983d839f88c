"""Real server processes, as a chat client starts them, to be killed."""

import contextlib
import os
import re
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from support.over_http import patient

TOKEN = "meigen_sk_" + "t0ken-32" * 4
MODEL = "z-image-turbo"
_NOTE_PID = 'echo $$ > "$0" && exec "$@"'
SERVE = (sys.executable, "-m", "meigen_mcp", "serve")
_WORDS_OF_TROUBLE = ("database is locked", "ledger unavailable", "Traceback", "kept busy")
_RAISED = re.compile(r"[\w.]+(Error|Exception|Warning)\b")


class Killed(Exception):
    """The server was killed before it answered."""


@dataclass(frozen=True)
class Place:
    """A data folder with everything that servers leave beside it.

    Attributes:
        origin: what servers take for the API.
        sandbox: what is behind that, to be asked what it saw.
    """

    folder: Path
    origin: str
    sandbox: str

    @property
    def data(self) -> Path:
        """The data folder that all servers of this place share."""
        return self.folder / "data"

    def trouble(self) -> list[str]:
        """Return what servers complained of that must never happen, and how often."""
        lines = Counter(
            line.strip()
            for path in self.folder.glob("stderr-*")
            for line in path.read_text("utf-8", "replace").splitlines()
            if any(word in line for word in _WORDS_OF_TROUBLE) or _RAISED.match(line)
        )
        return [f"a server said {count} times: {line}" for line, count in lines.items()]

    async def state(self) -> dict[str, Any]:
        """Ask the sandbox what it saw."""
        async with patient(trust_env=False) as client:
            reply = await client.get(f"{self.sandbox}/sandbox/state")
        return dict(reply.json())


@dataclass(frozen=True)
class Server:
    """A running server process with its client."""

    client: Client
    pid: int

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content.

        Raises:
            Killed: the server died first.
        """
        try:
            result = await self.client.call_tool(tool, arguments)
        except (MCPError, anyio.ClosedResourceError, anyio.BrokenResourceError):
            raise Killed from None
        return dict(result.structured_content or {})

    async def attempt(self, tool: str, arguments: dict[str, Any]) -> None:
        """Call a tool on a server that is about to be killed."""
        with contextlib.suppress(Killed):
            await self.call(tool, **arguments)

    def kill(self) -> None:
        """End it as a crash does; it has no chance to react."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, signal.SIGKILL)


@contextlib.contextmanager
def temporary() -> Iterator[Path]:
    """Give a folder for one run."""
    with tempfile.TemporaryDirectory(prefix="meigen-chaos-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


def environment(place: Place, **variables: str) -> dict[str, str]:
    """Return what a server process on a place is told."""
    return {
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_BASE_URL": place.origin,
        "MEIGEN_UPLOAD_URL": place.origin,
        "MEIGEN_DATA_DIR": str(place.data),
        "MEIGEN_OUTPUT_DIR": str(place.folder / "media"),
        "MEIGEN_POLL_INTERVAL": "0.1",
        "MEIGEN_RATE_LIMIT": "100000",
        "MEIGEN_CONFIRM_ABOVE": "off",
        **variables,
    }


@asynccontextmanager
async def server(
    place: Place,
    *,
    command: tuple[str, ...] = SERVE,
    client: Mapping[str, Any] | None = None,
    **variables: str,
) -> AsyncIterator[Server]:
    """Start a server process on a place and connect a client, with options, to it."""
    place.folder.mkdir(parents=True, exist_ok=True)
    name = uuid4().hex
    note = place.folder / f"pid-{name}"
    parameters = StdioServerParameters(
        command="/bin/sh",
        args=["-c", _NOTE_PID, str(note), *command],
        env=environment(place, **variables),
    )
    with (place.folder / f"stderr-{name}").open("w", encoding="utf-8") as errors:
        async with Client(stdio_client(parameters, errlog=errors), **client or {}) as on:
            yield Server(on, int(note.read_text("ascii")))
