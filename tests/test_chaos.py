"""The promises about money under faults, at a size for every day."""

import os
import sys
from collections.abc import Awaitable, Callable

import pytest
from chaos import crowd, kills, race, soak, wire
from chaos.report import Part

pytestmark = pytest.mark.skipif(os.name == "nt", reason="SIGKILL is POSIX's")
PARTS: dict[str, Callable[[], Awaitable[Part]]] = {
    "faults on the wire": lambda: wire.run(repetitions=1, seed=1),
    "killed servers": lambda: kills.run(repetitions=1, lanes=1, seed=1, alternate=True),
    "a crowd of servers": lambda: crowd.run(processes=3, jobs=24, seconds=10, seed=1),
    "a race for the budget": lambda: race.run(races=1),
    "a soak": lambda: soak.run(seconds=10, seed=1),
}


@pytest.mark.timeout(180)
@pytest.mark.parametrize("part", PARTS)
async def test_every_promise_is_kept(part: str) -> None:
    """Nothing is lost, charged twice or spent over a cap, whatever breaks."""
    if part == "a soak" and sys.platform != "linux":
        pytest.skip("/proc is Linux's")
    assert (await PARTS[part]()).broken == []
