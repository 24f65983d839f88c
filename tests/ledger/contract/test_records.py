"""Contract: records are found by either id, and a change is lost to nobody."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import anyio
import pytest
from support.calls import NOW, added, changed, intent
from support.records import FULL

from meigen_mcp.generation import FIXED, HELD, SHARED, Generation
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.spending import DAY
from meigen_mcp.reports import Balance


async def test_a_record_is_the_same_after_the_disk(ledger: Ledger) -> None:
    """With every field set, types included; what the ledger fills in apart."""
    filled = await added(ledger, FULL)
    found = await ledger.records.get(FULL.request_id)
    own = {name: getattr(filled, name) for name in (*HELD, "account")}
    assert repr(found) == repr(filled) == repr(replace(FULL, **own))


async def test_a_record_is_found_by_either_id(ledger: Ledger, stranger: Ledger) -> None:
    """A request id without case; on a server for other computers only by its own account."""
    job = await changed(ledger, await added(ledger), generation_id="Gen-1")
    for name in (job.request_id, job.request_id.upper(), "Gen-1"):
        assert await ledger.records.get(name) == job
        assert await stranger.records.get(name) is None
    assert await ledger.records.get("gen-1") is None


async def test_records_are_found_by_the_beginning_of_an_id(
    ledger: Ledger, stranger: Ledger
) -> None:
    """Of either, and of nobody else's; what an id may hold is no pattern."""
    jobs = [
        await changed(ledger, await added(ledger, intent(request_id=f"abcdef{n}")), generation_id=g)
        for n, g in enumerate(("Gen_%-1", "Gen_%-2"))
    ]
    for start, found in (("abcdef", jobs[::-1]), ("ABCDEF1", jobs[1:]), ("Gen_%-1", jobs[:1])):
        assert await ledger.records.beginning(start) == found
        assert await stranger.records.beginning(start) == []
    assert [await ledger.records.beginning(start) for start in ("gen_%", "Gen__", "bcd")] == [
        []
    ] * 3


async def test_who_keeps_a_file_is_found_however_old(ledger: Ledger, stranger: Ledger) -> None:
    """By the end of its path: the newest, of those that are shown."""
    name = f"{'ab' * 32}.png"
    jobs = [await added(ledger, intent(request_id=f"{n}")) for n in range(3)]
    twice = [await changed(ledger, job, files=(None, f"/kept/{name}")) for job in jobs[:2]]
    await changed(ledger, jobs[2], files=(f"/kept/{name}.json",))
    assert await ledger.records.keeping(name) == twice[1]
    assert await ledger.records.keeping("b" + name[1:]) is None
    assert await stranger.records.keeping(name) is None


async def test_a_change_is_one_to_the_record_as_it_is(ledger: Ledger, other: Ledger) -> None:
    """Whatever it was when somebody read it: nothing written meanwhile is lost."""
    read = await added(ledger)
    await changed(other, read, generation_id="g")
    await ledger.changes.watch([read.request_id], NOW, NOW + 9)
    await other.calls.mark(read, answered=True)
    job = await ledger.records.change(read, lambda fresh: replace(fresh, failures=3))
    told = (job.generation_id, job.watched_until, job.answered, job.failures)
    assert told == ("g", NOW + 9, True, 3)
    assert await other.records.get(read.request_id) == job


async def test_changes_at_once_by_many_all_count(ledger: Ledger, other: Ledger) -> None:
    """Forty by two processes, each one more than what is there."""
    job = await added(ledger)

    def more(fresh: Generation) -> Generation:
        return replace(fresh, failures=fresh.failures + 1)

    async with anyio.create_task_group() as group:
        for one in (ledger, other) * 20:
            group.start_soon(one.records.change, job, more)
    found = await ledger.records.get(job.request_id)
    assert found is not None
    assert found.failures == 40


async def test_what_was_asked_for_never_changes(ledger: Ledger) -> None:
    """Nor what the ledger itself says of a record; and what calls write is theirs."""
    job = await added(ledger, intent(watched_until=1.0))
    spoilt: dict[str, Any] = {name: getattr(FULL, name) for name in FIXED | HELD | SHARED}
    told = await changed(ledger, job, **spoilt, failures=1)
    found = await ledger.records.get(job.request_id)
    assert found == told == replace(job, failures=1, version=told.version)


@pytest.mark.parametrize("end", ["completed", "failed"])
async def test_what_ended_never_changes_its_end(end: str, ledger: Ledger, other: Ledger) -> None:
    """Whoever says otherwise is too late, and hears how it is; the rest may still change."""
    job = await changed(ledger, await added(ledger), status=end, next_look=None)
    for status in ("queued", "submitting", "processing", "completed", "failed", "unknown"):
        if status != end:
            assert await changed(other, job, status=status, next_look=NOW) == job
    saved = await changed(other, job, files=("/a.png",))
    assert (saved.status, saved.files) == (end, ("/a.png",))


async def test_a_transition_that_fails_changes_nothing(ledger: Ledger) -> None:
    """Its own error comes through, and the next one works."""
    job = await added(ledger)

    def breaks(_: Generation) -> Generation:
        raise KeyError("no")

    with pytest.raises(KeyError):
        await ledger.records.change(job, breaks)
    assert await ledger.records.get(job.request_id) == job
    assert (await changed(ledger, job, failures=1)).failures == 1


async def test_pages_go_from_the_newest_back(ledger: Ledger, stranger: Ledger) -> None:
    """Each record once, and none of another account to a server for other computers."""
    jobs = []
    for number in range(5):
        jobs.append(await added(stranger, intent(str(number))))
        await added(ledger)
    first = await stranger.records.newest(2)
    second = await stranger.records.newest(9, before=first[-1][0])
    assert [job for _, job in (*first, *second)] == jobs[::-1]


async def test_records_with_old_files_are_found_page_by_page(
    ledger: Ledger, stranger: Ledger
) -> None:
    """The oldest first, whoever's they are; what has no file, or is young, is not among them."""
    jobs = []
    for by in (ledger, stranger, ledger):
        job = await added(by)
        jobs.append(
            await changed(by, job, status="completed", finished_at=NOW, files=(None, "a.png"))
        )
    young = await added(ledger)
    await changed(ledger, young, status="completed", finished_at=NOW + 9, files=("b.png",))
    none = await added(ledger)
    await changed(ledger, none, status="completed", finished_at=NOW, files=(None,))
    shown = await added(ledger)
    fields = {"status": "completed", "finished_at": NOW, "files": (), "preview": "a.webp"}
    jobs.append(await changed(ledger, shown, **fields))
    first = await ledger.records.saved_before(NOW + 1, 0, 2)
    rest = await ledger.records.saved_before(NOW + 1, first[-1][0], 9)
    assert [job for _, job in [*first, *rest]] == jobs


async def test_what_was_spent_counts_over_all_accounts(ledger: Ledger, stranger: Ledger) -> None:
    """What is reserved or charged, in the last 24 hours and 30 days; what was refunded is free."""
    await added(ledger, intent(created_at=NOW - DAY + 1, reserved=Decimal("0.001")))
    await added(stranger, intent(created_at=NOW - DAY - 1))
    await added(ledger, intent(created_at=NOW - 30 * DAY - 1))
    charged = await added(ledger)
    await changed(ledger, charged, credits_used=Decimal("7.5"))
    refunded = await added(ledger)
    await changed(ledger, refunded, credits_used=Decimal(5), credits_status="refunded")
    found = await ledger.records.overview(9, NOW)
    assert (found.spent_today, found.spent_month) == (Decimal("7.501"), Decimal("12.501"))
    assert found.reserved == Decimal("5.001")
    assert len(found.jobs) == 5


async def test_a_result_is_known_by_its_url(ledger: Ledger, stranger: Ledger) -> None:
    """With which of its media it is."""
    job = await added(ledger)
    urls = ("https://a.example/1.png", "https://a.example/2.png")
    job = await changed(ledger, job, media_urls=urls)
    assert await ledger.records.made(urls[1]) == (job, 1)
    assert await ledger.records.made("https://a.example/3.png") is None
    assert await stranger.records.made(urls[1]) is None


async def test_the_last_balance_is_the_account_s_own(ledger: Ledger, stranger: Ledger) -> None:
    """As it was told last, and when."""
    assert await ledger.records.last_balance() is None
    for number in (2, 1):
        job = await added(ledger)
        balance = Balance(purchased=Decimal(number))
        await changed(ledger, job, balance=balance, accepted_at=NOW + number)
    await added(ledger)
    assert await ledger.records.last_balance() == (Balance(purchased=Decimal(1)), NOW + 1)
    assert await stranger.records.last_balance() is None
