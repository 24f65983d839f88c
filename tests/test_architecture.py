"""The shape of the code: who may import whom, and who alone may do what."""

import ast
from pathlib import Path

import pytest

import meigen_mcp

PACKAGE = Path(meigen_mcp.__file__).parent

# From left to right: a module imports only from those before it.
ORDER = (
    "errors", "rules", "references", "forms", "catalogue", "listing", "arguments", "pricing",
    "generation", "prompts", "provenance", "settings", "system", "database", "rows", "notes",
    "window", "uploads", "agenda", "ledger", "replies", "api", "previews", "drafts", "media",
    "local_references", "sources", "live_catalogue", "budget", "poller", "service", "completions",
    "advice", "views", "model_views", "viewer", "tools", "caller", "live", "menu", "resources",
    "server", "app", "stdio", "http", "demo", "jobs", "config_text", "clients", "install",
    "doctor", "cli",
)  # fmt: skip
PURE = ORDER[: ORDER.index("settings")]
MODULES = sorted(path for path in PACKAGE.glob("*.py") if not path.name.startswith("__"))
SANDBOX = sorted((PACKAGE / "sandbox").glob("*.py"))


def _name(path: Path) -> str:
    return str(path.relative_to(PACKAGE)).removesuffix(".py").replace("/", ".").replace("\\", ".")


def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def _imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module)
            if node.module == "meigen_mcp":
                found |= {f"meigen_mcp.{alias.name}" for alias in node.names}
    return found


def _own(path: Path) -> set[str]:
    return {name.split(".")[1] for name in _imports(path) if name.startswith("meigen_mcp.")}


def test_every_module_has_its_place() -> None:
    """A new module is put into the order before it is used."""
    assert sorted(ORDER) == [_name(path) for path in MODULES]


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_from_its_left(path: Path) -> None:
    """The arrows of the design point one way."""
    left = set(ORDER[: ORDER.index(_name(path))]) | {"__version__"}
    assert (
        _own(path)
        - left
        - ({"sandbox"} if _name(path) in ("stdio", "http", "demo", "cli") else set())
        == set()
    )


@pytest.mark.parametrize("name", PURE)
def test_the_left_hand_modules_are_pure(name: str) -> None:
    """They do no I/O and know no clock, network or database."""
    impure = {"os", "time", "socket", "sqlite3", "httpx", "anyio", "asyncio", "subprocess", "mcp"}
    assert {module.split(".")[0] for module in _imports(PACKAGE / f"{name}.py")} & impure == set()


@pytest.mark.parametrize("path", SANDBOX, ids=_name)
def test_the_sandbox_and_the_client_never_meet(path: Path) -> None:
    """The sandbox knows the rules and prices, and nothing of the client."""
    allowed = {"arguments", "catalogue", "errors", "forms", "listing", "pricing", "references"}
    assert _own(path) - allowed - {"rules", "sandbox"} == set()


@pytest.mark.parametrize(
    ("library", "owners"),
    [
        ("sqlite3", {"database", "ledger", "rows", "window"}),
        ("httpx", {"api", "app", "jobs"}),  # the others hand a transport through
        ("mcp", {"caller", "demo", "http", "live", "menu", "resources", "server", "stdio"}),
        ("uvicorn", {"http", "sandbox.running"}),
        ("fcntl", set()),
        ("msvcrt", set()),
    ],
)
def test_a_library_has_one_home(library: str, owners: set[str]) -> None:
    """What a library is for is done in one place."""
    users = {
        _name(path)
        for path in [*MODULES, *SANDBOX]
        if library in {module.split(".")[0] for module in _imports(path)}
    }
    assert users == owners


def _attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(_tree(path)) if isinstance(node, ast.Attribute)}


def test_only_the_settings_read_the_environment() -> None:
    """The demo hands its environment to the server process; nobody else sees it."""
    readers = {_name(p) for p in [*MODULES, *SANDBOX] if {"environ", "getenv"} & _attributes(p)}
    assert readers == {"settings", "demo"}


def test_only_the_poller_submits() -> None:
    """Nothing else can spend."""
    assert {_name(path) for path in MODULES if "submit" in _attributes(path)} == {"poller"}


@pytest.mark.parametrize("path", [*MODULES, *SANDBOX], ids=_name)
def test_a_module_fits_into_a_head(path: Path) -> None:
    """At most about 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 450
