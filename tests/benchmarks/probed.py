"""The server with a gauge beside it: `probed.py FILE` notes how late its event loop wakes up.

Each line is a time and the milliseconds by which a pause of 20 ms took longer than that.
"""

import sys
import time
from pathlib import Path

import anyio

from meigen_mcp import settings
from meigen_mcp.transports import stdio

PAUSE = 0.02


async def _gauge(path: Path) -> None:
    with path.open("w", encoding="ascii", buffering=1) as lines:
        while True:
            before = time.perf_counter()
            await anyio.sleep(PAUSE)
            late = time.perf_counter() - before - PAUSE
            lines.write(f"{time.time():.3f} {late * 1000:.3f}\n")


async def _serve() -> None:
    async with anyio.create_task_group() as group:
        group.start_soon(_gauge, Path(sys.argv[1]))
        await stdio.serve(settings.load())


if __name__ == "__main__":
    anyio.run(_serve)
