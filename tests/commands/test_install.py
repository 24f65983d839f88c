"""Adding the server to each client's configuration, and taking it out again."""

import contextlib
import json
import os
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.in_memory import TOKEN

from meigen_mcp.commands import cli, json_text
from meigen_mcp.commands.change import Change, Programs, plan
from meigen_mcp.commands.clients import CLIENTS, TOKEN_OF_URL, Client, Machine, Scope, System
from meigen_mcp.commands.config_file import ConfigurationRefused
from meigen_mcp.commands.configuration import look
from meigen_mcp.commands.install import carry_out
from meigen_mcp.commands.launch import Launch, command_line
from meigen_mcp.commands.project_entry import Terms
from meigen_mcp.commands.tokens import Token, keep_token, token_source

SYSTEMS: tuple[System, ...] = ("linux", "macos", "windows")
CONFIG = {
    "linux": ".config",
    "macos": "Library/Application Support",
    "windows": "AppData/Roaming",
}
EVERY = list(CLIENTS.values())
JSON = [client for client in EVERY if client.form == "json"]
NO_TOOLS = Programs(find=lambda _: None)
SANDBOX = Launch(("/opt/meigen/bin/meigen-mcp", "serve", "--sandbox"))
REAL = Launch(("/opt/meigen/bin/meigen-mcp",), {"MEIGEN_API_TOKEN_FILE": "/data/token"})
OTHER = '{"command": "other", "args": ["a", "b"], "env": {"KEY": "secret"}}'


def machine(folder: Path, system: System = "linux") -> Machine:
    """Return a machine with an empty home."""
    home = folder / "home"
    (folder / "project").mkdir(exist_ok=True)
    return Machine(
        system, home, home / CONFIG[system], home / "AppData" / "Local", folder / "project"
    )


def named(client: Client) -> str:
    """Return the id of a test."""
    return client.id


TERMS = Terms("/data/token")


def install(
    client: Client,
    on: Machine,
    wanted: Launch | None = SANDBOX,
    scope: Scope = "user",
    tools: Programs = NO_TOOLS,
) -> str:
    """Change a configuration and return what was said."""
    target = look(client, on, scope, "meigen")
    data = on.home.parent / "data"
    return carry_out(target, wanted, TERMS, machine=on, data_dir=data, programs=tools).text


def planned(client: Client, on: Machine, wanted: Launch | None, tools: Programs) -> Change:
    """Return what would be done for the user."""
    return plan(look(client, on, "user", "meigen"), wanted, TERMS, tools)


def copies(on: Machine) -> list[bytes]:
    """Return the copies that were kept."""
    return [path.read_bytes() for path in (on.home.parent / "data" / "backups").glob("*")]


def written(client: Client, on: Machine, scope: Scope = "user") -> Path:
    """Return a client's file; every client has one for the user."""
    path = client.path(on, scope)
    assert path is not None
    return path


def populated(client: Client) -> str:
    """Return a configuration with another server and an odd layout."""
    inner = f'"other": {OTHER}'
    for key in reversed(client.container):
        inner = f'"{key}": {{\n\t\t{inner}\n\t}}'
    return f'{{\n\t"zeta": [1, 2,   3],\n\t{inner},\n\t"alpha": "é"\n}}'


@pytest.mark.parametrize("system", SYSTEMS)
@pytest.mark.parametrize("client", JSON, ids=named)
def test_an_empty_home_gets_a_file_that_starts_the_server(
    client: Client, system: System, tmp_path: Path
) -> None:
    """Written at the client's own path, read back as the launch that was asked for."""
    on = machine(tmp_path, system)
    said = install(client, on)
    path = written(client, on)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert client.launch(client.servers(document)["meigen"]) == SANDBOX
    assert str(path) in said
    assert client.then in said


@pytest.mark.parametrize(
    ("client", "system", "place"),
    [
        ("claude-desktop", "linux", ".config/Claude/claude_desktop_config.json"),
        (
            "claude-desktop",
            "macos",
            "Library/Application Support/Claude/claude_desktop_config.json",
        ),
        ("claude-desktop", "windows", "AppData/Roaming/Claude/claude_desktop_config.json"),
        ("claude-code", "windows", ".claude.json"),
        ("cursor", "macos", ".cursor/mcp.json"),
        ("vscode", "linux", ".config/Code/User/mcp.json"),
        ("vscode", "macos", "Library/Application Support/Code/User/mcp.json"),
        ("vscode", "windows", "AppData/Roaming/Code/User/mcp.json"),
        ("windsurf", "windows", ".codeium/windsurf/mcp_config.json"),
        ("codex", "linux", ".codex/config.toml"),
        ("gemini", "macos", ".gemini/settings.json"),
        ("opencode", "windows", ".config/opencode/opencode.json"),
        ("copilot", "linux", ".copilot/mcp-config.json"),
    ],
)
def test_each_client_has_its_own_place(
    client: str, system: System, place: str, tmp_path: Path
) -> None:
    """The paths that the clients themselves read."""
    on = machine(tmp_path, system)
    assert written(CLIENTS[client], on) == on.home / place


def test_claude_desktop_from_windows_store_sees_a_folder_of_its_own(tmp_path: Path) -> None:
    """What is written to the documented place there, the app never reads."""
    on = machine(tmp_path, "windows")
    own = on.local / "Packages" / "Claude_abc" / "LocalCache" / "Roaming"
    own.mkdir(parents=True)
    path = written(CLIENTS["claude-desktop"], on)
    assert path == own / "Claude" / "claude_desktop_config.json"


def test_a_client_that_was_told_another_folder_is_found_there(tmp_path: Path) -> None:
    """Claude Code and Codex let a variable name it."""
    on = Machine("linux", tmp_path, tmp_path, tmp_path, tmp_path, {"codex": tmp_path / "c"})
    assert written(CLIENTS["codex"], on) == tmp_path / "c" / "config.toml"
    assert Machine.this().project == Path.cwd()


@pytest.mark.parametrize("client", JSON, ids=named)
def test_other_servers_and_the_layout_keep_every_byte(client: Client, tmp_path: Path) -> None:
    """Installed and removed again, the file is as it was; between, only our lines are new."""
    on = machine(tmp_path)
    path = written(client, on)
    path.parent.mkdir(parents=True, exist_ok=True)
    before = populated(client).replace("\n", "\r\n").encode()
    path.write_bytes(before)
    install(client, on)
    with_ours = path.read_bytes()
    assert copies(on) == [before]
    assert [*path.parent.iterdir()] == [path]
    assert OTHER.encode() in with_ours
    assert b"\n" not in with_ours.replace(b"\r\n", b"")
    assert [*json.loads(with_ours)] == ["zeta", client.container[0], "alpha"]
    install(client, on, None)
    assert path.read_bytes() == before


def last_write(path: Path) -> tuple[int, int, int]:
    """Return what changes when a file is written, and not when it is read."""
    now = path.stat()
    return now.st_ino, now.st_mtime_ns, now.st_size


@pytest.mark.parametrize("client", JSON, ids=named)
def test_the_second_time_nothing_is_done(client: Client, tmp_path: Path) -> None:
    """Neither the file nor a copy of it."""
    on = machine(tmp_path)
    install(client, on)
    path = written(client, on)
    before = last_write(path)
    assert "nothing to do" in install(client, on)
    assert last_write(path) == before
    assert copies(on) == []


@pytest.mark.parametrize("client", JSON, ids=named)
def test_removing_from_a_file_that_was_ours_removes_the_file(
    client: Client, tmp_path: Path
) -> None:
    """What the installation made goes; a second removal has nothing to do."""
    on = machine(tmp_path)
    install(client, on)
    assert "no longer" in install(client, on, None)
    assert not written(client, on).exists()
    assert "nothing to do" in install(client, on, None)


@pytest.mark.parametrize("client", [c for c in JSON if c.project], ids=named)
def test_a_project_has_a_configuration_of_its_own(client: Client, tmp_path: Path) -> None:
    """The user's stays untouched."""
    on = machine(tmp_path)
    install(client, on, scope="project")
    assert written(client, on, "project").is_relative_to(on.project)
    assert not written(client, on).exists()


def test_a_client_without_projects_says_so(tmp_path: Path) -> None:
    """Rather than writing where nobody reads."""
    with pytest.raises(ConfigurationRefused, match="no configuration of a project"):
        install(CLIENTS["windsurf"], machine(tmp_path), scope="project")


def test_what_the_person_added_to_the_entry_stays(tmp_path: Path) -> None:
    """A second installation must not drop a cap; the kind of token is replaced as a whole."""
    on, client = machine(tmp_path), CLIENTS["cursor"]
    path = written(client, on)
    path.parent.mkdir(parents=True)
    old = {
        "command": "/old/meigen-mcp",
        "args": ["serve", "--sandbox"],
        "disabled": False,
        "env": {"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_MAX_CREDITS_PER_DAY": "500"},
    }
    path.write_text(json.dumps({"mcpServers": {"meigen": old}}), encoding="utf-8")
    install(client, on, REAL)
    assert json.loads(path.read_text(encoding="utf-8"))["mcpServers"]["meigen"] == {
        "command": "/opt/meigen/bin/meigen-mcp",
        "disabled": False,
        "env": {"MEIGEN_MAX_CREDITS_PER_DAY": "500", "MEIGEN_API_TOKEN_FILE": "/data/token"},
    }


@pytest.mark.parametrize("client", ["cursor", "vscode", "opencode"])
def test_a_cap_that_is_written_as_a_number_stays(client: str, tmp_path: Path) -> None:
    """VS Code takes numbers, and people who write JSON by hand write them."""
    on, about = machine(tmp_path), CLIENTS[client]
    path = written(about, on)
    path.parent.mkdir(parents=True)
    old = {"command": "/old/meigen-mcp"} if client != "opencode" else {"command": ["meigen-mcp"]}
    odd = {"MEIGEN_MAX_CREDITS_PER_DAY": 500, "MEIGEN_MODELS": None, "NO_COLOR": True}
    path.write_text(about.snippet("meigen", {**old, about.variables: odd}), encoding="utf-8")
    install(about, on, REAL)
    entry = about.servers(json.loads(path.read_text(encoding="utf-8")))["meigen"]
    assert entry[about.variables] == {
        "MEIGEN_MAX_CREDITS_PER_DAY": "500",
        "NO_COLOR": "true",
        "MEIGEN_API_TOKEN_FILE": "/data/token",
    }


def test_another_server_of_the_same_name_is_left_alone(tmp_path: Path) -> None:
    """The official server is often called that."""
    on, client = machine(tmp_path), CLIENTS["cursor"]
    path = written(client, on)
    path.parent.mkdir(parents=True)
    text = '{"mcpServers": {"meigen": {"command": "npx", "args": ["-y", "meigen"]}}}'
    path.write_text(text, encoding="utf-8")
    for wanted in (SANDBOX, None):
        with pytest.raises(ConfigurationRefused, match="--name"):
            install(client, on, wanted)
    assert path.read_text(encoding="utf-8") == text


@pytest.mark.parametrize(
    "text",
    ["{", '{"mcpServers": []}', '{"mcpServers": {"a": 1}', "[]", "[" * 100_000, '{"a": "\xff'],
)
def test_a_malformed_file_is_left_alone(text: str, tmp_path: Path) -> None:
    """With its name and what is wrong."""
    on, client = machine(tmp_path), CLIENTS["cursor"]
    path = written(client, on)
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(ConfigurationRefused, match="malformed and was left alone") as refused:
        install(client, on)
    assert str(path) in str(refused.value)
    assert [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("client", JSON, ids=named)
def test_a_file_with_comments_is_left_to_the_person(client: Client, tmp_path: Path) -> None:
    """The snippet is printed with the path, and is what the client reads."""
    on = machine(tmp_path)
    path = written(client, on)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = '{\n  // mine: "kept"\n  "url": "https://x", /* and */ "list": [1, 2,],\n}\n'
    path.write_text(text, encoding="utf-8")
    said = install(client, on)
    assert path.read_text(encoding="utf-8") == text
    assert str(path) in said
    snippet = json.loads(said[said.index("{") :])
    assert client.launch(client.servers(snippet)["meigen"]) == SANDBOX


@pytest.mark.parametrize(
    "before", ["", '# mine\n[mcp_servers.other]\ncommand = "x"\n', 'model = "x" # no newline']
)
def test_codex_without_its_own_program_gets_an_entry_at_the_end(
    before: str, tmp_path: Path
) -> None:
    """TOML is never changed by us, only added to; what is there is left to the person."""
    on, client = machine(tmp_path), CLIENTS["codex"]
    path = written(client, on)
    path.parent.mkdir(parents=True)
    path.write_text(before, encoding="utf-8")
    install(client, on, REAL)
    text = path.read_text(encoding="utf-8")
    said = tomllib.loads(text)
    assert client.launch(said["mcp_servers"].pop("meigen")) == REAL
    assert (text.startswith(before), {"mcp_servers": {}, **tomllib.loads(before)}) == (True, said)
    assert "nothing to do" in install(client, on, REAL)
    assert "Delete the server meigen" in install(client, on, None)
    assert path.read_text(encoding="utf-8") == text


def test_servers_of_codex_in_one_line_are_left_to_the_person(tmp_path: Path) -> None:
    """Nothing can be added to them at the end; what to add is said."""
    on, client = machine(tmp_path), CLIENTS["codex"]
    path = written(client, on)
    path.parent.mkdir(parents=True)
    path.write_text('mcp_servers = { other = { command = "x" } }\n', encoding="utf-8")
    said = install(client, on, REAL)
    snippet = tomllib.loads(said[said.index("[mcp_servers") :])
    assert client.launch(snippet["mcp_servers"]["meigen"]) == REAL
    assert path.read_text(encoding="utf-8") == 'mcp_servers = { other = { command = "x" } }\n'


class OwnProgram:
    """A client's program: what it was told, and what it then does to the file."""

    def __init__(self, path: Path, becomes: dict[str, Any] | None, said: str | None = None) -> None:
        self.path, self.becomes, self.said = path, becomes, said
        self.told: list[list[str]] = []

    def run(self, command: Sequence[str], _: Path) -> str | None:
        """Do as a client's program does."""
        self.told.append(list(command))
        if self.becomes is not None:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(json.dumps(self.becomes), encoding="utf-8")
        return self.said

    @property
    def tools(self) -> Programs:
        """Return tools that find it."""
        return Programs(find=lambda name: f"/bin/{name}", run=self.run)


@pytest.mark.parametrize(
    ("client", "told"),
    [
        (
            "claude-code",
            [
                "/bin/claude", "mcp", "add-json", "-s", "user", "meigen",
                '{"type": "stdio", "command": "/opt/meigen/bin/meigen-mcp",'
                ' "env": {"MEIGEN_API_TOKEN_FILE": "/data/token"}}',
            ],
        ),
        (
            "gemini",
            [
                "/bin/gemini", "mcp", "add", "-s", "user", "-e",
                "MEIGEN_API_TOKEN_FILE=/data/token", "meigen", "/opt/meigen/bin/meigen-mcp",
            ],
        ),
    ],
)  # fmt: skip
def test_a_clients_own_program_does_it_where_it_is_there(
    client: str, told: list[str], tmp_path: Path
) -> None:
    """The file is looked at afterwards; empty members that the program adds are no difference."""
    on = machine(tmp_path)
    chosen = CLIENTS[client]
    entry = chosen.entry(REAL) | {"args": []}
    program = OwnProgram(written(chosen, on), {"mcpServers": {"meigen": entry}})
    install(chosen, on, REAL, tools=program.tools)
    assert program.told == [told]
    assert "nothing to do" in install(chosen, on, REAL, tools=program.tools)


def test_codex_is_told_by_its_own_program(tmp_path: Path) -> None:
    """Its TOML is its own business."""
    on, client = machine(tmp_path), CLIENTS["codex"]
    change = planned(client, on, REAL, OwnProgram(tmp_path, None).tools)
    assert change.commands == [
        [
            "/bin/codex", "mcp", "add", "meigen", "--env",
            "MEIGEN_API_TOKEN_FILE=/data/token", "--", "/opt/meigen/bin/meigen-mcp",
        ]
    ]  # fmt: skip


@pytest.mark.parametrize("client", ["claude-code", "codex", "gemini"])
def test_removing_asks_the_clients_own_program_too(client: str, tmp_path: Path) -> None:
    """As its own list would show it."""
    on, chosen = machine(tmp_path), CLIENTS[client]
    path = written(chosen, on)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(chosen.snippet("meigen", chosen.entry(REAL)), encoding="utf-8")
    change = planned(chosen, on, None, OwnProgram(path, None).tools)
    (command,) = change.commands
    assert command[:3] == [f"/bin/{chosen.program}", "mcp", "remove"]
    assert command[-1] == "meigen"


def test_a_program_that_does_not_do_it_is_quoted(tmp_path: Path) -> None:
    """An exit status of 0 is not believed."""
    on, client = machine(tmp_path), CLIENTS["gemini"]
    program = OwnProgram(written(client, on), {}, said="Please fix the file")
    with pytest.raises(ConfigurationRefused, match="Please fix the file"):
        install(client, on, tools=program.tools)


def test_a_program_is_believed_by_its_exit_status_and_quoted_else(tmp_path: Path) -> None:
    """It runs in the project's folder, has nothing to read, and may be missing."""
    run_it = Programs().run
    assert run_it([sys.executable, "-c", "import sys; sys.stdin.read()"], tmp_path) is None
    failing = "import os, sys; sys.exit(os.path.basename(os.getcwd()))"
    assert run_it([sys.executable, "-c", failing], tmp_path) == tmp_path.name
    assert run_it([str(tmp_path / "missing")], tmp_path) == "FileNotFoundError"


def test_a_secret_never_reaches_a_command_line(tmp_path: Path) -> None:
    """An entry with a token, or with variables that we do not know, is changed in the file."""
    on, client = machine(tmp_path), CLIENTS["gemini"]
    path = written(client, on)
    path.parent.mkdir(parents=True)
    for variables in ({"MEIGEN_API_TOKEN": TOKEN}, {"HTTPS_PROXY": "http://me:secret@proxy"}):
        entry = client.entry(Launch(("/old/meigen-mcp",), variables))
        path.write_text(client.snippet("meigen", entry), encoding="utf-8")
        program = OwnProgram(path, None)
        wanted = Launch(("/new/meigen-mcp",))
        change = planned(client, on, wanted, program.tools)
        assert not change.commands
        assert [word for word in (TOKEN, "me:secret") if word in change.shown()] == []
        install(client, on, wanted, tools=program.tools)
        assert program.told == []
        assert client.launch(
            json.loads(path.read_text(encoding="utf-8"))["mcpServers"]["meigen"]
        ) == Launch(("/new/meigen-mcp",), variables)


def test_a_script_of_windows_is_not_called(tmp_path: Path) -> None:
    """Those read quotes and percent signs in their arguments as commands."""
    on, client = machine(tmp_path, "windows"), CLIENTS["gemini"]
    tools = Programs(find=lambda name: rf"C:\npm\{name}.CMD")
    assert not planned(client, on, SANDBOX, tools).commands


def test_copilot_cli_gets_all_tools_and_a_person_s_choice_of_them_stays(tmp_path: Path) -> None:
    """As its own command writes it; without `tools` it would use none."""
    on, client = machine(tmp_path), CLIENTS["copilot"]
    install(client, on, REAL)
    path = written(client, on)
    document = json.loads(path.read_text(encoding="utf-8"))
    entry = {
        "type": "local",
        "command": REAL.command[0],
        "env": dict(REAL.environment),
        "tools": ["*"],
    }
    assert document == {"mcpServers": {"meigen": entry}}
    chosen = entry | {"tools": ["list_models"], "command": "/old/meigen-mcp"}
    path.write_text(json.dumps({"mcpServers": {"meigen": chosen}}), encoding="utf-8")
    install(client, on, REAL)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert document == {"mcpServers": {"meigen": entry | {"tools": ["list_models"]}}}


def test_version_2_of_opencode_keeps_servers_a_level_deeper(tmp_path: Path) -> None:
    """And may call its file opencode.jsonc."""
    on, client = machine(tmp_path), CLIENTS["opencode"]
    path = on.config / "opencode" / "opencode.jsonc"
    path.parent.mkdir(parents=True)
    path.write_text('{"mcp": {"servers": {}}}', encoding="utf-8")
    install(client, on)
    document = json.loads(path.read_text(encoding="utf-8"))
    assert client.launch(document["mcp"]["servers"]["meigen"]) == SANDBOX


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    """A folder has its name."""
    on = machine(tmp_path)
    written(CLIENTS["cursor"], on).mkdir(parents=True)
    with pytest.raises(ConfigurationRefused, match="cannot be read"):
        install(CLIENTS["cursor"], on)


@pytest.mark.skipif(os.name == "nt", reason="Windows has neither modes nor links for everyone")
def test_a_private_file_and_a_link_stay_what_they_are(tmp_path: Path) -> None:
    """Configurations hold other servers' secrets, and often live in a repository."""
    on, client = machine(tmp_path), CLIENTS["cursor"]
    path, real = written(client, on), tmp_path / "dotfiles.json"
    path.parent.mkdir(parents=True)
    real.write_text("{}", encoding="utf-8")
    real.chmod(0o600)
    path.symlink_to(real)
    install(client, on)
    assert path.is_symlink()
    assert real.stat().st_mode & 0o777 == 0o600
    assert "meigen" in real.read_text(encoding="utf-8")


def test_a_file_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    """A folder stands where its folder should be."""
    on, client = machine(tmp_path), CLIENTS["cursor"]
    on.home.mkdir()
    (on.home / ".cursor").write_text("", encoding="utf-8")
    with pytest.raises(ConfigurationRefused, match="cannot be"):
        install(client, on)


@pytest.mark.parametrize("text", ['{"a":1}', "\ufeff{ }", "", " \n", '{\n  "m": {}\n}\n'])
def test_whatever_the_layout_what_was_put_is_read_back(text: str) -> None:
    """On one line, with a mark of Windows' Notepad, empty, or nested."""
    after = json_text.put(text, ("m", "n"), {"x": ["é"]})
    assert json_text.parsed(after)["m"] == {"n": {"x": ["é"]}}
    assert "\n" not in json_text.put('{"a":1}', ("m",), 1)
    assert json_text.parsed(json_text.drop(after, ("m", "n"))).keys() <= {"a"}


def test_of_two_members_with_one_name_the_last_counts() -> None:
    """As for every reader of JSON."""
    assert json_text.put('{"a": 1, "a": 2}', ("a",), 3) == '{"a": 1, "a": 3}'
    assert json_text.drop('{"a": 1, "b": 2, "c": 3}', ("a",)) == '{"b": 2, "c": 3}'
    assert json_text.drop('{"a": {}}', ("b", "c")) == '{"a": {}}'
    assert json_text.drop('{"a": {}}', ("a", "c")) == '{"a": {}}'


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ('{"m": {"n": 1, "n": 2}}', "{}"),
        ('{"m": {"n": 1, "o": 2, "n": 3}}', '{"m": {"o": 2}}'),
        ('{"m": {"n": 1}, "m": {"n": 2}}', "{}"),
        ('{"m": {"n": 1}, "m": {"n": 2, "o": 3}}', '{"m": {"n": 1}, "m": {"o": 3}}'),
    ],
)
def test_no_other_member_of_that_name_counts_when_one_is_gone(text: str, left: str) -> None:
    """The one before it would, with whatever a project put there."""
    dropped = json_text.drop(text, ("m", "n"))
    assert dropped == left
    assert "n" not in json_text.parsed(dropped).get("m", {})


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a home with nothing in it, and no client's program on the PATH."""
    for name in ("HOME", "USERPROFILE", "APPDATA", "LOCALAPPDATA"):
        monkeypatch.setenv(name, str(tmp_path))
    for name in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("MEIGEN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(*arguments: str, typed: str = "", status: int = 0) -> str:
    """Run the command and return all that it said."""
    result = CliRunner().invoke(cli.main, ["install", *arguments], input=typed)
    assert result.exit_code == status, result.output
    assert TOKEN not in result.output
    return result.output


def entry_in(home: Path) -> dict[str, Any]:
    """Return what Cursor was given."""
    text = (home / ".cursor" / "mcp.json").read_text(encoding="utf-8")
    assert TOKEN not in text
    return dict(json.loads(text)["mcpServers"]["meigen"])


def test_the_token_goes_into_a_private_file_that_the_entry_names(home: Path) -> None:
    """Asked for once; not asked again for the next client."""
    run("cursor", typed=f"{TOKEN}\n")
    path = home / "data" / "token"
    assert entry_in(home)["env"] == {"MEIGEN_API_TOKEN_FILE": str(path)}
    assert path.read_text(encoding="utf-8").strip() == TOKEN
    assert os.name == "nt" or path.stat().st_mode & 0o777 == 0o600
    assert "nothing to do" in run("cursor")
    run("windsurf")
    new = f"meigen_sk_{'n' * 32}"
    again = run("cursor", "--new-token", typed=f"{new}\n").splitlines()
    assert again[1:] == [
        "The new token is that of every client that was set up here. Restart those that run."
    ]
    assert path.read_text(encoding="utf-8").strip() == new
    assert str(path) in run("cursor", "--remove")


def test_what_is_no_token_never_replaces_one(home: Path) -> None:
    """Whatever comes by a pipe; and no sentence tells of a change that was none."""
    run("cursor", typed=f"{TOKEN}\n")
    for typed, status, end in (
        ("meigen_sk_short\n", 1, "is no token: meigen_sk_ and 32 characters; nothing was changed"),
        ("\n", 0, "nothing to do.\nNo token was typed; the one before stays."),
    ):
        said = run("cursor", "--new-token", typed=typed, status=status)
        assert said.removesuffix("\n").endswith(end)
        assert (home / "data" / "token").read_text(encoding="utf-8").strip() == TOKEN
    asked = run("cursor", "--new-token", "--dry-run")
    assert asked.endswith("nothing to do.\nIt will ask for your token.\n")
    for other in ("--sandbox", "--remove"):
        assert "--new-token goes without" in run("cursor", "--new-token", other, status=2)


def test_which_token_counts_is_said_where_none_was_asked_for(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that is kept; the terminal's; never the terminal's for a new one."""
    kept, new = home / "data" / "token", f"meigen_sk_{'n' * 32}"
    monkeypatch.setenv("MEIGEN_API_TOKEN", "meigen_sk_short")
    assert "in this terminal is no token" in run("cursor", status=1)
    assert not kept.exists()
    monkeypatch.setenv("MEIGEN_API_TOKEN", TOKEN)
    said = [run("cursor").splitlines()[-1], run("windsurf", typed=f"{new}\n").splitlines()[-1]]
    assert said == [
        f"Its token is the one that this terminal has set; it is kept in {kept}.",
        f"Its token is in {kept}. For another one: --new-token.",
    ]
    assert kept.read_text(encoding="utf-8").strip() == TOKEN
    run("cursor", "--new-token", typed=f"{new}\n")
    assert kept.read_text(encoding="utf-8").strip() == new


def test_a_client_with_a_token_of_its_own_is_named_with_the_way_to_the_new_one(home: Path) -> None:
    """Its configuration names a file of the person's, which no new token reaches."""
    (home / "mine").write_text(TOKEN, encoding="utf-8")
    (home / "mine").chmod(0o600)
    run("windsurf", "--token-file", "mine")
    said = run("windsurf", "--reference-dir", ".").splitlines()[-2:]
    assert said[-1] == f"Its token is in {home / 'mine'}. For another one: --new-token."
    run("cursor", typed=f"{TOKEN}\n")
    new = f"meigen_sk_{'n' * 32}"
    told = run("cursor", "--new-token", typed=f"{new}\n").splitlines()[-1]
    way = f"meigen-mcp install windsurf --token-file {shlex.quote(str(home / 'data' / 'token'))}"
    assert told == (
        f"Not of windsurf, which has a token of its own ({home / 'mine'}); to give it this one:"
        f" `{way}`"
    )
    run(*shlex.split(way)[2:])
    assert "Not of" not in run("cursor", "--new-token", typed=f"{TOKEN}\n")


def test_a_client_starts_a_sandbox_with_a_name(home: Path) -> None:
    """Also where the client's id stands behind the option."""
    assert "It is in the sandbox den: nothing there is real" in run("cursor", "--sandbox", "den")
    assert entry_in(home)["args"] == ["serve", "--sandbox", "den"]
    run("--sandbox", "cursor")
    assert entry_in(home)["args"] == ["serve", "--sandbox"]
    assert "den was taken for the name of a sandbox" in run("--sandbox", "den", status=2)
    assert "name a client: claude-desktop" in run(status=2)


@pytest.mark.parametrize(
    ("given", "fix"),
    [
        ("claude", "did you mean claude-desktop or claude-code?"),
        ("Cursor", "did you mean cursor?"),
        ("vs-code", "did you mean vscode?"),
        ("emacs", f"use {', '.join(list(CLIENTS)[:-1])} or copilot"),
    ],
)
def test_a_client_that_is_none_is_told_which_is_meant(given: str, fix: str) -> None:
    """By its id, or all of them."""
    said = run(given, status=2).splitlines()[-1]
    assert said == f"Error: there is no client {given}; {fix}"


def test_the_way_into_the_sandbox_and_out_of_it_is_said(home: Path) -> None:
    """What costs nothing, and what does from now on."""
    assert "nothing costs" in run("cursor", "--sandbox")
    assert "from now on it spends your credits" in run("cursor", typed=f"{TOKEN}\n")
    assert "command" in entry_in(home)


def test_the_token_may_wait(home: Path) -> None:
    """An empty answer names no file, since one that is missing is a bad setting."""
    run("cursor", typed="\n")
    assert "env" not in entry_in(home)
    assert "--token-file" in run("vscode", status=1)


def test_a_token_file_of_the_persons_own_and_folders_are_named(home: Path) -> None:
    """As absolute paths, since a client starts the server elsewhere."""
    (home / "mine").write_text(TOKEN, encoding="utf-8")
    for folder in ("a", "b"):
        (home / folder).mkdir()
    run("cursor", "--token-file", "mine", "--reference-dir", "a", "--reference-dir", "b")
    assert entry_in(home)["env"] == {
        "MEIGEN_API_TOKEN_FILE": str(home / "mine"),
        "MEIGEN_REFERENCE_DIRS": os.pathsep.join([str(home / "a"), str(home / "b")]),
    }


@pytest.mark.skipif(os.name == "nt", reason="modes of POSIX")
def test_what_is_wrong_with_a_token_file_is_said_at_once(home: Path) -> None:
    """As the doctor says it later; it is installed all the same."""
    path = home / "mine"
    told = []
    for text, mode in ((TOKEN, 0o600), ("meigen_sk_short", 0o600), (TOKEN, 0o644)):
        path.write_text(text, encoding="utf-8")
        path.chmod(mode)
        lines = run("cursor", "--token-file", "mine").splitlines()
        told.append([line for line in lines if line.startswith(("What", "Others"))])
    shape = f"What {path} holds is no token: meigen_sk_ and 32 characters."
    assert told == [[], [shape], [f"Others can read {path}: chmod 600 {path}"]]


def test_a_dry_run_shows_the_change_and_makes_none(home: Path) -> None:
    """Neither a file nor a question; that one will come is said."""
    said = run("cursor", "--dry-run")
    assert said.endswith("It will ask for your token.\n")
    assert f'+        "MEIGEN_API_TOKEN_FILE": "{home / "data" / "token"}"' in said.replace(
        "\\\\", "\\"
    )
    assert [*home.iterdir()] == []
    run("cursor", "--sandbox")
    assert "nothing to do" in run("cursor", "--sandbox", "--dry-run")
    assert '-    "meigen": {' in run("cursor", "--dry-run", "--remove")
    assert entry_in(home)["args"] == ["serve", "--sandbox"]


@pytest.mark.parametrize("client", EVERY, ids=named)
def test_print_prints_the_snippet_and_does_nothing(client: Client, home: Path) -> None:
    """Only the snippet on stdout, so that it can be piped."""
    result = CliRunner().invoke(cli.main, ["install", client.id, "--print", "--sandbox"])
    read = tomllib.loads if client.form == "toml" else json.loads
    launch = client.launch(client.servers(read(result.stdout))["meigen"])
    assert launch.command[-2:] == ("serve", "--sandbox")
    assert Path(launch.command[0]).is_absolute()
    assert str(client.path(Machine.this(), "user")) in result.stderr
    assert [*home.iterdir()] == []


def test_print_names_the_token_file_that_is_still_to_be_written(home: Path) -> None:
    """By hand a snippet alone would start a server that finds no token."""
    told = f"{home / 'data' / 'token'} is to hold your token, and is not there yet.\n"
    assert CliRunner().invoke(cli.main, ["install", "cursor", "--print"]).stderr.endswith(told)
    (home / "data").mkdir()
    (home / "data" / "token").write_text(f"{TOKEN}\n", encoding="utf-8")
    assert told not in CliRunner().invoke(cli.main, ["install", "cursor", "--print"]).stderr


def test_a_mistake_is_named_without_a_traceback(home: Path) -> None:
    """An unknown client, a name that no client takes, a file that is malformed."""
    assert "claude-desktop" in run("emacs", status=2)
    assert "letters, digits" in run("cursor", "--name", "a b", status=2)
    (home / ".cursor").mkdir()
    (home / ".cursor" / "mcp.json").write_text("{", encoding="utf-8")
    assert "malformed and was left alone" in run("cursor", "--sandbox", status=1)


def test_the_command_knows_every_client() -> None:
    """Its list is read when it is needed, and its usage shows it."""
    said = CliRunner().invoke(cli.main, ["install", "--help"]).output
    assert "".join(said.split()).find("|".join(CLIENTS)) > 0


@pytest.mark.parametrize(
    ("facts", "source"),
    [
        ("sandbox given new named kept", Token.NONE),
        ("given new named kept", Token.GIVEN_FILE),
        ("new named kept", Token.ASK),
        ("named kept", Token.AS_IT_IS),
        ("named", Token.AS_IT_IS),
        ("kept", Token.KEPT_FILE),
        ("", Token.ASK),
    ],
)
def test_where_the_token_comes_from_is_decided_by_plain_facts(facts: str, source: Token) -> None:
    """The first that is so counts."""
    names = ("sandbox", "given", "new", "named", "kept")
    so = {name: name in facts.split() for name in names}
    assert token_source(**so) is source


def test_the_server_is_named_by_a_path_that_stays(tmp_path: Path) -> None:
    """The script beside the interpreter, else the interpreter; from uvx's cache, uvx."""
    bin_dir = tmp_path / "bin"
    bin_dir.mkdir()
    python = bin_dir / "python"
    assert command_line(tmp_path, python) == (str(python), "-P", "-m", "meigen_mcp")
    (bin_dir / "meigen-mcp").touch()
    assert command_line(tmp_path, python) == (str(bin_dir / "meigen-mcp"),)
    cached = Path("/cache/uv/archive-v0/abc")
    command = command_line(cached, cached / "bin" / "python", lambda name: f"/usr/bin/{name}")
    assert (command[0], command[-1]) == ("/usr/bin/uvx", "meigen-mcp")
    nearby = command_line(cached, cached / "bin" / "python", lambda name: f"./{name}")
    assert nearby == (str(cached / "bin" / "python"), "-P", "-m", "meigen_mcp")


@pytest.mark.parametrize(
    "command",
    [
        "meigen-mcp",
        "/opt/meigen/bin/meigen-mcp serve --sandbox",
        r"C:\Users\me\venv\Scripts\MEIGEN-MCP.EXE",
        "python -m meigen_mcp",
        "/usr/bin/python3.12 -P -m meigen_mcp serve",
        "pythonw.exe -I -m meigen_mcp",
        "py -3 -m meigen_mcp",
        "uvx meigen-mcp",
        "/usr/bin/uvx --from git+https://github.com/x/y meigen-mcp serve",
        "uvx --python 3.12 --with av meigen-mcp@1.2",
        "uvx --from . meigen-mcp[video]",
        "uv tool run --from=. meigen-mcp",
        "uv run --directory /srv/clone meigen-mcp",
        "uv --directory /srv/clone run meigen-mcp",
        "pipx run meigen-mcp==0.1.0",
    ],
)
def test_what_starts_this_server_is_ours(command: str) -> None:
    """However it was installed; what merely mentions it is among the attacks."""
    assert Launch(tuple(command.split())).ours


def test_a_kept_token_is_one_line(tmp_path: Path) -> None:
    """However it was pasted."""
    assert keep_token(tmp_path / "data", f"  {TOKEN}\n\n").read_text(encoding="utf-8") == (
        f"{TOKEN}\n"
    )


@pytest.mark.skipif(os.name == "nt", reason="a terminal of POSIX")
@pytest.mark.parametrize(("typed", "kept"), [("yes", True), ("y", False), ("", False)])
def test_at_a_terminal_the_person_is_asked_what_a_project_may_say(
    typed: str, kept: bool, tmp_path: Path
) -> None:
    """A whole yes keeps it; what else is typed does not."""
    on = machine(tmp_path)
    path = written(CLIENTS["cursor"], on, "project")
    path.parent.mkdir(parents=True)
    entry = CLIENTS["cursor"].entry(
        Launch(("meigen-mcp",), {"MEIGEN_BASE_URL": "https://own.example"})
    )
    path.write_text(CLIENTS["cursor"].snippet("meigen", entry), encoding="utf-8")
    main, other = os.openpty()
    os.write(main, f"{typed}\n".encode())
    words = ["install", "cursor", "--scope", "project", "--sandbox"]
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "meigen_mcp", *words],
        stdin=other,
        stdout=other,
        stderr=other,
        cwd=on.project,
        env={**os.environ, "HOME": str(tmp_path), "MEIGEN_DATA_DIR": str(tmp_path / "data")},
    ) as process:
        os.close(other)
        said = b""
        with contextlib.suppress(OSError):  # the end of a terminal
            while part := os.read(main, 4096):
                said += part
    os.close(main)
    assert process.returncode == 0
    assert b"MEIGEN_BASE_URL = https://own.example" in said
    now = json.loads(path.read_text(encoding="utf-8"))["mcpServers"]["meigen"]
    assert ("env" in now, b"Not kept" in said) == (kept, not kept)


# --- at an address ----------------------------------------------------------------------------

URL = "http://127.0.0.1:8765/mcp"
AT_URL: dict[str, dict[str, Any]] = {
    "claude-code": {"type": "http", "url": URL, "headers": "${MEIGEN_HTTP_TOKEN}"},
    "cursor": {"url": URL, "headers": "${env:MEIGEN_HTTP_TOKEN}"},
    "vscode": {"type": "http", "url": URL, "headers": "${input:meigen}"},
    "windsurf": {"serverUrl": URL, "headers": "${env:MEIGEN_HTTP_TOKEN}"},
    "codex": {"url": URL, "bearer_token_env_var": "MEIGEN_HTTP_TOKEN"},
    "gemini": {"httpUrl": URL, "headers": "${MEIGEN_HTTP_TOKEN}"},
    "opencode": {"type": "remote", "url": URL, "headers": "{env:MEIGEN_HTTP_TOKEN}"},
    "copilot": {"type": "http", "url": URL, "headers": "${MEIGEN_HTTP_TOKEN}", "tools": ["*"]},
}
"""Entries that Claude Code, Codex, Gemini CLI, opencode and Copilot CLI were seen to connect with;
those of the others are from what their makers and users write."""


@pytest.mark.parametrize("client", CLIENTS)
def test_the_entry_for_an_address_is_printed_without_the_token(
    client: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the client reads it; nothing is written, and where a token goes is said."""
    monkeypatch.setenv("MEIGEN_HTTP_TOKEN", "secret-" * 5)
    result = CliRunner().invoke(cli.main, ["install", client, "--url", URL])
    assert "secret-" not in result.output
    if client not in AT_URL:
        assert (result.exit_code, result.stdout) == (1, "")
        assert "takes no address in its configuration" in result.stderr
        return
    expected = dict(AT_URL[client])
    if "headers" in expected:
        expected["headers"] = {"Authorization": f"Bearer {expected['headers']}"}
    document = CLIENTS[client].read(result.stdout)
    assert CLIENTS[client].servers(document) == {"meigen": expected}
    assert [question["id"] for question in document.get("inputs", [])] == (
        ["meigen"] if client == "vscode" else []
    )
    assert TOKEN_OF_URL in result.stderr


@pytest.mark.parametrize("client", AT_URL)
def test_for_a_server_that_asks_for_no_token_the_entry_is_its_address(
    client: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing to fill in, and no word of a token, neither there nor beside it."""
    monkeypatch.setattr(Machine, "this", lambda: machine(tmp_path))
    result = CliRunner().invoke(cli.main, ["install", client, "--url", URL, "--no-token"])
    of_token = ("headers", "bearer_token_env_var")
    expected = {key: value for key, value in AT_URL[client].items() if key not in of_token}
    known = CLIENTS[client]
    alone: dict[str, Any] = {"meigen": expected}
    for key in reversed(known.container):
        alone = {key: alone}
    assert known.read(result.stdout) == alone
    assert result.stderr == f"{known.title}: {known.path(machine(tmp_path), 'user')}\n"


@pytest.mark.parametrize(
    ("typed", "meant"),
    [
        ("http://127.0.0.1:8765", "http://127.0.0.1:8765/mcp"),
        ("https://pictures.example/", "https://pictures.example/mcp"),
        ("http://[::1]:8765", "http://[::1]:8765/mcp"),
        ("https://pictures.example/mcp", "https://pictures.example/mcp"),
        ("https://pictures.example/mcp/", "https://pictures.example/mcp/"),
        ("https://team.example/pictures", "https://team.example/pictures"),
        ("https://team.example?at=pictures", "https://team.example/mcp?at=pictures"),
    ],
)
def test_an_address_without_a_path_means_the_one_that_is_served(typed: str, meant: str) -> None:
    """A path that is typed stays: a proxy may have any."""
    result = CliRunner().invoke(cli.main, ["install", "cursor", "--url", typed])
    assert json.loads(result.stdout)["mcpServers"]["meigen"]["url"] == meant


@pytest.mark.parametrize(
    "words",
    [
        ("--url", "127.0.0.1:8765"),
        ("--url", "http://me:secret@127.0.0.1/mcp"),
        ("--url", "ftp://127.0.0.1/mcp"),
        ("--url", 'http://127.0.0.1/"}'),
        ("--url", URL, "--sandbox"),
        ("--url", URL, "--remove"),
        ("--no-token", "--print"),
    ],
)
def test_what_is_no_address_or_does_not_go_with_one_is_refused(words: tuple[str, ...]) -> None:
    """Before anything is printed."""
    result = CliRunner().invoke(cli.main, ["install", "cursor", *words])
    assert (result.exit_code, result.stdout) == (2, "")
