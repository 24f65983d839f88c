"""Which account is meant, and whose records are shown: asked by every query that is about either.

An account's name is the API's origin, a space and a hash; those of one origin lie together in every
index that begins with it.
"""

import json
import sqlite3
from collections.abc import Sequence

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.sqlite import notes, rows
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.ledger.sqlite.worker import Worker

MOST_ACCOUNTS = 8
"""Accounts of earlier tokens that are asked about, the newest first."""
_OF_ORIGIN = (
    "WITH RECURSIVE found(name) AS ("
    " SELECT min(account) FROM generations WHERE account > :first"
    " UNION ALL SELECT (SELECT min(account) FROM generations WHERE account > name) FROM found"
    " WHERE name IS NOT NULL)"
    " SELECT name FROM found WHERE name < :end"
)
"""Each name by one step in the index: a ledger has many records, and few accounts."""

LISTED = "IN (SELECT value FROM json_each(?))"
"""What follows `account` where several are meant, as `own` and `shown` give them."""


class SqliteAccounts:
    """The account of this process and those beside it; see `Accounts`.

    Args:
        database: knows the account by token.
        worker: where statements run.
        alone: nobody else's records are shown, whatever their origin.
    """

    def __init__(self, database: Database, worker: Worker, *, alone: bool) -> None:
        self._database = database
        self._worker = worker
        self._alone = alone
        self._own: frozenset[str] = frozenset()

    @property
    def owner(self) -> str:
        """The process's name in the rows that it acts on."""
        return self._database.owner

    # --- within a query -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The account's name by its token, under which an intent is written."""
        return self._database.account

    def own(self, job: Generation) -> bool:
        """Say whether a record that was just read is the account's own, by token or by proof."""
        return job.account in ("", self.name) or job.account in self._own

    def listed_own(self, db: sqlite3.Connection) -> str:
        """Return the names of the account, as JSON: by its token first, then by proof."""
        return json.dumps(self._names(db))

    def _names(self, db: sqlite3.Connection) -> list[str]:
        proven = notes.get(db, notes.SAME.format(self.name)) or []
        self._own = frozenset(proven)
        return [self.name, *proven]

    def listed_shown(self, db: sqlite3.Connection) -> str:
        """Return the names of the accounts whose records are shown, as JSON: the own ones first."""
        own = self._names(db)
        others = [] if self._alone else [name for name in self._of_origin(db) if name not in own]
        return json.dumps([*own, *others])

    def _of_origin(self, db: sqlite3.Connection) -> list[str]:
        first = f"{self.name.rpartition(' ')[0]} "
        found = db.execute(_OF_ORIGIN, {"first": first, "end": f"{first[:-1]}!"})
        return [row[0] for row in found]

    def find(self, db: sqlite3.Connection, request_id: str) -> Generation | None:
        """Return the account's own record with a request id."""
        return self._first(db, request_id, self._names(db))

    def find_others(self, db: sqlite3.Connection, request_id: str) -> Generation | None:
        """Return a record that another token made under a request id, and may be shown."""
        own = self._names(db)
        shown = json.loads(self.listed_shown(db))
        return self._first(db, request_id, [name for name in shown if name not in own])

    @staticmethod
    def _first(db: sqlite3.Connection, request_id: str, names: Sequence[str]) -> Generation | None:
        found = (rows.find(db, name, request_id) for name in names)
        return next((job for job in found if job is not None), None)

    # --- asked ----------------------------------------------------------------------------------

    async def unproven(self, limit: int) -> Sequence[Generation]:
        """Return finished generations of accounts that may be this one under an earlier token."""

        def query(db: sqlite3.Connection) -> list[Generation]:
            own = self._names(db)
            others = [name for name in self._of_origin(db) if name not in own]
            found = [
                db.execute(
                    "SELECT * FROM generations WHERE account = ? AND generation_id IS NOT NULL"
                    " AND status IN ('completed', 'failed') AND twin = 0"
                    " ORDER BY id DESC LIMIT ?",
                    (name, limit),
                ).fetchall()
                for name in others
            ]
            newest = sorted((each for each in found if each), key=lambda each: -each[0]["id"])
            return [rows.read(row) for each in newest[:MOST_ACCOUNTS] for row in each]

        return await self._worker.read(query)

    async def join(self, account: str) -> None:
        """Note as proven that an account is this one."""

        def put(db: sqlite3.Connection) -> None:
            proven = [name for name in self._names(db)[1:] if name != account]
            notes.put(db, notes.SAME.format(self.name), [*proven, account])
            self._names(db)

        await self._worker.write(put)
