"""Small pictures of results, and the length of a clip.

A decoder of hostile media may take seconds, gigabytes or the whole process, and some of Pillow's
hold the interpreter while they work. So `python -m meigen_mcp.previews` makes the pictures in a
process of its own; this module is all that it imports of ours.
"""

import logging
import math
import struct
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, TypeVar

if TYPE_CHECKING:
    from PIL.Image import Image  # slow to import

log = logging.getLogger(__name__)

LARGEST = 70_000
"""Bytes of a preview."""
LONGEST = 1024
"""Pixels of its longer side."""
MOST_PIXELS = 8192 * 8192
"""Pixels of an image that is opened; more is a bomb."""
MOST_FRAME_PIXELS = 4096 * 2304
FRAMES = 6
DECODE_SECONDS = 8.0
"""Seconds in which a clip is looked through; what was seen by then is shown."""
CPU_SECONDS = 30
MEMORY = 4 * 2**30
"""Bytes of addresses that the process may take; an image of MOST_PIXELS needs a quarter."""

_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")  # Pillow knows many more, and each is a way in
_GAP = 8
_DARK, _LIGHT, _WHITE = (22, 24, 29), (205, 205, 205), (255, 255, 255)
_SQUARE = 12
_MOST_BOXES = 10_000
_T = TypeVar("_T")


def video_extra() -> bool:
    """Say whether clips can be shown: PyAV comes with `meigen-mcp[video]`."""
    return find_spec("av") is not None


def of_images(paths: Sequence[Path | None]) -> bytes | None:
    """Return one picture of the images of a generation, or None if none can be shown.

    Several become one sheet, numbered by their places from 1; what is None or cannot be read is
    left out of it.

    Returns:
        A WebP, or a JPEG where Pillow has no WebP: LARGEST bytes at the most, no side over LONGEST,
        turned upright, without metadata; what is transparent shows a chequered ground.
    """
    side = _tile_side(len(paths))
    opened = [(str(number), _tried(_opened, path, side)) for number, path in enumerate(paths, 1)]
    tiles = [(label, image) for label, image in opened if image is not None]
    if not tiles:
        return None
    return _tried(_packed, tiles[0][1] if len(paths) == 1 else _sheet(tiles))


def of_video(path: Path) -> bytes | None:
    """Return the contact sheet of a clip: six frames from first to last, each with its time.

    Returns:
        A picture as that of `of_images`, with fewer frames where no more can be read in
        DECODE_SECONDS; None if there is not one.

    Raises:
        ImportError: PyAV is not installed.
    """
    import_module("av")
    tiles = _tried(_tiles, path, _tile_side(FRAMES))
    return _tried(_packed, _sheet(tiles)) if tiles else None


def _tried(make: Callable[..., _T], *arguments: Any) -> _T | None:
    """Return what a function makes of media from outside; decoders fail in every way there is."""
    try:
        return make(*arguments)
    except Exception:
        log.debug("no preview", exc_info=True)
        return None


# --- images -------------------------------------------------------------------------------------


def _opened(path: Path | None, side: int) -> "Image | None":
    """Return an image made small and upright, on an opaque ground."""
    from PIL import Image, ImageOps  # noqa: PLC0415  # slow to import

    if path is None:
        return None
    with Image.open(path, formats=_FORMATS) as image:
        if image.width * image.height > MOST_PIXELS:
            return None
        image.draft(None, (2 * side, 2 * side))  # a JPEG need not be decoded whole
        if image.mode == "I;16":
            small: Image.Image = image.point(lambda value: value / 256).convert("L")
        elif image.has_transparency_data and image.mode != "RGBA":
            small = image.convert("RGBA")
        elif image.mode not in ("RGB", "RGBA"):
            small = image.convert("RGB")
        else:
            small = image
        small.thumbnail((side, side))
        small = ImageOps.exif_transpose(small)
    flat = _chequered(small.size) if small.mode == "RGBA" else Image.new("RGB", small.size)
    flat.paste(small, mask=small if small.mode == "RGBA" else None)
    return flat


def _chequered(size: tuple[int, int]) -> "Image":
    from PIL import Image  # noqa: PLC0415  # slow to import

    ground = Image.new("RGB", size, _WHITE)
    for top in range(0, size[1], _SQUARE):
        for left in range(top % (2 * _SQUARE), size[0], 2 * _SQUARE):
            ground.paste(_LIGHT, (left, top, left + _SQUARE, top + _SQUARE))
    return ground


def _across(count: int) -> int:
    return math.ceil(math.sqrt(count))


def _tile_side(count: int) -> int:
    """Return the longest side of each of so many pictures on one sheet."""
    return (LONGEST - _GAP * (_across(count) - 1)) // max(1, _across(count))


def _sheet(tiles: "Sequence[tuple[str, Image]]") -> "Image":
    """Lay labelled pictures out in rows."""
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415  # slow to import

    across = _across(len(tiles))
    wide = max(image.width for _, image in tiles) + _GAP
    high = max(image.height for _, image in tiles) + _GAP
    rows = math.ceil(len(tiles) / across)
    sheet = Image.new("RGB", (across * wide - _GAP, rows * high - _GAP), _DARK)
    draw = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(20)
    for place, (label, image) in enumerate(tiles):
        left, top = place % across * wide, place // across * high
        sheet.paste(image, (left, top))
        box = (left + 4, top + 4, left + 16 + font.getlength(label), top + 30)
        draw.rounded_rectangle(box, 6, fill=_DARK)
        draw.text((left + 10, top + 5), label, fill=_WHITE, font=font)
    return sheet


def _packed(image: "Image") -> bytes:
    """Encode a picture within the limits: first at less quality, then smaller."""
    from PIL import features  # noqa: PLC0415  # slow to import

    kind = "WEBP" if features.check("webp") else "JPEG"
    while True:
        for quality in (80, 60, 40):
            out = BytesIO()
            image.save(out, kind, quality=quality)
            if out.tell() <= LARGEST:
                return out.getvalue()
        image.thumbnail((image.width * 3 // 4, image.height * 3 // 4))


# --- clips --------------------------------------------------------------------------------------


def _tiles(path: Path, side: int) -> "list[tuple[str, Image]]":
    """Return up to FRAMES frames of a clip, evenly apart, the first and the last among them."""
    import av  # noqa: PLC0415  # slow to import, and an extra

    tiles: list[tuple[str, Image]] = []
    last = None
    with path.open("rb") as file:
        matroska = file.read(4) == b"\x1a\x45\xdf\xa3"
        file.seek(0)
        # An open file in a format of our choice: nothing in it can make FFmpeg open another one.
        with av.open(file, "r", format="matroska" if matroska else "mov") as clip:
            stream = clip.streams.video[0]
            stream.codec_context.thread_count = 1  # leave the person the other ones
            stream.codec_context.options = {"max_pixels": str(MOST_FRAME_PIXELS)}
            length = float((stream.duration or 0) * (stream.time_base or 0))
            length = length or (clip.duration or 0) / av.time_base  # Matroska
            # To the end, without seeking: such clips often have a single key frame.
            for frame in _frames(clip, stream):
                last = frame
                if frame.time >= length * len(tiles) / (FRAMES - 1):
                    tiles.append(_tile(frame, side))
                    last = None
                if len(tiles) == FRAMES:
                    break
            if last is not None:
                tiles.append(_tile(last, side))
    return tiles


def _frames(clip: Any, stream: Any) -> Iterator[Any]:
    """Give the frames that have a time, until one cannot be read or the time is over."""
    import av  # noqa: PLC0415  # slow to import, and an extra

    until = time.monotonic() + DECODE_SECONDS
    with suppress(av.FFmpegError):
        for packet in clip.demux(stream):
            for frame in packet.decode():
                if frame.time is not None:
                    yield frame
            if time.monotonic() > until:
                return


def _tile(frame: Any, side: int) -> "tuple[str, Image]":
    scale = side / max(frame.width, frame.height)
    width, height = (max(1, round(scale * length)) for length in (frame.width, frame.height))
    image = frame.to_image(width=width, height=height)
    turned = image.rotate(getattr(frame, "rotation", 0), expand=True)  # from PyAV 14.2
    tenths = round(max(0.0, frame.time) * 10)
    return f"{tenths // 600}:{tenths % 600 / 10:04.1f}", turned


def seconds(path: Path) -> float | None:
    """Return the length of an MP4 or MOV file by its own header, or None where it says nothing.

    The header is the `mvhd` box in `moov` (ISO/IEC 14496-12, 8.2.2); it is read, not the frames.
    """
    with suppress(OSError, struct.error, StopIteration), path.open("rb") as file:
        start, end = 0, path.stat().st_size
        for wanted in (b"moov", b"mvhd"):
            boxes = _boxes(file, start, end)
            start, end = next(span for kind, *span in boxes if kind == wanted)
        file.seek(start)
        form = ">4xQQIQ" if file.read(1) == b"\x01" else ">4xIIII"
        file.seek(start)
        *_, scale, length = struct.unpack(form, file.read(min(struct.calcsize(form), end - start)))
        unknown = 2 ** (64 if "Q" in form else 32) - 1
        return length / scale if scale and 0 < length < unknown else None
    return None


def _boxes(file: BinaryIO, start: int, end: int) -> Iterator[tuple[bytes, int, int]]:
    """Yield kind, start and end of the content of each box in a span of the file."""
    for _ in range(_MOST_BOXES):
        file.seek(start)
        size, kind = struct.unpack(">I4s", file.read(8))
        content = start + 8
        if size == 1:
            (size,) = struct.unpack(">Q", file.read(8))
            content += 8
        after = start + size if size else end  # 0: to the end
        if not content <= after <= end:
            return
        yield kind, content, after
        start = after


# --- the process --------------------------------------------------------------------------------


def _limit() -> None:
    """Bound what this process may take; Windows leaves that to whoever waits for it."""
    with suppress(ImportError, ValueError, OSError):
        resource = import_module("resource")
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def main(medium: str, *paths: str) -> None:
    """Write the preview of these files to stdout, or nothing."""
    _limit()
    files = [Path(path) if path else None for path in paths]
    made = of_video(Path(paths[0])) if medium == "video" else of_images(files)
    sys.stdout.buffer.write(made or b"")


if __name__ == "__main__":
    main(*sys.argv[1:])

__all__ = ["LARGEST", "LONGEST", "of_images", "of_video", "seconds", "video_extra"]
