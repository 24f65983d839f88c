"""Replicas on one PostgreSQL beside one server on a file: jobs that are followed, and caps."""

import time
from collections.abc import Sequence
from dataclasses import dataclass

import anyio

from .detection import log
from .plot import Panel, svg
from .processes import instant
from .replica_servers import started
from .report import Part, Row, Sample, load, number, table
from .size import Size
from .spending import Spent, spend

MOST_LATE, MOST_CPU, HELD = 1000.0, 1.3, 0.95
SETTLED = 2
"""Intervals after the last client came, before it is measured."""


@dataclass(frozen=True)
class Figures:
    """What one number of jobs came to.

    Attributes:
        servers: how many.
        cpu: processor time of all servers for each look, in ms.
        database: PostgreSQL's, likewise; 0: there is none.
        looks: a second, in all.
        late: by how many ms each look was begun after it was due in the ledger.
        memory: of all servers, in MB.
        statements: that PostgreSQL was given for each look.
        written: bytes of its log for each look.
        load: of the machine.
    """

    servers: int
    jobs: int
    cpu: float
    database: float
    looks: float
    late: Sample
    memory: float
    statements: float
    written: float
    load: str


async def follow(servers: int, jobs: int, size: Size) -> Figures:
    """Have jobs that last followed, and watch what it costs to look at them."""
    interval = {"MEIGEN_POLL_INTERVAL": str(size.interval)}
    async with instant() as origin, started(servers, origin, **interval) as on:
        uris = await on.submitted(origin, [f"long {place}" for place in range(jobs)])
        async with on.followed(uris, size.interval):
            await anyio.sleep(SETTLED * size.interval)
            counted, before = on.counted(), await log(origin)
            used, database, began = on.processor(), on.processor_of_database(), time.time()
            await anyio.sleep(size.seconds)
            used = on.processor() - used
            database, took = on.processor_of_database() - database, time.time() - began
            after = await log(origin)
            statements, written = (
                now - then for now, then in zip(on.counted(), counted, strict=True)
            )
            looks = sum(job["looks"] - before[uri]["looks"] for uri, job in after.items())
            return Figures(
                servers,
                jobs,
                1000 * used / max(1, looks),
                1000 * database / max(1, looks),
                looks / took,
                Sample(on.late(began) or [0.0], "ms"),
                on.memory(),
                statements / max(1, looks),
                written / max(1, looks),
                load(),
            )


async def run(size: Size) -> Part:
    """Measure one server and replicas in turn, and judge the number of jobs of the target."""
    found: dict[tuple[int, int], Figures] = {}
    for jobs in size.shared:
        for _ in range(size.rounds if jobs == size.scale else 1):
            for servers in (1, size.replicas):
                one = await follow(servers, jobs, size)
                known = found.setdefault((servers, jobs), one)
                found[servers, jobs] = min(known, one, key=lambda figures: figures.cpu)
    alone = await spend(1, size)
    shared = await spend(size.replicas, size)
    rows = _looks(found[1, size.scale], found[size.replicas, size.scale], size)
    rows += _spent("adds in the ledger", alone["adds"], shared["adds"], size)
    rows += _spent("`generate_image`", alone["calls"], shared["calls"], size)
    each = [[found[servers, jobs] for jobs in size.shared] for servers in (1, size.replicas)]
    return Part(rows, _text(found, size), _picture(*each))


def _looks(one: Figures, many: Figures, size: Size) -> list[Row]:
    what = f"replicas: {size.scale:,} jobs followed by {size.replicas}"
    ratio = many.cpu / one.cpu if one.cpu else 1.0
    return [
        Row(
            f"{what}, a look later than due",
            f"{MOST_LATE / 1000:g} s, p99",
            f"{many.late}, {many.load}; one server {one.late}, {one.load}",
            "",
            many.late.p99 < MOST_LATE if size.judged else None,
            absolute=True,
        ),
        Row(
            f"{what}, processor of a look",
            f"{MOST_CPU:g} x one server",
            f"{number(many.cpu)} ms, {many.load}; one server {number(one.cpu)} ms, {one.load};"
            f" PostgreSQL besides {number(many.database)} ms;"
            f" {number(many.looks)} looks a second, one server {number(one.looks)}",
            f"{ratio:.2f} x",
            ratio <= MOST_CPU if size.judged else None,
        ),
    ]


def _spent(what: str, one: Spent, many: Spent, size: Size) -> list[Row]:
    what = f"replicas: {what} under caps, {size.replicas}"
    cost = f"; processor {number(many.cost)} ms each, PostgreSQL's {number(many.database)} ms"
    outcomes = ", ".join(f"{count} {name}" for name, count in sorted(many.outcomes.items()))
    return [
        Row(
            f"{what}, {size.adds} a second for {size.adding:g} s",
            f"{size.adds} a second",
            f"{number(many.rate)} a second, answered {many.late} after they were due"
            f"{cost if many.cost else ''}; {many.load}; one server on a file"
            f" {number(one.rate)} a second, {one.late}, {one.load}",
            "",
            many.rate >= HELD * size.adds if size.judged else None,
            absolute=True,
        ),
        Row(f"{what}, accepted", f"{many.cap}, to the cap", outcomes, "", many.exact),
    ]


def _text(found: dict[tuple[int, int], Figures], size: Size) -> str:
    head = (
        "jobs followed by",
        "processor of the servers",
        "a look",
        "PostgreSQL's",
        "a look",
        "memory of the servers",
        "looks a second",
        "a job is looked at every",
        "later than due (median, p99)",
        "statements a look",
        "log a look",
        "load",
    )
    lines = [
        (
            f"{one.jobs:,}, {_named(one.servers)}",
            f"{number(_share(one.cpu, one))} %",
            f"{number(one.cpu)} ms",
            f"{number(_share(one.database, one))} %" if one.database else "",
            f"{number(one.database)} ms" if one.database else "",
            f"{number(one.memory)} MB",
            number(one.looks),
            f"{number(one.jobs / one.looks)} s" if one.looks else "",
            str(one.late),
            f"{number(one.statements)}" if one.database else "",
            f"{number(one.written)} bytes" if one.database else "",
            one.load.removeprefix("load "),
        )
        for servers in (1, size.replicas)
        for (count, _), one in found.items()
        if count == servers
    ]
    return table(head, lines)


def _named(servers: int) -> str:
    return "one server" if servers == 1 else f"{servers} replicas"


def _share(each: float, one: Figures) -> float:
    """Return what a look costs as per cent of a core."""
    return each * one.looks / 10


def _picture(one: Sequence[Figures], many: Sequence[Figures]) -> str:
    names = (_named(1), _named(many[0].servers))
    both = tuple(zip(names, (one, many), strict=True))
    panels = [
        Panel(
            "processor, % of a core",
            {
                **{name: [_share(at.cpu, at) for at in each] for name, each in both},
                "PostgreSQL": [_share(at.database, at) for at in many],
            },
        ),
        Panel("processor of a look, ms", {name: [at.cpu for at in each] for name, each in both}),
        Panel("resident memory, MB", {name: [at.memory for at in each] for name, each in both}),
        Panel("looks a second", {name: [at.looks for at in each] for name, each in both}),
        Panel(
            "a look later than due, p99, ms",
            {name: [at.late.p99 for at in each] for name, each in both},
            MOST_LATE,
        ),
        Panel("statements a look", {names[1]: [at.statements for at in many]}),
    ]
    return svg([f"{at.jobs:,}" for at in one], panels)
