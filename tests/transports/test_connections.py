"""Strangers who stay and clients who leave keep nobody out, and no result from being saved."""

import asyncio
import errno
import gc
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketStream
from support.over_http import ACCEPT, bearer, inside, open_session, patient, post, structure_of

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings
from meigen_mcp.transports import connections, http, sessions

SECRET = "correct-horse-battery-staple"
FOX = {"name": "generate_image", "arguments": {"prompt": "a fox", "wait": 40}}
STALL = {"name": "generate_image", "arguments": {"prompt": "sandbox:stall", "wait": 40}}
LATER = {"name": "check_status", "arguments": {}}


@asynccontextmanager
async def crowded(
    most: int, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[tuple[str, Any]]:
    """Serve with room for a few connections, and yield the origin and the app."""
    monkeypatch.setattr(connections, "MOST_CONNECTIONS", most)
    monkeypatch.setattr(connections, "PATIENCE", 0.05)
    async with inside(replace(settings, http_token=SECRET), emulator) as (origin, app):
        yield origin, app


async def idle(origin: str, count: int, stack: AsyncExitStack) -> list[SocketStream]:
    """Open connections that say nothing, one after another."""
    url = httpx.URL(origin)
    return [
        await stack.enter_async_context(await anyio.connect_tcp(url.host, url.port or 0))
        for _ in range(count)
    ]


async def closed(stream: SocketStream) -> bool:
    """Say whether the other side has closed a connection, or does so at once."""
    with anyio.move_on_after(0.2):
        try:
            await stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            return True
    return False


async def test_idle_strangers_keep_nobody_out(
    tmp_path: Path, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one that waits longest without a request gives way; the others stay."""
    async with (
        crowded(4, settings, emulator, monkeypatch) as (origin, _),
        AsyncExitStack() as stack,
    ):
        strangers = await idle(origin, 4, stack)
        async with patient(origin, headers=bearer(SECRET)) as client:
            made = structure_of(await post(client, "auto", "tools/call", FOX))
            gone = [await closed(stream) for stream in strangers]
    assert (made["status"], gone) == ("completed", [True, False, False, False])
    assert [path.suffix for path in (tmp_path / "media").iterdir()] == [".png"]


async def test_whoever_waits_for_an_answer_is_not_closed(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many come after it."""
    answers: list[int] = []
    async with (
        crowded(3, settings, emulator, monkeypatch) as (origin, app),
        patient(origin, headers=bearer(SECRET)) as client,
        AsyncExitStack() as stack,
        anyio.create_task_group() as group,
    ):

        async def wait() -> None:
            answers.append((await post(client, "auto", "tools/call", STALL)).status_code)

        group.start_soon(wait)
        while not emulator.posts:  # noqa: ASYNC110  # the sandbox tells of none
            await anyio.sleep(0.01)
        await idle(origin, 12, stack)
        app.service.close()  # its answer comes now
    assert answers == [200]


async def test_a_kept_connection_gives_way_to_a_new_one(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After its answer, and where nobody waits in silence; a client then opens another."""
    async with (
        crowded(2, settings, emulator, monkeypatch) as (origin, _),
        AsyncExitStack() as stack,
    ):
        clients = [
            await stack.enter_async_context(patient(origin, headers=bearer(SECRET)))
            for _ in range(4)
        ]
        answers = [
            (await post(client, "auto", "tools/list", {})).status_code
            for client in [*clients, *clients]
        ]
    assert answers == [200] * 8


async def test_whoever_comes_while_all_are_at_work_is_served_after_them(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is under way is not broken off, and nobody is turned away."""
    answers: list[str] = []
    late_answer = anyio.Event()
    async with (
        crowded(1, settings, emulator, monkeypatch) as (origin, app),
        patient(origin, headers=bearer(SECRET)) as client,
        patient(origin, headers=bearer(SECRET)) as late,
        anyio.create_task_group() as group,
    ):

        async def ask(who: str, by: httpx.AsyncClient, call: dict[str, Any]) -> None:
            await post(by, "auto", "tools/call", call)
            answers.append(who)
            if who == "late":
                late_answer.set()

        group.start_soon(ask, "first", client, STALL)
        while not emulator.posts:  # noqa: ASYNC110  # the sandbox tells of none
            await anyio.sleep(0.01)
        group.start_soon(ask, "late", late, LATER)
        with anyio.move_on_after(0.2):
            await late_answer.wait()
        before = list(answers)
        app.service.close()
    assert (before, answers) == ([], ["first", "late"])


async def test_an_end_closes_who_waits_to_be_taken_in(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No socket is left to the garbage collector, which tells of each that it finds open."""
    async with AsyncExitStack() as stack:
        async with (
            crowded(1, settings, emulator, monkeypatch) as (origin, app),
            patient(origin, headers=bearer(SECRET)) as client,
            anyio.create_task_group() as group,
        ):
            group.start_soon(post, client, "auto", "tools/call", STALL)
            while not emulator.posts:  # noqa: ASYNC110  # the sandbox tells of none
                await anyio.sleep(0.01)
            waiting = await idle(origin, 3, stack)
            still = [await closed(stream) for stream in waiting]
            app.service.close()
        ended = [await closed(stream) for stream in waiting]
    gc.collect()
    assert (still, ended) == ([False] * 3, [True] * 3)


async def test_an_end_closes_who_is_just_being_taken_in(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whose protocol is made only after the end began."""
    loop = asyncio.get_running_loop()
    connect, shut_down = loop.connect_accepted_socket, connections.PromptServer.shutdown
    began, ending = anyio.Event(), anyio.Event()

    async def connect_late(*those: Any) -> Any:
        began.set()
        await ending.wait()
        for _ in range(5):
            await anyio.lowlevel.checkpoint()
        return await connect(*those)

    async def tell_and_shut_down(server: connections.PromptServer, **those: Any) -> None:
        ending.set()
        await shut_down(server, **those)

    monkeypatch.setattr(loop, "connect_accepted_socket", connect_late)
    monkeypatch.setattr(connections.PromptServer, "shutdown", tell_and_shut_down)
    async with AsyncExitStack() as stack:
        async with inside(settings, emulator) as (origin, _):
            [stranger] = await idle(origin, 1, stack)
            await began.wait()
        assert await closed(stranger)


async def test_abandoned_sessions_give_way(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The one idle longest; one with an open stream stays, and a new client always gets in."""
    monkeypatch.setattr(sessions, "MOST_SESSIONS", 3)
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        first = await open_session(client)
        async with client.stream("GET", http.PATH, headers={**ACCEPT, **first}) as stream:
            others = [await open_session(client) for _ in range(2)]
            await post(client, "legacy", "tools/call", LATER, **others[0])
            newest = [await open_session(client) for _ in range(1)]
            answers = [
                (await post(client, "legacy", "tools/list", {}, **named)).status_code
                for named in (first, *others, *newest)
            ]
            crowd = [await open_session(client) for _ in range(10)]
            again = [
                (await post(client, "legacy", "tools/list", {}, **named)).status_code
                for named in (first, *crowd)
            ]
    assert (stream.status_code, answers) == (200, [200, 200, 404, 200])
    assert again == [200, *[404] * 8, 200, 200]


async def test_out_of_descriptors_is_said_once_a_minute(
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Asyncio says it for each connection that waits, with a traceback; and then it goes on."""
    monkeypatch.setattr(connections, "_OUT_OF_DESCRIPTORS_FOR", 0.001)
    failures = iter([OSError(errno.EMFILE, "too many")] * 50)
    accept = socket.socket.accept

    def failing(listener: socket.socket) -> tuple[socket.socket, Any]:
        for failure in failures:
            raise failure
        return accept(listener)

    monkeypatch.setattr(socket.socket, "accept", failing)
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        answer = await post(client, "auto", "tools/list", {})
    said = [record for record in caplog.records if "descriptor" in record.getMessage()]
    assert (answer.status_code, len(said)) == (200, 1)


@pytest.mark.skipif(sys.platform == "win32", reason="sockets are no files there")
async def test_there_is_room_for_files_beside_all_connections() -> None:
    """The limit is raised as far as the system lets it be; below it, some stay free."""
    code = (
        "import resource as r, sys; from meigen_mcp.transports.connections import PromptServer;"
        "r.setrlimit(r.RLIMIT_NOFILE, (min(64, int(sys.argv[1])), int(sys.argv[1])));"
        "print(PromptServer(lambda: None).most, r.getrlimit(r.RLIMIT_NOFILE)[0])"
    )
    rooms = {}
    for hard in (64, 256, 1024):
        ended = await anyio.run_process([sys.executable, "-c", code, str(hard)])
        rooms[hard] = [int(number) for number in ended.stdout.split()]
    assert rooms == {64: [32, 64], 256: [128, 256], 1024: [896, 1024]}
