"""The shape of the code: who may import whom, and who alone may do what."""

import ast
import re
import sys
from functools import cache
from importlib import metadata
from pathlib import Path

import pytest

import meigen_mcp

PACKAGE = Path(meigen_mcp.__file__).parent

# What each room may import from, besides itself. There is no circle and no arrow back up.
_FIRST = {"errors", "foreign", "origins", "system", "wording"}
_FACTS = _FIRST | {"catalogue"}
_RECORDS = _FACTS | {"reports", "generation", "saving", "people", "settings", "variables", "tally"}
_FILES = _RECORDS | {"ledger", "api", "media"}
_ANSWERS = _FILES | {"service", "views"}
_WHOLE = _ANSWERS | {"poller", "backend", "server", "app", "sandbox"}
MAY_IMPORT = {
    "foreign": set[str](),
    "errors": {"foreign"},
    "origins": set[str](),
    "system": set[str](),
    "wording": {"errors", "foreign"},
    "catalogue": _FIRST,
    "reports": _FACTS,
    "generation": _FACTS | {"reports"},
    "saving": {"reports", "generation"},
    "people": {"generation"},
    "tally": set[str](),
    "known_clients": set[str](),
    "variables": _FIRST,
    "settings": _FACTS | {"variables"},
    "sandbox": _FACTS,
    "ledger": _RECORDS,
    "api": _RECORDS,
    "media": _RECORDS | {"api"},
    "service": _FILES,
    "poller": _FILES,
    "views": _FILES | {"service"},
    "server": _ANSWERS | {"known_clients"},
    "telemetry": _RECORDS | {"ledger"},
    "backend": _FILES | {"service", "poller"},
    "app": _ANSWERS | {"backend", "server", "sandbox", "telemetry"},
    "transports": _WHOLE,
    "commands": _WHOLE | {"known_clients", "transports"},
}
# These do no I/O and know no clock.
PURE = (
    *("errors", "foreign", "origins", "wording"),
    *("catalogue", "reports", "generation", "saving", "people", "tally"),
)

MODULES = sorted(
    path for path in PACKAGE.rglob("*.py") if path.parent != PACKAGE or path.stem[0] != "_"
)


def _name(path: Path) -> str:
    """Return a module's dotted name within the package."""
    return ".".join(path.relative_to(PACKAGE).with_suffix("").parts).removesuffix(".__init__")


def _room(path: Path) -> str:
    return _name(path).split(".")[0]


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


@cache
def _imports(path: Path) -> set[str]:
    """Return the dotted names that a module imports, wherever in it."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module)
            if node.module == "meigen_mcp":
                names |= {f"meigen_mcp.{alias.name}" for alias in node.names}
    return names


def _rooms_used(path: Path) -> set[str]:
    parts = {name.split(".")[1] for name in _imports(path) if name.startswith("meigen_mcp.")}
    return parts - {"__version__", _room(path)}


def _users(library: str) -> set[str]:
    """Return the modules that import a library."""
    return {
        _name(path)
        for path in MODULES
        if library in {module.split(".")[0] for module in _imports(path)}
    }


def test_every_room_has_its_place() -> None:
    """A new room is given its arrows before it is used."""
    assert {_room(path) for path in MODULES} == set(MAY_IMPORT)


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_imports_only_from_the_rooms_below_its_own(path: Path) -> None:
    """The arrows of the design point one way."""
    assert _rooms_used(path) - MAY_IMPORT[_room(path)] == set()


def test_no_arrow_closes_a_circle() -> None:
    """Between modules too, also within a room."""
    arrows = {}
    for path in MODULES:
        used = _imported(path)  # it parses the module
        others = (_name(other) for other in MODULES if other != path)
        arrows[_name(path)] = {other for other in others if other.removesuffix(".__init__") in used}
    while free := {name for name, targets in arrows.items() if not targets & arrows.keys()}:
        arrows = {name: targets for name, targets in arrows.items() if name not in free}
    assert arrows == {}


def _imported(path: Path) -> set[str]:
    """Return the modules of ours that a module imports, those named after `import` too."""
    names: set[str] = set()
    for node in ast.walk(_tree(path)):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("meigen_mcp"):
            names |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module or ""}
    return {name.removeprefix("meigen_mcp.") for name in names}


@pytest.mark.parametrize("path", [p for p in MODULES if _room(p) in PURE], ids=_name)
def test_what_only_computes_is_pure(path: Path) -> None:
    """It does no I/O and knows no clock, network or database."""
    impure = {"os", "time", "socket", "sqlite3", "httpx", "anyio", "asyncio", "subprocess", "mcp"}
    assert {module.split(".")[0] for module in _imports(path)} & impure == set()


def test_a_library_has_one_home() -> None:
    """What a library is for is done in one place."""
    homes = {
        "sqlite3": {"ledger"},
        "psycopg": {"ledger"},
        "psycopg_pool": {"ledger"},
        # The last two hand a transport through, and the transports ask who signs people in.
        "httpx": {"api", "transports", "app", "commands"},
        "jwt": {"transports"},
        "mcp": {"server", "transports", "commands"},
        "opentelemetry": {"telemetry"},
        "uvicorn": {"transports", "sandbox"},
        "fcntl": set[str](),
        "msvcrt": set[str](),
    }
    assert {library: {name.split(".")[0] for name in _users(library)} for library in homes} == homes


def test_what_is_imported_is_asked_for() -> None:
    """What comes with another library alone is gone with its next release."""
    parts = {"mcp_types": "mcp", "httpcore": "httpx", "h11": "uvicorn", "psycopg_pool": "psycopg"}
    asked_for = {
        re.split(r"[^a-z0-9-]", name.lower(), maxsplit=1)[0]
        for name in metadata.requires("meigen-mcp") or ()
    }
    brings = metadata.packages_distributions()
    imported = {name.split(".")[0] for path in MODULES for name in _imports(path)}
    others = imported - sys.stdlib_module_names - {"meigen_mcp", "__future__"}
    named = {parts.get(name, brings.get(name, [name])[0]).lower() for name in others}
    assert {name.replace("_", "-") for name in named} - asked_for == set()


def test_only_its_own_engine_needs_what_an_extra_brings() -> None:
    """It is chosen in one place, on first use: nothing that a start loads imports it."""
    engine = "ledger.postgres."
    users = {
        _name(path)
        for path in MODULES
        for name in _imports(path)
        if name.startswith(("psycopg", f"meigen_mcp.{engine[:-1]}"))
    }
    assert {name for name in users if not name.startswith(engine)} == {"app"}
    at_start = [node for node in _tree(PACKAGE / "app.py").body if isinstance(node, ast.ImportFrom)]
    assert not [node.module for node in at_start if engine[:-1] in str(node.module)]


def _attributes(path: Path) -> set[str]:
    return {node.attr for node in ast.walk(_tree(path)) if isinstance(node, ast.Attribute)}


def test_only_the_settings_read_the_environment() -> None:
    """The demo hands its environment on, and `commands` says in it what pydantic leaves out."""
    readers = {_name(p) for p in MODULES if {"environ", "getenv"} & _attributes(p)}
    assert readers == {"settings", "commands.demo", "commands"}


def test_only_one_function_listens() -> None:
    """A socket that does not say that it is TCP holds every answer up for 40 ms."""
    assert {_name(p) for p in MODULES if "create_server" in _attributes(p)} == {"system"}


def test_only_the_poller_submits() -> None:
    """Nothing else can spend."""
    submitters = {_name(path) for path in MODULES if "submit" in _attributes(path)}
    assert {name for name in submitters if not name.startswith("sandbox.")} == {"poller.poller"}


@pytest.mark.parametrize("path", MODULES, ids=_name)
def test_a_module_fits_into_a_head(path: Path) -> None:
    """At most 400 lines."""
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400
