"""Files that are written whole or not at all, and never over another one.

Each begins as a partial file with a name of its own, which gets its final name in one step at the
end. What a killed process leaves behind is found by its name.
"""

import errno
import math
import os
import stat
from collections.abc import AsyncIterator, Collection, Iterator, Sequence
from contextlib import ExitStack, asynccontextmanager, contextmanager, suppress
from dataclasses import dataclass
from filecmp import cmp
from pathlib import Path
from uuid import uuid4

import anyio
import anyio.to_thread

from meigen_mcp.system import private_file, private_folder, sync_names

PARTIAL = ".meigen-*.part"
"""The names of partial files."""
EXACT, COARSE = 0.001, 2.0
"""Seconds by which a file's time may differ from the one that it was given: by the arithmetic, and
where a file system keeps whole seconds, or every second one."""
_NO_SUCH_NAMES = (errno.EINVAL, errno.EILSEQ, errno.ENAMETOOLONG)


class Partial:
    """A partial file, which is there once it is first written; who makes one removes it.

    Args:
        folder: where; it is made if need be.
        private: for files, and a folder, that only this user may read.

    Attributes:
        path: where it is.
        gathered: what is to come behind what it has.
        begun: whether it is there.
        over: whether nothing is written any more, also by a thread that comes late.
    """

    def __init__(self, folder: Path, *, private: bool = False) -> None:
        self.path = folder / PARTIAL.replace("*", uuid4().hex)
        self.gathered = bytearray()
        self.begun = self.over = False
        self._private = private
        self._written = 0

    def write(self) -> Path:
        """Write what was gathered, and return where it is.

        Raises:
            OSError: it cannot be written, or is not the one that was begun: somebody tidied up.
        """
        if self.over:
            raise self._stale()
        if not self.begun:
            self.begin()
        with self.path.open("r+b") as file:
            if file.seek(0, os.SEEK_END) != self._written:
                raise self._stale()
            file.write(self.gathered)
        self._written += len(self.gathered)
        self.gathered = bytearray()
        return self.path

    def _stale(self) -> OSError:
        return OSError(errno.ESTALE, "it is not the file that was begun", str(self.path))

    def begin(self) -> None:
        """Make it, with nothing in it."""
        self.begun, folder = True, self.path.parent
        if self._private:
            private_folder(folder)
            private_file(self.path)
        else:
            if not folder.is_dir():
                folder.mkdir(parents=True, exist_ok=True)
                sync_names(folder.parent)
            self.path.touch(exist_ok=False)

    def remove(self) -> None:
        """Remove its name; it may have another one by now."""
        self.over = True
        with suppress(OSError):  # Windows keeps what a cancelled write still has open
            self.path.unlink()
        self.begun = False


@contextmanager
def new(folder: Path, *, private: bool = False) -> Iterator[Path]:
    """Give a new partial file, which is empty, and remove that name at the end; see `Partial`."""
    partial = Partial(folder, private=private)
    try:
        partial.begin()
        yield partial.path
    finally:
        partial.remove()


@asynccontextmanager
async def new_aside(folder: Path, *, private: bool = False) -> AsyncIterator[Partial]:
    """Give a partial file for threads to write: a folder on a network stops no loop."""
    partial = Partial(folder, private=private)
    try:
        yield partial
    finally:
        partial.over = True
        if partial.begun:
            with anyio.CancelScope(shield=True):
                await anyio.to_thread.run_sync(partial.remove)


@dataclass(frozen=True, slots=True)
class Keeping:
    """What a file gets with its name.

    Attributes:
        at: the time that it says it was changed, by which it is known to be unchanged.
        sidecar: what is written beside it, in a `.json` of the same name.
        others: paths of files that it is not, however alike they are.
    """

    at: float
    sidecar: bytes | None = None
    others: Collection[str | None] = ()


def keep(partial: Path, stems: Sequence[str], suffix: str, keeping: Keeping) -> Path:
    """Give a partial file the first number of which no name and no sidecar is taken.

    The sidecar comes first: whoever sees the medium sees it too. One that cannot be written is
    done without. Where a try that was killed before anybody knew of it has left the very same
    file, it is that one.

    Args:
        partial: what gets the name.
        stems: how names begin; a later one counts where the locale, or the file system, has no
            place for the earlier.
        suffix: how they end.
        keeping: what it gets besides.
    """
    _flush(partial)
    os.utime(partial, (keeping.at, keeping.at))
    *better, last = stems
    for stem in better:
        try:
            return _numbered(partial, stem, suffix, keeping)
        except UnicodeEncodeError:
            continue
        except OSError as error:
            if error.errno not in _NO_SUCH_NAMES:
                raise
    return _numbered(partial, last, suffix, keeping)


def _numbered(partial: Path, stem: str, suffix: str, keeping: Keeping) -> Path:
    number = 0
    while True:
        number += 1
        target = partial.with_name(f"{stem}_{number}{suffix}")
        beside = target.with_suffix(".json")
        if os.path.lexists(target) or os.path.lexists(beside):
            if _is_that(target, partial, keeping):
                sync_names(target.parent)  # that try may not have come to it
                return target
            continue
        with ExitStack() as undo:
            if keeping.sidecar is not None:
                with suppress(OSError):
                    if not _written(beside, keeping.sidecar, keeping.at):
                        continue
                    undo.callback(beside.unlink, missing_ok=True)
            if _link_into_place(partial, target):
                undo.pop_all()
                sync_names(target.parent)
                return target


def _is_that(target: Path, partial: Path, keeping: Keeping) -> bool:
    """Say whether a killed try has kept the same file there already."""
    with suppress(OSError):
        return (
            str(target) not in keeping.others
            and _unchanged(target, keeping.at, math.inf)
            and cmp(target, partial, shallow=False)
            and (
                keeping.sidecar is None
                or target.with_suffix(".json").read_bytes() == keeping.sidecar
            )
        )
    return False


def _written(target: Path, data: bytes, at: float) -> bool:
    """Write a file whole; False for a name that is taken."""
    with new(target.parent) as partial:
        partial.write_bytes(data)
        _flush(partial)
        os.utime(partial, (at, at))
        return _link_into_place(partial, target)


def put(partial: Path, target: Path) -> None:
    """Give a partial file a name in one step, in place of what has it; the disk has both then."""
    _flush(partial)
    partial.replace(target)
    sync_names(target.parent)


def _flush(partial: Path) -> None:
    """Bring a partial file to the disk, or a power cut could leave its name without its content."""
    with partial.open("rb+") as file:
        os.fsync(file.fileno())


def _link_into_place(partial: Path, target: Path) -> bool:
    """Name a partial file in one step; False for a name that is taken, which stays as it is."""
    try:
        os.link(partial, target)
    except FileExistsError:
        return False
    except OSError:  # a file system without hard links
        return _move_into_place(partial, target)
    return True


def _move_into_place(partial: Path, target: Path) -> bool:
    """Take a name that is free, then put the partial file there in one step."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        partial.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


def is_gone(path: Path, folder: Path) -> bool:
    """Return whether nothing is at a place in a folder.

    Raises:
        OSError: that cannot be known: the file or the folder cannot be looked at, or that is empty,
            as one is where nothing is mounted.
    """
    with suppress(FileNotFoundError):  # no other error says that it is gone
        path.lstat()
        return False
    with os.scandir(folder) as found:
        if next(found, None) is None:
            raise FileNotFoundError(errno.ENOENT, "its folder is empty: is it mounted?", str(path))
    return True


def discard(path: Path, at: float, before: float) -> bool:
    """Delete a file of ours, with its sidecar; return whether it was there and ours.

    Ours is what lies at its place, is no link, and says that it was changed when we said so.

    Args:
        path: as it was kept.
        at: the time that it was given then.
        before: what came to its place after that time stays.

    Raises:
        OSError: it cannot be deleted.
    """
    if not _unchanged(path, at, before):
        return False
    path.unlink(missing_ok=True)
    beside = path.with_suffix(".json")
    with suppress(OSError):
        if _unchanged(beside, at, before):
            beside.unlink()
    return True


def _unchanged(path: Path, at: float, before: float) -> bool:
    with suppress(OSError):
        found = path.lstat()
        rounded = found.st_mtime.is_integer()
        apart = abs(found.st_mtime - at)
        same = apart < EXACT or (rounded and apart <= COARSE)
        return stat.S_ISREG(found.st_mode) and same and found.st_ctime < before
    return False


def remove(folder: Path, pattern: str, after: float) -> None:
    """Remove the files of a pattern that were last written so many seconds ago.

    By the clock of the file system: that of this computer may be set, or another one's.
    """
    found = list(folder.glob(pattern))
    with suppress(OSError):
        if found:
            with new(folder) as fresh:
                before = fresh.lstat().st_mtime - after
            for path in found:
                with suppress(OSError):  # gone already, or not ours
                    if path.lstat().st_mtime < before:
                        path.unlink()
