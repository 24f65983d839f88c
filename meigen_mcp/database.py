"""The SQLite file under the ledger: opening, formats, transactions, and the lock of its owner."""

import shutil
import sqlite3
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.resources import files
from pathlib import Path
from uuid import uuid4

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.system import Lock, private_file, private_folder, secret

FORMAT = 3
BUSY_SECONDS = 10.0
"""How long other processes may keep the file busy."""
_DAMAGED = "is damaged. Run `meigen-mcp doctor --reset-ledger`, which keeps a copy."


class Database:
    """One connection to the file that all server processes of a user share.

    It is opened on first use, so that a server with a broken data folder still starts and says
    what is wrong. A commit is on the disk before it returns, since money moves after it, unless it
    is said that it need not be.

    Args:
        folder: where its files are.
        called: what errors call that folder; by default its path.

    Attributes:
        owner: this process's name in the rows that it acts on; while the process lives it holds
            an operating-system lock on a file of that name.
    """

    def __init__(self, folder: Path, called: str | None = None) -> None:
        self.folder = folder
        self._called = called or str(folder)
        self.owner = uuid4().hex
        self._connection: sqlite3.Connection | None = None
        self._lock: Lock | None = None
        self._durable = True

    def secret(self) -> bytes:
        """Return the key under which account names are hashed."""
        with self._explained():
            private_folder(self.folder)
            return secret(self.folder / "account.key")

    def dead(self, owner: str) -> Lock | None:
        """Return the lock of another owner if its process is gone."""
        with self._explained():
            return Lock.take(self.folder / "owners" / f"{owner}.lock")

    def _open(self) -> sqlite3.Connection:
        if self._connection is not None:
            return self._connection
        private_folder(self.folder)
        private_folder(self.folder / "owners")
        path = self.folder / "ledger.sqlite3"
        # First the lock: a file that is open somewhere must never be taken for abandoned.
        self._lock = Lock.take(self.folder / "owners" / f"{self.owner}.lock")
        try:
            private_file(path)
            db = self._connection = sqlite3.connect(
                path, timeout=BUSY_SECONDS, isolation_level=None
            )
            db.row_factory = sqlite3.Row
            old = self._version(db) < FORMAT  # asked before anything below changes the file
            _write_ahead(db)
            db.execute("PRAGMA synchronous=FULL")
            if sys.platform == "darwin":
                db.execute("PRAGMA fullfsync=1")
            if old:
                self._migrate(db)
        except BaseException:
            self.close()
            raise
        return db

    def _migrate(self, db: sqlite3.Connection) -> None:
        db.execute("BEGIN IMMEDIATE")
        try:
            for version in range(self._version(db) + 1, FORMAT + 1):  # unless somebody was faster
                script = files("meigen_mcp").joinpath(f"ledger-{version}.sql").read_text("utf-8")
                for statement in _statements(script):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version={version}")
            db.execute("COMMIT")
        except BaseException:
            if db.in_transaction:
                db.execute("ROLLBACK")
            raise

    def _version(self, db: sqlite3.Connection) -> int:
        version = int(db.execute("PRAGMA user_version").fetchone()[0])
        if version > FORMAT:
            raise LedgerUnavailable(
                f"The ledger in {self._called} was written by a newer meigen-mcp (format {version};"
                f" this one reads {FORMAT}). Update meigen-mcp. Nothing was sent or charged."
            )
        return version

    def close(self) -> None:
        """Close the file and give the owner's lock back."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
        if self._lock is not None:
            self._lock.release()
            self._lock = None

    def check(self) -> dict[str, int]:
        """Look at every page, and return how many generations are in each state."""
        with self.reading() as db:
            (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
            if found != "ok":
                raise LedgerUnavailable(f"The ledger in {self._called} {_DAMAGED}")
            rows = db.execute("SELECT status, count(*) FROM generations GROUP BY status").fetchall()
        return {row[0]: row[1] for row in rows}

    def set_aside(self, name: str) -> Path:
        """Copy the ledger's files under another name, and only then remove them.

        Raises:
            LedgerUnavailable: another process has it open, or it cannot be copied.
        """
        path = self.folder / "ledger.sqlite3"
        with self._explained():
            locks = [Lock.take(held) for held in (self.folder / "owners").glob("*.lock")]
            try:
                if None in locks:
                    raise LedgerUnavailable(
                        f"The ledger in {self._called} is open in another process. Quit the chat"
                        " clients that use meigen-mcp, and call again."
                    )
                parts = [part for part in ("", "-wal", "-shm") if Path(f"{path}{part}").exists()]
                for part in parts:
                    copy = self.folder / f"{name}{part}"
                    private_file(copy)
                    shutil.copyfile(f"{path}{part}", copy)
                for part in reversed(parts):
                    Path(f"{path}{part}").unlink()
            finally:
                for lock in locks:
                    if lock is not None:
                        lock.release()
        return self.folder / name

    @contextmanager
    def _explained(self) -> Iterator[None]:
        """Turn what goes wrong below into a sentence that names the folder and the fix."""
        try:
            yield
        except sqlite3.DatabaseError as error:
            broken = getattr(error, "sqlite_errorname", "")
            if broken.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
                fix = _DAMAGED
            elif broken.startswith("SQLITE_BUSY"):
                fix = "is kept busy by another process. Call again."
            else:
                fix = "cannot be written. Check that its disk has room and is not read-only."
            raise LedgerUnavailable(
                f"The ledger in {self._called} {fix} Nothing was sent or charged."
            ) from None
        except OSError:
            raise LedgerUnavailable(
                f"The data folder {self._called} cannot be used. Check that it may be written, or"
                " set MEIGEN_DATA_DIR to another folder. Nothing was sent or charged."
            ) from None

    @contextmanager
    def reading(self) -> Iterator[sqlite3.Connection]:
        """Give the connection for one query."""
        with self._explained():
            yield self._open()

    @contextmanager
    def writing(self, *, durable: bool = True) -> Iterator[sqlite3.Connection]:
        """Give the connection for one transaction, which nobody else can come between.

        Args:
            durable: whether it is on the disk before this returns. If not, it outlives this
                process, and is on the disk with the next that is.
        """
        with self._explained():
            db = self._open()
            if durable is not self._durable:
                db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
                self._durable = durable
            db.execute("BEGIN IMMEDIATE")
            try:
                yield db
                db.execute("COMMIT")
            except BaseException:
                if db.in_transaction:
                    db.execute("ROLLBACK")
                raise


def _write_ahead(db: sqlite3.Connection) -> None:
    """Turn the write-ahead log on; SQLite does not wait by itself for others that do the same."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            db.execute("PRAGMA journal_mode=WAL")
            return
        except sqlite3.OperationalError as error:
            if error.sqlite_errorname != "SQLITE_BUSY" or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
