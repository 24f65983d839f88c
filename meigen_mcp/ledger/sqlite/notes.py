"""Small facts that all processes share, each by its name."""

import json
import sqlite3
from typing import Any

from meigen_mcp.ledger.sqlite.worker import Worker

APPROVED = "approved:{}"
"""When the person last said yes to a price, by account."""
HOLD = "hold:{}"
"""Until when the API wants no submission, by account."""
SAME = "same:{}"
"""The accounts that are proven to be an account under earlier tokens, by its name."""
NAME = "name:{}"
"""The request id that a name stands for, for ever."""
KEYED = "keyed:{}"
"""That the API has answered about an idempotency key, by its origin."""
MODELS = "models:{}"
"""The body and the time of the last fetch of the list of models, by the API's origin."""


def get(db: sqlite3.Connection, name: str) -> Any:
    """Return a small fact, or None."""
    row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
    return None if row is None else json.loads(row[0])


def put(db: sqlite3.Connection, name: str, value: Any) -> None:
    """Keep a small fact."""
    db.execute("REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))


def remove(db: sqlite3.Connection, name: str) -> None:
    """Forget a small fact."""
    db.execute("DELETE FROM notes WHERE name = ?", (name,))


class SqliteLiveLists:
    """The list of models of one origin; see `LiveLists`."""

    def __init__(self, worker: Worker, origin: str) -> None:
        self._worker = worker
        self._name = MODELS.format(origin)

    async def load(self) -> tuple[Any, float] | None:
        """Return the body of the last fetch, and when that was."""
        note = await self._worker.read(lambda db: get(db, self._name))
        return (note["body"], float(note["at"])) if isinstance(note, dict) else None

    async def keep(self, body: Any, now: float) -> None:
        """Keep the body of a fetch."""
        note = {"at": now, "body": body}
        await self._worker.write(lambda db: put(db, self._name, note))
