"""A client's configuration as a file: it is read, and replaced only if nobody changed it meanwhile.

A file of a project may come from anybody: on the way to it no link is followed, and a file that
has a second name elsewhere is not written. What a person's own links lead to is theirs.
"""

import errno
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from meigen_mcp.foreign import flat
from meigen_mcp.system import private_folder
from meigen_mcp.system.links import (
    Folder,
    ForeignLink,
    follow_own_links,
    is_link,
    is_own,
    set_mode,
)

LARGEST = 32 * 2**20
"""Bytes; some clients keep their history in it."""


class ConfigurationRefused(Exception):
    """The configuration is left alone; the sentence says why and what to do."""


@dataclass(frozen=True, slots=True)
class Content:
    """What is in a file.

    Attributes:
        names: how many names it has.
        owned: whether it is this user's.
    """

    data: bytes
    mode: int
    names: int
    owned: bool

    @property
    def in_place(self) -> bool:
        """Whether another file in its place would cut a name, or its owner, off."""
        return self.names > 1 or not self.owned


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """A file that a client reads.

    Attributes:
        path: what it is called.
        project: the folder of the project that it is part of; None: it is the person's own.
    """

    path: Path
    project: Path | None = None

    @property
    def named(self) -> str:
        """Its path as it is told: on one line, whatever a project calls its folders."""
        return flat(str(self.path))

    @property
    def linked(self) -> bool:
        """Whether its own name is a link."""
        return is_link(self.path)

    def read(self) -> Content | None:
        """Return what is in it, or None where there is no such file.

        Raises:
            ConfigurationRefused: it cannot be read, or is none that a client would write.
        """
        try:
            with self._folder(make=False) as (folder, name):
                return _content(folder, name)
        except FileNotFoundError:
            return None
        except OSError as error:
            raise self._refused(error, "read") from None

    def replace(self, before: Content | None, data: bytes | None, private: Path) -> bool:
        """Replace it, whole or not at all, if it is still what it was.

        Args:
            before: what it was; None: it was not there.
            data: what it becomes; None removes it.
            private: a folder of ours for what is half written.

        Returns:
            False, with nothing done, if somebody changed it.

        Raises:
            ConfigurationRefused: it cannot be written.
        """
        if before is not None and before.names > 1 and self.project is not None:
            raise ConfigurationRefused(
                f"{self.named} has a second name elsewhere (a hard link), so it was left alone."
                " Make it a file of its own, or add what --print shows by hand."
            )
        try:
            with self._folder(make=data is not None) as (folder, name):
                if data is None:
                    return _remove(folder, name, before)
                if before is None:
                    return _create(folder, name, data)
                if before.in_place:
                    return _overwrite(folder, name, before, data)
                return _swap(folder, name, before, data, private)
        except OSError as error:
            raise self._refused(error, "written") from None

    @contextmanager
    def _folder(self, *, make: bool) -> Iterator[tuple[Folder, str]]:
        """Open the folder that it is in, and yield that with its name there."""
        if self.project is not None:
            *parts, name = self.path.relative_to(self.project).parts
            with Folder.open(self.project, parts, make=make) as folder:
                yield folder, name
            return
        real = follow_own_links(self.path)
        if make:
            real.parent.mkdir(parents=True, exist_ok=True)
        with Folder.open(real.parent) as folder:
            yield folder, real.name

    def _refused(self, error: OSError, done: str) -> ConfigurationRefused:
        if isinstance(error, _WrittenInPart):
            return ConfigurationRefused(f"{self.named} could be written in part only.")
        if isinstance(error, ForeignLink):
            why = f"{flat(str(error.link))} is a link that somebody else made, and is not followed"
        elif isinstance(error, _NotAConfiguration):
            why = f"{self.named} {error}"
        elif (link := self._project_link()) is not None:
            why = f"{flat(str(link))} is a link, and a project's links are not followed"
        else:
            why = f"{self.named} cannot be {done}"
        return ConfigurationRefused(f"{why}; it was left alone.")

    def _project_link(self) -> Path | None:
        if self.project is None:
            return None
        way = (self.path, *self.path.parents)
        return next((path for path in way[: way.index(self.project)] if is_link(path)), None)


class _WrittenInPart(OSError):
    """A file of which neither the new nor the old content could be written."""


class _NotAConfiguration(OSError):
    """A file that no client wrote; says what it is."""


def _content(folder: Folder, name: str) -> Content:
    with os.fdopen(folder.open_file(name, os.O_RDONLY), "rb") as file:
        found = os.fstat(file.fileno())
        if not stat.S_ISREG(found.st_mode):
            raise _NotAConfiguration("is no ordinary file")
        data = file.read(LARGEST + 1)
    if len(data) > LARGEST:
        raise _NotAConfiguration(f"has more than {LARGEST // 2**20} MiB")
    return Content(data, stat.S_IMODE(found.st_mode), found.st_nlink, is_own(found))


def _unchanged(folder: Folder, name: str, before: Content | None) -> bool:
    try:
        now = _content(folder, name)
    except FileNotFoundError:
        return before is None
    return before is not None and now.data == before.data


def _remove(folder: Folder, name: str, before: Content | None) -> bool:
    if not _unchanged(folder, name, before):
        return False
    folder.remove(name)
    return True


def _create(folder: Folder, name: str, data: bytes) -> bool:
    """Make a file that is not there; who may read it is up to the person's umask."""
    try:
        descriptor = folder.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
    except FileExistsError:
        return False
    try:
        _fill(descriptor, data)
    except OSError:
        folder.remove(name)
        raise
    return True


def _overwrite(folder: Folder, name: str, before: Content, data: bytes) -> bool:
    """Write into the file itself; if that fails midway, what was there is put back."""
    if not _unchanged(folder, name, before):
        return False
    try:
        _fill(folder.open_file(name, os.O_WRONLY), data)
    except OSError:
        try:
            _fill(folder.open_file(name, os.O_WRONLY), before.data)
        except OSError:
            raise _WrittenInPart from None
        raise
    return True


def _swap(folder: Folder, name: str, before: Content, data: bytes, private: Path) -> bool:
    """Put another file in its place, in one step."""
    private_folder(private)
    with Folder.open(private) as ours:
        try:
            return _put(ours, folder, name, before, data)
        except OSError as error:
            if error.errno != errno.EXDEV:  # else it is on another disk
                raise
    return _put(folder, folder, name, before, data)


def _put(place: Folder, folder: Folder, name: str, before: Content, data: bytes) -> bool:
    partial = f".meigen-{uuid4().hex}.part"
    descriptor = place.open_file(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL)
    try:
        set_mode(descriptor, before.mode & 0o777)
        _fill(descriptor, data)
        if not _unchanged(folder, name, before):
            return False
        place.move(partial, folder, name)
        return True
    finally:
        with suppress(OSError):
            place.remove(partial)


def _fill(descriptor: int, data: bytes) -> None:
    """Make an open file consist of these bytes, on the disk, and close it."""
    with os.fdopen(descriptor, "wb") as file:
        file.write(data)
        file.truncate()
        file.flush()
        os.fsync(file.fileno())


def keep_copy(data: bytes, folder: Path, name: str) -> Path:
    """Keep a copy that nobody else can read from its first byte on, under a name of its own."""
    private_folder(folder)
    with Folder.open(folder) as ours:
        copy = f"{uuid4().hex}-{name}"
        _fill(ours.open_file(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL), data)
    return folder / copy
