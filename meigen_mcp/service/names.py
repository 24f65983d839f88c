"""By what a call names a generation."""

import re
from collections.abc import Mapping
from typing import Any
from urllib.parse import unquote

from meigen_mcp.catalogue import arguments as args
from meigen_mcp.catalogue.rules import absent
from meigen_mcp.errors import Problem
from meigen_mcp.generation import RECORDS
from meigen_mcp.service.person import Person
from meigen_mcp.wording import show

_URI = re.compile(rf"{RECORDS}/([^/]+)(?:/(?:media(?:/\d*)?)?)?")
_OTHER_URI = re.compile("meigen:", re.IGNORECASE)


def request_id_of(arguments: Mapping[str, Any], person: Person) -> str | None:
    """Return the request id that a call gives, or that of the question which it answers."""
    given = arguments.get("requestId")
    if absent(given) or any(args.REQUEST_ID.check(given, "requestId")):
        given = person.pending
    return given and given.lower()


def without_uri(value: Any) -> Any:
    """Return the id that the URI of a record or of a medium names; anything else as it is."""
    found = _URI.fullmatch(value) if isinstance(value, str) else None
    return unquote(found[1]) if found else value


def odd_uris(named: Mapping[str, Any]) -> list[Problem]:
    """Say of ids that are another URI of ours how that of a generation is written."""
    return [
        Problem(
            name,
            f"{show(value)} is the URI of no generation",
            f"write {RECORDS}/GENERATIONID, as resourceUri has it, or the id alone",
        )
        for name, value in named.items()
        if isinstance(value, str) and _OTHER_URI.match(value)
    ]
