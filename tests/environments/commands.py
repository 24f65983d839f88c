"""What each command comes to in a place."""

import os
import re
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile

import anyio
from api.test_network import authority
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from support.in_memory import TOKEN

import meigen_mcp
from meigen_mcp.sandbox.running import run_sandbox

from .places import PUBLIC, Place, Site
from .proxy import company

COMMANDS = ("serve", "doctor", "install", "jobs", "saved result")
PROMPT = "雪の中の赤い狐 🦊"
SECONDS = 60.0
_PATHS = re.compile(r"/\S*?/(?=(?:home|project)\b)")


@dataclass(frozen=True)
class Cell:
    """What a command came to.

    Attributes:
        works: it did what it does elsewhere.
        says: in a few words, or the sentence that says why not.
        broken: there was a traceback, or nothing that a person could read.
    """

    works: bool
    says: str
    broken: bool = False


@asynccontextmanager
async def site(folder: Path) -> AsyncIterator[Site]:
    """Run a sandbox and a company's proxy for one place."""
    for made in (folder / "home", folder / "project"):
        made.mkdir(parents=True)
    certificate, _ = authority(folder, PUBLIC.removeprefix("https://"))
    async with (
        run_sandbox(speed=0.01) as origin,
        company(folder / "server.pem") as proxy,
    ):
        yield Site(folder, origin, proxy, certificate)


async def visit(place: Place, folder: Path) -> dict[str, Cell]:
    """Run every command in a place."""
    async with site(folder) as here:
        command = _command(place, here)
        served, saved = await _serve(command)
        cells = {"serve": served}
        for name, words, typed in (
            ("doctor", ["doctor"], ""),
            ("install", ["install", "cursor"], TOKEN),
            ("jobs", ["jobs"], ""),
        ):
            cells[name] = await anyio.to_thread.run_sync(_run, [*command, *words], typed)
        return {**cells, "saved result": saved}


def _command(place: Place, here: Site) -> list[str]:
    """Return how a command is started there, with nothing of this environment."""
    variables: dict[str, str | None] = {
        "PATH": os.defpath,
        "HOME": str(here.home),
        "LANG": "C.UTF-8",
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_BASE_URL": here.origin,
        "MEIGEN_UPLOAD_URL": here.origin,
        "MEIGEN_DATA_DIR": str(here.home / "data"),
        "MEIGEN_OUTPUT_DIR": str(here.home / "media"),
        "MEIGEN_POLL_INTERVAL": "0.1",
        "MEIGEN_CONFIRM_ABOVE": "off",
        **place.variables(here),
    }
    told = [f"{name}={value}" for name, value in variables.items() if value is not None]
    root = Path(meigen_mcp.__file__).parents[1]  # where it is not installed, but in a clone
    start = [sys.executable, "-P", "-m", "meigen_mcp"]
    return ["/usr/bin/env", "-C", str(here.project), "-i", f"PYTHONPATH={root}", *told, *start]


async def _serve(command: Sequence[str]) -> tuple[Cell, Cell]:
    """Start a server as a client does, look at its tools, and have a picture made."""
    with TemporaryFile("w+", encoding="utf-8", errors="replace") as log:
        parameters = StdioServerParameters(command=command[0], args=[*command[1:], "serve"])
        with anyio.fail_after(SECONDS):
            async with Client(stdio_client(parameters, errlog=log)) as client:
                tools = (await client.list_tools()).tools
                call = {"prompt": PROMPT, "modelId": "z-image-turbo", "wait": 20}
                made = (await client.call_tool("generate_image", call)).structured_content or {}
                if made.get("status") == "completed" and not made.get("files"):
                    looked = {"generationId": made["generationId"], "wait": 20}
                    made = (await client.call_tool("check_status", looked)).structured_content or {}
        log.seek(0)
        text = log.read()
    served = Cell(len(tools) == 4, "lists its tools", broken="Traceback" in text)
    said = made.get("error", {}).get("message") or made.get("next", "").partition("; ")[2]
    files = made.get("files", [])
    if files and Path(files[0]).name.isascii() and "狐" not in files[0]:
        return served, Cell(works=True, says="saved, under an ASCII name")
    if files:
        return served, Cell(works=True, says="saved")
    return served, Cell(False, _short(said), broken=not said)


def _run(command: Sequence[str], typed: str) -> Cell:
    done = subprocess.run(
        command, input=f"{typed}\n".encode(), capture_output=True, timeout=SECONDS, check=False
    )
    out, err = (part.decode(errors="replace") for part in (done.stdout, done.stderr))
    broken = "Traceback" in out + err or done.returncode not in (0, 1)
    if done.returncode == 0:
        return Cell(True, "works", broken)
    bad = [line[4:].split(maxsplit=1)[1] for line in out.splitlines() if line.startswith("BAD")]
    says = " / ".join(bad) or err.partition("Error: ")[2]
    return Cell(False, _short(says), broken or not says.strip())


def _short(text: str) -> str:
    """Return a sentence without the folders of this run and what follows it."""
    text = _PATHS.sub("…/", " ".join(text.split()))
    return text if len(text) <= 200 else f"{text[:199]}…"


def as_row(place: Place, cells: dict[str, Cell] | None, missing: str | None) -> str:
    """Return a place as a line of the table."""
    if cells is None:
        shown = [f"not run here: it needs {missing}", *[""] * (len(COMMANDS) - 1)]
    else:
        shown = [f"**broken**: {c.says}" if c.broken else c.says for c in cells.values()]
    said = [cell.replace("|", "\\|") for cell in shown]
    return f"| {place.name}: {place.how} | {' | '.join(said)} |"
