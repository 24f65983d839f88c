"""The rate limit: at most so many submissions in any 60 seconds, whoever starts them."""

from pathlib import Path

import anyio
import httpx
import pytest
from support.workbench import Fault, Someone, Workbench, answers, dropped_after, workbench

from meigen_mcp.service.results import Outcome


async def _burst(on: Workbench, count: int) -> list[Outcome]:
    outcomes: list[Outcome] = []

    async def one(number: int) -> None:
        call = {"prompt": f"picture {number}", "modelId": "nanobanana-2", "wait": 0}
        outcomes.append(await on.service.generate("generate_image", call, Someone()))

    async with anyio.create_task_group() as group:
        for number in range(count):
            group.start_soon(one, number)
        while len(outcomes) < count:
            await anyio.lowlevel.checkpoint()
            await on.poller.step()
            await on.move(0.5)
            on.ledger.changes.wake_all()
    return outcomes


async def test_a_burst_uses_the_window_at_once_and_the_rest_waits_in_line(tmp_path: Path) -> None:
    """Twelve are sent, the others are queued with their place and start."""
    async with workbench(tmp_path) as on:
        start = on.clock.now
        outcomes = await _burst(on, 30)
        queued = sorted((o for o in outcomes if o.status == "queued"), key=lambda o: o.place)
        assert len(on.wire.posts()) == 12
        assert [o.place for o in queued] == list(range(18))
        starts = [round((o.starts_at or 0) - start, -1) for o in queued]
        assert starts == [60] * 12 + [120] * 6


async def test_what_waits_is_sent_when_its_time_comes(tmp_path: Path) -> None:
    """No 60 seconds see more than the limit, and every one completes."""
    async with workbench(tmp_path) as on:
        outcomes = await _burst(on, 30)
        jobs = [await on.settle(outcome.job) for outcome in outcomes]
        assert {job.status for job in jobs} == {"completed"}
        times = sorted(post.at for post in on.emulator.posts)
        windows = [sum(1 for t in times if start <= t < start + 60) for start in times]
        assert (len(times), max(windows)) == (30, 12)


async def test_every_post_takes_a_slot_also_a_refused_one(tmp_path: Path) -> None:
    """A refused submission counts like any other."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="2") as on:
        on.wire.faults["submit"] = [answers(400, body={"error": "No"})] * 2
        for _ in range(2):
            await on.generate(modelId="nanobanana-2", wait=0)
        third = await on.generate(modelId="nanobanana-2", wait=0)
        assert (third.status, len(on.wire.posts())) == ("queued", 2)


@pytest.mark.parametrize("reply", [dropped_after, answers(400, body={"error": "No"})])
async def test_a_slot_is_free_a_minute_after_the_reply_or_the_time_out(
    reply: Fault, tmp_path: Path
) -> None:
    """Not after the sending: the API may count from when it took the submission in."""

    async def slow(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        on.clock.now += 30
        answer: httpx.Response = await reply(request, inner)
        return answer

    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        on.wire.faults["submit"] = [slow]
        start = on.clock.now
        await on.generate(modelId="nanobanana-2", wait=0)
        second = await on.generate(prompt="another", modelId="nanobanana-2", wait=0)
        assert (second.status, second.starts_at) == ("queued", start + 90)
        await on.settle(second.job)
        assert on.emulator.posts[-1].at == start + 90


async def test_a_429_stops_all_submissions_until_retry_after(tmp_path: Path) -> None:
    """The others wait as well; then all go on."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(429, body={}, headers={"retry-after": "90"})]
        start = on.clock.now
        first = await on.generate(modelId="nanobanana-2", wait=0)
        second = await on.generate(prompt="another", modelId="nanobanana-2", wait=0)
        assert (first.status, second.status, len(on.wire.posts())) == ("queued", "queued", 1)
        jobs = [await on.settle(o.job) for o in (first, second)]
        assert {job.status for job in jobs} == {"completed"}
        assert min(post.at for post in on.emulator.posts) >= start + 90


async def test_a_call_that_waits_in_line_is_told_its_place(tmp_path: Path) -> None:
    """Its place while it is queued, and none once it is sent."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        for number in range(2):
            await on.generate(prompt=f"{number}", modelId="nanobanana-2", wait=0)
        person = Someone()
        await on.generate(person=person, prompt="third", modelId="nanobanana-2", wait=20)
        assert set(person.told) == {("queued", 1)}


async def test_two_processes_share_one_window(tmp_path: Path) -> None:
    """The limit holds over all processes on one ledger."""
    async with workbench(tmp_path) as one, workbench(tmp_path, beside=one) as other:
        await _burst(one, 8)
        await _burst(other, 8)
        assert (len(one.wire.posts()), len(other.wire.posts())) == (8, 4)


async def test_a_queued_one_that_waits_too_long_is_never_sent(tmp_path: Path) -> None:
    """An intent is sent within an hour of its creation or not at all."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(429, body={}, headers={"retry-after": "300"})] * 20
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        job = await on.settle(outcome.job, 2 * 3600)
        assert job.error is not None
        assert (job.status, job.error.code, on.charged) == ("failed", "expired", 0)
