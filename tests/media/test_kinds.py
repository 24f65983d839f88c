"""What a file is, by all of its head and, for clips, by all of it; and whether it is whole."""

import struct
from io import BytesIO
from pathlib import Path
from typing import Any

import filetype
import puremagic
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media.test_previews import CLIP, box, encoded, noise, plain, put
from PIL import Image
from support.clips import FAST, VPX, Clip, write

from meigen_mcp.media.ends import examine
from meigen_mcp.media.kinds import HEAD, MIME, sniff

AVIF = encoded(noise(64, 48), "AVIF")
LOOP = {"save_all": True, "append_images": [plain(64, 48), noise(64, 48)], "duration": 100}
MOVING = encoded(noise(64, 48), "AVIF", **LOOP)


def branded(data: bytes, major: bytes, *compatible: bytes) -> bytes:
    """Return an ISO file that claims other brands."""
    size = int.from_bytes(data[:4])
    return box(b"ftyp", major + bytes(4) + b"".join(compatible)) + data[size:]


HEADS: dict[str, tuple[bytes, str | None]] = {
    "PNG": (b"\x89PNG\r\n\x1a\n\0\0", ".png"),
    "PNG with line ends changed": (b"\x89PNG\n\x1a\n", None),
    "JPEG": (b"\xff\xd8\xff\xe0\0\x10JFIF", ".jpg"),
    "GIF87a": (b"GIF87a", ".gif"),
    "GIF89a": (b"GIF89a", ".gif"),
    "GIF88a": (b"GIF88a", None),
    "WebP": (b"RIFF\x10\0\0\0WEBPVP8 ", ".webp"),
    "WAV": (b"RIFF\x10\0\0\0WAVEfmt ", None),
    "MP4": (b"\0\0\0\x18ftypisom", ".mp4"),
    "MP4 of version 2": (b"\0\0\0\x18ftypmp42", ".mp4"),
    "MP4 with AV1": (branded(CLIP, b"isom", b"isom", b"av01"), ".mp4"),
    "MOV": (b"\0\0\0\x14ftypqt  ", ".mov"),
    "AVIF": (b"\0\0\0\x1cftypavif", ".avif"),
    "AVIF that moves": (b"\0\0\0\x1cftypavis", ".avif"),
    "AVIF by mif1": (branded(AVIF, b"mif1", b"mif1", b"avif", b"miaf"), ".avif"),
    "AVIF by miaf": (branded(AVIF, b"miaf", b"avif"), ".avif"),
    "AVIF by a brand of video": (branded(AVIF, b"iso8", b"mif1", b"avif"), ".avif"),
    "AVIF that moves by msf1": (branded(MOVING, b"msf1", b"avis", b"iso8"), ".avif"),
    "AVIF behind many brands": (branded(AVIF, b"mif1", *[b"odd "] * 99, b"avif"), ".avif"),
    "HEIC": (b"\0\0\0\x18ftypheic\0\0\0\0mif1heic", ".heic"),
    "HEIC by mif1": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1heic", ".heic"),
    "HEIC that moves": (b"\0\0\0\x18ftypmsf1\0\0\0\0msf1hevc", ".heic"),
    "HEIF of another codec": (b"\0\0\0\x18ftypmif1\0\0\0\0mif1jpeg", ".heif"),
    "JPEG XL": (b"\xff\x0a\x7f\x01", ".jxl"),
    "JPEG XL in boxes": (b"\0\0\0\x0cJXL \r\n\x87\n\0\0\0\x14ftypjxl ", ".jxl"),
    "WebM": (b"\x1a\x45\xdf\xa3\x9f\x42\x82\x84webm", ".webm"),
    "WebM, its type unsaid": (b"\x1a\x45\xdf\xa3\x01", ".webm"),
    "Matroska": (b"\x1a\x45\xdf\xa3\xa3\x42\x82\x88matroska", ".mkv"),
    "HTML": (b"<!DOCTYPE html>", None),
    "JSON": (b"{}", None),
    "nothing": (b"", None),
}  # fmt: skip


@pytest.mark.parametrize("name", HEADS)
def test_the_head_tells_the_type(name: str) -> None:
    """All of it: the first brand of an ISO file may say nothing."""
    head, suffix = HEADS[name]
    assert sniff(head[:HEAD]) == suffix


def test_pillow_opens_what_is_called_avif() -> None:
    """By its compatible brands alone."""
    with Image.open(BytesIO(branded(AVIF, b"mif1", b"mif1", b"avif", b"miaf"))) as image:
        assert (image.format, image.size) == ("AVIF", (64, 48))


SOUNDS = {
    ".m4a": Clip("mp4", "", times=(), sound=(0.5, "aac")),
    ".weba": Clip("webm", "", times=(), sound=(0.5, "libopus")),
    ".mka": Clip("matroska", "", times=(), sound=(0.5, "aac")),
}


@pytest.mark.parametrize("suffix", SOUNDS)
def test_a_clip_without_pictures_is_sound(suffix: str, tmp_path: Path) -> None:
    """Its container is the same."""
    path = write(SOUNDS[suffix], tmp_path / "sound")
    kind = sniff(path.read_bytes()[:HEAD])
    assert kind is not None
    assert examine(path, kind) == (suffix, False)


# --- libraries ----------------------------------------------------------------------------------

# What three libraries say of the same files, where it is not what they are; see docs/files.md.
MISSES: dict[str, dict[str, str | None]] = {
    "AVIF by mif1": {"puremagic": "video/mp4", "libmagic": "image/heif"},
    "AVIF by a brand of video": {"filetype": None, "puremagic": None, "libmagic": "video/mp4"},
    "AVIF that moves": {"filetype": None},
    "AVIF that moves by msf1": {
        "filetype": None, "puremagic": None, "libmagic": "image/heif-sequence",
    },
    "HEIC": {"puremagic": None},
    "HEIC by mif1": {"puremagic": None, "libmagic": "image/heif"},
    "JPEG XL": {"filetype": None},
    "JPEG XL in boxes": {"filetype": None},
    "MP4 with sound alone": dict.fromkeys(("filetype", "puremagic", "libmagic"), "video/mp4"),
    "WebM with sound alone": dict.fromkeys(("filetype", "puremagic", "libmagic"), "video/webm"),
}  # fmt: skip


def matrix(folder: Path) -> dict[str, tuple[bytes, str]]:
    """Return whole files and what they are."""
    said = {name: data for name, (data, _) in HEADS.items() if name in MISSES} | PICTURES
    truth = {name: MIME[sniff(data[:HEAD]) or ""] for name, data in said.items()}
    said["MP4"], truth["MP4"] = CLIP, "video/mp4"
    for name, suffix in (("MP4 with sound alone", ".m4a"), ("WebM with sound alone", ".weba")):
        said[name] = write(SOUNDS[suffix], folder / "sound").read_bytes()
        truth[name] = MIME[suffix]
    return {name: (data, truth[name]) for name, data in said.items()}


def ask_filetype(data: bytes) -> str | None:
    """Ask the first library."""
    kind = filetype.guess(data)
    return None if kind is None else str(kind.mime)


def ask_puremagic(data: bytes) -> str | None:
    """Ask the second."""
    try:
        return puremagic.from_string(data, mime=True) or None
    except puremagic.PureError:
        return None


def ask_libmagic(data: bytes) -> str | None:
    """Ask the third, which has to be there."""
    pytest.importorskip("pylibmagic")
    return str(pytest.importorskip("magic").from_buffer(data, mime=True))


LIBRARIES = {"filetype": ask_filetype, "puremagic": ask_puremagic, "libmagic": ask_libmagic}


@pytest.mark.parametrize("library", LIBRARIES)
def test_no_library_is_right_on_all_of_it(library: str, tmp_path: Path) -> None:
    """One that was would be taken in place of our own table."""
    said = {name: (LIBRARIES[library](data), is_) for name, (data, is_) in matrix(tmp_path).items()}
    missed = {name: found for name, (found, is_) in said.items() if found != is_}
    expected = {name: row[library] for name, row in MISSES.items() if library in row}
    assert missed == expected


def test_ours_is_right_on_all_of_it(tmp_path: Path) -> None:
    """By all brands, and for clips by their tracks."""
    for data, is_ in matrix(tmp_path).values():
        suffix = sniff(data[:HEAD]) or ""
        assert MIME[examine(put(tmp_path, data), suffix)[0]] == is_


def table() -> str:
    """Return the table of the docs."""
    lines = [f"| file | {' | '.join(LIBRARIES)} |", "|---" * (len(LIBRARIES) + 1) + "|"]
    for name, row in MISSES.items():
        cells = (str(row[one] or "nothing") if one in row else "right" for one in LIBRARIES)
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines)


# --- whether it is whole ------------------------------------------------------------------------


def photo(kind: str, **options: Any) -> bytes:
    """Return a picture with a thumbnail and marks that could be taken for the end."""
    return encoded(noise(160, 120), kind, **options)


PICTURES: dict[str, bytes] = {
    "PNG": photo("PNG"),
    "JPEG": photo("JPEG"),
    "JPEG, progressive": photo("JPEG", progressive=True),
    "JPEG with restarts": photo("JPEG", restart_marker_blocks=1),
    "JPEG with a JPEG within": photo("JPEG", exif=b"Exif\0\0" + encoded(plain(9, 9), "JPEG")),
    "JPEG of several": photo("MPO", save_all=True, append_images=[noise(64, 48)]),
    "GIF": photo("GIF"),
    "GIF that moves": photo("GIF", save_all=True, append_images=[noise(160, 120)], comment=b";,!"),
    "WebP": photo("WEBP"),
    "WebP, lossless, with a profile": photo("WEBP", lossless=True, icc_profile=b"odd"),
    "WebP that moves": photo("WEBP", save_all=True, append_images=[noise(160, 120)]),
    "AVIF": photo("AVIF"),
    "AVIF that moves": MOVING,
    "JPEG XL in boxes": box(b"JXL ", b"\r\n\x87\n") + box(b"ftyp", b"jxl ") + box(b"jxlc", b"x"),
    "HEIC": branded(AVIF, b"heic", b"mif1"),
}  # fmt: skip


@pytest.mark.parametrize("name", PICTURES)
@pytest.mark.parametrize("behind", [b"", b"\0", b"\n", b"<html></html>"], ids=range(4))
def test_a_whole_picture_is_whole_whatever_hangs_on(
    name: str, behind: bytes, tmp_path: Path
) -> None:
    """Phones and gateways hang things on."""
    data = PICTURES[name] + behind
    suffix = sniff(data[:HEAD]) or ""
    assert examine(put(tmp_path, data), suffix) == (suffix, False)


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_that_breaks_off_is_known_to(name: str, tmp_path: Path) -> None:
    """Wherever it does; of several pictures the first one counts."""
    data = PICTURES[name]
    data = data[: data.index(b"\xff\xd9") + 2] if name == "JPEG of several" else data
    suffix = sniff(data[:HEAD]) or ""
    steps = range(20, len(data), max(1, len(data) // 60))
    whole = [
        size
        for size in (*steps, len(data) - 1)
        if not examine(put(tmp_path, data[:size]), suffix)[1]
    ]
    assert whole == []


def test_a_bare_jpeg_xl_does_not_say_where_it_ends(tmp_path: Path) -> None:
    """So it is not said to break off."""
    assert examine(put(tmp_path, b"\xff\x0a" + bytes(9)), ".jxl") == (".jxl", False)


SUFFIXES = [".png", ".jpg", ".gif", ".webp", ".avif", ".heic", ".jxl", ".mp4", ".webm"]


@given(data=st.binary(max_size=300), suffix=st.sampled_from(SUFFIXES))
@settings(deadline=None)
def test_no_file_raises(data: bytes, suffix: str, tmp_path_factory: Any) -> None:
    """Whatever it is."""
    found = examine(put(tmp_path_factory.getbasetemp(), data, "any"), suffix)
    assert found in {(suffix, True), (suffix, False), (found[0], True), (found[0], False)}


def test_a_box_of_no_size_reaches_to_the_end(tmp_path: Path) -> None:
    """As the last one may."""
    data = AVIF[: AVIF.index(b"mdat") - 4] + struct.pack(">I", 0) + AVIF[AVIF.index(b"mdat") :]
    assert examine(put(tmp_path, data), ".avif") == (".avif", False)


def test_clips_are_judged_too(tmp_path: Path) -> None:
    """By their samples."""
    for suffix, clip in {
        ".mp4": Clip("mp4", "libx264", FAST),
        ".webm": Clip("webm", "libvpx-vp9", VPX),
    }.items():
        data = write(clip, tmp_path / "clip").read_bytes()
        assert examine(put(tmp_path, data), suffix) == (suffix, False)
        assert examine(put(tmp_path, data[:-9]), suffix) == (suffix, True)
