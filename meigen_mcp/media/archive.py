"""Where a team's results last: a folder that all replicas share, named by content.

`Archive` is what an engine offers; an object store would be another one.
"""

import hashlib
import re
from pathlib import Path
from typing import Protocol

from meigen_mcp.media import whole_files
from meigen_mcp.media.kinds import MIME
from meigen_mcp.system import private_folder, sync_names
from meigen_mcp.system.links import is_ordinary_file

_NAME = re.compile(r"[0-9a-f]{64}(\.[a-z0-9]{3,4})", re.ASCII)


def archived_name(path: str) -> str | None:
    """Return the name in an archive that a path ends with, wherever that lies; None: no such."""
    name = path.replace("\\", "/").rpartition("/")[2]
    found = _NAME.fullmatch(name)
    return name if found and found[1] in MIME else None


class Archive(Protocol):
    """Keeps files for as long as it is told to; every method blocks.

    Attributes:
        folder: where what is not whole yet is written.
    """

    folder: Path

    def keep(self, file: Path, suffix: str, key: str) -> Path:
        """Take a whole file over, and return where it is; the same one again is that one.

        Args:
            file: a partial file in `folder`.
            suffix: how names of its kind end.
            key: of the record. It is a part of the name, so no two records share a file, and what
                one forgets no other loses.

        Raises:
            OSError: it cannot be written.
        """
        ...

    def find(self, path: str) -> Path | None:
        """Return where a file is now that was kept under a path; None: it is not here."""
        ...

    def discard(self, path: str, before: float) -> bool:
        """Delete a file that was kept before a time; return whether it is gone, by whomever.

        Raises:
            OSError: it cannot be deleted, or nobody can tell.
        """
        ...


class FolderArchive:
    """An archive in a folder; see `Archive`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, file: Path, suffix: str, key: str) -> Path:
        """Take a whole file over, and return where it is."""
        name = hashlib.sha256(f"{key}\0".encode())
        with file.open("rb") as content:
            while part := content.read(2**20):
                name.update(part)
        target = self._place(name.hexdigest() + suffix)
        if not target.parent.is_dir():
            private_folder(target.parent)
            sync_names(self.folder)
        whole_files.put(file, target)
        return target

    def find(self, path: str) -> Path | None:
        """Return where a file is now that was kept under a path."""
        name = archived_name(path)
        place = name and self._place(name)
        return place if place and is_ordinary_file(place) else None

    def discard(self, path: str, before: float) -> bool:
        """Delete a file that was kept before a time; return whether it is gone."""
        name = archived_name(path)
        if name is None:
            return False
        place = self._place(name)
        if is_ordinary_file(place) and place.lstat().st_mtime < before:
            place.unlink(missing_ok=True)
            return True
        return whole_files.is_gone(place, self.folder)

    def _place(self, name: str) -> Path:
        return self.folder / name[:2] / name
