"""What many jobs in flight cost one process, when a client follows every one of them."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import anyio

from .detection import MOST_MEDIAN, MOST_P99, delays, ending, followed, log, submitted
from .plot import Panel, svg
from .processes import (
    MODEL,
    PROBED,
    Server,
    connected,
    environment,
    instant,
    slow_disk,
    temporary,
)
from .report import Part, Row, Sample, number, table
from .size import Size

SATURATED = 1.15
"""Times the interval from which on looks count as late."""
MOST_CPU, MOST_MEMORY, MOST_LAG, MOST_CALL = 75.0, 120.0, 100.0, 100.0


@dataclass(frozen=True)
class Figures:
    """What one number of jobs came to.

    Attributes:
        cpu: of one core, in per cent.
        memory: in MB.
        looks: status requests a second, and of one core in ms each.
        fairness: the most looks at a job by the fewest.
        slow: whether each sync of its disk took longer.
    """

    jobs: int
    cpu: float
    memory: float
    lag: Sample
    detection: Sample
    calls: Sample
    looks: float
    fairness: float
    slow: bool = False

    @property
    def interval(self) -> float:
        """Seconds between two looks at a job."""
        return self.jobs / self.looks if self.looks else 0.0


async def figures(jobs: int, size: Size, *, slow: bool = False) -> Figures:
    """Put jobs in flight, and watch what they cost while some of them end."""
    short = min(size.watched // 5, jobs // 2) or 1
    with temporary() as folder:
        gauge = folder / "lag"
        variables = {"MEIGEN_POLL_INTERVAL": str(size.interval)}
        if slow:
            variables |= slow_disk(size.sync_ms, folder / "syncs")
        async with (
            instant() as origin,
            connected((*PROBED, str(gauge)), environment(folder, origin, **variables)) as server,
        ):
            # All are submitted before any is followed: only then are they looked at.
            lasting = await submitted(server, [f"long {place}" for place in range(jobs - short)])
            await followed(server, lasting)
            uris = await ending(server, short, size.interval)
            await anyio.sleep(size.interval)
            before, looked, began = server.processor(), await log(origin), time.time()
            calls: list[float] = []
            called = anyio.Event()
            async with anyio.create_task_group() as group:
                group.start_soon(_calling, server, lasting[0].rpartition("/")[2], calls, called)
                since_end, _ = await delays(server, origin, uris)
                await anyio.sleep(max(0.0, size.seconds - (time.time() - began)))
                await called.wait()
                group.cancel_scope.cancel()
            took = time.time() - began
            used, memory, after = server.processor() - before, server.memory(), await log(origin)
        late = _late(gauge, began)
    looks = {
        uri: after[uri]["looks"] - job["looks"] for uri, job in looked.items() if uri not in uris
    }
    return Figures(
        jobs=jobs,
        cpu=100 * used / took,
        memory=memory,
        lag=Sample(late, "ms"),
        detection=Sample(since_end, "s"),
        calls=Sample(calls, "ms"),
        looks=sum(looks.values()) * jobs / len(looks) / took,
        fairness=max(looks.values()) / max(1, min(looks.values())),
        slow=slow,
    )


async def _calling(server: Server, name: str, took: list[float], called: anyio.Event) -> None:
    """Call a tool again and again; in turn one that reads and one that spends.

    Args:
        server: whom to call.
        name: the generation to ask for.
        took: where to note how long each call took, in ms.
        called: set when there is one.
    """
    while True:
        for tool, arguments in (
            ("check_status", {"generationId": name}),
            ("generate_image", {"prompt": "meanwhile, 0.1 s", "modelId": MODEL}),
        ):
            began = time.perf_counter()
            await server.call(tool, **arguments, wait=0)
            took.append((time.perf_counter() - began) * 1000)
            called.set()
            await anyio.sleep(0.1)


def _late(gauge: Path, since: float) -> list[float]:
    """Return by how many ms the event loop woke up late."""
    noted = [line.split() for line in gauge.read_text("ascii").splitlines()]
    return [float(line[1]) for line in noted if len(line) == 2 and float(line[0]) >= since]


async def run(size: Size) -> Part:
    """Measure the cost as it grows, and judge the number of jobs of the target."""
    found = [await figures(jobs, size) for jobs in size.jobs]
    judged = next(one for one in found if one.jobs == size.scale)
    slow = [await figures(jobs, size, slow=True) for jobs in size.slow_jobs]
    return Part(rows(judged, size), _text(found, slow, size), _picture(found, slow))


def _text(found: Sequence[Figures], slow: Sequence[Figures], size: Size) -> str:
    head = (
        "jobs followed",
        "processor",
        "memory",
        "event loop late (median, p99)",
        "looks a second",
        "a job is looked at every",
        "most looks by fewest",
        "detection (median, p99)",
        "tool calls (median, p99)",
    )
    lines = [
        (
            f"{one.jobs:,}{', slow disk' if one.slow else ''}",
            f"{number(one.cpu)} %",
            f"{number(one.memory)} MB",
            str(one.lag),
            number(one.looks),
            f"{number(one.interval)} s",
            f"{one.fairness:.2f}",
            str(one.detection),
            str(one.calls),
        )
        for one in (*found, *slow)
    ]
    return f"{table(head, lines)}\n\n{_saturation(found[-1], size)}"


def _saturation(most: Figures, size: Size) -> str:
    """Say at how many jobs one process can look no more often."""
    if most.interval > SATURATED * size.interval:
        jobs = most.looks * size.interval
        return f"It saturates at about {jobs:,.0f} jobs: {number(most.looks)} looks a second."
    jobs = 100 * most.jobs / most.cpu
    return (
        f"It does not saturate at {most.jobs:,} jobs; by the processor time that they take it would"
        f" at about {jobs:,.0f}."
    )


def _picture(found: Sequence[Figures], slow: Sequence[Figures]) -> str:
    places = [f"{one.jobs:,}" for one in found]
    panels = [
        Panel("processor, % of a core", _each(found, slow, "cpu"), MOST_CPU),
        Panel("resident memory, MB", _each(found, slow, "memory"), MOST_MEMORY),
        Panel("looks a second", _each(found, slow, "looks")),
        Panel("event loop late, ms", _both(found, slow, "lag"), MOST_LAG),
        Panel("detection, s", _both(found, slow, "detection"), MOST_P99),
        Panel("tool calls, ms", _both(found, slow, "calls"), MOST_CALL),
    ]
    return svg(places, panels)


def _each(found: Sequence[Figures], slow: Sequence[Figures], name: str) -> dict[str, list[float]]:
    lines = {"": found, "slow disk": slow}
    return {said: [getattr(one, name) for one in line] for said, line in lines.items()}


def _both(found: Sequence[Figures], slow: Sequence[Figures], name: str) -> dict[str, list[float]]:
    samples = [getattr(one, name) for one in found]
    return {
        "median": [one.median for one in samples],
        "p99": [one.p99 for one in samples],
        "slow disk, p99": [getattr(one, name).p99 for one in slow],
    }


def rows(found: Figures, size: Size) -> list[Row]:
    """Judge what was measured."""
    seen, judged = found.detection, size.judged

    def row(
        what: str, target: str, measured: str, ratio: str, met: bool, *, absolute: bool = True
    ) -> Row:
        what = f"scale: {found.jobs:,} jobs followed, {what}"
        return Row(what, target, measured, ratio, met if judged else None, absolute)

    return [
        row(
            "processor",
            f"{MOST_CPU:g} % of a core",
            f"{number(found.cpu)} % at {number(found.looks)} looks a second",
            f"{number(10 * found.cpu / found.looks)} ms a look",
            found.cpu <= MOST_CPU,
        ),
        row(
            "memory",
            f"{MOST_MEMORY:g} MB",
            f"{number(found.memory)} MB",
            f"{found.memory / MOST_MEMORY:.2f} x",
            found.memory <= MOST_MEMORY,
            absolute=False,
        ),
        row(
            "detection",
            f"{MOST_MEDIAN} s, {MOST_P99} s",
            str(seen),
            f"looked at every {number(found.interval)} s",
            seen.least_median <= MOST_MEDIAN and seen.p99 <= MOST_P99,
        ),
        row(
            "event loop late",
            f"{MOST_LAG:g} ms",
            str(found.lag),
            "",
            found.lag.p99 <= MOST_LAG,
        ),
        row(
            "tool calls",
            f"{MOST_CALL:g} ms",
            str(found.calls),
            "",
            found.calls.p99 <= MOST_CALL,
        ),
    ]
