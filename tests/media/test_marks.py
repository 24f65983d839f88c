"""The mark that others read, and texts, in the files themselves: no pixel or sample is changed.

That exiftool and the readers that people use see them is shown by `tests/tools/readers.py`.
"""

import re
import struct
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media.test_clips import FRAGMENTS, MP4_WAYS
from media.test_metadata import JOB, KNOWN, chunk, png
from media.test_previews import CLIP, box, encoded, noise, plain, put
from media.test_store import serving
from PIL import Image, ImageSequence
from support.clips import B_FRAMES, Clip, write
from support.credentials import sign, state

from meigen_mcp.media import credentials, metadata
from meigen_mcp.media.ends import examine
from meigen_mcp.media.marks import inscribe, level_of

PROPERTY = re.compile(r"<((?:dc|xmp|Iptc4xmpExt|meigen):\w+)>(.*?)</\1>", re.DOTALL)
CHILD = replace(JOB, made_from=("meigen://generations/gen-0/media/0",))
MARK = {
    "Iptc4xmpExt:DigitalSourceType": "http://cv.iptc.org/newscodes/digitalsourcetype/"
    "trainedAlgorithmicMedia",
    "Iptc4xmpExt:AISystemUsed": "midjourney-v7",
    "xmp:CreatorTool": "meigen-mcp",
    "xmp:CreateDate": "2026-03-14T15:09:26Z",
}
ALL = {
    **MARK,
    "dc:description": f'<rdf:Alt><rdf:li xml:lang="x-default">{JOB.prompt}</rdf:li></rdf:Alt>',
    "Iptc4xmpExt:AIPromptInformation": JOB.prompt,
    "dc:identifier": "gen-1",
    "meigen:settings": '{"aspectRatio": "16:9", "niji7Options": {"iw": 1.5}}',
    "dc:relation": "<rdf:Bag><rdf:li>gen-0</rdf:li></rdf:Bag>",
}


def marked(data: bytes, suffix: str, level: Any = "mark", known: Any = None) -> bytes | str:
    """Return a file with its mark, or what became of it."""
    target = BytesIO()
    known = known or metadata.facts(CHILD, 1)
    done = inscribe(BytesIO(data), target, suffix, known, level)
    if done == "marked":
        return target.getvalue()
    assert target.getvalue() == b""
    return done


def packets(data: bytes) -> list[dict[str, str]]:
    """Return the properties of every XMP packet in a file."""
    found = re.findall(rb"<x:xmpmeta.*?</x:xmpmeta>", data, re.DOTALL)
    return [dict(PROPERTY.findall(packet.decode())) for packet in found]


OLD = (
    b'<x:xmpmeta xmlns:x="adobe:ns:meta/"><rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syn'
    b'tax-ns#"><rdf:Description rdf:about="" xmlns:xmp="http://ns.adobe.com/xap/1.0/">'
    b"<xmp:CreatorTool>a model</xmp:CreatorTool></rdf:Description></rdf:RDF></x:xmpmeta>"
)
EXIF = Image.Exif()
EXIF[0x010F] = "a camera"
PHOTO = noise(101, 77)
HOLES = plain(9, 5, (1, 2, 3, 99), "RGBA")
SERIES: dict[str, Any] = {"save_all": True, "append_images": [plain(101, 77)]}
XMP_CHUNK = chunk(b"iTXt", b"XML:com.adobe.xmp" + bytes(5) + OLD)
PICTURES: dict[str, tuple[str, bytes]] = {
    **{f"PNG {mode}": (".png", png(mode)) for mode in ("RGB", "RGBA", "L", "P", "1", "I;16")},
    "PNG with XMP": (".png", png()[:33] + XMP_CHUNK + png()[33:]),
    "PNG that moves": (".png", encoded(PHOTO, "PNG", **SERIES)),
    "JPEG": (".jpg", encoded(PHOTO, "JPEG")),
    "JPEG with EXIF": (".jpg", encoded(PHOTO, "JPEG", exif=EXIF)),
    "JPEG with XMP": (".jpg", encoded(PHOTO, "JPEG", exif=EXIF, xmp=OLD)),
    "JPEG, progressive": (".jpg", encoded(PHOTO, "JPEG", progressive=True)),
    "JPEG, CMYK": (".jpg", encoded(PHOTO.convert("CMYK"), "JPEG")),
    "JPEG of several": (".jpg", encoded(PHOTO, "MPO", **SERIES)),
    "WebP": (".webp", encoded(PHOTO, "WEBP")),
    "WebP, lossless": (".webp", encoded(PHOTO, "WEBP", lossless=True)),
    "WebP with alpha": (".webp", encoded(PHOTO.convert("RGBA"), "WEBP", lossless=True)),
    "WebP with holes": (".webp", encoded(HOLES, "WEBP", lossless=True)),
    "WebP that moves": (".webp", encoded(PHOTO, "WEBP", **SERIES)),
    "WebP with a profile": (".webp", encoded(PHOTO, "WEBP", icc_profile=b"odd")),
    "WebP with XMP": (".webp", encoded(PHOTO, "WEBP", xmp=OLD)),
}  # fmt: skip


def pixels(data: bytes) -> list[tuple[str, tuple[int, int], bytes]]:
    """Return every frame of a picture as a decoder finds it."""
    with Image.open(BytesIO(data)) as image:
        return [(f.mode, f.size, f.tobytes()) for f in ImageSequence.Iterator(image)]


@pytest.mark.parametrize("level", ["mark", "all"])
@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_says_that_an_algorithm_made_it(name: str, level: str, tmp_path: Path) -> None:
    """With model and date, and with `all` more; every pixel and what was there stays."""
    suffix, data = PICTURES[name]
    found = marked(data, suffix, level)
    assert isinstance(found, bytes)
    own = {"xmp:CreatorTool": "a model"} if "with XMP" in name else {}
    assert packets(found) == [(MARK if level == "mark" else ALL) | own]
    assert pixels(found) == pixels(data)
    assert examine(put(tmp_path, found), suffix) == (suffix, False)
    with Image.open(BytesIO(data)) as before, Image.open(BytesIO(found)) as after:
        assert after.getexif() == before.getexif()
        assert after.info.get("icc_profile") == before.info.get("icc_profile")


def samples(path: Path) -> list[tuple[int, Any, Any, bytes]]:
    """Return every packet of a clip: stream, times and bytes."""
    with av.open(str(path)) as clip:
        return [(p.stream.index, p.pts, p.dts, bytes(p)) for p in clip.demux() if p.size]


CLIPS = {
    **{way: Clip("mp4", "libx264", B_FRAMES, muxer) for way, muxer in MP4_WAYS.items()},
    "with sound": Clip("mp4", "libx264", B_FRAMES, {"movflags": FRAGMENTS}, sound=(2.0, "aac")),
    "MOV": Clip("mov", "libx264", B_FRAMES),
    "HEVC": Clip("mp4", "libx265", {"preset": "ultrafast", "x265-params": "log-level=none"}),
}


@pytest.mark.parametrize("way", CLIPS)
def test_a_clip_says_that_an_algorithm_made_it(way: str, tmp_path: Path) -> None:
    """Behind everything else, so that no sample moves; an index of fragments stays the last."""
    data = write(CLIPS[way], tmp_path / "clip").read_bytes()
    suffix = ".mov" if way == "MOV" else ".mp4"
    found = marked(data, suffix)
    assert isinstance(found, bytes)
    assert packets(found) == [MARK]
    after = put(tmp_path, found)
    assert samples(after) == samples(tmp_path / "clip")
    assert examine(after, suffix) == (suffix, False)
    again = marked(found, suffix, "all")
    assert isinstance(again, bytes)
    assert packets(again) == [ALL]
    assert samples(put(tmp_path, again)) == samples(tmp_path / "clip")


EARLIER = "meigen://generations/1/media/0"


@pytest.mark.parametrize(
    ("arguments", "made_from", "own"),
    [
        ({}, (), False),
        ({"referenceType": "style"}, (), False),
        ({"referenceImages": [EARLIER]}, (EARLIER,), False),
        ({"referenceImages": ["file:///a.png#sha256=00"]}, (), True),
        ({"referenceVideo": "https://a.example/b.mp4"}, (), True),
        ({"referenceImages": ["https://a.example/1.png", EARLIER]}, (EARLIER,), True),
    ],
)
def test_a_picture_of_the_person_makes_a_composite(
    arguments: dict[str, Any], made_from: tuple[str, ...], own: bool
) -> None:
    """An earlier result does not."""
    job = replace(JOB, arguments=arguments, made_from=made_from)
    kind = "compositeWithTrainedAlgorithmicMedia" if own else "trainedAlgorithmicMedia"
    assert metadata.facts(job, 0)["digitalSourceType"] == kind


def test_no_path_and_no_url_is_told() -> None:
    """A file that is posted tells nobody's folders and no secret link."""
    given = {"referenceImages": ["file:///home/ada/x.png#sha256=0", "https://a.example/?key=1"]}
    known = metadata.facts(replace(CHILD, arguments=given), 0)
    for suffix, data in (PICTURES["JPEG"], PICTURES["WebP"], (".mp4", CLIP)):
        found = marked(data, suffix, "all", known)
        assert isinstance(found, bytes)
        assert [part in found for part in (b"ada", b"a.example", b"images.meigen.ai")] == [
            False
        ] * 3


@pytest.mark.parametrize("prompt", ["a < b & c > d", "]]>", "\0\x08\ud83d", "'\"", "</rdf:RDF>"])
def test_any_prompt_makes_good_xml(prompt: str) -> None:
    """Markup in it is text."""
    from xml.etree.ElementTree import fromstring  # noqa: PLC0415  # our own file

    found = marked(PICTURES["JPEG"][1], ".jpg", "all", {**KNOWN, "prompt": prompt})
    assert isinstance(found, bytes)
    packet = re.search(rb"<x:xmpmeta.*</x:xmpmeta>", found, re.DOTALL)
    assert packet is not None
    texts = [element.text for element in fromstring(packet[0]).iter()]  # noqa: S314
    assert texts.count(re.sub("[\0\x08\ud83d]", " ", prompt)) == 2


# --- what stays as it is ------------------------------------------------------------------------

SIGNED = {
    ".png": sign(encoded(PHOTO), "image/png"),
    ".jpg": sign(encoded(PHOTO, "JPEG"), "image/jpeg"),
    ".webp": sign(encoded(PHOTO, "WEBP"), "image/webp"),
    ".mp4": sign(CLIP, "video/mp4"),
    ".avif": sign(encoded(PHOTO, "AVIF"), "image/avif"),
}
SAID = "the C2PA validator says Valid (signingCredential.untrusted); signed by Ada of Studio Ada"


@pytest.mark.parametrize("suffix", SIGNED)
async def test_a_signed_file_stays_bit_for_bit_and_its_signer_is_told(
    suffix: str, tmp_path: Path
) -> None:
    """One more byte would void the credentials."""
    data = SIGNED[suffix]
    kind: Any = "video" if suffix == ".mp4" else "image"
    path, why_not, said = await serving(tmp_path, lambda: data).save(
        replace(JOB, media_type=kind), 0
    )
    assert (path.read_bytes() == data, path.with_suffix(".json").exists()) == (True, True)
    assert (why_not, said) == (None, SAID)
    mime_type = "video/mp4" if suffix == ".mp4" else f"image/{suffix[1:]}".replace("jpg", "jpeg")
    assert state(path.read_bytes(), mime_type) == "Valid"


async def test_without_the_library_credentials_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And nothing is said of who signed them."""
    monkeypatch.setattr(credentials, "extra", lambda: False)
    saved = await serving(tmp_path, lambda: SIGNED[".png"]).save(JOB, 0)
    assert saved.path.read_bytes() == SIGNED[".png"]
    assert saved.credential == (
        'it has content credentials; "meigen-mcp[credentials]" tells who signed them'
    )


async def test_broken_credentials_are_left_alone_too(tmp_path: Path) -> None:
    """Whoever wrote them."""
    odd = png()[:33] + chunk(b"caBX", b"odd") + png()[33:]
    saved = await serving(tmp_path, lambda: odd).save(JOB, 0)
    assert (saved.path.read_bytes(), saved.credential) == (
        odd,
        "its content credentials cannot be read",
    )


def test_what_is_told_of_credentials_is_short_and_on_one_line() -> None:
    """Anybody may have written it."""
    evil = {"common_name": "Ada\n\x1b[2J\u202e" + "x" * 999, "issuer": None}
    manifest = {"active_manifest": "1", "manifests": {"1": {"signature_info": evil}}}
    said = credentials.told({**manifest, "validation_state": "Invalid", "validation_status": []})
    assert said == f"the C2PA validator says Invalid; signed by Ada [2J {'x' * 91}"
    assert credentials.told({}) == (
        "the C2PA validator says nothing; signed by nobody who is named"
    )


@pytest.mark.parametrize(
    ("suffix", "data"),
    [
        (".gif", encoded(PHOTO, "GIF")),
        (".avif", encoded(PHOTO, "AVIF")),
        (".webm", b"\x1a\x45\xdf\xa3"),
        (".png", b""),
        (".jpg", b"\xff\xd8\xff"),
        (".jpg", encoded(PHOTO, "JPEG", xmp=b"no packet")),
        (".webp", encoded(PHOTO, "WEBP")[:40]),
        (".mp4", CLIP[:-9]),
        (".mp4", CLIP[:24] + struct.pack(">I", 0) + b"mdat" + bytes(9)),
        (".mp4", CLIP + box(b"uuid", b"x" * 9)),
        (".mp4", CLIP + b"<html>"),
    ],
    ids=["GIF", "AVIF", "WebM", "empty", "short", "odd XMP", "cut WebP", "cut MP4", "to the end",
         "odd box", "junk behind"],
)  # fmt: skip
def test_what_cannot_hold_a_mark_is_left(suffix: str, data: bytes) -> None:
    """It is said in the file beside it."""
    assert marked(data, suffix) == "left"


def test_a_text_that_does_not_fit_is_left_out_and_the_mark_stays() -> None:
    """A segment of a JPEG has 64 KiB."""
    known = {**KNOWN, "prompt": "x" * 70_000}
    everything, mark = (marked(PICTURES["JPEG"][1], ".jpg", how, known) for how in ("all", "mark"))
    assert everything == mark
    assert b"DigitalSourceType" in mark


@given(data=st.binary(max_size=60), place=st.integers(0, 400), name=st.sampled_from([*PICTURES]))
@settings(deadline=None)
def test_no_file_raises(data: bytes, place: int, name: str) -> None:
    """Whatever is written over whatever part of it."""
    suffix, source = PICTURES[name]
    said = marked(source[:place] + data + source[place + len(data) :], suffix)
    assert isinstance(said, bytes) or said in ("left", "signed")


# --- how much -----------------------------------------------------------------------------------


def test_png_says_all_and_others_the_mark_unless_told() -> None:
    """Nobody's prompt is posted unawares, and nobody's texts disappear."""
    assert {s: level_of(s, "") for s in (".png", ".jpg", ".webp", ".mp4")} == {
        ".png": "all",
        ".jpg": "mark",
        ".webp": "mark",
        ".mp4": "mark",
    }
    assert [level_of(".png", level) for level in ("all", "mark", "off")] == ["all", "mark", "off"]


@pytest.mark.parametrize("level", ["", "all", "mark", "off"])
@pytest.mark.parametrize("name", ["PNG RGB", "JPEG", "WebP"])
async def test_a_saved_file_says_as_much_as_it_should(
    name: str, level: str, tmp_path: Path
) -> None:
    """What it does not say itself lies beside it, unless nothing shall be said."""
    suffix, data = PICTURES[name]
    medium = serving(tmp_path, lambda: data)
    medium.level = level
    path = (await medium.save(CHILD, 0)).path
    found = path.read_bytes()
    everything = level == "all" or (level == "" and suffix == ".png")
    said = {} if level == "off" else ALL if everything else MARK
    assert packets(found) == ([said] if said else [])
    assert (found == data, JOB.prompt.encode() in found) == (level == "off", everything)
    beside = level != "off" and not (suffix == ".png" and everything)
    assert path.with_suffix(".json").exists() == beside
