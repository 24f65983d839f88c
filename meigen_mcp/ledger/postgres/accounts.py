"""Which account is meant, and whose records are shown: asked by every query that is about either.

An account's name is the API's origin, a space and a hash.
"""

import json
from collections.abc import Sequence

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.shelf import SAME, put_note
from meigen_mcp.people import EVERYBODY, named, payer_of, person_of

MOST_ACCOUNTS = 8
"""Accounts of earlier tokens that are asked about, the newest first."""
_KNOWN = (
    "SELECT (SELECT value FROM meigen.notes WHERE name = %s) AS proven, ARRAY("
    "WITH RECURSIVE found(name) AS ("
    " SELECT min(account) FROM meigen.generations"
    " UNION ALL SELECT (SELECT min(account) FROM meigen.generations WHERE account > name)"
    " FROM found WHERE name IS NOT NULL)"
    " SELECT name FROM found WHERE starts_with(name, %s)) AS names"
)
"""Each name by one step in the index: a ledger has many records, and few accounts. With what is
proven in one statement, since nearly every query begins with both."""


class PostgresAccounts:
    """The account of this replica and those beside it; see `Accounts`.

    Args:
        database: knows the account by token.
        alone: nobody else's records are shown, whatever their origin.
        person: whose records are meant, as in `people`.
    """

    def __init__(self, database: Database, *, alone: bool, person: str | None = EVERYBODY) -> None:
        self._database = database
        self._alone = alone
        self._proven: frozenset[str] = frozenset()
        self.person = person

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

    async def listed_own(self, db: Connection) -> list[str]:
        """Return the names of the account: by its token first, then by proof."""
        if self.person is EVERYBODY:
            return await self.listed_paid(db)
        payers, _ = await self._known(db)
        return [named(payer, self.person) for payer in payers]

    async def listed_paid(self, db: Connection) -> list[str]:
        """Return the names of everybody whose credits are the same."""
        return _paid(*await self._known(db))

    async def _known(self, db: Connection) -> tuple[list[str], list[str]]:
        """Return the accounts by token and by proof, and the names of all of the origin."""
        account = self._database.account
        origin = f"{account.rpartition(' ')[0]} "
        (row,) = await rows.every(db, _KNOWN, (SAME.format(account), origin))
        proven = json.loads(row["proven"] or "[]")
        self._proven = frozenset(proven)
        return [account, *proven], row["names"]

    async def listed_shown(self, db: Connection) -> list[str]:
        """Return the names of the accounts whose records are shown: the own ones first."""
        payers, names = await self._known(db)
        everybody = self.person is EVERYBODY
        own = _paid(payers, names) if everybody else [named(payer, self.person) for payer in payers]
        if self._alone or self.person:
            return own
        others = [name for name in names if name not in own]
        return [*own, *(name for name in others if everybody or not person_of(name))]

    async def find(self, db: Connection, request_id: str) -> Generation | None:
        """Return the account's own record with a request id."""
        return await _first(db, request_id, await self.listed_own(db))

    async def find_others(self, db: Connection, request_id: str) -> Generation | None:
        """Return a record that another token made under a request id, and may be shown."""
        shown, own = await self.listed_shown(db), await self.listed_own(db)
        return await _first(db, request_id, [name for name in shown if name not in own])

    # --- asked ----------------------------------------------------------------------------------

    async def unproven(self, limit: int) -> Sequence[Generation]:
        """Return finished generations of accounts that may be this one under an earlier token."""

        async def query(db: Connection) -> list[Generation]:
            own, names = await self._known(db)
            others = dict.fromkeys(payer_of(name) for name in names)
            found = [
                await rows.every(
                    db,
                    "SELECT * FROM meigen.generations WHERE account = ANY(%s)"
                    " AND generation_id IS NOT NULL AND status IN ('completed', 'failed')"
                    " AND NOT twin ORDER BY id DESC LIMIT %s",
                    ([name for name in names if payer_of(name) == payer], limit),
                )
                for payer in others
                if payer not in own
            ]
            newest = sorted((each for each in found if each), key=lambda each: -each[0]["id"])
            return [rows.read(row) for each in newest[:MOST_ACCOUNTS] for row in each]

        return await self._database.read(query)

    async def join(self, account: str) -> None:
        """Note as proven that an account is this one."""

        async def put(db: Connection) -> None:
            # One at a time: of two that add to the list each would leave the other out.
            await db.execute(b"SELECT FROM meigen.teams WHERE id = '' FOR UPDATE")
            payer = payer_of(account)
            (_, *known), _ = await self._known(db)
            proven = [*(name for name in known if name != payer), payer]
            await put_note(db, SAME.format(self._database.account), proven)
            self._proven = frozenset(proven)

        await self._database.write(put)


def _paid(payers: list[str], names: list[str]) -> list[str]:
    """Return the names of everybody whose credits are the same."""
    found = [name for name in names if payer_of(name) in payers]
    return [*payers, *(name for name in found if name not in payers)]


async def _first(db: Connection, request_id: str, names: list[str]) -> Generation | None:
    """Return the record with a request id, of the first account that has one."""
    if not names:
        return None
    found = await rows.every(
        db,
        "SELECT * FROM meigen.generations WHERE account = ANY(%s) AND request_id = %s"
        " ORDER BY array_position(%s, account) LIMIT 1",
        (names, request_id, names),
    )
    return rows.read(found[0]) if found else None
