"""Gives a finished medium its place in the output folder, with what is known about it."""

from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

from meigen_mcp.generation import Generation
from meigen_mcp.media import marks, metadata, reasons, whole_files


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


def publish(partial: Path, job: Generation, index: int, suffix: str, chosen: str) -> Published:
    """Give a whole medium its name, with what is known about it in it or beside it."""
    known = metadata.facts(job, index)
    stems = (metadata.stem(job), metadata.stem(job, in_ascii=True))
    level, done = marks.level_of(suffix, chosen), "left"
    beside = None if level == "off" else metadata.sidecar(known)
    keeping = whole_files.Keeping(time_of(job), beside, job.files)
    # On a full disk the medium itself, which is there already, is worth more than its text.
    with suppress(OSError), whole_files.new(partial.parent) as copy:
        with partial.open("rb") as source, copy.open("wb") as target:
            done = marks.inscribe(source, target, suffix, known, level)
        if done == "marked":
            alone = suffix == ".png" and level == "all"
            keeping = replace(keeping, sidecar=None) if alone else keeping
            path = whole_files.keep(copy, stems, suffix, keeping)
            return Published(path, False, _lacks(path, keeping))
    path = whole_files.keep(partial, stems, suffix, keeping)
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
