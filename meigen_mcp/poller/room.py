"""How much the poller does at once, of each kind of work."""

from collections import Counter
from collections.abc import Collection, Mapping
from typing import Literal

from meigen_mcp.generation import Status
from meigen_mcp.ledger.queue import Kind, Wanted

Work = Kind | Literal["slow fetch", "preview"]
_STATUSES: Mapping[Kind, tuple[Status, ...]] = {
    "post": ("queued", "submitting", "unknown"),
    "look": ("processing",),
    "fetch": ("completed", "failed"),
}
MOST: Mapping[Work, int] = {"post": 32, "look": 12, "fetch": 4, "slow fetch": 12, "preview": 60}
"""How many at once. Previews wait for their turn; beyond that none is made, since they may never
catch up."""


class Room:
    """Which generations are acted on, each under one kind of work."""

    def __init__(self) -> None:
        self._kinds: dict[str, Work] = {}

    def __len__(self) -> int:
        return len(self._kinds)

    @property
    def taken(self) -> Collection[str]:
        """The keys of those that are acted on."""
        return tuple(self._kinds)

    @property
    def sends(self) -> bool:
        """Whether something is being sent."""
        return "post" in self._kinds.values()

    def wanted(self, most: int) -> Mapping[Kind, Wanted]:
        """Return how much may be begun of each kind that the ledger knows, so many at the most."""
        busy = Counter(self._kinds.values())
        return {
            kind: Wanted(statuses, min(MOST[kind] - busy[kind], most))
            for kind, statuses in _STATUSES.items()
        }

    def take(self, key: str, kind: Work) -> None:
        """Begin to act on a generation."""
        self._kinds[key] = kind

    def hand_over(self, key: str, kind: Work) -> bool:
        """Let a generation go on as another kind, which frees its place; False: that is full."""
        if Counter(self._kinds.values())[kind] >= MOST[kind]:
            return False
        self._kinds[key] = kind
        return True

    def leave(self, key: str) -> None:
        """End acting on a generation."""
        self._kinds.pop(key, None)
