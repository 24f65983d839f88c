"""Who is told of what: those who follow a record, and those who hear of all that change."""

import json
import sqlite3
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial

import anyio

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.changes import TOGETHER, Followed, Followers
from meigen_mcp.ledger.sqlite import rows
from meigen_mcp.ledger.sqlite.accounts import LISTED, SqliteAccounts
from meigen_mcp.ledger.sqlite.queue import SqliteQueue
from meigen_mcp.ledger.sqlite.records import SqliteRecords
from meigen_mcp.ledger.sqlite.worker import Worker


class SqliteChanges:
    """Who is told of what; see `Changes`.

    Args:
        accounts: whose records are shown.
        worker: where its statements run.
        records: reads a record again.
        queue: knows a record's place, and is told when there may be something to do.
        followers: who follows which.
    """

    def __init__(
        self,
        accounts: SqliteAccounts,
        worker: Worker,
        records: SqliteRecords,
        queue: SqliteQueue,
        followers: Followers,
    ) -> None:
        self._owner = accounts.owner
        self._accounts = accounts
        self._worker = worker
        self._records = records
        self._queue = queue
        self._followers = followers
        self._seen: tuple[int, int] | None = None  # SQLite's data_version, our version clock

    async def follow(
        self, job: Generation, now: float, *, until: float = 0.0, act: bool = False
    ) -> Followed:
        """Begin to wait for a record that was just read."""
        follower = self._followers.follower(job)
        if act:
            follower.reread(await self._act_on(job, now))
        if until > job.watched_until:  # no answer waits for it
            self._worker.soon(self._watching([job.request_id], now, until))
            self._queue.work.set()
        if not act:  # it may have changed before it was followed
            follower.reread(await self._records.again(job))
        saving = self._followers.saving
        return Followed(follower, self._records.again, self._queue.place, saving)

    async def _act_on(self, job: Generation, now: float) -> Generation:
        def hurry(db: sqlite3.Connection) -> Generation:
            db.execute(
                "UPDATE generations SET next_look = ?, parked = 0, version = ?,"
                " owner = CASE WHEN owner = '' THEN ? ELSE owner END"
                " WHERE account = ? AND request_id = ? AND status NOT IN ('completed', 'failed')",
                (now, rows.tick(db), self._owner, job.account, job.request_id),
            )
            return rows.find(db, job.account, job.request_id) or job

        def told(job: Generation) -> None:
            self._followers.tell(job)
            self._queue.work.set()

        return await self._worker.write(hurry, then=told)

    async def watch(self, names: Iterable[str], now: float, until: float) -> None:
        """Have generations looked at every interval up to a time, from now on."""
        await self._worker.write(self._watching(names, now, until), durable=False)
        self._queue.work.set()

    def _watching(
        self, names: Iterable[str], now: float, until: float
    ) -> Callable[[sqlite3.Connection], None]:
        wanted = json.dumps(list(names))

        def note(db: sqlite3.Connection) -> None:
            shown = self._accounts.listed_shown(db)
            db.execute(
                "UPDATE generations SET watched_until = max(watched_until, ?),"  # noqa: S608  # our own
                " next_look = CASE WHEN status = 'processing' AND watched_until < ?"
                " THEN ? ELSE next_look END WHERE status NOT IN ('completed', 'failed')"
                f" AND id IN (SELECT id FROM generations WHERE account {LISTED} AND request_id"
                f" {LISTED} UNION ALL SELECT id FROM generations WHERE account {LISTED}"
                f" AND generation_id {LISTED})",
                (until, now, now, shown, wanted, shown, wanted),
            )

        return note

    async def changes(self, since: int) -> AsyncIterator[list[Generation]]:
        """Yield the account's records as they change after a version, whoever did it."""
        while True:
            seen = self._followers.any.count
            changed, since = await self._worker.read(partial(self._changed, since=since))
            if changed:
                yield changed
            await self._followers.any.after(seen)  # counted before it was asked: none is missed
            await anyio.sleep(TOGETHER)

    def _changed(self, db: sqlite3.Connection, since: int) -> tuple[list[Generation], int]:
        """Return what is shown of what changed after a version, and the newest version of all."""
        found = db.execute(
            "SELECT * FROM generations INDEXED BY by_version WHERE version > ? ORDER BY version",
            (since,),
        ).fetchall()
        if not found:
            return [], since
        shows = self._accounts.showing(db)
        return [rows.read(row) for row in found if shows(row["account"])], found[-1]["version"]

    async def version(self) -> int:
        """Return the version of the newest change."""
        return await self._worker.read(_version)

    async def notice(self) -> None:
        """Notice what other processes changed, and wake whoever waits for it."""
        seen, changed = await self._worker.read(self._written)
        if self._seen is None:
            self.wake_all()
        if seen != self._seen:
            self._seen = seen
            self._followers.notice(changed)
            self._queue.work.set()  # another process may want a look, which has no version

    def _written(
        self, db: sqlite3.Connection
    ) -> tuple[tuple[int, int], list[tuple[str, str, int]]]:
        (written,) = db.execute("PRAGMA data_version").fetchone()  # by any other connection
        if self._seen is not None and written == self._seen[0]:
            return self._seen, []
        version = _version(db)
        since = version if self._seen is None else self._seen[1]
        found = db.execute(
            "SELECT account, request_id, version FROM generations WHERE version > ?", (since,)
        ).fetchall()
        return (written, version), [tuple(row) for row in found]

    def wake_all(self) -> None:
        """Let everybody who waits for a record look again."""
        self._followers.wake_all()


def _version(db: sqlite3.Connection) -> int:
    return int(db.execute("SELECT version FROM clock").fetchone()[0])
