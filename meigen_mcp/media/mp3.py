"""The frames of an MP3, told from all that may stand before, between and behind them.

Players find the next frame by its first bits, so anybody may put anything around frames, and no
list of tags is ever complete. What is known here is therefore what a frame is (ISO/IEC 11172-3 and
13818-3, layer III), and nothing else goes along.
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass

_SYNC = re.compile(rb"\xff[\xe2\xe3\xf2\xf3\xfa\xfb][\x10-\xef]", re.DOTALL)
"""The beginning of a frame of layer III whose bit rate is told."""
_LANDMARK = re.compile(rb"ID3[\x02-\x04]|" + _SYNC.pattern, re.DOTALL)
_KILOBITS = (
    (8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160),
    (32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320),
)
"""A second, of the half and of the full rates, from an index of 1 on."""
_HERTZ = (44_100, 48_000, 32_000)
_IN_A_ROW = 3
"""Frames that a beginning must make if no frame led to it."""
_MOST_VALUES = 288
"""Pairs of a granule's 576 lines."""


@dataclass(frozen=True, slots=True)
class _Frame:
    start: int
    end: int
    kin: tuple[int, int]
    """Version and sampling rate, which stay the same within a piece."""
    is_index: bool
    """It has no sound but an index of the file, as Xing, LAME and Fraunhofer write it."""


def frames_alone(source: bytes) -> bytes:
    """Return the frames of an MP3, one behind the other, and nothing else.

    A frame that is cut stays behind; so does an index, which has room for words, but where it is
    the first of all: FFmpeg reads that, and writes one of its own.
    """
    frames = [f for number, f in enumerate(_frames(source)) if number == 0 or not f.is_index]
    return b"".join(source[frame.start : frame.end] for frame in frames)


def _frames(source: bytes) -> Iterator[_Frame]:
    place, before = 0, None
    while place < len(source):
        frame = _at(source, place)
        if frame is None or before is None or frame.kin != before.kin:
            frame = _next_piece(source, place)
            if frame is None:
                return
        yield frame
        place, before = frame.end, frame


def _next_piece(source: bytes, place: int) -> _Frame | None:
    """Return the first frame of the next ones that follow each other."""
    while (found := _LANDMARK.search(source, place)) is not None:
        place = found.start()
        if found[0].startswith(b"ID3"):
            place = _behind_tag(source, place)
            continue
        if _leads_on(source, first := _at(source, place)):
            return first
        place += 1
    return None


def _leads_on(source: bytes, frame: _Frame | None) -> bool:
    """Say whether enough frames of the same kind follow one behind the other."""
    for _ in range(_IN_A_ROW - 1):
        before, frame = frame, frame and _at(source, frame.end)
        if before is None or frame is None or frame.kin != before.kin:
            return False
    return True


def _behind_tag(source: bytes, place: int) -> int:
    """Return where an ID3v2 tag ends, which may hold anything, sounds too (ID3v2.4.0, 3.1)."""
    head = source[place : place + 10]
    size = sum(part << 7 * n for n, part in enumerate(reversed(head[6:])))
    end = place + 10 + size + (10 if head[5:6] and head[5] & 0x10 else 0)
    return end if len(head) == 10 and max(head[6:]) < 128 and end <= len(source) else place + 3


def _at(source: bytes, place: int) -> _Frame | None:
    """Return the whole frame that begins there, if there is one."""
    if _SYNC.match(source, place) is None or len(source) < place + 4:
        return None
    _, second, third, fourth = source[place : place + 4]
    version, rate, mono = second >> 3 & 3, third >> 2 & 3, fourth >> 6 == 3
    if rate == 3:
        return None
    full = version == 3  # MPEG 1; the others have half of its samples
    hertz = _HERTZ[rate] >> (0 if full else 1 if version == 2 else 2)
    kilobits = _KILOBITS[full][(third >> 4) - 1]
    end = place + (144 if full else 72) * 1000 * kilobits // hertz + (third >> 1 & 1)
    sides = place + 4 + (0 if second & 1 else 2)  # behind a checksum
    main = sides + ((17 if mono else 32) if full else (9 if mono else 17))
    if end > len(source) or main > end or not _can_be(source[sides:main], end - main, full, mono):
        return None
    marks = (source[main : main + 4], source[place + 36 : place + 40])
    is_index = marks[0] in (b"Xing", b"Info") or marks[1] == b"VBRI"
    return _Frame(place, end, (version, rate), is_index)


def _can_be(sides: bytes, room: int, full: bool, mono: bool) -> bool:
    """Say whether the counts in a frame's side information are possible (11172-3, 2.4.1.7).

    Words that begin like a frame hardly ever have such.
    """
    bits, width = int.from_bytes(sides), 8 * len(sides)

    def read(at: int, count: int) -> int:
        return bits >> (width - at - count) & (1 << count) - 1

    channels, begin = (1 if mono else 2), (9 if full else 8)
    at = (begin + (5 if mono else 3) + 4 * channels) if full else (begin + (1 if mono else 2))
    each = 59 if full else 63
    parts = range(at, at + each * channels * (2 if full else 1), each)
    needed = sum(read(part, 12) for part in parts)
    fits = needed <= 8 * (room + read(0, begin))
    return fits and all(read(part + 12, 9) <= _MOST_VALUES for part in parts)
