"""What was spent or is reserved, over all accounts, and of it by one person."""

import sqlite3
from decimal import Decimal

_ALL = "SELECT total(millicredits) FROM generations WHERE created_at > ?"
_PERSON = (
    "SELECT total(millicredits) FROM generations INDEXED BY by_person WHERE instr(account, '#') > 0"
    " AND substr(account, instr(account, '#') + 1) = ? AND created_at > ?"
)


def reserved(db: sqlite3.Connection, since: float, person: str | None) -> Decimal:
    """Return the credits that are reserved after a time, since their charge is not known."""
    return _sum(db, since, person, " AND credits_used IS NULL")


def spent(db: sqlite3.Connection, since: float, person: str | None = None) -> Decimal:
    """Return the credits spent or reserved after a time: by a person, or over all accounts."""
    return _sum(db, since, person, "")


def _sum(db: sqlite3.Connection, since: float, person: str | None, more: str) -> Decimal:
    statement, values = (_PERSON, (person, since)) if person else (_ALL, (since,))
    (total,) = db.execute(statement + more, values).fetchone()
    return Decimal(int(total)) / 1000
