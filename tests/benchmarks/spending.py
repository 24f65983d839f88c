"""Calls and adds that come at a pace, and reach a cap in their middle."""

import json
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path

import anyio
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream

from meigen_mcp import settings
from meigen_mcp.app import open_ledger
from meigen_mcp.ledger.team import TEAM, Caps

from .processes import LONGEST, MODEL, instant
from .replica_servers import Servers, started
from .report import Sample, load
from .size import Size

_ADDING = str(Path(__file__).parent / "adding.py")
CREDITS = 2
"""Of one generation."""
_CALLERS = 30
_LONGEST_LINE = 2**24
_SOON = 0.2
"""Seconds in which all have heard when to begin."""


@dataclass(frozen=True)
class Spent:
    """What a series came to.

    Attributes:
        asked: how many were made a second.
        cap: how many the cap has room for.
        outcomes: of each whether it was accepted, or refused for the cap.
        late: from when each was due until it was answered.
        rate: how many were answered a second, from the first that was due to the last answer.
        cost: processor time of the servers for each, in ms.
        database: of PostgreSQL, likewise.
        load: of the machine.
    """

    asked: int
    cap: int
    outcomes: Counter[str]
    late: Sample
    rate: float
    cost: float
    database: float
    load: str

    @property
    def exact(self) -> bool:
        """Whether as many were accepted as the cap has room for, and the rest refused."""
        rest = self.late.count - self.cap
        return self.outcomes == Counter({"accepted": self.cap, "refused": rest})


Told = Sequence[tuple[str, float]]
"""Of each what became of it, and how many ms after it was due that was known."""


async def spend(servers: int, size: Size) -> dict[str, Spent]:
    """Add by processes of their own, and then call servers, each time up to a cap."""
    count = round(size.adds * size.adding)
    room = count // 2
    async with (
        instant() as origin,
        started(servers, origin, MEIGEN_MAX_CREDITS_PER_DAY=str(CREDITS * count * 2)) as on,
    ):
        await _set_cap(on, CREDITS * room)
        added = _measured(size, room, await _adds(on, count, size))
        await _set_cap(on, CREDITS * room * 2)
        used, database = on.processor(), on.processor_of_database()
        called = await _calls(on, count, size)
        cost = (on.processor() - used, on.processor_of_database() - database)
        return {
            "adds": added,
            "calls": _measured(size, room, called, *cost),
        }


async def _set_cap(on: Servers, most: int) -> None:
    ledger = open_ledger(settings.load(on.environ))
    await ledger.open()
    await ledger.team.set_caps(TEAM, Caps(day=Decimal(most), month=Decimal(2 * most)))
    await ledger.close()


def _measured(
    size: Size, room: int, told: Told, servers: float = 0.0, database: float = 0.0
) -> Spent:
    took = max(place / size.adds + ms / 1000 for place, (_, ms) in enumerate(told))
    return Spent(
        size.adds,
        room,
        Counter(outcome for outcome, _ in told),
        Sample((ms for _, ms in told), "ms"),
        len(told) / max(took, len(told) / size.adds),
        1000 * servers / len(told),
        1000 * database / len(told),
        load(),
    )


async def _adds(on: Servers, count: int, size: Size) -> Told:
    """Add from as many processes as there are servers."""
    step = len(on.each)
    async with AsyncExitStack() as stack:
        lines: list[BufferedByteReceiveStream] = []
        adding: list[Process] = []
        for first in range(step):
            values = map(str, (first, step, count, 1 / size.adds))
            process = await anyio.open_process(
                [sys.executable, _ADDING, *values], stderr=None, env=on.environ
            )
            await stack.enter_async_context(process)
            assert process.stdout is not None
            lines.append(BufferedByteReceiveStream(process.stdout))
            adding.append(process)
        with anyio.fail_after(LONGEST + size.adding):
            for line in lines:
                await line.receive_until(b"\n", _LONGEST_LINE)
            begin = time.time() + _SOON
            for process in adding:
                assert process.stdin is not None
                await process.stdin.send(f"{begin}\n".encode())
            told = [json.loads(await line.receive_until(b"\n", _LONGEST_LINE)) for line in lines]
    return [tuple(told[place % step][place // step]) for place in range(count)]


async def _calls(on: Servers, count: int, size: Size) -> Told:
    """Call tools of all servers in turn, and wait for no result."""
    told: list[tuple[str, float]] = [("", 0.0)] * count
    places = iter(range(count))
    begin = time.perf_counter()

    async def client(number: int) -> None:
        async with on.each[number % len(on.each)].caller("2026") as caller:
            for place in places:
                due = begin + place / size.adds
                await anyio.sleep(max(0.0, due - time.perf_counter()))
                answer = await caller.call(
                    "generate_image", prompt=f"call {place}", modelId=MODEL, wait=0
                )
                code = answer.get("error", {}).get("code")
                outcome = code or ("accepted" if "status" in answer else "unknown")
                outcome = "refused" if code == "over_cap" else outcome
                told[place] = (outcome, 1000 * (time.perf_counter() - due))

    async with anyio.create_task_group() as group:
        for number in range(_CALLERS):
            group.start_soon(client, number)
    return told
