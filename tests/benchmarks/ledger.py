"""A ledger of many years: its queries, and the start of a server on it."""

import sqlite3
import time
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from uuid import uuid4

from meigen_mcp import settings
from meigen_mcp.app import account_of
from meigen_mcp.database import Database
from meigen_mcp.generation import Generation
from meigen_mcp.ledger import Ledger
from meigen_mcp.pricing import Quote

from . import start
from .processes import OURS, environment, temporary
from .report import Part, Row, Sample, number
from .size import Size

MOST = 5.0
MOST_LATER = 20.0
PENDING = 200
DAYS = 700


def filled(folder: Path, count: int) -> tuple[Ledger, str]:
    """Make a ledger of finished generations, and some that a dead process left unfinished.

    Returns:
        The ledger and the account that they belong to.
    """
    configured = settings.load(environment(folder))
    database = Database(configured.data_dir)
    account = account_of(configured, database)
    ledger = Ledger(database)
    now = time.time()
    job = Generation(
        request_id=str(uuid4()),
        account=account,
        tool="generate_image",
        media_type="image",
        model_id="z-image-turbo",
        prompt="A lighthouse on a cliff at dusk, waves breaking below, painted in thick oil",
        arguments={"prompt": "A lighthouse on a cliff at dusk", "modelId": "z-image-turbo"},
        body='{"prompt":"A lighthouse on a cliff at dusk","modelId":"z-image-turbo"}',
        quote=Quote(Decimal(5), "exact", "5 credits per image"),
        created_at=now,
        expected_seconds=12.0,
        status="processing",
        next_look=now,
        generation_id=str(uuid4()),
        accepted_at=now,
    )
    for _ in range(min(PENDING, count)):
        request_id, generation_id = str(uuid4()), str(uuid4())
        other = replace(job, request_id=request_id, generation_id=generation_id)
        ledger.add(other, None, adoptable=True)
    if count:
        with database.writing() as db:
            _copied(db, count, now)
    return ledger, account


def _copied(db: sqlite3.Connection, count: int, now: float) -> None:
    """Copy one record many times, as finished ones of the last years."""
    own = {
        "request_id": "lower(hex(randomblob(16)))",
        "generation_id": "lower(hex(randomblob(16)))",
        "status": "'completed'",
        "next_look": "NULL",
        "answered": "1",
        "created_at": f"{now - DAYS * 86400} + n * {DAYS * 86400 / count}",
        "finished_at": f"{now - DAYS * 86400} + n * {DAYS * 86400 / count} + 12",
        "version": "n",
    }
    columns = [row["name"] for row in db.execute("PRAGMA table_info(generations)")]
    columns.remove("id")
    values = ", ".join(own.get(name, name) for name in columns)
    db.execute(
        f"INSERT INTO generations ({', '.join(columns)})"  # noqa: S608  # our own names
        " WITH RECURSIVE numbers (n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < ?)"
        f" SELECT {values} FROM numbers, (SELECT * FROM generations LIMIT 1)",
        (count,),
    )
    db.execute("UPDATE clock SET version = version + ?", (count,))


def _names(ledger: Ledger, count: int) -> list[str]:
    """Return the ids of some records, from everywhere."""
    with ledger.database.reading() as db:
        rows = db.execute(
            "SELECT generation_id FROM generations ORDER BY random() LIMIT ?", (count,)
        )
        return [row[0] for row in rows]


async def run(size: Size) -> Part:
    """Measure a full and an empty ledger in turn."""
    with temporary() as folder:
        full, account = filled(folder / "full", size.records)
        empty, same = filled(folder / "empty", 0)
        names = cycle(_names(full, size.reads))
        rows = [
            _compared(
                "newest page of 50",
                lambda: full.newest(account, 50),
                lambda: empty.newest(same, 50),
                size,
            ),
            _compared(
                "one record",
                lambda: full.get(account, next(names)),
                lambda: empty.get(same, "none"),
                size,
            ),
            _compared(
                "claim of due jobs",
                lambda: full.agenda.due(account, time.time(), ("processing",), (), 16),
                lambda: empty.agenda.due(same, time.time(), ("processing",), (), 16),
                size,
            ),
        ]
        for ledger in (full, empty):
            ledger.database.close()
        later = []
        for _ in range(size.starts):
            took = await start.seconds(OURS, environment(folder / "full"))
            later.append(took - await start.seconds(OURS, environment(folder / "empty")))
    slower = Sample((took * 1000 for took in later), "ms")
    rows.append(
        Row(
            "ledger: start later than with an empty one",
            f"{MOST_LATER:g} ms",
            f"{number(slower.median)} ms",
            "",
            slower.median <= MOST_LATER if size.judged else None,
            absolute=True,
        )
    )
    return Part(rows)


def _compared(
    what: str, full: Callable[[], object], empty: Callable[[], object], size: Size
) -> Row:
    took, less = Sample(_timed(full, size), "ms"), Sample(_timed(empty, size), "ms")
    return Row(
        f"ledger: {what} of {size.records:,}",
        f"{MOST:g} ms",
        str(took),
        f"{took.median / less.median:.1f} x an empty one",
        took.p99 <= MOST if size.judged else None,
        absolute=True,
    )


def _timed(query: Callable[[], object], size: Size) -> list[float]:
    took = []
    for _ in range(size.reads):
        began = time.perf_counter()
        query()
        took.append((time.perf_counter() - began) * 1000)
    return took
