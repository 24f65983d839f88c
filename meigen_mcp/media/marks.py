"""Putting texts and XMP into files, with not one pixel or sample encoded again.

A file with content credentials (C2PA) stays bit for bit as it came: one more byte would void them.
Each function reads a file whole or by pieces, and gives the pieces of the new one, or nothing.
"""

import io
import struct
import zlib
from collections.abc import Callable, Iterator, Mapping
from typing import BinaryIO, Literal

from meigen_mcp.media import boxes, metadata
from meigen_mcp.media.metadata import Facts
from meigen_mcp.media.samples import Bytes

Level = Literal["all", "mark", "off"]
_LEVELS: Mapping[str, Level] = {"all": "all", "mark": "mark", "off": "off"}
Piece = bytes | tuple[int, int]
"""Bytes that are new, or a span of those that are there."""

XMP_PNG = b"XML:com.adobe.xmp"
_XMP_JPEG = b"http://ns.adobe.com/xap/1.0/\0"
_LARGEST_SEGMENT = 65_533
_UUID_XMP = bytes.fromhex("be7acfcb97a942e89c71999491e3afac")
_UUID_C2PA = bytes.fromhex("d8fec3d61b0e483c92975828877ec481")
_MOST_PARTS = 100_000
_MOST_CHUNKS = 1000
_ALL_BY_ITSELF = (".png",)
"""Formats in which everything is written without being asked: they always had it."""


class Untouchable(Exception):
    """The file is so odd that it stays as it came."""


class Signed(Untouchable):
    """It has content credentials."""


def level_of(suffix: str, chosen: str) -> Level:
    """Return how much a file of a kind says about itself, with or without a choice."""
    return _LEVELS.get(chosen) or ("all" if suffix in _ALL_BY_ITSELF else "mark")


def holds_mark(suffix: str) -> bool:
    """Say whether files of a kind are marked in themselves; others are in what lies beside them."""
    return suffix in _FORMATS and _FORMATS[suffix] is not _still


def inscribe(
    source: BinaryIO, target: BinaryIO, suffix: str, known: Facts, level: Level = "all"
) -> Literal["marked", "left", "signed"]:
    """Copy a file and put what is known into it.

    Returns:
        What was done. Nothing is copied of a format that cannot hold it, of a file that is not as
        it should be ("left"), and of one with content credentials ("signed").
    """
    if suffix not in _FORMATS:
        return "left"
    size = source.seek(0, io.SEEK_END)
    pieces: list[Piece] = []
    for everything in (True, False) if level == "all" else (False,):  # not all formats have room
        said = metadata.properties(known, everything=everything)
        try:
            pieces = list(_FORMATS[suffix](Bytes(source, size), said, known, level))
            break
        except Signed:
            return "signed"
        except (Untouchable, EOFError, struct.error, IndexError):
            continue
    if level == "off" or not pieces:
        return "left"
    for piece in pieces:
        if isinstance(piece, bytes):
            target.write(piece)
        else:
            _copy(source, target, *piece)
    return "marked"


def _copy(source: BinaryIO, target: BinaryIO, start: int, end: int) -> None:
    source.seek(start)
    while start < end:
        data = source.read(min(2**20, end - start))
        if not data:
            return
        target.write(data)
        start += len(data)


def _packet(old: bytes | None, said: Mapping[str, str]) -> bytes:
    if old is not None and b"provenance" in old:  # content credentials that lie elsewhere
        raise Signed
    packet = metadata.xmp(said) if old is None else metadata.merged(old, said)
    if packet is None:
        raise Untouchable
    return packet


# --- PNG ----------------------------------------------------------------------------------------


def _png(source: Bytes, said: Mapping[str, str], known: Facts, level: Level) -> Iterator[Piece]:
    """Put chunks right behind the header (PNG, 11.3.3)."""
    head = source.at(0, 33)
    if head[8:16] != b"\0\0\0\x0dIHDR":
        raise Untouchable
    old, span = _look_through(source)
    yield head
    if level == "all":
        size = struct.unpack(">II", head[16:24])
        for key, text in metadata.png_texts(known, (size[0], size[1])).items():
            yield _text_chunk(key, text)
    yield _chunk(b"iTXt", XMP_PNG + bytes(5) + _packet(old, said))
    yield 33, span[0]
    yield span[1], source.size


def _look_through(source: Bytes) -> tuple[bytes | None, tuple[int, int]]:
    """Return the XMP that is there and its span, if any.

    Content credentials stand before the pixels; too many chunks before them count as signed.
    """
    old, span, place = None, (33, 33), 33
    for _ in range(_MOST_CHUNKS):
        if place + 8 > source.size:
            return old, span
        size, kind = struct.unpack(">I4s", source.at(place, 8))
        if kind == b"caBX":
            raise Signed
        if kind == b"IDAT" or place + 12 + size > source.size:
            return old, span
        if kind == b"iTXt" and source.at(place + 8, min(size, 18)) == XMP_PNG + b"\0":
            data = source.at(place + 8, size)
            if data[18] or data[20:22] != b"\0\0":  # packed, or in a language
                raise Untouchable
            old, span = data[22:], (place, place + 12 + size)
        place += 12 + size
    raise Signed


def _text_chunk(key: str, text: str) -> bytes:
    """Return a text: tEXt where it is plain Latin, which all readers show, else iTXt (UTF-8)."""
    text = text.replace("\0", " ")
    try:
        latin = text.encode("latin-1")
    except UnicodeEncodeError:
        latin = None
    plain = latin is not None and all(letter.isprintable() or letter in "\n\xa0" for letter in text)
    if latin is not None and plain:
        return _chunk(b"tEXt", key.encode("latin-1") + b"\0" + latin)
    data = key.encode("latin-1") + bytes(5) + text.encode(errors="replace")
    return _chunk(b"iTXt", data)


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


# --- JPEG ---------------------------------------------------------------------------------------


def _jpeg(source: Bytes, said: Mapping[str, str], *_args: object) -> Iterator[Piece]:
    """Put a segment behind those of JFIF and EXIF, which come first (XMP, part 3, 1.1.3)."""
    place = at = 2
    old: bytes | None = None
    span = 0, 0
    for _part in range(_MOST_PARTS):
        mark, kind, size = struct.unpack(">BBH", source.at(place, 4))
        if mark != 0xFF or not 0xC0 <= kind < 0xFF or 0xD0 <= kind <= 0xD9:
            raise Untouchable
        if kind == 0xDA:
            break
        data = source.at(place + 4, min(size - 2, len(_XMP_JPEG)))
        if kind == 0xEB and data[:2] == b"JP":  # JUMBF, in which content credentials are
            raise Signed
        if kind == 0xE1 and data == _XMP_JPEG:
            old = source.at(place + 4 + len(data), size - 2 - len(data))
            span = place, place + 2 + size
        if at == place and (kind == 0xE0 or (kind == 0xE1 and data.startswith(b"Exif\0"))):
            at = place + 2 + size
        place += 2 + size
    segment = _XMP_JPEG + _packet(old, said)
    if len(segment) > _LARGEST_SEGMENT:
        raise Untouchable
    yield 0, at
    yield b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    if old is None:
        yield at, source.size
    else:
        yield at, span[0]
        yield span[1], source.size


# --- WebP ---------------------------------------------------------------------------------------


def _webp(source: Bytes, said: Mapping[str, str], *_args: object) -> Iterator[Piece]:
    """Put a chunk at the end, and say so in the header (RFC 9649, 2.7)."""
    chunks = list(_riff(source))
    kinds = [kind for kind, _, _ in chunks]
    end = 8 + int.from_bytes(source.at(4, 4), "little")
    if b"C2PA" in kinds:
        raise Signed
    if not chunks or end > source.size:
        raise Untouchable
    old = next((source.at(*_inner(c)) for c in chunks if c[0] == b"XMP "), None)
    data = _packet(old, said)
    xmp = b"XMP " + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
    kept = [c for c in chunks if c[0] not in (b"XMP ", b"VP8X")]
    extended = _extended(source, chunks[0])
    size = 4 + len(extended) + sum(after - start for _, start, after in kept) + len(xmp)
    yield b"RIFF" + struct.pack("<I", size) + b"WEBP" + extended
    for _, start, after in kept:
        yield start, after
    yield xmp
    yield chunks[-1][2], source.size


def _riff(source: Bytes) -> Iterator[tuple[bytes, int, int]]:
    """Yield the chunks: kind, first byte and end with the padding."""
    place, end = 12, 8 + int.from_bytes(source.at(4, 4), "little")
    while place + 8 <= end:
        kind, size = struct.unpack("<4sI", source.at(place, 8))
        after = place + 8 + size + size % 2
        if after > source.size or after > end + 1:
            raise Untouchable
        yield kind, place, after
        place = after


def _inner(chunk: tuple[bytes, int, int]) -> tuple[int, int]:
    return chunk[1] + 8, chunk[2] - chunk[1] - 8


def _extended(source: Bytes, first: tuple[bytes, int, int]) -> bytes:
    """Return the header that says that there is XMP, of a file that may not have one yet."""
    kind, start, _ = first
    data = source.at(start + 8, 10)
    if kind == b"VP8X":
        return b"VP8X" + struct.pack("<I", 10) + bytes([data[0] | 0x04]) + data[1:]
    if kind == b"VP8 " and data[3:6] == b"\x9d\x01\x2a":
        width, height = (side & 0x3FFF for side in struct.unpack("<HH", data[6:10]))
        alpha = 0
    elif kind == b"VP8L" and data[0] == 0x2F:
        bits = int.from_bytes(data[1:5], "little")
        width, height = (bits & 0x3FFF) + 1, (bits >> 14 & 0x3FFF) + 1
        alpha = bits >> 28 & 1
    else:
        raise Untouchable
    sides = b"".join((side - 1).to_bytes(3, "little") for side in (width, height))
    return b"VP8X" + struct.pack("<I", 10) + bytes([0x04 | alpha << 4, 0, 0, 0]) + sides


# --- MP4 ----------------------------------------------------------------------------------------


def _mp4(source: Bytes, said: Mapping[str, str], *_args: object) -> Iterator[Piece]:
    """Put a box at the end, where it moves no sample (XMP, part 3, 1.2.7).

    An index of fragments stays the last one.
    """
    top = boxes.top_boxes(source)
    old, spans, place = None, [], 0
    for kind, content, end in top:
        if end > source.size:
            raise Untouchable
        if kind == b"uuid":
            name = source.at(content, 16)
            if name == _UUID_C2PA:
                raise Signed
            if name == _UUID_XMP:
                old, spans = source.at(content + 16, end - content - 16), [(place, end)]
        place = end
    if not top or place != source.size or _reaches_to_the_end(source, top):
        raise Untouchable
    index = top[-1][0] == b"mfra"
    last = _begin(top) if index else source.size
    data = _UUID_XMP + _packet(old, said)
    if spans and spans[0][1] != last:
        raise Untouchable  # to take it out would move samples
    yield 0, spans[0][0] if spans else last
    yield struct.pack(">I4s", len(data) + 8, b"uuid") + data
    yield last, source.size


def _begin(top: list[boxes.Box]) -> int:
    """Return where the last box begins."""
    return top[-2][2] if len(top) > 1 else 0


def _reaches_to_the_end(source: Bytes, top: list[boxes.Box]) -> bool:
    """Say whether the last box has no size, and so would swallow one behind it."""
    return source.at(_begin(top), 4) == bytes(4)


def _still(source: Bytes, *_args: object) -> Iterator[Piece]:
    """Leave AVIF and HEIC as they are: what they hold stands at places that are counted."""
    for kind, content, end in boxes.top_boxes(source):
        if kind == b"uuid" and end - content > 16 and source.at(content, 16) == _UUID_C2PA:
            raise Signed
    raise Untouchable
    yield b""


_FORMATS: Mapping[str, Callable[[Bytes, Mapping[str, str], Facts, Level], Iterator[Piece]]] = {
    ".png": _png,
    ".jpg": _jpeg,
    ".webp": _webp,
    ".mp4": _mp4,
    ".mov": _mp4,
    ".avif": _still,
    ".heic": _still,
    ".heif": _still,
}

__all__ = ["Level", "inscribe", "level_of"]
