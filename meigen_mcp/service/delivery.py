"""Whether an answer left, as far as its transport can tell, and what the ledger notes of that.

Answered means that the answer left. A call whose answer did not is adopted by its repetition.
"""

import logging
from collections.abc import Awaitable, Callable
from contextvars import ContextVar

import anyio

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Calls
from meigen_mcp.ledger.ledger import Ledger

log = logging.getLogger(__name__)

MARKED_WITHIN = 1.0
"""Seconds that is waited for the note whether a call was answered."""

Told = Callable[[bool], Awaitable[None]]


class Delivery:
    """The way of one answer to its client.

    Attributes:
        left: whether it left; None as long as that is not known.
    """

    def __init__(self) -> None:
        self.left: bool | None = None
        self._waiting: list[Told] = []

    async def tell(self, told: Told) -> None:
        """Have somebody told once it is known whether the answer left."""
        if self.left is None:
            self._waiting.append(told)
        else:
            await told(self.left)

    async def end(self, *, left: bool) -> None:
        """Say whether the answer left; only the first word counts."""
        if self.left is None:
            self.left = left
            for told in self._waiting:
                await told(left)


under_way: ContextVar[Delivery | None] = ContextVar("under_way", default=None)
"""Of the request that is being answered; None: whoever asked has the answer as it is returned."""


class Marks:
    """Notes in the ledger whether calls got their answer; what cannot be noted is noted later."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._lost: dict[tuple[Calls, str], Generation] = {}  # the calls are the person's

    async def note(self, job: Generation, *, answered: bool) -> None:
        """Note it; nobody waits long for that."""
        calls = self._ledger.calls
        if not answered:
            self._lost[calls, job.request_id] = job
        try:
            with anyio.move_on_after(MARKED_WITHIN, shield=True):
                await calls.mark(job, answered=answered)
                self._lost.pop((calls, job.request_id), None)
        except LedgerUnavailable:
            pass  # the poller says so
        except Exception:  # it must not cost the answer
            log.exception("noting whether a call was answered failed")

    async def catch_up(self) -> None:
        """Note which calls got no answer, before another one may be their repetition.

        Raises:
            LedgerUnavailable: it still cannot be noted.
        """
        for (calls, request_id), job in list(self._lost.items()):
            await calls.mark(job, answered=False)
            self._lost.pop((calls, request_id), None)


class Answer:
    """What one call is answered about a generation.

    Attributes:
        tells: whether it says how that stands; None: its client asks again for what comes of it.
    """

    def __init__(self, marks: Marks, job: Generation) -> None:
        self.tells: bool | None = False
        self._marks = marks
        self._job = job
        self._ended = False

    async def end(self, left: bool) -> None:
        """Note what became of it, once."""
        if self._ended or (left and self.tells is None):
            return
        self._ended = True
        await self._marks.note(self._job, answered=left and bool(self.tells))
