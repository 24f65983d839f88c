"""From the spawn of a server process to its answered `tools/list`."""

import time

from .processes import BARE, OURS, environment, spawned, temporary
from .report import Part, Row, Sample
from .size import Size

MOST = 1.15


async def seconds(command: tuple[str, ...], environ: dict[str, str]) -> float:
    """Start a server once."""
    began = time.perf_counter()
    async with spawned(command, environ) as server:
        await server.greet()
        await server.request("tools/list")
        return time.perf_counter() - began


async def run(size: Size) -> Part:
    """Start this server and the bare one in turn."""
    ours, bare = [], []
    with temporary() as folder:
        environ = environment(folder)
        await seconds(OURS, environ)  # makes the ledger, and the bytecode
        await seconds(BARE, environ)
        for _ in range(size.starts):
            ours.append(await seconds(OURS, environ))
            bare.append(await seconds(BARE, environ))
    mine, theirs = Sample(ours, "s"), Sample(bare, "s")
    ratio = mine.median / theirs.median
    return Part(
        [
            Row(
                "start: spawn to answered `tools/list`",
                f"{MOST} x the bare SDK server",
                f"{mine}; bare {theirs}",
                f"{ratio:.2f} x bare",
                ratio <= MOST if size.judged else None,
            )
        ]
    )
