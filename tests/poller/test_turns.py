"""When the poller asks the ledger again, since each question costs."""

from pathlib import Path
from types import SimpleNamespace
from typing import cast

import anyio
import httpx
import pytest
from support.engines import SqlitePlace
from support.workbench import Workbench, workbench

from meigen_mcp.api.client import Api
from meigen_mcp.media.store import Media
from meigen_mcp.poller import poller
from meigen_mcp.poller.room import MOST
from meigen_mcp.poller.schedule import until_due
from meigen_mcp.sandbox.state import Options
from meigen_mcp.system import Signal

LONG = Options(speed=10.0, rate_limit=1000, credits=10_000, seed=1)
"""Nothing ends while a test lasts."""


async def _running(on: Workbench, count: int) -> None:
    """Have so many run that are to be looked at now, and whose look will teach nothing."""
    calls = [
        await on.generate("generate_video", modelId="veo-3.1", prompt=f"cube {number}", wait=0)
        for number in range(count)
    ]
    await on.service.watch([call.job.request_id for call in calls], 1e6)


def _looks(on: Workbench) -> int:
    return sum(route == "status" for route, _ in on.wire.seen)


@pytest.mark.parametrize("count", [1, MOST["look"], MOST["look"] + 1])
async def test_a_look_that_taught_nothing_asks_for_more_only_where_others_wait(
    tmp_path: Path, count: int
) -> None:
    """Each turn is a question to the ledger, and there would be one for every look."""
    async with workbench(tmp_path, options=LONG, MEIGEN_RATE_LIMIT="100") as on:
        await _running(on, count)
        looks, asked = _looks(on), on.ledger.queue.work.count
        await on.turn()
        first = (_looks(on) - looks, on.ledger.queue.work.count > asked)
        await on.turn()
        assert (first, _looks(on) - looks) == (
            (min(count, MOST["look"]), count >= MOST["look"]),
            count,
        )


async def test_looks_that_taught_nothing_are_noted_in_time(tmp_path: Path) -> None:
    """Whatever else there is to do: the next may be due before the poller has rested."""
    async with workbench(tmp_path, options=LONG, MEIGEN_RATE_LIMIT="100") as on:
        await _running(on, 1)
        await on.turn()
        asked = on.ledger.queue.work.count
        with anyio.fail_after(20):
            await on.ledger.queue.work.after(asked)
        assert on.ledger.queue.work.count > asked


async def test_what_dead_processes_left_is_looked_for_however_long_the_poller_rests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A turn for something else may come right before it."""
    monkeypatch.setattr(poller, "RECLAIM_EVERY", 0.05)
    place, looked = SqlitePlace(tmp_path), Signal()
    ledger, api = place.open(), cast("Api", SimpleNamespace(has_token=False))
    ledger.queue.rest = 3600.0

    async def reclaim(_: float) -> None:
        looked.set()

    monkeypatch.setattr(ledger.queue, "reclaim", reclaim)
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(poller.Poller(ledger, api, Media(api, None)).run)
            await looked.after(2)
            group.cancel_scope.cancel()
    await place.close()
    assert looked.count > 2


async def test_what_comes_to_rest_asks_for_nothing_more(tmp_path: Path) -> None:
    """Nothing follows, and nobody waits for its place."""
    async with workbench(tmp_path) as on:
        made = await on.generate("generate_video", modelId="veo-3.1", wait=0)
        while (job := await on.reread(made.job)).status != "completed":
            await on.move()
            await on.turn()
        asked = on.ledger.queue.work.count
        await on.turn()
        rests = await on.reread(job)
        assert (job.at_rest, rests.at_rest) == (False, True)
        assert on.ledger.queue.work.count == asked


@pytest.mark.parametrize(
    ("due_in", "together", "rests"),
    [
        (None, 0.05, 0.5),
        (-1.0, 0.0, 0.0),
        (-1.0, 0.05, 0.05),
        (0.25, 0.0, 0.25),
        (0.25, 0.125, 0.375),
        (9.0, 0.05, 0.5),
    ],
)
def test_what_comes_due_waits_for_more_where_a_question_is_dear(
    due_in: float | None, together: float, rests: float
) -> None:
    """But never for longer than the poller ever rests."""
    now = 1024.0
    assert until_due(None if due_in is None else now + due_in, now, together, 0.5) == rests


@pytest.mark.parametrize("set_by", [0.0, -3600.0])
async def test_a_reply_that_comes_after_the_expected_end_is_asked_once_more_at_once(
    tmp_path: Path, set_by: float
) -> None:
    """It was asked for before, so it says nothing of what has ended meanwhile.

    A clock that is set back meanwhile puts the next question off for no longer than an interval.
    """
    async with workbench(tmp_path, options=LONG) as on:
        await _running(on, 1)
        job = await on.newest()
        expected = (job.accepted_at or 0) + job.expected_seconds
        on.clock.now = expected - 0.01

        async def slow(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
            on.clock.now = job.created_at + 1  # it runs, whatever the sandbox takes
            reply = await inner.handle_async_request(request)
            on.clock.now = expected + 0.01
            on.clock.set(set_by)
            return reply

        on.wire.faults["status"] = [slow]
        await on.turn()
        next_look = (await on.newest()).next_look
        assert next_look == (on.clock.now + 3 if set_by else expected)
