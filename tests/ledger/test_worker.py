"""Where the ledger's statements run: in one thread, together, and never on the loop."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from pathlib import Path
from threading import Event, Thread
from typing import Any

import anyio
import anyio.lowlevel
import pytest
from support.calls import intent
from support.ledger_file import NAME
from support.ledgers import make_ledger

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.sqlite import worker as workers
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.ledger.sqlite.worker import Worker


@pytest.fixture
async def worker(tmp_path: Path) -> AsyncIterator[Worker]:
    """Return a worker whose file is open."""
    made = Worker(Database(tmp_path))
    await made.apart(lambda _: None)
    yield made
    await made.close()


async def test_a_file_is_not_closed_while_it_is_read(tmp_path: Path) -> None:
    """SQLite ends the whole process where a thread closes what another one reads."""
    database = Database(tmp_path)
    worker = Worker(database)
    await worker.apart(lambda _: None)
    closer = Thread(target=database.close)

    def query(db: sqlite3.Connection) -> list[Any]:
        closer.start()
        closer.join(0.2)  # it goes on as soon as this has ended
        return [closer.is_alive(), *db.execute("SELECT 1").fetchone()]

    assert await worker.read(query) == [True, 1]
    closer.join(10)
    assert not closer.is_alive()
    assert database.reader is None
    await worker.close()


def note(name: str, value: str = "x") -> Any:
    """Return a task that keeps something small."""
    return lambda db: db.execute("REPLACE INTO notes VALUES (?, ?)", (name, value)) and name


async def noted(worker: Worker) -> dict[str, str]:
    """Return what is kept, apart from the account's key."""
    query = "SELECT * FROM notes WHERE name <> 'key'"
    return dict(await worker.read(lambda db: db.execute(query).fetchall()))


@contextmanager
def locked(folder: Path) -> Iterator[sqlite3.Connection]:
    """Keep everybody else from writing, as another program may."""
    with closing(sqlite3.connect(folder / NAME, isolation_level=None)) as db:
        db.execute("BEGIN IMMEDIATE")
        yield db
        if db.in_transaction:
            db.execute("ROLLBACK")


@asynccontextmanager
async def thread_held(worker: Worker) -> AsyncIterator[Event]:
    """Keep the thread busy, so that what is asked for meanwhile waits together."""
    go = Event()
    async with anyio.create_task_group() as group:
        group.start_soon(worker.apart, lambda _: go.wait(60))
        await anyio.wait_all_tasks_blocked()
        try:
            yield go
        finally:
            go.set()


@contextmanager
def short_of_time(patch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let tasks be given up at once."""
    with patch.context() as short:
        short.setattr(workers, "BUSY_SECONDS", 0.0)
        short.setattr(workers, "_GRACE", 0.0)
        yield


# --- others hold the file -----------------------------------------------------------------------


async def test_the_loop_goes_on_while_others_hold_the_file(worker: Worker, tmp_path: Path) -> None:
    """Everything is read; what is to be written waits, and is written then."""
    async with anyio.create_task_group() as group:
        with locked(tmp_path):
            group.start_soon(worker.write, note("a"))
            await anyio.wait_all_tasks_blocked()
            for _ in range(3):
                assert await noted(worker) == {}
    assert await noted(worker) == {"a": "x"}


async def test_what_waits_too_long_for_the_file_is_given_up_and_never_done(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever asked is told, and can rely on it; what may wait goes on waiting."""
    async with anyio.create_task_group() as group:
        with locked(tmp_path), short_of_time(monkeypatch):
            monkeypatch.setattr(workers, "_GRACE", 60.0)

            async def patient() -> None:
                await worker.write(note("patient"), patient=True)

            group.start_soon(patient)
            with pytest.raises(LedgerUnavailable) as raised:
                await worker.write(note("a"))
    assert (raised.value.message, raised.value.unsure) == (
        f"The ledger in {tmp_path} is kept busy by another process. Call again.",
        False,
    )
    assert await noted(worker) == {"patient": "x"}


async def test_what_begins_while_the_file_is_held_waits_for_it_too(tmp_path: Path) -> None:
    """A server that starts just then opens it, and reads and writes once it can."""
    first = make_ledger(tmp_path)
    await first.calls.add(intent(), Terms())
    second = make_ledger(tmp_path)
    async with anyio.create_task_group() as group:
        with locked(tmp_path):
            assert len(await second.records.newest(9)) == 1
            group.start_soon(second.calls.add, intent(), Terms())
            await anyio.wait_all_tasks_blocked()
    assert len(await first.records.newest(9)) == 2
    for ledger in (first, second):
        await ledger.close()


async def test_a_reader_that_is_locked_out_asks_the_thread(worker: Worker) -> None:
    """Somebody has the file for themselves: it is waited for, and not on the loop."""
    await worker.write(note("a"))
    held: Any = sqlite3.OperationalError("database is locked")
    held.sqlite_errorname = "SQLITE_BUSY_RECOVERY"
    tries = 0

    def query(db: sqlite3.Connection) -> int:
        nonlocal tries
        tries += 1
        if tries < 3:
            raise held
        return int(db.execute("SELECT count(*) FROM notes WHERE name <> 'key'").fetchone()[0])

    assert (await worker.read(query), tries) == (1, 3)


# --- a disk that does not come back -------------------------------------------------------------


async def test_what_has_not_begun_on_a_stuck_disk_is_never_done(
    worker: Worker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So the answer that nothing was sent stays true when the disk comes back."""
    async with thread_held(worker):
        with short_of_time(monkeypatch), pytest.raises(LedgerUnavailable) as raised:
            await worker.write(note("a"))
    assert (raised.value.message, raised.value.unsure) == (
        f"The disk of the ledger in {tmp_path} does not answer. Check it, or set MEIGEN_DATA_DIR to"
        " a folder on a disk of this computer.",
        False,
    )
    assert await noted(worker) == {}


async def test_what_has_begun_on_a_stuck_disk_may_be_there(
    worker: Worker, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody can say that it is not."""
    begun, go = Event(), Event()

    def slow(db: sqlite3.Connection) -> None:
        note("a")(db)
        begun.set()
        go.wait(60)

    with short_of_time(monkeypatch):
        monkeypatch.setattr(workers, "_GRACE", 0.5)
        with pytest.raises(LedgerUnavailable) as raised:
            await worker.write(slow)
    assert (begun.is_set(), raised.value.unsure) == (True, True)
    go.set()
    await worker.apart(lambda _: None)
    assert await noted(worker) == {"a": "x"}


@pytest.mark.parametrize("how", ["held", "locked"])
async def test_a_thread_that_is_stuck_holds_no_end_up(
    how: str, worker: Worker, tmp_path: Path
) -> None:
    """A server ends in time, whatever its disk does."""
    go = Event()
    failed: list[str] = []

    async def write() -> None:
        try:
            await worker.write(note("a"), patient=True)
        except LedgerUnavailable as error:
            failed.append(error.what)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as group:
            with locked(tmp_path):
                if how == "held":
                    group.start_soon(worker.apart, lambda _: go.wait(60))
                else:
                    group.start_soon(write)
                await anyio.wait_all_tasks_blocked()
                await worker.close()
            group.cancel_scope.cancel()
    go.set()
    assert failed == (
        [] if how == "held" else [f"The ledger in {tmp_path} is kept busy by another process."]
    )


# --- sharing a transaction ----------------------------------------------------------------------


async def test_what_waits_together_shares_one_commit(worker: Worker) -> None:
    """So a slow disk is waited for once."""
    lines: list[str] = []
    await worker.apart(lambda db: db.set_trace_callback(lines.append))
    async with thread_held(worker) as go, anyio.create_task_group() as group:
        for number in range(20):
            group.start_soon(worker.write, note(str(number)))
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert [line for line in lines if line in ("BEGIN IMMEDIATE", "COMMIT")] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert len(await noted(worker)) == 20


async def test_nobody_is_told_before_it_is_safe(worker: Worker, tmp_path: Path) -> None:
    """Whoever is told reads it with another connection; one task wants the disk, so all get it."""
    lines: list[str] = []
    seen: list[tuple[str, int, int]] = []

    def told(name: str) -> None:
        with closing(sqlite3.connect(tmp_path / NAME)) as db:
            (count,) = db.execute("SELECT count(*) FROM notes WHERE name <> 'key'").fetchone()
        seen.append((name, count, lines.count("COMMIT")))

    await worker.apart(lambda db: db.set_trace_callback(lines.append))
    async with thread_held(worker) as go, anyio.create_task_group() as group:
        for name in ("a", "b"):

            async def write(name: str = name) -> None:
                await worker.write(note(name), durable=name == "b", then=told)

            group.start_soon(write)
            await anyio.wait_all_tasks_blocked()
        go.set()
    assert seen == [("a", 2, 1), ("b", 2, 1)]
    assert "PRAGMA synchronous=NORMAL" not in lines


async def test_what_need_not_be_on_the_disk_waits_for_none(worker: Worker) -> None:
    """And what must be is not done without, though it came while that began."""
    lines: list[str] = []
    await worker.apart(lambda db: db.set_trace_callback(lines.append))
    await worker.write(note("a"), durable=False)
    await worker.write(note("b"))
    kinds = ("PRAGMA synchronous=NORMAL", "PRAGMA synchronous=FULL", "COMMIT")
    assert [line for line in lines if line in kinds] == [
        "PRAGMA synchronous=NORMAL",
        "COMMIT",
        "PRAGMA synchronous=FULL",
        "COMMIT",
    ]


@pytest.mark.parametrize("error", [KeyError("x"), LedgerUnavailable("x"), KeyboardInterrupt()])
async def test_one_that_fails_undoes_only_itself(error: BaseException, worker: Worker) -> None:
    """Its own error comes through."""
    failed: list[BaseException] = []

    def breaks(db: sqlite3.Connection) -> None:
        note("b")(db)
        raise error

    async def write() -> None:
        try:
            await worker.write(breaks)
        except type(error) as raised:
            failed.append(raised)

    async with thread_held(worker) as go, anyio.create_task_group() as group:
        group.start_soon(worker.write, note("a"))
        group.start_soon(write)
        group.start_soon(worker.write, note("c"))
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert (failed, sorted(await noted(worker))) == ([error], ["a", "c"])


async def test_one_that_does_not_fit_on_the_disk_takes_no_other_with_it(
    worker: Worker, tmp_path: Path
) -> None:
    """SQLite ends the whole transaction then: the others are done again, each in its own."""
    failed: list[str] = []

    async def write() -> None:
        try:
            await worker.write(note("b", "x" * 10**6))
        except LedgerUnavailable as error:
            failed.append(error.message)

    def fill(db: sqlite3.Connection) -> None:
        (pages,) = db.execute("PRAGMA page_count").fetchone()
        db.execute(f"PRAGMA max_page_count={pages + 1}")

    await worker.apart(fill)
    async with thread_held(worker) as go, anyio.create_task_group() as group:
        group.start_soon(worker.write, note("a"))
        group.start_soon(write)
        group.start_soon(worker.write, note("c"))
        await anyio.wait_all_tasks_blocked()
        go.set()
    assert failed == [
        f"The ledger in {tmp_path} cannot be written. Check that its disk has room and is not"
        " read-only."
    ]
    assert sorted(await noted(worker)) == ["a", "c"]


async def test_whoever_goes_away_does_not_undo_what_they_asked_for(worker: Worker) -> None:
    """And whoever else is to be told is told."""
    told: list[str] = []
    async with anyio.create_task_group() as group, thread_held(worker):

        async def write() -> None:
            await worker.write(note("a"), then=told.append)

        group.start_soon(write)
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    await worker.apart(lambda _: None)
    assert (told, await noted(worker)) == (["a"], {"a": "x"})


# --- the write-ahead log ------------------------------------------------------------------------


async def test_the_log_is_copied_back_as_it_grows_and_does_not_stay_large(
    worker: Worker, tmp_path: Path
) -> None:
    """After a reader that held it up for long, too."""
    log = tmp_path / f"{NAME}-wal"
    await worker.write(note("small"))
    with closing(sqlite3.connect(tmp_path / NAME)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT * FROM notes").fetchall()
        for number in range(12):
            await worker.write(note("large", str(number) * 10**6))
        held = log.stat().st_size
        reader.execute("ROLLBACK")
    for number in range(12):
        await worker.write(note("large", str(number) * 10**6))
    assert held > 10 * 2**20
    assert log.stat().st_size < 6 * 2**20


# --- tests that hold the clock ------------------------------------------------------------------


async def test_without_a_thread_everything_is_done_where_it_is_asked_for(tmp_path: Path) -> None:
    """So a test that holds the clock sees the same each time."""
    ledger = make_ledger(tmp_path, threaded=False)
    done = False

    async def ask() -> None:
        nonlocal done
        await ledger.calls.add(intent(), Terms())
        await ledger.live_lists.keep({}, 1.0)
        await ledger.records.newest(9)
        done = True

    async with anyio.create_task_group() as group:
        group.start_soon(ask)
        await anyio.lowlevel.checkpoint()
        assert done
    await ledger.close()
