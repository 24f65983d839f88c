"""How often the API is asked about jobs that nobody waits for, in simulated time.

One clock of the benchmark's own drives poller, ledger and the sandbox at its typical times, so the
counts are the same on every machine.
"""

from dataclasses import dataclass, field

from support.workbench import Workbench, workbench

from meigen_mcp.catalogue.arguments import TOOL_OF
from meigen_mcp.catalogue.models import shipped
from meigen_mcp.sandbox.state import Options

from .processes import temporary
from .report import Part, Row, Sample, number
from .size import Size

MOST = 0.6
FOREVER = 10**9


@dataclass
class Looks:
    """How many status requests jobs took, and how late their ends were seen."""

    count: int = 0
    delays: list[float] = field(default_factory=list)


async def _followed(bench: Workbench, size: Size, *, watched: bool) -> Looks:
    """Make jobs of every model, one after the other, and follow each to its end."""
    looks = Looks()
    for model in shipped().listed():
        for _ in range(size.simulated):
            outcome = await bench.generate(TOOL_OF[model.media_type], modelId=model.id, wait=0)
            job = outcome.job
            assert job.status == "processing", outcome
            if watched:
                now = bench.clock()
                await bench.ledger.changes.watch([job.request_id], now, now + FOREVER)
            bench.wire.seen.clear()
            job = await bench.settle(job)
            looks.count += sum(1 for route, _ in bench.wire.seen if route == "status")
            due = bench.emulator.jobs[job.generation_id or ""].due_at
            assert job.status == "completed"
            assert due is not None
            looks.delays.append(bench.clock() - due)
    return looks


async def run(size: Size) -> Part:
    """Compare jobs that nobody waits for with the same jobs looked at from the start."""
    found = []
    for watched in (False, True):
        with temporary() as folder:
            async with workbench(
                folder,
                options=Options(speed=1, rate_limit=10**6, credits=10**8, seed=1),
                MEIGEN_RATE_LIMIT="100000",
            ) as bench:
                found.append(await _followed(bench, size, watched=watched))
    lean, full = found
    share = lean.count / full.count
    late, usual = Sample(lean.delays, "s"), Sample(full.delays, "s")
    return Part(
        [
            Row(
                "polls: jobs that nobody waits for, typical times, simulated",
                f"{MOST:.0%} of polling every 3 s",
                f"{lean.count:,} of {full.count:,} looks, {len(lean.delays)} jobs; seen in {late}",
                f"{share:.0%}; detection {number(late.median / usual.median)} x",
                share <= MOST,
            )
        ]
    )
