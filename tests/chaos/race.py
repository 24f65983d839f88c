"""A race of many calls in several processes for a budget that holds ten generations."""

from collections import Counter
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio

from meigen_mcp.sandbox.running import run_sandbox

from .report import Part, table
from .servers import Place, Server, server, temporary
from .truth import charged, ledger_held, rows

PROCESSES = 4
CALLS = 100
FITTING = 10
MODEL = "nanobanana-2"
PRICE = 5
LONGEST = 90.0
_IN_LINE = 0.5
"""Seconds in which every process reads its first call and stands before the held ledger."""


async def run(races: int) -> Part:
    """Race so many times for ten places, and as often for the last one; each on a new ledger."""
    part = Part(f"{CALLS} racing calls in {PROCESSES} processes, a daily cap of {FITTING}")
    lines: list[tuple[object, ...]] = []
    for taken in (0, FITTING - 1):
        for number in range(1, races + 1):
            with temporary() as folder:
                lines.append((number, taken, *await _race(folder, part, taken)))
    head = (
        "race",
        "spent before",
        "racing calls",
        "accepted",
        "refused (over_cap)",
        "charged in all",
        "in the ledger",
    )
    part.text = table(head, lines)
    return part


class _Race:
    """The calls of one race, and the line at which all processes wait for each other."""

    def __init__(self, place: Place, taken: int) -> None:
        self._place = place
        self._taken = taken
        self._ready = 0
        self._all_ready = anyio.Event()
        self._go = anyio.Event()
        self.answers: list[dict[str, Any]] = []

    async def racer(self, process: int) -> None:
        """Run one process, and its share of the calls once all processes are there."""
        cap = str(FITTING * PRICE)
        async with server(self._place, MEIGEN_MAX_CREDITS_PER_DAY=cap) as on:
            if process == 0:
                for number in range(self._taken):
                    await self._call(on, f"before {number}")
                self.answers.clear()
            self._ready += 1
            if self._ready == PROCESSES:
                self._all_ready.set()
            await self._go.wait()
            async with anyio.create_task_group() as group:
                for number in range(CALLS // PROCESSES):
                    group.start_soon(self._call, on, f"racer {process}-{number}")

    async def hold(self) -> None:
        """Let every process decide on its first call before anyone can write it down."""
        await self._all_ready.wait()
        with ledger_held(self._place.data):
            self._go.set()
            await anyio.sleep(_IN_LINE)

    async def _call(self, on: Server, prompt: str) -> None:
        arguments = {"prompt": prompt, "modelId": MODEL, "requestId": str(uuid4()), "wait": 0}
        answer = await on.call("generate_image", **arguments)
        self.answers.append(answer)


async def _race(folder: Path, part: Part, taken: int) -> tuple[object, ...]:
    async with run_sandbox(speed=0.01, rate_limit=100_000, credits=100_000) as sandbox:
        place = Place(folder, sandbox, sandbox)
        race = _Race(place, taken)
        with anyio.move_on_after(LONGEST) as bound:
            async with anyio.create_task_group() as group:
                group.start_soon(race.hold)
                for process in range(PROCESSES):
                    group.start_soon(race.racer, process)
        state = await place.state()
    part.hold(not bound.cancelled_caught, f"the race did not end within {LONGEST:.0f} s")
    accepted = sum(account["accepted"] for account in state["accounts"]) - taken
    codes = Counter(answer.get("error", {}).get("code", "started") for answer in race.answers)
    won = FITTING - taken
    spent = charged(state)
    held = sum(row.amount for row in rows(place.data))
    part.hold(accepted == won, f"{accepted} accepted, {won} fit")
    part.hold(codes == {"over_cap": CALLS - won, "started": won}, f"answers: {codes}")
    part.hold(spent == held == FITTING * PRICE, f"charged {spent}, in the ledger {held}")
    part.broken += place.trouble()
    return (len(race.answers), accepted, codes["over_cap"], spent, held)
