"""What is limited in a span of time, over all processes: submissions in 60 s, credits in 24 h."""

import sqlite3
from decimal import Decimal

from meigen_mcp.database import Database
from meigen_mcp.errors import OverCap
from meigen_mcp.generation import Generation

SECONDS = 60.0
DAY = 24 * 3600.0


class Window:
    """The slots of one account. Every POST takes one, and frees it 60 s after its reply.

    Args:
        database: the file that all processes share.
        account: whose submissions count.
        limit: how many may start in 60 seconds.
    """

    def __init__(self, database: Database, account: str, limit: int) -> None:
        self._database = database
        self._account = account
        self._limit = limit

    def claim(
        self, request_id: str, now: float, held_until: float
    ) -> tuple[int, None] | tuple[None, float]:
        """Take a slot, held until a time by which its POST has surely ended.

        Returns:
            The slot; or None and the time at which the next one may be free: that of a POST under
            way is, at the earliest, in 60 s.
        """
        with self._database.writing(durable=False) as db:
            db.execute("DELETE FROM posts WHERE free_at <= ?", (now,))
            last = db.execute(
                "SELECT free_at FROM posts WHERE account = ?"
                " ORDER BY free_at DESC LIMIT 1 OFFSET ?",
                (self._account, self._limit - 1),
            ).fetchone()
            if last is not None:
                return None, min(float(last[0]), now + SECONDS)
            (slot,) = db.execute(
                "INSERT INTO posts (account, request_id, free_at) VALUES (?, ?, ?) RETURNING id",
                (self._account, request_id, held_until),
            ).fetchone()
        return slot, None

    def answered(self, slot: int, now: float) -> None:
        """Note that a POST got its reply, or timed out."""
        with self._database.writing(durable=False) as db:
            db.execute("UPDATE posts SET free_at = ? WHERE id = ?", (now + SECONDS, slot))

    def in_line(self, job: Generation, now: float) -> tuple[int, float]:
        """Return how many are sent before a queued one, and when it is sent, as far as is known."""
        with self._database.reading() as db:
            (place,) = db.execute(
                "SELECT count(*) FROM generations INDEXED BY by_due"
                " WHERE account = ? AND next_look IS NOT NULL"
                " AND status = 'queued' AND parked = 0 AND id < (SELECT id FROM generations"
                " WHERE account = ? AND request_id = ?)",
                (self._account, self._account, job.request_id),
            ).fetchone()
            taken = [
                min(row[0], now + SECONDS)
                for row in db.execute(
                    "SELECT free_at FROM posts WHERE account = ? AND free_at > ? ORDER BY free_at",
                    (self._account, now),
                )
            ]
        # The slots that are free now come first, then each as it frees itself, then once more.
        slots = [now] * max(0, self._limit - len(taken)) + taken
        rounds, turn = divmod(place, len(slots))
        return place, max(slots[turn] + rounds * SECONDS, job.next_look or now)


def spent(db: sqlite3.Connection, since: float) -> Decimal:
    """Return the credits spent or reserved after a time, over all accounts."""
    (total,) = db.execute(
        "SELECT total(millicredits) FROM generations WHERE created_at > ?", (since,)
    ).fetchone()
    return Decimal(int(total)) / 1000


def hold_to_cap(db: sqlite3.Connection, wanted: Decimal | None, cap: Decimal, now: float) -> None:
    """Refuse credits that do not fit under a cap of 24 hours.

    Raises:
        OverCap: they do not.
    """
    used, wanted = spent(db, now - DAY), wanted or Decimal(0)
    if used + wanted > cap:
        raise OverCap(
            f"It would cost {wanted:f} credits; {used:f} of MEIGEN_MAX_CREDITS_PER_DAY"
            f" {cap:f} are spent or reserved in the last 24 hours. Nothing was sent or charged."
        )
