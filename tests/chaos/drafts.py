"""Two paid steps: a session with a draft and its final, and what can go wrong between the two.

The session begins with files of this computer; each of its four steps is quoted, asked about and
goes on from the one before. Servers are killed at ten points of it; the next one is asked the same
again, as people do.
"""

from collections.abc import Awaitable, Callable, Mapping
from contextlib import AbstractAsyncContextManager, AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import mcp_types as t
from support.clips import FAST, Clip, write

from meigen_mcp.sandbox.running import run_sandbox

from .days_money import Client
from .kills import Gate, Stop
from .proxy import Plan, Proxy, Script, answered, changed, dropped_after, plain, proxied
from .report import Part, table
from .servers import Place, Server, server, temporary
from .truth import broken, by_key, charged, posts, rows

LONGEST = 120.0
"""Seconds of real time that one server's life may take."""
_ANSWER = 40
MODEL = {"modelId": "seedance-2-5"}
_LIST_IS_THERE = 0.2
YES = t.ElicitResult(action="accept", content={"approve": True})
PICTURES = [f"https://images.meigen.ai/{name}.png" for name in ("pier", "gull")]
Call = dict[str, Any]


@dataclass(frozen=True)
class Step:
    """One paid step of the session.

    Attributes:
        price: what it costs; the clip of this computer has 2 s, those of the sandbox as many as
            were asked for.
        call: what is asked for, after what was made and with the folder of the person's files.
        kills: at which points servers are killed while they are at it.
    """

    name: str
    price: int
    call: Callable[[list[dict[str, Any]], Path], Call]
    kills: Mapping[str, Stop]


def _draft(_: list[dict[str, Any]], own: Path) -> Call:
    return {
        "prompt": "the sea",
        "referenceVideo": str(own / "beach.mp4"),
        "referenceAudios": [str(own / "sea.wav")],
        "contentReferenceImages": PICTURES,
        "duration": 4,
        "draft": True,
        **MODEL,
    }


def _medium(made: list[dict[str, Any]]) -> str:
    return f"{made[-1]['resourceUri']}/media/0"


STEPS: tuple[Step, ...] = (
    Step(
        "draft",
        (2 + 4) * 10,
        _draft,
        {
            "an upload asked for": Stop("presign", "request"),
            "a file uploaded, before the ledger has it": Stop("upload", "reply, ledger held"),
            "status answered, before the ledger has it": Stop("status", "reply, ledger held"),
        },
    ),
    Step(
        "final",
        (2 + 4) * 26,
        lambda made, _: {"finalOf": made[-1]["generationId"]},
        {
            "POST on its way, and lost": Stop("submit", "request"),
            "accepted, before the reply": Stop("submit", "reply"),
            "media half saved": Stop("media", "half a reply"),
        },
    ),
    Step(
        "continuation of the final",
        (4 + 5) * 16,
        lambda made, _: {
            "prompt": "and a boat",
            "referenceVideo": _medium(made),
            "duration": 5,
            **MODEL,
        },
        {
            "POST on its way, and it arrives": Stop("submit", "request", "arrives"),
            "look-up answered, before the ledger has it": Stop("lookup", "reply, ledger held"),
        },
    ),
    Step(
        "edit of a clip",
        (5 + 5) * 16,
        lambda made, _: {
            "prompt": "edit: at night",
            "referenceVideo": _medium(made),
            "aspectRatio": "adaptive",
            "duration": 5,
            **MODEL,
        },
        {
            "status asked": Stop("status", "request"),
            "media saved, before the ledger has it": Stop("media", "reply, ledger held"),
        },
    ),
)
FINAL = 4 * 52
"""What the final of a draft of 4 s costs."""


@dataclass
class _Here:
    """A data folder with the sandbox behind it.

    Attributes:
        own: the folder of the person's files.
        client: says yes to every price.
        made: the answers with a result.
        prices: what they must have cost.
        problems: what was seen to be wrong.
        gate: what holds the wire.
    """

    place: Place
    wire: Proxy
    own: Path
    client: Client = field(default_factory=lambda: Client(YES))
    made: list[dict[str, Any]] = field(default_factory=list)
    prices: list[int] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)
    gate: Gate | None = None

    def arm(self, stop: Stop) -> Gate:
        """Have the wire hold the next exchange at a point."""
        self.gate = self.wire.script = Gate(stop, self.place.data)
        return self.gate

    def disarm(self, stop: Stop) -> None:
        """Let what was held go on its way, or lose it, and carry everything again."""
        gate, self.gate, self.wire.script = self.gate, None, plain
        if gate is not None:
            gate.release(deliver=stop.fate == "arrives")

    def server(self) -> AbstractAsyncContextManager[Server]:
        """Return a server that may read the person's files and asks about every price."""
        told: dict[str, Any] = {
            "MEIGEN_CONFIRM_ABOVE": "0",
            "MEIGEN_REFERENCE_DIRS": str(self.own),
        }
        return server(self.place, client=self.client.options(), **told)

    def paid(self, answer: dict[str, Any], price: int) -> dict[str, Any]:
        """Note what was made and what it must have cost."""
        self.made.append(answer)
        self.prices.append(price)
        return answer

    def must(self, kept: bool, problem: str) -> None:
        """Note what must be so and is not."""
        if not kept:
            self.problems.append(problem)

    async def judge(self) -> None:
        """Compare the ledger, the disk, the sandbox's books and what was answered."""
        state, found = await self.place.state(), rows(self.place.data)
        self.problems += broken(found, posts(state), by_key(self.wire.sent))
        self.problems += self.place.trouble()
        held = [row.amount for row in found if row.status == "completed" and row.saved]
        told = [answer.get("creditsUsed") for answer in self.made]
        sums = charged(state), sum(row.amount for row in found)
        self.must(held == told == self.prices, f"in the ledger {held}, told {told}: {self.prices}")
        self.must(sums == (sum(self.prices),) * 2, f"charged, in the ledger {sums}: {self.prices}")
        asked = len(self.client.asked)
        self.must(asked >= len(self.made), f"asked {asked} times for {len(self.made)} prices")


async def _lives(here: _Here, spared: Callable[[str], bool]) -> None:
    """Go through the steps with one server after another, and through the faults with the last.

    Args:
        here: where.
        spared: which of the points and faults, by its name, is left out this time.
    """
    names = [name for step in STEPS for name in step.kills if not spared(name)]
    ahead = [
        (step, stop)
        for step in STEPS
        for stop in (*(step.kills[name] for name in step.kills if name in names), None)
    ]
    begun: list[Step] = []
    call: Call = {}
    while ahead:
        step, stop = ahead[0]
        if step in begun and stop is not None:  # the next server may be there before its call
            here.arm(stop)
        async with here.server() as on:
            with anyio.fail_after(LONGEST):
                while ahead:
                    step, stop = ahead.pop(0)
                    if step not in begun:
                        begun.append(step)
                        call = step.call(here.made, here.own)
                        price = await _quoted(on, call)
                        here.must(price == step.price, f"{step.name}: {price} credits")
                        call["requestId"] = str(uuid4())
                    if stop is not None:
                        gate = here.gate or here.arm(stop)
                        await _killed(on, gate, call)
                        here.disarm(stop)
                        break
                    here.paid(await _done(on, call), step.price)
                else:
                    for name, fault in BETWEEN.items():
                        if not spared(name):
                            await fault(here, on)
                            here.wire.script = plain
    await here.judge()


async def _quoted(on: Server, call: Call) -> int:
    """Return the price that is told before anything is paid; the list may still be on its way."""
    while True:
        answer = await on.call("generate_video", **call, dryRun=True)
        if "quote" in answer and "credits" in answer["quote"]:
            return int(answer["quote"]["credits"])
        await anyio.sleep(_LIST_IS_THERE)


async def _killed(on: Server, gate: Gate, call: Call) -> None:
    """Kill a server at a point of a call."""
    async with anyio.create_task_group() as group:
        group.start_soon(on.attempt, "generate_video", {**call, "wait": _ANSWER})
        await gate.reached.wait()
        on.kill()


async def _done(on: Server, call: Call) -> dict[str, Any]:
    """Ask for something until it is there and saved."""
    while True:
        answer = await on.call("generate_video", **call, wait=_ANSWER)
        if answer["status"] not in ("queued", "submitting", "processing") and "files" in answer:
            return answer
        await anyio.sleep(_LIST_IS_THERE)


# --- between the two ------------------------------------------------------------------------------


async def _drafted(here: _Here, on: Server) -> dict[str, Any]:
    call = {"prompt": "a gull", "duration": 4, "draft": True, **MODEL}
    return here.paid(await _done(on, call | {"requestId": str(uuid4())}), 4 * 14)


async def _final(on: Server, of: Mapping[str, Any]) -> dict[str, Any]:
    call = {"finalOf": of["generationId"], "requestId": str(uuid4()), "wait": _ANSWER}
    return await on.call("generate_video", **call)


def _saying(**words: Any) -> Script:
    """Return a script that changes what a status says of the final."""

    def change(said: dict[str, Any]) -> dict[str, Any]:
        draft = said.get("seedanceDraft")
        return said if draft is None else {**said, "seedanceDraft": {**draft, **words}}

    return changed(change)


async def replies_lost(here: _Here, on: Server) -> None:
    """The replies to the draft and to its final are lost."""
    here.wire.script = Plan(submit=[dropped_after, dropped_after])
    first = await _drafted(here, on)
    here.paid(await _final(on, first), FINAL)


async def price_changed(here: _Here, on: Server) -> None:
    """The final costs more than the draft's status said: it is counted and told as charged."""
    here.wire.script = Plan(status=_saying(finalCredits=FINAL - 8))
    first = await _drafted(here, on)
    second = here.paid(await _final(on, first), FINAL)
    quoted = second["quote"]["credits"]
    here.must(quoted == FINAL - 8, f"quoted {quoted}, and {FINAL - 8} were told")


async def deadline_passed(here: _Here, on: Server) -> None:
    """The time of a draft is over: its final is refused, and nothing is sent."""
    here.wire.script = Plan(status=_saying(expiresAt="2026-01-01T00:00:00Z"))
    first, sent = await _drafted(here, on), len(here.wire.sent)
    second = await _final(on, first)
    told = second["status"], len(here.wire.sent) - sent, "was over" in str(second)
    here.must(told == ("refused", 0, True), f"{told}: {second}")


async def over_elsewhere(here: _Here, on: Server) -> None:
    """MeiGen alone knows that the draft is over: its refusal is told, and costs nothing."""
    first = await _drafted(here, on)
    over = b'{"success":false,"error":"This draft is over","code":"invalid_request"}'
    here.wire.script = Plan(submit=answered("400 Bad Request", over))
    second = await _final(on, first)
    told = second["status"], second["error"]["charged"], "is over" in second["error"]["message"]
    here.must(told == ("failed", "no", True), f"{told}: {second}")


async def killed_between(here: _Here, on: Server) -> None:
    """The server is killed between the two: the next one knows the draft and its price."""
    first = await _drafted(here, on)
    on.kill()
    async with here.server() as other:
        here.paid(await _final(other, first), FINAL)


BETWEEN: Mapping[str, Callable[[_Here, Server], Awaitable[None]]] = {
    "the replies to both are lost": replies_lost,
    "the final's price has changed": price_changed,
    "the draft's deadline has passed": deadline_passed,
    "that, and MeiGen alone knows it": over_elsewhere,
    "a kill between the two": killed_between,
}


async def run(repetitions: int, *, alternate: bool = False) -> Part:
    """Go through the session and through what can go wrong between the two, so many times.

    Args:
        repetitions: of everything.
        alternate: only every second point and fault is met, another one each time.
    """
    part = Part("Drafts and finals (real processes, SIGKILL)")
    points = [(step, name) for step in STEPS for name in step.kills]
    for number in range(repetitions):
        names = [name for _, name in points] + ["", *BETWEEN]
        spared = {name for n, name in enumerate(names) if alternate and (n + number) % 2}
        with temporary() as folder:
            own = folder / "own"
            own.mkdir()
            write(Clip("mp4", "libx264", FAST), own / "beach.mp4")
            write(Clip("wav", "", times=(), sound=(2, "pcm_s16le")), own / "sea.wav")
            async with AsyncExitStack() as stack:
                run_one = run_sandbox(
                    era="2026-11", speed=0.003, rate_limit=100_000, credits=100_000
                )
                sandbox = await stack.enter_async_context(run_one)
                wire = await stack.enter_async_context(proxied(sandbox))
                here = _Here(Place(folder, wire.origin, sandbox), wire, own)
                try:
                    await _lives(here, spared.__contains__)
                except Exception as problem:  # noqa: BLE001  # the other ones go on
                    here.problems.append(f"{type(problem).__name__}: {problem}")
                part.broken += here.problems
    lines = [(step.name, name, step.price, repetitions) for step, name in points]
    part.text = "\n\n".join(
        [
            table(("step", "killed", "credits", "lived"), lines),
            "Each step was quoted, asked about, charged once and saved:"
            f" {sum(step.price for step in STEPS)} credits a session.",
            table(("between a draft and its final", "lived"), [(n, repetitions) for n in BETWEEN]),
        ]
    )
    return part
