"""From a completed job to the announcement at a client that subscribed to it."""

import json
from collections.abc import Iterable

import anyio
import httpx

from .processes import LONGEST, MODEL, OURS, Server, connected, environment, instant, temporary
from .report import Part, Row, Sample
from .size import Size

MOST_MEDIAN, MOST_P99, MOST_AFTER_REPLY = 1.6, 3.3, 0.05
FIRST = 4.0
"""Intervals after which a job is done at the earliest."""
PACE = 0.03
"""Seconds between two jobs, so that not all end at once."""
_GOLDEN = 0.618034
"""Its multiples fill every part of an interval alike, however many there are."""


async def submitted(server: Server, prompts: Iterable[str]) -> list[str]:
    """Start jobs, and return their URIs."""
    calls = [
        await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=0)
        for prompt in prompts
    ]
    return [answer["resourceUri"] for answer in calls]


async def followed(server: Server, uris: Iterable[str]) -> None:
    """Subscribe to records."""
    for uri in uris:
        await server.request("resources/subscribe", uri=uri)


async def ending(server: Server, count: int, interval: float) -> list[str]:
    """Start and follow jobs that are done at every point between two looks alike.

    Returns:
        Their URIs.
    """
    uris: list[str] = []
    for place in range(count):
        seconds = interval * (FIRST + place * _GOLDEN % 1)
        uris += await submitted(server, [f"job, {seconds:.3f} s"])
        await followed(server, uris[-1:])
        await anyio.sleep(PACE)
    return uris


async def log(origin: str) -> dict[str, dict[str, float]]:
    """Ask the API what it knows of each job."""
    async with httpx.AsyncClient(trust_env=False, timeout=LONGEST) as client:
        jobs = (await client.get(f"{origin}/log")).json()
    return {f"meigen://generations/{job['id']}": job for job in jobs}


async def delays(server: Server, origin: str, uris: list[str]) -> tuple[list[float], list[float]]:
    """Wait until all jobs are announced.

    Returns:
        For each the seconds from its end, and those from the reply that told it.
    """
    heard: dict[str, float] = {}
    with anyio.fail_after(LONGEST):
        while len(heard) < len(uris):
            await anyio.sleep(0.5)
            jobs = await log(origin)
            heard = {
                uri: when for uri in uris if (when := _heard(server, uri, jobs[uri]["told_at"]))
            }
    return (
        [heard[uri] - jobs[uri]["done_at"] for uri in uris],
        [heard[uri] - jobs[uri]["told_at"] for uri in uris],
    )


def _heard(server: Server, uri: str, told_at: float) -> float:
    """Return when the client heard of a job after the API told its end; 0 when it did not yet."""
    times = server.updated.get(uri, [])
    return next((when for when in times if when >= told_at > 0), 0.0)


async def run(size: Size) -> Part:
    """Follow jobs of many lengths."""
    with temporary() as folder:
        variables = {"MEIGEN_POLL_INTERVAL": json.dumps(size.interval)}
        async with (
            instant() as origin,
            connected(OURS, environment(folder, origin, **variables)) as server,
        ):
            uris = await ending(server, size.watched, size.interval)
            since_end, since_reply = await delays(server, origin, uris)
    end, reply = Sample(since_end, "s"), Sample((s * 1000 for s in since_reply), "ms")
    return Part(
        [
            Row(
                f"detection: completed to announced, every {size.interval:g} s",
                f"{MOST_MEDIAN} s, {MOST_P99} s",
                str(end),
                f"{end.median / (size.interval / 2):.2f} x the physical limit",
                end.least_median <= MOST_MEDIAN and end.p99 <= MOST_P99 if size.judged else None,
            ),
            Row(
                "detection: the API's reply to the announcement",
                f"{MOST_AFTER_REPLY * 1000:g} ms",
                str(reply),
                "",
                reply.p99 <= MOST_AFTER_REPLY * 1000 if size.judged else None,
                absolute=True,
            ),
        ]
    )
