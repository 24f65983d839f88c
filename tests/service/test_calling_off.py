"""Calling off what is still queued: certain about money, whoever is about to send it."""

from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from uuid import uuid4

import anyio
from support.ledgers import ACCOUNT, make_ledger
from support.records import EMPTY
from support.workbench import OnItsWay, answers, workbench

from meigen_mcp import generation
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.sqlite.ledger import SqliteLedger

NOW = 1_800_000_000.0


async def test_a_queued_one_is_called_off_from_another_process_and_never_sent(
    tmp_path: Path,
) -> None:
    """It costs nothing, and its reservation is free at once."""
    async with (
        workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on,
        workbench(tmp_path, beside=on) as other,
    ):
        first = await on.generate(modelId="nanobanana-2", wait=0)
        queued = (await on.generate(modelId="nanobanana-2", wait=0)).job
        ended = await other.service.call_off(queued)
        spent = await on.spent()
        later = await on.settle(queued)
        await on.settle(first.job)
    assert (queued.status, ended.status, later.status) == ("queued", "failed", "failed")
    assert later.error is not None
    assert (later.error.code, later.error.charged) == ("called_off", "no")
    assert (spent, on.charged, len(on.wire.posts())) == (Decimal(5), 5, 1)


async def test_what_was_sent_goes_on(tmp_path: Path) -> None:
    """Its credits are spent, and its result is kept."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(modelId="nanobanana-2", wait=0)).job
        asked = await on.service.call_off(job)
        ended = await on.settle(job)
    assert (asked.status, ended.status) == ("processing", "completed")


async def test_what_was_refused_after_a_lost_post_is_not_called_uncharged(tmp_path: Path) -> None:
    """That POST arrived after the refusal: it is looked up at its hour, and neither sent again."""
    async with workbench(tmp_path) as on:
        lost = OnItsWay()
        on.wire.faults["submit"] = [lost, answers(401, body={"success": False, "error": "No"})]
        job = (await on.generate(modelId="nanobanana-2", wait=0)).job
        await lost.arrive()
        assert (await on.service.call_off(job)).status == "queued"
        found = await on.settle(job, 2 * 3600)
        assert (found.status, len(on.wire.posts()), on.charged) == ("completed", 2, 5)


async def _queued(ledger: SqliteLedger) -> Generation:
    job = replace(EMPTY, request_id=str(uuid4()), account=ACCOUNT, created_at=NOW, next_look=NOW)
    added = await ledger.calls.add(job, Terms())
    assert isinstance(added, Generation)
    return added


async def test_a_poller_that_read_it_before_does_not_send_it_after(tmp_path: Path) -> None:
    """Its transaction reads it again."""
    ledger = make_ledger(tmp_path)
    read = await _queued(ledger)
    await ledger.records.change(read, lambda job: generation.called_off(job, NOW))
    assert await ledger.queue.begin_post(read, NOW, NOW + 60) is None
    await ledger.close()


async def test_who_read_it_before_it_was_sent_ends_nothing_after(tmp_path: Path) -> None:
    """Their transaction reads it again too."""
    ledger = make_ledger(tmp_path)
    read = await _queued(ledger)
    slot = await ledger.queue.begin_post(read, NOW, NOW + 60)
    late = await ledger.records.change(read, lambda job: generation.called_off(job, NOW))
    assert (slot is not None, late.status) == (True, "submitting")
    await ledger.close()


async def test_of_both_at_once_exactly_one_happens(tmp_path: Path) -> None:
    """In two processes' ledgers on one file: sent or called off, and never both or neither."""
    poller, terminal = make_ledger(tmp_path, rate_limit=100), make_ledger(tmp_path)
    jobs = [await _queued(poller) for _ in range(40)]
    sent, ended = set(), set()

    async def send(job: Generation) -> None:
        if await poller.queue.begin_post(job, NOW, NOW + 60):
            sent.add(job.request_id)

    async def call_off(job: Generation) -> None:
        after = await terminal.records.change(job, lambda j: generation.called_off(j, NOW))
        if after.status == "failed":
            ended.add(job.request_id)

    async with anyio.create_task_group() as group:
        for turn, job in enumerate(jobs):
            for act in (send, call_off) if turn % 2 else (call_off, send):
                group.start_soon(act, job)
    await terminal.close()
    await poller.close()
    assert (sent & ended, sent | ended) == (set(), {job.request_id for job in jobs})
