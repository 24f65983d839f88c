"""How a record becomes a row of the ledger and back; the one place that knows the columns."""

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from typing import Any

from meigen_mcp.generation import Balance, Fault, Generation
from meigen_mcp.pricing import Quote

# As it was asked for, and whose it is.
FIXED = frozenset(
    {
        "request_id", "account", "tool", "prompt", "arguments", "body", "quote", "created_at",
        "reserved", "made_from", "owner",
    }
)  # fmt: skip
# Written by calls at any time; the poller's save must not undo them.
SHARED = frozenset({"watched_until", "answered", "abandoned", "adopted"})


def _amount(text: str | None) -> Decimal | None:
    return None if text is None else Decimal(text)


def _compound(cls: type[Any], decimals: tuple[str, ...] = ()) -> Callable[[str | None], Any]:
    @lru_cache(maxsize=256)  # a record is read some times in a call, and quotes are often alike
    def read(text: str | None) -> Any:
        if text is None:
            return None
        values = json.loads(text)
        return cls(**values | {name: _amount(values[name]) for name in decimals})

    return read


@lru_cache(maxsize=256)
def _texts(text: str) -> tuple[Any, ...]:
    return tuple(json.loads(text))


_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def write(value: Any) -> Any:
    """Write one field."""
    match value:
        case None | str() | int() | float():
            return value
        case Decimal():
            return str(value)
        case Mapping():
            return _encode(dict(value))
        case Quote() | Fault() | Balance():
            return _encode({name: getattr(value, name) for name in value.__slots__})
        case tuple():
            return _encode(value)
        case _:
            return value


_READ: Mapping[str, Callable[[Any], Any]] = {
    "arguments": json.loads,
    "quote": _compound(Quote, ("credits",)),
    "balance": _compound(Balance, ("daily", "purchased")),
    "error": _compound(Fault),
    "reserved": _amount,
    "credits_used": _amount,
    **dict.fromkeys(("media_urls", "files", "made_from"), _texts),
    **dict.fromkeys(("unobserved", "parked", "answered", "abandoned", "adopted"), bool),
}
_BESIDES = ("id", "fingerprint", "millicredits")
FIELDS = tuple(field.name for field in fields(Generation))
SAVED = tuple(name for name in FIELDS if name not in FIXED | SHARED)


def generation(row: sqlite3.Row) -> Generation:
    """Read a row."""
    values = dict(zip(row.keys(), row, strict=True))
    for name in _BESIDES:
        del values[name]
    for name, read in _READ.items():
        values[name] = read(values[name])
    return Generation(**values)


def millicredits(job: Generation) -> int:
    """The amount in thousandths: SQLite adds whole numbers exactly."""
    return min(int(job.amount * 1000), 10**15)
