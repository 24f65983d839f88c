"""A terminal sees what the installed server made: whose it is comes from the clients' own files."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.in_memory import ORIGIN, connect, make_settings

from meigen_mcp.commands import installed, jobs
from meigen_mcp.commands.clients import CLIENTS, Machine
from meigen_mcp.commands.identities import identities, with_first
from meigen_mcp.commands.launch import Launch
from meigen_mcp.errors import NotFound
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

ONE, TWO = "meigen_sk_" + "1" * 32, "meigen_sk_" + "2" * 32


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """Return a machine on which no client has the server."""
    home = tmp_path / "home"
    return Machine("linux", home, home / "config", home, home / "project")


def _install(machine: Machine, client: str, scope: Any = "user", **variables: str) -> None:
    chosen = CLIENTS[client]
    path = chosen.path(machine, scope)
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    launch = Launch(("/opt/meigen-mcp",), variables)
    path.write_text(chosen.snippet("meigen", chosen.entry(launch)), encoding="utf-8")


async def _made(folder: Path, emulator: Emulator, token: str, prompt: str) -> dict[str, Any]:
    settings = make_settings(folder, MEIGEN_API_TOKEN=token)
    async with connect(settings, emulator) as on:
        return await on.call("generate_image", prompt=prompt, modelId="nanobanana-2")


@pytest.fixture
def terminal(tmp_path: Path) -> Settings:
    """Return what a terminal says: nothing of a token."""
    return make_settings(tmp_path, MEIGEN_API_TOKEN="")


async def test_what_the_installed_server_made_is_seen_in_a_terminal(
    terminal: Settings, machine: Machine, tmp_path: Path, emulator: Emulator
) -> None:
    """With the token in a file that the client's configuration names, or there."""
    token_file = tmp_path / "token"
    token_file.write_text(ONE)
    _install(machine, "cursor", MEIGEN_API_TOKEN_FILE=str(token_file))
    made = await _made(tmp_path, emulator, ONE, "a red cube")
    text = await jobs.run(terminal, machine=machine)
    record = json.loads(await jobs.run(terminal, made["requestId"], machine=machine))
    assert text.splitlines()[0].endswith("5 credits: a red cube")
    assert text.splitlines()[-1].startswith("spent or reserved: 5 credits")
    assert (record["status"], ONE in text) == ("completed", False)


async def test_several_accounts_are_shown_apart(
    terminal: Settings, machine: Machine, tmp_path: Path, emulator: Emulator
) -> None:
    """Each under the clients that use its token; the sums are over all."""
    _install(machine, "cursor", MEIGEN_API_TOKEN=ONE)
    _install(machine, "vscode", MEIGEN_API_TOKEN=TWO)
    _install(machine, "windsurf", MEIGEN_API_TOKEN=ONE)
    for token, prompt in ((ONE, "red"), (TWO, "green"), ("meigen_sk_" + "3" * 32, "blue")):
        await _made(tmp_path, emulator, token, prompt)
    lines = (await jobs.run(terminal, machine=machine)).splitlines()
    told = [line.rpartition(": ")[2] or line for line in lines if line[0] != " "]
    assert told == [
        "An account whose token is not here:",
        "blue",
        "The account of VS Code:",
        "green",
        "The account of Cursor, Windsurf:",
        "red",
        "spent or reserved: 15 credits in 24 hours, 15 in 30 days".partition(": ")[2],
    ]


def test_of_an_entry_only_its_token_is_used(terminal: Settings, machine: Machine) -> None:
    """Neither its origin, nor its proxy, nor its certificates, nor its folders."""
    foreign = {
        "MEIGEN_BASE_URL": "https://evil.example",
        "MEIGEN_DATA_DIR": "/elsewhere",
        "HTTPS_PROXY": "http://evil.example",
        "SSL_CERT_FILE": "/evil.pem",
    }
    _install(machine, "cursor", MEIGEN_API_TOKEN=ONE, **foreign)
    known = identities(terminal, installed.found(machine))
    assert with_first(terminal, known) == replace(terminal, token=ONE)
    assert (terminal.base_url, repr(known)) == (ORIGIN, repr(known).replace(ONE, ""))


def test_a_project_s_token_and_a_sandbox_are_nobody_s(terminal: Settings, machine: Machine) -> None:
    """A project's file may be anybody's; the sandbox has no account."""
    _install(machine, "cursor", "project", MEIGEN_API_TOKEN=ONE)
    path = CLIENTS["vscode"].path(machine, "user")
    assert path is not None
    path.parent.mkdir(parents=True)
    launch = Launch(("/opt/meigen-mcp", "serve", "--sandbox"), {"MEIGEN_API_TOKEN": TWO})
    entry = CLIENTS["vscode"].entry(launch)
    path.write_text(CLIENTS["vscode"].snippet("meigen", entry), encoding="utf-8")
    assert len(installed.found(machine)) == 2
    assert identities(terminal, installed.found(machine)) == []


def test_the_terminal_s_own_token_comes_first(terminal: Settings, machine: Machine) -> None:
    """Whoever sets one means that account."""
    _install(machine, "cursor", MEIGEN_API_TOKEN=ONE)
    own = replace(terminal, token=TWO)
    known = identities(own, installed.found(machine))
    assert [(one.token, one.where) for one in known] == [(TWO, "this terminal"), (ONE, "Cursor")]


async def test_a_ledger_that_is_elsewhere_is_named(
    terminal: Settings, machine: Machine, tmp_path: Path
) -> None:
    """Which folder is meant is the person's to say, but they are told where to look."""
    folder = tmp_path / "another one"
    _install(machine, "cursor", MEIGEN_API_TOKEN=ONE, MEIGEN_DATA_DIR=str(folder))
    text = await jobs.run(terminal, machine=machine)
    assert text.splitlines()[-1] == (
        "Cursor's server keeps its ledger elsewhere: `meigen-mcp jobs` shows it with"
        f" MEIGEN_DATA_DIR='{folder}'."
    )
    with pytest.raises(NotFound, match="keeps its ledger elsewhere"):
        await jobs.run(terminal, "x", machine=machine)


async def test_a_client_whose_token_file_cannot_be_read_is_named(
    terminal: Settings, machine: Machine, tmp_path: Path
) -> None:
    """What it made is then nobody's, and why is said."""
    own = tmp_path / "mine"
    own.write_text(ONE, encoding="utf-8")
    own.chmod(0o600)
    _install(machine, "cursor", MEIGEN_API_TOKEN_FILE=str(own))
    assert "cannot be read here" not in await jobs.run(terminal, machine=machine)
    own.unlink()
    last = (await jobs.run(terminal, machine=machine)).splitlines()[-1]
    assert last.startswith("The token of Cursor cannot be read here: ")
    assert str(own) in last
