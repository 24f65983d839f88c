"""How much of everything."""

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Size:
    """What each part takes.

    Attributes:
        judged: whether times are judged; a short run is too small for that.
        interval: seconds between two looks at a watched job.
        today: the Python of an older build, which is measured beside this one; empty: none is.
        peer: the program of the TypeScript server, likewise.
        rounds: how often each of both is measured, in turn; the least counts.
        shared: jobs that one server and replicas follow in turn.
        adds: calls that spend, a second, for `adding` seconds.
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
    slow_jobs: tuple[int, ...] = (10, 100, 1000)
    scale: int = 1000
    seconds: float = 30.0
    records: int = 100_000
    reads: int = 300
    waiting: int = 1000
    today: str = ""
    peer: str = ""
    rounds: int = 2
    together: tuple[int, int] = (50, 200)
    together_seconds: tuple[float, float] = (3.0, 5.0)
    sync_ms: float = 15.0
    pictures: int = 10
    ending: int = 50
    ending_seconds: float = 20.0
    crowd: int = 500
    crowd_seconds: float = 8.0
    learnt: int = 60
    middle: float = 18.0
    logged: int = 40
    callers: int = 10
    asked: int = 60
    listeners: int = 200
    listened: float = 20.0
    heard: int = 100
    sessions: int = 200
    replicas: int = 3
    shared: tuple[int, ...] = (10, 100, 1000)
    adds: int = 100
    adding: float = 10.0
    locked: float = 30.0
    turns: int = 24
    made_seconds: float = 1.0
    drawn_within: float = 5.0
    asked_in_turn: int = 600

    @property
    def builds(self) -> tuple[str, ...]:
        """The Pythons of what is measured in turn: this build, and the older one."""
        return (sys.executable, self.today) if self.today else (sys.executable,)


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
    slow_jobs=(4,),
    scale=8,
    seconds=1.0,
    records=1000,
    reads=3,
    waiting=20,
    rounds=1,
    together=(2, 3),
    together_seconds=(0.2, 0.2),
    pictures=1,
    ending=2,
    ending_seconds=0.5,
    crowd=3,
    crowd_seconds=0.2,
    learnt=2,
    middle=0.4,
    logged=3,
    callers=2,
    asked=2,
    listeners=2,
    listened=3.0,
    heard=1,
    sessions=2,
    shared=(8,),
    adds=20,
    adding=0.5,
    locked=0.5,
    turns=1,
    made_seconds=0.2,
    drawn_within=0.5,
    asked_in_turn=2,
)
