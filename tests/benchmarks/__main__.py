"""The command: measure what was asked for, and print one table."""

import sys
from collections.abc import Awaitable, Callable, Sequence

import anyio
import click

from . import (
    burst,
    call,
    context,
    detection,
    ledger,
    memory,
    pages,
    polls,
    scale,
    shutdown,
    start,
)
from .report import Part, machine, results
from .size import SHORT, Size

PARTS: dict[str, Callable[[Size], Awaitable[Part]]] = {
    "start": start.run,
    "context": context.run,
    "call": call.run,
    "burst": burst.run,
    "detection": detection.run,
    "polls": polls.run,
    "scale": scale.run,
    "ledger": ledger.run,
    "memory": memory.run,
    "shutdown": shutdown.run,
}


async def measured(names: Sequence[str], size: Size) -> Part:
    """Measure parts one after the other, and put together what they came to."""
    found = []
    for name in names:
        click.echo(f"measuring {name} ...", err=True)
        found.append(await PARTS[name](size))
    return Part(
        [row for part in found for row in part.rows],
        "\n\n".join(part.text for part in found if part.text),
        "".join(part.picture for part in found),
    )


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*PARTS]), metavar="[PART]...")
@click.option("--short", is_flag=True, help="As continuous integration runs it: no time is judged.")
@click.option("--write", is_flag=True, help="Put what was measured into the docs.")
def main(names: tuple[str, ...], *, short: bool, write: bool) -> None:
    """Measure how fast and how lean the server is; without a PART, all of it."""
    if write and (names or short):
        raise click.UsageError("--write goes with all of it")
    part = anyio.run(measured, names or tuple(PARTS), SHORT if short else Size())
    text = f"Measured on {machine()}.\n\n{results(part.rows)}"
    click.echo(f"{text}\n\n{part.text}" if part.text else text)
    if write:
        pages.write(text, part)
    sys.exit(any(row.met is False and not row.absolute for row in part.rows))


if __name__ == "__main__":
    main()
