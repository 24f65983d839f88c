"""A record as a row of the SQLite file."""

import sqlite3
from dataclasses import replace

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.columns import FIELDS, SAVED, millicredits, write
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
_SAVE = (
    f"UPDATE generations SET {', '.join(f'{name} = ?' for name in SAVED)},"  # noqa: S608  # our own names
    " version = ?, millicredits = ? WHERE account = ? AND request_id = ?"
)


def read(row: sqlite3.Row) -> Generation:
    """Read a row."""
    return read_columns(dict(zip(row.keys(), row, strict=True)))


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


def save(db: sqlite3.Connection, job: Generation) -> Generation:
    """Write what the poller may change of a record, and return it with its version."""
    job = replace(job, version=tick(db))
    values = (write(getattr(job, name)) for name in SAVED)
    db.execute(_SAVE, [*values, job.version, millicredits(job), job.account, job.request_id])
    return job


def tick(db: sqlite3.Connection) -> int:
    """Return a version higher than every other."""
    row = db.execute("UPDATE clock SET version = version + 1 RETURNING version").fetchone()
    return int(row[0])
