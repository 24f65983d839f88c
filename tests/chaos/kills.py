"""Killed servers: real processes, ended by SIGKILL at an exact point of a generation's life.

Each kind of API has a few lanes. A lane is one data folder behind one sandbox: a server gets a
call, is killed at the point, and the next one, which must bring everything to its end, gets the
next call.
"""

from collections import defaultdict
from dataclasses import dataclass, field, replace
from pathlib import Path
from random import Random
from typing import Literal

import anyio

from meigen_mcp.sandbox.models import Era
from meigen_mcp.sandbox.running import run_sandbox

from .proxy import Exchange, HangUp, Proxy, Route, plain, proxied
from .report import Part, dice, table
from .servers import MODEL, Place, Server, server, temporary
from .truth import (
    TALLY_HEAD,
    Post,
    Row,
    Sent,
    Tally,
    at_rest,
    broken,
    by_key,
    charged,
    ledger_held,
    posts,
    rows,
    summed,
    tally,
    until,
)
from .wire import ERAS, WITH_KEYS

LONGEST = 60.0
_A_LITTLE = 0.05
_WHOLE_CALL = 0.5
_TOO_MANY = b"HTTP/1.1 429 Too Many\r\nretry-after: 1\r\ncontent-length: 2\r\n\r\n{}"
Moment = Literal["request", "half a reply", "reply", "reply, ledger held", "answered 429"]
Fate = Literal["lost", "arrives", "arrives late"]


@dataclass(frozen=True)
class Stop:
    """Where a server is killed.

    Attributes:
        fate: of a request that was on its way.
    """

    route: Route
    moment: Moment
    fate: Fate = "lost"


@dataclass(frozen=True)
class Kill:
    """A fault: one server after another is killed at its stop; without stops, at any time."""

    name: str
    stops: tuple[Stop, ...] = ()
    unreachable: bool = False

    @property
    def refused(self) -> int:
        """How many of its POSTs are answered so that they provably never counted."""
        return sum(1 for stop in self.stops if stop.moment == "answered 429")


KILLS: tuple[Kill, ...] = (
    Kill("at any moment of the call"),
    Kill("before the POST, while the API cannot be reached", unreachable=True),
    Kill("before the POST, while it waits after a 429", (Stop("submit", "answered 429"),)),
    Kill("POST on its way, and lost", (Stop("submit", "request"),)),
    Kill("POST on its way, and it arrives", (Stop("submit", "request", "arrives"),)),
    Kill(
        "POST on its way, and it arrives after the next server asked",
        (Stop("submit", "request", "arrives late"),),
    ),
    Kill("accepted, before the reply", (Stop("submit", "reply"),)),
    Kill("accepted, in the middle of the reply", (Stop("submit", "half a reply"),)),
    Kill("after the reply, before the ledger has it", (Stop("submit", "reply, ledger held"),)),
    Kill("while processing, status asked", (Stop("status", "request"),)),
    Kill("while processing, status answered", (Stop("status", "reply, ledger held"),)),
    Kill("while media are saved, asked", (Stop("media", "request"),)),
    Kill("while media are saved, half of them", (Stop("media", "half a reply"),)),
    Kill("media saved, before the ledger has it", (Stop("media", "reply, ledger held"),)),
    Kill(
        "twice: before the reply, and before the answer to the look-up",
        (Stop("submit", "reply"), Stop("lookup", "reply")),
    ),
    Kill(
        "twice: POST lost, and before the reply to its repetition",
        (Stop("submit", "request"), Stop("submit", "reply")),
    ),
    Kill(
        "three times: POST lost, its repetition accepted, look-up asked",
        (Stop("submit", "request"), Stop("submit", "reply"), Stop("lookup", "request")),
    ),
)

KINDS = {kill.name: kill for kill in KILLS}


class Gate:
    """A script that stops one exchange at a moment, and says so."""

    def __init__(self, stop: Stop, data: Path) -> None:
        self._stop = stop
        self._data = data
        self._open = True
        self._go = anyio.Event()
        self._deliver = False
        self.reached = anyio.Event()

    async def __call__(self, exchange: Exchange) -> None:
        """Carry an exchange, up to the moment if it is the one."""
        if not self._open or exchange.route != self._stop.route:
            await plain(exchange)
            return
        self._open = False
        match self._stop.moment:
            case "answered 429":
                await exchange.answer(_TOO_MANY)
                await until(lambda: any(_waits(row) for row in rows(self._data)), LONGEST)
                self.reached.set()
                return
            case "request":
                await self._hold()
                await exchange.forward()
            case "reply":
                await exchange.forward()
                await self._hold()
            case "half a reply":
                reply = await exchange.forward()
                await exchange.answer(reply[: len(reply) // 2])
                await self._hold()
            case "reply, ledger held":
                reply = await exchange.forward()
                with ledger_held(self._data):
                    await exchange.answer(reply)
                    await self._hold()
        raise HangUp

    async def _hold(self) -> None:
        self.reached.set()
        await self._go.wait()
        if not self._deliver:
            raise HangUp

    def release(self, *, deliver: bool) -> None:
        """Let a held message go on its way, or lose it."""
        self._deliver = deliver
        self._go.set()


def _waits(row: Row) -> bool:
    return row.status == "queued" and not row.idle


@dataclass(frozen=True)
class _Life:
    """What one server lives through: it may get a new call, and is killed at a stop."""

    kill: Kill
    call: str | None
    stop: Stop | None


def _lives(kill: Kill, number: int, *, keys: bool) -> list[_Life]:
    """Return what the servers of one job live through.

    Without keys no POST is repeated; there the later servers are killed at the look-up.
    """
    lives = [_Life(kill, f"{kill.name} / {number}", kill.stops[0] if kill.stops else None)]
    for stop in kill.stops[1:]:
        met = stop if keys or stop.route != "submit" else replace(stop, route="lookup")
        lives.append(_Life(kill, None, met))
    return lives


@dataclass
class _Lane:
    """One data folder with its sandbox and the proxy between them."""

    place: Place
    wire: Proxy
    chance: Random
    problems: list[str] = field(default_factory=list)
    _gate: Gate | None = None

    async def run(self, lives: list[_Life]) -> None:
        """Start one server after another; each brings to an end what those before it left."""
        for life in lives:
            if life.call is None:
                await self._arm(life)
            async with server(self.place) as on:
                try:
                    with anyio.fail_after(LONGEST):
                        await self._live(life, on)
                except TimeoutError:
                    self.problems.append(f"the fault was not met: {life}")
                on.kill()
            await self._disarm(life)
        async with server(self.place):
            await self._settled("at the end")

    async def _live(self, life: _Life, on: Server) -> None:
        """Bring the server to the moment of its death, and kill it."""
        if life.call is None:
            await self._met(life)
            return
        await self._settled(f"before {life.call}")
        await self._arm(life)
        async with anyio.create_task_group() as group:
            arguments = {"prompt": life.call, "modelId": MODEL}
            group.start_soon(on.attempt, "generate_image", arguments)
            await self._met(life)
            on.kill()

    async def _arm(self, life: _Life) -> None:
        if life.kill.unreachable:
            await self.wire.close()
        if life.stop is not None:
            self._gate = self.wire.script = Gate(life.stop, self.place.data)

    async def _met(self, life: _Life) -> None:
        """Wait for the moment, and a little longer."""
        if self._gate is not None:
            await self._gate.reached.wait()
            await anyio.sleep(self.chance.choice([0, self.chance.uniform(0, _A_LITTLE)]))
        elif life.kill.unreachable:
            await until(lambda: any(row.failures for row in rows(self.place.data)), LONGEST)
        else:
            await anyio.sleep(self.chance.uniform(0, _WHOLE_CALL))

    async def _disarm(self, life: _Life) -> None:
        if life.kill.unreachable:
            await self.wire.open()
        self.wire.script = plain
        gate, self._gate = self._gate, None
        if gate is None or life.stop is None:
            return
        if life.stop.fate == "arrives late":
            self.wire.script = _Later(gate)
        else:
            gate.release(deliver=life.stop.fate == "arrives")

    async def _settled(self, when: str) -> None:
        if not await until(lambda: at_rest(rows(self.place.data)), LONGEST):
            self.problems.append(f"not at rest within {LONGEST:.0f} s {when}")


class _Later:
    """A script that delivers a held message once somebody has asked what became of it."""

    def __init__(self, gate: Gate) -> None:
        self._gate = gate

    async def __call__(self, exchange: Exchange) -> None:
        """Carry an exchange."""
        await plain(exchange)
        if exchange.route == "lookup":
            self._gate.release(deliver=True)


@dataclass
class _Outcome:
    """What the lanes of one kind of API came to."""

    tallies: defaultdict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    problems: list[str] = field(default_factory=list)

    def add(
        self, found: list[Row], seen: list[Post], sent: Sent, spent: int, *, keys: bool
    ) -> None:
        """Judge a lane."""
        kills = {row.request_id: KINDS[row.prompt.split(" / ")[0]] for row in found}
        self.problems += [f"sent without an intent: {key}" for key in sent if key not in kills]
        sent = {key: bodies[kills[key].refused :] for key, bodies in sent.items() if key in kills}
        self.problems += broken(found, seen, sent, keys=keys)
        for row in found:
            self.tallies[kills[row.request_id].name] += tally(row, seen, sent)
            if keys and not (row.status == "completed" and row.saved):
                self.problems.append(f"not recovered: {row}")
        held = sum(row.amount for row in found)
        if held < spent or (keys and held != spent):
            self.problems.append(f"charged {spent}, in the ledger {held}")


async def run(repetitions: int, lanes: int, seed: int, *, share: int = 1) -> Part:
    """Kill servers at every point, so many times.

    Args:
        repetitions: of each point.
        lanes: for each kind of API.
        seed: of all chance.
        share: a repetition meets with each kind of API only each of so many points, other ones.
    """
    part = Part("Killed servers (real processes, SIGKILL)")
    outcomes = {era: _Outcome() for era in ERAS}
    async with anyio.create_task_group() as group:
        for turn, era in enumerate(ERAS):
            strikes = [
                (kill, n)
                for n in range(repetitions)
                for number, kill in enumerate(KILLS)
                if (number + n + turn) % share == 0
            ]
            dice(seed, era).shuffle(strikes)
            for lane in range(lanes):
                lives = [
                    life
                    for kill, n in strikes[lane::lanes]
                    for life in _lives(kill, n, keys=era == WITH_KEYS)
                ]
                group.start_soon(_lane, era, lives, dice(seed, era, lane), outcomes[era])
    for era, outcome in outcomes.items():
        part.broken += [f"{era}: {problem}" for problem in outcome.problems]
    heads = [cell for name in ERAS.values() for cell in (f"{name}: jobs", *TALLY_HEAD)]
    lines = [
        (kill.name, *(cell for era in ERAS for cell in outcomes[era].tallies[kill.name].cells()))
        for kill in KILLS
    ]
    part.text = "\n\n".join(
        [
            table(("killed", *heads), lines),
            summed({name: outcomes[era].tallies.values() for era, name in ERAS.items()}),
            "A call that is killed before its intent is written is no job: nothing was sent.",
        ]
    )
    return part


async def _lane(era: Era, lives: list[_Life], chance: Random, outcome: _Outcome) -> None:
    with temporary() as folder:
        async with (
            run_sandbox(era=era, speed=0.01, rate_limit=100_000, credits=100_000) as sandbox,
            proxied(sandbox) as wire,
        ):
            place = Place(folder, wire.origin, sandbox)
            lane = _Lane(place, wire, chance)
            await lane.run(lives)
            state = await place.state()
        outcome.problems += lane.problems + place.trouble()
        outcome.add(
            rows(place.data),
            posts(state),
            by_key(wire.sent),
            charged(state),
            keys=era == WITH_KEYS,
        )
