"""Why something is not saved, not whole or not shown, in the words that a person can act on."""

import errno
from collections.abc import Collection, Mapping
from pathlib import Path

from meigen_mcp.generation import Generation

OFF = "Saving is turned off (MEIGEN_OUTPUT_DIR is off)."
BREAKS_OFF = "The result breaks off before its end"
NO_MARK = "No mark could be put into it."
NO_SIDECAR = "Its .json could not be written."
NO_FRAMES = 'To show frames of videos here, this server needs "meigen-mcp[video]".'
NO_PROCESS = "The process that draws previews cannot be started."
NOT_HAD = "Its media could not be had for a preview."
NOTHING_DRAWN = "No preview could be drawn of what the file holds."
SLOW = "Drawing a preview took longer than {:.0f} s."
NO_LONGER = "Its preview is no longer kept."


def not_written(folder: Path | str, error: OSError) -> str:
    """Say why a folder cannot be written, as far as the person can act on it."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"The disk of {folder} is full."
    if error.errno in (errno.EMFILE, errno.ENFILE):
        return "This computer has too many files open."
    return f"{folder} cannot be written."


def not_drawn(job: Generation, left_out: Collection[int], lost: Mapping[int, str]) -> str | None:
    """Say what a preview does not show.

    Args:
        job: whose media they are.
        left_out: as `previews.Drawn` has it.
        lost: why media could not be had, by their indices.
    """
    count = len(job.media_urls)
    if job.media_type == "video":
        said = ["The sheet ends before the clip does: no more could be read of it in time."]
        said = said if left_out else []
        said += [f"It shows the first of {count} clips."] if count > 1 else []
    else:
        said = [
            f"Picture {index + 1} of {count} is not in the preview."
            f" {lost.get(index, 'It cannot be drawn.')}"
            for index in range(count)
            if index + 1 in left_out
        ]
    return " ".join(said) or None
