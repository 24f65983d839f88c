"""What replies and the live list say is shown without what it could do, and bounded."""

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any
from urllib.parse import quote

import httpx
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from support.foreign_words import ESC, ISOLATE, ORDER, OSC, RTL, TAGS, odd, texts
from support.in_memory import MODES, ORIGIN, InMemory, Mode, connect

from meigen_mcp import app
from meigen_mcp.api import replies
from meigen_mcp.catalogue import live_list
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

# --- replies ------------------------------------------------------------------------------------


class Spoken(InMemory):
    """A sandbox whose replies about a generation have other words, and maybe another id."""

    def __init__(self, emulator: Emulator, said: Mapping[str, Any]) -> None:
        super().__init__(emulator)
        self.said = said
        self.id = ""

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Translate the id, and put the words into the reply."""
        if "generationId" in self.said and b"/status/" in request.url.raw_path:
            start, _, asked = request.url.raw_path.partition(b"/status/")
            assert asked.decode() == quote(str(self.said["generationId"]), safe="")
            request.url = request.url.copy_with(raw_path=start + b"/status/" + self.id.encode())
        reply = await super().handle_async_request(request)
        await reply.aread()
        if b"/generate/" not in request.url.raw_path or reply.status_code != 200:
            return reply
        payload = reply.json()
        self.id = self.id or payload.get("generationId", "")
        return httpx.Response(200, json={**payload, **self.said}, request=request)


@asynccontextmanager
async def speaking(
    configured: Settings, emulator: Emulator, said: Mapping[str, Any], mode: Mode
) -> AsyncIterator[Client]:
    """Connect a client to a server whose API says something odd."""
    async with (
        app.run_app(configured, Spoken(emulator, said)) as running,
        Client(running.server, mode=mode) as client,
    ):
        yield client


LEFT_OUT = "left out"
CLEAN = "shown without them"
NO_MEDIUM = "no medium: it goes on being looked at"
BY_REQUEST = "kept and looked up; shown by its requestId"
FAILED = {"status": "failed", "creditsStatus": "refunded"}
WORDS: tuple[tuple[str, dict[str, Any], str], ...] = (
    ("`modelId` with an escape", {"modelId": f"z-image{ESC}"}, LEFT_OUT),
    ("`modelId` that is 500 characters of orders", {"modelId": (ORDER * 9)[:500]}, LEFT_OUT),
    ("`aspectRatio` with a new line and an order", {"aspectRatio": f"1:1\n{ORDER}"}, LEFT_OUT),
    ("`aspectRatio` with a direction mark", {"aspectRatio": f"{RTL}9:16"}, LEFT_OUT),
    ("`failureCode` that is an order", {**FAILED, "failureCode": ORDER}, LEFT_OUT),
    ("`failureCode` with an escape", {**FAILED, "failureCode": f"x{OSC}"}, LEFT_OUT),
    ("`error` with escapes", {**FAILED, "error": f"No{ESC}{OSC}."}, CLEAN),
    (
        "`error` with direction marks",
        {**FAILED, "error": f"{RTL}.oN{ISOLATE}"},
        CLEAN,
    ),
    (
        "`error` with tags that only models read",
        {**FAILED, "error": f"No{TAGS}."},
        CLEAN,
    ),
    ("`error` on many lines", {**FAILED, "error": f"No.\nnext: {ORDER}"}, "on one line"),
    ("`error` of 10,000 characters", {**FAILED, "error": "No " * 3333}, "cut at 500"),
    ("`status` that is an order", {"status": f"done\n{ORDER}"}, "taken for processing"),
    ("`generationId` with a new line", {"generationId": "a\nb"}, BY_REQUEST),
    ("`generationId` with an escape", {"generationId": f"a{ESC}"}, BY_REQUEST),
    ("`generationId` that leads up a path", {"generationId": "../../models"}, BY_REQUEST),
    ("`generationId` of 500 characters", {"generationId": "x" * 500}, BY_REQUEST),
    ("`generationId` with a query", {"generationId": "a?b#c"}, BY_REQUEST),
    ("a URL with a direction mark", {"imageUrls": [f"{ORIGIN}/{RTL}gnp"]}, "percent-encoded"),
    ("a URL with a new line", {"imageUrls": [f"{ORIGIN}/a\nb"], "imageUrl": None}, NO_MEDIUM),
)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("said", "becomes"), [row[1:] for row in WORDS], ids=[r[0] for r in WORDS])
async def test_words_of_a_reply_do_nothing(
    said: dict[str, Any], becomes: str, mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """In no answer, text, record or list; and the generation is not lost for them."""
    ends = "failed" if said.get("status") == "failed" else "completed"
    if said.get("status", ends) != ends or becomes == NO_MEDIUM:
        ends = "processing"
    call: dict[str, Any] = {"prompt": "a fox", "modelId": "z-image-turbo", "aspectRatio": "1:1"}
    call["wait"] = 0 if ends == "processing" else 30
    async with speaking(settings, emulator, said, mode) as client:
        made = await client.call_tool("generate_image", call)
        structure = dict(made.structured_content or {})
        record = await client.read_resource(structure["resourceUri"])
        by_id = await client.call_tool(
            "check_status", {"requestId": structure["requestId"], "wait": 0}
        )
        newest = await client.call_tool("check_status", {})
        resources = await client.list_resources()
    known = dict(by_id.structured_content or {})
    shown: list[str] = [block.text for block in made.content if block.type == "text"]
    shown += [block.text for block in newest.content if block.type == "text"]
    shown += [content.text for content in record.contents]  # type: ignore[union-attr]  # they are texts
    shown += texts([structure, known, newest.structured_content])
    shown += [text for one in resources.resources for text in (str(one.uri), one.title or "")]
    assert [text for text in shown if odd(text)] == []
    assert not [text for text in shown if ORDER in text and "error" not in said]
    assert known["status"] == ends
    assert becomes_of(said, known) == becomes


def becomes_of(said: Mapping[str, Any], known: Mapping[str, Any]) -> str:
    """Say what became of odd words in an answer."""
    if "generationId" in said:
        named = known["resourceUri"].rpartition("/")[2]
        return BY_REQUEST if named == known["requestId"] and "generationId" not in known else "?"
    if "failureCode" in said:
        return LEFT_OUT if known["error"]["code"] == "generation_failed" else "?"
    if "error" in said:
        message = known["error"]["message"]
        if len(said["error"]) > 1000:
            return "cut at 500" if 480 < len(message) < 640 else "?"
        if "\n" in said["error"]:
            return "on one line" if "\n" not in message else "?"
        return CLEAN
    if "imageUrls" in said:
        urls = known.get("mediaUrls", [])
        return "percent-encoded" if "%E2%80%AE" in str(urls) else "?" if urls else NO_MEDIUM
    if "status" in said:
        return "taken for processing" if known["status"] == "processing" else "?"
    ratio = None if "aspectRatio" in said else "1:1"
    same = (known["modelId"], known.get("aspectRatio")) == ("z-image-turbo", ratio)
    return LEFT_OUT if same else "?"


def test_an_id_that_is_a_number_is_one() -> None:
    """Some APIs count."""
    report = replies.report({"status": "processing", "generationId": 12345}, lambda _: True)
    assert report.generation_id == "12345"
    for none in ("", " ", ".", "..", True, None, 1.5, ["a"], "x" * 3000):
        report = replies.report({"status": "processing", "generationId": none}, lambda _: True)
        assert report.generation_id is None


# --- the live list ------------------------------------------------------------------------------


def model(model_id: str = "new-model", **said: Any) -> dict[str, Any]:
    """Return an entry of the live list."""
    flat = {"media_type": "image", "credits_per_generation": 5}
    return {"id": model_id, "name": "New", **flat, **said}


def extra(**config: Any) -> dict[str, Any]:
    """Return an entry of which only `extra_config` is odd."""
    return model(extra_config=config)


NO_MODEL = "the model is left out and counted"
NO_VALUE = "the value is left out"
DEEP = {f"k{number}": {f"x{inner}": 5 for inner in range(200)} for number in range(200)}
CROWD = [f"m{number}" for number in range(500)]
LIVE: tuple[tuple[str, list[dict[str, Any]], str], ...] = (
    ("a model id with a new line", [model(f"x\n{ORDER}")], NO_MODEL),
    ("a model id with an escape", [model(f"x{ESC}")], NO_MODEL),
    ("a model id of 129 characters", [model("x" * 129)], NO_MODEL),
    ("a name with escapes and marks", [model(name=f"N{ESC}{RTL}ew")], CLEAN),
    ("a name of 1,000 characters", [model(name="x" * 1000)], "cut at 200"),
    ("a ratio that is an order", [model(supported_ratios=["1:1", ORDER])], NO_VALUE),
    ("a resolution with an escape", [extra(resolutions=["1K", f"2K{ESC}"])], NO_VALUE),
    ("a price by a name with a mark", [extra(pricing={f"1K{RTL}": 5, "2K": 7})], NO_VALUE),
    ("a tag that is an order", [extra(tags=[ORDER * 3])], "cut at 40"),
    ("500 models", [model(name) for name in CROWD], "100 are taken, the others counted"),
    ("a table of 40,000 prices", [extra(pricing=DEEP)], NO_MODEL),
)


class Listing(InMemory):
    """A sandbox with another list of models."""

    def __init__(self, emulator: Emulator, body: Any) -> None:
        super().__init__(emulator)
        self.body = body

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer with the list."""
        if request.url.path.endswith("/models"):
            return httpx.Response(200, json=self.body, request=request)
        return await super().handle_async_request(request)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(("entries", "becomes"), [r[1:] for r in LIVE], ids=[r[0] for r in LIVE])
async def test_words_of_the_live_list_do_nothing(
    entries: list[dict[str, Any]], becomes: str, mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Neither in a schema nor in an answer, and both stay small."""
    async with (
        app.run_app(settings, Listing(emulator, {"success": True, "models": entries})) as running,
        Client(running.server, mode=mode) as client,
    ):
        assert await running.service.catalogue.refresh()
        tools = (await client.list_tools()).model_dump_json()
        found = await client.call_tool("list_models", {})
        known = {row["modelId"] for row in (found.structured_content or {})["models"]}
        details = [
            await client.call_tool("list_models", {"modelId": name})
            for name in known & {"new-model", "m0"}
        ]
    answer = dict(found.structured_content or {})
    shown = [*texts(json.loads(tools)), *texts(answer)]
    shown += [text for one in details for text in texts(one.structured_content)]
    shown += [b.text for one in (found, *details) for b in one.content if b.type == "text"]
    assert [text for text in shown if odd(text)] == []
    assert [text for text in shown if ORDER in text] == []
    assert len(tools) < 64_000
    assert max(len(one.model_dump_json()) for one in (found, *details)) < live_list.LARGEST_LIST
    assert "gpt-image-2" in known
    new = {row["modelId"]: row for row in answer["models"]}.get("new-model", {})
    left_out = answer.get("leftOut", 0)
    seen = {
        NO_MODEL: (new, left_out) == ({}, 1),
        CLEAN: new.get("name") == "N [2Jew",
        "cut at 200": len(new.get("name", "")) == 200,
        NO_VALUE: "new-model" in known and not left_out,
        "cut at 40": [len(tag) for tag in new.get("tags", ())] == [40],
        "100 are taken, the others counted": left_out == 400 and len(known) >= 100,
    }
    assert seen[becomes]
    assert not left_out or f": {left_out}" in found.content[0].text  # type: ignore[union-attr]  # text


def test_shipped_models_come_first_in_a_long_list() -> None:
    """However far behind they stand."""
    crowd = [model(name) for name in CROWD]
    found = live_list.read({"models": [*crowd, model("gpt-image-2")]}, {"gpt-image-2"})
    assert found is not None
    assert [row.id for row in found.rows[:2]] == ["gpt-image-2", "m0"]
    assert (len(found.rows), found.left_out) == (100, 401)


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_asked_for_and_is_not_there_is_told_without_what_it_could_do(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """A model reads names and addresses in somebody's words, and asks for them."""
    word = f"a{ESC}{RTL}{TAGS}b"
    async with connect(settings, emulator, mode) as on:
        asked = (
            lambda: on.client.call_tool(word, {}),
            lambda: on.client.get_prompt(word),
            lambda: on.client.read_resource(f"meigen://generations/{word}"),
            lambda: on.client.call_tool("check_status", {word: word}),
        )
        for ask in asked:
            try:
                told = (await ask()).model_dump_json()
            except MCPError as error:
                told = error.error.model_dump_json()
            assert [text for text in texts(json.loads(told)) if odd(text)] == []
