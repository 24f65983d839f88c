"""The copy of a local clip or sound that may leave: the same samples, without what is about them.

Hostile bytes can take a demuxer down, so `python -m meigen_mcp.media.clip_copy KIND` does it in a
process of its own: the file comes in on stdin, a line of JSON and the copy go out on stdout.
Nothing is encoded again. Places, titles, comments, covers, timed metadata and chapters stay behind.
"""

import json
import sys
from contextlib import suppress
from fractions import Fraction
from importlib import import_module
from io import BytesIO
from typing import Any

from meigen_mcp.media import mp3, mp4, wav
from meigen_mcp.media.samples import Bytes

MOST_PIXELS = 4096 * 2304
"""Of a frame."""
_FORMATS = {"mp4": "mov", "mov": "mov", "wav": "wav", "mp3": "mp3"}
"""The demuxer of each kind: chosen by us, so nothing in a file can choose another."""
_OPTIONS = {
    "mp3": {"id3v2_version": "0", "write_id3v1": "0"},
    "wav": {"write_bext": "0"},
}
_UNREAD = "cannot be read to its end"
_CUT = "is cut: bytes are missing at its end"
_COVER = 0x400  # AV_DISPOSITION_ATTACHED_PIC
CPU_SECONDS = 30
MEMORY = 4 * 2**30
"""Bytes of addresses that the process may take."""


class NotTaken(Exception):
    """A file that is not copied, with the reason as the end of a sentence."""


def copy(source: bytes, kind: str) -> tuple[dict[str, Any], bytes]:
    """Return what is known of a file, and its copy.

    Args:
        source: all of it.
        kind: mp4, mov, wav or mp3, by its content.

    Returns:
        `seconds`, `codec`, for pictures `rate` (frames a second); and the bytes that may leave.

    Raises:
        NotTaken: it is not whole, or has not what a clip or sound has.
        Exception: what FFmpeg makes of a file that it cannot read.
    """
    import av  # noqa: PLC0415  # slow to import, and an extra

    sound = kind in ("wav", "mp3")
    if not sound and mp4.read(Bytes(BytesIO(source), len(source))).cut:
        raise NotTaken(_CUT)
    if kind == "wav":
        alone = wav.sound_alone(source)
        if alone is None or int.from_bytes(source[4:8], "little") + 8 > len(source) + 1:
            raise NotTaken(_CUT)
        source = alone
    if kind == "mp3" and not (source := mp3.frames_alone(source)):
        raise NotTaken(_UNREAD)
    out = BytesIO()
    with av.open(BytesIO(source), "r", format=_FORMATS[kind]) as file:
        streams = _streams(file, sound=sound)
        _decode_one(file, streams)
        file.seek(0)
        options = {"fflags": "+bitexact", **_OPTIONS.get(kind, {})}
        with av.open(out, "w", format=kind, options=options) as target:
            seconds, rate = _remux(file, streams, target)
        codec = streams[0].codec_context.name
    data = out.getvalue()
    if not sound:
        length = mp4.read(Bytes(BytesIO(data), len(data))).seconds
        if length is None:
            raise NotTaken("does not tell for certain how long it is")
        seconds = length
    if seconds <= 0:
        raise NotTaken("has nothing in it")
    known = {"seconds": round(seconds, 3), "codec": codec.removesuffix("float")}
    return known | ({} if sound else {"rate": round(float(rate), 3)}), data


def _streams(file: Any, *, sound: bool) -> list[Any]:
    """Return what is copied: the pictures, if it has to have some, then one track of sound."""
    films = [s for s in file.streams.video if not int(getattr(s, "disposition", 0)) & _COVER]
    sounds = list(file.streams.audio)[:1]
    if sound and not sounds:
        raise NotTaken("has no sound in it")
    if not sound and not films:
        raise NotTaken("has no pictures in it")
    film = films[0] if not sound else None
    if film is not None and film.codec_context.width * film.codec_context.height > MOST_PIXELS:
        raise NotTaken(f"has frames of more than {MOST_PIXELS / 10**6:.0f} million pixels")
    return [film, *sounds] if film is not None else sounds


def _decode_one(file: Any, streams: list[Any]) -> None:
    """Make sure that something can be seen, or heard, in what is copied."""
    for stream in streams[:1]:
        stream.codec_context.thread_count = 1
        for packet in file.demux(stream):
            if packet.decode():
                return
    raise NotTaken("has nothing in it that can be decoded")


def _remux(file: Any, streams: list[Any], target: Any) -> tuple[float, Fraction]:
    """Copy the samples; return the seconds of the first stream, and its samples a second."""
    targets = {}
    for stream in streams:
        copied = target.add_stream_from_template(stream, opaque=True)
        copied.metadata.clear()
        targets[stream.index] = copied
    target.metadata.clear()
    first, count, seconds = streams[0].index, 0, Fraction(0)
    for packet in file.demux(streams):
        if packet.dts is None:
            continue
        if packet.stream.index == first:
            count += 1
            seconds += (packet.duration or 0) * packet.time_base
        packet.stream = targets[packet.stream.index]
        target.mux(packet)
    return float(seconds), Fraction(count) / seconds if seconds else Fraction(0)


def _limit() -> None:
    """Bound the process where the system can."""
    with suppress(ImportError, ValueError, OSError):
        resource = import_module("resource")
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main() -> None:
    """Copy what comes in; nothing goes out for what cannot be read."""
    _limit()
    try:
        known, data = copy(sys.stdin.buffer.read(), sys.argv[1])
    except NotTaken as why:
        known, data = {"refused": str(why)}, b""
    except Exception:  # noqa: BLE001  # hostile bytes make a demuxer raise anything
        known, data = {"refused": _UNREAD}, b""
    sys.stdout.buffer.write(json.dumps(known).encode() + b"\n")
    sys.stdout.buffer.write(data)


if __name__ == "__main__":
    main()
