"""Adding this server to a chat client's configuration, and taking it out again.

Only our own entry is ever touched. The token is never written there, nor on any command line: it
goes into a private file of the data folder, which the entry names.
"""

import difflib
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path
from typing import Any

from meigen_mcp import config_text
from meigen_mcp.clients import Client, Launch, Machine, Scope
from meigen_mcp.system import private_file, private_folder

TOKEN = "MEIGEN_API_TOKEN"  # noqa: S105  # the name of a variable
TOKEN_FILE = "MEIGEN_API_TOKEN_FILE"  # noqa: S105  # as above
LONGEST_RUN = 60
_SECRET = re.compile(r"meigen_sk_[\w-]+")

Run = Callable[[Sequence[str], Path], str | None]


class Refused(Exception):
    """The configuration is left alone; the sentence says why and what to do."""


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
class Tools:
    """What an installation uses of this machine besides files.

    Attributes:
        find: the full path of a program, or None.
        run: run a command in a folder; return what it said if it failed.
    """

    find: Callable[[str], str | None] = shutil.which
    run: Run = _run


# --- how the server is started -----------------------------------------------------------------


def command_line(
    prefix: Path = Path(sys.prefix),
    executable: Path = Path(sys.executable),
    find: Callable[[str], str | None] = shutil.which,
) -> tuple[str, ...]:
    """Return a command that starts this installation from anywhere, also from a desktop.

    A client started from a desktop has another PATH than a terminal, so paths are absolute. An
    environment that `uvx` keeps in its cache may go at any time, so there `uvx` itself is named.
    """
    uvx = find("uvx") if "archive-v0" in prefix.parts else None
    if uvx is not None:
        return (uvx, *_source(), "meigen-mcp")
    for name in ("meigen-mcp", "meigen-mcp.exe"):
        script = executable.with_name(name)
        if script.is_file():
            return (str(script),)
    return (str(executable), "-m", "meigen_mcp")


def _source() -> tuple[str, ...]:
    """Return from where `uvx` took the package, unless it was the index."""
    try:
        origin = json.loads(distribution("meigen-mcp").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ()
    return ("--from", origin["url"]) if "url" in origin else ()


def launch(
    token_file: Path | None, reference_dirs: Sequence[Path] = (), *, sandbox: bool = False
) -> Launch:
    """Return how a client is to start the server."""
    environment: dict[str, str] = {}
    if token_file is not None:
        environment[TOKEN_FILE] = str(token_file.expanduser().absolute())
    if reference_dirs:
        folders = [str(folder.expanduser().absolute()) for folder in reference_dirs]
        environment["MEIGEN_REFERENCE_DIRS"] = os.pathsep.join(folders)
    return Launch((*command_line(), *(("serve", "--sandbox") if sandbox else ())), environment)


def token_path(data_dir: Path) -> Path:
    """Return where the token is kept."""
    return data_dir / "token"


def keep_token(data_dir: Path, token: str) -> Path:
    """Write the token into the private file of the data folder."""
    path = token_path(data_dir)
    private_folder(data_dir)
    private_file(path)
    path.write_text(f"{token.strip()}\n", encoding="utf-8")
    return path


# --- the change --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Target:
    """One entry in one configuration.

    Attributes:
        text: the configuration as it is; empty where there is none.
        plain: whether it is JSON without comments.
        entry: our entry as it is, or None.
        keys: where it stands.
    """

    client: Client
    scope: Scope
    name: str
    path: Path
    text: str
    plain: bool
    entry: dict[str, Any] | None
    keys: tuple[str, ...]

    @property
    def launch(self) -> Launch | None:
        """How the entry starts the server."""
        return None if self.entry is None else self.client.launch(self.entry)

    @property
    def has_token(self) -> bool:
        """Whether the entry names a token already."""
        named = self.launch.environment if self.launch else {}
        return any(named.get(name) for name in (TOKEN, TOKEN_FILE))

    def snippet(self, wanted: Launch) -> str:
        """Return what a person would add by hand."""
        return self.client.snippet(self.name, self.merged(wanted))

    def merged(self, wanted: Launch) -> dict[str, Any]:
        """Return the entry as it becomes: what the person added to it stays, caps above all."""
        old = self.launch.environment if self.launch else {}
        sandbox = "--sandbox" in wanted.command
        replaced = (TOKEN, TOKEN_FILE) if sandbox or TOKEN_FILE in wanted.environment else ()
        kept = {name: value for name, value in old.items() if name not in replaced}
        new = self.client.entry(Launch(wanted.command, {**kept, **wanted.environment}))
        gone = {"args", "env", "environment"} - new.keys()
        return {k: v for k, v in (self.entry or {}).items() if k not in gone} | new


def target(client: Client, machine: Machine, scope: Scope, name: str) -> Target:
    """Look at a client's configuration.

    Raises:
        Refused: it cannot be read, or another server has the name.
    """
    path = client.path(machine, scope)
    if path is None:
        raise Refused(f"{client.title} has no configuration of a {scope}; leave --scope out.")
    try:
        text = path.read_bytes().decode() if path.exists() else ""
        document = client.read(text)
    except OSError:
        raise Refused(f"{path} cannot be read; it was left alone.") from None
    except ValueError as problem:
        raise Refused(
            f"{path} is malformed and was left alone: {problem}. Mend it and call again, or add"
            " what --print shows by hand."
        ) from None
    entry = client.servers(document).get(name)
    if entry is not None and not client.launch(entry).ours:
        raise Refused(
            f'{path} has another server named "{name}", which was left alone. Choose a name with'
            " --name."
        )
    plain = client.form == "json"
    if plain:
        try:
            config_text.parsed(text)
        except ValueError:
            plain = False
    return Target(client, scope, name, path, text, plain, entry, (*client.keys(document), name))


@dataclass(frozen=True, slots=True)
class Change:
    """What is to be done to a configuration, in one of three ways.

    Attributes:
        about: one line for the person.
        commands: to be run with the client's own program; or
        text: the new text of the file, None where it goes; or
        by_hand: what the person is to do; with none of them, nothing is to be done.
    """

    target: Target
    wanted: Launch | None
    about: str
    commands: Sequence[Sequence[str]] = ()
    text: str | None = None
    by_hand: str | None = None

    @property
    def nothing(self) -> bool:
        """Whether everything is as it should be."""
        return not self.commands and self.by_hand is None and self.text == self.target.text

    def shown(self) -> str:
        """Return the change as a person reads it, without secrets."""
        if self.commands:
            return "\n".join(f"would run: {' '.join(command)}" for command in self.commands)
        if self.by_hand is not None:
            return self.by_hand
        old, new = (text.splitlines(keepends=True) for text in (self.target.text, self.text or ""))
        path = str(self.target.path)
        diff = "".join(
            line if line.endswith("\n") else f"{line}\n"
            for line in difflib.unified_diff(old, new, path, path)
        )
        return _SECRET.sub("***", diff)


def plan(on: Target, wanted: Launch | None, tools: Tools | None = None) -> Change:
    """Return what must be done so that a client starts the server, or no longer does.

    Args:
        on: the client's configuration.
        wanted: how it is to be started; None: no longer.
        tools: what is there to do it with.
    """
    client, where = on.client, f"{on.client.title} ({on.path})"
    entry = None if wanted is None else on.merged(wanted)
    if _bare(entry) == _bare(on.entry):
        there = "has no such server; nothing to do."
        if entry is not None:
            there = "starts this server already; nothing to do (for another token: --new-token)."
        return Change(on, wanted, f"{where} {there}", text=on.text)
    done = "no longer starts this server" if entry is None else "starts this server now"
    about = f"{where} {done}."
    program = _usable(client.program, tools or Tools())
    becomes = None if entry is None else client.launch(entry)
    if program is not None and _tellable(client, entry):
        commands = client.commands(program, on.scope, on.name, becomes)
        return Change(on, wanted, about, commands=commands[-1:] if on.entry is None else commands)
    if on.plain:
        if entry is not None:
            return Change(on, wanted, about, text=config_text.put(on.text, on.keys, entry))
        text = config_text.drop(on.text, on.keys)
        return Change(on, wanted, about, text=None if text.strip() == "{}" else text)
    if (appended := _appended(on, entry)) is not None:
        return Change(on, wanted, about, text=appended)
    what = "has comments" if client.form == "json" else "is TOML"
    hand = f"{on.path} {what} and is left to you. "
    if entry is None:
        hand += f"Delete the server {on.name} from it."
    else:
        hand += f"Add to it, or replace what stands there:\n\n{client.snippet(on.name, entry)}"
    return Change(on, wanted, about, by_hand=_SECRET.sub("***", hand))


def _appended(on: Target, entry: Mapping[str, Any] | None) -> str | None:
    """Return a TOML text with a new entry at its end, if it then says that and nothing else."""
    if on.client.form != "toml" or on.entry is not None or entry is None:
        return None
    gap = "" if not on.text.strip() else "\n" if on.text.endswith("\n") else "\n\n"
    text = f"{on.text}{gap}{on.client.snippet(on.name, entry)}\n"
    before = on.client.servers(on.client.read(on.text))
    try:
        after = on.client.servers(on.client.read(text))
    except ValueError:  # its servers stand in one line
        return None
    return text if after == {**before, on.name: entry} else None


def _usable(name: str | None, tools: Tools) -> str | None:
    """Return a client's own program, unless it is a script of Windows.

    Those read their arguments as commands.
    """
    path = tools.find(name) if name else None
    return None if path is None or path.lower().endswith((".cmd", ".bat")) else path


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


def apply(change: Change, machine: Machine, tools: Tools | None = None) -> str:
    """Do it, with a copy of the file as it was beside it; return what was done.

    Raises:
        Refused: it could not be done.
    """
    on, tools = change.target, tools or Tools()
    if change.nothing:
        return change.about
    if change.by_hand is not None:
        return change.by_hand
    try:
        kept = _backup(on.path)
        if not change.commands:
            _write(on.path, change.text)
    except OSError:
        raise Refused(f"{on.path} cannot be written; it was left alone.") from None
    if change.commands:
        said = [tools.run(command, machine.project) for command in change.commands]
        now = target(on.client, machine, on.scope, on.name).launch
        wanted = None if change.wanted is None else on.client.launch(on.merged(change.wanted))
        if now != wanted:
            raise Refused(
                f"{change.commands[-1][0]} did not do it ({said[-1] or 'it said nothing'})."
                " What --print shows can be added by hand."
                + (f" As it was before: {kept}" if kept else "")
            )
    then = f" {on.client.then}" if change.wanted else ""
    copy = f"\nAs it was before: {kept}" if kept else ""
    return f"{change.about}{then}{copy}"


def _backup(path: Path) -> Path | None:
    if not path.exists():
        return None
    copy = path.with_name(f"{path.name}.meigen-backup")
    shutil.copy2(path, copy)
    return copy


def _write(path: Path, text: str | None) -> None:
    """Replace a file whole or not at all; a link to it stays one."""
    path = path.resolve()
    if text is None:
        path.unlink(missing_ok=True)
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f"{path.name}.meigen-draft")
    if path.exists():  # it may hold other servers' secrets
        private_file(draft)
    draft.write_bytes(text.encode())
    if path.exists():
        shutil.copymode(path, draft)
    draft.replace(path)
