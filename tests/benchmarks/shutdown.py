"""From the end of stdin or a signal to the end of the process."""

import signal
import time
from contextlib import suppress

import anyio

from .processes import (
    BARE,
    MODEL,
    OURS,
    Server,
    Unanswered,
    connected,
    environment,
    instant,
    temporary,
)
from .report import Part, Row, Sample, number
from .size import Size

MOST = 0.5


async def _ends(server: Server, how: signal.Signals | None) -> float:
    began = time.perf_counter()
    if how is None:
        await server.close()
    else:
        server.signal(how)
    await server.ended()
    return time.perf_counter() - began


async def run(size: Size) -> Part:
    """End servers in each way, with a call that waits; the bare one by the end of stdin."""
    ours, bare = [], []
    with temporary() as folder:
        async with instant() as origin:
            environ = environment(folder, origin)
            for _ in range(size.ends):
                for how in (None, signal.SIGTERM, signal.SIGINT):
                    async with (
                        connected(OURS, environ) as server,
                        anyio.create_task_group() as group,
                    ):
                        await server.call("generate_image", prompt="a", modelId=MODEL, wait=0)
                        group.start_soon(_waits, server)
                        await anyio.sleep(0.1)
                        ours.append(await _ends(server, how))
                async with connected(BARE, environ) as server:
                    bare.append(await _ends(server, None))
    mine, theirs = Sample(ours, "s"), Sample(bare, "s")
    return Part(
        [
            Row(
                "shutdown: end of stdin, SIGTERM or SIGINT to the exit, a call open",
                f"{MOST} s",
                str(mine),
                f"{mine.median / theirs.median:.2f} x bare ({number(theirs.median)} s, stdin only)",
                mine.p99 <= MOST if size.judged else None,
            )
        ]
    )


async def _waits(server: Server) -> None:
    """Leave a call open; it is answered when the server ends, if it was read before that."""
    with suppress(Unanswered):
        await server.call("generate_image", prompt="waited for", modelId=MODEL, wait=40)
