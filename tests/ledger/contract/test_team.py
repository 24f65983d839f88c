"""Contract: who the people are, and that nobody spends more than they, or the team, may."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from support.calls import NOW, intent
from support.engines import Place

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import OverCap
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.ledger import Ledger, Share
from meigen_mcp.ledger.offers import Offer
from meigen_mcp.ledger.spending import DAY, MONTH
from meigen_mcp.ledger.team import EACH, TEAM, Caps, Member, left
from meigen_mcp.people import person_of

ANN = Member("a" * 32, "https://id.example", "ann", "Ann", NOW)
BOB = Member("b" * 32, "https://id.example", "bob", "Bob", NOW + 1)
PEOPLE = (ANN.id, BOB.id, "c" * 32)


def caps(day: int | None = None, month: int | None = None) -> Caps:
    """Return caps of so many credits."""
    return Caps(*(None if amount is None else Decimal(amount) for amount in (day, month)))


async def add(share: Share, at: float = NOW) -> Generation:
    """Reserve five credits for a person."""
    job = await share.calls.add(intent(created_at=at), Terms())
    assert isinstance(job, Generation)
    return job


async def test_no_cap_is_passed_whoever_races_for_its_last_credits(place: Place) -> None:
    """Of three people each has 20 and all together 50; four processes take five at a time."""
    ledgers = [place.open() for _ in range(4)]
    await ledgers[0].team.set_caps(EACH, caps(day=20))
    await ledgers[0].team.set_caps(TEAM, caps(month=50))
    found: Counter[str] = Counter()

    async def call(number: int) -> None:
        person = PEOPLE[number % 3]
        try:
            await add(ledgers[number % 4].of(person))
        except OverCap:
            found["over"] += 1
        else:
            found[person] += 1

    async with anyio.create_task_group() as group:
        for number in range(36):
            group.start_soon(call, number)
    assert sum(found[person] for person in PEOPLE) == 10
    assert max(found[person] for person in PEOPLE) <= 4
    assert found["over"] == 26


async def test_a_day_is_24_hours_and_a_month_30_days(ledger: Ledger) -> None:
    """The refusal says which, how much is used and left, and who can change it."""
    ann = ledger.of(ANN.id)
    await add(ann, NOW - MONTH + 1)
    await add(ann, NOW - MONTH)
    await add(ann, NOW - DAY + 1)
    await ledger.team.set_caps(ANN.id, caps(day=9))
    with pytest.raises(OverCap) as refused:
        await add(ann)
    assert refused.value.message == (
        "It would cost 5 credits; of your cap of 9 credits in 24 hours, 5 are spent or reserved"
        " and 4 are left. Whoever looks after this server can set another (`meigen-mcp team cap`),"
        " or credits are free again as the time passes. Nothing was sent or charged."
    )
    assert "MEIGEN_MAX" not in refused.value.next  # no setting of this person's changes it
    await ledger.team.set_caps(ANN.id, caps(day=10, month=14))
    with pytest.raises(OverCap, match="your cap of 14 credits in 30 days, 10 are spent"):
        await add(ann)
    await ledger.team.set_caps(ANN.id, caps(day=10, month=15))
    await add(ann)


async def test_what_is_set_for_a_person_comes_before_what_is_set_for_each(
    ledger: Ledger,
) -> None:
    """Each field by itself; neither is asked of whoever needs no sign-in, the team's is."""
    await ledger.team.set_caps(EACH, caps(day=4, month=100))
    await ledger.team.set_caps(ANN.id, caps(day=7))
    seen = await ledger.of(ANN.id).records.overview(1, NOW)
    assert [left(seen.allowances, days) for days in (1, 30)] == [7, 100]
    with pytest.raises(OverCap):
        await add(ledger.of(BOB.id))
    await add(ledger.of(""))
    await ledger.team.set_caps(TEAM, caps(day=9))
    with pytest.raises(OverCap, match="the team's cap of 9 credits in 24 hours, 5 are spent"):
        await add(ledger.of(""))
    seen = await ledger.of(ANN.id).records.overview(1, NOW)
    assert left(seen.allowances, 1) == 4


async def test_without_caps_nothing_is_limited_or_told(ledger: Ledger) -> None:
    """As before there were any."""
    await add(ledger.of(ANN.id))
    assert (await ledger.of(ANN.id).records.overview(1, NOW)).allowances == ()
    assert (await ledger.of(ANN.id).calls.glance(intent())).allowances == ()


async def test_an_unknown_price_fits_under_no_cap(ledger: Ledger) -> None:
    """Nobody knows what is left after it."""
    await ledger.team.set_caps(EACH, caps(month=1000))
    with pytest.raises(OverCap, match="The price is not known, so your cap of 1000 credits"):
        await ledger.of(ANN.id).calls.add(intent(reserved=None), Terms())


async def test_a_price_that_is_only_a_lower_bound_fits_under_no_cap(ledger: Ledger) -> None:
    """The cap may have been set since the call was judged, while its references were uploaded."""
    floor = intent(quote=Quote(Decimal(5), "at_least", "at least 5"))
    await ledger.of(ANN.id).calls.add(floor, Terms())
    await ledger.team.set_caps(TEAM, caps(month=1000))
    with pytest.raises(OverCap, match="The price is not known, so the team's cap of 1000 credits"):
        await ledger.of(ANN.id).calls.add(replace(floor, request_id="another"), Terms())


async def test_what_is_written_down_already_is_not_refused(ledger: Ledger) -> None:
    """The same id finds its generation, whatever is left."""
    await ledger.team.set_caps(EACH, caps(day=5))
    job = intent()
    first = await ledger.of(ANN.id).calls.add(job, Terms())
    assert await ledger.of(ANN.id).calls.add(job, Terms()) == first


async def test_who_came_is_known_with_what_they_did(ledger: Ledger) -> None:
    """By the name that they had last; the earliest first."""
    await ledger.team.meet(BOB)
    await ledger.team.meet(ANN)
    await ledger.team.meet(replace(ANN, name="Ann B.", seen_at=NOW + 9))
    await ledger.team.set_caps(ANN.id, caps(day=17))
    await add(ledger.of(ANN.id))
    await add(ledger.of(ANN.id), NOW - DAY)
    five, ten = Decimal(5), Decimal(10)
    ann = replace(ANN, name="Ann B.", caps=caps(day=17), spent_today=five, spent_month=ten, made=2)
    assert await ledger.team.members(NOW) == [ann, BOB]
    assert await ledger.team.caps() == {ANN.id: caps(day=17)}


async def test_who_is_forgotten_leaves_what_it_cost(ledger: Ledger) -> None:
    """No word of what they asked for, and nobody else's is touched."""
    jobs = []
    for person in (ANN.id, BOB.id, ""):
        job = await add(ledger.of(person))
        jobs.append(
            await ledger.records.change(
                job, lambda fresh: replace(fresh, status="failed", finished_at=NOW, next_look=None)
            )
        )
    await ledger.team.meet(ANN)
    call = intent()
    await ledger.of(ANN.id).offers.note(Offer.of(call), "offered")
    hers = ledger.of(ANN.id).records
    assert await hers.forgettable(NOW) == []
    found = await hers.forgettable(NOW + 1)
    assert [person_of(job.account) for job in found] == [ANN.id]
    assert (await hers.forget(found)).jobs == found
    assert await hers.forgettable(NOW + 1) == []
    await ledger.team.forget(ANN.id)
    assert await ledger.team.members(NOW) == []
    assert (await ledger.of(ANN.id).calls.open_call(call, call.request_id)).offer is None
    prompts = {person_of(job.account): job.prompt for _, job in await ledger.records.newest(9)}
    assert prompts == {ANN.id: "", BOB.id: "a red cube", "": "a red cube"}
    assert (await ledger.of(ANN.id).records.overview(1, NOW)).spent_today == 5
