"""A long steady stream of jobs through one server while a part of all replies is broken."""

import os
import signal
import sys
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from statistics import median

import anyio

from meigen_mcp.sandbox.running import run_sandbox

from .proxy import Exchange, HangUp, plain, proxied, reply
from .report import Part, dice, table
from .servers import MODEL, Place, Server, server, temporary
from .truth import at_rest, broken, by_key, charged, posts, rows, until

SHARE = 0.05
CALLERS = 4
WARM_UP = 20
TO_REST = 150.0
GROWTH = 2 * 1024
"""KiB of resident memory between the middle and the end of the run, for the allocator's blocks."""
_KINDS = ("dropped", "dropped after", "cut", "500", "HTML 502", "429", "silence")
_DOWN = b'{"success":false,"error":"Internal"}'
_HTML = b"<html><body>Bad gateway</body></html>"


@dataclass
class _Breaker:
    """A script that breaks a share of all replies.

    Attributes:
        silence: seconds for which nothing is said.
        struck: how often what was broken.
    """

    chance: Random
    silence: float
    struck: Counter[str] = field(default_factory=Counter)
    carried: int = 0

    async def __call__(self, exchange: Exchange) -> None:
        """Carry an exchange, or break it."""
        self.carried += 1
        if self.chance.random() >= SHARE:
            await plain(exchange)
            return
        kind = self.chance.choice(_KINDS)
        self.struck[kind] += 1
        match kind:
            case "500":
                await exchange.answer(reply("500 Internal", _DOWN))
            case "HTML 502":
                await exchange.forward()
                await exchange.answer(reply("502 Bad Gateway", _HTML, "content-type: text/html"))
            case "429":
                await exchange.answer(reply("429 Too Many", b"{}", "retry-after: 1"))
            case "cut":
                whole = await exchange.forward()
                await exchange.answer(whole[: self.chance.randrange(len(whole))])
                raise HangUp
            case "silence":
                await exchange.forward()
                await exchange.silence(self.silence)
            case "dropped after":
                await exchange.forward()
                raise HangUp
            case _:
                raise HangUp


@dataclass
class _Person:
    """Wants one thing after another, and counts what became of the calls."""

    on: Server
    answers: Counter[str] = field(default_factory=Counter)

    async def wants(self, prompt: str, wait: int = 25) -> None:
        """Make one call."""
        answer = await self.on.call("generate_image", prompt=prompt, modelId=MODEL, wait=wait)
        self.answers[answer["status"]] += 1


@dataclass(frozen=True)
class Reading:
    """What a process holds: resident memory in KiB, open descriptors, sockets, threads, tasks."""

    memory: int
    descriptors: int
    sockets: int
    threads: int
    tasks: int


@dataclass
class _Gauge:
    """Reads what a server process holds, from outside and by asking it."""

    pid: int
    note: Path

    async def read(self) -> Reading:
        """Take one reading."""
        self.note.unlink(missing_ok=True)
        os.kill(self.pid, signal.SIGUSR1)
        await until(self.note.exists, 10)
        status = dict(
            line.split(":", 1)
            for line in Path(f"/proc/{self.pid}/status").read_text("utf-8").splitlines()
        )
        names = [self._target(entry) for entry in Path(f"/proc/{self.pid}/fd").iterdir()]
        return Reading(
            memory=int(status["VmRSS"].split()[0]),
            descriptors=len(names),
            sockets=sum(1 for name in names if name.startswith("socket:")),
            threads=int(status["Threads"]),
            tasks=int(self.note.read_text("ascii")),
        )

    @staticmethod
    def _target(entry: Path) -> str:
        try:
            return str(entry.readlink())
        except FileNotFoundError:  # closed meanwhile
            return ""


async def run(seconds: float, seed: int) -> Part:
    """Make jobs for a time, then wait until all is at rest."""
    part = Part(f"A soak of {seconds:.0f} s with {SHARE:.0%} of all replies broken")
    with temporary() as folder:
        async with (
            run_sandbox(speed=0.01, rate_limit=10**6, credits=10**8) as sandbox,
            proxied(sandbox) as wire,
        ):
            place = Place(folder, wire.origin, sandbox)
            note = folder / "tasks"
            command = (sys.executable, str(Path(__file__).with_name("counted.py")), str(note))
            async with server(place, command=command) as on:
                gauge = _Gauge(on.pid, note)
                breaker = _Breaker(dice(seed, "soak"), min(90.0, seconds / 5))
                person = _Person(on)
                await _warm_up(person, place)
                before = await _rested(person, gauge)
                wire.script = breaker
                readings = await _stream(person, gauge, seconds)
                wire.script = plain
                rest = await until(lambda: at_rest(rows(place.data)), TO_REST)
                part.hold(rest, f"not at rest {TO_REST:.0f} s later")
                after = await _rested(person, gauge, before)
            state = await place.state()
        found, seen = rows(place.data), posts(state)
        part.broken += broken(found, seen, by_key(wire.sent)) + place.trouble()
        spent, held = charged(state), sum(row.amount for row in found)
        unknown = sum(1 for row in found if row.status == "unknown")
        calls = person.answers.total()
        part.hold(len(found) == calls, f"{calls} calls, {len(found)} jobs in the ledger")
        part.hold("refused" not in person.answers, f"answers: {person.answers}")
        part.hold(held == spent or (unknown > 0 and held > spent), f"{spent} taken, {held} held")
    part.hold(_no_more(after, before), f"left behind: {before} before, {after} after")
    start, middle, end = (_around(readings, share) for share in (0.1, 0.5, 1.0))
    part.hold(
        end.memory <= middle.memory + GROWTH,
        f"memory grows: {middle.memory} KiB in the middle, {end.memory} KiB at the end",
    )
    ends = Counter(row.status for row in found)
    shown = [("at rest before", before), ("a tenth in", start), ("half in", middle)]
    shown += [("at the end", end), ("at rest after", after)]
    part.text = "\n\n".join(
        [
            f"{breaker.carried} replies, {breaker.struck.total()} of them broken"
            f" ({', '.join(f'{kind} {n}' for kind, n in sorted(breaker.struck.items()))})."
            f" {calls} calls, {len(found)} jobs:"
            f" {', '.join(f'{n} {name}' for name, n in ends.items())};"
            f" {spent} credits taken, {held} in the ledger.",
            table(
                ("when", "RSS in KiB", "descriptors", "of these sockets", "threads", "tasks"),
                [
                    (when, r.memory, r.descriptors, r.sockets, r.threads, r.tasks)
                    for when, r in shown
                ],
            ),
        ]
    )
    return part


async def _warm_up(person: _Person, place: Place) -> None:
    async with anyio.create_task_group() as group:
        for number in range(WARM_UP):
            group.start_soon(person.wants, f"warm-up {number}")
    await until(lambda: at_rest(rows(place.data)), TO_REST)


async def _stream(person: _Person, gauge: _Gauge, seconds: float) -> list[Reading]:
    """Keep a few callers busy for a time, and read the gauge meanwhile."""
    readings: list[Reading] = []
    over = anyio.current_time() + seconds

    async def caller(name: int) -> None:
        number = 0
        while anyio.current_time() < over:
            number += 1
            await person.wants(f"soak {name}-{number}", wait=5)

    async with anyio.create_task_group() as group:
        for name in range(CALLERS):
            group.start_soon(caller, name)
        while anyio.current_time() < over:
            readings.append(await gauge.read())
            await anyio.sleep(min(1.0, seconds / 40))
    return readings


async def _rested(person: _Person, gauge: _Gauge, most: Reading | None = None) -> Reading:
    """Read the gauge after a call: it is then that connections which idled for 5 s are closed."""
    with anyio.move_on_after(15):
        while True:
            await person.wants("at rest")
            reading = await gauge.read()
            if most is None or _no_more(reading, most):
                break
            await anyio.sleep(0.5)
    return reading


def _no_more(after: Reading, before: Reading) -> bool:
    """Say whether nothing was left behind; threads of a pool stay, and are bounded."""
    return after.descriptors <= before.descriptors and after.tasks <= before.tasks


def _around(readings: list[Reading], share: float) -> Reading:
    """Return the middle of the readings around a share of the time."""
    width = max(1, len(readings) // 10)
    last = max(width, round(len(readings) * share))
    some = readings[last - width : last]
    return Reading(
        *(
            round(median(getattr(reading, name) for reading in some))
            for name in ("memory", "descriptors", "sockets", "threads", "tasks")
        )
    )
