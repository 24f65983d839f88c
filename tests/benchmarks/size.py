"""How much of everything."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What each part takes.

    Attributes:
        judged: whether times are judged; a short run is too small for that.
        interval: seconds between two looks at a watched job.
    """

    judged: bool = True
    interval: float = 3.0
    starts: int = 15
    ends: int = 8
    calls: int = 300
    burst: int = 50
    burst_seconds: float = 5.0
    watched: int = 600
    simulated: int = 5
    jobs: tuple[int, ...] = (10, 100, 1000, 2000)
    scale: int = 1000
    seconds: float = 30.0
    records: int = 100_000
    reads: int = 300
    waiting: int = 1000


SHORT = Size(
    judged=False,
    interval=0.2,
    starts=1,
    ends=1,
    calls=3,
    burst=3,
    burst_seconds=0.2,
    watched=4,
    simulated=1,
    jobs=(4, 8),
    scale=8,
    seconds=1.0,
    records=1000,
    reads=3,
    waiting=20,
)
