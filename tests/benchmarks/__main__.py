"""The command: measure what was asked for, and print one table."""

import json
import sys
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path

import anyio
import click

from . import (
    burst,
    call,
    context,
    crowd,
    detection,
    growing_log,
    learnt,
    ledger,
    locked,
    looks,
    memory,
    over_http,
    own_work,
    pages,
    peer,
    pictures,
    polls,
    replicas,
    scale,
    shutdown,
    slow_disk,
    start,
)
from .report import Part, Row, load, machine, results
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
    "locked": locked.run,
    "shutdown": shutdown.run,
}
BESIDE: dict[str, Callable[[Size], Awaitable[Part]]] = {
    "own work": own_work.run,
    "slow disk": slow_disk.run,
    "pictures": pictures.run,
    "looks": looks.run,
    "crowd": crowd.run,
    "learnt": learnt.run,
    "log": growing_log.run,
    "http": over_http.run,
    "peer": peer.run,
    "replicas": replicas.run,
}
"""What is measured in turn with an older build, the peer or a bare server over HTTP."""
ALL = {**PARTS, **BESIDE}


async def measured(names: Sequence[str], size: Size, kept: Path | None = None) -> dict[str, Part]:
    """Measure parts one after the other, and return what each came to.

    Args:
        names: which.
        size: how much of each.
        kept: where each is kept as it comes; one that is there already is not measured anew.
    """
    found = {}
    known = json.loads(kept.read_text("utf-8")) if kept and kept.exists() else {}
    for name in names:
        if name not in known:
            click.echo(f"measuring {name} ...", err=True)
            known[name] = asdict(await ALL[name](size))
            if kept:
                kept.write_text(json.dumps(known), encoding="utf-8")
        rows = [Row(**row) for row in known[name]["rows"]]
        found[name] = Part(rows, known[name]["text"], known[name]["picture"])
    return found


@click.command()
@click.argument("names", nargs=-1, type=click.Choice([*ALL]), metavar="[PART]...")
@click.option("--short", is_flag=True, help="As continuous integration runs it: no time is judged.")
@click.option("--against", default="", help="The Python of an older build, measured in turn.")
@click.option("--peer", "typescript", default="", help="The program of the TypeScript server.")
@click.option("--rounds", type=click.IntRange(1), help="How often each build is measured.")
@click.option(
    "--keep",
    type=click.Path(path_type=Path),
    help="A file that keeps each part as it comes, so that a run goes on where it was broken off.",
)
@click.option("--write", is_flag=True, help="Put what was measured into the docs.")
def main(
    names: tuple[str, ...],
    *,
    short: bool,
    against: str,
    typescript: str,
    rounds: int | None,
    keep: Path | None,
    write: bool,
) -> None:
    """Measure how fast and how lean the server is; without a PART, all of it."""
    if write and (names or short):
        raise click.UsageError("--write goes with all of it")
    size = replace(SHORT if short else Size(), today=against, peer=typescript)
    size = replace(size, rounds=rounds or size.rounds)
    before = load()
    found = anyio.run(measured, names or tuple(ALL), size, keep)
    said = f"Measured on {machine()}; {before} before it, {load()} after."
    rows = _rows(found, ALL)
    texts = [part.text for part in found.values() if part.text]
    click.echo("\n\n".join([said, results(rows), *texts]))
    if write:
        alone, beside = (results(_rows(found, parts)) for parts in (PARTS, BESIDE))
        pages.write(f"{said}\n\n{alone}", f"{said}\n\n{beside}", found)
    sys.exit(any(row.met is False and not row.absolute for row in rows))


def _rows(found: Mapping[str, Part], names: Iterable[str]) -> list[Row]:
    return [row for name in names if name in found for row in found[name].rows]


if __name__ == "__main__":
    main()
