"""The parts of the suite, and how much of each is run."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import anyio

from . import crowd, days, drafts, kills, race, replicas, scripts, soak, strangers, wire
from .report import Part, machine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    repetitions: int = 20
    lanes: int = 2
    share_of_points: int = 1
    alternate: bool = False
    processes: int = 8
    jobs: int = 200
    crowd_seconds: float = 120.0
    replicas: int = 3
    calls: int = 2000
    team_seconds: float = 300.0
    races: int = 5
    scripts: int = 100
    soak_seconds: float = 600.0
    load: strangers.Load = field(default_factory=strangers.Load)
    days_at_once: int = 10
    share_of_days: int = 1
    seed: int = 1


SHORT = Size(
    repetitions=1,
    lanes=1,
    share_of_points=4,
    alternate=True,
    processes=3,
    jobs=12,
    crowd_seconds=4.0,
    replicas=2,
    calls=24,
    team_seconds=9.0,
    races=1,
    scripts=3,
    soak_seconds=6.0,
    load=strangers.Load(strangers=150, sessions=30, clients=3, calls=2, descriptors=192),
    share_of_days=8,
)
# The longest first, so that the short ones fill up the end.
PARTS: dict[str, Callable[[Size], Awaitable[Part]]] = {
    "soak": lambda size: soak.run(size.soak_seconds, size.seed),
    "replicas": lambda size: replicas.run(size.replicas, size.calls, size.team_seconds, size.seed),
    "kills": lambda size: kills.run(
        size.repetitions, size.lanes, size.seed, share=size.share_of_points
    ),
    "days": lambda size: days.run(
        size.repetitions, size.days_at_once, size.seed, size.share_of_days
    ),
    "wire": lambda size: wire.run(size.repetitions, size.seed),
    "crowd": lambda size: crowd.run(size.processes, size.jobs, size.crowd_seconds, size.seed),
    "drafts": lambda size: drafts.run(size.repetitions, alternate=size.alternate),
    "scripts": lambda size: scripts.run(size.scripts, size.seed),
    "race": lambda size: race.run(size.races),
    "strangers": lambda size: strangers.run(size.load),
}


def measured(name: str, size: Size) -> Part:
    """Run one part in this process, with an event loop to itself."""
    day, began = datetime.now(UTC).date(), time.monotonic()
    try:
        part = anyio.run(PARTS[name], size)
    except Exception:  # the other parts go on
        log.exception("a part of the suite failed")
        part = Part(f"The part {name}", broken=["it did not come to its end"])
    seconds = time.monotonic() - began
    part.measured = f"Measured on {day} in {seconds:.0f} s, seed {size.seed}; {machine()}."
    return part
