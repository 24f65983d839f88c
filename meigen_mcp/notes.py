"""What all processes share besides generations: small facts, and the ids that approvals repeat."""

import json
from typing import Any

from meigen_mcp.database import Database
from meigen_mcp.generation import Generation, fingerprint

OFFERED_FOR = 3600.0


class Notes:
    """Small facts by name, and offered ids.

    Every method may raise `LedgerUnavailable`.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, name: str) -> Any:
        """Return a small fact, or None."""
        with self._database.reading() as db:
            row = db.execute("SELECT value FROM notes WHERE name = ?", (name,)).fetchone()
        return None if row is None else json.loads(row[0])

    def put(self, name: str, value: Any) -> None:
        """Keep a small fact."""
        with self._database.writing() as db:
            db.execute("REPLACE INTO notes VALUES (?, ?)", (name, json.dumps(value)))

    def offer(self, job: Generation) -> None:
        """Keep the id under which a call may be repeated with the person's approval."""
        call = fingerprint(job.tool, job.arguments)
        with self._database.writing() as db:
            db.execute("DELETE FROM offers WHERE made_at < ?", (job.created_at - OFFERED_FOR,))
            db.execute(
                "REPLACE INTO offers VALUES (?, ?, ?, ?)",
                (job.request_id, job.account, call, job.created_at),
            )

    def offered(self, account: str, request_id: str, now: float) -> str | None:
        """Return the fingerprint of the call to which an id was offered within the hour."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT fingerprint FROM offers WHERE account = ? AND request_id = ?"
                " AND made_at >= ?",
                (account, request_id, now - OFFERED_FOR),
            ).fetchone()
        return None if row is None else str(row[0])
