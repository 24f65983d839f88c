"""What a client of each era reads when something breaks after the intent, over a whole server."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import mcp_types as t
import pytest
from support.in_memory import MODES, Mode, connect
from support.task_client import DeclaresTasks, begin, get_task, result_of

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

CALL = {"prompt": "a fox", "modelId": "nanobanana-2"}
VIDEO = {"prompt": "waves", "modelId": "seedance-2-0", "duration": 5}


def text_of(result: t.CallToolResult) -> str:
    """Return the text block of a result."""
    block = result.content[0]
    assert isinstance(block, t.TextContent)
    return block.text


@asynccontextmanager
async def write_locked(folder: Path) -> AsyncIterator[None]:
    """Keep everybody from writing into a ledger, as another program may."""
    with closing(sqlite3.connect(folder / "ledger.sqlite3", isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield
        db.execute("ROLLBACK")


@pytest.mark.parametrize("mode", MODES)
async def test_while_others_lock_the_ledger_a_call_that_was_sent_says_so(
    mode: Mode,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its answer comes in time with its id, and the reply in hand is written down afterwards."""
    monkeypatch.setattr("meigen_mcp.service.waiting.ACCEPTANCE", 0.3)
    monkeypatch.setattr("meigen_mcp.service.delivery.MARKED_WITHIN", 0.1)
    posted, answered = anyio.Event(), anyio.Event()
    async with connect(settings, emulator, mode) as on:
        carry = on.transport.handle_async_request

        async def held(request: Any) -> Any:
            reply = await carry(request)
            if request.method == "POST":
                posted.set()
                await answered.wait()
            return reply

        monkeypatch.setattr(on.transport, "handle_async_request", held)
        async with anyio.create_task_group() as group:

            async def lock() -> None:
                await posted.wait()
                async with write_locked(settings.data_dir):
                    answered.set()
                    await told.wait()

            told = anyio.Event()
            group.start_soon(lock)
            result = await on.client.call_tool("generate_image", {**CALL, "wait": 0})
            told.set()
        structure = dict(result.structured_content or {})
        found = await on.call("check_status", requestId=structure["requestId"])
    assert structure["status"] == "submitting"
    assert "othing was" not in text_of(result)
    assert f'check_status with requestId "{structure["requestId"]}"' in structure["next"]
    assert (found["status"], len(emulator.posts)) == ("completed", 1)


@pytest.mark.parametrize("mode", MODES)
async def test_a_fault_of_ours_while_the_answer_is_made_names_the_generation(
    mode: Mode, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The result is there, and its small picture cannot be read for a reason nobody foresaw."""
    async with connect(settings, emulator, mode) as on:

        async def crash(*_: Any) -> None:
            raise RuntimeError("planted")

        monkeypatch.setattr("meigen_mcp.media.store.Media.read_preview", crash)
        result = await on.client.call_tool("generate_image", CALL)
        monkeypatch.undo()
        newest = (await on.call("check_status"))["generations"][0]
    structure = dict(result.structured_content or {})
    assert (structure["status"], structure["requestId"]) == ("unknown", newest["requestId"])
    assert (structure["error"]["code"], structure["error"]["charged"]) == ("internal", "unknown")
    assert structure["next"] == (
        "Whether it was charged is not known. Look it up: call check_status with requestId"
        f' "{newest["requestId"]}". Do not repeat the call.'
    )
    assert "othing was" not in text_of(result)
    assert "planted" not in text_of(result)


async def test_a_result_that_a_task_brings_is_not_lost_with_its_note(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the look's time nor the note that it was given costs the answer."""

    async def broken(*_: Any, **__: Any) -> None:
        raise LedgerUnavailable("The ledger in DATA is kept busy by another process.")

    async with connect(settings, emulator, extensions=[DeclaresTasks()]) as on:
        task = await begin(on.client, "generate_video", **VIDEO)
        ledger: Any = on.app.service._ledger  # noqa: SLF001  # there is no other way to break it
        monkeypatch.setattr(ledger.calls, "mark", broken)
        monkeypatch.setattr(ledger.changes, "follow", broken)
        state = await get_task(on.client.session, task["taskId"])
        result = await result_of(on.client.session, task["taskId"])
    assert state["status"] in ("working", "completed")
    assert result["structuredContent"]["status"] == "completed"
