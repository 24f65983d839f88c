"""What a call that may spend asks and writes."""

import sqlite3
from collections.abc import Callable
from dataclasses import replace

import anyio

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import ADOPTABLE_FOR, AskFirst, Opening, Terms, usual
from meigen_mcp.ledger.changes import Followers
from meigen_mcp.ledger.offers import fingerprint
from meigen_mcp.ledger.spending import DAY, HOUR, hold_to_cap
from meigen_mcp.ledger.sqlite import notes, rows
from meigen_mcp.ledger.sqlite.accounts import LISTED, SqliteAccounts
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.ledger.sqlite.offers import find_offer, use_offer
from meigen_mcp.ledger.sqlite.queue import SqliteQueue, durations
from meigen_mcp.ledger.sqlite.records import last_balance
from meigen_mcp.ledger.sqlite.spending import spent, spent_after_each
from meigen_mcp.ledger.sqlite.team import allowances
from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.ledger.team import hold_intent

_ALIKE = f"account {LISTED} AND fingerprint = ? AND (abandoned = 1 OR parked = 1)"
_LEFT = (
    "SELECT 1 FROM generations INDEXED BY by_time WHERE created_at > ? AND answered = 0"  # noqa: S608  # ours
    f" AND (abandoned = 0 OR adopted = 1) AND account {LISTED} AND fingerprint = ?"
    " AND owner <> ? LIMIT 1"
)
"""An identical call of another process that was not answered yet."""


class SqliteCalls:
    """What calls of one account ask and write; see `Calls`."""

    def __init__(
        self,
        database: Database,
        accounts: SqliteAccounts,
        worker: Worker,
        followers: Followers,
        queue: SqliteQueue,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._worker = worker
        self._followers = followers
        self._queue = queue

    async def glance(self, draft: Generation) -> Opening:
        """Return what a quote needs to know; nothing is written."""
        return await self._worker.read(lambda db: self._opening(db, draft))

    def _opening(self, db: sqlite3.Connection, draft: Generation) -> Opening:
        account, now = self._accounts.name, draft.created_at
        approved_at = float(notes.get(db, notes.APPROVED.format(account)) or 0)
        person = self._accounts.person
        recent = (now - HOUR, max(now - HOUR, approved_at))
        if person:
            today = spent(db, now - DAY)  # over all: the cap of the day is everybody's
            this_hour, since_yes = spent_after_each(db, recent, person)
        else:
            today, this_hour, since_yes = spent_after_each(db, (now - DAY, *recent))
        return Opening(
            usual_seconds=usual(durations(db, draft.model_id)),
            balance=last_balance(db, self._accounts.listed_paid(db)),
            spent_today=today,
            spent_this_hour=this_hour,
            approved_at=approved_at,
            spent_since_yes=since_yes,
            allowances=allowances(db, person, now),
        )

    async def open_call(self, draft: Generation, named: str | None) -> Opening:
        """Return what a call needs to know, and adopt what it repeats."""
        since = draft.created_at - ADOPTABLE_FOR

        def query(db: sqlite3.Connection) -> tuple[Opening, bool, bool]:
            opening = self._opening(db, draft)
            if named is None:
                alike = db.execute(f"SELECT 1 FROM generations WHERE {_ALIKE} LIMIT 1", call(db))  # noqa: S608  # ours
                left = db.execute(_LEFT, (since, *call(db), self._database.owner))
                return opening, alike.fetchone() is not None, left.fetchone() is not None
            known = self._accounts.find(db, named)
            offer = find_offer(db, self._accounts.name, named, draft.created_at)
            others = None if known else self._accounts.find_others(db, named)
            return replace(opening, known=known, offer=offer, others=others), False, False

        def call(db: sqlite3.Connection) -> tuple[str, str]:
            return self._accounts.listed_own(db), fingerprint(draft.tool, draft.arguments)

        opening, alike, left = await self._worker.read(query)
        if left:  # whoever has it may have died just now
            await self._queue.reclaim(draft.created_at)
        if not alike and not left:
            return opening
        wanted = True

        def release(found: tuple[Generation | None, bool]) -> None:
            if found[0] is not None and found[1] and not wanted:  # it was given up before
                self._worker.soon(self._put(found[0], rows.UNANSWERED))

        try:
            with anyio.CancelScope(shield=True):  # else nobody would know that it was adopted
                found = await self._worker.write(
                    lambda db: _adopt(db, call(db), since), durable=False, then=release
                )
        except BaseException:
            wanted = False
            raise
        return replace(opening, repeated=found[0], adopted=found[1])

    async def keep_name(self, name: str, request_id: str) -> str:
        """Let a name stand for a request id, and return the one that it stands for."""
        note = notes.NAME.format(name)

        def put(db: sqlite3.Connection) -> str:
            known = notes.get(db, note)
            if known is None:
                notes.put(db, note, request_id)
            return str(known or request_id)

        return await self._worker.write(put)

    async def add(self, job: Generation, terms: Terms) -> Generation | AskFirst:
        """Commit an intent, with its reservation, before any money moves."""

        def reserve(db: sqlite3.Connection) -> tuple[Generation | AskFirst, bool]:
            account, now = self._accounts.name, job.created_at
            known = self._accounts.find(db, job.request_id)
            if known is not None:
                return known, False
            self._database.must_be_in_place()
            if terms.ask_above is not None:
                recent = spent(db, terms.counted_from, self._accounts.person)
                if recent + terms.price > terms.ask_above:
                    return AskFirst(recent), False
            use_offer(db, account, job, needed=terms.by_offer)
            if terms.cap_per_day is not None:
                hold_to_cap(job.reserved, terms.cap_per_day, spent(db, now - DAY))
            hold_intent(job, allowances(db, self._accounts.person, now))
            if terms.approved:
                notes.put(db, notes.APPROVED.format(account), now)
            owned = replace(
                job,
                account=account,
                owner=self._database.owner,
                adopted=job.adopted or not terms.adoptable,
            )
            return rows.add(db, owned), True

        result, _ = await self._worker.write(reserve, durable=terms.polled, then=self._tell)
        return result

    def _tell(self, result: tuple[Generation | AskFirst, bool]) -> None:
        job, new = result
        if new and isinstance(job, Generation):
            self._followers.tell(job)
            self._queue.work.set()

    async def mark(self, job: Generation, *, answered: bool) -> None:
        """Note that an answer left for its caller, or that its call got none."""
        columns = "answered = 1, abandoned = 0" if answered else rows.UNANSWERED
        await self._worker.write(self._put(job, columns), durable=False)

    def _put(self, job: Generation, columns: str) -> Callable[[sqlite3.Connection], None]:
        def put(db: sqlite3.Connection) -> None:
            db.execute(
                f"UPDATE generations SET {columns} WHERE account = ? AND request_id = ?",  # noqa: S608  # ours
                (job.account or self._accounts.name, job.request_id),
            )

        return put


def _adopt(
    db: sqlite3.Connection, call: tuple[str, str], since: float
) -> tuple[Generation | None, bool]:
    """Return what a call repeats, and whether it was an orphan, which it adopts."""
    orphan = db.execute(
        "UPDATE generations SET adopted = 1 WHERE id = (SELECT id FROM generations"  # noqa: S608  # ours
        f" WHERE {_ALIKE} AND abandoned = 1 AND adopted = 0 AND status <> 'failed'"
        " AND created_at > ? ORDER BY id LIMIT 1) RETURNING *",
        (*call, since),
    ).fetchone()
    found = (
        orphan
        or db.execute(
            f"SELECT * FROM generations WHERE {_ALIKE} AND parked = 1 ORDER BY id LIMIT 1",  # noqa: S608  # ours
            call,
        ).fetchone()
    )
    return (None if found is None else rows.read(found)), orphan is not None
