"""The boxes that MP4, MOV, AVIF, HEIC and JPEG XL files are made of (ISO/IEC 14496-12, 4.2)."""

import struct
from collections.abc import Iterator

from meigen_mcp.media.samples import Bytes

MOST_BOXES = 500_000
TOP = frozenset(
    {
        b"ftyp", b"styp", b"moov", b"moof", b"mdat", b"free", b"skip", b"wide", b"meta", b"mfra",
        b"sidx", b"ssix", b"prft", b"emsg", b"pdin", b"uuid", b"udta", b"JXL ", b"jxlc", b"jxlp",
        b"jxll", b"jxli", b"jbrd", b"brob", b"jumb", b"Exif", b"xml ",
    }
)  # fmt: skip
"""The kinds that stand in a file itself; another one that is not whole is none, but junk."""

Box = tuple[bytes, int, int]
"""Kind, first byte and end of a box's content."""


def boxes(source: Bytes, start: int, end: int) -> Iterator[Box]:
    """Yield the boxes in a span, the last of which may reach beyond it (4.2)."""
    for _ in range(MOST_BOXES):
        if end - start < 8:
            return
        size, kind = struct.unpack(">I4s", source.at(start, 8))
        content = start + 8
        if size == 1:
            if end - content < 8:
                return
            (size,) = struct.unpack(">Q", source.at(content, 8))
            content += 8
        after = start + size if size else end  # 0: to the end
        if after < content or not _is_kind(kind):
            return
        yield kind, content, after
        start = after


def _is_kind(kind: bytes) -> bool:
    """Say whether four bytes can name a box; zeros and other filling cannot."""
    return all(byte >= 0x20 for byte in kind)


def find(source: Bytes, span: tuple[int, int], *path: bytes) -> tuple[int, int] | None:
    """Return the span of the first box at a path, or None."""
    start, end = span
    for wanted in path:
        found = next((box for box in boxes(source, start, end) if box[0] == wanted), None)
        if found is None:
            return None
        _, start, end = found
    return start, min(end, source.size)


def top_boxes(source: Bytes) -> list[Box]:
    """Return the boxes of a whole file, without junk behind them; the last may be cut."""
    top = list(boxes(source, 0, source.size))
    if top and top[-1][2] > source.size and top[-1][0] not in TOP:
        top.pop()
    return top
