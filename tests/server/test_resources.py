"""The resources: what is listed, in which order, and what reading gives, in both protocol eras."""

import base64
import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as t
import pytest
from mcp.shared.exceptions import MCPError
from media.test_store import bare
from support.in_memory import MODES, Connected, Mode, connect, make_settings

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.server import resources
from meigen_mcp.settings import Settings

SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "resources.json"
FIXED = {
    "meigen://generations": "application/json",
    "meigen://models": "application/json",
    "ui://meigen/viewer.html": "text/html;profile=mcp-app",
}
FOX = {"prompt": "a fox", "modelId": "z-image-turbo"}


async def read_json(on: Connected, uri: str) -> Any:
    """Return the JSON of a resource."""
    [content] = (await on.client.read_resource(uri)).contents
    assert isinstance(content, t.TextResourceContents)
    assert (content.uri, content.mime_type) == (uri, "application/json")
    return json.loads(content.text)


async def read_medium(on: Connected, uri: str) -> tuple[str | None, bytes]:
    """Return the type and the bytes of a medium."""
    [content] = (await on.client.read_resource(uri)).contents
    assert isinstance(content, t.BlobResourceContents)
    assert content.uri == uri
    return content.mime_type, base64.b64decode(content.blob)


@pytest.mark.parametrize("mode", MODES)
async def test_records_and_their_media_are_listed_newest_first(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """After what is fixed comes each record, followed by its finished media."""
    four = {"prompt": "a fox", "modelId": "midjourney-v8.1", "resolution": "1K"}
    async with connect(settings, emulator, mode) as on:
        first = await on.call("generate_image", **FOX)
        second = await on.call("generate_image", **four)
        third = await on.call("generate_image", **{**FOX, "prompt": "sandbox:stall", "wait": 0})
        listed = await on.client.list_resources()
    assert [(r.uri, r.mime_type) for r in listed.resources] == [
        *FIXED.items(),
        (third["resourceUri"], "application/json"),
        (second["resourceUri"], "application/json"),
        *[(f"{second['resourceUri']}/media/{index}", "image/png") for index in range(4)],
        (first["resourceUri"], "application/json"),
        (f"{first['resourceUri']}/media/0", "image/png"),
    ]
    assert listed.next_cursor is None


@pytest.mark.parametrize("mode", MODES)
async def test_every_resource_says_what_it_is(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Claude Code's menu searches and shows the description, and never the title."""
    prompt = "a fox\n in the snow " * 20
    async with connect(settings, emulator, mode) as on:
        await on.call("generate_image", prompt=prompt, modelId="z-image-turbo")
        listed = (await on.client.list_resources()).resources
    told = [resource.description or "" for resource in listed]
    start = "a fox in the snow a fox in the snow"
    assert told[-2].startswith(f"completed image: {start}")
    assert told[-1].startswith(f"image 0: {start}")
    assert all(told)
    assert [words for words in told if len(words) > 150 or "\n" in words] == []


@pytest.mark.parametrize("mode", MODES)
async def test_pages_reach_the_end_without_repeats_while_new_records_arrive(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """Whoever pages sees each record that was there at the start exactly once."""
    async with connect(make_settings(tmp_path, MEIGEN_RATE_LIMIT="1000"), emulator, mode) as on:
        made = [await refused(on, number) for number in range(120)]
        seen, cursor = await page(on, None)
        pages = 1
        while cursor is not None:
            await refused(on, 1000 + pages)
            more, cursor = await page(on, cursor)
            seen, pages = seen + more, pages + 1
    assert seen == [*FIXED, *reversed(made)]
    assert pages == 3


async def refused(on: Connected, number: int) -> str:
    """Make a record without a medium, and return its URI."""
    prompt = f"sandbox:refuse {number}"
    uri: str = (await on.call("generate_image", **{**FOX, "prompt": prompt}))["resourceUri"]
    return uri


async def page(on: Connected, cursor: str | None) -> tuple[list[str], str | None]:
    """Return the URIs of a page, and the cursor of the next."""
    listed = await on.client.list_resources(cursor=cursor)
    return [resource.uri for resource in listed.resources], listed.next_cursor


@pytest.mark.parametrize("mode", MODES)
async def test_a_record_is_read_under_both_of_its_ids(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """It has the facts of the tool's answer, whichever id stands in the URI."""
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_image", **FOX)
        records = [
            await read_json(on, f"meigen://generations/{name}")
            for name in (answer["generationId"], answer["requestId"], answer["requestId"].upper())
        ]
    del answer["next"]
    assert records == [answer] * 3


@pytest.mark.parametrize("mode", MODES)
async def test_a_record_stands_under_its_request_id_until_the_api_has_named_it(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """A parked generation has no other id; it is listed and read under this one."""
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_image", prompt="sandbox:no-credits")
        record = await read_json(on, answer["resourceUri"])
        uris, _ = await page(on, None)
    assert answer["resourceUri"] == f"meigen://generations/{answer['requestId']}"
    assert uris == [*FIXED, answer["resourceUri"]]
    assert record["error"]["code"] == "insufficient_credits"
    assert "generationId" not in record


@pytest.mark.parametrize("mode", MODES)
async def test_the_newest_generations_are_those_of_check_status(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The resource and the tool give the same rows and sums."""
    async with connect(settings, emulator, mode) as on:
        for prompt in ("first", "second"):
            await on.call("generate_image", **{**FOX, "prompt": prompt})
        listing = await on.call("check_status", limit=50)
        resource = await read_json(on, "meigen://generations")
    assert [row["prompt"] for row in resource["generations"]] == ["second", "first"]
    assert resource == listing


@pytest.mark.parametrize(
    ("tool", "model"), [("generate_image", "z-image-turbo"), ("generate_video", "seedance-2-0")]
)
@pytest.mark.parametrize("mode", MODES)
async def test_a_medium_is_what_the_api_made(
    mode: Mode, tool: str, model: str, settings: Settings, emulator: Emulator
) -> None:
    """Reading it gives the saved file; but for its texts and mark, that is what the URL gives."""
    async with connect(settings, emulator, mode) as on:
        answer = await on.call(tool, prompt="a fox", modelId=model, wait=25)
        found = await read_medium(on, f"{answer['resourceUri']}/media/0")
        async with httpx.AsyncClient(transport=on.transport) as http:
            made = (await http.get(answer["mediaUrls"][0])).content
    kind = "image/png" if tool == "generate_image" else "video/mp4"
    saved = Path(answer["files"][0]).read_bytes()
    assert found == (kind, saved)
    assert bare(saved) == made


@pytest.mark.parametrize("mode", MODES)
async def test_a_medium_whose_file_is_gone_comes_from_its_url(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The person may tidy the folder."""
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_image", **FOX)
        saved = Path(answer["files"][0])
        data = bare(saved.read_bytes())
        saved.unlink()
        found = await read_medium(on, f"{answer['resourceUri']}/media/0")
    assert found == ("image/png", data)


@pytest.mark.parametrize("mode", MODES)
async def test_a_medium_too_large_for_a_message_is_refused_with_both_places(
    mode: Mode, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The error names the URL and the saved file."""
    monkeypatch.setattr(resources, "LARGEST_RESOURCE", 100)
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_image", **FOX)
        with pytest.raises(MCPError) as caught:
            await on.client.read_resource(f"{answer['resourceUri']}/media/0")
    assert answer["mediaUrls"][0] in caught.value.message
    assert answer["files"][0] in caught.value.message


@pytest.mark.parametrize("index", ["1", "-1", "01", "0x0", "\u0660", "", "9" * 5000, "0/0"])
async def test_an_index_without_a_medium_is_not_found(
    index: str, settings: Settings, emulator: Emulator
) -> None:
    """Only the whole numbers below the count of media are indices."""
    async with connect(settings, emulator) as on:
        answer = await on.call("generate_image", **FOX)
        with pytest.raises(MCPError, match="Resource not found"):
            await on.client.read_resource(f"{answer['resourceUri']}/media/{index}")


@pytest.mark.parametrize("mode", MODES)
async def test_models_are_read_as_list_models_gives_them(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The list and each model are the tool's own facts."""
    async with connect(settings, emulator, mode) as on:
        rows = await on.call("list_models")
        details = await on.call("list_models", modelId="veo-3.1")
        assert await read_json(on, "meigen://models") == rows
        assert await read_json(on, "meigen://models/veo-3.1") == details["models"][0]


async def test_what_another_token_made_is_read(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """On the same ledger, by a server of the same person: a token is renewed now and then."""
    other = make_settings(tmp_path, MEIGEN_API_TOKEN="meigen_sk_" + "0ther-32" * 4)
    async with connect(settings, emulator) as on, connect(other, emulator) as elsewhere:
        answer = await on.call("generate_image", **FOX)
        uris, _ = await page(elsewhere, None)
        record = await read_json(elsewhere, answer["resourceUri"])
    assert answer["resourceUri"] in uris
    assert record["mediaUrls"] == answer["mediaUrls"]


async def test_a_server_for_others_shows_nothing_of_another_account(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """On the same ledger, a server with another token lists and reads none of its records."""
    token = "meigen_sk_" + "0ther-32" * 4
    other = replace(make_settings(tmp_path, MEIGEN_API_TOKEN=token), discreet=True)
    async with connect(settings, emulator) as on, connect(other, emulator) as elsewhere:
        answer = await on.call("generate_image", **FOX)
        uris, _ = await page(elsewhere, None)
        with pytest.raises(MCPError, match="Resource not found"):
            await elsewhere.client.read_resource(answer["resourceUri"])
    assert uris == [*FIXED]


@pytest.mark.parametrize("mode", MODES)
async def test_templates_are_those_of_the_snapshot(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """What clients offer for filling in changes only on purpose (MEIGEN_SNAPSHOT=1)."""
    async with connect(settings, emulator, mode) as on:
        fixed = (await on.client.list_resources()).resources
        templates = (await on.client.list_resource_templates()).resource_templates
    shown = {
        "resources": [r.model_dump(by_alias=True, exclude_none=True) for r in fixed],
        "resourceTemplates": [r.model_dump(by_alias=True, exclude_none=True) for r in templates],
    }
    if os.environ.get("MEIGEN_SNAPSHOT") == "1":
        await anyio.Path(SNAPSHOT).write_text(json.dumps(shown, indent=2) + "\n", "utf-8")
    assert shown == json.loads(SNAPSHOT.read_text("utf-8"))
