"""The file under a ledger, for tests that look into it or change it from outside."""

import sqlite3
from contextlib import closing, suppress
from pathlib import Path
from typing import Any

NAME = "ledger.sqlite3"


def execute(folder: Path, statement: str, *values: Any) -> list[Any]:
    """Run one statement on the ledger in a data folder, as another program would."""
    with closing(sqlite3.connect(folder / NAME, timeout=10)) as db, db:
        return db.execute(statement, values).fetchall()


def look(folder: Path, statement: str) -> list[Any]:
    """Run a question while a server starts: nothing is there until it has made its tables."""
    if (folder / NAME).exists():  # else it would be made
        with suppress(sqlite3.OperationalError):
            return execute(folder, statement)
    return []
