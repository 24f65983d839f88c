"""Who is told of what: those who follow a record, and those who hear of all that change.

A version, under a lock that lasts until it is visible, says what is new; a NOTIFY only says that it
is worth asking. So a notification that is lost delays, and hides nothing.
"""

from collections.abc import AsyncIterator, Iterable
from functools import partial

import anyio

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.changes import TOGETHER, Followed, Followers
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.accounts import PostgresAccounts
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.queue import PostgresQueue
from meigen_mcp.ledger.postgres.records import PostgresRecords
from meigen_mcp.ledger.postgres.rows import Connection

_WATCH = (
    "UPDATE meigen.generations SET watched_until = greatest(watched_until, %s),"
    " next_look = CASE WHEN status = 'processing' AND watched_until < %s THEN %s ELSE next_look END"
    " WHERE status NOT IN ('completed', 'failed') AND account = ANY(%s)"
    " AND (request_id = ANY(%s) OR generation_id = ANY(%s))"
)


class PostgresChanges:
    """Who is told of what; see `Changes`.

    Args:
        database: where it stands.
        accounts: whose records are shown.
        records: reads a record again.
        queue: knows a record's place, and is told when there may be something to do.
        followers: who follows which.
    """

    def __init__(
        self,
        database: Database,
        accounts: PostgresAccounts,
        records: PostgresRecords,
        queue: PostgresQueue,
        followers: Followers,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._records = records
        self._queue = queue
        self._followers = followers
        self._seen: int | None = None

    async def follow(
        self, job: Generation, now: float, *, until: float = 0.0, act: bool = False
    ) -> Followed:
        """Begin to wait for a record that was just read."""
        follower = self._followers.follower(job)
        if act:
            follower.reread(await self._act_on(job, now))
        if until > job.watched_until:
            await self._watch([job.request_id], now, until)
        if not act:  # it may have changed before it was followed
            follower.reread(await self._records.again(job))
        saving = self._followers.saving
        return Followed(follower, self._records.again, self._queue.place, saving)

    async def _act_on(self, job: Generation, now: float) -> Generation:
        async def hurry(db: Connection) -> tuple[Generation, bool]:
            fresh = await rows.lock(db, job.account, job.request_id)
            if fresh is None or fresh.terminal:
                return fresh or job, False
            found = await rows.every(
                db,
                "UPDATE meigen.generations SET next_look = %s, parked = false,"
                " version = meigen.tick(), owner = CASE WHEN owner = '' THEN %s ELSE owner END"
                " WHERE account = %s AND request_id = %s RETURNING *",
                (now, self._database.lease.owner, job.account, job.request_id),
            )
            return rows.read(found[0]), True

        def told(acted: tuple[Generation, bool]) -> None:
            self._records.tell(acted)
            self._queue.work.set()

        acted = await self._database.write(hurry, then=told)
        return acted[0]

    async def watch(self, names: Iterable[str], now: float, until: float) -> None:
        """Have generations looked at every interval up to a time, from now on."""
        await self._watch(list(names), now, until)

    async def _watch(self, names: list[str], now: float, until: float) -> None:
        async def note(db: Connection) -> None:
            shown = await self._accounts.listed_shown(db)
            values = (until, now, now, shown, names, names)
            await db.execute(_WATCH.encode(), values)

        await self._database.write(note)
        self._queue.work.set()

    async def changes(self, since: int) -> AsyncIterator[list[Generation]]:
        """Yield the account's records as they change after a version, whoever did it."""
        while True:
            seen = self._followers.any.count
            changed = await self._database.read(partial(self._changed, since=since))
            if changed:
                since = changed[-1].version
                yield changed
            await self._followers.any.after(seen)  # counted before it was asked: none is missed
            await anyio.sleep(TOGETHER)

    async def _changed(self, db: Connection, since: int) -> list[Generation]:
        found = await rows.every(
            db,
            "SELECT * FROM meigen.generations WHERE version > %s AND account = ANY(%s)"
            " ORDER BY version",
            (since, await self._accounts.listed_shown(db)),
        )
        return [rows.read(row) for row in found]

    async def version(self) -> int:
        """Return the version of the newest change."""
        return await self._database.read(_version)

    async def notice(self) -> None:
        """Notice what other replicas changed, and wake whoever waits for it."""
        if self._seen is None:
            self._seen = await self.version()
            self.wake_all()
            return
        changed = await self._database.read(lambda db, seen=self._seen: _changed_since(db, seen))  # type: ignore[misc]
        self._seen = max((version for *_, version in changed), default=self._seen)
        self._followers.notice(changed)

    def wake_all(self) -> None:
        """Let everybody who waits for a record look again."""
        self._followers.wake_all()


async def _changed_since(db: Connection, seen: int) -> list[tuple[str, str, int]]:
    found = await rows.every(
        db,
        "SELECT account, request_id, version FROM meigen.generations WHERE version > %s",
        (seen,),
    )
    return [(row["account"], row["request_id"], row["version"]) for row in found]


async def _version(db: Connection) -> int:
    return int(await rows.one(db, "SELECT version FROM meigen.teams WHERE id = ''"))
