"""Clips and sounds of this machine: what is refused, and what leaves of those that are not."""

import os
import struct
import wave
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from io import BytesIO
from pathlib import Path
from typing import Any

import av
import pytest
from PIL import Image
from support import clips
from support.rich_models import TODAY

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.lengths import Measured, check_measured
from meigen_mcp.catalogue.models import Model, shipped
from meigen_mcp.media import clip_copy, mp4, previews
from meigen_mcp.media import mp3 as mp3_frames
from meigen_mcp.media.local_clips import Kind, LocalClip, read_clip
from meigen_mcp.media.local_files import LARGEST_SOURCE, LocalReferences
from meigen_mcp.media.refusals import ReferenceRefused
from meigen_mcp.media.samples import Bytes
from meigen_mcp.sandbox.models import body

NOVEMBER = live_list.lay(shipped(), body("2026-11", 1, TODAY), TODAY)
SECRET = b"geheim"


def seedance() -> Model:
    """Return a model that takes clips of 2 to 30 s and sounds of 1 to 15 s."""
    assert NOVEMBER is not None
    model = NOVEMBER.find("seedance-2-5")
    assert model is not None
    return model


# --- files ----------------------------------------------------------------------------------------


def encoded(
    path: Path, container: str = "mp4", codec: str = "libx264", seconds: int = 3, rate: int = 24
) -> bytes:
    """Encode a small grey clip."""
    with av.open(str(path), "w", format=container) as target:
        stream: Any = target.add_stream(codec, rate=rate)
        stream.width, stream.height, stream.pix_fmt = 64, 64, "yuv420p"
        stream.codec_context.thread_count = 1
        picture: Any = av.VideoFrame.from_image(Image.new("RGB", (64, 64), "grey"))  # type: ignore[no-untyped-call]
        for index in range(seconds * rate):
            picture.pts, picture.time_base = index, Fraction(1, rate)
            target.mux(stream.encode(picture))
        target.mux(stream.encode(None))
    return path.read_bytes()


def tagged(source: bytes, container: str) -> bytes:
    """Return a file with a place, a title and a comment that must not leave."""
    out = BytesIO()
    demuxer = {"mp4": "mov", "mov": "mov"}.get(container, container)
    with (
        av.open(BytesIO(source), "r", format=demuxer) as file,
        av.open(out, "w", format=container, options=TAGS.get(container, {})) as target,
    ):
        for name in ("title", "comment", "location", "com.apple.quicktime.location.ISO6709"):
            target.metadata[name] = SECRET.decode()
        copies = {s.index: target.add_stream_from_template(s, opaque=True) for s in file.streams}
        for copied in copies.values():
            copied.metadata["title"] = SECRET.decode()
        for packet in file.demux():
            if packet.dts is not None:
                packet.stream = copies[packet.stream.index]
                target.mux(packet)
    return out.getvalue()


TAGS = {"mp4": {"movflags": "use_metadata_tags"}, "mov": {"movflags": "use_metadata_tags"}}


def wav(seconds: float, rate: int = 8000) -> bytes:
    """Return a silent WAV."""
    out = BytesIO()
    with wave.open(out, "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes(bytes(2 * round(seconds * rate)))
    return out.getvalue()


def mp3(path: Path, seconds: float = 2, container: str = "mp3", codec: str = "mp3") -> bytes:
    """Return a silent sound, coded."""
    with av.open(str(path), "w", format=container) as target:
        stream: Any = target.add_stream(codec, rate=44_100, layout="mono")
        size = stream.codec_context.frame_size or 1152
        for index in range(round(seconds * 44_100 / size)):
            silence = av.AudioFrame(
                format=stream.codec_context.format.name, layout="mono", samples=size
            )
            for plane in silence.planes:
                plane.update(bytes(plane.buffer_size))
            silence.pts, silence.sample_rate = index * size, 44_100
            target.mux(stream.encode(silence))
        target.mux(stream.encode(None))
    return path.read_bytes()


def picture(kind: str) -> bytes:
    """Return a picture."""
    out = BytesIO()
    Image.new("RGB", (64, 64), "red").save(out, kind)
    return out.getvalue()


def noisy(path: Path) -> bytes:
    """Return an MP4 whose headers are right and whose samples are noise."""
    source = bytearray(encoded(path))
    start = source.index(b"mdat") + 4
    end = start - 8 + int.from_bytes(source[start - 8 : start - 4])
    source[start:end] = b"\xff" * (end - start)
    return bytes(source)


def lying(path: Path) -> bytes:
    """Return an MP4 whose header says another length than its samples."""
    source = bytearray(encoded(path))
    place = source.index(b"mvhd") + 4
    scale, length = struct.unpack_from(">II", source, place + 12)
    struct.pack_into(">II", source, place + 12, scale, 9 * length)
    return bytes(source)


def without_samples(path: Path) -> bytes:
    """Return an MP4 whose tables are there and empty."""
    source = bytearray(encoded(path))
    for table in (b"stts", b"stsz", b"stsc", b"stco"):
        place = source.index(table) + 8 + (4 if table == b"stsz" else 0)
        struct.pack_into(">I", source, place, 0)
    return bytes(source)


def boundless(path: Path) -> bytes:
    """Return an MP4 that promises four thousand million samples."""
    source = bytearray(encoded(path))
    struct.pack_into(">I", source, source.index(b"stsz") + 12, 2**32 - 1)
    return bytes(source)


def large(path: Path) -> bytes:
    """Return a MOV with frames that are too large."""
    with av.open(str(path), "w", format="mov") as target:
        stream: Any = target.add_stream("png", rate=24)
        stream.width, stream.height, stream.pix_fmt = 4800, 2400, "rgb24"
        shown: Any = av.VideoFrame.from_image(Image.new("RGB", (4800, 2400)))  # type: ignore[no-untyped-call]
        target.mux(stream.encode(shown))
        target.mux(stream.encode(None))
    return path.read_bytes()


def sound_alone(path: Path) -> bytes:
    """Return an MP4 with sound and no pictures."""
    return mp3(path, container="mp4", codec="aac")


def patched(source: bytes, at: int, value: bytes) -> bytes:
    """Return bytes with some of them replaced."""
    return source[:at] + value + source[at + len(value) :]


Make = Callable[[Path], bytes]
_NO_CLIP, _NO_SOUND = "is no MP4 or MOV file", "is no WAV or MP3 file"
_RATE = "frames a second, and seedance-2-5 takes 23.5 to 60"
_CUT, _UNREAD = "is cut", "cannot be read to its end"
# what it is, as what it is given, how it is made, what is said of it
HOSTILE_CLIPS: tuple[tuple[str, Kind, Make, str], ...] = (
    ("nothing at all", "video", lambda _: b"", "is empty"),
    ("a text named .mp4", "video", lambda _: b"hello\n" * 99, _NO_CLIP),
    ("a web page", "video", lambda _: b"<!doctype html><html></html>", _NO_CLIP),
    ("a PNG named .mp4", "video", lambda _: picture("PNG"), _NO_CLIP),
    ("a JPEG named .mp4", "video", lambda _: picture("JPEG"), _NO_CLIP),
    ("a GIF named .mp4", "video", lambda _: picture("GIF"), _NO_CLIP),
    ("an AVIF, which is built like an MP4", "video", lambda _: picture("AVIF"), _NO_CLIP),
    ("an SVG", "video", lambda _: b'<svg xmlns="http://www.w3.org/2000/svg"/>', _NO_CLIP),
    ("a ZIP", "video", lambda _: b"PK\x03\x04" + bytes(99), _NO_CLIP),
    ("a playlist that names files", "video", lambda _: b"#EXTM3U\nfile:///etc/passwd\n", _NO_CLIP),
    ("a script for FFmpeg", "video", lambda _: b"ffconcat version 1.0\nfile /etc/passwd", _NO_CLIP),
    ("an AVI", "video", lambda _: b"RIFF\x24\0\0\0AVI LIST" + bytes(99), _NO_CLIP),
    ("a WebM named .mp4", "video", lambda p: encoded(p, "webm", "libvpx"), _NO_CLIP),
    ("a transport stream", "video", lambda p: encoded(p, "mpegts"), _NO_CLIP),
    ("an MP3 for a clip", "video", mp3, _NO_CLIP),
    ("a WAV for a clip", "video", lambda _: wav(3), _NO_CLIP),
    ("an MP4 with sound alone", "video", sound_alone, "has no pictures in it"),
    ("an MP4 that breaks off", "video", lambda p: encoded(p)[:-200], _CUT),
    ("an MP4 that breaks off in its samples", "video", lambda p: encoded(p)[:600], _CUT),
    ("the first bytes of an MP4", "video", lambda p: encoded(p)[:40], _CUT),
    (
        "an MP4 whose index is noise",
        "video",
        lambda p: encoded(p).partition(b"moov")[0] + b"moov" + b"\xff" * 400,
        _CUT,
    ),
    ("an MP4 whose samples are noise", "video", noisy, _UNREAD),
    ("an MP4 without samples", "video", without_samples, "has nothing in it that can be decoded"),
    ("an MP4 that promises endless samples", "video", boundless, _UNREAD),
    ("frames of 11 million pixels", "video", large, "has frames of more than 9 million pixels"),
    ("a clip of 1 s", "video", lambda p: encoded(p, seconds=1), "takes clips from 2 s on"),
    ("a clip of 31 s", "video", lambda p: encoded(p, seconds=31), "takes clips up to 30 s"),
    ("12 frames a second", "video", lambda p: encoded(p, rate=12), f"has 12 {_RATE}"),
    ("120 frames a second", "video", lambda p: encoded(p, rate=120), f"has 120 {_RATE}"),
    ("MPEG-4 of old", "video", lambda p: encoded(p, codec="mpeg4"), "coded as mpeg4"),
    ("VP9 in an MP4", "video", lambda p: encoded(p, codec="libvpx-vp9"), "coded as vp9"),
    ("MPEG-4 of old in a MOV", "video", lambda p: encoded(p, "mov", "mpeg4"), "coded as mpeg4"),
    ("an MP4 for a sound", "audio", encoded, _NO_SOUND),
    ("a text named .wav", "audio", lambda _: b"hello\n" * 99, _NO_SOUND),
    ("a FLAC named .wav", "audio", lambda p: mp3(p, 2, "flac", "flac"), _NO_SOUND),
    ("an Ogg named .mp3", "audio", lambda p: mp3(p, 2, "ogg", "flac"), _NO_SOUND),
    ("an M4A named .mp3", "audio", sound_alone, _NO_SOUND),
    ("a bare AAC stream", "audio", lambda p: mp3(p, 2, "adts", "aac"), _NO_SOUND),
    ("a WAV that breaks off", "audio", lambda _: wav(3)[:-900], _CUT),
    ("a WAV without samples", "audio", lambda _: wav(0), "has nothing in it that can be decoded"),
    ("the first bytes of a WAV", "audio", lambda _: wav(3)[:20], _CUT),
    ("a WAV in an unknown code", "audio", lambda _: patched(wav(3), 20, b"\xee" * 2), _UNREAD),
    ("a WAV without channels", "audio", lambda _: patched(wav(3), 22, b"\0\0"), _UNREAD),
    ("a tag of an MP3 alone", "audio", lambda _: b"ID3\x04\0\0\0\0\0\x0a" + bytes(10), _UNREAD),
    ("noise that begins like an MP3", "audio", lambda _: b"\xff\xfb" + b"\xaa" * 900, _UNREAD),
    ("a sound of half a second", "audio", lambda _: wav(0.5), "takes sounds from 1 s on"),
    ("a sound of 16 s", "audio", lambda _: wav(16), "takes sounds up to 15 s"),
)  # fmt: skip


async def look(folder: Path, source: bytes, medium: Kind) -> LocalClip:
    """Read a file with these bytes, under a name that fits."""
    path = folder / ("a.mp4" if medium == "video" else "a.wav")
    path.write_bytes(source)
    return await read_clip(LocalReferences([folder]), str(path), medium)


async def refusal(folder: Path, source: bytes, medium: Kind) -> str:
    """Return what is said of a file that is not taken, by its content or by the model."""
    name = "referenceVideos[0]" if medium == "video" else "referenceAudios[0]"
    try:
        clip = await look(folder, source, medium)
    except ReferenceRefused as refused:
        return f"{refused.message}; {refused.fix}"
    return "; ".join(map(str, check_measured(seedance(), [clip.measured(name)])))


@pytest.mark.parametrize(
    ("medium", "make", "words"),
    [row[1:] for row in HOSTILE_CLIPS],
    ids=[r[0] for r in HOSTILE_CLIPS],
)
async def test_a_hostile_or_wrong_clip_is_refused_before_upload(
    tmp_path: Path, medium: Kind, make: Make, words: str
) -> None:
    """By its content, by what can be decoded, and by what the list announces."""
    folder = tmp_path / "own"
    folder.mkdir()
    told = await refusal(folder, make(tmp_path / "made"), medium)
    assert words in told
    assert told


@pytest.mark.parametrize(
    ("kind", "medium"), [("mp4", "video"), ("mov", "video"), ("mp3", "audio"), ("wav", "audio")]
)
async def test_what_leaves_is_the_same_samples_and_nothing_about_them(
    tmp_path: Path, kind: str, medium: Kind
) -> None:
    """Places, titles and comments stay behind; nothing is encoded again."""
    make: dict[str, Callable[[], bytes]] = {
        "mp4": lambda: encoded(tmp_path / "made"),
        "mov": lambda: encoded(tmp_path / "made", "mov"),
        "mp3": lambda: mp3(tmp_path / "made"),
        "wav": lambda: wav(2),
    }
    source = tagged(make[kind](), kind)
    assert SECRET in source
    clip = await look(tmp_path, source, medium)
    assert (clip.kind, SECRET in clip.data) == (kind, False)
    assert samples(clip.data, kind) == samples(source, kind)
    assert clip.mime_type.startswith(f"{medium}/")
    assert clip.seconds == pytest.approx(3 if medium == "video" else 2, abs=0.2)


def samples(source: bytes, kind: str) -> list[bytes]:
    """Return the samples of a file."""
    demuxer = {"mp4": "mov", "mov": "mov"}.get(kind, kind)
    with av.open(BytesIO(source), "r", format=demuxer) as file:
        return [bytes(packet) for packet in file.demux() if packet.dts is not None]


def noisy_mp3(path: Path, rate: int, layout: str) -> bytes:
    """Return a second of noise as an MP3."""
    with av.open(str(path), "w", format="mp3") as target:
        stream: Any = target.add_stream("mp3", rate=rate, layout=layout)
        form = stream.codec_context.format.name
        noise = Image.effect_noise((1152, rate // 1152 + 1), 60).tobytes()
        for index in range(rate // 1152 + 1):
            frame = av.AudioFrame(format=form, layout=layout, samples=1152)
            row = noise[1152 * index : 1152 * (index + 1)]
            for plane in frame.planes:
                floats = [value / 128 - 1 for value in row] * (plane.buffer_size // 4608)
                plane.update(struct.pack(f"{len(floats)}f", *floats))
            frame.pts, frame.sample_rate = index * 1152, rate
            target.mux(stream.encode(frame))
        target.mux(stream.encode(None))
    return path.read_bytes()


def id3(data: bytes) -> bytes:
    """Return a tag that stands before frames."""
    size = bytes(len(data) >> shift & 127 for shift in (21, 14, 7, 0))
    return b"ID3\4\0\0" + size + data


def framed(head: bytes) -> bytes:
    """Return a text as a frame of stereo without a note in it."""
    return (head + bytes(32) + 70 * SECRET)[: 384 if head[2] & 4 else 417]


ABOUT: dict[str, Callable[[bytes], bytes]] = {
    "a text": lambda _: 40 * SECRET,
    "zeros and a text": lambda _: bytes(999) + SECRET + bytes(99),
    "ID3v1": lambda _: b"TAG" + SECRET.ljust(125, b"\0"),
    "ID3v1, enhanced": lambda _: b"TAG+" + SECRET.ljust(223, b"\0"),
    "ID3v2": lambda _: id3(b"TIT2\0\0\0\7\0\0\0" + SECRET),
    "ID3v2 with a sound in it": lambda sound: id3(b"GEOB" + 9 * SECRET + sound + SECRET),
    "ID3v2 that says it is longer": lambda _: b"ID3\4\0\0\x7f\x7f\x7f\x7f" + SECRET,
    "APEv2": lambda _: b"APETAGEX\xd0\7\0\0" + bytes(20) + SECRET + b"APETAGEX" + bytes(24),
    "Lyrics3": lambda _: b"LYRICSBEGININD0000200" + SECRET + b"000030LYRICS200",
    "a RIFF chunk": lambda _: b"LIST\x10\0\0\0INFOIART" + SECRET,
    "a picture": lambda _: picture("JPEG") + SECRET + picture("PNG"),
    "what begins like a frame": lambda _: b"\xff\xfb\x90\x00" + 200 * SECRET,
    "what begins like two frames": lambda _: 2 * (b"\xff\xfb\x90\x00" + 69 * SECRET)[:417],
    "a single frame in a text": lambda _: SECRET + framed(b"\xff\xfb\x90\x00") + SECRET,
    "a frame of another rate": lambda _: framed(b"\xff\xfb\x94\x00"),
    "half a frame": lambda sound: sound[-300:-100] + SECRET,
}


@pytest.mark.parametrize("place", ["before", "between", "after"])
@pytest.mark.parametrize("about", ABOUT)
async def test_of_an_mp3_its_frames_leave_and_nothing_else(
    tmp_path: Path, about: str, place: str
) -> None:
    """Whatever it is called: what is no frame may be about the person."""
    sound = noisy_mp3(tmp_path / "made", 44_100, "stereo")
    frames = samples(sound, "mp3")
    alone = b"".join(frames)
    words = ABOUT[about](alone)
    half = len(b"".join(frames[:20]))
    source = {
        "before": id3(b"") + words + alone,
        "between": alone[:half] + words + alone[half:],
        "after": alone + words,
    }[place]
    clip = await look(tmp_path, source, "audio")
    assert (SECRET in source, SECRET in clip.data) == (True, False)
    assert clip.data.endswith(alone)
    assert mp3_frames.frames_alone(clip.data) == clip.data


@pytest.mark.parametrize("layout", ["mono", "stereo"])
@pytest.mark.parametrize("rate", [8000, 11_025, 16_000, 22_050, 24_000, 32_000, 44_100, 48_000])
def test_no_frame_stays_behind(tmp_path: Path, rate: int, layout: str) -> None:
    """Whichever of the three versions it is of."""
    sound = noisy_mp3(tmp_path / "made", rate, layout)
    frames = samples(sound, "mp3")
    known, data = clip_copy.copy(sound, "mp3")
    assert samples(data, "mp3") == frames
    assert len(frames) >= rate // 1152
    assert known["codec"] == "mp3"


@pytest.mark.parametrize("checked", [False, True], ids=["bare", "with a checksum"])
def test_an_index_that_is_no_frame_of_sound_is_written_anew(tmp_path: Path, checked: bool) -> None:
    """It has room for words, and one stands in the middle where files were joined."""
    sound = mp3_frames.frames_alone(noisy_mp3(tmp_path / "made", 44_100, "stereo"))
    frames = b"".join(samples(sound, "mp3"))
    index = bytearray(sound.removesuffix(frames))
    assert b"Info" in index
    if checked:
        index = index[:1] + b"\xfa" + index[2:4] + b"\0\0" + index[4:-2]
    index[-20:] = SECRET.ljust(20, b"\0")
    _, data = clip_copy.copy(bytes(index) + frames + bytes(index) + frames, "mp3")
    assert SECRET not in data
    assert data.endswith(frames + frames)


def riff(*chunks: tuple[bytes, bytes, int | None]) -> bytes:
    """Return a WAV of chunks: kind, content, and the length that it claims if not its own."""
    body = b"".join(
        kind + struct.pack("<I", len(data) if size is None else size) + data + bytes(len(data) % 2)
        for kind, data, size in chunks
    )
    return b"RIFF" + struct.pack("<I", 4 + len(body)) + b"WAVE" + body


FORM, TONE = wav(2)[20:36], bytes(range(256)) * 125
TAG = (b"LIST", b"INFOIART\6\0\0\0" + SECRET, None)
WAVS = {
    "tags before": [
        (b"bext", SECRET.ljust(602), None),
        (b"fmt ", FORM, None),
        (b"data", TONE, None),
    ],
    "tags behind": [(b"fmt ", FORM, None), (b"data", TONE, None), TAG],
    "a format that is longer": [(b"fmt ", FORM + b"\6\0" + SECRET, None), (b"data", TONE, None)],
    "another sound": [(b"fmt ", FORM, None), (b"data", TONE, None), (b"data", SECRET, None)],
}


@pytest.mark.parametrize("chunks", WAVS.values(), ids=WAVS)
def test_of_a_wav_its_sound_leaves_and_nothing_else(
    chunks: list[tuple[bytes, bytes, int | None]],
) -> None:
    """Wherever the rest of it stands."""
    source = riff(*chunks)
    known, data = clip_copy.copy(source, "wav")
    assert (SECRET in source, SECRET in data) == (True, False)
    assert (known["seconds"], data[-len(TONE) :]) == (2, TONE)


@pytest.mark.parametrize("size", [0, len(TONE) + 27, 2**32 - 1])
def test_a_sound_that_does_not_say_where_it_ends_does_not_leave(size: int) -> None:
    """Readers take what stands behind it for a part of it."""
    with pytest.raises(clip_copy.NotTaken):
        clip_copy.copy(riff((b"fmt ", FORM, None), (b"data", TONE, size), TAG), "wav")


async def test_pictures_and_one_track_of_sound_go_along_and_nothing_else(tmp_path: Path) -> None:
    """A clip keeps its length to a frame, with held frames and frames out of order too."""
    made = clips.write(
        clips.Clip("mp4", "libx264", clips.B_FRAMES, sound=(2.0, "aac")), tmp_path / "made"
    )
    clip = await look(tmp_path, made.read_bytes(), "video")
    before = mp4.read(Bytes(BytesIO(made.read_bytes()), made.stat().st_size)).seconds
    assert before is not None
    assert abs(clip.seconds - before) <= 1 / 24
    assert clip.codec == "h264"
    assert clip.rate == pytest.approx(24, abs=0.6)
    with av.open(BytesIO(clip.data)) as file:
        assert [stream.type for stream in file.streams] == ["video", "audio"]


async def test_without_pyav_the_whole_command_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing leaves that was not freed of its metadata."""
    monkeypatch.setattr(previews, "video_extra", lambda: False)
    told = await refusal(tmp_path, encoded(tmp_path / "made"), "video")
    assert "without PyAV" in told
    assert 'run `pip install "meigen-mcp[video]"`' in told


@pytest.mark.parametrize("place", ["elsewhere.mp4", "link.mp4", "pipe.mp4", "huge.mp4", ".mp4"])
async def test_a_clip_is_read_where_pictures_are_and_nowhere_else(
    tmp_path: Path, place: str
) -> None:
    """The same door: allowed folders, no link out, no pipe, no end of bytes."""
    own = tmp_path / "own"
    own.mkdir()
    (tmp_path / "elsewhere.mp4").write_bytes(encoded(tmp_path / "made"))
    (own / "link.mp4").symlink_to(tmp_path / "elsewhere.mp4")
    os.mkfifo(own / "pipe.mp4")
    with (own / "huge.mp4").open("wb") as file:
        file.truncate(LARGEST_SOURCE + 1)
    path = tmp_path / place if place == "elsewhere.mp4" else own / place
    with pytest.raises(ReferenceRefused):
        await read_clip(LocalReferences([own]), str(path), "video")


def test_a_copy_that_is_larger_than_announced_is_refused() -> None:
    """At the limit it is taken."""
    model = seedance()
    assert model.continuation is not None
    most = model.continuation.upload_bytes or 0
    clip = Measured("referenceVideo", 5, most, "mp4", 24, "h264")
    assert list(check_measured(model, [clip])) == []
    (told,) = check_measured(model, [replace(clip, size=most + 1)])
    assert "at most 50.0 are taken" in told.message


def test_sounds_are_held_to_their_sum_and_their_formats() -> None:
    """Each fits alone; together they are too long."""
    model = seedance()
    assert model.sounds is not None
    sounds = [Measured(f"referenceAudios[{n}]", 11, 100, "mp3", None, "mp3") for n in range(2)]
    (told,) = check_measured(model, sounds)
    assert (told.field, "together they have 22 s" in told.message) == ("referenceAudios", True)
    only = model.model_copy(
        update={"sounds": model.sounds.model_copy(update={"formats": ("audio/wav",)})}
    )
    told = next(check_measured(only, sounds[:1]))
    assert "it is MP3, and seedance-2-5 takes audio/wav" in told.message


def test_the_limits_of_the_process_keep_no_clip_out(tmp_path: Path) -> None:
    """A copy is made in the process itself too."""
    known, data = clip_copy.copy(encoded(tmp_path / "made"), "mp4")
    assert (known["codec"], known["seconds"]) == ("h264", 3)
    assert data[4:8] == b"ftyp"
