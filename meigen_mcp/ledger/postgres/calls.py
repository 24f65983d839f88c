"""What a call that may spend asks and writes."""

from dataclasses import replace
from decimal import Decimal

import anyio

from meigen_mcp.errors import OverCap
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import ADOPTABLE_FOR, AskFirst, Opening, Terms, usual
from meigen_mcp.ledger.changes import Followers
from meigen_mcp.ledger.offers import OFFERED_FOR, ended, fingerprint
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.accounts import PostgresAccounts
from meigen_mcp.ledger.postgres.database import Database, Work
from meigen_mcp.ledger.postgres.lease import MISSED
from meigen_mcp.ledger.postgres.offers import find_offer
from meigen_mcp.ledger.postgres.queue import PostgresQueue, durations
from meigen_mcp.ledger.postgres.records import last_balance
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.shelf import APPROVED, NAME, get_note
from meigen_mcp.ledger.postgres.team import allowances, caps_set, spent, used
from meigen_mcp.ledger.spending import DAY, HOUR, hold_to_cap
from meigen_mcp.ledger.team import hold_intent

# A call that its replica will hardly answer any more leaves an orphan too: whoever was cut off
# calls again at once, before the lease of that one has ended.
_ORPHAN = (
    "(g.abandoned OR (NOT g.answered AND EXISTS (SELECT FROM meigen.owners o WHERE o.id = g.owner"
    f" AND o.lease_until < clock_timestamp() + interval '{MISSED} seconds')))"
)
_ALIKE = (
    "g.account = ANY(%s) AND md5(g.fingerprint) = md5(%s) AND g.fingerprint = %s"
    " AND (g.abandoned OR g.parked OR NOT g.answered)"
)


class PostgresCalls:
    """What calls of one account ask and write; see `Calls`."""

    def __init__(
        self,
        database: Database,
        accounts: PostgresAccounts,
        followers: Followers,
        queue: PostgresQueue,
    ) -> None:
        self._accounts = accounts
        self._database = database
        self._followers = followers
        self._queue = queue

    async def glance(self, draft: Generation) -> Opening:
        """Return what a quote needs to know; nothing is written."""
        return await self._database.read(lambda db: self._opening(db, draft))

    async def _opening(self, db: Connection, draft: Generation) -> Opening:
        account, now = self._accounts.name, draft.created_at
        person = self._accounts.person
        (row,) = await rows.every(
            db,
            "SELECT (SELECT value FROM meigen.notes WHERE name = %s) AS approved,"
            " meigen.spent_by(%s, %s) AS hour, meigen.spent_by('', %s) AS day",
            (APPROVED.format(account), person or "", now - HOUR, now - DAY),
        )
        approved_at, this_hour = float(row["approved"] or 0), Decimal(row["hour"]) / 1000
        recent = approved_at > now - HOUR
        return Opening(
            usual_seconds=usual(await durations(db, draft.model_id)),
            balance=await last_balance(db, await self._accounts.listed_paid(db)),
            spent_today=Decimal(row["day"]) / 1000,
            spent_this_hour=this_hour,
            approved_at=approved_at,
            spent_since_yes=await spent(db, approved_at, person) if recent else this_hour,
            allowances=await allowances(db, person, now),
        )

    async def open_call(self, draft: Generation, named: str | None) -> Opening:
        """Return what a call needs to know, and adopt what it repeats."""
        print_ = fingerprint(draft.tool, draft.arguments)

        async def query(db: Connection) -> tuple[Opening, bool]:
            opening = await self._opening(db, draft)
            if named is None:
                own = await self._accounts.listed_own(db)
                alike = f"SELECT 1 FROM meigen.generations g WHERE {_ALIKE} LIMIT 1"  # noqa: S608  # ours
                found = await rows.one(db, alike, (own, print_, print_))
                return opening, found is not None
            known = await self._accounts.find(db, named)
            offer = await find_offer(db, self._accounts.name, named, draft.created_at)
            others = None if known else await self._accounts.find_others(db, named)
            return replace(opening, known=known, offer=offer, others=others), False

        opening, alike = await self._database.read(query)
        if not alike:
            return opening
        await self._queue.reclaim(draft.created_at)  # whoever has it may have died just now
        wanted = True

        def release(found: tuple[Generation | None, bool]) -> None:
            if found[0] is not None and found[1] and not wanted:  # it was given up before
                self._database.soon(self._put(found[0], rows.UNANSWERED))

        try:
            with anyio.CancelScope(shield=True):  # else nobody would know that it was adopted
                found = await self._database.write(
                    lambda db: self._adopt(db, draft, print_), then=release
                )
        except BaseException:
            wanted = False
            raise
        return replace(opening, repeated=found[0], adopted=found[1])

    async def _adopt(
        self, db: Connection, draft: Generation, print_: str
    ) -> tuple[Generation | None, bool]:
        """Return what a call repeats, and whether it was an orphan, which it adopts.

        One that two want at once is the first's; whose reply is lost finds it again by its own id.
        """
        call = (await self._accounts.listed_own(db), print_, print_)
        since = draft.created_at - ADOPTABLE_FOR
        mine = f"SELECT g.* FROM meigen.generations g WHERE {_ALIKE} AND g.adopted_by = %s"  # noqa: S608  # ours
        orphans = (
            "UPDATE meigen.generations SET abandoned = true, adopted = true,"  # noqa: S608  # ours
            " adopted_by = %s WHERE id ="
            f" (SELECT g.id FROM meigen.generations g WHERE {_ALIKE} AND {_ORPHAN}"
            " AND NOT g.adopted AND g.status <> 'failed' AND g.created_at > %s ORDER BY g.id"
            " LIMIT 1 FOR UPDATE SKIP LOCKED) RETURNING *"
        )
        parked = (
            f"SELECT g.* FROM meigen.generations g WHERE {_ALIKE} AND g.parked"  # noqa: S608  # ours
            " ORDER BY g.id LIMIT 1"
        )
        orphan = await rows.every(db, mine, (*call, draft.request_id)) or await rows.every(
            db, orphans, (draft.request_id, *call, since)
        )
        found = orphan or await rows.every(db, parked, call)
        return rows.read(found[0]) if found else None, bool(orphan)

    async def keep_name(self, name: str, request_id: str) -> str:
        """Let a name stand for a request id, and return the one that it stands for."""
        note = NAME.format(name)

        async def put(db: Connection) -> str:
            await db.execute(
                b"INSERT INTO meigen.notes VALUES (%s, to_json(%s::text)) ON CONFLICT DO NOTHING",
                (note, request_id),
            )
            return str(await get_note(db, note))

        return await self._database.write(put)

    async def add(self, job: Generation, terms: Terms) -> Generation | AskFirst:
        """Commit an intent, with its reservation, before any money moves."""

        async def reserve(db: Connection) -> tuple[Generation | AskFirst, bool]:
            own = await self._accounts.listed_own(db)
            if own[1:] and (earlier := await self._accounts.find(db, job.request_id)) is not None:
                return earlier, False
            owned = replace(
                job,
                account=self._accounts.name,
                owner=self._database.lease.owner,
                adopted=job.adopted or not terms.adoptable,
            )
            if caps := await caps_set(db):
                # The sums are formed under the lock, and what was committed already is not refused.
                await db.execute(b"SELECT FROM meigen.teams WHERE id = '' FOR UPDATE")
                held = await used(db, self._accounts.person, job.created_at, caps)
                try:
                    hold_intent(job, held)
                except OverCap:
                    if await rows.find(db, owned.account, job.request_id) is None:
                        raise
            (row,) = await rows.every(
                db,
                "SELECT * FROM meigen.add_intent(%s::jsonb, %s, %s, %s, %s, %s, %s, %s)",
                (
                    rows.written(owned),
                    terms.cap_per_day,
                    terms.ask_above,
                    terms.price,
                    terms.counted_from,
                    terms.approved,
                    terms.by_offer,
                    job.created_at - OFFERED_FOR,
                ),
            )
            if row["outcome"] == "added":
                return replace(owned, version=row["version"]), True
            so_far = Decimal(row["spent"] or 0) / 1000
            if row["outcome"] == "ask":
                return AskFirst(so_far), False
            if row["outcome"] == "ended":
                raise ended(job.request_id)
            if row["outcome"] == "over":
                hold_to_cap(job.reserved, terms.cap_per_day, so_far)
            known = await rows.find(db, owned.account, job.request_id)
            assert known is not None  # noqa: S101  # nothing is ever deleted
            return known, known.owner == owned.owner

        result, _ = await self._database.write(reserve, then=self._tell)
        return result

    def _tell(self, result: tuple[Generation | AskFirst, bool]) -> None:
        job, mine = result
        if mine and isinstance(job, Generation):
            self._followers.tell(job)
            self._queue.work.set()

    async def mark(self, job: Generation, *, answered: bool) -> None:
        """Note that an answer left for its caller, or that its call got none."""
        columns = "answered = true, abandoned = false" if answered else rows.UNANSWERED
        await self._database.write(self._put(job, columns))

    def _put(self, job: Generation, columns: str) -> Work[None]:
        async def put(db: Connection) -> None:
            await db.execute(
                f"UPDATE meigen.generations SET {columns} WHERE account = %s"  # noqa: S608  # ours
                " AND request_id = %s".encode(),
                (job.account or self._accounts.name, job.request_id),
            )

        return put
