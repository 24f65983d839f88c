"""A clip where a picture is wanted: its last frame stands for it; through the whole server."""

import sys
from io import BytesIO
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from media.test_frames import EXACT, psnr
from PIL import Image
from service.test_references import problems, sent, uploads
from support.clips import first_frame, starting_with
from support.in_memory import MODES, Connected, Mode, connect

from meigen_mcp.media import previews
from meigen_mcp.sandbox import app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Job
from meigen_mcp.settings import Settings
from meigen_mcp.wording import show


@pytest.fixture
def lossless(emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> Emulator:
    """Return a sandbox whose clips begin with the picture they were given, and lose nothing."""
    drawn = app._render  # noqa: SLF001

    def render(job: Job, index: int, part: int) -> bytes:
        if job.model.media_type != "video":
            return drawn(job, index, part)
        url = job.arguments["referenceImages"][0]
        name = url.rpartition("/")[2]
        given = {upload.name: upload.data for upload in emulator.uploads.values()}.get(name)
        if given is None:
            given = drawn(*emulator.media[name], part)
        with Image.open(BytesIO(given)) as picture:
            picture.thumbnail((320, 320))  # of a still; a frame has that size already
            return starting_with(picture.convert("RGB"), EXACT, count=60)

    monkeypatch.setattr(app, "_render", render)
    return emulator


async def clip(on: Connected, model: str, first: str, **arguments: Any) -> dict[str, Any]:
    """Make a clip that begins with an earlier result."""
    answer = await on.call(
        "generate_video",
        prompt="it goes on",
        modelId=model,
        referenceImages=[first],
        wait=40,
        **arguments,
    )
    assert answer["status"] == "completed", answer
    return answer


def medium(answer: dict[str, Any]) -> str:
    """Return the URI of what was made."""
    return f"{answer['resourceUri']}/media/0"


@pytest.mark.parametrize("mode", MODES)
async def test_a_chain_of_clips_goes_on_where_the_one_before_ends(
    mode: Mode, settings: Settings, lossless: Emulator
) -> None:
    """Three clips of four models in one session; each model has rules of its own."""
    async with connect(settings, lossless, mode) as on:
        still = await on.call("generate_image", prompt="a fox", modelId="nanobanana-2", wait=40)
        one = await clip(on, "happyhorse-1.0", medium(still), duration=3)
        two = await clip(on, "veo-3.1", medium(one), duration=4)
        three = await clip(on, "seedance-2-0", medium(two), duration=4)
        files = [Path(answer["files"][0]) for answer in (one, two, three)]
        alike = [
            psnr(first_frame(later), Image.open(BytesIO(previews.last_frame(earlier) or b"")))
            for earlier, later in pairwise(files)
        ]
        assert min(alike) > 40, alike
        assert [answer["madeFrom"] for answer in (two, three)] == [[medium(one)], [medium(two)]]
        assert [len(body["referenceImages"]) for body in sent(on)[1:]] == [1, 1, 1]
        assert len(uploads(on)) == 4  # a promise and the bytes of each frame


async def test_a_frame_is_uploaded_once(settings: Settings, lossless: Emulator) -> None:
    """As a file of this computer is; and the clip itself is not."""
    async with connect(settings, lossless) as on:
        still = await on.call("generate_image", prompt="a fox", modelId="nanobanana-2", wait=40)
        one = await clip(on, "happyhorse-1.0", medium(still), duration=3)
        for _ in range(2):
            await clip(on, "veo-3.1", medium(one), duration=4)
        (*_, first), (*_, second) = (body["referenceImages"] for body in sent(on)[-2:])
        assert (first, len(uploads(on))) == (second, 2)
        assert first not in one["mediaUrls"]


async def test_a_clip_and_its_last_frame_can_stand_in_one_call(
    settings: Settings, lossless: Emulator
) -> None:
    """The one to continue, the other as a picture."""
    async with connect(settings, lossless) as on:
        still = await on.call("generate_image", prompt="a fox", modelId="nanobanana-2", wait=40)
        one = await clip(on, "happyhorse-1.0", medium(still), duration=3)
        await clip(
            on, "seedance-2-0", medium(one), duration=4, referenceVideo=medium(one), tier="fast"
        )
        body = sent(on)[-1]
        assert body["referenceVideo"] == one["mediaUrls"][0]
        assert body["referenceImages"][0] != one["mediaUrls"][0]


async def test_without_pyav_the_whole_command_is_told(
    settings: Settings, lossless: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is sent."""
    async with connect(settings, lossless) as on:
        still = await on.call("generate_image", prompt="a fox", modelId="nanobanana-2", wait=40)
        one = await clip(on, "happyhorse-1.0", medium(still), duration=3)
        monkeypatch.setitem(sys.modules, "av", None)
        before = len(sent(on))
        answer = await on.call(
            "generate_video", prompt="x", modelId="veo-3.1", referenceImages=[medium(one)]
        )
        assert problems(answer) == [
            f"- referenceImages[0]: {show(medium(one))} is a clip: its last frame, which stands for"
            ' it, cannot be taken without PyAV; install "meigen-mcp[video]" (`meigen-mcp doctor`'
            " prints the command) and restart this server, or name a picture"
        ]
        assert len(sent(on)) == before


async def test_a_clip_that_cannot_be_read_is_refused(
    settings: Settings, lossless: Emulator
) -> None:
    """Its file was replaced by something else."""
    async with connect(settings, lossless) as on:
        still = await on.call("generate_image", prompt="a fox", modelId="nanobanana-2", wait=40)
        one = await clip(on, "happyhorse-1.0", medium(still), duration=3)
        Path(one["files"][0]).write_bytes(b"no clip")
        answer = await on.call(
            "generate_video", prompt="x", modelId="veo-3.1", referenceImages=[medium(one)]
        )
        assert problems(answer) == [
            f"- referenceImages[0]: {show(medium(one))} is a clip: its last frame, which stands for"
            " it, cannot be read; name a picture"
        ]
