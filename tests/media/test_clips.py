"""How long a clip is and whether it is whole: a matrix of clips made on the spot, and lies."""

import struct
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from media.test_previews import CLIP, TABLE, TRACK, box, inside, patched, put
from pymediainfo import MediaInfo
from support.clips import B_FRAMES, FAST, FRAMES, RATE, VPX, Clip, decode, write

from meigen_mcp.media import matroska, mp4, samples
from meigen_mcp.media.clips import read
from meigen_mcp.sandbox.media import render_clip

FRAME = 1 / RATE
SVT = {"preset": "11", "svtav1-params": "lp=1"}
HELD = (*range(20), 30, 31, 32, 60)
LATE = tuple(range(12, 12 + FRAMES))
FRAGMENTS = "+frag_keyframe"
EMPTY = "+frag_keyframe+empty_moov"

MP4_WAYS: Mapping[str, Mapping[str, str]] = {
    "plain": {},
    "faststart": {"movflags": "+faststart"},
    "fragments behind the first": {"movflags": FRAGMENTS},
    "fragments only": {"movflags": EMPTY},
    "a fragment a frame": {"movflags": "+frag_every_frame+empty_moov"},
    "fragments, late moov": {"movflags": f"{FRAGMENTS}+delay_moov"},
    "fragments without offsets": {"movflags": f"{EMPTY}+omit_tfhd_offset"},
    "fragments from the moof": {"movflags": f"{EMPTY}+default_base_moof"},
    "fragments without an index": {"movflags": f"{EMPTY}+skip_trailer"},
    "fragments of one track": {"movflags": f"{EMPTY}+separate_moof"},
    "fragments with one index": {"movflags": f"{EMPTY}+default_base_moof+global_sidx"},
    "DASH": {"movflags": f"{EMPTY}+default_base_moof+dash"},
    "CMAF": {"movflags": f"{FRAGMENTS}+cmaf"},
    "hybrid": {"movflags": f"{FRAGMENTS}+hybrid_fragmented"},
    "no edit list": {"use_editlist": "0"},
    "negative offsets": {"movflags": "+negative_cts_offsets"},
    "own tags": {"movflags": "+use_metadata_tags"},
}
WEBM_WAYS: Mapping[str, Mapping[str, str]] = {
    "plain": {},
    "live": {"live": "1"},
    "small clusters": {"cluster_time_limit": "100"},
    "cues in front": {"cues_to_front": "1"},
    "DASH": {"dash": "1"},
}
TAGS: Mapping[str, Mapping[str, Any]] = {
    "BT.709": {"colorspace": 1, "color_primaries": 1, "color_trc": 1, "color_range": 1},
    "BT.601": {"colorspace": 6, "color_primaries": 6, "color_trc": 6, "color_range": 1},
    "BT.2020": {"colorspace": 9, "color_primaries": 9, "color_trc": 14, "color_range": 1},
    "full range": {"colorspace": 1, "color_range": 2},
}


def matrix() -> Iterator[tuple[str, Clip]]:
    """Yield containers x codecs x ways of writing x colour tags."""
    for way, muxer in MP4_WAYS.items():
        plain = Clip("mp4", "libx264", FAST, muxer)
        yield f"MP4 H.264 {way}", plain
        yield f"MP4 H.264 B-frames {way}", replace(plain, options=B_FRAMES)
        yield (
            f"MP4 H.264 B-frames AAC {way}",
            replace(plain, options=B_FRAMES, sound=(2.2, "aac")),
        )
    for codec in ("libvpx-vp9", "libvpx"):
        for way, muxer in WEBM_WAYS.items():
            yield f"WebM {codec} {way}", Clip("webm", codec, VPX, muxer)
    webm = Clip("webm", "libvpx-vp9", VPX)
    yield "WebM Opus", replace(webm, sound=(1.5, "libopus"))
    yield "WebM Opus longer, live", replace(webm, sound=(2.5, "libopus"), muxer={"live": "1"})
    yield "WebM AV1", Clip("webm", "libsvtav1", SVT)
    yield "Matroska H.264 AAC", Clip("matroska", "libx264", B_FRAMES, sound=(2.1, "aac"))
    yield "Matroska H.264 live", Clip("matroska", "libx264", B_FRAMES, {"live": "1"})
    yield "Matroska FFV1", Clip("matroska", "ffv1")
    yield "MP4 HEVC", Clip("mp4", "libx265", {"preset": "fast", "x265-params": "log-level=none"})
    yield "MP4 AV1", Clip("mp4", "libsvtav1", SVT)
    yield "MP4 AV1 fragments", Clip("mp4", "libsvtav1", SVT, {"movflags": EMPTY})
    yield "MP4 VP9", Clip("mp4", "libvpx-vp9", VPX)
    yield "MP4 MPEG-4", Clip("mp4", "mpeg4")
    yield "MOV H.264", Clip("mov", "libx264", B_FRAMES)
    yield "MOV H.264 fragments", Clip("mov", "libx264", B_FRAMES, {"movflags": FRAGMENTS})
    yield "MOV ProRes", Clip("mov", "prores_ks", pix_fmt="yuv422p10le")
    yield "MOV JPEG", Clip("mov", "mjpeg", pix_fmt="yuvj420p")
    for container in ("ismv", "3gp", "ipod", "f4v"):
        yield container, Clip(container, "libx264", FAST)
    for name, tags in TAGS.items():
        yield f"MP4 H.264 {name}", Clip("mp4", "libx264", B_FRAMES, tags=tags)
        yield f"WebM VP9 {name}", Clip("webm", "libvpx-vp9", VPX, tags=tags)
    held = Clip("mp4", "libx264", B_FRAMES, times=HELD)
    yield "MP4 held frames", held
    yield "MP4 held frames, fragments", replace(held, muxer={"movflags": EMPTY})
    yield "WebM held frames", replace(webm, times=HELD)
    yield "WebM held frames, live", replace(webm, times=HELD, muxer={"live": "1"})
    yield "MP4 that begins late", Clip("mp4", "libx264", B_FRAMES, times=LATE)
    yield "WebM that begins late", replace(webm, times=LATE)


MATRIX = dict(matrix())


def media_info(path: Path) -> float | None:
    """Return the length that MediaInfo reads, or None where it reads none."""
    (general,) = [t for t in MediaInfo.parse(path).tracks if t.track_type == "General"]
    return None if general.duration is None else float(general.duration) / 1000


def test_the_matrix_is_large_enough() -> None:
    """Sixty were asked for."""
    assert len(MATRIX) >= 60


@pytest.mark.parametrize("name", MATRIX)
def test_the_length_of_a_clip_is_right_to_a_frame_and_never_too_short(
    name: str, tmp_path: Path
) -> None:
    """Compared with what was written, with MediaInfo, and with all its frames decoded by PyAV."""
    clip = MATRIX[name]
    path = write(clip, tmp_path / "clip")
    found = read(path)
    assert (found.cut, found.pictures, found.seconds is not None) == (False, True, True)
    seconds = found.seconds or 0.0
    shown, _ = decode(path)
    written = (clip.times[-1] + 1 - clip.times[0]) * FRAME
    heard = clip.sound[0] if clip.sound else 0.0
    told = media_info(path)
    # Sound comes in pieces of its own, some before the beginning.
    slack = 0.1 if heard > written else FRAME
    longest = max(written, heard, 0.0 if told is None else told)
    assert shown == pytest.approx(written, abs=FRAME)
    assert max(written, heard) - 0.003 <= seconds <= longest + slack


@pytest.mark.parametrize("name", MATRIX)
def test_a_clip_that_is_cut_is_known_to_be_and_has_no_length(name: str, tmp_path: Path) -> None:
    """Wherever it breaks off; a live recording may break off between two of its pieces."""
    data = write(MATRIX[name], tmp_path / "clip").read_bytes()
    unnoticed = []
    for part in range(1, 24):
        found = read(put(tmp_path, data[: len(data) * part // 24]))
        assert found.seconds is None or not found.cut
        unnoticed += [] if found.cut else [part]
    assert len(unnoticed) <= (1 if "live" in name or "fragment" in name else 0), unnoticed


# --- what contradicts itself --------------------------------------------------------------------


def seconds(data: bytes, folder: Path) -> float | None:
    """Return the length of a clip."""
    return read(put(folder, data)).seconds


@pytest.mark.parametrize("length", [7.3, 0.5, 60.0])
def test_a_clip_of_the_sandbox_has_its_length(length: float, tmp_path: Path) -> None:
    """To the millisecond."""
    assert seconds(render_clip(ratio="9:16", seconds=length), tmp_path) == length


MVHD, STTS = (b"moov", b"mvhd"), (*TABLE, b"stts")
ONE_SECOND = struct.pack(">I", 48_000)


@pytest.mark.parametrize(
    "data",
    [
        patched(MVHD, 16, ONE_SECOND),
        patched(MVHD, 16, struct.pack(">I", 900_000)),
        patched(STTS, 12, struct.pack(">I", 1000)),
        patched(STTS, 12, struct.pack(">I", 2**32 - 1)),
        patched((*TRACK, b"mdia", b"mdhd"), 12, struct.pack(">I", 0)),
        patched((*TRACK, b"mdia", b"hdlr"), 8, b"meta"),
        patched(STTS, 4, struct.pack(">I", 0)),
    ],
    ids=["short header", "long header", "short frames", "backwards", "no scale", "no pictures",
         "no frames"],
)  # fmt: skip
def test_a_clip_that_says_two_things_has_no_length(data: bytes, tmp_path: Path) -> None:
    """It has a price, so the person is asked for it."""
    assert seconds(data, tmp_path) is None


def test_a_header_that_says_nothing_is_not_missed(tmp_path: Path) -> None:
    """The frames are counted."""
    assert seconds(patched(MVHD, 16, bytes(4)), tmp_path) == 8.0
    assert seconds(patched(MVHD, 16, b"\xff" * 4), tmp_path) == 8.0


def test_a_webm_whose_header_lies_has_no_length(tmp_path: Path) -> None:
    """It says 2 s."""
    data = write(Clip("webm", "libvpx-vp9", VPX), tmp_path / "clip").read_bytes()
    place = data.index(b"\x44\x89\x88") + 3
    for lie in (500.0, 60_000.0):
        lied = data[:place] + struct.pack(">d", lie) + data[place + 8 :]
        assert seconds(lied, tmp_path) is None


def test_fragments_of_which_one_is_missing_have_no_length(tmp_path: Path) -> None:
    """The header says how long all of them are together."""
    clip = Clip("mp4", "libx264", FAST, {"movflags": EMPTY})
    data = write(clip, tmp_path / "clip").read_bytes()
    place = inside(data, b"moov", b"mvex") - 8
    size = struct.unpack_from(">I", data, place)[0]
    mehd = box(b"mehd", struct.pack(">II", 0, 5000))
    moov = inside(data, b"moov") - 8
    grown = bytearray(data[: place + 8] + mehd + data[place + 8 :])
    struct.pack_into(">I", grown, place, size + len(mehd))
    struct.pack_into(">I", grown, moov, struct.unpack_from(">I", data, moov)[0] + len(mehd))
    found = read(put(tmp_path, bytes(grown)))
    assert (found.seconds, found.cut) == (None, True)


def test_sound_alone_is_no_picture(tmp_path: Path) -> None:
    """In the same containers."""
    for container, codec in (("mp4", "aac"), ("webm", "libopus"), ("matroska", "aac")):
        clip = Clip(container, "", times=(), sound=(1.0, codec))
        found = read(write(clip, tmp_path / "sound"))
        assert (found.pictures, found.cut) == (False, False)
        assert found.seconds == pytest.approx(1.0, abs=0.05)


HEAD = box(b"ftyp", b"isom\0\0\0\0")


@pytest.mark.parametrize(
    ("data", "cut"),
    [
        (b"", True),
        (HEAD, True),
        (HEAD + box(b"mdat", b"frames"), True),
        (HEAD + box(b"moov", b""), False),
        (HEAD + box(b"moov", box(b"mvhd", b"")), False),
        (HEAD + box(b"moov", b"", 7), True),
        (HEAD + box(b"moov", b"", 2**32 - 1), True),
        (HEAD + box(b"moov", b"", 15, long=True), True),
        (HEAD + box(b"moov", b"", 2**64 - 1, long=True), True),
        (HEAD + box(b"mdat", b"", 2**63, long=True) + CLIP[24:], True),
        (HEAD + box(b"mdat", b"", 0) + CLIP[24:], True),
        (HEAD + box(b"mdat", b"", 2) + CLIP[24:], True),
        (HEAD + struct.pack(">I4sI", 1, b"moov", 0), True),
        (CLIP + b"half", False),
        (CLIP + bytes(99), False),
        (CLIP + b"<html></html>", False),
        (b"\x1a\x45\xdf\xa3" + bytes(99), False),
        (b"\x1a\x45\xdf\xa3\x81", True),
    ],
    ids=["empty", "head alone", "no moov", "empty moov", "empty mvhd", "too small", "too large",
         "64-bit too small", "64-bit too large", "swallowed", "to the end", "backwards", "cut size",
         "half a word behind", "zeros behind", "a page behind", "no Matroska", "cut Matroska"],
)  # fmt: skip
def test_an_odd_clip_has_no_length(data: bytes, cut: bool, tmp_path: Path) -> None:
    """Unless all of it is there, with something behind."""
    whole = data.startswith(CLIP) and not cut
    found = read(put(tmp_path, data))
    assert (found.seconds, found.cut) == (8.0 if whole else None, cut)


def test_so_many_samples_are_not_counted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither in a table nor one by one."""
    for module in (samples, mp4, matroska):
        monkeypatch.setattr(module, "MOST_SAMPLES", FRAMES - 1)
    webm = write(Clip("webm", "libvpx-vp9", VPX), tmp_path / "clip").read_bytes()
    assert seconds(patched(STTS, 8, struct.pack(">I", 2**31)), tmp_path) is None
    assert [seconds(data, tmp_path) for data in (CLIP, webm)] == [None, None]


WEBM_AND_FRAGMENTS = (
    Clip("webm", "libvpx-vp9", VPX),
    Clip("mp4", "libx264", B_FRAMES, {"movflags": FRAGMENTS}),
)


@given(data=st.binary(max_size=40), place=st.integers(0, 1500), which=st.integers(0, 2))
@settings(deadline=None)
def test_no_clip_raises(
    data: bytes, place: int, which: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    """Whatever is written over whatever part of it."""
    folder = tmp_path_factory.getbasetemp()
    source = bytearray(CLIP)
    if which:
        kept = folder / f"source{which}"
        if not kept.exists():
            write(WEBM_AND_FRAGMENTS[which - 1], kept)
        source = bytearray(kept.read_bytes())
    source[place : place + len(data)] = data
    found = read(put(folder, bytes(source), f"clip{which}"))
    assert found.seconds is None or found.seconds > 0
