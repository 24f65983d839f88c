"""Records by name, by place and by URL, and the change of one."""

import json
import sys
from collections.abc import Sequence
from dataclasses import replace
from decimal import Decimal

from meigen_mcp.errors import NotFound
from meigen_mcp.generation import Generation, by_poller
from meigen_mcp.ledger.changes import Followers
from meigen_mcp.ledger.columns import changed
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.accounts import PostgresAccounts
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.team import allowances, spent
from meigen_mcp.ledger.records import MOST_BEGINNING, Change, Forgotten, Overview, TakenOver
from meigen_mcp.ledger.spending import DAY, MONTH
from meigen_mcp.reports import Balance


class PostgresRecords:
    """The records that may be shown; see `Records`."""

    def __init__(
        self, database: Database, accounts: PostgresAccounts, followers: Followers
    ) -> None:
        self._accounts = accounts
        self._database = database
        self._followers = followers

    async def get(self, name: str) -> Generation | None:
        """Return the record with this `generationId` or `requestId`."""
        found = await self._database.read(lambda db: self._named(db, name, 1))
        return found[0] if found else None

    async def named(self, name: str) -> list[Generation]:
        """Return all with this id that are shown, the own first."""
        return await self._database.read(lambda db: self._named(db, name, None))

    async def _named(self, db: Connection, name: str, limit: int | None) -> list[Generation]:
        shown = await self._accounts.listed_shown(db)
        found = await rows.every(
            db,
            "SELECT * FROM meigen.generations WHERE account = ANY(%s)"
            " AND (request_id = %s OR (generation_id = %s AND NOT twin))"
            # The own ones come first: the same id may be somebody else's as well.
            " ORDER BY request_id <> %s, array_position(%s, account) LIMIT %s",
            (shown, name.lower(), name, name.lower(), shown, limit),
        )
        return [rows.read(row) for row in found]

    async def beginning(self, start: str) -> list[Generation]:
        """Return those of which an id begins so, the newest first."""

        async def query(db: Connection) -> list[Generation]:
            found = await rows.every(
                db,
                "SELECT * FROM meigen.generations WHERE account = ANY(%s)"
                " AND (starts_with(request_id, %s) OR (starts_with(generation_id, %s)"
                " AND NOT twin)) ORDER BY id DESC LIMIT %s",
                (await self._accounts.listed_shown(db), start.lower(), start, MOST_BEGINNING),
            )
            return [rows.read(row) for row in found]

        return await self._database.read(query)

    async def again(self, job: Generation) -> Generation | None:
        """Return a record as it is now."""
        return await self._database.read(lambda db: rows.find(db, job.account, job.request_id))

    async def newest(self, limit: int, before: int | None = None) -> list[tuple[int, Generation]]:
        """Return records, newest first, each with its place; `before` is the last place seen."""
        return await self._database.read(lambda db: self._newest(db, limit, before))

    async def overview(self, limit: int, now: float) -> Overview:
        """Return the newest records and what was spent in the last 24 hours and 30 days."""

        async def query(db: Connection) -> Overview:
            jobs = [job for _, job in await self._newest(db, limit, None)]
            person = self._accounts.person
            theirs = rows.OF_PERSON if person else ""
            held = await rows.one(
                db,
                "SELECT coalesce(sum(millicredits), 0) FROM meigen.generations"  # noqa: S608  # ours
                f" WHERE created_at > %s AND credits_used IS NULL{theirs}",
                (now - MONTH, *([person] if person else [])),
            )
            today = await spent(db, now - DAY, person)
            month = await spent(db, now - MONTH, person)
            caps = await allowances(db, person, now)
            return Overview(jobs, today, month, Decimal(held) / 1000, caps)

        return await self._database.read(query)

    async def _newest(
        self, db: Connection, limit: int, before: int | None
    ) -> list[tuple[int, Generation]]:
        found = await rows.every(
            db,
            "SELECT * FROM meigen.generations WHERE account = ANY(%s) AND id < %s"
            " ORDER BY id DESC LIMIT %s",
            (
                await self._accounts.listed_shown(db),
                sys.maxsize if before is None else before,
                limit,
            ),
        )
        return [(row["id"], rows.read(row)) for row in found]

    async def keeping(self, name: str) -> Generation | None:
        """Return the newest that is shown and has a saved file whose path ends so, however old."""

        async def query(db: Connection) -> Generation | None:
            found = await rows.every(
                db,
                "SELECT * FROM meigen.generations WHERE account = ANY(%s)"
                " AND strpos(files, %s) > 0 ORDER BY id DESC LIMIT 1",
                (await self._accounts.listed_shown(db), json.dumps(name, ensure_ascii=False)[1:]),
            )
            return rows.read(found[0]) if found else None

        return await self._database.read(query)

    async def made(self, url: str) -> tuple[Generation, int] | None:
        """Return the result that a URL is, if it is one of the newest thousand."""

        async def query(db: Connection) -> tuple[Generation, int] | None:
            found = await rows.every(
                db,
                "SELECT * FROM (SELECT * FROM meigen.generations WHERE account = ANY(%s)"
                " ORDER BY id DESC LIMIT 1000) AS newest WHERE strpos(media_urls, %s) > 0",
                (await self._accounts.listed_shown(db), json.dumps(url, ensure_ascii=False)),
            )
            for job in map(rows.read, found):
                if url in job.media_urls:
                    return job, job.media_urls.index(url)
            return None

        return await self._database.read(query)

    async def saved_before(
        self, finished_before: float, after: int, limit: int
    ) -> list[tuple[int, Generation]]:
        """Return records with saved files or a preview that ended before a time."""

        async def query(db: Connection) -> list[tuple[int, Generation]]:
            found = await rows.every(
                db,
                "SELECT * FROM meigen.generations WHERE id > %s AND status = 'completed'"
                " AND finished_at < %s AND (strpos(files, '\"') > 0 OR preview IS NOT NULL)"
                " ORDER BY id LIMIT %s",
                (after, finished_before, limit),
            )
            return [(row["id"], rows.read(row)) for row in found]

        return await self._database.read(query)

    async def forgettable(self, ended_before: float) -> list[Generation]:
        """Return records that ended before a time and of which there is something to forget."""

        async def query(db: Connection) -> list[Generation]:
            person = self._accounts.person
            found = await rows.every(
                db,
                "SELECT * FROM meigen.generations WHERE status IN ('completed', 'failed')"  # noqa: S608  # ours
                " AND next_look IS NULL AND finished_at < %s"
                " AND (prompt <> '' OR preview IS NOT NULL OR strpos(files, '\"') > 0)"
                f"{rows.OF_PERSON if person else ''} ORDER BY id",
                (ended_before, *([person] if person else [])),
            )
            return [rows.read(row) for row in found]

        return await self._database.read(query)

    async def forget(self, jobs: Sequence[Generation]) -> Forgotten:
        """Take what was asked for, and files, out of records that have ended."""

        async def take_out(db: Connection) -> list[Generation]:
            same = [job for job in jobs if await rows.lock(db, job.account, job.request_id) == job]
            for job in same:
                await db.execute(
                    b"UPDATE meigen.generations SET prompt = '', arguments = '{}', body = '',"
                    b" made_from = '[]', preview = NULL, files = '[]', unsaved = '[]',"
                    b" fingerprint = '', version = (SELECT meigen.tick())"
                    b" WHERE account = %s AND request_id = %s",
                    (job.account, job.request_id),
                )
            return same

        return Forgotten(
            await self._database.write(take_out),
            "The database keeps the old rows until it is vacuumed, and in its backups.",
        )

    async def last_balance(self) -> tuple[Balance, float] | None:
        """Return the account's credits as the API last told them, and when."""

        async def query(db: Connection) -> tuple[Balance, float] | None:
            return await last_balance(db, await self._accounts.listed_paid(db))

        return await self._database.read(query)

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
        del durable  # a crash of the server is not one of this process
        changed = await self._database.write(
            lambda db: changed_row(db, job, change, by_owner=by_owner),
            patient=patient,
            then=self.tell,
        )
        return changed[0]

    def tell(self, changed: tuple[Generation, bool]) -> None:
        """Tell whoever follows a record that it changed, if it did."""
        job, loud = changed
        if loud:
            self._followers.tell(job)


async def changed_row(
    db: Connection, job: Generation, change: Change, *, by_owner: bool
) -> tuple[Generation, bool]:
    """Apply a transition to a record as it is in this transaction.

    Returns:
        The record as it is now, and whether anybody is to be told of it.
    """
    before = await rows.lock(db, job.account, job.request_id)
    if before is None:
        raise NotFound(f"The ledger has no generation {job.request_id} any more.")
    if by_owner and before.owner != job.owner:
        raise TakenOver(job.request_id)
    return await changed_to(db, before, by_poller(before, change(before)))


async def changed_to(
    db: Connection, before: Generation, after: Generation
) -> tuple[Generation, bool]:
    """Write a record that is locked as it is now; return it, and whether anybody is to be told."""
    if after.generation_id != before.generation_id:
        after = replace(after, twin=await _has_twin(db, after))
    columns = changed(before, after)
    if not columns:
        return before, False
    if columns.keys() == {"next_look"} and not after.at_rest:
        await db.execute(
            b"UPDATE meigen.generations SET next_look = %s WHERE account = %s AND request_id = %s",
            (after.next_look, before.account, before.request_id),
        )
        return after, False
    return await rows.save(db, after, columns), True


async def _has_twin(db: Connection, job: Generation) -> bool:
    """Return whether another record has its `generationId`, so that its own name is another."""
    other = await rows.one(
        db,
        "SELECT 1 FROM meigen.generations WHERE account = %s AND generation_id = %s"
        " AND request_id <> %s LIMIT 1",
        (job.account, job.generation_id, job.request_id),
    )
    return other is not None


async def last_balance(db: Connection, own: list[str]) -> tuple[Balance, float] | None:
    """Return an account's credits as the API last told them, and when."""
    found = await rows.every(
        db,
        "SELECT * FROM meigen.generations WHERE account = ANY(%s) AND balance IS NOT NULL"
        " ORDER BY id DESC LIMIT 1",
        (own,),
    )
    job = rows.read(found[0]) if found else None
    if job is None or job.balance is None or job.accepted_at is None:
        return None
    return job.balance, job.accepted_at
