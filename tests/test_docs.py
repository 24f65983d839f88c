"""What the pages name is there: tests, files, sessions; and uv.lock is that of pyproject.toml."""

import ast
import os
import re
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

import meigen_mcp

ROOT = Path(__file__).parent.parent
PACKAGE = Path(meigen_mcp.__file__).parent
DOCS = {
    page.name: page.read_text(encoding="utf-8")
    for page in [ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
}
DESIGN = DOCS["design.md"]
NOXFILE = ast.parse((ROOT / "noxfile.py").read_text(encoding="utf-8"))


@cache
def _test_names() -> frozenset[str]:
    """Return the names of all tests."""
    trees = (ast.parse(path.read_text("utf-8")) for path in (ROOT / "tests").rglob("test_*.py"))
    functions = (node for tree in trees for node in ast.walk(tree))
    return frozenset(
        node.name
        for node in functions
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        and node.name.startswith("test_")
    )


@pytest.mark.parametrize("page", DOCS)
def test_every_test_that_a_page_names_exists(page: str) -> None:
    """A renamed test is renamed in the pages too."""
    assert set(re.findall(r"`(test_\w+)`", DOCS[page])) - _test_names() == set()


@pytest.mark.parametrize("number", range(1, 11))
def test_each_thing_that_always_holds_names_its_tests(number: int) -> None:
    """All ten do, in their order."""
    section = DESIGN.partition("## What always holds")[2].partition("\n## ")[0]
    holds = re.split(r"^\d+\. ", section, flags=re.MULTILINE)
    assert len(holds) == 11
    assert re.search(r"`test_\w+`", holds[number])


@pytest.mark.parametrize("page", DOCS)
def test_every_file_that_a_page_names_exists(page: str) -> None:
    """Paths from the root, links from the page, and names of modules without their folder."""
    text = DOCS[page]
    folder = ROOT if page == "CONTRIBUTING.md" else ROOT / "docs"
    linked = {folder / link for link in re.findall(r"\]\((?!https?:)([^)#]+)\)", text)}
    named = set(re.findall(r"`(\.?[\w-][\w./-]*(?:\.(?:py|toml|md|json|lock)|/))`", text))
    modules = {path.name for path in PACKAGE.rglob("*.*")}
    places = (ROOT, PACKAGE, PACKAGE.parent)  # the built wheel is elsewhere
    lost = {n for n in named - modules if not any((place / n).exists() for place in places)}
    lost |= {str(p) for p in linked if not _exists(p)}
    assert lost == set()


def _exists(path: Path) -> bool:
    inside = path.resolve().relative_to(ROOT.resolve())
    return path.exists() or (PACKAGE.parent / inside).exists()


def test_every_habit_is_told_in_contributing() -> None:
    """And none that is not there."""
    functions = (node for node in NOXFILE.body if isinstance(node, ast.FunctionDef))
    sessions = {node.name.replace("_", "-") for node in functions if node.decorator_list}
    assert set(re.findall(r"nox -s ([\w-]+)", DOCS["CONTRIBUTING.md"])) == sessions


def test_what_the_habits_name_exists() -> None:
    """A slow test that moves would be back in `quick`, and nobody would be told."""
    named = [
        ROOT / "tests" / name.removeprefix("tests/")
        for node in NOXFILE.body
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Tuple)
        for name in ast.literal_eval(node.value)
    ]
    assert [path for path in named if not path.exists()] == []


def test_the_glossary_fits_on_a_screen_and_has_each_word_once() -> None:
    """One word for one thing."""
    lines = DOCS["glossary.md"].splitlines()
    words = [word for line in lines for word in re.findall(r"\*\*([^*]+)\*\*", line)]
    assert len(lines) <= 50
    assert sorted(words) == sorted(set(words))


def test_the_lock_is_that_of_pyproject() -> None:
    """And it leads to nowhere but PyPI, wherever it was written."""
    check = ["-m", "uv", "lock", "--check", "--offline", "--no-config"]
    plain = {name: value for name, value in os.environ.items() if not name.startswith("UV_")}
    ended = subprocess.run(
        [sys.executable, *check], cwd=ROOT, env=plain, capture_output=True, text=True, check=False
    )
    hosts = set(re.findall(r"https?://([^/\"]+)", (ROOT / "uv.lock").read_text(encoding="utf-8")))
    assert (ended.returncode, hosts) == (0, {"pypi.org", "files.pythonhosted.org"}), ended.stderr
