"""What is done with hostile media in a process of its own: pictures, and whose signature it is."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import anyio
from anyio.abc import ByteReceiveStream, ByteSendStream, Process
from anyio.streams.buffered import BufferedByteReceiveStream

from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.media import credentials
from meigen_mcp.media.drawn import Drawn
from meigen_mcp.media.kinds import MIME

SECONDS = 20.0
"""How long one may take; on an idle machine it takes one or two."""
_RUNNER = (sys.executable, "-P", "-m")  # -P: not what lies in the folder
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # where Windows would open one


AT_ONCE = min(2, os.cpu_count() or 1)
"""How many draw at once; more would take the processor from what talks to clients and MeiGen."""


_DIED = (
    anyio.BrokenResourceError,
    anyio.DelimiterNotFound,
    anyio.EndOfStream,
    anyio.IncompleteRead,
    ValueError,
)
"""What is met where a process has ended, or does not say what it should."""


class _ForkServer:
    """One process that has everything ready to draw, and forks for each picture."""

    def __init__(self, process: Process) -> None:
        self._process, self.pid = process, process.pid
        self._asked = cast("ByteSendStream", process.stdin)
        self._answers = BufferedByteReceiveStream(cast("ByteReceiveStream", process.stdout))

    @classmethod
    async def start(cls) -> "_ForkServer":
        """Start one, in a session of its own, so that it ends with all that it forked."""
        return cls(
            await anyio.open_process(
                [*_RUNNER, "meigen_mcp.media.previews", "serve"],
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        )

    async def ask(self, *arguments: str) -> bytes:
        """Have something drawn.

        Raises:
            Exception: one of _DIED.
        """
        await self._asked.send(json.dumps(arguments).encode() + b"\n")
        count = await self._answers.receive_until(b"\n", 20)
        return await self._answers.receive_exactly(int(count))

    async def end(self) -> None:
        """End it at once, with what it forked."""
        with anyio.CancelScope(shield=True):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, signal.SIGKILL)
            await self._process.aclose()


class Drawing:
    """Draws previews in processes that are kept ready for a while.

    Where the system cannot fork, a new process is started for each.
    """

    def __init__(self) -> None:
        self._idle: list[_ForkServer] = []
        self._closed = False

    @property
    def ready(self) -> list[int]:
        """The processes that wait to draw, by their ids."""
        return [server.pid for server in self._idle]

    async def draw(self, medium: MediaType, paths: Sequence[Path | None]) -> Drawn | None:
        """Make a preview: an empty one of a decoder that dies, None of a slow one.

        Raises:
            OSError: no process can be started.
        """
        answer = await self._ask(medium, *(str(path or "") for path in paths))
        try:
            return answer if answer is None else Drawn.read(answer)
        except ValueError:
            return Drawn(b"")

    async def last_frame(self, path: Path) -> bytes | None:
        """Return the last frame of a clip as a PNG: nothing or None as for a preview."""
        return await self._ask("last", str(path))

    async def close(self) -> None:
        """End the processes that are ready; what still draws ends when it is done."""
        self._closed = True
        while self._idle:
            await self._idle.pop().end()

    async def _ask(self, *arguments: str) -> bytes | None:
        """Have it drawn by a process that is ready, or by a new one if it has ended meanwhile."""
        if not hasattr(os, "fork"):
            return await _run("previews", *arguments)
        while True:
            new = not self._idle
            server = await _ForkServer.start() if new else self._idle.pop()
            ready = False
            try:
                with anyio.move_on_after(SECONDS):
                    made = await server.ask(*arguments)
                    ready = True
                    return made
                return None
            except _DIED:
                if new:
                    return b""
            finally:
                if ready and not self._closed:
                    self._idle.append(server)
                else:
                    await server.end()


async def signer(path: Path, suffix: str) -> str:
    """Return what is to be said of the content credentials of a file."""
    if not credentials.extra():
        return 'it has content credentials; "meigen-mcp[credentials]" tells who signed them'
    said = await _run("credentials", str(path), MIME[suffix])
    return said.decode(errors="replace") if said else "its content credentials cannot be read"


async def copy_clip(source: bytes, kind: str) -> bytes | None:
    """Return what `clip_copy` says of a clip or sound: nothing or None as for a preview."""
    return await _run("clip_copy", kind, told=source)


async def _run(module: str, *arguments: str, told: bytes = b"") -> bytes | None:
    """Run a module of this room, told something on stdin: nothing comes of one that dies.

    Returns:
        What it writes, or None for one that takes too long.
    """
    with anyio.move_on_after(SECONDS):
        done = await anyio.run_process(
            [*_RUNNER, f"meigen_mcp.media.{module}", *arguments],
            input=told,
            stderr=subprocess.DEVNULL,
            check=False,
            creationflags=_NO_WINDOW,
        )
        return done.stdout if done.returncode == 0 else b""
    return None
