"""Adds to a ledger at a pace: `adding.py FIRST STEP COUNT EVERY` does each STEP-th of COUNT.

The ledger is that of the environment. Says a line when it is open, and reads one: when to begin.
Each is due EVERY seconds after the one before. Then it says for each what became of it, and how
many ms after it was due that was known.
"""

import json
import sys
import time
from dataclasses import replace
from decimal import Decimal
from uuid import uuid4

import anyio

from meigen_mcp import settings
from meigen_mcp.app import open_ledger
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import MeigenError, OverCap
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms

_JOB = Generation(
    request_id="",
    tool="generate_image",
    media_type="image",
    model_id="z-image-turbo",
    prompt="a lighthouse on a cliff at dusk",
    arguments={"prompt": "a lighthouse on a cliff at dusk", "modelId": "z-image-turbo"},
    body='{"prompt":"a lighthouse on a cliff at dusk","modelId":"z-image-turbo"}',
    quote=Quote(Decimal(2), "exact", "2 credits per image"),
    reserved=Decimal(2),
    created_at=0.0,
    expected_seconds=12.0,
    status="completed",  # nobody goes on with it
)


async def _add(first: int, step: int, count: int, every: float) -> None:
    configured = settings.load()
    ledger = open_ledger(configured)
    await ledger.open()
    print("open", flush=True)  # noqa: T201  # to whoever started it
    begin = float(await anyio.to_thread.run_sync(sys.stdin.readline))
    told: dict[int, tuple[str, float]] = {}

    async def one(place: int) -> None:
        due = begin + place * every
        job = replace(_JOB, request_id=str(uuid4()), created_at=ledger.clock())
        try:
            await ledger.calls.add(job, Terms(cap_per_day=configured.max_per_day))
            outcome = "accepted"
        except OverCap:
            outcome = "refused"
        except MeigenError as error:
            outcome = error.code
        told[place] = (outcome, 1000 * (time.time() - due))

    async with anyio.create_task_group() as group:
        for place in range(first, count, step):
            await anyio.sleep(max(0.0, begin + place * every - time.time()))
            group.start_soon(one, place)
    await ledger.close()
    print(json.dumps([told[place] for place in sorted(told)]))  # noqa: T201  # to whoever started it


if __name__ == "__main__":
    first, step, count = map(int, sys.argv[1:4])
    anyio.run(_add, first, step, count, float(sys.argv[4]))
