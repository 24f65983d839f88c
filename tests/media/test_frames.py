"""The frames of a clip as they are shown: which, when, upright, in their shape and colours."""

import math
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from media.test_clips import EMPTY, FRAGMENTS, HELD, LATE, MP4_WAYS, WEBM_WAYS
from media.test_previews import CLIP, TRACK, inside, labels, opened, process, put
from PIL import Image, ImageChops, ImageStat
from support.clips import B_FRAMES, FRAMES, RATE, SIZE, VPX, Clip, frame, write

from meigen_mcp.media import frames, previews
from meigen_mcp.media.previews import last_frame, of_video

__all__ = ["labels"]  # a fixture

LOSSLESS = {"qp": "0", "bf": "2", "g": "24", "preset": "medium"}
EXACT = Clip("mp4", "libx264", LOSSLESS, pix_fmt="yuv444p")


def psnr(one: Image.Image, two: Image.Image) -> float:
    """Return how alike two pictures are, in decibels."""
    assert one.size == two.size
    error = sum(ImageStat.Stat(ImageChops.difference(one, two)).sum2) / (3 * one.width * one.height)
    return 99.0 if error == 0 else 10 * math.log10(255 * 255 / error)


ONE_KEY = {**LOSSLESS, "g": "999"}
OPEN = {**LOSSLESS, "x264-params": "open-gop=1"}
EXACT_VP9 = Clip("webm", "libvpx-vp9", {**VPX, "lossless": "1"}, pix_fmt="yuv444p")
WAYS: Mapping[str, Clip] = {
    **{f"MP4 {way}": replace(EXACT, muxer=muxer) for way, muxer in MP4_WAYS.items()},
    **{f"WebM {way}": replace(EXACT_VP9, muxer=muxer) for way, muxer in WEBM_WAYS.items()},
    "MP4 held": replace(EXACT, times=HELD),
    "MP4 held, fragments": replace(EXACT, times=HELD, muxer={"movflags": EMPTY}),
    "WebM held, live": replace(EXACT_VP9, times=HELD, muxer={"live": "1"}),
    "MP4 late": replace(EXACT, times=LATE),
    "MP4 one key frame": replace(EXACT, options=ONE_KEY),
    "MP4 open groups": replace(EXACT, options=OPEN),
    "MP4 with sound": replace(EXACT, sound=(3.0, "aac")),
    "MOV": replace(EXACT, container="mov", muxer={"movflags": FRAGMENTS}),
    "Matroska": Clip("matroska", "ffv1", pix_fmt="yuv444p"),
}


@pytest.mark.parametrize("name", WAYS)
def test_the_last_frame_that_is_shown_is_found(name: str, tmp_path: Path) -> None:
    """And no other one: they differ by a step of the bar."""
    clip = WAYS[name]
    path = write(clip, tmp_path / "clip")
    data = last_frame(path)
    assert data is not None
    with Image.open(BytesIO(data)) as found:
        assert found.format == "PNG"
        shown = found.convert("RGB")
    count = len(clip.times)
    alike = [psnr(shown, frame(index)) for index in range(count - 2, count)]
    assert alike[1] > 40
    assert alike[0] < alike[1]


def test_a_clip_that_cannot_be_read_has_no_last_frame(tmp_path: Path) -> None:
    """Nor has one of which the end is missing."""
    assert last_frame(put(tmp_path, b"no clip")) is None
    assert last_frame(put(tmp_path, CLIP[: len(CLIP) // 2])) is None


# --- the sheet ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("clip", "times"),
    [
        (replace(EXACT_VP9, muxer={"live": "1"}), "0.0 0.4 0.8 1.2 1.6 2.0"),
        (replace(EXACT, times=HELD), "0.0 0.5 1.2 2.5"),
        (replace(EXACT, times=LATE), "0.5 0.9 1.3 1.7 2.1 2.5"),
        (replace(EXACT, muxer={"movflags": FRAGMENTS}), "0.0 0.4 0.8 1.2 1.6 2.0"),
    ],
    ids=["live", "held", "late", "fragments"],
)
def test_a_sheet_goes_from_the_first_to_the_last_frame(
    clip: Clip, times: str, tmp_path: Path, labels: list[str]
) -> None:
    """Whatever the header says of the length, or does not."""
    opened(of_video(write(clip, tmp_path / "clip")))
    assert labels == [f"0:0{time}" for time in times.split()]


def test_a_still_before_the_film_is_not_the_film(tmp_path: Path, labels: list[str]) -> None:
    """A cover or a poster is a stream of its own."""
    path = tmp_path / "clip.mp4"
    with av.open(str(path), "w") as target:
        cover: Any = target.add_stream("mjpeg", rate=RATE)
        film: Any = target.add_stream("libx264", rate=RATE, options=B_FRAMES)
        for stream, pix_fmt in ((cover, "yuvj420p"), (film, "yuv420p")):
            (stream.width, stream.height), stream.pix_fmt = SIZE, pix_fmt
        make: Any = av.VideoFrame.from_image
        target.mux(cover.encode(make(frame(0, colour="blue"))))
        for index in range(FRAMES):
            target.mux(film.encode(make(frame(index))))
        for stream in (cover, film):
            target.mux(stream.encode())
    opened(of_video(path))
    assert len(labels) == 6


@pytest.mark.parametrize(
    ("ratio", "size"), [(Fraction(4, 3), (336, 151)), (Fraction(3, 4), (336, 269))]
)
def test_pixels_that_are_no_squares_are_stretched(
    ratio: Fraction, size: tuple[int, int], tmp_path: Path
) -> None:
    """As players do."""
    path = write(Clip("mp4", "libx264", B_FRAMES, ratio=ratio, size=(320, 192)), tmp_path / "clip")
    assert opened(of_video(path)).size == (3 * size[0] + 16, 2 * size[1] + 8)


BT709 = {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1}
BT601 = {"colorspace": 6, "color_range": 1}
RED = (200, 41, 42)
RED_OF_ONE = tuple(part / 255 for part in RED)


def coloured(
    path: Path,
    size: tuple[int, int],
    matrix: int,
    tags: Mapping[str, Any],
    numbers: Sequence[float] = RED_OF_ONE,
) -> Path:
    """Make a clip whose numbers, of 1, are made by one matrix, and which says so, or not."""
    with av.open(str(path), "w", format="mp4") as target:
        stream: Any = target.add_stream("libx264", rate=RATE, options={"qp": "1"})
        (stream.width, stream.height), stream.pix_fmt = size, "yuv420p10le"
        for name, value in tags.items():
            setattr(stream.codec_context, name, value)
        picture: Any = av.VideoFrame(*size, "yuv420p10le")
        full = tags.get("color_range", 1) == 2
        for plane, value in zip(picture.planes, _ten_bits(numbers, matrix, full=full), strict=True):
            plane.update(struct.pack("<H", value) * (plane.line_size // 2 * plane.height))
        target.mux(stream.encode(picture))
        target.mux(stream.encode())
    return path


def _ten_bits(numbers: Sequence[float], matrix: int, *, full: bool) -> list[int]:
    """Return brightness and the two differences, by the weights of ITU-T H.273."""
    weights = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 9: (0.2627, 0.0593)}
    red, blue = weights[matrix]
    light = red * numbers[0] + (1 - red - blue) * numbers[1] + blue * numbers[2]
    parts = (light, (numbers[2] - light) / (2 - 2 * blue), (numbers[0] - light) / (2 - 2 * red))
    if full:
        return [round(1023 * parts[0]), *(round(512 + 1023 * part) for part in parts[1:])]
    return [round(64 + 876 * parts[0]), *(round(512 + 896 * part) for part in parts[1:])]


@pytest.mark.parametrize(
    ("size", "matrix", "tags"),
    [
        ((320, 192), 1, BT709),
        ((1280, 720), 5, BT601),
        ((320, 192), 1, {"colorspace": 1, "color_range": 2}),
        ((320, 192), 9, {"colorspace": 9, "color_range": 1}),
        ((320, 192), 5, {}),
        ((1280, 720), 1, {}),
    ],
    ids=["BT.709", "BT.601", "full range", "BT.2020", "nothing, SD", "nothing, HD"],
)
def test_a_clip_has_the_colours_that_its_tags_mean(
    size: tuple[int, int], matrix: int, tags: Mapping[str, Any], tmp_path: Path
) -> None:
    """And without any those that browsers show."""
    assert _near(last_frame(coloured(tmp_path / "clip", size, matrix, tags)), RED)


# Light of sRGB as that of other colours: BT.2087, and the same made of the primaries.
IN_BT2020 = ((0.6274, 0.3293, 0.0433), (0.0691, 0.9195, 0.0114), (0.0164, 0.0880, 0.8956))
IN_P3 = ((0.8225, 0.1774, 0.0), (0.0332, 0.9669, 0.0), (0.0171, 0.0724, 0.9108))
IN_NTSC = ((1.0654, -0.0554, -0.0100), (-0.0196, 1.0364, -0.0167), (0.0016, 0.0044, 0.9940))
DIM = (160, 60, 90)


def _bent(light: float) -> float:
    return 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055


def _pq(light: float) -> float:
    """White has 203 candelas per square metre (BT.2408)."""
    power = (light * 203 / 10_000) ** (1305 / 8192)
    return float(((3424 + 2413 * 32 * power) / (4096 + 2392 * 32 * power)) ** (2523 / 32))


def _hlg(light: float) -> float:
    """On a screen of 1,000 candelas per square metre, each colour by itself."""
    scene = (light * 203 / 1_000) ** (1 / 1.2)
    if scene <= 1 / 12:
        return math.sqrt(3 * scene)
    return 0.17883277 * math.log(12 * scene - 0.28466892) + 0.55991073


@pytest.mark.parametrize(
    ("meant", "primaries", "matrix", "transfer", "light", "curve"),
    [
        (RED, 9, 9, 14, IN_BT2020, _bent),
        (RED, 12, 1, 13, IN_P3, _bent),
        (RED, 12, 1, 1, IN_P3, _bent),
        (RED, 6, 5, 6, IN_NTSC, _bent),
        (RED, 1, 1, 1, None, _bent),
        (RED, 1, 1, 8, None, lambda light: light),
        (RED, 9, 9, 16, IN_BT2020, _pq),
        (DIM, 9, 9, 16, IN_BT2020, _pq),
        (DIM, 2, 9, 16, IN_BT2020, _pq),
        ((150, 150, 150), 9, 9, 18, IN_BT2020, _hlg),
    ],
)
def test_colours_of_other_screens_are_those_of_srgb(
    meant: tuple[int, int, int],
    primaries: int,
    matrix: int,
    transfer: int,
    light: Sequence[Sequence[float]] | None,
    curve: Callable[[float], float],
    tmp_path: Path,
) -> None:
    """Wide ones, and those that may be brighter than white."""
    shines = [((part / 255 + 0.055) / 1.055) ** 2.4 for part in meant]
    if light is not None:
        shines = [sum(a * b for a, b in zip(row, shines, strict=True)) for row in light]
    tags = {"color_primaries": primaries, "color_trc": transfer, "color_range": 1}
    tags["colorspace"] = {5: 6}.get(matrix, matrix)
    numbers = tuple(curve(max(0, part)) for part in shines)
    assert _near(last_frame(coloured(tmp_path / "clip", (320, 192), matrix, tags, numbers)), meant)


def test_what_is_brighter_than_white_is_shown_brighter_up_to_white(tmp_path: Path) -> None:
    """And white is nearly white: no step of light is lost below 300 candelas."""
    tags = {"color_primaries": 9, "colorspace": 9, "color_trc": 16, "color_range": 1}
    shown = []
    for light in (0.5, 0.8, 1.0, 1.4, 20.0):
        path = coloured(tmp_path / f"{light}", (320, 192), 9, tags, (_pq(light),) * 3)
        shown.append(_pixel(last_frame(path))[0])
    assert shown == sorted(set(shown))
    assert shown[2] > 240
    assert shown[-1] == 255


def _pixel(data: bytes | None) -> tuple[int, ...]:
    assert data is not None
    with Image.open(BytesIO(data)) as shown:
        pixel = shown.convert("RGB").getpixel((50, 50))
    assert isinstance(pixel, tuple)
    return pixel


def _near(data: bytes | None, meant: Sequence[int]) -> bool:
    pixel = _pixel(data)
    assert [abs(a - b) <= 3 for a, b in zip(pixel, meant, strict=True)] == [True] * 3, pixel
    return True


def test_what_is_transparent_in_a_clip_shows_the_ground(tmp_path: Path) -> None:
    """Chequers, as for pictures."""
    path = tmp_path / "clip.webm"
    with av.open(str(path), "w", format="webm") as target:
        stream: Any = target.add_stream("libvpx-vp9", rate=RATE, options=VPX)
        (stream.width, stream.height), stream.pix_fmt = SIZE, "yuva420p"
        image = Image.new("RGBA", SIZE, (0, 0, 0, 0))
        picture: Any = av.VideoFrame(*SIZE, "rgba")
        picture.planes[0].update(_padded(image, picture.planes[0].line_size))
        for index in range(3):
            shown = picture.reformat(format="yuva420p")
            shown.pts, shown.time_base = index, Fraction(1, RATE)
            target.mux(stream.encode(shown))
        target.mux(stream.encode())
    sheet = opened(of_video(path)).convert("L")
    dark, _ = sheet.crop((60, 60, 300, 200)).getextrema()
    assert isinstance(dark, int)
    assert dark > 180


def _padded(image: Image.Image, line: int) -> bytes:
    raw, width = image.tobytes(), image.width * 4
    return b"".join(
        raw[row * width : (row + 1) * width].ljust(line, b"\0") for row in range(image.height)
    )


def test_a_clip_of_a_camera_that_was_turned_is_upright(tmp_path: Path) -> None:
    """The last frame too."""
    data = bytearray(write(EXACT, tmp_path / "clip").read_bytes())
    turned = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, SIZE[1] * 65536, 0, 2**30)
    place = inside(bytes(data), *TRACK, b"tkhd") + 40
    data[place : place + 36] = turned
    shown = last_frame(put(tmp_path, bytes(data)))
    assert shown is not None
    with Image.open(BytesIO(shown)) as image:
        expected = frame(FRAMES - 1).rotate(-90, expand=True)
        assert psnr(image.convert("RGB"), expected) > 40


def test_the_process_makes_last_frames(tmp_path: Path) -> None:
    """With the bounds of previews."""
    path = put(tmp_path, CLIP)
    assert process("last", str(path)) == (0, previews.last_frame(path))
    assert frames.span(path).last == pytest.approx(8 - 8 / 48)
