"""The uploads of local references: one public copy serves until the gateway removes it."""

from meigen_mcp.database import Database

GOOD_FOR = 22 * 3600.0
"""Seconds for which a copy is used again. The gateway keeps it for 24 hours (official client,
2026-05), and a generation may be queued for one before its references are fetched."""


class Uploads:
    """The copies that are still there.

    Args:
        database: the file that all processes share.
        gateway: the origin that they were uploaded to.
    """

    def __init__(self, database: Database, gateway: str) -> None:
        self._database = database
        self._gateway = gateway

    def url(self, sha256: str, now: float) -> str | None:
        """Return the public URL of a file's copy, by the hash of its bytes."""
        with self._database.reading() as db:
            row = db.execute(
                "SELECT url FROM uploads WHERE gateway = ? AND sha256 = ? AND good_until > ?",
                (self._gateway, sha256, now),
            ).fetchone()
        return None if row is None else str(row[0])

    def keep(self, sha256: str, url: str, now: float) -> None:
        """Note a new copy, and forget those that are gone."""
        with self._database.writing() as db:
            db.execute("DELETE FROM uploads WHERE good_until <= ?", (now,))
            db.execute(
                "REPLACE INTO uploads VALUES (?, ?, ?, ?)",
                (self._gateway, sha256, url, now + GOOD_FOR),
            )
