"""Saving results: whole or not at all, never over another file; and reading them back."""

import gzip
import os
import re
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st
from studio import make_settings

from meigen_mcp import media
from meigen_mcp.api import Api
from meigen_mcp.errors import ApiError, NotSaved, TooLarge, Unreachable, UnreadableReply
from meigen_mcp.generation import Generation
from meigen_mcp.media import LARGEST_RESOURCE, Media, Medium, mime_of, sniff
from meigen_mcp.pricing import Quote

PNG = b"\x89PNG\r\n\x1a\n" + b"pixels"
MP4 = b"\0\0\0\x18ftypisom" + b"frames"
URL = "https://images.meigen.ai/fox.png"
DAY = "2026-03-14"
JOB = Generation(
    request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    account="",
    tool="generate_image",
    media_type="image",
    model_id="z-image-turbo",
    prompt="A red fox, in the snow!",
    arguments={},
    body="{}",
    quote=Quote(None, "unknown", ""),
    created_at=datetime(2026, 3, 14, 15).timestamp(),  # noqa: DTZ001  # names have the local date
    expected_seconds=5,
    status="completed",
    media_urls=(URL, f"{URL}?2"),
    files=(None, None),
)
VIDEO = replace(JOB, media_type="video", tool="generate_video", model_id="veo-3.1")
NAME = f"{DAY}_z-image-turbo_a-red-fox-in-the-snow"


def serving(folder: Path | None, answer: Callable[[], Any] = lambda: PNG) -> Media:
    """Return media whose every URL has this content: bytes, or a stream."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer()))
    return Media(Api(make_settings(Path()), transport), folder)


def files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


# --- saving -----------------------------------------------------------------------------------


async def test_a_medium_is_saved_under_a_name_that_tells_what_it_is(tmp_path: Path) -> None:
    """Day, model, words of the prompt, number; the folder is made."""
    folder = tmp_path / "Pictures" / "MeiGen"
    path = await serving(folder).save(JOB, 0)
    assert (path, files(folder)) == (folder / f"{NAME}_1.png", {f"{NAME}_1.png": PNG})


async def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """The next one gets the next number, whoever made the first."""
    (tmp_path / f"{NAME}_2.png").write_text("mine")
    medium = serving(tmp_path)
    saved = [await medium.save(JOB, index) for index in (0, 1)]
    assert [path.name for path in saved] == [f"{NAME}_1.png", f"{NAME}_3.png"]
    assert files(tmp_path) == {
        f"{NAME}_1.png": PNG,
        f"{NAME}_2.png": b"mine",
        f"{NAME}_3.png": PNG,
    }


async def test_many_at_once_never_share_a_name(tmp_path: Path) -> None:
    """Several processes save into one folder."""
    async with anyio.create_task_group() as group:
        for _ in range(20):
            group.start_soon(serving(tmp_path).save, JOB, 0)
    assert files(tmp_path) == {f"{NAME}_{number}.png": PNG for number in range(1, 21)}


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_a_saved_file_is_as_open_as_the_person_s_other_files(tmp_path: Path) -> None:
    """The umask decides."""
    before = os.umask(0o027)
    try:
        path = await serving(tmp_path).save(JOB, 0)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o640


def no_links(*_: object) -> None:
    """Refuse, as a file system without hard links does."""
    raise PermissionError


async def test_a_file_system_without_hard_links_will_do(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is overwritten there either."""
    monkeypatch.setattr(os, "link", no_links)
    (tmp_path / f"{NAME}_1.png").write_text("mine")
    path = await serving(tmp_path).save(JOB, 0)
    assert path == tmp_path / f"{NAME}_2.png"
    assert files(tmp_path) == {f"{NAME}_1.png": b"mine", f"{NAME}_2.png": PNG}


async def test_a_name_that_could_be_taken_but_not_filled_is_given_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No empty file stays behind."""
    monkeypatch.setattr(os, "link", no_links)
    monkeypatch.setattr(Path, "replace", no_links)
    with pytest.raises(NotSaved):
        await serving(tmp_path).save(JOB, 0)
    assert files(tmp_path) == {}


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        ("A red fox", "a-red-fox"),
        ("one two three four five six seven", "one-two-three-four-five-six"),
        ("../../etc/passwd", "etc-passwd"),
        ("a\0b\\c:d*e?f", "a-b-c-d-e-f"),
        ("CON", "con"),
        ("NUL.", "nul"),
        ("trailing dots...", "trailing-dots"),
        ("-rf ~", "rf"),
        ("__init__", "init"),
        ("Ein süßer Würfel", "ein-süßer-würfel"),
        ("红色的狐狸", "红色的狐狸"),
        ("🦊 in the 🌨️", "in-the"),
        ("🦊🦊🦊", "image"),
        ("", "image"),
        ("half \ud83d", "half"),
        ("x" * 300, "x" * 40),
        ("狐" * 300, "狐" * 26),
        ("𠮷" * 300, "𠮷" * 20),
    ],
)
async def test_words_of_the_prompt_are_safe_in_a_name(
    prompt: str, slug: str, tmp_path: Path
) -> None:
    """No folder, no reserved name, no trailing dot, and short enough in bytes."""
    await serving(tmp_path).save(replace(JOB, prompt=prompt), 0)
    assert files(tmp_path) == {f"{DAY}_z-image-turbo_{slug}_1.png": PNG}


@given(prompt=st.text(st.characters()), model=st.text(st.characters()))
@example(prompt="𠮷" * 99, model="𠮷" * 99)
@settings(deadline=None)
async def test_any_prompt_and_any_model_give_a_name_that_every_system_takes(
    tmp_path_factory: pytest.TempPathFactory, prompt: str, model: str
) -> None:
    """One file in the folder itself."""
    folder = tmp_path_factory.mktemp("media")
    path = await serving(folder).save(replace(JOB, prompt=prompt, model_id=model), 0)
    assert files(folder) == {path.name: PNG}
    assert re.fullmatch(rf"{DAY}_[\w.-]{{0,40}}_[\w-]+_1\.png", path.name)
    assert len(path.name.encode()) <= 143


async def broken() -> AsyncIterator[bytes]:
    """Begin well and break off."""
    yield PNG
    raise httpx.ReadError("errno 104")


async def endless() -> AsyncIterator[bytes]:
    """Begin well and never go on."""
    yield PNG
    await anyio.sleep_forever()


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (broken, Unreachable("The connection to MeiGen was lost.")),
        (endless, UnreadableReply("The result did not arrive in time.")),
        (lambda: PNG * 100, UnreadableReply("The result is larger than it may be.")),
        (lambda: b"<html>404</html>", UnreadableReply("The result is not image data.")),
        (lambda: MP4, UnreadableReply("The result is not image data.")),
        (lambda: PNG[:7], UnreadableReply("The result is not image data.")),
        (lambda: b"", UnreadableReply("The result is not image data.")),
        (lambda: gzip.compress(PNG), UnreadableReply("The result is not image data.")),
    ],
    ids=["broken", "endless", "large", "html", "video", "short", "empty", "packed"],
)
async def test_what_is_not_a_whole_result_leaves_nothing(
    answer: Callable[[], Any], error: ApiError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file and no part of one."""
    monkeypatch.setitem(media.LARGEST, "image", 1000)
    monkeypatch.setitem(media.SECONDS, "image", 0.05)
    with pytest.raises(ApiError) as raised:
        await serving(tmp_path, answer).save(JOB, 0)
    assert (type(raised.value), raised.value.message) == (type(error), error.message)
    assert files(tmp_path) == {}


async def test_a_result_of_the_largest_size_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte more is too much."""
    monkeypatch.setitem(media.LARGEST, "image", len(PNG))
    await serving(tmp_path).save(JOB, 0)
    with pytest.raises(UnreadableReply):
        await serving(tmp_path, lambda: PNG + b"x").save(JOB, 0)
    assert files(tmp_path) == {f"{NAME}_1.png": PNG}


async def test_an_image_is_no_video(tmp_path: Path) -> None:
    """A poster where the clip is due."""
    with pytest.raises(UnreadableReply):
        await serving(tmp_path).save(VIDEO, 0)
    path = await serving(tmp_path, lambda: MP4).save(VIDEO, 0)
    assert files(tmp_path) == {path.name: MP4}
    assert path.name == f"{DAY}_veo-3.1_a-red-fox-in-the-snow_1.mp4"


async def test_the_content_names_the_type(tmp_path: Path) -> None:
    """Whatever the URL says."""
    path = await serving(tmp_path, lambda: b"\xff\xd8\xff" + PNG).save(JOB, 0)
    assert path == tmp_path / f"{NAME}_1.jpg"


async def test_a_cancelled_save_leaves_nothing(tmp_path: Path) -> None:
    """The server may end at any moment."""
    begun = anyio.Event()

    async def waiting() -> AsyncIterator[bytes]:
        yield PNG * 2**16
        begun.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as group:
        group.start_soon(serving(tmp_path, waiting).save, JOB, 0)
        await begun.wait()
        during = [path.suffix for path in tmp_path.iterdir()]
        group.cancel_scope.cancel()
    assert (during, files(tmp_path)) == ([".part"], {})


async def test_a_large_file_lets_others_work(tmp_path: Path) -> None:
    """Between any two chunks of 256 KiB somebody else has a turn."""
    turns = 0

    async def working() -> None:
        nonlocal turns
        while True:
            turns += 1
            await checkpoint()

    async def large() -> AsyncIterator[bytes]:
        for _ in range(64):
            yield PNG + bytes(2**18 - len(PNG))

    async with anyio.create_task_group() as group:
        group.start_soon(working)
        path = await serving(tmp_path, large).save(JOB, 0)
        group.cancel_scope.cancel()
    assert (path.stat().st_size, turns >= 64) == (64 * 2**18, True)


# --- folders ----------------------------------------------------------------------------------


async def test_a_folder_that_cannot_be_written_is_told_before_and_when_it_matters(
    tmp_path: Path,
) -> None:
    """The generation has completed all the same."""
    folder = tmp_path / "MeiGen"
    folder.write_text("in the way")
    medium = serving(folder)
    with pytest.raises(NotSaved) as raised:
        await medium.save(JOB, 0)
    assert (medium.problem(), raised.value.message) == (
        f"Media are not saved: {folder} cannot be written. Set MEIGEN_OUTPUT_DIR to a folder that"
        " can, or to off. The URLs work all the same.",
        f"{folder} cannot be written.",
    )
    folder.unlink()
    assert (medium.problem(), files(folder)) == (None, {})


async def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file is none."""

    async def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(anyio.AsyncFile, "write", full)
    with pytest.raises(NotSaved) as raised:
        await serving(tmp_path).save(JOB, 0)
    assert (raised.value.message, files(tmp_path)) == (f"{tmp_path} cannot be written.", {})


async def test_saving_can_be_turned_off() -> None:
    """That is no problem."""
    medium = serving(None)
    with pytest.raises(NotSaved) as raised:
        await medium.save(JOB, 0)
    assert (medium.problem(), raised.value.message) == (
        None,
        "Saving is turned off (MEIGEN_OUTPUT_DIR is off).",
    )


# --- reading ----------------------------------------------------------------------------------


def saved(path: Path) -> Generation:
    """Return the generation whose second medium is at a path."""
    return replace(JOB, files=(None, str(path)))


async def test_a_saved_medium_is_read_from_its_file(tmp_path: Path) -> None:
    """One that is not saved, from its URL."""
    (tmp_path / "fox.webp").write_bytes(b"RIFF\0\0\0\0WEBP saved")
    job = saved(tmp_path / "fox.webp")
    medium = serving(tmp_path)
    assert [await medium.read(job, index) for index in (0, 1)] == [
        Medium(PNG, "image/png"),
        Medium(b"RIFF\0\0\0\0WEBP saved", "image/webp"),
    ]


@pytest.mark.parametrize("left", [None, b"", b"a note of mine"])
async def test_a_file_that_is_gone_or_changed_is_read_from_the_url(
    left: bytes | None, tmp_path: Path
) -> None:
    """It is the person's folder."""
    if left is not None:
        (tmp_path / "fox.png").write_bytes(left)
    assert await serving(tmp_path).read(saved(tmp_path / "fox.png"), 1) == Medium(PNG, "image/png")


async def test_a_medium_that_is_too_large_for_a_message_says_where_it_is(tmp_path: Path) -> None:
    """The URL, and the file where there is one; the limit itself still fits."""
    largest = PNG + bytes(LARGEST_RESOURCE - len(PNG))
    path = tmp_path / "fox.png"
    job = saved(path)
    medium = serving(tmp_path, lambda: largest + b"x")
    where = "It is larger than 7 MiB, too large for one message; it is at"
    with pytest.raises(TooLarge) as from_url:
        await medium.read(job, 0)
    path.write_bytes(largest + b"x")
    with pytest.raises(TooLarge) as from_file:
        await medium.read(job, 1)
    path.write_bytes(largest)
    assert await medium.read(job, 1) == Medium(largest, "image/png")
    assert await serving(None, lambda: largest).read(job, 0) == Medium(largest, "image/png")
    assert (from_url.value.message, from_file.value.message) == (
        f"{where} {URL}.",
        f"{where} {URL}?2 or at {path}.",
    )


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (broken, Unreachable("The connection to MeiGen was lost.")),
        (endless, UnreadableReply("The result did not arrive in time.")),
        (lambda: b"<html>404</html>", UnreadableReply("The result is not image data.")),
    ],
    ids=["broken", "endless", "html"],
)
async def test_a_medium_that_cannot_be_had_says_why(
    answer: Callable[[], Any], error: ApiError, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a sentence of ours."""
    monkeypatch.setitem(media.SECONDS, "image", 0.05)
    with pytest.raises(ApiError) as raised:
        await serving(None, answer).read(JOB, 0)
    assert (type(raised.value), raised.value.message) == (type(error), error.message)


# --- types ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("head", "suffix"),
    [
        (b"\x89PNG\r\n\x1a\n\0\0", ".png"),
        (b"\x89PNG\n\x1a\n", None),
        (b"\xff\xd8\xff\xe0\0\x10JFIF", ".jpg"),
        (b"GIF87a", ".gif"),
        (b"GIF89a", ".gif"),
        (b"GIF88a", None),
        (b"RIFF\x10\0\0\0WEBPVP8 ", ".webp"),
        (b"RIFF\x10\0\0\0WAVEfmt ", None),
        (b"\0\0\0\x18ftypisom", ".mp4"),
        (b"\0\0\0\x18ftypmp42", ".mp4"),
        (b"\0\0\0\x14ftypqt  ", ".mov"),
        (b"\0\0\0\x1cftypavif", ".avif"),
        (b"\0\0\0\x1cftypavis", ".avif"),
        (b"\x1a\x45\xdf\xa3\x01", ".webm"),
        (b"<!DOCTYPE html>", None),
        (b"{}", None),
        (b"", None),
    ],
)
def test_the_first_bytes_tell_the_type(head: bytes, suffix: str | None) -> None:
    """As far as it is one that MeiGen makes."""
    assert sniff(head) == suffix


@pytest.mark.parametrize(
    ("url", "kind", "mime"),
    [
        ("https://a.example/x.png", "image", "image/png"),
        ("https://a.example/x.JPG", "image", "image/jpeg"),
        ("https://a.example/x.jpeg?token=1.png", "image", "image/jpeg"),
        ("https://a.example/x.webp#y", "image", "image/webp"),
        ("https://a.example/x.mov", "video", "video/quicktime"),
        ("https://a.example/x.webm", "video", "video/webm"),
        ("https://a.example/x", "image", "image/png"),
        ("https://a.example/x.php", "video", "video/mp4"),
        ("https://a.example", "video", "video/mp4"),
    ],
)
def test_the_name_in_a_url_promises_a_type(url: str, kind: Any, mime: str) -> None:
    """Without one, the usual type of the medium."""
    assert mime_of(url, kind) == mime
