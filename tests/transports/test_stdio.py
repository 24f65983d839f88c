"""The real server process over stdin and stdout: the main job, the wire, and every way to end."""

import base64
import json
import os
import signal
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import mcp_types as t
import pytest
from anyio.abc import Process
from anyio.streams.buffered import BufferedByteReceiveStream
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from support.in_memory import MODES, TOKEN, Mode
from support.over_http import SERVE, UNHURRIED, patient

from meigen_mcp.sandbox.running import run_sandbox

PNG = b"\x89PNG\r\n\x1a\n"
STALL = {"prompt": "sandbox:stall", "modelId": "z-image-turbo"}
ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


def environment(folder: Path, origin: str, **variables: str) -> dict[str, str]:
    """Return the environment of a server on a sandbox, with folders of its own."""
    return {
        **os.environ,
        "MEIGEN_API_TOKEN": TOKEN,
        "MEIGEN_BASE_URL": origin,
        "MEIGEN_UPLOAD_URL": origin,
        "MEIGEN_DATA_DIR": str(folder / "data"),
        "MEIGEN_OUTPUT_DIR": str(folder / "media"),
        "MEIGEN_POLL_INTERVAL": "0.05",
        **variables,
    }


class Wire:
    """A server process with a client of raw lines; `lines` is everything it wrote to stdout."""

    def __init__(self, process: Process, errors: Path, mode: Mode) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        self.process, self.errors, self.mode = process, errors, mode
        self.stdin = process.stdin
        self._stdout = BufferedByteReceiveStream(process.stdout)
        self.lines: list[dict[str, Any]] = []

    async def write(self, line: str) -> None:
        """Write a line."""
        await self.stdin.send(line.encode() + b"\n")

    async def send(self, method: str, params: dict[str, Any], number: int | None = None) -> None:
        """Send a request, or a notification without a number."""
        if self.mode == "auto":
            params = {**params, "_meta": ENVELOPE}
        message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
        await self.write(json.dumps(message if number is None else {**message, "id": number}))

    async def until(self, key: str, value: object) -> dict[str, Any]:
        """Return the next message with a member of this value."""
        with anyio.fail_after(20):
            while True:
                line = json.loads(await self._stdout.receive_until(b"\n", 10**7))
                self.lines.append(line)
                if line.get(key) == value:
                    return dict(line)

    async def connect(self) -> None:
        """Do what the era asks before the first request, and follow the list of resources."""
        if self.mode == "legacy":
            await self.send("initialize", HELLO, 1)
            await self.until("id", 1)
            await self.send("notifications/initialized", {})
        else:
            wanted = {"notifications": {"resourcesListChanged": True}}
            await self.send("subscriptions/listen", wanted, 1)
            await self.until("method", "notifications/subscriptions/acknowledged")

    async def call(self, tool: str, number: int, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content."""
        await self.send("tools/call", {"name": tool, "arguments": arguments}, number)
        answer = await self.until("id", number)
        return dict(answer["result"]["structuredContent"])

    async def ended(self) -> tuple[int, list[dict[str, Any]], str]:
        """Return the exit status, what it wrote at the end, and its standard error."""
        seen = len(self.lines)
        with anyio.fail_after(10):
            try:
                await self.until("nothing", 0)
            except anyio.IncompleteRead:
                status = await self.process.wait()
        return status, self.lines[seen:], self.errors.read_text()


@asynccontextmanager
async def served(
    folder: Path,
    origin: str,
    mode: Mode,
    *options: str,
    serve: Sequence[str] = SERVE,
    **variables: str,
) -> AsyncIterator[Wire]:
    """Run a server and meet it with a raw client."""
    errors = folder / "stderr.txt"
    with errors.open("w") as stderr:
        async with await anyio.open_process(
            [*serve, *options],
            stderr=stderr,
            env=environment(folder, origin, **variables),
        ) as process:
            try:
                yield Wire(process, errors, mode)
            finally:
                if process.returncode is None:
                    process.kill()


@pytest.mark.parametrize("mode", MODES)
async def test_the_main_job_over_a_real_pipe(mode: Mode, tmp_path: Path) -> None:
    """An image and a video are made, saved, listed and read back by the SDK's own client."""
    async with run_sandbox(speed=0.01) as origin:
        server = StdioServerParameters(
            command=SERVE[0], args=SERVE[1:], env=environment(tmp_path, origin)
        )
        async with Client(stdio_client(server), mode=mode) as client:
            image = await client.call_tool("generate_image", {"prompt": "a fox"})
            video = await client.call_tool(
                "generate_video", {"prompt": "waves", "modelId": "seedance-2-0", "duration": 5}
            )
            made = video.structured_content or {}
            look = {"generationId": made["generationId"]}
            done = (await client.call_tool("check_status", look)).structured_content or {}
            medium = await client.read_resource(f"{done['resourceUri']}/media/0")
    statuses = [(r or {})["status"] for r in (image.structured_content, made, done)]
    assert statuses == ["completed", "processing", "completed"]
    assert medium.contents[0].mime_type == "video/mp4"
    assert sorted(p.suffix for p in (tmp_path / "media").iterdir()) == [".json", ".mp4", ".png"]


DISCOVER = {"jsonrpc": "2.0", "id": 0, "method": "server/discover", "params": {"_meta": ENVELOPE}}
INITIALIZE = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}


@pytest.mark.parametrize("answered", [False, True], ids=["waiting behind it", "after its answer"])
async def test_a_client_that_gave_up_its_probe_is_served_in_2025(
    tmp_path: Path, *, answered: bool
) -> None:
    """The Vercel AI SDK waits less than a second for a server that starts more slowly."""
    async with run_sandbox() as origin, served(tmp_path, origin, "legacy") as wire:
        await wire.write(json.dumps(DISCOVER))
        if answered:
            await wire.until("id", 0)
        await wire.send("notifications/cancelled", {"requestId": 0})
        await wire.write(json.dumps(INITIALIZE))
        greeted = await wire.until("id", 1)
        await wire.send("notifications/initialized", {})
        await wire.send("tools/list", {}, 2)
        listed = await wire.until("id", 2)
        done = await wire.call("generate_image", 3, prompt="a fox")
        await wire.stdin.aclose()
        assert await wire.ended() == (0, [], "")
    assert greeted["result"]["protocolVersion"] == "2025-11-25"
    assert len(listed["result"]["tools"]) == 4
    assert done["status"] == "completed"


async def test_whoever_uses_2026_stays_there(tmp_path: Path) -> None:
    """Only a client that has but probed may still choose."""
    async with run_sandbox() as origin, served(tmp_path, origin, "auto") as wire:
        await wire.write(json.dumps(DISCOVER))
        await wire.send("tools/list", {}, 2)
        await wire.until("id", 2)
        await wire.write(json.dumps(INITIALIZE))
        refused = await wire.until("id", 1)
        await wire.send("tools/list", {}, 3)
        listed = await wire.until("id", 3)
    assert refused["error"]["code"] == t.UNSUPPORTED_PROTOCOL_VERSION
    assert len(listed["result"]["tools"]) == 4


@pytest.mark.parametrize("mode", MODES)
async def test_a_medium_of_five_mebibytes_arrives(mode: Mode, tmp_path: Path) -> None:
    """Over a pipe there is no limit of an event."""
    async with run_sandbox(speed=0) as origin:
        server = StdioServerParameters(
            command=SERVE[0], args=SERVE[1:], env=environment(tmp_path, origin)
        )
        async with Client(stdio_client(server), mode=mode) as client:
            made = await client.call_tool("generate_image", {"prompt": "a fox"})
            done = made.structured_content or {}
            large = PNG + bytes(5 * 2**20)
            Path(done["files"][0]).write_bytes(large)
            (medium,) = (await client.read_resource(f"{done['resourceUri']}/media/0")).contents
    assert isinstance(medium, t.BlobResourceContents)
    assert base64.b64decode(medium.blob) == large


@pytest.mark.parametrize("mode", MODES)
async def test_stdout_carries_messages_only_and_no_log_the_token(
    mode: Mode, tmp_path: Path
) -> None:
    """Even with all logging on, and after a submission, a look and a download."""
    async with (
        run_sandbox(speed=0.002) as origin,
        served(tmp_path, origin, mode, MEIGEN_LOG_LEVEL="debug") as wire,
    ):
        await wire.connect()
        answer = await wire.call("generate_image", 2, prompt="a fox")
        await wire.stdin.aclose()
        status, _, stderr = await wire.ended()
    assert (answer["status"], status) == ("completed", 0)
    assert {line["jsonrpc"] for line in wire.lines} == {"2.0"}
    assert "DEBUG" in stderr
    assert TOKEN not in stderr + json.dumps(wire.lines)


# --- ends ---------------------------------------------------------------------------------------

ENDS = {"end of input": None, "SIGTERM": signal.SIGTERM, "SIGINT": signal.SIGINT}


async def end(wire: Wire, how: str) -> None:
    """Have a server end."""
    number = ENDS[how]
    if number is None:
        await wire.stdin.aclose()
    else:
        wire.process.send_signal(number)


@pytest.mark.parametrize("how", ENDS)
async def test_an_idle_server_ends_quietly(how: str, tmp_path: Path) -> None:
    """It ends with status 0, and says nothing more."""
    async with run_sandbox() as origin, served(tmp_path, origin, "legacy") as wire:
        await wire.connect()
        await end(wire, how)
        status, last, stderr = await wire.ended()
    # The live model list may arrive meanwhile, and changes the lists.
    said = [line for line in last if "list_changed" not in line.get("method", "")]
    assert (status, said, stderr) == (0, [], "")


@pytest.mark.parametrize(
    ("options", "how"),
    [*(((), how) for how in ENDS), (("--http", "--port", "0", "--no-token"), "SIGTERM")],
)
async def test_a_sandbox_without_a_name_leaves_nothing_behind(
    options: tuple[str, ...], how: str, tmp_path: Path
) -> None:
    """Nobody knows it any more: its ledger, its key and its previews go with it."""
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    environ = {**os.environ, "TMPDIR": str(temporary), "MEIGEN_DATA_DIR": str(tmp_path / "data")}
    command = [sys.executable, "-m", "meigen_mcp", "serve", "--sandbox", *options]
    with anyio.fail_after(30):
        async with await anyio.open_process(command, env=environ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            assert process.stderr is not None
            said = BufferedByteReceiveStream(process.stderr if options else process.stdout)
            await process.stdin.send(b'{"jsonrpc": "2.0", "id": 1, "method": "ping"}\n')
            await said.receive_until(b"serving MCP" if options else b"\n", 10_000)
            during = len([*temporary.iterdir()])
            if (number := ENDS[how]) is None:
                await process.stdin.aclose()
            else:
                process.send_signal(number)
            status = await process.wait()
    assert (during, status, [*temporary.iterdir()]) == (1, 0, [])


@pytest.mark.parametrize("how", ENDS)
@pytest.mark.parametrize("mode", MODES)
async def test_a_waiting_call_is_answered_at_the_end(mode: Mode, how: str, tmp_path: Path) -> None:
    """It says how its generation stands; an open stream ends with its proper result."""
    async with (
        run_sandbox(speed=0.01) as origin,
        served(tmp_path, origin, mode, serve=UNHURRIED) as wire,
    ):
        await wire.connect()
        await wire.send("tools/call", {"name": "generate_image", "arguments": STALL}, 2)
        # That of records is the call's; the tools' may come before it, when the live list is there.
        await wire.until("method", "notifications/resources/list_changed")
        await end(wire, how)
        status, last, stderr = await wire.ended()
    assert (status, stderr) == (0, "")
    answers = {line["id"]: line["result"] for line in last if "id" in line}
    structure = answers[2]["structuredContent"]
    assert structure["status"] in ("queued", "submitting", "processing")
    assert not answers[2].get("isError")
    assert set(answers) == ({1, 2} if mode == "auto" else {2})


@pytest.mark.parametrize("how", ENDS)
async def test_a_client_that_reads_nothing_does_not_keep_it(how: str, tmp_path: Path) -> None:
    """With its output stuck in a full pipe, and calls waiting, it ends all the same."""
    async with run_sandbox(speed=0.01) as origin, served(tmp_path, origin, "legacy") as wire:
        await wire.connect()
        await wire.call("generate_image", 2, **STALL, wait=0)
        for number in range(3, 40):
            await wire.send("tools/list", {}, number)
        await wire.send("tools/call", {"name": "generate_image", "arguments": STALL}, 40)
        await end(wire, how)
        with anyio.fail_after(10):
            status = await wire.process.wait()
    assert (status, wire.errors.read_text()) == (0, "")


async def test_a_client_that_is_gone_ends_it_quietly(tmp_path: Path) -> None:
    """Nobody reads its output any more: at its first answer it ends, without a traceback."""
    hello = {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": HELLO}
    reader, writer = os.pipe()
    process = await anyio.open_process(
        SERVE, stdout=writer, env=environment(tmp_path, "http://127.0.0.1:9")
    )
    os.close(reader)
    os.close(writer)
    async with process:
        assert process.stdin is not None
        assert process.stderr is not None
        await process.stdin.send(json.dumps(hello).encode() + b"\n")
        with anyio.fail_after(10):
            said = b"".join([chunk async for chunk in process.stderr])
            status = await process.wait()
    assert (status, said) == (0, b"")


async def test_a_killed_server_loses_nothing_and_pays_nothing_twice(tmp_path: Path) -> None:
    """The next server on the same folder shows the video finished and saved; it was sent once."""
    async with run_sandbox(speed=0.02) as origin:
        async with served(tmp_path, origin, "legacy") as wire:
            await wire.connect()
            call = {"prompt": "waves", "modelId": "seedance-2-0", "duration": 5}
            sent = await wire.call("generate_video", 2, **call)
            wire.process.kill()
            status = await wire.process.wait()
        async with served(tmp_path, origin, "legacy") as wire:
            await wire.connect()
            found = await wire.call("check_status", 2, generationId=sent["generationId"])
            await wire.send("resources/read", {"uri": sent["resourceUri"]}, 3)
            record = (await wire.until("id", 3))["result"]["contents"][0]["text"]
        async with patient() as http:
            state = (await http.get(f"{origin}/sandbox/state")).json()
    assert (sent["status"], status, found["status"]) == ("processing", -9, "completed")
    assert json.loads(record)["mediaUrls"] == found["mediaUrls"]
    assert Path(found["files"][0]).is_file()
    assert [post["accepted"] for post in state["posts"]] == [True]
    assert [account["accepted"] for account in state["accounts"]] == [1]


# --- lines that are no messages -----------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_every_line_is_answered(mode: Mode, tmp_path: Path) -> None:
    """What is no JSON or no request is an error, with the id where there is one."""
    lines = {
        "nonsense": (None, t.PARSE_ERROR),
        "[" * 100_000: (None, t.PARSE_ERROR),
        "[]": (None, t.INVALID_REQUEST),
        "17": (None, t.INVALID_REQUEST),
        '{"jsonrpc": "2.0", "id": 5}': (5, t.INVALID_REQUEST),
        '{"id": "six", "method": "tools/list"}': ("six", t.INVALID_REQUEST),
        '{"jsonrpc": "2.0", "id": 7, "method": "tools/call", "params": [1]}': (
            7,
            t.INVALID_REQUEST,
        ),
        '{"jsonrpc": " ", "id": 8, "method": "ping"}': (8, t.INVALID_REQUEST),
        '{"jsonrpc": "2.0", "id": 9, "method": "ping", "params": ""}': (9, t.INVALID_REQUEST),
    }
    async with run_sandbox() as origin, served(tmp_path, origin, mode) as wire:
        await wire.connect()
        for line, (name, code) in lines.items():
            await wire.write(line)
            answer = await wire.until("id", name)
            assert answer["error"]["code"] == code
        await wire.write("  ")
        await wire.stdin.aclose()
        status, last, stderr = await wire.ended()
    assert (status, [line for line in last if "error" in line], stderr) == (0, [], "")


async def test_half_a_character_is_replaced(tmp_path: Path) -> None:
    """A client that cuts a prompt inside an emoji gets its image."""
    half = r'{"prompt": "a fox \ud83e", "modelId": "z-image-turbo"}'
    line = (
        '{"jsonrpc": "2.0", "id": 2, "method": "tools/call",'
        f' "params": {{"name": "generate_image", "arguments": {half}}}}}'
    )
    async with run_sandbox(speed=0.002) as origin, served(tmp_path, origin, "legacy") as wire:
        await wire.connect()
        await wire.write(line)
        answer = (await wire.until("id", 2))["result"]["structuredContent"]
    assert (answer["status"], answer["prompt"]) == ("completed", "a fox ?")


# --- on the sandbox -----------------------------------------------------------------------------


async def test_on_the_sandbox_nothing_of_the_real_account_is_touched(tmp_path: Path) -> None:
    """`--sandbox` needs no token and keeps ledger and media in folders of its own."""
    nowhere = "http://127.0.0.1:9"
    async with served(
        tmp_path, nowhere, "legacy", "--sandbox", MEIGEN_API_TOKEN="", MEIGEN_RATE_LIMIT="100"
    ) as wire:
        await wire.connect()
        answer = await wire.call("generate_image", 2, prompt="a fox")
        await wire.stdin.aclose()
        status, _, stderr = await wire.ended()
    assert (answer["status"], status, stderr) == ("completed", 0, "")
    assert Path(answer["files"][0]).parent == tmp_path / "media" / "sandbox"
    assert not (tmp_path / "data").exists()
