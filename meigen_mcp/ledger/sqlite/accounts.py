"""Which account is meant, and whose records are shown: asked by every query that is about either.

An account's name is the API's origin, a space and a hash; those of one origin lie together in every
index that begins with it.
"""

import json
import sqlite3
from collections.abc import Callable, Sequence

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.sqlite import notes, rows
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.people import EVERYBODY, named, origin_of, payer_of, person_of

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
        person: whose records are meant, as in `people`.
    """

    def __init__(
        self, database: Database, worker: Worker, *, alone: bool, person: str | None = EVERYBODY
    ) -> None:
        self._database = database
        self._worker = worker
        self._alone = alone
        self._proven: frozenset[str] = frozenset()
        self.person = person

    @property
    def owner(self) -> str:
        """The process's name in the rows that it acts on."""
        return self._database.owner

    # --- within a query -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The account's name by its token, under which an intent is written."""
        return named(self._database.account, self.person)

    def own(self, job: Generation) -> bool:
        """Say whether a record that was just read is the account's own, by token or by proof."""
        if self.person is not EVERYBODY and job.account and person_of(job.account) != self.person:
            return False
        payer = payer_of(job.account)
        return payer in ("", self._database.account) or payer in self._proven

    def listed_own(self, db: sqlite3.Connection) -> str:
        """Return the names of the account, as JSON: by its token first, then by proof."""
        return json.dumps(self._names(db))

    def listed_paid(self, db: sqlite3.Connection) -> str:
        """Return the names of everybody whose credits are the same, as JSON."""
        return json.dumps(self._paid(db))

    def _payers(self, db: sqlite3.Connection) -> list[str]:
        proven = notes.get(db, notes.SAME.format(self._database.account)) or []
        self._proven = frozenset(proven)
        return [self._database.account, *proven]

    def _paid(self, db: sqlite3.Connection) -> list[str]:
        payers = self._payers(db)
        found = [name for name in self._of_origin(db) if payer_of(name) in payers]
        return [*payers, *(name for name in found if name not in payers)]

    def _names(self, db: sqlite3.Connection) -> list[str]:
        if self.person is EVERYBODY:
            return self._paid(db)
        return [named(payer, self.person) for payer in self._payers(db)]

    def listed_shown(self, db: sqlite3.Connection) -> str:
        """Return the names of the accounts whose records are shown, as JSON: the own ones first."""
        own = self._names(db)
        if self._alone or self.person:
            return json.dumps(own)
        others = [name for name in self._of_origin(db) if name not in own]
        if self.person is not EVERYBODY:
            others = [name for name in others if not person_of(name)]
        return json.dumps([*own, *others])

    def showing(self, db: sqlite3.Connection) -> Callable[[str], bool]:
        """Return what says of a name whether the records of that account are shown."""
        if self.person is EVERYBODY and not self._alone:  # all of its origin: nothing to look up
            origin = origin_of(self._database.account)
            return lambda name: origin_of(name) == origin
        return frozenset(json.loads(self.listed_shown(db))).__contains__

    def _of_origin(self, db: sqlite3.Connection) -> list[str]:
        first = f"{self._database.account.rpartition(' ')[0]} "
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
            own, names = self._payers(db), self._of_origin(db)
            others = dict.fromkeys(payer_of(name) for name in names)
            found = [
                db.execute(
                    f"SELECT * FROM generations WHERE account {LISTED}"  # noqa: S608  # our own
                    " AND generation_id IS NOT NULL"
                    " AND status IN ('completed', 'failed') AND twin = 0"
                    " ORDER BY id DESC LIMIT ?",
                    (json.dumps([name for name in names if payer_of(name) == payer]), limit),
                ).fetchall()
                for payer in others
                if payer not in own
            ]
            newest = sorted((each for each in found if each), key=lambda each: -each[0]["id"])
            return [rows.read(row) for each in newest[:MOST_ACCOUNTS] for row in each]

        return await self._worker.read(query)

    async def join(self, account: str) -> None:
        """Note as proven that an account is this one."""

        def put(db: sqlite3.Connection) -> None:
            payer = payer_of(account)
            proven = [name for name in self._payers(db)[1:] if name != payer]
            notes.put(db, notes.SAME.format(self._database.account), [*proven, payer])
            self._payers(db)

        await self._worker.write(put)
