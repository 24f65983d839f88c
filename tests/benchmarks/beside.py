"""Figures of this build and of an older one, measured in turn: what is judged is their ratio."""

import sys
from collections.abc import Awaitable, Callable

from .report import Row, load, number
from .size import Size

Figures = dict[str, float]
"""What one run came to, by name."""


async def in_turn(
    run: Callable[[str], Awaitable[Figures]], size: Size, rounds: int = 0
) -> dict[str, Figures]:
    """Measure each build some times, in turn, and return the least of each figure.

    Args:
        run: measures one build, whose Python it is given.
        size: which builds, and how often.
        rounds: how often, where one round takes long.
    """
    found: dict[str, list[Figures]] = {build: [] for build in size.builds}
    for _ in range(rounds or size.rounds):
        for build, runs in found.items():
            runs.append(await run(build))
    return {
        build: {name: min(one[name] for one in runs) for name in runs[0]}
        for build, runs in found.items()
    }


def row(
    what: str,
    found: dict[str, Figures],
    name: str,
    most: float | None,
    size: Size,
    *,
    unit: str = "s",
    also: str = "",
    idle: bool = False,
) -> Row:
    """Judge one figure of this build by the older one's.

    Args:
        what: is measured.
        found: what `in_turn` returned.
        name: of the figure.
        most: the ratio that it may have; None: it is told, and not judged.
        size: which builds there are.
        unit: of the figure.
        also: what else is to be told.
        idle: only an idle machine can show it: elsewhere a ratio that is missed is only told.
    """
    ours = found[sys.executable][name]
    measured = f"{number(ours)} {unit}"
    ratio, met = "", None
    if size.today:
        theirs = found[size.today][name]
        measured += f"; today {number(theirs)} {unit}"
        value = ours / theirs if theirs else 1.0
        ratio = f"{value:.2f} x"
        met = value <= most if size.judged and most is not None else None
    told = "; ".join(part for part in (measured, also, load()) if part)
    return Row(what, "" if most is None else f"{most:g} x today", told, ratio, met, absolute=idle)
