"""Bad input: any JSON that a client sends gets an answer, and nothing invalid is sent on."""

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from studio import make_settings, studio

from meigen_mcp.arguments import CONTROL, GENERATION
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
        async with studio(make_settings(tmp_path, MEIGEN_OUTPUT_DIR="off"), emulator) as on:
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


ODD_LINES = [
    b"",
    b"null",
    b"[]",
    b"{}",
    b"nonsense",
    b'"text"',
    b"\xff\xfe\x00",
    b"[" * 5000,
    b'{"jsonrpc":"2.0"}',
    b'{"jsonrpc":"1.0","id":1,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":{"a":1},"method":"tools/list"}',
    b'{"jsonrpc":"2.0","id":2,"method":"no/such"}',
    b'{"jsonrpc":"2.0","id":3,"method":"tools/call"}',
    b'{"jsonrpc":"2.0","id":4,"method":"tools/call","params":[]}',
    b'{"jsonrpc":"2.0","id":5,"method":"tools/call","params":{"name":7}}',
    b'{"jsonrpc":"2.0","id":6,"method":"tools/call","params":{"name":"generate_image","arguments":[]}}',
    b'{"jsonrpc":"2.0","id":7,"method":"resources/read","params":{"uri":"meigen://../../etc/passwd"}}',
    b'{"jsonrpc":"2.0","id":8,"method":"resources/read","params":{"uri":"file:///etc/passwd"}}',
    b'{"jsonrpc":"2.0","id":9,"method":"resources/read","params":{"uri":"meigen://generations/\\ud800"}}',
    b'{"jsonrpc":"2.0","id":10,"method":"resources/list","params":{"cursor":"\\u0000"}}',
    b'{"jsonrpc":"2.0","id":11,"method":"tools/call","params":{"name":"generate_image",'
    b'"arguments":{"prompt":"\\ud800"}}}',
    b'{"jsonrpc":"2.0","id":12,"method":"tools/call","params":{"name":"generate_image",'
    b'"arguments":{"prompt":"x","wait":1e999}}}',
    b'{"jsonrpc":"2.0","result":{},"id":99}',
    b'{"jsonrpc":"2.0","method":"notifications/cancelled","params":{"requestId":77}}',
    b'{"jsonrpc":"2.0","method":"notifications/initialized"}',
]
HELLO = {
    "jsonrpc": "2.0",
    "id": 0,
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "t", "version": "1"},
    },
}


@pytest.mark.parametrize("greeted", [True, False], ids=["after a handshake", "before any"])
async def test_odd_lines_on_stdin_leave_the_server_alive(greeted: bool, tmp_path: Path) -> None:
    """Each is answered or ignored; the next proper request is answered, and nothing is traced."""
    environment = {name: v for name, v in os.environ.items() if not name.startswith("MEIGEN")}
    environment |= {"MEIGEN_DATA_DIR": str(tmp_path), "MEIGEN_BASE_URL": "http://127.0.0.1:9"}
    process = await anyio.open_process(
        [sys.executable, "-m", "meigen_mcp"], env=environment, cwd=tmp_path
    )
    assert process.stdin is not None
    assert process.stdout is not None
    assert process.stderr is not None
    ping = {"jsonrpc": "2.0", "id": 1234, "method": "ping"}
    hello = [json.dumps(HELLO).encode(), ODD_LINES[-1]]
    lines = [*(hello if greeted else []), *ODD_LINES, *hello, json.dumps(ping).encode()]
    with anyio.fail_after(30):
        await process.stdin.send(b"\n".join(lines) + b"\n")
        received = b""
        while b'"id":1234' not in received.replace(b" ", b""):
            received += await process.stdout.receive()
        await process.stdin.aclose()
        errors = b"".join([chunk async for chunk in process.stderr])
        status = await process.wait()
    assert (status, b"Traceback" in errors) == (0, False)
    replies = [json.loads(line) for line in received.splitlines() if line.strip()]
    assert all(reply["jsonrpc"] == "2.0" for reply in replies)
    by_id = {reply.get("id"): reply for reply in replies if not isinstance(reply.get("id"), dict)}
    assert [number for number in (2, 3, 5, 7, 8, 10) if "error" not in by_id[number]] == []
