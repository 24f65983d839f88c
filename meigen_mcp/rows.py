"""How a record becomes a row of the ledger and back; the one place that knows the columns."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import asdict, fields
from decimal import Decimal
from typing import Any

from meigen_mcp.generation import Balance, Fault, Generation
from meigen_mcp.pricing import Quote

# Written by calls at any time; the poller's save must not undo them.
SHARED = frozenset({"watched_until", "answered", "abandoned", "adopted"})


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _compound(cls: type[Any], decimals: tuple[str, ...] = ()) -> Callable[[str | None], Any]:
    def read(text: str | None) -> Any:
        if text is None:
            return None
        values = json.loads(text)
        return cls(**values | {name: _amount(values[name]) for name in decimals})

    return read


def write(value: Any) -> Any:
    """Write one field."""
    match value:
        case Decimal():
            return str(value)
        case Mapping():
            return json.dumps(dict(value), ensure_ascii=False)
        case tuple():
            return json.dumps(value, ensure_ascii=False)
        case Quote() | Fault() | Balance():
            return json.dumps(asdict(value), default=str, ensure_ascii=False)
        case _:
            return value


_READ: Mapping[str, Callable[[Any], Any]] = {
    "arguments": json.loads,
    "quote": _compound(Quote, ("credits",)),
    "balance": _compound(Balance, ("daily", "purchased")),
    "error": _compound(Fault),
    "reserved": _amount,
    "credits_used": _amount,
    "media_urls": lambda text: tuple(json.loads(text)),
    "files": lambda text: tuple(json.loads(text)),
    "made_from": lambda text: tuple(json.loads(text)),
    **dict.fromkeys(("unobserved", "parked", "answered", "abandoned", "adopted"), bool),
}
FIELDS = tuple(field.name for field in fields(Generation))
SAVED = tuple(name for name in FIELDS if name not in SHARED | {"owner", "version"})


def generation(row: sqlite3.Row) -> Generation:
    """Read a row."""
    return Generation(**{n: _READ[n](row[n]) if n in _READ else row[n] for n in FIELDS})


def millicredits(job: Generation) -> int:
    """The amount in thousandths: SQLite adds whole numbers exactly."""
    return min(int(job.amount * 1000), 10**15)
