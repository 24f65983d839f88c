"""Announcements outside any request: who hears what, in both protocol eras."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from itertools import count
from typing import Any

import anyio
import anyio.lowlevel
import mcp_types as t
import pytest
from mcp.client.subscriptions import (
    PromptsListChanged,
    ResourcesListChanged,
    ResourceUpdated,
    ServerEvent,
)
from mcp.shared.memory import create_client_server_memory_streams
from mcp.shared.message import SessionMessage
from support.in_memory import MODES, Connected, Mode, connect

from meigen_mcp.api.client import Api
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.server import subscriptions
from meigen_mcp.service import current_catalogue
from meigen_mcp.settings import Settings

RECORDS = "meigen://generations"
VIDEO = {"modelId": "seedance-2-0", "duration": 5}


class Ears:
    """What a client heard, in order: the URI of an update, or the name of a list."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self._more = anyio.Event()

    def note(self, what: str) -> None:
        """Remember an announcement."""
        self.heard.append(what)
        self._more.set()

    async def message(self, message: Any) -> None:
        """Take a message of a 2025 session."""
        match message:
            case t.ResourceUpdatedNotification(params=params):
                self.note(str(params.uri))
            case t.ResourceListChangedNotification():
                self.note("resources")
            case t.ToolListChangedNotification():
                self.note("tools")
            case t.PromptListChangedNotification():
                self.note("prompts")

    def event(self, event: ServerEvent) -> None:
        """Take an event of a 2026 stream."""
        match event:
            case ResourceUpdated(uri=uri):
                self.note(uri)
            case ResourcesListChanged():
                self.note("resources")
            case PromptsListChanged():
                self.note("prompts")
            case _:
                self.note("tools")

    async def until(self, enough: Callable[[list[str]], bool]) -> list[str]:
        """Return what was heard as soon as it is enough."""
        with anyio.fail_after(10):
            while not enough(self.heard):
                self._more = anyio.Event()
                await self._more.wait()
        return self.heard


@asynccontextmanager
async def following(on: Connected, mode: Mode, ears: Ears, *uris: str) -> AsyncIterator[None]:
    """Follow the lists and some resources, in the way of an era."""
    if mode == "legacy":
        for uri in uris:
            subscribe = t.SubscribeRequest(params=t.SubscribeRequestParams(uri=uri))
            await on.client.session.send_request(subscribe, t.EmptyResult)
        yield
        for uri in uris:
            unsubscribe = t.UnsubscribeRequest(params=t.UnsubscribeRequestParams(uri=uri))
            await on.client.session.send_request(unsubscribe, t.EmptyResult)
        return
    async with (
        on.client.listen(
            resources_list_changed=True,
            tools_list_changed=True,
            prompts_list_changed=True,
            resource_subscriptions=uris,
        ) as events,
        anyio.create_task_group() as group,
    ):

        async def listen() -> None:
            async for event in events:
                ears.event(event)

        group.start_soon(listen)
        yield
        group.cancel_scope.cancel()


@pytest.mark.parametrize("mode", MODES)
async def test_a_new_generation_and_its_result_are_announced(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The list of records, the record under its id, and the list of resources are heard of."""
    ears = Ears()
    async with (
        connect(settings, emulator, mode, message_handler=ears.message) as on,
        following(on, mode, ears, RECORDS),
    ):
        answer = await on.call("generate_video", prompt="waves", **VIDEO)
        async with following(on, mode, ears, answer["resourceUri"]):
            heard = await ears.until(lambda heard: answer["resourceUri"] in heard)
            listing = await on.call("check_status", generationId=answer["generationId"])
            await ears.until(lambda heard: heard.count(answer["resourceUri"]) > 1)
    assert {RECORDS, "resources", answer["resourceUri"]} <= set(heard)
    assert listing["status"] == "completed"


@pytest.mark.parametrize("mode", MODES)
async def test_a_look_that_shows_nothing_new_is_not_announced(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Each fact of a record is announced once, however often it is looked at and saved."""
    ears = Ears()
    async with connect(settings, emulator, mode, message_handler=ears.message) as on:
        stalled = await on.call("generate_video", prompt="sandbox:stall", **VIDEO)
        await on.call("generate_image", prompt="made while its start is announced")
        async with following(on, mode, ears, stalled["resourceUri"]):
            await on.call("check_status", generationId=stalled["generationId"], wait=1)
            await on.call("generate_image", prompt="a fox")
            await ears.until(lambda heard: "resources" in heard)
    assert stalled["resourceUri"] not in ears.heard


@pytest.mark.parametrize("mode", MODES)
async def test_whoever_no_longer_follows_hears_nothing(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """What follows on an unsubscribed resource is silent, while another one is heard of."""
    ears, fence = Ears(), Ears()
    async with (
        connect(settings, emulator, mode, message_handler=ears.message) as on,
        connect(settings, emulator, mode, message_handler=fence.message) as other,
        following(other, mode, fence, RECORDS),
    ):
        async with following(on, mode, ears, RECORDS):
            pass
        await on.call("generate_image", prompt="a fox")
        await fence.until(lambda heard: RECORDS in heard)
    assert RECORDS not in ears.heard


async def one_model_more(_: Api) -> Any:
    """Return a live list with a model that nobody knew."""
    return {"models": [{"id": "brand-new", "name": "Brand New", "media_type": "image"}]}


@pytest.mark.parametrize("mode", MODES)
async def test_a_changed_catalogue_is_announced(
    mode: Mode, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What reads differently now is announced, and nothing else: some hosts tell the person."""
    ears = Ears()
    models = ["meigen://models", "meigen://models/veo-3.1"]
    async with connect(settings, emulator, mode, message_handler=ears.message) as on:
        catalogue = on.app.service.catalogue
        await catalogue.refresh()
        await anyio.wait_all_tasks_blocked()  # that first list is announced as well
        async with following(on, mode, ears, *models):
            ears.heard.clear()
            monkeypatch.setattr(current_catalogue, "FRESH_FOR", 0)
            emulator.options = Options(speed=0.5)
            await catalogue.refresh()
            heard = set(await ears.until(lambda heard: set(heard) >= {*models}))
            ears.heard.clear()
            monkeypatch.setattr(Api, "models", one_model_more)
            await catalogue.refresh()
            then = set(await ears.until(lambda heard: set(heard) >= {"tools", *models}))
    assert (heard, then) == ({*models}, {"tools", *models})


@pytest.mark.parametrize("mode", MODES)
async def test_a_change_made_by_another_process_is_announced(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Two servers share a data folder; a client of one hears of the other's generation."""
    ears = Ears()
    async with (
        connect(settings, emulator, mode, message_handler=ears.message) as on,
        connect(settings, emulator, mode) as other,
        following(on, mode, ears, RECORDS),
    ):
        answer = await other.call("generate_video", prompt="sandbox:stall", **VIDEO)
        await ears.until(lambda heard: {RECORDS, "resources"} <= set(heard))
        record = await on.call("check_status", generationId=answer["generationId"], wait=0)
    assert record["status"] == "processing"


@pytest.mark.parametrize("mode", MODES)
async def test_a_followed_record_is_looked_at_at_once(mode: Mode, settings: Settings) -> None:
    """The API needs minutes by its own account, but the result is heard of when it is there."""
    now = [1_800_000_000.0]
    ears = Ears()
    slow = Emulator(Options(speed=1), clock=lambda: now[0])
    async with connect(settings, slow, mode, message_handler=ears.message) as on:
        answer = await on.call("generate_video", prompt="waves", **VIDEO)
        now[0] += 1000
        status = answer
        async with following(on, mode, ears, answer["resourceUri"]):
            for times in count(1):  # that it was accepted may be heard first
                await ears.until(lambda heard: heard.count(answer["resourceUri"]) >= times)  # noqa: B023
                status = await on.call("check_status", requestId=answer["requestId"], wait=0)
                if status["status"] == "completed":
                    break
    assert answer["expectedSeconds"] > 30
    assert status["status"] == "completed"


# --- clients that stop reading, and clients that are gone ----------------------------------------

ENVELOPE = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


@asynccontextmanager
async def deaf(on: Connected, mode: Mode, uri: str) -> AsyncIterator[None]:
    """Connect a second client that follows a resource and then reads nothing any more."""
    async with (
        create_client_server_memory_streams() as ((read, write), (server_read, server_write)),
        anyio.create_task_group() as group,
    ):

        async def said(method: str, params: dict[str, Any], number: int | None = None) -> None:
            message: dict[str, Any] = {"jsonrpc": "2.0", "method": method, "params": params}
            if number is not None:
                message["id"] = number
            parsed = t.jsonrpc_message_adapter.validate_python(message)
            await write.send(SessionMessage(parsed))
            if number is not None:
                await read.receive()

        server = on.app.server
        options = server.create_initialization_options()
        group.start_soon(server.run, server_read, server_write, options)
        if mode == "legacy":
            await said("initialize", HELLO, 1)
            await said("notifications/initialized", {})
            await said("resources/subscribe", {"uri": uri}, 2)
        else:
            wanted = {"resourceSubscriptions": [uri], "resourcesListChanged": True}
            await said("subscriptions/listen", {"notifications": wanted, "_meta": ENVELOPE}, 1)
        yield
        await write.aclose()


@pytest.mark.parametrize("mode", MODES)
async def test_a_client_that_stops_reading_slows_nobody_else(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Another client gets its result and hears of it, and the poller goes on."""
    ears = Ears()
    async with (
        connect(settings, emulator, mode, message_handler=ears.message) as on,
        following(on, mode, ears, RECORDS),
        deaf(on, mode, RECORDS),
    ):
        with anyio.fail_after(10):
            answers = [
                await on.call("generate_image", prompt="a fox", modelId="z-image-turbo")
                for _ in range(5)
            ]
        await ears.until(lambda heard: heard.count("resources") >= 5)
    assert [answer["status"] for answer in answers] == ["completed"] * 5


@pytest.mark.parametrize("mode", MODES)
async def test_a_session_that_ends_is_forgotten(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """What a client followed is nobody's business once it is gone, even with unread messages."""
    ears = Ears()
    async with (
        connect(settings, emulator, mode, message_handler=ears.message) as on,
        following(on, mode, ears, RECORDS),
    ):
        async with deaf(on, mode, "meigen://models"):
            followed = dict(on.app.subscriptions.subscribed)
            await on.call("generate_image", prompt="a fox")
        with anyio.fail_after(10):
            while ("", "meigen://models") in on.app.subscriptions.subscribed:
                await anyio.lowlevel.checkpoint()
        await on.call("generate_image", prompt="a hare")
    assert followed == {("", RECORDS): 1, ("", "meigen://models"): 1}
    assert on.app.subscriptions.subscribed == {}


async def test_with_many_sessions_each_hears_seldom_that_a_list_is_another(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A record that it follows it hears of at once all the same."""
    monkeypatch.setattr(subscriptions, "LISTS_A_SECOND", 0.001)
    ears = Ears()
    async with (
        connect(settings, emulator, "legacy", message_handler=ears.message) as on,
        following(on, "legacy", ears, RECORDS),
    ):
        await on.call("generate_image", prompt="a fox")
        await ears.until(lambda heard: "resources" in heard)
        answer = await on.call("generate_video", prompt="waves", **VIDEO)
        async with following(on, "legacy", ears, answer["resourceUri"]):
            await on.call("check_status", generationId=answer["generationId"])
            await ears.until(lambda heard: answer["resourceUri"] in heard)
    assert (ears.heard.count("resources"), ears.heard.count(RECORDS)) == (1, 1)
