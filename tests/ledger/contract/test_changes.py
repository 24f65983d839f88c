"""Contract: whoever waits is told of every change, whichever process made it."""

from dataclasses import replace

import anyio
import pytest
from support.calls import NOW, added, changed, intent
from support.engines import Place

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.changes import Followed, Follower
from meigen_mcp.ledger.ledger import Ledger


async def _until(followed: Followed, status: str) -> Generation:
    """Wait for a record, as a call does."""
    with anyio.fail_after(10):
        while followed.job.status != status:
            await followed.change()
    return followed.job


async def test_a_call_hears_what_its_own_process_changed(ledger: Ledger, other: Ledger) -> None:
    """Once it is safe: others read it as it was told."""
    followed = await ledger.changes.follow(await added(ledger), NOW)
    async with anyio.create_task_group() as group:
        told: list[Generation | None] = []

        async def wait() -> None:
            job = await _until(followed, "completed")
            told.extend([job, await other.records.get(job.request_id)])

        group.start_soon(wait)
        await anyio.wait_all_tasks_blocked()
        job = await changed(ledger, followed.job, status="completed")
    assert told == [job, job]


async def test_a_call_hears_what_another_process_changed(ledger: Ledger, other: Ledger) -> None:
    """While this one notices."""
    job = await added(ledger)
    async with anyio.create_task_group() as group:
        group.start_soon(ledger.run)
        followed = await ledger.changes.follow(job, NOW)
        for status in ("submitting", "processing", "completed"):
            job = await changed(other, job, status=status)
            assert await _until(followed, status) == job
        group.cancel_scope.cancel()


async def test_what_changed_before_it_was_followed_is_known(ledger: Ledger, other: Ledger) -> None:
    """Between the read and the waiting something may come."""
    job = await added(ledger)
    done = await changed(other, job, status="completed")
    followed = await ledger.changes.follow(job, NOW)
    assert followed.job == done


async def test_a_call_hears_nothing_of_another_account_s(ledger: Ledger, stranger: Ledger) -> None:
    """Though it has the same request id."""
    job = await added(ledger)
    same = await added(stranger, intent(request_id=job.request_id))
    followed = await ledger.changes.follow(job, NOW)
    await changed(stranger, same, status="completed")
    assert followed.job == await ledger.records.get(job.request_id) == job


async def test_a_look_that_taught_nothing_is_told_to_nobody(ledger: Ledger) -> None:
    """A thousand that wait would be told of nothing a thousand times; that it rests is news."""
    job = await added(ledger)
    version = await ledger.changes.version()
    later = await changed(ledger, job, next_look=NOW + 3)
    assert (later.next_look, await ledger.changes.version()) == (NOW + 3, version)
    await changed(ledger, job, next_look=None)
    assert await ledger.changes.version() == version + 1


async def test_what_ended_here_counts_until_it_is_saved_or_goes_on_elsewhere(
    ledger: Ledger, other: Ledger
) -> None:
    """Behind many no call waits for its files; what is tried again later holds nobody up."""
    jobs = [await added(ledger) for _ in range(4)]
    followed = await ledger.changes.follow(jobs[3], NOW)
    async with anyio.create_task_group() as group:
        group.start_soon(ledger.run)
        await changed(other, jobs[3], status="processing")
        await _until(followed, "processing")
        counts = [followed.saving]
        done = [await changed(ledger, job, status="completed") for job in jobs]
        counts.append(followed.saving)
        await changed(ledger, done[0], next_look=None)
        counts.append(followed.saving)
        await changed(ledger, done[1], fetch_failures=1)
        counts.append(followed.saving)
        await changed(other, done[3], failures=1)
        with anyio.fail_after(10):
            while followed.saving == counts[-1]:
                await followed.change()
        counts.append(followed.saving)
        group.cancel_scope.cancel()
    assert counts == [0, 4, 3, 2, 1]


def test_what_was_read_before_it_was_told_is_not_believed() -> None:
    """A read and a change may be told in another order than they were made."""
    older = intent(version=1)
    newer = replace(older, version=2, status="completed")
    follower = Follower(older)
    follower.tell(newer)
    follower.reread(older)
    assert follower.job == newer


async def test_everybody_can_be_woken(ledger: Ledger) -> None:
    """At the end of a server each answers with how things stand."""
    job = await added(ledger)
    followed = [await ledger.changes.follow(job, NOW) for _ in range(2)]
    ledger.changes.wake_all()
    with anyio.fail_after(10):
        for each in followed:
            await each.change()
    assert [each.job.request_id for each in followed] == [job.request_id] * 2


async def test_every_change_is_heard_of_once_and_in_order(
    ledger: Ledger, other: Ledger, stranger: Ledger
) -> None:
    """With several processes writing at once, whatever their token."""
    since = await ledger.changes.version()
    heard: list[Generation] = []

    async def listen() -> None:
        async for jobs in ledger.changes.changes(since):
            heard.extend(jobs)
            if len({job.request_id for job in heard}) == 60:
                return

    async def write(by: Ledger) -> None:
        for _ in range(20):
            await added(by)

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.run)
            async with anyio.create_task_group() as writers:
                writers.start_soon(listen)
                for by in (ledger, other, stranger):
                    writers.start_soon(write, by)
            group.cancel_scope.cancel()
    versions = [job.version for job in heard]
    assert versions == sorted(set(versions))
    assert len({job.account for job in heard}) == 2


async def test_what_changed_before_this_process_noticed_anything_is_heard_of(
    ledger: Ledger, other: Ledger
) -> None:
    """Its first look at what others did may come after they did it."""
    changes = ledger.changes.changes(await ledger.changes.version())
    heard: list[Generation] = []

    async def listen() -> None:
        heard.extend(await anext(changes))
        group.cancel_scope.cancel()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            await anyio.wait_all_tasks_blocked()
            for _ in range(5):  # it has asked, and waits
                await ledger.changes.version()
            job = await added(other)
            group.start_soon(ledger.run)
    assert heard == [job]


async def test_what_changes_while_its_listener_is_busy_is_heard_of(ledger: Ledger) -> None:
    """Whoever was told takes time to tell it on."""
    changes = ledger.changes.changes(await ledger.changes.version())
    with anyio.fail_after(20):
        for _ in range(3):
            job = await added(ledger)
            assert await anext(changes) == [job]


async def test_what_another_process_changes_is_heard_of(ledger: Ledger, other: Ledger) -> None:
    """Though this one changes nothing."""
    changes = ledger.changes.changes(await ledger.changes.version())
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(ledger.run)
            for _ in range(3):
                job = await added(other)
                assert await anext(changes) == [job]
            group.cancel_scope.cancel()


async def test_who_is_alone_hears_of_nobody_else(ledger: Ledger, stranger: Ledger) -> None:
    """What others change is passed over."""
    changes = stranger.changes.changes(await stranger.changes.version())
    await added(ledger)
    own = await added(stranger)
    with anyio.fail_after(60):
        assert await anext(changes) == [own]


async def test_a_watched_one_is_looked_at_from_now_on(ledger: Ledger) -> None:
    """By either id; the longest wish counts, and what has ended is left alone."""
    job = await added(ledger, intent(status="processing", next_look=NOW + 60))
    await changed(ledger, job, generation_id="g")
    await ledger.changes.watch(["g", "none"], NOW, NOW + 20)
    await ledger.changes.watch([job.request_id], NOW + 5, NOW + 10)
    found = await ledger.records.get("g")
    assert found is not None
    assert (found.watched_until, found.next_look) == (NOW + 20, NOW)
    ended = await changed(ledger, job, status="completed", next_look=None)
    await ledger.changes.watch([job.request_id], NOW, NOW + 99)
    assert await ledger.records.get("g") == ended


async def test_one_that_is_followed_while_a_call_waits_is_watched(ledger: Ledger) -> None:
    """It need not be asked for besides."""
    job = await added(ledger, intent(status="processing", next_look=NOW + 60))
    await ledger.changes.follow(job, NOW, until=NOW + 20)
    await ledger.calls.mark(job, answered=True)  # which comes after it
    found = await ledger.records.get(job.request_id)
    assert found is not None
    assert (found.watched_until, found.next_look) == (NOW + 20, NOW)


async def test_one_that_waits_for_the_person_is_sent_again(ledger: Ledger) -> None:
    """What is followed is the record as it is then."""
    parked = await changed(ledger, await added(ledger), parked=True, next_look=NOW + 3600)
    followed = await ledger.changes.follow(parked, NOW, act=True)
    assert followed.job == await ledger.records.get(parked.request_id)
    assert (followed.job.parked, followed.job.next_look) == (False, NOW)
    assert followed.job.version > parked.version


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_what_has_ended_is_not_acted_on_again(end: str, ledger: Ledger) -> None:
    """Whoever asks for it."""
    job = await changed(ledger, await added(ledger), status=end, next_look=None)
    followed = await ledger.changes.follow(job, NOW, act=True)
    assert replace(followed.job, version=job.version) == job


# --- places in the queue ------------------------------------------------------------------------


async def test_a_place_counts_all_that_are_sent_before(place: Place) -> None:
    """Over all processes of the account, and with the minute that each slot is held."""
    ledger, other = place.open(rate_limit=2), place.open(rate_limit=2)
    posted = [await added(ledger), await added(other)]
    for job in posted:
        assert await ledger.queue.begin_post(job, NOW, NOW + 130.0) is not None
    await added(place.open("https://www.meigen.ai 2"))
    waiting = [await added(by) for by in (ledger, other, ledger)]
    places = [await (await ledger.changes.follow(job, NOW)).place(NOW) for job in waiting]
    assert places == [(0, NOW + 60), (1, NOW + 60), (2, NOW + 120)]
