"""The PostgreSQL database under the ledger: its connections, its formats, and what fails with it.

Work runs in tasks of its own. Whoever waits for it goes by a deadline and never cancels it: a
statement that was given up half-way would be done or not, and nobody would know which. What failed
because a connection broke is repeated until its time is over, so all of it may run twice.
"""

import asyncio
import contextlib
import logging
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass
from importlib.resources import files
from typing import Any, TypeVar, cast
from weakref import WeakSet

import psycopg
from psycopg.conninfo import conninfo_to_dict, make_conninfo
from psycopg.rows import dict_row
from psycopg_pool import AsyncConnectionPool

from meigen_mcp.errors import BadSettings, LedgerUnavailable, MeigenError
from meigen_mcp.ledger.postgres.failures import explain, may_pass, silent
from meigen_mcp.ledger.postgres.lease import BEAT_EVERY, Lease
from meigen_mcp.ledger.postgres.rows import Connection, KeptText, one

T = TypeVar("T")
Work = Callable[[Connection], Awaitable[T]]
log = logging.getLogger(__name__)
for _talks in ("psycopg", "psycopg.pool"):  # they name hosts and people with each try
    logging.getLogger(_talks).setLevel(logging.CRITICAL)

FORMAT = 4
CONNECTIONS = 8
ANSWER_WITHIN = 10.0
"""Seconds for which a caller waits, and what failed is tried again."""
PATIENT_FOR = 60.0
GRACE = 1.0
SILENT_AFTER = 8.0
"""Seconds after which a connection that says nothing is taken down: the server ends a statement
after five."""
CLOSING = 0.3
_CONNECTING: Mapping[str, str | int] = {
    "connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3,
    "tcp_user_timeout": 10_000, "application_name": "meigen-mcp",
}  # fmt: skip
BEGIN = (
    b"BEGIN; SET LOCAL statement_timeout = 5000; SET LOCAL lock_timeout = 3000;"
    b" SET LOCAL idle_in_transaction_session_timeout = 3000;"
    # Nothing of money may be told as done that a crash of the server takes back.
    b" SELECT set_config('synchronous_commit', 'on', true)"
    b" WHERE current_setting('synchronous_commit') = 'off'"
)
_MIGRATING = 0x6D656967  # the number of the lock under which formats are changed
_MIGRATIONS = files("meigen_mcp.ledger.postgres").joinpath("migrations")


@dataclass(slots=True, eq=False)
class _Task:
    """One piece of work.

    Attributes:
        transaction: it is one, rather than a query.
        until: by the monotonic clock, when it is not tried again any more.
        then: is told of the result, whether or not somebody still waits for it.
        unsure: it may have been done although nobody was told.
        given_up: nobody waits for it any more, so that it must not be done.
    """

    work: Work[Any]
    transaction: bool
    until: float
    then: Callable[[Any], None] | None = None
    unsure: bool = False
    given_up: bool = False

    def begin_to_commit(self) -> None:
        """Note that from here on it may be done.

        Raises:
            LedgerUnavailable: it must not be, since its caller was told so.
        """
        if self.given_up:
            raise LedgerUnavailable("Nobody waits for it any more.")
        self.unsure = True


class Database:
    """One database, as one replica uses it.

    It is opened when it is first asked, and from then on the replica's lease is renewed.

    Args:
        url: where statements go; a pooler may be in between.
        direct_url: where formats are changed and changes are heard of, past any pooler.
        name_account: gives the account's name, from the key under which names are hashed.

    Attributes:
        account: the account's name, known once it is open, as is the key that made it.
        lease: makes this replica the owner of what it acts on.
    """

    def __init__(self, url: str, direct_url: str, name_account: Callable[[bytes], str]) -> None:
        self.account = ""
        self.key = b""
        self.lease = Lease()
        self._url = _with_timeouts(url)
        self._direct_url = _with_timeouts(direct_url)
        self._name_account = name_account
        self._pool: AsyncConnectionPool[Connection] | None = None
        self._opening: asyncio.Task[AsyncConnectionPool[Connection]] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._running: set[asyncio.Task[Any]] = set()
        self._lines: set[Connection] = set()
        self._made: WeakSet[Connection] = WeakSet()
        self._closing = False
        self.answered_at = float("-inf")

    # --- asking ---------------------------------------------------------------------------------

    async def read(self, query: Work[T]) -> T:
        """Run statements that write nothing."""
        task = _Task(query, transaction=False, until=_within(ANSWER_WITHIN))
        return cast("T", await self._do(task))

    async def write(
        self, work: Work[T], *, patient: bool = False, then: Callable[[T], None] | None = None
    ) -> T:
        """Run a transaction, whether or not its caller goes away meanwhile.

        Args:
            work: what to do; what it raises undoes it and comes through. It may run again although
                it was committed, if the reply to that was lost: so it must find what it wrote.
            patient: whether to try for long.
            then: is told of the result, even if the caller went away.
        """
        until = _within(PATIENT_FOR if patient else ANSWER_WITHIN)
        return cast("T", await self._do(_Task(work, transaction=True, until=until, then=then)))

    async def open(self) -> None:
        """Open it now, unless it is.

        Raises:
            LedgerUnavailable: it cannot be opened, and why.
        """
        await self.read(lambda db: db.execute(b"SELECT 1"))

    def soon(self, work: Work[Any]) -> None:
        """Run a transaction that nobody waits for, and whose failure is no loss."""
        self._start(_Task(work, transaction=True, until=_within(ANSWER_WITHIN)))

    def _start(self, task: _Task) -> asyncio.Task[Any]:
        running = asyncio.create_task(self._persist(task))
        self._running.add(running)
        running.add_done_callback(self._forget)
        return running

    async def _do(self, task: _Task) -> Any:
        running = self._start(task)
        left = task.until + GRACE - time.monotonic()
        done, _ = await asyncio.wait([running], timeout=left)  # which cancels nothing
        if done:
            return running.result()
        task.given_up = True
        raise silent(unsure=task.unsure)

    def _forget(self, running: asyncio.Task[Any]) -> None:
        self._running.discard(running)
        if not running.cancelled():
            running.exception()  # if nobody waits for it any more, nobody needs to hear of it

    async def _persist(self, task: _Task) -> Any:
        """Do it, again and again as long as only the connection is to blame."""
        pause = 0.02
        while True:
            try:
                async with (await self._opened()).connection() as db:
                    with self.watched(db):
                        result = await self._attempt(db, task)
            except MeigenError:
                raise
            except (psycopg.Error, OSError) as error:
                late = time.monotonic() + pause > task.until
                if late or self._closing or task.given_up or not may_pass(error):
                    raise explain(error, unsure=task.unsure) from None
                await asyncio.sleep(pause)
                pause = min(2 * pause, 1.0)
            else:
                break
        self.answered_at = time.monotonic()
        if task.then is not None:
            task.then(result)
        return result

    async def _attempt(self, db: Connection, task: _Task) -> Any:
        if not task.transaction:
            return await task.work(db)
        await db.execute(BEGIN)
        try:
            result = await task.work(db)
            task.begin_to_commit()
            await db.execute(b"COMMIT")
        except psycopg.Error as error:
            # What the server itself refused is undone; of the rest nobody knows.
            if error.sqlstate is not None and not error.sqlstate.startswith(("57P", "08")):
                task.unsure = False
            await _rolled_back(db)
            raise
        except BaseException:
            await _rolled_back(db)
            raise
        return result

    @contextlib.contextmanager
    def watched(self, db: Connection) -> Iterator[None]:
        """Take a connection down that says nothing for long, however open it looks."""
        late = asyncio.get_running_loop().call_later(SILENT_AFTER, _take_down, db)
        self._lines.add(db)
        try:
            yield
        finally:
            late.cancel()
            self._lines.discard(db)

    # --- opening --------------------------------------------------------------------------------

    async def _opened(self) -> AsyncConnectionPool[Connection]:
        if self._pool is not None:
            return self._pool
        if self._opening is None:
            self._opening = asyncio.create_task(self._open())
            self._opening.add_done_callback(self._end_opening)
        return await asyncio.shield(self._opening)

    def _end_opening(self, opening: asyncio.Task[Any]) -> None:
        self._opening = None
        if not opening.cancelled():
            opening.exception()

    async def _open(self) -> AsyncConnectionPool[Connection]:
        async with self.line() as db:
            with self.watched(db):
                await self._migrate(db)
                self.key = await _kept_key(db)
                await self.lease.begin(db)
        self.account = self._name_account(self.key)
        self._pool = pool = AsyncConnectionPool(
            self._url,
            connection_class=Connection,
            # Behind a pooler a prepared statement is on another connection the next time.
            kwargs={"autocommit": True, "prepare_threshold": None, "row_factory": dict_row},
            configure=self._configure,
            min_size=1,
            max_size=CONNECTIONS,
            timeout=3.0,
            reconnect_timeout=5.0,
            open=False,
        )
        await pool.open()
        self._beating = asyncio.create_task(self._beat())
        return pool

    async def _configure(self, db: Connection) -> None:
        self._made.add(db)
        db.adapters.register_dumper(str, KeptText)

    @contextlib.asynccontextmanager
    async def line(self) -> AsyncIterator[Connection]:
        """Give a connection of its own, past any pooler, that is closed whatever becomes of it."""
        db = await Connection.connect(
            self._direct_url, autocommit=True, prepare_threshold=None, row_factory=dict_row
        )
        try:
            yield db
        finally:
            db.pgconn.finish()  # the library's own end asks a server that may say nothing

    async def _migrate(self, db: Connection) -> None:
        if await _format(db) >= FORMAT:
            return
        async with db.transaction():
            await db.execute(b"SELECT pg_advisory_xact_lock(%s)", (_MIGRATING,))
            await db.execute(b"CREATE SCHEMA IF NOT EXISTS meigen")
            await db.execute(
                b"CREATE TABLE IF NOT EXISTS meigen.formats (format integer PRIMARY KEY,"
                # The oldest program that may go on beside it.
                b" least integer NOT NULL)"
            )
            for version in range(await _format(db) + 1, FORMAT + 1):  # unless another was faster
                script = _MIGRATIONS.joinpath(f"{version}.sql").read_bytes()
                await db.execute(script)
                await db.execute(
                    b"INSERT INTO meigen.formats VALUES (%s, %s)", (version, max(1, version - 1))
                )

    async def _beat(self) -> None:
        """Renew the lease for ever; while that fails, it ends by itself."""
        while True:
            await asyncio.sleep(BEAT_EVERY)
            with contextlib.suppress(LedgerUnavailable):
                await self._do(
                    _Task(self.lease.renew, transaction=False, until=_within(BEAT_EVERY - GRACE))
                )

    async def close(self) -> None:
        """Give the lease and the connections back, whatever is stuck."""
        if self._beating is not None:
            self._beating.cancel()
        if self._running:  # what was begun may end
            await asyncio.wait(self._running, timeout=CLOSING)
        self._closing = True
        if self._pool is not None:
            with contextlib.suppress(TimeoutError, psycopg.Error):
                async with asyncio.timeout(CLOSING), self._pool.connection(CLOSING) as db:
                    with self.watched(db):
                        await self.lease.end(db)
        for line in self._lines:
            _take_down(line)
        if self._running:  # what was stuck sees that at once
            await asyncio.wait(self._running, timeout=CLOSING)
        ours = (*self._running, self._opening, self._beating)
        cancelled = [task for task in ours if task is not None]
        for task in cancelled:
            task.cancel()
        if cancelled:
            await asyncio.wait(cancelled, timeout=CLOSING)
        if self._pool is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(2 * CLOSING):
                    await self._pool.close(timeout=CLOSING)
        for db in self._made:  # what the pool was too slow to close
            db.pgconn.finish()
        self._pool = self._opening = self._beating = None
        self._closing = False


def _within(seconds: float) -> float:
    return time.monotonic() + seconds


def _with_timeouts(url: str) -> str:
    try:
        given = conninfo_to_dict(url)
    except psycopg.ProgrammingError:  # which repeats it, with the password
        raise BadSettings("A MEIGEN_DATABASE_* is no address that PostgreSQL knows.") from None
    return make_conninfo(
        url, **{name: value for name, value in _CONNECTING.items() if name not in given}
    )


async def _rolled_back(db: Connection) -> None:
    """Undo what was begun; a connection that cannot do that is broken, and the pool sees it."""
    with contextlib.suppress(psycopg.Error):
        await db.execute(b"ROLLBACK")


def _take_down(db: Connection) -> None:
    """Shut a connection's socket, so that whoever reads from it gets an error."""
    with (
        contextlib.suppress(psycopg.Error, OSError),
        socket.socket(fileno=os.dup(db.fileno())) as line,
    ):
        line.shutdown(socket.SHUT_RDWR)


async def _format(db: Connection) -> int:
    """Return the format of what is there; 0: nothing.

    Raises:
        LedgerUnavailable: it is too new for this program.
    """
    if await one(db, "SELECT to_regclass('meigen.formats')::text") is None:
        return 0
    row = await (
        await db.execute(b"SELECT max(format) AS format, max(least) AS least FROM meigen.formats")
    ).fetchone()
    if row is None or row["format"] is None:
        return 0
    if row["least"] > FORMAT:
        raise LedgerUnavailable(
            "The ledger in the database was written by a newer meigen-mcp (format"
            f" {row['format']}; this one reads {FORMAT}).",
            "Update meigen-mcp.",
        )
    return cast("int", row["format"])


async def _kept_key(db: Connection) -> bytes:
    """Return the key that the ledger's names are hashed with, which whoever came first made."""
    await db.execute(
        b"INSERT INTO meigen.notes VALUES ('key', to_json(%s::text)) ON CONFLICT DO NOTHING",
        (os.urandom(32).hex(),),
    )
    kept = await one(db, "SELECT value FROM meigen.notes WHERE name = 'key'")
    return bytes.fromhex(str(kept).strip('"'))
