"""A client's configuration as it is: our entry in it, and what of that stays when it is changed."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meigen_mcp.commands import json_text
from meigen_mcp.commands.clients import Client, Machine, Scope
from meigen_mcp.commands.config_file import ConfigFile, ConfigurationRefused, Content
from meigen_mcp.commands.launch import TOKEN, TOKEN_FILE, Launch, hide_secrets
from meigen_mcp.commands.project_entry import Kept, Terms, judge

_BOM = "\ufeff"
_CHOSEN = ("tools",)
"""Members that an entry is given, and that stay as the person has changed them."""
_SECRET = re.compile(r"meigen_sk_[\w-]+")


@dataclass(frozen=True, slots=True)
class Target:
    """One entry in one configuration.

    Attributes:
        before: the file as it is; None where there is none.
        text: what it says, without a byte order mark.
        marked: whether it begins with one.
        plain: whether it is JSON without comments.
        entry: our entry as it is, or None.
        keys: where it stands.
    """

    client: Client
    scope: Scope
    name: str
    file: ConfigFile
    before: Content | None
    text: str
    marked: bool
    plain: bool
    entry: dict[str, Any] | None
    keys: tuple[str, ...]

    @property
    def path(self) -> Path:
        """The file's."""
        return self.file.path

    @property
    def launch(self) -> Launch | None:
        """How the entry starts the server."""
        return None if self.entry is None else self.client.launch(self.entry)

    def kept(self, terms: Terms) -> Kept:
        """Return what stays of the entry: all, unless it is in a file of a project."""
        launch = self.launch
        if launch is None or self.entry is None:
            return Kept({}, {}, (), ())
        if self.file.project is None:
            return Kept(launch.environment, self.entry, (), ())
        return judge(self.entry, launch, terms)

    def names_token(self, terms: Terms) -> bool:
        """Say whether what stays of the entry names a token."""
        variables = self.kept(terms).variables
        return any(variables.get(name) for name in (TOKEN, TOKEN_FILE))

    def merged(self, wanted: Launch, terms: Terms) -> dict[str, Any]:
        """Return the entry as it becomes: what the person added to it stays, caps above all."""
        old = self.kept(terms)
        sandbox = "--sandbox" in wanted.command
        replaced = (TOKEN, TOKEN_FILE) if sandbox or TOKEN_FILE in wanted.environment else ()
        kept = {name: value for name, value in old.variables.items() if name not in replaced}
        new = self.client.entry(Launch(wanted.command, {**kept, **wanted.environment}))
        gone = {"args", "env", "environment"} - new.keys()
        kept_members = {name: value for name, value in old.members.items() if name not in gone}
        chosen = {name: kept_members[name] for name in _CHOSEN if name in kept_members}
        return kept_members | new | chosen

    def shown(self, entry: Mapping[str, Any] | None) -> str:
        """Return an entry as a person would add it by hand, without secrets."""
        if entry is None:
            return ""
        variables = self.client.variables
        hidden = dict(entry)
        if isinstance(entry.get(variables), dict):
            hidden[variables] = {
                name: hide_secrets(name, value) if isinstance(value, str) else value
                for name, value in entry[variables].items()
            }
        return _SECRET.sub("***", self.client.snippet(self.name, hidden))


def look(client: Client, machine: Machine, scope: Scope, name: str) -> Target:
    """Look at a client's configuration.

    Raises:
        ConfigurationRefused: it cannot be read, or another server has the name.
    """
    file = client.file(machine, scope)
    if file is None:
        raise ConfigurationRefused(
            f"{client.title} has no configuration of a {scope}; leave --scope out."
        )
    before = file.read()
    try:
        text = "" if before is None else before.data.decode()
        document = client.read(text)
    except ValueError as problem:
        what = "it is no UTF-8 text" if isinstance(problem, UnicodeDecodeError) else problem
        raise ConfigurationRefused(
            f"{file.named} is malformed and was left alone: {what}. Mend it and call again, or add"
            " what --print shows by hand."
        ) from None
    entry = client.servers(document).get(name)
    if entry is not None and not client.launch(entry).ours:
        raise ConfigurationRefused(
            f'{file.named} has another server named "{name}", which was left alone. Choose a name'
            " with --name."
        )
    plain = client.form == "json" and json_text.is_plain(text)
    keys = (*client.keys(document), name)
    bare = text.removeprefix(_BOM)
    return Target(client, scope, name, file, before, bare, bare != text, plain, entry, keys)
