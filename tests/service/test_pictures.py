"""The one small picture in the answer about a finished generation."""

import base64
import os
import sys
from dataclasses import replace
from io import BytesIO
from pathlib import Path
from typing import Any

import anyio
import mcp_types as t
import pytest
from PIL import Image
from support.in_memory import MODES, Connected, Mode, connect, make_settings

from meigen_mcp.media import previews, processes
from meigen_mcp.poller import room
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.service import waiting
from meigen_mcp.settings import Settings

COUNTED = "7\n\n" if hasattr(os, "fork") else "\n"
"""What comes before six bytes of a picture from a process that draws for many."""
CLIP = {"prompt": "waves", "modelId": "seedance-2-0", "duration": 4, "wait": 40}


async def answered(
    on: Connected, tool: str, **arguments: Any
) -> tuple[t.CallToolResult, list[bytes]]:
    """Call a tool; return its result, and the pictures in it."""
    result = await on.client.call_tool(tool, arguments)
    blocks = [block for block in result.content if isinstance(block, t.ImageContent)]
    assert {block.mime_type for block in blocks} <= {"image/jpeg"}
    return result, [base64.b64decode(block.data) for block in blocks]


def shape(picture: bytes) -> tuple[int, int]:
    """Return the size of a picture, whose bytes fit into an answer."""
    assert len(picture) <= 70_000
    with Image.open(BytesIO(picture)) as image:
        image.load()
        return image.size


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("call", "expected"),
    [
        ({"modelId": "z-image-turbo", "aspectRatio": "16:9"}, (1024, 575)),
        ({"modelId": "midjourney-v8.1", "aspectRatio": "1:1"}, (1024, 1024)),
    ],
    ids=["an image", "a sheet of four"],
)
async def test_a_finished_image_has_one_picture(
    mode: Mode,
    call: dict[str, str],
    expected: tuple[int, int],
    settings: Settings,
    emulator: Emulator,
) -> None:
    """In the answer that waited for it and in every later one, and as a file in the history."""
    async with connect(settings, emulator, mode) as on:
        result, [picture] = await answered(on, "generate_image", prompt="a fox", **call)
        answer = dict(result.structured_content or {})
        look = {"generationId": answer["generationId"]}
        _, later = await answered(on, "check_status", **look)
        listed = await on.call("check_status")
    assert shape(picture) == expected
    assert later == [picture]
    assert [row["preview"] for row in listed["generations"]] == [answer["preview"]]
    assert Path(answer["preview"]).read_bytes() == picture


async def test_a_video_has_a_contact_sheet(settings: Settings, emulator: Emulator) -> None:
    """Six frames with their times."""
    async with connect(settings, emulator) as on:
        _, [picture] = await answered(on, "generate_video", **CLIP)
    assert max(shape(picture)) <= 1024


async def test_without_the_extra_a_video_has_a_sentence_instead(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It works all the same."""
    monkeypatch.setattr(previews, "find_spec", lambda _: None)
    async with connect(settings, emulator) as on:
        result, pictures = await answered(on, "generate_video", **CLIP)
    answer = dict(result.structured_content or {})
    assert (answer["status"], pictures) == ("completed", [])
    assert answer["next"].endswith("-m pip install 'meigen-mcp[video]'")


async def test_a_picture_is_made_when_nothing_is_saved(tmp_path: Path, emulator: Emulator) -> None:
    """Saving is about the output folder; the person still sees the result."""
    async with connect(make_settings(tmp_path, MEIGEN_OUTPUT_DIR="off"), emulator) as on:
        result, [picture] = await answered(on, "generate_image", prompt="a fox")
    answer = dict(result.structured_content or {})
    assert shape(picture)
    assert "files" not in answer


async def test_a_server_that_names_no_paths_still_shows_the_picture(
    tmp_path: Path, emulator: Emulator
) -> None:
    """Whoever is far away gets the bytes, and no path."""
    public = replace(make_settings(tmp_path), discreet=True)
    async with connect(public, emulator) as on:
        result, pictures = await answered(on, "generate_image", prompt="a fox")
        listed = await on.call("check_status")
    assert len(pictures) == 1
    assert str(tmp_path) not in result.model_dump_json() + str(listed)


async def together(
    on: Connected, count: int, gate: Path | None = None, opens_after: int = 0
) -> list[tuple[bool, int]]:
    """Make images at once, with previews held back until so many are answered, if there is a gate.

    Returns:
        Of each answer, as they come, whether it has a preview and how many files it has.
    """
    answers: list[tuple[bool, int]] = []

    async def one(number: int) -> None:
        answer = await on.call("generate_image", prompt=f"fox {number}", wait=40)
        answers.append(("preview" in answer, len(answer.get("files", []))))
        if gate and len(answers) == opens_after:
            gate.touch()

    with anyio.fail_after(30):
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(one, number)
    return answers


@pytest.fixture
def gate(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Hold every preview back until this file is there."""
    path = tmp_path / "gate"
    wait = f"while not os.path.exists({str(path)!r}): time.sleep(0.01)"
    code = (
        f"import os, sys, time\nsys.stdin.readline()\n{wait}\nprint({COUNTED!r} + 'GIF89a', end='')"
    )
    monkeypatch.setattr(processes, "_RUNNER", (sys.executable, "-c", code))
    return path


async def test_of_many_that_end_together_all_are_answered_with_their_pictures(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """None is left out for being too many at once; the bound of time is out of the way here."""
    monkeypatch.setattr(waiting, "SAVING", 50.0)
    async with connect(settings, emulator) as on:
        answers = await together(on, 8)
    assert answers == [(True, 1)] * 8


async def test_a_picture_that_takes_too_long_keeps_no_answer(
    gate: Path, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is looked for a few seconds, and `check_status` shows it later."""
    monkeypatch.setattr(waiting, "SAVING", 0.5)
    async with connect(settings, emulator) as on:
        answers = await together(on, 3, gate, opens_after=3)
    assert [shown for shown, _ in answers] == [False] * 3


async def test_where_too_many_wait_for_a_picture_none_is_made(
    gate: Path, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else those of a busy server would pile up for ever."""
    monkeypatch.setattr(room, "MOST", {**room.MOST, "preview": 1})
    async with connect(settings, emulator) as on:
        answers = await together(on, 3, gate, opens_after=2)
    assert answers == [(False, 1), (False, 1), (True, 1)]


async def test_behind_too_many_others_a_call_is_answered_without_its_picture(
    gate: Path, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All would be answered as late as those before them take to be drawn; it comes later."""
    monkeypatch.setattr(waiting, "SAVING", 50.0)
    monkeypatch.setattr(waiting, "MOST_SAVED", 0)
    async with connect(settings, emulator) as on:
        answers = await together(on, 3, gate, opens_after=3)
    assert [shown for shown, _ in answers] == [False] * 3


async def test_a_picture_that_is_gone_is_left_out(settings: Settings, emulator: Emulator) -> None:
    """Somebody tidied the data folder; the result is there all the same."""
    async with connect(settings, emulator) as on:
        result, _ = await answered(on, "generate_image", prompt="a fox")
        answer = dict(result.structured_content or {})
        Path(answer["preview"]).unlink()
        look = {"generationId": answer["generationId"]}
        again, pictures = await answered(on, "check_status", **look)
    assert pictures == []
    assert (again.structured_content or {})["status"] == "completed"
