"""What lies in a ledger's file: another one is noticed, and nothing else is taken for one."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from meigen_mcp.ledger.sqlite import sign
from meigen_mcp.ledger.sqlite.rescue import LastingDatabase

ORIGIN = "https://www.meigen.ai 1"


def _open(folder: Path) -> LastingDatabase:
    database = LastingDatabase(folder, str(folder), lambda _: ORIGIN)
    database.open()
    return database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[LastingDatabase]:
    """Return an open ledger."""
    opened = _open(tmp_path)
    yield opened
    opened.close()


def _write(database: LastingDatabase, name: str, letter: str) -> None:
    """Commit something of some pages, in the same place each time, and a version."""
    db = database.begin(durable=False)
    done = db.execute("UPDATE notes SET value = ? WHERE name = ?", (letter * 60_000, name))
    if not done.rowcount:
        db.execute("INSERT INTO notes VALUES (?, ?)", (name, letter * 60_000))
    db.execute("UPDATE clock SET version = version + 1")
    db.execute("COMMIT")


def test_a_file_that_is_copied_back_beside_a_reader_is_no_other_ledger(
    database: LastingDatabase,
) -> None:
    """Its first page tells of a last one that is not there yet, and SQLite calls it damaged."""
    _write(database, "newest", "a")
    with closing(sqlite3.connect(database.path, isolation_level=None)) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notes").fetchone()
        _write(database, "newest", "b")
        database.open().execute("PRAGMA wal_checkpoint(PASSIVE)")
        assert (sign.is_whole(database.path), database.in_place) == (False, True)
        _write(database, "newest", "c")
    database.open().execute("PRAGMA wal_checkpoint(PASSIVE)")
    assert (sign.is_whole(database.path), database.in_place) == (True, True)


def test_a_ledger_whose_identity_is_still_in_its_log_is_the_same(tmp_path: Path) -> None:
    """A reader that stays keeps it from being copied back with the rest."""
    _open(tmp_path).close()
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as reader:
        reader.execute("PRAGMA application_id = 0")
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM notes").fetchone()
        database = _open(tmp_path)
        for letter in "abc":
            _write(database, "newest", letter)
            database.open().execute("PRAGMA wal_checkpoint(PASSIVE)")
            assert database.in_place
    database.open().execute("PRAGMA wal_checkpoint(PASSIVE)")
    assert database.in_place
    database.close()


def test_a_ledger_that_gets_its_identity_later_is_the_same(tmp_path: Path) -> None:
    """A process that opened it while it was busy could not name it; the next one does."""
    _open(tmp_path).close()
    path = tmp_path / "ledger.sqlite3"
    with closing(sqlite3.connect(path, isolation_level=None)) as busy:
        busy.execute("PRAGMA application_id = 0")
        busy.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        busy.execute("BEGIN IMMEDIATE")
        first = LastingDatabase(tmp_path, str(tmp_path), lambda _: ORIGIN)
        first.open()
        busy.execute("COMMIT")
    assert sign.read(first.open()).identity == 0
    second = _open(tmp_path)
    _write(second, "kept", "a")
    second.close()
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA wal_checkpoint(PASSIVE)")
    first.carry()
    assert (sign.read(first.open()).identity != 0, first.in_place, first.path) == (True, True, path)
    found = first.open().execute("SELECT length(value) FROM notes WHERE name = 'kept'").fetchone()
    assert found[0] == 60_000
    first.close()


@pytest.mark.parametrize("version", [0, 1, 2, 127, 128, 40_000, 2**23, 2**31 + 5, 2**40, 2**50])
def test_the_version_is_read_from_the_bytes_of_its_page(
    version: int, database: LastingDatabase
) -> None:
    """As SQLite writes a number of any size."""
    db = database.begin(durable=False)
    db.execute("UPDATE clock SET version = ?", (version,))
    db.execute("COMMIT")
    db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (page,) = db.execute("SELECT rootpage FROM sqlite_master WHERE name = 'clock'").fetchone()
    with database.path.open("rb") as file:
        assert sign.read_file(file.fileno(), page) == sign.read(db)


def test_what_is_no_ledger_has_no_sign(tmp_path: Path) -> None:
    """Nothing, too little, or something else."""
    found = []
    for content in (b"", b"SQLite format 3\0" + bytes(60), b"no ledger at all" * 99):
        (tmp_path / "file").write_bytes(content)
        with (tmp_path / "file").open("rb") as file:
            found.append(sign.read_file(file.fileno(), 2))
    assert found == [None, None, None]
