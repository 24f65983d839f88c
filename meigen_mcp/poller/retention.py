"""Deletes saved files when they are as old as the person said, and says so in their records."""

import logging
import time
from functools import partial
from pathlib import Path

import anyio
import anyio.to_thread

from meigen_mcp import saving
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.records import Records
from meigen_mcp.media import whole_files
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
        How many files were deleted.
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
                log.info("deleted %d saved files of %s", len(gone), job.name)
                change = partial(saving.discarded, indices=gone, reason=reason)
                await records.change(job, change, patient=True)
            count += len(gone)
    return count


def delete_archived(job: Generation, archive: Archive, before: float) -> tuple[int, ...]:
    """Delete what an archive keeps of a generation; return which of its media are gone."""
    if job.preview is not None:
        archive.discard(job.preview, before)
    return tuple(
        index
        for index, name in enumerate(job.files)
        if name is not None and archive.discard(name, before)
    )


def delete_saved(job: Generation, folder: Path | None, before: float) -> tuple[int, ...]:
    """Delete the saved files of a generation that are ours; return which media they were."""
    return tuple(
        index
        for index, name in enumerate(job.files)
        if name is not None
        and Path(name).parent == folder
        and whole_files.discard(Path(name), time_of(job), before)
    )
