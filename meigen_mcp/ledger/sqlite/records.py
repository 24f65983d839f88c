"""Records by name, by place and by URL, and the change of one."""

import json
import sqlite3
import sys
from collections.abc import Sequence
from dataclasses import replace

from meigen_mcp.errors import NotFound
from meigen_mcp.generation import Generation, by_poller
from meigen_mcp.ledger.changes import Followers
from meigen_mcp.ledger.columns import changed
from meigen_mcp.ledger.records import MOST_BEGINNING, Change, Forgotten, Overview, TakenOver
from meigen_mcp.ledger.spending import DAY, MONTH
from meigen_mcp.ledger.sqlite import rows
from meigen_mcp.ledger.sqlite.accounts import LISTED, SqliteAccounts
from meigen_mcp.ledger.sqlite.spending import reserved, spent_after_each
from meigen_mcp.ledger.sqlite.team import allowances
from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.reports import Balance


class SqliteRecords:
    """The records that may be shown; see `Records`."""

    def __init__(self, accounts: SqliteAccounts, worker: Worker, followers: Followers) -> None:
        self._accounts = accounts
        self._worker = worker
        self._followers = followers
        # The plus: the newest are found from the end, and hardly any is not shown, unless many
        # people share a ledger.
        self._shown = f"{'' if accounts.person else '+'}account {LISTED}"

    async def get(self, name: str) -> Generation | None:
        """Return the record with this `generationId` or `requestId`."""
        found = await self._worker.read(lambda db: self._named(db, name, 1))
        return found[0] if found else None

    async def named(self, name: str) -> list[Generation]:
        """Return all with this id that are shown, the own first."""
        return await self._worker.read(lambda db: self._named(db, name, -1))

    def _named(self, db: sqlite3.Connection, name: str, limit: int) -> list[Generation]:
        shown = self._accounts.listed_shown(db)
        found = db.execute(
            # The own ones come first in the list: the same id may be somebody else's as well.
            "SELECT g.* FROM json_each(?) AS shown CROSS JOIN generations AS g"
            " WHERE g.account = shown.value AND g.request_id = ?"
            " UNION ALL SELECT g.* FROM json_each(?) AS shown CROSS JOIN generations AS g"
            " WHERE g.account = shown.value AND g.generation_id = ? AND g.twin = 0 LIMIT ?",
            (shown, name.lower(), shown, name, limit),
        ).fetchall()
        return [rows.read(row) for row in found]

    async def beginning(self, start: str) -> list[Generation]:
        """Return those of which an id begins so, the newest first."""

        def query(db: sqlite3.Connection) -> list[Generation]:
            found = db.execute(
                f"SELECT * FROM generations WHERE {self._shown}"  # noqa: S608  # our own
                " AND (substr(request_id, 1, ?) = ? OR (substr(generation_id, 1, ?) = ?"
                " AND twin = 0)) ORDER BY id DESC LIMIT ?",
                (
                    self._accounts.listed_shown(db),
                    *(len(start), start.lower(), len(start), start, MOST_BEGINNING),
                ),
            ).fetchall()
            return [rows.read(row) for row in found]

        # It looks through a whole ledger, which the loop does not wait for.
        return await self._worker.apart(query)

    async def again(self, job: Generation) -> Generation | None:
        """Return a record as it is now."""
        return await self._worker.read(lambda db: rows.find(db, job.account, job.request_id))

    async def newest(self, limit: int, before: int | None = None) -> list[tuple[int, Generation]]:
        """Return records, newest first, each with its place; `before` is the last place seen."""
        return await self._worker.read(lambda db: self._newest(db, limit, before))

    async def overview(self, limit: int, now: float) -> Overview:
        """Return the newest records and what was spent in the last 24 hours and 30 days."""

        def query(db: sqlite3.Connection) -> Overview:
            jobs = [job for _, job in self._newest(db, limit, None)]
            person = self._accounts.person
            caps = allowances(db, person, now)
            today, month = spent_after_each(db, (now - DAY, now - MONTH), person)
            return Overview(jobs, today, month, reserved(db, now - MONTH, person), caps)

        return await self._worker.read(query)

    def _newest(
        self, db: sqlite3.Connection, limit: int, before: int | None
    ) -> list[tuple[int, Generation]]:
        found = db.execute(
            f"SELECT * FROM generations WHERE {self._shown} AND id < ?"  # noqa: S608  # our own
            " ORDER BY id DESC LIMIT ?",
            (
                self._accounts.listed_shown(db),
                sys.maxsize if before is None else before,
                limit,
            ),
        ).fetchall()
        return [(row["id"], rows.read(row)) for row in found]

    async def keeping(self, name: str) -> Generation | None:
        """Return the newest that is shown and has a saved file whose path ends so, however old."""

        def query(db: sqlite3.Connection) -> Generation | None:
            row = db.execute(
                f"SELECT * FROM generations WHERE {self._shown} AND instr(files, ?) > 0"  # noqa: S608  # our own
                " ORDER BY id DESC LIMIT 1",
                (self._accounts.listed_shown(db), json.dumps(name, ensure_ascii=False)[1:]),
            ).fetchone()
            return rows.read(row) if row else None

        return await self._worker.apart(query)  # of a long ledger it reads all

    async def made(self, url: str) -> tuple[Generation, int] | None:
        """Return the result that a URL is, if it is one of the newest thousand."""

        def query(db: sqlite3.Connection) -> tuple[Generation, int] | None:
            row = db.execute(
                f"SELECT * FROM (SELECT * FROM generations WHERE {self._shown}"  # noqa: S608  # our own
                " ORDER BY id DESC LIMIT 1000) WHERE EXISTS"
                " (SELECT 1 FROM json_each(media_urls) WHERE value = ?) LIMIT 1",
                (self._accounts.listed_shown(db), url),
            ).fetchone()
            if row is None:
                return None
            job = rows.read(row)
            return job, job.media_urls.index(url)

        return await self._worker.read(query)

    async def saved_before(
        self, finished_before: float, after: int, limit: int
    ) -> list[tuple[int, Generation]]:
        """Return records with saved files or a preview that ended before a time."""

        def query(db: sqlite3.Connection) -> list[tuple[int, Generation]]:
            found = db.execute(
                "SELECT * FROM generations WHERE id > ? AND status = 'completed'"
                " AND finished_at < ? AND (files LIKE '%\"%' OR preview IS NOT NULL)"
                " ORDER BY id LIMIT ?",
                (after, finished_before, limit),
            ).fetchall()
            return [(row["id"], rows.read(row)) for row in found]

        # It may look through a whole ledger, which the loop does not wait for.
        return await self._worker.write(query, durable=False)

    async def forgettable(self, ended_before: float) -> list[Generation]:
        """Return records that ended before a time and of which there is something to forget."""

        def query(db: sqlite3.Connection) -> list[Generation]:
            found = db.execute(
                "SELECT * FROM generations WHERE status IN ('completed', 'failed')"
                " AND next_look IS NULL AND finished_at < ?"
                " AND (prompt <> '' OR preview IS NOT NULL OR files LIKE '%\"%')"
                " AND (? IS NULL OR instr(account, '#') > 0"
                " AND substr(account, instr(account, '#') + 1) = ?) ORDER BY id",
                (ended_before, self._accounts.person or None, self._accounts.person),
            ).fetchall()
            return [rows.read(row) for row in found]

        # It looks through a whole ledger, which the loop does not wait for.
        return await self._worker.apart(query)

    async def forget(self, jobs: Sequence[Generation]) -> Forgotten:
        """Take what was asked for, and files, out of records that have ended."""

        def take_out(db: sqlite3.Connection) -> list[Generation]:
            same = [job for job in jobs if rows.find(db, job.account, job.request_id) == job]
            version = rows.tick(db)
            db.executemany(
                "UPDATE generations SET prompt = '', arguments = '{}', body = '', made_from = '[]',"
                " preview = NULL, files = '[]', unsaved = '[]', fingerprint = '', version = ?"
                " WHERE account = ? AND request_id = ?",
                [(version, job.account, job.request_id) for job in same],
            )
            return same

        forgotten = await self._worker.write(take_out)
        blocked = await self._worker.apart(
            lambda db: db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        )
        return Forgotten(
            forgotten,
            "Another server has the ledger open: its files are overwritten when that ends."
            if blocked
            else "",
        )

    async def last_balance(self) -> tuple[Balance, float] | None:
        """Return the account's credits as the API last told them, and when."""
        return await self._worker.read(lambda db: last_balance(db, self._accounts.listed_paid(db)))

    async def change(
        self,
        job: Generation,
        change: Change,
        *,
        durable: bool = True,
        patient: bool = False,
        by_owner: bool = False,
    ) -> Generation:
        """Apply a transition to a record as it is now, whatever it was when it was read."""
        changed = await self._worker.write(
            lambda db: changed_row(db, job, change, by_owner=by_owner),
            durable=durable,
            patient=patient,
            then=self.tell,
        )
        return changed[0]

    def tell(self, changed: tuple[Generation, bool]) -> None:
        """Tell whoever follows a record that it changed, if it did."""
        job, loud = changed
        if loud:
            self._followers.tell(job)


def changed_row(
    db: sqlite3.Connection, job: Generation, change: Change, *, by_owner: bool = False
) -> tuple[Generation, bool]:
    """Apply a transition to a record as it is in this transaction.

    Returns:
        The record as it is now, and whether anybody is to be told of it.
    """
    before = rows.find(db, job.account, job.request_id)
    if before is None:
        raise NotFound(f"The ledger has no generation {job.request_id} any more.")
    if by_owner and before.owner != job.owner:
        raise TakenOver(job.request_id)
    after = by_poller(before, change(before))
    if after.generation_id != before.generation_id:
        after = replace(after, twin=_has_twin(db, after))
    columns = changed(before, after)
    if not columns:
        return before, False
    if columns.keys() == {"next_look"} and not after.at_rest:
        db.execute(
            "UPDATE generations SET next_look = ? WHERE account = ? AND request_id = ?",
            (after.next_look, job.account, job.request_id),
        )
        return after, False
    return rows.save(db, after, columns), True


def _has_twin(db: sqlite3.Connection, job: Generation) -> bool:
    """Return whether another record has its `generationId`, so that its own name is another."""
    other = db.execute(
        "SELECT 1 FROM generations WHERE account = ? AND generation_id = ? AND request_id <> ?",
        (job.account, job.generation_id, job.request_id),
    )
    return other.fetchone() is not None


def last_balance(db: sqlite3.Connection, own: str) -> tuple[Balance, float] | None:
    """Return an account's credits as the API last told them, and when.

    Args:
        db: the file.
        own: the account's names, as JSON.
    """
    row = db.execute(
        "SELECT * FROM generations WHERE id = (SELECT max(id) FROM generations"  # noqa: S608  # our own
        f" WHERE account {LISTED} AND balance IS NOT NULL)",
        (own,),
    ).fetchone()
    job = None if row is None else rows.read(row)
    if job is None or job.balance is None or job.accepted_at is None:
        return None
    return job.balance, job.accepted_at
