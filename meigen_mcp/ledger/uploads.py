"""What every engine keeps besides generations: public copies of local files, and the live list."""

from collections.abc import Collection, Mapping
from typing import Any, Protocol

GOOD_FOR = 22 * 3600.0
"""Seconds for which a copy is used again. The gateway keeps it for 24 hours (official client,
2026-05), and a generation may be queued for one before its references are fetched."""

CLIPS_GOOD_FOR = 7 * 86400.0 - 2 * 3600
"""The same of a clip or sound, which is kept for seven days (official client, 2026-09)."""


class Uploads(Protocol):
    """The public copies that are still there, by a key such as the hash of their bytes.

    Every method may raise `LedgerUnavailable`.
    """

    async def urls(
        self, keys: Collection[str], now: float, good_for: float = GOOD_FOR
    ) -> Mapping[str, str]:
        """Return the public URLs of the copies that there are."""
        ...

    async def keep(self, key: str, url: str, now: float, good_for: float = GOOD_FOR) -> None:
        """Note a new copy that is good for some seconds, and forget those that are gone."""
        ...


class LiveLists(Protocol):
    """The API's list of models as it was fetched last; any method may raise `LedgerUnavailable`."""

    async def load(self) -> tuple[Any, float] | None:
        """Return the body of the last fetch, and when that was."""
        ...

    async def keep(self, body: Any, now: float) -> None:
        """Keep the body of a fetch."""
        ...
