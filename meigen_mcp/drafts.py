"""Files that are written whole or not at all, and never over another one.

Each begins as a draft, a file with a name of its own, which at its end is given its name in one
step. What a killed process leaves behind is found by its name.
"""

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from uuid import uuid4

from meigen_mcp.system import private_file, private_folder

UNFINISHED = ".meigen-*.part"
"""The names of drafts."""


@contextmanager
def new(folder: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a new draft, and remove that name at the end.

    Args:
        folder: where; it is made if need be.
        private: for files, and a folder, that only this user may read.
    """
    draft = folder / UNFINISHED.replace("*", uuid4().hex)
    if private:
        private_folder(folder)
        private_file(draft)
    else:
        folder.mkdir(parents=True, exist_ok=True)
        draft.touch(exist_ok=False)
    try:
        yield draft
    finally:
        with suppress(OSError):  # Windows keeps what a cancelled write still has open
            draft.unlink()


def keep(draft: Path, stem: str, suffix: str, sidecar: bytes | None = None) -> Path:
    """Give a draft the first number of which neither its name nor that of a sidecar is taken.

    The sidecar comes first: whoever sees the medium sees it too. One that cannot be written is
    done without.
    """
    _flush(draft)
    number = 0
    while True:
        number += 1
        target = draft.with_name(f"{stem}_{number}{suffix}")
        beside = target.with_suffix(".json")
        if os.path.lexists(target) or os.path.lexists(beside):
            continue
        with ExitStack() as undo:
            if sidecar is not None:
                with suppress(OSError):
                    if not _written(beside, sidecar):
                        continue
                    undo.callback(beside.unlink, missing_ok=True)
            if _named(draft, target):
                undo.pop_all()
                return target


def _written(target: Path, data: bytes) -> bool:
    """Write a file whole; False for a name that is taken."""
    with new(target.parent) as draft:
        draft.write_bytes(data)
        _flush(draft)
        return _named(draft, target)


def _flush(draft: Path) -> None:
    """Bring a draft to the disk, or a power cut could leave its name without its content."""
    with draft.open("rb+") as file:
        os.fsync(file.fileno())


def _named(draft: Path, target: Path) -> bool:
    """Give a draft a name, in one step; False for a name that is taken, which stays as it is."""
    try:
        os.link(draft, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        return _moved(draft, target)
    return True


def _moved(draft: Path, target: Path) -> bool:
    """Take a name that is free, then put the draft there in one step."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        draft.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


def remove(folder: Path, pattern: str, before: float) -> None:
    """Remove the files of a pattern that were last written before a time."""
    for path in folder.glob(pattern):
        with suppress(OSError):  # gone already, or not ours
            if path.lstat().st_mtime < before:
                path.unlink()
