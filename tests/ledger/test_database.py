"""The SQLite file under the ledger: formats, damage, a full disk, transactions."""

import os
import sqlite3
import stat
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from uuid import UUID

import anyio
import pytest
from support.ledgers import make_ledger
from support.records import EMPTY

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.columns import FIELDS
from meigen_mcp.ledger.sqlite.database import FORMAT, Database
from meigen_mcp.system import Lock

posix = pytest.mark.skipif(os.name == "nt", reason="modes and limits of POSIX")


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
    with database.explained():
        db = database.begin(durable=True)
        try:
            db.execute("REPLACE INTO notes VALUES ('note', ?)", (value,))
            db.execute("COMMIT")
        finally:
            if db.in_transaction:
                db.execute("ROLLBACK")


def noted(database: Database) -> str | None:
    """Read it, as the event loop does."""
    database.open()
    assert database.reader is not None
    row = database.reader.execute("SELECT value FROM notes WHERE name = 'note'").fetchone()
    return None if row is None else str(row[0])


def refusal(database: Database) -> str:
    """Return why it cannot be opened."""
    with pytest.raises(LedgerUnavailable) as raised:
        database.open()
    assert (database.reader, raised.value.charged) == (None, "unknown")
    return raised.value.message


# --- opening ----------------------------------------------------------------------------------


def test_nothing_is_made_before_it_is_used(folder: Path) -> None:
    """A server with a broken data folder still starts."""
    with opened(folder):
        assert not folder.exists()


def test_opening_makes_the_format_with_everything_safe_on_disk(folder: Path) -> None:
    """A commit is on the disk before it returns by default, and others can read meanwhile."""
    with opened(folder) as database:
        db = database.open()
        found = {
            name: db.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("user_version", "journal_mode", "synchronous")
        }
        tables = {row[0] for row in db.execute("SELECT name FROM sqlite_master WHERE sql <> ''")}
    assert found == {"user_version": FORMAT, "journal_mode": "wal", "synchronous": 2}
    assert {"generations", "posts", "offers", "notes", "clock"} <= tables


def test_the_columns_are_the_fields_of_a_record(folder: Path) -> None:
    """A field cannot be forgotten."""
    with opened(folder) as database:
        table = database.open().execute("PRAGMA table_info(generations)")
        columns = {row["name"] for row in table}
    assert columns == {*FIELDS, "id", "fingerprint", "millicredits"}


@posix
def test_all_files_are_for_the_user_alone(folder: Path) -> None:
    """The log and the index beside the file as well."""
    before = os.umask(0)
    try:
        with opened(folder) as database:
            note(database, "x")
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
        first.open()
        second.open()
        assert first.account == second.account == (folder / "account.key").read_bytes().hex()


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
    """Return the files of the ledger, apart from the index that even a reader makes."""
    return {
        path.name: path.read_bytes()
        for path in folder.iterdir()
        if path.name.startswith("ledger") and not path.name.endswith("-shm")
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
        f" this one reads {FORMAT}). Update meigen-mcp."
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
        f" copy."
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
    assert str(folder) in message


def test_a_secret_that_cannot_be_had_is_explained(folder: Path) -> None:
    """As everything else in the folder."""
    (folder / "account.key").mkdir(parents=True)
    with opened(folder) as database:
        message = refusal(database)
    assert message == (
        f"The data folder {folder} cannot be used. Check that it may be written, or set"
        " MEIGEN_DATA_DIR to another folder."
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
        f" MEIGEN_DATA_DIR to another folder.",
        "x",
    )


def test_a_full_disk_is_told_before_anything_moves_and_works_when_there_is_room(
    folder: Path,
) -> None:
    """What was there stays, what did not fit is not half there."""
    with opened(folder) as database:
        note(database, "before")
        db = database.open()
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        db.execute(f"PRAGMA max_page_count={pages}")
        with pytest.raises(LedgerUnavailable) as raised:
            note(database, "x" * 100_000)
        kept = noted(database)
        db.execute("PRAGMA max_page_count=100000")
        note(database, "after")
        assert (kept, noted(database)) == ("before", "after")
    assert raised.value.message == (
        f"The ledger in {folder} cannot be written. Check that its disk has room and is not"
        f" read-only."
    )


LIMITED = """
import resource, sys
from pathlib import Path
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.errors import LedgerUnavailable

database = Database(Path(sys.argv[1]))
_, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
for room in (5000, 10**6):
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, hard))
    try:
        with database.explained():
            db = database.begin(durable=True)
            db.execute("REPLACE INTO notes VALUES ('note', 'kept')")
            db.execute("COMMIT")
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
        f" read-only.",
        "written",
    ]
    with opened(folder) as database:
        assert noted(database) == "kept"


def test_a_folder_that_cannot_lock_files_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """To SQLite it looks like a file that is busy for ever."""
    monkeypatch.setattr("meigen_mcp.ledger.sqlite.database.can_lock", lambda _: False)
    with opened(folder) as database:
        message = refusal(database)
    assert message == (
        f"The data folder {folder} is on a file system that cannot lock files. Set MEIGEN_DATA_DIR"
        " to a folder on a disk of this computer."
    )


# --- transactions -----------------------------------------------------------------------------


def test_two_connections_see_each_other(folder: Path) -> None:
    """What one commits, the other reads at once."""
    with opened(folder) as first, opened(folder) as second:
        note(first, "x")
        seen = noted(second)
        note(second, "y")
        assert (seen, noted(first)) == ("x", "y")


async def test_many_at_once_make_one_ledger(folder: Path) -> None:
    """All chat clients may start their servers in the same moment."""
    ledgers = [make_ledger(folder) for _ in range(12)]
    names = [str(UUID(int=number)) for number in range(12)]
    async with anyio.create_task_group() as group:
        for ledger, name in zip(ledgers, names, strict=True):
            group.start_soon(ledger.calls.add, replace(EMPTY, request_id=name), Terms())
    found = await ledgers[0].records.newest(20)
    assert sorted(job.request_id for _, job in found) == names
    for ledger in ledgers:
        await ledger.close()


def test_nobody_sees_half_a_transaction(folder: Path) -> None:
    """Nor waits for the end of it to read."""
    with opened(folder) as first, opened(folder) as second:
        note(first, "x")
        db = first.begin(durable=True)
        db.execute("UPDATE notes SET value = 'y'")
        during = noted(second), noted(first)
        db.execute("COMMIT")
        assert (during, noted(second), noted(first)) == (("x", "x"), "y", "y")
