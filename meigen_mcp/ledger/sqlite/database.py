"""The SQLite file under the ledger: opening, formats, damage, and the lock of its owner.

Everything here but the reader's queries may wait for a disk or a lock: it is the worker's to call.
"""

import contextlib
import os
import shutil
import sqlite3
import sys
import threading
import time
from collections.abc import Callable, Iterator
from importlib.resources import files
from pathlib import Path
from typing import TypeVar
from uuid import uuid4

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.sqlite.sign import Seal
from meigen_mcp.system import Lock, can_lock, private_file, private_folder, secret

NAME = "ledger.sqlite3"
FORMAT = 10
BUSY_SECONDS = 10.0
"""How long other processes may keep the file busy."""
SLICE = 0.1
"""Seconds of that which SQLite waits by itself; in between the worker looks up."""
LOG_LIMIT = 4 * 2**20
"""Bytes of the write-ahead log that stay on the disk, and after which it is copied back."""
Place = tuple[tuple[int, int], ...]
"""Which files are there: the ledger's, its log's and the one that this log is shared by."""
_T = TypeVar("_T")
_MIGRATIONS = files("meigen_mcp.ledger.sqlite").joinpath("migrations")
_UNFIT = (
    "SQLITE_PROTOCOL", "SQLITE_IOERR_LOCK", "SQLITE_IOERR_RDLOCK", "SQLITE_IOERR_SHMLOCK",
    "SQLITE_IOERR_SHMMAP",
)  # fmt: skip


class Database:
    """The file that all server processes of a user share, with a connection to write and to read.

    It is opened on first use, so that a server with a broken data folder still starts and says
    what is wrong, and works as soon as that is mended.

    Args:
        folder: where its files are.
        called: what errors call that folder; by default its path.
        name_account: gives the account's name, from the key under which names are hashed.
        name: the file's.

    Attributes:
        home: where the file is to be.
        path: the file that is open.
        owner: this process's name in the rows that it acts on; while the process lives it holds
            an operating-system lock on a file of that name.
        account: the account's name, known once it is open.
        key: the key under which it is hashed. The ledger keeps it too, since without it nobody
            would find the account's rows any more.
        reader: the connection that never waits, while it is open.
        reading: held by whoever asks it, since it must not be closed meanwhile.
    """

    def __init__(
        self,
        folder: Path,
        called: str | None = None,
        name_account: Callable[[bytes], str] = bytes.hex,
        name: str = NAME,
    ) -> None:
        self.folder = folder
        self.home = self.path = folder / name
        self.owner = uuid4().hex
        self.account = ""
        self.key = b""
        self.reader: sqlite3.Connection | None = None
        self.reading = threading.Lock()
        self.called = called or str(folder)
        self.name_account = name_account
        self._writer: sqlite3.Connection | None = None
        self._locks: list[Lock] = []
        self._place: Place | None = None
        self._seal: Seal | None = None
        self._durable = True
        self._copied_at = LOG_LIMIT

    # --- opening --------------------------------------------------------------------------------

    def open(self) -> sqlite3.Connection:
        """Return the connection that writes, opening the file if it is not.

        Raises:
            LedgerUnavailable: it cannot be opened, and why.
        """
        if self._writer is not None:
            return self._writer
        with self.explained():
            private_folder(self.folder)
            private_folder(self.folder / "owners")
            if not can_lock(self.folder):
                raise self._unfit()
            key = secret(self.folder / "account.key")
            # First the lock: a file that is open somewhere must never be taken for abandoned.
            self.hold_owner()
            try:
                self.connect(key)
            except BaseException:
                self.close()
                raise
        assert self._writer is not None  # noqa: S101  # just opened
        return self._writer

    def connect(self, key: bytes) -> None:
        """Open the file at `path`, under the key of its names unless it keeps another."""
        private_file(self.path)
        db = self._writer = sqlite3.connect(
            self.path, timeout=SLICE, isolation_level=None, check_same_thread=False
        )
        db.row_factory = sqlite3.Row
        # Asked before anything below changes the file.
        old = _patiently(lambda: self._version(db)) < FORMAT
        if _patiently(lambda: db.execute("PRAGMA journal_mode=WAL").fetchone()[0]) != "wal":
            raise self._unfit()
        db.execute("PRAGMA synchronous=FULL")
        db.execute("PRAGMA secure_delete=ON")  # what is freed is overwritten
        db.execute("PRAGMA wal_autocheckpoint=0")  # see `copy_back`
        db.execute(f"PRAGMA journal_size_limit={LOG_LIMIT}")
        if sys.platform == "darwin":
            db.execute("PRAGMA fullfsync=1")
        self._durable = True
        if old:
            self._migrate(db)
        # It reads on the event loop: in WAL mode that waits for nobody, and it may not write.
        reader = sqlite3.connect(
            self.path, timeout=0, isolation_level=None, check_same_thread=False
        )
        reader.row_factory = sqlite3.Row
        reader.execute("PRAGMA query_only=1")
        _patiently(lambda: self._version(reader))
        self.key = self._kept_key(db, key)
        self.account = self.name_account(self.key)
        self._seal = Seal(db, self.path)
        self._place = self.found
        self.reader = reader

    def hold_owner(self) -> None:
        """Take the lock on this process's name, unless it has it in the folder that is there."""
        if (lock := Lock.take(self.folder / "owners" / f"{self.owner}.lock")) is not None:
            self._locks.append(lock)

    def _kept_key(self, db: sqlite3.Connection, key: bytes) -> bytes:
        """Return the key that the ledger's names were hashed with, which it keeps from now on."""
        with contextlib.suppress(sqlite3.Error):  # a full disk: then next time
            db.execute("INSERT OR IGNORE INTO notes VALUES ('key', ?)", (f'"{key.hex()}"',))
        kept = db.execute("SELECT value FROM notes WHERE name = 'key'").fetchone()
        return key if kept is None else bytes.fromhex(kept[0].strip('"'))

    @property
    def found(self) -> Place | None:
        """Which files are there, if the ledger's is."""
        found = [_which(Path(f"{self.home}{end}")) for end in ("", "-wal", "-shm")]
        return None if found[0] is None else tuple(which or (0, 0) for which in found)

    @property
    def in_place(self) -> bool:
        """Whether the file that is open is the file that is there, with what was put there."""
        if self._place is None:
            return True
        return self._place == self.found and (self._seal is None or self._seal.holds())

    def _migrate(self, db: sqlite3.Connection) -> None:
        _patiently(lambda: db.execute("BEGIN IMMEDIATE"))
        try:
            for version in range(self._version(db) + 1, FORMAT + 1):  # unless somebody was faster
                script = _MIGRATIONS.joinpath(f"{version}.sql").read_text("utf-8")
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
                f"The ledger in {self.called} was written by a newer meigen-mcp (format {version};"
                f" this one reads {FORMAT}).",
                "Update meigen-mcp.",
            )
        return version

    def close(self) -> None:
        """Close the file and give the owner's lock back."""
        reader, writer, seal, locks = self.reader, self._writer, self._seal, self._locks
        self.reader = self._writer = self._place = self._seal = None
        self._locks, self.path = [], self.home
        with self.reading:
            if reader is not None:  # the last connection tidies up: never the reader
                reader.close()
        for opened in (writer, seal):
            if opened is not None:
                opened.close()
        for lock in locks:
            lock.release()

    # --- transactions ---------------------------------------------------------------------------

    def begin(self, *, durable: bool) -> sqlite3.Connection:
        """Begin a transaction which nobody else can come between.

        Args:
            durable: whether it is on the disk before its end returns. If not, it outlives this
                process, and is on the disk with the next that is.
        """
        db = self.open()
        if durable is not self._durable:
            db.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable
        db.execute("BEGIN IMMEDIATE")
        return db

    def copy_back(self) -> None:
        """Copy the write-ahead log into the file once it has grown; readers are not held up.

        SQLite would do it within a commit, and those who wait for that would wait for this too. A
        long reader keeps the log from being begun anew; then it is only tried as it grows.
        """
        try:
            size = os.stat(f"{self.path}-wal").st_size  # noqa: PTH116  # after each transaction
        except FileNotFoundError:
            size = 0
        if size <= LOG_LIMIT:
            self._copied_at = LOG_LIMIT
        if size > self._copied_at:
            self.open().execute("PRAGMA wal_checkpoint(PASSIVE)")
            self._copied_at = size + LOG_LIMIT

    # --- what is wrong --------------------------------------------------------------------------

    @contextlib.contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what goes wrong below into a sentence that names the folder and the fix."""
        try:
            yield
        except (sqlite3.Error, OSError) as error:
            raise self.explain(error) from None

    def explain(self, error: Exception) -> LedgerUnavailable:
        """Return what a failure of SQLite or the file system means, and what to do."""
        if isinstance(error, OSError):
            return LedgerUnavailable(
                f"The data folder {self.called} cannot be used.",
                "Check that it may be written, or set MEIGEN_DATA_DIR to another folder.",
            )
        broken = getattr(error, "sqlite_errorname", "")
        if broken.startswith(("SQLITE_NOTADB", "SQLITE_CORRUPT")):
            return self._damaged()
        if is_busy(error):
            return self.busy()
        if broken in _UNFIT:
            return self._unfit()
        return LedgerUnavailable(
            f"The ledger in {self.called} cannot be written.",
            "Check that its disk has room and is not read-only.",
            unsure=broken
            == "SQLITE_IOERR_FSYNC",  # all of it is written: a crash may bring it back
        )

    def busy(self) -> LedgerUnavailable:
        """Return the error of a file that others keep busy."""
        return LedgerUnavailable(
            f"The ledger in {self.called} is kept busy by another process.", "Call again."
        )

    def silent(self, *, unsure: bool) -> LedgerUnavailable:
        """Return the error of a disk that does not come back."""
        return LedgerUnavailable(
            f"The disk of the ledger in {self.called} does not answer.",
            "Check it, or set MEIGEN_DATA_DIR to a folder on a disk of this computer.",
            unsure=unsure,
        )

    def must_be_in_place(self) -> None:
        """Refuse what may spend, once the file was removed or replaced: nobody else would know.

        Raises:
            LedgerUnavailable: it was.
        """
        if not self.in_place:
            raise self._replaced()

    def _replaced(self) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"The ledger in {self.called} was removed or replaced while this server had it"
            " open, so what others spend is not seen.",
            "Restart this server, which then uses the one that is there.",
        )

    def _unfit(self) -> LedgerUnavailable:
        return LedgerUnavailable(
            f"The data folder {self.called} is on a file system that cannot lock files.",
            "Set MEIGEN_DATA_DIR to a folder on a disk of this computer.",
        )

    def _damaged(self) -> LedgerUnavailable:
        if not self.in_place:  # two ledgers are read as if they were one
            return self._replaced()
        return LedgerUnavailable(
            f"The ledger in {self.called} is damaged.",
            "Run `meigen-mcp doctor --reset-ledger`, which keeps a copy.",
            damaged=True,
        )

    # --- care -----------------------------------------------------------------------------------

    def dead(self, owner: str) -> Lock | None:
        """Return the lock of another owner if its process is gone."""
        return Lock.take(self.folder / "owners" / f"{owner}.lock")

    def check(self) -> dict[str, int]:
        """Look at every page, and return how many generations are in each state."""
        db = self.open()
        (found,) = db.execute("PRAGMA integrity_check(1)").fetchone()
        if found != "ok":
            raise self._damaged()
        rows = db.execute("SELECT status, count(*) FROM generations GROUP BY status").fetchall()
        return {row[0]: row[1] for row in rows}

    def set_aside(self, name: str) -> Path:
        """Copy the ledger's files under another name, and only then remove them.

        Raises:
            LedgerUnavailable: another process has it open, or it cannot be copied.
        """
        with self.explained():
            locks = [Lock.take(held) for held in (self.folder / "owners").glob("*.lock")]
            try:
                if None in locks:
                    raise LedgerUnavailable(
                        f"The ledger in {self.called} is open in another process.",
                        "Quit the chat clients that use meigen-mcp, and call again.",
                    )
                whole = [f"{self.path}{end}" for end in ("", "-wal", "-shm")]
                parts = [Path(part) for part in whole if Path(part).exists()]
                for part in parts:
                    copy = self.folder / part.name.replace(self.path.name, name)
                    private_file(copy)
                    shutil.copyfile(part, copy)
                for part in reversed(parts):
                    part.unlink()
            finally:
                for lock in locks:
                    if lock is not None:
                        lock.release()
        return self.folder / name


def _which(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def is_busy(error: BaseException) -> bool:
    """Return whether somebody else has the file locked just now."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_BUSY")


def _patiently(act: Callable[[], _T]) -> _T:
    """Do what SQLite does not wait long enough for by itself."""
    until = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            return act()
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() > until:
                raise
            time.sleep(0.01)


def _statements(script: str) -> Iterator[str]:
    statement = ""
    for line in script.splitlines(keepends=True):
        statement += line
        if sqlite3.complete_statement(statement):
            yield statement
            statement = ""
