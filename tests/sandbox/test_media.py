"""The media of the sandbox: pictures of the right size, clips of the right length."""

import struct
from collections.abc import Iterator
from io import BytesIO

import pytest
from PIL import Image

from meigen_mcp.sandbox.media import clip_seconds, image_size, render_clip, render_image

RATIOS = ["1:1", "16:9", "9:16", "4:3", "3:4", "3:2", "2:3", "5:4", "4:5", "21:9", "9:21", "2:1"]
CLASSES = {"1K": 1024, "2K": 2048, "3K": 3072, "4K": 4096}
CLIP_SIZES = {
    "16:9": (480, 270),
    "9:16": (270, 480),
    "1:1": (480, 480),
    "4:3": (480, 360),
    "3:4": (360, 480),
    "21:9": (480, 206),
}
SECONDS = [3, 4, 5, 8, 15, 0.5, 7.3]
CONTAINERS = {b"moov", b"trak", b"mdia", b"minf", b"stbl"}


def draw(
    *,
    prompt: str = "a red fox",
    ratio: str = "1:1",
    seed: str = "job 1",
    label: str = "",
    k: int = 1,
) -> bytes:
    """Draw a picture with everything but the named things left alone."""
    return render_image(
        model="Test Model", prompt=prompt, ratio=ratio, resolution=f"{k}K", seed=seed, label=label
    )


def walk(data: bytes, start: int = 0, end: int | None = None) -> Iterator[tuple[str, int, bytes]]:
    """Yield the type, offset and content of every box, parents first."""
    end = len(data) if end is None else end
    while start < end:
        size, kind = struct.unpack_from(">I4s", data, start)
        assert 8 <= size <= end - start, f"{kind!r} does not fit in its parent"
        yield kind.decode("ascii"), start, data[start + 8 : start + size]
        if kind in CONTAINERS:
            yield from walk(data, start + 8, start + size)
        start += size


@pytest.mark.parametrize("resolution", CLASSES)
@pytest.mark.parametrize("ratio", RATIOS)
def test_size_has_the_area_of_its_class_and_the_shape_of_its_ratio(
    ratio: str, resolution: str
) -> None:
    """Both sides are multiples of 8, which is all the rounding there is."""
    width, height = image_size(ratio, resolution)
    across, down = map(int, ratio.split(":"))
    assert width % 8 == height % 8 == 0
    assert width * height == pytest.approx(CLASSES[resolution] ** 2, rel=0.015)
    assert abs(width - height * across / down) <= 4 + 4 * across / down


def test_size_of_an_unknown_class_is_that_of_1k() -> None:
    """A class the sandbox has not heard of still gives a picture."""
    assert image_size("16:9", "512P") == image_size("16:9", "1K")


@pytest.mark.parametrize("ratio", ["1:100", "100:1", "1:99999", "99999:1", "1:9"])
@pytest.mark.parametrize("resolution", CLASSES)
def test_size_of_an_extreme_ratio_stays_within_bounds(ratio: str, resolution: str) -> None:
    """No side is too thin to see or too long to open."""
    assert all(64 <= side <= 8192 and side % 8 == 0 for side in image_size(ratio, resolution))


@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("ratio", [*RATIOS, "1:100", "100:1"])
def test_picture_is_a_png_of_exactly_the_promised_size(ratio: str, k: int) -> None:
    """What is drawn is what `image_size` says, and light enough to send around."""
    data = draw(ratio=ratio, k=k, label="candidate 1 of 4")
    with Image.open(BytesIO(data)) as image:
        image.load()
        assert image.format == "PNG"
        assert image.size == image_size(ratio, f"{k}K")
    assert len(data) < 400_000


def test_picture_at_4k_opens() -> None:
    """The largest class is a real picture too."""
    with Image.open(BytesIO(draw(ratio="16:9", k=4))) as image:
        image.load()
        assert image.size == image_size("16:9", "4K")


def test_same_arguments_draw_the_same_bytes() -> None:
    """A picture fetched twice is the same file."""
    assert draw(label="candidate 1 of 4") == draw(label="candidate 1 of 4")


def test_each_argument_is_visible_in_the_picture() -> None:
    """Candidates, prompts and seeds can be told apart."""
    pictures = [
        draw(),
        draw(label="candidate 1 of 2"),
        draw(label="candidate 2 of 2"),
        draw(prompt="a blue fox"),
        draw(seed="job 2"),
    ]
    pixels = {Image.open(BytesIO(data)).convert("RGB").tobytes() for data in pictures}
    assert len(pixels) == len(pictures)


def test_text_is_white_on_dark() -> None:
    """The text panel holds both ends of the contrast, so the text can be read."""
    with Image.open(BytesIO(draw())) as image:
        colours = image.convert("RGB").getcolors(maxcolors=256) or []
    assert {(255, 255, 255), (23, 26, 36)} <= {colour for _, colour in colours}


@pytest.mark.parametrize(
    "prompt",
    [
        "",
        " \n\t ",
        "猫が月を見ている。" * 100,
        "مرحبا بالعالم " * 20,
        "\N{WOMAN}\N{ZERO WIDTH JOINER}\N{ROCKET}",
        "\x00 \ud800 \u202e",
        "W" * 5000,
        "word " * 5000,
    ],
    ids=["empty", "blank", "cjk", "arabic", "emoji", "odd characters", "one long word", "long"],
)
@pytest.mark.parametrize("ratio", ["1:1", "1:100", "100:1"])
def test_any_prompt_can_be_drawn(prompt: str, ratio: str) -> None:
    """No prompt is too long, too short or too foreign for any shape of picture."""
    with Image.open(BytesIO(draw(prompt=prompt, ratio=ratio))) as image:
        assert image.size == image_size(ratio, "1K")


@pytest.mark.parametrize("seconds", SECONDS)
@pytest.mark.parametrize("ratio", CLIP_SIZES)
def test_clip_plays_for_exactly_the_time_asked(ratio: str, seconds: float) -> None:
    """The headers and the sum of the frames agree on the duration, and nothing moved."""
    clip = render_clip(ratio=ratio, seconds=seconds)
    found = {kind: (at, content) for kind, at, content in walk(clip)}
    boxes = {kind: content for kind, (_, content) in found.items()}

    assert found["ftyp"][0] == 0
    assert found["moov"][0] < found["mdat"][0]
    assert boxes["stsd"][12:16] == b"avc1"
    assert struct.unpack_from(">HH", boxes["stsd"], 8 + 8 + 24) == CLIP_SIZES[ratio]
    assert "elst" not in boxes
    assert "ctts" not in boxes

    scale, duration = struct.unpack_from(">II", boxes["mvhd"], 12)
    assert struct.unpack_from(">II", boxes["mdhd"], 12) == (scale, duration)
    assert struct.unpack_from(">I", boxes["tkhd"], 20) == (duration,)
    (entries,) = struct.unpack_from(">I", boxes["stts"], 4)
    runs = list(struct.iter_unpack(">II", boxes["stts"][8:]))
    assert len(runs) == entries
    assert sum(count * delta for count, delta in runs) == duration
    assert duration * 10 == round(seconds * 10) * scale
    assert clip_seconds(clip) == seconds

    assert struct.unpack_from(">II", boxes["stco"], 4) == (1, found["mdat"][0] + 8)
    (samples,) = struct.unpack_from(">I", boxes["stsz"], 8)
    sizes = struct.unpack_from(f">{samples}I", boxes["stsz"], 12)
    assert samples == sum(count for count, _ in runs)
    assert sum(sizes) == len(boxes["mdat"])
    assert len(clip) < 12_000


def test_every_tenth_of_a_second_can_be_asked_for() -> None:
    """From half a second to a minute no duration is rounded."""
    for tenths in range(5, 601):
        assert clip_seconds(render_clip(ratio="1:1", seconds=tenths / 10)) == tenths / 10


@pytest.mark.parametrize(
    ("ratio", "nearest"),
    [("3:2", "4:3"), ("2:3", "3:4"), ("9:21", "9:16"), ("32:9", "21:9"), ("1:100", "9:16")],
)
def test_a_ratio_without_a_clip_gets_the_nearest(ratio: str, nearest: str) -> None:
    """Near means a similar shape, not a similar name."""
    assert render_clip(ratio=ratio, seconds=5) == render_clip(ratio=nearest, seconds=5)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"moov",
        b"<html></html>" * 9,
        bytes(100),
        struct.pack(">I4sI4s", 16, b"moov", 8, b"mvhd"),
        struct.pack(">I4sI4s20x", 36, b"moov", 28, b"mvhd"),
    ],
    ids=["empty", "short", "html", "zeros", "no header content", "no timescale"],
)
def test_what_is_not_a_clip_has_no_playing_time(data: bytes) -> None:
    """Anything but an MP4 is answered with None, never with an exception."""
    assert clip_seconds(data) is None


def test_picture_has_no_playing_time() -> None:
    """A PNG is not an MP4."""
    assert clip_seconds(draw()) is None
