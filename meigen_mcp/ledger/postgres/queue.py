"""What a replica has to do, and when: its own generations, and those of dead replicas."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any
from uuid import uuid4

from meigen_mcp import generation
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import ADOPTABLE_FOR
from meigen_mcp.ledger.columns import changed
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.accounts import PostgresAccounts
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.due import find_due
from meigen_mcp.ledger.postgres.rate_limit import find_slot, in_line
from meigen_mcp.ledger.postgres.records import PostgresRecords, changed_row, changed_to
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.shelf import HOLD, KEYED, get_note, put_note, remove_note
from meigen_mcp.ledger.queue import (
    RESUMED_FOR,
    SLOT_FREED_AFTER,
    Due,
    Kind,
    Slot,
    Standing,
    Wanted,
)
from meigen_mcp.ledger.records import Change, TakenOver
from meigen_mcp.people import origin_of, payer_of
from meigen_mcp.system import Signal

AT_ONCE = 100
"""Rows that are taken over in one step, so that all replicas get some."""
TOGETHER = 0.05
"""Seconds for which what comes due waits for more: each question is a round trip."""
REST = 0.5
"""Seconds: nobody is notified of a look that another replica wants."""
OWNERS_KEPT = "1 day"
_UNSENT = "next_look IS NOT NULL AND status = 'queued' AND (created_at < %s OR created_at > %s)"
_MAY_ACT_ON = (
    "(account = ANY(%s)"
    " OR (generation_id IS NOT NULL AND status <> 'queued' AND account = ANY(%s)))"
)
"""What the account's replicas act on: all of its own, and of what is shown what MeiGen tells of to
everybody, by its id."""
_STOPPED = (
    f"{_MAY_ACT_ON} AND status IN ('submitting', 'processing', 'unknown')"
    " AND (next_look IS NULL OR next_look > %s)"
)


class PostgresQueue:
    """What this replica has to do for one account; see `Queue`.

    Args:
        database: where it stands.
        accounts: what may be acted on.
        records: tells of what changes.
        limit: how many submissions may start in 60 seconds.
    """

    def __init__(
        self,
        database: Database,
        accounts: PostgresAccounts,
        records: PostgresRecords,
        limit: int,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._records = records
        self._limit = limit
        self.work = Signal()
        self.together, self.rest = TOGETHER, REST

    async def due(
        self, now: float, wanted: Mapping[Kind, Wanted], but: Collection[str] = ()
    ) -> Due:
        """Return this replica's generations whose time has come, the longest due first."""
        owner = self._database.lease.owner
        return await self._database.read(lambda db: find_due(db, owner, now, wanted, but))

    async def postpone(self, looks: Sequence[tuple[Generation, float]]) -> None:
        """Have records acted on at other times, in one step, if they are as they were read."""
        jobs = [job for job, _ in looks]

        async def put(db: Connection) -> None:
            await db.execute(
                b"UPDATE meigen.generations AS g SET next_look = l.at"
                b" FROM unnest(%s::text[], %s::text[], %s::text[], %s::bigint[],"
                b" %s::double precision[], %s::double precision[])"
                b" AS l(account, request_id, owner, version, next_look, at)"
                b" WHERE g.account = l.account AND g.request_id = l.request_id"
                b" AND g.owner = l.owner AND g.version = l.version AND g.next_look = l.next_look",
                (
                    [job.account for job in jobs],
                    [job.request_id for job in jobs],
                    [job.owner for job in jobs],
                    [job.version for job in jobs],
                    [job.next_look for job in jobs],
                    [at for _, at in looks],
                ),
            )

        await self._database.write(put)

    async def durations(self, model_id: str) -> list[float]:
        """Return how many seconds the last 20 of a model took."""
        return await self._database.read(lambda db: durations(db, model_id))

    async def keyed(self) -> bool:
        """Say whether the API has shown that it knows idempotency keys."""
        name = KEYED.format(origin_of(self._database.account))
        return bool(await self._database.read(lambda db: get_note(db, name)))

    async def note_keyed(self) -> None:
        """Note that it has."""
        name = KEYED.format(origin_of(self._database.account))
        await self._database.write(lambda db: put_note(db, name, value=True))

    # --- places -------------------------------------------------------------------------------

    async def place(self, job: Generation, now: float) -> tuple[int, float]:
        """Return how many are sent before a queued one, and when it is sent, as far as known."""
        return await self._database.read(lambda db: in_line(db, job, self._limit, now))

    # --- what others left -----------------------------------------------------------------------

    async def standing(self) -> Standing:
        """Return what is under way."""

        async def query(db: Connection) -> Standing:
            found = await rows.every(
                db,
                "SELECT status, count(*) AS count, min(created_at) AS at FROM meigen.generations"
                " WHERE next_look IS NOT NULL GROUP BY status",
            )
            jobs = {row["status"]: row["count"] for row in found}
            return Standing(jobs, min((row["at"] for row in found), default=None))

        return await self._database.read(query)

    async def reclaim(self, now: float) -> None:
        """Take over what dead replicas left, and end what is too old to be sent."""
        within = (now - generation.SUBMIT_WITHIN, now + generation.AHEAD)
        left, unsent = await self._database.read(lambda db: self._left(db, within))
        more = bool(left)
        while more:
            more = await self._database.write(lambda db: self._take_over(db, left, now))
            self.work.set()
        if unsent:
            await self._database.write(
                lambda db: self._expire(db, within, now), then=self._tell_all
            )

    async def _left(self, db: Connection, within: tuple[float, float]) -> tuple[list[str], bool]:
        """Return the names of dead replicas, and whether something is too old to be sent."""
        dead = await rows.every(
            db, "SELECT id FROM meigen.owners WHERE lease_until < clock_timestamp()"
        )
        some = f"SELECT 1 FROM meigen.generations WHERE {_UNSENT} LIMIT 1"  # noqa: S608  # ours
        unsent = await rows.one(db, some, within)
        return [row["id"] for row in dead], unsent is not None

    async def _take_over(self, db: Connection, dead: list[str], now: float) -> bool:
        """Take over some of what dead replicas left, if this one lives; say whether more may be."""
        own, shown = await self._accounts.listed_own(db), await self._accounts.listed_shown(db)
        found = await db.execute(
            f"UPDATE meigen.generations g SET owner = %s, {rows.UNANSWERED},"  # noqa: S608  # ours
            # Whatever it waited for: another clock may have said until when.
            " next_look = CASE WHEN parked OR next_look IS NULL THEN next_look"
            " ELSE least(next_look, %s) END"
            " WHERE g.id IN (SELECT id FROM meigen.generations WHERE"
            f" {_MAY_ACT_ON} AND owner = ANY(%s) AND (next_look IS NOT NULL OR created_at > %s)"
            " ORDER BY next_look LIMIT %s FOR UPDATE SKIP LOCKED)"
            " AND EXISTS (SELECT FROM meigen.owners WHERE id = %s"
            " AND lease_until > clock_timestamp())".encode(),
            (
                self._database.lease.owner,
                now,
                own,
                shown,
                dead,
                now - ADOPTABLE_FOR,
                AT_ONCE,
                self._database.lease.owner,
            ),
        )
        if found.rowcount < AT_ONCE:  # nobody is left to remember, unless another account has some
            await db.execute(
                b"DELETE FROM meigen.owners o"
                b" WHERE o.lease_until < clock_timestamp() - %s::interval"
                b" AND NOT EXISTS (SELECT FROM meigen.generations g"
                b" WHERE g.owner = o.id AND g.next_look IS NOT NULL)",
                (OWNERS_KEPT,),
            )
        return found.rowcount == AT_ONCE

    async def _expire(
        self, db: Connection, within: tuple[float, float], now: float
    ) -> list[Generation]:
        """End what is too old, unless somebody is at it."""
        old = await rows.every(
            db,
            f"SELECT * FROM meigen.generations WHERE {_UNSENT} ORDER BY id"  # noqa: S608  # ours
            " FOR UPDATE SKIP LOCKED",
            within,
        )
        jobs = [rows.read(row) for row in old]
        ended = [(job, generation.expired(job, now)) for job in jobs]
        return [await rows.save(db, after, changed(job, after)) for job, after in ended]

    def _tell_all(self, jobs: list[Generation]) -> None:
        for job in jobs:
            self._records.tell((job, True))

    async def resume_saving(self, now: float, failures: int) -> None:
        """Have results of the last seven days that are not saved tried anew."""
        owner = self._database.lease.owner
        if unsaved := await self._database.read(lambda db: self._unsaved(db, now)):

            async def resume(db: Connection) -> None:
                await db.execute(
                    b"UPDATE meigen.generations SET next_look = %s, owner = %s,"
                    b" fetch_failures = least(fetch_failures, %s)"
                    b" WHERE id = ANY(%s) AND (next_look IS NULL OR owner = %s)",
                    (now, owner, failures, unsaved, owner),
                )

            await self._database.write(resume)
            self.work.set()

    async def _unsaved(self, db: Connection, now: float) -> list[int]:
        found = await rows.every(
            db,
            "SELECT * FROM meigen.generations WHERE created_at > %s AND account = ANY(%s)"
            " AND status = 'completed' AND (next_look IS NULL OR owner = %s) AND finished_at > %s"
            " AND files LIKE '%%null%%'",
            (
                now - RESUMED_FOR - 24 * 3600.0,
                await self._accounts.listed_shown(db),
                self._database.lease.owner,
                now - RESUMED_FOR,
            ),
        )
        return [row["id"] for row in found if rows.read(row).missing]

    async def hurry(self, now: float) -> None:
        """Have everything of this replica done now, and no submission held back."""

        async def put(db: Connection) -> None:
            await remove_note(db, HOLD.format(self._accounts.name))
            await db.execute(
                b"UPDATE meigen.generations SET next_look = %s WHERE owner = %s AND next_look > %s"
                b" AND NOT parked",
                (now, self._database.lease.owner, now),
            )

        await self._database.write(put)
        self.work.set()

    async def look_again(self, now: float) -> None:
        """Have looked at soon whatever is not proven to have ended, the newest first."""

        # What is sent just now is looked up later, if nobody reports on it.
        async def stopped(db: Connection) -> tuple[Any, ...]:
            own = await self._accounts.listed_own(db)
            shown = await self._accounts.listed_shown(db)
            return own, shown, now + generation.ABANDONED_AFTER

        async def hurry(db: Connection) -> None:
            await db.execute(
                "UPDATE meigen.generations SET failures = 0, next_look = %s - id * 1e-6"  # noqa: S608  # ours
                f" WHERE {_STOPPED}".encode(),
                (now, *await stopped(db)),
            )

        async def waiting(db: Connection) -> bool:
            some = f"SELECT 1 FROM meigen.generations WHERE {_STOPPED} LIMIT 1"  # noqa: S608  # ours
            return await rows.one(db, some, await stopped(db)) is not None

        if await self._database.read(waiting):
            await self._database.write(hurry)

    # --- posting --------------------------------------------------------------------------------

    async def begin_post(self, job: Generation, now: float, held_until: float) -> Slot | None:
        """Take a slot and commit that a POST is about to leave, in one step."""
        name = uuid4().hex

        async def begin(db: Connection) -> tuple[Generation, bool, Slot | None]:
            fresh = await rows.lock(db, job.account, job.request_id)
            if fresh is None:
                return job, False, None
            first = await rows.one(db, "SELECT first FROM meigen.posts WHERE id = %s", (name,))
            if first is not None:  # it was committed, and the reply to that was lost
                return fresh, True, Slot(name, fresh, first)
            if not (generation.sendable(fresh) and self._accounts.own(fresh)):
                return job, False, None
            if fresh.owner != job.owner:
                raise TakenOver(job.request_id)
            # From here on one after the other: else two would take the last slot.
            await db.execute(b"SELECT FROM meigen.teams WHERE id = '' FOR UPDATE")
            free_at = await find_slot(db, job, self._limit, now, held_until)
            if free_at > now:
                later = generation.postponed(fresh, free_at)
                return (*await changed_to(db, fresh, later), None)
            first = fresh.posted_at is None
            await db.execute(
                b"INSERT INTO meigen.posts VALUES (%s, %s, %s, %s, %s)",
                (name, payer_of(job.account), job.request_id, first, held_until),
            )
            posting = generation.posting(fresh, now)
            posting = await rows.save(db, posting, changed(fresh, posting))
            return posting, True, Slot(name, posting, first)

        *_, slot = await self._database.write(
            begin, then=lambda made: self._records.tell((made[0], made[1]))
        )
        return slot

    def may_post(self, slot: Slot) -> bool:
        """Say whether this replica is still the owner, by the clock that goes on in its sleep."""
        return self._database.lease.held and slot.job.owner == self._database.lease.owner

    async def end_post(
        self, slot: Slot, change: Change, now: float, *, hold_until: float | None = None
    ) -> Generation:
        """Commit what became of a POST, and free its slot in 60 s, in one step."""

        async def end(db: Connection) -> tuple[Generation, bool]:
            await db.execute(
                b"UPDATE meigen.posts SET free_at = %s WHERE id = %s",
                (now + SLOT_FREED_AFTER, slot.id),
            )
            if hold_until is not None:
                await put_note(db, HOLD.format(payer_of(slot.job.account)), hold_until)
            # Last, since it takes the lock on which all replicas wait.
            return await changed_row(db, slot.job, change, by_owner=True)

        job, _ = await self._database.write(end, patient=True, then=self._records.tell)
        return job


async def durations(db: Connection, model_id: str) -> list[float]:
    """Return how many seconds the last 20 of a model took, as far as is known."""
    found = await rows.every(
        db,
        "SELECT finished_at - accepted_at AS seconds FROM meigen.generations"
        " WHERE model_id = %s AND status = 'completed' AND finished_at IS NOT NULL"
        " ORDER BY finished_at DESC LIMIT 20",
        (model_id,),
    )
    return [row["seconds"] for row in found if row["seconds"] is not None and row["seconds"] > 0]
