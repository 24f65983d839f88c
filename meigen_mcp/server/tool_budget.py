"""How many bytes the list of tools may take in every conversation, and what gives way first.

First the limits that differ by model, then lists of values, then the list of models: whatever goes
is still checked, and stands in `list_models`. No rule is ever bent for room.
"""

import json
from collections.abc import Mapping

from meigen_mcp.catalogue.arguments import names
from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.catalogue.rules import Schema

MOST = 8_000
FOR_NEWER_INPUTS = 1_000
FOR_EACH_MODEL = 60
EVER = 16_000
AROUND = 525
"""Bytes of an answer besides the tools in 2026-07-28: how long it may be kept, what the server is
called, its page and its icon; in the sandbox, whose title is the longest."""


def allowed(catalogue: Catalogue) -> int:
    """Return the bytes that tools may take: more with inputs and models that are not shipped."""
    known = shipped()
    newer = {*names(catalogue.accepted())} - {*names(known.accepted())}
    further = len(catalogue.accepted()) - len(known.accepted())
    room = MOST + (FOR_NEWER_INPUTS if newer else 0) + FOR_EACH_MODEL * max(0, further)
    return min(room, EVER) - AROUND


def shorten(schemas: Mapping[str, Schema], brief: Mapping[str, Schema], excess: int) -> None:
    """Take bytes out of the schemas of the generating tools, the longest texts first.

    Args:
        schemas: by tool; changed in place.
        brief: the same without the limits that differ by model.
        excess: how many bytes are too many.
    """
    bare = {
        tool: {"properties": {name: _bare(name, inner) for name, inner in _members(schema)}}
        for tool, schema in brief.items()
    }
    for leaner in (brief, bare):
        savings = [
            (name != "modelId", _size(inner) - _size(leaner[tool]["properties"][name]), tool, name)
            for tool, schema in schemas.items()
            for name, inner in _members(schema)
        ]
        for _, saved, tool, name in sorted(savings, reverse=True):
            if excess <= 0:
                return
            if saved > 0:
                schemas[tool]["properties"][name] = leaner[tool]["properties"][name]
                excess -= saved


def _members(schema: Schema) -> list[tuple[str, Schema]]:
    return list(schema["properties"].items())


def _bare(name: str, schema: Schema) -> Schema:
    """Return a property by its type alone; the models are named by another tool then."""
    about = "Its id, from list_models." if name == "modelId" else schema["description"]
    bare = {"type": schema["type"], "description": about}
    return bare | ({"items": {"type": "string"}} if schema["type"] == "array" else {})


def _size(schema: Schema) -> int:
    return len(json.dumps(schema, separators=(",", ":"), ensure_ascii=False).encode())
