"""Live through many simulated fortnights: `python -m tests.tools.fortnight`, 200 by default.

Each is told by its seed; the story of one that went wrong is printed, and `--seed` repeats it.
"""

import logging
import multiprocessing
import sys
import tempfile
import time
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import anyio
import click

if (_tests := str(Path(__file__).parents[1])) not in sys.path:
    sys.path.insert(0, _tests)

from support.fortnight import Fortnight

_MEMORY = Path("/dev/shm")  # noqa: S108  # a disk that syncs at once, since nothing of it lasts


def lived(seed: int) -> tuple[int, float, list[str], str]:
    """Return a seed, the seconds of a processor that it took, what was wrong, and its story."""
    logging.disable(logging.CRITICAL)
    place = _MEMORY if _MEMORY.is_dir() else None
    with tempfile.TemporaryDirectory(prefix="meigen-fortnight-", dir=place) as folder:
        fortnight, began = Fortnight(Path(folder), seed), time.process_time()
        try:
            anyio.run(fortnight.live)
        except Exception as error:  # noqa: BLE001  # it is part of the story
            fortnight.wrong.append(f"it did not come to its end: {error!r}")
        return seed, time.process_time() - began, fortnight.wrong, str(fortnight)


@click.command()
@click.option("--seeds", type=click.IntRange(1), default=200, show_default=True)
@click.option("--seed", type=int, help="This one alone, with its story.")
@click.option("--processes", type=click.IntRange(1), default=2, show_default=True)
def main(*, seeds: int, seed: int | None, processes: int) -> None:
    """Print how many fortnights went well, and the story of each that did not."""
    began, times, bad = time.monotonic(), [], 0
    fresh = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(processes, fresh) as pool:
        for number, seconds, wrong, story in pool.map(
            lived, range(seeds) if seed is None else [seed]
        ):
            times.append(seconds)
            bad += bool(wrong)
            if wrong or seed == number:
                click.echo(f"{story}\n")
    took = time.monotonic() - began
    click.echo(
        f"{len(times)} fortnights in {took:.0f} s: {bad} went wrong;"
        f" {sum(times) / len(times):.1f} s of a processor each, {max(times):.1f} s the longest"
    )
    sys.exit(1 if bad else 0)


if __name__ == "__main__":
    main()
