"""The pictures and clips the sandbox serves: real media, made in a moment.

The clips in `clips/` are 48 frames of a moving ball, encoded once by `tests/tools/make_clips.py`
(x264, H.264 constrained baseline, yuv420p, no audio, `moov` before `mdat`, no edit list). A longer
or shorter clip is the same 48 frames shown for a longer or shorter time: only the numbers in its
time tables change, so no encoder is needed and every byte offset in the file stays right.
"""

import colorsys
import hashlib
import math
import struct
import textwrap
from collections.abc import Callable, Iterator
from io import BytesIO
from pathlib import Path

_CLIPS = Path(__file__).with_name("clips")
PARTS = 5
"""Clips of each ratio. Each begins as the one before ends, and after the last comes the second."""
_CLIP_RATIOS = ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9")
_CLASSES = {"1K": 1, "2K": 2, "3K": 3, "4K": 4}
_MIN_SIDE, _MAX_SIDE = 64, 8192

# A picture has one byte per pixel: the lower palette half runs from one background colour to the
# other, the upper half from the text panel to white. A third of the work of RGB at 4K.
_PANEL, _WHITE = 128, 255


def image_size(ratio: str, resolution: str) -> tuple[int, int]:
    """Return the width and height in pixels of a picture.

    Args:
        ratio: Aspect ratio "W:H", two positive whole numbers.
        resolution: "1K" to "4K", an area of about (1024 * k)² pixels; anything else counts as "1K".

    Returns:
        Multiples of 8 from 64 to 8192; only an extreme ratio is bent to stay within them.
    """
    root = math.sqrt(_aspect(ratio))
    side = min(1024 * _CLASSES.get(resolution, 1), _MAX_SIDE / max(root, 1 / root))
    width, height = (max(_MIN_SIDE, 8 * round(x / 8)) for x in (side * root, side / root))
    return width, height


def render_image(
    *, model: str, prompt: str, ratio: str, resolution: str, seed: str, label: str = ""
) -> bytes:
    """Draw a PNG that says what was asked for; the same arguments give the same bytes.

    Args:
        model: Name of the model, the first line of the text.
        prompt: Any text; wrapped, and cut to what fits.
        ratio: Aspect ratio "W:H".
        resolution: Resolution class; the size is that of `image_size(ratio, resolution)`.
        seed: Decides the background, and nothing else.
        label: Last line of the text, such as "candidate 2 of 4".
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  # slow to import, and only for pictures

    width, height = image_size(ratio, resolution)
    noise = hashlib.sha256(seed.encode("utf-8", "replace")).digest()
    # Bicubic curves overshoot: keep away from the ends of the lower palette half.
    tiny = Image.frombytes("L", (3, 3), bytes(24 + value % 80 for value in noise[:9]))
    image = tiny.resize((width, height), Image.Resampling.BICUBIC)

    size = max(10, min(width, height) // 24)
    pad, step = size // 2, size * 5 // 4
    font = ImageFont.load_default(size)
    rows = max(4, (height - 4 * pad) // step)
    facts = f"{ratio}  {resolution}  {width} x {height}"
    lines: list[str] = []
    for text, most in ((model, 3), (prompt, min(rows - 3, 8)), (facts, 3), (label, 3)):
        lines += _wrap(text, most, width - 4 * pad, font.getlength)

    draw = ImageDraw.Draw(image)
    top = max(0, height - 3 * pad - step * len(lines))
    panel = (pad, top, width - pad - 1, height - pad - 1)
    draw.rounded_rectangle(panel, radius=pad, fill=_PANEL)
    for row, line in enumerate(lines):
        draw.text((2 * pad, top + pad + row * step), line, fill=_WHITE, font=font)

    image.putpalette(_palette(hue=noise[9] / 256, shift=0.1 + noise[10] / 640))
    out = BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def render_clip(*, ratio: str, seconds: float, part: int = 0) -> bytes:
    """Return a silent H.264 MP4 that plays for exactly the time asked.

    Args:
        ratio: Aspect ratio "W:H"; the nearest clip there is stands in for it.
        part: Which of the clips, from 0 to `PARTS` - 1.
        seconds: Playing time, meant for 0.5 to 60; exact to the millisecond.
    """
    asked = math.log(_aspect(ratio))
    nearest = min(_CLIP_RATIOS, key=lambda have: abs(math.log(_aspect(have)) - asked))
    clip = bytearray((_CLIPS / f"{nearest.replace(':', 'x')}-{part}.mp4").read_bytes())
    mvhd, track = _inside(clip, b"moov", b"mvhd"), (b"moov", b"trak")
    tkhd, mdhd = _inside(clip, *track, b"tkhd"), _inside(clip, *track, b"mdia", b"mdhd")
    stts = _inside(clip, *track, b"mdia", b"minf", b"stbl", b"stts")

    # All frames share one `stts` entry. With a timescale of 1000 ticks per frame, showing each for
    # as many ticks as the clip has milliseconds adds up without a remainder.
    (frames,) = struct.unpack_from(">I", clip, stts + 8)
    milliseconds = max(1, round(seconds * 1000))
    for header in (mvhd, mdhd):
        struct.pack_into(">II", clip, header + 12, frames * 1000, frames * milliseconds)
    struct.pack_into(">I", clip, tkhd + 20, frames * milliseconds)
    struct.pack_into(">I", clip, stts + 12, milliseconds)
    return bytes(clip)


def clip_seconds(data: bytes) -> float | None:
    """Return the playing time in seconds of an MP4 of ours, or None if it is not an MP4."""
    try:
        timescale, duration = struct.unpack_from(">II", data, _inside(data, b"moov", b"mvhd") + 12)
    except (LookupError, struct.error):
        return None
    return duration / timescale if timescale else None


def _aspect(ratio: str) -> float:
    """Return width divided by height of "W:H"."""
    width, height = (int(side) for side in ratio.split(":"))
    return width / height


def _wrap(text: str, most: int, width: float, measure: Callable[[str], float]) -> list[str]:
    """Break text into at most so many lines of a width in pixels; an ellipsis marks a cut."""
    text = "".join(c if c.isprintable() else " " for c in text[:1000]).strip()
    columns = 120
    while True:
        lines = textwrap.wrap(text, columns, max_lines=most, placeholder="...")
        # Letters differ in width: narrow the lines until the widest one fits.
        excess = max(map(measure, lines), default=0) / width
        if excess <= 1 or columns == 4:
            return lines
        columns = max(4, min(columns - 1, int(columns / excess)))


def _palette(*, hue: float, shift: float) -> bytes:
    """Return 256 RGB colours: the two-colour gradient, then the ramp from panel to white."""
    first, last = colorsys.hsv_to_rgb(hue, 0.5, 1.0), colorsys.hsv_to_rgb(hue + shift, 0.8, 0.3)
    ramps = ((first, last), ((0.09, 0.1, 0.14), (1.0, 1.0, 1.0)))
    return bytes(
        round(255 * (a + (b - a) * index / 127))
        for start, end in ramps
        for index in range(128)
        for a, b in zip(start, end, strict=True)
    )


def _boxes(data: bytes | bytearray, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield the type, first content byte and end of each ISO-BMFF box in a span of the file."""
    while start + 8 <= end:
        size, kind = struct.unpack_from(">I4s", data, start)
        if size < 8 or start + size > end:  # 64-bit and open-ended boxes are not ours
            return
        yield kind, start + 8, start + size
        start += size


def _inside(data: bytes | bytearray, *path: bytes) -> int:
    """Return where the content of the first box at a path starts; LookupError if none does."""
    start, end = 0, len(data)
    for wanted in path:
        found = next((box for box in _boxes(data, start, end) if box[0] == wanted), None)
        if found is None:
            raise LookupError(f"no {wanted!r} box")
        _, start, end = found
    return start
