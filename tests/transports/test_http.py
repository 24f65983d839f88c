"""Streamable HTTP: the main job, who is let in, what is told, and every way to end."""

import base64
import json
import re
import signal
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as t
import pytest
from anyio.abc import SocketStream
from mcp.shared.exceptions import MCPError
from support.in_memory import MODES, Mode, make_settings
from support.over_http import (
    ACCEPT,
    ENVELOPE,
    HELLO,
    MODERN,
    SERVE,
    UNHURRIED,
    Served,
    connected,
    environment,
    inside,
    patient,
    post,
    process,
)

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.server import resources
from meigen_mcp.settings import Settings
from meigen_mcp.transports import auth, connections, http, sessions

PNG = b"\x89PNG\r\n\x1a\n"
SECRET = "correct-horse-battery-staple"
MANY = 20
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the address under test
IDS = {
    "auto": "7d444840-9dc0-11d1-b245-5ffdce74fad2",
    "legacy": "7d444840-9dc0-11d1-b245-5ffdce74fad3",
}
STALL = {"prompt": "sandbox:stall", "modelId": "z-image-turbo"}


@pytest.mark.parametrize("mode", MODES)
async def test_the_main_job_over_http(mode: Mode, tmp_path: Path) -> None:
    """An image and a video are made, saved, listed and read back by the SDK's own client."""
    async with (
        run_sandbox(speed=0.01) as sandbox,
        process(tmp_path, sandbox) as served,
        connected(served.url, mode, served.token) as client,
    ):
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


@pytest.mark.parametrize("size", [resources.LARGEST_IN_EVENT, 5 * 2**20])
@pytest.mark.parametrize("silent", [False, True], ids=["at once", "after a long silence"])
@pytest.mark.parametrize("mode", MODES)
async def test_a_large_medium_arrives_or_its_place_is_told(
    mode: Mode,
    size: int,
    tmp_path: Path,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    *,
    silent: bool,
) -> None:
    """What the client cannot take as one event is refused with its URL and its file."""
    if silent:
        monkeypatch.setattr(resources, "PLAIN_FOR", -1)
    large = PNG + bytes(size - len(PNG))
    async with (
        inside(make_settings(tmp_path), emulator) as (origin, _),
        connected(f"{origin}{http.PATH}", mode) as client,
    ):
        made = await client.call_tool("generate_image", {"prompt": "a fox"})
        done = made.structured_content or {}
        (url,), (file,) = done["mediaUrls"], done["files"]
        Path(file).write_bytes(large)
        try:
            (medium,) = (await client.read_resource(f"{done['resourceUri']}/media/0")).contents
            assert isinstance(medium, t.BlobResourceContents)
            arrived: Any = base64.b64decode(medium.blob)
        except MCPError as refused:
            arrived = refused.error.message
    if size == resources.LARGEST_IN_EVENT or (mode == "auto" and not silent):
        assert arrived == large
    else:
        assert arrived == (
            "It is larger than 0.7 MiB, too large for one message here; it is at"
            f" {url} or at {file}."
        )


@pytest.mark.parametrize("mode", MODES)
async def test_many_calls_at_once(mode: Mode, tmp_path: Path, emulator: Emulator) -> None:
    """Each gets its own result; none is lost or made twice."""
    results: list[str] = []
    configured = make_settings(tmp_path, MEIGEN_RATE_LIMIT="1000")
    async with (
        inside(configured, emulator) as (origin, _),
        connected(f"{origin}{http.PATH}", mode) as client,
        anyio.create_task_group() as group,
    ):

        async def call(number: int) -> None:
            made = await client.call_tool("generate_image", {"prompt": f"fox {number}"})
            results.append((made.structured_content or {})["prompt"])

        for number in range(MANY):
            group.start_soon(call, number)
    assert sorted(results) == sorted(f"fox {number}" for number in range(MANY))
    assert sum(submission.accepted for submission in emulator.posts) == MANY


async def test_health_is_told_to_anybody(settings: Settings, emulator: Emulator) -> None:
    """A container's health check has no token."""
    async with (
        inside(replace(settings, http_token=SECRET), emulator) as (origin, _),
        patient(origin) as client,
    ):
        answer = await client.get(http.HEALTH)
    assert (answer.status_code, answer.text) == (200, "ok\n")


# --- who is let in ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
async def test_only_the_right_token_is_let_in(
    host: str, mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """On every route but the health check, also on loopback once a token is set."""
    method, params = ("initialize", HELLO) if mode == "legacy" else ("tools/list", {})
    headers: dict[str, dict[str, str]] = {
        "no token": {},
        "a wrong token": {"authorization": "Bearer wrong"},
        "half of the token": {"authorization": f"Bearer {SECRET[:9]}"},
        "more than the token": {"authorization": f"Bearer {SECRET}x"},
        "not a bearer": {"authorization": f"Basic {SECRET}"},
        "the token": {"authorization": f"Bearer {SECRET}"},
    }
    async with (
        inside(replace(settings, http_token=SECRET), emulator, host) as (origin, _),
        patient(origin) as client,
    ):
        answers = {
            name: (await post(client, mode, method, params, **given)).status_code
            for name, given in headers.items()
        }
        inquiry = await client.post(http.PATH, params={"token": SECRET}, json={}, headers=MODERN)
        elsewhere = [
            (await client.request(verb, path)).status_code
            for verb in ("GET", "DELETE", "OPTIONS", "PUT")
            for path in (http.PATH, "/", "/sse", "/.well-known/oauth-protected-resource")
        ]
    assert answers == {**dict.fromkeys(headers, 401), "the token": 200}
    assert (inquiry.status_code, set(elsewhere)) == (401, {401})


async def test_a_session_belongs_to_whoever_holds_the_token(
    settings: Settings, emulator: Emulator
) -> None:
    """Knowing its id is not enough."""
    async with (
        inside(replace(settings, http_token=SECRET), emulator) as (origin, _),
        patient(origin) as client,
    ):
        right = {"authorization": f"Bearer {SECRET}"}
        hello = await post(client, "legacy", "initialize", HELLO, **right)
        session = {"mcp-session-id": hello.headers["mcp-session-id"]}
        stranger = await post(client, "legacy", "tools/list", {}, **session)
        owner = await post(client, "legacy", "tools/list", {}, **session, **right)
    assert (stranger.status_code, owner.status_code) == (401, 200)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--host", EVERYWHERE], "MEIGEN_HTTP_TOKEN"),
        (["--host", "127.0.0.1", "--port", "taken"], "--port"),
    ],
)
async def test_a_server_that_cannot_start_says_why(
    options: list[str], sentence: str, tmp_path: Path
) -> None:
    """One sentence, exit status 1, nothing traced."""
    with http.listening("127.0.0.1", 0) as listener:
        taken = str(listener.getsockname()[1])
        command = [*SERVE, "--http", *(taken if part == "taken" else part for part in options)]
        with anyio.fail_after(20):
            ended = await anyio.run_process(
                command, check=False, env=environment(tmp_path, "http://127.0.0.1:9")
            )
    said = ended.stderr.decode()
    assert (ended.returncode, ended.stdout, said.count("\n")) == (1, b"", 1)
    assert said.startswith("Error: ")
    assert sentence in said


# --- requests that are not what they should be ----------------------------------------------------

JSON = b'{"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {}}'
STRANGE: Mapping[str, tuple[Mapping[str, str], bytes, int]] = {
    "another host": ({"host": "evil.example"}, JSON, 421),
    "a rebound host": ({"host": "evil.example:80"}, JSON, 421),
    "a host that begins right": ({"host": "127.0.0.1.evil.example"}, JSON, 421),
    "another origin": ({"origin": "http://evil.example"}, JSON, 403),
    "no origin of a page": ({"origin": "null"}, JSON, 403),
    "an origin that begins right": ({"origin": "http://localhost.evil.example"}, JSON, 403),
    "an extension's origin": ({"origin": "chrome-extension://abc"}, JSON, 403),
    "no JSON by its type": ({"content-type": "text/plain"}, JSON, 400),
    "a form": ({"content-type": "application/x-www-form-urlencoded"}, b"a=1", 400),
    "no streams wanted": ({"accept": "text/html"}, JSON, 406),
    "oversized": ({}, b" " * (sessions.LARGEST_REQUEST + 1), 413),
    "cut off": ({}, JSON[:30], 400),
    "empty": ({}, b"", 400),
    "nested too deep": ({}, b"[" * 100_000, 400),
    "a batch": ({}, b"[" + JSON + b"]", 400),
    "no UTF-8": ({}, b'{"jsonrpc": "\xff"}', 400),
    "half a surrogate pair": ({}, JSON.replace(b"tools/list", b"\\ud800"), 400),
    "an unknown version": ({"mcp-protocol-version": "1999-01-01"}, JSON, 400),
    "an unknown session": ({"mcp-session-id": "nobody"}, JSON, 404),
}


@pytest.mark.parametrize("host", ["127.0.0.1", EVERYWHERE])
@pytest.mark.parametrize("mode", MODES)
async def test_strange_requests_are_refused_and_leave_it_alive(
    mode: Mode, host: str, settings: Settings, emulator: Emulator
) -> None:
    """Each is answered with a refusal, and the next client is served."""
    configured = replace(settings, http_token=SECRET)
    right = {"authorization": f"Bearer {SECRET}"}
    answers: dict[str, int] = {}
    async with (
        inside(configured, emulator, host) as (origin, _),
        patient(origin, headers=right) as client,
    ):
        for name, (headers, body, _) in STRANGE.items():
            era = MODERN if mode == "auto" else ACCEPT
            answer = await client.post(http.PATH, content=body, headers={**era, **headers})
            answers[name] = answer.status_code
            alive = await post(client, "auto", "tools/list", {})
            assert len(alive.json()["result"]["tools"]) == 4
    sessions = {"an unknown session": 400} if mode == "auto" else {}
    assert answers == {name: wanted for name, (_, _, wanted) in STRANGE.items()} | sessions


async def test_a_name_that_is_allowed_is_served(settings: Settings, emulator: Emulator) -> None:
    """With a port and without, and for pages from there."""
    hosts = ["Pictures.example", "pictures.example:443", "localhost", "[::1]:80"]
    async with (
        inside(settings, emulator, "127.0.0.1", "Pictures.example") as (origin, _),
        patient(origin) as client,
    ):
        answers = [
            await post(client, "auto", "tools/list", {}, host=host, origin=f"https://{host}")
            for host in hosts
        ]
    assert [answer.status_code for answer in answers] == [200] * 4


@asynccontextmanager
async def raw(origin: str) -> AsyncIterator[SocketStream]:
    """Open a connection for bytes."""
    url = httpx.URL(origin)
    async with await anyio.connect_tcp(url.host, url.port or 0) as stream:
        yield stream


async def rest(stream: SocketStream) -> bytes:
    """Return what comes until the other side closes, in time."""
    said = b""
    with anyio.fail_after(10):
        try:
            async for part in stream:
                said += part
        except anyio.BrokenResourceError:
            pass  # reset rather than closed
    return said


HEAD = b"POST /mcp HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize(
    "start",
    [
        b"",
        b"POST /mcp HT",
        HEAD,
        HEAD + b"X: " + b"x" * 200_000,
        HEAD + b"Content-Length: 100\r\n\r\n{",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\n5\r\n{",
        HEAD + b"MCP-Protocol-Version: 2026-07-28\r\n"
        b"Accept: application/json, text/event-stream\r\nContent-Length: 100\r\n\r\n{",
    ],
    ids=["nothing", "a line", "headers", "a huge header", "a body", "a chunk", "a body of 2026"],
)
async def test_a_request_that_never_arrives_whole_is_dropped(
    start: bytes,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """However slowly it goes on; nobody else waits, and nothing is traced."""
    monkeypatch.setattr(connections, "REQUEST_WITHIN", 0.1)
    async with inside(settings, emulator) as (origin, _), raw(origin) as stream:
        await stream.send(start)
        await rest(stream)
        async with patient(origin) as client:
            alive = await post(client, "auto", "tools/list", {})
    assert alive.status_code == 200
    assert [r.getMessage() for r in caplog.records if r.levelname in ("ERROR", "CRITICAL")] == []


@pytest.mark.parametrize(
    "start",
    [
        b"garbage\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" * 9 + b"\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
    ],
    ids=["no HTTP", "TLS", "a negative length", "two lengths"],
)
async def test_what_is_no_http_is_answered_so(
    start: bytes, settings: Settings, emulator: Emulator
) -> None:
    """The connection is closed, and the next one is served."""
    async with inside(settings, emulator) as (origin, _), raw(origin) as stream:
        await stream.send(start)
        said = await rest(stream)
        async with patient(origin) as client:
            alive = await post(client, "auto", "tools/list", {})
    assert said.startswith(b"HTTP/1.1 400 ")
    assert alive.status_code == 200


# --- what is told ---------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_no_answer_elsewhere_names_a_path_of_this_machine(
    mode: Mode,
    tmp_path: Path,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Files are saved, but whoever asks from elsewhere is told of URLs and resources only."""
    configured = replace(settings, http_token=SECRET)
    told: list[Any] = []
    async with (
        inside(configured, emulator, EVERYWHERE) as (origin, running_app),
        connected(f"{origin}{http.PATH}", mode, SECRET, raise_exceptions=False) as client,
    ):
        made = await client.call_tool("generate_image", {"prompt": "a fox"})
        record = (made.structured_content or {})["resourceUri"]
        told += [made, client.instructions, await client.list_tools()]
        told += [await client.call_tool("check_status", given) for given in ({}, {"limit": 1})]
        told += [await client.read_resource(uri) for uri in (record, "meigen://generations")]
        told += [await client.list_resources(), await client.list_prompts()]
        monkeypatch.setattr(resources, "LARGEST_RESOURCE", 10)
        monkeypatch.setattr(resources, "LARGEST_IN_EVENT", 10)
        with pytest.raises(Exception, match="too large") as too_large:
            await client.read_resource(f"{record}/media/0")
        monkeypatch.setattr("meigen_mcp.ledger.sqlite.database.can_lock", lambda _: False)
        await running_app.service._ledger.close()  # noqa: SLF001  # as when it was never opened
        told += [too_large.value, await client.call_tool("check_status", {})]
    text = "\n".join(map(str, told))
    assert "ledger_unavailable" in text
    assert [part for part in (str(tmp_path), "saved", "'files': [") if part in text] == []
    assert len(list((tmp_path / "media").iterdir())) == 1


async def test_the_log_of_accesses_has_no_secret(tmp_path: Path) -> None:
    """Who asked, for what, and how it was answered; no token, no query string.

    That it is ready, which balancers ask all day, takes no line.
    """
    token = {"authorization": f"Bearer {SECRET}"}
    async with (
        run_sandbox() as sandbox,
        process(tmp_path, sandbox, MEIGEN_HTTP_TOKEN=SECRET, MEIGEN_LOG_LEVEL="info") as served,
        patient(served.origin) as client,
    ):
        await client.get(f"/healthz?key={SECRET}")
        with anyio.fail_after(30):
            while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.05)
        await client.get(f"/a%0AERROR b?token={SECRET}")
        await post(client, "auto", "tools/list", {}, **token)
        served.process.send_signal(signal.SIGTERM)
        status, _ = await served.ended()
    lines = [line for line in served.said.splitlines() if "meigen_mcp.http: 127" in line]
    asked = [line.split("127.0.0.1 ")[1].rsplit(" ", 2)[0] for line in lines if " 503 " not in line]
    assert asked == ["GET /healthz 200", "GET /a%0AERROR%20b 401", "POST /mcp 200"]
    assert (status, SECRET in served.said) == (0, False)


async def test_an_operator_is_told_that_nothing_can_be_made(tmp_path: Path) -> None:
    """Before anybody calls it; on the sandbox, that it is one."""
    async with process(tmp_path, "http://127.0.0.1:9", MEIGEN_API_TOKEN="") as served:
        async with served.client() as client:
            await client.get(http.HEALTH)
        served.process.send_signal(signal.SIGTERM)
        _, complaints = await served.ended()
    assert [line.partition(": ")[2] for line in complaints] == [
        "it quotes and makes nothing: MEIGEN_API_TOKEN_FILE is not set, nor a token"
    ]
    assert "the sandbox" not in served.said


async def test_a_token_that_can_be_guessed_is_said_to_be_so_on_this_computer_too(
    tmp_path: Path,
) -> None:
    """It serves all the same; where others reach it, it does not start."""
    short = "x" * (auth.LEAST_TOKEN - 1)
    async with (
        run_sandbox() as sandbox,
        process(tmp_path, sandbox, MEIGEN_HTTP_TOKEN=short) as served,
    ):
        async with served.client() as client:
            await client.get(http.HEALTH)
        served.process.send_signal(signal.SIGTERM)
        _, complaints = await served.ended()
    assert [line.partition(": ")[2] for line in complaints] == [
        "MEIGEN_HTTP_TOKEN has fewer than 24 characters: programs of this computer could guess it,"
        " and what comes through a proxy is refused; give it more, or unset it, and one is made"
    ]


@pytest.mark.parametrize("options", [(), ("--sandbox",), ("--no-token",)])
async def test_what_a_client_needs_is_printed_as_the_server_asks(
    options: tuple[str, ...], tmp_path: Path
) -> None:
    """With a token or, where none is asked for, without."""
    async with process(tmp_path, "http://127.0.0.1:9", *options) as served:
        served.process.send_signal(signal.SIGTERM)
        await served.ended()
    told = [line.partition(": ")[2] for line in served.said.splitlines() if "install" in line]
    command = f"meigen-mcp install CLIENT --url {served.url}"
    more = " --no-token" if options else ""
    assert told == [f"this prints what a client needs: {command}{more}"]


async def test_an_operator_reads_names_tools_and_credits(tmp_path: Path) -> None:
    """Which names it answers to; then a line a call, with what is new in credits."""
    async with (
        run_sandbox(speed=0.01) as sandbox,
        process(tmp_path, sandbox, MEIGEN_LOG_LEVEL="info") as served,
    ):
        for mode in MODES:
            async with connected(served.url, mode, served.token) as client:
                call = {"prompt": mode, "modelId": "nanobanana-2", "requestId": IDS[mode]}
                for tool, arguments in (
                    ("generate_image", call),
                    ("generate_image", call),
                    ("generate_image", {"prompt": "a", "modelId": "no"}),
                    ("check_status", {}),
                    ("list_models", {}),
                ):
                    await client.call_tool(tool, arguments)
        served.process.send_signal(signal.SIGTERM)
        await served.ended()
    assert re.search(r"it answers to (.*, )?127\.0\.0\.1, (.*, )?localhost", served.said)
    told = re.findall(r"POST /mcp 200 [\d.]+ s (.+)", served.said)
    each = [
        "generate_image completed, 5 credits",
        "generate_image completed",
        "generate_image invalid_arguments",
        "check_status",
        "list_models",
    ]
    assert sorted(told) == sorted(2 * each)  # a line follows its answer, so the next may be before


# --- ends -----------------------------------------------------------------------------------------

ENDS = [signal.SIGTERM, signal.SIGINT]


@asynccontextmanager
async def asked(
    served: Served, mode: Mode, method: str, params: dict[str, Any], **headers: str
) -> AsyncIterator[httpx.Response]:
    """Begin a request and give its answer as far as it has come."""
    async with served.client() as client:
        named = {"mcp-name": params["name"]} if "name" in params else {}
        era = {**MODERN, "mcp-method": method, **named} if mode == "auto" else ACCEPT
        meta = {"_meta": {**ENVELOPE, "progressToken": 1}} if mode == "auto" else {}
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": {**params, **meta}}
        asking = client.stream("POST", http.PATH, json=message, headers={**era, **headers})
        async with asking as answer:
            yield answer


async def session(served: Served) -> dict[str, str]:
    """Open a session of 2025 and return the header that names it."""
    async with served.client() as client:
        hello = await post(client, "legacy", "initialize", HELLO)
        named = {"mcp-session-id": hello.headers["mcp-session-id"]}
        ready = {"jsonrpc": "2.0", "method": "notifications/initialized"}
        await client.post(http.PATH, json=ready, headers={**ACCEPT, **named})
    return named


@pytest.mark.parametrize("number", ENDS)
async def test_an_idle_server_ends_quietly(number: signal.Signals, tmp_path: Path) -> None:
    """With status 0, with a session and a kept connection open."""
    async with (
        run_sandbox() as sandbox,
        process(tmp_path, sandbox) as served,
        served.client() as client,
    ):
        await session(served)
        await client.get(http.HEALTH)
        served.process.send_signal(number)
        assert await served.ended() == (0, [])


@pytest.mark.parametrize("mode", MODES)
async def test_a_waiting_call_is_answered_at_the_end(mode: Mode, tmp_path: Path) -> None:
    """It says how its generation stands."""
    call = {"name": "generate_image", "arguments": {**STALL, "wait": 40}}
    async with (
        run_sandbox(speed=0.01) as sandbox,
        process(tmp_path, sandbox, serve=UNHURRIED) as served,
    ):
        named = await session(served) if mode == "legacy" else {}
        call["_meta"] = {"progressToken": 1}
        async with asked(served, mode, "tools/call", call, **named) as answer:
            lines = answer.aiter_lines()
            with anyio.fail_after(20):
                async for line in lines:
                    if "progress" in line:
                        break
            served.process.send_signal(signal.SIGTERM)
            said = [line async for line in lines if line.startswith("data:")]
        ended = await served.ended()
    structure = json.loads(said[-1][5:])["result"]["structuredContent"]
    assert structure["status"] in ("submitting", "processing")
    assert ended == (0, [])


async def test_an_open_listen_stream_ends_with_its_result(tmp_path: Path) -> None:
    """A client of 2026 sees the end, not a broken connection."""
    wanted = {"notifications": {"resourcesListChanged": True}}
    async with (
        run_sandbox() as sandbox,
        process(tmp_path, sandbox, serve=UNHURRIED) as served,
        asked(served, "auto", "subscriptions/listen", wanted) as answer,
    ):
        lines = answer.aiter_lines()
        assert "acknowledged" in " ".join([await anext(lines), await anext(lines)])
        served.process.send_signal(signal.SIGTERM)
        said = [line async for line in lines if line.startswith("data:")]
        ended = await served.ended()
    assert "result" in json.loads(said[-1][5:])
    assert ended == (0, [])


async def test_an_open_stream_of_2025_ends(tmp_path: Path) -> None:
    """It is closed as HTTP closes a stream."""
    async with (
        run_sandbox() as sandbox,
        process(tmp_path, sandbox, serve=UNHURRIED) as served,
        served.client() as client,
    ):
        named = {**ACCEPT, **await session(served)}
        async with client.stream("GET", http.PATH, headers=named) as stream:
            served.process.send_signal(signal.SIGTERM)
            await stream.aread()
        ended = await served.ended()
    assert (stream.status_code, ended) == (200, (0, []))


async def test_clients_that_do_not_read_do_not_keep_it(tmp_path: Path) -> None:
    """With answers stuck in full connections it ends all the same."""
    lists = HEAD + b"Accept: application/json, text/event-stream\r\n"
    lists += b"MCP-Protocol-Version: 2026-07-28\r\nMcp-Method: tools/list\r\n"
    body = json.dumps(
        {"jsonrpc": "2.0", "id": 1, "method": "tools/list", "params": {"_meta": ENVELOPE}}
    ).encode()
    lists += f"Content-Length: {len(body)}\r\n\r\n".encode() + body
    async with (
        run_sandbox() as sandbox,
        process(tmp_path, sandbox) as served,
        raw(served.origin) as stream,
    ):
        lists = lists.replace(b"Host:", f"Authorization: Bearer {served.token}\r\nHost:".encode())
        with anyio.move_on_after(3):  # its answers, which nobody reads, go no further
            await stream.send(lists * 20_000)  # some kernels take all of it
            await anyio.sleep_forever()
        async with served.client() as client:
            alive = await post(client, "auto", "tools/list", {})
        served.process.send_signal(signal.SIGTERM)
        assert (alive.status_code, await served.ended()) == (200, (0, []))


async def test_the_sandbox_serves_over_http_too(tmp_path: Path) -> None:
    """`serve --http --sandbox` needs neither key nor credits."""
    environ = "http://127.0.0.1:9"
    async with (
        process(tmp_path, environ, "--sandbox") as served,
        connected(served.url, "auto") as client,
    ):
        made = await client.call_tool("generate_image", {"prompt": "a fox"})
        served.process.send_signal(signal.SIGTERM)
        ended = await served.ended()
    assert (made.structured_content or {})["status"] == "completed"
    assert ended == (0, [])
    assert "this is the sandbox: nothing here is real" in served.said
