"""Bad input: any JSON that a client sends gets an answer, and nothing invalid is sent on."""

import asyncio
import json
import os
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import ByteReceiveStream
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from support.in_memory import MODES, Mode, connect, make_settings
from support.odd_messages import ODD_LINES, spoilt, written
from support.over_http import HELLO, UNHURRIED

from meigen_mcp.catalogue.arguments import CONTROL, GENERATION
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4)
    ),
    max_leaves=8,
)
NAMES = st.sampled_from([*GENERATION, *CONTROL, "generationId", "limit", "mediaType", "size", ""])
LIKELY: st.SearchStrategy[Any] = st.sampled_from(
    ["gpt-image-2", "seedance-2-0", "16:9", "2K", "a cat", "fast", 5, 0, 0.0, [], {}, None, True]
)
CALLS = st.lists(
    st.tuples(
        st.sampled_from(["generate_image", "generate_video", "check_status", "list_models"]),
        st.dictionaries(NAMES, JSON | LIKELY, max_size=5),
    ),
    min_size=15,
    max_size=15,
)


@settings(
    max_examples=12,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(calls=CALLS)
def test_any_arguments_get_an_answer_with_a_status_and_a_next_step(
    calls: list[tuple[str, dict[str, Any]]], tmp_path: Path
) -> None:
    """Whatever a model sends: a result or a clear refusal, never a crash."""

    async def run() -> None:
        emulator = Emulator(Options(speed=0.0001, rate_limit=10_000, credits=10**6))
        async with connect(make_settings(tmp_path, MEIGEN_OUTPUT_DIR="off"), emulator) as on:
            for tool, arguments in calls:
                with anyio.fail_after(20):
                    result = await on.client.call_tool(tool, {**arguments, "wait": 0})
                answer = result.structured_content or {}
                assert {"next", "models", "generations"} & set(answer)
                if answer.get("status") == "refused":
                    assert answer["error"]["charged"] == "no"
                assert answer.get("error", {}).get("code") != "internal"
        assert all(post.status == 200 for post in emulator.posts), "a refusable call was sent"

    asyncio.run(run())


async def told(folder: Path, lines: list[bytes]) -> list[dict[str, Any]]:
    """Write lines to a server process, close its stdin, and return what it answers until it ends.

    It ends in order, and nothing is traced.
    """
    environment = {name: v for name, v in os.environ.items() if not name.startswith("MEIGEN")}
    environment |= {"MEIGEN_DATA_DIR": str(folder), "MEIGEN_BASE_URL": "http://127.0.0.1:9"}
    process = await anyio.open_process(UNHURRIED, env=environment, cwd=folder)
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    said = {process.stdout: b"", process.stderr: b""}

    async def read(stream: ByteReceiveStream) -> None:
        async for chunk in stream:
            said[stream] += chunk

    with anyio.fail_after(30):
        async with process, anyio.create_task_group() as group:
            group.start_soon(read, process.stdout)
            group.start_soon(read, process.stderr)
            await process.stdin.send(b"\n".join(lines) + b"\n")
            while json.dumps(LAST["id"]).encode() not in said[process.stdout]:  # noqa: ASYNC110  # another process sets no event
                await anyio.sleep(0.01)
            await process.stdin.aclose()
    assert (process.returncode, b"Traceback" in said[process.stderr]) == (0, False)
    replies = [json.loads(line) for line in said[process.stdout].splitlines()]
    assert all(reply["jsonrpc"] == "2.0" for reply in replies)
    return replies


def greeting(mode: Mode) -> list[bytes]:
    """Return what a client of an era sends first."""
    hello = {"jsonrpc": "2.0", "id": 0, "method": "initialize", "params": HELLO}
    ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
    return [] if mode == "auto" else [written(hello), written(ready)]


def number_of(line: bytes) -> int | None:
    """Return the number under which a line asks, if it can be read as JSON and has one."""
    try:
        number = json.loads(line).get("id")
    except (ValueError, RecursionError):
        return None
    return number if type(number) is int else None


LAST = {"jsonrpc": "2.0", "id": "the last one", "method": "ping"}


@pytest.mark.parametrize("greeted", [True, False], ids=["after a handshake", "before any"])
async def test_odd_lines_on_stdin_leave_the_server_alive(greeted: bool, tmp_path: Path) -> None:
    """Each is answered or ignored; the next proper request is answered."""
    hello = greeting("legacy")
    lines = [*(hello if greeted else []), *ODD_LINES, *hello, written(LAST)]
    replies = await told(tmp_path, lines)
    by_id = {reply.get("id"): reply for reply in replies if not isinstance(reply.get("id"), dict)}
    assert [number for number in (2, 3, 5, 7, 8, 10) if "error" not in by_id[number]] == []


@pytest.mark.parametrize("mode", MODES)
@settings(
    max_examples=3,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(data=st.data())
def test_every_spoilt_request_on_stdin_is_answered_once(
    mode: Mode, data: st.DataObject, tmp_path: Path
) -> None:
    """A result or an error for every id, whatever stands in the rest of the message."""
    lines = [written(data.draw(spoilt(mode, number))) for number in range(1, 61)]
    asked = Counter(map(number_of, lines))
    replies = asyncio.run(told(tmp_path, [*greeting(mode), *lines, written(LAST)]))
    answered = Counter(reply["id"] for reply in replies if type(reply.get("id")) is int)
    once = [number for number in range(1, 61) if asked[number] == 1]
    assert [number for number in once if answered[number] != 1] == []
