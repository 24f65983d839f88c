"""Whether in a ledger's file lies what was put there: it may be overwritten while it is open.

In the file itself is what was copied back from its log. SQLite never looks whether that is still
so, and would read, and write, pages of two ledgers as if they were one.
"""

import contextlib
import os
import secrets
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

OTHERS = -1
"""The identity of what is known to be mixed."""
Stamp = tuple[int, int, int]
"""What changes with every writing to a file: its size and times."""
_MAGIC = b"SQLite format 3\0"
_LEAF = 0x0D
"""The kind of a page that holds rows of a table."""
_INTEGERS = {1: 1, 2: 2, 3: 3, 4: 4, 5: 6, 6: 8}
"""Bytes of an integer by its type in a row; 8 and 9 are 0 and 1, without any."""


class Sign(NamedTuple):
    """What tells one ledger from another, and an older copy from a newer one.

    Attributes:
        identity: random, from its first opening on; 0 before.
        schema: SQLite's count of changes of the tables; a copy that SQLite wrote anew has another.
        version: it only grows; None where it cannot be told.
    """

    identity: int
    schema: int
    version: int | None


def read(db: sqlite3.Connection) -> Sign:
    """Read the sign of what a connection sees."""
    (identity,) = db.execute("PRAGMA application_id").fetchone()
    (schema,) = db.execute("PRAGMA schema_version").fetchone()
    version = db.execute("SELECT version FROM clock").fetchone()[0] if schema else 0
    return Sign(identity, schema, version)


def read_file(file: int, clock: int) -> Sign | None:
    """Read the sign of what lies in the file itself, past its log; None: no ledger does.

    By its bytes. What SQLite copies back while somebody reads leaves some pages older than others,
    and SQLite calls a file damaged that has not grown yet by what its first page says.

    Args:
        file: a descriptor.
        clock: the number of the page of the table `clock`.
    """
    head = _bytes(file, 100, 0)
    if len(head) < 100 or not head.startswith(_MAGIC):
        return None
    size = int.from_bytes(head[16:18])
    size = 65536 if size == 1 else size
    identity = int.from_bytes(head[68:72], signed=True)
    page = _bytes(file, size, (clock - 1) * size)
    return Sign(identity, int.from_bytes(head[40:44]), _only_integer(page))


def _bytes(file: int, count: int, start: int) -> bytes:
    if hasattr(os, "pread"):
        return os.pread(file, count, start)
    os.lseek(file, start, os.SEEK_SET)  # on Windows
    return os.read(file, count)


def _only_integer(page: bytes) -> int | None:
    """Return the number in a page that holds one row of one number; None: it does not.

    A row of such a page: its length, its key, the length of its head, the type of the number, all
    in one byte each, and the number.
    """
    if len(page) < 512 or page[0] != _LEAF or int.from_bytes(page[3:5]) != 1:
        return None
    row = page[int.from_bytes(page[8:10]) :][:12]
    if len(row) < 4 or row[2] != 2 or row[3] not in {8, 9, *_INTEGERS}:
        return None
    if row[3] in (8, 9):
        return row[3] - 8
    return int.from_bytes(row[4 : 4 + _INTEGERS[row[3]]], signed=True)


def is_whole(path: Path) -> bool:
    """Return whether a ledger lies in a file, and not the beginning of one."""
    return _version_in(path) is not None


def _version_in(path: Path) -> int | None:
    """Return the version in a file by itself, whatever its pages are; None: it cannot be told."""
    named = f"{path.absolute().as_uri()}?immutable=1"
    try:
        with contextlib.closing(sqlite3.connect(named, uri=True)) as db:
            return read(db).version
    except sqlite3.Error:
        return None


class Seal:
    """Knows what lies in a ledger's file for as long as that is open.

    Its descriptor is closed after the connections are: any that is closed drops the locks that
    SQLite has on the file.

    Args:
        db: the connection that writes.
        path: the file.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        self._clock = 1
        self._file = os.open(path, os.O_RDONLY | getattr(os, "O_BINARY", 0))
        with contextlib.suppress(sqlite3.Error):  # a full disk, or a busy file: the next process
            _name(db, self._lies)
        self._seen, self._last = read(db), self._lies()
        self._stamp = stamp(path)

    def close(self) -> None:
        """Look no more."""
        os.close(self._file)

    def holds(self) -> bool:
        """Say whether what lies there is what was put there; whoever asks may write.

        What is copied back is some state between the last one and now, of the same ledger. Only
        what proves something else counts: what cannot be told is no proof.
        """
        at = stamp(self._path)
        if at == self._stamp:
            return True
        try:
            there = self._lies()
        except OSError:
            return True
        try:
            now = read(self._db)  # after it: then it knows all that can lie there
        except sqlite3.Error:
            now = self._seen._replace(version=None)
        ours = self._is_ours(there, now)
        if ours:
            self._seen, self._last, self._stamp = now, there, at
        return ours

    def _is_ours(self, there: Sign | None, now: Sign) -> bool:
        if there == self._last:
            return True
        if there is None:
            return False
        last = self._last or Sign(0, now.schema, None)  # nothing was copied back before
        named = {last.identity, self._seen.identity, now.identity} - {0}
        if named and there.identity not in named and (there.identity or last.identity):
            return False
        if there.schema not in (last.schema, self._seen.schema, now.schema):
            return False
        version = there.version
        if there.schema != last.schema:  # the tables may lie elsewhere now
            version = _version_in(self._path)
        known = [number for number in (last.version, version, now.version) if number is not None]
        return known == sorted(known)

    def _lies(self) -> Sign | None:
        with contextlib.suppress(sqlite3.Error):  # else it is where it was
            found = self._db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'clock'")
            (self._clock,) = found.fetchone()
        return read_file(self._file, self._clock)


def _name(db: sqlite3.Connection, lies: Callable[[], Sign | None]) -> None:
    """Give a ledger its identity, and have that in the file itself."""
    if read(db).identity == 0:
        db.execute("BEGIN IMMEDIATE")
        try:
            if read(db).identity == 0:  # unless somebody was faster
                db.execute(f"PRAGMA application_id={secrets.randbelow(2**31 - 1) + 1}")
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")
    if (there := lies()) is None or there.identity == 0:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")


def stamp(path: Path) -> Stamp | None:
    """Return it, if the file is there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
