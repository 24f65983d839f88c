"""The times and the extent of an MP4 or MOV file: its sample tables and its fragments.

ISO/IEC 14496-12; the sections are named where they are read. What a header says of the length is
compared and not believed: a file that was written in fragments may say the first one's.
"""

import struct
from array import array
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from itertools import chain, repeat
from sys import byteorder

from meigen_mcp.media.boxes import boxes, find, top_boxes
from meigen_mcp.media.samples import MOST_SAMPLES, Bytes, Clip, Contradiction, Track

LARGEST_TABLE = 64 * 2**20
LEAST_TOLERANCE = 0.05
"""Seconds by which what a header says may differ from what was counted; else a frame."""


@dataclass(slots=True)
class _Trak:
    """One track."""

    kind: bytes = b""
    scale: int = 0
    edits: list[tuple[int, int]] = field(default_factory=list)
    times: Track = field(default_factory=Track)
    end: int = 0
    usual: tuple[int, int] = (0, 0)
    """Ticks and bytes of a sample of a fragment that says nothing else (8.8.3)."""
    fragments: int = 0

    @property
    def counts(self) -> bool:
        """Whether it is one that is seen or heard."""
        return self.kind in (b"vide", b"soun") and self.scale > 0 and self.times.samples > 0


def read(source: Bytes) -> Clip:
    """Read a file."""
    top = top_boxes(source)
    loose = source.size - max((end for _, _, end in top), default=0)
    cut = loose < 0 or (0 < loose < 8 and any(kind == b"moof" for kind, _, _ in top))
    moov = next(((start, end) for kind, start, end in top if kind == b"moov"), None)
    if moov is None or moov[1] > source.size:
        return Clip(cut=True)
    try:
        movie = _Movie(source, moov)
        for kind, start, end in top:
            if kind == b"moof" and end <= source.size:
                movie.add_fragment(start, end)
            elif kind == b"sidx" and end <= source.size:
                movie.end = max(movie.end, _indexed(source, start, end))
    except (Contradiction, EOFError, struct.error, ValueError):
        return Clip(cut=cut)
    cut = cut or movie.end > source.size or movie.promised > movie.length + movie.tolerance
    return Clip(None if cut else movie.seconds(), cut, movie.pictures)


class _Movie:
    """What `moov` says and the fragments add.

    Attributes:
        end: the first byte behind everything that it speaks of.
        promised: seconds that a file in fragments says it has (8.8.2).
    """

    def __init__(self, source: Bytes, moov: tuple[int, int]) -> None:
        self._source = source
        self._said, self._scale = _times(source, find(source, moov, b"mvhd"))
        self._traks: dict[int, _Trak] = {}
        for kind, start, end in boxes(source, *moov):
            if kind == b"trak":
                number, trak = _trak(source, (start, end))
                self._traks[number] = trak
        self._fragmented = find(source, moov, b"mvex") is not None
        self.promised = 0.0
        if (mvex := find(source, moov, b"mvex")) is not None:
            self._extend(mvex)
        self.end = max((trak.end for trak in self._traks.values()), default=0)

    def _extend(self, mvex: tuple[int, int]) -> None:
        for kind, start, _ in boxes(self._source, *mvex):
            if kind == b"trex":  # 8.8.3
                number, _, ticks, size = struct.unpack(">4xIIII", self._source.at(start, 20))
                if number in self._traks:
                    self._traks[number].usual = (ticks, size)
            elif kind == b"mehd" and self._scale:  # 8.8.2
                wide = self._source.at(start, 1) == b"\x01"
                raw = self._source.at(start + 4, 8 if wide else 4)
                self.promised = int.from_bytes(raw) / self._scale

    def add_fragment(self, start: int, end: int) -> None:
        """Add the samples of a `moof` (8.8.4 to 8.8.8)."""
        base, data = start - 8, start - 8
        for kind, inner, after in boxes(self._source, start, end):
            if kind == b"traf":
                data = self._add_traf((inner, after), base, data)
        self.end = max(self.end, data)

    def _add_traf(self, span: tuple[int, int], base: int, data: int) -> int:
        tfhd = find(self._source, span, b"tfhd")
        if tfhd is None:
            raise Contradiction
        flags, number = struct.unpack(">II", self._source.at(tfhd[0], 8))
        trak = self._traks.get(number)
        if trak is None:
            raise Contradiction
        place = tfhd[0] + 8
        if flags & 0x1:
            (base,) = struct.unpack(">Q", self._source.at(place, 8))
            place += 8
        elif not flags & 0x20000:
            base = data
        place += 4 if flags & 0x2 else 0
        usual = list(trak.usual)
        for which, flag in enumerate((0x8, 0x10)):
            if flags & flag:
                (usual[which],) = struct.unpack(">I", self._source.at(place, 4))
                place += 4
        trak.fragments += 1
        if (tfdt := find(self._source, span, b"tfdt")) is not None:
            wide = self._source.at(tfdt[0], 1) == b"\x01"
            trak.times.now = int.from_bytes(self._source.at(tfdt[0] + 4, 8 if wide else 4))
        data = base
        for kind, start, end in boxes(self._source, *span):
            if kind == b"trun":
                data = self._add_run(trak, (start, end), (base, data), (usual[0], usual[1]))
        return data

    def _add_run(
        self, trak: _Trak, span: tuple[int, int], place: tuple[int, int], usual: tuple[int, int]
    ) -> int:
        """Add a run of samples, and return where its bytes end."""
        base, data = place
        flags, count = struct.unpack(">II", self._source.at(span[0], 8))
        at = span[0] + 8
        if flags & 0x1:
            (offset,) = struct.unpack(">i", self._source.at(at, 4))
            data, at = base + offset, at + 4
        at += 4 if flags & 0x4 else 0
        columns = [flag for flag in (0x100, 0x200, 0x400, 0x800) if flags & flag]
        if count > MOST_SAMPLES or at + 4 * count * len(columns) > span[1]:
            raise Contradiction
        table = _numbers(self._source, at, count * len(columns))

        def column(flag: int) -> "array[int] | None":
            return table[columns.index(flag) :: len(columns)] if flag in columns else None

        ticks, sizes, offsets = column(0x100), column(0x200), column(0x800)
        for index in range(count):
            offset = _signed(offsets[index]) if offsets else 0
            trak.times.add(ticks[index] if ticks else usual[0], offset)
        return data + (sum(sizes) if sizes else count * usual[1])

    # --- the length -----------------------------------------------------------------------------

    @property
    def _counting(self) -> list[_Trak]:
        return [trak for trak in self._traks.values() if trak.counts]

    @property
    def pictures(self) -> bool:
        """Whether there is a picture track; a compressed index hides them all."""
        return not self._traks or any(trak.kind == b"vide" for trak in self._traks.values())

    @property
    def tolerance(self) -> float:
        """The longest frame of the pictures, in seconds."""
        frames = [
            trak.times.longest / trak.scale for trak in self._counting if trak.kind == b"vide"
        ]
        return max([LEAST_TOLERANCE, *frames])

    @property
    def length(self) -> float:
        """How long what was counted plays, in seconds; 0 where there is nothing."""
        spans = [self._span(trak) for trak in self._counting]
        if not spans:
            return 0.0
        return max(end for _, end in spans) - min(start for start, _ in spans)

    def _span(self, trak: _Trak) -> tuple[float, float]:
        """Return when a track begins and ends in the movie (8.6.5, 8.6.6)."""
        times, start = trak.times, trak.times.start or 0
        if not trak.edits or not self._scale:
            return start / trak.scale, times.end / trak.scale
        if self._fragmented and trak.fragments:
            # The edits were written when only the first fragment was there.
            wait = sum(lasts for lasts, media in trak.edits if media < 0) / self._scale
            first = next((media for _, media in trak.edits if media >= 0), 0)
            return wait + max(0, start - first) / trak.scale, wait + (
                times.end - first
            ) / trak.scale
        total = 0.0
        for lasts, media in trak.edits:
            wanted, there = lasts / self._scale, (times.end - media) / trak.scale
            if media >= 0 and wanted > there + max(LEAST_TOLERANCE, times.longest / trak.scale):
                raise Contradiction
            total += wanted if lasts or media < 0 else there
        return 0.0, total

    def seconds(self) -> float | None:
        """Return the length, or None where two things are said of it."""
        try:
            length = self.length
        except Contradiction:
            return None
        known = not any(trak.fragments for trak in self._traks.values())
        said = self._said / self._scale if known and self._said and self._scale else self.promised
        if length <= 0 or (said and abs(said - length) > self.tolerance):
            return None
        return max(length, said)


def _times(source: Bytes, span: tuple[int, int] | None) -> tuple[int, int]:
    """Return length and scale in an `mvhd` or `mdhd` (8.2.2, 8.4.2); an unknown length is 0."""
    if span is None:
        return 0, 0
    form = ">4xQQIQ" if source.at(span[0], 1) == b"\x01" else ">4xIIII"
    *_, scale, length = struct.unpack(form, source.at(span[0], struct.calcsize(form)))
    unknown = 2 ** (64 if "Q" in form else 32) - 1
    return (0 if length == unknown else length), scale


def _trak(source: Bytes, span: tuple[int, int]) -> tuple[int, _Trak]:
    """Read a track: its number, and what is known of it."""
    tkhd = find(source, span, b"tkhd")
    if tkhd is None:
        raise Contradiction
    wide = source.at(tkhd[0], 1) == b"\x01"
    number = int.from_bytes(source.at(tkhd[0] + (20 if wide else 12), 4))
    trak = _Trak()
    if (hdlr := find(source, span, b"mdia", b"hdlr")) is not None:
        trak.kind = source.at(hdlr[0] + 8, 4)
    _, trak.scale = _times(source, find(source, span, b"mdia", b"mdhd"))
    if (elst := find(source, span, b"edts", b"elst")) is not None:
        trak.edits = _edits(source, *elst)
    stbl = find(source, span, b"mdia", b"minf", b"stbl")
    if stbl is not None:
        tables = {kind: (start, end) for kind, start, end in boxes(source, *stbl)}
        _count(source, tables, trak.times)
        trak.end = _extent(source, tables)
    return number, trak


def _edits(source: Bytes, start: int, end: int) -> list[tuple[int, int]]:
    """Return the edits: how long, in ticks of the movie, and from when in the track (8.6.6)."""
    wide = source.at(start, 1) == b"\x01"
    (count,) = struct.unpack(">I", source.at(start + 4, 4))
    form = ">Qqi" if wide else ">Iii"
    size = struct.calcsize(form)
    if count * size > end - start:
        raise Contradiction
    raw = source.at(start + 8, count * size)
    return [(lasts, media) for lasts, media, _ in struct.iter_unpack(form, raw)]


def _count(source: Bytes, tables: Mapping[bytes, tuple[int, int]], times: Track) -> None:
    """Count the samples of `stts` with the offsets of `ctts` (8.6.1)."""
    offsets = chain(
        chain.from_iterable(
            repeat(_signed(offset), count) for count, offset in _pairs(source, tables, b"ctts")
        ),
        repeat(0),
    )
    for count, ticks in _pairs(source, tables, b"stts"):
        if count > MOST_SAMPLES or ticks >= 2**31:
            raise Contradiction
        for _ in range(count):
            times.add(ticks, next(offsets))


def _extent(source: Bytes, tables: Mapping[bytes, tuple[int, int]]) -> int:
    """Return the first byte behind the samples of the track (8.7.3 to 8.7.5)."""
    wide = b"co64" in tables
    span = tables.get(b"co64" if wide else b"stco")
    sized, runs = tables.get(b"stsz"), tables.get(b"stsc")
    if span is None or sized is None or runs is None:
        return 0
    (chunks,) = struct.unpack(">I", source.at(span[0] + 4, 4))
    places = _numbers(source, span[0] + 8, chunks, "Q" if wide else "I")
    if not places:
        return 0
    last = max(range(chunks), key=places.__getitem__)
    first, inside = _in_chunk(source, runs, last)
    each, samples = _numbers(source, sized[0] + 4, 2)
    inside = min(inside, samples - first)
    if each:
        return places[last] + each * inside
    return places[last] + sum(_numbers(source, sized[0] + 12 + 4 * first, max(0, inside)))


def _in_chunk(source: Bytes, span: tuple[int, int], chunk: int) -> tuple[int, int]:
    """Return the first sample of a chunk, both counted from 0, and how many are in it (8.7.4)."""
    (count,) = struct.unpack(">I", source.at(span[0] + 4, 4))
    table = _numbers(source, span[0] + 8, 3 * count)
    before = inside = 0
    start = 1
    for index in range(count):
        first, samples = table[3 * index], table[3 * index + 1]
        if first > chunk + 1:
            break
        before += (first - start) * inside
        start, inside = first, samples
    return before + (chunk + 1 - start) * inside, inside


def _indexed(source: Bytes, start: int, end: int) -> int:
    """Return the first byte behind what a segment index speaks of (8.16.3)."""
    wide = source.at(start, 1) != b"\0"
    form = ">12xQQ2xH" if wide else ">12xII2xH"
    offset: int
    _, offset, count = struct.unpack(form, source.at(start, struct.calcsize(form)))
    sizes = _numbers(source, start + struct.calcsize(form), 3 * count)[0::3]
    return end + offset + sum(size & 0x7FFFFFFF for size in sizes)


def _pairs(
    source: Bytes, tables: Mapping[bytes, tuple[int, int]], kind: bytes
) -> Iterator[tuple[int, int]]:
    if kind not in tables:
        return
    start, _ = tables[kind]
    (count,) = struct.unpack(">I", source.at(start + 4, 4))
    numbers = _numbers(source, start + 8, 2 * count)
    yield from zip(numbers[0::2], numbers[1::2], strict=True)


def _numbers(source: Bytes, place: int, count: int, form: str = "I") -> "array[int]":
    """Read whole numbers without a sign: four bytes each, or eight for "Q"."""
    numbers: array[int] = array(form)
    if count * numbers.itemsize > LARGEST_TABLE:
        raise Contradiction
    numbers.frombytes(source.at(place, count * numbers.itemsize))
    if byteorder == "little":
        numbers.byteswap()
    return numbers


def _signed(number: int) -> int:
    return number - 2**32 if number >= 2**31 else number
