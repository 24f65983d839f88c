"""The command: run the parts that were asked for, and say what they came to."""

import multiprocessing
import sys
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import replace
from pathlib import Path

import click

from .parts import PARTS, SHORT, Size, measured
from .report import filled


@click.command()
@click.argument("parts", nargs=-1, type=click.Choice([*PARTS]))
@click.option("--short", is_flag=True, help="The size that continuous integration runs.")
@click.option("--repetitions", type=click.IntRange(1), help="Of each fault.")
@click.option("--seconds", type=click.FloatRange(1), help="Of the crowd, replicas and soak.")
@click.option("--seed", type=int, default=1, show_default=True, help="Of all chance.")
@click.option(
    "--write",
    type=click.Path(exists=True, dir_okay=False, writable=True, path_type=Path),
    help="A page whose generated parts to make anew, such as docs/money-safety.md.",
)
def main(
    parts: tuple[str, ...],
    *,
    short: bool,
    repetitions: int | None,
    seconds: float | None,
    seed: int,
    write: Path | None,
) -> None:
    """Break everything that can break, and see whether the promises about money hold.

    Two parts run at a time, each in a process of its own. The exit status is 0 if every promise
    was kept.
    """
    size = replace(SHORT if short else Size(), seed=seed)
    if repetitions:
        size = replace(size, repetitions=repetitions)
    if seconds:
        size = replace(size, crowd_seconds=seconds, team_seconds=seconds, soak_seconds=seconds)
    wanted = [name for name in PARTS if not parts or name in parts]
    kept = True
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(2, fresh, max_tasks_per_child=1) as pool:
        running = {pool.submit(measured, name, size): name for name in wanted}
        for future in as_completed(running):
            part = future.result()
            kept = kept and not part.broken
            click.echo(f"{part.markdown()}\n")
            if write is not None:
                page = write.read_text(encoding="utf-8")
                page = filled(page, running[future], part.markdown())
                write.write_text(page, encoding="utf-8")
    sys.exit(0 if kept else 1)


if __name__ == "__main__":
    main()
