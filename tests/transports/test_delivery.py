"""Answered means that the answer left: what did not is adopted by the same call, and paid once."""

import json
import socket
import struct
from itertools import count
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio.abc import SocketAttribute
from support.in_memory import MODES, Mode
from support.ledger_file import execute, look
from support.over_http import (
    ACCEPT,
    ENVELOPE,
    MODERN,
    inside,
    open_session,
    patient,
    post,
    process,
    structure_of,
)
from transports.test_stdio import Wire, served

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.settings import Settings
from meigen_mcp.views import generations as views

STALL = {"prompt": "sandbox:stall", "modelId": "nanobanana-2"}
FOX = {"prompt": "a fox", "modelId": "nanobanana-2"}
NUMBERS = count(7)
both_eras = pytest.mark.parametrize("mode", MODES)
# The SDK leaves a stream open where a client of 2025 goes away in the middle of its answer.
leaves_a_stream = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


async def until(condition: Any) -> None:
    """Wait until something is so."""
    with anyio.fail_after(60):
        while not await condition():  # noqa: ASYNC110  # what a file holds is told to nobody
            await anyio.sleep(0.01)


def noted(data: Path) -> list[tuple[int, int]]:
    """Return of each generation whether it was answered, and whether its call was cut off."""
    return look(data, "SELECT answered, abandoned FROM generations ORDER BY id")


# --- HTTP -----------------------------------------------------------------------------------------


async def sent_raw(origin: str, mode: Mode, headers: dict[str, str], call: dict[str, Any]) -> Any:
    """Send a call on a connection of its own, and return that."""
    params: dict[str, Any] = {"name": "generate_image", "arguments": call}
    era = ACCEPT
    if mode == "auto":
        params["_meta"] = ENVELOPE
        era = {**MODERN, "mcp-method": "tools/call", "mcp-name": "generate_image"}
    message = {"jsonrpc": "2.0", "id": next(NUMBERS), "method": "tools/call", "params": params}
    body = json.dumps(message).encode()
    lines = {"host": origin.removeprefix("http://"), **era, **headers}
    lines["content-length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in lines.items())
    host, _, port = origin.removeprefix("http://").rpartition(":")
    stream = await anyio.connect_tcp(host, int(port))
    await stream.send(f"POST /mcp HTTP/1.1\r\n{head}\r\n".encode() + body)
    return stream


def reset(stream: Any) -> None:
    """Have a connection end with a reset, as one does whose program was killed."""
    raw: socket.socket = stream.extra(SocketAttribute.raw_socket)  # noqa: S610  # no database's
    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


@leaves_a_stream
@pytest.mark.parametrize("how", ["closed", "reset"])
@both_eras
async def test_a_call_whose_connection_is_lost_is_the_one_that_is_repeated(
    mode: Mode, how: str, settings: Settings, emulator: Emulator
) -> None:
    """While it waits; at once, and again if the repetition is cut off too."""
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        named = await open_session(client) if mode == "legacy" else {}

        for adopted in (False, True):

            async def waits() -> bool:
                told = "SELECT adopted, status FROM generations"
                return look(settings.data_dir, told) == [(adopted, "processing")]  # noqa: B023

            stream = await sent_raw(origin, mode, named, {**STALL, "wait": 30})
            await until(waits)
            if how == "reset":
                reset(stream)
            await stream.aclose()
        call = {"name": "generate_image", "arguments": {**STALL, "wait": 0}}
        answer = structure_of(await post(client, mode, "tools/call", call, **named))

        async def answered() -> bool:
            return noted(settings.data_dir) == [(1, 0)]

        await until(answered)
    assert answer["status"] == "processing"
    assert "your interrupted call" in answer["next"]
    assert len(emulator.posts) == 1


@both_eras
async def test_what_was_read_over_http_is_answered(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """So that the same call again is another one: people ask for variations."""
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        named = await open_session(client) if mode == "legacy" else {}
        call = {"name": "generate_image", "arguments": FOX}
        made = [
            structure_of(await post(client, mode, "tools/call", call, **named))["requestId"]
            for _ in range(3)
        ]

        async def answered() -> bool:
            return noted(settings.data_dir) == [(1, 0)] * 3

        await until(answered)
    assert len(set(made)) == len(emulator.posts) == 3


@leaves_a_stream
@both_eras
async def test_who_hangs_up_after_the_answer_has_it(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Some clients do not read a stream of events to its end."""
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        named = await open_session(client) if mode == "legacy" else {}
        stream = await sent_raw(origin, mode, named, FOX)
        said = b""
        with anyio.fail_after(20):
            while b'"structuredContent"' not in said:
                said += await stream.receive()
        reset(stream)
        await stream.aclose()

        async def answered() -> bool:
            return noted(settings.data_dir) == [(1, 0)]

        await until(answered)
    assert len(emulator.posts) == 1


@leaves_a_stream
@both_eras
async def test_an_answer_that_stays_in_this_process_is_not_answered(
    mode: Mode, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The system takes no more, since nobody reads; then the connection is gone."""
    text = views.text
    monkeypatch.setattr(views, "text", lambda structure: text(structure) + "." * 30_000_000)
    async with (
        inside(settings, emulator) as (origin, _),
        patient(origin) as client,
    ):
        named = await open_session(client) if mode == "legacy" else {}
        stream = await sent_raw(origin, mode, named, FOX)

        async def completed() -> bool:
            rows = execute(settings.data_dir, "SELECT status, next_look FROM generations")
            return rows == [("completed", None)]

        await until(completed)
        await stream.receive()
        assert noted(settings.data_dir) == [(0, 0)]
        reset(stream)
        await stream.aclose()

        async def cut_off() -> bool:
            return noted(settings.data_dir) == [(0, 1)]

        await until(cut_off)
        monkeypatch.setattr(views, "text", text)
        again = {"name": "generate_image", "arguments": FOX}
        answer = structure_of(await post(client, mode, "tools/call", again, **named))
    assert (answer["status"], len(emulator.posts)) == ("completed", 1)


@both_eras
async def test_a_call_that_a_server_process_lost_is_repeated_at_its_next_start(
    mode: Mode, tmp_path: Path
) -> None:
    """Over HTTP too: the one that was killed had told nobody."""
    async with run_sandbox(speed=0.01) as sandbox, patient() as http:
        async with process(tmp_path, sandbox) as one, one.client() as client:
            named = await open_session(client) if mode == "legacy" else {}
            token = {"authorization": f"Bearer {one.token}"}
            stream = await sent_raw(one.origin, mode, {**named, **token}, {**STALL, "wait": 30})

            async def accepted() -> bool:
                state = (await http.get(f"{sandbox}/sandbox/state")).json()
                return len(state["posts"]) == 1

            await until(accepted)
            one.process.kill()
            await one.process.wait()
            await stream.aclose()
        async with process(tmp_path, sandbox) as two, two.client() as client:

            async def taken_over() -> bool:
                return noted(tmp_path / "data") == [(0, 1)]

            await until(taken_over)
            named = await open_session(client) if mode == "legacy" else {}
            call = {"name": "generate_image", "arguments": {**STALL, "wait": 0}}
            answer = structure_of(await post(client, mode, "tools/call", call, **named))
        assert "your interrupted call" in answer["next"]
        assert await accepted()


# --- stdio ----------------------------------------------------------------------------------------


async def sent(wire: Wire, number: int, call: dict[str, Any], data: Path) -> None:
    """Make a call, and wait until MeiGen has it."""
    await wire.send("tools/call", {"name": "generate_image", "arguments": call}, number)

    async def accepted() -> bool:
        return ("processing",) in look(data, "SELECT status FROM generations")

    await until(accepted)


@pytest.mark.parametrize("gone", ["both pipes", "stdin alone", "killed"])
@both_eras
async def test_a_call_whose_client_is_gone_is_the_one_that_is_repeated(
    mode: Mode, gone: str, tmp_path: Path
) -> None:
    """In a new process, as clients start one; an answer into a closed end was read by nobody."""
    data = tmp_path / "data"
    async with run_sandbox(speed=0.01) as origin:
        async with served(tmp_path, origin, mode) as wire:
            await wire.connect()
            await sent(wire, 2, {**STALL, "wait": 30}, data)
            if gone == "killed":
                wire.process.kill()
            elif gone == "both pipes":
                assert wire.process.stdout is not None
                await wire.process.stdout.aclose()
                await wire.stdin.aclose()
            else:
                await wire.stdin.aclose()
            with anyio.fail_after(60):
                await wire.process.wait()
        assert noted(data)[0][0] == 0
        async with served(tmp_path, origin, mode) as wire:
            await wire.connect()

            async def orphaned() -> bool:
                return noted(data) == [(0, 1)]

            await until(orphaned)
            answer = await wire.call("generate_image", 2, **STALL, wait=0)
        async with patient() as http:
            state = (await http.get(f"{origin}/sandbox/state")).json()
    assert "your interrupted call" in answer["next"]
    assert len(state["posts"]) == 1


@both_eras
async def test_what_was_read_over_stdio_is_answered(mode: Mode, tmp_path: Path) -> None:
    """The client reads it, ends, and asks for the same in a new process: another one."""
    data = tmp_path / "data"
    async with run_sandbox(speed=0.002) as origin:
        for number, asked in enumerate((0, 2, 3), 1):  # the id 0 is one as well
            async with served(tmp_path, origin, mode) as wire:
                await wire.connect()
                answer = await wire.call("generate_image", asked, **FOX)

                async def answered() -> bool:
                    return noted(data) == [(1, 0)] * number  # noqa: B023

                await until(answered)  # a client that ends in the same moment may not have read it
                await wire.stdin.aclose()
                status, _, stderr = await wire.ended()
            assert (answer["status"], status, stderr) == ("completed", 0, "")
            assert noted(data) == [(1, 0)] * number


@both_eras
async def test_a_cancelled_call_is_the_one_that_is_repeated(mode: Mode, tmp_path: Path) -> None:
    """By its client's word, while the connection stays."""
    data = tmp_path / "data"
    async with run_sandbox(speed=0.01) as origin, served(tmp_path, origin, mode) as wire:
        await wire.connect()
        await sent(wire, 2, {**STALL, "wait": 30}, data)
        await wire.send("notifications/cancelled", {"requestId": 2})
        answer = await wire.call("generate_image", 3, **STALL, wait=0)
        assert "your interrupted call" in answer["next"]

        async def answered() -> bool:
            return noted(data) == [(1, 0)]

        await until(answered)
