"""What every engine offers to a call that may spend, and what the call is held to."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.offers import Offer
from meigen_mcp.ledger.team import Allowance
from meigen_mcp.reports import Balance

ADOPTABLE_FOR = 600.0
"""Seconds for which a call that never got its answer can be repeated as the same one."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What the ledger knows when a call begins.

    Attributes:
        known: the generation that the call's request id stands for already.
        others: what another token made under that id, of which nothing proves that it is this
            account's.
        offer: what that id was offered for within the hour.
        repeated: for a call without an id, the generation that it is a repetition of.
        adopted: whether that one was an interrupted call's and is this call's now.
        usual_seconds: the median duration of the last 20 with the model, if there are 3.
        balance: the account's credits as the API last told them, and when.
        spent_today: credits spent or reserved in the last 24 hours, over all accounts.
        spent_this_hour: the same in the last hour.
        approved_at: when the person last said yes; in the future it counts for nothing.
        spent_since_yes: the credits since then.
        allowances: the caps of the person and of the team that hold for the call.
    """

    known: Generation | None = None
    others: Generation | None = None
    offer: Offer | None = None
    repeated: Generation | None = None
    adopted: bool = False
    usual_seconds: float | None = None
    balance: tuple[Balance, float] | None = None
    spent_today: Decimal = Decimal(0)
    spent_this_hour: Decimal = Decimal(0)
    approved_at: float = 0.0
    spent_since_yes: Decimal = Decimal(0)
    allowances: Sequence[Allowance] = ()


@dataclass(frozen=True, slots=True)
class Terms:
    """What a reservation is held to, in the transaction that makes it.

    Attributes:
        cap_per_day: the most credits in 24 hours, over all accounts.
        ask_above: the most credits that need no yes, `price` and what was spent since
            `counted_from` together; None: there is no limit, or the person said yes to this call.
        price: what counts towards that.
        counted_from: the start of the hour, or the person's last yes in it.
        approved: the person said yes to this call, which is noted as their last.
        by_offer: that yes is one to its offer, which must stand still.
        adoptable: an identical call may take it over if this one gets no answer.
        polled: its client may be told before it is sent that it will hear of it, so that it must
            be on the disk by then.
    """

    cap_per_day: Decimal | None = None
    ask_above: Decimal | None = None
    price: Decimal = Decimal(0)
    counted_from: float = 0.0
    approved: bool = False
    by_offer: bool = False
    adoptable: bool = True
    polled: bool = False


class AskFirst(NamedTuple):
    """Nothing was reserved: with what others reserved meanwhile, the person must be asked.

    Attributes:
        spent: the credits that were spent or reserved since `Terms.counted_from`.
    """

    spent: Decimal


class Calls(Protocol):
    """What calls of one account ask and write; every method may raise `LedgerUnavailable`."""

    async def open_call(self, draft: Generation, named: str | None) -> Opening:
        """Return what a call needs to know, and adopt what it repeats.

        Args:
            draft: the call; its request id is not in the ledger.
            named: the request id that the call gives; without one it may be a repetition: of the
                oldest orphan of the last ten minutes, which is adopted once, else of the oldest
                that waits for the person.
        """
        ...

    async def glance(self, draft: Generation) -> Opening:
        """Return what a quote needs to know; nothing is written."""
        ...

    async def keep_name(self, name: str, request_id: str) -> str:
        """Let a name stand for a request id, for ever, whatever the account.

        Returns:
            The id that it stands for: this one, unless it had another before.
        """
        ...

    async def add(self, job: Generation, terms: Terms) -> Generation | AskFirst:
        """Commit an intent, with its reservation, before any money moves, and use up its offer.

        A caller that goes away meanwhile does not undo it.

        Returns:
            The record; or the one that its request id already stands for, whoever was first; or
            what the person has to be asked about first.

        Raises:
            OverCap: the reservation does not fit under the cap of the last 24 hours, or under one
                of the person's or the team's.
            ApprovalEnded: the offer that it needs has ended or was used.
        """
        ...

    async def mark(self, job: Generation, *, answered: bool) -> None:
        """Note that an answer left for its caller, or that its call got none.

        One that got none can be adopted: anew, if that call had adopted it; never, if it has an id
        of its own.
        """
        ...


def usual(durations: Iterable[float | None]) -> float | None:
    """Return the median of durations as far as they are known, if there are three."""
    seconds = sorted(each for each in durations if each is not None and each > 0)
    return seconds[len(seconds) // 2] if len(seconds) >= 3 else None
