"""The command: run the parts that were asked for, and print what they came to."""

import sys
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace

import anyio
import click

from . import crowd, kills, race, soak, wire
from .report import Part, machine


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    repetitions: int = 20
    lanes: int = 2
    alternate: bool = False
    processes: int = 8
    jobs: int = 200
    crowd_seconds: float = 120.0
    races: int = 5
    soak_seconds: float = 600.0
    seed: int = 1


SHORT = Size(
    repetitions=1,
    lanes=1,
    alternate=True,
    processes=3,
    jobs=24,
    crowd_seconds=10.0,
    races=1,
    soak_seconds=10.0,
)
PARTS: dict[str, Callable[[Size], Awaitable[Part]]] = {
    "wire": lambda size: wire.run(size.repetitions, size.seed),
    "kills": lambda size: kills.run(
        size.repetitions, size.lanes, size.seed, alternate=size.alternate
    ),
    "crowd": lambda size: crowd.run(size.processes, size.jobs, size.crowd_seconds, size.seed),
    "race": lambda size: race.run(size.races),
    "soak": lambda size: soak.run(size.soak_seconds, size.seed),
}


async def _run(names: tuple[str, ...], size: Size) -> bool:
    click.echo(f"Measured on {machine()}; seed {size.seed}.\n")
    kept = True
    for name in names:
        began = time.monotonic()
        part = await PARTS[name](size)
        click.echo(part.markdown())
        click.echo(f"({time.monotonic() - began:.0f} s)\n")
        kept = kept and not part.broken
    return kept


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--short", is_flag=True, help="The size that continuous integration runs.")
@click.option("--repetitions", type=click.IntRange(1), help="Of each fault.")
@click.option("--seconds", type=click.FloatRange(1), help="Of the crowd and of the soak.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance.")
def main(
    parts: tuple[str, ...],
    *,
    short: bool,
    repetitions: int | None,
    seconds: float | None,
    seed: int,
) -> None:
    """Break everything that can break, and see whether the promises about money hold."""
    size = replace(SHORT if short else Size(), seed=seed)
    if repetitions:
        size = replace(size, repetitions=repetitions)
    if seconds:
        size = replace(size, crowd_seconds=seconds, soak_seconds=seconds)
    sys.exit(0 if anyio.run(_run, parts or tuple(PARTS), size) else 1)


if __name__ == "__main__":
    main()
