"""Gives a finished medium its place in the output folder, with what is known about it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from meigen_mcp.generation import Generation
from meigen_mcp.media import marks, metadata, reasons, whole_files
from meigen_mcp.media.archive import Archive
from meigen_mcp.people import key_of


class Published(NamedTuple):
    """A medium with its name.

    Attributes:
        path: where it is.
        signed: it has content credentials.
        lacks: what of the rest could not be written.
    """

    path: Path
    signed: bool
    lacks: Sequence[str]


def publish(
    partial: Path,
    job: Generation,
    index: int,
    suffix: str,
    chosen: str,
    *,
    archive: Archive | None = None,
) -> Published:
    """Give a whole medium its name, with what is known about it in it or beside it.

    In an archive nothing lies beside it: whoever may see it sees its record.
    """
    known = metadata.facts(job, index)
    stems = (metadata.stem(job), metadata.stem(job, in_ascii=True))
    level, done = marks.level_of(suffix, chosen), "left"
    beside = None if level == "off" or archive else metadata.sidecar(known)
    keeping = whole_files.Keeping(time_of(job), beside, job.files)

    def name(file: Path) -> Path:
        if archive is not None:
            return archive.keep(file, suffix, key_of(job))
        return whole_files.keep(file, stems, suffix, keeping)

    # On a full disk the medium itself, which is there already, is worth more than its text.
    with suppress(OSError), whole_files.new(partial.parent) as copy:
        with partial.open("rb") as source, copy.open("wb") as target:
            done = marks.inscribe(source, target, suffix, known, level)
        if done == "marked":
            alone = suffix == ".png" and level == "all"
            keeping = replace(keeping, sidecar=None) if alone else keeping
            path = name(copy)
            return Published(path, False, _lacks(path, keeping))
    path = name(partial)
    signed = done == "signed"
    markless = level != "off" and not signed and marks.holds_mark(suffix)
    lacks = [reasons.NO_MARK] if markless else []
    return Published(path, signed, lacks + _lacks(path, keeping))


def _lacks(path: Path, keeping: whole_files.Keeping) -> list[str]:
    """Say what should lie beside a file and does not."""
    alone = keeping.sidecar is not None and not path.with_suffix(".json").exists()
    return [reasons.NO_SIDECAR] if alone else []


def time_of(job: Generation) -> float:
    """Return the time that its files are given: it tells whether they are as they were saved."""
    return job.finished_at or job.created_at
