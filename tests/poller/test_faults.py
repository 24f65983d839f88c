"""Exactly once: whatever breaks while a generation is submitted, the person is charged once."""

import json
import sqlite3
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import anyio
import httpx
import pytest
from support.ledger_file import execute
from support.workbench import (
    Fault,
    Someone,
    Workbench,
    answers,
    cut,
    dropped_after,
    dropped_before,
    labelled,
    refused,
    silent,
    with_an_id,
    workbench,
)

from meigen_mcp.generation import Generation
from meigen_mcp.sandbox.state import Options
from meigen_mcp.views import generations as views

HTML = b"<html><body>Bad gateway</body></html>"
AT_SUBMIT: dict[str, Fault] = {
    "no connection": refused,
    "dropped before": dropped_before,
    "dropped after": dropped_after,
    "reply cut": cut,
    "silence": silent,
    "500 before": answers(500, body={"success": False, "error": "Internal"}),
    "500 after": answers(500, body={"success": False, "error": "Internal"}, acts=True),
    "HTML 502 before": answers(502, HTML, headers={"content-type": "text/html"}),
    "HTML 502 after": answers(502, HTML, headers={"content-type": "text/html"}, acts=True),
    "no JSON": answers(200, b"OK", acts=True),
    "empty 200": answers(200, b"", acts=True),
    "200 without an id": answers(200, body={"success": True}, acts=True),
    "500 with an id": with_an_id,
    "an odd label": labelled("utf-8"),
    "another odd label": labelled("deflate"),
    "429": answers(429, body={"success": False, "error": "Slow down"}),
    "in progress": answers(409, body={"code": "in_progress", "retryAfterSeconds": 5}, acts=True),
    "lease expired": answers(409, body={"code": "in_progress", "retryAfterSeconds": 0}),
}
# Without keys the API cannot say what became of a POST; only these provably never counted.
PROVABLY_NOT = {"no connection", "429"}
# And these can be read all the same.
READ = {"500 with an id", "an odd label", "another odd label", "reply cut"}


@dataclass(frozen=True)
class End:
    """How a generation ended, and what it took."""

    status: str
    media: int
    charged: int
    accepted: int
    same_bytes: bool


def _end(on: Workbench, job: Generation) -> End:
    accepted = sum(1 for post in on.emulator.posts if post.accepted)
    posts = on.wire.posts()
    return End(job.status, len(job.media_urls), on.charged, accepted, len(set(posts)) == 1)


async def test_an_intent_is_on_the_disk_before_it_is_sent(tmp_path: Path) -> None:
    """Another process reads, while the POST is under way, the key and the bytes that are sent."""
    found: list[tuple[str, str, bytes]] = []

    async def looked(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        with closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite3")) as db:
            (row,) = db.execute("SELECT status, request_id, CAST(body AS BLOB) FROM generations")
        found.append(row)
        return await inner.handle_async_request(request)

    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [looked]
        outcome = await on.generate(modelId="nanobanana-2")
        (body,) = on.wire.posts()
    assert found == [("submitting", outcome.job.request_id, body)]
    assert json.loads(body)["idempotencyKey"] == outcome.job.request_id


@pytest.mark.parametrize("times", [1, 2], ids=["once", "twice"])
@pytest.mark.parametrize("fault", AT_SUBMIT)
async def test_a_fault_at_submit_is_charged_once_and_its_media_arrive(
    fault: str, times: int, tmp_path: Path
) -> None:
    """With keys the API is asked what became of it, and the job is found or sent again."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [AT_SUBMIT[fault]] * times
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        assert _end(on, job) == End("completed", 1, 5, 1, same_bytes=True)


@pytest.mark.parametrize("fault", AT_SUBMIT)
async def test_without_keys_a_lost_submission_is_never_repeated(fault: str, tmp_path: Path) -> None:
    """An API that knows neither keys nor the look-up route leaves it unknown, in plain words."""
    options = Options(era="2026-05", rate_limit=1000, seed=1)
    async with workbench(tmp_path, options=options) as on:
        on.wire.faults["submit"] = [AT_SUBMIT[fault]]
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        if fault in PROVABLY_NOT | READ:
            assert _end(on, job) == End("completed", 1, 5, 1, same_bytes=True)
            return
        assert (job.status, len(on.wire.posts())) == ("unknown", 1)
        assert job.error is not None
        assert (job.error.code, job.error.charged) == ("unknown_outcome", "unknown")
        assert "meigen.ai" in job.error.next


@pytest.mark.parametrize("era", ["2026-05", "2026-09"])
async def test_a_reply_that_cannot_be_written_is_kept_until_it_can(
    era: Literal["2026-05", "2026-09"], tmp_path: Path
) -> None:
    """The disk filled while the POST was under way; without keys nobody could ask for it again."""
    data = tmp_path / "data"
    full = "CREATE TRIGGER full BEFORE UPDATE ON generations BEGIN SELECT RAISE(ABORT, ''); END"

    async def filled(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        execute(data, full)
        return await inner.handle_async_request(request)

    async with workbench(tmp_path, options=Options(era=era, rate_limit=1000, seed=1)) as on:
        on.wire.faults["submit"] = [filled]
        outcome = await on.generate(person=Someone(patience=3), modelId="nanobanana-2")
        told = views.outcome(outcome, on.clock())
        assert (told["status"], told["requestId"]) == ("submitting", outcome.job.request_id)
        assert "Do not start it again." in told["next"]
        assert "othing was" not in views.text(told)
        for _ in range(5):
            on.clock.now += 200  # by now a POST that nobody reported on would be looked up
            with pytest.raises(ExceptionGroup):  # the loop around it logs that
                await on.poller.step()
        assert [route for route, _ in on.wire.seen if route != "models"] == ["submit"]
        execute(data, "DROP TRIGGER full")
        job = await on.settle(outcome.job)
        assert _end(on, job) == End("completed", 1, 5, 1, same_bytes=True)
        assert "lookup" not in [route for route, _ in on.wire.seen]


async def test_a_submission_that_keeps_failing_does_not_eat_the_rate_limit(
    tmp_path: Path,
) -> None:
    """Each repetition waits longer than the one before."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [AT_SUBMIT["500 before"]] * 1000
        start = on.clock.now
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        while (await on.next_due() or 0) < start + 60:
            await on.move(60)
            await on.poller.step()
        assert len(on.wire.posts()) == 5
        job = await on.settle(outcome.job)
        assert job.error is not None
        assert (job.status, job.error.code, job.error.charged) == ("failed", "expired", "no")


async def test_an_unknown_one_keeps_its_reservation(tmp_path: Path) -> None:
    """What may have been charged counts against the caps."""
    options = Options(era="2026-05", rate_limit=1000, seed=1)
    async with workbench(tmp_path, options=options) as on:
        on.wire.faults["submit"] = [dropped_after]
        outcome = await on.generate(modelId="nanobanana-2")
        await on.settle(outcome.job)
        assert await on.spent() == 5


async def test_an_unknown_one_is_looked_up_again_by_check_status(tmp_path: Path) -> None:
    """When the API learns to answer, the generation is found."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_after]
        on.wire.faults["lookup"] = [answers(404, HTML)] * 3
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        assert job.status == "unknown"
        found = await on.check(requestId=job.request_id)
        job = await on.settle(found.job)
        assert _end(on, job) == End("completed", 1, 5, 1, same_bytes=True)


async def test_a_refusal_ends_it_and_nothing_is_charged(tmp_path: Path) -> None:
    """A 400 is the call's own answer."""
    async with workbench(tmp_path) as on:
        outcome = await on.generate(prompt="sandbox:refuse", modelId="nanobanana-2", wait=0)
        assert outcome.job.error is not None
        assert (outcome.status, outcome.job.error.code) == ("failed", "moderation")
        assert (outcome.job.error.charged, on.charged) == ("no", 0)
        assert await on.spent() == 0


@pytest.mark.parametrize(
    ("status", "code", "named"),
    [
        (401, "unauthorized", "MEIGEN_API_TOKEN"),
        (402, "insufficient_credits", "buy credits"),
        (403, "forbidden", "MEIGEN_API_TOKEN"),
    ],
)
async def test_a_parked_one_is_sent_again_with_the_same_key_by_the_same_call(
    status: int, code: str, named: str, tmp_path: Path
) -> None:
    """401, 402 and 403 wait for the person; the identical call then uses the same bytes."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(status, body={"success": False, "error": "No"})]
        first = await on.generate(modelId="nanobanana-2")
        assert first.job.error is not None
        assert (first.status, first.job.error.code) == ("queued", code)
        assert named in first.job.error.next
        await on.settle(first.job, 600)
        assert len(on.wire.posts()) == 1
        again = await on.generate(modelId="nanobanana-2")
        job = await on.settle(again.job)
        assert again.job.request_id == first.job.request_id
        assert _end(on, job) == End("completed", 1, 5, 1, same_bytes=True)


async def test_a_parked_one_ends_after_an_hour(tmp_path: Path) -> None:
    """What nobody took up again is not sent on a later day."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(402, body={"success": False, "error": "No"})]
        first = await on.generate(modelId="nanobanana-2")
        on.clock.now += 3601
        job = await on.settle(first.job)
        assert job.error is not None
        assert (job.status, job.error.code, job.error.charged) == ("failed", "expired", "no")
        assert len(on.wire.posts()) == 1


async def test_a_lost_one_is_not_posted_again_after_fifteen_minutes(tmp_path: Path) -> None:
    """Later it is only looked up: not found ends it, not charged."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_before]
        on.wire.faults["lookup"] = [refused] * 8
        first = await on.generate(modelId="nanobanana-2", wait=0)
        on.clock.now += 901
        on.wire.faults["lookup"] = []
        job = await on.settle(first.job)
        assert job.error is not None
        assert (job.status, job.error.code, job.error.charged) == ("failed", "expired", "no")
        assert len(on.wire.posts()) == 1


async def test_a_deleted_one_ends(tmp_path: Path) -> None:
    """410 says that the record is gone; what it cost is not known."""
    async with workbench(tmp_path) as on:
        gone = answers(410, body={"success": False, "code": "generation_unavailable"})
        on.wire.faults["status"] = [gone]
        outcome = await on.generate(modelId="nanobanana-2")
        assert outcome.job.error is not None
        assert (outcome.status, outcome.job.error.code, outcome.job.error.charged) == (
            "failed",
            "generation_unavailable",
            "unknown",
        )


@pytest.mark.parametrize(
    ("status", "code", "when"),
    [
        (409, "idempotency_conflict", "at the POST"),
        (409, "request_id_collision", "at the POST"),
        (410, "generation_unavailable", "at the POST"),
        (410, "generation_unavailable", "at the look-up"),
    ],
)
async def test_a_key_that_can_start_nothing_ends_it(
    status: int, code: str, when: str, tmp_path: Path
) -> None:
    """What it cost is not known, and nothing is sent again."""
    async with workbench(tmp_path) as on:
        said = answers(status, body={"success": False, "code": code})
        on.wire.faults["submit"] = [said if when == "at the POST" else dropped_before]
        on.wire.faults["lookup"] = [said]
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        assert job.error is not None
        assert (job.status, job.error.code, job.error.charged) == ("failed", code, "unknown")
        assert len(on.wire.posts()) == 1
        assert await on.spent() == 5


@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "lost"])
async def test_a_server_that_died_in_mid_post_costs_another_account_nothing(
    accepted: bool, tmp_path: Path
) -> None:
    """B neither sends nor looks up what A was sending; A is charged once when it is back."""
    sending = anyio.Event()

    async def unanswered(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        if accepted:
            await inner.handle_async_request(request)
        sending.set()
        await anyio.sleep_forever()
        raise AssertionError

    async with workbench(tmp_path) as first:
        async with (
            workbench(tmp_path, beside=first) as dying,
            anyio.create_task_group() as group,
        ):
            dying.wire.faults["submit"] = [unanswered]
            call = {"prompt": "a red cube", "modelId": "nanobanana-2"}
            group.start_soon(dying.service.generate, "generate_image", call, Someone())
            while not await dying.ledger.records.newest(1):
                await anyio.lowlevel.checkpoint()
            group.start_soon(dying.poller.step)
            await sending.wait()
            group.cancel_scope.cancel()
        other = "meigen_sk_" + "B" * 32
        async with workbench(tmp_path, beside=first, MEIGEN_API_TOKEN=other) as second:
            for _ in range(20):
                second.clock.now += 10
                await second.poller.step()
            assert second.wire.seen == []
        job = await first.newest()
        await first.poller.step()
        job = await first.settle(job)
        assert (job.status, first.charged) == ("completed", 5)


async def test_who_ends_well_hears_the_reply_and_begins_nothing_more(tmp_path: Path) -> None:
    """Else another server would have to look up what became of it; the rest is its to send."""
    sending, answered = anyio.Event(), anyio.Event()

    async def slowly(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        reply = await inner.handle_async_request(request)
        sending.set()
        await answered.wait()
        return reply

    async with workbench(tmp_path) as on, anyio.create_task_group() as calls:
        on.wire.faults["submit"] = [slowly]
        call = {"prompt": "a red cube", "modelId": "nanobanana-2"}

        async def add(count: int) -> None:
            calls.start_soon(on.service.generate, "generate_image", call, Someone())
            while len(await on.ledger.records.newest(9)) < count:
                await anyio.lowlevel.checkpoint()

        await add(1)
        async with anyio.create_task_group() as group:
            group.start_soon(on.poller.step)
            await sending.wait()
            group.start_soon(on.poller.end, 60.0)
            await add(2)
            await on.poller.step()
            answered.set()
        statuses = [job.status for _, job in await on.ledger.records.newest(9)]
        calls.cancel_scope.cancel()
    assert statuses == ["queued", "processing"]


async def test_the_body_carries_the_key_and_nothing_that_was_left_out(tmp_path: Path) -> None:
    """An argument that the caller left out stays out of the request."""
    async with workbench(tmp_path) as on:
        outcome = await on.generate(aspectRatio=None, referenceImages=[])
        assert json.loads(on.wire.posts()[0]) == {
            "prompt": "a red cube",
            "idempotencyKey": outcome.job.request_id,
        }


async def test_what_is_sent_is_on_the_disk_before_it_leaves(tmp_path: Path) -> None:
    """The last commit before the POST waits for the disk, and with it all that were before."""
    done: list[str] = []

    async def noted(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        done.append("POST")
        return await inner.handle_async_request(request)

    async with workbench(tmp_path) as on:
        await on.ledger._worker.apart(lambda db: db.set_trace_callback(done.append))  # noqa: SLF001
        on.wire.faults["submit"] = [noted]
        await on.generate(modelId="nanobanana-2", wait=0)
    before = [line for line in done[: done.index("POST")] if line[:6] in ("PRAGMA", "COMMIT")]
    assert before[-2:] == ["PRAGMA synchronous=FULL", "COMMIT"]
