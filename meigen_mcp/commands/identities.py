"""Whose generations a terminal means: the tokens of the clients in which this server is installed.

Of an entry only its token is used, and only of one that is the person's own: no project's, since
anybody may have written that, and nothing else of it, such as an origin or a proxy.
"""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from meigen_mcp import settings
from meigen_mcp.commands.installed import Found
from meigen_mcp.commands.launch import TOKEN, TOKEN_FILE
from meigen_mcp.settings import Settings


@dataclass(frozen=True, slots=True, repr=False)
class Identity:
    """A token that this person's server uses.

    Attributes:
        token: it.
        where: who has it, in words.
    """

    token: str
    where: str


def identities(loaded: Settings, found: Iterable[Found]) -> list[Identity]:
    """Return the tokens, that of the environment first; each once."""
    tokens = {} if loaded.token is None else {loaded.token: ["this terminal"]}
    for title, variables in _entries(found):
        names = {name: variables[name] for name in (TOKEN, TOKEN_FILE) if name in variables}
        if names and (token := settings.load(names).token) is not None:
            tokens.setdefault(token, []).append(title)
    return [Identity(token, ", ".join(dict.fromkeys(titles))) for token, titles in tokens.items()]


def unread(found: Iterable[Found]) -> list[str]:
    """Say which clients' token cannot be read, so that what they made counts as anybody's."""
    return [
        f"The token of {title} cannot be read here: {problem.message}."
        for title, variables in _entries(found)
        if TOKEN_FILE in variables
        for problem in settings.load({TOKEN_FILE: variables[TOKEN_FILE]}).problems
    ]


def _entries(found: Iterable[Found]) -> list[tuple[str, dict[str, str]]]:
    return [
        (one.client.title, dict(launch.environment))
        for one in found
        if not one.foreign
        for launch in one.launches.values()
        if "--sandbox" not in launch.command
    ]


def with_first(loaded: Settings, known: Sequence[Identity]) -> Settings:
    """Return settings with the first token: as which a command acts."""
    return replace(loaded, token=known[0].token) if known else loaded


def elsewhere(loaded: Settings, found: Iterable[Found]) -> dict[Path, str]:
    """Return the data folders of servers that are not this terminal's, each with its client."""
    named = ((title, variables.get("MEIGEN_DATA_DIR")) for title, variables in _entries(found))
    folders = {Path(folder): title for title, folder in named if folder}
    return {
        folder: title
        for folder, title in folders.items()
        if os.path.normpath(folder) != os.path.normpath(loaded.data_dir)
    }
