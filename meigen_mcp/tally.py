"""What is counted of the work, and told to whoever measures; nothing of it says what was asked for.

Counting costs a dictionary. Who measures (`telemetry.py`, an extra) reads the counts, and opens
spans; without it nothing of a library's is loaded.
"""

from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from decimal import Decimal
from typing import Literal

What = Literal["calls", "posts", "looks", "ended", "credits"]
Facts = tuple[tuple[str, str], ...]
_Span = Callable[[str, Mapping[str, str]], AbstractContextManager[object]]


def _no_span(_: str, __: Mapping[str, str]) -> AbstractContextManager[object]:
    return nullcontext()


def _tell_nobody(_: Mapping[str, str]) -> None:
    pass


class Tally:
    """The counts of one process.

    Attributes:
        counts: how often, or how much, by what it is and its facts: codes and statuses, names of
            tools and models, never a text that a person wrote.
        open_span: opens a span around a piece of work.
        tell: adds facts to the span of the request under way.
    """

    def __init__(self) -> None:
        self.counts: defaultdict[tuple[What, Facts], Decimal] = defaultdict(Decimal)
        self.open_span: _Span = _no_span
        self.tell: Callable[[Mapping[str, str]], None] = _tell_nobody

    def count(self, what: What, /, **facts: str) -> None:
        """Count something once."""
        self.counts[what, tuple(sorted(facts.items()))] += 1

    def count_end(self, status: str, medium: str, spent: Decimal | None) -> None:
        """Count a generation that ended, and what it cost, as far as that is known."""
        self.count("ended", status=status, medium=medium)
        self.counts["credits", (("medium", medium),)] += spent or Decimal(0)

    @contextmanager
    def span(self, name: str, **facts: str) -> Iterator[None]:
        """Measure a piece of work."""
        with self.open_span(name, facts):
            yield
