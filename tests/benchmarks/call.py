"""The server's own work in one `generate_image`."""

import json
import os
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx

from .processes import BARE, MODEL, OURS, TOKEN, connected, environment, instant, temporary
from .report import Part, Row, Sample, number
from .size import Size

MOST_MEDIAN, MOST_P99 = 5.0, 20.0
_WARM_UP = 20


async def run(size: Size) -> Part:
    """Call this server, the bare server and the API itself in turn."""
    ours, bare, post, synced = [], [], [], []
    with temporary() as folder:
        async with (
            instant() as origin,
            connected(OURS, environment(folder, origin)) as server,
            connected(BARE, environment(folder)) as baseline,
            httpx.AsyncClient(base_url=origin, trust_env=False) as client,
        ):
            for number_ in range(_WARM_UP + size.calls):
                prompt = f"a red cube {number_}"

                async def generate(prompt: str = prompt) -> Any:
                    return await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=0)

                async def send(prompt: str = prompt) -> Any:
                    body = {"prompt": prompt, "modelId": MODEL, "idempotencyKey": str(uuid4())}
                    headers = {"Authorization": f"Bearer {TOKEN}"}
                    return await client.post("/api/generate/v2", json=body, headers=headers)

                took, answer = await _timed(generate)
                assert answer["status"] == "processing", answer
                ours.append(took)
                post.append((await _timed(send))[0])
                bare.append((await _timed(lambda: baseline.call("nothing")))[0])
                synced.append(_sync(folder))
    own = Sample(
        (mine - http for mine, http in zip(ours[_WARM_UP:], post[_WARM_UP:], strict=True)), "ms"
    )
    sdk, disk, wire = (Sample(values[_WARM_UP:], "ms") for values in (bare, synced, post))
    return Part(
        [
            Row(
                "call: own work in `generate_image`, less the bare POST",
                f"{MOST_MEDIAN:g} ms, {MOST_P99:g} ms",
                f"{own}; the POST {wire}; one fsync here {disk}",
                f"{own.median / sdk.median:.1f} x a bare SDK call ({number(sdk.median)} ms)",
                own.median <= MOST_MEDIAN and own.p99 <= MOST_P99 if size.judged else None,
                absolute=True,
            )
        ]
    )


async def _timed(call: Callable[[], Awaitable[Any]]) -> tuple[float, Any]:
    began = time.perf_counter()
    answer = await call()
    return (time.perf_counter() - began) * 1000, answer


def _sync(folder: Path) -> float:
    """Return how long this disk takes to keep a page, in ms."""
    with (folder / "page").open("wb") as page:
        page.write(json.dumps([0] * 1365).encode())
        page.flush()
        began = time.perf_counter()
        os.fsync(page.fileno())
        return (time.perf_counter() - began) * 1000
