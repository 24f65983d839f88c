"""The processor time of one look, with many jobs in flight that a client follows."""

import time

import anyio

from .beside import Figures, in_turn, row
from .detection import followed, log, submitted
from .processes import connected, environment, instant, serve, temporary
from .report import Part
from .size import Size

MOST = 0.85


async def _look(python: str, size: Size) -> Figures:
    with temporary() as folder:
        variables = {"MEIGEN_POLL_INTERVAL": str(size.interval)}
        command = serve(python)
        async with (
            instant() as origin,
            connected(command, environment(folder, origin, **variables)) as server,
        ):
            uris = await submitted(server, ["long"] * size.scale)
            await followed(server, uris)
            await anyio.sleep(size.interval)
            used, before, began = server.processor(), await log(origin), time.time()
            await anyio.sleep(size.seconds * 2 / 3)
            used, after = server.processor() - used, await log(origin)
            took = time.time() - began
    looks = sum(job["looks"] for job in after.values()) - sum(
        job["looks"] for job in before.values()
    )
    return {"cpu": 1000 * used / max(1, looks), "every": size.scale * took / max(1, looks)}


async def run(size: Size) -> Part:
    """Follow jobs that last."""
    found = await in_turn(lambda python: _look(python, size), size)
    every = ", ".join(f"{one['every']:.2f} s" for one in found.values())
    return Part(
        [
            row(
                f"looks: {size.scale:,} jobs followed, processor of a look",
                found, "cpu", MOST, size, unit="ms", also=f"each looked at every {every}",
            )
        ]
    )  # fmt: skip
