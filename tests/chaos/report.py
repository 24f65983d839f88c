"""What a part comes to, as Markdown."""

import os
import platform
import random
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from importlib.metadata import version

KEPT = "Every promise was kept."
_END = "<!-- end -->"
PACKAGES = ("meigen-mcp", "mcp", "httpx", "anyio")


@dataclass
class Part:
    """The result of one part.

    Attributes:
        title: a heading.
        text: Markdown below it.
        broken: every promise that was not kept, as a sentence.
        measured: when, where and for how long, as a sentence.
    """

    title: str
    text: str = ""
    broken: list[str] = field(default_factory=list)
    measured: str = ""

    def hold(self, kept: bool, promise: str) -> None:
        """Note a promise that was not kept."""
        if not kept:
            self.broken.append(promise)

    def markdown(self) -> str:
        """Return the part as a section."""
        verdict = KEPT
        if self.broken:
            verdict = "BROKEN:\n\n" + "\n".join(f"- {promise}" for promise in self.broken) + "\n\n"
        return f"### {self.title}\n\n{self.text}\n\n{verdict} {self.measured}".rstrip()


def section(page: str, name: str) -> tuple[str, str, str]:
    """Return what stands before, in and after the generated part of that name.

    Raises:
        LookupError: the page has no such part.
    """
    before, start, rest = page.partition(f"<!-- generated: {name} -->\n")
    part, end, after = rest.partition(_END)
    if not end:
        raise LookupError(f"the page has no part {name}")
    return before + start, part, end + after


def filled(page: str, name: str, part: str) -> str:
    """Return a page with one generated part made anew."""
    before, _, after = section(page, name)
    return f"{before}{part}\n{after}"


def table(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """Return a Markdown table; numbers stand right."""
    lines = [[str(cell) for cell in row] for row in rows]
    numeric = [
        bool(lines) and all(row[column].replace(".", "").isdigit() for row in lines)
        for column in range(len(head))
    ]
    ruler = ["---:" if right else "---" for right in numeric]
    return "\n".join(f"| {' | '.join(line)} |" for line in [list(head), ruler, *lines])


def machine() -> str:
    """Return what it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores, {platform.system()} {platform.machine()},"
        f" Python {platform.python_version()}, SQLite {sqlite3.sqlite_version}; {packages}"
    )


def dice(*seed: object) -> random.Random:
    """Return repeatable chance."""
    return random.Random(repr(seed))  # noqa: S311  # faults need chance, not secrecy
