"""A line to PostgreSQL that can lose a reply, fall silent, or be cut."""

import asyncio
import contextlib
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

_SOCKET = ".s.PGSQL.5432"


class Line:
    """What stands between replicas and the server.

    Attributes:
        lose: replies to COMMIT that are lost, with their connection, from now on.
        lost: how many were.
        hush: to fall silent behind the next COMMIT.
        opened: connections so far.
    """

    def __init__(self, folder: Path, server: Path) -> None:
        self._folder = folder
        self._server = server
        self._pairs: set[tuple[asyncio.StreamWriter, asyncio.StreamWriter]] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._speaks = asyncio.Event()
        self._speaks.set()
        self.lose = 0
        self.lost = 0
        self.hush = False
        self.opened = 0

    def url(self, url: str) -> str:
        """Return a database's address by this line."""
        return f"{url.split('?', maxsplit=1)[0]}?host={self._folder}"

    def fall_silent(self) -> None:
        """Carry nothing any more, with every connection open."""
        self._speaks.clear()

    def speak(self) -> None:
        """Carry everything again, also what waited."""
        self._speaks.set()

    def cut(self) -> None:
        """Close every connection."""
        for pair in list(self._pairs):
            for writer in pair:
                writer.close()

    async def end(self) -> None:
        """Close everything."""
        self.speak()
        while self._tasks:
            self.cut()
            await asyncio.wait(list(self._tasks), timeout=0.1)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.opened += 1
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        try:
            answers, server = await asyncio.open_unix_connection(str(self._server / _SOCKET))
        except OSError:
            writer.close()
            return
        pair = (writer, server)
        self._pairs.add(pair)
        losing = asyncio.Event()
        try:
            await asyncio.gather(
                self._carry(reader, server, losing, asks=True),
                self._carry(answers, writer, losing, asks=False),
            )
        finally:
            self._pairs.discard(pair)
            for each in pair:
                each.close()

    async def _carry(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        losing: asyncio.Event,
        *,
        asks: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await self._speaks.wait()
                if asks and self.lose and b"COMMIT\0" in data:
                    self.lose -= 1
                    losing.set()
                elif not asks and losing.is_set():
                    self.lost += 1
                    break
                writer.write(data)
                await writer.drain()
                if asks and self.hush and b"COMMIT\0" in data:
                    self.hush = False
                    self.fall_silent()
        for pair in list(self._pairs):
            if writer in pair:
                for each in pair:
                    each.close()


@asynccontextmanager
async def run_line(server: Path) -> AsyncIterator[Line]:
    """Serve a line to the server whose socket is in a folder."""
    with tempfile.TemporaryDirectory(prefix="meigen-line-") as name:
        folder = Path(name)
        line = Line(folder, server)
        serving = await asyncio.start_unix_server(line._serve, str(folder / _SOCKET))  # noqa: SLF001  # its own
        try:
            yield line
        finally:
            serving.close()
            await line.end()
