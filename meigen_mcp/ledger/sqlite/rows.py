"""A record as a row of the SQLite file."""

import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache
from operator import itemgetter
from typing import Any

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.columns import FIELDS, millicredits, write
from meigen_mcp.ledger.columns import read as read_columns
from meigen_mcp.ledger.offers import fingerprint

UNANSWERED = (
    "abandoned = CASE WHEN adopted = 1 THEN abandoned ELSE 1 - answered END,"
    " adopted = CASE WHEN abandoned = 1 THEN answered ELSE adopted END"
)
"""What becomes of the columns of one whose call got no answer: an orphan; so does one that was
adopted by that call. One with an id of its own counts as adopted from the start, and stays."""

_COLUMNS = ("fingerprint", "millicredits", *FIELDS)
_ADD = f"INSERT INTO generations ({', '.join(_COLUMNS)}) VALUES ({', '.join('?' * len(_COLUMNS))})"  # noqa: S608  # our own names


def read(row: sqlite3.Row) -> Generation:
    """Read a row, which may have more columns than are known."""
    return read_columns(_known(tuple(row.keys()))(row))


@cache
def _known(columns: tuple[str, ...]) -> Callable[[sqlite3.Row], tuple[Any, ...]]:
    """Return what gives the known ones of these columns, in the order of FIELDS."""
    return itemgetter(*map(columns.index, FIELDS))


def find(db: sqlite3.Connection, account: str, request_id: str) -> Generation | None:
    """Return an account's record by its request id."""
    row = db.execute(
        "SELECT * FROM generations WHERE account = ? AND request_id = ?", (account, request_id)
    ).fetchone()
    return None if row is None else read(row)


def add(db: sqlite3.Connection, job: Generation) -> Generation:
    """Write a new record, and return it with its version."""
    job = replace(job, version=tick(db))
    values = (write(getattr(job, name)) for name in FIELDS)
    db.execute(_ADD, [fingerprint(job.tool, job.arguments), millicredits(job), *values])
    return job


def save(db: sqlite3.Connection, job: Generation, columns: Mapping[str, Any]) -> Generation:
    """Write what was changed of a record, and return it with its version."""
    columns = {**columns, "version": tick(db)}
    db.execute(
        f"UPDATE generations SET {', '.join(f'{name} = ?' for name in columns)}"  # noqa: S608  # our own names
        " WHERE account = ? AND request_id = ?",
        [*columns.values(), job.account, job.request_id],
    )
    return replace(job, version=columns["version"])


def tick(db: sqlite3.Connection) -> int:
    """Return a version higher than every other."""
    row = db.execute("UPDATE clock SET version = version + 1 RETURNING version").fetchone()
    return int(row[0])
