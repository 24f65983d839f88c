"""Contract: of people who share an account each finds what is their own, and nothing of another."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.calls import NOW, intent
from support.engines import Place, PostgresPlace

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import AskFirst, Terms
from meigen_mcp.ledger.ledger import Ledger, Share
from meigen_mcp.ledger.offers import MOST_OFFERS, Offer
from meigen_mcp.ledger.queue import Kind, Wanted
from meigen_mcp.ledger.spending import HOUR
from meigen_mcp.ledger.whose import SeveralPeople
from meigen_mcp.people import key_of, person_of

FIVE = Decimal(5)
POSTS: Mapping[Kind, Wanted] = {"post": Wanted(("queued",), 9)}


@pytest.fixture
def ann(ledger: Ledger) -> Share:
    """Return what one person sees of a ledger."""
    return ledger.of("ann")


@pytest.fixture
def bob(ledger: Ledger) -> Share:
    """Return what another one sees of it."""
    return ledger.of("bob")


async def added(share: Share, job: Generation | None = None, **terms: Any) -> Generation:
    """Write an intent of a person down."""
    result = await share.calls.add(job or intent(), Terms(**terms))
    assert isinstance(result, Generation)
    return result


async def accepted(share: Share, **fields: Any) -> Generation:
    """Write down what MeiGen made for a person."""
    job, urls = await added(share), ("https://images.meigen.art/a.png",)
    return await share.records.change(
        job, lambda fresh: replace(fresh, status="completed", media_urls=urls, **fields)
    )


async def test_a_record_is_found_by_its_person_alone(
    ledger: Ledger, ann: Share, bob: Share
) -> None:
    """By each of its names, in the list and by the URL of its result; the poller sees all."""
    job = await accepted(ann, generation_id="gen-1")
    for name in (job.request_id, "gen-1"):
        assert await ann.records.get(name) == job
        assert await bob.records.get(name) is None
        assert await ledger.of("").records.get(name) is None
        assert await ledger.records.get(name) == job
    assert [found for _, found in await ann.records.newest(9)] == [job]
    assert await bob.records.newest(9) == []
    assert await ledger.of("").records.newest(9) == []
    assert await ann.records.made(job.media_urls[0]) == (job, 0)
    assert await bob.records.made(job.media_urls[0]) is None
    assert (ann.accounts.own(job), bob.accounts.own(job)) == (True, False)


async def test_one_request_id_of_two_people_is_two_generations(ann: Share, bob: Share) -> None:
    """Neither is found or joined by the other, nor known to MeiGen by the same key."""
    job = intent()
    first, second = await added(ann, job), await added(bob, job)
    assert await added(ann, job) == first
    assert await added(bob, job) == second
    assert (person_of(first.account), person_of(second.account)) == ("ann", "bob")
    assert len({job.request_id, key_of(first), key_of(second)}) == 3
    assert (await bob.calls.open_call(job, job.request_id)).known == second
    assert (await ann.calls.open_call(intent(), first.request_id)).known == first


async def test_who_needs_no_sign_in_has_keys_as_they_were(ledger: Ledger) -> None:
    """And sees nothing of those who do; nor do they of what was made before them."""
    mine = await added(ledger.of(""))
    theirs = await added(ledger.of("ann"))
    assert key_of(mine) == mine.request_id
    assert [job for _, job in await ledger.of("").records.newest(9)] == [mine]
    assert [job for _, job in await ledger.of("ann").records.newest(9)] == [theirs]


async def test_an_orphan_is_adopted_by_its_own_person(ann: Share, bob: Share) -> None:
    """Two people who want the same are two calls."""
    orphan = await added(ann)
    await ann.calls.mark(orphan, answered=False)
    assert (await bob.calls.open_call(intent(), None)).repeated is None
    found = await ann.calls.open_call(intent(), None)
    assert found.repeated is not None
    assert (found.repeated.request_id, found.adopted) == (orphan.request_id, True)


async def test_an_offer_and_a_yes_are_one_persons(ledger: Ledger, ann: Share, bob: Share) -> None:
    """Whoever has the ledger finds the offer by its id; the yes to it is its person's."""
    call = intent()
    await ann.offers.note(Offer.of(call), "offered")
    assert (await bob.calls.open_call(call, call.request_id)).offer is None
    assert await ledger.offers.approve(call.request_id, NOW) is not None
    offer = (await ann.calls.open_call(call, call.request_id)).offer
    assert offer is not None
    assert offer.approved_at == NOW
    await ann.calls.add(call, Terms(approved=True, by_offer=True))
    assert (await ann.calls.glance(intent())).approved_at == NOW
    assert (await bob.calls.glance(intent())).approved_at == 0


async def test_a_yes_to_an_id_of_two_says_whose(ledger: Ledger, ann: Share, bob: Share) -> None:
    """Else whoever knows another's id would get the yes that was meant for them."""
    call = intent()
    await ann.offers.note(Offer.of(call), "offered")
    await bob.offers.note(replace(Offer.of(call), made_at=NOW + 1), "offered")
    with pytest.raises(SeveralPeople) as told:
        await ledger.offers.approve(call.request_id, NOW + 2)
    assert set(told.value.people) == {"ann", "bob"}
    assert await ledger.offers.approve(call.request_id, NOW + 2, "cid") is None
    approved = await ledger.offers.approve(call.request_id, NOW + 2, "ann")
    assert approved is not None
    assert (person_of(approved.account), approved.approved_at) == ("ann", NOW + 2)
    later = replace(call, created_at=NOW + 2)
    theirs = (await bob.calls.open_call(later, call.request_id)).offer
    assert theirs is not None
    assert theirs.approved_at is None


async def test_nobody_pushes_anothers_offer_out(ann: Share, bob: Share) -> None:
    """Each keeps as many."""
    call = intent()
    await ann.offers.note(Offer.of(call), "offered")
    for _ in range(MOST_OFFERS):
        await bob.offers.note(Offer.of(intent(created_at=NOW + 1)), "offered")
    assert (await ann.calls.open_call(call, call.request_id)).offer is not None


async def test_each_is_asked_about_what_they_spent_themselves(ann: Share, bob: Share) -> None:
    """A cap of all counts all; what others spent is no question to this one, and not told."""
    for _ in range(3):
        await added(ann)
    terms = Terms(ask_above=Decimal(12), price=FIVE, counted_from=NOW - HOUR)
    assert await ann.calls.add(intent(), terms) == AskFirst(Decimal(15))
    assert isinstance(await bob.calls.add(intent(), terms), Generation)
    seen = await bob.records.overview(9, NOW)
    assert (seen.spent_today, seen.spent_month, seen.reserved) == (FIVE, FIVE, FIVE)
    opening = await bob.calls.glance(intent())
    assert (opening.spent_this_hour, opening.spent_today) == (FIVE, Decimal(20))


async def test_the_poller_does_everybodys_work_under_one_limit(place: Place) -> None:
    """The rate is MeiGen's for the account, whoever asks."""
    ledger = place.open(rate_limit=1)
    job = intent()
    first, second = await added(ledger.of("ann"), job), await added(ledger.of("bob"), job)
    due = await ledger.queue.due(NOW, POSTS)
    assert {key_of(found) for _, found in due.jobs} == {key_of(first), key_of(second)}
    rest = await ledger.queue.due(NOW, POSTS, (key_of(first),))
    assert [key_of(found) for _, found in rest.jobs] == [key_of(second)]
    followed = await ledger.of("bob").changes.follow(second, NOW)
    assert (await followed.place(NOW))[0] == 1
    assert await ledger.queue.begin_post(first, NOW, NOW + 130) is not None
    assert await ledger.queue.begin_post(second, NOW, NOW + 130) is None


async def test_each_is_told_of_their_own_changes(ledger: Ledger, ann: Share, bob: Share) -> None:
    """Everybody together hears of all, and whoever watches watches only their own."""
    since = await ledger.changes.version()
    job = await accepted(ann)
    running = await added(ann)
    await bob.changes.watch([running.request_id], NOW, NOW + 60)
    assert (await ann.records.get(running.request_id)) == running
    await ann.changes.watch([running.request_id], NOW, NOW + 60)
    watched = await ann.records.get(running.request_id)
    assert watched is not None
    assert watched.watched_until == NOW + 60
    for share in (ann, ledger.of(None)):
        async for jobs in share.changes.changes(since):
            assert job.request_id in [job.request_id for job in jobs]
            break
    with anyio.move_on_after(0.05) as nothing:
        async for _ in bob.changes.changes(since):
            pass
    assert nothing.cancelled_caught


async def test_a_ledger_of_before_goes_on(place: Place, tmp_path: Path) -> None:
    """What was made without a sign-in is as it was, and people join it."""
    earlier = place.open()
    job = await added(earlier.of(""))
    await earlier.close()
    if isinstance(place, PostgresPlace):
        place.execute("DROP TABLE meigen.people, meigen.caps")
        place.execute("DROP INDEX meigen.by_person")
        place.execute("DROP FUNCTION meigen.spent_by")
        place.execute("DELETE FROM meigen.formats WHERE format > 2")
    else:
        with closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite3")) as db:
            db.executescript(
                "DROP TABLE people; DROP TABLE caps; DROP INDEX by_person; PRAGMA user_version = 8"
            )
    later = place.open()
    assert (await later.of("").records.get(job.request_id)) is not None
    await added(later.of("ann"))
    assert (await later.of("ann").records.overview(9, NOW)).spent_today == FIVE
    assert (await later.of("").records.overview(9, NOW)).spent_today == 2 * FIVE


async def test_a_person_stays_the_same_when_the_token_is_renewed(
    ledger: Ledger, place: Place
) -> None:
    """Once MeiGen has proven that the account is the same, and of nobody else."""
    job = await accepted(ledger.of("ann"), generation_id="gen-1")
    renewed = place.open("https://www.meigen.ai 3", alone=True)
    (asked,) = await renewed.accounts.unproven(3)
    assert asked == job
    assert await renewed.of("ann").records.get("gen-1") is None
    await renewed.accounts.join(job.account)
    assert await renewed.of("ann").records.get("gen-1") == job
    assert await renewed.of("bob").records.get("gen-1") is None
    assert await renewed.of("").records.get("gen-1") is None
    assert renewed.of("ann").accounts.own(job)


async def test_what_goes_by_one_id_is_told_apart(ledger: Ledger, ann: Share, bob: Share) -> None:
    """All are found by it, and of one alone something is forgotten; a changed one stays whole."""

    def end(job: Generation) -> Generation:
        return replace(job, status="failed", finished_at=NOW, next_look=None)

    call = intent()
    jobs = [await each.records.change(await added(each, call), end) for each in (ann, bob)]
    found = await ledger.records.named(call.request_id)
    assert sorted(found, key=lambda job: job.account) == jobs
    assert await ann.records.named(call.request_id) == jobs[:1]
    meanwhile = await ledger.records.change(jobs[1], lambda fresh: replace(fresh, files=("a",)))
    assert (await ledger.records.forget(jobs)).jobs == jobs[:1]
    assert await ledger.records.forgettable(NOW + 1) == [meanwhile]


async def test_what_stands_under_one_id_is_told(ledger: Ledger, ann: Share, bob: Share) -> None:
    """The newest first, and for an hour."""
    call = intent()
    offers = [
        await share.offers.note(replace(Offer.of(call), made_at=NOW + at), "offered")
        for at, share in enumerate((ann, bob))
    ]
    assert await ledger.offers.standing(call.request_id, NOW + 2) == offers[::-1]
    assert await ledger.offers.standing(call.request_id, NOW + HOUR) == offers[1:]


async def test_a_person_forgets_their_own_offers_alone(
    ledger: Ledger, ann: Share, bob: Share
) -> None:
    """Another's stand as they did."""
    call = intent()
    mine, theirs = [await s.offers.note(Offer.of(call), "offered") for s in (ann, bob)]
    await ann.offers.forget(mine.made_at + 1)
    assert await ledger.offers.standing(call.request_id, mine.made_at) == [theirs]
