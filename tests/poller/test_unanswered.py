"""Could not ask is not asked: what was accepted is found, however long nothing could be learnt."""

from pathlib import Path

import httpx
import pytest
from support.workbench import (
    Fault,
    Workbench,
    answers,
    dropped_after,
    refused,
    silent,
    workbench,
)

from meigen_mcp.generation import Generation
from meigen_mcp.views import generations as views

HOUR, DAY = 3600.0, 24 * 3600.0
HTML = b"<html>Bad gateway</html>"
NO_ANSWER: dict[str, Fault] = {
    "no network": refused,
    "silence": silent,
    "JSON 500": answers(500, body={"success": False, "error": "Internal"}),
    "HTML 500": answers(500, HTML),
    "HTML 502": answers(502, HTML),
    "HTML 503": answers(503, HTML, headers={"retry-after": "1"}),
    "empty 504": answers(504, b""),
    "HTML 403": answers(403, HTML),
    "HTML 410": answers(410, HTML),
    "401": answers(401, body={"success": False, "error": "Bad token"}),
    "403": answers(403, body={"success": False, "error": "No"}),
    "429": answers(429, body={"error": "Slow down"}),
    "nothing at all": answers(200, b""),
    "JSON that breaks off": answers(200, b'{"success":true,"generationId":"8f1'),
    "packed, which nobody asked for": answers(
        200, b"\x8b\x02\x80\0\1\2\3", headers={"content-encoding": "br"}
    ),
    "a redirect": answers(302, HTML, headers={"location": "https://portal.example/"}),
}
each_no_answer = pytest.mark.parametrize("fault", NO_ANSWER.values(), ids=NO_ANSWER)


def cannot_ask(on: Workbench, fault: Fault, from_now: float) -> None:
    """Have every look and every look-up meet a fault for some seconds."""
    until = on.clock() + from_now

    async def met(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        if on.clock() >= until:
            return await inner.handle_async_request(request)
        reply: httpx.Response = await fault(request, inner)
        return reply

    on.wire.faults["lookup"] = [met] * 10_000
    on.wire.faults["status"] = [met] * 10_000


async def found_after(on: Workbench, job: Generation, seconds: float) -> float:
    """Return when it was completed, in seconds from then."""
    start = on.clock()
    job = await on.settle(job, seconds)
    assert job.status == "completed", (job.status, job.error)
    return on.clock() - start


@each_no_answer
async def test_a_lost_reply_is_found_once_the_api_can_be_asked(
    fault: Fault, tmp_path: Path
) -> None:
    """After 20 seconds, and after 20 minutes: an API that knows the key is believed to know it."""
    for out_for, within in ((20.0, 120.0), (20 * 60.0, 20 * 60.0 + HOUR * 1.3)):
        folder = tmp_path / str(out_for)
        async with workbench(folder) as on:
            on.wire.faults["submit"] = [dropped_after]
            cannot_ask(on, fault, out_for)
            outcome = await on.generate(modelId="nanobanana-2", wait=0)
            assert outcome.status == "submitting"
            assert await found_after(on, outcome.job, 3 * HOUR) < within
            assert (len(on.wire.posts()), on.charged) == (1, 5)


@pytest.mark.parametrize("minutes", [18, 30, 57])
async def test_an_intent_is_tried_as_long_as_it_may_be_sent(tmp_path: Path, minutes: int) -> None:
    """It is said to be tried again by itself: each minute, also after a quarter of an hour."""
    async with workbench(tmp_path) as on:
        cannot_ask(on, refused, minutes * 60)
        on.wire.faults["submit"] = on.wire.faults["status"]
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        told = views.outcome(outcome, on.clock())
        assert "It is tried again by itself." in told["error"]["message"]
        assert minutes * 60 < await found_after(on, outcome.job, 2 * HOUR) < (minutes + 2) * 60
        assert on.charged == 5


@each_no_answer
async def test_an_accepted_one_is_found_however_late_the_first_look_is_answered(
    fault: Fault, tmp_path: Path
) -> None:
    """The machine slept for 25 hours, and the network is there half a minute after it woke."""
    async with workbench(tmp_path) as on:
        outcome = await on.generate("generate_video", modelId="veo-3.1", wait=0)
        on.clock.now += 25 * HOUR
        cannot_ask(on, fault, 30)
        assert await found_after(on, outcome.job, DAY) < 150


async def test_looks_without_an_answer_become_hourly_then_daily_and_never_end(
    tmp_path: Path,
) -> None:
    """An answer is wanted for as long as there is none."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_after]
        cannot_ask(on, refused, 50 * DAY)
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        counts = []
        for seconds in (HOUR, DAY, 30 * DAY):
            before = len(on.wire.seen)
            job = await on.settle(outcome.job, seconds)
            counts.append(len(on.wire.seen) - before)
        assert job.status == "submitting"
        assert counts == pytest.approx([20, 24, 30], abs=3)
        assert await found_after(on, job, 40 * DAY) < 19 * DAY


async def test_a_start_looks_again_at_what_nobody_looks_at_any_more(tmp_path: Path) -> None:
    """Once, the newest first; and what fails then is tried soon again."""
    async with workbench(tmp_path) as on:
        jobs = [(await on.generate(prompt="sandbox:stall", wait=0)).job for _ in range(30)]
        await on.settle(jobs[-1], 20 * 60)
        on.clock.now += 40 * DAY
        for _ in range(5):
            await on.poller.step()
        assert all([(await on.reread(job)).at_rest for job in jobs])
        seen = len(on.wire.seen)
        await on.poller.step()
        assert len(on.wire.seen) == seen
        on.poller._looked_again = False  # noqa: SLF001  # as one that starts
        await on.poller.step()
        looks = [request for request, _ in on.wire.seen[seen:]]
        assert looks == ["status"] * 12  # as many as are looked at at once
        for _ in range(5):
            await on.poller.step()
        assert len(on.wire.seen) - seen == 30


@pytest.mark.parametrize("status", [404, 410])
async def test_an_id_that_the_api_does_not_know_any_more_ends_it(
    status: int, tmp_path: Path
) -> None:
    """In JSON, and once it is observed no longer; its cost stays reserved."""
    async with workbench(tmp_path) as on:
        outcome = await on.generate(prompt="sandbox:stall", modelId="nanobanana-2", wait=0)
        job = await on.settle(outcome.job, 20 * 60)
        on.wire.faults["status"] = [answers(status, body={"error": "Not found"})]
        job = await on.settle(job, HOUR)
        assert job.error is not None
        assert (job.status, job.error.charged) == ("failed", "unknown")
        assert await on.spent() == 5


async def test_a_look_that_gets_401_is_asked_once_without_the_token(tmp_path: Path) -> None:
    """The route is public: a token that was taken back costs no result."""
    async with workbench(tmp_path) as on:
        sent: list[bool] = []

        async def taken_back(
            request: httpx.Request, inner: httpx.AsyncBaseTransport
        ) -> httpx.Response:
            sent.append("authorization" in request.headers)
            if sent[-1]:
                return httpx.Response(401, json={"success": False, "error": "Bad token"})
            return await inner.handle_async_request(request)

        on.wire.faults["status"] = [taken_back] * 100
        outcome = await on.generate(modelId="nanobanana-2")
        assert outcome.status == "completed"
        assert sent == [True, False] * (len(sent) // 2)


@pytest.mark.parametrize(
    ("fault", "met"),
    [
        (answers(401, body={}), "MeiGen does not accept the token in MEIGEN_API_TOKEN"),
        (answers(404, body={"error": "No"}), "MeiGen does not know the generation"),
        (answers(502, HTML), "MeiGen, or a gateway before it, has a problem of its own"),
        (refused, "MeiGen cannot be reached"),
        (answers(200, body={"status": "resting"}), 'a status that is not documented: "resting"'),
    ],
)
async def test_what_the_last_looks_met_is_told(fault: Fault, met: str, tmp_path: Path) -> None:
    """As long as it lasts, and without a word about money that nobody knows."""
    async with workbench(tmp_path) as on:
        cannot_ask(on, fault, 300)
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        job = await on.settle(outcome.job, 200)
        shown = views.outcome(await on.check(requestId=job.request_id, wait=0), on.clock())
        assert met in shown["error"]["message"]
        assert (shown["status"], shown["error"]["charged"]) == ("processing", "yes")
        assert "othing was" not in views.text(shown)
        job = await on.settle(job, HOUR)
        assert (job.status, job.error) == ("completed", None)


async def test_one_that_is_unconfirmed_for_an_hour_says_how_it_is_settled(tmp_path: Path) -> None:
    """Not before: until then it may be sent again."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_after]
        cannot_ask(on, refused, DAY)
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        told = []
        for _ in range(2):
            found = await on.check(requestId=outcome.job.request_id, wait=0)
            shown = views.outcome(found, on.clock())
            assert "It is still looked at. Do not start it again." in shown["next"]
            told.append(f"meigen-mcp jobs {outcome.job.request_id} --settle" in shown["next"])
            await on.settle(outcome.job, 1.1 * HOUR)
        assert told == [False, True]


PAGES: dict[str, Fault] = {
    "HTML 200": answers(200, HTML),
    "nothing": answers(204, b""),
    "a list": answers(200, b"[]"),
    "HTML 404": answers(404, HTML),
}


@pytest.mark.parametrize("fault", PAGES.values(), ids=PAGES)
async def test_what_an_api_that_knows_keys_can_still_tell_is_not_unknown(
    fault: Fault, tmp_path: Path
) -> None:
    """It has answered about a key before: the page in its place is somebody else's."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_after] * 2
        first = await on.generate(modelId="nanobanana-2", wait=0)
        assert (await on.settle(first.job)).status == "completed"
        cannot_ask(on, fault, 20 * 60.0)
        outcome = await on.generate(modelId="nanobanana-2", prompt="another", wait=0)
        assert await found_after(on, outcome.job, 3 * HOUR) < HOUR * 2
        assert (len(on.wire.posts()), on.charged) == (2, 10)
