"""Hundreds of calls over HTTP at once, each from a client of its own, in both eras.

What is judged is measured where each sync takes longer, as on a hard disk: where the disk is fast,
the job itself may be longer than the ratio allows.
"""

import sys
import time

import anyio

from .beside import Figures, in_turn, row
from .http_client import Era, serving
from .peer import picture
from .processes import MODEL, environment, instant, serve, slow_disk, temporary
from .report import Part, Row, load
from .size import Size

MOST = 0.4
WAIT = 40
"""Seconds before which nobody is to be told that it is still processing."""
ERAS: tuple[Era, ...] = ("2026", "2025")


async def _at_once(python: str, era: Era, sync_ms: float, size: Size) -> Figures:
    with temporary() as folder:
        variables = {"MEIGEN_OUTPUT_DIR": str(folder / "media")}
        if sync_ms:
            variables |= slow_disk(sync_ms, folder / "syncs")
        command = (*serve(python), "--http", "--port")
        async with (
            instant(picture(folder)) as origin,
            serving(command, environment(folder, origin, **variables)) as server,
        ):
            ended: list[tuple[float, str]] = []
            waiting, go = anyio.Semaphore(0), anyio.Event()

            async def one(number: int) -> None:
                async with server.caller(era) as caller:
                    waiting.release()
                    await go.wait()
                    prompt = f"crowd {number}, as expected, {size.crowd_seconds} s"
                    try:
                        answer = await caller.call(
                            "generate_image", prompt=prompt, modelId=MODEL, wait=WAIT
                        )
                    except (anyio.IncompleteRead, anyio.EndOfStream, anyio.BrokenResourceError):
                        answer = {"status": "cut off"}
                ended.append((time.perf_counter() - began, answer["status"]))

            async with anyio.create_task_group() as group:
                for number in range(size.crowd):
                    group.start_soon(one, number)
                for _ in range(size.crowd):
                    await waiting.acquire()
                used, began = server.processor(), time.perf_counter()
                go.set()
            used = server.processor() - used
    done = sum(status == "completed" for _, status in ended)
    return {
        "last": max(at for at, _ in ended),
        "early": sum(at < WAIT - 1 and status != "completed" for at, status in ended),
        "not done": size.crowd - done,
        "cpu": used,
    }


async def run(size: Size) -> Part:
    """Call all at once, in one era after the other, on a slow disk and on this one."""
    rows: list[Row] = []
    for sync_ms in (size.sync_ms, 0.0):
        for era in ERAS:
            rows += await _rows(era, sync_ms, size)
    return Part(rows)


async def _rows(era: Era, sync_ms: float, size: Size) -> list[Row]:
    async def one(python: str) -> Figures:
        return await _at_once(python, era, sync_ms, size)

    found = await in_turn(one, size, rounds=1)
    ours = found[sys.executable]
    told = f"not done {ours['not done']:.0f}"
    if size.today:
        told += f", today {found[size.today]['not done']:.0f}"
    what = f"crowd: {size.crowd} calls over HTTP of a job of {size.crowd_seconds:g} s, {era}"
    what += f", each sync {sync_ms:g} ms more" if sync_ms else ""
    most = MOST if sync_ms else None
    early = ours["early"]
    return [
        row(f"{what}, last answer", found, "last", most, size, also=told, idle=True),
        row(f"{what}, processor", found, "cpu", None, size),
        Row(
            f"{what}, answered before {WAIT} s and not done",
            "0",
            f"{early:.0f}; {load()}",
            "",
            early == 0 if size.judged else None,
        ),
    ]
