"""The HTTP transport beside a bare server of the SDK: latency, clients, listeners, sessions."""

import sys
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import anyio

from .detection import log
from .http_client import Caller, Era, Serving, serving
from .processes import LONGEST, MODEL, environment, instant, serve, temporary
from .report import Part, Row, Sample, load, number
from .size import Size

OURS = (*serve(sys.executable), "--http", "--port")
BARE = (sys.executable, str(Path(__file__).parent / "bare_http.py"))
MOST_LATENCY, LEAST_CALLS, MOST_HEARD, MOST_SESSION = 2.0, 0.5, 1.0, 2.0
ERAS: tuple[Era, ...] = ("2026", "2025")
_WARM_UP = 10


@asynccontextmanager
async def _both(origin: str, folder: Path) -> AsyncIterator[dict[str, Serving]]:
    environ = environment(folder, origin)
    async with serving(OURS, environ) as ours, serving(BARE, environ) as bare:
        yield {"ours": ours, "bare": bare}


async def _ask(caller: Caller, name: str) -> None:
    await caller.call("list_models" if name == "ours" else "nothing")


async def _latency(servers: dict[str, Serving], era: Era, size: Size) -> dict[str, Sample]:
    took: dict[str, list[float]] = {name: [] for name in servers}
    async with AsyncExitStack() as stack:
        callers = {
            name: await stack.enter_async_context(server.caller(era))
            for name, server in servers.items()
        }
        for turn in range(_WARM_UP + size.asked):
            for name, caller in callers.items():
                began = time.perf_counter()
                await _ask(caller, name)
                if turn >= _WARM_UP:
                    took[name].append((time.perf_counter() - began) * 1000)
    return {name: Sample(values, "ms") for name, values in took.items()}


async def _calls(server: Serving, name: str, size: Size) -> tuple[float, float]:
    """Return the calls a second of many clients, and the processor time of each in ms."""

    async def client() -> None:
        async with server.caller("2026") as caller:
            for _ in range(size.asked):
                await _ask(caller, name)

    used, began = server.processor(), time.perf_counter()
    async with anyio.create_task_group() as group:
        for _ in range(size.callers):
            group.start_soon(client)
    count = size.callers * size.asked
    spent = 1000 * (server.processor() - used) / count
    return count / (time.perf_counter() - began), spent


async def _listened(server: Serving, origin: str, size: Size) -> Sample:
    """Have each of many jobs listened to by some; return how late each heard of its end."""
    async with AsyncExitStack() as stack, server.caller("2026") as buyer:
        heard: list[list[float]] = [[] for _ in range(size.listeners)]

        async def listen(caller: Caller, uri: str, times: list[float]) -> None:
            while True:
                await caller.heard(uri.encode())
                times.append(time.time())

        uris = []
        for place in range(size.heard):
            prompt = f"heard {place}, as expected, {size.listened} s"
            answer = await buyer.call("generate_image", prompt=prompt, modelId=MODEL, wait=0)
            uris.append(answer["resourceUri"])
        with anyio.fail_after(LONGEST):
            async with anyio.create_task_group() as group:
                for place, times in enumerate(heard):
                    caller = await stack.enter_async_context(server.caller("2026"))
                    uri = uris[place % len(uris)]
                    await caller.listen(uri)
                    group.start_soon(listen, caller, uri, times)
                late: list[float] = []
                while len(late) < size.listeners:
                    await anyio.sleep(0.1)
                    jobs = await log(origin)
                    told = [jobs[uri]["told_at"] or float("inf") for uri in uris]
                    after = [
                        [when for when in times if when >= told[place % len(uris)]]
                        for place, times in enumerate(heard)
                    ]
                    late = [
                        times[0] - told[place % len(uris)]
                        for place, times in enumerate(after)
                        if times
                    ]
                group.cancel_scope.cancel()
    return Sample(late, "s")


async def _sessions(server: Serving, size: Size) -> float:
    """Return the memory of a session, in kB."""
    async with AsyncExitStack() as stack:
        before = server.memory()
        for _ in range(size.sessions):
            await stack.enter_async_context(server.caller("2025"))
        return (server.memory() - before) * 1000 / size.sessions


async def run(size: Size) -> Part:
    """Measure both servers in turn."""
    with temporary() as folder:
        async with instant() as origin, _both(origin, folder) as servers:
            latencies = {era: await _latency(servers, era, size) for era in ERAS}
            calls = {name: await _calls(on, name, size) for name, on in servers.items()}
            weight = {name: await _sessions(on, size) for name, on in servers.items()}
        async with (
            instant() as origin,
            serving(OURS, environment(folder / "heard", origin)) as server,
        ):
            heard = await _listened(server, origin, size)
    (ours, cost), (bare, bare_cost) = calls["ours"], calls["bare"]
    heavier = weight["ours"] / weight["bare"] if weight["bare"] else 1.0

    def row(what: str, target: str, measured: str, ratio: str, *, met: bool, idle: bool) -> Row:
        judged = met if size.judged else None
        return Row(f"http: {what}", target, f"{measured}; {load()}", ratio, judged, absolute=idle)

    def latency(era: Era, ours: Sample, bare: Sample) -> Row:
        slower = ours.median / bare.median
        return row(
            f"`list_models` on a connection that is kept, {era}",
            f"{MOST_LATENCY:g} x bare",
            f"{ours}; bare {bare}",
            f"{slower:.2f} x",
            met=slower <= MOST_LATENCY,
            idle=False,
        )

    return Part(
        [
            *(latency(era, took["ours"], took["bare"]) for era, took in latencies.items()),
            row(
                f"{size.callers} clients at once, calls a second",
                f"{LEAST_CALLS:g} x bare",
                f"{number(ours)}, {number(cost)} ms of processor each;"
                f" bare {number(bare)}, {number(bare_cost)} ms",
                f"{ours / bare:.2f} x",
                met=ours >= LEAST_CALLS * bare,
                idle=False,
            ),
            row(
                f"{size.listeners} listeners to {size.heard} jobs, told to heard",
                f"{MOST_HEARD:g} s at most",
                str(heard),
                "",
                met=heard.p99 <= MOST_HEARD,
                idle=True,
            ),
            row(
                f"memory of a session of 2025, with {size.sessions} open",
                f"{MOST_SESSION:g} x bare",
                f"{number(weight['ours'])} kB; bare {number(weight['bare'])} kB",
                f"{heavier:.2f} x",
                met=heavier <= MOST_SESSION,
                idle=False,
            ),
        ]
    )
