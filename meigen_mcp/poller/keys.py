"""What the API knows of idempotency keys: whether any, for ever, and which not, for how long."""

from collections.abc import Callable

from meigen_mcp import generation
from meigen_mcp.errors import ApiError, IdempotencyConflict, RequestIdCollision, RequestNotFound
from meigen_mcp.ledger.queue import Queue

_KEYED = (RequestNotFound, IdempotencyConflict, RequestIdCollision)
"""What only an API says that knows keys."""


class Keys:
    """What all processes know of it, and what this one learns.

    Args:
        queue: where it is noted.
        monotonic: seconds that only grow; asleep nothing arrives.
    """

    def __init__(self, queue: Queue, monotonic: Callable[[], float]) -> None:
        self._queue = queue
        self._monotonic = monotonic
        self._absent_since: dict[str, float] = {}
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

    def surely_absent(self, key: str) -> bool:
        """Say whether nothing more arrives under a key of which MeiGen has nothing.

        Asked when nothing is sent under it any more; the time counts from the first question.
        """
        now = self._monotonic()
        absent = now - self._absent_since.setdefault(key, now) >= generation.ARRIVES_WITHIN
        if absent:
            del self._absent_since[key]
        return absent

    async def note(self) -> None:
        """Have other processes know what was learnt.

        Raises:
            LedgerUnavailable: it cannot be written; it is tried after the next look-up.
        """
        if self._known and not self._noted:
            await self._queue.note_keyed()
            self._noted = True
