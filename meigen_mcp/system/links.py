"""Links, and files and folders that no link takes the place of."""

import contextlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path

from meigen_mcp import system
from meigen_mcp.system import BINARY, NO_LINK

_NO_WAIT = getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_NOCTTY", 0)
_STEP = os.O_RDONLY | getattr(os, "O_DIRECTORY", 0)
_MOUNT_POINT = 0xA0000003
"""What Windows calls a junction: a folder that leads elsewhere and is no symlink."""
_MOST_LINKS = 40


def is_link(path: Path | str) -> bool:
    """Say whether a path is a link, and not what it leads to; what is not there is none."""
    try:
        return _leads_elsewhere(os.lstat(path))
    except (OSError, ValueError):
        return False


def _leads_elsewhere(found: os.stat_result) -> bool:
    return stat.S_ISLNK(found.st_mode) or getattr(found, "st_reparse_tag", 0) == _MOUNT_POINT


def is_ordinary_file(path: Path | str) -> bool:
    """Say whether a path is a file and no link to one; what may not be looked at is none."""
    try:
        found = os.lstat(path)
        return stat.S_ISREG(found.st_mode) and not _leads_elsewhere(found)
    except (OSError, ValueError):
        return False


def read_ordinary_file(path: Path, most: int) -> bytes | None:
    """Return what is in a file that is no link; None where that is more than so many bytes.

    Raises:
        OSError: it is no ordinary file, or cannot be read.
    """
    _refuse_link(path)
    with os.fdopen(os.open(path, os.O_RDONLY | BINARY | NO_LINK | _NO_WAIT), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise OSError(f"{path} is no ordinary file")
        data = file.read(most + 1)
    return None if len(data) > most else data


class ForeignLink(PermissionError):
    """A link that this user did not make.

    Attributes:
        link: where it is.
    """

    def __init__(self, link: Path) -> None:
        super().__init__(f"{link} is a link of somebody else")
        self.link = link


def follow_own_links(path: Path) -> Path:
    """Return where a path leads, through links of this user and of the system alone.

    Raises:
        ForeignLink: a link on the way is somebody else's.
        OSError: the links lead in a circle.
    """
    for _ in range(_MOST_LINKS):
        link = next((part for part in (*reversed(path.parents), path) if is_link(part)), None)
        if link is None:
            return path
        if not system.WINDOWS and os.lstat(link).st_uid not in {0, os.geteuid()}:
            raise ForeignLink(link)
        path = link.parent / link.readlink() / path.relative_to(link)
    raise OSError(f"{path} leads in a circle")


def is_own(found: os.stat_result) -> bool:
    """Say whether a file is this user's; Windows does not tell."""
    return system.WINDOWS or found.st_uid == os.geteuid()


def set_mode(descriptor: int, mode: int) -> None:
    """Say who may do what with an open file; Windows has no modes."""
    if not system.WINDOWS:
        with contextlib.suppress(PermissionError):  # a file system that has no modes
            os.fchmod(descriptor, mode)


class Folder:
    """An open folder: it stays the same one, whatever takes its name meanwhile.

    Windows opens by whole paths only: there a link is looked for just before each step.
    """

    def __init__(self, path: Path, descriptor: int | None) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    @contextlib.contextmanager
    def open(
        cls, base: Path, parts: Sequence[str] = (), *, make: bool = False
    ) -> Iterator["Folder"]:
        """Open a folder; below its base the way leads through no link.

        Args:
            base: where the way begins.
            parts: the names from there on.
            make: what is missing below the base.

        Raises:
            OSError: it cannot be opened, or a link is in the way.
        """
        path, here = base, None if system.WINDOWS else os.open(base, _STEP)
        try:
            for part in parts:
                path /= part
                named = path if here is None else Path(part)
                if make:
                    with contextlib.suppress(FileExistsError):
                        os.mkdir(named, dir_fd=here)
                if here is None:
                    _refuse_link(path)
                    continue
                below = os.open(named, _STEP | NO_LINK, dir_fd=here)
                os.close(here)
                here = below
            yield cls(path, here)
        finally:
            if here is not None:
                os.close(here)

    def open_file(self, name: str, flags: int, mode: int = 0o600) -> int:
        """Open a file in it without following a link and without waiting for anybody.

        Raises:
            OSError: it cannot be opened, or is a link.
        """
        if self._descriptor is None:
            _refuse_link(self.path / name)
        flags |= BINARY | NO_LINK | _NO_WAIT
        return os.open(self._named(name), flags, mode, dir_fd=self._descriptor)

    def move(self, name: str, target: "Folder", new: str) -> None:
        """Give a file another name, in another folder or in this one, in one step."""
        os.replace(
            self._named(name),
            target._named(new),  # noqa: SLF001  # of the same class
            src_dir_fd=self._descriptor,
            dst_dir_fd=target._descriptor,  # noqa: SLF001  # as above
        )

    def remove(self, name: str) -> None:
        """Remove a file."""
        os.unlink(self._named(name), dir_fd=self._descriptor)

    def _named(self, name: str) -> str:
        return name if self._descriptor is not None else str(self.path / name)


def _refuse_link(path: Path) -> None:
    if is_link(path):
        raise OSError(f"{path} is a link")
