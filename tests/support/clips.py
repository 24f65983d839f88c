"""Clips of every kind, made on the spot: a bar that grows by one step with every frame."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
from PIL import Image, ImageChops, ImageDraw

RATE = 24
FRAMES = 48
SIZE = (96, 64)
FAST = {"preset": "ultrafast", "g": "24"}
B_FRAMES = {"preset": "medium", "g": "24", "bf": "2"}
VPX = {"deadline": "realtime", "cpu-used": "8", "g": "24"}
"""Options of encoders."""
_TICKS = 240
"""Ticks a second: ten a frame, and fine enough for held frames."""


@dataclass(frozen=True)
class Clip:
    """How a clip is written.

    Attributes:
        container: FFmpeg's name of the muxer.
        codec: FFmpeg's name of the encoder.
        options: of the encoder.
        muxer: options of the muxer.
        tags: attributes of the codec context: colours.
        times: when each frame is shown, in frames; by default one after the other.
        sound: seconds of sound, and its encoder.
    """

    container: str
    codec: str
    options: Mapping[str, str] = field(default_factory=dict)
    muxer: Mapping[str, str] = field(default_factory=dict)
    tags: Mapping[str, Any] = field(default_factory=dict)
    times: Sequence[int] = tuple(range(FRAMES))
    sound: tuple[float, str] | None = None
    pix_fmt: str = "yuv420p"
    size: tuple[int, int] = SIZE
    colour: str = "red"
    ratio: Fraction | None = None


def frame(index: int, size: tuple[int, int] = SIZE, colour: str = "red") -> Image.Image:
    """Draw a frame: its number is how far the bar reaches."""
    image = Image.new("RGB", size, colour)
    reach = size[0] * (index + 1) // FRAMES
    ImageDraw.Draw(image).rectangle((0, size[1] // 2, reach, size[1]), fill="white")
    return image


def write(clip: Clip, path: Path) -> Path:
    """Encode a clip into a file."""
    with av.open(str(path), "w", format=clip.container, options=dict(clip.muxer)) as target:
        sounds = _add_sound(target, *clip.sound) if clip.sound else iter(())
        if not clip.times:
            for packets in sounds:
                target.mux(packets)
            return path
        stream: Any = target.add_stream(clip.codec, rate=RATE, options=dict(clip.options))
        stream.width, stream.height = clip.size
        stream.pix_fmt = clip.pix_fmt
        stream.codec_context.thread_count = 1
        stream.time_base = stream.codec_context.time_base = Fraction(1, _TICKS)
        if clip.ratio is not None:
            stream.codec_context.sample_aspect_ratio = clip.ratio
        for name, value in clip.tags.items():
            setattr(stream.codec_context, name, value)
        for index, time in enumerate(clip.times):
            picture = av.VideoFrame.from_image(frame(index, clip.size, clip.colour))  # type: ignore[no-untyped-call]
            picture.pts = time * _TICKS // RATE
            picture.time_base = Fraction(1, _TICKS)
            picture.duration = _TICKS // RATE
            target.mux(stream.encode(picture))
            for packets in sounds:
                target.mux(packets)
                if packets and packets[-1].pts * packets[-1].time_base > time / RATE:
                    break
        target.mux(stream.encode())
        for packets in sounds:
            target.mux(packets)
    return path


def _add_sound(target: Any, seconds: float, codec: str) -> Iterator[Any]:
    """Add a silent track, and return its packets, some at a time."""
    stream = target.add_stream(codec, rate=48_000, layout="mono")
    size = stream.codec_context.frame_size or 1024

    def packets() -> Iterator[Any]:
        for index in range(round(seconds * 48_000 / size)):
            silence = av.AudioFrame(
                format=stream.codec_context.format.name, layout="mono", samples=size
            )
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            silence.pts, silence.sample_rate = index * size, 48_000
            silence.time_base = Fraction(1, 48_000)
            yield stream.encode(silence)
        yield stream.encode(None)

    return packets()


def decode(path: Path) -> tuple[float, list[float]]:
    """Return length and frame times of a clip by decoding all of it."""
    with av.open(str(path)) as clip:
        times: list[tuple[float, float]] = []
        for shown in clip.decode(video=0):
            assert shown.time is not None
            base = float(shown.time_base or 0)
            times.append((shown.time, float(shown.duration or 0) * base))
    times.sort()
    start = times[0][0]
    return max(time + lasts for time, lasts in times) - start, [time for time, _ in times]


def starting_with(picture: Image.Image, clip: Clip, count: int = 6) -> bytes:
    """Encode a clip that begins with a picture, which then moves to the right."""
    size = (picture.width // 2 * 2, picture.height // 2 * 2)
    out = BytesIO()
    with av.open(out, "w", format=clip.container) as target:
        stream: Any = target.add_stream(clip.codec, rate=RATE, options=dict(clip.options))
        (stream.width, stream.height), stream.pix_fmt = size, clip.pix_fmt
        for index in range(count):
            shown = ImageChops.offset(picture.crop((0, 0, *size)), index, 0)
            made: Any = av.VideoFrame.from_image(shown)  # type: ignore[no-untyped-call]
            target.mux(stream.encode(made))
        target.mux(stream.encode())
    return out.getvalue()


def first_frame(path: Path) -> Image.Image:
    """Return the first frame of a clip, by PyAV alone."""
    with av.open(str(path)) as clip:
        frame: Any = next(clip.decode(video=0))
        image: Image.Image = frame.to_image()
        return image
