"""Saving results: whole or not at all, never over another file; previews; and reading both back."""

import gzip
import json
import os
import re
import sys
import time
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st
from PIL import Image
from support.in_memory import make_settings

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import ApiError, NotSaved, Problem, TooLarge, Unreachable, UnreadableReply
from meigen_mcp.generation import Generation
from meigen_mcp.media import (
    fetching,
    marks,
    metadata,
    previews,
    processes,
    reasons,
    store,
    whole_files,
)
from meigen_mcp.media.reasons import NOT_HAD, NOTHING_DRAWN
from meigen_mcp.media.store import LARGEST_RESOURCE, Media, Medium, Shown, mime_of
from meigen_mcp.sandbox.media import render_clip


def picture(colour: str = "red", kind: str = "PNG", size: tuple[int, int] = (64, 32)) -> bytes:
    """Return an image of one colour."""
    out = BytesIO()
    Image.new("RGB", size, colour).save(out, kind)
    return out.getvalue()


PNG = picture()
JPEG = picture(kind="JPEG")
MP4 = render_clip(ratio="1:1", seconds=1)
ODD = PNG[:8] + b"\0\0\0\4CgBI" + bytes(8) + PNG[8:]
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


SERVED: list[Media] = []


def serving(
    folder: Path | None, answer: Callable[[], Any] = lambda: PNG, small: Path | None = None
) -> Media:
    """Return media whose every URL has this content: bytes, or a stream; previews go to `small`."""
    transport = httpx.MockTransport(lambda _: httpx.Response(200, content=answer()))
    SERVED.append(Media(Api(make_settings(Path()), transport), folder, small))
    return SERVED[-1]


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    """End what a test had drawn with."""
    yield
    while SERVED:
        await SERVED.pop().close()


def bare(data: bytes) -> bytes:
    """Return a file without the texts and the mark that saving puts into it."""
    while data[37:41] in (b"tEXt", b"iTXt") and data.startswith(b"\x89PNG"):
        data = data[:33] + data[33 + 12 + int.from_bytes(data[33:37]) :]
    if data.startswith(b"\xff\xd8") and (place := data.find(b"http://ns.adobe.com/xap/")) > 0:
        start, size = place - 4, int.from_bytes(data[place - 2 : place])
        data = data[:start] + data[start + 2 + size :]
    if data[4:8] == b"ftyp" and (place := data.find(b"uuid\xbe\x7a\xcf\xcb")) > 0:
        data = data[: place - 4]
    return data


def files(folder: Path) -> dict[str, bytes]:
    """Return the contents of all files in a folder, without what saving puts into them."""
    return {path.name: bare(path.read_bytes()) for path in sorted(folder.iterdir())}


def sidecar(job: Generation, index: int = 0) -> bytes:
    """Return what lies beside a medium that is no PNG."""
    return metadata.sidecar(metadata.facts(job, index))


# --- saving -----------------------------------------------------------------------------------


async def test_a_medium_is_saved_under_a_name_that_tells_what_it_is(tmp_path: Path) -> None:
    """Day, model, words of the prompt, number; the folder is made."""
    folder = tmp_path / "Pictures" / "MeiGen"
    path = (await serving(folder).save(JOB, 0)).path
    assert (path, files(folder)) == (folder / f"{NAME}_1.png", {f"{NAME}_1.png": PNG})


async def test_a_file_that_is_there_stays_as_it_is(tmp_path: Path) -> None:
    """The next one gets the next number, whoever made the first."""
    (tmp_path / f"{NAME}_2.png").write_text("mine")
    medium = serving(tmp_path)
    saved = [(await medium.save(JOB, index)).path for index in (0, 1)]
    assert [path.name for path in saved] == [f"{NAME}_1.png", f"{NAME}_3.png"]
    assert files(tmp_path) == {
        f"{NAME}_1.png": PNG,
        f"{NAME}_2.png": b"mine",
        f"{NAME}_3.png": PNG,
    }


async def test_many_at_once_never_share_a_name(tmp_path: Path) -> None:
    """Several processes save into one folder."""
    async with anyio.create_task_group() as group:
        for number in range(20):
            job = replace(JOB, request_id=f"{number}")
            group.start_soon(serving(tmp_path).save, job, 0)
    assert files(tmp_path) == {f"{NAME}_{number}.png": PNG for number in range(1, 21)}


@pytest.mark.parametrize("data", [PNG, JPEG], ids=["PNG", "JPEG"])
async def test_a_try_that_was_killed_before_its_record_leaves_no_second_file(
    data: bytes, tmp_path: Path
) -> None:
    """What lies there is that medium, to the bit; one that a record names already is another."""
    medium = serving(tmp_path, lambda: data)
    first, again = [(await medium.save(JOB, 0)).path for _ in range(2)]
    assert (again, len(list(tmp_path.glob(f"*{first.suffix}")))) == (first, 1)
    known = replace(JOB, files=(str(first), None))
    assert (await medium.save(known, 0)).path != first
    first.write_bytes(first.read_bytes() + b"mine")
    assert (await medium.save(JOB, 0)).path != first


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_a_saved_file_is_as_open_as_the_person_s_other_files(tmp_path: Path) -> None:
    """The umask decides."""
    before = os.umask(0o027)
    try:
        path = (await serving(tmp_path).save(JOB, 0)).path
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
    path = (await serving(tmp_path).save(JOB, 0)).path
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
        ("Wu\u0308rfel", "würfel"),
        ("fox\u202egnp.exe\u200f", "fox-gnp-exe"),
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
    path = (await serving(folder).save(replace(JOB, prompt=prompt, model_id=model), 0)).path
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
        (lambda: MP4[:900], UnreadableReply("The result is not image data.")),
        (lambda: PNG[:7], UnreadableReply("The result is not image data.")),
        (lambda: b"", UnreadableReply("The result is not image data.")),
        (lambda: PNG[:-4], UnreadableReply("The result breaks off before its end.")),
        (lambda: gzip.compress(PNG)[:-9], UnreadableReply("The result breaks off before its end.")),
    ],
    ids=["broken", "endless", "large", "html", "video", "short", "empty", "cut", "cut packed"],
)
async def test_what_is_not_a_whole_result_leaves_nothing(
    answer: Callable[[], Any], error: ApiError, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No file and no part of one."""
    monkeypatch.setitem(fetching.LARGEST, "image", 1000)
    if answer is endless:
        monkeypatch.setitem(fetching.SECONDS, "image", 0.05)
    with pytest.raises(ApiError) as raised:
        await serving(tmp_path, answer).save(JOB, 0)
    assert (type(raised.value), raised.value.message) == (type(error), error.message)
    assert files(tmp_path) == {}


async def test_a_result_of_the_largest_size_is_saved(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One byte more is too much."""
    monkeypatch.setitem(fetching.LARGEST, "image", len(PNG))
    await serving(tmp_path).save(JOB, 0)
    with pytest.raises(UnreadableReply):
        await serving(tmp_path, lambda: PNG + b"x").save(JOB, 0)
    assert files(tmp_path) == {f"{NAME}_1.png": PNG}


async def test_an_image_is_no_video(tmp_path: Path) -> None:
    """A poster where the clip is due."""
    with pytest.raises(UnreadableReply):
        await serving(tmp_path).save(VIDEO, 0)
    path = (await serving(tmp_path, lambda: MP4).save(VIDEO, 0)).path
    stem = f"{DAY}_veo-3.1_a-red-fox-in-the-snow_1"
    assert path == tmp_path / f"{stem}.mp4"
    assert files(tmp_path) == {f"{stem}.json": sidecar(VIDEO), f"{stem}.mp4": MP4}


async def test_the_content_names_the_type(tmp_path: Path) -> None:
    """Whatever the URL says."""
    path = (await serving(tmp_path, lambda: JPEG).save(JOB, 0)).path
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
        path = (await serving(tmp_path, large).save(JOB, 0)).path
        group.cancel_scope.cancel()
    assert (len(bare(path.read_bytes())), turns >= 64) == (64 * 2**18, True)


# --- what a file says about itself ------------------------------------------------------------


async def test_a_png_says_in_its_own_text_what_it_is(tmp_path: Path) -> None:
    """And is one file; the other bytes are those of the reply."""
    path = (await serving(tmp_path).save(JOB, 1)).path
    with Image.open(path) as image:
        image.load()
        told = {name: image.info[name] for name in ("Description", "model", "index", "mediaUrl")}
    assert told == {
        "Description": JOB.prompt,
        "model": "z-image-turbo",
        "index": "1",
        "mediaUrl": f"{URL}?2",
    }
    assert files(tmp_path) == {f"{NAME}_1.png": PNG}


@pytest.mark.parametrize("data", [JPEG, ODD], ids=["JPEG", "odd PNG"])
async def test_anything_else_has_it_in_a_json_file_beside_it(data: bytes, tmp_path: Path) -> None:
    """Of the same name."""
    path = (await serving(tmp_path, lambda: data).save(JOB, 0)).path
    assert json.loads(path.with_suffix(".json").read_text("utf-8"))["prompt"] == JOB.prompt
    assert files(tmp_path) == {f"{NAME}_1.json": sidecar(JOB), path.name: data}


async def test_a_number_is_free_for_medium_and_sidecar_or_not_taken(tmp_path: Path) -> None:
    """Neither overwrites a file, and no medium comes to lie beside the sidecar of another."""
    (tmp_path / f"{NAME}_1.json").write_text("mine")
    (tmp_path / f"{NAME}_2.jpg").write_text("mine too")
    (tmp_path / f"{NAME}_3.json").symlink_to("nowhere")
    await serving(tmp_path, lambda: JPEG).save(JOB, 0)
    await serving(tmp_path).save(JOB, 0)
    (tmp_path / f"{NAME}_3.json").unlink()
    assert files(tmp_path) == {
        f"{NAME}_1.json": b"mine",
        f"{NAME}_2.jpg": b"mine too",
        f"{NAME}_2.png": PNG,
        f"{NAME}_4.jpg": JPEG,
        f"{NAME}_4.json": sidecar(JOB),
    }


@pytest.mark.parametrize("links", [True, False])
@pytest.mark.parametrize("taken", [".json", ".jpg"])
async def test_a_name_that_is_taken_in_the_last_moment_stays_as_it_is(
    taken: str, links: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process saves the same thing; no sidecar is left without its medium."""
    if not links:
        monkeypatch.setattr(os, "link", no_links)
    free = os.path.lexists

    def looked_up(path: Path) -> bool:
        found = free(path)
        if path.name == f"{NAME}_1{taken}":
            path.write_bytes(b"theirs")
        return found

    monkeypatch.setattr(os.path, "lexists", looked_up)
    await serving(tmp_path, lambda: JPEG).save(JOB, 0)
    assert files(tmp_path) == {
        f"{NAME}_1{taken}": b"theirs",
        f"{NAME}_2.jpg": JPEG,
        f"{NAME}_2.json": sidecar(JOB),
    }


async def test_a_sidecar_that_cannot_be_written_loses_no_medium(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full but for it."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    saved = await serving(tmp_path, lambda: JPEG).save(JOB, 0)
    assert files(tmp_path) == {f"{NAME}_1.jpg": JPEG}
    assert saved.incomplete == "Its .json could not be written."


async def test_a_png_that_does_not_fit_with_its_text_is_kept_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The disk is full but for it; its sidecar still fits."""

    def full(*_: object) -> bool:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(marks, "inscribe", full)
    path, why_not, _ = await serving(tmp_path).save(JOB, 0)
    assert (path.read_bytes(), why_not) == (PNG, "No mark could be put into it.")
    assert files(tmp_path) == {f"{NAME}_1.json": sidecar(JOB), f"{NAME}_1.png": PNG}


async def test_a_name_is_given_to_what_is_on_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A power cut leaves no empty file that the ledger calls saved, nor takes its name."""
    steps: list[str] = []
    link = os.link
    monkeypatch.setattr(os, "fsync", lambda _: steps.append("flush"))

    def linked(draft: Path, target: Path) -> None:
        steps.append(target.suffix)
        link(draft, target)

    monkeypatch.setattr(os, "link", linked)
    await serving(tmp_path, lambda: JPEG).save(JOB, 0)
    names = [] if os.name == "nt" else ["flush"]  # of the folder
    assert steps == ["flush", "flush", ".json", ".jpg", *names]


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
        Problem(
            "MEIGEN_OUTPUT_DIR",
            f"media are not saved, since {folder} cannot be written",
            "set it to a folder that can, or to off (the URLs work all the same)",
        ),
        f"{folder} cannot be written.",
    )
    folder.unlink()
    assert (medium.problem(), files(folder)) == (None, {})


async def test_a_disk_that_fills_up_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a file is none."""

    def full(partial: whole_files.Partial) -> Path:
        partial.begin()
        partial.path.write_bytes(partial.gathered[:9])
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(whole_files.Partial, "write", full)
    with pytest.raises(NotSaved) as raised:
        await serving(tmp_path).save(JOB, 0)
    assert (raised.value.message, files(tmp_path)) == (f"The disk of {tmp_path} is full.", {})


@pytest.mark.parametrize("by_another", [False, True])
async def test_a_partial_file_that_is_tidied_away_is_not_begun_in_the_middle(
    by_another: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is saved would lack its beginning, and end as a whole one does."""
    monkeypatch.setattr(fetching, "WRITTEN_TOGETHER", 10)
    write = whole_files.Partial.write

    def tidied(partial: whole_files.Partial) -> Path:
        path = write(partial)
        path.unlink()
        if by_another:
            path.touch()
        return path

    monkeypatch.setattr(whole_files.Partial, "write", tidied)

    async def pieces() -> AsyncIterator[bytes]:
        yield PNG[:20]
        yield PNG[20:]

    with pytest.raises(NotSaved):
        await serving(tmp_path, pieces).save(JOB, 0)


async def test_a_thread_that_comes_late_begins_no_partial_file(tmp_path: Path) -> None:
    """Nobody would remove it."""
    async with whole_files.new_aside(tmp_path) as partial:
        partial.gathered += PNG
    with pytest.raises(OSError, match="not the file that was begun"):
        partial.write()
    assert files(tmp_path) == {}


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
    where = "It is larger than 7 MiB, too large for one message here; it is at"
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
    if answer is endless:
        monkeypatch.setitem(fetching.SECONDS, "image", 0.05)
    with pytest.raises(ApiError) as raised:
        await serving(None, answer).read(JOB, 0)
    assert (type(raised.value), raised.value.message) == (type(error), error.message)


# --- previews ---------------------------------------------------------------------------------


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """Return the folder for previews, which is not there yet."""
    return tmp_path / "data" / "previews"


def drawn(path: str | None) -> list[str]:
    """Return the colours in the middle of the four quarters of a preview."""
    assert path is not None
    with Image.open(path) as image:
        image.load()
        across, down = image.width, image.height
        places = [(x * across // 4, y * down // 4) for y in (1, 3) for x in (1, 3)]
        pixels = [image.convert("RGB").getpixel(place) for place in places]
    names = {(True, False): "red", (False, True): "blue"}
    return [names[p[0] > 200, p[2] > 200] for p in pixels if isinstance(p, tuple)]


async def test_the_preview_of_a_generation_is_made_from_its_saved_files(
    tmp_path: Path, small: Path
) -> None:
    """Nothing is downloaded again; it is private, named by the request, and can be read back."""
    (tmp_path / "fox.png").write_bytes(PNG)
    job = replace(JOB, media_urls=(URL,), files=(str(tmp_path / "fox.png"),))
    medium = serving(tmp_path, broken, small)
    path = (await medium.preview(job)).path
    assert (path, drawn(path)) == (str(small / f"{JOB.request_id}.jpg"), ["red"] * 4)
    data = (small / f"{JOB.request_id}.jpg").read_bytes()
    assert await medium.read_preview(path) == Medium(data, "image/jpeg")
    assert list(files(small)) == [f"{JOB.request_id}.jpg"]


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
async def test_previews_are_private(small: Path) -> None:
    """Whatever the umask is; so are the downloads that they are made from."""
    await serving(None, small=small).preview(JOB)
    modes = [path.stat().st_mode & 0o777 for path in (small, *small.iterdir())]
    assert modes == [0o700, 0o600]


async def test_what_is_not_saved_is_downloaded_for_the_preview_and_removed(
    tmp_path: Path, small: Path
) -> None:
    """Saving is off, or failed for the one in the middle; one cannot be had at all."""
    (tmp_path / "fox.png").write_bytes(PNG)
    gone = str(tmp_path / "gone.png")
    urls = (URL, f"{URL}?2", f"{URL}?3", f"{URL}?4")
    answers = iter([picture("blue"), b"<html>", picture("blue")])
    job = replace(JOB, media_urls=urls, files=(str(tmp_path / "fox.png"), None, gone, None))
    path, why_not = await serving(tmp_path, lambda: next(answers), small).preview(job)
    assert why_not == "Picture 3 of 4 is not in the preview. The result is not image data."
    assert path is not None
    with Image.open(path) as sheet:
        assert sheet.size == (2 * 64 + 8, 2 * 32 + 8)
    assert list(files(small)) == [f"{JOB.request_id}.jpg"]


async def test_a_preview_is_made_anew_in_place_of_an_older_one(small: Path) -> None:
    """The media are the same, whenever they are asked for."""
    answers = iter([*[picture("blue")] * 2, *[PNG] * 2])
    medium = serving(None, lambda: next(answers), small)
    paths = [(await medium.preview(JOB)).path for _ in range(2)]
    assert (paths[0], drawn(paths[1])) == (paths[1], ["red"] * 4)


async def test_a_clip_has_a_contact_sheet(small: Path) -> None:
    """From PyAV, which is an extra."""
    clip = render_clip(ratio="16:9", seconds=4)
    path = (
        await serving(None, lambda: clip, small).preview(replace(VIDEO, media_urls=(URL,)))
    ).path
    assert path is not None
    with Image.open(path) as sheet:
        assert sheet.size == (3 * 336 + 16, 2 * 189 + 8)


async def test_without_pyav_no_clip_is_downloaded_for_nothing(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever answers can ask why there is no preview."""
    monkeypatch.setitem(sys.modules, "av", None)
    monkeypatch.setattr(Api, "download", None)
    shown = await serving(None, small=small).preview(VIDEO)
    why = 'To show frames of videos here, this server needs "meigen-mcp[video]".'
    assert (shown, previews.video_extra(), small.exists()) == (Shown(None, why), False, False)


NOT_WRITTEN = "MEIGEN_DATA_DIR/previews cannot be written."


def half() -> bytes:
    """Begin a picture."""
    return PNG[:40]


@pytest.mark.parametrize(
    "answer",
    [broken, endless, lambda: b"<html>", half, lambda: PNG * 100],
    ids=["broken", "endless", "html", "cut", "large"],
)
async def test_media_that_cannot_be_had_or_shown_have_no_preview(
    answer: Callable[[], Any], small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And raise nothing, and leave nothing."""
    monkeypatch.setitem(fetching.LARGEST, "image", 1000)
    if answer is endless:
        monkeypatch.setitem(fetching.SECONDS, "image", 0.05)
    shown = await serving(None, answer, small).preview(JOB)
    assert shown.path is None
    assert str(shown.why_not).startswith(NOTHING_DRAWN if answer is half else NOT_HAD)
    assert list(small.glob("*")) == []


COUNTED = "7\n\n" if hasattr(os, "fork") else "\n"
"""What comes before six bytes of a picture from a process that draws for many."""


@pytest.mark.parametrize(
    "code",
    [
        "import os; print('GIF89a', flush=True); os.abort()",
        "print('GIF89a', flush=True); raise MemoryError",
        "print('no picture')",
        "print('1 2 GIF89a')",
        "import time; print(6, flush=True); time.sleep(60)",
    ],
    ids=["crash", "error", "nonsense", "odd places", "endless"],
)
async def test_a_decoder_that_dies_or_hangs_costs_a_preview_and_nothing_else(
    code: str, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works in a process of its own."""
    monkeypatch.setattr(processes, "_RUNNER", (sys.executable, "-c", code))
    monkeypatch.setattr(processes, "SECONDS", 0.5 if "sleep" in code else 50.0)
    shown = await serving(None, small=small).preview(JOB)
    slow = "Drawing a preview took longer than 0 s."
    assert (shown, files(small)) == (Shown(None, slow if "sleep" in code else NOTHING_DRAWN), {})


async def test_so_many_previews_are_drawn_at_once_and_no_more(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each process holds a file that the others must not find."""
    busy = tmp_path / "busy"
    code = (
        f"import os, sys; sys.stdin.readline(); p = {str(busy)!r}; os.mkdir(p);"
        f" import PIL.Image; os.rmdir(p); print({COUNTED!r} + 'GIF89a', end='')"
    )
    monkeypatch.setattr(processes, "AT_ONCE", 1)
    monkeypatch.setattr(processes, "_RUNNER", (sys.executable, "-c", code))
    medium = serving(None, small=small)
    made: list[str | None] = []

    async def make(number: int) -> None:
        made.append((await medium.preview(replace(JOB, request_id=str(number)))).path)

    async with anyio.create_task_group() as group:
        for number in range(6):
            group.start_soon(make, number)
    assert sorted(map(str, made)) == [str(small / f"{number}.gif") for number in range(6)]


@pytest.mark.skipif(os.name == "nt", reason="pipes of POSIX")
async def test_a_cancelled_preview_ends_its_process_and_leaves_nothing(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server may end at any moment."""
    fifo = tmp_path / "alive"
    os.mkfifo(fifo)
    code = f"f = open({str(fifo)!r}, 'w'); f.write('x'); f.flush(); import time; time.sleep(60)"
    monkeypatch.setattr(processes, "_RUNNER", (sys.executable, "-c", code))
    async with anyio.create_task_group() as group:
        group.start_soon(serving(None, small=small).preview, JOB)
        async with await anyio.open_file(fifo) as pipe:
            begun = await pipe.read(1)
            group.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                rest = await pipe.read()  # ends when nobody holds the other side
    assert (begun, rest, files(small)) == ("x", "", {})


async def test_a_folder_that_cannot_be_written_means_no_preview(tmp_path: Path) -> None:
    """The answers go on without."""
    (tmp_path / "data").write_text("in the way")
    for small in (tmp_path / "data", tmp_path / "data" / "previews"):
        assert await serving(None, small=small).preview(JOB) == Shown(None, NOT_WRITTEN)


async def test_what_is_not_in_a_preview_is_said(small: Path) -> None:
    """One of several pictures that cannot be drawn, and other clips."""
    answers = iter([PNG, half(), MP4])
    medium = serving(None, lambda: next(answers), small)
    shown = [await medium.preview(job) for job in (JOB, VIDEO)]
    assert [why_not for path, why_not in shown if path] == [
        "Picture 2 of 2 is not in the preview. It cannot be drawn.",
        "It shows the first of 2 clips.",
    ]


def test_a_sheet_that_ends_early_says_so() -> None:
    """A slow clip; and whatever a process says that hostile media took over changes no sentence."""
    ends = "The sheet ends before the clip does: no more could be read of it in time."
    one = replace(VIDEO, media_urls=(URL,))
    said = [reasons.not_drawn(job, left_out, {}) for job, left_out in ((one, (6,)), (one, ()))]
    assert (said, reasons.not_drawn(JOB, (-1, 0, 3, 99), {})) == ([ends, None], None)


async def test_a_process_that_cannot_be_started_is_not_called_a_folder(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever runs Python was removed under a server that runs."""
    monkeypatch.setattr(processes, "_RUNNER", (str(small / "gone"),))
    shown = await serving(None, small=small).preview(JOB)
    assert shown == Shown(None, "The process that draws previews cannot be started.")


async def test_a_preview_that_is_no_longer_kept_is_not_named(tmp_path: Path) -> None:
    """After 30 days, or when the person deleted it."""
    kept = tmp_path / "kept.jpg"
    kept.write_bytes(JPEG)
    jobs = [replace(JOB, preview=str(path)) for path in (kept, tmp_path / "gone.jpg")]
    gone = replace(JOB, unshown="Its preview is no longer kept.")
    assert [await store.still_shown(job) for job in (JOB, *jobs)] == [JOB, jobs[0], gone]


async def test_a_full_disk_means_no_preview(small: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of it stays behind."""

    def full(*_: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    why = "The disk of MEIGEN_DATA_DIR/previews is full."
    assert await serving(None, small=small).preview(JOB) == Shown(None, why)
    assert files(small) == {}


async def test_only_a_preview_is_shown(tmp_path: Path, small: Path) -> None:
    """Not what is gone, has become too large or something else, or lies elsewhere."""
    small.mkdir(parents=True)
    (small / "large.webp").write_bytes(picture(kind="WEBP") + bytes(previews.LARGEST))
    (small / "note.webp").write_bytes(b"a note")
    (small / "folder.webp").mkdir()
    (tmp_path / "fox.png").write_bytes(PNG)
    medium = serving(None, small=small)
    names = ["large.webp", "note.webp", "folder.webp", "gone.webp", "..", "../../fox.png"]
    paths = [None, str(tmp_path / "fox.png"), *(f"{small}/{name}" for name in names)]
    assert [await medium.read_preview(path) for path in paths] == [None] * 8
    assert await serving(None).read_preview(str(tmp_path / "fox.png")) is None


async def test_previews_can_be_left_out(tmp_path: Path) -> None:
    """Without a folder for them."""
    assert await serving(tmp_path).preview(JOB) == Shown()


# --- the length of a clip, and sweeping ---------------------------------------------------------


async def test_the_length_of_a_saved_clip_is_in_its_header(tmp_path: Path) -> None:
    """Of one that is not saved, or gone, it is not known."""
    clip = render_clip(ratio="9:16", seconds=7.3)
    medium = serving(tmp_path, lambda: clip)
    path = (await medium.save(VIDEO, 1)).path
    job = replace(VIDEO, files=(None, str(path)))
    measured = [await medium.seconds(job, index) for index in (0, 1, 2)]
    path.unlink()
    assert (measured, await medium.seconds(job, 1)) == ([None, 7.3, None], None)


def test_a_sweep_removes_what_killed_processes_left_and_old_previews(
    tmp_path: Path, small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of the person's, and nothing that may be under way; a clock may be set meanwhile."""
    monkeypatch.setattr(time, "time", lambda: 4e9)
    folder = tmp_path / "media"
    ages = {
        folder / ".meigen-dead.part": 3700,
        folder / ".meigen-alive.part": 3500,
        folder / "mine.part": 10**8,
        folder / "old.webp": 10**8,
        folder / f"{NAME}_1.png": 10**8,
        small / ".meigen-dead.part": 3700,
        small / ".meigen-alive.part": 3500,
        small / "old.webp": 31 * 86400,
        small / "old.jpg": 31 * 86400,
        small / "new.webp": 29 * 86400,
    }
    medium = serving(folder, small=small)
    medium.sweep()  # no folders yet
    for path, age in ages.items():
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"")
        os.utime(path, (path.stat().st_mtime - age,) * 2)
    (small / ".meigen-folder.part").mkdir()
    os.utime(small / ".meigen-folder.part", (0, 0))
    medium.sweep()
    left = {path for place in (folder, small) for path in place.iterdir()}
    young = (".meigen-alive.part", ".meigen-folder.part", "new.webp")
    assert left == {
        folder / f"{NAME}_1.png",
        folder / ".meigen-alive.part",
        folder / "mine.part",
        folder / "old.webp",
        *(small / name for name in young),
    }
    serving(None).sweep()


# --- types ------------------------------------------------------------------------------------


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
