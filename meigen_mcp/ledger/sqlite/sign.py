"""Whether in a ledger's file lies what was put there: it may be overwritten while it is open.

In the file itself is what was copied back from its log. SQLite never looks whether that is still
so, and would read, and write, pages of two ledgers as if they were one.
"""

import contextlib
import secrets
import sqlite3
from pathlib import Path
from typing import NamedTuple

OTHERS = -1
"""The identity of what is known to be mixed."""
Stamp = tuple[int, int, int]
"""What changes with every writing to a file: its size and times."""


class Sign(NamedTuple):
    """What tells one ledger from another, and an older copy from a newer one.

    Attributes:
        identity: random, from its first opening on.
        schema: SQLite's count of changes of the tables; a copy that SQLite wrote anew has another.
        version: it only grows.
    """

    identity: int
    schema: int
    version: int


def read(db: sqlite3.Connection) -> Sign:
    """Read the sign of what a connection sees."""
    (identity,) = db.execute("PRAGMA application_id").fetchone()
    (schema,) = db.execute("PRAGMA schema_version").fetchone()
    version = db.execute("SELECT version FROM clock").fetchone()[0] if schema else 0
    return Sign(identity, schema, version)


def read_file(path: Path) -> Sign:
    """Read the sign of what lies in the file itself, past its log.

    Through SQLite, since to close a descriptor of our own would drop its locks on the file.
    """
    named = f"{path.absolute().as_uri()}?immutable=1"
    with contextlib.closing(sqlite3.connect(named, uri=True)) as db:
        return read(db)


def is_whole(path: Path) -> bool:
    """Return whether a ledger lies in a file, and not the beginning of one."""
    try:
        return read_file(path).schema > 0
    except sqlite3.Error:
        return False


class Seal:
    """Knows what lies in a ledger's file for as long as that is open.

    Args:
        db: the connection that writes.
        path: the file.
    """

    def __init__(self, db: sqlite3.Connection, path: Path) -> None:
        self._db = db
        self._path = path
        with contextlib.suppress(sqlite3.Error):  # a full disk: then the next process
            _name(db, path)
        self._last = read(db).identity, read_file(path)
        self._stamp = stamp(path)

    def holds(self) -> bool:
        """Say whether what lies there is what was put there; whoever asks may write.

        What is copied back is some state between the last one and now, of the same ledger.
        """
        at = stamp(self._path)
        if at == self._stamp:
            return True
        identity, last = self._last
        try:
            now, there = read(self._db), read_file(self._path)
        except sqlite3.Error:
            return False
        ours = there == last or (
            there.identity == now.identity == identity
            and there.schema in (last.schema, now.schema)
            and last.version <= there.version <= now.version
        )
        if ours:
            self._last, self._stamp = (identity, there), at
        return ours


def _name(db: sqlite3.Connection, path: Path) -> None:
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
    if read_file(path).identity == 0:
        db.execute("PRAGMA wal_checkpoint(PASSIVE)")


def stamp(path: Path) -> Stamp | None:
    """Return it, if the file is there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ctime_ns
