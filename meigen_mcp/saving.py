"""What becomes of a completed generation while its media are saved; pure, as its other transitions.

None of it changes that it completed.
"""

from collections.abc import Collection
from dataclasses import replace

from meigen_mcp.generation import Generation
from meigen_mcp.reports import Credential, Unsaved


def saved(
    job: Generation, index: int, path: str | None, why_not: str | None, signed: str | None = None
) -> Generation:
    """Return the record after a medium was saved, or why it was not, or not whole.

    Args:
        job: the record.
        index: which medium.
        path: where it is.
        why_not: what is wrong.
        signed: what is said of its content credentials.
    """
    files, credentials = job.files, job.credentials
    if path is not None:
        files = (*files[:index], path, *files[index + 1 :])
    if signed is not None:
        credentials = (*(c for c in credentials if c.medium != index), Credential(index, signed))
    unsaved = [other for other in job.unsaved if other.medium != index]
    if why_not is not None:
        unsaved.append(Unsaved(index, why_not))
    return replace(job, files=files, unsaved=tuple(sorted(unsaved)), credentials=credentials)


def unsaved(job: Generation, index: int, why_not: str, *, gone: bool) -> Generation:
    """Return the record after a medium could not be saved, for good if it is gone."""
    others = [other for other in job.unsaved if other.medium != index]
    return replace(job, unsaved=tuple(sorted([*others, Unsaved(index, why_not, gone)])))


def left(job: Generation, why_not: str) -> Generation:
    """Return the record after nothing was done to save what is missing."""
    for index in job.missing:
        job = unsaved(job, index, why_not, gone=False)
    return job


def discarded(job: Generation, gone: Collection[str], reason: str, unshown: str) -> Generation:
    """Return the record after saved files were deleted for their age, for good.

    Args:
        job: the record.
        gone: which files; the preview may be one.
        reason: what is said of media.
        unshown: what is said of a preview.
    """
    indices = {index for index, name in enumerate(job.files) if name in gone}
    files = tuple(None if name in gone else name for name in job.files)
    others = [other for other in job.unsaved if other.medium not in indices]
    deleted = [Unsaved(index, reason, gone=True) for index in indices]
    job = replace(job, files=files, unsaved=tuple(sorted([*others, *deleted])))
    return replace(job, preview=None, unshown=unshown) if job.preview in gone else job


def unfetched(job: Generation, look_at: float | None) -> Generation:
    """Return the record after a try to save its media that is worth another."""
    return replace(job, fetch_failures=job.fetch_failures + 1, next_look=look_at)


def previewed(job: Generation, preview: str | None, unshown: str | None) -> Generation:
    """Return the record with its small picture, or why there is none; nothing is left to do."""
    return replace(job, preview=preview, unshown=unshown, next_look=None)
