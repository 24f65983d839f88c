"""Looks that taught nothing: when the next ones are due is noted together.

A process that dies before that forgets when, and whoever goes on looks at once.
"""

import asyncio
import math
from collections.abc import Callable, Iterator

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.queue import Queue
from meigen_mcp.people import key_of

TOGETHER = 0.75
"""Seconds for which they wait for one another, and so the soonest that a next look may be due."""


class Postponed:
    """The records that were looked at, and whose next look is not noted yet; it gives their keys.

    Args:
        queue: where it is noted.
        monotonic: seconds that only grow.
    """

    def __init__(self, queue: Queue, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._monotonic = monotonic
        self._looks: dict[str, tuple[Generation, float]] = {}
        self._write_at = math.inf

    def __iter__(self) -> Iterator[str]:
        """Give the keys."""
        return iter(self._looks)

    def __contains__(self, key: str) -> bool:
        """Say whether the record with this key is one of them."""
        return key in self._looks

    @property
    def left(self) -> float:
        """Seconds until they are to be noted."""
        return max(0.0, self._write_at - self._monotonic())

    def add(self, job: Generation, look_at: float) -> None:
        """Have a record that is as it was read looked at again at a time."""
        if not self._looks:
            self._write_at = self._monotonic() + TOGETHER
            asyncio.get_running_loop().call_later(TOGETHER, self._queue.work.set)
        self._looks[key_of(job)] = (job, look_at)

    async def write(self) -> None:
        """Note them all.

        Raises:
            LedgerUnavailable: it cannot be written; they are kept for the next time.
        """
        if self._looks:
            noted = list(self._looks.items())
            await self._queue.postpone([look for _, look in noted])
            for key, look in noted:
                if self._looks.get(key) is look:
                    del self._looks[key]
        self._write_at = self._monotonic() + TOGETHER if self._looks else math.inf

    def forget(self) -> None:
        """Have all of them looked at now: their times are those of a clock that was set."""
        self._looks.clear()
