"""A server whose ledger another program holds locked: what it answers meanwhile, and when."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio

from .detection import log
from .processes import MODEL, OURS, Server, connected, environment, instant, temporary
from .report import Part, Row, Sample
from .size import Size

MOST, MOST_WAITED = 100.0, 12.0
"""Of what needs no ledger in milliseconds, of a call with `wait: 5` in seconds."""
_WAIT = 5
_CALLS = 2
_SOON = "as expected, 0.1 s"


@contextmanager
def _held(folder: Path) -> Iterator[None]:
    (file,) = (folder / "data").rglob("ledger.sqlite3")
    with closing(sqlite3.connect(file, isolation_level=None)) as holder:
        holder.execute("BEGIN IMMEDIATE")
        yield


async def _generate(server: Server, prompt: str) -> dict[str, Any]:
    return await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=_WAIT)


async def run(size: Size) -> Part:
    """Hold it, list, ping and call, and see what was sent."""
    listed: list[float] = []
    pinged: list[float] = []
    waited: list[float] = []
    told: list[dict[str, Any]] = []

    async def ask(server: Server, method: str, took: list[float]) -> None:
        while True:
            began = time.perf_counter()
            await server.request(method)
            took.append(1000 * (time.perf_counter() - began))
            await anyio.sleep(0.05)

    async def call(server: Server, prompt: str) -> None:
        began = time.perf_counter()
        told.append(await _generate(server, prompt))
        waited.append(time.perf_counter() - began)

    with temporary() as folder:
        async with instant() as origin, connected(OURS, environment(folder, origin)) as server:
            first = await _generate(server, f"before, {_SOON}")
            async with anyio.create_task_group() as group:
                group.start_soon(ask, server, "tools/list", listed)
                group.start_soon(ask, server, "ping", pinged)
                async with anyio.create_task_group() as calls:
                    with _held(folder):
                        for number in range(_CALLS):
                            calls.start_soon(call, server, f"meanwhile {number}, {_SOON}")
                        await anyio.sleep(size.locked)
                group.cancel_scope.cancel()
            last = await _generate(server, f"after, {_SOON}")
            sent = [job["prompt"] for job in (await log(origin)).values()]
    statuses = [answer["status"] for answer in told]
    # One that was refused was told that nothing was sent, and one that was not was sent once.
    assert {first["status"], last["status"]} == {"completed"}
    assert set(statuses) <= {"completed", "refused"}, told
    assert len(sent) == len(set(sent)) == 2 + statuses.count("completed"), (told, sent)
    held = f"locked: the ledger held for {size.locked:g} s"
    messages = {answer["error"]["message"] for answer in told if "error" in answer}
    said = "".join(f'; "{message.replace(str(folder), "FOLDER")}"' for message in messages)

    def bound(what: str, target: str, took: Sample, most: float, also: str = "") -> Row:
        longest = took.values[-1]
        measured = f"{took}; at most {longest:.1f} of {took.count}{also}"
        met = longest <= most if size.judged else None
        return Row(f"{held}, {what}", target, measured, "", met, absolute=True)

    return Part(
        [
            bound("`tools/list`", f"{MOST:g} ms", Sample(listed, "ms"), MOST),
            bound("`ping`", f"{MOST:g} ms", Sample(pinged, "ms"), MOST),
            bound(
                f"{_CALLS} calls with `wait: {_WAIT}`",
                f"{MOST_WAITED:g} s",
                Sample(waited, "s"),
                MOST_WAITED,
                said,
            ),
        ]
    )
