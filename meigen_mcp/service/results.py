"""What a call comes to."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import NamedTuple

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import Problem, Refusal
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.team import Allowance
from meigen_mcp.reports import Balance
from meigen_mcp.service.person import Way

SANDBOXED = (
    "This is the sandbox: tell the person that what it makes are placeholders and that its credits"
    " are not real."
)
STARTS_ANEW = (
    "This sandbox starts anew with every server, and some clients start one for each call; one with"
    " a name remembers: serve --sandbox NAME."
)


class Copies(NamedTuple):
    """How many copies of local files became public for a call."""

    pictures: int = 0
    clips: int = 0

    def and_also(self, other: "Copies") -> "Copies":
        """Return both together."""
        return Copies(self.pictures + other.pictures, self.clips + other.clips)


NO_COPIES = Copies()


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call comes to: a record, or what would become one.

    Attributes:
        job: the record; for `dry_run` and `needs_approval` a draft that is not stored.
        status: the record's status, or one of those two.
        place: how many generations are sent before a queued one.
        starts_at: when a queued one is sent, as far as can be told.
        adopted: a repeated call was given the generation of an interrupted one.
        repeated: its request id stood for this generation already.
        uploaded: how many copies of local references became public for it.
        preview: the path of a small picture of the result, whoever may be told of paths.
        objection: why the call of a dry run would be refused.
        asks: the person is asked before the call of a dry run is made.
        cheaper: settings of the same model that cost less.
        recent: the credits of the last hour, where they are why approval is needed.
        balance: the credits as last told, with the time of that.
        way: how the person can agree, where approval is needed.
        command: what they type to agree in a terminal.
        later: it still runs, and the client asks until it is done.
        first: no call was told of it before.
        saving: its media are still being saved.
        frameless: why its video is not shown in pictures here, and what to do, if that is so.
        sandbox: it is a sandbox's.
        anew: it is a sandbox's that forgets everything when its server ends.
        others: an earlier token made it, and nothing proves that it is this account's.
        unwritable: why nothing can be saved, where that is so and may be told.
        broken: something broke after the intent; this is what was known last.
    """

    job: Generation
    status: str
    place: int = 0
    starts_at: float | None = None
    adopted: bool = False
    repeated: bool = False
    uploaded: Copies = NO_COPIES
    preview: str | None = None
    objection: Refusal | None = None
    asks: bool = False
    cheaper: tuple[tuple[str, Quote], ...] = ()
    recent: Decimal | None = None
    balance: tuple[Balance, float] | None = None
    way: Way = "pass on"
    command: str = ""
    later: bool = False
    first: bool = False
    saving: bool = False
    frameless: str = ""
    sandbox: bool = False
    anew: bool = False
    others: bool = False
    unwritable: Problem | None = None
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Listing:
    """The newest generations, with what was spent.

    Attributes:
        sandbox: they are a sandbox's.
        anew: they are a sandbox's that forgets everything when its server ends.
        others: how many of them an earlier token made, without proof that they are this account's.
        allowances: the caps of the person and of the team that hold for the next call.
    """

    jobs: tuple[Generation, ...]
    spent_today: Decimal
    spent_month: Decimal
    reserved: Decimal
    sandbox: bool = False
    anew: bool = False
    others: int = 0
    allowances: Sequence[Allowance] = ()
