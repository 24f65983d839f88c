"""The exchanges in `wire/`: what the sandbox answers to requests kept in files.

The client's tests parse the same files, so the two sides agree without ever meeting. A file is one
exchange: `about`, `request`, `response`, and for a recorded one what was `given` before it (options
of the sandbox, earlier requests, seconds that pass). Files with `recorded: false` are made by hand,
after documents and client code, for answers that the sandbox never gives.

MEIGEN_RERECORD=1 writes the responses anew; review the difference before committing it.
"""

import json
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx
import pytest

from meigen_mcp.sandbox.app import create_app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options

WIRE = Path(__file__).parents[1] / "wire"
FILES = sorted(WIRE.glob("*.json"))
ORIGIN = "http://127.0.0.1:8000"
START = datetime(2026, 10, 1, 12, tzinfo=UTC).timestamp()
KEPT_HEADERS = ("content-type", "retry-after", "x-ratelimit-limit", "x-ratelimit-remaining")
TOKENS = {
    "Bearer <token>": f"Bearer meigen_sk_{'a' * 32}",
    "Bearer <token of another account>": f"Bearer meigen_sk_{'b' * 32}",
    "Bearer <revoked token>": f"Bearer meigen_sk_revoked{'a' * 25}",
    "Bearer <forbidden token>": f"Bearer meigen_sk_forbidden{'a' * 23}",
}


def load(file: Path) -> dict[str, Any]:
    """Read an exchange."""
    exchange: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return exchange


async def replay(given: Mapping[str, Any], request: Mapping[str, Any]) -> dict[str, Any]:
    """Bring a fresh sandbox to where the exchange starts, and return what it answers."""
    now = START
    state = Emulator(Options(speed=1, seed=7, **given.get("options", {})), lambda: now)
    transport = httpx.ASGITransport(create_app(state))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN) as http:
        for earlier in given.get("before", []):
            await send(http, earlier)
        now += given.get("seconds", 0)
        response = await send(http, request)
    kind = response.headers["content-type"]
    return {
        "status": response.status_code,
        "headers": {
            name: response.headers[name] for name in KEPT_HEADERS if name in response.headers
        },
        "body": response.json() if kind == "application/json" else response.text,
    }


async def send(http: httpx.AsyncClient, request: Mapping[str, Any]) -> httpx.Response:
    """Send a request of a file; a body that is text is sent as it stands."""
    headers = dict(request["headers"])
    if "Authorization" in headers:
        headers["Authorization"] = TOKENS[headers["Authorization"]]
    body = request.get("body")
    content = body if body is None or isinstance(body, str) else json.dumps(body)
    return await http.request(request["method"], request["path"], headers=headers, content=content)


def rerecord(file: Path, exchange: Mapping[str, Any]) -> None:
    """Write an exchange anew."""
    text = json.dumps(exchange, ensure_ascii=False, indent=2)
    file.write_text(text + "\n", encoding="utf-8")


@pytest.mark.parametrize(
    "file", [f for f in FILES if load(f)["recorded"]], ids=lambda file: str(file.stem)
)
async def test_the_sandbox_answers_as_recorded(file: Path) -> None:
    """Status, the headers that matter and the whole body."""
    exchange = load(file)
    response = await replay(exchange["given"], exchange["request"])
    if os.environ.get("MEIGEN_RERECORD"):
        rerecord(file, {**exchange, "response": response})
    assert response == load(file)["response"]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.stem))
def test_an_exchange_is_complete_and_holds_no_token(file: Path) -> None:
    """Whoever reads it needs nothing else."""
    exchange = load(file)
    names = {"about", "recorded", "request", "response"}
    assert exchange.keys() == (names | {"given"} if exchange["recorded"] else names)
    assert exchange["request"].keys() == {"method", "path", "headers", "body"}
    assert exchange["response"].keys() == {"status", "headers", "body"}
    assert "meigen_sk_" not in file.read_text(encoding="utf-8")


def test_every_status_and_code_of_the_api_has_an_exchange() -> None:
    """The table of errors in the documents and the client's code, without what only clients say."""
    seen = set()
    for exchange in map(load, FILES):
        answer = exchange["response"]
        body = answer["body"] if isinstance(answer["body"], dict) else {}
        seen.add((answer["status"], body.get("code")))
    assert seen == {
        (200, None),
        (400, None),
        (400, "invalid_request"),
        (401, None),
        (402, "insufficient_credits"),
        (403, None),
        (404, None),
        (404, "request_not_found"),
        (409, "idempotency_conflict"),
        (409, "in_progress"),
        (409, "request_id_collision"),
        (410, None),
        (410, "generation_unavailable"),
        (429, None),
        (429, "status_query_busy"),
        (500, None),
        (502, None),
    }
