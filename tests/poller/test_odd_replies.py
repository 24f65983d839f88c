"""Odd replies: nothing that was paid for gets out of reach, and nothing is freed by chance."""

import json
from pathlib import Path

import httpx
import pytest
from support.workbench import Fault, OnItsWay, answers, dropped_before, refused, workbench

from meigen_mcp.generation import record_uri
from meigen_mcp.views import generations as views

NO: dict[str, tuple[int, dict[str, object]]] = {
    "400": (400, {"success": False, "error": "Bad", "code": "invalid_request"}),
    "moderation": (400, {"success": False, "error": "Blocked by policy"}),
    "401": (401, {"success": False, "error": "Bad token"}),
    "402": (402, {"success": False, "code": "insufficient_credits"}),
    "403": (403, {"success": False, "error": "No"}),
}
each_no = pytest.mark.parametrize("no", NO.values(), ids=NO)


def edited(**fields: object) -> Fault:
    """Return a fault: the API's own reply, with some fields of the test's own."""

    async def answer(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        reply = await inner.handle_async_request(request)
        return httpx.Response(reply.status_code, json=json.loads(await reply.aread()) | fields)

    return answer


def arriving_late(status: int, said: dict[str, object]) -> Fault:
    """Return a fault: the first POST arrives only now, and this one is refused."""

    async def answer(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        await inner.handle_async_request(request)  # the same bytes and the same key
        return httpx.Response(status, json=said)

    return answer


@each_no
async def test_a_refused_repetition_is_no_refusal_of_what_arrived_late(
    no: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    """The key is asked for once more, and what was charged is found."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_before, arriving_late(*no)]
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        assert (job.status, len(on.wire.posts()), on.charged) == ("completed", 2, 5)
        assert await on.spent() == 5


async def test_what_was_refused_is_looked_up_once_more_before_it_ends_for_its_age(
    tmp_path: Path,
) -> None:
    """The first POST arrived after that refusal, and nobody called again within the hour."""
    async with workbench(tmp_path) as on:
        refusal = answers(401, body={"success": False, "error": "Invalid API token"})
        sent = OnItsWay()
        on.wire.faults["submit"] = [sent, refusal]
        job = (await on.generate(modelId="nanobanana-2", wait=0)).job
        assert (job.parked, on.charged) == (True, 0)
        await sent.arrive()
        job = await on.settle(job, 2 * 3600)
        assert (job.status, job.error, on.charged) == ("completed", None, 5)


@each_no
async def test_a_refused_repetition_that_cannot_be_looked_up_is_not_called_uncharged(
    no: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    """It is looked up until MeiGen says what it has."""
    async with workbench(tmp_path) as on:
        missing = answers(404, body={"success": False, "code": "request_not_found"})
        on.wire.faults["submit"] = [dropped_before, arriving_late(*no)]
        on.wire.faults["lookup"] = [missing, *[refused] * 4]
        outcome = await on.generate(modelId="nanobanana-2", wait=0)
        assert outcome.status == "submitting"
        assert await on.spent() == 5
        job = await on.settle(outcome.job)
        assert (job.status, len(on.wire.posts()), on.charged) == ("completed", 2, 5)


@each_no
async def test_a_refused_repetition_of_what_never_arrived_is_refused(
    no: tuple[int, dict[str, object]], tmp_path: Path
) -> None:
    """MeiGen has nothing under the key: then the refusal counts, and nothing was charged."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_before, answers(no[0], body=no[1])]
        outcome = await on.generate(modelId="nanobanana-2")
        assert outcome.job.error is not None
        assert (outcome.job.error.charged, on.charged) == ("no", 0)
        assert outcome.status == ("failed" if no[0] == 400 else "queued")
        lookups = [route for route, _ in on.wire.seen if route == "lookup"]
        assert lookups == ["lookup", "lookup"]


async def test_two_records_with_one_id_are_each_reachable_by_a_name_of_their_own(
    tmp_path: Path,
) -> None:
    """The second is named by its request id, and its own URI shows its own prompt."""
    async with workbench(tmp_path) as on:
        first = (await on.generate(prompt="a fox", modelId="nanobanana-2")).job
        on.wire.faults["submit"] = [edited(generationId=first.generation_id)]
        second = (await on.generate(prompt="a hen", modelId="nanobanana-2")).job
        names = [first.generation_id, second.request_id]
        assert [first.name, second.name] == names
        found = [await on.service.record(name or "") for name in names]
        assert [job and job.prompt for job in found] == ["a fox", "a hen"]
        shown = views.outcome(await on.check(requestId=second.request_id), on.clock())
        assert shown["resourceUri"] == record_uri(second.request_id)
        assert await on.spent() == 10


@pytest.mark.parametrize("whose", ["another record's", "nobody's"])
async def test_a_look_that_is_answered_for_another_one_says_nothing_of_this_one(
    tmp_path: Path, whose: str
) -> None:
    """A cache gave out what it had: the result is this one's own. A `jobId` of its own is none."""
    async with workbench(tmp_path) as on:
        first = (await on.generate(prompt="a fox", modelId="nanobanana-2")).job
        second = (await on.generate(prompt="a hen", modelId="nanobanana-2", wait=0)).job
        named = first.generation_id if whose == "another record's" else "job-17"
        urls = {"imageUrl": first.media_urls[0], "imageUrls": [*first.media_urls]}
        wrong = edited(status="completed", generationId=named, jobId=named, **urls)
        right = edited(generationId=None, jobId="job-17")
        another = whose == "another record's"
        on.wire.faults["status"] = [wrong, wrong] if another else [right] * 20
        second = await on.settle(second)
        assert (second.status, len(second.media_urls)) == ("completed", 1)
        assert second.generation_id != first.generation_id
        assert second.media_urls != first.media_urls


async def test_a_charge_of_nothing_is_no_refund(tmp_path: Path) -> None:
    """What is reserved stays until a refund is proven."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [edited(creditsUsed=0)]
        on.wire.faults["status"] = [edited(creditsUsed=0)] * 100
        outcome = await on.generate(modelId="nanobanana-2")
        assert outcome.status == "completed"
        assert await on.spent() == 5


@pytest.mark.parametrize(
    "url", ["http://images.example/fox.png", "https://images.example/a fox.png"]
)
async def test_a_result_at_an_address_that_is_not_opened_is_handed_on_as_text(
    url: str, tmp_path: Path
) -> None:
    """With the reason, and it is completed: nobody waits for what is there."""
    async with workbench(tmp_path) as on:
        on.wire.faults["status"] = [edited(status="completed", imageUrls=[url], imageUrl=url)] * 9
        outcome = await on.generate(modelId="nanobanana-2")
        job = await on.settle(outcome.job)
        shown = views.outcome(await on.check(requestId=job.request_id), on.clock())
        assert (shown["status"], job.at_rest, "mediaUrls" in shown) == ("completed", True, False)
        assert shown["error"] == {
            "code": "refused_url",
            "message": "MeiGen gave an address that this server neither opens nor saves, since only"
            f' whole https addresses are: "{url}"',
            "charged": "yes",
            "retryable": False,
        }
        assert shown["next"] == (
            "Give the person the address in the message as it is, with the reason."
        )
