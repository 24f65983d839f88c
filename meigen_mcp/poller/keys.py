"""Whether the API knows idempotency keys: once it has shown that, it is known for ever."""

from meigen_mcp.errors import ApiError, IdempotencyConflict, RequestIdCollision, RequestNotFound
from meigen_mcp.ledger.queue import Queue

_KEYED = (RequestNotFound, IdempotencyConflict, RequestIdCollision)
"""What only an API says that knows keys."""


class Keys:
    """What all processes know of it, and what this one learns.

    Args:
        queue: where it is noted.
    """

    def __init__(self, queue: Queue) -> None:
        self._queue = queue
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

    async def note(self) -> None:
        """Have other processes know what was learnt.

        Raises:
            LedgerUnavailable: it cannot be written; it is tried after the next look-up.
        """
        if self._known and not self._noted:
            await self._queue.note_keyed()
            self._noted = True
