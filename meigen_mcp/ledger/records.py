"""What every engine offers: records by name, by place and by URL, and the change of one."""

from collections.abc import Callable, Sequence
from decimal import Decimal
from typing import NamedTuple, Protocol

from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.team import Allowance
from meigen_mcp.reports import Balance

Change = Callable[[Generation], Generation]
"""A transition: given the record as it is, what it becomes. It may run in any thread."""


class TakenOver(MeigenError):
    """A record has another owner by now, whose business it is; it reaches no client."""

    code = "taken_over"

    def __init__(self, request_id: str) -> None:
        super().__init__(f"Another server goes on with {request_id}.")


class Overview(NamedTuple):
    """The newest records, with what was spent or is reserved over all accounts.

    Attributes:
        spent_today: spent or reserved in 24 hours.
        spent_month: spent or reserved in 30 days.
        reserved: how much of that is only reserved, since the charge is not known.
        allowances: the caps that hold for the person's next call.
    """

    jobs: Sequence[Generation]
    spent_today: Decimal
    spent_month: Decimal
    reserved: Decimal = Decimal(0)
    allowances: Sequence[Allowance] = ()


MOST_BEGINNING = 10
"""How many are named whose ids begin alike: nobody reads more."""


class Forgotten(NamedTuple):
    """What was taken out of the ledger.

    Attributes:
        jobs: the records as they were.
        left: where something of it is still to be found, and until when, as a sentence; empty:
            nowhere in the ledger.
    """

    jobs: Sequence[Generation]
    left: str


class Records(Protocol):
    """The records of one account; every method may raise `LedgerUnavailable`."""

    async def get(self, name: str) -> Generation | None:
        """Return the record with this `generationId` or `requestId`."""
        ...

    async def named(self, name: str) -> list[Generation]:
        """Return all with this id that are shown, the own first: several may choose one."""
        ...

    async def beginning(self, start: str) -> list[Generation]:
        """Return those that are shown of which an id begins so, the newest first, not all."""
        ...

    async def again(self, job: Generation) -> Generation | None:
        """Return a record that was read before as it is now."""
        ...

    async def newest(self, limit: int, before: int | None = None) -> list[tuple[int, Generation]]:
        """Return records, newest first, each with its place; `before` is the last place seen."""
        ...

    async def overview(self, limit: int, now: float) -> Overview:
        """Return the newest records and what was spent in the last 24 hours and 30 days."""
        ...

    async def keeping(self, name: str) -> Generation | None:
        """Return the newest that is shown and has a saved file whose path ends so, however old."""
        ...

    async def made(self, url: str) -> tuple[Generation, int] | None:
        """Return the result that a URL is, if it is one of the newest thousand."""
        ...

    async def saved_before(
        self, finished_before: float, after: int, limit: int
    ) -> list[tuple[int, Generation]]:
        """Return records with saved files or a preview that ended before a time, with their places.

        They are those of all accounts, the oldest first; `after` is the last place seen.
        """
        ...

    async def forgettable(self, ended_before: float) -> list[Generation]:
        """Return records that ended before a time and of which there is something to forget.

        They are those of all accounts, or the person's.
        """
        ...

    async def forget(self, jobs: Sequence[Generation]) -> Forgotten:
        """Take prompts, arguments, references, previews and files out of records that have ended.

        Key, amount and outcome stay, since caps and the history rest on them. What is no longer as
        it was read stays whole: it may have files by now that nobody deleted.

        Args:
            jobs: the records, whose files are deleted by then: nothing else knows where they are.
        """
        ...

    async def last_balance(self) -> tuple[Balance, float] | None:
        """Return the account's credits as the API last told them, and when."""
        ...

    async def change(
        self,
        job: Generation,
        change: Change,
        *,
        durable: bool = True,
        patient: bool = False,
        by_owner: bool = False,
    ) -> Generation:
        """Apply a transition to a record as it is now, whatever it was when it was read.

        What calls wrote meanwhile stays, and is told to the transition. Whoever follows the record
        is told once the change is safe. When only the time of the next look is another, nobody is
        told.

        Args:
            job: names the record.
            change: the transition; what it raises comes through, and nothing is changed.
            durable: whether the change is on the disk before this returns.
            patient: whether to wait for a busy ledger for as long as it takes.
            by_owner: whether it is void once the record has another owner than when it was read:
                what was learnt before may not be so any more.

        Returns:
            The record as it is now.

        Raises:
            TakenOver: it has another owner.
        """
        ...
