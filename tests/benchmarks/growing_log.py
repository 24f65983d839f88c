"""How much a look or a save adds to the write-ahead log, which a long reader keeps from ending."""

import sqlite3
from pathlib import Path

import anyio

from .beside import Figures, in_turn, row
from .detection import delays, ending, followed, log, submitted
from .peer import picture
from .processes import connected, environment, instant, serve, temporary
from .report import Part
from .size import Size

MOST = 0.35
JOBS_PER_ENDING = 2
"""Jobs in flight for each that ends while it is measured."""


def _bytes(file: Path) -> int:
    log = file.with_name(f"{file.name}-wal")
    return log.stat().st_size if log.exists() else 0


async def _grown(python: str, size: Size) -> Figures:
    with temporary() as folder:
        variables = {
            "MEIGEN_POLL_INTERVAL": str(size.interval),
            "MEIGEN_OUTPUT_DIR": str(folder / "media"),
        }
        command = serve(python)
        async with (
            instant(picture(folder)) as origin,
            connected(command, environment(folder, origin, **variables)) as server,
        ):
            lasting = await submitted(server, ["long"] * size.logged * JOBS_PER_ENDING)
            await followed(server, lasting)
            (file,) = (folder / "data").rglob("ledger.sqlite3")
            reader = sqlite3.connect(file, isolation_level=None)
            reader.execute("BEGIN")
            reader.execute("SELECT count(*) FROM generations").fetchone()
            uris = await ending(server, size.logged, size.interval)
            before, looked = _bytes(file), await log(origin)
            await delays(server, origin, uris)
            await anyio.sleep(size.interval)  # that all are saved
            grown, after = _bytes(file) - before, await log(origin)
            reader.close()
    looks = sum(job["looks"] - looked[uri]["looks"] for uri, job in after.items())
    return {"kB": grown / 1000 / (looks + size.logged)}


async def run(size: Size) -> Part:
    """Look at jobs, and save some, beside a reader."""
    found = await in_turn(lambda python: _grown(python, size), size, rounds=1)
    return Part(
        [row("log: beside a long reader, a look or save", found, "kB", MOST, size, unit="kB")]
    )
