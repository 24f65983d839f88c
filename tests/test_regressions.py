"""Faults that happened once, and must not again."""

import sqlite3
from contextlib import closing
from pathlib import Path
from threading import Timer

from workbench import workbench

from meigen_mcp.database import Database
from meigen_mcp.ledger import Ledger


def test_a_server_that_starts_while_another_makes_the_ledger_waits_for_it(tmp_path: Path) -> None:
    """SQLite refuses at once to turn the write-ahead log on while somebody else writes."""
    with closing(
        sqlite3.connect(tmp_path / "ledger.sqlite3", isolation_level=None, check_same_thread=False)
    ) as other:
        other.execute("BEGIN IMMEDIATE")
        over = Timer(0.2, other.execute, ("ROLLBACK",))
        over.start()
        database = Database(tmp_path)
        Ledger(database).set_note("name", "value")
        assert Ledger(database).note("name") == "value"
        database.close()
        over.join()


async def test_a_call_that_waited_leaves_nothing_behind(tmp_path: Path) -> None:
    """Each finished generation used to keep an event for those who had waited for it."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(modelId="nanobanana-2")).job
        await on.ledger.wait(job, lambda _: True, until=0)
        assert len(on.ledger._waiting) == 0  # noqa: SLF001  # there is no other sign of it
