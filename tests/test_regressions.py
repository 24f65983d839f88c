"""Faults that happened once, and must not again."""

import sqlite3
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Timer
from uuid import UUID

import anyio
import httpx
import pytest
from over_http import ACCEPT, inside
from studio import studio
from workbench import Workbench, workbench

from meigen_mcp import http
from meigen_mcp.database import Database
from meigen_mcp.ledger import Ledger
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings


def test_a_server_that_starts_while_another_makes_the_ledger_waits_for_it(tmp_path: Path) -> None:
    """SQLite refuses at once to turn the write-ahead log on while somebody else writes."""
    with closing(
        sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        over = Timer(0.2, other.execute, ("ROLLBACK",))
        over.start()
        database = Database(tmp_path)
        Ledger(database).notes.put("name", "value")
        assert Ledger(database).notes.get("name") == "value"
        database.close()
        over.join()


async def test_a_call_that_waited_leaves_nothing_behind(tmp_path: Path) -> None:
    """Each finished generation used to keep an event for those who had waited for it."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(modelId="nanobanana-2")).job
        await on.ledger.wait(job, lambda _: True, until=0)
        assert len(on.ledger._waiting) == 0  # noqa: SLF001  # there is no other sign of it


async def test_announcements_leave_nothing_behind(settings: Settings, emulator: Emulator) -> None:
    """Each finished generation used to keep what had been told of it."""
    async with studio(settings, emulator) as on:
        with anyio.fail_after(10):
            await on.call("generate_image", prompt="a fox")
            while on.app.live._told:  # noqa: ASYNC110, SLF001  # there is no other sign of it
                await anyio.sleep(0.01)


async def _announced(on: Workbench) -> None:
    since = on.ledger.version() - 1
    await anext(on.ledger.changes(on.service.account, since))


async def _looked_for_the_dead(on: Workbench) -> None:
    on.ledger.take_over(on.service.account, on.clock.now + 3600)


async def _asked_for_its_place(on: Workbench) -> None:
    ((_, job),) = on.ledger.newest(on.service.account, 1)
    on.service._place(job)  # noqa: SLF001  # what a call that waits in line asks


@pytest.mark.parametrize("act", [_announced, _looked_for_the_dead, _asked_for_its_place])
async def test_a_long_history_slows_nothing_down(
    act: Callable[[Workbench], Awaitable[None]], tmp_path: Path
) -> None:
    """Every change used to read every generation ever made; SQLite counts its own steps."""
    steps: list[int] = []

    def tick() -> int:
        steps[-1] += 1
        return 0

    async with workbench(tmp_path) as on:
        job = await on.settle((await on.generate(modelId="nanobanana-2")).job)
        for number in range(300):
            if number in (10, 299):
                with on.ledger.database.reading() as db:
                    db.set_progress_handler(tick, 1)
                    steps.append(0)
                    await act(on)
                    db.set_progress_handler(None, 0)
            again = replace(job, request_id=str(UUID(int=number)), generation_id=str(number))
            on.ledger.mark(on.ledger.add(again, None, adoptable=False), answered=True)
    assert steps[1] < 2 * steps[0]


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"jsonrpc": "secret"}', b"[" * 1000])
async def test_a_body_that_is_no_message_is_refused_in_our_own_words(
    body: bytes, settings: Settings, emulator: Emulator
) -> None:
    """A 2025 client used to be sent the text of the library that could not read it."""
    async with (
        inside(settings, emulator) as (origin, _),
        httpx.AsyncClient(base_url=origin) as client,
    ):
        answer = await client.post(http.PATH, content=body, headers=ACCEPT)
    said = answer.json()["error"]["message"]
    assert (answer.status_code, said) in [(400, "Parse error"), (400, "Validation error")]
