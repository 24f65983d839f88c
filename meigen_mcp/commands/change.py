"""What must be done to a client's configuration: by its own program, in its file, or by hand."""

import difflib
import shutil
import subprocess
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from meigen_mcp.commands import json_text
from meigen_mcp.commands.clients import Client
from meigen_mcp.commands.configuration import Target
from meigen_mcp.commands.launch import TOKEN, Launch
from meigen_mcp.commands.project_entry import Terms

LONGEST_RUN = 60

Run = Callable[[Sequence[str], Path], str | None]


def _run(command: Sequence[str], folder: Path) -> str | None:
    try:
        done = subprocess.run(  # noqa: S603  # a client's own program, found on the PATH
            command,
            cwd=folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            encoding="utf-8",
            errors="replace",
            timeout=LONGEST_RUN,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired) as problem:
        return type(problem).__name__
    return (done.stderr or done.stdout).strip() if done.returncode else None


@dataclass(frozen=True, slots=True)
class Programs:
    """What an installation uses of this machine besides files.

    Attributes:
        find: the full path of a program, or None.
        run: run a command in a folder; return what it said if it failed.
    """

    find: Callable[[str], str | None] = shutil.which
    run: Run = _run


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done to a configuration, in one of three ways.

    Attributes:
        about: one line for the person.
        notes: what the person should know besides.
        commands: to be run with the client's own program; or
        text: the new text of the file, None where it goes; or
        by_hand: what the person is to do; with none of them, nothing is to be done.
    """

    target: Target
    entry: dict[str, Any] | None
    about: str
    notes: Sequence[str] = ()
    commands: Sequence[Sequence[str]] = ()
    text: str | None = None
    by_hand: str | None = None

    @property
    def nothing(self) -> bool:
        """Whether everything is as it should be."""
        changed = self.text != self.target.text or self.target.marked
        return not self.commands and self.by_hand is None and not changed

    def shown(self) -> str:
        """Return the change of our own entry as a person reads it, without secrets."""
        if self.commands:
            return "\n".join(f"would run: {' '.join(command)}" for command in self.commands)
        if self.by_hand is not None:
            return self.by_hand
        on = self.target
        old, new = (on.shown(entry).splitlines() for entry in (on.entry, self.entry))
        path = on.file.named
        return "\n".join(difflib.unified_diff(old, new, path, path, lineterm=""))


def plan(on: Target, wanted: Launch | None, terms: Terms, programs: Programs) -> Change:
    """Return what must be done so that a client starts the server, or no longer does.

    Args:
        on: the client's configuration.
        wanted: how it is to be started; None: no longer.
        terms: on which the entry of a project's file is kept.
        programs: what is there to do it with.
    """
    client, where = on.client, f"{on.client.title} ({on.file.named})"
    entry = None if wanted is None else on.merged(wanted, terms)
    notes = _notes(on, terms) if wanted is not None else []
    mark = f"a byte order mark at its start, which {client.title} may not be able to read"
    if _bare(entry) == _bare(on.entry):
        there = "has no such server; nothing to do."
        if entry is not None:
            there = "starts this server already; nothing to do."
        if on.marked:
            there = f"had {mark}; nothing else was to do."
        return Change(on, on.entry, f"{where} {there}", text=on.text)
    done = "no longer starts this server" if entry is None else "starts this server now"
    about = f"{where} {done}."
    becomes = None if entry is None else client.launch(entry)
    said = [*notes, *_about_sandbox(on.launch, becomes)]
    program = _usable_program(on, programs)
    if program is not None and _tellable(client, entry):
        commands = client.commands(program, on.scope, on.name, becomes)
        commands = commands[-1:] if on.entry is None else commands
        return Change(on, entry, about, said, commands=commands)
    if (text := _edited(on, entry)) is not None:
        said += [f"It had {mark}: that is gone."] if on.marked else []
        return Change(on, entry, about, said, text=text or None)
    what = "has comments" if client.form == "json" else "is TOML"
    hand = f"{on.file.named} {what} and is left to you. "
    if entry is None:
        hand += f"Delete the server {on.name} from it."
    else:
        hand += f"Add to it, or replace what stands there:\n\n{on.shown(entry)}"
    notes += [f"It has {mark}: save it without."] if on.marked else []
    return Change(on, entry, about, notes, by_hand=hand)


def _about_sandbox(before: Launch | None, after: Launch | None) -> list[str]:
    """Say whether it costs nothing, or does from now on."""
    if after is None:
        return []
    if after.in_sandbox:
        return [f"It is in {after.sandbox}: nothing there is real, and nothing costs."]
    was = before is not None and before.in_sandbox
    return ["It was in the sandbox; from now on it spends your credits."] * was


def _notes(on: Target, terms: Terms) -> list[str]:
    kept = on.kept(terms)
    lines = [f"Not kept, since it comes with the project: {one}" for one in kept.left_out]
    return lines + [
        f"{name} is {kept.variables[name]}: your own, which is narrower than the project's."
        for name in kept.lowered
    ]


def _edited(on: Target, entry: Mapping[str, Any] | None) -> str | None:
    """Return the file's text with the entry changed, empty where the file goes.

    None leaves it to the person.
    """
    if not on.plain:
        return _appended(on, entry)
    try:
        if entry is not None:
            return json_text.put(on.text, on.keys, entry)
        text = json_text.drop(on.text, on.keys)
    except RecursionError:  # nested as deep as can be read
        return None
    return "" if text.strip() == "{}" else text


def _appended(on: Target, entry: Mapping[str, Any] | None) -> str | None:
    """Return a TOML text with a new entry at its end, if it then says that and nothing else."""
    if on.client.form != "toml" or on.entry is not None or entry is None:
        return None
    gap = "" if not on.text.strip() else "\n" if on.text.endswith("\n") else "\n\n"
    added = f"{gap}{on.client.snippet(on.name, entry)}\n"
    text = on.text + (added.replace("\n", "\r\n") if "\r\n" in on.text else added)
    before = on.client.servers(on.client.read(on.text))
    try:
        after = on.client.servers(on.client.read(text))
    except ValueError:  # its servers stand in one line
        return None
    return text if after == {**before, on.name: entry} else None


def _usable_program(on: Target, programs: Programs) -> str | None:
    """Return a client's own program, where it can be trusted with the file.

    Of a project's file, of one with several names and of one that it may not read, nobody knows
    what it makes. A script of Windows reads its arguments as commands, and a program in the
    current folder is anybody's.
    """
    shared = on.file.linked or (on.before is not None and on.before.in_place)
    if on.file.project is not None or on.marked or shared or on.client.program is None:
        return None
    path = programs.find(on.client.program)
    if path is None or path.lower().endswith((".cmd", ".bat")) or not Path(path).is_absolute():
        return None
    return path


def _tellable(client: Client, entry: Mapping[str, Any] | None) -> bool:
    """Say whether an entry may stand on a command line, and fits there whole."""
    if entry is None:
        return True
    told = client.launch(entry)
    secret = any(
        not name.startswith("MEIGEN_") or name in (TOKEN, "MEIGEN_HTTP_TOKEN")
        for name in told.environment
    )
    return not secret and client.entry(told) == _bare(entry)


def _bare(entry: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Return an entry without what some clients write although it is empty."""
    if entry is None:
        return None
    return {name: value for name, value in entry.items() if value not in ([], {})}
