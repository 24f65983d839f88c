"""The sandbox says that it is one; its clips can be told apart, and one goes on from another."""

import shlex
from pathlib import Path
from typing import Any

import pytest
from PIL import Image, ImageChops, ImageStat
from support.clips import first_frame
from support.in_memory import Connected, connect, make_settings

from meigen_mcp import app
from meigen_mcp.commands import cli
from meigen_mcp.media.previews import last_frame
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.media import PARTS, render_clip
from meigen_mcp.server.server import IN_SANDBOX, INSTRUCTIONS
from meigen_mcp.service.results import SANDBOXED
from meigen_mcp.settings import TOKEN_SHAPE, Settings

FILM: dict[str, Any] = {"prompt": "a kite", "modelId": "seedance-2-0", "wait": 40}


@pytest.fixture
def sandboxed(tmp_path: Path) -> Settings:
    """Return the settings of a server on the sandbox."""
    return app.on_sandbox(make_settings(tmp_path), "http://127.0.0.1:8000")


@pytest.mark.parametrize("sandbox", [True, False])
async def test_a_sandbox_says_so_wherever_somebody_looks(
    sandbox: bool, settings: Settings, sandboxed: Settings, emulator: Emulator
) -> None:
    """In the title, the instructions, each answer and the list; MeiGen itself nowhere."""
    async with connect(sandboxed if sandbox else settings, emulator) as on:
        calls = {"prompt": "a fox", "modelId": "z-image-turbo"}
        answers = [
            await on.call("generate_image", **calls),
            await on.call("generate_image", **calls, dryRun=True),
            await on.call("check_status"),
        ]
        info = on.client.server_info
        told = (info and info.title, on.client.instructions)
    assert [SANDBOXED in answer.get("next", "") for answer in answers] == [sandbox] * 3
    if sandbox:
        assert told == ("MeiGen (sandbox)", f"{IN_SANDBOX} {INSTRUCTIONS}")
    else:
        assert told == ("MeiGen", INSTRUCTIONS)


@pytest.mark.parametrize("sandbox", [True, False])
async def test_nothing_is_called_public_that_stays_on_this_computer(
    sandbox: bool, settings: Settings, sandboxed: Settings, emulator: Emulator
) -> None:
    """A reference from the person's own output folder is taken in the sandbox as well."""
    assert settings.output_dir is not None
    picture = settings.output_dir / "fox.png"
    picture.parent.mkdir(parents=True)
    Image.new("RGB", (64, 64), "red").save(picture)
    async with connect(sandboxed if sandbox else settings, emulator) as on:
        answer = await on.call(
            "generate_image",
            prompt="a fox",
            modelId="nanobanana-2",
            referenceImages=[str(picture)],
        )
    assert answer["status"] == "completed"
    assert ("public" in answer["next"]) is not sandbox


async def test_two_clips_differ_and_a_continuation_goes_on(
    sandboxed: Settings, emulator: Emulator
) -> None:
    """It begins with the picture with which the one before ends."""
    async with connect(sandboxed, emulator) as on:
        one, two = [await _film(on) for _ in range(2)]
        again = await _film(on, referenceVideo=f"{one['resourceUri']}/media/0")
        third = await _film(on, referenceVideo=f"{again['resourceUri']}/media/0")
    files = [Path(each["files"][0]) for each in (one, two, again, third)]
    assert files[0].read_bytes() != files[1].read_bytes()
    for before, after in ((files[0], files[2]), (files[2], files[3])):
        assert _distance(before, after) < 3
    assert _distance(files[0], files[0]) > 10


async def _film(on: Connected, **more: Any) -> dict[str, Any]:
    made = await on.call("generate_video", **FILM, **more)
    assert made["status"] == "completed"
    return made


def _distance(before: Path, after: Path) -> float:
    """Return how far the last frame of one clip is from the first of another, of 255."""
    data = last_frame(before)
    assert data is not None
    end = before.with_suffix(".end")
    end.write_bytes(data)
    with Image.open(end) as shown, first_frame(after) as begins:
        size = shown.size
        apart = ImageChops.difference(shown.convert("RGB"), begins.convert("RGB").resize(size))
        return max(ImageStat.Stat(apart).mean)


def test_each_part_of_a_clip_begins_as_the_one_before_ends(tmp_path: Path) -> None:
    """In every ratio; after the last comes the second."""
    for ratio in ("16:9", "9:16", "1:1", "4:3", "3:4", "21:9"):
        files = []
        for part in range(PARTS):
            files.append(tmp_path / f"{part}.mp4")
            files[-1].write_bytes(render_clip(ratio=ratio, seconds=2, part=part))
        for before, after in zip(files, [*files[1:], files[1]], strict=True):
            assert _distance(before, after) < 3


async def test_the_folder_of_a_sandbox_goes_with_it(tmp_path: Path) -> None:
    """Unless it has a name, by which it is found again."""
    settings = make_settings(tmp_path)
    async with app.sandboxed(settings) as chosen:
        assert chosen.data_dir.is_dir()
    assert not chosen.data_dir.exists()
    async with app.sandboxed(settings, "trial") as kept:
        kept.data_dir.mkdir(parents=True, exist_ok=True)
    assert kept.data_dir.is_dir()


def test_the_token_of_a_sandbox_can_be_given_to_a_shell(
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Nothing in it is a redirection; the sandbox takes it."""
    cli._announce("http://127.0.0.1:1")  # noqa: SLF001  # what the command prints
    line = next(line for line in capsys.readouterr().out.splitlines() if "_TOKEN=" in line)
    assert shlex.split(line) == [line]
    token = line.partition("=")[2]
    assert TOKEN_SHAPE.fullmatch(token)
    assert Emulator().authorize(f"Bearer {token}").id
