"""The ledger: every intent and everything learnt of it, on disk.

Each row belongs to one owner, the process whose poller acts on it. What calls may write at any time
(who waits, who was answered) is kept apart from what the poller saves.
"""

import json
import sqlite3
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterable
from dataclasses import dataclass, field, replace
from decimal import Decimal
from weakref import WeakValueDictionary

import anyio

from meigen_mcp import window
from meigen_mcp.agenda import ADOPTABLE_FOR, Agenda
from meigen_mcp.database import Database
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Balance, Generation, expired, fingerprint
from meigen_mcp.notes import Notes
from meigen_mcp.rows import FIELDS, SAVED, generation, millicredits, write

_COLUMNS = ("fingerprint", "millicredits", *FIELDS)
_ADD = f"INSERT INTO generations ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # our own names
_SAVE = (
    f"UPDATE generations SET {', '.join(f'{name} = ?' for name in (*SAVED, 'millicredits'))}"  # noqa: S608  # our own names
    " WHERE account = ? AND request_id = ?"
)
TOGETHER = 0.01


@dataclass(slots=True, weakref_slot=True, eq=False)
class _Waiter:
    """What those who wait for one record share.

    Attributes:
        job: the record as it was told last; None: it must be read.
        changed: set with the next change.
    """

    job: Generation | None = None
    changed: anyio.Event = field(default_factory=anyio.Event)

    def wake(self, job: Generation | None) -> None:
        self.job = job
        self.changed.set()
        self.changed = anyio.Event()


class Ledger:
    """All records, and the counts that all processes share.

    Every method may raise `LedgerUnavailable`.

    Attributes:
        notes: small facts that all processes share as well.
        agenda: what this process has to do, and when.
        work: set when the poller may have something to do.
    """

    def __init__(self, database: Database) -> None:
        self.database = database
        self.notes = Notes(database)
        self.agenda = Agenda(database)
        self._seen: tuple[int, int] | None = None  # SQLite's data_version, our version clock
        self._changed = anyio.Event()
        # Only those who wait hold on to it.
        self._waiting: WeakValueDictionary[tuple[str, str], _Waiter] = WeakValueDictionary()
        self.work = anyio.Event()

    # --- generations ----------------------------------------------------------------------------

    def add(self, job: Generation, cap_per_day: Decimal | None, *, adoptable: bool) -> Generation:
        """Commit an intent, with its reservation, before any money moves.

        Returns:
            The record; or the one that its request id already stands for, whoever was first.

        Raises:
            OverCap: the reservation does not fit under the cap of the last 24 hours.
        """
        with self.database.writing(durable=False) as db:
            row = db.execute(
                "SELECT * FROM generations WHERE account = ? AND request_id = ?",
                (job.account, job.request_id),
            ).fetchone()
            if row is not None:
                return generation(row)
            if cap_per_day is not None:
                window.hold_to_cap(db, job.reserved, cap_per_day, job.created_at)
            job = replace(
                job,
                owner=self.database.owner,
                version=_tick(db),
                adopted=job.adopted or not adoptable,
            )
            values = (write(getattr(job, name)) for name in FIELDS)
            db.execute(_ADD, [fingerprint(job.tool, job.arguments), millicredits(job), *values])
        self._tell(job)
        self.work.set()
        return job

    def save(self, job: Generation, *, durable: bool = True) -> Generation:
        """Commit a changed record, apart from what never changes and what calls write any time."""
        with self.database.writing(durable=durable) as db:
            job = _saved(db, job)
        self._tell(job)
        return job

    def expire(self, before: float, now: float) -> None:
        """End the intents of every account that were made before a time and never sent.

        Those of a token that is no longer used would hold their reservation.
        """
        unsent = (
            "SELECT * FROM generations INDEXED BY by_due WHERE next_look IS NOT NULL"
            " AND status = 'queued' AND created_at < ?"
        )
        with self.database.reading() as db:
            if db.execute(f"{unsent} LIMIT 1", (before,)).fetchone() is None:
                return
        with self.database.writing() as db:  # read again: another process may just have sent one
            rows = db.execute(unsent, (before,)).fetchall()
            ended = [_saved(db, expired(generation(row), now)) for row in rows]
        for job in ended:
            self._tell(job)

    def look_again(self, job: Generation, at: float | None) -> None:
        """Note when to look next after a look that taught nothing; that is no change to tell."""
        with self.database.writing(durable=False) as db:
            db.execute(
                "UPDATE generations SET next_look = ? WHERE account = ? AND request_id = ?",
                (at, job.account, job.request_id),
            )

    def get(self, account: str, name: str) -> Generation | None:
        """Return the record with this `generationId` or `requestId`."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT * FROM generations WHERE account = ? AND request_id = ?"
                " UNION ALL SELECT * FROM generations WHERE account = ? AND generation_id = ?"
                " LIMIT 1",
                (account, name.lower(), account, name),
            ).fetchone()
        return None if row is None else generation(row)

    def newest(
        self, account: str, limit: int, before: int | None = None
    ) -> list[tuple[int, Generation]]:
        """Return records, newest first, each with its place; `before` is the last place seen."""
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT * FROM generations WHERE account = ? AND id < ? ORDER BY id DESC LIMIT ?",
                (account, sys.maxsize if before is None else before, limit),
            ).fetchall()
        return [(row["id"], generation(row)) for row in rows]

    def made(self, account: str, url: str) -> tuple[Generation, int] | None:
        """Return the result that a URL is, if it is one of the account's newest thousand."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT * FROM (SELECT * FROM generations WHERE account = ? ORDER BY id DESC"
                " LIMIT 1000) WHERE EXISTS"
                " (SELECT 1 FROM json_each(media_urls) WHERE value = ?) LIMIT 1",
                (account, url),
            ).fetchone()
        if row is None:
            return None
        job = generation(row)
        return job, job.media_urls.index(url)

    def available(self) -> bool:
        """Say whether the ledger can be read."""
        try:
            with self.database.reading():
                return True
        except LedgerUnavailable:
            return False

    def last_balance(self, account: str) -> tuple[Balance, float] | None:
        """Return the account's credits as the API last told them, and when."""
        with self.database.reading() as db:
            row = db.execute(
                "SELECT * FROM generations WHERE account = ? AND balance IS NOT NULL"
                " ORDER BY id DESC LIMIT 1",
                (account,),
            ).fetchone()
        job = None if row is None else generation(row)
        if job is None or job.balance is None or job.accepted_at is None:
            return None
        return job.balance, job.accepted_at

    def hold_to_cap(self, wanted: Decimal | None, cap: Decimal, now: float) -> None:
        """Refuse credits that do not fit under the cap of the last 24 hours as it is now.

        Raises:
            OverCap: they do not.
        """
        with self.database.reading() as db:
            window.hold_to_cap(db, wanted, cap, now)

    def spent(self, since: float) -> Decimal:
        """Return the credits spent or reserved after a time, over all accounts."""
        with self.database.reading() as db:
            return window.spent(db, since)

    def usual_seconds(self, model_id: str) -> float | None:
        """Return the median duration of the last 20 generations with a model, if there are 3."""
        with self.database.reading() as db:
            rows = db.execute(
                "SELECT finished_at - accepted_at FROM generations WHERE model_id = ?"
                " AND status = 'completed' ORDER BY finished_at DESC LIMIT 20",
                (model_id,),
            ).fetchall()
        seconds = sorted(row[0] for row in rows if row[0] is not None)
        return seconds[len(seconds) // 2] if len(seconds) >= 3 else None

    # --- what calls write -----------------------------------------------------------------------

    def watch(self, account: str, names: Iterable[str], until: float, now: float) -> None:
        """Have generations looked at every interval until a time, from now on."""
        wanted = json.dumps(list(names))
        with self.database.writing(durable=False) as db:
            db.execute(
                "UPDATE generations SET watched_until = max(watched_until, ?),"
                " next_look = CASE WHEN status = 'processing' AND watched_until < ?"
                " THEN ? ELSE next_look END WHERE status NOT IN ('completed', 'failed')"
                " AND id IN (SELECT id FROM generations WHERE account = ? AND request_id IN"
                " (SELECT value FROM json_each(?)) UNION ALL SELECT id FROM generations"
                " WHERE account = ? AND generation_id IN (SELECT value FROM json_each(?)))",
                (until, now, now, account, wanted, account, wanted),
            )
        self.work.set()

    def wake(self, job: Generation, now: float) -> None:
        """Have the poller act on a generation now: a parked one is sent again."""
        with self.database.writing() as db:
            db.execute(
                "UPDATE generations SET next_look = ?, parked = 0, version = ?,"
                " owner = CASE WHEN owner = '' THEN ? ELSE owner END"
                " WHERE account = ? AND request_id = ? AND status NOT IN ('completed', 'failed')",
                (now, _tick(db), self.database.owner, job.account, job.request_id),
            )
        self.work.set()

    def mark(self, job: Generation, *, answered: bool) -> None:
        """Note that an answer reached its caller, or that its call was cancelled before."""
        column = "answered = 1" if answered else "abandoned = 1 - answered"
        with self.database.writing(durable=False) as db:
            db.execute(
                f"UPDATE generations SET {column} WHERE account = ? AND request_id = ?",  # noqa: S608  # one of two
                (job.account, job.request_id),
            )

    def repeated(self, job: Generation) -> tuple[Generation, bool] | None:
        """Return the generation that a call without an id repeats, and whether it adopts it.

        That is the oldest orphan of the last ten minutes, which is adopted once, else the oldest
        that waits for the person.
        """
        alike = "account = ? AND fingerprint = ? AND (abandoned = 1 OR parked = 1)"
        call = (job.account, fingerprint(job.tool, job.arguments))
        with self.database.reading() as db:
            if not db.execute(f"SELECT 1 FROM generations WHERE {alike} LIMIT 1", call).fetchone():  # noqa: S608  # as above
                return None
        with self.database.writing(durable=False) as db:
            orphan = db.execute(
                f"UPDATE generations SET adopted = 1 WHERE id = (SELECT id FROM generations"  # noqa: S608  # as above
                f" WHERE {alike} AND abandoned = 1 AND adopted = 0 AND status <> 'failed'"
                " AND created_at > ? ORDER BY id LIMIT 1) RETURNING *",
                (*call, job.created_at - ADOPTABLE_FOR),
            ).fetchone()
            found = (
                orphan
                or db.execute(
                    f"SELECT * FROM generations WHERE {alike} AND parked = 1 ORDER BY id LIMIT 1",  # noqa: S608  # as above
                    call,
                ).fetchone()
            )
        return None if found is None else (generation(found), orphan is not None)

    # --- changes --------------------------------------------------------------------------------

    def _tell(self, job: Generation) -> None:
        self._changed.set()
        self._changed = anyio.Event()
        if (waiter := self._waiting.get((job.account, job.request_id))) is not None:
            waiter.wake(job)

    def notice(self) -> None:
        """Notice what other processes changed, and wake whoever waits for it."""
        with self.database.reading() as db:
            written = self._data_version(db)  # not by this process
            if self._seen is not None and written == self._seen[0]:
                return
            seen = (written, self._version(db))
            since = seen[1] if self._seen is None else self._seen[1]
            rows = db.execute(
                "SELECT account, request_id FROM generations WHERE version > ?", (since,)
            ).fetchall()
        if self._seen is None:
            self.wake_waiting()
        self._seen = seen
        self._changed.set()
        self._changed = anyio.Event()
        for row in rows:
            if (waiter := self._waiting.get(tuple(row))) is not None:
                waiter.wake(None)

    async def wait(
        self,
        job: Generation,
        done: Callable[[Generation], bool],
        until: float,
        clock: Callable[[], float] = time.time,
    ) -> Generation:
        """Return a record that was just read as soon as it is done, at the latest at a time."""
        waiter = self._waiting.setdefault((job.account, job.request_id), _Waiter())
        while not done(job) and (left := until - clock()) > 0:
            changed, told = waiter.changed, None
            with anyio.move_on_after(left):
                await changed.wait()
                told = waiter.job
            job = told or self.get(job.account, job.request_id) or job
        return job

    def wake_waiting(self) -> None:
        """Let everybody who waits for a record look again."""
        for waiter in list(self._waiting.values()):
            waiter.wake(None)

    async def changes(
        self, account: str, since: int | None = None
    ) -> AsyncIterator[list[Generation]]:
        """Yield the account's records as they change, whichever process did it.

        What changes within TOGETHER seconds comes together.

        Args:
            account: whose records.
            since: the version after which changes count; by default from now on.
        """
        version = self.version() if since is None else since
        while True:
            changed = self._changed
            with self.database.reading() as db:
                rows = db.execute(
                    "SELECT * FROM generations INDEXED BY by_version"
                    " WHERE version > ? AND account = ? ORDER BY version",
                    (version, account),
                ).fetchall()
            if rows:
                version = rows[-1]["version"]
                yield [generation(row) for row in rows]
            else:
                await changed.wait()
                await anyio.sleep(TOGETHER)

    def version(self) -> int:
        """Return the version of the newest change."""
        with self.database.reading() as db:
            return self._version(db)

    def _version(self, db: sqlite3.Connection) -> int:
        return int(db.execute("SELECT version FROM clock").fetchone()[0])

    def _data_version(self, db: sqlite3.Connection) -> int:
        return int(db.execute("PRAGMA data_version").fetchone()[0])


def _saved(db: sqlite3.Connection, job: Generation) -> Generation:
    job = replace(job, version=_tick(db))
    values = (write(getattr(job, name)) for name in SAVED)
    db.execute(_SAVE, [*values, millicredits(job), job.account, job.request_id])
    return job


def _tick(db: sqlite3.Connection) -> int:
    row = db.execute("UPDATE clock SET version = version + 1 RETURNING version").fetchone()
    return int(row[0])
