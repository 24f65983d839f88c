"""Records as rows of the SQLite file: nothing is lost on the way, and older formats are kept."""

import sqlite3
from contextlib import closing
from dataclasses import MISSING, fields, replace
from decimal import Decimal
from pathlib import Path
from types import MappingProxyType
from typing import Any

import pytest
from support.records import EMPTY, FULL

from meigen_mcp.generation import Generation
from meigen_mcp.ledger import columns
from meigen_mcp.ledger.sqlite import rows
from meigen_mcp.ledger.sqlite.database import FORMAT, Database
from meigen_mcp.reports import Balance


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Return a data folder that is not there yet."""
    return tmp_path / "data"


def stored(job: Generation, folder: Path) -> Generation | None:
    """Write a record as a row and read it again."""
    with closing(Database(folder)) as database:
        db = database.begin(durable=True)
        added = rows.add(db, job)
        db.execute("COMMIT")
        assert added == replace(job, version=added.version)
        db.execute("UPDATE generations SET version = ?", (job.version,))
        return rows.find(db, job.account, job.request_id)


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
    assert columns.write(value) == written


@pytest.mark.parametrize(
    ("amount", "thousandths"),
    [(None, 0), (Decimal(0), 0), (Decimal("0.001"), 1), (Decimal("70.1"), 70_100)],
)
def test_amounts_are_added_as_whole_numbers(amount: Decimal | None, thousandths: int) -> None:
    """In thousandths of a credit, up to what SQLite can add."""
    job = Generation(
        **{name: getattr(EMPTY, name) for name in columns.FIELDS} | {"reserved": amount}
    )
    assert columns.millicredits(job) == thousandths


def test_a_transition_writes_what_it_changed_and_nothing_else() -> None:
    """Each further column would be written into each index that it is in."""
    after = replace(EMPTY, status="processing", failures=2, media_urls=("a",), reserved=Decimal(3))
    assert columns.changed(EMPTY, EMPTY) == {}
    assert columns.changed(EMPTY, after) == {
        "status": "processing", "failures": 2, "media_urls": '["a"]', "millicredits": 3000
    }  # fmt: skip


NEW_IN = {
    2: ("preview", "made_from"),
    5: ("unsaved", "unshown", "credentials"),
    6: ("twin",),
    8: ("draft",),
}


@pytest.mark.parametrize("version", range(1, FORMAT))
def test_a_ledger_of_an_older_format_is_kept_and_extended(version: int, folder: Path) -> None:
    """Its records go on, those of now have what it did not know, and what is due is found."""
    folder.mkdir()
    scripts = [Path(rows.__file__).parent / f"migrations/{n}.sql" for n in range(1, version + 1)]
    new = [name for since, names in NEW_IN.items() if since > version for name in names]
    known = [name for name in columns.FIELDS if name not in new]
    values = ["", 0, *(columns.write(getattr(FULL, name)) for name in known)]
    with closing(sqlite3.connect(folder / "ledger.sqlite3")) as db:
        for script in scripts:
            db.executescript(script.read_text("utf-8"))
        db.execute(f"PRAGMA user_version={version}")
        names, marks = ", ".join(("fingerprint", "millicredits", *known)), "?, " * len(values)
        db.execute(f"INSERT INTO generations ({names}) VALUES ({marks[:-2]})", values)  # noqa: S608  # ours
        db.commit()
    with closing(Database(folder)) as database:
        found = rows.find(database.open(), FULL.account, FULL.request_id)
    assert found == replace(FULL, **{name: getattr(EMPTY, name) for name in new})
