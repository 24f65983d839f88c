"""A disk that forgets: at a power cut only what was synced is left, and it can be full.

What Python syncs is seen at `os.fsync`; what SQLite syncs follows from its statements: with
`synchronous=FULL` the log at each commit, and with every checkpoint. A file's name is there only
if its folder was synced after it got it, and its content only if the file was.
"""

import os
import shutil
import sqlite3
import stat
import struct
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from random import Random

from support.ledger_file import NAME

from meigen_mcp.ledger.sqlite.ledger import SqliteLedger

_HEADER, _FRAME = 32, 24 + 4096
"""Bytes of the head of a write-ahead log, and of each page in it."""
_COUNT_AT = 16
"""Where the index of the log tells how many pages are in it."""


class Disk:
    """The disk of one machine.

    Args:
        folder: with the folders `data` and `media` of a server.
        chance: how much of what was not synced is left.
    """

    def __init__(self, folder: Path, chance: Random) -> None:
        self._data, self._media = folder / "data", folder / "media"
        self._cut = folder / "cut"
        self._chance = chance
        self._names: dict[str, int] = {}
        self._whole: set[int] = set()
        self._index: int | None = None
        self._frames, self._durable, self._committed = 0, True, False

    # --- what is synced -------------------------------------------------------------------------

    @contextmanager
    def watched(self) -> Iterator[None]:
        """See what Python syncs, and have it take no time."""
        real, os.fsync = os.fsync, self._synced  # type: ignore[assignment]  # takes descriptors only
        try:
            yield
        finally:
            os.fsync = real
            self.free()

    def _synced(self, descriptor: int) -> None:
        found = os.fstat(descriptor)
        if stat.S_ISDIR(found.st_mode):
            if self._media.exists() and os.path.samestat(found, self._media.stat()):
                self._names = {entry.name: entry.inode() for entry in os.scandir(self._media)}
        else:
            self._whole.add(found.st_ino)

    async def mount(self, ledger: SqliteLedger) -> None:
        """See what a ledger syncs from now on."""

        def follow(db: sqlite3.Connection) -> None:
            db.set_trace_callback(self._executes)

        await ledger._worker.apart(follow)  # noqa: SLF001  # the one connection that writes
        self._index = os.open(self._data / f"{NAME}-shm", os.O_RDONLY)
        self._frames, self._durable, self._committed = self._logged(), True, False

    def _logged(self) -> int:
        """Return how many pages are in the log."""
        assert self._index is not None
        (count,) = struct.unpack("=I", os.pread(self._index, 4, _COUNT_AT))
        return int(count)

    def _executes(self, statement: str) -> None:
        """Note what was synced before a statement."""
        self._note()
        if statement.startswith("PRAGMA synchronous="):
            self._durable = statement.endswith("FULL")
        self._committed = statement == "COMMIT"

    def _note(self) -> None:
        logged = self._logged()
        if self._committed and self._durable:
            self._frames = logged
        elif logged < self._frames:  # it was begun anew, after all of it was copied and synced
            self._frames = 0

    # --- the end of its power -------------------------------------------------------------------

    def cut(self) -> None:
        """Keep what would be left if the power failed just now."""
        room = self.is_full
        self.free()
        self._note()
        kept = self._chance.randint(self._frames, max(self._frames, self._logged()))
        torn = self._chance.choice([0, self._chance.randrange(_FRAME)])
        shutil.copytree(self._data, self._cut, ignore=shutil.ignore_patterns("*-shm"))
        log = self._cut / f"{NAME}-wal"
        os.truncate(log, min(log.stat().st_size, _HEADER + kept * _FRAME + torn))
        self._left = {
            entry.name
            for entry in (os.scandir(self._media) if self._media.exists() else ())
            if self._names.get(entry.name) == entry.inode() and entry.inode() in self._whole
        }
        if room:
            self.fill()

    def power_up(self) -> None:
        """Have nothing but what was left, once the machine's processes are gone."""
        if self._index is not None:
            os.close(self._index)
            self._index = None
        if not self._cut.exists():
            return
        shutil.rmtree(self._data)
        self._cut.rename(self._data)
        for path in self._media.iterdir() if self._media.exists() else ():
            if path.name not in self._left:
                path.unlink()

    # --- its room -------------------------------------------------------------------------------

    is_full = False

    def fill(self) -> None:
        """Have no file of this process grow, as far as the system can do that."""
        self._limit(0)

    def free(self) -> None:
        """Have room again."""
        self._limit(None)

    def _limit(self, most: int | None) -> None:
        self.is_full = most is not None
        with suppress(ImportError):  # Windows has none
            import resource  # noqa: PLC0415

            hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
            resource.setrlimit(resource.RLIMIT_FSIZE, (hard if most is None else most, hard))
