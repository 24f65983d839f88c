"""At most so many submissions in any 60 seconds, over all processes.

Every POST of an account takes a slot, and frees it 60 s after its reply.
"""

import sqlite3

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.queue import SLOT_FREED_AFTER, turn
from meigen_mcp.people import MARK, payer_of


def claim_slot(
    db: sqlite3.Connection, job: Generation, limit: int, now: float, held_until: float
) -> tuple[int, None] | tuple[None, float]:
    """Take a slot, held until a time by which its POST has surely ended.

    Returns:
        The slot; or None and the time at which the next one may be free: that of a POST under way
        is, at the earliest, in 60 s.
    """
    db.execute("DELETE FROM posts WHERE free_at <= ?", (now,))
    # Held longer than any can be: by a clock that was set back since.
    freed = now + SLOT_FREED_AFTER
    db.execute(
        "UPDATE posts SET free_at = ? WHERE free_at > ?", (freed, held_until + SLOT_FREED_AFTER)
    )
    last = db.execute(
        "SELECT free_at FROM posts WHERE account = ? ORDER BY free_at DESC LIMIT 1 OFFSET ?",
        (payer_of(job.account), limit - 1),
    ).fetchone()
    if last is not None:
        return None, min(float(last[0]), now + SLOT_FREED_AFTER)
    (slot,) = db.execute(
        "INSERT INTO posts (account, request_id, free_at) VALUES (?, ?, ?) RETURNING id",
        (payer_of(job.account), job.request_id, held_until),
    ).fetchone()
    return slot, None


def free_slot(db: sqlite3.Connection, slot: int, now: float) -> None:
    """Note that a POST got its reply, or timed out."""
    db.execute("UPDATE posts SET free_at = ? WHERE id = ?", (now + SLOT_FREED_AFTER, slot))


def in_line(db: sqlite3.Connection, job: Generation, limit: int, now: float) -> tuple[int, float]:
    """Return how many are sent before a queued one, and when it is sent, as far as is known."""
    payer = payer_of(job.account)
    (place,) = db.execute(
        "SELECT count(*) FROM generations INDEXED BY by_due"
        " WHERE (account = ? OR account > ? AND account < ?) AND next_look IS NOT NULL"
        " AND status = 'queued' AND parked = 0 AND id < (SELECT id FROM generations"
        " WHERE account = ? AND request_id = ?)",
        (payer, f"{payer}{MARK}", f"{payer}{chr(ord(MARK) + 1)}", job.account, job.request_id),
    ).fetchone()
    taken = db.execute(
        "SELECT free_at FROM posts WHERE account = ? AND free_at > ? ORDER BY free_at",
        (payer, now),
    )
    return place, turn(place, [row[0] for row in taken], limit, job, now)
