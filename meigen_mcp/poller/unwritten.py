"""Replies that could not be written down when they came, and are nowhere else."""

import logging
from collections.abc import Awaitable, Callable, Collection

from meigen_mcp import errors

log = logging.getLogger(__name__)

Write = Callable[[], Awaitable[None]]


class Unwritten:
    """Writes down what became of POSTs, now or later."""

    def __init__(self) -> None:
        self._left: dict[str, Write] = {}

    @property
    def keys(self) -> Collection[str]:
        """Of those whose reply is not written down yet."""
        return tuple(self._left)

    async def write(self, key: str, write: Write) -> None:
        """Write one down.

        Raises:
            LedgerUnavailable: it cannot be; it is kept until it can.
        """
        try:
            await write()
        except errors.LedgerUnavailable:
            self._left[key] = write
            raise

    async def write_late(self) -> None:
        """Write down what could not be.

        Raises:
            LedgerUnavailable: it still cannot.
        """
        for key, write in list(self._left.items()):
            try:
                await write()
            except errors.LedgerUnavailable:
                raise
            except Exception:
                log.exception("a reply cannot be written down")
            del self._left[key]
