"""How long a call waits for what the poller learns, and what it tells the person meanwhile."""

import contextlib
import logging
from collections.abc import Callable
from dataclasses import dataclass

import anyio

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.changes import Followed
from meigen_mcp.service.person import Person
from meigen_mcp.system import Clocks

log = logging.getLogger(__name__)

ACCEPTANCE = 5.0
SAVING = 5.0
MOST_SAVED = 60
"""Results that are being saved and drawn; where there are more a call would wait in vain."""
_REPORT_EVERY = 2.0


@dataclass(slots=True)
class Waiting:
    """One call that waits for one record, by the clock that nobody sets.

    Attributes:
        followed: the record, as it changes.
        person: who is told how it goes.
        stop: when the call has to answer, whatever it waits for; this and every time below are
            monotonic.
        clocks: what it waits by.
        closing: whether the server ends, and every call answers at once.
    """

    followed: Followed
    person: Person
    stop: float
    clocks: Clocks
    closing: Callable[[], bool]

    @property
    def job(self) -> Generation:
        """The record as it was told last."""
        return self.followed.job

    async def wait_for_acceptance(self) -> None:
        """Wait until the API has answered, or will not be asked further by itself."""
        until = min(self.clocks.monotonic() + ACCEPTANCE, self.stop)
        await self._wait_telling(lambda job: job.submitted, until)

    async def wait_for_result(self, seconds: float) -> None:
        """Wait until it is finished or waits for the person, then for its media."""
        if seconds and not _settled(self.job):
            await self._wait_telling(_settled, min(self.clocks.monotonic() + seconds, self.stop))
        await self.wait_for_media()

    async def wait_for_media(self) -> None:
        """Give a finished generation SAVING seconds until its media are saved and shown.

        Behind too many others it is answered at once: its media are saved later, by themselves.
        """
        if self.job.status != "completed" or self.job.at_rest:
            return
        if self.followed.saving > MOST_SAVED:
            return
        left = (self.job.finished_at or 0) + SAVING - self.clocks.wall()
        soon = min(self.clocks.monotonic() + min(left, SAVING), self.stop)
        await self.wait_until(lambda job: job.at_rest, soon)

    async def _wait_telling(self, done: Callable[[Generation], bool], until: float) -> None:
        """Wait until a record is done, telling the person how it goes meanwhile."""
        while True:
            now = self.clocks.monotonic()
            await self.wait_until(done, min(until, now + _REPORT_EVERY))
            if done(self.job) or self.clocks.monotonic() >= until or self.closing():
                return
            place = None
            if self.job.status == "queued" and self.person.hears:
                place, _ = await self.place()
            elapsed = max(0.0, self.clocks.wall() - self.job.created_at)
            try:
                await self.person.report(self.job, elapsed, place)
            except Exception:  # whoever cannot be told is not waited for, and gets the answer
                log.exception("progress could not be told")

    async def wait_until(self, done: Callable[[Generation], bool], until: float) -> None:
        """Wait until a record is done, a time has come, or the server closes."""
        while not (self.closing() or done(self.job)):
            if (left := until - self.clocks.monotonic()) <= 0:
                return
            with anyio.move_on_after(left):
                await self.followed.change()

    async def place(self) -> tuple[int, float | None]:
        """Return how many are sent before it, and when it is, as far as is known."""
        with contextlib.suppress(LedgerUnavailable):
            return await self.followed.place(self.clocks.wall())
        return 0, None


def _settled(job: Generation) -> bool:
    return job.terminal or job.parked or job.status == "unknown"
