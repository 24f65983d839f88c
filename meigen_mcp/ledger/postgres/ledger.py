"""The ledger on one PostgreSQL database."""

import logging
import time
from collections.abc import Callable
from functools import cache
from uuid import uuid4

import anyio
import psycopg

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.changes import Followers
from meigen_mcp.ledger.ledger import Share
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.accounts import PostgresAccounts
from meigen_mcp.ledger.postgres.calls import PostgresCalls
from meigen_mcp.ledger.postgres.changes import PostgresChanges
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.failures import explain
from meigen_mcp.ledger.postgres.offers import PostgresOffers
from meigen_mcp.ledger.postgres.queue import PostgresQueue
from meigen_mcp.ledger.postgres.records import PostgresRecords
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.shelf import PostgresLiveLists, PostgresUploads
from meigen_mcp.ledger.postgres.team import PostgresTeam

log = logging.getLogger(__name__)

LOOK_EVERY = 5.0
"""Seconds without a notification after which is asked all the same what changed."""
REST = 1.0
BREATH = 0.05
"""Seconds after which it is asked again at the soonest: of many changes several at once."""
LATELY = 10.0
"""Seconds for which an answer of the database says that it is there."""
HEARD_WITHIN = 5.0
"""Seconds in which a notification of our own must come back."""
DEAF = LedgerUnavailable(
    "What one server tells the others through the database of MEIGEN_DATABASE_URL does not come"
    " back: a pooler in transaction mode is in between.",
    "Set MEIGEN_DATABASE_DIRECT_URL to the same database without the pooler.",
)


class PostgresLedger:
    """Every intent of one account and everything learnt of it; see `Ledger`.

    Args:
        url: the database; a pooler in transaction mode may be in between.
        direct_url: the same without any pooler, for LISTEN and for its formats.
        origin: the API's origin, by which its list of models is kept.
        gateway: the origin that local files are uploaded to.
        rate_limit: how many submissions may start in 60 seconds, over all replicas.
        name_account: gives the account's name, from the key under which names are hashed.
        alone: the records of earlier tokens are not shown, unless they are proven to be the
            account's.
    """

    def __init__(
        self,
        url: str,
        direct_url: str,
        *,
        origin: str,
        gateway: str,
        rate_limit: int,
        name_account: Callable[[bytes], str],
        alone: bool = False,
    ) -> None:
        database = self._database = Database(url, direct_url, name_account)
        followers = Followers()
        accounts = self.accounts = PostgresAccounts(database, alone=alone)
        self.records = PostgresRecords(database, accounts, followers)
        self.queue = PostgresQueue(database, accounts, self.records, rate_limit)
        self.changes = PostgresChanges(database, accounts, self.records, self.queue, followers)
        self.uploads = PostgresUploads(database, gateway)
        self.team = PostgresTeam(database)
        self.live_lists = PostgresLiveLists(database, origin)
        self.clock = database.lease.clock

        def share(person: str | None) -> Share:
            accounts = PostgresAccounts(database, alone=alone, person=person)
            records = PostgresRecords(database, accounts, followers)
            return Share(
                accounts,
                records,
                PostgresCalls(database, accounts, followers, self.queue),
                PostgresOffers(database, accounts),
                PostgresChanges(database, accounts, records, self.queue, followers),
            )

        self.of = cache(share)
        own = self.of("")
        self.calls, self.offers = own.calls, own.offers
        self._listening = False

    async def open(self) -> None:
        """Open it now."""
        await self._database.open()

    async def key(self) -> bytes:
        """Return the key under which accounts are named."""
        await self._database.open()
        return self._database.key

    async def run(self) -> None:
        """Notice what other replicas change, for ever."""
        while True:
            try:
                await self._listen()
            except LedgerUnavailable as problem:
                if problem is DEAF:
                    log.error("%s", problem.message)  # noqa: TRY400  # it has no cause
            except (psycopg.Error, OSError):
                pass  # the poller says so
            except Exception:
                log.exception("noticing changes failed")
            self._listening = False
            await anyio.sleep(REST)

    async def _listen(self) -> None:
        await self._database.open()
        async with self._database.line() as line:
            await self._tune_in(line)
            await self.changes.notice()  # what came before this line heard
            await self._hear_itself(line)
            self._listening = True
            while True:
                async for _ in line.notifies(timeout=LOOK_EVERY, stop_after=1):
                    pass
                await self.changes.notice()
                await anyio.sleep(BREATH)

    async def _tune_in(self, line: Connection) -> None:
        with self._database.watched(line):
            await line.execute(b"LISTEN meigen_changes")

    async def _hear_itself(self, line: Connection) -> None:
        """Have a word said where statements go, and wait until it is heard where changes are.

        Raises:
            LedgerUnavailable: it does not come.
        """
        word = uuid4().hex

        async def say(db: Connection) -> None:
            await db.execute(b"SELECT pg_notify('meigen_changes', %s)", (word,))

        await self._database.read(say)
        until = time.monotonic() + HEARD_WITHIN
        while (left := until - time.monotonic()) > 0:
            async for heard in line.notifies(timeout=left, stop_after=1):
                if heard.payload == word:
                    return
        raise DEAF

    async def close(self) -> None:
        """Give everything back, within a moment, whatever is stuck."""
        await self._database.close()

    # --- care -----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Whether it hears of changes, and the database answered lately."""
        return self._listening and time.monotonic() - self._database.answered_at < LATELY

    async def must_hear_itself(self) -> None:
        """Refuse a database through which replicas cannot tell each other of changes.

        Raises:
            LedgerUnavailable: it cannot be used, and why.
        """
        await self._database.open()
        try:
            async with self._database.line() as line:
                await self._tune_in(line)
                await self._hear_itself(line)
        except (psycopg.Error, OSError) as error:
            raise explain(error) from None

    async def check(self) -> dict[str, int]:
        """Return how many generations are in each state.

        Raises:
            LedgerUnavailable: what is wrong with it.
        """
        found = await self._database.read(
            lambda db: rows.every(
                db, "SELECT status, count(*) AS count FROM meigen.generations GROUP BY status"
            )
        )
        return {row["status"]: row["count"] for row in found}
