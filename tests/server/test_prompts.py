"""Prompts, completions, caching hints and instructions, as a client of either era sees them."""

import json
import os
from pathlib import Path

import mcp_types as t
import pytest
from mcp.shared.exceptions import MCPError
from support.in_memory import MODES, Mode, connect, make_settings

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.server.server import INSTRUCTIONS
from meigen_mcp.settings import Settings

SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "prompts.json"


@pytest.mark.parametrize("mode", MODES)
async def test_the_menu_is_a_contract(mode: Mode, settings: Settings, emulator: Emulator) -> None:
    """The prompts are those of the snapshot; MEIGEN_SNAPSHOT=1 writes it anew."""
    async with connect(settings, emulator, mode) as on:
        listed = (await on.client.list_prompts()).prompts
    found = [p.model_dump(mode="json", by_alias=True, exclude_none=True) for p in listed]
    if os.environ.get("MEIGEN_SNAPSHOT"):
        SNAPSHOT.write_text(json.dumps(found, indent=2) + "\n", encoding="utf-8")
    assert found == json.loads(SNAPSHOT.read_text(encoding="utf-8"))


@pytest.mark.parametrize("mode", MODES)
async def test_a_prompt_gives_a_message_to_send(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """With its blanks filled in."""
    async with connect(settings, emulator, mode) as on:
        got = await on.client.get_prompt("product_shot", {"product": "a red mug"})
    content = got.messages[0].content
    assert isinstance(content, t.TextContent)
    assert (got.messages[0].role, "a red mug" in content.text) == ("user", True)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    ("name", "blanks", "said"),
    [
        ("nope", {}, "Unknown prompt: nope"),
        ("product_shot", {"photo": "mug"}, '"mug" is no picture'),
        ("storyboard", {"modelId": "veo-3.1"}, "seedance-2-0"),
    ],
)
async def test_a_wrong_prompt_is_refused_by_name(
    mode: Mode,
    name: str,
    blanks: dict[str, str],
    said: str,
    settings: Settings,
    emulator: Emulator,
) -> None:
    """As invalid parameters, with what is wrong."""
    async with connect(settings, emulator, mode) as on:
        with pytest.raises(MCPError, match=said) as refused:
            await on.client.get_prompt(name, blanks)
    assert refused.value.error.code == t.INVALID_PARAMS


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_typed_is_completed(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Models, ratios of the chosen model, generation ids and media of the chosen generation."""
    template = "meigen://generations/{generationId}/media/{index}"
    async with connect(settings, emulator, mode) as on:
        made = await on.call("generate_image", prompt="x", modelId="midjourney-v8.1")
        name = made["generationId"]
        prompt = t.PromptReference(name="image_to_video")
        medium = t.ResourceTemplateReference(uri=template)
        model = t.ResourceTemplateReference(uri="meigen://models/{modelId}")
        asked = [
            await on.client.complete(prompt, {"name": "modelId", "value": "veo"}),
            await on.client.complete(
                prompt,
                {"name": "aspectRatio", "value": "9:"},
                context_arguments={"modelId": "veo-3.1"},
            ),
            await on.client.complete(medium, {"name": "generationId", "value": name[:5]}),
            await on.client.complete(
                medium, {"name": "index", "value": ""}, context_arguments={"generationId": name}
            ),
            await on.client.complete(medium, {"name": "index", "value": ""}),
            await on.client.complete(model, {"name": "modelId", "value": "flux"}),
        ]
    found = [answer.completion.values for answer in asked]
    assert found == [
        ["veo-3.1"],
        ["9:16"],
        [name],
        ["0", "1", "2", "3"],
        [],
        ["flux2-klein"],
    ]


async def test_what_never_changes_may_be_kept_and_what_does_may_not(
    settings: Settings, emulator: Emulator
) -> None:
    """Finished records and media for a day, lists for minutes, the history not at all."""
    async with connect(settings, emulator) as on:
        made = await on.call("generate_image", prompt="x", modelId="nanobanana-2")
        uris = [
            "meigen://generations",
            made["resourceUri"],
            f"{made['resourceUri']}/media/0",
            "meigen://models",
        ]
        kept = [(await on.client.read_resource(uri)).ttl_ms for uri in uris]
        lists = [
            (await on.client.list_tools()).ttl_ms,
            (await on.client.list_prompts()).ttl_ms,
            (await on.client.list_resource_templates()).ttl_ms,
            (await on.client.list_resources()).ttl_ms,
        ]
    assert kept == [0, 86_400_000, 86_400_000, 300_000]
    assert lists == [300_000, 300_000, 300_000, 0]


@pytest.mark.parametrize("mode", MODES)
async def test_the_server_introduces_itself(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Instructions of at most 1,200 characters, a title, one icon."""
    async with connect(settings, emulator, mode) as on:
        info = on.client.server_info
        assert info is not None
        assert on.client.instructions == INSTRUCTIONS
    assert len(INSTRUCTIONS) <= 1200
    assert (info.name, info.title, len(info.icons or ())) == ("meigen-mcp", "MeiGen", 1)


async def test_an_allow_list_takes_prompts_and_completions_away(
    tmp_path: Path, emulator: Emulator
) -> None:
    """Nothing names a model that may not be used."""
    configured = make_settings(tmp_path, MEIGEN_MODELS="z-image-turbo")
    async with connect(configured, emulator) as on:
        listed = (await on.client.list_prompts()).prompts
        reference = t.ResourceTemplateReference(uri="meigen://models/{modelId}")
        found = await on.client.complete(reference, {"name": "modelId", "value": ""})
    assert (listed, found.completion.values) == ([], ["z-image-turbo"])
