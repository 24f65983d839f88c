"""File names that only look alike: a model writes what it read, and not each character of it.

Systems name screenshots with spaces that do not break, phones and word processors write curly
quotes, and an accent is one character or two.
"""

import os
import unicodedata
from collections.abc import Iterator, Sequence
from pathlib import Path

from meigen_mcp.foreign import flat

MOST = 2
"""As many are looked for: of more than one none is meant."""
_SAME = str.maketrans(
    {
        **dict.fromkeys("\u2018\u2019\u201a\u201b\u2032\u02bc\u02b9", "'"),
        **dict.fromkeys("\u201c\u201d\u201e\u201f\u2033", '"'),
        **dict.fromkeys("\u2010\u2011\u2012\u2013\u2212", "-"),
        "\u2026": "...",
    }
)


def as_read(name: str) -> str:
    """Return what a reader sees of a name: the same for two that only look alike."""
    spaced = "".join(" " if unicodedata.category(char) == "Zs" else char for char in name)
    return unicodedata.normalize("NFC", flat(spaced)).translate(_SAME)


def find_alike(folder: Path, parts: Sequence[str]) -> list[tuple[str, ...]]:
    """Return the ways within a folder that read as one that is not there, two at most.

    Only names are looked at; through no symlink, and nothing that is hidden.
    """
    found: list[tuple[str, ...]] = []
    for way in _ways(folder, [as_read(part) for part in parts]):
        found.append(way)
        if len(found) == MOST:
            break
    return found


def _ways(folder: Path, wanted: Sequence[str]) -> Iterator[tuple[str, ...]]:
    try:
        with os.scandir(folder) as entries:
            there = [
                entry
                for entry in entries
                if not entry.name.startswith(".") and as_read(entry.name) == wanted[0]
            ]
    except OSError:  # it may not be looked into, or is none
        return
    for entry in sorted(there, key=lambda entry: entry.name):
        if len(wanted) == 1:
            yield (entry.name,)
        elif entry.is_dir(follow_symlinks=False):
            for rest in _ways(folder / entry.name, wanted[1:]):
                yield (entry.name, *rest)
