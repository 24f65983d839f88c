"""What a start loads, and what is loaded when: each in a process of its own."""

import json
import os
import sys
from pathlib import Path
from subprocess import PIPE
from uuid import uuid4

import anyio
import anyio.lowlevel
import pytest
from support.calls import added, intent
from support.in_memory import MODES, Mode, connect

from meigen_mcp import app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.settings import Settings

_BEGIN = """
import sys
import anyio
from mcp.client.client import Client
from meigen_mcp import app, settings
from meigen_mcp.commands import cli
from meigen_mcp.transports import stdio

loaded = settings.load()

async def keep_list(listed, now):
    async with app.open_account(loaded) as account:
        await account.ledger.live_lists.keep(listed, now)

def rooms():
    return {name.split(".")[1] for name in sys.modules if name.startswith("meigen_mcp.")}
"""
_LISTING = """
app.START_AFTER = 3600.0  # so that only what is asked for loads anything

async def main():
    new = {"id": "brand-new", "name": "Brand New", "media_type": "image"}
    await keep_list({"models": [new]}, 0.0)
    async with app.run_app(loaded) as running, Client(running.server, mode=sys.argv[1]) as client:
        tools = (await client.list_tools()).tools
        print(*sorted({"api", "backend", "media", "poller"} & rooms()), "httpx" in sys.modules)
        assert "brand-new" in str(tools)
        await client.list_prompts()
        print(*sorted({"api", "backend", "media", "poller"} & rooms()))

anyio.run(main)
"""
_GENERATING = """
import json, time
from urllib.request import urlopen
from meigen_mcp.ledger.sqlite.calls import SqliteCalls
from meigen_mcp.ledger.sqlite.queue import SqliteQueue

stage = "before"
late = {"before": [], "intent": [], "sending": []}

class Noting:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("meigen_mcp", "httpx", "httpcore", "h11"):
            late[stage].append(name)

def marked(method, then):
    async def called(*args, **named):
        global stage
        stage = then
        return await method(*args, **named)
    return called

SqliteCalls.add = marked(SqliteCalls.add, "intent")
SqliteQueue.begin_post = marked(SqliteQueue.begin_post, "sending")
sys.meta_path.insert(0, Noting())

async def main():
    await keep_list(json.load(urlopen(loaded.base_url + "/api/models")), time.time())
    async with app.run_app(loaded) as running, Client(running.server) as client:
        await client.list_tools()
        told = await client.call_tool("generate_image", {"prompt": "a fox", "wait": 40})
    print(told.structured_content["status"], *told.structured_content["files"])
    print(*(name for name in late["intent"] if name.startswith("meigen_mcp.")))
    print(*late["sending"])

anyio.run(main)
"""


@pytest.mark.parametrize("mode", MODES)
async def test_what_the_list_of_tools_needs_is_loaded_before_it_and_nothing_else(
    mode: Mode, tmp_path: Path
) -> None:
    """The client waits for it: the wire, the media and the backend come with the first call."""
    assert await run(_LISTING, tmp_path, mode, MEIGEN_BASE_URL="http://127.0.0.1:9") == [
        "False",
        "api backend media poller",
    ]


async def test_without_any_call_what_an_earlier_process_left_is_gone_on_with(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A moment after the start, whether anybody asks or not."""
    monkeypatch.setattr(app, "START_AFTER", 0.0)
    key = str(uuid4())
    body = json.dumps({"prompt": "a fox", "modelId": "nanobanana-2", "idempotencyKey": key})
    async with app.open_account(settings) as earlier:
        await added(earlier.ledger, intent("a fox", request_id=key, body=body))
    with anyio.fail_after(20):
        async with connect(settings, emulator) as on:
            while not (sent := [r for r in on.transport.requests if r.method == "POST"]):
                await anyio.lowlevel.checkpoint()
    assert [json.loads(request.content)["idempotencyKey"] for request in sent] == [key]


async def test_what_money_needs_is_loaded_before_it_moves(tmp_path: Path) -> None:
    """So an upgrade replaces the files under a running server, and no call breaks in its middle."""
    async with run_sandbox() as origin:
        own = {"MEIGEN_BASE_URL": origin, "MEIGEN_CONFIRM_ABOVE": "off"}
        told, after_the_intent, while_sending = await run(_GENERATING, tmp_path, **own)
    status, file = told.split()
    assert (status, Path(file).is_file()) == ("completed", True)
    assert (after_the_intent, while_sending) == ("", "")


async def run(program: str, folder: Path, *arguments: str, **variables: str) -> list[str]:
    """Run a program of a server and its client in a new process, and return what it prints."""
    command = [sys.executable, "-c", _BEGIN + program, *arguments]
    environ = {**os.environ, "MEIGEN_API_TOKEN": "meigen_sk_" + "t0ken-32" * 4, **variables}
    environ |= {"MEIGEN_DATA_DIR": str(folder / "data"), "MEIGEN_OUTPUT_DIR": str(folder / "media")}
    with anyio.fail_after(60):
        ended = await anyio.run_process(command, stderr=PIPE, env=environ, check=False)
    assert (ended.returncode, ended.stderr.decode()) == (0, "")
    return ended.stdout.decode().splitlines()
