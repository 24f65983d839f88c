"""What was measured, as rows of one Markdown table."""

import math
import os
import platform
import sqlite3
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from statistics import median

PACKAGES = ("meigen-mcp", "mcp", "httpx", "pydantic", "anyio")


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        met: whether the target is met; None: it is told, and not judged.
        absolute: the target depends on the machine's absolute speed.
    """

    what: str
    target: str
    measured: str
    ratio: str = ""
    met: bool | None = None
    absolute: bool = False

    @property
    def verdict(self) -> str:
        """In a word or two."""
        if self.met is None:
            return ""
        if self.met:
            return "met"
        return "missed on this machine" if self.absolute else "MISSED"


@dataclass(frozen=True)
class Part:
    """What one part of the benchmarks came to.

    Attributes:
        text: Markdown that says more than the table.
        picture: an SVG.
    """

    rows: list[Row]
    text: str = ""
    picture: str = ""


def load() -> str:
    """Say what else the machine has to do just now."""
    return f"load {number(os.getloadavg()[0])}"


class Sample:
    """Some measurements of one thing, in one unit."""

    def __init__(self, values: Iterable[float], unit: str) -> None:
        self.values = sorted(values)
        self._unit = unit

    @property
    def count(self) -> int:
        """How many there are."""
        return len(self.values)

    @property
    def median(self) -> float:
        """The middle one."""
        return median(self.values)

    @property
    def least_median(self) -> float:
        """The least that the median may be if nineteen of twenty such samples contain it.

        By the binomial distribution of how many values lie below the median.
        """
        count = len(self.values)
        return self.values[max(0, math.floor(count / 2 - 0.98 * math.sqrt(count)))]

    @property
    def p99(self) -> float:
        """The value that 99 of 100 do not exceed."""
        return self.values[math.ceil(0.99 * len(self.values)) - 1]

    def __str__(self) -> str:
        return f"{number(self.median)} {self._unit}, {number(self.p99)} {self._unit}"


def number(value: float) -> str:
    """Write a figure with about three digits."""
    digits = 0 if abs(value) >= 100 else 1 if abs(value) >= 10 else 2
    return f"{value:,.{digits}f}"


def results(rows: Sequence[Row]) -> str:
    """Return the Markdown table of all rows."""
    head = ("what", "target", "measured (median, p99)", "ratio", "verdict")
    return table(head, [(r.what, r.target, r.measured, r.ratio, r.verdict) for r in rows])


def table(head: Sequence[str], lines: Iterable[Sequence[str]]) -> str:
    """Return a Markdown table."""
    return "\n".join(f"| {' | '.join(line)} |" for line in [head, ["---"] * len(head), *lines])


def machine() -> str:
    """Say what it was measured on."""
    packages = ", ".join(f"{name} {version(name)}" for name in PACKAGES)
    return (
        f"{os.cpu_count()} cores ({_processor()}), {platform.system()} {platform.machine()}, Python"
        f" {platform.python_version()}, SQLite {sqlite3.sqlite_version}; {packages}"
    )


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123  # one line of it
            names = [line.partition(":")[2].strip() for line in lines if "model name" in line]
    except OSError:
        names = []
    return names[0] if names else platform.processor() or "of an unknown kind"
