"""What a process has to do, and when: its own generations, and those of dead processes."""

import sqlite3
from collections.abc import Collection, Mapping, Sequence

import anyio

from meigen_mcp import generation
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import ADOPTABLE_FOR
from meigen_mcp.ledger.columns import changed
from meigen_mcp.ledger.queue import LONGEST_HOLD, RESUMED_FOR, Due, Kind, Slot, Standing, Wanted
from meigen_mcp.ledger.records import Change, TakenOver
from meigen_mcp.ledger.sqlite import notes, rows
from meigen_mcp.ledger.sqlite.accounts import LISTED, SqliteAccounts
from meigen_mcp.ledger.sqlite.rate_limit import claim_slot, free_slot, in_line
from meigen_mcp.ledger.sqlite.records import SqliteRecords, changed_row
from meigen_mcp.ledger.sqlite.rescue import LastingDatabase
from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.people import key_of, origin_of, payer_of
from meigen_mcp.system import Signal

TOGETHER = 0.01
"""Seconds for which what comes due waits for more: of a thousand jobs three come due within it, and
a turn of the poller for each took a fifth of a look."""
REST = 2.0
"""Seconds: what other processes write sets `work` sooner."""
_UNSENT = (
    "SELECT * FROM generations INDEXED BY by_due WHERE next_look IS NOT NULL"
    " AND status = 'queued' AND (created_at < ? OR created_at > ?)"
)
_OF_KIND = (
    "SELECT * FROM (SELECT ?, id FROM generations INDEXED BY by_turn"
    " WHERE owner = ? AND status IN ({}) AND next_look <= ? ORDER BY next_look, id LIMIT ?)"
)
_OPEN = "status IN ('submitting', 'processing', 'unknown')"
_MAY_ACT_ON = (
    # The plus keeps SQLite from choosing an index of the account instead.
    f"(+account {LISTED}"
    f" OR (generation_id IS NOT NULL AND status <> 'queued' AND +account {LISTED}))"
)
"""What the account's process acts on: all of its own, and of what is shown what MeiGen tells of to
everybody, by its id."""


class SqliteQueue:
    """What this process has to do for one account; see `Queue`.

    Args:
        database: the file.
        accounts: what may be acted on.
        worker: where its statements run.
        records: tells of what changes.
        limit: how many submissions may start in 60 seconds.
    """

    def __init__(
        self,
        database: LastingDatabase,
        accounts: SqliteAccounts,
        worker: Worker,
        records: SqliteRecords,
        limit: int,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._worker = worker
        self._records = records
        self._limit = limit
        self._begun: dict[int, str] = {}  # the keys of rows, by their place in the table
        self.work = Signal()
        self.together, self.rest = TOGETHER, REST

    async def due(
        self, now: float, wanted: Mapping[Kind, Wanted], but: Collection[str] = ()
    ) -> Due:
        """Return this process's generations whose time has come, the longest due first."""

        def query(db: sqlite3.Connection) -> Due:
            first = self._next_at(db)
            if first is None or first > now:
                return Due(next_at=first)
            self._begun = {place: key for place, key in self._begun.items() if key in but}
            return Due(self._due(db, now, wanted, but), self._next_at(db, now))

        return await self._worker.read(query)

    def _due(
        self,
        db: sqlite3.Connection,
        now: float,
        wanted: Mapping[Kind, Wanted],
        but: Collection[str],
    ) -> list[tuple[Kind, Generation]]:
        left = {kind: of_kind.places for kind, of_kind in wanted.items() if of_kind.places > 0}
        parts, values = [], []
        for kind, places in left.items():
            statuses = wanted[kind].statuses
            parts.append(_OF_KIND.format(", ".join("?" * len(statuses))))
            values += [kind, self._database.owner, *statuses, now, places + len(but)]
        found = db.execute(" UNION ALL ".join(parts), values).fetchall() if parts else []
        jobs: list[tuple[Kind, Generation]] = []
        # The index alone says which: many were looked at, and that is noted a little later.
        for kind, place in found:
            if left[kind] == 0 or self._begun.get(place) in but:
                continue
            (row,) = db.execute("SELECT * FROM generations WHERE id = ?", (place,))
            job = rows.read(row)
            self._begun[place] = key_of(job)
            if self._begun[place] not in but:
                left[kind] -= 1
                jobs.append((kind, job))
        return jobs

    def _next_at(self, db: sqlite3.Connection, after: float = 0.0) -> float | None:
        (when,) = db.execute(
            "SELECT min(next_look) FROM generations WHERE owner = ? AND next_look > ?",
            (self._database.owner, after),
        ).fetchone()
        return None if when is None else float(when)

    async def postpone(self, looks: Sequence[tuple[Generation, float]]) -> None:
        """Have records acted on at other times, in one step, if they are as they were read."""

        def put(db: sqlite3.Connection) -> None:
            db.executemany(
                "UPDATE generations SET next_look = ? WHERE account = ? AND request_id = ?"
                " AND owner = ? AND version = ? AND next_look = ?",
                [
                    (at, job.account, job.request_id, job.owner, job.version, job.next_look)
                    for job, at in looks
                ],
            )

        await self._worker.write(put, durable=False)

    async def durations(self, model_id: str) -> list[float]:
        """Return how many seconds the last 20 of a model took."""
        return await self._worker.read(lambda db: durations(db, model_id))

    async def keyed(self) -> bool:
        """Say whether the API has shown that it knows idempotency keys."""
        name = notes.KEYED.format(origin_of(self._database.account))
        return bool(await self._worker.read(lambda db: notes.get(db, name)))

    async def note_keyed(self) -> None:
        """Note that it has."""
        name = notes.KEYED.format(origin_of(self._database.account))
        await self._worker.write(lambda db: notes.put(db, name, value=True), durable=False)

    # --- places -------------------------------------------------------------------------------

    async def place(self, job: Generation, now: float) -> tuple[int, float]:
        """Return how many are sent before a queued one, and when it is sent, as far as known."""
        return await self._worker.read(lambda db: in_line(db, job, self._limit, now))

    # --- what others left -----------------------------------------------------------------------

    async def standing(self) -> Standing:
        """Return what is under way."""

        def query(db: sqlite3.Connection) -> Standing:
            found = db.execute(
                "SELECT status, count(*), min(created_at) FROM generations"
                " WHERE next_look IS NOT NULL GROUP BY status"
            ).fetchall()
            jobs = {status: count for status, count, _ in found}
            return Standing(jobs, min((at for *_, at in found), default=None))

        return await self._worker.read(query)

    async def reclaim(self, now: float) -> None:
        """Take over what dead processes left, and end what is too old to be sent."""
        await self._worker.apart(lambda _: self._database.carry())
        within = (now - generation.SUBMIT_WITHIN, now + generation.AHEAD)
        owners, unsent = await self._worker.read(lambda db: self._left(db, now, within))
        for owner in owners:
            lock = await self._worker.apart(lambda _, owner=owner: self._database.dead(owner))  # type: ignore[misc]  # mypy cannot tell
            if lock is None:
                continue
            try:
                await self._worker.write(lambda db, owner=owner: self._take_over(db, owner, now))  # type: ignore[misc]
            finally:  # whoever keeps it makes a dead owner look alive
                with anyio.CancelScope(shield=True):
                    await self._worker.apart(lambda _, lock=lock: lock.release())  # type: ignore[misc]
        if unsent:
            await self._worker.write(lambda db: self._expire(db, within, now), then=self._tell_all)

    def _left(
        self, db: sqlite3.Connection, now: float, within: tuple[float, float]
    ) -> tuple[list[str], bool]:
        """Return the other owners of what is not at rest, and whether something is too old."""
        me = self._database.owner
        own, shown = self._accounts.listed_own(db), self._accounts.listed_shown(db)
        owners = db.execute(
            f"SELECT owner FROM generations INDEXED BY by_due WHERE next_look IS NOT NULL"  # noqa: S608  # our own
            f" AND {_MAY_ACT_ON} AND owner <> ?"
            " UNION SELECT owner FROM generations INDEXED BY by_time WHERE created_at > ?"
            f" AND answered = 0 AND (abandoned = 0 OR adopted = 1) AND account {LISTED}"
            " AND owner <> ?",
            (own, shown, me, now - ADOPTABLE_FOR, own, me),
        ).fetchall()
        unsent = db.execute(f"{_UNSENT} LIMIT 1", within).fetchone()
        return [row[0] for row in owners], unsent is not None

    def _take_over(self, db: sqlite3.Connection, owner: str, now: float) -> None:
        own, shown = self._accounts.listed_own(db), self._accounts.listed_shown(db)
        # Each by its index; the others are old and at rest, and no matter whose they are.
        for name, least in (("next_look", 0.0), ("created_at", now - ADOPTABLE_FOR)):
            db.execute(
                "UPDATE generations SET owner = ?,"  # noqa: S608  # our own names
                f" {rows.UNANSWERED},"
                # Whatever it waited for: another clock may have said until when.
                " next_look = CASE WHEN parked = 1 THEN next_look ELSE min(next_look, ?) END"
                f" WHERE owner = ? AND {_MAY_ACT_ON} AND {name} > ?",
                (self._database.owner, now, owner, own, shown, least),
            )

    def _expire(
        self, db: sqlite3.Connection, within: tuple[float, float], now: float
    ) -> list[Generation]:
        """End what is too old; it is read again, for another process may just have sent it."""
        old = db.execute(_UNSENT, within).fetchall()
        jobs = [rows.read(row) for row in old]
        ended = [(job, generation.expired(job, now)) for job in jobs]
        return [rows.save(db, after, changed(job, after)) for job, after in ended]

    def _tell_all(self, jobs: list[Generation]) -> None:
        for job in jobs:
            self._records.tell((job, True))

    async def resume_saving(self, now: float, failures: int) -> None:
        """Have results of the last seven days that are not saved tried anew."""
        if await self._worker.read(lambda db: self._unsaved(db, now)):
            await self._worker.write(lambda db: self._resume(db, now, failures))
            self.work.set()

    def _unsaved(self, db: sqlite3.Connection, now: float) -> list[int]:
        found = db.execute(
            "SELECT * FROM generations INDEXED BY by_time WHERE created_at > ?"  # noqa: S608  # our own
            f" AND account {LISTED} AND status = 'completed'"
            " AND (next_look IS NULL OR owner = ?) AND finished_at > ? AND files LIKE '%null%'",
            (
                now - RESUMED_FOR - 24 * 3600.0,
                self._accounts.listed_shown(db),
                self._database.owner,
                now - RESUMED_FOR,
            ),
        )
        return [row["id"] for row in found if rows.read(row).missing]

    def _resume(self, db: sqlite3.Connection, now: float, failures: int) -> None:
        for row_id in self._unsaved(db, now):
            db.execute(
                "UPDATE generations SET next_look = ?, owner = ?,"
                " fetch_failures = min(fetch_failures, ?) WHERE id = ?",
                (now, self._database.owner, failures, row_id),
            )

    async def hurry(self, now: float) -> None:
        """Have everything of this process done now, and no submission held back."""

        def put(db: sqlite3.Connection) -> None:
            notes.remove(db, notes.HOLD.format(self._accounts.name))
            db.execute(
                "UPDATE generations SET next_look = ? WHERE owner = ? AND next_look > ?"
                " AND parked = 0",
                (now, self._database.owner, now),
            )

        await self._worker.write(put, durable=False)
        self.work.set()

    async def look_again(self, now: float) -> None:
        """Have looked at soon whatever is not proven to have ended, the newest first."""

        def hurry(db: sqlite3.Connection) -> None:
            own, shown = self._accounts.listed_own(db), self._accounts.listed_shown(db)
            db.execute(
                "UPDATE generations SET failures = 0, next_look = ? - id * 1e-6"  # noqa: S608  # our own
                f" WHERE {_OPEN} AND {_MAY_ACT_ON}"
                # What is sent just now is looked up later, if nobody reports on it.
                " AND (next_look IS NULL OR next_look > ?)",
                (now, own, shown, now + generation.ABANDONED_AFTER),
            )

        def waiting(db: sqlite3.Connection) -> bool:
            own, shown = self._accounts.listed_own(db), self._accounts.listed_shown(db)
            found = db.execute(
                f"SELECT 1 FROM generations INDEXED BY by_open WHERE {_OPEN} AND {_MAY_ACT_ON}"  # noqa: S608  # our own
                " AND (next_look IS NULL OR next_look > ?) LIMIT 1",
                (own, shown, now + generation.ABANDONED_AFTER),
            )
            return found.fetchone() is not None

        if await self._worker.read(waiting):
            await self._worker.write(hurry, durable=False)

    # --- posting --------------------------------------------------------------------------------

    async def begin_post(self, job: Generation, now: float, held_until: float) -> Slot | None:
        """Take a slot and commit that a POST is about to leave, in one step."""

        def begin(db: sqlite3.Connection) -> tuple[Generation, bool, Slot | None]:
            fresh = rows.find(db, job.account, job.request_id)
            if fresh is None or not (generation.sendable(fresh) and self._accounts.own(fresh)):
                return job, False, None
            if fresh.owner != job.owner:
                raise TakenOver(job.request_id)
            if not self._database.in_place:
                later, loud = changed_row(db, job, lambda j: generation.displaced(j, now))
                return later, loud, None
            hold = float(notes.get(db, notes.HOLD.format(payer_of(job.account))) or 0)
            held = now < hold <= now + LONGEST_HOLD  # beyond that: by a clock that was set back
            slot, free_at = (
                (None, hold) if held else claim_slot(db, job, self._limit, now, held_until)
            )
            if slot is None:
                later, loud = changed_row(db, job, lambda j: generation.postponed(j, free_at))
                return later, loud, None
            first = fresh.posted_at is None
            posting = generation.posting(fresh, now)
            posting = rows.save(db, posting, changed(fresh, posting))
            return posting, True, Slot(slot, posting, first)

        *_, slot = await self._worker.write(begin, then=lambda made: self._records.tell(made[:2]))
        return slot

    def may_post(self, slot: Slot) -> bool:
        """Say that this process is still the owner: its lock lasts as long as it does."""
        return slot.job.owner == self._database.owner

    async def end_post(
        self, slot: Slot, change: Change, now: float, *, hold_until: float | None = None
    ) -> Generation:
        """Commit what became of a POST, and free its slot in 60 s, in one step."""

        def end(db: sqlite3.Connection) -> tuple[Generation, bool]:
            free_slot(db, int(slot.id), now)
            if hold_until is not None:
                notes.put(db, notes.HOLD.format(payer_of(slot.job.account)), hold_until)
            return changed_row(db, slot.job, change, by_owner=True)

        job, _ = await self._worker.write(end, patient=True, then=self._records.tell)
        return job


def durations(db: sqlite3.Connection, model_id: str) -> list[float]:
    """Return how many seconds the last 20 of a model took, as far as is known."""
    found = db.execute(
        "SELECT finished_at - accepted_at FROM generations WHERE model_id = ?"
        " AND status = 'completed' ORDER BY finished_at DESC LIMIT 20",
        (model_id,),
    )
    return [seconds for (seconds,) in found if seconds is not None and seconds > 0]
