"""Many jobs at once on a disk whose every sync takes 15 ms more, as a hard disk's does."""

import time
from pathlib import Path

import anyio

from .beside import Figures, in_turn, row
from .processes import MODEL, Server, connected, environment, instant, serve, slow_disk, temporary
from .report import Part, Row
from .size import Size

TARGETS = ((0.25, 0.05), (0.4, 0.1))
"""Of the time above the job and of the longest ping, for few and for many."""
MOST_SYNCS = 4.0


async def _together(python: str, jobs: int, seconds: float, sync_ms: float) -> Figures:
    with temporary() as folder:
        count = folder / "syncs"
        async with instant() as origin:
            variables = slow_disk(sync_ms, count)
            environ = environment(folder, origin, **variables)
            async with connected(serve(python), environ) as server:
                count.write_bytes(b"")
                used, began = server.processor(), time.perf_counter()
                pings: list[float] = []
                async with anyio.create_task_group() as group:
                    group.start_soon(_ping, server, pings)
                    async with anyio.create_task_group() as calls:
                        for number_ in range(jobs):
                            prompt = f"together {number_}, as expected, {seconds} s"
                            calls.start_soon(_call, server, prompt)
                    took = time.perf_counter() - began
                    group.cancel_scope.cancel()
                return {
                    "above": took - seconds,
                    "ping": 1000 * max(pings),
                    "syncs": _size(count) / jobs,
                    "cpu": 1000 * (server.processor() - used) / jobs,
                }


def _size(path: Path) -> int:
    return path.stat().st_size


async def _call(server: Server, prompt: str) -> None:
    answer = await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=40)
    assert answer["status"] == "completed", answer


async def _ping(server: Server, took: list[float]) -> None:
    while True:
        began = time.perf_counter()
        await server.request("ping")
        took.append(time.perf_counter() - began)
        await anyio.sleep(0.02)


async def run(size: Size) -> Part:
    """Call all at once."""
    rows: list[Row] = []
    for jobs, seconds, (above, ping) in zip(
        size.together, size.together_seconds, TARGETS, strict=True
    ):

        async def one(python: str, jobs: int = jobs, seconds: float = seconds) -> Figures:
            return await _together(python, jobs, seconds, size.sync_ms)

        found = await in_turn(one, size)
        what = f"slow disk: {jobs} jobs of {seconds:g} s, each sync {size.sync_ms:g} ms more"
        rows.append(row(f"{what}, time above the job", found, "above", above, size))
        rows.append(row(f"{what}, longest `ping`", found, "ping", ping, size, unit="ms"))
        rows.append(row(f"{what}, processor a job", found, "cpu", None, size, unit="ms"))
        if jobs == size.together[0]:
            rows.append(_syncs(what, found, size))
    return Part(rows)


def _syncs(what: str, found: dict[str, Figures], size: Size) -> Row:
    told = row(f"{what}, syncs a job", found, "syncs", None, size, unit="syncs")
    ours = next(iter(found.values()))["syncs"]
    met = ours <= MOST_SYNCS if size.judged else None
    return Row(told.what, f"{MOST_SYNCS:g}", told.measured, told.ratio, met)
