"""What was spent or is reserved, over all accounts, and of it by one person."""

import sqlite3
from collections.abc import Sequence
from decimal import Decimal

_SUM, _AFTER = "total(millicredits)", "FILTER (WHERE created_at > ?)"
_ALL = "FROM generations WHERE created_at > ?"
_PERSON = (
    "FROM generations INDEXED BY by_person WHERE instr(account, '#') > 0"
    " AND substr(account, instr(account, '#') + 1) = ? AND created_at > ?"
)


def reserved(db: sqlite3.Connection, since: float, person: str | None) -> Decimal:
    """Return the credits that are reserved after a time, since their charge is not known."""
    return _totals(db, (since,), person, " AND credits_used IS NULL")[0]


def spent(db: sqlite3.Connection, since: float, person: str | None = None) -> Decimal:
    """Return the credits spent or reserved after a time: by a person, or over all accounts."""
    return _totals(db, (since,), person)[0]


def spent_after_each(
    db: sqlite3.Connection, times: Sequence[float], person: str | None = None
) -> list[Decimal]:
    """Return the same after each of several times, in one pass over the index."""
    return _totals(db, times, person)


def _totals(
    db: sqlite3.Connection, times: Sequence[float], person: str | None, more: str = ""
) -> list[Decimal]:
    first = min(times)
    each = ", ".join(_SUM if at == first else f"{_SUM} {_AFTER}" for at in times)
    later = [at for at in times if at != first]
    source, whose = (_PERSON, (person,)) if person else (_ALL, ())
    row = db.execute(f"SELECT {each} {source}{more}", (*later, *whose, first)).fetchone()
    return [Decimal(int(total)) / 1000 for total in row]
