"""The ledger as the rest of the program sees it; what it stands on is an engine's business."""

from collections.abc import Callable
from typing import NamedTuple, Protocol

from meigen_mcp.ledger.accounts import Accounts
from meigen_mcp.ledger.calls import Calls
from meigen_mcp.ledger.changes import Changes
from meigen_mcp.ledger.offers import Offers
from meigen_mcp.ledger.queue import Queue
from meigen_mcp.ledger.records import Records
from meigen_mcp.ledger.team import Team
from meigen_mcp.ledger.uploads import LiveLists, Uploads


class Share(NamedTuple):
    """What one person, or everybody together, sees of a ledger."""

    accounts: Accounts
    records: Records
    calls: Calls
    offers: Offers
    changes: Changes


class Ledger(Protocol):
    """Every intent of one account and everything learnt of it, shared by all its processes.

    Those of earlier tokens lie beside them; `Accounts` says what they are good for.

    It opens itself when it is first asked, so that a server with a broken data folder still starts
    and says what is wrong. Nothing that it does holds the event loop up.
    """

    def of(self, person: str | None) -> Share:
        """Return what is a person's; empty: of those who need no sign-in; None: of everybody."""
        ...

    @property
    def accounts(self) -> Accounts:
        """Which account is meant, and which others it was."""
        ...

    @property
    def records(self) -> Records:
        """The records."""
        ...

    @property
    def calls(self) -> Calls:
        """What calls ask and write."""
        ...

    @property
    def offers(self) -> Offers:
        """The calls that wait for the person's yes."""
        ...

    @property
    def queue(self) -> Queue:
        """What the poller has to do."""
        ...

    @property
    def changes(self) -> Changes:
        """Who is told of what."""
        ...

    @property
    def uploads(self) -> Uploads:
        """The public copies of local files."""
        ...

    @property
    def team(self) -> Team:
        """The people who sign in."""
        ...

    @property
    def live_lists(self) -> LiveLists:
        """The API's list of models."""
        ...

    @property
    def clock(self) -> Callable[[], float]:
        """The clock that all its processes share, in seconds since the epoch."""
        ...

    @property
    def ready(self) -> bool:
        """Whether it can be asked now, and tells of changes."""
        ...

    async def open(self) -> None:
        """Open it now, rather than when it is first asked.

        Raises:
            LedgerUnavailable: it cannot be opened, and why.
        """
        ...

    async def key(self) -> bytes:
        """Return the key under which accounts are named."""
        ...

    async def run(self) -> None:
        """Notice what other processes change, for ever."""
        ...

    async def close(self) -> None:
        """Give everything back, within a moment, whatever is stuck."""
        ...
