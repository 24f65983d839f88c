"""A record as a row of the database, and texts that PostgreSQL could not keep."""

import json
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from psycopg import AsyncConnection
from psycopg.adapt import Buffer, Dumper
from psycopg.rows import DictRow

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.columns import FIELDS, millicredits, write
from meigen_mcp.ledger.columns import read as read_columns
from meigen_mcp.ledger.offers import fingerprint

Connection = AsyncConnection[DictRow]
"""A connection that commits by itself, unless a transaction was begun."""

_KEPT = str.maketrans({"\0": "\x1a0", "\x1a": "\x1a1"})
FIND = "SELECT * FROM meigen.generations WHERE account = %s AND request_id = %s"
OF_PERSON = " AND strpos(account, '#') > 0 AND split_part(account, '#', 2) = %s"
"""The end of a condition: the rows of one person, whatever the token was."""
UNANSWERED = (
    "abandoned = CASE WHEN adopted THEN abandoned ELSE NOT answered END,"
    " adopted = CASE WHEN abandoned THEN answered ELSE adopted END"
)
"""What becomes of the columns of one whose call got no answer: an orphan; so does one that was
adopted by that call. One with an id of its own counts as adopted from the start, and stays."""


def kept(text: str) -> str:
    """Return a text as it is kept: PostgreSQL takes every character but NUL."""
    return text.translate(_KEPT) if "\0" in text or "\x1a" in text else text


def _read_text(text: str) -> str:
    return text.replace("\x1a0", "\0").replace("\x1a1", "\x1a")


class KeptText(Dumper):
    """Sends texts as they are kept."""

    def dump(self, obj: str) -> Buffer:
        """Return the bytes of a text."""
        return kept(obj).encode("utf-8", "replace")


def read(row: Mapping[str, Any]) -> Generation:
    """Read a row, which may have more columns than are known."""
    values = [row[name] for name in FIELDS]
    if any("\x1a" in value for value in values if isinstance(value, str)):
        values = [_read_text(value) if isinstance(value, str) else value for value in values]
    return read_columns(tuple(values))


async def find(db: Connection, account: str, request_id: str) -> Generation | None:
    """Return an account's record by its request id."""
    row = await (await db.execute(FIND, (account, request_id))).fetchone()
    return None if row is None else read(row)


async def lock(db: Connection, account: str, request_id: str) -> Generation | None:
    """Return the same as it is now, which nobody else changes before the transaction ends."""
    row = await (await db.execute(f"{FIND} FOR UPDATE".encode(), (account, request_id))).fetchone()
    return None if row is None else read(row)


def written(job: Generation) -> str:
    """Return the columns of a new record, as JSON."""
    columns = {name: write(getattr(job, name)) for name in FIELDS}
    columns |= {
        "fingerprint": fingerprint(job.tool, job.arguments), "millicredits": millicredits(job)
    }  # fmt: skip
    return json.dumps(
        {name: kept(value) if isinstance(value, str) else value for name, value in columns.items()}
    )


async def save(db: Connection, job: Generation, columns: Mapping[str, Any]) -> Generation:
    """Write what was changed of a record, and return it with its version."""
    found = await db.execute(
        f"UPDATE meigen.generations SET {''.join(f'{name} = %s, ' for name in columns)}"  # noqa: S608  # our own names
        " version = meigen.tick() WHERE account = %s AND request_id = %s"
        " RETURNING version".encode(),
        [*columns.values(), job.account, job.request_id],
    )
    row = await found.fetchone()
    return job if row is None else replace(job, version=row["version"])


async def one(db: Connection, statement: str, values: Any = ()) -> Any:
    """Return the only value of the only row, or None."""
    row = await (await db.execute(statement.encode(), values)).fetchone()
    return None if row is None else next(iter(row.values()))


async def every(db: Connection, statement: str, values: Any = ()) -> list[DictRow]:
    """Return all rows."""
    return await (await db.execute(statement.encode(), values)).fetchall()
