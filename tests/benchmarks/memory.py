"""What a server holds, at rest and for each job."""

import anyio

from .detection import submitted
from .processes import BARE, OURS, connected, environment, instant, temporary
from .report import Part, Row, Sample, number
from .size import Size

MOST_MORE, MOST_PER_JOB = 15.0, 4.0
_WARM_UP = 300


async def _idle(command: tuple[str, ...], environ: dict[str, str]) -> float:
    async with connected(command, environ) as server:
        await server.request("tools/list")
        await anyio.sleep(0.5)
        return server.memory()


async def run(size: Size) -> Part:
    """Weigh this server and the bare one, then this one with jobs."""
    with temporary() as folder:
        ours = Sample([await _idle(OURS, environment(folder)) for _ in range(3)], "MB")
        bare = Sample([await _idle(BARE, environment(folder)) for _ in range(3)], "MB")
        async with (
            instant() as origin,
            connected(OURS, environment(folder / "jobs", origin)) as server,
        ):
            await submitted(server, ["warm-up"] * min(_WARM_UP, size.waiting))
            before = server.memory()
            await submitted(server, ["job"] * size.waiting)
            per_job = (server.memory() - before) * 1000 / size.waiting
    more = ours.median - bare.median
    return Part(
        [
            Row(
                "memory: after `tools/list`",
                f"{MOST_MORE:g} MB more than bare",
                f"{number(ours.median)} MB; bare {number(bare.median)} MB",
                f"{more:+.1f} MB",
                more <= MOST_MORE if size.judged else None,
            ),
            Row(
                f"memory: per job, {size.waiting:,} in flight",
                f"{MOST_PER_JOB:g} kB",
                f"{number(per_job)} kB",
                f"{per_job / MOST_PER_JOB:.2f} x",
                per_job <= MOST_PER_JOB if size.judged else None,
            ),
        ]
    )
