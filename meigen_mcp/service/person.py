"""The person behind a call, as far as the service knows them."""

from dataclasses import dataclass
from typing import Literal, Protocol

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation

Verdict = Literal["approved", "declined", "automatic", "no answer", "cannot ask"]
"""What came of a question; `automatic`: a no that came faster than anybody reads."""

Way = Literal["pass on", "automatic", "ask again", "terminal"]
"""How a person who was not heard can still agree: the repeated call passes their yes on, after a
client answered by itself too; the repeated call asks them again; only a terminal is left."""


@dataclass(frozen=True, slots=True)
class Question:
    """What the person is asked before money moves.

    Attributes:
        automatic: how many questions about the same offer the client answered by itself.
    """

    request_id: str
    message: str
    quote: Quote
    automatic: int = 0


class Person(Protocol):
    """Whoever sits behind a call.

    Attributes:
        pending: the request id of a question that this call answers, if it does.
        patience: the seconds within which their client must be answered.
        polls: whether their client itself asks for what still runs, until it is done.
        hears: whether their client asked to be told how it goes, as far as is known.
    """

    pending: str | None
    patience: float
    polls: bool
    hears: bool

    @property
    def can_ask(self) -> bool:
        """Whether the client says that it can ask them."""
        ...

    async def confirm(self, question: Question) -> Verdict:
        """Ask whether a price is fine."""
        ...

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Tell how a generation that the call waits for stands, and its place in the queue."""
        ...
