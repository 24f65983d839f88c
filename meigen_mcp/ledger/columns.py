"""How a record becomes the columns of a row and back; every engine keeps the same ones."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields
from decimal import Decimal
from functools import lru_cache
from operator import attrgetter
from typing import Any

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import FIXED, HELD, SHARED, Generation
from meigen_mcp.reports import Balance, Credential, Draft, Fault, Unsaved

FIELDS = tuple(field.name for field in fields(Generation))
SAVED = tuple(name for name in FIELDS if name not in FIXED | SHARED | HELD)
"""The columns that a transition may change."""
_saved = attrgetter(*SAVED)


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


def _pairs(cls: type[Any]) -> Callable[[str], tuple[Any, ...]]:
    return lru_cache(maxsize=256)(lambda text: tuple(cls(*pair) for pair in _texts(text)))


_PLAIN = frozenset((type(None), str, int, float, bool))
_encode = json.JSONEncoder(ensure_ascii=False, default=str).encode


def write(value: Any) -> Any:
    """Write one field."""
    if type(value) in _PLAIN:  # most are
        return value
    match value:
        case Decimal():
            return str(value)
        case Mapping():
            return _encode(dict(value))
        case Fault() | Balance():
            return _encode(value._asdict())
        case Quote() | Draft():
            return _encode({name: getattr(value, name) for name in value.__slots__})
        case tuple():
            return _encode(value)
        case _:
            return value


read_quote = _compound(Quote, ("credits",))
_READ: Mapping[str, Callable[[Any], Any]] = {
    "arguments": json.loads,
    "quote": read_quote,
    "balance": _compound(Balance, ("daily", "purchased")),
    "error": _compound(Fault),
    "draft": _compound(Draft, ("final_credits",)),
    "reserved": _amount,
    "credits_used": _amount,
    "unsaved": _pairs(Unsaved),
    "credentials": _pairs(Credential),
    **dict.fromkeys(("media_urls", "files", "made_from"), _texts),
    **dict.fromkeys(("unobserved", "twin", "parked", "answered", "abandoned", "adopted"), bool),
}

_DECODERS = tuple((place, _READ[name]) for place, name in enumerate(FIELDS) if name in _READ)


@lru_cache(maxsize=256)  # a list is asked for again, and a call reads its record some times
def read(values: tuple[Any, ...]) -> Generation:
    """Read a row's columns, in the order of FIELDS."""
    decoded = list(values)
    for place, decode in _DECODERS:
        decoded[place] = decode(decoded[place])
    return Generation(**dict(zip(FIELDS, decoded, strict=True)))


def changed(before: Generation, after: Generation) -> dict[str, Any]:
    """Return the columns of a row that a transition gave other values, with these."""
    pairs = zip(SAVED, _saved(before), _saved(after), strict=True)
    columns = {name: write(new) for name, old, new in pairs if new != old}
    if (amount := millicredits(after)) != millicredits(before):
        columns["millicredits"] = amount
    return columns


def millicredits(job: Generation) -> int:
    """The amount in thousandths: databases add whole numbers exactly."""
    return min(int(job.amount * 1000), 10**15)
