"""How values are written: in a sentence, and in JSON."""

import difflib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from meigen_mcp.foreign import LONGEST_WORD, printable


def show(value: Any) -> str:
    """Write a value as short JSON for a sentence."""
    try:
        text = json.dumps(value, ensure_ascii=False)
    except (TypeError, ValueError, RecursionError):  # no JSON, a huge number, or nested too deep
        text = f"a value of type {type(value).__name__}"
    text = printable(text[:LONGEST_WORD])
    if len(text) <= 60:
        return text
    return f'{text[:56]}..."' if text.startswith('"') else f"{text[:57]}..."


def plain(number: float) -> str:
    """Write a number with all its digits, a whole one without a point."""
    return str(int(number)) if float(number).is_integer() else str(number)


def credits_json(amount: Decimal | None) -> int | float | None:
    """Return credits as a JSON number."""
    if amount is None:
        return None
    return int(amount) if amount == int(amount) else float(amount)


def without_none(fields: Mapping[str, Any]) -> dict[str, Any]:
    """Leave out the fields without a value."""
    return {name: value for name, value in fields.items() if value is not None}


def nearest(word: Any, words: Iterable[str]) -> str | None:
    """Return the word that was probably meant, if one is close enough."""
    if not isinstance(word, str):
        return None
    lower = word.strip().lower()[:100]
    by_lower = {candidate.lower(): candidate for candidate in words}
    close = difflib.get_close_matches(lower, by_lower, n=1, cutoff=0.6)
    if not close and len(lower) >= 3:
        close = [candidate for candidate in by_lower if lower in candidate]
    return by_lower[close[0]] if close else None


def listed(values: Iterable[Any], last: str = "or") -> str:
    """Join values as prose: `a, b or c`."""
    words = [str(value) for value in values]
    return words[0] if len(words) == 1 else f"{', '.join(words[:-1])} {last} {words[-1]}"


def time_of(seconds: float) -> str:
    """Return a time as clients read it, in UTC to the second."""
    when = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{when.isoformat(timespec='seconds')}Z"
