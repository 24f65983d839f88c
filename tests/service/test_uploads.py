"""A local file is uploaded once, however long that takes and however many calls wait for it."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.lowlevel import checkpoint
from service.test_references import picture
from support.workbench import Someone, Workbench, workbench

from meigen_mcp.errors import UploadFailed
from meigen_mcp.ledger.asking import acting_for

HURRIED = 5.0
"""Seconds of patience of a client that leaves no time for an upload."""


def held(gate: anyio.Event) -> Callable[[httpx.Request, Any], Awaitable[httpx.Response]]:
    """Return a fault: the bytes are on their way until the gate is opened."""

    async def answer(request: httpx.Request, inner: Any) -> httpx.Response:
        await gate.wait()
        reply: httpx.Response = await inner.handle_async_request(request)
        return reply

    return answer


def puts(on: Workbench) -> int:
    """Return how often bytes were uploaded."""
    return [route for route, _ in on.wire.seen].count("media")


async def wish(on: Workbench, path: Path, patience: float) -> Any:
    """Ask for a picture that begins with a local one."""
    call = {"modelId": "nanobanana-2", "referenceImages": [str(path)], "wait": 0}
    return await on.generate("generate_image", Someone(patience=patience), **call)


async def test_an_upload_goes_on_after_its_call_and_the_next_one_uses_it(tmp_path: Path) -> None:
    """Nothing is charged before it is there, and the file is sent once."""
    path, gate = picture(tmp_path / "own" / "cat.png"), anyio.Event()
    async with workbench(tmp_path, MEIGEN_REFERENCE_DIRS=str(path.parent)) as on:
        on.wire.faults["media"] = [held(gate)]
        for _ in range(2):
            with pytest.raises(UploadFailed, match="made again in a minute"):
                await wish(on, path, HURRIED)
        assert (on.emulator.posts, puts(on)) == ([], 1)
        gate.set()
        made = await wish(on, path, 100)
        assert (made.job.submitted, len(on.emulator.posts), puts(on)) == (True, 1, 1)


async def test_a_copy_is_its_persons(tmp_path: Path) -> None:
    """Of those who share a server each has their own, also of one file; made again, it is there."""
    path = picture(tmp_path / "own" / "cat.png")
    async with workbench(tmp_path, MEIGEN_REFERENCE_DIRS=str(path.parent)) as on:
        for person, uploaded in (("ann", 1), ("bob", 2), ("ann", 2)):
            with acting_for(person):
                await wish(on, path, 100)
            assert puts(on) == uploaded


async def test_an_upload_that_failed_while_nobody_waited_is_begun_anew(tmp_path: Path) -> None:
    """Its failure is nobody's answer; the next call has an upload of its own."""
    path, gate = picture(tmp_path / "own" / "cat.png"), anyio.Event()

    async def breaks(request: httpx.Request, _: Any) -> httpx.Response:
        await gate.wait()
        raise httpx.WriteError("reset", request=request)

    async with workbench(tmp_path, MEIGEN_REFERENCE_DIRS=str(path.parent)) as on:
        on.wire.faults["media"] = [breaks]
        with pytest.raises(UploadFailed, match="not uploaded yet"):
            await wish(on, path, HURRIED)
        gate.set()
        for _ in range(20):
            await checkpoint()
        made = await wish(on, path, 100)
        assert (made.job.submitted, len(on.emulator.posts), puts(on)) == (True, 1, 2)


async def test_what_is_on_its_way_ends_with_the_server(tmp_path: Path) -> None:
    """Nothing leaves this computer after that."""
    path = picture(tmp_path / "own" / "cat.png")
    async with workbench(tmp_path, MEIGEN_REFERENCE_DIRS=str(path.parent)) as on:
        on.wire.faults["media"] = [held(anyio.Event())]
        with pytest.raises(UploadFailed):
            await wish(on, path, HURRIED)
        await on.service._references.close()  # noqa: SLF001  # as the composition root does
        assert [upload.data for upload in on.emulator.uploads.values()] == [None]
        assert [task for task in asyncio.all_tasks() if "Uploads._upload" in repr(task)] == []
