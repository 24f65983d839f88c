"""The ledger on one SQLite file."""

import logging
import os
import time
from collections.abc import Callable
from functools import cache
from pathlib import Path

import anyio

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.changes import Followers
from meigen_mcp.ledger.ledger import Share
from meigen_mcp.ledger.sqlite.accounts import SqliteAccounts
from meigen_mcp.ledger.sqlite.calls import SqliteCalls
from meigen_mcp.ledger.sqlite.changes import SqliteChanges
from meigen_mcp.ledger.sqlite.notes import SqliteLiveLists
from meigen_mcp.ledger.sqlite.offers import SqliteOffers
from meigen_mcp.ledger.sqlite.queue import SqliteQueue
from meigen_mcp.ledger.sqlite.records import SqliteRecords
from meigen_mcp.ledger.sqlite.rescue import LastingDatabase, rescued
from meigen_mcp.ledger.sqlite.team import SqliteTeam
from meigen_mcp.ledger.sqlite.uploads import SqliteUploads
from meigen_mcp.ledger.sqlite.worker import Worker

log = logging.getLogger(__name__)

NOTICE_EVERY = 0.5
REST = 5.0
"""Seconds without the file until it is tried again."""


class SqliteLedger:
    """Every intent of one account and everything learnt of it; see `Ledger`.

    Args:
        folder: where its files are.
        origin: the API's origin, by which its list of models is kept.
        gateway: the origin that local files are uploaded to.
        rate_limit: how many submissions may start in 60 seconds, over all processes.
        name_account: gives the account's name, from the key under which names are hashed.
        alone: the records of earlier tokens are not shown, unless they are proven to be the
            account's.
        called: what errors call the folder; by default its path.
        threaded: False does everything at once, where it is asked for: for tests that hold the
            clock.
    """

    def __init__(
        self,
        folder: Path,
        *,
        origin: str,
        gateway: str,
        rate_limit: int,
        name_account: Callable[[bytes], str],
        alone: bool = False,
        called: str | None = None,
        threaded: bool = True,
    ) -> None:
        database = self._database = LastingDatabase(folder, called, name_account)
        worker = self._worker = Worker(database, threaded=threaded)
        followers = Followers()
        accounts = self.accounts = SqliteAccounts(database, worker, alone=alone)
        self.records = SqliteRecords(accounts, worker, followers)
        self.queue = SqliteQueue(database, accounts, worker, self.records, rate_limit)
        self.changes = SqliteChanges(accounts, worker, self.records, self.queue, followers)
        self.uploads = SqliteUploads(worker, gateway)
        self.team = SqliteTeam(worker)
        self.live_lists = SqliteLiveLists(worker, origin)

        def share(person: str | None) -> Share:
            accounts = SqliteAccounts(database, worker, alone=alone, person=person)
            records = SqliteRecords(accounts, worker, followers)
            return Share(
                accounts,
                records,
                SqliteCalls(database, accounts, worker, followers, self.queue),
                SqliteOffers(accounts, worker),
                SqliteChanges(accounts, worker, records, self.queue, followers),
            )

        self.of = cache(share)
        own = self.of("")
        self.calls, self.offers = own.calls, own.offers
        self.clock: Callable[[], float] = time.time

    async def open(self) -> None:
        """Open it now."""
        await self._worker.apart(lambda _: None)

    async def run(self) -> None:
        """Notice what other processes change, for ever."""
        while True:
            pause = NOTICE_EVERY
            try:
                await self.changes.notice()
            except LedgerUnavailable:  # the poller says so
                pause = REST
            except Exception:
                log.exception("noticing changes failed")
                pause = REST
            await anyio.sleep(pause)

    async def close(self) -> None:
        """Give everything back, within a moment, whatever is stuck."""
        await self._worker.close()

    # --- care -----------------------------------------------------------------------------------

    @property
    def ready(self) -> bool:
        """Always: it is in this process, and what is wrong with it each call is told."""
        return True

    @property
    def exists(self) -> bool:
        """Whether there is a file yet."""
        # Unlike Path.exists it raises nothing, whatever may not be looked into.
        return os.path.exists(self._database.path)  # noqa: PTH110

    async def key(self) -> bytes:
        """Return the key under which accounts are named."""
        return await self._worker.apart(lambda _: self._database.key)

    @property
    def rescued(self) -> list[Path]:
        """The files with records of ledgers that were removed; opening takes them in."""
        return rescued(self._database.folder)

    async def check(self) -> dict[str, int]:
        """Look at every page, and return how many generations are in each state.

        Raises:
            LedgerUnavailable: what is wrong with it.
        """
        return await self._worker.apart(lambda _: self._database.check())

    async def set_aside(self, name: str) -> Path:
        """Copy a damaged ledger's files under another name, and only then remove them.

        Raises:
            LedgerUnavailable: another process has it open, or it cannot be copied.
        """
        await self.close()
        return await anyio.to_thread.run_sync(self._database.set_aside, name)
