"""The processor time of one look, with many jobs in flight that a client follows.

Of both builds at once: the least that a look costs on a shared machine changes by a fifth within
minutes, and what was measured one after the other was told apart by that.
"""

import operator
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import anyio

from .beside import Figures, row
from .detection import followed, log, submitted
from .processes import Server, connected, environment, instant, serve, temporary
from .report import Part
from .size import Size

MOST = 0.85


@asynccontextmanager
async def _following(python: str, size: Size) -> AsyncIterator[tuple[Server, str]]:
    """Have a build follow jobs that last, and give its server and where its API is."""
    with temporary() as folder:
        variables = {"MEIGEN_POLL_INTERVAL": str(size.interval)}
        command = serve(python)
        async with (
            instant() as origin,
            connected(command, environment(folder, origin, **variables)) as server,
        ):
            uris = await submitted(server, ["long"] * size.scale)
            await followed(server, uris)
            yield server, origin


async def _so_far(server: Server, origin: str) -> tuple[float, float, float]:
    """Return the processor time that it used, the looks that it took, and the time."""
    jobs = await log(origin)
    return server.processor(), sum(job["looks"] for job in jobs.values()), time.time()


async def _looked(size: Size) -> dict[str, Figures]:
    """Return what each build came to, all of them at once."""
    async with AsyncExitStack() as stack:
        builds = {
            build: await stack.enter_async_context(_following(build, size)) for build in size.builds
        }
        await anyio.sleep(size.interval)
        before = {build: await _so_far(*where) for build, where in builds.items()}
        await anyio.sleep(size.seconds * 2 / 3)
        after = {build: await _so_far(*where) for build, where in builds.items()}
    found = {}
    for build in builds:
        used, looks, took = map(operator.sub, after[build], before[build])
        cost, every = 1000 * used / max(1, looks), size.scale * took / max(1, looks)
        found[build] = {"cpu": cost, "every": every}
    return found


async def run(size: Size) -> Part:
    """Follow jobs that last."""
    found = await _looked(size)
    every = ", ".join(f"{one['every']:.2f} s" for one in found.values())
    return Part(
        [
            row(
                f"looks: {size.scale:,} jobs followed, processor of a look",
                found, "cpu", MOST, size, unit="ms", also=f"each looked at every {every}",
            )
        ]
    )  # fmt: skip
