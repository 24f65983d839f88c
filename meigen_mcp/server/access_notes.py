"""What a request came to, for the line of the log that an operator reads."""

from contextvars import ContextVar
from dataclasses import dataclass

from meigen_mcp.service.results import Outcome


@dataclass(slots=True)
class AccessNote:
    """Words for the line of one request.

    Attributes:
        words: which tool was called, what it answered, and the credits that it began to spend.
        person: who asked, where people sign in: the beginning of their id, which says nothing of
            them to whoever has no ledger.
    """

    words: str = ""
    person: str = ""


noted: ContextVar[AccessNote | None] = ContextVar("noted", default=None)
"""The note of the request under way, where a transport writes lines."""


def note(tool: str, result: Outcome | str = "") -> None:
    """Note what a tool answered: only a generation that is new to everybody costs anything."""
    if (line := noted.get()) is None:
        return
    if isinstance(result, Outcome):
        job = result.job
        cost = job.credits_used or job.reserved or job.quote.credits
        known = "credits unknown" if cost is None else f"{cost:f} credits"
        line.words = f" {tool} {result.status}" + (f", {known}" if result.first else "")
    else:
        line.words = f" {tool} {result}".rstrip()
