"""Faults that happened once, and must not again."""

import sqlite3
import tempfile
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from threading import Event, Timer
from uuid import UUID

import anyio
import pytest
from starlette.types import Message
from support.in_memory import ORIGIN, connect, make_settings
from support.over_http import ACCEPT, inside, patient
from support.records import EMPTY
from support.workbench import Workbench, workbench

from meigen_mcp.app import on_sandbox, open_ledger
from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.ledger.sqlite.rate_limit import claim_slot, free_slot
from meigen_mcp.media.store import Media
from meigen_mcp.poller.poller import REST
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.server.tool_schemas import generate_schema
from meigen_mcp.settings import Settings
from meigen_mcp.transports import http


async def test_a_server_that_starts_while_another_makes_the_ledger_waits_for_it(
    tmp_path: Path,
) -> None:
    """SQLite refuses at once to turn the write-ahead log on while somebody else writes."""
    with closing(
        sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        over = Timer(0.2, other.execute, ("ROLLBACK",))
        over.start()
        ledger = open_ledger(make_settings(tmp_path, MEIGEN_DATA_DIR=str(tmp_path)))
        await ledger.live_lists.keep({}, 1.0)
        assert await ledger.live_lists.load() == ({}, 1.0)
        await ledger.close()
        over.join()


async def test_a_call_that_waited_leaves_nothing_behind(tmp_path: Path) -> None:
    """Each finished generation used to keep an event for those who had waited for it."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(modelId="nanobanana-2")).job
        await on.ledger.changes.follow(job, on.clock.now)
        assert len(on.ledger.changes._followers._each) == 0  # noqa: SLF001  # there is no other sign


async def test_announcements_leave_nothing_behind(settings: Settings, emulator: Emulator) -> None:
    """Each finished generation used to keep what had been told of it."""
    async with connect(settings, emulator) as on:
        with anyio.fail_after(10):
            await on.call("generate_image", prompt="a fox")
            told = on.app.subscriptions._told  # noqa: SLF001  # there is no other sign of it
            while told:  # noqa: ASYNC110  # nor of its end
                await anyio.sleep(0.01)
    assert told == {}


async def _announced(on: Workbench) -> None:
    since = await on.ledger.changes.version() - 1
    await anext(on.ledger.changes.changes(since))


async def _looked_for_the_dead(on: Workbench) -> None:
    await on.ledger.queue.reclaim(on.clock.now + 3600)


async def _asked_for_its_place(on: Workbench) -> None:
    job = await on.newest()
    await on.ledger.queue.place(job, on.clock.now)


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
                steps.append(0)
                await on.ledger._worker.read(lambda db: db.set_progress_handler(tick, 1))  # noqa: SLF001
                await act(on)
                await on.ledger._worker.read(lambda db: db.set_progress_handler(None, 0))  # noqa: SLF001
            again = replace(job, request_id=str(UUID(int=number)), generation_id=str(number))
            added = await on.ledger.calls.add(again, Terms(adoptable=False))
            assert isinstance(added, Generation)
            await on.ledger.calls.mark(added, answered=True)
    assert steps[1] < 2 * steps[0]


@pytest.mark.parametrize("body", [b"{", b"{}", b'{"jsonrpc": "secret"}', b"[" * 1000])
async def test_a_body_that_is_no_message_is_refused_in_our_own_words(
    body: bytes, settings: Settings, emulator: Emulator
) -> None:
    """A 2025 client used to be sent the text of the library that could not read it."""
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        answer = await client.post(http.PATH, content=body, headers=ACCEPT)
    said = answer.json()["error"]["message"]
    assert (answer.status_code, said) in [(400, "Parse error"), (400, "Validation error")]


async def test_a_ledger_that_cannot_be_written_is_left_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that could not be kept was due again at once: hundreds of requests a second."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(prompt="sandbox:stall", modelId="nanobanana-2", wait=0)).job
        on.clock.now = job.next_look or 0.0
        with monkeypatch.context() as broken:
            broken.setattr(on.ledger.records, "change", _full)
            looks = []
            for _ in range(3):
                await on.poller.step()
                looks.append(sum(route == "status" for route, _ in on.wire.seen))
        on.clock.now += REST
        await on.poller.step()
        found = await on.ledger.records.get(job.request_id)
    assert looks == [1, 1, 1]
    assert found is not None
    assert (found.next_look or 0.0) > on.clock.now


async def _full(*_: object, **__: object) -> None:
    raise LedgerUnavailable("The disk is full.")


def test_a_place_behind_a_post_under_way_is_asked_for_again_in_a_minute(tmp_path: Path) -> None:
    """It used to be put off until that POST would have timed out, though it frees itself sooner."""
    with closing(Database(tmp_path)) as database:
        db = database.open()

        def claim(now: float) -> tuple[int, None] | tuple[None, float]:
            return claim_slot(db, EMPTY, 1, now, held_until=now + 130.0)

        assert claim(0.0) == (1, None)
        assert claim(5.0) == (None, 65.0)
        free_slot(db, 1, 6.0)
        assert claim(65.0) == (None, 66.0)
        assert claim(66.0) == (1, None)


def test_ratios_that_differ_only_in_their_order_are_still_told() -> None:
    """What all take was cut out of each, and nothing was left to say."""
    ratios = ("1:1", "16:9", "9:16")
    known = [model for model in shipped().listed("image") if not model.legacy][:2]
    models = [
        known[0].model_copy(update={"ratios": ratios}),
        known[1].model_copy(update={"ratios": ratios[::-1]}),
    ]
    schema = generate_schema("generate_image", Catalogue(tuple(models)))
    assert "1:1 16:9 9:16" in schema["properties"]["aspectRatio"]["description"]


async def test_a_folder_that_hangs_holds_no_answer_up(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whether it can be written is said only if it is known within a second."""
    assert settings.output_dir is not None
    settings.output_dir.write_text("in the way")
    hung = Event()
    monkeypatch.setattr(Media, "problem", lambda _: hung.wait(60))
    try:
        async with connect(settings, emulator) as on:
            with anyio.fail_after(20):
                made = await on.call("generate_image", prompt="a fox")
    finally:
        hung.set()
    assert (made["status"], "files" in made) == ("completed", False)


async def test_a_refusal_in_several_parts_is_cut_as_a_whole() -> None:
    """The length was that of the first part, which ended the connection."""
    sent: list[Message] = []

    async def send(message: Message) -> None:
        sent.append(message)

    cut = http._in_plain_words(send)  # noqa: SLF001  # the SDK sends one part, today
    await cut({"type": "http.response.start", "status": 400})
    for part, more in ((b'{"message":"Parse err', True), (b'or: at line 1"}', False)):
        await cut({"type": "http.response.body", "body": part, "more_body": more})
    assert sent == [
        {
            "type": "http.response.start",
            "status": 400,
            "headers": [(b"content-length", b"25")],
        },
        {
            "type": "http.response.body",
            "body": b'{"message":"Parse error"}',
            "more_body": False,
        },
    ]


async def test_a_new_sandbox_knows_nothing_of_what_was_spent_in_the_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It used to ask before the first video, since the last one's credits still counted."""
    settings = make_settings(tmp_path)
    async with workbench(tmp_path) as on:
        made = (await on.generate(modelId="nanobanana-2", wait=0)).job

    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    spent = []
    for _ in range(2):
        ledger = open_ledger(on_sandbox(settings, ORIGIN))
        found = await ledger.records.overview(0, made.created_at + 1)
        spent.append(int(found.spent_month))
        await ledger.calls.add(made, Terms())
        await ledger.close()
    assert (spent, made.amount > 0) == ([0, 0], True)
