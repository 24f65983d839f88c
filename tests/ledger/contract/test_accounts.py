"""Contract: what was made is shown whatever the token; to send and to adopt needs the account."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest
from support.calls import NOW, added, changed, intent
from support.engines import Place

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.queue import RESUMED_FOR, Wanted
from meigen_mcp.poller.room import Room

WANTED = Room().wanted(99)
ELSEWHERE = "https://elsewhere.example 1"


async def _done(ledger: Ledger, **fields: Any) -> Generation:
    """Return a finished generation with one result."""
    job = await added(ledger)
    done = {"status": "completed", "generation_id": f"g-{job.request_id}", "next_look": None}
    return await changed(
        ledger, job, **done, media_urls=("https://a.example/1.png",), files=(None,), **fields
    )


async def _due(ledger: Ledger, now: float = NOW) -> list[str]:
    return sorted(job.prompt for _, job in (await ledger.queue.due(now, WANTED)).jobs)


async def test_what_another_token_made_is_shown(ledger: Ledger, renewed: Ledger) -> None:
    """By either id, in the list, by its URL, and as it changes; and it is told apart."""
    job = await _done(ledger)
    own = await added(renewed)
    assert await renewed.records.get(job.request_id.upper()) == job
    assert await renewed.records.get(f"g-{job.request_id}") == job
    assert await renewed.records.made("https://a.example/1.png") == (job, 0)
    assert [found for _, found in await renewed.records.newest(9)] == [own, job]
    assert (await renewed.records.overview(9, NOW)).spent_today == Decimal(10)
    assert [renewed.accounts.own(found) for found in (own, job)] == [True, False]
    told = [jobs async for jobs in _first(renewed)]
    assert told == [[job, own]]


async def _first(ledger: Ledger) -> Any:
    async for jobs in ledger.changes.changes(0):
        yield jobs
        return


async def test_nothing_of_another_service_is_shown(renewed: Ledger, place: Place) -> None:
    """A token at another origin is nobody that is known here."""
    job = await _done(place.open(ELSEWHERE))
    assert await renewed.records.get(job.request_id) is None
    assert await renewed.records.newest(9) == []
    assert await renewed.accounts.unproven(3) == []


async def test_what_was_made_elsewhere_may_have_the_same_id(
    ledger: Ledger, renewed: Ledger
) -> None:
    """Each account has its own under it; who waits for the other one hears of that."""
    job = await added(ledger)
    own = await added(renewed, intent(request_id=job.request_id))
    followed = await renewed.changes.follow(job, NOW)
    assert (await renewed.records.get(job.request_id), followed.job) == (own, job)
    await changed(ledger, job, failures=1)
    await renewed.changes.follow(job, NOW)
    assert followed.job.failures == 1


async def test_a_call_does_not_repeat_what_another_token_began(
    ledger: Ledger, renewed: Ledger
) -> None:
    """It is neither adopted nor known by its id; but the call is told what has that id."""
    job = await added(ledger, intent(next_look=None))
    await ledger.calls.mark(job, answered=False)
    job = replace(job, abandoned=True)
    opening = await renewed.calls.open_call(intent(), None)
    assert (opening.repeated, opening.adopted) == (None, False)
    opening = await renewed.calls.open_call(intent(), job.request_id)
    assert (opening.known, opening.others) == (None, job)


async def test_what_everybody_may_ask_about_is_taken_over(renewed: Ledger, place: Place) -> None:
    """What has MeiGen's id is looked at and saved; what only its account may ask is left alone."""
    dying = place.open()
    await added(dying, intent("queued"))
    await added(dying, intent("lost", status="submitting"))
    await added(dying, intent("made", status="processing", generation_id="g1"))
    await added(dying, intent("saving", status="completed", generation_id="g2"))
    await dying.close()
    await renewed.queue.reclaim(NOW)
    assert await _due(renewed) == ["made", "saving"]


async def test_a_server_for_others_takes_over_its_own_only(place: Place) -> None:
    """Nor are the sums of others hidden from its caps."""
    dying = place.open()
    await added(dying, intent("made", status="processing", generation_id="g1"))
    await dying.close()
    alone = place.open("https://www.meigen.ai 4", alone=True)
    await alone.queue.reclaim(NOW)
    assert await _due(alone) == []
    assert (await alone.records.overview(9, NOW)).spent_today == Decimal(5)


async def test_what_nobody_looks_at_is_looked_at_again(renewed: Ledger, place: Place) -> None:
    """At the next start, and what is not saved is tried once more."""
    dying = place.open()
    await added(dying, intent("given up", status="processing", generation_id="g", next_look=None))
    late = await _done(dying, finished_at=NOW - RESUMED_FOR + 60)
    await dying.close()
    await renewed.queue.look_again(NOW)
    await renewed.queue.resume_saving(NOW, 5)
    await renewed.queue.reclaim(NOW)
    assert await _due(renewed) == ["a red cube", "given up"]
    assert late.prompt == "a red cube"


async def test_a_finished_one_proves_whose_the_rest_is(renewed: Ledger, place: Place) -> None:
    """The newest of each account; once proven, all of it is the account's own."""
    dying = place.open()
    await added(dying, intent("queued"))
    await added(dying, intent("lost", status="submitting", next_look=NOW))
    finished = [await _done(dying) for _ in range(3)]
    orphan = await added(dying, intent("orphan", status="completed", next_look=None))
    await dying.calls.mark(orphan, answered=False)
    await dying.close()
    assert await renewed.accounts.unproven(2) == finished[:0:-1]
    await renewed.accounts.join(finished[0].account)
    assert await renewed.accounts.unproven(2) == []
    assert renewed.accounts.own(finished[0])
    await renewed.queue.reclaim(NOW)
    assert await _due(renewed) == ["lost", "queued"]
    opening = await renewed.calls.open_call(intent("orphan"), None)
    assert (opening.repeated and opening.repeated.request_id, opening.adopted) == (
        orphan.request_id,
        True,
    )
    known = (await renewed.calls.open_call(intent(), finished[0].request_id)).known
    assert known == await renewed.records.get(finished[0].request_id)


async def test_a_proof_is_known_to_every_process(renewed: Ledger, place: Place) -> None:
    """Also to those that run, and to later ones."""
    other, dying = place.open("https://www.meigen.ai 3"), place.open()
    job = await _done(dying)
    assert (await other.records.get(job.request_id), other.accounts.own(job)) == (job, False)
    await renewed.accounts.join(job.account)
    assert (await other.records.get(job.request_id), other.accounts.own(job)) == (job, True)


async def test_a_proof_is_for_one_account_alone(renewed: Ledger, place: Place) -> None:
    """A third token is asked about by itself."""
    first, second = place.open(), place.open("https://www.meigen.ai 2")
    one, two = await _done(first), await _done(second)
    await renewed.accounts.join(one.account)
    assert await renewed.accounts.unproven(3) == [two]
    await renewed.accounts.join(two.account)
    assert await renewed.accounts.unproven(3) == []


@pytest.mark.parametrize("proven", [False, True])
async def test_another_token_s_is_sent_only_if_it_is_the_same(
    proven: bool, ledger: Ledger, renewed: Ledger
) -> None:
    """The step before a POST says so once more, whoever comes to it."""
    job = await added(ledger)
    await _done(ledger)
    if proven:
        await renewed.accounts.join(job.account)
    slot = await renewed.queue.begin_post(job, NOW, held_until=NOW + 99)
    assert (slot is not None) is proven


async def test_what_is_watched_may_be_another_token_s(ledger: Ledger, renewed: Ledger) -> None:
    """Its owner looks at it every interval while somebody waits."""
    job = await added(ledger, intent(status="processing", next_look=NOW + 99, generation_id="g"))
    await renewed.changes.watch(["g"], NOW, NOW + 30)
    due = await ledger.queue.due(NOW, {"look": Wanted(("processing",), 1)})
    assert [found.request_id for _, found in due.jobs] == [job.request_id]
