"""Deletes saved files when they are as old as the person said, and says so in their records."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from meigen_mcp import saving
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.records import Records
from meigen_mcp.media import reasons, whole_files
from meigen_mcp.media.archive import Archive
from meigen_mcp.media.publishing import time_of
from meigen_mcp.media.store import Media
from meigen_mcp.wording import plain

log = logging.getLogger(__name__)

EVERY = 3600.0
DAY = 24 * 3600.0
_PAGE = 100


async def run(records: Records, media: Media, days: float) -> None:
    """Look for ever, every hour."""
    while True:
        try:
            await discard(records, media, days, time.time())
        except LedgerUnavailable as error:
            log.warning("%s", error.message)
        except Exception:
            log.exception("old files were not looked at")
        await anyio.sleep(EVERY)


async def discard(records: Records, media: Media, days: float, now: float) -> int:
    """Delete the files of all generations that ended so long ago.

    Args:
        records: where it is said.
        media: which files are ours.
        days: how old they may become.
        now: the time.

    Returns:
        How many saved files are gone.
    """
    before, place, count = now - days * DAY, 0, 0
    reason = f"Deleted {plain(days)} days after it was made, as MEIGEN_KEEP_DAYS says."
    while page := await records.saved_before(before, place, _PAGE):
        for place, job in page:  # noqa: B007  # where the next page begins
            if media.archive is None:
                gone = await anyio.to_thread.run_sync(delete_saved, job, media.folder, before)
            else:
                gone = await anyio.to_thread.run_sync(delete_archived, job, media.archive, before)
            if gone:
                log.info("%d old files of %s are deleted", len(gone), job.name)
                change = partial(
                    saving.discarded, gone=gone, reason=reason, unshown=reasons.NO_LONGER
                )
                await records.change(job, change, patient=True)
            count += len(gone.intersection(job.files))
    return count


def delete_archived(job: Generation, archive: Archive, before: float) -> set[str]:
    """Delete what an archive keeps of a generation; return which of its files are gone.

    Also those that a run deleted which was ended before it could say so.
    """
    return _gone(job, lambda name: archive.discard(name, before))


def delete_saved(job: Generation, folder: Path | None, before: float) -> set[str]:
    """Delete the saved files of a generation that are ours; return which of its files are gone.

    Previews are deleted elsewhere.
    """

    def discard(name: str) -> bool:
        path = Path(name)
        if name == job.preview:
            return whole_files.is_gone(path, path.parent)
        if path.parent != folder:
            return False
        return whole_files.discard(path, time_of(job), before) or whole_files.is_gone(path, folder)

    return _gone(job, discard)


def _gone(job: Generation, discard: Callable[[str], bool]) -> set[str]:
    gone: set[str] = set()
    for name in filter(None, (*job.files, job.preview)):
        try:
            if discard(name):
                gone.add(name)
        except OSError as error:
            log.warning("an old file of %s cannot be deleted: %s", job.name, error.strerror)
    return gone
