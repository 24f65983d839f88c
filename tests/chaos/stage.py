"""Where a bad day is lived through: real servers, their clocks and disk, and who judges them."""

import json
import os
import signal
from collections import Counter
from collections.abc import AsyncIterator, Collection, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from environments.places import shim
from support.books import Booked, says_nothing_moved, untold, untrue
from support.over_http import patient

from .proxy import Proxy, plain
from .servers import MODEL, Place, Server, server
from .truth import Row, at_rest, rows, until

LONGEST = 40.0
"""Seconds of real time that anything may take on such a day."""
TO_REST = 30.0


@dataclass
class Tally:
    """What a day came to, over all its repetitions.

    Attributes:
        lived: repetitions.
        accepted: submissions that the sandbox accepted.
        answers: that were compared with the sandbox's books and the disk.
        twice: accepted for something that was wanted once, or not at all.
        lost: accepted, and neither on the disk nor told.
        lies: what was said and is not so.
        late: what did not come to its end in time, or came out otherwise than it must.
    """

    lived: int = 0
    accepted: int = 0
    answers: int = 0
    twice: list[str] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)
    lies: list[str] = field(default_factory=list)
    late: list[str] = field(default_factory=list)

    def cells(self) -> tuple[int, ...]:
        """Return the cells of the table."""
        wrong = (self.twice, self.lost, self.lies, self.late)
        return (self.lived, self.accepted, self.answers, *map(len, wrong))

    def problems(self) -> list[str]:
        """Return all that is wrong."""
        named = {"twice": self.twice, "lost": self.lost, "untrue": self.lies, "late": self.late}
        return [f"{name}: {problem}" for name, found in named.items() for problem in found]


@dataclass(frozen=True)
class _Said:
    """An answer, and how many submissions had left when its call began."""

    answer: Mapping[str, Any]
    prompt: str
    since: int


@dataclass
class Stage:
    """One repetition of a day, with everything that can be done to a server.

    Attributes:
        folder: of this day alone; its clock stands in there.
        place: the data folder at hand.
        wire: between the servers and the sandbox.
        chance: repeatable.
        prompt: what is wanted in this repetition; another thing begins with it as well.
        tally: what it comes to.
        shared: the server of all repetitions, if the day has one.
        priced: the API tells its charge truly.
    """

    folder: Path
    place: Place
    wire: Proxy
    chance: Random
    prompt: str
    tally: Tally
    shared: Server | None = None
    priced: bool = True
    _said: list[_Said] = field(default_factory=list)
    _before: int = 0
    _passed: float = 0.0

    # --- what a machine does --------------------------------------------------------------------

    def begin(self, prompt: str, chance: Random) -> None:
        """Begin the next repetition, with everything in order."""
        self.prompt, self.chance = prompt, chance
        self._said, self._before = [], len(self.wire.sent)
        self.mend()

    def mend(self) -> None:
        """Put everything in order; time that has passed has passed."""
        self.wire.script = plain
        self.set_clock(0)
        self.free()

    def _note(self, name: str, seconds: float) -> None:
        draft = self.folder / f"{name}.draft"
        draft.write_text(str(seconds), encoding="ascii")
        draft.replace(self.folder / name)

    def set_clock(self, seconds: float) -> None:
        """Set the wall clock that far from the right time; as suspending does, on Linux."""
        self._note("clock", self._passed + seconds)

    def let_pass(self, seconds: float) -> None:
        """Have so much time gone by on all clocks."""
        self._passed += seconds
        self._note("ticks", self._passed)
        self._note("clock", self._passed)

    def fill(self) -> None:
        """Fill the disk below the folder that its servers were told."""
        (self.folder / "full").touch()

    def free(self) -> None:
        """Give the disk room again."""
        (self.folder / "full").unlink(missing_ok=True)

    @asynccontextmanager
    async def stopped(self, on: Server) -> AsyncIterator[None]:
        """Keep a server from running, as a machine that sleeps does."""
        os.kill(on.pid, signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(on.pid, signal.SIGCONT)

    # --- servers --------------------------------------------------------------------------------

    def another_place(self) -> None:
        """Begin with an empty data folder and an empty output folder."""
        number = len([*self.folder.glob("place-*")])
        self.place = Place(self.folder / f"place-{number}", self.wire.origin, self.place.sandbox)

    def variables(self, full: str = "data") -> dict[str, str]:
        """Return what makes a server process believe in this machine."""
        return {
            "LD_PRELOAD": shim() or "",
            "ENV_CLOCK": str(self.folder / "clock"),
            "ENV_TICKS": str(self.folder / "ticks"),
            "ENV_FULL": str(self.folder / "full"),
            "ENV_FULL_UNDER": str((self.place.folder / full).absolute()),
        }

    @asynccontextmanager
    async def server(
        self, *, full: str = "data", client: Mapping[str, Any] | None = None, **variables: str
    ) -> AsyncIterator[Server]:
        """Run a server on this machine, whose `full` folder may get full; its end is a kill."""
        told: dict[str, Any] = {**self.variables(full), **variables}
        async with server(self.place, client=client, **told) as on:
            try:
                yield on
            finally:
                on.kill()

    @property
    def on(self) -> Server:
        """The server of all repetitions."""
        assert self.shared is not None
        return self.shared

    # --- calls and the truth --------------------------------------------------------------------

    async def call(
        self, on: Server, tool: str = "generate_image", **arguments: Any
    ) -> dict[str, Any]:
        """Call a tool, and compare its answer."""
        if tool != "check_status":
            arguments = {"prompt": self.prompt, "modelId": MODEL, **arguments}
        since = len(self.wire.sent)
        answer = await on.call(tool, **arguments)
        await self.compare(answer, str(arguments.get("prompt", self.prompt)), since)
        return answer

    async def insist(self, on: Server, **arguments: Any) -> dict[str, Any]:
        """Call for a picture, and once more if that was refused as if nothing had been sent."""
        answer = await self.call(on, **arguments)
        error = answer.get("error", {})
        if answer["status"] == "refused" and error.get("charged") == "no":
            return await self.call(on, **arguments)
        return answer

    async def compare(self, answer: Mapping[str, Any], prompt: str, since: int) -> None:
        """Compare an answer with the books, the ledger and the disk."""
        self.tally.answers += 1
        said = _Said(answer, prompt, since)
        self._said.append(said)
        key = answer.get("requestId")
        booked = await self.booked(key) if key else Booked()
        # One that has ended since was looked at when it was said.
        found = [row for row in rows(self.place.data) if row.request_id == key]
        open_ = [row for row in found if row.status not in ("completed", "failed")]
        looked_at = not open_[0].idle if open_ else None
        self.tally.lies += untrue(answer, booked, looked_at=looked_at, priced=self.priced)

    async def booked(self, key: str) -> Booked:
        """Return what the sandbox has of one request."""
        state = await self.place.state()
        accepted = [post for post in state["posts"] if post["accepted"]]
        posts = [post for post in accepted if post["idempotencyKey"] == key]
        if not posts:
            return Booked()
        async with patient(trust_env=False) as client:
            route = f"{self.place.sandbox}/api/generate/v2/status/{posts[0]['generationId']}"
            job = (await client.get(route)).json()
        # The API of 2026-05 does not say it there; before that one, all are of one price.
        price = job.get(
            "creditsUsed", sum(a["charged"] for a in state["accounts"]) // len(accepted)
        )
        return Booked(len(posts), job["status"], len(posts) * (job["status"] != "failed") * price)

    def sent(self, since: int = 0, to: int | None = None) -> dict[str, str]:
        """Return the prompts of this repetition's submissions, by their keys."""
        bodies = [json.loads(body) for body in self.wire.sent[max(since, self._before) : to]]
        return {body["idempotencyKey"]: body["prompt"] for body in bodies}

    async def rest(self, seconds: float = TO_REST) -> None:
        """Wait until nothing more happens by itself."""
        if not await until(lambda: at_rest(self.rows()), seconds):
            self.late(f"not at rest after {seconds:.0f} s: {self.rows()}")

    def rows(self) -> list[Row]:
        """Return this repetition's rows of the ledger."""
        return [row for row in rows(self.place.data) if row.prompt.startswith(self.prompt)]

    def late(self, problem: str) -> None:
        """Note what did not come in time, or came out otherwise."""
        self.tally.late.append(f"{self.prompt}: {problem}")

    def must(self, kept: bool, problem: str) -> None:
        """Note what must be so and is not."""
        if not kept:
            self.late(problem)

    async def judge(
        self,
        on: Server,
        ends: Collection[str] = ("completed",),
        *,
        most: int = 1,
        rest: bool = True,
    ) -> None:
        """Judge what became of everything in this repetition.

        Args:
            on: a server that is asked how each stands.
            ends: the statuses that what was accepted may have.
            most: how many of a prompt may be accepted.
            rest: wait until nothing more happens by itself.
        """
        if rest:
            await self.rest()
        counts: Counter[str] = Counter()
        for key, prompt in self.sent().items():
            booked = await self.booked(key)
            counts[prompt] += booked.accepted
            if booked.accepted:
                await self._is_known(on, key, booked, ends)
        self.tally.accepted += counts.total()
        self.tally.twice += [
            f"{count} x {prompt}" for prompt, count in counts.items() if count > most
        ]
        await self._still_true()

    async def _is_known(self, on: Server, key: str, booked: Booked, ends: Collection[str]) -> None:
        """See that what was accepted is in the ledger, and what is told of it."""
        answer = await self.call(on, "check_status", requestId=key, wait=0)
        if answer["status"] not in ends:
            self.tally.lost.append(f"{answer}")
        self.tally.lost += untold(answer)
        held = sum(row.amount for row in rows(self.place.data) if row.request_id == key)
        exact = answer["status"] in ("completed", "failed")
        if held < booked.credits or (exact and held != booked.credits):
            self.tally.lies.append(f"charged {booked.credits}, in the ledger {held}: {answer}")

    async def _still_true(self) -> None:
        """See that what was said to have cost nothing did not cost something after all."""
        ends = [said.since for said in self._said[1:]] + [len(self.wire.sent)]
        for said, end in zip(self._said, ends, strict=True):
            if not says_nothing_moved(said.answer):
                continue
            before = self.sent(self._before, said.since)
            later = self.sent(said.since, end)
            keys = [k for k, prompt in later.items() if k not in before and prompt == said.prompt]
            for key in keys:
                if (booked := await self.booked(key)).accepted:
                    self.tally.lies.append(f"nothing moved? {booked} {dict(said.answer)}")
