"""Contract: each generation is acted on by one process, and so many POSTs leave in a minute."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import anyio
import pytest
from support.calls import NOW, added, changed, intent
from support.engines import Place

from meigen_mcp import generation
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import ADOPTABLE_FOR, Terms
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.queue import SLOT_FREED_AFTER, Due, Kind, Slot, Standing, Wanted
from meigen_mcp.ledger.records import TakenOver

HELD = NOW + 130.0
WANTED: Mapping[Kind, Wanted] = {
    "post": Wanted(("queued", "submitting", "unknown"), 9),
    "look": Wanted(("processing",), 9),
    "fetch": Wanted(("completed", "failed"), 9),
}


async def _due(ledger: Ledger, now: float = NOW) -> list[tuple[str, str]]:
    due = await ledger.queue.due(now, WANTED, ())
    return [(kind, job.prompt) for kind, job in due.jobs]


async def _begin(ledger: Ledger, job: Generation, now: float = NOW) -> Slot | None:
    return await ledger.queue.begin_post(job, now, now + 130.0)


async def _begun(ledger: Ledger, job: Generation, now: float = NOW) -> Slot:
    slot = await _begin(ledger, job, now)
    assert slot is not None
    return slot


# --- what is under way --------------------------------------------------------------------------


async def test_what_is_under_way_is_counted_of_everybody(ledger: Ledger, place: Place) -> None:
    """By status, with the oldest; what is at rest is not."""
    assert await ledger.queue.standing() == Standing({}, None)
    await added(ledger, intent("a", status="queued", next_look=NOW, created_at=NOW - 9))
    await added(ledger, intent("b", status="processing", next_look=NOW))
    await added(ledger, intent("c", status="failed", next_look=None, created_at=NOW - 99))
    other = place.open("https://www.meigen.ai 2").of("p" * 32)
    assert isinstance(await other.calls.add(intent("d"), Terms()), Generation)
    assert await ledger.queue.standing() == Standing({"queued": 2, "processing": 1}, NOW - 9)


async def test_that_an_api_knows_keys_is_known_to_all_of_its_origin(place: Place) -> None:
    """Whatever the token; another API may be older."""
    same = [place.open("https://www.meigen.ai 1"), place.open("https://www.meigen.ai 2")]
    other = place.open("https://old.example 1")
    assert [await each.queue.keyed() for each in (*same, other)] == [False] * 3
    await same[0].queue.note_keyed()
    await same[0].queue.note_keyed()
    assert [await each.queue.keyed() for each in (*same, other)] == [True, True, False]


async def test_after_a_step_of_the_clock_all_is_done_now_but_what_waits_for_the_person(
    ledger: Ledger, other: Ledger
) -> None:
    """What another process has is its own to hurry; and no submission is held back."""
    slot = await _begun(ledger, await added(ledger, intent("sent")))
    await ledger.queue.end_post(slot, lambda job: job, NOW, hold_until=NOW + 90)
    await added(ledger, intent("parked", parked=True, next_look=NOW + 3600))
    await added(ledger, intent("runs", status="processing", next_look=NOW + 60))
    await added(other, intent("another's", status="processing", next_look=NOW + 60))
    held = await added(ledger, intent("held"))
    assert await _begin(ledger, held) is None
    await ledger.queue.hurry(NOW)
    looks = {job.prompt: job.next_look for _, job in await ledger.records.newest(9)}
    del looks["sent"]
    assert looks == {
        "parked": NOW + 3600,
        "runs": NOW,
        "another's": NOW + 60,
        "held": NOW,
    }
    assert await _begin(ledger, held) is not None


async def test_saving_is_tried_anew_but_for_what_another_process_does(
    ledger: Ledger, place: Place
) -> None:
    """After a sleep: what waits for its next try, and what is at rest; with as few tries made."""
    done = {"status": "completed", "files": (None,), "media_urls": ("https://a.example/a",)}
    for on, prompt, at in (
        (ledger, "rests", None),
        (ledger, "waits", NOW + 999),
        (place.open(), "another's", NOW + 999),
    ):
        job = intent(prompt, finished_at=NOW - 9, fetch_failures=20, next_look=at, **done)
        await added(on, job)
    await ledger.queue.resume_saving(NOW, 5)
    due = await ledger.queue.due(NOW, WANTED, ())
    assert [(job.prompt, job.fetch_failures) for _, job in due.jobs] == [("rests", 5), ("waits", 5)]


# --- what is due --------------------------------------------------------------------------------


async def test_what_is_due_comes_by_its_kind_the_longest_due_first(ledger: Ledger) -> None:
    """As far as there is room, and without what is acted on."""
    jobs = {}
    for prompt, status, at in (
        ("b", "queued", NOW - 1),
        ("a", "submitting", NOW - 2),
        ("c", "unknown", NOW),
        ("d", "processing", NOW),
        ("e", "completed", NOW - 3),
        ("f", "processing", NOW + 5),
        ("g", "failed", None),
    ):
        jobs[prompt] = await added(ledger, intent(prompt, status=status, next_look=at))
    assert await _due(ledger) == [
        ("post", "a"), ("post", "b"), ("post", "c"), ("look", "d"), ("fetch", "e"),
    ]  # fmt: skip
    few: Mapping[Kind, Wanted] = {**WANTED, "post": Wanted(WANTED["post"].statuses, 1)}
    due = await ledger.queue.due(NOW, few, [jobs["a"].request_id])
    assert [job.prompt for kind, job in due.jobs if kind == "post"] == ["b"]
    assert due.next_at == NOW + 5
    few_others = await ledger.queue.due(NOW, few, [jobs["f"].request_id])
    assert [job.prompt for kind, job in few_others.jobs if kind == "post"] == ["a"]
    none: Mapping[Kind, Wanted] = {"post": Wanted(WANTED["post"].statuses, 0)}
    assert not (await ledger.queue.due(NOW, none, ())).jobs


async def test_when_nothing_is_due_it_is_known_when_something_will_be(ledger: Ledger) -> None:
    """And when nothing is known of, nothing."""
    assert await ledger.queue.due(NOW, WANTED, ()) == Due()
    await added(ledger, intent(next_look=NOW + 7))
    assert await ledger.queue.due(NOW, WANTED, ()) == Due(next_at=NOW + 7)


async def test_each_process_acts_on_its_own(
    ledger: Ledger, other: Ledger, stranger: Ledger
) -> None:
    """The one that took the call, whoever else is there."""
    for process in (ledger, other, stranger):
        await added(process, intent(str(id(process))))
    for process in (ledger, other, stranger):
        assert await _due(process) == [("post", str(id(process)))]


# --- what others left ---------------------------------------------------------------------------


async def test_what_a_dead_process_left_is_taken_over(ledger: Ledger, place: Place) -> None:
    """It is looked at at once, but for what waits for the person; its calls leave orphans."""
    dying = place.open()
    await added(dying, intent("queued", next_look=NOW + 5))
    await added(dying, intent("sent", status="submitting", next_look=NOW + 99))
    await added(dying, intent("parked", parked=True, next_look=NOW + 3600))
    told = await added(dying, intent("told", status="processing", next_look=NOW + 9))
    await dying.calls.mark(told, answered=True)
    done = await added(dying, intent("done", status="completed", next_look=None))
    await dying.close()
    await ledger.queue.reclaim(NOW)
    at_once = [("look", "told"), ("post", "queued"), ("post", "sent")]
    assert sorted(await _due(ledger)) == at_once
    assert ("post", "parked") in await _due(ledger, NOW + 3600)
    orphans = {job.prompt for _, job in await ledger.records.newest(9) if job.abandoned}
    assert orphans == {"queued", "sent", "parked", "done"}
    found = await ledger.records.get(done.request_id)
    assert found is not None
    assert found.at_rest


async def test_who_adopted_and_died_leaves_an_orphan_again(place: Place) -> None:
    """One that has an id of its own is nobody's to adopt, however often its process dies."""
    dying = place.open()
    await added(dying, intent("by id", status="completed", next_look=None), adoptable=False)
    orphan = await added(dying, intent("adopted", status="completed", next_look=None))
    await dying.calls.mark(orphan, answered=False)
    await dying.close()
    for _ in range(2):
        survivor = place.open()
        await survivor.queue.reclaim(NOW)
        for prompt, expected in (("by id", False), ("adopted", True)):
            call = intent(prompt, arguments={"prompt": prompt})
            assert (await survivor.calls.open_call(call, None)).adopted is expected
        await survivor.close()


async def test_what_is_old_and_at_rest_is_left_where_it_is(ledger: Ledger, place: Place) -> None:
    """Nobody acts on it, and nobody repeats its call any more."""
    dying = place.open()
    long_ago = NOW - ADOPTABLE_FOR - 1
    old = await added(dying, intent(status="completed", next_look=None, created_at=long_ago))
    await dying.close()
    await ledger.queue.reclaim(NOW)
    assert await ledger.records.get(old.request_id) == old


async def test_a_living_process_keeps_its_own(ledger: Ledger, other: Ledger) -> None:
    """However late it is with them."""
    await added(other, intent(created_at=NOW - 60, next_look=NOW - 60))
    await ledger.queue.reclaim(NOW)
    assert await _due(ledger) == []
    assert len(await _due(other)) == 1


async def test_nobody_takes_over_another_account_s(stranger: Ledger, place: Place) -> None:
    """Without its token nothing can be asked."""
    dying = place.open()
    job = await added(dying)
    await dying.close()
    await stranger.queue.reclaim(NOW)
    assert await _due(stranger) == []
    again = place.open()
    await again.queue.reclaim(NOW)
    assert [kind for kind, _ in await _due(again)] == ["post"]
    assert await again.records.get(job.request_id) is not None


async def test_an_intent_that_is_too_old_ends_whoever_s_it_is(
    ledger: Ledger, stranger: Ledger
) -> None:
    """It was provably never sent; what was sent, or is younger, stays."""
    hour_ago = NOW - generation.SUBMIT_WITHIN
    old = await added(stranger, intent(created_at=hour_ago - 1))
    parked = await added(stranger, intent(created_at=hour_ago - 1, parked=True))
    sent = await added(stranger, intent(created_at=hour_ago - 1, status="submitting"))
    young = await added(stranger, intent(created_at=hour_ago + 1))
    await ledger.queue.reclaim(NOW)
    found = [await stranger.records.get(job.request_id) for job in (old, parked, sent, young)]
    assert [job and job.status for job in found] == ["failed", "failed", "submitting", "queued"]
    ended = found[0]
    assert ended is not None
    assert ended.error is not None
    assert (ended.error.code, ended.amount, ended.at_rest) == ("expired", Decimal(0), True)


# --- posting ------------------------------------------------------------------------------------


async def test_no_minute_sees_more_posts_than_the_limit_whoever_races(place: Place) -> None:
    """Twelve of twenty-four, from four processes at once; the others know when to ask again."""
    processes = [place.open() for _ in range(4)]
    jobs = [await added(processes[number % 4], intent(str(number))) for number in range(24)]
    slots: list[Slot | None] = []

    async def begin(number: int) -> None:
        slots.append(await _begin(processes[number % 4], jobs[number]))

    async with anyio.create_task_group() as group:
        for number in range(24):
            group.start_soon(begin, number)
    begun = [slot.id for slot in slots if slot is not None]
    assert (len(begun), len(set(begun))) == (12, 12)
    found = [job for _, job in await processes[0].records.newest(24)]
    waiting = [job.next_look for job in found if job.status == "queued"]
    assert waiting == [NOW + SLOT_FREED_AFTER] * 12


async def test_a_slot_of_a_clock_that_was_set_back_is_free_a_minute_later(place: Place) -> None:
    """It was held until a time that lies far ahead now."""
    ledger = place.open(rate_limit=1)
    await _begun(ledger, await added(ledger), NOW + 10_000)
    job = await added(ledger)
    assert await _begin(ledger, job) is None
    assert await _begin(ledger, job, NOW + SLOT_FREED_AFTER + 1) is not None


async def test_a_slot_is_free_a_minute_after_the_reply(place: Place) -> None:
    """And as long as there is none, when its POST has surely ended; each account has its own."""
    ledger = place.open(rate_limit=1)
    first, second = await added(ledger), await added(ledger)
    slot = await _begun(ledger, first)
    assert await _begin(ledger, second, NOW + SLOT_FREED_AFTER) is None
    await ledger.queue.end_post(slot, lambda job: job, NOW + 10)
    assert await _begin(ledger, second, NOW + 9 + SLOT_FREED_AFTER) is None
    stranger = place.open("https://www.meigen.ai 2", rate_limit=1)
    assert await _begin(stranger, await added(stranger)) is not None
    silent = await _begun(ledger, second, NOW + 10 + SLOT_FREED_AFTER)
    third = await added(ledger)
    assert await _begin(ledger, third, silent.job.posted_at or 0 + 129.0) is None
    assert await _begin(ledger, third, (silent.job.posted_at or 0) + 130.0) is not None


async def test_a_post_is_committed_before_it_leaves(ledger: Ledger, other: Ledger) -> None:
    """As others read it: if nothing follows, it is looked up."""
    slot = await _begun(ledger, await added(ledger))
    assert await other.records.get(slot.job.request_id) == slot.job
    assert (slot.first, slot.job.status, slot.job.posted_at) == (True, "submitting", NOW)
    again = await _begun(other, slot.job, NOW + 1)
    assert (again.first, again.job.posted_at) == (False, NOW)


async def test_what_was_taken_over_is_neither_posted_nor_reported_on_as_it_was(
    ledger: Ledger, place: Place
) -> None:
    """Whoever read it before that, however late they come to it."""
    dying = place.open()
    queued, slot = await added(dying), await _begun(dying, await added(dying))
    await dying.close()
    await ledger.queue.reclaim(NOW)
    before = [await ledger.records.get(job.request_id) for job in (queued, slot.job)]
    with pytest.raises(TakenOver):
        await _begin(ledger, queued)
    assert ledger.queue.may_post(slot) is False
    with pytest.raises(TakenOver):
        await ledger.queue.end_post(slot, lambda job: replace(job, status="processing"), NOW)
    assert [await ledger.records.get(job.request_id) for job in (queued, slot.job)] == before


@pytest.mark.parametrize(
    "fields",
    [
        {"status": "processing"},
        {"status": "completed"},
        {"status": "failed"},
        {"parked": True},
    ],
)
async def test_what_may_not_be_sent_any_more_is_not(
    fields: dict[str, object], ledger: Ledger, other: Ledger
) -> None:
    """Whatever it was when the poller read it; and no slot is taken for it."""
    job = await added(ledger)
    await changed(other, job, **fields)
    before = await ledger.records.get(job.request_id)
    for _ in range(13):
        assert await _begin(ledger, job) is None
    assert await ledger.records.get(job.request_id) == before
    assert await _begin(ledger, await added(ledger)) is not None


async def test_the_end_of_a_post_is_one_to_the_record_as_it_is(
    ledger: Ledger, other: Ledger
) -> None:
    """What calls wrote while the reply was awaited stays."""
    slot = await _begun(ledger, await added(ledger))
    await other.changes.watch([slot.job.request_id], NOW, NOW + 9)
    job = await ledger.queue.end_post(
        slot, lambda fresh: replace(fresh, status="processing", generation_id="g"), NOW + 2
    )
    assert (job.watched_until, job.status, job.generation_id) == (NOW + 9, "processing", "g")
    assert await other.records.get("g") == job


async def test_what_the_api_puts_off_is_put_off_for_all_processes(
    ledger: Ledger, other: Ledger, stranger: Ledger
) -> None:
    """Of the account; and nothing takes a slot meanwhile."""
    slot = await _begun(ledger, await added(ledger))
    await ledger.queue.end_post(slot, lambda job: job, NOW, hold_until=NOW + 90)
    job = await added(other)
    for _ in range(13):
        assert await _begin(other, job, NOW + 89) is None
    found = await other.records.get(job.request_id)
    assert found is not None
    assert found.next_look == NOW + 90
    assert await _begin(other, job, NOW + 90) is not None
    assert await _begin(stranger, await added(stranger)) is not None


async def test_there_is_work_when_a_call_came(ledger: Ledger) -> None:
    """The poller hears of it at once."""
    before = ledger.queue.work.count
    await added(ledger)
    assert ledger.queue.work.count > before


# --- looks that taught nothing ------------------------------------------------------------------


async def test_several_are_acted_on_later_in_one_step(ledger: Ledger) -> None:
    """Nobody is told, since nothing else is new."""
    jobs = [
        await added(ledger, intent(prompt, status="processing", next_look=NOW)) for prompt in "ab"
    ]
    version = await ledger.changes.version()
    await ledger.queue.postpone([(job, NOW + 3) for job in jobs])
    assert (await _due(ledger), await _due(ledger, NOW + 3)) == ([], [("look", "a"), ("look", "b")])
    assert await ledger.changes.version() == version


async def test_what_changed_since_it_was_read_is_not_put_off(ledger: Ledger) -> None:
    """Whoever began to wait for it, or learnt something, is not undone."""
    read = {
        prompt: await added(ledger, intent(prompt, status="processing", next_look=NOW))
        for prompt in ("waited for", "learnt of", "as it was")
    }
    await ledger.changes.watch([read["waited for"].request_id], NOW + 1, NOW + 60)
    await changed(ledger, read["learnt of"], failures=1)
    await ledger.queue.postpone([(job, NOW + 9) for job in read.values()])
    assert sorted(await _due(ledger, NOW + 8)) == [("look", "learnt of"), ("look", "waited for")]


async def test_a_model_s_durations_are_those_of_its_last_twenty(ledger: Ledger) -> None:
    """From acceptance to completion; a failure is none, nor is another model's."""
    for seconds in range(1, 23):
        done = intent(
            status="completed", next_look=None, finished_at=NOW + seconds, accepted_at=NOW
        )
        await added(ledger, done)
    await added(ledger, intent(status="failed", accepted_at=NOW, finished_at=NOW + 99))
    model_id = intent().model_id
    assert await ledger.queue.durations(model_id) == [float(s) for s in range(22, 2, -1)]
    assert await ledger.queue.durations("another") == []
