"""Small pictures of results.

A decoder of hostile media may take seconds, gigabytes or the whole process, and some of Pillow's
hold the interpreter while they work. So `python -m meigen_mcp.media.previews` makes the pictures
in a process of its own; besides this module it imports only `pixels`, `frames`, `large_pngs`,
`colours`, `fitting` and `drawn` of ours. To start Python and Pillow takes longer than to draw:
`... previews serve` has both ready, and forks.
"""

import json
import logging
import math
import os
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from importlib import import_module
from importlib.util import find_spec
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from meigen_mcp.media import colours, large_pngs, pixels
from meigen_mcp.media.drawn import Drawn
from meigen_mcp.media.fitting import LARGEST, fit

if TYPE_CHECKING:
    from PIL.Image import Image  # slow to import

    from meigen_mcp.media.frames import Frame

log = logging.getLogger(__name__)

LONGEST = 1024
"""Pixels of its longer side."""
MOST_PIXELS = 8192 * 8192
"""Pixels of an image that is opened; more is a bomb."""
FRAMES = 6
CPU_SECONDS = 30
MEMORY = 4 * 2**30
"""Bytes of addresses that the process may take; an image of MOST_PIXELS needs a quarter."""
IDLE_SECONDS = 30.0
"""How long what forks stays ready after it was asked last."""

_REDUCING_GAP = 1.25  # of 4K: a third of the time of 2.0, which is Pillow's, and as alike to 0.01
_FORMATS = ("PNG", "JPEG", "WEBP", "GIF", "AVIF")  # Pillow knows many more, and each is a way in
_GAP = 8
_DARK, _LIGHT, _WHITE = (22, 24, 29), (205, 205, 205), (255, 255, 255)
_SQUARE = 12
_T = TypeVar("_T")


def video_extra() -> bool:
    """Say whether clips can be shown: PyAV comes with `meigen-mcp[video]`."""
    return find_spec("av") is not None


def of_images(paths: Sequence[Path | None]) -> Drawn | None:
    """Return one picture of the images of a generation, or None if none can be shown.

    Several become one sheet, numbered by their places from 1; what is None or cannot be read is
    left out of it, and its place told.

    Returns:
        A JPEG, which everybody can read, or a WebP where that is visibly better: LARGEST bytes at
        the most, no side over LONGEST, upright, in sRGB, without metadata; what is transparent
        shows a chequered ground.
    """
    side = _tile_side(len(paths))
    opened = {number: _try(_open_upright, path, side) for number, path in enumerate(paths, 1)}
    tiles = [(str(number), image) for number, image in opened.items() if image is not None]
    if not tiles:
        return None
    packed = _try(fit, tiles[0][1] if len(paths) == 1 else _sheet(tiles))
    left_out = tuple(number for number, image in opened.items() if image is None)
    return Drawn(packed, left_out) if packed else None


def of_video(path: Path) -> Drawn | None:
    """Return the contact sheet of a clip: six frames from first to last, each with its time.

    Returns:
        A picture as that of `of_images`, with fewer frames where no more can be read in the
        seconds of `frames`, and then told so; None if there is not one.

    Raises:
        ImportError: PyAV is not installed.
    """
    import_module("av")
    made = _try(_tiles, path, _tile_side(FRAMES))
    tiles, to_the_end = made or ([], False)
    packed = _try(fit, _sheet(tiles)) if tiles else None
    return Drawn(packed, () if to_the_end else (FRAMES,)) if packed else None


def _try(make: Callable[..., _T], *arguments: Any) -> _T | None:
    """Return what a function makes of media from outside; decoders fail in every way there is."""
    try:
        return make(*arguments)
    except Exception:
        log.debug("no preview", exc_info=True)
        return None


def last_frame(path: Path) -> bytes | None:
    """Return the last frame of a clip as it is shown, as a PNG, or None if it cannot be read.

    Raises:
        ImportError: PyAV is not installed.
    """
    import_module("av")
    from meigen_mcp.media import frames  # noqa: PLC0415  # pictures do without

    frame = _try(frames.last, path)
    return None if frame is None else _try(_as_png, frame)


def _as_png(frame: "Frame") -> bytes:
    out = BytesIO()
    frame.picture().save(out, "PNG", compress_level=1)
    return out.getvalue()


# --- images -------------------------------------------------------------------------------------


def _open_upright(path: Path | None, side: int) -> "Image | None":
    """Return an image made small, upright and in sRGB, on an opaque ground."""
    from PIL import Image  # noqa: PLC0415  # slow to import

    if path is None:
        return None
    with Image.open(path, formats=_FORMATS) as lazy:
        if lazy.width * lazy.height > MOST_PIXELS:
            return None
        lazy.draft(None, (2 * side, 2 * side))  # a JPEG need not be decoded whole
        image: Image.Image = large_pngs.pixels_of(path, lazy) or lazy
        image.load()  # Pillow tells once that pixels are damaged, and whoever reads EXIF hears it
        with path.open("rb") as file:
            profile = colours.of_picture(file, image.info.get("icc_profile"))
        turn = pixels.turn_upright(image)
        small = pixels.as_eight_bits(image)
        mode = "RGBA" if small.has_transparency_data else "RGB"
        # A profile is of the colours that are there, so grey and ink are converted by it first.
        ready = (mode,) if mode == "RGBA" else (mode, "L", "CMYK") if profile else (mode, "L")
        if small.mode not in ready:  # what is small is converted sooner, and even a copy takes time
            small = small.convert(mode)
        small.thumbnail((side, side), reducing_gap=_REDUCING_GAP)
        if profile:
            small = pixels.in_srgb(small, profile)
        small = small.convert(mode)
    return _on_ground(small if turn is None else small.transpose(turn))


def _on_ground(image: "Image") -> "Image":
    """Return a picture without transparency: what is behind it is chequered."""
    from PIL import Image  # noqa: PLC0415  # slow to import

    if image.mode != "RGBA":
        flat = Image.new("RGB", image.size)
        flat.paste(image)
        return flat
    flat = _chequer(image.size)
    flat.paste(image, mask=image)
    return flat


def _chequer(size: tuple[int, int]) -> "Image":
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


# --- clips --------------------------------------------------------------------------------------


def _tiles(path: Path, side: int) -> "tuple[list[tuple[str, Image]], bool]":
    """Return up to FRAMES frames of a clip, evenly apart, the first and the last among them.

    Returns:
        The frames with their times, and whether they reach to the end.
    """
    from meigen_mcp.media import frames  # noqa: PLC0415  # pictures do without

    shown = frames.span(path)
    step = (shown.end - shown.first) / (FRAMES - 1)
    tiles: list[tuple[str, Image]] = []
    last, until = None, shown.first
    # To the end, without seeking: such clips often have a single key frame.
    for frame in frames.frames(path, shown):
        last, until = frame, max(until, frame.time)
        if len(tiles) < FRAMES - 1 and frame.time >= shown.first + step * len(tiles):
            tiles.append(_tile(frame, side))
            last = None
    if last is not None:
        tiles.append(_tile(last, side))
    return tiles, until >= shown.last - step / 2


def _tile(frame: "Frame", side: int) -> "tuple[str, Image]":
    tenths = round(max(0.0, frame.time) * 10)
    label = f"{tenths // 600}:{tenths % 600 / 10:04.1f}"
    return label, _on_ground(frame.picture(side))


# --- the process --------------------------------------------------------------------------------


def _limit() -> None:
    """Bound what this process may take; Windows leaves that to whoever waits for it."""
    with suppress(ImportError, ValueError, OSError):
        resource = import_module("resource")
        resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
        resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))


def draw(medium: str, *paths: str) -> bytes:
    """Return the preview of these files as `Drawn` is written, or the last frame of one.

    It is empty if there is none.
    """
    _limit()
    match medium:
        case "video":
            made = of_video(Path(paths[0]))
        case "last":
            return last_frame(Path(paths[0])) or b""
        case _:
            made = of_images([Path(path) if path else None for path in paths])
    return made.written() if made else b""


def serve() -> None:
    """Draw for whoever asks on stdin, each time in a process that is forked.

    A request is a line: the arguments of `draw` as a JSON list. An answer is a line with the count
    of bytes, then the bytes: none where nothing could be drawn, or the process died. It ends with
    stdin, or when it is idle for long.
    """
    from select import select  # noqa: PLC0415  # Windows has none for pipes

    from PIL import Image, ImageMath, WebPImagePlugin  # noqa: F401, PLC0415  # what takes long

    Image.preinit()
    while select([sys.stdin], [], [], IDLE_SECONDS)[0] and (line := sys.stdin.buffer.readline()):
        asked = json.loads(line)
        _get_ready(*asked)
        made = _forked(asked)
        sys.stdout.buffer.write(b"%d\n%b" % (len(made), made))
        sys.stdout.buffer.flush()


def _get_ready(medium: str, *paths: str) -> None:
    """Import PyAV once where it will be used, and not in each process that is forked."""
    with suppress(ImportError, OSError):
        if medium != "image" or any(large_pngs.is_large(Path(path)) for path in paths if path):
            import_module("av")


def _forked(asked: Sequence[str]) -> bytes:
    """Draw in a process that is forked; empty if it dies."""
    reading, writing = os.pipe()
    if (child := os.fork()) == 0:  # pragma: no cover  # it ends without a word to coverage
        status = 1
        try:
            os.close(reading)
            with os.fdopen(writing, "wb") as out:
                out.write(draw(*asked))
            status = 0
        finally:
            os._exit(status)
    os.close(writing)
    with os.fdopen(reading, "rb") as answer:
        made = answer.read()
    return made if os.waitpid(child, 0)[1] == 0 else b""


if __name__ == "__main__":
    if sys.argv[1:] == ["serve"]:
        serve()
    else:
        sys.stdout.buffer.write(draw(*sys.argv[1:]))

__all__ = ["LARGEST", "LONGEST", "last_frame", "of_images", "of_video", "video_extra"]
