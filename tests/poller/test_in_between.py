"""What somebody between this server and MeiGen says: it ends nothing, and hides nothing."""

import json
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.workbench import (
    Fault,
    Workbench,
    answers,
    dropped_after,
    refused,
    workbench,
)

from meigen_mcp.generation import Generation
from meigen_mcp.sandbox.state import Options

HOUR, MINUTE = 3600.0, 60.0
HTML = b"\n<!DOCTYPE html><title>Sign in</title>"
MADE = "nanobanana-2"
OF_A_GATEWAY: dict[str, Fault] = {
    "no route": answers(404, body={"message": "no Route matched with those values"}),
    "gone": answers(410, body={"message": "Gone"}),
    "forbidden": answers(403, body={"message": "Forbidden"}),
    "its own health": answers(200, body={"status": "failed", "message": "upstream"}),
    "a portal": answers(200, body={"login": "https://portal.example/"}),
    "a page named JSON": answers(200, HTML, headers={"content-type": "application/json"}),
    "far too late": answers(503, HTML, headers={"retry-after": "31536000"}),
}


def meets(on: Workbench, fault: Fault, seconds: float, *routes: str) -> None:
    """Have all that is asked on some routes meet a fault for so long."""
    until = on.clock() + seconds

    async def met(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        if on.clock() >= until:
            return await inner.handle_async_request(request)
        reply: httpx.Response = await fault(request, inner)
        return reply

    for route in routes:
        on.wire.faults[route] = [met] * 10_000  # type: ignore[index]  # one of its names


@pytest.mark.parametrize("fault", OF_A_GATEWAY.values(), ids=OF_A_GATEWAY)
@pytest.mark.parametrize("era", ["2026-05", "2026-09"])
async def test_the_json_of_a_gateway_ends_no_generation(
    era: str, fault: Fault, tmp_path: Path
) -> None:
    """It has none of the names that MeiGen's word has; not even after what MeiGen observes."""
    options = Options(era=era, rate_limit=1000, seed=1)  # type: ignore[arg-type]  # one of its names
    async with workbench(tmp_path, options=options) as on:
        outcome = await on.generate(modelId=MADE, wait=0)
        meets(on, fault, 30 * MINUTE, "status")
        job = await on.settle(outcome.job, 2 * HOUR)
        assert (job.status, job.error, on.charged) == ("completed", None, 5)


async def test_that_an_api_knows_keys_is_known_after_a_restart(tmp_path: Path) -> None:
    """A network that wants a login then answers for it: whoever starts there waits for MeiGen."""
    async with workbench(tmp_path) as first:
        first.wire.faults["submit"] = [dropped_after]
        known = await first.generate(modelId=MADE, wait=0)
        assert (await first.settle(known.job)).status == "completed"
        async with workbench(tmp_path, beside=first) as on:
            on.wire.faults["submit"] = [dropped_after]
            meets(on, answers(200, HTML), 20 * MINUTE, "lookup")
            outcome = await on.generate(modelId=MADE, prompt="another", wait=0)
            job = await on.settle(outcome.job, 2 * HOUR)
            assert (job.status, len(on.wire.posts()), on.charged) == ("completed", 1, 10)


async def test_an_unknown_one_that_could_not_be_asked_about_is_asked_about_again(
    tmp_path: Path,
) -> None:
    """At a start there is no network yet: that was not the last look."""

    async def unknown(on: Workbench) -> Generation:
        on.wire.faults["submit"] = [dropped_after]
        on.wire.faults["lookup"] = [answers(404, HTML)] * 3
        return await on.settle((await on.generate(modelId=MADE, wait=0)).job)

    async with workbench(tmp_path) as first:
        job = await unknown(first)
        assert (job.status, job.at_rest) == ("unknown", True)
        told = job.error
        async with workbench(tmp_path, beside=first) as on:
            await first.ledger.close()
            meets(on, refused, 10 * MINUTE, "lookup")
            for _ in range(5):
                await on.poller.step()
                on.clock.now += 30
            job = await on.reread(job)
            assert (job.status, job.error, job.at_rest) == ("unknown", told, False)
            job = await on.settle(job, HOUR)
            assert (job.status, len(on.wire.posts()), on.charged) == ("completed", 0, 5)


class BrokenOff(httpx.AsyncByteStream):
    """Bytes, and then the connection breaks."""

    def __init__(self, raw: bytes) -> None:
        self._raw = raw

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give them, and break."""
        yield self._raw
        raise httpx.ReadError("reset")


@pytest.mark.parametrize("within", [False, True], ids=["behind it", "within it"])
async def test_a_reply_that_breaks_off_behind_its_id_is_read(within: bool, tmp_path: Path) -> None:
    """An API without keys could not be asked for it, and it lies in our hand."""

    async def broken_off(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        reply = await inner.handle_async_request(request)
        raw = await reply.aread()
        return httpx.Response(200, stream=BrokenOff(raw[:-9] if within else raw))

    async with workbench(tmp_path, options=Options(era="2026-05", rate_limit=1000, seed=1)) as on:
        on.wire.faults["submit"] = [broken_off]
        outcome = await on.generate(modelId=MADE)
        job = await on.settle(outcome.job)
        assert (job.status, len(on.wire.posts()), on.charged) == ("completed", 1, 5)


async def test_an_id_that_a_look_up_names_is_kept_whatever_else_is_said(tmp_path: Path) -> None:
    """Then it is looked at by that, also where the route of the keys is gone."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [dropped_after]

        async def only_the_id(
            request: httpx.Request, inner: httpx.AsyncBaseTransport
        ) -> httpx.Response:
            reply = await inner.handle_async_request(request)
            said = json.loads(await reply.aread())
            return httpx.Response(200, json={"generationId": said["generationId"]})

        on.wire.faults["lookup"] = [only_the_id, *[answers(404, HTML)] * 100]
        outcome = await on.generate(modelId=MADE, wait=0)
        job = await on.settle(outcome.job)
        assert (job.status, on.charged) == ("completed", 5)


@pytest.mark.parametrize("status", [403, 404, 410])
async def test_a_page_in_the_place_of_a_result_is_not_its_end(status: int, tmp_path: Path) -> None:
    """A network that wants a login sends one for everything: the file is saved once it is there."""
    async with workbench(tmp_path, MEIGEN_OUTPUT_DIR=str(tmp_path / "media")) as on:
        meets(on, answers(status, HTML), 30 * MINUTE, "media")
        outcome = await on.generate(modelId=MADE)
        job = await on.settle(outcome.job, 20 * MINUTE)
        reason = f"The result could not be opened (HTTP {status})."
        assert [(item.reason, item.gone) for item in job.unsaved] == [(reason, False)]
        job = await on.settle(job, 3 * HOUR)
        assert (job.unsaved, [Path(name or "").exists() for name in job.files]) == ((), [True])


async def test_a_429_that_asks_for_no_pause_does_not_use_the_limit_up(tmp_path: Path) -> None:
    """Other generations want to be sent as well."""
    async with workbench(tmp_path) as on:
        busy = answers(429, body={"success": False}, headers={"retry-after": "0"})
        on.wire.faults["submit"] = [busy] * 3
        outcome = await on.generate(modelId=MADE, wait=0)
        job = await on.settle(outcome.job)
        assert (job.status, len(on.wire.posts())) == ("completed", 4)
        assert (job.posted_at or 0) - job.created_at >= 3 * 3.0
