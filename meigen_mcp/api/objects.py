"""The JSON object that a reply is, and what is left of one that broke off; no I/O."""

import json
import re
from codecs import BOM_UTF8
from typing import Any

_SHORTEST_SECRET = 10
_HTML = (b"<!doctype html", b"<html", b"<!--")
_ID = re.compile(rb'"generationId"\s*:\s*("(?:[^"\\]|\\.)+"|\d+(?=\s*[,}]))')


def parsed(raw: bytes, secret: str | None) -> dict[str, Any] | None:
    """Return the JSON object that a reply is, without the token, or None when it is none.

    Bytes that are no UTF-8, and whatever a gateway hangs on behind the object, do not matter.
    """
    try:
        payload = _cleaned(_loads(raw), secret or "")
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _loads(raw: bytes) -> Any:
    try:
        return json.loads(raw)
    except ValueError:
        text = raw.decode("utf-8-sig", "replace").lstrip()
        return json.JSONDecoder().raw_decode(text)[0]


def _cleaned(value: Any, secret: str) -> Any:
    """Return JSON without the token, and without half characters, which cannot be stored."""
    match value:
        case str():
            text = value.encode("utf-8", "replace").decode()
            return text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
        case list():
            return [_cleaned(item, secret) for item in value]
        case dict():
            return {_cleaned(name, secret): _cleaned(item, secret) for name, item in value.items()}
    return value


def is_page(raw: bytes) -> bool:
    """Return whether bytes are something else than JSON, and not JSON that broke off."""
    return bool(raw.removeprefix(BOM_UTF8).strip()) and not begins(raw)


def begins(raw: bytes) -> bool:
    """Return whether bytes are the begin of an object, or all of it."""
    return raw.removeprefix(BOM_UTF8).lstrip().startswith(b"{")


def is_for_people(raw: bytes) -> bool:
    """Return whether bytes begin a page in HTML: whoever stands in between may have sent it."""
    return raw.removeprefix(BOM_UTF8).lstrip()[:16].lower().startswith(_HTML)


def rest_of(raw: bytes) -> dict[str, Any]:
    """Return what can still be read of an object that broke off: the id, if it is whole."""
    found = _ID.search(raw) if begins(raw) else None
    try:
        return {"generationId": _loads(found[1])} if found else {}
    except ValueError:
        return {}
