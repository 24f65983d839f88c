"""Does a test notice when a guard of the ledger is taken out? `python -m tests.tools.guards`.

Each is taken out of a copy of this project, on which the contract suite must then fail. The text of
a guard is that of today: one that is not found, or passes, ends the command with status 1.
"""

import os
import shutil
import subprocess
import sys
import tempfile
import tomllib
from dataclasses import dataclass
from pathlib import Path

import click

ROOT = Path(__file__).parents[2]
LEDGER = Path("meigen_mcp/ledger")
CONTRACT = "tests/ledger/contract"
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-k")


@dataclass(frozen=True)
class Guard:
    """One guard, as guards.toml has it."""

    holds: str
    file: str
    text: str
    without: str
    tests: str = ""


@click.command()
@click.option("--only", default="", help="Words of the guards that are tried.")
def main(only: str) -> None:
    """Take out one after the other, and say which of them no test noticed."""
    listed = tomllib.loads(Path(__file__).with_suffix(".toml").read_text("utf-8"))
    guards = [Guard(**guard) for guard in listed["guards"]]
    wanted = [guard for guard in guards if only in f"{guard.file} {guard.holds}"]
    unnoticed = 0
    with tempfile.TemporaryDirectory(prefix="meigen-guards-") as folder:
        copy = Path(folder) / "project"
        shutil.copytree(ROOT / "meigen_mcp", copy / "meigen_mcp")
        shutil.copytree(ROOT / "tests", copy / "tests")
        shutil.copy(ROOT / "pyproject.toml", copy)
        for guard in wanted:
            said = _tried(copy, guard)
            unnoticed += said is None
            click.echo(f"{guard.file}: {guard.holds}: {said or 'NO TEST NOTICES'}")
    click.echo(f"{len(wanted) - unnoticed} of {len(wanted)} are noticed.")
    sys.exit(bool(unnoticed))


def _tried(copy: Path, guard: Guard) -> str | None:
    """Run the suite without a guard, and return the test that fails; None: none does."""
    file = copy / LEDGER / guard.file
    whole = file.read_text("utf-8")
    if whole.count(guard.text) != 1:
        raise click.ClickException(f"{guard.file} has not once: {guard.text}")
    file.write_text(whole.replace(guard.text, guard.without), "utf-8")
    other = "postgres" if guard.file.startswith("sqlite") else "sqlite"
    try:
        ended = subprocess.run(
            [*_PYTEST, f"not {other}", f"{CONTRACT}/{guard.tests}"],
            cwd=copy,
            env={**os.environ, "PYTHONPATH": str(copy), "PYTHONDONTWRITEBYTECODE": "1"},
            check=False,
            capture_output=True,
            text=True,
        )
    finally:
        file.write_text(whole, "utf-8")
    failed = [line for line in ended.stdout.splitlines() if line.startswith("FAILED")]
    if ended.returncode == 0:
        return None
    if not failed:
        raise click.ClickException(ended.stdout + ended.stderr)
    return failed[0].partition("::")[2].partition(" - ")[0]


if __name__ == "__main__":
    main()
