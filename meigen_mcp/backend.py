"""The backend of a server: the use cases, and what goes on without a call.

Listing the tools does without it. A start over stdio loads it after that, and as a whole: what a
call needs once its intent is on the disk is in the memory before, though the package's files be
replaced under a running server.
"""

import logging
import time
from collections.abc import Callable
from functools import partial

import anyio
import anyio.to_thread

from meigen_mcp.api.client import Api
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.media.store import Media
from meigen_mcp.poller import retention
from meigen_mcp.poller.poller import Poller
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.service.references import ReferenceResolver
from meigen_mcp.service.service import Service
from meigen_mcp.settings import Settings
from meigen_mcp.tally import Tally

log = logging.getLogger(__name__)

SENDING = 6.0
"""Seconds for which one of many servers waits at its end for what it is sending."""


class Backend:
    """The use cases of an account, and the poller.

    Args:
        settings: what the environment says.
        ledger: the account's.
        asked: the same, as whoever asks may see it.
        api: the account's.
        media: what saves results.
        catalogue: the models.
        tally: where it is counted what was done.
        monotonic: the clock by which a person's answer is timed.

    Attributes:
        service: the use cases.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        asked: Ledger,
        api: Api,
        media: Media,
        *,
        catalogue: CurrentCatalogue,
        tally: Tally,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings = settings
        self._records = ledger.records
        self._media = media
        self._references = ReferenceResolver(settings, asked, api, media)
        self._poller = Poller(ledger, api, media, interval=settings.poll_interval, tally=tally)
        self.service = Service(
            *(settings, asked, catalogue, self._references),
            links=media.links,
            archive=media.archive,
            tally=tally,
            monotonic=monotonic,
        )

    async def run(self) -> None:
        """Do for ever what goes on without a call."""
        settings = self._settings
        try:
            async with anyio.create_task_group() as group:
                group.start_soon(self._look_at_folders)
                if settings.keep_days is not None and not settings.problems:
                    work = partial(retention.run, alone=settings.database_url is None)
                    group.start_soon(work, self._records, self._media, settings.keep_days)
                await self._poller.run()
        finally:
            with anyio.CancelScope(shield=True):
                await self._references.close()

    async def end(self) -> None:
        """Let one of many servers end what it is sending: another goes on, and must not look."""
        if self._settings.database_url is not None:
            await self._poller.end(SENDING)

    async def _look_at_folders(self) -> None:
        """Say if nothing can be saved, and tidy up; a folder on a network may take its time."""
        problem = await anyio.to_thread.run_sync(self._media.problem, abandon_on_cancel=True)
        if problem:
            log.warning("%s", problem)
        await anyio.to_thread.run_sync(self._media.sweep, abandon_on_cancel=True)
