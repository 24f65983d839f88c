"""Raw JSON-RPC over HTTP, in both eras: whatever is sent is answered, and the server lives on."""

import asyncio
import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import anyio
import httpx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.in_memory import MODES, InMemory, Mode, make_settings
from support.odd_messages import ODD_LINES, REQUESTS, bodies, message, written
from support.over_http import ACCEPT, HELLO, MODERN, inside, patient, post

from meigen_mcp import app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.settings import Settings
from meigen_mcp.transports import auth, http
from meigen_mcp.transports.sessions import Sessions

ODD_HEADERS = st.dictionaries(
    st.sampled_from(
        [
            "accept",
            "authorization",
            "content-encoding",
            "content-type",
            "last-event-id",
            "mcp-method",
            "mcp-name",
            "mcp-protocol-version",
            "mcp-session-id",
            "origin",
        ]
    ),
    st.text(st.characters(min_codepoint=32, max_codepoint=126), max_size=8)
    | st.sampled_from(["text/event-stream", "2025-11-25", "2026-07-28", "tools/list", "null"]),
    max_size=2,
)
INSIDES = ("Traceback", "site-packages", "pydantic", "validation error", "at line 1")
"""What only a library says."""


def quick(folder: Path) -> tuple[Settings, Emulator]:
    """Return a server's settings and a sandbox with which nothing takes long or is saved."""
    emulator = Emulator(Options(speed=0.0001, rate_limit=10**6, credits=10**6))
    return make_settings(folder, MEIGEN_OUTPUT_DIR="off", MEIGEN_RATE_LIMIT="10000"), emulator


@asynccontextmanager
async def without_sockets(folder: Path) -> AsyncIterator[httpx.AsyncClient]:
    """Give a client of a whole HTTP server in memory; an error that leaves the app is raised."""
    configured, emulator = quick(folder)
    async with app.run_app(configured, InMemory(emulator)) as running:
        sessions = Sessions(running.server)
        access = auth.access_for(configured, "localhost", sandbox=True)
        front = httpx.ASGITransport(http.Front(sessions.asgi_app, access))
        async with (
            sessions.run(),
            httpx.AsyncClient(transport=front, base_url="http://localhost") as client,
        ):
            yield client


async def session(client: httpx.AsyncClient) -> dict[str, str]:
    """Open a session of 2025 and return the headers of what is sent in it."""
    hello = await post(client, "legacy", "initialize", HELLO)
    headers = {**ACCEPT, "mcp-session-id": hello.headers["mcp-session-id"]}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    await client.post(http.PATH, json=ready, headers=headers)
    return headers


def named(body: bytes) -> dict[str, str]:
    """Return the headers in which 2026 repeats what a body says, where it says it."""
    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        said = None
    said = said if isinstance(said, dict) else {}
    params = said["params"] if isinstance(said.get("params"), dict) else {}
    found = {"mcp-method": said.get("method"), "mcp-name": params.get("name", params.get("uri"))}
    return {
        name: value
        for name, value in found.items()
        if isinstance(value, str) and value.isascii() and value.isprintable()
    }


def judged(answer: httpx.Response) -> None:
    """Hold that an answer is a result, a refusal or a protocol error, and shows no insides."""
    assert answer.status_code in {200, 202, 400, 401, 403, 404, 405, 406, 413, 415, 421}, (
        answer.text
    )
    assert [text for text in INSIDES if text in answer.text] == []
    if answer.status_code != 200:
        return
    said = answer.text
    if answer.headers["content-type"].startswith("text/event-stream"):
        events = [line[5:] for line in said.splitlines() if line.startswith("data:")]
        (said,) = [event for event in events if "method" not in json.loads(event)]
    reply = json.loads(said)
    assert ("result" in reply) != ("error" in reply)
    structure = (reply.get("result") or {}).get("structuredContent", {})
    assert structure.get("error", {}).get("code") != "internal"


async def alive(client: httpx.AsyncClient) -> None:
    """Hold that the next proper client is served."""
    tools = await post(client, "auto", "tools/list", {})
    assert len(tools.json()["result"]["tools"]) == 4


async def sent(
    client: httpx.AsyncClient, mode: Mode, body: bytes, odd: Mapping[str, str], **right: str
) -> httpx.Response:
    """Send any body with the headers of an era, some of which are odd."""
    era = {**MODERN, **named(body)} if mode == "auto" else right
    with anyio.fail_after(10):
        return await client.post(http.PATH, content=body, headers={**era, **odd})


@pytest.mark.parametrize("mode", MODES)
@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_any_post_gets_an_answer(
    mode: Mode, data: st.DataObject, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Spoilt messages, batches, noise and odd headers: never a crash, a hang or a traceback."""
    posts = data.draw(
        st.lists(
            st.tuples(bodies(mode), st.one_of(st.just({}), st.just({}), ODD_HEADERS)),
            min_size=20,
            max_size=20,
        )
    )

    async def run() -> None:
        async with without_sockets(tmp_path) as client:
            right = await session(client)
            for body, odd in posts:
                judged(await sent(client, mode, body, odd, **right))
            await alive(client)

    asyncio.run(run())
    assert [record for record in caplog.records if record.exc_info] == []


@pytest.mark.parametrize("mode", MODES)
async def test_odd_posts_over_a_real_socket_get_an_answer(
    mode: Mode, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """The same through uvicorn."""
    proper = [written(message(mode, method, params, 1)) for method, params in REQUESTS]
    async with (
        inside(*quick(tmp_path)) as (origin, _),
        patient(origin) as client,
    ):
        right = await session(client)
        for body in [*ODD_LINES, *proper]:
            judged(await sent(client, mode, body, {}, **right))
        await alive(client)
    assert [record for record in caplog.records if record.exc_info] == []
