"""Which account is meant, and whose records are shown: asked by every query that is about either.

An account's name is the API's origin, a space and a hash.
"""

from collections.abc import Sequence

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.shelf import SAME, get_note, put_note

MOST_ACCOUNTS = 8
"""Accounts of earlier tokens that are asked about, the newest first."""
_NAMES = (
    "WITH RECURSIVE found(name) AS ("
    " SELECT min(account) FROM meigen.generations"
    " UNION ALL SELECT (SELECT min(account) FROM meigen.generations WHERE account > name)"
    " FROM found WHERE name IS NOT NULL)"
    " SELECT name FROM found WHERE starts_with(name, %s)"
)
"""Each name by one step in the index: a ledger has many records, and few accounts."""


class PostgresAccounts:
    """The account of this replica and those beside it; see `Accounts`.

    Args:
        database: knows the account by token.
        alone: nobody else's records are shown, whatever their origin.
    """

    def __init__(self, database: Database, *, alone: bool) -> None:
        self._database = database
        self._alone = alone
        self._own: frozenset[str] = frozenset()

    # --- within a query -------------------------------------------------------------------------

    @property
    def name(self) -> str:
        """The account's name by its token, under which an intent is written."""
        return self._database.account

    def own(self, job: Generation) -> bool:
        """Say whether a record that was just read is the account's own, by token or by proof."""
        return job.account in ("", self.name) or job.account in self._own

    async def listed_own(self, db: Connection) -> list[str]:
        """Return the names of the account: by its token first, then by proof."""
        proven = await get_note(db, SAME.format(self.name)) or []
        self._own = frozenset(proven)
        return [self.name, *proven]

    async def listed_shown(self, db: Connection) -> list[str]:
        """Return the names of the accounts whose records are shown: the own ones first."""
        own = await self.listed_own(db)
        others = [] if self._alone else await self._of_origin(db)
        return [*own, *(name for name in others if name not in own)]

    async def _of_origin(self, db: Connection) -> list[str]:
        found = await rows.every(db, _NAMES, (f"{self.name.rpartition(' ')[0]} ",))
        return [row["name"] for row in found]

    async def find(self, db: Connection, request_id: str) -> Generation | None:
        """Return the account's own record with a request id."""
        return await _first(db, request_id, await self.listed_own(db))

    async def find_others(self, db: Connection, request_id: str) -> Generation | None:
        """Return a record that another token made under a request id, and may be shown."""
        shown = await self.listed_shown(db)
        own = (self.name, *self._own)
        return await _first(db, request_id, [name for name in shown if name not in own])

    # --- asked ----------------------------------------------------------------------------------

    async def unproven(self, limit: int) -> Sequence[Generation]:
        """Return finished generations of accounts that may be this one under an earlier token."""

        async def query(db: Connection) -> list[Generation]:
            own = await self.listed_own(db)
            others = [name for name in await self._of_origin(db) if name not in own]
            found = [
                await rows.every(
                    db,
                    "SELECT * FROM meigen.generations WHERE account = %s"
                    " AND generation_id IS NOT NULL AND status IN ('completed', 'failed')"
                    " AND NOT twin ORDER BY id DESC LIMIT %s",
                    (name, limit),
                )
                for name in others
            ]
            newest = sorted((each for each in found if each), key=lambda each: -each[0]["id"])
            return [rows.read(row) for each in newest[:MOST_ACCOUNTS] for row in each]

        return await self._database.read(query)

    async def join(self, account: str) -> None:
        """Note as proven that an account is this one."""

        async def put(db: Connection) -> None:
            # One at a time: of two that add to the list each would leave the other out.
            await db.execute(b"SELECT FROM meigen.teams WHERE id = '' FOR UPDATE")
            proven = [name for name in (await self.listed_own(db))[1:] if name != account]
            await put_note(db, SAME.format(self.name), [*proven, account])
            await self.listed_own(db)

        await self._database.write(put)


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
