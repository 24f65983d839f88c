"""The parts of the suite, and how much of each is run."""

import logging
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import anyio

from . import crowd, kills, race, soak, wire
from .report import Part, machine

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Size:
    """How much of everything."""

    repetitions: int = 20
    lanes: int = 2
    alternate: bool = False
    processes: int = 8
    jobs: int = 200
    crowd_seconds: float = 120.0
    races: int = 5
    soak_seconds: float = 600.0
    seed: int = 1


SHORT = Size(
    repetitions=1,
    lanes=1,
    alternate=True,
    processes=3,
    jobs=24,
    crowd_seconds=10.0,
    races=1,
    soak_seconds=10.0,
)
# The longest first, so that the short ones fill up the end.
PARTS: dict[str, Callable[[Size], Awaitable[Part]]] = {
    "soak": lambda size: soak.run(size.soak_seconds, size.seed),
    "kills": lambda size: kills.run(
        size.repetitions, size.lanes, size.seed, alternate=size.alternate
    ),
    "wire": lambda size: wire.run(size.repetitions, size.seed),
    "crowd": lambda size: crowd.run(size.processes, size.jobs, size.crowd_seconds, size.seed),
    "race": lambda size: race.run(size.races),
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
