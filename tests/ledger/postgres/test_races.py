"""What only many replicas can get wrong: each is refused, forgotten or paid twice the naive way."""

import asyncio
from collections import Counter
from collections.abc import Mapping
from typing import Any

import anyio
import psycopg
import pytest
from support.calls import NOW, added, changed, intent
from support.engines import PostgresPlace

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.postgres import database as databases
from meigen_mcp.ledger.postgres.lease import LEASE, Lease
from meigen_mcp.ledger.postgres.ledger import PostgresLedger
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.queue import Kind, Wanted
from meigen_mcp.ledger.records import TakenOver

WANTED: Mapping[Kind, Wanted] = {"post": Wanted(("queued", "submitting", "unknown"), 99)}


def die(place: PostgresPlace, ledger: PostgresLedger, left: float = -1.0) -> None:
    """Let a replica's lease end in so many seconds, as if it were not heard of any more."""
    owner = ledger.queue._database.lease.owner  # noqa: SLF001  # it is stopped, not asked
    place.execute(
        f"UPDATE meigen.owners SET lease_until = clock_timestamp() + interval '{left} seconds'"  # noqa: S608  # ours
        f" WHERE id = '{owner}'"
    )


async def test_no_version_is_missed_whoever_commits_late(
    place: PostgresPlace, ledger: PostgresLedger
) -> None:
    """Six writers, each of which dawdles between its change and its end."""
    jobs = [await added(ledger, intent(str(number))) for number in range(6)]
    since = await ledger.changes.version()
    heard: list[int] = []

    async def write(job: Generation, dawdle: float) -> None:
        async with await psycopg.AsyncConnection.connect(place.direct_url) as db:
            for _ in range(15):
                async with db.transaction():
                    await db.execute(
                        "UPDATE meigen.generations SET version = meigen.tick()"
                        " WHERE request_id = %s",
                        (job.request_id,),
                    )
                    await asyncio.sleep(dawdle)

    async def listen() -> None:
        async for changed_ones in ledger.changes.changes(since):
            heard.extend(job.version for job in changed_ones)

    async with anyio.create_task_group() as group:
        group.start_soon(ledger.run)
        group.start_soon(listen)
        async with anyio.create_task_group() as writers:
            for number, job in enumerate(jobs):
                writers.start_soon(write, job, 0.004 * (number % 3))
        with anyio.fail_after(20):
            while not heard or heard[-1] < await ledger.changes.version():  # noqa: ASYNC110  # as above
                await anyio.sleep(0.01)
        group.cancel_scope.cancel()
    assert heard == sorted(set(heard))
    newest = {job.version for _, job in await ledger.records.newest(9)}
    assert newest <= set(heard)
    told = place.execute("SELECT max(version), count(DISTINCT version) FROM meigen.generations")
    assert told == [(since + 90, 6)]


async def test_what_a_dead_replica_left_is_shared_and_each_is_one_s(place: PostgresPlace) -> None:
    """Three take over at once: nothing is left, and nothing is two's."""
    dying, *heirs = [place.open() for _ in range(4)]
    for number in range(24):
        await added(dying, intent(str(number)))
    for heir in heirs:
        await heir.open()
    die(place, dying)
    async with anyio.create_task_group() as group:
        for heir in heirs:
            group.start_soon(heir.queue.reclaim, NOW)
    held = [await heir.queue.due(NOW, WANTED) for heir in (*heirs, dying)]
    taken = Counter(job.prompt for due in held for _, job in due.jobs)
    assert taken == {str(number): 1 for number in range(24)}
    assert not held[-1].jobs


async def test_who_lost_its_lease_may_not_send_nor_say_what_became_of_it(
    place: PostgresPlace, ledger: PostgresLedger, other: PostgresLedger
) -> None:
    """What it had read, begun and heard is void: another one goes on with it."""
    read, begun = await added(ledger), await added(ledger)
    slot = await ledger.queue.begin_post(begun, NOW, NOW + 130.0)
    assert slot is not None
    die(place, ledger)
    await other.queue.reclaim(NOW)
    with pytest.raises(TakenOver):
        await ledger.queue.begin_post(read, NOW, NOW + 130.0)
    with pytest.raises(TakenOver):
        await ledger.queue.end_post(slot, lambda job: job, NOW)
    with pytest.raises(TakenOver):
        await ledger.records.change(read, lambda job: job, by_owner=True)
    assert {job.request_id for _, job in (await other.queue.due(NOW, WANTED)).jobs} == {
        read.request_id,
        begun.request_id,
    }


async def test_a_lease_that_ended_is_never_revived(
    place: PostgresPlace, ledger: PostgresLedger, other: PostgresLedger
) -> None:
    """The replica goes on under another name, and what it takes in then is its own again."""
    job = await added(ledger)
    lease = ledger.queue._database.lease  # noqa: SLF001  # whose beat is not waited for
    before = lease.owner
    die(place, ledger)
    await other.open()
    await other.queue.reclaim(NOW)
    await ledger.queue._database.read(lease.renew)  # noqa: SLF001
    assert lease.owner != before
    assert lease.held
    assert not (await ledger.queue.due(NOW, WANTED)).jobs
    mine = await added(ledger)
    assert [found.request_id for _, found in (await ledger.queue.due(NOW, WANTED)).jobs] == [
        mine.request_id
    ]
    found = await ledger.records.get(job.request_id)
    assert found is not None
    assert found.owner == other.queue._database.lease.owner  # noqa: SLF001


async def test_a_lease_is_over_here_before_it_is_over_there(ledger: PostgresLedger) -> None:
    """By a clock that goes on in the machine's sleep, from before the renewal was asked for."""
    now = [100.0]
    lease = Lease(elapsed=lambda: now[0], wall=lambda: 5.0)
    assert (lease.held, lease.clock()) == (False, 5.0)

    async def slowly(db: Connection) -> None:
        await lease.begin(db)
        now[0] += 4.0

    await ledger.queue._database.read(slowly)  # noqa: SLF001
    now[0] = 100.0 + LEASE - 0.3
    assert lease.held
    now[0] += 0.2
    assert not lease.held


async def test_all_replicas_go_by_the_clock_of_the_database(
    place: PostgresPlace, ledger: PostgresLedger
) -> None:
    """However wrong that of a machine is."""
    await ledger.open()
    wrong = Lease(wall=lambda: 5.0)
    await ledger.queue._database.read(wrong.begin)  # noqa: SLF001
    ((there,),) = place.execute("SELECT extract(epoch FROM clock_timestamp())::float8")
    assert abs(wrong.clock() - there) < 2
    assert abs(ledger.clock() - wrong.clock()) < 2


async def test_a_call_that_a_killed_replica_left_is_adopted_at_once(
    place: PostgresPlace, ledger: PostgresLedger, other: PostgresLedger
) -> None:
    """Its client repeats it before the lease has ended; while it lives, two calls are two."""
    job = await added(ledger)
    await other.open()
    assert (await other.calls.open_call(intent(), None)).repeated is None
    die(place, ledger, 7.0)
    opening = await other.calls.open_call(intent(), None)
    assert (opening.repeated and opening.repeated.request_id, opening.adopted) == (
        job.request_id,
        True,
    )
    assert (await other.calls.open_call(intent(), None)).repeated is None


async def test_a_replica_that_hangs_in_the_middle_holds_nobody_up_for_long(
    place: PostgresPlace, ledger: PostgresLedger
) -> None:
    """It has the lock under which credits are reserved: its transaction is ended for it."""
    await ledger.open()
    stuck = await psycopg.AsyncConnection.connect(place.direct_url, autocommit=True)
    try:
        await stuck.execute(
            databases.BEGIN.replace(b"session_timeout = 3000", b"session_timeout = 300")
        )
        await stuck.execute("SELECT FROM meigen.teams FOR UPDATE")
        await ledger.calls.add(intent(), Terms())
        with pytest.raises(psycopg.errors.IdleInTransactionSessionTimeout):
            await stuck.execute("COMMIT")
    finally:
        stuck.pgconn.finish()


async def test_a_thousand_queued_ones_are_no_burden_to_a_turn(ledger: PostgresLedger) -> None:
    """Whatever asks for what is due goes by an index, and so does what counts a day."""
    plans: dict[str, Any] = {}

    async def explain(db: Connection) -> None:
        await db.execute(b"SET enable_seqscan = off")
        for name, statement in (
            ("due", "SELECT min(next_look) FROM meigen.generations WHERE owner = '1'"
             " AND next_look > 0 AND account = ''"),
            ("spent", "SELECT sum(millicredits) FROM meigen.generations WHERE created_at > 1"),
            ("changes", "SELECT * FROM meigen.generations WHERE version > 1 ORDER BY version"),
        ):  # fmt: skip
            found = await db.execute(f"EXPLAIN (FORMAT JSON) {statement}".encode())
            plans[name] = str(await found.fetchone())
        await db.execute(b"RESET enable_seqscan")

    await ledger.queue._database.read(explain)  # noqa: SLF001
    used = {"due": "by_next", "spent": "by_time", "changes": "by_version"}
    assert {name: name_ in plans[name] for name, name_ in used.items()} == dict.fromkeys(used, True)


async def test_a_nul_in_a_prompt_is_kept(ledger: PostgresLedger) -> None:
    """PostgreSQL has none in its texts."""
    job = await added(ledger, intent("a\0b\x1a0c"))
    assert await ledger.records.get(job.request_id) == job
    assert job.prompt == "a\0b\x1a0c"
    assert await ledger.records.get("a\0b") is None
    assert (await changed(ledger, job, failures=1)).prompt == job.prompt
