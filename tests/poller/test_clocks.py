"""A clock that is set, and a machine that sleeps: nobody waits for that, nothing is sent for it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import pytest
from support.workbench import Clock, OnItsWay, Someone, Workbench, answers, refused, workbench

from meigen_mcp.generation import Generation
from meigen_mcp.sandbox.state import Options

CALL: dict[str, Any] = {"modelId": "nanobanana-2", "wait": 0}
HOUR = 3600.0


@dataclass
class Meddler(Someone):
    """Somebody who sets the clock while they wait."""

    clock: Clock | None = None
    seconds: float = 0.0

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Hear how it goes, and set the clock once."""
        assert elapsed >= 0
        await super().report(job, elapsed, place)
        if self.clock is not None:
            self.clock.set(self.seconds)
            self.clock = None


async def _pass(on: Workbench, seconds: int) -> None:
    """Let time pass, second by second."""
    for _ in range(seconds):
        await on.poller.step()
        on.clock.now += 1
    await on.poller.step()


@pytest.mark.parametrize("seconds", [-30.0, -HOUR, HOUR])
async def test_a_call_is_open_as_long_as_it_was_asked_to_be(tmp_path: Path, seconds: float) -> None:
    """Whatever the clock is set to meanwhile."""
    async with workbench(tmp_path) as on:
        began = on.clock.monotonic()
        person = Meddler(clock=on.clock, seconds=seconds)
        outcome = await on.generate(
            "generate_video", person, prompt="sandbox:stall", modelId="veo-3.1", duration=4, wait=8
        )
        waited = on.clock.monotonic() - began
    assert (outcome.status, person.clock) == ("processing", None)
    assert waited == pytest.approx(8, abs=1.1)


@pytest.mark.parametrize("seconds", [-30.0, -HOUR, -24 * HOUR, HOUR, 25 * HOUR])
async def test_a_job_is_looked_at_whatever_the_clock_says(tmp_path: Path, seconds: float) -> None:
    """It is done after a while, and seen to be."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(**CALL)).job
        on.clock.set(seconds)
        await _pass(on, 60)
        assert (await on.reread(job)).status == "completed"


@pytest.mark.parametrize("seconds", [HOUR, 25 * HOUR, 40 * 24 * HOUR])
@pytest.mark.parametrize("era", ["2026-05", "2026-09"])
async def test_a_job_is_not_given_up_because_a_clock_was_set(
    tmp_path: Path, era: Literal["2026-05", "2026-09"], seconds: float
) -> None:
    """The API of 2026-05 does not say how long it can still tell: that is counted here."""
    options = Options(era=era, speed=1, rate_limit=1000, seed=1)
    async with workbench(tmp_path, options=options) as on:
        call: dict[str, Any] = {"modelId": "veo-3.1", "duration": 4, "wait": 0}
        job = (await on.generate("generate_video", **call)).job
        on.clock.set(seconds)
        await _pass(on, 20)
        found = await on.reread(job)
        assert (found.status, found.unobserved) == ("processing", False)
        await _pass(on, 130)
        assert (await on.reread(job)).status == "completed"


async def test_a_wait_after_a_clock_was_set_right_ends_with_the_result(tmp_path: Path) -> None:
    """Also for a job that began an hour ahead."""
    async with workbench(tmp_path) as on:
        on.clock.set(HOUR)
        job = (await on.generate(**CALL)).job
        on.clock.set(-HOUR)
        began = on.clock.monotonic()
        found = await on.check(requestId=job.request_id, wait=40)
        assert found.status == "completed"
        assert on.clock.monotonic() - began < 40


async def test_what_a_dead_process_left_is_taken_over_though_the_clock_went_back(
    tmp_path: Path,
) -> None:
    """Within seconds, and it is looked at."""
    async with workbench(tmp_path) as on:
        async with workbench(tmp_path, beside=on) as dying:
            job = (await dying.generate(**CALL)).job
            await on.poller.step()
        on.clock.set(-HOUR)
        await _pass(on, 60)
        assert (await on.reread(job)).status == "completed"


async def test_a_dead_process_s_times_are_no_times_to_wait_for(tmp_path: Path) -> None:
    """Its clock may have been ahead, and the next process never saw it set right."""
    async with workbench(tmp_path) as on:
        async with workbench(tmp_path, beside=on) as dying:
            on.clock.set(HOUR)
            job = (await dying.generate(**CALL)).job
        on.clock.set(-HOUR)
        async with workbench(tmp_path, beside=on) as later:
            await _pass(later, 60)
            assert (await later.reread(job)).status == "completed"


async def test_slots_of_a_clock_that_was_ahead_are_free_in_a_minute(tmp_path: Path) -> None:
    """And not when that hour comes."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        on.clock.set(3 * HOUR)
        await on.generate(**CALL)
        on.clock.set(-3 * HOUR)
        await on.generate(**CALL)
        assert len(on.wire.posts()) == 1
        await _pass(on, 62)
        assert len(on.wire.posts()) == 2


async def test_a_429_holds_nothing_up_after_the_clock_was_set_back(tmp_path: Path) -> None:
    """Its minutes become no hour: not here, and not in a process that starts afterwards."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(429, headers={"retry-after": "200"})]
        await on.generate(**CALL)
        on.clock.set(-HOUR)
        async with workbench(tmp_path, beside=on) as later:
            await later.generate(**CALL)
            assert len(later.wire.posts()) == 1
        await on.generate(**CALL)
        assert len(on.wire.posts()) == 2


# --- permission ---------------------------------------------------------------------------------


async def _unsent(on: Workbench) -> Generation:
    on.wire.faults["submit"] = [refused] * 100
    job = (await on.generate(**CALL)).job
    assert (job.status, job.posted_at) == ("queued", None)
    return job


@pytest.mark.parametrize("own", [True, False])
async def test_an_intent_of_the_future_is_never_sent(tmp_path: Path, *, own: bool) -> None:
    """How old it is nobody knows, neither the process that wrote it nor another."""
    async with workbench(tmp_path) as on:
        job = await _unsent(on)
        on.clock.set(-HOUR)
        async with workbench(tmp_path, beside=on) as other:
            acting = on if own else other
            sent = len(acting.wire.posts())
            await _pass(acting, 5)
            ended = await acting.reread(job)
            assert len(acting.wire.posts()) == sent
    assert ended.error is not None
    assert (ended.error.code, ended.error.charged) == ("expired", "no")


async def test_an_intent_is_still_sent_after_a_small_correction(tmp_path: Path) -> None:
    """Clocks are set by seconds all the time."""
    async with workbench(tmp_path) as on:
        job = await _unsent(on)
        on.wire.faults.clear()
        on.clock.set(-20)
        await _pass(on, 60)
        assert (await on.reread(job)).status == "completed"


@pytest.mark.parametrize("seconds", [-5, -62])
async def test_an_intent_ends_after_an_hour_by_the_clock_that_nobody_sets(
    tmp_path: Path, seconds: float
) -> None:
    """Though the other one was set back again and again, a little each time."""
    async with workbench(tmp_path) as on:
        job = await _unsent(on)
        on.wire.faults["submit"] = [refused] * 1000
        for _ in range(60):
            on.clock.now += 61
            on.clock.set(seconds)
            await on.poller.step()
        on.wire.faults.clear()
        sent = len(on.wire.posts())
        await _pass(on, 5)
        ended = await on.reread(job)
        assert len(on.wire.posts()) == sent
    assert ended.error is not None
    assert ended.error.code == "expired"


@pytest.mark.parametrize("seconds", [-HOUR, HOUR])
async def test_a_lost_one_is_not_repeated_once_the_clock_was_set(
    tmp_path: Path, seconds: float
) -> None:
    """Neither when that is long ago by now, nor when it lies ahead."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(500)]
        on.wire.faults["lookup"] = [refused] * 4
        job = (await on.generate(**CALL)).job
        assert job.status == "submitting"
        on.clock.set(seconds)
        await _pass(on, 300)
        ended = await on.reread(job)
        assert len(on.wire.posts()) == 1
    assert ended.error is not None
    assert (ended.error.code, ended.error.charged) == ("expired", "no")


@pytest.mark.parametrize("how", ["ahead", "back", "asleep", "asleep, and counted"])
async def test_what_may_still_be_on_its_way_is_not_called_uncharged(
    tmp_path: Path, how: str
) -> None:
    """Though it may not be sent again: MeiGen had nothing at the first look, and then got it."""
    async with workbench(tmp_path) as on:
        sent = OnItsWay()
        on.wire.faults["submit"], on.wire.faults["lookup"] = [sent], [refused]
        job = (await on.generate(**CALL)).job
        if how == "asleep":
            on.clock.sleep(20 * 60)
        else:
            on.clock.set(HOUR if how == "ahead" else -HOUR)
        await _pass(on, 100)
        if how == "asleep, and counted":
            on.clock.now += HOUR
            await _pass(on, 5)
        found = await on.reread(job)
        assert (found.status, int(found.amount), on.charged) == ("submitting", 5, 0)
        await sent.arrive()
        await _pass(on, 100)
        found = await on.reread(job)
        assert (found.status, int(found.amount), on.charged) == ("completed", 5, 5)


async def test_what_was_sent_again_is_waited_for_anew(tmp_path: Path) -> None:
    """However long nothing had come of what was sent before."""
    async with workbench(tmp_path) as on:
        again = OnItsWay()
        on.wire.faults["submit"] = [answers(500)] * 9
        job = (await on.generate(**CALL)).job
        on.clock.set(-HOUR)  # it may not be sent now
        await _pass(on, 120)
        on.wire.faults["submit"] = [again]
        on.clock.set(HOUR)
        while again.held is None:
            await _pass(on, 5)
        on.clock.set(-HOUR)
        await _pass(on, 120)
        found = await on.reread(job)
        assert (found.status, int(found.amount), on.charged) == ("submitting", 5, 0)
        await again.arrive()
        await _pass(on, 100)
        found = await on.reread(job)
        assert (found.status, int(found.amount), on.charged) == ("completed", 5, 5)


async def test_the_hour_of_an_intent_that_was_sent_late_proves_nothing(tmp_path: Path) -> None:
    """MeiGen says that its own worker died: no word of what was charged; nor is it sent again."""
    async with workbench(tmp_path) as on:
        lost = OnItsWay()
        busy = [answers(429, headers={"retry-after": "60"})] * 57
        on.wire.faults["submit"] = [*busy, lost]
        on.wire.faults["lookup"] = [
            refused,
            answers(409, body={"code": "in_progress", "retryAfterSeconds": 0}),
        ]
        job = (await on.generate(**CALL)).job
        while lost.held is None:
            await _pass(on, 10)
        on.clock.now = max(on.clock.now, job.created_at + HOUR)
        await _pass(on, 10)
        sent, found = len(on.wire.posts()), await on.reread(job)
        await lost.arrive()
        assert (found.status, sent) == ("submitting", 58)
        assert (await on.settle(found)).status == "completed"


async def test_what_nobody_looks_at_any_more_is_looked_at_when_the_machine_wakes(
    tmp_path: Path,
) -> None:
    """As at a start; a clock that is set back is no waking."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(**{**CALL, "prompt": "sandbox:stall", "wait": 0})).job
        await on.settle(job, 20 * 60)
        on.clock.now += 40 * 24 * HOUR
        for _ in range(3):
            await on.poller.step()
        looks = []
        for seconds in (0, -HOUR, 2 * HOUR, 0):
            seen = len(on.wire.seen)
            on.clock.set(seconds)
            await on.poller.step()
            looks.append(len(on.wire.seen) - seen)
        assert (await on.reread(job)).at_rest
        assert looks == [0, 0, 1, 0]
