"""A crowd of server processes on one data folder, some of which are killed all the time."""

import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import anyio

from meigen_mcp.sandbox.running import run_sandbox

from .report import Part, dice, table
from .servers import MODEL, Killed, Place, Server, server, temporary
from .truth import at_rest, broken, charged, most_in_a_window, posts, rows, until

LIMIT = 120
TO_AN_END = 240.0
"""Seconds after the last kill: a slot of a killed POST is free after 130, then comes a window."""
_PROMPTS = ("a lighthouse",) * 16 + ("sandbox:lose-reply",) * 3 + ("sandbox:fail",)


@dataclass(frozen=True)
class Job:
    """What a person wants once.

    Attributes:
        request_id: half of all calls name one, and may then be repeated at once.
        doubtful: its server was killed before it answered.
    """

    prompt: str
    request_id: str | None
    doubtful: bool = False


@dataclass
class _Crowd:
    place: Place
    chance: Random
    until: float
    longest_life: float
    known: set[str] = field(default_factory=set)
    codes: list[str] = field(default_factory=list)
    kills: int = 0

    def __post_init__(self) -> None:
        self.give, self.take = anyio.create_memory_object_stream[Job](10_000)

    async def pace(self, jobs: int, seconds: float) -> None:
        """Want one thing after another, at times of chance."""
        start = anyio.current_time()
        times = sorted(self.chance.uniform(0, seconds) for _ in range(jobs))
        for number, at in enumerate(times):
            await anyio.sleep_until(start + at)
            name = str(UUID(int=self.chance.getrandbits(128), version=4))
            prompt = f"{self.chance.choice(_PROMPTS)} {number}"
            await self.give.send(Job(prompt, name if number % 2 else None))

    async def host(self) -> None:
        """Run one server after another, each until it is killed."""
        while True:
            async with (
                server(self.place, MEIGEN_RATE_LIMIT=str(LIMIT)) as on,
                anyio.create_task_group() as calls,
            ):
                with anyio.move_on_after(self._life()):
                    while True:
                        calls.start_soon(self._make, on, await self.take.receive())
                self.kills += 1
                on.kill()

    def _life(self) -> float:
        life = self.chance.uniform(0.15, 1) * self.longest_life
        return life if time.time() + life < self.until else float("inf")

    async def _make(self, on: Server, job: Job) -> None:
        try:
            if job.doubtful and job.request_id is None and await self._listed(on, job):
                self.known.add(job.prompt)
                return
            arguments: dict[str, Any] = {"prompt": job.prompt, "modelId": MODEL}
            answer = await on.call(
                "generate_image",
                **arguments,
                requestId=job.request_id,
                wait=self.chance.randrange(10),
            )
        except Killed:
            await self.give.send(replace(job, doubtful=True))
        else:
            self.codes.append(answer.get("error", {}).get("code", answer["status"]))
            self.known.add(job.prompt)

    async def _listed(self, on: Server, job: Job) -> bool:
        """Look for a job whose server was killed, as a person does: in the list of another one."""
        answer = await on.call("check_status", limit=50)
        return any(row["prompt"] == job.prompt for row in answer["generations"])


async def run(processes: int, jobs: int, seconds: float, seed: int) -> Part:
    """Have so many jobs made while servers are killed for a time."""
    part = Part(f"{processes} server processes on one data folder, {jobs} jobs, random SIGKILLs")
    with temporary() as folder:
        await _run(part, folder, processes, jobs, seconds, dice(seed, "crowd"))
    return part


async def _run(
    part: Part, folder: Path, processes: int, jobs: int, seconds: float, chance: Random
) -> None:
    began = time.time()
    async with run_sandbox(speed=0.1, rate_limit=LIMIT, credits=100_000) as sandbox:
        place = Place(folder, sandbox, sandbox)
        crowd = _Crowd(place, chance, began + seconds, seconds * 0.15)
        async with crowd.give, crowd.take, anyio.create_task_group() as group:
            for _ in range(processes):
                group.start_soon(crowd.host)
            await crowd.pace(jobs, seconds / 2)

            def ended() -> bool:
                return len(crowd.known) == jobs and at_rest(rows(place.data))

            left = began + seconds - time.time()
            await anyio.sleep(max(0, left))
            part.hold(await until(ended, TO_AN_END), f"not at an end {TO_AN_END:.0f} s later")
            took = time.time() - began
            group.cancel_scope.cancel()
        state = await place.state()
    found, seen = rows(place.data), posts(state)
    ends = [row.status for row in found]
    accepted = sum(1 for post in seen if post.accepted)
    spent, held = charged(state), sum(row.amount for row in found)
    most = most_in_a_window(seen)
    part.broken += broken(found, seen) + place.trouble()
    part.hold(len(found) == jobs, f"{jobs} jobs, {len(found)} in the ledger")
    part.hold(accepted == jobs, f"{jobs} jobs, {accepted} accepted")
    part.hold(ends.count("completed") + ends.count("failed") == jobs, f"ends: {ends}")
    part.hold(spent == held, f"charged {spent}, in the ledger {held}")
    part.hold(most <= LIMIT, f"{most} submissions in 60 s")
    part.hold("ledger_unavailable" not in crowd.codes, "a call found the ledger locked")
    part.text = table(
        ("what", "count"),
        [
            ("servers killed", crowd.kills),
            ("jobs wanted", jobs),
            ("jobs in the ledger", len(found)),
            ("completed", ends.count("completed")),
            ("failed and refunded (on purpose)", ends.count("failed")),
            ("submissions that the sandbox saw", len(seen)),
            ("of these accepted as new", accepted),
            ("of these answered 429", sum(1 for post in seen if post.status == 429)),
            ("most submissions in any 60 s (limit 120)", most),
            ("credits that the sandbox took", spent),
            ("credits in the ledger", held),
            ("lock errors and tracebacks in any stderr", len(place.trouble())),
            ("seconds until everything was at rest", round(took)),
        ],
    )
