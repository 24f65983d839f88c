"""A sandbox with a name: what one process of it did, the next one knows."""

import socket
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client
from support.in_memory import connect, make_settings
from support.over_http import patient

from meigen_mcp import app
from meigen_mcp.errors import BadSettings
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.running import run_named_sandbox
from meigen_mcp.service.results import STARTS_ANEW

TOKEN = "meigen_sk_" + "a1b2c3d4" * 4
KEY = "0f0e0d0c-0b0a-4908-8706-050403020100"
PATH = "/api/generate/v2"
VIDEO = {"prompt": "a kite", "modelId": "veo-3.1", "idempotencyKey": KEY}


@asynccontextmanager
async def named(folder: Path, **options: Any) -> AsyncIterator[httpx.AsyncClient]:
    """Have a process of the sandbox of a folder, as it were, and a client of it."""
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        run_named_sandbox(folder, **options) as origin,
        patient(origin, headers=headers) as http,
    ):
        yield http


async def told(http: httpx.AsyncClient) -> dict[str, Any]:
    """Ask what became of the key, until somebody answers."""
    with anyio.fail_after(10):
        while True:
            try:
                return dict((await http.get(f"{PATH}/requests/{KEY}")).json())
            except httpx.TransportError:
                await anyio.sleep(0.02)


async def test_what_it_accepted_is_known_to_its_next_process(tmp_path: Path) -> None:
    """Its job with its URL, what it cost, and what was sent in the last minute."""
    async with named(tmp_path, speed=0) as http:
        made = (await http.post(PATH, json=VIDEO)).json()
        before = await told(http)
    async with named(tmp_path, speed=0) as http:
        after = await told(http)
        again = await http.post(PATH, json=VIDEO)
        film = await http.get(after["videoUrl"])
    assert (after, after["generationId"]) == (before, made["generationId"])
    assert again.json()["credits"]["purchased"] == made["credits"]["purchased"] == 990
    assert (again.json()["deduped"], again.headers["X-RateLimit-Remaining"]) == (True, "10")
    assert film.content[4:8] == b"ftyp"


async def test_an_upload_is_there_for_its_next_process(tmp_path: Path) -> None:
    """A reference that was uploaded is still what its URL says."""
    asked = {"filename": "x.png", "contentType": "image/png", "size": 3}
    async with named(tmp_path) as http:
        promised = (await http.post("/upload/presign", json=asked)).json()
        headers = {"Content-Type": "image/png"}
        await http.put(promised["presignedUrl"], content=b"abc", headers=headers)
    async with named(tmp_path) as http:
        there = await http.get(promised["publicUrl"])
    assert (there.content, there.headers["content-type"]) == (b"abc", "image/png")


async def test_who_died_while_it_wrote_leaves_the_rest_readable(tmp_path: Path) -> None:
    """The line that was never finished was never answered."""
    async with named(tmp_path) as http:
        await http.post(PATH, json=VIDEO)
    with (tmp_path / "journal.jsonl").open("a") as journal:
        journal.write('{"job": {"id": "cut')
    async with named(tmp_path) as http:
        assert (await told(http))["requestId"] == KEY


async def test_of_two_processes_one_serves_and_the_other_takes_its_place(tmp_path: Path) -> None:
    """Each finds what was sent to the other, whichever ends first."""
    first, second = named(tmp_path), named(tmp_path)
    one = await first.__aenter__()
    async with second as two:
        assert one.base_url == two.base_url
        made = (await two.post(PATH, json=VIDEO)).json()
        await first.__aexit__(None, None, None)
        assert (await told(two))["generationId"] == made["generationId"]
        async with named(tmp_path) as three:
            assert (await told(three))["generationId"] == made["generationId"]


async def test_a_port_that_another_program_has_is_named_with_what_to_do(tmp_path: Path) -> None:
    """Another one would make every URL of its results a dead one."""
    settings = make_settings(tmp_path)
    folder = settings.data_dir / "sandboxes" / "trial"
    async with app.sandboxed(settings, "trial") as configured:
        port = int(configured.base_url.rsplit(":", 1)[1])
    with socket.create_server(("127.0.0.1", port)), pytest.raises(BadSettings) as refused:
        async with app.sandboxed(settings, "trial"):
            pass
    assert refused.value.message == (
        f"The sandbox trial cannot be used: its folder {folder} cannot be written, or another"
        " program has the port that is named in it. Choose another name, or delete the folder."
    )


SANDBOXES = {"": True, "trial": False}


@pytest.mark.parametrize(("name", "anew"), SANDBOXES.items(), ids=["unnamed", "named"])
async def test_only_one_without_a_name_says_that_it_starts_anew(
    name: str, anew: bool, tmp_path: Path
) -> None:
    """Where one would look for it later: a running one, one that is not there, an empty list."""
    settings = app.on_sandbox(make_settings(tmp_path), "http://127.0.0.1:8000", name)
    async with connect(settings, Emulator()) as on:
        empty = await on.call("check_status")
        missing = await on.call("check_status", requestId=KEY)
        runs = await on.call("generate_video", prompt="sandbox:stall", modelId="veo-3.1")
        done = await on.call("generate_image", prompt="a fox", modelId="z-image-turbo")
        listed = await on.call("check_status")
    said = [empty.get("next", ""), missing["error"]["message"], runs["next"]]
    assert [STARTS_ANEW in text for text in said] == [anew] * 3
    assert STARTS_ANEW not in done["next"] + listed.get("next", "")


async def test_a_client_that_starts_a_process_for_each_call_finds_what_it_made(
    tmp_path: Path,
) -> None:
    """Over real pipes: made by one process, told by the next, with the URL that then works."""
    variables = {
        "MEIGEN_DATA_DIR": str(tmp_path / "data"),
        "MEIGEN_OUTPUT_DIR": str(tmp_path / "media"),
    }

    async def call(tool: str, **arguments: Any) -> dict[str, Any]:
        words = ["-m", "meigen_mcp", "serve", "--sandbox", "trial"]
        server = StdioServerParameters(command=sys.executable, args=words, env=variables)
        async with Client(stdio_client(server)) as client:
            result = await client.call_tool(tool, arguments)
            told = dict(result.structured_content or {})
            for url in told.get("mediaUrls", ()):
                async with patient() as http:
                    told["there"] = (await http.get(url)).status_code
            return told

    made = await call("generate_image", prompt="a fox", modelId="z-image-turbo", wait=0)
    later = await call("check_status", requestId=made["requestId"])
    assert (later["status"], later["generationId"]) == ("completed", made["generationId"])
    assert later["there"] == 200
