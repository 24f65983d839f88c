"""The README tells the truth."""

import re
import tomllib
from pathlib import Path

import pytest
from tools import readme

import meigen_mcp
from meigen_mcp.commands.clients import CLIENTS
from meigen_mcp.commands.launch import Launch

ROOT = Path(__file__).parent.parent


@pytest.mark.parametrize("page", readme.PAGES, ids=lambda page: page.name)
def test_the_generated_tables_are_those_of_the_code(page: Path) -> None:
    """A changed model, setting or attack changes the page in the same commit."""
    text = page.read_text(encoding="utf-8")
    assert text == readme.filled(text), "run `python -m tests.tools.readme`"


def test_every_generated_part_has_its_place() -> None:
    """None is made for nothing."""
    text = "".join(page.read_text(encoding="utf-8") for page in readme.PAGES)
    assert set(re.findall(r"<!-- generated: ([\w-]+) -->", text)) == set(readme.generated())


def test_it_names_one_command_for_the_main_job_and_one_for_the_tests() -> None:
    """CI runs exactly these two in a fresh clone."""
    commands = readme.commands()
    assert list(commands) == ["demo", "tests"]
    assert commands["demo"].endswith("meigen-mcp demo")
    assert "pytest" in commands["tests"]


def test_every_relative_link_leads_somewhere() -> None:
    """No link of the README is dead within the repository."""
    text = readme.README.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", text)
    places = (ROOT, Path(meigen_mcp.__file__).parent.parent)  # the built wheel is elsewhere
    assert [link for link in links if not any((p / link).exists() for p in places)] == []


def test_the_version_is_that_of_pyproject() -> None:
    """The version is written once."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert meigen_mcp.__version__ == project["version"]


def test_every_snippet_is_what_the_installer_writes() -> None:
    """Read as the client reads it."""
    text = readme.README.read_text(encoding="utf-8")
    snippets = re.findall(r"```(json|toml)\n(.*?)```", text, flags=re.DOTALL)
    wanted = Launch(("/path/to/meigen-mcp",), {"MEIGEN_API_TOKEN_FILE": "/path/to/token"})
    seen = [snippet.strip() for _, snippet in snippets]
    for client in ("cursor", "vscode", "codex", "opencode"):
        chosen = CLIENTS[client]
        assert chosen.snippet("meigen", chosen.entry(wanted)) in seen
