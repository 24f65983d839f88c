"""How a client starts this server, and how an entry that does is told from another one."""

import json
import os
import re
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path, PureWindowsPath

from meigen_mcp import variables
from meigen_mcp.foreign import flat

TOKEN = "MEIGEN_API_TOKEN"  # noqa: S105  # the name of a variable
TOKEN_FILE = "MEIGEN_API_TOKEN_FILE"  # noqa: S105  # as above

_SECRET_NAME = re.compile(r"(?i)(?:^|_)(?:key|token|secret|password|passwd|pass|auth)s?$")
_PYTHON = re.compile(r"(?:python|pypy)[\d.]*w?|py")
_PACKAGE = re.compile(r"meigen-mcp(?:$|[\[@=<>~!])")
_RUNNERS: Mapping[str, tuple[str, ...]] = {
    "uvx": (),
    "uv": ("tool", "run"),
    "pipx": ("run",),
}
"""Programs that start a package, with the words that say so."""
_WITH_VALUE = frozenset(
    ("--from", "--with", "--python", "-p", "--spec", "--index", "--default-index", "--index-url",
     "--extra-index-url", "--directory", "--project", "--refresh-package", "--cache-dir")
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Launch:
    """How a client starts the server."""

    command: tuple[str, ...]
    environment: Mapping[str, str] = field(default_factory=dict)

    @property
    def in_sandbox(self) -> bool:
        """Whether what it starts is the sandbox."""
        return "--sandbox" in self.command

    @property
    def sandbox(self) -> str:
        """The sandbox that it starts, in words: with its name, if it has one."""
        after = self.command[self.command.index("--sandbox") + 1 :][:1] if self.in_sandbox else ()
        return " ".join(["the sandbox", *(name for name in after if not name.startswith("-"))])

    @property
    def ours(self) -> bool:
        """Whether it starts this server: a command line that merely mentions it does not."""
        if not self.command:
            return False
        # Its names have no spaces and no colons: that reading fits paths of every system.
        program = PureWindowsPath(self.command[0]).name.lower().removesuffix(".exe")
        rest = list(self.command[1:])
        if program == "meigen-mcp":
            return True
        if _PYTHON.fullmatch(program):
            options = [word for word in rest if not word.startswith("-") or word == "-m"]
            return options[:2] == ["-m", "meigen_mcp"]
        if program not in _RUNNERS:
            return False
        words = _without_options(rest)
        expected = _RUNNERS[program]
        if program == "uv" and words[:1] == ["run"]:
            expected = ("run",)
        return words[: len(expected)] == [*expected] and any(
            _PACKAGE.match(word) for word in words[len(expected) :][:1]
        )


def hide_secrets(name: str, value: str) -> str:
    """Return the value of a variable as it may be shown."""
    if name in variables.SECRET or _SECRET_NAME.search(name):
        return "***"
    return variables.hide(value)


def _without_options(words: Sequence[str]) -> list[str]:
    """Return the words of a command line that are neither options nor the values of options."""
    found = []
    skip = False
    for word in words:
        if not skip and not word.startswith("-"):
            found.append(word)
        skip = not skip and word in _WITH_VALUE
    return found


def command_line(
    prefix: Path = Path(sys.prefix),
    executable: Path = Path(sys.executable),
    find: Callable[[str], str | None] = shutil.which,
) -> tuple[str, ...]:
    """Return a command that starts this installation from anywhere, also from a desktop.

    A client started from a desktop has another PATH than a terminal, so paths are absolute. An
    environment that `uvx` keeps in its cache may go at any time, so there `uvx` itself is named.
    """
    uvx = find("uvx") if "archive-v0" in prefix.parts else None
    if uvx is not None and Path(uvx).is_absolute():  # not one that lies in the current folder
        return (uvx, *_source(), "meigen-mcp")
    for name in ("meigen-mcp", "meigen-mcp.exe"):
        script = executable.with_name(name)
        if script.is_file():
            return (str(script),)
    # -P: a client starts it in the folder of a project, which may have a meigen_mcp of its own.
    return (str(executable), "-P", "-m", "meigen_mcp")


def _source() -> tuple[str, ...]:
    """Return from where `uvx` took the package, unless it was the index."""
    try:
        origin = json.loads(distribution("meigen-mcp").read_text("direct_url.json") or "{}")
    except (PackageNotFoundError, ValueError):
        return ()
    return ("--from", origin["url"]) if "url" in origin else ()


def launch(
    token_file: Path | None, reference_dirs: Sequence[Path] = (), *, sandbox: str | None = None
) -> Launch:
    """Return how a client is to start the server; on a sandbox, its name may be empty."""
    environment: dict[str, str] = {}
    if token_file is not None:
        environment[TOKEN_FILE] = str(token_file.expanduser().absolute())
    if reference_dirs:
        folders = [str(folder.expanduser().absolute()) for folder in reference_dirs]
        environment["MEIGEN_REFERENCE_DIRS"] = os.pathsep.join(folders)
    words = () if sandbox is None else ("serve", "--sandbox", *filter(None, [sandbox]))
    return Launch((*command_line(), *words), environment)


def own_place(environment: Mapping[str, str], kept: Path) -> str | None:
    """Say where the token of an entry is, if that is not the one that is kept here for all.

    Args:
        environment: the variables of the entry.
        kept: where the one for all is.
    """
    if environment.get(TOKEN):
        return f"{TOKEN}, in its configuration"
    file = environment.get(TOKEN_FILE)
    same = not file or os.path.normpath(os.path.expanduser(file)) == os.path.normpath(kept)  # noqa: PTH111  # it raises nothing
    return None if same else flat(file or "")
