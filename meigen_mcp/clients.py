"""The chat clients: where each keeps its configuration, in what form, and what it shows.

As of November 2026: tried with Claude Code, Codex, Gemini CLI and opencode themselves; for the
others from what their makers and users write.
"""

import json
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from meigen_mcp import config_text, settings

System = Literal["linux", "macos", "windows"]
Scope = Literal["user", "project"]
Commands = Callable[[str, "Scope", str, "Launch | None"], list[list[str]]]


@dataclass(frozen=True, slots=True)
class Machine:
    """Where a person's clients keep their files.

    Attributes:
        config: where applications keep their settings.
        local: where they do on Windows when they come from its store.
        project: the folder whose own configuration `project` means.
        moved: folders that a client's own variable names.
    """

    system: System
    home: Path
    config: Path
    local: Path
    project: Path
    moved: Mapping[str, Path] = field(default_factory=dict)

    @classmethod
    def this(cls) -> "Machine":
        """Return the machine and the folder that this process runs on and in."""
        from platformdirs import (  # noqa: PLC0415  # on first use: a server needs none of it
            user_config_path,
            user_data_path,
        )

        systems: dict[str, System] = {"darwin": "macos", "win32": "windows"}
        return cls(
            systems.get(sys.platform, "linux"),
            Path.home(),
            user_config_path(roaming=True),
            user_data_path(),
            Path.cwd(),
            settings.client_folders(),
        )


@dataclass(frozen=True, slots=True)
class Launch:
    """How a client starts the server."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def ours(self) -> bool:
        """Whether it starts this server and not another one of the same name."""
        return any("meigen-mcp" in part or "meigen_mcp" in part for part in self.command)


@dataclass(frozen=True, slots=True)
class Client:
    """A chat client.

    Attributes:
        user: the file of the person, or several of which the first that exists counts.
        project: the file within a project; None: the client has none.
        container: the keys under which its servers stand.
        form: json, or toml.
        shape: how it writes a server: plain, with a `type`, or as opencode does.
        program: its own command line, which can add and remove servers; None: it has none.
        commands: what to run there for a launch, or to remove; the last one tells.
        then: what the person does next.
        shows: what the person sees of a result.
    """

    id: str
    title: str
    user: Callable[[Machine], Sequence[Path]]
    project: str | None = None
    container: tuple[str, ...] = ("mcpServers",)
    form: Literal["json", "toml"] = "json"
    shape: Literal["plain", "typed", "opencode"] = "plain"
    program: str | None = None
    commands: Commands = lambda *_: []
    then: str = ""
    shows: str = ""

    def path(self, machine: Machine, scope: Scope) -> Path | None:
        """Return the file that it reads, whether it exists or not."""
        if scope == "project":
            return None if self.project is None else machine.project / self.project
        places = self.user(machine)
        return next((path for path in places if path.exists()), places[0])

    def read(self, text: str) -> dict[str, Any]:
        """Return what a configuration says, comments or not.

        Raises:
            ValueError: it cannot be read, or has something else where servers stand.
        """
        if self.form == "toml":
            document: Any = tomllib.loads(text.removeprefix("\ufeff"))
        else:
            try:
                document = config_text.parsed(text)
            except ValueError:
                document = config_text.parsed_with_comments(text)
        _inside(document, self.container)
        return dict(document)

    def servers(self, document: Mapping[str, Any]) -> dict[str, Any]:
        """Return the servers of a configuration by name."""
        return _inside(document, self.keys(document))

    def keys(self, document: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the keys under which the servers of a configuration stand."""
        inner = document.get("mcp", {}).get("servers") if self.shape == "opencode" else None
        if isinstance(inner, dict) and "command" not in inner:  # since version 2
            return (*self.container, "servers")
        return self.container

    def launch(self, entry: Any) -> Launch:
        """Return how an entry starts its server; of what is no such entry, nothing."""
        entry = entry if isinstance(entry, dict) else {}
        command, arguments = entry.get("command"), entry.get("args")
        parts = [
            part
            for found in (command, arguments)
            for part in (found if isinstance(found, list) else [found])
        ]
        variables = entry.get("environment" if self.shape == "opencode" else "env")
        variables = variables if isinstance(variables, dict) else {}
        return Launch(
            tuple(part for part in parts if isinstance(part, str)),
            {name: value for name, value in variables.items() if isinstance(value, str)},
        )

    def entry(self, launch: Launch) -> dict[str, Any]:
        """Return a launch as this client writes it."""
        variables = dict(launch.environment)
        if self.shape == "opencode":
            entry: dict[str, Any] = {"type": "local", "command": list(launch.command)}
            return entry | ({"environment": variables} if variables else {})
        entry = {"type": "stdio"} if self.shape == "typed" else {}
        entry["command"], *arguments = launch.command
        if arguments:
            entry["args"] = arguments
        return entry | ({"env": variables} if variables else {})

    def snippet(self, name: str, entry: Mapping[str, Any]) -> str:
        """Return an entry as the person would add it by hand."""
        if self.form == "toml":
            lines = [f"[{'.'.join((*self.container, name))}]"]
            return "\n".join([*lines, *(f"{key} = {_toml(entry[key])}" for key in entry)])
        whole: dict[str, Any] = {name: dict(entry)}
        for key in reversed(self.container):
            whole = {key: whole}
        return json.dumps(whole, indent=2, ensure_ascii=False)


def _inside(document: Any, keys: Sequence[str]) -> dict[str, Any]:
    for key in keys:
        document = document.get(key, {}) if isinstance(document, dict) else None
    if not isinstance(document, dict):
        raise ValueError("there is no object where the servers stand")  # noqa: TRY004  # of a text
    return document


def _toml(value: Any) -> str:
    if isinstance(value, Mapping):
        return f"{{ {', '.join(f'{key} = {_toml(value[key])}' for key in value)} }}"
    return json.dumps(value, ensure_ascii=False)  # strings and lists of them read alike there


def _claude_desktop(machine: Machine) -> list[Path]:
    name = "claude_desktop_config.json"
    # From Windows' store and its newer installers it sees a roaming folder of its own.
    packages = (machine.local / "Packages").glob("Claude_*/LocalCache/Roaming")
    own = sorted(packages) if machine.system == "windows" else []
    return [folder / "Claude" / name for folder in [*own, machine.config]][:1]


def _claude_code(machine: Machine) -> list[Path]:
    return [machine.moved.get("claude-code", machine.home) / ".claude.json"]


def _codex(machine: Machine) -> list[Path]:
    return [machine.moved.get("codex", machine.home / ".codex") / "config.toml"]


def _opencode(machine: Machine) -> list[Path]:
    # It follows the Linux custom on every system.
    config = machine.config if machine.system == "linux" else machine.home / ".config"
    return [config / "opencode" / f"opencode.{ending}" for ending in ("json", "jsonc")]


def _by_claude(program: str, scope: Scope, name: str, launch: Launch | None) -> list[list[str]]:
    remove = [program, "mcp", "remove", "-s", scope, name]
    if launch is None:
        return [remove]
    entry = json.dumps(CLIENTS["claude-code"].entry(launch), ensure_ascii=False)
    # It refuses to add a server that is there already, and to remove one that is not.
    return [remove, [program, "mcp", "add-json", "-s", scope, name, entry]]


def _by_codex(program: str, _: Scope, name: str, launch: Launch | None) -> list[list[str]]:
    if launch is None:
        return [[program, "mcp", "remove", name]]
    variables = [part for k, v in launch.environment.items() for part in ("--env", f"{k}={v}")]
    return [[program, "mcp", "add", name, *variables, "--", *launch.command]]


def _by_gemini(program: str, scope: Scope, name: str, launch: Launch | None) -> list[list[str]]:
    if launch is None:
        return [[program, "mcp", "remove", "-s", scope, name]]
    variables = [part for k, v in launch.environment.items() for part in ("-e", f"{k}={v}")]
    command, *arguments = launch.command
    rest = ["--", *arguments] if arguments else []
    return [[program, "mcp", "add", "-s", scope, *variables, name, command, *rest]]


_LINKS = "The links and file paths in the model's answer, the preview in the tool's block."
_FORM = "Before much is spent it can ask you in a form."
_VIEWER = f"The viewer, and {_LINKS[0].lower()}{_LINKS[1:]}"

CLIENTS: Mapping[str, Client] = {
    client.id: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            _claude_desktop,
            then="Quit Claude Desktop and start it again.",
            shows=_VIEWER,
        ),
        Client(
            "claude-code",
            "Claude Code",
            _claude_code,
            project=".mcp.json",
            shape="typed",
            program="claude",
            commands=_by_claude,
            then="Start a new session; /mcp shows the server.",
            shows=f"{_LINKS} {_FORM}",
        ),
        Client(
            "cursor",
            "Cursor",
            lambda machine: [machine.home / ".cursor" / "mcp.json"],
            project=".cursor/mcp.json",
            then="Turn the server on in Settings, MCP.",
            shows=f"{_VIEWER} {_FORM}",
        ),
        Client(
            "vscode",
            "VS Code",
            lambda machine: [machine.config / "Code" / "User" / "mcp.json"],
            project=".vscode/mcp.json",
            container=("servers",),
            shape="typed",
            then="Open the chat in agent mode; VS Code asks whether you trust the server.",
            shows=f"{_VIEWER} {_FORM}",
        ),
        Client(
            "windsurf",
            "Windsurf",
            lambda machine: [machine.home / ".codeium" / "windsurf" / "mcp_config.json"],
            then="Press Refresh in the MCP panel.",
            shows=_LINKS,
        ),
        Client(
            "codex",
            "Codex",
            _codex,
            container=("mcp_servers",),
            form="toml",
            program="codex",
            commands=_by_codex,
            then="Start a new session; /mcp shows the server.",
            shows=_LINKS,
        ),
        Client(
            "gemini",
            "Gemini CLI",
            lambda machine: [machine.home / ".gemini" / "settings.json"],
            project=".gemini/settings.json",
            program="gemini",
            commands=_by_gemini,
            then="Start a new session in a folder that you trust: elsewhere it starts no server.",
            shows=_LINKS,
        ),
        Client(
            "opencode",
            "opencode",
            _opencode,
            project="opencode.json",
            container=("mcp",),
            shape="opencode",
            then="Start a new session.",
            shows=_LINKS,
        ),
    )
}


@dataclass(frozen=True, slots=True)
class Found:
    """A client's file, with the servers of ours in it by name, or why it cannot be read."""

    client: Client
    path: Path
    launches: Mapping[str, Launch]
    problem: str | None = None


def found(machine: Machine) -> list[Found]:
    """Return the files in which this server is configured, and those that cannot be read."""
    seen: list[Found] = []
    for client in CLIENTS.values():
        for scope in ("user", "project"):
            path = client.path(machine, scope)
            if path is None or not path.is_file():
                continue
            text = ""
            try:
                text = path.read_text(encoding="utf-8")
                servers = client.servers(client.read(text))
            except OSError:
                seen.append(Found(client, path, {}, "it may not be read"))
                continue
            except ValueError as problem:
                if "meigen" in text:
                    seen.append(Found(client, path, {}, str(problem)))
                continue
            launches = {name: client.launch(entry) for name, entry in servers.items()}
            ours = {name: launch for name, launch in launches.items() if launch.ours}
            if ours:
                seen.append(Found(client, path, ours))
    return seen


def executable(machine: Machine, command: str) -> bool:
    """Say whether a command that a configuration names is there to be started."""
    path = Path(command)
    if not path.is_absolute():
        return True  # its client looks for it on a PATH that may differ from ours
    return path.is_file() and (machine.system == "windows" or os.access(path, os.X_OK))
