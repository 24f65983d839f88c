"""Faults on the wire, in memory: service, poller and ledger under a clock of the test's own."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from random import Random

import httpx
from support.workbench import (
    Fault,
    Route,
    Workbench,
    answers,
    cut,
    dropped_after,
    dropped_before,
    refused,
    silent,
    workbench,
)

from meigen_mcp.sandbox.models import Era
from meigen_mcp.sandbox.state import Options

from .report import Part, dice, table
from .servers import MODEL, temporary
from .truth import TALLY_HEAD, Post, Tally, broken, rows, summed, tally

WITH_KEYS: Era = "2026-09"
ERAS: dict[Era, str] = {WITH_KEYS: "with keys", "2026-05": "without keys"}
HTML = b"<html><body>Bad gateway</body></html>"
DOWN = {"success": False, "error": "Internal"}
# After these the API provably has nothing, so a second POST is no repetition.
PROVABLY_NOT = {"no connection", "429", "429 with Retry-After"}


@dataclass(frozen=True)
class Point:
    """A place at which the wire breaks.

    Attributes:
        most: how often in a row at most.
        lost_reply: the POST's reply is lost first, so that there is something to look up.
    """

    route: Route
    name: str
    fault: Fault
    most: int = 3
    lost_reply: bool = False


class _Torn(httpx.AsyncByteStream):
    def __init__(self, half: bytes) -> None:
        self._half = half

    async def __aiter__(self) -> AsyncIterator[bytes]:
        yield self._half
        raise httpx.RemoteProtocolError("torn")


async def torn(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
    """The API acts, and the connection breaks in the middle of its reply."""
    reply = await inner.handle_async_request(request)
    raw = await reply.aread()
    return httpx.Response(reply.status_code, stream=_Torn(raw[: len(raw) // 2]))


async def silent_before(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """The request gets lost and nobody ever answers."""
    raise httpx.ReadTimeout("silence", request=request)


STILL_PROCESSING = answers(200, body={"status": "processing"})

AT_SUBMIT: dict[str, Fault] = {
    "no connection": refused,
    "dropped before the API has it": dropped_before,
    "dropped after the API acted": dropped_after,
    "reply torn in the middle": torn,
    "half a reply": cut,
    "silence, lost": silent_before,
    "silence, accepted": silent,
    "500, lost": answers(500, body=DOWN),
    "500, accepted": answers(500, body=DOWN, acts=True),
    "HTML 502, lost": answers(502, HTML),
    "HTML 502, accepted": answers(502, HTML, acts=True),
    "no JSON": answers(200, b"OK", acts=True),
    "empty 200": answers(200, b"", acts=True),
    "200 without an id": answers(200, body={"success": True}, acts=True),
    "429": answers(429, body={"success": False, "error": "Slow down"}),
    "429 with Retry-After": answers(429, body={}, headers={"retry-after": "20"}),
    "409 in progress": answers(
        409, body={"code": "in_progress", "retryAfterSeconds": 5}, acts=True
    ),
    "409 lease expired": answers(409, body={"code": "in_progress", "retryAfterSeconds": 0}),
}
AT_STATUS: dict[str, Fault] = {
    "no connection": refused,
    "dropped": dropped_after,
    "torn": torn,
    "silence": silent,
    "500": answers(500, body=DOWN),
    "HTML 502": answers(502, HTML),
    "no JSON": answers(200, HTML),
    "404": answers(404, body={"error": "Generation not found"}),
    "429": answers(429, body={"code": "status_query_busy", "retryable": True}),
    "completed without URLs": answers(200, body={"status": "completed", "imageUrls": []}),
    "an unknown state": answers(200, body={"status": "resting"}),
}
AT_LOOKUP: dict[str, Fault] = {
    "no connection": refused,
    "dropped": dropped_after,
    "silence": silent,
    "500": answers(500, body=DOWN),
    "HTML 404": answers(404, HTML),
    "429": answers(429, body={}, headers={"retry-after": "5"}),
    "409 in progress": answers(409, body={"code": "in_progress", "retryAfterSeconds": 5}),
}
AT_MEDIA: dict[str, Fault] = {
    "no connection": refused,
    "torn": torn,
    "silence": silent,
    "500": answers(500),
    "HTML instead": answers(200, HTML),
}
POINTS: tuple[Point, ...] = (
    *(Point("submit", name, fault) for name, fault in AT_SUBMIT.items()),
    *(Point("status", name, fault) for name, fault in AT_STATUS.items()),
    # Three answers in a row that are not the documented JSON end the looking, by design.
    *(Point("lookup", name, fault, 2, lost_reply=True) for name, fault in AT_LOOKUP.items()),
    *(Point("media", name, fault) for name, fault in AT_MEDIA.items()),
)


async def run(repetitions: int, seed: int) -> Part:
    """Strike at every point, so many times, at times of chance."""
    part = Part("Faults on the wire (in memory, under a clock of the test's own)")
    lines: list[tuple[object, ...]] = []
    by_api: dict[str, list[Tally]] = {name: [] for name in ERAS.values()}
    for point in POINTS:
        totals: list[Tally] = []
        for era, name in ERAS.items():
            total = Tally()
            for repetition in range(repetitions):
                chance = dice(seed, point.route, point.name, era, repetition)
                found, problems = await _strike(point, era, chance)
                total += found
                part.broken += [f"{point.route}, {point.name}, {era}: {p}" for p in problems]
            totals.append(total)
            by_api[name].append(total)
        lines.append((f"{point.route}: {point.name}", *totals[0].cells(), *totals[1].cells()))
    heads = [cell for name in ERAS.values() for cell in (f"{name}: jobs", *TALLY_HEAD)]
    part.text = f"{table(('fault', *heads), lines)}\n\n{summed(by_api)}"
    return part


async def _strike(point: Point, era: Era, chance: Random) -> tuple[Tally, list[str]]:
    """Make one generation that meets the fault; return what became of it and what is wrong."""
    options = Options(
        era=era,
        speed=chance.uniform(0.01, 2),
        rate_limit=1000,
        credits=1000,
        seed=chance.randrange(2**32),
    )
    with temporary() as folder:
        async with workbench(
            folder,
            options=options,
            MEIGEN_OUTPUT_DIR=str(folder / "media"),
            MEIGEN_POLL_INTERVAL=f"{chance.uniform(0.1, 5):.2f}",
        ) as on:
            on.clock.now += chance.uniform(0, 100)
            if point.lost_reply:
                on.wire.faults["submit"] = [_late(on, dropped_after, chance)]
            spared = chance.randrange(3) if point.route == "status" else 0
            struck = [_late(on, point.fault, chance)] * chance.randint(1, point.most)
            on.wire.faults[point.route] = [STILL_PROCESSING] * spared + struck
            outcome = await on.generate(modelId=MODEL, wait=chance.choice([0, 5, 25]))
            await on.settle(outcome.job)
            met = len(struck) - len(on.wire.faults[point.route])
            result, problems = _judged(on, folder / "data", point, era, met)
            return result, problems


def _judged(on: Workbench, data: Path, point: Point, era: Era, met: int) -> tuple[Tally, list[str]]:
    """Judge what became of the one generation; `met` is how often the fault struck."""
    (row,) = rows(data)
    seen = [Post(p.at, p.status, p.key, p.job, p.accepted) for p in on.emulator.posts]
    provable = point.route == "submit" and point.name in PROVABLY_NOT
    sent = {row.request_id: on.wire.posts()[met if provable else 0 :]}
    result = tally(row, seen, sent)
    keys = era == WITH_KEYS
    problems = broken([row], seen, sent, keys=keys)
    if met <= 0:
        problems.append("the fault was never met")
    if len(set(on.wire.posts())) > 1:
        problems.append("a repetition sent other bytes")
    if keys and not (result.once and result.recovered):
        problems.append(f"not charged once and recovered: {row}")
    if not keys and not (result.recovered or result.unknown):
        problems.append(f"neither recovered nor unknown: {row}")
    if row.status == "completed" and row.amount != on.charged:
        problems.append(f"charged {on.charged}, in the ledger {row.amount}")
    if row.amount < on.charged:
        problems.append(f"charged {on.charged}, the ledger holds only {row.amount}")
    return result, problems


def _late(on: Workbench, fault: Fault, chance: Random) -> Fault:
    """Return a fault that takes its time before and after the API acts."""

    def wait() -> None:
        on.clock.now += chance.uniform(0, chance.choice([0.01, 1, 40]))

    async def slow(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        wait()
        try:
            reply: httpx.Response = await fault(request, inner)
        finally:
            wait()
        return reply

    return slow
