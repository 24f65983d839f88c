"""Repeated calls: requestId, adoption, and jobs that outlive their call and their process."""

from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import pytest
from support.in_memory import ORIGIN
from support.workbench import Someone, Workbench, answers, workbench

from meigen_mcp import errors
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.service.quoting import make_draft, quote_call
from meigen_mcp.service.references import References

CALL: dict[str, Any] = {"prompt": "a red cube", "modelId": "nanobanana-2"}


async def _cancelled(on: Workbench, **arguments: Any) -> Generation:
    """Make a call whose client goes away once the job is accepted."""
    async with anyio.create_task_group() as group:

        async def call() -> None:
            await on.service.generate("generate_image", {**CALL, **arguments}, Someone())

        group.start_soon(call)
        while not on.wire.posts():
            await anyio.lowlevel.checkpoint()
            await on.poller.step()
        group.cancel_scope.cancel()
    return await on.newest()


async def _draft(on: Workbench) -> Generation:
    """Return what a call would write, which then dies with its process before its answer."""
    call = References({**CALL})
    accepts = on.service.settings.accepts
    model, quote = await quote_call("generate_image", call, on.service.catalogue, accepts)
    return make_draft(model, CALL, quote, call, body="", now=on.clock.now)


async def test_the_same_request_id_never_starts_a_second_job(tmp_path: Path) -> None:
    """Compared without case; control arguments do not count."""
    async with workbench(tmp_path) as on:
        name = str(uuid4())
        first = await on.generate(requestId=name, modelId="nanobanana-2")
        again = await on.generate(
            requestId=name.upper(), modelId="nanobanana-2", wait=3, maxCredits=99
        )
        assert (again.job.generation_id, again.job.request_id) == (first.job.generation_id, name)
        assert (first.repeated, again.repeated, len(on.wire.posts())) == (False, True, 1)


async def test_the_same_request_id_in_two_processes_is_one_job(tmp_path: Path) -> None:
    """Asked in both at once, and again by a third after both have ended."""
    call = {**CALL, "requestId": str(uuid4()), "wait": 0}
    found: list[Generation] = []

    async def ask(on: Workbench) -> None:
        found.append((await on.service.generate("generate_image", call, Someone())).job)

    async with workbench(tmp_path) as third:
        async with workbench(tmp_path) as one, workbench(tmp_path, beside=one) as other:
            async with anyio.create_task_group() as group:
                group.start_soon(ask, one)
                group.start_soon(ask, other)
                while len(found) < 2:
                    await anyio.lowlevel.checkpoint()
                    await one.poller.step()
                    await other.poller.step()
                    one.ledger.changes.wake_all()
                    other.ledger.changes.wake_all()
            posts = len(one.wire.posts()) + len(other.wire.posts())
        third.clock.now = one.clock.now
        again = await third.generate(**call)
        assert {job.generation_id for job in found} == {again.job.generation_id}
        assert (posts, third.wire.posts()) == (1, [])


async def test_the_same_request_id_with_other_arguments_is_a_conflict(tmp_path: Path) -> None:
    """Nothing is sent for it."""
    async with workbench(tmp_path) as on:
        name = str(uuid4())
        await on.generate(requestId=name, modelId="nanobanana-2")
        with pytest.raises(errors.RequestConflict, match=name):
            await on.generate(requestId=name, modelId="seedream-4.5")
        assert len(on.wire.posts()) == 1


async def test_two_identical_calls_are_two_jobs(tmp_path: Path) -> None:
    """People ask for variations."""
    async with workbench(tmp_path) as on:
        for _ in range(2):
            await on.generate(modelId="nanobanana-2")
        assert len(on.wire.posts()) == 2


async def test_a_cancelled_call_leaves_its_job_and_the_result_arrives(tmp_path: Path) -> None:
    """Cancelling stops the waiting, not the generation."""
    async with workbench(tmp_path) as on:
        job = await on.settle(await _cancelled(on))
        assert (job.status, on.charged) == ("completed", 5)


async def test_an_identical_call_adopts_the_job_of_a_cancelled_one_once(tmp_path: Path) -> None:
    """The second repetition is a new job."""
    async with workbench(tmp_path) as on:
        orphan = await _cancelled(on)
        adopted = await on.generate(**CALL)
        new = await on.generate(**CALL)
        assert (adopted.adopted, adopted.job.request_id) == (True, orphan.request_id)
        assert (new.adopted, len(on.wire.posts())) == (False, 2)


@pytest.mark.parametrize(
    ("seconds", "other"),
    [(601, {}), (0, {"modelId": "seedream-4.5"}), (0, {"requestId": str(uuid4())})],
    ids=["too old", "another call", "a call of its own id"],
)
async def test_nothing_else_is_adopted(
    seconds: float, other: dict[str, str], tmp_path: Path
) -> None:
    """Within ten minutes, identical, and without a requestId."""
    async with workbench(tmp_path) as on:
        await _cancelled(on)
        on.clock.now += seconds
        new = await on.generate(**{**CALL, **other})
        assert (new.adopted, len(on.wire.posts())) == (False, 2)


async def test_a_job_that_was_asked_for_by_id_is_not_adopted(tmp_path: Path) -> None:
    """Its caller has the id to find it by."""
    async with workbench(tmp_path) as on:
        await _cancelled(on, requestId=str(uuid4()))
        assert (await on.generate(**CALL)).adopted is False


async def test_a_failed_one_is_not_adopted(tmp_path: Path) -> None:
    """A repetition of what failed is a new try."""
    async with workbench(tmp_path) as on:
        orphan = await _cancelled(on, prompt="sandbox:fail")
        await on.settle(orphan)
        new = await on.generate(modelId="nanobanana-2", prompt="sandbox:fail", wait=0)
        assert new.adopted is False


async def test_a_dead_process_s_jobs_are_taken_over_and_finished(tmp_path: Path) -> None:
    """Another process on the same folder finds them within its next look."""
    async with workbench(tmp_path) as survivor:
        async with workbench(tmp_path, beside=survivor) as dying:
            job = (await dying.generate("generate_video", modelId="veo-3.1", wait=0)).job
        survivor.clock.now += 2
        await survivor.poller.step()
        job = await survivor.settle(job)
        assert (job.status, len(survivor.emulator.posts)) == ("completed", 1)


async def test_a_living_process_keeps_its_jobs(tmp_path: Path) -> None:
    """Nobody else looks at them."""
    async with workbench(tmp_path) as one, workbench(tmp_path, beside=one) as other:
        job = (await one.generate("generate_video", modelId="veo-3.1", wait=0)).job
        one.clock.now += 600
        await other.poller.step()
        assert [route for route, _ in other.wire.seen] == []
        assert (await one.settle(job)).status == "completed"


async def test_a_call_that_died_with_its_process_can_be_adopted(tmp_path: Path) -> None:
    """It was never answered, so the person asks again."""
    async with workbench(tmp_path) as survivor:
        async with workbench(tmp_path, beside=survivor) as dying:
            draft = await _draft(dying)
            job = await dying.ledger.calls.add(draft, Terms())
            assert isinstance(job, Generation)
        survivor.clock.now += 2
        await survivor.poller.step()
        adopted = await survivor.generate(**CALL)
        assert (adopted.adopted, adopted.job.request_id) == (True, job.request_id)


async def test_another_account_sends_and_adopts_nothing_of_the_first(tmp_path: Path) -> None:
    """The token is part of every row; what was made is shown whatever it is, and told apart."""
    other_token = "meigen_sk_" + "B" * 32
    async with workbench(tmp_path) as first:
        async with workbench(tmp_path, beside=first) as dying:
            draft = await _draft(dying)
            await dying.ledger.calls.add(draft, Terms())
        async with workbench(tmp_path, beside=first, MEIGEN_API_TOKEN=other_token) as second:
            second.clock.now += 10
            await second.poller.step()
            assert second.wire.seen == []
            listing = await second.service.listing(10)
            assert ([job.request_id for job in listing.jobs], listing.others) == (
                [draft.request_id],
                1,
            )
            made = await second.generate(**CALL)
            assert (made.adopted, made.job.account) == (False, f"{ORIGIN} {other_token}")


async def test_what_a_replaced_token_never_sent_holds_no_credits_for_ever(tmp_path: Path) -> None:
    """After an hour it is too old to be sent, whoever is there to say so."""
    other_token = "meigen_sk_" + "B" * 32
    async with workbench(tmp_path) as first:
        first.wire.faults["submit"] = [answers(401, body={"error": "Invalid API token"})]
        parked = (await first.generate(modelId="nanobanana-2", wait=0)).job
        async with workbench(tmp_path, beside=first, MEIGEN_API_TOKEN=other_token) as second:
            held = await second.spent()
            second.clock.now = parked.created_at + 3601
            await second.poller.step()
            ended = await first.ledger.records.get(parked.request_id)
            assert ended is not None
            assert (held, await second.spent()) == (parked.reserved, Decimal(0))
            assert (ended.status, ended.error and ended.error.code) == ("failed", "expired")
            assert second.wire.seen == []


async def test_a_call_hears_nothing_of_the_same_request_id_of_another_account(
    tmp_path: Path,
) -> None:
    """It used to be answered with the end of the other one, while its own was being paid for."""
    other_token, name = "meigen_sk_" + "B" * 32, str(uuid4())
    async with workbench(tmp_path) as first:
        first.wire.faults["submit"] = [answers(401, body={"error": "Invalid API token"})]
        parked = (await first.generate(modelId="nanobanana-2", requestId=name, wait=0)).job
        async with workbench(tmp_path, beside=first, MEIGEN_API_TOKEN=other_token) as second:
            second.clock.now = parked.created_at + 3601
            outcome = await second.generate(modelId="nanobanana-2", requestId=name, wait=0)
            assert (outcome.status, outcome.job.account) == (
                "processing",
                f"{ORIGIN} {other_token}",
            )
            assert second.charged == outcome.job.credits_used
