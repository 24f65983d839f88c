"""Contract: money is decided on where it is reserved, and a call that is repeated is one job."""

from collections import Counter
from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from support.calls import NOW, added, changed, intent
from support.engines import Place

from meigen_mcp.errors import OverCap
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import ADOPTABLE_FOR, AskFirst, Opening, Terms
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.spending import DAY, HOUR


async def _race(place: Place, calls: int, terms: Terms) -> Counter[str]:
    """Reserve 5 credits in four processes at once, and count what became of it."""
    found: Counter[str] = Counter()

    async def call(ledger: Ledger) -> None:
        try:
            result = await ledger.calls.add(intent(), terms)
        except OverCap:
            found["over"] += 1
        else:
            found["ask" if isinstance(result, AskFirst) else "made"] += 1

    ledgers = [place.open() for _ in range(4)]
    async with anyio.create_task_group() as group:
        for number in range(calls):
            group.start_soon(call, ledgers[number % 4])
    return found


async def test_a_cap_is_kept_whoever_races_for_its_last_credits(place: Place) -> None:
    """Fifty credits are ten of five, from four processes at once."""
    assert await _race(place, 24, Terms(cap_per_day=Decimal(50))) == {"made": 10, "over": 14}


async def test_what_needs_no_yes_is_kept_whoever_races_for_it(place: Place) -> None:
    """Each was below the limit when it was read; together they are not."""
    terms = Terms(ask_above=Decimal(20), price=Decimal(5), counted_from=NOW - HOUR)
    assert await _race(place, 24, terms) == {"made": 4, "ask": 20}


async def test_a_cap_counts_the_last_24_hours_of_all_accounts(
    ledger: Ledger, stranger: Ledger
) -> None:
    """The refusal says how much is spent."""
    await added(stranger, intent(created_at=NOW - DAY + 1))
    await added(ledger, intent(created_at=NOW - DAY))
    with pytest.raises(OverCap, match="5 of MEIGEN_MAX_CREDITS_PER_DAY 9 are spent"):
        await ledger.calls.add(intent(), Terms(cap_per_day=Decimal(9)))
    assert (await ledger.calls.add(intent(), Terms(cap_per_day=Decimal(10)))) is not None


async def test_an_id_stands_for_one_generation_whoever_was_first(
    ledger: Ledger, other: Ledger, stranger: Ledger
) -> None:
    """Also of two at once; another account's is another's."""
    job = intent()
    found: list[Generation] = []

    async def add(to: Ledger, call: Generation) -> None:
        found.append(await added(to, call, cap_per_day=Decimal(5)))

    async with anyio.create_task_group() as group:
        group.start_soon(add, ledger, replace(job, prompt="one"))
        group.start_soon(add, other, replace(job, prompt="two"))
    assert found[0] == found[1]
    assert (await ledger.records.overview(9, NOW)).jobs == [found[0]]
    assert (await added(stranger, job)).owner != found[0].owner


async def test_a_name_stands_for_one_id_whoever_gave_it_first(
    ledger: Ledger, other: Ledger, stranger: Ledger
) -> None:
    """For ever, and for every token: a renewed one must not make it again."""
    found: set[str] = set()

    async def keep(by: Ledger, request_id: str) -> None:
        found.add(await by.calls.keep_name("a poster", request_id))

    async with anyio.create_task_group() as group:
        for number, by in enumerate((ledger, other, stranger, ledger)):
            group.start_soon(keep, by, f"id {number}")
    assert len(found) == 1
    assert await other.calls.keep_name("another", "id 9") == "id 9"


async def test_whoever_goes_away_meanwhile_does_not_undo_it(ledger: Ledger) -> None:
    """The call was cancelled while the intent was written: it is there all the same."""
    await added(ledger)
    job = intent()
    async with anyio.create_task_group() as group:
        group.start_soon(ledger.calls.add, job, Terms())
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert (await added(ledger, job)).request_id == job.request_id
    assert len(await ledger.records.newest(9)) == 2


async def test_a_call_learns_what_it_needs_at_once(ledger: Ledger, stranger: Ledger) -> None:
    """The hour, the day and the person's last yes, over all accounts but for the yes."""
    for ago in (DAY + 1, DAY - 1, HOUR + 1, HOUR - 1):
        await added(stranger, intent(created_at=NOW - ago))
    await added(ledger, intent(created_at=NOW - 60), approved=True)
    opening = await ledger.calls.glance(intent())
    assert opening == Opening(
        spent_today=Decimal(20),
        spent_this_hour=Decimal(10),
        approved_at=NOW - 60,
        spent_since_yes=Decimal(0),
    )
    found = await stranger.calls.glance(intent())
    assert (found.approved_at, found.spent_since_yes) == (0.0, Decimal(10))


async def test_usual_seconds_are_the_median_of_the_last_twenty(ledger: Ledger) -> None:
    """Of the model's own, and only if there are three."""

    async def made(seconds: float, number: int, model_id: str = "nanobanana-2") -> None:
        job = await added(ledger, intent(model_id=model_id))
        end = NOW + number
        times = {"accepted_at": end - seconds, "finished_at": end}
        await changed(ledger, job, status="completed", next_look=None, **times)

    async def usual() -> float | None:
        return (await ledger.calls.glance(intent())).usual_seconds

    for number, seconds in enumerate((30.0, 10.0)):
        await made(seconds, number)
    await made(1.0, 2, "another")
    assert await usual() is None
    await made(20.0, 3)
    assert await usual() == 20.0
    for number in range(20):
        await made(7.0, 4 + number)
    assert await usual() == 7.0


# --- repetitions --------------------------------------------------------------------------------


async def _orphan(ledger: Ledger, **fields: Any) -> Generation:
    """Leave a generation whose call was cancelled before its answer."""
    job = await added(ledger, intent(**fields))
    await ledger.calls.mark(job, answered=False)
    return job


async def _repeat(ledger: Ledger, **fields: Any) -> tuple[str | None, bool]:
    opening = await ledger.calls.open_call(intent(**fields), None)
    return (None if opening.repeated is None else opening.repeated.request_id), opening.adopted


async def test_an_orphan_is_adopted_once_and_the_oldest_first(
    ledger: Ledger, other: Ledger
) -> None:
    """By two processes at once as well."""
    first, second = [(await _orphan(ledger)).request_id for _ in range(2)]
    assert await _repeat(other) == (first, True)
    found: list[tuple[str | None, bool]] = []

    async def repeat(by: Ledger) -> None:
        found.append(await _repeat(by))

    async with anyio.create_task_group() as group:
        group.start_soon(repeat, ledger)
        group.start_soon(repeat, other)
    assert Counter(found) == {(None, False): 1, (second, True): 1}


async def test_who_adopted_and_got_no_answer_either_leaves_an_orphan_again(
    ledger: Ledger, other: Ledger
) -> None:
    """Cut off twice, a call is still one; answered, it is over."""
    orphan = await _orphan(ledger)
    for by in (other, ledger):
        assert await _repeat(by) == (orphan.request_id, True)
        await by.calls.mark(orphan, answered=False)
    assert await _repeat(other) == (orphan.request_id, True)
    await other.calls.mark(orphan, answered=True)
    await ledger.calls.mark(orphan, answered=False)
    assert await _repeat(ledger) == (None, False)


async def test_who_goes_away_while_it_adopts_takes_nothing_with_it(ledger: Ledger) -> None:
    """That call knows what it has adopted, and says that it got no answer; else another adopts."""
    orphan = await _orphan(ledger)
    found: list[Opening] = []
    async with anyio.create_task_group() as group:

        async def repeat() -> None:
            found.append(await ledger.calls.open_call(intent(), None))

        group.start_soon(repeat)
        await anyio.lowlevel.checkpoint()
        group.cancel_scope.cancel()
    adopted = [opening.repeated.request_id for opening in found if opening.repeated]
    again, _ = await _repeat(ledger)
    assert [*adopted, *([again] if again else [])] == [orphan.request_id]


async def test_what_a_process_left_that_died_just_now_is_adopted(
    ledger: Ledger, other: Ledger, stranger: Ledger
) -> None:
    """Before anybody came to take it over: a client that restarts a server repeats at once."""
    left = await added(other)
    assert await _repeat(ledger) == (None, False)  # as long as it lives it may answer
    await other.close()
    assert await _repeat(stranger) == (None, False)
    assert await _repeat(ledger) == (left.request_id, True)
    assert await _repeat(ledger) == (None, False)


async def test_what_is_no_orphan_is_not_adopted(ledger: Ledger, stranger: Ledger) -> None:
    """One that was answered, of another call, too old, failed, asked for by id, or another's."""
    answered = await added(ledger)
    await ledger.calls.mark(answered, answered=True)
    await ledger.calls.mark(answered, answered=False)
    await _orphan(ledger, prompt="another")
    await _orphan(ledger, created_at=NOW - ADOPTABLE_FOR)
    await changed(ledger, await _orphan(ledger), status="failed", next_look=None)
    by_id = await added(ledger, adoptable=False)
    await ledger.calls.mark(by_id, answered=False)
    await _orphan(stranger)
    await added(ledger)
    assert await _repeat(ledger) == (None, False)


async def test_what_waits_for_the_person_is_repeated_after_the_orphans(ledger: Ledger) -> None:
    """As often as it is asked for, since it is one and the same."""
    parked = await changed(ledger, await added(ledger), parked=True)
    orphan = await _orphan(ledger)
    assert await _repeat(ledger) == (orphan.request_id, True)
    for _ in range(2):
        assert await _repeat(ledger) == (parked.request_id, False)


async def test_a_call_with_an_id_repeats_what_that_stands_for(
    ledger: Ledger, stranger: Ledger
) -> None:
    """And nothing else, and never another account's."""
    job = await _orphan(ledger)
    opening = await ledger.calls.open_call(intent(), job.request_id)
    assert (opening.known, opening.repeated, opening.adopted) == (
        await ledger.records.get(job.request_id),
        None,
        False,
    )
    assert (await ledger.calls.open_call(intent(), "another")).known is None
    assert (await stranger.calls.open_call(intent(), job.request_id)).known is None
    assert await _repeat(ledger) == (job.request_id, True)
