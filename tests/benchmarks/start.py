"""From the spawn of a server process to its answered `tools/list`."""

import sys
import time

from .processes import BARE, environment, serve, spawned, temporary
from .report import Part, Row, Sample, load
from .size import Size

MOST, MOST_TODAY = 1.15, 1.03


async def seconds(command: tuple[str, ...], environ: dict[str, str]) -> float:
    """Start a server once."""
    began = time.perf_counter()
    async with spawned(command, environ) as server:
        await server.greet()
        await server.request("tools/list")
        return time.perf_counter() - began


async def run(size: Size) -> Part:
    """Start this server, the bare one and an older build in turn."""
    commands = {build: serve(build) for build in size.builds} | {"bare": BARE}
    took: dict[str, list[float]] = {name: [] for name in commands}
    with temporary() as folder:
        places = {name: environment(folder / str(place)) for place, name in enumerate(commands)}
        for turn in range(1 + size.starts):
            for name, command in commands.items():
                one = await seconds(command, places[name])
                if turn:  # the first makes the ledger, and the bytecode
                    took[name].append(one)
    ours, bare = (Sample(took[name], "s") for name in (sys.executable, "bare"))
    ratio = ours.median / bare.median
    rows = [
        Row(
            "start: spawn to answered `tools/list`",
            f"{MOST} x the bare SDK server",
            f"{ours}; bare {bare}",
            f"{ratio:.2f} x bare",
            ratio <= MOST if size.judged else None,
        )
    ]
    if size.today:
        rows.append(_beside(ours, Sample(took[size.today], "s"), size))
    return Part(rows)


def _beside(ours: Sample, today: Sample, size: Size) -> Row:
    ratio = ours.median / today.median
    met = ratio <= MOST_TODAY if size.judged else None
    measured = f"{ours}; today {today}; {load()}"
    what = "start: the same beside today"
    return Row(what, f"{MOST_TODAY:g} x today", measured, f"{ratio:.3f} x", met)
