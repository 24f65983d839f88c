"""A disk that is full for a while, and one that forgets at a power cut what was not synced."""

import os
from pathlib import Path
from random import Random
from typing import Any

import pytest
from support.books import is_whole
from support.disk import Disk
from support.workbench import workbench

CALL: dict[str, Any] = {"modelId": "nanobanana-2", "wait": 0}
pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows syncs names by itself")


@pytest.mark.parametrize("seed", range(5))
async def test_what_is_said_to_be_saved_is_there_after_a_power_cut(
    tmp_path: Path, seed: int
) -> None:
    """Its name as well as its content, whatever else of the disk was not synced yet."""
    disk = Disk(tmp_path, Random(seed))  # noqa: S311
    media: dict[str, Any] = {"MEIGEN_OUTPUT_DIR": str(tmp_path / "media")}
    with disk.watched():
        async with workbench(tmp_path, **media) as on:
            await disk.mount(on.ledger)
            job = await on.settle((await on.generate(**CALL)).job)
            disk.cut()
        disk.power_up()
        async with workbench(tmp_path, beside=on, **media) as later:
            known = await later.reread(job)
    assert (known.status, known.files) == ("completed", job.files)
    assert is_whole(Path(known.files[0] or ""))


async def test_what_is_sent_is_known_after_a_power_cut(tmp_path: Path) -> None:
    """At the moment at which the API has it, though nobody knows that yet."""
    disk = Disk(tmp_path, Random(0))  # noqa: S311
    with disk.watched():
        async with workbench(tmp_path) as on:
            await disk.mount(on.ledger)

            async def failing(request: Any, inner: Any) -> Any:
                reply = await inner.handle_async_request(request)
                disk.cut()
                return reply

            on.wire.faults["submit"] = [failing]
            job = (await on.generate(**CALL)).job
        disk.power_up()
        async with workbench(tmp_path, beside=on) as later:
            later.clock.now += 3
            await later.poller.step()
            ended = await later.settle(job)
    assert (ended.status, on.charged, len(on.emulator.jobs)) == ("completed", 5, 1)


async def test_a_full_disk_does_not_make_a_dead_process_look_alive(tmp_path: Path) -> None:
    """What could not be taken over then is taken over later, by whoever comes first."""
    disk = Disk(tmp_path, Random(0))  # noqa: S311
    async with workbench(tmp_path) as on:
        async with workbench(tmp_path, beside=on) as dying:
            job = (await dying.generate(**CALL)).job
            await on.poller.step()
        on.clock.now += 3
        try:
            disk.fill()
            await on.turn()
        finally:
            disk.free()
        on.clock.now += 3
        async with workbench(tmp_path, beside=on) as other:
            await other.poller.step()
            assert (await other.settle(job)).status == "completed"
