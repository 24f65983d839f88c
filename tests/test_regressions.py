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
import httpx
import pytest
from over_http import ACCEPT, inside
from starlette.types import Message
from studio import ORIGIN, make_settings, studio
from workbench import Workbench, workbench

from meigen_mcp import http
from meigen_mcp.app import on_sandbox
from meigen_mcp.catalogue import Catalogue, shipped
from meigen_mcp.database import Database
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger import Ledger
from meigen_mcp.media import Media
from meigen_mcp.poller import REST
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings
from meigen_mcp.tools import generate_schema
from meigen_mcp.window import Window


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
            told = on.app.live._told  # noqa: SLF001  # there is no other sign of it
            while told:  # noqa: ASYNC110  # nor of its end
                await anyio.sleep(0.01)
    assert told == {}


async def _announced(on: Workbench) -> None:
    since = on.ledger.version() - 1
    await anext(on.ledger.changes(on.service.account, since))


async def _looked_for_the_dead(on: Workbench) -> None:
    on.ledger.agenda.take_over(on.service.account, on.clock.now + 3600)


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


async def test_a_ledger_that_cannot_be_written_is_left_in_peace(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A look that could not be kept was due again at once: hundreds of requests a second."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(prompt="sandbox:stall", modelId="nanobanana-2", wait=0)).job
        on.clock.now = job.next_look or 0.0
        with monkeypatch.context() as broken:
            for name in ("save", "look_again"):
                broken.setattr(on.ledger, name, _full)
            looks = []
            for _ in range(3):
                await on.poller.step()
                looks.append(sum(route == "status" for route, _ in on.wire.seen))
        on.clock.now += REST
        await on.poller.step()
        found = on.ledger.get(job.account, job.request_id)
    assert looks == [1, 1, 1]
    assert found is not None
    assert (found.next_look or 0.0) > on.clock.now


def _full(*_: object, **__: object) -> None:
    raise LedgerUnavailable("The disk is full.")


def test_a_place_behind_a_post_under_way_is_asked_for_again_in_a_minute(tmp_path: Path) -> None:
    """It used to be put off until that POST would have timed out, though it frees itself sooner."""
    window = Window(Database(tmp_path), "account", 1)
    assert window.claim("first", 0.0, held_until=130.0) == (1, None)
    assert window.claim("second", 5.0, held_until=135.0) == (None, 65.0)
    window.answered(1, 6.0)
    assert window.claim("second", 65.0, held_until=195.0) == (None, 66.0)
    assert window.claim("second", 66.0, held_until=196.0) == (1, None)


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
        async with studio(settings, emulator) as on:
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
        with closing(Database(on_sandbox(settings, ORIGIN).data_dir)) as database:
            ledger = Ledger(database)
            spent.append(int(ledger.spent(0)))
            ledger.add(made, None, adoptable=True)
    assert (spent, made.amount > 0) == ([0, 0], True)
