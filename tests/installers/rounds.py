"""One round: a home, a client's file in it, and processes that are let go at the same moment."""

import json
import os
import subprocess
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path

import meigen_mcp
from meigen_mcp.commands.clients import Client, Machine

# What an installation needs is loaded before the start, so that all of them write at once.
_START = """
import sys
from meigen_mcp.commands import cli, install, terminal
sys.stdout.write("ready\\n")
sys.stdout.flush()
sys.stdin.read()
cli.main()
"""
SECONDS = 300.0
DONE = "starts this server now."
NEIGHBOUR = {
    "json": '{\n  "theirs": {"command": "x", "env": {"KEY": "n3ighbour"}}\n}\n',
    "toml": 'model = "x"\n',
}


@dataclass(frozen=True)
class Round:
    """What a round came to.

    Attributes:
        said: how many installers said that they are done.
        there: how many of these are in the file.
        odd: what else was seen, each in a sentence.
    """

    said: int
    there: int
    odd: tuple[str, ...]


def run(client: Client, at_once: int, folder: Path) -> Round:
    """Let so many installers change one file of a client."""
    home = folder / "home"
    home.mkdir(parents=True)
    environ = {
        "PATH": os.defpath,
        "HOME": str(home),
        "LANG": "C.UTF-8",
        "PYTHONPATH": str(Path(meigen_mcp.__file__).parents[1]),
        "MEIGEN_DATA_DIR": str(home / "data"),
        "MEIGEN_OUTPUT_DIR": str(home / "media"),
    }
    machine = Machine.this()
    path = client.path(Machine(machine.system, home, home / ".config", home, folder, {}), "user")
    assert path is not None
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(NEIGHBOUR[client.form], encoding="utf-8")
    names = [f"server-{number}" for number in range(at_once)]
    command = [sys.executable, "-P", "-c", _START, "install", client.id, "--sandbox", "--name"]
    running = {
        name: subprocess.Popen(
            [*command, name],
            cwd=folder,
            env=environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            encoding="utf-8",
        )
        for name in names
    }
    for process in running.values():
        assert process.stdout is not None
        process.stdout.readline()
    for process in running.values():
        assert process.stdin is not None
        process.stdin.close()
        process.stdin = None
    answers = {name: process.communicate(timeout=SECONDS)[0] for name, process in running.items()}
    done = [name for name, text in answers.items() if DONE in text and not running[name].returncode]
    odd = [f"{name}: {answers[name]}" for name in names if name not in done]
    text = path.read_text(encoding="utf-8")
    read = tomllib.loads(text) if client.form == "toml" else json.loads(text)
    servers = client.servers(read)
    if not text.startswith(NEIGHBOUR[client.form].rstrip("}\n")):
        odd.append(f"what stood there before is changed: {text[:200]}")
    odd += [
        f"{found} was written"
        for found in sorted(home.rglob("*"))
        if found.is_file() and found != path and not found.is_relative_to(home / "data")
    ]
    odd += [
        f"{left} was left behind"
        for left in (home / "data").iterdir()
        if left.name not in ("install.lock", "backups")
    ]
    return Round(len(done), len(servers.keys() & set(done)), tuple(odd))
