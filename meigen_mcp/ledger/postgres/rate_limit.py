"""At most so many submissions in any 60 seconds, over all replicas.

Every POST of an account takes a slot, and frees it 60 s after its reply.
"""

from meigen_mcp.generation import Generation
from meigen_mcp.ledger.postgres import rows
from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.ledger.postgres.shelf import HOLD
from meigen_mcp.ledger.queue import LONGEST_HOLD, SLOT_FREED_AFTER, turn
from meigen_mcp.people import MARK, payer_of


async def find_slot(
    db: Connection, job: Generation, limit: int, now: float, held_until: float
) -> float:
    """Return when a slot may be free: now, or later."""
    payer, freed = payer_of(job.account), now + SLOT_FREED_AFTER
    # In one statement, since everybody waits for the lock under which it runs; what is asked sees
    # what was there before.
    (row,) = await rows.every(
        db,
        "WITH free AS (DELETE FROM meigen.posts WHERE free_at <= %s),"
        # Held longer than any can be: by a clock that was set back since.
        " cut AS (UPDATE meigen.posts SET free_at = %s WHERE free_at > %s)"
        " SELECT (SELECT value FROM meigen.notes WHERE name = %s) AS hold,"
        " (SELECT free_at FROM meigen.posts WHERE account = %s AND free_at > %s"
        " ORDER BY free_at DESC LIMIT 1 OFFSET %s) AS last",
        (
            now,
            freed,
            held_until + SLOT_FREED_AFTER,
            HOLD.format(payer),
            payer,
            now,
            limit - 1,
        ),
    )
    hold = float(row["hold"] or 0)
    if now < hold <= now + LONGEST_HOLD:  # beyond that: by a clock that was set back
        return hold
    return now if row["last"] is None else min(float(row["last"]), freed)


async def in_line(db: Connection, job: Generation, limit: int, now: float) -> tuple[int, float]:
    """Return how many are sent before a queued one, and when it is sent, as far as is known."""
    payer = payer_of(job.account)
    place = await rows.one(
        db,
        "SELECT count(*) FROM meigen.generations"
        " WHERE (account = %s OR starts_with(account, %s))"
        " AND status = 'queued' AND next_look IS NOT NULL AND NOT parked"
        " AND id < (SELECT id FROM meigen.generations"
        " WHERE account = %s AND request_id = %s)",
        (payer, f"{payer}{MARK}", job.account, job.request_id),
    )
    taken = await rows.every(
        db,
        "SELECT free_at FROM meigen.posts WHERE account = %s AND free_at > %s ORDER BY free_at",
        (payer, now),
    )
    return place, turn(place, [row["free_at"] for row in taken], limit, job, now)
