"""What is kept of an entry that a file of a project brought: a project may come from anybody.

Its caps stay where they are no wider than the person's, and so does what only makes less. All else
could send the token elsewhere or spend more, and is kept on the person's word alone.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from meigen_mcp.commands.launch import TOKEN_FILE, Launch, hide_secrets
from meigen_mcp.variables import read_credits

CAPS = ("MEIGEN_MAX_CREDITS_PER_GENERATION", "MEIGEN_MAX_CREDITS_PER_DAY")
HARMLESS = ("MEIGEN_MODELS", "MEIGEN_POLL_INTERVAL", "MEIGEN_LOG_LEVEL")
_WRITTEN_ANEW = frozenset(("type", "command", "args", "env", "environment"))
_LONGEST_SHOWN = 200


@dataclass(frozen=True, slots=True)
class Foreign:
    """A variable, or another member of an entry, that a project may not decide.

    Attributes:
        value: the text of a variable, or a member as JSON.
    """

    name: str
    value: str

    def __str__(self) -> str:
        return f"{in_ascii(self.name)} = {in_ascii(hide_secrets(self.name, self.value))}"


@dataclass(frozen=True, slots=True)
class Terms:
    """On which terms what a project brought is kept.

    Attributes:
        token_file: our own, which an entry may name.
        decided: the variables that the person's options write anew.
        caps: the person's own, by variable.
        agreed: what the person said yes to.
    """

    token_file: str
    decided: frozenset[str] = frozenset()
    caps: Mapping[str, Decimal] = field(default_factory=dict)
    agreed: frozenset[Foreign] = frozenset()


@dataclass(frozen=True, slots=True)
class Kept:
    """What stays of an entry.

    Attributes:
        left_out: what does not, unless the person agrees.
        lowered: the caps that became the person's own.
    """

    variables: Mapping[str, str]
    members: Mapping[str, Any]
    left_out: tuple[Foreign, ...]
    lowered: tuple[str, ...]


def judge(entry: Mapping[str, Any], launch: Launch, terms: Terms) -> Kept:
    """Return what stays of an entry.

    Args:
        entry: as it is in the file.
        launch: how it starts the server.
        terms: what may stay.
    """
    variables: dict[str, str] = {}
    members: dict[str, Any] = {}
    left_out: list[Foreign] = []
    lowered: list[str] = []
    for name, value in launch.environment.items():
        foreign = Foreign(name, value)
        if name in terms.decided:
            continue
        if name in HARMLESS or foreign in terms.agreed or _is_own(name, value, terms):
            variables[name] = value
        elif name not in CAPS or (cap := _no_wider(value, terms.caps.get(name))) is None:
            left_out.append(foreign)
        else:
            variables[name] = cap
            lowered += [name] if cap != value else []
    for name, value in entry.items():
        if name in _WRITTEN_ANEW:
            continue
        foreign = Foreign(name, json.dumps(value))
        if foreign in terms.agreed:
            members[name] = value
        else:
            left_out.append(foreign)
    return Kept(variables, members, tuple(left_out), tuple(lowered))


def in_ascii(text: str) -> str:
    """Write what somebody else wrote in ASCII: no sign in it does anything, or looks alike."""
    if not (text.isascii() and text.isprintable()):
        text = json.dumps(text)[1:-1]
    return f"{text[:_LONGEST_SHOWN]}..." if len(text) > _LONGEST_SHOWN else text


def _is_own(name: str, value: str, terms: Terms) -> bool:
    return name == TOKEN_FILE and value == terms.token_file


def _no_wider(value: str, own: Decimal | None) -> str | None:
    """Return a cap that is at most the person's; None for one that nobody can judge."""
    cap = read_credits(value.strip())
    if cap is None:
        return None if own is None else f"{own:f}"
    return value if own is None or cap <= own else f"{own:f}"
