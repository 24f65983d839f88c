"""Which clients have this server in their configuration, and what is wrong with it there."""

import codecs
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from meigen_mcp import settings
from meigen_mcp.commands.clients import CLIENTS, Client, Machine
from meigen_mcp.commands.config_file import ConfigFile, ConfigurationRefused
from meigen_mcp.commands.findings import Finding
from meigen_mcp.commands.launch import Launch, own_place
from meigen_mcp.commands.project_entry import Terms, in_ascii, judge


@dataclass(frozen=True, slots=True)
class Found:
    """A client's file, with the servers of ours in it by name, or why it cannot be read.

    Attributes:
        foreign: it is part of a project, and may come from anybody.
        marked: it begins with a byte order mark.
    """

    client: Client
    path: Path
    launches: Mapping[str, Launch]
    problem: str | None = None
    foreign: bool = False
    marked: bool = False

    @property
    def install(self) -> str:
        """The command that installs into it."""
        scope = " --scope project" if self.foreign and self.client.project else ""
        return f"meigen-mcp install {self.client.id}{scope}"


def found(machine: Machine) -> list[Found]:
    """Return the files in which this server is configured, and those that cannot be read."""
    seen = []
    for client in CLIENTS.values():
        files = [client.file(machine, scope) for scope in ("user", "project")]
        own = {file.path: file for file in reversed(files) if file is not None}
        # In the home folder some files of a project are those of the person.
        seen += [one for file in reversed(own.values()) if (one := _read(client, file)) is not None]
    return seen


def _read(client: Client, file: ConfigFile) -> Found | None:
    """Return what a file says of this server; None for nothing."""
    data = b""
    foreign = file.project is not None
    try:
        content = file.read()
        if content is None:
            return None
        data = content.data
        servers = client.servers(client.read(data.decode()))
    except ConfigurationRefused:
        return None if foreign else Found(client, file.path, {}, "it may not be read")
    except ValueError as problem:
        what = "it is no UTF-8 text" if isinstance(problem, UnicodeDecodeError) else str(problem)
        return Found(client, file.path, {}, what, foreign) if b"meigen" in data else None
    launches = {name: client.launch(entry) for name, entry in servers.items()}
    ours = {name: launch for name, launch in launches.items() if launch.ours}
    marked = data.startswith(codecs.BOM_UTF8)
    return Found(client, file.path, ours, None, foreign, marked) if ours else None


def executable(machine: Machine, command: str) -> bool:
    """Say whether a command that a configuration names is there to be started."""
    path = Path(command)
    if not path.is_absolute():
        return True  # its client looks for it on a PATH that may differ from ours
    is_file = os.path.isfile(path)  # noqa: PTH113  # it raises nothing
    return is_file and (machine.system == "windows" or os.access(path, os.X_OK))


def environments(
    found: Sequence[Found], own: Mapping[str, str]
) -> list[tuple[str, Mapping[str, str]]]:
    """Return what is set for the person's clients, once for all that have the same.

    A sandbox counts where nothing else does. What came with a project never does: it could send
    the person's token anywhere.

    Args:
        found: the clients.
        own: the variables that lie over theirs.

    Returns:
        The first client with these variables, with its file, and the variables; where no client
        counts, no name and our own.
    """
    theirs = [
        (f"{one.client.title}, {one.path}", launch)
        for one in found
        if not one.foreign
        for launch in one.launches.values()
    ]
    real = [(client, launch) for client, launch in theirs if not launch.in_sandbox]
    different: list[tuple[str, Mapping[str, str]]] = []
    for client, launch in real or theirs[:1]:
        merged = {**launch.environment, **own}
        if all(merged != other for _, other in different):
            different.append((client, merged))
    return different or [("", own)]


def others_own(found: Sequence[Found], kept: Path) -> dict[str, str]:
    """Return which clients of the person's have a token of their own, and where."""
    return {
        one.client.id: place
        for one in found
        if not one.foreign
        for launch in one.launches.values()
        if not launch.in_sandbox and (place := own_place(launch.environment, kept)) is not None
    }


def examine(found: Sequence[Found], machine: Machine | None, terms: Terms) -> Iterator[Finding]:
    """Say which clients have this server, what they show, and what is wrong with their entries."""
    if machine is None:
        says = "none was looked at, since there is no home folder or no current folder"
        fix = "Set HOME to an absolute path, and change to a folder that exists."
        yield Finding("clients", says, fix)
        return
    if not found:
        yield Finding("clients", "none has this server: `meigen-mcp install CLIENT` adds it")
    for one in found:
        where = f"{one.client.title} ({one.path})"
        if one.problem is not None:
            says = f"{where} cannot be read: {one.problem}"
            yield Finding("clients", says, "Mend the file; the client ignores it as it is.")
        if one.marked:
            says = f"{where} begins with a byte order mark, which the client may not read"
            yield Finding("clients", says, f"Run `{one.install}` again: it takes that out.")
        for name, launch in one.launches.items():
            yield from _entry(one, name, launch, machine, terms)


def _entry(
    one: Found, name: str, launch: Launch, machine: Machine, terms: Terms
) -> Iterator[Finding]:
    where, command = f"{one.client.title} ({one.path})", launch.command[0]
    sandbox = f", in {in_ascii(launch.sandbox)}" if launch.in_sandbox else ""
    says = f'{where} has it as "{in_ascii(name)}"{sandbox}. You will see: {one.client.shows}'
    if not executable(machine, command):
        says = f"{where} starts {in_ascii(command)}, which is not there"
        yield Finding("clients", says, f"Run `{one.install}` again.")
    else:
        yield Finding("clients", says)
    variables = dict(launch.environment)
    for foreign in judge({}, launch, terms).left_out if one.foreign else ():
        says = f"{where} comes with this project and sets {foreign}"
        yield Finding("clients", says, f"If that is not yours: `{one.install}` leaves it out.")
        del variables[foreign.name]  # and no file that it names is opened
    place = own_place(variables, Path(terms.token_file))
    if place is not None and not launch.in_sandbox:
        own = "has a token of its own, which `install --new-token` for another client leaves alone"
        yield Finding("clients", f"{where} {own}: {in_ascii(place)}")
    there = settings.load(variables)
    if there.token is not None and not settings.TOKEN_SHAPE.fullmatch(there.token):
        says = f"{where} has a token of unusual shape"
        yield Finding("clients", says, f"Run `{one.install} --new-token` again.")
    for problem in there.problems:
        says = f"{where}: {problem.field}: {problem.message}"
        yield Finding("clients", says, f"In that file {problem.fix}, or take it out.")
