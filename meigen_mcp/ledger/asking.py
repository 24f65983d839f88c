"""The ledger as the person of the request under way sees it."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from meigen_mcp.ledger.accounts import Accounts
from meigen_mcp.ledger.calls import Calls
from meigen_mcp.ledger.changes import Changes
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.offers import Offers
from meigen_mcp.ledger.queue import Queue
from meigen_mcp.ledger.records import Records
from meigen_mcp.ledger.team import Team
from meigen_mcp.ledger.uploads import LiveLists, Uploads

acting: ContextVar[str | None] = ContextVar("acting", default="")
"""Whose the request under way is; the transport knows, and nobody else sets it but to announce."""


@contextmanager
def acting_for(person: str | None) -> Iterator[None]:
    """Ask the ledger for a person."""
    token = acting.set(person)
    try:
        yield
    finally:
        acting.reset(token)


class OfWhoeverAsks:
    """A ledger as the person of the request under way sees it; see `Ledger`.

    Args:
        whole: the ledger of everybody.
    """

    def __init__(self, whole: Ledger) -> None:
        self._whole = whole
        self.of = whole.of

    @property
    def accounts(self) -> Accounts:
        """The person's accounts."""
        return self._whole.of(acting.get()).accounts

    @property
    def records(self) -> Records:
        """The person's records."""
        return self._whole.of(acting.get()).records

    @property
    def calls(self) -> Calls:
        """What the person's calls ask and write."""
        return self._whole.of(acting.get()).calls

    @property
    def offers(self) -> Offers:
        """The person's calls that wait for a yes."""
        return self._whole.of(acting.get()).offers

    @property
    def changes(self) -> Changes:
        """Who is told of what is the person's."""
        return self._whole.of(acting.get()).changes

    @property
    def uploads(self) -> Uploads:
        """The public copies of local files."""
        return self._whole.uploads

    @property
    def queue(self) -> Queue:
        """What the poller has to do, whose it is."""
        return self._whole.queue

    @property
    def team(self) -> Team:
        """The people who sign in."""
        return self._whole.team

    @property
    def live_lists(self) -> LiveLists:
        """The API's list of models, which is everybody's."""
        return self._whole.live_lists

    @property
    def clock(self) -> Callable[[], float]:
        """The clock of the ledger."""
        return self._whole.clock

    @property
    def ready(self) -> bool:
        """Whether it can be asked now."""
        return self._whole.ready

    async def open(self) -> None:
        """Open it now."""
        await self._whole.open()

    async def key(self) -> bytes:
        """Return the key under which accounts are named."""
        return await self._whole.key()

    async def run(self) -> None:
        """Notice what other processes change, for ever."""
        await self._whole.run()

    async def close(self) -> None:
        """Give everything back."""
        await self._whole.close()
