"""The catalogue as it is now: shipped facts, with the live list laid over them.

The live list is kept in the ledger, so a start needs no network, and is fetched in the background.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime

import anyio

from meigen_mcp import catalogue, listing
from meigen_mcp.api import Api
from meigen_mcp.catalogue import Catalogue
from meigen_mcp.errors import ApiError, LedgerUnavailable
from meigen_mcp.ledger import Ledger
from meigen_mcp.settings import Settings

log = logging.getLogger(__name__)

START_AFTER = 1.0
FRESH_FOR = 300.0
"""Seconds for which the API's own documentation lets a models body be cached."""


class LiveCatalogue:
    """Keeps the catalogue current.

    Attributes:
        current: what a call may name at this moment.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        api: Callable[[], Api],
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._note = f"models:{settings.base_url}"
        self._allowed = settings.models
        self._ledger = ledger
        self._api = api
        self._clock = clock
        self._fetched_at = 0.0
        self._fetching = anyio.Lock()
        self._changed = anyio.Event()
        self.current: Catalogue = catalogue.shipped().only(self._allowed)

    def load(self) -> None:
        """Lay the list of the last fetch over the shipped facts, without any network."""
        with contextlib.suppress(LedgerUnavailable):
            note = self._ledger.notes.get(self._note)
            if isinstance(note, dict):
                self._lay(note["body"])
                self._fetched_at = float(note["at"])

    def _lay(self, body: object) -> bool:
        before = self.current.digest
        try:
            rows = listing.read(body)
            if rows is None:
                return False
            merged = catalogue.merge(catalogue.shipped(), rows, self.today())
        except Exception:
            # What a server says of its models must not end this one.
            log.exception("the live model list cannot be used")
            return False
        self.current = merged.only(self._allowed)
        if self.current.digest != before:
            self._changed.set()
            self._changed = anyio.Event()
        return True

    def today(self) -> date:
        """Return the date by which prices count."""
        return datetime.fromtimestamp(self._clock(), UTC).date()

    async def change(self, digest: str) -> None:
        """Wait until the catalogue is another one than that of a digest."""
        while self.current.digest == digest:
            await self._changed.wait()

    async def refresh(self) -> bool:
        """Fetch the live list unless it is fresh; return whether it is fresh now."""
        async with self._fetching:
            if 0 <= self._clock() - self._fetched_at < FRESH_FOR:
                return True
            try:
                body = await self._api().models()
            except ApiError:
                return False
            if not self._lay(body):
                return False
            self._fetched_at = self._clock()
            with contextlib.suppress(LedgerUnavailable):
                self._ledger.notes.put(self._note, {"at": self._fetched_at, "body": body})
            return True

    async def awaited(self, seconds: float) -> None:
        """Wait a bounded time for a fresh list, before a price is called unknown."""
        with anyio.move_on_after(seconds):
            await self.refresh()

    async def run(self) -> None:
        """Fetch for ever, in the background; what a client asks first comes first."""
        await anyio.sleep(START_AFTER)
        while True:
            fresh = False
            try:
                fresh = await self.refresh()
            except Exception:
                log.exception("fetching the live model list failed")
            await anyio.sleep(FRESH_FOR if fresh else 60)
