"""Small pictures of results; hostile files give nothing."""

import struct
import subprocess
import sys
import zlib
from collections.abc import Callable, Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media.test_metadata import chunk
from PIL import Image, ImageCms, ImageDraw, ImageFont, features
from support.profiles import GREY, PROFILES, meant, meant_by_exponent

from meigen_mcp.media import colours as media_colours
from meigen_mcp.media import frames, local_files, previews
from meigen_mcp.media.drawn import Drawn
from meigen_mcp.media.fitting import likeness
from meigen_mcp.media.frames import Frame
from meigen_mcp.media.previews import LARGEST, LONGEST, of_images, of_video
from meigen_mcp.sandbox.media import render_clip

CLIP = render_clip(ratio="16:9", seconds=8)
TIMES = ["0:00.0", "0:01.7", "0:03.3", "0:04.8", "0:06.5", "0:07.8"]
TRACK = (b"moov", b"trak")
TABLE = (*TRACK, b"mdia", b"minf", b"stbl")


def put(folder: Path, data: bytes, name: str = "medium") -> Path:
    """Write a file."""
    path = folder / name
    path.write_bytes(data)
    return path


def encoded(image: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return an image as a file."""
    out = BytesIO()
    image.save(out, kind, **options)
    return out.getvalue()


def noise(width: int, height: int) -> Image.Image:
    """Return an image that nothing can pack."""
    return Image.effect_noise((width, height), 200).convert("RGB")


def plain(width: int, height: int, colour: Any = "red", mode: str = "RGB") -> Image.Image:
    """Return an image of one colour."""
    return Image.new(mode, (width, height), colour)


def opened(drawn: Drawn | None) -> Image.Image:
    """Return a preview that keeps the limits."""
    assert drawn is not None
    assert len(drawn.data) <= LARGEST
    image = Image.open(BytesIO(drawn.data))
    image.load()
    assert max(image.size) <= LONGEST
    return image


def colours(image: Image.Image, *places: tuple[int, int]) -> list[str]:
    """Return the nearest plain colour at some places."""
    names = {0: "black", 1: "blue", 2: "green", 4: "red", 6: "yellow", 7: "white"}
    return [
        names[sum((value > 127) << (2 - band) for band, value in enumerate(rgb))]
        for place in places
        if isinstance(rgb := image.convert("RGB").getpixel(place), tuple)
    ]


# --- one image --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        ((3000, 2000), (1024, 683)),
        ((2000, 3000), (683, 1024)),
        ((1024, 1024), (1024, 1024)),
        ((640, 400), (640, 400)),
        ((1, 1), (1, 1)),
        ((9000, 3), (1024, 1)),
    ],
)
def test_a_preview_has_the_shape_of_its_image(
    size: tuple[int, int], expected: tuple[int, int], tmp_path: Path
) -> None:
    """Never larger than it."""
    preview = opened(of_images([put(tmp_path, encoded(plain(*size)))]))
    assert (preview.format, preview.size, colours(preview, (0, 0))) == ("JPEG", expected, ["red"])


def test_what_cannot_be_packed_is_made_smaller_still(tmp_path: Path) -> None:
    """The limit in bytes holds for noise."""
    preview = opened(of_images([put(tmp_path, encoded(noise(2000, 2000)))]))
    assert 200 < max(preview.size) < LONGEST


def test_without_webp_it_is_a_jpeg(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pillow can be built without."""
    monkeypatch.setattr(features, "check", lambda _: False)
    path = put(tmp_path, encoded(plain(64, 64, (255, 0, 0, 255), "RGBA")))
    preview = opened(of_images([path]))
    assert (preview.format, colours(preview, (9, 9))) == ("JPEG", ["red"])


def text() -> Image.Image:
    """Return a page of bright letters, which JPEG packs badly."""
    page = Image.new("RGB", (1024, 1024))
    for top in range(0, 1024, 24):
        line = "".join("abcdefghijklmnopqrstuvwxyz"[(top * n) % 26] for n in range(1, 200))
        colour = ("white", "cyan")[top // 24 % 2]
        ImageDraw.Draw(page).text((5, top), line, fill=colour, font=ImageFont.load_default(20))
    return page


def test_where_a_jpeg_is_visibly_worse_it_is_a_webp(tmp_path: Path) -> None:
    """Of what most people make it is none: some hosts and models cannot read WebP."""
    kinds = [
        opened(of_images([put(tmp_path, encoded(image))])).format
        for image in (text(), Image.linear_gradient("L").resize((2048, 2048)), plain(99, 99))
    ]
    assert kinds == ["WEBP", "JPEG", "JPEG"]


@pytest.mark.parametrize("corner", [(0, 0), (324, 324)])
def test_what_only_a_corner_shows_decides_as_well(corner: tuple[int, int], tmp_path: Path) -> None:
    """The sample of a picture is from all over it."""
    page = plain(1024, 1024, "navy")
    page.paste(text().crop((0, 0, 700, 700)), corner)
    assert opened(of_images([put(tmp_path, encoded(page))])).format == "WEBP"


def test_alike_is_one_and_unlike_is_less() -> None:
    """The measure by which a JPEG is worse."""
    image = text()
    alike = [likeness(image, encoded(image, "JPEG", quality=quality)) for quality in (100, 60, 20)]
    assert likeness(image, encoded(image)) == pytest.approx(1.0)
    assert sorted(alike, reverse=True) == alike
    assert 0.9 < alike[0] <= 1.0


KINDS: dict[str, dict[str, Any]] = {
    "PNG": {},
    "JPEG": {"quality": 100, "subsampling": 0},
    "WEBP": {"lossless": True},
    "AVIF": {"quality": 100, "subsampling": "4:4:4"},
}


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", PROFILES)
@pytest.mark.parametrize("pixel", [(230, 40, 40), (40, 200, 90), (120, 130, 140)])
def test_a_preview_has_the_colours_that_a_profile_means(
    name: str, kind: str, pixel: tuple[int, int, int], tmp_path: Path
) -> None:
    """In sRGB, which is what a picture without a profile is taken for."""
    source = encoded(plain(64, 64, pixel), kind, icc_profile=PROFILES[name], **KINDS[kind])
    preview = opened(of_images([put(tmp_path, source)]))
    found = preview.convert("RGB").getpixel((30, 30))
    assert isinstance(found, tuple)
    assert [abs(a - b) <= 3 for a, b in zip(found, meant(name, pixel), strict=True)] == [True] * 3
    assert "icc_profile" not in preview.info


def with_codes(source: bytes, primaries: int, transfer: int) -> bytes:
    """Return a PNG or an AVIF that names its colours by codes."""
    if source.startswith(b"\x89PNG"):
        return source[:33] + chunk(b"cICP", bytes([primaries, transfer, 0, 1])) + source[33:]
    place = source.index(b"colrnclx") + 8
    return source[:place] + struct.pack(">HH", primaries, transfer) + source[place + 4 :]


@pytest.mark.parametrize("kind", ["PNG", "AVIF"])
def test_a_preview_has_the_colours_that_codes_mean(kind: str, tmp_path: Path) -> None:
    """Display P3 by its codes, which in PNG go before a profile and in AVIF behind it."""
    pixel, adobe = (230, 40, 40), PROFILES["Adobe RGB"]
    bare = encoded(plain(64, 64, pixel), kind, **KINDS[kind])
    named = encoded(plain(64, 64, pixel), kind, icc_profile=adobe, **KINDS[kind])
    found = {
        what: opened(of_images([put(tmp_path, source, what)])).getpixel((30, 30))
        for what, source in {
            "sRGB": with_codes(bare, 1, 13),
            "P3": with_codes(bare, 12, 13),
            "both": with_codes(named, 12, 13) if kind == "PNG" else named,
        }.items()
    }
    p3 = meant("Display P3", pixel)
    wanted = {"sRGB": pixel, "P3": p3, "both": p3 if kind == "PNG" else meant("Adobe RGB", pixel)}
    far = {
        what: max(abs(a - b) for a, b in zip(found[what], wanted[what], strict=True))  # type: ignore[arg-type]
        for what in wanted
    }
    assert {what for what in far if far[what] > 3} == set()


def with_chunks(source: bytes, **numbers: Sequence[int]) -> bytes:
    """Return a PNG that has chunks of numbers of four bytes right behind its header."""
    chunks = [
        chunk(name.encode(), struct.pack(f">{len(given)}I", *given))
        for name, given in numbers.items()
    ]
    return source[:33] + b"".join(chunks) + source[33:]


def exact(kind: str, profile: bytes | None = None) -> Callable[[Image.Image], bytes]:
    """Return what writes a picture in a format, without changing a pixel that is grey."""
    return lambda image: encoded(image, kind, icc_profile=profile, **KINDS[kind])


TOLD: dict[str, tuple[Callable[[Image.Image], bytes], float]] = {
    "cICP, linear": (lambda image: with_codes(encoded(image), 1, 8), 1.0),
    "cICP, of PAL": (lambda image: with_codes(encoded(image), 5, 5), 2.8),
    "gAMA": (lambda image: with_chunks(encoded(image), gAMA=[100_000]), 1.0),
    "PNG, by grey": (exact("PNG", GREY), 461 / 256),
    "PNG, by colours": (exact("PNG", PROFILES["Adobe RGB"]), 563 / 256),
    "nclx, linear": (lambda image: with_codes(exact("AVIF")(image), 1, 8), 1.0),
    "JPEG, by grey": (exact("JPEG", GREY), 461 / 256),
    "JPEG, by colours": (exact("JPEG", PROFILES["Adobe RGB"]), 563 / 256),
    "WebP, by grey": (exact("WEBP", GREY), 461 / 256),
    "AVIF, by grey": (exact("AVIF", GREY), 461 / 256),
}


@pytest.mark.parametrize(
    ("mode", "told"),
    [("L", told) for told in TOLD]
    + [(mode, told) for mode in ("LA", "I;16", "1") for told in list(TOLD)[:5]],
)
@pytest.mark.parametrize("value", [30, 100, 200])
def test_grey_is_shown_as_bright_as_it_is_meant(
    value: int, mode: str, told: str, tmp_path: Path
) -> None:
    """In previews and references, whichever way the file tells its colours."""
    write, exponent = TOLD[told]
    pixel: Any = {"L": value, "LA": (value, 255), "I;16": 257 * value, "1": 255}[mode]
    source = write(Image.new(mode, (64, 64), pixel))
    right = pytest.approx(meant_by_exponent(255 if mode == "1" else value, exponent), abs=3)
    assert shown_and_sent(source, tmp_path) == [(right,) * 3] * 2


def shown_and_sent(source: bytes, folder: Path) -> list[Any]:
    """Return a pixel of the preview of a picture, and of what would be uploaded."""
    shown = opened(of_images([put(folder, source)]))
    sent = Image.open(BytesIO(local_files.of_picture(source).data))
    return [image.convert("RGB").getpixel((4, 4)) for image in (shown, sent)]


def about(colour: Iterable[int]) -> tuple[Any, ...]:
    """Return what is equal to a colour and to those within 3 of it in each channel."""
    return tuple(pytest.approx(value, abs=3) for value in colour)


def test_half_clear_grey_keeps_its_clearness() -> None:
    """A profile of grey says nothing of it."""
    source = encoded(Image.new("LA", (8, 8), (100, 128)), icc_profile=GREY)
    sent = Image.open(BytesIO(local_files.of_picture(source).data)).convert("RGBA")
    right: Any = (*about([meant_by_exponent(100, 461 / 256)] * 3), 128)
    assert sent.getpixel((4, 4)) == right


def test_a_profile_of_grey_changes_no_colours(tmp_path: Path) -> None:
    """It cannot be meant for them."""
    source = encoded(plain(8, 8, (230, 40, 40)), icc_profile=GREY)
    assert shown_and_sent(source, tmp_path) == [about((230, 40, 40))] * 2


P3 = [31270, 32900, 68000, 32000, 26500, 69000, 15000, 6000]
"""Of a cHRM: white, red, green and blue."""


@pytest.mark.parametrize(
    ("numbers", "wanted"),
    [
        ({"cHRM": P3}, meant("Display P3", (230, 40, 40))),
        ({"gAMA": [55_556]}, tuple(meant_by_exponent(value, 1.8) for value in (230, 40, 40))),
        ({"gAMA": [0]}, (230, 40, 40)),
        ({"gAMA": [2**32 - 1]}, (255, 255, 255)),
        ({"cHRM": [0] * 8}, (230, 40, 40)),
        ({"cHRM": [1] * 8}, (230, 40, 40)),
        ({"cHRM": [2**32 - 1] * 8}, (230, 40, 40)),
    ],
    ids=str,
)
def test_a_png_without_a_profile_may_tell_its_colours_by_numbers(
    numbers: dict[str, list[int]], wanted: tuple[int, int, int], tmp_path: Path
) -> None:
    """As browsers take them; numbers that no colours have count as not there."""
    source = with_chunks(encoded(plain(8, 8, (230, 40, 40))), **numbers)
    assert shown_and_sent(source, tmp_path) == [about(wanted)] * 2


def test_numbers_are_the_last_that_tells_colours(tmp_path: Path) -> None:
    """A profile and a chunk that says sRGB go before them: they are but a stopgap beside these."""
    pixel, numbers = (230, 40, 40), {"gAMA": [100_000], "cHRM": P3}
    source = encoded(plain(8, 8, pixel), icc_profile=PROFILES["Adobe RGB"])
    found = shown_and_sent(with_chunks(source, **numbers), tmp_path)
    assert found == [about(meant("Adobe RGB", pixel))] * 2
    source = with_chunks(encoded(plain(8, 8, pixel)), **numbers)
    source = source[:33] + chunk(b"sRGB", b"\0") + source[33:]
    assert shown_and_sent(source, tmp_path) == [about(pixel)] * 2


@pytest.mark.parametrize(
    "tell",
    [lambda source: with_codes(source, 12, 13), lambda source: with_chunks(source, cHRM=P3)],
    ids=["codes", "numbers"],
)
def test_a_long_text_before_its_colours_hides_nothing(
    tell: Callable[[bytes], bytes], tmp_path: Path
) -> None:
    """Our own marks put a prompt of up to 32,000 characters there."""
    told = tell(encoded(plain(64, 64, (230, 40, 40))))
    source = told[:33] + chunk(b"tEXt", b"parameters\0" + b"fox " * 50_000) + told[33:]
    assert shown_and_sent(source, tmp_path) == [about(meant("Display P3", (230, 40, 40)))] * 2


@pytest.mark.parametrize("length", [0, 1, 4, 2**31])
def test_codes_that_break_off_change_nothing(length: int) -> None:
    """Whatever length they claim."""
    source = encoded(plain(64, 64))
    head = source[:33] + struct.pack(">I", length) + b"cICP"
    assert media_colours.of_picture(BytesIO(head), None) is None
    assert media_colours.of_picture(BytesIO(source[:4]), b"its profile") == b"its profile"


def test_a_broken_profile_changes_nothing(tmp_path: Path) -> None:
    """Nor does one of another kind of colours."""
    lab = ImageCms.ImageCmsProfile(ImageCms.createProfile("LAB")).tobytes()
    for profile in (b"no profile", lab):
        source = encoded(plain(64, 64), icc_profile=profile)
        assert colours(opened(of_images([put(tmp_path, source)])), (9, 9)) == ["red"]


@pytest.mark.parametrize("size", [(40, 40), (4000, 400)])
def test_the_transparent_value_of_16_bits_of_grey_is_kept(
    size: tuple[int, int], tmp_path: Path
) -> None:
    """It shows the ground; the other values are grey as they are meant."""
    image = Image.new("I;16", size, 1000)
    image.paste(Image.new("I;16", (size[0], size[1] // 2), 32896), (0, 0))
    preview = opened(of_images([put(tmp_path, encoded(image, transparency=1000))]))
    grey = preview.convert("L")
    above, below = (
        grey.crop((0, top, 40, top + grey.height // 4)) for top in (0, grey.height * 3 // 4)
    )
    found: list[Any] = [above.getextrema(), below.getextrema()]
    assert found == [(pytest.approx(128, abs=3),) * 2, (pytest.approx(205, abs=9), 255)]


QUARTERS = Image.new("RGB", (64, 32), "blue")
QUARTERS.paste("red", (0, 0, 32, 32))
EXIF = Image.Exif()
EXIF[0x0112] = 6  # the camera was turned: red belongs above


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP"])
def test_a_preview_is_upright(kind: str, tmp_path: Path) -> None:
    """The file says which way it was held."""
    preview = opened(of_images([put(tmp_path, encoded(QUARTERS, kind, exif=EXIF, quality=95))]))
    assert (preview.size, colours(preview, (16, 8), (16, 56))) == ((32, 64), ["red", "blue"])


def test_a_preview_has_no_metadata(tmp_path: Path) -> None:
    """No place, no camera, no profile, no text."""
    exif = Image.Exif()
    exif[0x010F] = "Ada's camera"
    exif.get_ifd(0x8825)[1] = "N"
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    source = encoded(noise(64, 64), "JPEG", exif=exif, icc_profile=profile, comment=b"secret")
    data = of_images([put(tmp_path, source)])
    preview = opened(data)
    assert (dict(preview.getexif()), preview.info.keys() & {"exif", "icc_profile", "xmp"}) == (
        {},
        set(),
    )


@pytest.mark.parametrize(
    ("mode", "colour"),
    [("RGBA", (0, 0, 0, 0)), ("LA", (0, 0)), ("P", 0)],
)
def test_what_is_transparent_shows_a_chequered_ground(
    mode: str, colour: Any, tmp_path: Path
) -> None:
    """Neither black nor white art disappears on it."""
    image = plain(96, 96, colour, mode)
    data = encoded(image, "PNG", **({"transparency": 0} if mode == "P" else {}))
    preview = opened(of_images([put(tmp_path, data)])).convert("L")
    squares = [preview.getpixel((x, 6)) for x in range(6, 96, 12)]
    assert squares == [pytest.approx(205, abs=2), pytest.approx(255, abs=2)] * 4


@pytest.mark.parametrize(
    ("kind", "mode", "colour"),
    [
        ("PNG", "1", 1),
        ("PNG", "L", 255),
        ("PNG", "I;16", 65535),
        ("PNG", "P", 255),
        ("JPEG", "CMYK", (0, 0, 0, 0)),
        ("GIF", "P", 255),
        ("AVIF", "RGB", "white"),
        ("WEBP", "RGBA", (255, 255, 255, 255)),
    ],
)
def test_every_kind_of_image_has_a_preview(
    kind: str, mode: str, colour: Any, tmp_path: Path
) -> None:
    """White stays white."""
    image = plain(40, 30, colour, mode)
    if mode == "P":
        image.putpalette([value for grey in range(256) for value in (grey,) * 3])
    preview = opened(of_images([put(tmp_path, encoded(image, kind))]))
    assert (preview.size, colours(preview, (20, 15))) == ((40, 30), ["white"])


def test_half_of_sixteen_bits_is_half_as_bright(tmp_path: Path) -> None:
    """Not cut off at 255."""
    preview = opened(of_images([put(tmp_path, encoded(plain(8, 8, 32768, "I;16")))]))
    assert preview.convert("L").getpixel((4, 4)) == pytest.approx(128, abs=2)


# --- several images -----------------------------------------------------------------------------


def test_four_images_make_one_numbered_sheet(tmp_path: Path) -> None:
    """Two by two, in reading order."""
    named = ("red", "green", "blue", "yellow")
    paths = [put(tmp_path, encoded(plain(2048, 1024, name)), name) for name in named]
    sheet = opened(of_images(paths))
    middles = ((254, 127), (770, 127), (254, 389), (770, 389))
    assert (sheet.size, colours(sheet, *middles)) == ((1024, 516), [*named])


def test_the_numbers_are_those_of_the_media(tmp_path: Path) -> None:
    """Even if the one before cannot be shown."""
    path = put(tmp_path, encoded(plain(300, 300)))
    broken = put(tmp_path, b"broken", "broken")
    three = opened(of_images([path, path, path]))
    corners = [
        three.crop((x, y, x + 30, y + 30)).tobytes() for x, y in ((0, 0), (308, 0), (0, 308))
    ]
    for missing in (None, broken):
        two = opened(of_images([path, missing, path]))
        first, third = two.crop((0, 0, 30, 30)), two.crop((308, 0, 338, 30))
        assert two.size == (608, 300)
        assert closest(first, corners) == 0
        assert closest(third, corners) == 2


@pytest.mark.parametrize("exif_at", [None, -12], ids=["bare", "EXIF behind"])
def test_a_damaged_image_is_not_shown_in_part(exif_at: int | None, tmp_path: Path) -> None:
    """Its place is told instead, for black rows look as if they had been made."""
    source = bytearray(encoded(Image.effect_noise((90, 90), 90).convert("RGB")))
    source[len(source) // 2] ^= 255
    if exif_at is not None:
        source[exif_at:exif_at] = chunk(b"eXIf", b"MM\0*\0\0\0\x08\0\0\0\0\0\0")
    damaged = put(tmp_path, bytes(source), "damaged")
    drawn = of_images([put(tmp_path, encoded(plain(90, 90))), damaged])
    assert (of_images([damaged]), drawn and drawn.left_out) == (None, (2,))


def closest(image: Image.Image, others: Iterable[bytes]) -> int:
    """Return the place of what an image is most like."""
    own = image.tobytes()
    far = [sum(abs(a - b) for a, b in zip(own, other, strict=True)) for other in others]
    return far.index(min(far))


@pytest.mark.parametrize("count", [2, 3, 5, 16])
def test_any_number_fits_on_a_sheet(count: int, tmp_path: Path) -> None:
    """Of any shape, within the limits."""
    shapes = [(1500, 300), (300, 1500), (900, 900)]
    paths = [put(tmp_path, encoded(noise(*shapes[i % 3]), "JPEG"), str(i)) for i in range(count)]
    assert max(opened(of_images(paths)).size) <= LONGEST


def test_nothing_to_show_is_nothing(tmp_path: Path) -> None:
    """No empty sheet."""
    assert of_images([]) is None
    assert of_images([None, tmp_path / "gone", tmp_path]) is None


# --- hostile images -----------------------------------------------------------------------------


def bomb(width: int, height: int) -> bytes:
    """Return a small PNG that claims a size."""
    header = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    rest = encoded(plain(9, 9))[33:]
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + rest


HOSTILE = {
    "empty": b"",
    "a bomb": bomb(60_000, 60_000),
    "a thin bomb": bomb(2**31 - 1, 1),
    "one row too many": encoded(Image.new("1", (8192, 8193))),
    "no size": bomb(0, 0),
    "a size that lies": bomb(64, 64),
    "a cut PNG": encoded(noise(200, 200))[:-5000],
    "a cut JPEG": encoded(noise(200, 200), "JPEG")[:-5000],
    "a cut WebP": encoded(noise(200, 200), "WEBP")[:-5000],
    "a head alone": b"\xff\xd8\xff\xe0",
    "SVG": b"<svg xmlns='http://www.w3.org/2000/svg'><script>alert(1)</script></svg>",
    "EPS": encoded(plain(9, 9), "EPS"),
    "TIFF": encoded(plain(9, 9), "TIFF"),
    "BMP": encoded(plain(9, 9), "BMP"),
    "a text bomb": (
        encoded(plain(9, 9))[:33]
        + chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(2**25)))
        + encoded(plain(9, 9))[33:]
    ),
}


@pytest.mark.filterwarnings("ignore::PIL.Image.DecompressionBombWarning")
@pytest.mark.parametrize("data", HOSTILE.values(), ids=HOSTILE.keys())
def test_a_hostile_image_has_no_preview(data: bytes, tmp_path: Path) -> None:
    """And raises nothing; formats that no model makes are not even looked at."""
    assert of_images([put(tmp_path, data)]) is None


def test_the_largest_image_that_is_made_still_has_one(tmp_path: Path) -> None:
    """8192 by 8192."""
    path = put(tmp_path, encoded(Image.new("1", (8192, 8192), 1), "PNG"))
    assert opened(of_images([path])).size == (1024, 1024)


@given(data=st.binary(max_size=300), place=st.integers(0, 600))
@settings(deadline=None)
def test_no_image_raises(data: bytes, place: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Whatever is written over whatever part of it."""
    source = bytearray(encoded(QUARTERS, "WEBP"))
    source[place : place + len(data)] = data
    made = of_images([put(tmp_path_factory.mktemp("any"), bytes(source))])
    assert made is None or max(opened(made).size) <= LONGEST


# --- clips --------------------------------------------------------------------------------------


def patched(path: tuple[bytes, ...], offset: int, new: bytes, source: bytes = CLIP) -> bytes:
    """Return a clip with bytes written at a place in the content of a box."""
    data = bytearray(source)
    place = inside(data, *path) + offset
    data[place : place + len(new)] = new
    return bytes(data)


def inside(data: bytes | bytearray, *path: bytes) -> int:
    """Return where the content of a box begins."""
    start, end = 0, len(data)
    for wanted in path:
        while data[start + 4 : start + 8] != wanted:
            start += int.from_bytes(data[start : start + 4])
            assert start < end
        start, end = start + 8, start + int.from_bytes(data[start : start + 4])
    return start


def filmed(folder: Path, kind: str, codec: str, count: int) -> Path:
    """Return a clip of ten frames a second that go from black to white."""
    path = folder / f"clip.{kind}"
    with av.open(str(path), "w") as clip:
        stream: Any = clip.add_stream(codec, rate=10)
        stream.width, stream.height, stream.pix_fmt = 64, 32, "yuv420p"
        for index in range(count):
            grey = round(255 * index / max(1, count - 1))
            make: Any = av.VideoFrame.from_image
            clip.mux(stream.encode(make(plain(64, 32, (grey,) * 3))))
        clip.mux(stream.encode())
    return path


@pytest.fixture
def labels(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Note what is written on the sheet."""
    noted: list[str] = []
    lay_out = previews._sheet  # noqa: SLF001  # a label is read here, not from its pixels

    def noting(tiles: Any) -> Image.Image:
        noted.extend(label for label, _ in tiles)
        return lay_out(tiles)

    monkeypatch.setattr(previews, "_sheet", noting)
    return noted


def test_a_clip_has_a_sheet_of_six_frames(tmp_path: Path, labels: list[str]) -> None:
    """From the first to the last, with the time of each."""
    sheet = opened(of_video(put(tmp_path, CLIP)))
    assert (sheet.size, labels) == ((1024, 386), TIMES)
    # The ball goes from left to right; it is the only thing that is yellow.
    balls = [(31, 79), (433, 33), (835, 57), (200, 308), (602, 318), (993, 271)]
    assert colours(sheet, *balls) == ["yellow"] * 6


@pytest.mark.parametrize(
    ("kind", "codec"), [("mp4", "libx264"), ("mov", "mpeg4"), ("webm", "libvpx-vp9")]
)
def test_every_kind_of_clip_has_a_sheet(
    kind: str, codec: str, tmp_path: Path, labels: list[str]
) -> None:
    """Of its first and last frame, and four between."""
    sheet = opened(of_video(filmed(tmp_path, kind, codec, 11)))
    assert (sheet.size, colours(sheet, (200, 100), (1000, 250))) == (
        (1024, 344),
        ["black", "white"],
    )
    assert labels == ["0:00.0", "0:00.3", "0:00.5", "0:00.7", "0:00.9", "0:01.0"]


@pytest.mark.parametrize(("count", "times"), [(1, TIMES[:1]), (3, ["0:00.0", "0:00.1", "0:00.2"])])
def test_a_short_clip_shows_each_frame_once(
    count: int, times: list[str], tmp_path: Path, labels: list[str]
) -> None:
    """There are no more."""
    opened(of_video(filmed(tmp_path, "mp4", "libx264", count)))
    assert labels == times


def test_a_time_is_rounded_as_a_whole() -> None:
    """Never to sixty seconds."""
    frame: Any = av.VideoFrame(64, 32, "yuv420p")
    said = [
        previews._tile(Frame(frame, time, 1.0), 64)[0]  # noqa: SLF001
        for time in (0.04, 59.94, 59.96, 754.31)
    ]
    assert said == ["0:00.0", "0:59.9", "1:00.0", "12:34.3"]


def test_a_clip_is_upright(tmp_path: Path) -> None:
    """Its track says that it is shown a quarter turn to the right: the bar at the foot is left."""
    turned = struct.pack(">9i", 0, 65536, 0, -65536, 0, 0, 270 * 65536, 0, 2**30)
    sheet = opened(of_video(put(tmp_path, patched((*TRACK, b"tkhd"), 40, turned))))
    last = sheet.crop((2 * 197, 344, 583, 680)).resize((27, 48))
    assert sheet.size == (583, 680)
    bar = [last.getpixel((x, 24)) for x in range(27)]
    assert [x for x, rgb in enumerate(bar) if isinstance(rgb, tuple) and rgb[1] > 150] == [2, 3]


def test_what_can_be_read_of_a_clip_is_shown(tmp_path: Path, labels: list[str]) -> None:
    """Half of it arrived."""
    opened(of_video(put(tmp_path, CLIP[: len(CLIP) // 2])))
    assert 1 < len(labels) < 6
    assert labels[0] == "0:00.0"


def test_a_clip_that_takes_too_long_shows_what_was_seen_by_then(
    tmp_path: Path, labels: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """A single key frame and no end."""
    whole = of_video(put(tmp_path, CLIP))
    labels.clear()
    monkeypatch.setattr(frames, "DECODE_SECONDS", 0.0)
    drawn = of_video(put(tmp_path, CLIP))
    opened(drawn)
    assert labels == TIMES[:1]
    assert [made and made.left_out for made in (whole, drawn)] == [(), (6,)]


def test_a_frame_of_more_pixels_than_allowed_is_not_decoded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Sixteen of them may be held at once."""
    path = put(tmp_path, CLIP)
    monkeypatch.setattr(frames, "MOST_FRAME_PIXELS", 480 * 270 * 2)
    opened(of_video(path))
    monkeypatch.setattr(frames, "MOST_FRAME_PIXELS", 480 * 270 // 2)
    assert of_video(path) is None


PLAYLIST = "#EXTM3U\n#EXT-X-TARGETDURATION:8\n#EXTINF:8,\n{}\n#EXT-X-ENDLIST\n"
MANY = struct.pack(">II", 1, 2**28)
HOSTILE_CLIPS = {
    "empty": b"",
    "a head alone": CLIP[:24],
    "no frames": CLIP[: inside(CLIP, b"mdat")],
    "black noise": CLIP[: inside(CLIP, b"mdat")] + bytes(len(CLIP)),
    "no tracks": CLIP[:32] + struct.pack(">I4s", 8, b"moov"),
    "an image": encoded(plain(9, 9)),
    "Matroska's head": b"\x1a\x45\xdf\xa3" + bytes(99),
    "HTML": b"<html>",
    "a quarter of a billion frames": patched(
        (*TABLE, b"stsc"), 12, MANY[4:], patched((*TABLE, b"stsz"), 4, MANY)
    ),
}


@pytest.mark.parametrize("data", HOSTILE_CLIPS.values(), ids=HOSTILE_CLIPS.keys())
def test_a_hostile_clip_has_no_preview(data: bytes, tmp_path: Path) -> None:
    """In a process that may take so much and no more."""
    path = put(tmp_path, data)
    assert process("video", str(path)) == (0, b"")


@pytest.mark.parametrize("text", [PLAYLIST, "ffconcat version 1.0\nfile {}\n"])
def test_a_playlist_opens_nothing(text: str, tmp_path: Path) -> None:
    """FFmpeg would read the file that it names, or ask the network for it."""
    clip = put(tmp_path, CLIP, "clip.mp4")
    assert of_video(put(tmp_path, text.format(clip.name).encode(), "list.mp4")) is None


def test_without_pyav_a_clip_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Callers can tell that from a clip that cannot be read."""
    assert previews.video_extra()
    monkeypatch.setitem(sys.modules, "av", None)
    assert not previews.video_extra()
    with pytest.raises(ImportError):
        of_video(put(tmp_path, CLIP))


# --- the process --------------------------------------------------------------------------------


def process(*arguments: str) -> tuple[int, bytes]:
    """Run the module as its callers do."""
    command = [sys.executable, "-P", "-m", "meigen_mcp.media.previews", *arguments]
    done = subprocess.run(command, capture_output=True, check=False, timeout=50)
    return done.returncode, done.stdout


def test_a_process_writes_a_preview(tmp_path: Path) -> None:
    """Of images, of which some may be missing, or of a clip."""
    images = [put(tmp_path, encoded(plain(64, 64)), str(number)) for number in (1, 2)]
    clip = put(tmp_path, CLIP)
    some = ["image", str(images[0]), "", str(images[1])]
    status, answer = process(*some)
    assert (status, Drawn.read(answer)) == (0, of_images([images[0], None, images[1]]))
    status, answer = process("video", str(clip))
    assert (status, Drawn.read(answer)) == (0, of_video(clip))
    assert process("image", "") == (0, b"")


@pytest.mark.skipif(sys.platform != "linux", reason="other systems bound less")
def test_a_process_may_not_take_all_memory() -> None:
    """Whatever a file makes a decoder ask for."""
    code = (
        "from meigen_mcp.media import previews as p; p.draw('image', '');"
        " print(1); bytearray(p.MEMORY)"
    )
    command = [sys.executable, "-c", code]
    done = subprocess.run(command, capture_output=True, check=False, timeout=50)
    assert (done.returncode, done.stdout, b"MemoryError" in done.stderr) == (1, b"1\n", True)


def box(kind: bytes, content: bytes, size: int | None = None, *, long: bool = False) -> bytes:
    """Return a box, perhaps with another size than its own."""
    if long:
        return struct.pack(">I4sQ", 1, kind, len(content) + 16 if size is None else size) + content
    return struct.pack(">I4s", len(content) + 8 if size is None else size, kind) + content
