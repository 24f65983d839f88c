"""The chat clients: where each keeps its configuration, and in what form.

As of November 2026: tried with Claude Code, Codex, Gemini CLI, opencode and Copilot CLI themselves;
for the others from what their makers and users write.
"""

import json
import os
import sys
import tomllib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from meigen_mcp import settings
from meigen_mcp.commands import json_text
from meigen_mcp.commands.config_file import ConfigFile, ConfigurationRefused
from meigen_mcp.commands.launch import Launch
from meigen_mcp.known_clients import known_clients

System = Literal["linux", "macos", "windows"]
Scope = Literal["user", "project"]
Commands = Callable[[str, "Scope", str, "Launch | None"], list[list[str]]]
HTTP_TOKEN = "MEIGEN_HTTP_TOKEN"  # noqa: S105  # the name of a variable
TOKEN_OF_URL = (
    f"{HTTP_TOKEN} is the token of that server, where `meigen-mcp serve --show-token` shows it: set"
    " it where the client is started, or type it when the client asks. For a server that asks for"
    " none, add --no-token."
)
_OF_TOKEN = ("headers", "bearer_token_env_var")
"""The members of an entry for an address that bring the token."""


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
        """Return the machine and the folder that this process runs on and in.

        Raises:
            ConfigurationRefused: there is no home, or the folder is gone.
        """
        from platformdirs import (  # noqa: PLC0415  # on first use: a server needs none of it
            user_config_path,
            user_data_path,
        )

        systems: dict[str, System] = {"darwin": "macos", "win32": "windows"}
        try:
            home, config, local = Path.home(), user_config_path(roaming=True), user_data_path()
        except RuntimeError:
            home = Path()
        if not home.is_absolute():
            raise ConfigurationRefused(
                "No home folder is known, where clients keep their configuration. Set HOME to an"
                " absolute path."
            )
        try:
            project = Path.cwd()
        except OSError:
            raise ConfigurationRefused(
                "The current folder is gone. Change to another one, and call again."
            ) from None
        system = systems.get(sys.platform, "linux")
        return cls(system, home, config, local, project, settings.client_folders())


@dataclass(frozen=True, slots=True)
class Client:
    """A chat client.

    Attributes:
        user: the file of the person, or several of which the first that exists counts.
        project: the file within a project; None: the client has none.
        container: the keys under which its servers stand.
        form: json, or toml.
        shape: how it writes a server: plain, with a `type`, or as opencode or Copilot CLI do.
        remote: an entry for an address, whose token is in `HTTP_TOKEN`; None: it takes none.
        program: its own command line, which can add and remove servers; None: it has none.
        commands: what to run there for a launch, or to remove; the last one tells.
        then: what the person does next.
    """

    id: str
    title: str
    user: Callable[[Machine], Sequence[Path]]
    project: str | None = None
    container: tuple[str, ...] = ("mcpServers",)
    form: Literal["json", "toml"] = "json"
    shape: Literal["plain", "typed", "opencode", "copilot"] = "plain"
    remote: Callable[[str], dict[str, Any]] | None = None
    program: str | None = None
    commands: Commands = lambda *_: []
    then: str = ""

    @property
    def shows(self) -> str:
        """What the person sees of a result there."""
        return known_clients()[self.id].shows

    def path(self, machine: Machine, scope: Scope) -> Path | None:
        """Return the file that it reads, whether it exists or not."""
        if scope == "project":
            return None if self.project is None else machine.project / self.project
        places = self.user(machine)
        # Unlike Path.exists it raises nothing, whatever may not be looked into.
        return next((path for path in places if os.path.exists(path)), places[0])  # noqa: PTH110

    def file(self, machine: Machine, scope: Scope) -> ConfigFile | None:
        """Return that file; one in the folder of a project is part of that."""
        path = self.path(machine, scope)
        if path is None:
            return None
        inside = path.is_relative_to(machine.project)
        at_home = machine.home.is_relative_to(machine.project)
        foreign = scope == "project" or (inside and not at_home)
        return ConfigFile(path, machine.project if foreign else None)

    @property
    def variables(self) -> str:
        """The member of an entry that holds its variables."""
        return "environment" if self.shape == "opencode" else "env"

    def read(self, text: str) -> dict[str, Any]:
        """Return what a configuration says, comments or not.

        Raises:
            ValueError: it cannot be read, or has something else where servers stand.
        """
        if self.form == "toml":
            try:
                document: Any = tomllib.loads(text.removeprefix("\ufeff"))
            except (ValueError, RecursionError):
                raise ValueError("it is no TOML that can be read") from None
        else:
            try:
                document = json_text.parsed(text)
            except ValueError:
                document = json_text.parsed_with_comments(text)
        _inside(document, self.container)
        return dict(document)

    def remote_snippet(self, name: str, url: str, *, token: bool) -> str:
        """Return what the person adds by hand for a server at an address.

        Args:
            name: the server's name in the configuration.
            url: the address.
            token: whether that server asks for one.

        Raises:
            ConfigurationRefused: it takes no address.
        """
        if self.remote is None:
            raise ConfigurationRefused(
                f"{self.title} takes no address in its configuration; leave --url out, and it"
                " starts the server itself."
            )
        entry = self.remote(url)
        left_out = () if token else _OF_TOKEN
        snippet = self.snippet(name, {k: v for k, v in entry.items() if k not in left_out})
        if self.id != "vscode" or not token:
            return snippet
        question = {"type": "promptString", "id": "meigen", "description": HTTP_TOKEN}
        inputs = [question | {"password": True}]
        return json.dumps({"inputs": inputs, **json.loads(snippet)}, indent=2)

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
        variables = entry.get(self.variables)
        variables = variables if isinstance(variables, dict) else {}
        return Launch(
            tuple(part for part in parts if isinstance(part, str)),
            {name: _text(value) for name, value in variables.items() if value is not None},
        )

    def entry(self, launch: Launch) -> dict[str, Any]:
        """Return a launch as this client writes it."""
        variables = dict(launch.environment)
        if self.shape == "opencode":
            entry: dict[str, Any] = {"type": "local", "command": list(launch.command)}
            return entry | ({"environment": variables} if variables else {})
        kinds = {"typed": "stdio", "copilot": "local"}
        entry = {"type": kinds[self.shape]} if self.shape in kinds else {}
        entry["command"], *arguments = launch.command
        if arguments:
            entry["args"] = arguments
        entry |= {"env": variables} if variables else {}
        return entry | ({"tools": ["*"]} if self.shape == "copilot" else {})

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


def _text(value: Any) -> str:
    """Return a variable as its process gets it; some clients take numbers, and a cap is one."""
    return value if isinstance(value, str) else json.dumps(value, default=str)


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


def _copilot(machine: Machine) -> list[Path]:
    return [machine.moved.get("copilot", machine.home / ".copilot") / "mcp-config.json"]


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


def _at(address: str, token: str, **more: Any) -> Callable[[str], dict[str, Any]]:
    """Return what makes an entry for an address, with the token where the client fills it in."""
    headers = {"Authorization": f"Bearer {token}"}
    return lambda url: {**more, address: url, "headers": headers}


CLIENTS: Mapping[str, Client] = {
    client.id: client
    for client in (
        Client(
            "claude-desktop",
            "Claude Desktop",
            _claude_desktop,
            then="Quit Claude Desktop and start it again.",
        ),
        Client(
            "claude-code",
            "Claude Code",
            _claude_code,
            project=".mcp.json",
            shape="typed",
            program="claude",
            commands=_by_claude,
            remote=_at("url", f"${{{HTTP_TOKEN}}}", type="http"),
            then="Start a new session; /mcp shows the server.",
        ),
        Client(
            "cursor",
            "Cursor",
            lambda machine: [machine.home / ".cursor" / "mcp.json"],
            project=".cursor/mcp.json",
            remote=_at("url", f"${{env:{HTTP_TOKEN}}}"),
            then="Turn the server on in Settings, MCP.",
        ),
        Client(
            "vscode",
            "VS Code",
            lambda machine: [machine.config / "Code" / "User" / "mcp.json"],
            project=".vscode/mcp.json",
            container=("servers",),
            shape="typed",
            remote=_at("url", "${input:meigen}", type="http"),
            then="Open the chat in agent mode; VS Code asks whether you trust the server.",
        ),
        Client(
            "windsurf",
            "Windsurf",
            lambda machine: [machine.home / ".codeium" / "windsurf" / "mcp_config.json"],
            remote=_at("serverUrl", f"${{env:{HTTP_TOKEN}}}"),
            then="Press Refresh in the MCP panel.",
        ),
        Client(
            "codex",
            "Codex",
            _codex,
            container=("mcp_servers",),
            form="toml",
            program="codex",
            commands=_by_codex,
            remote=lambda url: {"url": url, "bearer_token_env_var": HTTP_TOKEN},
            then="Start a new session; /mcp shows the server.",
        ),
        Client(
            "gemini",
            "Gemini CLI",
            lambda machine: [machine.home / ".gemini" / "settings.json"],
            project=".gemini/settings.json",
            program="gemini",
            commands=_by_gemini,
            remote=_at("httpUrl", f"${{{HTTP_TOKEN}}}"),
            then="Start a new session in a folder that you trust: elsewhere it starts no server.",
        ),
        Client(
            "opencode",
            "opencode",
            _opencode,
            project="opencode.json",
            container=("mcp",),
            shape="opencode",
            remote=_at("url", f"{{env:{HTTP_TOKEN}}}", type="remote"),
            then="Start a new session.",
        ),
        Client(
            "copilot",
            "Copilot CLI",
            _copilot,
            shape="copilot",
            remote=_at("url", f"${{{HTTP_TOKEN}}}", type="http", tools=["*"]),
            then="Start a new session; /mcp shows the server.",
        ),
    )
}
