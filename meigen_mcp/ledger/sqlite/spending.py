"""What was spent or is reserved, over all accounts."""

import sqlite3
from decimal import Decimal


def reserved(db: sqlite3.Connection, since: float) -> Decimal:
    """Return the credits that are reserved after a time, since their charge is not known."""
    (total,) = db.execute(
        "SELECT total(millicredits) FROM generations WHERE created_at > ? AND credits_used IS NULL",
        (since,),
    ).fetchone()
    return Decimal(int(total)) / 1000


def spent(db: sqlite3.Connection, since: float) -> Decimal:
    """Return the credits spent or reserved after a time, over all accounts."""
    (total,) = db.execute(
        "SELECT total(millicredits) FROM generations WHERE created_at > ?", (since,)
    ).fetchone()
    return Decimal(int(total)) / 1000
