"""The frames of a clip as they are shown: when, upright, in their shape and colours (PyAV).

Of ours it imports only `colours` and `pixels`, since the process that makes pictures does without
the rest. PyAV is an extra.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from meigen_mcp.media import colours, pixels

if TYPE_CHECKING:
    from PIL.Image import Image  # slow to import

MOST_FRAME_PIXELS = 4096 * 2304
DECODE_SECONDS = 8.0
"""Seconds in which a clip is looked through; what was seen by then is shown."""
SCAN_SECONDS = 4.0
"""Seconds in which the times of a clip's frames are read, which decodes none."""
_HD_LINES = 720
"""From so many lines on, browsers take a clip without colour tags for BT.709, below for BT.601."""
_BT709, _BT601, _UNSAID = 1, 5, (2, 3)
"""How FFmpeg's scaler and its frames call matrices."""
_EXACTLY = 0x2 | 0x2000 | 0x40000
"""FFmpeg's scaler, bilinear, with all of the colour and right rounding: else reds are 3 too low."""
_ALPHA = {"vp8": "libvpx", "vp9": "libvpx-vp9"}
"""Decoders that know of transparency; those of FFmpeg itself do not."""


@dataclass(frozen=True, slots=True)
class Span:
    """Which stream holds the pictures, and from when to when they are shown, in seconds.

    Attributes:
        last: when the last one begins.
        end: when it ends.
    """

    stream: int
    first: float
    last: float
    end: float


def span(path: Path) -> Span:
    """Find the pictures of a clip by the times of its packets; headers may lie or say nothing.

    A file may have a cover, or a still, before its film: the stream with the most packets counts.

    Raises:
        Exception: what FFmpeg makes of a file that it cannot read.
    """
    times: dict[int, list[tuple[float, float]]] = {}
    until = time.monotonic() + SCAN_SECONDS
    with _opened(path) as clip:
        films = [s for s in clip.streams.video if not _is_cover(s)] or clip.streams.video[:1]
        for packet in clip.demux(films):
            if packet.pts is not None and packet.time_base is not None and not packet.is_discard:
                start = float(packet.pts * packet.time_base)
                lasts = float((packet.duration or 0) * packet.time_base)
                times.setdefault(packet.stream.index, []).append((start, start + lasts))
            if time.monotonic() > until:
                break
    stream, shown = max(times.items(), key=lambda item: len(item[1]))
    shown.sort()
    lasts = max(end for _, end in shown)
    if lasts <= shown[-1][0] and len(shown) > 1:  # as long as the one before it
        lasts = 2 * shown[-1][0] - shown[-2][0]
    return Span(stream, shown[0][0], shown[-1][0], lasts)


def _is_cover(stream: Any) -> bool:
    return bool(int(getattr(stream, "disposition", 0)) & 0x400)  # AV_DISPOSITION_ATTACHED_PIC


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open a clip in a format of our choice: nothing in it can make FFmpeg open another file."""
    import av  # noqa: PLC0415  # slow to import, and an extra

    with path.open("rb") as file:
        matroska = file.read(4) == b"\x1a\x45\xdf\xa3"
        file.seek(0)
        with av.open(file, "r", format="matroska" if matroska else "mov") as clip:
            yield clip


def frames(path: Path, shown: Span, since: float | None = None) -> Iterator["Frame"]:
    """Give the frames in the order in which they are shown.

    It ends with the last, with one that cannot be read, or after DECODE_SECONDS.

    Args:
        path: the clip.
        shown: what `span` said of it.
        since: from the nearest one before this time on from which decoding can begin.
    """
    import av  # noqa: PLC0415  # slow to import, and an extra

    until = time.monotonic() + DECODE_SECONDS
    with _opened(path) as clip, suppress(av.FFmpegError):
        (stream,) = [s for s in clip.streams.video if s.index == shown.stream]
        decoder = _decoder(stream)
        ratio = float(stream.sample_aspect_ratio or 1)
        if since is not None:
            clip.seek(int(since / stream.time_base), stream=stream)
        for packet in clip.demux(stream):
            for frame in decoder.decode(packet):
                if frame.pts is not None:
                    yield Frame(frame, float(frame.pts * stream.time_base), ratio)
            if time.monotonic() > until:
                return


def _decoder(stream: Any) -> Any:
    import av  # noqa: PLC0415  # slow to import, and an extra

    decoder = stream.codec_context
    name = _ALPHA.get(decoder.name)
    if name is not None and stream.metadata.get("alpha_mode") == "1":
        with suppress(av.FFmpegError, ValueError):
            other = av.CodecContext.create(name, "r")
            other.extradata = decoder.extradata
            decoder = other
    decoder.thread_count = 1  # leave the person the other ones
    decoder.options = {"max_pixels": str(MOST_FRAME_PIXELS)}
    return decoder


class Frame:
    """One frame.

    Args:
        frame: PyAV's.
        time: when it is shown, in seconds.
        ratio: how much wider than high its pixels are.
    """

    def __init__(self, frame: Any, time: float, ratio: float) -> None:
        self.time = time
        self._frame = frame
        self._ratio = ratio if 0.05 < ratio < 20 else 1.0

    def picture(self, side: int | None = None) -> "Image":
        """Return it upright, in its shape, in sRGB; with transparency as RGBA.

        Args:
            side: how long its longer side becomes; by default no pixel is added or lost but for a
                clip whose pixels are no squares.
        """
        from PIL import Image  # noqa: PLC0415  # slow to import

        width, height = self._frame.width * max(1.0, self._ratio), float(self._frame.height)
        height /= min(1.0, self._ratio)
        scale = side / max(width, height) if side else 1.0
        size = {
            "width": max(1, round(scale * width)),
            "height": max(1, round(scale * height)),
        }
        if "a" in self._frame.format.name.removeprefix("gray"):  # yuva420p, rgba, ya8
            rgba = self._frame.reformat(format="rgba", **size, **self._colours())
            plane = rgba.planes[0]
            image = Image.frombuffer(
                "RGBA", (rgba.width, rgba.height), bytes(plane), "raw", "RGBA", plane.line_size, 1
            )
        else:
            image = self._frame.to_image(**size, **self._colours())
        profile = colours.profile(int(self._frame.color_primaries), int(self._frame.color_trc))
        if profile is not None:
            image = pixels.in_srgb(image, profile)
        turned: Image.Image = image.rotate(getattr(self._frame, "rotation", 0), expand=True)
        return turned

    def _colours(self) -> dict[str, int]:
        """Say how the numbers of the frame are meant: by its tags, else as browsers do."""
        frame, how = self._frame, {"interpolation": _EXACTLY}
        if frame.colorspace not in _UNSAID or frame.format.name.startswith(("rgb", "gbr", "bgr")):
            return how
        matrix = _BT709 if frame.height >= _HD_LINES else _BT601
        matrix = colours.BT2020 if colours.is_hdr(int(frame.color_trc)) else matrix
        return {**how, "src_colorspace": matrix, "dst_colorspace": matrix}


def last(path: Path) -> Frame | None:
    """Return the last frame that is shown, or None where it cannot be reached.

    Seeking to its time and decoding to the end is exact also with held frames and open groups.
    """
    shown = span(path)
    found = None
    for since in (shown.last, None):
        for frame in frames(path, shown, since):
            if found is None or frame.time >= found.time:
                found = frame
        if found is not None and found.time >= shown.last - 0.001:
            return found
    return None
