"""The times and the extent of a Matroska or WebM file: its clusters, block by block (RFC 9559).

A file that was recorded live has no length in its header, and elements without a size.
"""

import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import pairwise

from meigen_mcp.media.samples import MOST_SAMPLES, Bytes, Clip, Contradiction

SIGNATURE = b"\x1a\x45\xdf\xa3"
LEAST_TOLERANCE = 0.1
"""Seconds by which the header's length may differ from what was counted; else a frame."""
_SEGMENT, _INFO, _SCALE, _DURATION = 0x18538067, 0x1549A966, 0x2AD7B1, 0x4489
_TRACKS, _ENTRY, _NUMBER, _TYPE, _USUAL = 0x1654AE6B, 0xAE, 0xD7, 0x83, 0x23E383
_CLUSTER, _TIME, _SIMPLE, _GROUP, _BLOCK, _LASTS = 0x1F43B675, 0xE7, 0xA3, 0xA0, 0xA1, 0x9B
_ENTERED = frozenset({_SEGMENT, _INFO, _TRACKS, _ENTRY, _CLUSTER, _GROUP})
_SMALL = frozenset({_SCALE, _DURATION, _NUMBER, _TYPE, _USUAL, _TIME, _LASTS})
_PICTURES, _SOUND = 1, 2
_MOST_ELEMENTS = 4 * MOST_SAMPLES

Element = tuple[int, int, int | None]
"""Id, first byte and end of an element's content; an end that is not said is None."""


@dataclass(slots=True)
class _Trak:
    """One track; times are in ticks of the file."""

    kind: int = 0
    usual: float = 0.0
    times: list[int] = field(default_factory=list)
    end: float = 0.0

    def close(self) -> None:
        """Give the last block the length of a usual one, or of the one before it."""
        shown = sorted(set(self.times[-32:]))
        before = shown[-1] - shown[-2] if len(shown) > 1 else 0
        self.end = max(self.end, max(self.times) + (self.usual or before))


def _elements(source: Bytes) -> Iterator[Element]:
    """Yield every element, those inside of the ones that matter too."""
    place = 0
    for _ in range(_MOST_ELEMENTS):
        if place >= source.size:
            return
        kind, after = _vint(source, place, marked=True)
        size, content = _vint(source, after, marked=False)
        unknown = size == 2 ** (7 * (content - after)) - 1
        if unknown and kind not in _ENTERED:
            raise Contradiction
        end = None if unknown else content + size
        yield kind, content, end
        place = content if kind in _ENTERED or end is None else end


def _vint(source: Bytes, place: int, *, marked: bool) -> tuple[int, int]:
    """Return a number of variable length, with or without its marker, and what follows it."""
    first = source.at(place, 1)[0]
    length = 9 - first.bit_length()
    if length > (4 if marked else 8):
        raise Contradiction
    number = int.from_bytes(source.at(place, length))
    return number if marked else number & (1 << 7 * length) - 1, place + length


def read(source: Bytes) -> Clip:
    """Read a file."""
    clip = _Recording(source)
    try:
        for kind, content, end in _elements(source):
            clip.add(kind, content, end)
    except EOFError:
        clip.end = source.size + 1
    except (Contradiction, struct.error):
        return Clip(cut=clip.end > source.size)
    first, last, tolerance = clip.span()
    cut = clip.end > source.size or clip.said > last + tolerance
    # Some count from the first picture, and some from 0.
    agrees = any(abs(clip.said - length) <= tolerance for length in (last, last - first))
    if cut or last <= first or (clip.said and not agrees):
        return Clip(None, cut, clip.pictures)
    return Clip(max(last - first, clip.said), cut, clip.pictures)


class _Recording:
    """What was read so far.

    Attributes:
        end: the first byte behind everything that is spoken of.
    """

    def __init__(self, source: Bytes) -> None:
        self.end = 0
        self._source = source
        self._scale = 1_000_000
        self._said = 0.0
        self._tracks: dict[int, _Trak] = {}
        self._entry = _Trak()
        self._cluster = 0
        self._block: tuple[_Trak, int] | None = None
        self._blocks = 0

    @property
    def said(self) -> float:
        """The header's length in seconds; 0 where it says none."""
        return self._said * self._scale / 10**9

    @property
    def pictures(self) -> bool:
        """Whether there is a picture track."""
        return any(trak.kind == _PICTURES for trak in self._tracks.values())

    def add(self, kind: int, content: int, end: int | None) -> None:
        """Add an element."""
        self.end = max(self.end, end or content)
        if kind == _ENTRY:
            self._entry = _Trak()
        elif kind in (_SIMPLE, _BLOCK):
            self._add_block(content)
        elif kind in _SMALL and end is not None:
            self._note(kind, self._source.at(content, min(end - content, 8)))

    def _note(self, kind: int, raw: bytes) -> None:
        number = int.from_bytes(raw)
        match kind:
            case _ if kind == _SCALE:
                self._scale = number or self._scale
            case _ if kind == _DURATION:
                (said,) = struct.unpack(">f" if len(raw) == 4 else ">d", raw)
                self._said = said if 0 < said < 10**15 else 0.0
            case _ if kind == _NUMBER:
                self._tracks[number] = self._entry
            case _ if kind == _TYPE:
                self._entry.kind = number
            case _ if kind == _USUAL:
                self._entry.usual = number / self._scale
            case _ if kind == _TIME:
                self._cluster = number
            case _ if kind == _LASTS and self._block is not None:
                trak, shown = self._block
                trak.end = max(trak.end, shown + number)

    def _add_block(self, content: int) -> None:
        number, place = _vint(self._source, content, marked=False)
        (offset,) = struct.unpack(">h", self._source.at(place, 2))
        trak = self._tracks.get(number)
        self._blocks += 1
        if trak is None or self._blocks > MOST_SAMPLES:
            raise Contradiction
        shown = self._cluster + offset
        trak.times.append(shown)
        self._block = trak, shown

    def span(self) -> tuple[float, float, float]:
        """Return when what was counted begins and ends, and its longest frame, in seconds."""
        counting = [
            trak
            for trak in self._tracks.values()
            if trak.kind in (_PICTURES, _SOUND) and trak.times
        ]
        if not counting:
            return 0.0, 0.0, LEAST_TOLERANCE
        for trak in counting:
            trak.close()
        first = max(0, min(min(trak.times) for trak in counting))
        last = max(trak.end for trak in counting)
        frames = [
            later - earlier
            for trak in counting
            if trak.kind == _PICTURES
            for shown in [sorted(trak.times)]
            for earlier, later in pairwise(shown)
        ]
        tick = self._scale / 10**9
        return first * tick, last * tick, max(LEAST_TOLERANCE, tick * max(frames, default=0))
