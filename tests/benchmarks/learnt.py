"""When jobs of a model are done is not told: how soon each end is seen, and after how many looks.

Their times are drawn by a seed from a log-normal. Builds and peer are measured at the same time,
each with an API of its own, since there is little to do.
"""

import math
import random
import sys
import time
from statistics import median

import anyio

from .detection import log
from .peer import picture
from .processes import MODEL, connected, environment, instant, serve, temporary
from .report import Part, Row, load, number
from .size import Size

SPREAD = 0.3
PEER = 1.65
"""Seconds of the peer's median, as measured elsewhere, where none is measured beside us."""
MOST = 0.8
AT_ONCE = 4
"""Calls that the peer answers at a time; the others wait in it."""
_PACE = 0.1
_PAST = 12
"""Jobs before, from which may be learnt."""


async def _seen(command: tuple[str, ...], size: Size, count: int) -> tuple[float, float]:
    """Return the median of completed to answered, and the looks a job."""
    chance = random.Random(8)  # noqa: S311  # no secret
    peer = command[0] == "node"
    with temporary() as folder:
        variables = {"MEIGEN_POLL_INTERVAL": str(size.interval), "HOME": str(folder)}
        if peer:
            variables["MEIGEN_OUTPUT_DIR"] = str(folder)
        async with (
            instant(*([picture(folder)] if peer else [])) as origin,
            connected(command, environment(folder, origin, **variables)) as server,
        ):
            answered: dict[str, float] = {}

            async def call(name: str) -> None:
                seconds = size.middle * math.exp(chance.gauss(0, SPREAD))
                prompt = f"{name}, untold, {seconds:.3f} s"
                given = {} if peer else {"wait": 40}
                answer = await server.call("generate_image", prompt=prompt, modelId=MODEL, **given)
                if peer or answer["status"] == "completed":  # hardly one takes longer than 40 s
                    answered[prompt] = time.time()

            async def some(names: list[str]) -> None:
                for name in names:
                    await call(name)

            async def at_once(names: list[str]) -> None:
                async with anyio.create_task_group() as group:
                    lines = [names[at::AT_ONCE] for at in range(AT_ONCE)]
                    for line in lines if peer else [[name] for name in names]:
                        group.start_soon(some, line)
                        await anyio.sleep(_PACE)

            await at_once([f"before {place}" for place in range(0 if peer else _PAST)])
            await at_once([f"job {place}" for place in range(count)])
            jobs = [job for job in (await log(origin)).values() if job["prompt"][:3] == "job"]  # type: ignore[index]  # a word
    late = [
        answered[prompt] - job["done_at"]
        for job in jobs
        if (prompt := str(job["prompt"])) in answered
    ]
    return median(late), sum(job["looks"] for job in jobs) / len(jobs)


async def run(size: Size) -> Part:
    """Call all of them."""
    found: dict[str, tuple[float, float]] = {}

    async def one(name: str, command: tuple[str, ...], count: int) -> None:
        found[name] = await _seen(command, size, count)

    async with anyio.create_task_group() as group:
        for build in size.builds:
            group.start_soon(one, build, serve(build), size.learnt)
        if size.peer:
            group.start_soon(one, "peer", ("node", size.peer), max(1, size.learnt // 3))
    seen, looks = found[sys.executable]
    peer, peer_looks = found.get("peer", (PEER, 0.0))
    told = "the peer" if size.peer else "the peer, elsewhere,"
    what = f"learnt: ends that are not told, {size.middle:g} s with a spread of {SPREAD:.0%}"
    rows = [
        Row(
            f"{what}, completed to answered",
            f"{MOST:g} x the peer",
            f"{number(seen)} s; {told} {number(peer)} s; {load()}",
            f"{seen / peer:.2f} x",
            seen <= MOST * peer if size.judged else None,
        )
    ]
    measured, ratio, met = f"{number(looks)} a job", "", None
    if size.today:
        before, theirs = found[size.today]
        measured += f"; today {number(theirs)}, seen after {number(before)} s"
        ratio, met = f"{looks / theirs:.2f} x", looks <= theirs if size.judged else None
    if size.peer:
        measured += f"; the peer {number(peer_looks)}"
    return Part([*rows, Row(f"{what}, looks", "no more than today", measured, ratio, met)])
