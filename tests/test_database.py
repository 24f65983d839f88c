"""The file under the ledger: formats, damage, a full disk, transactions; and records as rows."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from dataclasses import MISSING, fields, replace
from decimal import Decimal
from pathlib import Path
from threading import Barrier
from types import MappingProxyType
from typing import Any

import anyio
import pytest

from meigen_mcp import rows
from meigen_mcp.database import FORMAT, Database
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Balance, Fault, Generation, posting
from meigen_mcp.ledger import Ledger
from meigen_mcp.pricing import Quote
from meigen_mcp.system import Lock

posix = pytest.mark.skipif(os.name == "nt", reason="modes and limits of POSIX")
NOTHING = "Nothing was sent or charged."


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data folder that is not there yet."""
    return tmp_path / "data"


@contextmanager
def opened(folder: Path) -> Iterator[Database]:
    """Open a database for a while."""
    with closing(Database(folder)) as database:
        yield database


def note(database: Database, value: str) -> None:
    """Write something small."""
    with database.writing() as db:
        db.execute("REPLACE INTO notes VALUES ('note', ?)", (value,))


def noted(database: Database) -> str | None:
    """Read it."""
    with database.reading() as db:
        row = db.execute("SELECT value FROM notes WHERE name = 'note'").fetchone()
    return None if row is None else str(row[0])


def refusal(database: Database) -> str:
    """Return why neither reading nor writing is possible."""
    with pytest.raises(LedgerUnavailable) as reading, database.reading():
        pass
    with pytest.raises(LedgerUnavailable) as writing, database.writing():
        pass
    assert writing.value.message == reading.value.message
    return reading.value.message


# --- opening ----------------------------------------------------------------------------------


def test_nothing_is_made_before_it_is_used(folder: Path) -> None:
    """A server with a broken data folder still starts."""
    with opened(folder):
        assert not folder.exists()


def test_opening_makes_the_format_with_everything_safe_on_disk(folder: Path) -> None:
    """A commit is on the disk before it returns by default, and others can read meanwhile."""
    with opened(folder) as database, database.reading() as db:
        found = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "journal_mode", "synchronous")
        }
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE sql <> ''")}
    assert found == {"user_version": FORMAT, "journal_mode": "wal", "synchronous": 2}
    assert {"generations", "posts", "offers", "notes", "clock"} <= tables


def test_the_columns_are_the_fields_of_a_record(folder: Path) -> None:
    """A field cannot be forgotten."""
    with opened(folder) as database, database.reading() as db:
        columns = {row["name"] for row in db.execute("PRAGMA table_info(generations)")}
    assert columns == {*rows.FIELDS, "id", "fingerprint", "millicredits"}


@posix
def test_all_files_are_for_the_user_alone(folder: Path) -> None:
    """The log and the index beside the file as well."""
    before = os.umask(0)
    try:
        with opened(folder) as database:
            note(database, "x")
            database.secret()
            modes = {
                path.name: stat.S_IMODE(path.stat().st_mode)
                for path in (folder, *folder.iterdir(), *(folder / "owners").iterdir())
            }
    finally:
        os.umask(before)
    assert modes == {
        "data": 0o700,
        "ledger.sqlite3": 0o600,
        "ledger.sqlite3-wal": 0o600,
        "ledger.sqlite3-shm": 0o600,
        "account.key": 0o600,
        "owners": 0o700,
        f"{database.owner}.lock": 0o600,
    }


def test_a_secret_outlives_its_process(folder: Path) -> None:
    """Every process hashes the account under the same key."""
    with opened(folder) as first, opened(folder) as second:
        assert first.secret() == second.secret() == (folder / "account.key").read_bytes()


def test_an_owner_is_alive_until_it_closes(folder: Path) -> None:
    """What holds its lock is alive; whoever asks about the dead holds it meanwhile."""
    with opened(folder) as first, opened(folder) as second:
        note(first, "x")
        note(second, "y")
        alive = second.dead(first.owner)
        first.close()
        dead = second.dead(first.owner)
    assert (alive, isinstance(dead, Lock)) == (None, True)
    assert dead is not None
    dead.release()
    assert list((folder / "owners").iterdir()) == []


def test_an_empty_file_is_a_new_ledger(folder: Path) -> None:
    """A process died right after it had made it."""
    folder.mkdir()
    (folder / "ledger.sqlite3").touch()
    with opened(folder) as database:
        note(database, "x")
        assert noted(database) == "x"


def test_a_closed_ledger_opens_again(folder: Path) -> None:
    """With everything in it."""
    with opened(folder) as database:
        note(database, "x")
        database.close()
        assert noted(database) == "x"


# --- files that are not ours ------------------------------------------------------------------


def contents(folder: Path) -> dict[str, bytes]:
    """Return all files in a folder, apart from the index that even a reader makes."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.is_file() and not path.name.endswith("-shm")
    }


@pytest.mark.parametrize("journal", ["delete", "wal"])
def test_a_newer_ledger_is_left_as_it_is(journal: str, folder: Path) -> None:
    """The refusal names the version that is needed."""
    folder.mkdir()
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as db:
        db.execute(f"PRAGMA journal_mode={journal}")
        db.execute(f"PRAGMA user_version={FORMAT + 1}")
        db.execute("CREATE TABLE better (than INTEGER)")
    before = contents(folder)
    with opened(folder) as database:
        message = refusal(database)
    assert message == (
        f"The ledger in {folder} was written by a newer meigen-mcp (format {FORMAT + 1};"
        f" this one reads {FORMAT}). Update meigen-mcp. {NOTHING}"
    )
    assert contents(folder) == before


def scrambled(whole: bytes) -> bytes:
    """Return a ledger whose head is right and whose rest is not."""
    return whole[:100] + b"\xff" * (len(whole) - 100)


@pytest.mark.parametrize(
    "damage",
    [lambda _: b"not a database" * 100, lambda whole: b"\0" * len(whole), scrambled],
    ids=["other", "zeros", "scrambled"],
)
def test_a_damaged_ledger_is_left_as_it_is(damage: Callable[[bytes], bytes], folder: Path) -> None:
    """The refusal names the command that mends it."""
    with opened(folder) as database:
        note(database, "x")
    file = folder / "ledger.sqlite3"
    file.write_bytes(damage(file.read_bytes()))
    before = contents(folder)
    with opened(folder) as database:
        message = refusal(database)
    assert message == (
        f"The ledger in {folder} is damaged. Run `meigen-mcp doctor --reset-ledger`, which keeps a"
        f" copy. {NOTHING}"
    )
    assert contents(folder) == before


# --- folders and disks that do not work -------------------------------------------------------


def _folder_is_a_file(folder: Path) -> Path:
    folder.write_text("in the way")
    return folder


def _file_is_a_folder(folder: Path) -> Path:
    (folder / "ledger.sqlite3").mkdir(parents=True)
    return folder / "ledger.sqlite3"


def _owners_is_a_file(folder: Path) -> Path:
    folder.mkdir()
    (folder / "owners").write_text("in the way")
    return folder / "owners"


@pytest.mark.parametrize("obstacle", [_folder_is_a_file, _file_is_a_folder, _owners_is_a_file])
def test_a_path_that_is_something_else_is_named_and_works_when_it_is_mended(
    obstacle: Callable[[Path], Path], folder: Path
) -> None:
    """Without a restart."""
    in_the_way = obstacle(folder)
    with opened(folder) as database:
        message = refusal(database)
        in_the_way.rename(folder.parent / "moved")
        note(database, "x")
        assert noted(database) == "x"
    assert (str(folder) in message, message.endswith(NOTHING)) == (True, True)


def test_a_secret_that_cannot_be_had_is_explained(folder: Path) -> None:
    """As everything else in the folder."""
    (folder / "account.key").mkdir(parents=True)
    with opened(folder) as database, pytest.raises(LedgerUnavailable) as raised:
        database.secret()
    assert raised.value.message == (
        f"The data folder {folder} cannot be used. Check that it may be written, or set"
        f" MEIGEN_DATA_DIR to another folder. {NOTHING}"
    )


@contextmanager
def read_only(folder: Path) -> Iterator[None]:
    """Take the right to write away; root has to become somebody else for that."""
    mode, root = stat.S_IMODE(folder.stat().st_mode), os.geteuid() == 0
    folder.chmod(0o555)
    if root:
        os.seteuid(65534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        folder.chmod(mode)


@posix
def test_a_read_only_folder_is_named_and_works_when_it_is_mended() -> None:
    """Without a restart."""
    with tempfile.TemporaryDirectory() as name, opened(Path(name)) as database:
        with read_only(Path(name)):
            message = refusal(database)
        note(database, "x")
        found = noted(database)
    assert (message, found) == (
        f"The data folder {name} cannot be used. Check that it may be written, or set"
        f" MEIGEN_DATA_DIR to another folder. {NOTHING}",
        "x",
    )


def test_a_full_disk_is_told_before_anything_moves_and_works_when_there_is_room(
    folder: Path,
) -> None:
    """What was there stays, what did not fit is not half there."""
    with opened(folder) as database:
        note(database, "before")
        with database.reading() as db:
            pages = db.execute("PRAGMA page_count").fetchone()[0]
            db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LedgerUnavailable) as raised:
            note(database, "x" * 100_000)
        kept = noted(database)
        with database.reading() as db:
            db.execute("PRAGMA max_page_count=100000")
        note(database, "after")
        assert (kept, noted(database)) == ("before", "after")
    assert raised.value.message == (
        f"The ledger in {folder} cannot be written. Check that its disk has room and is not"
        f" read-only. {NOTHING}"
    )


LIMITED = """
import resource, sys
from pathlib import Path
from meigen_mcp.database import Database
from meigen_mcp.errors import LedgerUnavailable

database = Database(Path(sys.argv[1]))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in (1000, 10**6):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with database.writing() as db:
            db.execute("REPLACE INTO notes VALUES ('note', 'kept')")
        print("written")
    except LedgerUnavailable as error:
        print(error.message)
database.close()
"""


@posix
def test_a_disk_that_is_full_from_the_start_is_told_too(folder: Path) -> None:
    """Not even the tables fit; with room, they do."""
    run = subprocess.run(
        [sys.executable, "-c", LIMITED, str(folder)], capture_output=True, text=True, check=True
    )
    assert run.stdout.splitlines() == [
        f"The ledger in {folder} cannot be written. Check that its disk has room and is not"
        f" read-only. {NOTHING}",
        "written",
    ]
    with opened(folder) as database:
        assert noted(database) == "kept"


def test_a_ledger_that_another_process_keeps_busy_is_told(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After the time that SQLite waits, here none."""
    really = sqlite3.connect
    monkeypatch.setattr(
        sqlite3, "connect", lambda path, **options: really(path, **options | {"timeout": 0})
    )
    with opened(folder) as first, opened(folder) as second:
        note(first, "x")
        note(second, "y")
        with first.writing(), pytest.raises(LedgerUnavailable) as raised:
            note(second, "z")
        assert noted(second) == "y"
    assert raised.value.message == (
        f"The ledger in {folder} is kept busy by another process. Call again. {NOTHING}"
    )


# --- transactions -----------------------------------------------------------------------------


def test_two_connections_see_each_other(folder: Path) -> None:
    """What one commits, the other reads at once."""
    with opened(folder) as first, opened(folder) as second:
        note(first, "x")
        seen = noted(second)
        note(second, "y")
        assert (seen, noted(first)) == ("x", "y")


def test_many_at_once_make_one_ledger(folder: Path) -> None:
    """All chat clients may start their servers in the same moment."""
    start = Barrier(12)

    def join(number: int) -> None:
        start.wait()
        with opened(folder) as database, database.writing() as db:
            db.execute("INSERT INTO notes VALUES (?, '')", (f"{number:02}",))

    with ThreadPoolExecutor(12) as threads:
        list(threads.map(join, range(12)))
    with opened(folder) as database, database.reading() as db:
        found = [row[0] for row in db.execute("SELECT name FROM notes ORDER BY name")]
    assert found == [f"{number:02}" for number in range(12)]


def test_nobody_sees_half_a_transaction(folder: Path) -> None:
    """Nor waits for the end of it to read."""
    with opened(folder) as first, opened(folder) as second:
        note(first, "x")
        with first.writing() as db:
            db.execute("UPDATE notes SET value = 'y'")
            during = noted(second)
        assert (during, noted(second)) == ("x", "y")


@pytest.mark.parametrize("error", [KeyError("x"), LedgerUnavailable("x"), KeyboardInterrupt()])
def test_a_transaction_that_fails_leaves_nothing(error: BaseException, folder: Path) -> None:
    """Its own error comes through, and the next transaction works."""
    with opened(folder) as database:
        note(database, "before")
        with pytest.raises(type(error)) as raised, database.writing() as db:  # noqa: PT012  # how
            db.execute("UPDATE notes SET value = 'during'")  # it fails is the point
            raise error
        kept = noted(database)
        note(database, "after")
        assert (raised.value, kept, noted(database)) == (error, "before", "after")


# --- rows -------------------------------------------------------------------------------------

EMPTY = Generation(
    request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    account="https://www.meigen.ai 0123456789abcdef",
    tool="generate_image",
    media_type="image",
    model_id="",
    prompt="",
    arguments={},
    body="",
    quote=Quote(None, "unknown", ""),
    created_at=0.0,
    expected_seconds=0.0,
)
FULL = Generation(
    request_id="7c9e6679-7425-40de-944b-e07fc1f90ae7",
    account="https://www.meigen.ai 0123456789abcdef",
    tool="generate_video",
    media_type="video",
    model_id="seedance-2-0",
    prompt='a "red" fox\n\0 🦊 \u2028',
    arguments={"prompt": "🦊", "duration": 5, "niji7Options": {"raw": True, "iw": 0.5}},
    body='{"prompt": "🦊"}',
    quote=Quote(Decimal("70.10"), "exact", "5 s at 14 credits/s"),
    created_at=1_790_000_000.125,
    expected_seconds=222.5,
    reserved=Decimal("70.10"),
    status="completed",
    next_look=1_790_000_001.5,
    generation_id="0c5c7fd0-a6a3-4450-a513-270e269e0d37",
    posted_at=1_790_000_000.25,
    accepted_at=1_790_000_000.5,
    finished_at=1_790_000_200.75,
    watched_until=1_790_000_040.0,
    failures=1,
    garbled=2,
    unobserved=True,
    parked=True,
    answered=True,
    abandoned=True,
    adopted=True,
    aspect_ratio="16:9",
    credits_used=Decimal("70.1"),
    credits_status="charged",
    balance=Balance(Decimal(0), Decimal("929.9"), unlimited=False),
    media_urls=("https://a.example/1.mp4", "https://a.example/2.mp4"),
    files=(None, "/home/a/Pictures/MeiGen/2.mp4"),
    fetch_failures=3,
    error=Fault("x", "It is “broken”.", "refunded", retryable=True, next="Ask."),
    preview="/home/a/previews/1.webp",
    made_from=("meigen://generations/1/media/0",),
    owner="0123456789abcdef",
    version=7,
)


def stored(job: Generation, folder: Path) -> Generation | None:
    """Write a record as a row and read it again."""
    with opened(folder) as database:
        with database.writing() as db:
            names = ("fingerprint", "millicredits", *rows.FIELDS)
            values = ["", rows.millicredits(job), *(getattr(job, name) for name in rows.FIELDS)]
            marks = ", ".join("?" * len(names))
            db.execute(
                f"INSERT INTO generations ({', '.join(names)}) VALUES ({marks})",  # noqa: S608  # ours
                [rows.write(value) for value in values],
            )
        return Ledger(database).get(job.account, job.request_id)


@pytest.mark.parametrize("job", [EMPTY, FULL], ids=["empty", "full"])
def test_a_record_is_the_same_after_the_disk(job: Generation, folder: Path) -> None:
    """With every field set and with every field empty, types included."""
    found = stored(job, folder)
    assert found == job
    assert repr(found) == repr(job)


def test_these_records_set_and_leave_out_everything() -> None:
    """A new field is added to both."""
    optional = [field.name for field in fields(Generation) if field.default is not MISSING]
    assert [name for name in optional if getattr(FULL, name) == getattr(EMPTY, name)] == []


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (Decimal("1.50"), "1.50"),
        (None, None),
        (True, True),
        (1.5, 1.5),
        ("ü", "ü"),
        ((), "[]"),
        (("ü", None), '["ü", null]'),
        ({"a": [1]}, '{"a": [1]}'),
        (MappingProxyType({"a": 1}), '{"a": 1}'),
        (Balance(Decimal(1)), '{"daily": "1", "purchased": null, "unlimited": null}'),
    ],
)
def test_a_field_is_written_so_that_people_can_read_it(value: Any, written: Any) -> None:
    """Amounts as exact text, the rest as JSON."""
    assert rows.write(value) == written


@pytest.mark.parametrize(
    ("amount", "thousandths"),
    [(None, 0), (Decimal(0), 0), (Decimal("0.001"), 1), (Decimal("70.1"), 70_100)],
)
def test_amounts_are_added_as_whole_numbers(amount: Decimal | None, thousandths: int) -> None:
    """In thousandths of a credit, up to what SQLite can add."""
    job = Generation(**{name: getattr(EMPTY, name) for name in rows.FIELDS} | {"reserved": amount})
    assert rows.millicredits(job) == thousandths


def test_a_save_keeps_all_that_may_change_and_nothing_else(folder: Path) -> None:
    """What was asked for stays as it was added; what calls write at any time stays as they did."""
    asked = ("tool", "prompt", "arguments", "body", "quote", "created_at", "reserved", "made_from")
    calls = ("request_id", "account", "watched_until", "answered", "abandoned", "adopted")
    stays = {name: getattr(EMPTY, name) for name in (*asked, *calls)}
    with opened(folder) as database:
        ledger = Ledger(database)
        added = ledger.add(EMPTY, None, adoptable=True)
        saved = ledger.save(replace(FULL, request_id=added.request_id, account=added.account))
        found = ledger.get(added.account, added.request_id)
    changed = replace(FULL, **stays | {"owner": added.owner})
    assert (found, saved.version) == (replace(changed, version=2), 2)


def test_an_intent_that_is_sent_at_the_last_moment_is_not_ended_as_unsent(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process may send it between the look and the end."""
    with opened(folder) as first, opened(folder) as second:
        mine, other = Ledger(first), Ledger(second)
        job = mine.add(replace(EMPTY, next_look=0.0), None, adoptable=True)
        begin = second.writing

        def just_after_a_post(**how: Any) -> Any:
            mine.save(posting(job, 3600.0))
            return begin(**how)

        monkeypatch.setattr(second, "writing", just_after_a_post)
        other.expire(1.0, 3601.0)
        found = mine.get(job.account, job.request_id)
    assert (found and found.status) == "submitting"


def test_an_intent_that_was_ended_as_unsent_is_not_sent(folder: Path) -> None:
    """Without its record on the disk nothing leaves."""
    with opened(folder) as first, opened(folder) as second:
        mine, other = Ledger(first), Ledger(second)
        job = mine.add(replace(EMPTY, next_look=0.0), None, adoptable=True)
        other.expire(1.0, 3601.0)
        with pytest.raises(LedgerUnavailable):
            mine.save(posting(job, 3600.0))


async def test_a_change_by_another_process_ends_the_waiting(folder: Path) -> None:
    """It is read again as soon as it is noticed, and not only when the time is over."""
    with opened(folder) as first, opened(folder) as second:
        mine, other = Ledger(first), Ledger(second)
        job = mine.add(EMPTY, None, adoptable=True)
        mine.notice()
        ended: list[Generation] = []

        async def waits() -> None:
            ended.append(await mine.wait(job, lambda j: j.terminal, until=float("inf")))

        with anyio.fail_after(10):
            async with anyio.create_task_group() as group:
                group.start_soon(waits)
                await anyio.wait_all_tasks_blocked()
                job = mine.save(replace(job, status="submitting"))
                await anyio.wait_all_tasks_blocked()
                done = other.save(replace(job, status="completed"))
                mine.notice()
        assert ended == [done]


async def test_whoever_waits_looks_once_for_each_change(folder: Path) -> None:
    """And sleeps in between."""
    with opened(folder) as database:
        ledger = Ledger(database)
        job = ledger.add(EMPTY, None, adoptable=True)
        seen: list[str] = []

        def done(job: Generation) -> bool:
            seen.append(job.status)
            return job.terminal

        async with anyio.create_task_group() as group:
            group.start_soon(ledger.wait, job, done, float("inf"))
            for status in ("submitting", "processing", "completed"):
                await anyio.wait_all_tasks_blocked()
                job = ledger.save(replace(job, status=status))
        assert seen == ["queued", "submitting", "processing", "completed"]


@pytest.mark.parametrize("version", range(1, FORMAT))
def test_a_ledger_of_an_older_format_is_kept_and_extended(version: int, folder: Path) -> None:
    """Its records go on, those of now have what it did not know, and what is due is found."""
    folder.mkdir()
    scripts = [Path(rows.__file__).parent / f"ledger-{n}.sql" for n in range(1, version + 1)]
    new = ("preview", "made_from") if version == 1 else ()
    known = [name for name in rows.FIELDS if name not in new]
    values = ["", 0, *(rows.write(getattr(FULL, name)) for name in known)]
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as db:
        for script in scripts:
            db.executescript(script.read_text("utf-8"))
        db.execute(f"PRAGMA user_version={version}")
        columns, marks = ", ".join(("fingerprint", "millicredits", *known)), "?, " * len(values)
        db.execute(f"INSERT INTO generations ({columns}) VALUES ({marks[:-2]})", values)  # noqa: S608  # ours
        db.commit()
    with opened(folder) as database:
        ledger = Ledger(database)
        found = ledger.get(FULL.account, FULL.request_id)
        assert ledger.agenda.due(FULL.account, 0.0, ("queued",), (), 1) == []
    assert found == (replace(FULL, preview=None, made_from=()) if new else FULL)
