"""What draws is kept ready, and whatever becomes of it costs one picture at the most."""

import os
import signal
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from media.test_previews import CLIP, encoded, plain, put

from meigen_mcp.media import previews, processes
from meigen_mcp.media.drawn import Drawn
from meigen_mcp.media.previews import of_images, of_video

pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="nothing is kept ready here")


@pytest.fixture
async def drawing() -> AsyncIterator[processes.Drawing]:
    """Draw, and end what is ready."""
    drawing = processes.Drawing()
    yield drawing
    await drawing.close()


async def test_one_process_draws_again_and_again(
    drawing: processes.Drawing, tmp_path: Path
) -> None:
    """Each picture is as it would be alone, also of a clip, and where some could not be had."""
    images = [put(tmp_path, encoded(plain(64, 64)), str(number)) for number in (1, 2)]
    clip = put(tmp_path, CLIP)
    first = await drawing.draw("image", images)
    pids = drawing.ready
    rest = [await drawing.draw("image", [images[0], None]), await drawing.draw("video", [clip])]
    assert [first, *rest] == [of_images(images), of_images([images[0], None]), of_video(clip)]
    assert (len(pids), drawing.ready) == (1, pids)
    assert await drawing.last_frame(clip) == previews.last_frame(clip)


async def test_what_dies_of_a_file_costs_its_picture_alone(
    drawing: processes.Drawing, tmp_path: Path
) -> None:
    """The process that forked it goes on."""
    image = put(tmp_path, encoded(plain(64, 64)))
    await drawing.draw("image", [image])
    pids = drawing.ready
    assert await drawing.draw("image", []) == Drawn(b"")  # of nothing: it raises
    assert await drawing.draw("image", [image]) == of_images([image])
    assert drawing.ready == pids


async def test_what_has_ended_meanwhile_is_started_again(
    drawing: processes.Drawing, tmp_path: Path
) -> None:
    """It ends by itself when it is idle for long."""
    image = put(tmp_path, encoded(plain(64, 64)))
    await drawing.draw("image", [image])
    (before,) = drawing.ready
    os.kill(before, signal.SIGKILL)
    assert await drawing.draw("image", [image]) == of_images([image])
    (after,) = drawing.ready
    assert after != before


async def test_it_ends_with_the_server_or_when_nobody_asks() -> None:
    """Nothing stays behind."""
    command = [sys.executable, "-P", "-m", "meigen_mcp.media.previews", "serve"]
    done = await anyio.run_process(command, input=b"")
    code = "from meigen_mcp.media import previews as p; p.IDLE_SECONDS = 0; p.serve()"
    async with await anyio.open_process([sys.executable, "-c", code]) as idle:
        with anyio.fail_after(30):
            assert (done.returncode, await idle.wait()) == (0, 0)


async def test_what_draws_when_all_is_closed_is_not_kept(
    drawing: processes.Drawing, tmp_path: Path
) -> None:
    """Its picture is made, and no process stays behind."""
    image = put(tmp_path, encoded(plain(64, 64)))
    await drawing.close()
    assert await drawing.draw("image", [image]) == of_images([image])
    assert drawing.ready == []


async def test_many_at_once_have_a_process_each(drawing: processes.Drawing, tmp_path: Path) -> None:
    """Nobody gets another one's picture."""
    images = [put(tmp_path, encoded(plain(16 * n, 16)), str(n)) for n in (1, 2, 3)]
    drawn: dict[int, Drawn | None] = {}

    async def draw(place: int) -> None:
        drawn[place] = await drawing.draw("image", [images[place]])

    async with anyio.create_task_group() as group:
        for place in range(3):
            group.start_soon(draw, place)
    assert drawn == {place: of_images([image]) for place, image in enumerate(images)}
    assert len(drawing.ready) == 3
