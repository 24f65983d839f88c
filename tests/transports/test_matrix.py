"""Both protocol eras over both transports, on real processes: what a client hears, and is asked."""

import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import Any, Literal

import anyio
import mcp_types as t
import pytest
import pytest_asyncio
from mcp.client.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from server.test_subscriptions import Ears
from support.in_memory import MODES, Mode
from support.over_http import SERVE, Served, connected, environment, process

from meigen_mcp.sandbox.running import run_sandbox

Transport = Literal["stdio", "HTTP"]
RECORDS = "meigen://generations"
IMAGE = {"prompt": "a fox", "modelId": "z-image-turbo"}
STALL = {**IMAGE, "prompt": "sandbox:stall"}
DEAR = {"prompt": "waves", "modelId": "seedance-2-0", "resolution": "1080p", "duration": 10}

pytestmark = pytest.mark.asyncio(loop_scope="module")
both_eras = pytest.mark.parametrize("mode", MODES)
everywhere = pytest.mark.parametrize("transport", ["stdio", "HTTP"])


@dataclass
class House:
    """A server process behind HTTP that all tests share, and how to start one over stdio."""

    served: Served
    stdio: StdioServerParameters

    @asynccontextmanager
    async def client(
        self, transport: Transport, mode: Mode, **options: Any
    ) -> AsyncIterator[Client]:
        """Connect a client of an era over a transport."""
        if transport == "HTTP":
            async with connected(self.served.url, mode, self.served.token, **options) as client:
                yield client
            return
        async with Client(stdio_client(self.stdio), mode=mode, **options) as client:
            yield client


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def house(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[House]:
    """Run the sandbox in this process, and a server over HTTP in another one."""
    folder = tmp_path_factory.mktemp("matrix")
    chosen = {"MEIGEN_CONFIRM_ABOVE": "100", "MEIGEN_RATE_LIMIT": "1000"}
    async with AsyncExitStack() as stack:
        sandbox = await stack.enter_async_context(
            run_sandbox(speed=0.07, rate_limit=1000, credits=10_000)
        )
        served = await stack.enter_async_context(process(folder, sandbox, **chosen))
        environ = environment(folder, sandbox, **chosen)
        stdio = StdioServerParameters(command=sys.executable, args=SERVE[1:], env=environ)
        yield House(served, stdio)


@asynccontextmanager
async def following(client: Client, mode: Mode, ears: Ears, *uris: str) -> AsyncIterator[None]:
    """Follow the lists and some resources until the end of the block, in the way of an era."""
    if mode == "legacy":
        for uri in uris:
            subscribe = t.SubscribeRequest(params=t.SubscribeRequestParams(uri=uri))
            await client.session.send_request(subscribe, t.EmptyResult)
        yield
        return
    async with (
        client.listen(resources_list_changed=True, resource_subscriptions=uris) as events,
        anyio.create_task_group() as group,
    ):

        async def listen() -> None:
            async for event in events:
                ears.event(event)

        group.start_soon(listen)
        yield
        group.cancel_scope.cancel()


async def call(client: Client, tool: str, given: dict[str, Any], **options: Any) -> dict[str, Any]:
    """Call a tool and return its structured content."""
    return dict((await client.call_tool(tool, given, **options)).structured_content or {})


async def told_of_the_end(client: Client, ears: Ears, uri: str, name: str) -> dict[str, Any]:
    """Look at a generation whenever its resource is announced, until it is completed."""
    while True:
        heard = ears.heard.count(uri)
        look = await call(client, "check_status", {"generationId": name, "wait": 0})
        if look["status"] == "completed":
            return look
        await ears.until(lambda now: now.count(uri) > heard)  # noqa: B023  # awaited at once


@everywhere
@both_eras
async def test_a_followed_record_is_updated(house: House, transport: Transport, mode: Mode) -> None:
    """The client hears of its generation's end, and then reads it."""
    ears = Ears()
    async with house.client(transport, mode, message_handler=ears.message) as client:
        made = await call(client, "generate_image", {**IMAGE, "wait": 0})
        async with following(client, mode, ears, made["resourceUri"]):
            done = await told_of_the_end(client, ears, made["resourceUri"], made["generationId"])
    assert done["mediaUrls"]


@everywhere
@both_eras
async def test_a_new_record_changes_the_list(
    house: House, transport: Transport, mode: Mode
) -> None:
    """The client hears it, and finds the record and its medium in the list."""
    ears = Ears()
    async with (
        house.client(transport, mode, message_handler=ears.message) as client,
        following(client, mode, ears),
    ):
        made = await call(client, "generate_image", IMAGE)
        await ears.until(lambda heard: "resources" in heard)
        listed = await client.list_resources()
    names = {str(resource.uri) for resource in listed.resources}
    assert {made["resourceUri"], f"{made['resourceUri']}/media/0"} <= names


@everywhere
@both_eras
async def test_a_waiting_call_reports_how_it_goes(
    house: House, transport: Transport, mode: Mode
) -> None:
    """Seconds against the expected time, and the state in words."""
    said: list[str] = []

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        del progress, total
        said.append(message or "")

    async with house.client(transport, mode) as client:
        answer = await call(
            client, "generate_image", {**STALL, "wait": 3}, progress_callback=progress
        )
    assert answer["status"] == "processing"
    assert said
    assert [words for words in said if " s of about " not in words] == []


@everywhere
@both_eras
async def test_a_cancelled_call_leaves_its_generation_alone(
    house: House, transport: Transport, mode: Mode
) -> None:
    """It is found under way in the history, over the same connection."""
    waiting = anyio.CancelScope()

    async def progress(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message
        waiting.cancel()

    prompt = f"sandbox:stall {transport} {mode}"
    async with house.client(transport, mode) as client:
        with anyio.fail_after(20), waiting:
            given = {**STALL, "prompt": prompt, "wait": 40}
            await client.call_tool("generate_image", given, progress_callback=progress)
        newest = await call(client, "check_status", {"limit": 1})
    found = [(row["prompt"], row["status"]) for row in newest["generations"]]
    assert waiting.cancelled_caught
    assert found == [(prompt, "processing")]


@everywhere
@both_eras
async def test_the_person_is_asked(house: House, transport: Transport, mode: Mode) -> None:
    """Once, in the client's own form; with their yes the generation is under way."""
    asked: list[str] = []

    async def person(
        context: ClientRequestContext, params: t.ElicitRequestParams
    ) -> t.ElicitResult:
        del context
        asked.append(params.message)
        return t.ElicitResult(action="accept", content={"approve": True})

    async with house.client(transport, mode, elicitation_callback=person) as client:
        answer = await call(client, "generate_video", DEAR)
    assert (answer["status"], len(asked)) == ("processing", 1)


@everywhere
@both_eras
async def test_a_long_wait_ends_with_the_result(
    house: House, transport: Transport, mode: Mode
) -> None:
    """One call brings the picture, as soon as it is there."""
    async with house.client(transport, mode) as client:
        given = {"prompt": "a fox", "modelId": "seedream-5.0-lite", "wait": 40}
        answer = await call(client, "generate_image", given)
        record = await client.read_resource(f"{answer['resourceUri']}/media/0")
    assert answer["status"] == "completed"
    assert record.contents[0].mime_type == "image/png"


@both_eras
async def test_a_client_of_one_server_is_told_what_another_finished(
    house: House, mode: Mode
) -> None:
    """Two processes share a ledger; the one that is followed did not make the picture."""
    ears = Ears()
    async with (
        house.client("HTTP", mode, message_handler=ears.message) as told,
        house.client("stdio", mode) as maker,
        following(told, mode, ears, RECORDS),
    ):
        made = await call(maker, "generate_image", {**IMAGE, "wait": 0})
        done = await told_of_the_end(told, ears, RECORDS, made["generationId"])
    assert done["mediaUrls"]
    assert RECORDS in ears.heard
