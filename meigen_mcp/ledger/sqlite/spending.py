"""What was spent or is reserved, over all accounts, and of it by one person."""

import math
import sqlite3
from collections.abc import Sequence
from decimal import Decimal

_ALL = "SELECT total(millicredits) FROM generations WHERE created_at > ? AND created_at <= ?"
_PERSON = (
    "SELECT total(millicredits) FROM generations INDEXED BY by_person WHERE created_at > ?"
    " AND created_at <= ? AND instr(account, '#') > 0"
    " AND substr(account, instr(account, '#') + 1) = ?"
)


def reserved(db: sqlite3.Connection, since: float, person: str | None) -> Decimal:
    """Return the credits that are reserved after a time, since their charge is not known."""
    return _sum(db, (since, math.inf), person, " AND credits_used IS NULL")


def spent(db: sqlite3.Connection, since: float, person: str | None = None) -> Decimal:
    """Return the credits spent or reserved after a time: by a person, or over all accounts."""
    return _sum(db, (since, math.inf), person)


def spent_after_each(
    db: sqlite3.Connection, times: Sequence[float], person: str | None = None
) -> list[Decimal]:
    """Return the same after each of several times, and look at no record twice."""
    total, until, after = Decimal(0), math.inf, {}
    for since in sorted(set(times), reverse=True):
        total += _sum(db, (since, until), person)
        after[since], until = total, since
    return [after[since] for since in times]


def _sum(
    db: sqlite3.Connection, span: tuple[float, float], person: str | None, more: str = ""
) -> Decimal:
    statement, values = (_PERSON, (*span, person)) if person else (_ALL, span)
    (total,) = db.execute(statement + more, values).fetchone()
    return Decimal(int(total)) / 1000
