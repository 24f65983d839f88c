"""Replies of the API with each field missing, of a wrong type, huge or nested; huge replies."""

import gzip
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Literal

import httpx
import pytest
from anyio.lowlevel import checkpoint
from support.in_memory import make_settings
from support.workbench import Fault, dropped_after, workbench

from meigen_mcp.api.body import LARGEST_REPLY
from meigen_mcp.api.client import Api
from meigen_mcp.errors import ApiError, ServerError, UnreadableReply
from meigen_mcp.sandbox.state import Options
from meigen_mcp.views import generations as views

Route = Literal["submit", "lookup", "status"]
REPLIES: dict[Route, str] = {
    "submit": "accepted-image",
    "lookup": "request-completed",
    "status": "status-completed-image",
}
MISSING = object()
DEEP: Any = json.loads("[" * 300 + "]" * 300)
ODD: dict[str, Any] = {
    "missing": MISSING,
    "null": None,
    "true": True,
    "false": False,
    "negative": -1,
    "a huge number": 10**400,
    "another huge number": 1e300,
    "empty": "",
    "half a character": "\ud83d",
    "a huge text": "x" * 100_000,
    "a list": [None, 1, "x", {}],
    "a huge list": ["https://images.meigen.ai/x.png"] * 10_000,
    "an object": {"status": "completed", "0": 1},
    "nested": DEEP,
}


def fields() -> Iterator[tuple[Route, str]]:
    """Yield every field of the replies on every route."""
    for route, name in REPLIES.items():
        recorded = json.loads(
            (Path(__file__).parents[1] / "wire").joinpath(f"{name}.json").read_bytes()
        )
        for field in recorded["response"]["body"]:
            yield route, field


def spoiling(field: str, value: Any) -> Fault:
    """Return a fault: the API's own reply, but for one field."""

    async def spoilt(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        reply = await inner.handle_async_request(request)
        said = json.loads(await reply.aread()) | {field: value}
        if value is MISSING:
            del said[field]
        return httpx.Response(reply.status_code, content=json.dumps(said))

    return spoilt


@pytest.mark.parametrize(("route", "field"), [*fields()])
async def test_a_reply_with_one_spoilt_field_costs_no_result(
    route: Route, field: str, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever stands in it: one image, charged and counted once, and it can be shown."""
    options = Options(speed=0, rate_limit=1000, credits=10_000, seed=1)
    ends: dict[str, object] = {}
    async with workbench(tmp_path, options=options, MEIGEN_RATE_LIMIT="1000") as on:
        for odd, value in ODD.items():
            if route == "lookup":
                on.wire.faults["submit"] = [dropped_after]
            on.wire.faults[route] = [spoiling(field, value)]
            outcome = await on.generate(modelId="nanobanana-2")
            job = await on.settle(outcome.job)
            shown = views.outcome(await on.check(requestId=job.request_id), on.clock())
            assert json.dumps(shown).encode()
            assert len(views.text(shown).encode()) < 10_000
            ends[odd] = (job.status, len(job.media_urls) > 0)
        assert on.charged == await on.spent() == 5 * len(ODD)
    assert ends == dict.fromkeys(ODD, ("completed", True))
    assert [record for record in caplog.records if record.exc_info] == []


PLAIN = b" " * 2**16
PACKED = gzip.compress(b" " * 2**25)[: 2**14]
"""Unpacked it is 16 MB."""


class Endless:
    """A reply of 50 MB, and how much of it was read."""

    def __init__(self, chunk: bytes, count: int) -> None:
        self._chunk, self._count = chunk, count
        self.read = 0

    async def __aiter__(self) -> AsyncIterator[bytes]:
        for _ in range(self._count):
            self.read += len(self._chunk)
            yield self._chunk
            await checkpoint()


@pytest.mark.parametrize("route", ["submit", "lookup", "status", "models"])
@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
async def test_a_reply_of_50_mb_is_left_at_the_limit(packed: bool, status: int, route: str) -> None:
    """Memory is bounded by what is read of it; the error is one sentence; a 5xx says enough."""
    headers = {"content-encoding": "gzip"} if packed else {}
    chunk = PACKED if packed else PLAIN
    body = Endless(chunk, 800)
    api = Api(
        make_settings(Path()),
        httpx.MockTransport(lambda _: httpx.Response(status, headers=headers, content=body)),
    )
    asked = {
        "submit": lambda: api.submit('{"prompt": "x"}'),
        "lookup": lambda: api.lookup("0f8fad5b"),
        "status": lambda: api.status("0f8fad5b"),
        "models": api.models,
    }
    with pytest.raises(ApiError) as caught:
        await asked[route]()
    assert (type(caught.value), caught.value.message) == {
        200: (UnreadableReply, "MeiGen's reply was too large to read."),
        500: (ServerError, "MeiGen has a problem of its own (HTTP 500)."),
    }[status]
    assert body.read <= LARGEST_REPLY + len(chunk)
