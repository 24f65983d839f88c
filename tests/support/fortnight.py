"""A fortnight of one person's machine: it sleeps, is killed, loses its network, its room, its time.

One process at a time on the workbench's clock, network and disk. What is compared are accounts that
know nothing of each other: what was answered, the ledger, the sandbox, and the disk. A kill is a
power cut: what was not synced is gone.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import anyio
import httpx
from support.books import untold, untrue
from support.disk import Disk
from support.in_memory import TOKEN
from support.workbench import (
    Fault,
    OnItsWay,
    Route,
    Someone,
    Workbench,
    answers,
    dropped_after,
    dropped_before,
    refused,
    silent,
    workbench,
)

from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.sandbox.state import Options
from meigen_mcp.service.results import Outcome
from meigen_mcp.views import generations as views

MINUTE, HOUR, DAY = 60.0, 3600.0, 86400.0
ROUTES: tuple[Route, ...] = ("submit", "status", "lookup", "media")
TOKENS = (TOKEN, "meigen_sk_" + "an0ther-" * 4, "meigen_sk_revoked" + "-" * 25)
"""Two accounts, and a token that MeiGen takes back."""
_TROUBLES: dict[str, Fault] = {
    "no connection": refused,
    "dropped": dropped_before,
    "dropped after": dropped_after,
    "silence": silent,
    "HTML 502": answers(502, b"<html>bad gateway</html>"),
    "HTML 503, acts": answers(503, b"<html>busy</html>", acts=True),
    "500": answers(500, body={"error": "Internal"}),
    "429": answers(429, headers={"retry-after": "3"}),
}
_CLOCKS = (-DAY, -HOUR, -5 * MINUTE, -20.0, 20.0, 5 * MINUTE, HOUR, DAY)
_NAPS = (10 * MINUTE, HOUR, 9 * HOUR, 25 * HOUR)
_LEAST = 0.5
_LATEST = 150.0
"""Seconds awake after which what was sent is lost, if it did not arrive."""
_OUTAGES = (10.0, 5 * MINUTE, HOUR, 10 * HOUR)
_MODELS: tuple[tuple[Tool, str], ...] = (
    ("generate_image", "z-image-turbo"),
    ("generate_image", "nanobanana-2"),
    ("generate_video", "seedance-2-0"),
)


@dataclass
class Fortnight:
    """One machine for a fortnight.

    Attributes:
        folder: its disk.
        seed: of all chance.
        jobs: how many things are wanted.
        story: each event, in order.
        wrong: what was promised and is not so.
        found: the records at the end.
    """

    folder: Path
    seed: int
    jobs: int = 60
    story: list[str] = field(default_factory=list)
    wrong: list[str] = field(default_factory=list)
    found: dict[str, Generation] = field(default_factory=dict)
    _told: dict[str, str] = field(default_factory=dict)
    _late: list[tuple[float, OnItsWay]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = Random(self.seed)  # noqa: S311  # no secret
        self._disk = Disk(self.folder, self._chance)
        self._on: Workbench | None = None
        self._token = TOKEN
        self._wanted = 0
        self._asking = False

    async def live(self) -> "Fortnight":
        """Live through it, and judge it at the end."""
        with self._disk.watched():
            while self._wanted < self.jobs:
                await self._boot(self._want_things)
            for token in TOKENS:
                self._token = token
                await self._boot(self._come_to_rest)
        self._judge()
        return self

    # --- one life of the machine ----------------------------------------------------------------

    async def _boot(self, use: Callable[[Workbench], Awaitable[None]]) -> None:
        """Start a server, use it until the power fails or it is stopped, and lose what is lost."""
        self._tell(f"a start with token {TOKENS.index(self._token)}")
        options = Options(speed=1, rate_limit=1000, credits=10_000, seed=self.seed)
        media = str(self.folder / "media")
        told = {
            "MEIGEN_API_TOKEN": self._token,
            "MEIGEN_OUTPUT_DIR": media,
            "MEIGEN_POLL_INTERVAL": "20",
        }
        async with workbench(self.folder, options=options, beside=self._on, **told) as on:
            self._on = on
            await self._disk.mount(on.ledger)
            with anyio.CancelScope() as life:
                self._life = life
                await use(on)
            self._disk.free()
        self._disk.power_up()

    def _tell(self, event: str) -> None:
        at = "" if self._on is None else f"{self._on.clock.true() - 1_800_000_000:.0f} s "
        self.story.append(f"{at}{event}")

    async def _kill(self, on: Workbench) -> None:
        self._tell("the power fails")
        self._disk.cut()
        self._life.cancel()
        on.wire.dead = True  # other tasks run on until they next wait
        await anyio.sleep_forever()

    async def _come_to_rest(self, on: Workbench) -> None:
        await self._pass(on, 3 * HOUR)
        for _, job in await on.ledger.records.newest(10_000):
            self.found[job.request_id] = job

    async def _want_things(self, on: Workbench) -> None:
        while self._wanted < self.jobs:
            # A call that was cut off is repeated at once: later it is another one.
            if not self._asking and not await self._meet(on):
                return
            await self._want(on)
            await self._pass(on, self._chance.choice([5.0, MINUTE, HOUR, 5 * HOUR]))
            self._disk.free()

    # --- what happens to it ---------------------------------------------------------------------

    async def _meet(self, on: Workbench) -> bool:
        """Have something happen, or nothing; say whether the server still runs."""
        events: dict[str, Callable[[Workbench], None]] = {
            "nap": self._nap,
            "clock": self._set_clock,
            "trouble": self._plan,
            "outage": self._lose_network,
            "kill in time": self._plan_kill,
        }
        event = self._chance.choice(["nothing", "kill", "token", "full", *events])
        match event:
            case "kill":
                await self._kill(on)
            case "full":
                self._tell("the disk is full")
                self._disk.fill()
            case "token":
                self._token = self._chance.choices(TOKENS, (4, 2, 1))[0]
            case name if name in events:
                events[name](on)
        return event != "token"

    def _nap(self, on: Workbench) -> None:
        seconds, counts = self._chance.choice(_NAPS), self._chance.random() < 0.5
        self._tell(f"asleep for {seconds:.0f} s, {'counted' if counts else 'not counted'}")
        if counts:
            on.clock.now += seconds
        else:
            on.clock.sleep(seconds)

    def _set_clock(self, on: Workbench) -> None:
        seconds = self._chance.choice(_CLOCKS)
        self._tell(f"the clock is set by {seconds:+.0f} s")
        on.clock.set(seconds)

    def _lose_network(self, on: Workbench) -> None:
        seconds = self._chance.choice(_OUTAGES)
        self._tell(f"no network for {seconds:.0f} s")
        until = on.clock.true() + seconds
        for route in ROUTES:
            on.wire.faults[route] = [partial(_away, on, until)] * 3000

    def _plan(self, on: Workbench) -> None:
        for route in ROUTES:
            count = self._chance.choice([0, 1, 3, 12])
            troubles = _TROUBLES | ({"on its way": self._keep_back} if route == "submit" else {})
            names = [self._chance.choice([*troubles]) for _ in range(count)]
            on.wire.faults[route] = [troubles[name] for name in names]
            if names:
                self._tell(f"{route}: {', '.join(names)}")

    async def _keep_back(
        self, request: httpx.Request, inner: httpx.AsyncBaseTransport
    ) -> httpx.Response:
        """Cut a POST, which arrives all the same, after some seconds in which the machine runs."""
        assert self._on is not None
        due, sent = self._on.clock.monotonic() + self._chance.uniform(0, _LATEST), OnItsWay()
        self._late.append((due, sent))
        return await sent(request, inner)

    async def _deliver(self, on: Workbench) -> None:
        """Have what is on its way arrive, if its time has come."""
        due = [late for late in self._late if late[0] <= on.clock.monotonic()]
        self._late = [late for late in self._late if late not in due]
        for _, sent in due:
            self._tell("a POST arrives late")
            await sent.arrive()

    def _plan_kill(self, on: Workbench) -> None:
        """Have the power fail, or the disk fill up, in the middle of the next exchange."""
        route = self._chance.choice(ROUTES)
        acts, fills = self._chance.random() < 0.5, self._chance.random() < 0.3
        self._tell(f"at the next {route} {'the disk fills up' if fills else 'the power fails'}")

        async def strike(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
            if fills:
                self._disk.fill()
            elif not acts:
                await self._kill(on)
            reply = await inner.handle_async_request(request)
            await reply.aread()
            if not fills:
                await self._kill(on)
            return reply

        on.wire.faults[route] = [strike]

    # --- what is wanted -------------------------------------------------------------------------

    async def _want(self, on: Workbench) -> None:
        """Ask for one thing; a call that was cut off is repeated by the next server."""
        prompt = f"thing {self._wanted}"
        tool, model = _MODELS[Random(prompt).randrange(len(_MODELS))]  # noqa: S311  # no secret
        call: dict[str, Any] = {
            "prompt": prompt,
            "modelId": model,
            "wait": self._chance.choice([0, 8]),
        }
        self._asking = True

        async def ask() -> Outcome:
            outcome: Outcome = await on.service.generate(tool, call, Someone())
            # The answer has left, should the power fail in this very moment.
            self._asking = False
            self._told[outcome.job.request_id] = prompt
            self._wanted += 1
            return outcome

        try:
            answer = views.outcome(await on.drive(ask), on.clock())
        except MeigenError as error:
            self._asking = False
            answer = views.refusal(error, tool, prompt)
        said = answer.get("error", {}).get("code", "")
        self._tell(f"{prompt}: {answer['status']} {said} {answer.get('requestId', '')}")
        await self._compare(on, answer)

    async def _compare(self, on: Workbench, answer: dict[str, Any]) -> None:
        """Compare what was said with the sandbox, the ledger and the disk, as they are now."""
        key = answer.get("requestId", "")
        job = await on.ledger.records.get(key) if key else None
        looked_at = None if job is None else not job.at_rest
        self.wrong += untrue(answer, on.booked(key), looked_at=looked_at)

    async def _pass(self, on: Workbench, seconds: float) -> None:
        """Let time pass, from one thing to do to the next."""
        until, least = on.clock.true() + seconds, _LEAST
        while (left := until - on.clock.true()) > 0:
            await self._deliver(on)
            await on.turn()
            due = await on.next_due()
            pause = left if due is None else due - on.clock.now
            # What is overdue all the time cannot be done just now: then time passes faster.
            least = _LEAST if pause > 0 else min(2 * least, 5 * MINUTE)
            on.clock.now += min(left, max(pause, least))

    # --- the end --------------------------------------------------------------------------------

    def _judge(self) -> None:
        assert self._on is not None
        on = self._on
        self.wrong += [f"forgotten: {key}" for key in self._told if key not in self.found]
        accepted = {job.key: str(job.arguments["prompt"]) for job in on.emulator.jobs.values()}
        self.wrong += [f"paid and forgotten: {key}" for key in accepted if key not in self.found]
        counts = Counter(accepted.values())
        self.wrong += [f"{count} x {prompt}" for prompt, count in counts.items() if count > 1]
        for key, job in self.found.items():
            shown = views.generation_structure(job, on.clock()) | {"next": ""}
            booked = on.booked(key)
            self.wrong += untrue(shown, booked) + untold(shown)
            if job.account.endswith(TOKENS[2]) and job.error and job.status == "submitting":
                continue  # it may have been sent, and nobody can ask: that is told, and held
            if job.status not in ("completed", "failed"):
                self.wrong.append(f"not at its end: {shown}")
            if job.amount != booked.credits:
                self.wrong.append(f"{booked.credits} taken, {job.amount} in the ledger: {shown}")

    def __str__(self) -> str:
        """Tell the story of what went wrong."""
        lines = [f"seed {self.seed}", *self.story, "", "wrong:", *self.wrong]
        return "\n".join(lines)


async def _away(
    on: Workbench, until: float, request: httpx.Request, inner: httpx.AsyncBaseTransport
) -> httpx.Response:
    """Have no network until a time."""
    if on.clock.true() < until:
        raise httpx.ConnectError("no network", request=request)
    return await inner.handle_async_request(request)
