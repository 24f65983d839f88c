"""Whether a picture's file is whole: its end is judged as its start is, without decoding it.

A connection that closes in the middle looks like one that has ended, where no length was
announced. For clips `clips` tells it.
"""

import re
from collections.abc import Callable, Mapping
from pathlib import Path

from meigen_mcp.media import boxes, clips, kinds
from meigen_mcp.media.samples import Bytes

_MOST_PARTS = 1_000_000
# In the coded data of a JPEG, FF00 is a byte of it and FFD0 to FFD7 are restarts.
_MARKER = re.compile(rb"\xff+[^\x00\xff\xd0-\xd7]")


def examine(path: Path, suffix: str) -> tuple[str, bool]:
    """Look at a whole file.

    Args:
        path: the file.
        suffix: what it is by its first bytes.

    Returns:
        What it is by all of it, since a clip may turn out to be sound; and whether it breaks off.

    Raises:
        OSError: it cannot be read.
    """
    if suffix in kinds.SOUND:
        clip = clips.read(path)
        return suffix if clip.pictures else kinds.SOUND[suffix], clip.cut
    with path.open("rb") as file:
        source = Bytes(file, path.stat().st_size)
        try:
            return suffix, not _WHOLE[suffix](source)
        except (EOFError, IndexError):
            return suffix, True


def _png(source: Bytes) -> bool:
    """Look for the last chunk, IEND, and that it is whole (PNG, 5.2)."""
    place = 8
    for _ in range(_MOST_PARTS):
        head = source.at(place, 8)
        place += 12 + int.from_bytes(head[:4])
        if head[4:] == b"IEND":
            return place <= source.size
    return False


def _jpeg(source: Bytes) -> bool:
    """Look for the end of the first image (ITU-T T.81, B.1); others may follow it."""
    data = source.at(0, source.size)
    place = 2
    for _ in range(_MOST_PARTS):
        found = _MARKER.search(data, place)
        if found is None:
            return False
        place, kind = found.end(), data[found.end() - 1]
        if kind == 0xD9:
            return True
        if kind not in (0x01, 0xD8):
            place += max(2, int.from_bytes(data[place : place + 2]))
    return False


def _gif(source: Bytes) -> bool:
    """Go through the blocks to the trailer (GIF89a, 17 to 27)."""
    data = source.at(0, source.size)
    place = 13 + _table(data[10])
    for _ in range(_MOST_PARTS):
        kind = data[place : place + 1]
        if kind == b";":
            return True
        if kind == b"!":
            place += 2
        elif kind == b"," and place + 10 <= len(data):
            place += 11 + _table(data[place + 9])
        else:
            return False
        while place < len(data) and data[place]:
            place += data[place] + 1
        place += 1
    return False


def _table(flags: int) -> int:
    """Return the bytes of a table of colours, which some flags announce."""
    return 3 << (flags & 7) + 1 if flags & 0x80 else 0


def _webp(source: Bytes) -> bool:
    """Go through the chunks to where the header says that they end (RFC 9649, 2.3)."""
    end = 8 + int.from_bytes(source.at(4, 4), "little")
    place = 12
    while place + 8 <= end <= source.size:
        size = int.from_bytes(source.at(place + 4, 4), "little")
        place += 8 + size
        if place > end:
            return False
        place += size % 2
    return place >= end and end <= source.size


def _boxed(source: Bytes) -> bool:
    """Look whether every box is whole, and that one says what is in the file."""
    top = boxes.top_boxes(source)
    return (
        any(kind in (b"meta", b"moov", b"jxlc", b"jxlp") for kind, _, _ in top)
        and max(end for _, _, end in top) <= source.size
    )


def _jxl(source: Bytes) -> bool:
    """Look at the boxes; a bare stream does not say where it ends."""
    return source.at(0, 2) == b"\xff\x0a" or _boxed(source)


_WHOLE: Mapping[str, Callable[[Bytes], bool]] = {
    ".png": _png,
    ".jpg": _jpeg,
    ".gif": _gif,
    ".webp": _webp,
    ".avif": _boxed,
    ".heic": _boxed,
    ".heif": _boxed,
    ".jxl": _jxl,
}
