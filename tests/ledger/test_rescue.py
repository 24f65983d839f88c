"""A ledger that is removed or replaced while it is open: no money moves unseen, nothing is lost."""

import os
import shutil
import sqlite3
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from support.ledger_file import NAME, execute
from support.records import EMPTY
from support.workbench import Workbench, workbench

from meigen_mcp.errors import LedgerUnavailable, OverCap
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.sqlite.ledger import SqliteLedger

CALL: dict[str, Any] = {"modelId": "nanobanana-2", "wait": 0}
needs_posix = pytest.mark.skipif(os.name == "nt", reason="an open file stays there on Windows")
pytestmark = needs_posix


def _remove_folder(data: Path) -> None:
    shutil.rmtree(data)


def _remove_file(data: Path) -> None:
    for path in data.glob(f"{NAME}*"):
        path.unlink()


def _replace_by_an_empty_one(data: Path) -> None:
    _remove_file(data)
    (data / NAME).touch()


def _replace_by_a_broken_one(data: Path) -> None:
    _remove_file(data)
    (data / NAME).write_bytes(b"no ledger at all" * 999)


def _overwrite(data: Path, content: bytes) -> None:
    """Write into the file that is there, as `cp` does."""
    (data / NAME).write_bytes(content)


def _overwrite_by_another_one(data: Path) -> None:
    other = data.parent / "other"
    execute(data, f"VACUUM INTO '{other}'")
    with closing(sqlite3.connect(other)) as db, db:
        db.execute("DELETE FROM generations")
        db.execute("UPDATE clock SET version = 0")
    _overwrite(data, other.read_bytes())


def _overwrite_by_a_copy_that_was_written_anew(data: Path) -> None:
    """One of just now, which lacks but the newest; its pages are in other places."""
    other = data.parent / "other"
    execute(data, f"VACUUM INTO '{other}'")
    with closing(sqlite3.connect(other)) as db, db:
        db.execute("DELETE FROM generations")
    _overwrite(data, other.read_bytes())


def _overwrite_by_nonsense(data: Path) -> None:
    _overwrite(data, b"no ledger at all" * 999)


def _empty(data: Path) -> None:
    os.truncate(data / NAME, 0)


def _remove_the_log(data: Path) -> None:
    (data / f"{NAME}-wal").unlink()


LOSSES = [_remove_folder, _remove_file, _replace_by_an_empty_one]
IN_PLACE = [
    _overwrite_by_another_one,
    _overwrite_by_a_copy_that_was_written_anew,
    _empty,
    _remove_the_log,
]
BROKEN = [_replace_by_a_broken_one, _overwrite_by_nonsense]
Loss = Callable[[Path], None]


async def _paid(on: Workbench) -> Generation:
    job = (await on.generate(**CALL)).job
    assert job.status == "processing"
    return job


async def _looked(on: Workbench, times: int) -> None:
    """Let the poller look what became of the file, so many times."""
    for _ in range(times):
        on.clock.now += 3
        await on.turn()


@pytest.mark.parametrize("lose", [*LOSSES, *IN_PLACE, *BROKEN])
async def test_nothing_is_spent_once_the_ledger_is_another_one(tmp_path: Path, lose: Loss) -> None:
    """The call is refused in words, uncharged; the job under way is finished all the same."""
    async with workbench(tmp_path) as on:
        job = await _paid(on)
        lose(tmp_path / "data")
        with pytest.raises(LedgerUnavailable, match="removed or replaced") as no:
            await on.generate(**CALL)
        await _looked(on, 2)
        ended = await on.settle(job)
    assert no.value.message.endswith("Nothing was sent or charged.")
    assert (no.value.charged, len(on.wire.posts())) == ("no", 1)
    assert (ended.status, on.charged) == ("completed", 5)


@pytest.mark.parametrize("lose", [*LOSSES, *IN_PLACE])
@pytest.mark.parametrize("stepped", [2, 1, 0])
async def test_the_next_server_knows_what_was_spent(
    tmp_path: Path, lose: Loss, stepped: int
) -> None:
    """Though the one before ended at once; its cap holds, and the paid job is finished."""
    async with workbench(tmp_path) as on:
        job = await _paid(on)
        lose(tmp_path / "data")
        await _looked(on, stepped)
    async with workbench(tmp_path, beside=on, MEIGEN_MAX_CREDITS_PER_DAY="5") as later:
        with pytest.raises(OverCap):
            await later.generate(**CALL)
        assert await later.spent() == Decimal(5)
        assert (await later.settle(job)).status == "completed"
    assert [path.name for path in (tmp_path / "data").glob("rescued-*")] == []


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_server_that_made_a_new_ledger_meanwhile_is_told(
    tmp_path: Path, lose: Loss
) -> None:
    """It sees the job at once, leaves it to its owner, and what it wrote itself stays."""
    async with workbench(tmp_path) as on:
        job = await _paid(on)
        lose(tmp_path / "data")
        async with workbench(tmp_path, beside=on) as other:
            own = await _paid(other)
            on.clock.now += 3
            await on.poller.step()
            await other.poller.step()
            seen = await other.ledger.records.get(job.request_id)
            assert seen is not None
            assert (await other.spent(), seen.owner) == (Decimal(10), job.owner)
            await on.settle(job)
            on.clock.now += 3
            await on.poller.step()
            told = await other.reread(job)
            await other.settle(own)
            await on.ledger.close()
            assert (await other.reread(own)).status == "completed"
            kept = execute(tmp_path / "data", "SELECT status FROM generations")
    assert told.status == "completed"
    assert kept == [("completed",), ("completed",)]


async def test_an_older_copy_learns_what_happened_since(tmp_path: Path) -> None:
    """What it knows as under way has ended; what it does not know is there again."""
    data = tmp_path / "data"
    async with workbench(tmp_path) as on:
        old = await _paid(on)
        execute(data, f"VACUUM INTO '{tmp_path / 'copy'}'")
        await on.settle(old)
        new = await _paid(on)
        _remove_file(data)
        shutil.move(tmp_path / "copy", data / NAME)
        on.clock.now += 3
        await on.poller.step()
        async with workbench(tmp_path, beside=on) as later:
            found = [(await later.reread(job)).status for job in (old, new)]
            assert (found, await later.spent()) == (["completed", "processing"], Decimal(10))


async def test_what_is_queued_ends_uncharged(tmp_path: Path) -> None:
    """It is never sent: who shares the credits could not see it."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        await _paid(on)
        queued = (await on.generate(**CALL)).job
        _remove_file(tmp_path / "data")
        ended = await on.settle(queued)
    assert ended.error is not None
    assert (queued.status, ended.error.code, ended.error.charged) == (
        "queued",
        "ledger_replaced",
        "no",
    )
    assert (len(on.wire.posts()), on.charged) == (1, 5)


async def test_where_there_is_no_place_jobs_are_finished_all_the_same(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """It is said once in the log."""
    data = tmp_path / "data"
    async with workbench(tmp_path) as on:
        job = await _paid(on)
        shutil.rmtree(data)
        data.write_text("a file in its place")
        ended = await on.settle(job)
        data.unlink()
    assert ended.status == "completed"
    assert len([line for line in caplog.messages if "cannot be used" in line]) == 1
    async with workbench(tmp_path, beside=on) as later:
        assert (await later.reread(job)).status == "completed"


# --- the key ------------------------------------------------------------------------------------


def _keyed(data: Path) -> SqliteLedger:
    return SqliteLedger(
        data, origin="", gateway="", rate_limit=9, name_account=bytes.hex, threaded=False
    )


async def _added(ledger: SqliteLedger) -> None:
    assert isinstance(await ledger.calls.add(replace(EMPTY, created_at=1.0), Terms()), Generation)


async def test_a_lost_key_loses_no_record(tmp_path: Path) -> None:
    """The ledger keeps it too, so the account's name stays as it was."""
    first = _keyed(tmp_path)
    await _added(first)
    await first.close()
    (tmp_path / "account.key").unlink()
    again = _keyed(tmp_path)
    assert await again.records.get(EMPTY.request_id) is not None
    await again.close()


async def test_records_are_carried_to_the_account_s_name_under_another_key(tmp_path: Path) -> None:
    """A new folder has a key of its own."""
    running = _keyed(tmp_path)
    await _added(running)
    shutil.rmtree(tmp_path)
    fresh = _keyed(tmp_path)
    await fresh.records.get("nothing")
    await running.close()
    assert await fresh.records.get(EMPTY.request_id) is not None
    await fresh.close()
