"""The engines that a ledger can stand on, each as a place that many processes share."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol

from support.ledgers import ACCOUNT, make_ledger
from support.postgres import PostgresServer

from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.postgres.ledger import PostgresLedger


class Place(Protocol):
    """Where the processes of some people keep one ledger."""

    def open(self, account: str = ACCOUNT, *, rate_limit: int = 12, alone: bool = False) -> Ledger:
        """Return the ledger of a new process; closing it is the end of that process."""
        ...

    async def close(self) -> None:
        """End all processes."""
        ...


class SqlitePlace:
    """A data folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._opened: list[Ledger] = []

    def open(self, account: str = ACCOUNT, *, rate_limit: int = 12, alone: bool = False) -> Ledger:
        """Return the ledger of a new process."""
        ledger = make_ledger(self._folder, account, rate_limit=rate_limit, alone=alone)
        self._opened.append(ledger)
        return ledger

    async def close(self) -> None:
        """End all processes."""
        for ledger in self._opened:
            await ledger.close()


class PostgresPlace:
    """A database of a server, with as many replicas as are opened.

    Args:
        server: what runs it.
        through: makes the address that statements go to of the database's own: that of a pooler.
    """

    def __init__(
        self, server: PostgresServer, through: Callable[[str], str] = lambda url: url
    ) -> None:
        self.server = server
        self.direct_url = server.make_database()
        self.url = through(self.direct_url)
        self._opened: list[PostgresLedger] = []

    def open(
        self, account: str = ACCOUNT, *, rate_limit: int = 12, alone: bool = False
    ) -> PostgresLedger:
        """Return the ledger of a new replica."""
        ledger = PostgresLedger(
            self.url,
            self.direct_url,
            origin="https://www.meigen.ai",
            gateway="https://gen.meigen.ai",
            rate_limit=rate_limit,
            name_account=lambda _: account,
            alone=alone,
        )
        self._opened.append(ledger)
        return ledger

    def execute(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement past all replicas."""
        return self.server.execute(statement, self.direct_url)

    async def close(self) -> None:
        """End all replicas."""
        for ledger in self._opened:
            await ledger.close()
        self.server.give_back(self.direct_url)


ENGINES = ("sqlite", "postgres")
