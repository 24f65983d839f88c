"""A large PNG looks as Pillow shows it, whoever decodes it."""

import random
import struct
import sys
import zlib
from collections.abc import Callable
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from media.test_metadata import chunk
from PIL import Image, ImageCms, PngImagePlugin

from meigen_mcp.media import large_pngs, previews
from meigen_mcp.media.drawn import Drawn

SIZE = (60, 40)
COLOURS = Image.frombytes("RGB", SIZE, random.Random(1).randbytes(7200))  # noqa: S311  # no secret


def saved(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a PNG, or another file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def built(
    rows: bytes, size: tuple[int, int] = SIZE, *, bits: int = 8, interlaced: bool = False
) -> bytes:
    """Return a PNG of red, green and blue with these filtered rows."""
    header = struct.pack(">IIBBBBB", *size, bits, 2, 0, 0, int(interlaced))
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def turned() -> Image.Exif:
    """Return the word that a picture stands on its side."""
    exif = Image.Exif()
    exif[274] = 6
    return exif


def after_pixels(png: bytes, kind: bytes, data: bytes) -> bytes:
    """Return a PNG with one more chunk before its end."""
    return png[:-12] + chunk(kind, data) + png[-12:]


def words() -> PngImagePlugin.PngInfo:
    """Return what may stand before the pixels."""
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "a fox")
    info.add_itxt("XML:com.adobe.xmp", "<x/>")
    return info


PLAIN = saved(COLOURS)
ROWS = b"".join(b"\0" + COLOURS.tobytes()[180 * y : 180 * y + 180] for y in range(40))
SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
BY_FFMPEG = {
    "plain": PLAIN,
    "by hand": built(ROWS),
    "with words": saved(COLOURS, pnginfo=words()),
    "with a profile": saved(COLOURS, icc_profile=SRGB),
    "with a gamma": PLAIN[:33] + chunk(b"gAMA", struct.pack(">I", 100000)) + PLAIN[33:],
    "turned": saved(COLOURS, exif=turned()),
    "with something after its end": PLAIN + b"more",
}
BY_PILLOW = {
    "grey": saved(COLOURS.convert("L")),
    "of a palette": saved(COLOURS.quantize(16)),
    "transparent": saved(COLOURS.convert("RGBA")),
    "with a clear colour": saved(COLOURS, transparency=COLOURS.getpixel((3, 3))),
    "16 bits": built((b"\0" + bytes(360)) * 40, bits=16),
    "moving": saved(COLOURS, save_all=True, append_images=[COLOURS.rotate(180)]),
    "interlaced": built(b"\0abc", (1, 1), interlaced=True),
    "turned after its pixels": after_pixels(PLAIN, b"eXIf", turned().tobytes()[6:]),
    "cut off": PLAIN[: len(PLAIN) // 2],
    "without its end": PLAIN[:-12],
    "with a row too few": built(ROWS[:-181]),
    "damaged": PLAIN[:2000] + bytes([PLAIN[2000] ^ 255]) + PLAIN[2001:],
    "a JPEG": saved(COLOURS, "JPEG"),
}


@pytest.fixture
def draw(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Drawn | None]:
    """Return what draws a file, from a size on by FFmpeg."""

    def drawn(data: bytes, large: int) -> Drawn | None:
        path = tmp_path / "medium"
        path.write_bytes(data)
        monkeypatch.setattr(large_pngs, "FROM_BYTES", large)
        return previews.of_images([path])

    return drawn


@pytest.mark.parametrize("what", [*BY_FFMPEG, *BY_PILLOW])
def test_a_preview_is_the_same_whoever_decodes(what: str, draw: Callable[..., Any]) -> None:
    """To the last bit, and one that cannot be read has none."""
    data = (BY_FFMPEG | BY_PILLOW)[what]
    assert draw(data, 0) == draw(data, len(data) + 1)


@pytest.mark.parametrize("what", [*BY_FFMPEG, *BY_PILLOW])
def test_what_is_plain_is_decoded_by_ffmpeg(
    what: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The rest is left to Pillow, which knows more of it."""
    path = tmp_path / "medium"
    path.write_bytes((BY_FFMPEG | BY_PILLOW)[what])
    monkeypatch.setattr(large_pngs, "FROM_BYTES", 0)
    with Image.open(path) as opened:
        found = large_pngs.pixels_of(path, opened)
    assert (found is not None) == (what in BY_FFMPEG)


def test_without_pyav_pillow_decodes_all(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is an extra."""
    path = tmp_path / "medium"
    path.write_bytes(PLAIN)
    monkeypatch.setattr(large_pngs, "FROM_BYTES", 0)
    monkeypatch.setitem(sys.modules, "av", None)
    with Image.open(path) as opened:
        assert large_pngs.pixels_of(path, opened) is None
