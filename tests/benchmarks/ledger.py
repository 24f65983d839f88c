"""A ledger of many years: its queries, and the start of a server on it."""

import sqlite3
import time
from collections.abc import Awaitable, Callable
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from itertools import cycle
from pathlib import Path
from uuid import uuid4

from meigen_mcp import settings
from meigen_mcp.app import open_folder
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.queue import Kind, Wanted
from meigen_mcp.ledger.sqlite.ledger import SqliteLedger

from . import start
from .processes import OURS, environment, temporary
from .report import Part, Row, Sample, number
from .size import Size

MOST = 5.0
MOST_LATER = 20.0
PENDING = 200
DAYS = 700


async def filled(folder: Path, count: int) -> SqliteLedger:
    """Make a ledger of finished generations, and some that a dead process left unfinished."""
    configured = settings.load(environment(folder))
    ledger = open_folder(configured)
    await ledger.check()
    now = time.time()
    job = Generation(
        request_id=str(uuid4()),
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
        await ledger.calls.add(other, Terms())
    if count:
        with closing(connected_to(configured.data_dir)) as db, db:
            _copied(db, count, now)
    return ledger


def connected_to(folder: Path) -> sqlite3.Connection:
    """Open the file under a ledger."""
    db = sqlite3.connect(folder / "ledger.sqlite3")
    db.row_factory = sqlite3.Row
    return db


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


def _names(folder: Path, count: int) -> list[str]:
    """Return the ids of some records, from everywhere."""
    with closing(connected_to(settings.load(environment(folder)).data_dir)) as db:
        rows = db.execute(
            "SELECT generation_id FROM generations ORDER BY random() LIMIT ?", (count,)
        )
        return [row[0] for row in rows]


async def run(size: Size) -> Part:
    """Measure a full and an empty ledger in turn."""
    with temporary() as folder:
        full = await filled(folder / "full", size.records)
        empty = await filled(folder / "empty", 0)
        names = cycle(_names(folder / "full", size.reads))
        wanted: dict[Kind, Wanted] = {"look": Wanted(("processing",), 16)}
        rows = [
            await _compared(
                "newest page of 50",
                lambda: full.records.newest(50),
                lambda: empty.records.newest(50),
                size,
            ),
            await _compared(
                "one record",
                lambda: full.records.get(next(names)),
                lambda: empty.records.get("none"),
                size,
            ),
            await _compared(
                "claim of due jobs",
                lambda: full.queue.due(time.time(), wanted, ()),
                lambda: empty.queue.due(time.time(), wanted, ()),
                size,
            ),
        ]
        for ledger in (full, empty):
            await ledger.close()
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


async def _compared(
    what: str,
    full: Callable[[], Awaitable[object]],
    empty: Callable[[], Awaitable[object]],
    size: Size,
) -> Row:
    took, less = Sample(await _timed(full, size), "ms"), Sample(await _timed(empty, size), "ms")
    return Row(
        f"ledger: {what} of {size.records:,}",
        f"{MOST:g} ms",
        str(took),
        f"{took.median / less.median:.1f} x an empty one",
        took.p99 <= MOST if size.judged else None,
        absolute=True,
    )


async def _timed(query: Callable[[], Awaitable[object]], size: Size) -> list[float]:
    took = []
    for _ in range(size.reads):
        began = time.perf_counter()
        await query()
        took.append((time.perf_counter() - began) * 1000)
    return took
