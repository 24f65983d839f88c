"""What the API knows of idempotency keys: whether any, for ever, and which not, for how long."""

from collections.abc import Callable

from meigen_mcp import generation
from meigen_mcp.errors import ApiError, IdempotencyConflict, RequestIdCollision, RequestNotFound
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.queue import Queue
from meigen_mcp.people import key_of

_KEYED = (RequestNotFound, IdempotencyConflict, RequestIdCollision)
"""What only an API says that knows keys."""
_AWAKE = 60.0
"""Seconds between two questions for which the machine was surely awake, at the most."""


class Keys:
    """What all processes know of it, and what this one learns.

    Args:
        queue: where it is noted.
        monotonic: seconds that only grow.
    """

    def __init__(self, queue: Queue, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._monotonic = monotonic
        self._absent: dict[str, tuple[int, float, float]] = {}
        self._known = self._noted = False

    async def known(self) -> bool:
        """Say whether it has answered about a key: then a page in its place is somebody else's.

        Raises:
            LedgerUnavailable: it cannot be read.
        """
        if not self._known:
            self._known = self._noted = await self._queue.keyed()
        return self._known

    def learn(self, answer: ApiError | None) -> None:
        """Learn from what a look-up was answered; None: it was a report."""
        self._known = self._known or answer is None or isinstance(answer, _KEYED)

    def surely_absent(self, job: Generation) -> bool:
        """Say whether nothing more arrives under a key of which MeiGen has nothing.

        The time counts from the first question about a record as it is, for whoever sends it again
        changes it. Of the time between two questions only so much counts: some clocks go on while
        the machine sleeps.
        """
        now, key = self._monotonic(), key_of(job)
        version, asked_at, seconds = self._absent.pop(key, (job.version, now, 0.0))
        seconds = seconds + min(now - asked_at, _AWAKE) if version == job.version else 0.0
        if seconds >= generation.ARRIVES_WITHIN:
            return True
        self._absent[key] = job.version, now, seconds
        return False

    async def note(self) -> None:
        """Have other processes know what was learnt.

        Raises:
            LedgerUnavailable: it cannot be written; it is tried after the next look-up.
        """
        if self._known and not self._noted:
            await self._queue.note_keyed()
            self._noted = True
