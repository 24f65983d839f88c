"""When a model is usually done, learnt from the ledger now and then."""

import math
from collections.abc import Callable
from dataclasses import replace

from meigen_mcp.ledger.queue import Queue
from meigen_mcp.poller.schedule import Schedule, usual

KNOWN_FOR = 5.0
"""Seconds for which what was learnt of a model is not learnt anew."""


class Past:
    """Gives the schedule of each model.

    Args:
        queue: knows how long earlier ones took.
        interval: seconds between two looks at a watched one.
        monotonic: seconds that only grow.
    """

    def __init__(self, queue: Queue, interval: float, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._monotonic = monotonic
        self._plain = Schedule(interval)
        self._known: dict[str, Schedule] = {}
        self._learnt_at: dict[str, float] = {}

    async def learn(self, model_id: str) -> None:
        """Learn anew of a model, unless that was done just now.

        Raises:
            LedgerUnavailable: it cannot be read.
        """
        now = self._monotonic()
        if now - self._learnt_at.get(model_id, -math.inf) >= KNOWN_FOR:
            seconds = await self._queue.durations(model_id)
            self._known[model_id] = replace(self._plain, usual=usual(seconds, self._plain.interval))
            self._learnt_at[model_id] = now

    def schedule(self, model_id: str) -> Schedule:
        """Return when to look at one of a model, as far as is learnt."""
        return self._known.get(model_id, self._plain)
