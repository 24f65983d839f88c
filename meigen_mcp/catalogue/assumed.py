"""The names that no source gives, from `assumed.toml`: read where MeiGen says them.

None of them is sent unless MeiGen itself used it before. The client looks for them there; the
sandbox says them.
"""

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib.resources import files
from typing import Any


@cache
def assumed() -> Mapping[str, Mapping[str, Any]]:
    """Return every assumption: its `name`, and what is `known` beside it."""
    text = files("meigen_mcp.catalogue").joinpath("assumed.toml").read_text(encoding="utf-8")
    return tomllib.loads(text)


def name_of(what: str) -> str:
    """Return the assumed name of something."""
    name: str = assumed()[what]["name"]
    return name
