"""The catalogue as it is now: shipped facts, with the live list laid over them.

The live list is kept in the ledger, so a start needs no network, and is fetched in the background.
"""

import contextlib
import logging
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING

import anyio

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue import models as catalogue
from meigen_mcp.catalogue.models import Catalogue
from meigen_mcp.errors import ApiError, LedgerUnavailable
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.settings import Settings
from meigen_mcp.system import Signal

if TYPE_CHECKING:
    from meigen_mcp.api.client import Api  # loaded with the first fetch

log = logging.getLogger(__name__)

START_AFTER = 1.0
FIRST_LIST = 0.3
"""Seconds for which what depends on the models waits for the first live list."""
FRESH_FOR = 300.0
"""Seconds for which the API's own documentation lets a models body be cached."""


class CurrentCatalogue:
    """Keeps the catalogue current.

    Attributes:
        current: what a call may name at this moment.
        shipped: what it may name whatever the live list says.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        api: "Callable[[], Api]",
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._allowed = settings.models
        self._ledger = ledger
        self._api = api
        self._clock = clock
        self._fetched_at = 0.0
        self._fetching = anyio.Lock()
        self._changed = Signal()
        self._wanted = anyio.Event()
        self._settled = anyio.Event()
        self.shipped: Catalogue = catalogue.shipped().only(self._allowed)
        self.current = self.shipped

    async def load(self) -> None:
        """Lay the list of the last fetch over the shipped facts, without any network."""
        with contextlib.suppress(LedgerUnavailable):
            kept = await self._ledger.live_lists.load()
            if kept is not None and self._lay(kept[0]):
                self._fetched_at = kept[1]
                self._settled.set()

    def _lay(self, body: object) -> bool:
        before = self.current.digest
        try:
            merged = live_list.lay(catalogue.shipped(), body, self.today())
            if merged is None:
                return False
        except Exception:
            # What a server says of its models must not end this one.
            log.exception("the live model list cannot be used")
            return False
        self.current = merged.only(self._allowed)
        if self.current.digest != before:
            self._changed.set()
        return True

    @property
    def fetched_at(self) -> float:
        """When the list that counts was fetched; 0 before the first."""
        return self._fetched_at

    def today(self) -> date:
        """Return the date by which prices count."""
        return datetime.fromtimestamp(self._clock(), UTC).date()

    async def settle(self) -> int:
        """Have the first live list fetched now, and wait a moment for it or for its failure.

        Returns:
            The milliseconds for which what is made of the catalogue may be kept: a change is
            announced before, but nothing may be kept that the first list will replace.
        """
        if not self._settled.is_set():  # else a client's first questions come before any fetch
            self._wanted.set()
            with anyio.move_on_after(FIRST_LIST):
                await self._settled.wait()
        return int(FRESH_FOR * 1000) if self._settled.is_set() else 0

    async def change(self, digest: str) -> None:
        """Wait until the catalogue is another one than that of a digest."""
        while self.current.digest == digest:
            await self._changed.after(self._changed.count)

    async def refresh(self) -> bool:
        """Fetch the live list unless it is fresh; return whether it is fresh now."""
        async with self._fetching:
            if 0 <= self._clock() - self._fetched_at < FRESH_FOR:
                return True
            try:
                body = await self._api().models()
            except ApiError:
                return False
            finally:
                self._settled.set()
            if not self._lay(body):
                return False
            self._fetched_at = self._clock()
            with contextlib.suppress(LedgerUnavailable):
                await self._ledger.live_lists.keep(body, self._fetched_at)
            return True

    async def wait_until_fresh(self, seconds: float) -> None:
        """Wait a bounded time for a fresh list, before a price is called unknown."""
        with anyio.move_on_after(seconds):
            await self.refresh()

    async def run(self) -> None:
        """Fetch for ever, in the background; what a client asks first comes first."""
        with anyio.move_on_after(START_AFTER):
            await self._wanted.wait()
        while True:
            fresh = False
            try:
                fresh = await self.refresh()
            except Exception:
                log.exception("fetching the live model list failed")
            await anyio.sleep(FRESH_FOR if fresh else 60)
