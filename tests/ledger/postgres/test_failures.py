"""A database that loses a reply, falls silent, is away or starts anew: what is said is true."""

import asyncio
import signal
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace

import anyio
import anyio.lowlevel
import pytest
from support.calls import NOW, added, changed, intent
from support.engines import PostgresPlace
from support.pg_proxy import Line
from support.postgres import PostgresServer, run_postgres

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.postgres import database as databases
from meigen_mcp.ledger.postgres.ledger import PostgresLedger
from meigen_mcp.ledger.postgres.rows import Connection

AWAY = r"^The database of MEIGEN_DATABASE_URL (does not answer|cannot be reached)\."


async def test_a_commit_whose_reply_is_lost_is_found_by_its_key(
    far: PostgresPlace, line: Line
) -> None:
    """It is there once, is told as made, and its poller hears of it."""
    ledger = far.open()
    await ledger.open()
    heard = ledger.queue.work.count
    line.lose = 1
    job = await added(ledger)
    assert line.lost == 1
    assert await ledger.records.get(job.request_id) == job
    assert [found for _, found in await ledger.records.newest(9)] == [job]
    assert ledger.queue.work.count > heard


async def test_an_adoption_whose_reply_is_lost_is_the_same_call_s(
    far: PostgresPlace, line: Line
) -> None:
    """Else its orphan would be nobody's, and the person would pay for another one."""
    ledger = far.open()
    orphan = await added(ledger)
    await ledger.calls.mark(orphan, answered=False)
    line.lose = 1
    opening = await ledger.calls.open_call(intent(), None)
    assert line.lost == 1
    assert (opening.repeated and opening.repeated.request_id, opening.adopted) == (
        orphan.request_id,
        True,
    )


async def test_a_post_whose_beginning_was_not_confirmed_begins_once(
    far: PostgresPlace, line: Line
) -> None:
    """With one slot, as the first one."""
    ledger = far.open()
    job = await added(ledger)
    line.lose = 1
    slot = await ledger.queue.begin_post(job, NOW, NOW + 130.0)
    assert line.lost == 1
    assert slot is not None
    assert (slot.first, slot.job.status) == (True, "submitting")
    assert far.execute("SELECT count(*) FROM meigen.posts") == [(1,)]


async def test_cancelled_calls_are_stored_and_cost_no_connection(
    far: PostgresPlace, line: Line
) -> None:
    """Four hundred and fifty that go away in the middle: each is there, as a repetition finds."""
    ledger = far.open()
    await ledger.open()
    jobs = [intent() for _ in range(450)]

    async def call(job: Generation, after: int) -> None:
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as group:
                group.start_soon(ledger.calls.add, job, Terms())
                for _ in range(after):
                    await anyio.lowlevel.checkpoint()
                scope.cancel()

    for first in range(0, 450, 45):
        async with anyio.create_task_group() as group:
            for number, job in enumerate(jobs[first : first + 45]):
                group.start_soon(call, job, 1 + number % 40)
        if running := ledger.queue._database._running:  # noqa: SLF001  # what was asked for
            await asyncio.wait(running)
    stored = far.execute("SELECT request_id FROM meigen.generations")
    assert Counter(row[0] for row in stored) == {job.request_id: 1 for job in jobs}
    assert line.opened <= databases.CONNECTIONS


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> pytest.MonkeyPatch:
    """Wait for less than a person would, until that is undone."""
    for name, seconds in (("ANSWER_WITHIN", 0.3), ("GRACE", 0.2), ("SILENT_AFTER", 0.4)):
        monkeypatch.setattr(databases, name, seconds)
    return monkeypatch


async def test_what_was_given_up_on_a_silent_database_is_not_done(
    far: PostgresPlace, line: Line, quick: pytest.MonkeyPatch
) -> None:
    """Its caller was told so; and nothing hangs."""
    quick.setattr(databases, "SILENT_AFTER", 60.0)  # it would be done as soon as the line speaks
    ledger = far.open()
    await added(ledger)
    line.fall_silent()
    job = intent()
    with anyio.fail_after(20):
        for ask in (ledger.calls.add(job, Terms()), ledger.records.newest(9)):
            with pytest.raises(LedgerUnavailable, match=AWAY) as told:
                await ask
            assert not told.value.unsure
    quick.undo()
    line.speak()
    with anyio.fail_after(30):
        await asyncio.wait(ledger.queue._database._running)  # noqa: SLF001  # what was asked for
        assert len(await ledger.records.newest(9)) == 1
        assert (await added(ledger, job)).request_id == job.request_id


async def test_a_database_that_is_silent_at_the_end_keeps_no_connection(
    far: PostgresPlace, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However soon the end is; else each would be left to whoever runs next in this process."""
    ledger = far.open()
    await ledger.open()
    made = list(ledger.queue._database._made)  # noqa: SLF001  # the connections themselves
    monkeypatch.setattr(databases, "CLOSING", 0.0)
    line.fall_silent()
    with anyio.fail_after(20):
        await ledger.close()
    assert {db.closed for db in made} == {True}


async def test_silence_behind_a_commit_is_said_to_be_unsure(
    far: PostgresPlace, line: Line, quick: pytest.MonkeyPatch
) -> None:
    """The same id finds out."""
    ledger = far.open()
    await ledger.open()
    job = intent()
    line.hush = True
    with anyio.fail_after(20), pytest.raises(LedgerUnavailable) as told:
        await ledger.calls.add(job, Terms())
    assert told.value.unsure
    quick.undo()
    line.speak()
    with anyio.fail_after(30):
        assert await added(ledger, job) == await ledger.records.get(job.request_id)


async def test_what_a_silent_server_holds_up_is_taken_down(
    far: PostgresPlace, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A reply in hand is written as soon as another connection answers."""
    monkeypatch.setattr(databases, "SILENT_AFTER", 0.3)
    ledger = far.open()
    job = await added(ledger)
    line.fall_silent()
    async with anyio.create_task_group() as group:
        with anyio.fail_after(30):
            group.start_soon(changed, ledger, job)
            await anyio.sleep(0.6)
            line.speak()
            done = await ledger.records.change(
                job, lambda fresh: replace(fresh, failures=1), patient=True
            )
    assert done.failures == 1


@pytest.fixture(scope="module")
def own_server() -> Iterator[PostgresServer]:
    """Return a server that others do not miss."""
    with run_postgres() as server:
        yield server


@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGQUIT])
async def test_a_restart_loses_nothing_that_was_told(
    own_server: PostgresServer, how: signal.Signals
) -> None:
    """Neither an orderly one nor a crash; what was not told to be there is found by its id."""
    place = PostgresPlace(own_server)
    ledger, other = place.open(), place.open()
    job = await added(ledger)
    told: list[Generation] = []
    unsure: list[Generation] = []

    async def call(by: PostgresLedger) -> None:
        for _ in range(40):
            one = intent()
            try:
                told.append(await added(by, one))
            except LedgerUnavailable:
                unsure.append(one)

    async with anyio.create_task_group() as group:
        group.start_soon(ledger.run)
        async with anyio.create_task_group() as calls:
            calls.start_soon(call, ledger)
            calls.start_soon(call, other)
            while len(told) < 9:  # noqa: ASYNC110  # what it counts are answers
                await anyio.sleep(0.01)
            own_server.end(how)
            own_server.start()
        followed = await ledger.changes.follow(job, NOW)
        await changed(other, job, status="completed")
        with anyio.fail_after(20):
            while followed.job.status != "completed":
                await followed.change()
        group.cancel_scope.cancel()
    stored = {row[0] for row in place.execute("SELECT request_id FROM meigen.generations")}
    assert stored >= {one.request_id for one in told}
    assert len(told) == 80, unsure  # it was back before anybody's time was over
    await place.close()


async def test_a_database_that_is_away_is_said_to_be_away(
    own_server: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was begun, so nothing is unsure; and it is taken up again as soon as it is back."""
    place = PostgresPlace(own_server)
    ledger, late = place.open(), place.open()
    await added(ledger)
    own_server.end()
    monkeypatch.setattr(databases, "ANSWER_WITHIN", 0.3)
    for replica in (ledger, late):
        with pytest.raises(LedgerUnavailable, match=AWAY) as told:
            await replica.calls.add(intent(), Terms())
        assert not told.value.unsure
    own_server.start()
    monkeypatch.undo()
    for replica in (ledger, late):
        await added(replica)
    assert len(await ledger.records.newest(9)) == 3
    await place.close()


async def test_who_is_not_let_in_is_told_so(place: PostgresPlace) -> None:
    """At once, since trying again is of no use; and the address is told to nobody."""
    wrong = PostgresLedger(
        place.url.replace("postgres@", "nobody-here:hush@"),
        place.url.replace("postgres@", "nobody-here:hush@"),
        origin="https://www.meigen.ai",
        gateway="https://gen.meigen.ai",
        rate_limit=12,
        name_account=lambda _: "",
    )
    with pytest.raises(LedgerUnavailable) as told:
        await wrong.open()
    assert told.value.message == (
        "The server of MEIGEN_DATABASE_URL does not let this one in."
        " Check the user, the password and the name of the database in it."
    )
    await wrong.close()


async def test_who_listens_to_a_silent_database_gives_its_line_up(
    postgres: PostgresServer, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Cancelled in the middle, it closes it; else it would be left to whoever runs next."""
    monkeypatch.setattr(databases, "SILENT_AFTER", 0.3)
    place = PostgresPlace(postgres)
    database = databases.Database(place.url, line.url(place.direct_url), lambda _: "")
    await database.open()
    held: list[Connection] = []

    async def listen() -> None:
        async with database.line() as db:
            held.append(db)
            with database.watched(db):
                line.fall_silent()
                await db.execute(b"LISTEN meigen_changes")

    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            group.start_soon(listen)
            while not held:  # noqa: ASYNC110  # nothing tells of it
                await anyio.sleep(0.01)
            group.cancel_scope.cancel()
    assert held[0].closed
    line.speak()
    await database.close()
    await place.close()
