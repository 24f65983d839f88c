"""What every engine keeps of the people who sign in: who they are, and what each may spend."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple, Protocol

from meigen_mcp.errors import OverCap
from meigen_mcp.generation import Generation

TEAM = "team"
"""Stands for all people together, and whoever needs no sign-in, where caps are set."""
EACH = "each"
"""Stands for every person for whom nothing else is set."""


@dataclass(frozen=True, slots=True)
class Caps:
    """The most credits that may be spent or reserved; None: nothing is set.

    Attributes:
        day: in 24 hours.
        month: in 30 days.
    """

    day: Decimal | None = None
    month: Decimal | None = None


class Allowance(NamedTuple):
    """A cap that holds for a call, and what of it is used.

    Attributes:
        whose: in words.
        days: 1 or 30.
    """

    whose: str
    days: int
    cap: Decimal
    used: Decimal

    @property
    def left(self) -> Decimal:
        """The credits that still fit."""
        return max(Decimal(0), self.cap - self.used)


@dataclass(frozen=True, slots=True)
class Member:
    """A person who signed in.

    Attributes:
        name: as their provider calls them, for people alone.
        seen_at: when they were here first.
        caps: those that are set for this person.
        made: how many generations there are.
    """

    id: str
    issuer: str
    subject: str
    name: str
    seen_at: float
    caps: Caps = Caps()
    spent_today: Decimal = Decimal(0)
    spent_month: Decimal = Decimal(0)
    made: int = 0


class Team(Protocol):
    """The people of a ledger; every method may raise `LedgerUnavailable`."""

    async def meet(self, member: Member) -> None:
        """Note who a person is; whoever is known keeps the time, and may have another name."""
        ...

    async def members(self, now: float) -> Sequence[Member]:
        """Return everybody, with what they may spend and did, the earliest first."""
        ...

    async def caps(self) -> Mapping[str, Caps]:
        """Return what is set, by person, and for `EACH` and `TEAM`."""
        ...

    async def set_caps(self, who: str, caps: Caps) -> None:
        """Set the caps of a person, of `EACH` or of `TEAM`."""
        ...

    async def forget(self, person: str) -> None:
        """Forget who a person was, and their offers; what they spent stays."""
        ...


class OverTeamCap(OverCap):
    """A cap that was set with `meigen-mcp team cap` leaves no room."""

    next = "Offer the person cheaper settings; only who looks after this server can raise this cap."


def limits(person: str | None, found: Mapping[str, Caps]) -> tuple[Caps, Caps]:
    """Return the caps that hold for a person, and those of the team."""
    own, each = found.get(person or "", Caps()), found.get(EACH, Caps())
    if not person:
        own = each = Caps()
    day = each.day if own.day is None else own.day
    month = each.month if own.month is None else own.month
    return Caps(day, month), found.get(TEAM, Caps())


def hold(wanted: Decimal | None, allowances: Sequence[Allowance]) -> None:
    """Refuse credits that do not fit under a cap.

    Args:
        wanted: the credits; None: nobody knows how many.
        allowances: the caps that hold.

    Raises:
        OverTeamCap: they do not fit, and what would help.
    """
    for one in allowances:
        span = "24 hours" if one.days == 1 else "30 days"
        cap = f"{one.whose} cap of {one.cap:f} credits in {span}"
        if wanted is None:
            raise OverTeamCap(
                f"The price is not known, so {cap} cannot be kept. Choose a model or settings with"
                " a price. Nothing was sent or charged."
            )
        if wanted > one.left:
            raise OverTeamCap(
                f"It would cost {wanted:f} credits; of {cap}, {one.used:f} are spent or reserved"
                f" and {one.left:f} are left. Whoever looks after this server can set another"
                " (`meigen-mcp team cap`), or credits are free again as the time passes. Nothing"
                " was sent or charged."
            )


def hold_intent(job: Generation, allowances: Sequence[Allowance]) -> None:
    """Refuse an intent that does not fit under a cap; whether a lower bound does, nobody knows.

    Raises:
        OverTeamCap: as `hold`.
    """
    hold(job.reserved if job.quote.bounded else None, allowances)


def left(allowances: Sequence[Allowance], days: int) -> Decimal | None:
    """Return what a person may still spend in so many days, if there is a cap."""
    return min((one.left for one in allowances if one.days == days), default=None)
