"""The uploads of local references: one public copy serves until the gateway removes it."""

import json
import sqlite3
from collections.abc import Collection, Mapping

from meigen_mcp.ledger.sqlite.worker import Worker
from meigen_mcp.ledger.uploads import GOOD_FOR


class SqliteUploads:
    """The copies at one gateway; see `Uploads`."""

    def __init__(self, worker: Worker, gateway: str) -> None:
        self._worker = worker
        self._gateway = gateway

    async def urls(
        self, keys: Collection[str], now: float, good_for: float = GOOD_FOR
    ) -> Mapping[str, str]:
        """Return the public URLs of the copies that there are."""
        wanted = (self._gateway, json.dumps(list(keys)), now, now + good_for)

        def query(db: sqlite3.Connection) -> Mapping[str, str]:
            rows = db.execute(
                "SELECT sha256, url FROM uploads WHERE gateway = ?"
                " AND sha256 IN (SELECT value FROM json_each(?)) AND good_until > ?"
                " AND good_until <= ?",  # beyond that: by a clock that was set back since
                wanted,
            )
            return dict(row for row in rows)

        return await self._worker.read(query)

    async def keep(self, key: str, url: str, now: float, good_for: float = GOOD_FOR) -> None:
        """Note a new copy, and forget those that are gone."""

        def put(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM uploads WHERE good_until <= ?", (now,))
            db.execute(
                "REPLACE INTO uploads VALUES (?, ?, ?, ?)",
                (self._gateway, key, url, now + good_for),
            )

        await self._worker.write(put)
