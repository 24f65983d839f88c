"""What happens to the records of a ledger whose file was removed or replaced while it was open.

They are written into the file that is there; where none is, or it cannot be used, into a rescue
file beside it, which the next ledger that is opened there takes in.

A file that was overwritten in its place, or whose log was removed, is worse than one that is gone:
who has it open reads and writes pages of two ledgers as if they were one. So what this process
wrote is kept beside, in memory; what lies there gets a file of its own, over which nobody's log is
laid, and this process goes on in its rescue file until it ends.
"""

import contextlib
import logging
import shutil
import sqlite3
import time
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.columns import changed
from meigen_mcp.ledger.spending import MONTH
from meigen_mcp.ledger.sqlite import rows, sign
from meigen_mcp.ledger.sqlite.database import Database, Place
from meigen_mcp.system import alone, private_file, private_folder, secret, sync_names

log = logging.getLogger(__name__)

SURE_AFTER = 0.1
"""Seconds after which what is not as it should be is looked at once more."""
RESCUED = "rescued-{}.sqlite3"
_CARRIED = (
    "SELECT * FROM generations WHERE next_look IS NOT NULL OR status NOT IN ('completed', 'failed')"
    " OR created_at > (SELECT max(created_at) FROM generations) - ? ORDER BY id"
)
"""What is under way, and what counts towards a sum."""
_KEEP = """
PRAGMA temp_store = MEMORY;
CREATE TEMP TABLE kept AS SELECT * FROM generations LIMIT 0;
CREATE UNIQUE INDEX temp.kept_by_id ON kept (id);
CREATE TEMP TRIGGER keep_new AFTER INSERT ON main.generations BEGIN
    INSERT INTO kept SELECT * FROM generations WHERE id = NEW.id;
    DELETE FROM kept WHERE id < NEW.id - 500 AND next_look IS NULL;
END;
CREATE TEMP TRIGGER keep_changed AFTER UPDATE ON main.generations BEGIN
    INSERT OR REPLACE INTO kept SELECT * FROM generations WHERE id = NEW.id;
END;
"""
"""All that this process writes of records, the newest of those that are at rest."""
_KEPT = "SELECT * FROM kept ORDER BY id"


class LastingDatabase(Database):
    """A database whose records outlive its file."""

    _carried: tuple[int, Place | None] | None = None
    _told: str | None = None
    _unparted: tuple[int, int] | None = None
    _seen: sign.Stamp | None = None
    _is_safe = False
    _left: tuple[sqlite3.Connection, ...] = ()
    _left_seals: tuple[sign.Seal, ...] = ()

    def open(self) -> sqlite3.Connection:
        """Return the connection that writes; opening it takes in what others rescued."""
        was_open = self.reader is not None
        db = super().open()
        if not was_open:
            _take_in(self)
            db.executescript(_KEEP)
        return db

    def close(self) -> None:
        """Close the file, having carried over what others would not find."""
        self.carry(last=True)
        opened = self.path
        super().close()
        with self.reading:
            for connection in self._left:  # of another file: nothing is copied back into it
                connection.close()
        for seal in self._left_seals:
            seal.close()
        self._left, self._left_seals = (), ()
        if opened != self.home and self._is_safe:
            _remove(opened)

    def carry(self, *, last: bool = False) -> None:
        """Carry what is new, if the file was removed or replaced; may wait for a disk.

        Where there is no place for it, that is logged, and the next time it is tried again.

        Args:
            last: there is no next time.
        """
        if self.in_place:
            return
        time.sleep(SURE_AFTER)  # in the ledger's thread, and hardly ever
        if self.in_place:
            return
        try:
            with self.explained():
                if self._is_mixed():
                    self._leave()
                if self._unparted is None or self._part(self._unparted, last=last):
                    self._carry_news(self.open())
            told = f"the ledger in {self.folder} was removed or replaced while it was open"
        except LedgerUnavailable as problem:
            told = problem.message
        if told != self._told:
            log.warning("%s", told)
            self._told = told

    # --- a file that is mixed -------------------------------------------------------------------

    def _is_mixed(self) -> bool:
        """Return whether what is open is no ledger any more, but parts of two."""
        if self.path != self.home:
            return False
        return not self._is_moved() or sign.read(self.open()).identity == sign.OTHERS

    def _is_moved(self) -> bool:
        place, found = self._place, self.found
        return found is None or place is None or found[0] != place[0]

    def _leave(self) -> None:
        """Go on in the rescue file, with what this process wrote."""
        db, place = self.open(), self._place
        sound = self._seal is None or self._seal.holds()  # only its log is another one
        jobs = _read(db, _CARRIED, MONTH) if sound else _read(db, _KEPT)
        version = sign.read(db).version or 0
        target = _beside(self, RESCUED.format(self.owner))
        target.connect(self.key)
        _merge(jobs, self, target, version)
        self._unparted = None if place is None or self._is_moved() else place[0]
        self._left = tuple(one for one in (self.reader, db) if one is not None)
        seals = self._seal, target._seal  # noqa: SLF001  # ours from now on
        self._left_seals = tuple(seal for seal in seals if seal is not None)
        self.path, self._place, self._seal, self._durable = target.path, (), None, True
        self.reader, self._writer = target.reader, target._writer  # noqa: SLF001  # as above

    def _part(self, ours: tuple[int, int], *, last: bool) -> bool:
        """Give what lies there a file of its own, and leave our log behind with the old one.

        Whoever has that open sees that it was replaced, and by its identity that it is mixed.

        Returns:
            Whether that is done: what may still be being written is left alone for now.
        """
        with alone(self.folder / "parting"):
            found, (seen, self._seen) = self.found, (self._seen, sign.stamp(self.home))
            if found is not None and found[0] == ours:
                if not (last or seen == self._seen or sign.is_whole(self.home)):
                    return False
                with contextlib.suppress(sqlite3.Error):
                    self._left[-1].execute(f"PRAGMA application_id={sign.OTHERS}")
                draft = self.folder / f"parted-{self.owner}"
                private_file(draft)
                shutil.copyfile(self.home, draft)
                for end in ("-shm", "-wal"):
                    Path(f"{self.home}{end}").unlink(missing_ok=True)
                draft.replace(self.home)
                sync_names(self.folder)
        self._unparted = None
        return True

    # --- carrying -------------------------------------------------------------------------------

    def _carry_news(self, db: sqlite3.Connection) -> None:
        news = db.execute("SELECT version FROM clock").fetchone()[0], self.found
        if self._carried == news:
            return
        private_folder(self.folder)
        private_folder(self.folder / "owners")
        secret(self.folder / "account.key", self.key)
        self.hold_owner()  # before anybody can take them for abandoned
        self._carry(there=self.home.exists())
        self._carried = news

    def _carry(self, *, there: bool) -> None:
        rescue = self.folder / RESCUED.format(self.owner)
        jobs = _read(self.open(), _CARRIED, MONTH)
        if there:
            try:
                with contextlib.closing(_beside(self, self.home.name)) as target:
                    _merge(jobs, self, target)
            except LedgerUnavailable as problem:
                log.warning("%s", problem.message)
            else:
                self._is_safe = True
                if rescue != self.path:
                    _remove(rescue)
                return
        self._is_safe = False
        if rescue != self.path:
            with contextlib.closing(_beside(self, rescue.name)) as target:
                _merge(jobs, self, target)


def rescued(folder: Path) -> list[Path]:
    """Return the rescue files in a data folder."""
    return sorted(folder.glob(RESCUED.format("*")))


def _take_in(database: Database) -> None:
    """Take the records of rescue files into a ledger that was just opened, and remove those."""
    for path in rescued(database.folder):
        try:
            with contextlib.closing(_beside(database, path.name)) as source:
                _merge(_read(source.open(), _CARRIED, MONTH), source, database)
            _remove(path)
        except (LedgerUnavailable, OSError) as problem:
            log.warning("%s could not be taken in: %s", path, problem)


def _beside(database: Database, name: str) -> Database:
    return Database(database.folder, database.called, database.name_account, name)


def _read(db: sqlite3.Connection, query: str, *values: float) -> list[Generation]:
    return [rows.read(row) for row in db.execute(query, values).fetchall()]


def _merge(jobs: Iterable[Generation], old: Database, there: Database, version: int = 0) -> None:
    """Write records where they are missing or less is known of them, under that account's name."""
    with there.explained():
        there.open()
        db = there.begin(durable=True)
        try:
            db.execute("UPDATE clock SET version = max(version, ?)", (version,))
            for carried in jobs:
                own = carried.account == old.account
                job = replace(carried, account=there.account) if own else carried
                known = rows.find(db, job.account, job.request_id)
                if known is None:
                    rows.add(db, job)
                elif _is_further(job, known):
                    rows.save(db, job, changed(known, job))
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def _is_further(job: Generation, known: Generation) -> bool:
    """Return whether more is known in one record of a generation than in another."""

    def steps(job: Generation) -> tuple[bool, bool, int]:
        saved = sum(path is not None for path in job.files)
        return job.terminal, job.generation_id is not None or job.status != "queued", saved

    return steps(job) > steps(known)


def _remove(path: Path) -> None:
    for end in ("-wal", "-shm", ""):
        path.with_name(path.name + end).unlink(missing_ok=True)
