"""What is kept besides generations: small facts, copies of local files, the list of models."""

import json
from collections.abc import Collection, Mapping
from typing import Any

from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.database import Database
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.uploads import GOOD_FOR

APPROVED = "approved:{}"
"""When the person last said yes to a price, by account; `add_intent` writes it."""
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


async def get_note(db: Connection, name: str) -> Any:
    """Return a small fact, or None."""
    value = await rows.one(db, "SELECT value FROM meigen.notes WHERE name = %s", (name,))
    return None if value is None else json.loads(value)


async def put_note(db: Connection, name: str, value: Any) -> None:
    """Keep a small fact."""
    await db.execute(
        b"INSERT INTO meigen.notes VALUES (%s, %s)"
        b" ON CONFLICT (name) DO UPDATE SET value = excluded.value",
        (name, json.dumps(value)),
    )


async def remove_note(db: Connection, name: str) -> None:
    """Forget a small fact."""
    await db.execute(b"DELETE FROM meigen.notes WHERE name = %s", (name,))


class PostgresLiveLists:
    """The list of models of one origin; see `LiveLists`."""

    def __init__(self, database: Database, origin: str) -> None:
        self._database = database
        self._name = MODELS.format(origin)

    async def load(self) -> tuple[Any, float] | None:
        """Return the body of the last fetch, and when that was."""
        note = await self._database.read(lambda db: get_note(db, self._name))
        return (note["body"], float(note["at"])) if isinstance(note, dict) else None

    async def keep(self, body: Any, now: float) -> None:
        """Keep the body of a fetch."""
        note = {"at": now, "body": body}
        await self._database.write(lambda db: put_note(db, self._name, note))


class PostgresUploads:
    """The copies at one gateway; see `Uploads`."""

    def __init__(self, database: Database, gateway: str) -> None:
        self._database = database
        self._gateway = gateway

    async def urls(
        self, keys: Collection[str], now: float, good_for: float = GOOD_FOR
    ) -> Mapping[str, str]:
        """Return the public URLs of the copies that there are."""

        async def query(db: Connection) -> Mapping[str, str]:
            found = await rows.every(
                db,
                "SELECT sha256, url FROM meigen.uploads WHERE gateway = %s AND sha256 = ANY(%s)"
                " AND good_until > %s AND good_until <= %s",
                (self._gateway, list(keys), now, now + good_for),
            )
            return {row["sha256"]: row["url"] for row in found}

        return await self._database.read(query)

    async def keep(self, key: str, url: str, now: float, good_for: float = GOOD_FOR) -> None:
        """Note a new copy, and forget those that are gone."""

        async def put(db: Connection) -> None:
            await db.execute(b"DELETE FROM meigen.uploads WHERE good_until <= %s", (now,))
            await db.execute(
                b"INSERT INTO meigen.uploads VALUES (%s, %s, %s, %s) ON CONFLICT (gateway, sha256)"
                b" DO UPDATE SET url = excluded.url, good_until = excluded.good_until",
                (self._gateway, key, url, now + good_for),
            )

        await self._database.write(put)
