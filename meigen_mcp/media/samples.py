"""What is read in a clip's file and counted; `mp4` and `matroska` know where it stands."""

from dataclasses import dataclass
from typing import BinaryIO

MOST_SAMPLES = 2_000_000
"""Samples that are counted, in an hour of 60 frames a second there are 0.4 million."""


@dataclass(frozen=True, slots=True)
class Clip:
    """What is known of a clip.

    Attributes:
        seconds: how long it plays; None where the file is cut, contradicts itself or tells nothing.
        cut: bytes that the file itself speaks of are missing at its end.
        pictures: it has a picture track; True where the file hides its tracks.
    """

    seconds: float | None = None
    cut: bool = False
    pictures: bool = True


class Track:
    """The times of one track, as its samples are read one after the other.

    Attributes:
        now: when the next sample is decoded, in ticks of the track.
        start: when the first one is shown.
        end: until when the last one is shown.
        longest: the longest that one is shown.
        samples: how many there are.
    """

    def __init__(self) -> None:
        self.now = 0
        self.start: int | None = None
        self.end = 0
        self.longest = 0
        self.samples = 0
        self._last = 0

    def add(self, ticks: int, offset: int = 0) -> None:
        """Add a sample that lasts so many ticks and is shown so many after it is decoded."""
        lasts = ticks or self._last  # writers leave out the last one's
        shown = self.now + offset
        self.start = shown if self.start is None else min(self.start, shown)
        self.end = max(self.end, shown + lasts)
        self.longest = max(self.longest, ticks)
        self.now += ticks
        self._last = lasts
        self.samples += 1
        if self.samples > MOST_SAMPLES:
            raise Contradiction


class Contradiction(Exception):
    """The file says two things, or what cannot be."""


class Bytes:
    """A file that is read in pieces, from wherever one wants."""

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self.size = size

    def at(self, place: int, count: int) -> bytes:
        """Return so many bytes.

        Raises:
            EOFError: there are not so many.
        """
        self._file.seek(place)
        data = self._file.read(count)
        if len(data) < count:
            raise EOFError
        return data
