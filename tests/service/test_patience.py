"""Patience: a status that cannot be had loses no job and calls nothing failed."""

import inspect
from itertools import pairwise
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.workbench import Fault, Someone, answers, dropped_before, refused, silent, workbench

from meigen_mcp import errors
from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.generation import Generation
from meigen_mcp.poller.poller import Poller
from meigen_mcp.reports import away
from meigen_mcp.sandbox.state import Options
from meigen_mcp.settings import from_elsewhere
from meigen_mcp.views import generations as views

AT_STATUS: dict[str, Fault] = {
    "no connection": refused,
    "dropped": dropped_before,
    "silence": silent,
    "500": answers(500, body={"success": False, "error": "Internal"}),
    "HTML 502": answers(502, b"<html>"),
    "no JSON": answers(200, b"<html>"),
    "404 right after accepting": answers(404, body={"error": "Generation not found"}),
    "429": answers(429, body={"code": "status_query_busy", "retryable": True}),
    "429 with Retry-After": answers(429, body={}, headers={"retry-after": "20"}),
    "401": answers(401, body={"error": "Invalid API token"}),
    "completed without URLs": answers(200, body={"status": "completed", "imageUrls": []}),
    "an unknown state": answers(200, body={"status": "resting"}),
    "pending": answers(200, body={"status": "pending"}),
    "failed without success": answers(200, body={"success": False, "error": "Busy"}),
}


@pytest.mark.parametrize("fault", AT_STATUS)
async def test_a_status_that_teaches_nothing_is_asked_again(fault: str, tmp_path: Path) -> None:
    """Five bad answers in a row, and the media arrive all the same."""
    async with workbench(tmp_path) as on:
        on.wire.faults["status"] = [AT_STATUS[fault]] * 5
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        assert (job.status, len(job.media_urls), on.charged) == ("completed", 1, 5)


async def test_looks_back_off_while_nothing_is_learnt(tmp_path: Path) -> None:
    """Each failed look waits longer, up to a minute."""
    async with workbench(tmp_path) as on:
        on.wire.faults["status"] = [refused] * 1000
        outcome = await on.generate("generate_video", modelId="veo-3.1", wait=0)
        job: Any = outcome.job
        times = []
        for _ in range(8):
            job = await on.ledger.records.get(job.request_id)
            on.clock.now = job.next_look
            times.append(on.clock.now)
            await on.poller.step()
        pauses = [round(b - a) for a, b in pairwise(times)]
        assert pauses == [3, 6, 12, 24, 48, 60, 60]


async def test_retry_after_is_respected(tmp_path: Path) -> None:
    """The API's own hint counts where it is longer."""
    async with workbench(tmp_path) as on:
        on.wire.faults["status"] = [answers(429, body={}, headers={"retry-after": "45"})]
        outcome = await on.generate("generate_video", modelId="veo-3.1", wait=0)
        assert outcome.job.next_look is not None
        on.clock.now = outcome.job.next_look
        await on.poller.step()
        later = await on.ledger.records.get(outcome.job.request_id)
        assert later is not None
        assert later.next_look == on.clock.now + 45


@pytest.mark.parametrize(
    ("tool", "model", "quickest"),
    [("generate_image", "nanobanana-2", 38.0), ("generate_video", "veo-3.1", 60.0)],
)
async def test_an_unwatched_one_is_first_looked_at_when_it_may_be_done(
    tool: Tool, model: str, quickest: float, tmp_path: Path
) -> None:
    """After half its time, or the shortest that the model is known to take; then every interval."""
    async with workbench(tmp_path, options=Options(speed=1, seed=1)) as on:
        outcome = await on.generate(tool, prompt="sandbox:stall", modelId=model, wait=0)
        job = outcome.job
        assert job.accepted_at is not None
        first = min(job.expected_seconds / 2, quickest)
        assert job.next_look == job.accepted_at + first
        on.clock.now = job.next_look
        await on.poller.step()
        later = await on.ledger.records.get(job.request_id)
        assert later is not None
        assert later.next_look == on.clock.now + 3


async def test_a_watched_one_is_looked_at_every_interval_from_the_start(tmp_path: Path) -> None:
    """A call waits: every three seconds."""
    async with workbench(tmp_path) as on:
        await on.generate("generate_video", prompt="sandbox:stall", modelId="veo-3.1", wait=16)
        looks = [route for route, _ in on.wire.seen if route == "status"]
        assert len(looks) == 5


async def test_a_watched_one_is_looked_at_when_its_end_is_expected(tmp_path: Path) -> None:
    """Rather than up to an interval later; if it is not done then, every interval again."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(prompt="sandbox:stall", modelId="nanobanana-2", wait=0)).job
        start = job.accepted_at or 0.0
        looks: list[float] = []
        await on.ledger.changes.watch([job.request_id], start, start + 100)
        while len(looks) < 6:
            on.clock.now = await on.next_due() or 0.0
            looks.append(on.clock.now - start)
            await on.poller.step()
    before = [3.0 * number for number in range(4) if 3 * number < job.expected_seconds]
    after = [job.expected_seconds + 3 * number for number in range(6)]
    assert looks == pytest.approx([*before, *after][:6])


async def test_the_end_of_observation_is_said_and_it_is_still_looked_at(tmp_path: Path) -> None:
    """Neither failed nor refunded is proven; every five minutes for a day, daily for 30."""
    async with workbench(tmp_path) as on:
        outcome = await on.generate(
            "generate_video", prompt="sandbox:stall", modelId="veo-3.1", wait=0
        )
        job = await on.settle(outcome.job, 3600)
        assert (job.status, job.unobserved, job.error) == ("processing", True, None)
        assert job.next_look is not None
        before = len(on.wire.seen)
        job = await on.settle(job, 23 * 3600)
        looks = len(on.wire.seen) - before
        assert looks == pytest.approx(23 * 12, abs=8)
        before = len(on.wire.seen)
        job = await on.settle(job, 40 * 24 * 3600)
        assert (job.status, job.at_rest) == ("processing", True)
        assert len(on.wire.seen) - before == pytest.approx(30, abs=2)


async def test_a_hint_that_has_run_out_ends_the_observation_and_not_the_job(
    tmp_path: Path,
) -> None:
    """The server says that it looks no more; what it makes later is found all the same."""
    over = answers(200, body={"status": "processing", "pollHintSeconds": 0})
    async with workbench(tmp_path) as on:
        on.wire.faults["status"] = [over] * 3
        outcome = await on.generate(modelId="nanobanana-2")
        assert (outcome.status, outcome.job.unobserved) == ("processing", True)
        assert outcome.job.next_look == pytest.approx(on.clock.now + 300, abs=60)
        job = await on.settle(outcome.job)
        assert (job.status, job.unobserved, on.charged) == ("completed", False, 5)


async def test_pauses_are_scattered(tmp_path: Path) -> None:
    """Many servers that lost the API together do not come back in step."""
    scatter = inspect.signature(Poller).parameters["jitter"].default
    factors = {scatter() for _ in range(20)}
    assert len(factors) == 20
    assert all(0.8 <= factor <= 1.2 for factor in factors)
    async with workbench(tmp_path) as on:
        on.poller._jitter = lambda: 1.2  # noqa: SLF001  # the workbench's is 1, to be exact
        on.wire.faults["status"] = [refused]
        outcome = await on.generate("generate_video", modelId="veo-3.1", wait=0)
        on.clock.now = outcome.job.next_look or 0
        await on.poller.step()
        job = await on.ledger.records.get(outcome.job.request_id)
        assert job is not None
        assert job.next_look == pytest.approx(on.clock.now + 1.2 * 3)


async def test_one_that_ends_late_is_still_found(tmp_path: Path) -> None:
    """Most of an hour of bad answers, then the result."""
    async with workbench(tmp_path) as on:
        on.wire.faults["status"] = [refused] * 20
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        job = await on.settle(outcome.job, 4 * 3600)
        assert (job.status, len(job.media_urls)) == ("completed", 1)


async def test_a_refund_is_told_only_when_it_is_proven(tmp_path: Path) -> None:
    """Without `creditsStatus` the charge of a failure is unknown, and keeps its amount."""
    async with workbench(tmp_path) as on:
        failed = answers(200, body={"status": "failed", "error": "No"})
        on.wire.faults["status"] = [failed]
        unproven = await on.generate(modelId="nanobanana-2")
        proven = await on.generate(prompt="sandbox:fail", modelId="nanobanana-2", wait=40)
        assert unproven.job.error is not None
        assert proven.job.error is not None
        assert (unproven.job.error.charged, proven.job.error.charged) == ("unknown", "refunded")
        assert await on.spent() == 5


async def test_a_failure_of_our_own_is_given_up_where_only_a_file_is_at_stake(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The result stays completed; nothing is tried for ever."""

    async def breaks(*_: Any) -> None:
        raise RuntimeError("not foreseen")

    monkeypatch.setattr("meigen_mcp.media.store.Media.preview", breaks)
    async with workbench(tmp_path) as on:
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
    assert (job.status, job.next_look, job.fetch_failures) == ("completed", None, 6)
    assert len(caplog.records) == 6


async def test_a_look_that_taught_nothing_is_no_change(tmp_path: Path) -> None:
    """Nobody is told of it: a thousand that wait would be told of nothing a thousand times."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(prompt="sandbox:stall", modelId="nanobanana-2", wait=0)).job
        versions = []
        for _ in range(3):
            on.clock.now = await on.next_due() or 0.0
            await on.poller.step()
            versions.append(await on.ledger.changes.version())
        looks = [route for route, _ in on.wire.seen if route == "status"]
        assert (len(looks), len({*versions})) == (3, 1)
        found = await on.ledger.records.get(job.request_id)
        assert found is not None
        assert (found.status, found.next_look or 0.0) > ("processing", on.clock.now)


async def test_what_ends_while_the_person_is_told_of_it_is_answered_at_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the record just then, so nobody is woken by its end."""
    async with workbench(tmp_path) as on:
        started = (await on.generate(modelId="nanobanana-2", wait=0)).job
        monkeypatch.setattr("meigen_mcp.service.waiting._REPORT_EVERY", 0.0)

        class Listener(Someone):
            async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
                assert self.told == [], "it is over"
                await super().report(job, elapsed, place)
                await on.settle(started)

        person = Listener()
        found: Any = await on.service.check({"requestId": started.request_id}, person)
        assert (found.status, person.told) == ("completed", [("processing", None)])


async def test_why_one_is_still_queued_is_said_until_it_is_sent(tmp_path: Path) -> None:
    """With the record, in the list, and as progress; it is no error, and nobody has to act."""
    why = "MeiGen could not be reached; nothing was sent. It is tried again by itself."
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [refused] * 1000
        outcome = await on.generate(modelId="nanobanana-2")
        one = views.outcome(outcome, on.clock())
        row, *_ = views.listing(await on.check())["generations"]
        wait = one["next"]
        assert (one["status"], one["error"]) == ("queued", row["error"])
        assert one["error"] == {
            "code": "meigen_away", "message": why, "charged": "no", "retryable": False,
        }  # fmt: skip
        assert views.text(one).splitlines()[1] == why
        assert views.rows_text([row])[1] == f"  {why}"
        assert wait.startswith("Wait for it: call check_status")
        assert views.progress_words(outcome.job, 9, 0).startswith(
            "queued, MeiGen could not be reached, next in line, 9 s"
        )
        assert not views.is_error(one)
        on.wire.faults.clear()
        job = await on.settle(outcome.job)
        assert (job.status, job.error) == ("completed", None)


async def test_who_asks_from_elsewhere_is_told_no_proxy_and_no_certificate(tmp_path: Path) -> None:
    """Why MeiGen cannot be reached is this computer's own matter."""

    async def unreadable(*_: object) -> httpx.Response:
        message = "The certificates in SSL_CERT_FILE (/etc/own.pem) cannot be read."
        raise errors.Unreachable(message, sent=False)

    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [unreadable] * 1000
        told = [(await on.generate(modelId="nanobanana-2", wait=0)).job.error]
        token = from_elsewhere.set(True)
        told += [job.error for job in (await on.check()).jobs]
        from_elsewhere.reset(token)
    assert told == [
        away("The certificates in SSL_CERT_FILE (/etc/own.pem) cannot be read."),
        away(),
    ]
