"""The first list that a client is given is the right one, and is not kept before it is known."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import anyio
import mcp_types as t
import pytest
from support.in_memory import MODES, Connected, Mode, connect

from meigen_mcp.api.client import Api
from meigen_mcp.app import SANDBOX_TOKEN
from meigen_mcp.errors import Unreachable
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.service import current_catalogue
from meigen_mcp.settings import Settings

NEW = {"id": "brand-new", "name": "Brand New", "media_type": "image"}
KEPT = 300_000
Answer = Callable[[Api], Awaitable[Any]]


async def at_once(_: Api) -> Any:
    """Return a live list with a model that nobody knew."""
    return {"models": [NEW]}


async def never(_: Api) -> Any:
    """Return nothing, for ever."""
    await anyio.sleep_forever()


async def failing(_: Api) -> Any:
    """Have no network."""
    raise Unreachable("no network", sent=False)


async def lists(on: Connected) -> tuple[bool, set[int]]:
    """Return whether the new model is in the lists, and for how long they may be kept."""
    session = on.client.session
    tools = await session.send_request(t.ListToolsRequest(), t.ListToolsResult)
    prompts = await session.send_request(t.ListPromptsRequest(), t.ListPromptsResult)
    read = await on.client.read_resource("meigen://models")
    known = NEW["id"] in str(tools.tools[0].input_schema)
    assert (NEW["id"] in str(read.contents)) == known
    assert ("brand-new" in str(await on.call("list_models"))) == known
    return known, {tools.ttl_ms, prompts.ttl_ms, read.ttl_ms}


@pytest.mark.parametrize(
    ("answer", "expected"),
    [(at_once, (True, {KEPT})), (never, (False, {0})), (failing, (False, {KEPT}))],
)
async def test_the_first_list_waits_a_moment_for_the_live_one(
    answer: Answer,
    expected: tuple[bool, set[int]],
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What the live list may still replace is not to be kept by a client."""
    monkeypatch.setattr(Api, "models", answer)
    with anyio.fail_after(20):
        async with connect(settings, emulator) as on:
            assert await lists(on) == expected


async def test_a_list_of_an_earlier_start_is_served_at_once(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody waits for the network then."""
    monkeypatch.setattr(Api, "models", at_once)
    async with connect(settings, emulator) as on:
        await on.app.service.catalogue.refresh()
    monkeypatch.setattr(Api, "models", never)
    monkeypatch.setattr(current_catalogue, "FIRST_LIST", 3600)
    monkeypatch.setattr(current_catalogue, "FRESH_FOR", 300.0)
    with anyio.fail_after(20):
        async with connect(settings, emulator) as on:
            assert await lists(on) == (True, {KEPT})


@pytest.mark.parametrize("mode", MODES)
async def test_a_sandbox_of_our_own_reads_its_list_before_it_serves(
    mode: Mode, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No host is told a second later that the list has changed."""
    monkeypatch.setattr(current_catalogue, "FIRST_LIST", 0)
    async with connect(replace(settings, token=SANDBOX_TOKEN), emulator, mode) as on:
        first = (await on.client.list_tools()).tools
        await on.app.service.catalogue.refresh()
        assert (await on.client.list_tools()).tools == first
