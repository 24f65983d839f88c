"""Deletes saved files when they are as old as the person said, and says so in their records."""

import logging
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

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


class Deleted(NamedTuple):
    """What became of old files.

    Attributes:
        gone: the names of those that are there no more.
        left: of the others, which cannot be deleted or looked at, the errors.
    """

    gone: set[str]
    left: list[OSError]


async def run(records: Records, media: Media, days: float, *, alone: bool) -> None:
    """Look for ever, every hour; see `discard`."""
    while True:
        try:
            await discard(records, media, days, time.time(), alone=alone)
        except LedgerUnavailable as error:
            log.warning("%s", error.message)
        except Exception:
            log.exception("old files were not looked at")
        await anyio.sleep(EVERY)


async def discard(
    records: Records, media: Media, days: float, now: float, *, alone: bool = True
) -> int:
    """Delete the files of all generations that ended so long ago.

    Args:
        records: where it is said.
        media: which files are ours.
        days: how old they may become.
        now: the time.
        alone: no other computer saves for these records. Else a file that is not here may be there.

    Returns:
        How many saved files are gone.
    """
    before, place, count = now - days * DAY, 0, 0
    left: list[OSError] = []
    reason = f"Deleted {plain(days)} days after it was made, as MEIGEN_KEEP_DAYS says."
    while page := await records.saved_before(before, place, _PAGE):
        for place, job in page:  # noqa: B007  # where the next page begins
            if media.archive is None:
                work = partial(delete_saved, job, media.folder, before, alone=alone)
            else:
                work = partial(delete_archived, job, media.archive, before)
            gone, failed = await anyio.to_thread.run_sync(work)
            left += failed
            if gone:
                log.info("%d old files of %s are deleted", len(gone), job.name)
                change = partial(
                    saving.discarded, gone=gone, reason=reason, unshown=reasons.NO_LONGER
                )
                await records.change(job, change, patient=True)
            count += len(gone.intersection(job.files))
    if left:
        why = left[0].strerror or left[0]
        log.warning(
            "old files that cannot be deleted or looked at: %d; the first: %s", len(left), why
        )
    return count


def delete_archived(job: Generation, archive: Archive, before: float) -> Deleted:
    """Delete what an archive keeps of a generation.

    Also said to be gone is what a run deleted which was ended before it could say so.
    """
    return _delete(job, lambda name: archive.discard(name, before))


def delete_saved(
    job: Generation, folder: Path | None, before: float, *, alone: bool = True
) -> Deleted:
    """Delete the saved files of a generation that are ours; previews are deleted elsewhere."""

    def discard(name: str) -> bool:
        path = Path(name)
        if name == job.preview:
            return alone and whole_files.is_gone(path, path.parent)
        if path.parent != folder:
            return False
        if whole_files.discard(path, time_of(job), before):
            return True
        return alone and whole_files.is_gone(path, folder)

    return _delete(job, discard)


def _delete(job: Generation, discard: Callable[[str], bool]) -> Deleted:
    done = Deleted(set(), [])
    for name in filter(None, (*job.files, job.preview)):
        try:
            if discard(name):
                done.gone.add(name)
        except OSError as error:
            done.left.append(error)
    return done
