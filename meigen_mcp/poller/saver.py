"""Saves the results of finished generations, and has their small picture made."""

import asyncio
from collections.abc import Callable

from meigen_mcp import errors, saving
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.records import Change
from meigen_mcp.media import reasons
from meigen_mcp.media.store import Media, NotSaved, Shown
from meigen_mcp.people import key_of
from meigen_mcp.poller.room import Room
from meigen_mcp.poller.schedule import Schedule, is_last_quick

FETCH_PLACE_FOR = 5.0
"""Seconds after which a host that is silent or slow gives its place to the next."""


class Saver:
    """What the poller does for a generation that has ended. A failure never changes that it did.

    Args:
        ledger: where the records are.
        media: what saves and draws.
        room: how much is done at once.
        schedule: when what failed is tried again.
        freed: is told where one that is acted on gives its place to the next.
        clock: seconds since the epoch.
        jitter: a factor around 1 for pauses.
    """

    def __init__(
        self,
        ledger: Ledger,
        media: Media,
        room: Room,
        schedule: Schedule,
        freed: Callable[[], None],
        *,
        clock: Callable[[], float],
        jitter: Callable[[], float],
    ) -> None:
        self._records = ledger.records
        self._freed = freed
        self._media = media
        self._room = room
        self._schedule = schedule
        self._clock = clock
        self._jitter = jitter

    async def fetch(self, job: Generation) -> Generation:
        """Save what is not saved yet, then make the preview, which waits for the quick tries.

        Returns:
            The record as it is then.
        """
        saved = self._media.folder is None or await self._save_media(job)
        now, jitter = self._clock(), self._jitter()
        look_at = None if saved else self._schedule.after_unsaved(job, now, jitter)
        if not saved and not is_last_quick(job):
            return await self._change(job, lambda j: saving.unfetched(j, look_at))
        shown = Shown(job.preview, job.unshown)
        if shown == Shown():
            shown = await self._preview(job)

        def done(job: Generation) -> Generation:
            if self._media.folder is None:
                job = saving.left(job, reasons.OFF)
            job = saving.previewed(job, shown.path, shown.why_not)
            return job if saved else saving.unfetched(job, look_at)

        # Not durable: after a power cut it is only done again.
        return await self._change(job, done, durable=False)

    async def _change(self, job: Generation, change: Change, *, durable: bool = True) -> Generation:
        return await self._records.change(job, change, durable=durable, patient=True, by_owner=True)

    async def _preview(self, job: Generation) -> Shown:
        if not self._room.hand_over(key_of(job), "preview"):
            return Shown(None, "Too many others came first for a preview.")
        self._freed()  # saving goes on meanwhile
        return await self._media.preview(await self._records.again(job) or job)

    async def _save_media(self, job: Generation) -> bool:
        """Save each missing medium; return False when some are worth another try."""
        # Not a task group: what the ledger raises must come through as it is.
        slow = asyncio.get_running_loop().call_later(FETCH_PLACE_FOR, self._give_way, job)
        try:
            return all([await self._save_medium(job, index) for index in job.missing])
        finally:
            slow.cancel()

    def _give_way(self, job: Generation) -> None:
        self._room.hand_over(key_of(job), "slow fetch")
        self._freed()

    async def _save_medium(self, job: Generation, index: int) -> bool:
        """Save one medium; return False when it is worth another try."""
        try:
            saved = await self._media.save(job, index, last=is_last_quick(job))
        except (NotSaved, errors.ApiError) as error:
            # In the first minutes it may not be there yet.
            ends = isinstance(error, errors.ResultGone) and not error.retryable
            gone = ends and is_last_quick(job)
            reason = error.message
            await self._change(job, lambda j: saving.unsaved(j, index, reason, gone=gone))
            return gone
        path, why_not, signed = saved
        await self._change(job, lambda j: saving.saved(j, index, str(path), why_not, signed))
        return True
