"""What happens to the records of a ledger whose file was removed or replaced while it was open.

They are written into the file that is there; where none is, or it cannot be used, into a rescue
file beside it, which the next ledger that is opened there takes in.
"""

import contextlib
import logging
import sqlite3
from dataclasses import replace
from pathlib import Path

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.spending import MONTH
from meigen_mcp.ledger.sqlite import rows
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.system import private_folder, secret

log = logging.getLogger(__name__)

RESCUED = "rescued-{}.sqlite3"
_CARRIED = (
    "SELECT * FROM generations WHERE next_look IS NOT NULL OR status NOT IN ('completed', 'failed')"
    " OR created_at > (SELECT max(created_at) FROM generations) - ? ORDER BY id"
)
"""What is under way, and what counts towards a sum."""


class LastingDatabase(Database):
    """A database whose records outlive its file."""

    _carried: tuple[int, object] | None = None
    _told: str | None = None

    def open(self) -> sqlite3.Connection:
        """Return the connection that writes; opening it takes in what others rescued."""
        was_open = self.reader is not None
        db = super().open()
        if not was_open:
            _take_in(self)
        return db

    def close(self) -> None:
        """Close the file, having carried over what others would not find."""
        self.carry()
        super().close()

    def carry(self) -> None:
        """Carry what is new, if the file was removed or replaced; may wait for a disk.

        Where there is no place for it, that is logged, and the next time it is tried again.
        """
        if self.in_place:
            return
        try:
            with self.explained():
                self._carry_news(self.open())
            told = f"the ledger in {self.folder} was removed or replaced while it was open"
        except LedgerUnavailable as problem:
            told = problem.message
        if told != self._told:
            log.warning("%s", told)
            self._told = told

    def _carry_news(self, db: sqlite3.Connection) -> None:
        news = db.execute("SELECT version FROM clock").fetchone()[0], self.found
        if self._carried == news:
            return
        private_folder(self.folder)
        private_folder(self.folder / "owners")
        secret(self.folder / "account.key", self.key)
        self.hold_owner()  # before anybody can take them for abandoned
        self._carry(there=self.path.exists())
        self._carried = news

    def _carry(self, *, there: bool) -> None:
        rescue = self.folder / RESCUED.format(self.owner)
        if there:
            try:
                with contextlib.closing(_beside(self, self.path.name)) as target:
                    _merge(self.open(), self, target)
            except LedgerUnavailable as problem:
                log.warning("%s", problem.message)
            else:
                _remove(rescue)
                return
        with contextlib.closing(_beside(self, rescue.name)) as target:
            _merge(self.open(), self, target)


def rescued(folder: Path) -> list[Path]:
    """Return the rescue files in a data folder."""
    return sorted(folder.glob(RESCUED.format("*")))


def _take_in(database: Database) -> None:
    """Take the records of rescue files into a ledger that was just opened, and remove those."""
    for path in rescued(database.folder):
        try:
            with contextlib.closing(_beside(database, path.name)) as source:
                _merge(source.open(), source, database)
            _remove(path)
        except (LedgerUnavailable, OSError) as problem:
            log.warning("%s could not be taken in: %s", path, problem)


def _beside(database: Database, name: str) -> Database:
    return Database(database.folder, database.called, database.name_account, name)


def _merge(source: sqlite3.Connection, old: Database, there: Database) -> None:
    """Write records where they are missing or less is known of them, under that account's name."""
    with there.explained():
        there.open()
        db = there.begin(durable=True)
        try:
            for row in source.execute(_CARRIED, (MONTH,)).fetchall():
                job = rows.read(row)
                if job.account == old.account:
                    job = replace(job, account=there.account)
                known = rows.find(db, job.account, job.request_id)
                if known is None:
                    rows.add(db, job)
                elif _is_further(job, known):
                    rows.save(db, job)
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
