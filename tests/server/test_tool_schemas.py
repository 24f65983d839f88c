"""The four tools as clients list them, and what list_models says of each model."""

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.rich_models import NOON, rich

from meigen_mcp.catalogue.arguments import form
from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.server.tool_schemas import make_tools
from meigen_mcp.views import models as model_views

SNAPSHOT = Path(__file__).parents[1] / "snapshots" / "tools.json"
CATALOGUES = {
    "shipped": shipped(),
    "sandbox": Emulator(Options(seed=1, speed=1), clock=lambda: NOON).catalogue,
    "rich": rich(),
}
catalogues = pytest.mark.parametrize("models", CATALOGUES.values(), ids=CATALOGUES)


def listed(models: Catalogue) -> dict[str, dict[str, Any]]:
    """Return the tools as they go over the wire, by name."""
    tools = [
        tool.model_dump(mode="json", by_alias=True, exclude_none=True)
        for tool in make_tools(models)
    ]
    return {tool["name"]: tool for tool in tools}


def described(models: Catalogue, tool: str) -> dict[str, str]:
    """Return the description of each argument of a tool."""
    properties = listed(models)[tool]["inputSchema"]["properties"]
    return {name: schema["description"] for name, schema in properties.items()}


# --- tools/list -----------------------------------------------------------------------------------


def test_the_tools_are_those_of_the_snapshot() -> None:
    """The surface is a contract; MEIGEN_SNAPSHOT=1 writes a changed one down for review."""
    text = json.dumps([*listed(shipped()).values()], indent=2, sort_keys=True, ensure_ascii=False)
    if os.environ.get("MEIGEN_SNAPSHOT") == "1":
        SNAPSHOT.write_text(f"{text}\n", encoding="utf-8")
    assert SNAPSHOT.read_text(encoding="utf-8") == f"{text}\n"


@catalogues
def test_the_four_tools_say_truly_what_they_do(models: Catalogue) -> None:
    """Generating is never read-only, by default never idempotent; nothing is destroyed."""
    spends = {"readOnlyHint": False, "destructiveHint": False, "openWorldHint": True}
    looks = {"readOnlyHint": True, "openWorldHint": True}
    assert {name: tool["annotations"] for name, tool in listed(models).items()} == {
        "generate_image": spends,
        "generate_video": spends,
        "check_status": looks,
        "list_models": {**looks, "openWorldHint": False},
    }


@catalogues
def test_names_titles_and_output_schemas_fit_every_client(models: Catalogue) -> None:
    """Short names, a title, and an output schema that is an object."""
    for name, tool in listed(models).items():
        Draft202012Validator.check_schema(tool["outputSchema"])
        assert tool["outputSchema"]["type"] == "object"
        assert len(name) <= 21
        assert tool["title"]


def test_the_arguments_are_those_of_the_contract() -> None:
    """In the order in which a person reads them; what must be there is said."""
    schemas = {name: tool["inputSchema"] for name, tool in listed(shipped()).items()}
    control = ["wait", "maxCredits", "dryRun", "requestId"]
    assert {name: [*schema["properties"]] for name, schema in schemas.items()} == {
        "generate_image": [
            *("prompt", "modelId", "aspectRatio", "resolution", "quality", "referenceImages"),
            *("referenceType", "niji7Options", *control),
        ],
        "generate_video": [
            *("prompt", "modelId", "aspectRatio", "resolution", "duration", "tier"),
            *("referenceImages", "referenceVideo", "referenceVideoDuration", *control),
        ],
        "check_status": ["generationId", "requestId", "wait", "limit"],
        "list_models": ["mediaType", "modelId"],
    }
    assert {name: schema.get("required", []) for name, schema in schemas.items()} == {
        "generate_image": ["prompt"],
        "generate_video": ["prompt", "modelId"],
        "check_status": [],
        "list_models": [],
    }


@catalogues
def test_every_argument_is_described(models: Catalogue) -> None:
    """A property without words is a riddle, and so is a member of an object."""
    for tool in listed(models).values():
        for schema in _properties(tool["inputSchema"]):
            assert schema["description"].strip()


def _properties(schema: dict[str, Any]) -> Iterator[dict[str, Any]]:
    for inner in schema.get("properties", {}).values():
        yield inner
        yield from _properties(inner)


# --- limits in the descriptions -------------------------------------------------------------------


def test_the_descriptions_of_an_image_say_the_limits_of_each_model() -> None:
    """Clients drop most keywords of a schema, so the words must do."""
    said = described(shipped(), "generate_image")
    names = ("modelId", "aspectRatio", "resolution", "quality", "referenceImages")
    assert {name: said[name] for name in names} == {
        "modelId": "Default now gpt-image-2. Legacy: midjourney-v7.",
        "aspectRatio": "Default auto. All: 1:1 3:2 2:3 16:9 9:16 4:3 3:4. Also"
        " gemini-3-pro-image-preview: 4:5 5:4 21:9; seedream-5.0-lite: same; others: any W:H.",
        "resolution": "Default by model. gpt-image-2: 1K 2K 4K; seedream-5.0-lite: 2K 3K;"
        " midjourney-v8.1: 1K 2K; others: any.",
        "quality": "Finer is dearer. gpt-image-2 only: default low.",
        "referenceImages": "https URLs, paths or meigen://. midjourney-v8.1: max 1;"
        " z-image-turbo: none; others: max 5.",
    }


def test_the_descriptions_of_a_video_say_the_limits_of_each_model() -> None:
    """Lengths, tiers and the way to continue a clip."""
    said = described(shipped(), "generate_video")
    names = ("aspectRatio", "duration", "tier", "referenceImages", "referenceVideoDuration")
    assert {name: said[name] for name in names} == {
        "aspectRatio": "Default auto. seedance-2-0: adaptive or any W:H; others: any W:H.",
        "duration": "Seconds, default by model. seedance-2-0: 4-15; happyhorse-1.0: 3-15;"
        " veo-3.1: 4 6 8.",
        "tier": "Finer is dearer. happyhorse-1.0: none; others: default fast.",
        "referenceImages": "First, last frame. https URLs, paths or meigen://."
        " happyhorse-1.0: max 1; others: max 5.",
        "referenceVideoDuration": "Its billed seconds; needed for https URLs. seedance-2-0 only.",
    }


def test_the_options_of_midjourney_say_range_and_default() -> None:
    """Each member by itself."""
    options = listed(shipped())["generate_image"]["inputSchema"]["properties"]["niji7Options"]
    assert {name: schema["description"] for name, schema in options["properties"].items()} == {
        "stylize": "0-1000, default 100",
        "chaos": "0-100, default 5",
        "raw": "default false",
        "iw": "0-2, default 1",
        "sref": "a style code, word or public https URL",
        "sw": "0-1000, default 100",
        "quality": "default 4",
    }


def test_the_live_list_changes_the_descriptions() -> None:
    """What the list says is what a model reads."""
    said = described(rich(), "generate_video")
    assert said["duration"] == (
        "Seconds, default by model. seedance-2-0: 4-12; happyhorse-1.0: 3-15; veo-3.1: 4 6 8;"
        " grok-video: 4 8 12 16."
    )
    assert said["tier"] == (
        "Finer is dearer. seedance-2-0: default mini; veo-3.1: fast pro, default fast;"
        " others: none."
    )


def test_ratios_are_said_in_words_and_not_in_the_schema_besides() -> None:
    """Of each model, as the union is what none takes; what all take is all that the rest take."""
    ratio = {
        tool: schema["inputSchema"]["properties"]["aspectRatio"]
        for tool, schema in listed(CATALOGUES["sandbox"]).items()
        if tool.startswith("generate")
    }
    assert ratio == {
        "generate_image": {
            "type": "string",
            "description": "Default auto. All: 1:1 3:4 4:3 16:9 9:16. Also gpt-image-2,"
            " midjourney-v8.1: 21:9 5:4 4:5; gemini-3-pro-image-preview: 3:2 2:3 4:5 5:4 21:9;"
            " nanobanana-2: 4:5 2:3 5:4 3:2 21:9 4:1 1:4; seedream-5.0-lite: 3:2 2:3;"
            " seedream-4.5: 3:2 2:3 21:9.",
        },
        "generate_video": {
            "type": "string",
            "description": "Default auto. All: 16:9 9:16. Also seedance-2-0: adaptive 1:1 4:3 3:4"
            " 21:9; happyhorse-1.0: 1:1.",
        },
    }


def test_a_clip_says_what_it_may_be_where_no_image_does() -> None:
    """Elsewhere it is said of the images, which stand before it."""
    (seedance,) = [m for m in shipped().models if m.id == "seedance-2-0"]
    alone = Catalogue((seedance.model_copy(update={"max_reference_images": 0}),))
    for models, about in (
        (shipped(), "Clip to continue, given as images are."),
        (alone, "Clip to continue: https URLs, paths or meigen://."),
    ):
        assert described(models, "generate_video")["referenceVideo"] == about
    assert "referenceImages" not in described(alone, "generate_video")


def test_an_allow_list_shrinks_the_schemas() -> None:
    """Only the models that may be used, and only the arguments that they take."""
    few = listed(shipped().only(["z-image-turbo", "happyhorse-1.0"]))
    control = ["wait", "maxCredits", "dryRun", "requestId"]
    image, video = (few[name]["inputSchema"] for name in ("generate_image", "generate_video"))
    assert [*image["properties"]] == ["prompt", "modelId", "aspectRatio", "resolution", *control]
    assert video["properties"]["modelId"]["enum"] == ["happyhorse-1.0"]
    assert video["properties"]["referenceImages"]["description"].endswith(" max 1.")


def test_a_tool_without_a_model_stays_a_valid_tool() -> None:
    """It is listed, requires nothing that it does not define, and a call says what is wrong."""
    schema = listed(shipped().only(["veo-3.1"]))["generate_image"]["inputSchema"]
    assert [*schema["properties"]] == ["prompt", "wait", "maxCredits", "dryRun", "requestId"]
    assert schema["required"] == ["prompt"]


# --- list_models ----------------------------------------------------------------------------------


@catalogues
def test_the_models_fit_in_one_short_text(models: Catalogue) -> None:
    """Every listed model has a line with its rules and prices, all within 6 kB."""
    text = model_views.models_text(models.listed())
    lines = text.splitlines()
    assert [line.split()[0] for line in lines] == [model.id for model in models.listed()]
    assert all("references" in line and "credits" in line for line in lines)
    assert len(text.encode()) < 6_000


@pytest.mark.parametrize(
    ("catalogue", "model_id", "line"),
    [
        (
            "shipped",
            "gpt-image-2",
            "gpt-image-2 (GPT Image 2.0, image) default, ratios any W:H, resolutions 1K 2K 4K"
            " (default 2K), qualities low medium high (default low), references 5, credits: 1K low"
            " = 2, 2K low = 5 per image; about 1K medium = 10, 2K medium = 25, 4K medium = 40 per"
            " image, ~45 s",
        ),
        (
            "shipped",
            "seedance-2-0",
            "seedance-2-0 (Seedance 2.0, video), ratios any W:H, resolutions 480p 720p 1080p,"
            " tiers fast pro (default fast), seconds 4-15 (default 5), adaptive with a reference,"
            " references 5, continues a referenceVideo, credits: 480p = 8, 720p = 14, 1080p = 14"
            " per s with reference video; not known without one, ~150 s",
        ),
        (
            "sandbox",
            "veo-3.1",
            "veo-3.1 (Veo 3.1, video), ratios 16:9 9:16, resolutions 480p 720p 1080p (default"
            " 720p), tiers fast pro (default fast), seconds 4 6 8 (default 4), references 5,"
            " credits: fast 4 s = 10, fast 6 s = 15, fast 8 s = 20, pro 4 s = 40, pro 6 s = 60,"
            " pro 8 s = 80 per call, ~312 s",
        ),
        (
            "rich",
            "fresh-image",
            "fresh-image (image), ratios any W:H, references any number, credits: about 7 per call",
        ),
    ],
)
def test_the_line_of_a_model_is_complete(catalogue: str, model_id: str, line: str) -> None:
    """Some clients hand on the text only."""
    model = CATALOGUES[catalogue].find(model_id)
    assert model is not None
    assert model_views.models_text([model]) == line


def test_what_is_remembered_of_a_model_ends_with_its_facts() -> None:
    """MeiGen's list can say something new of an id at any time."""
    model = rich().find("fresh-image")
    assert model is not None
    later = model.model_copy(update={"resolutions": ("8K",)})
    assert model_views.model_row(later) == model_views.model_row(model) | {"resolutions": ["8K"]}
    line = "fresh-image (image), ratios any W:H, references any number, credits: about 7 per call"
    renewed = line.replace("W:H", "W:H, resolutions 8K")
    assert model_views.models_text([model, later]).splitlines() == [line, renewed]


def test_a_newer_price_list_is_not_followed_by_the_cells_that_it_replaces() -> None:
    """Rates by tier and resolution say what rates by resolution said before."""
    model = rich().find("seedance-2-0")
    assert model is not None
    assert model_views.prices(model) == [
        "mini 480p = 6, mini 720p = 10, fast 480p = 12, fast 720p = 20, pro 720p = 28,"
        " pro 1080p = 44.5, pro 4K = 100 per s",
        "fast 480p = 8, fast 720p = 14, pro 720p = 16 per s with reference video",
        "1080p = 14 per s with reference video",
    ]


def test_without_models_the_text_says_so() -> None:
    """An allow-list can leave nothing."""
    assert model_views.models_text([]) == "no model is available"


MODELS = [
    pytest.param(models, model_id, id=f"{name} {model_id}")
    for name, models in CATALOGUES.items()
    for model_id in [model.id for model in models.accepted()]
]


@pytest.mark.parametrize(("models", "model_id"), MODELS)
def test_the_details_of_a_model_are_complete_and_plain_json(
    models: Catalogue, model_id: str
) -> None:
    """The row, the sources, every fact, and the schema that the check follows."""
    model = models.find(model_id)
    assert model is not None
    details = model_views.model_details(model, models)
    assert json.loads(json.dumps(details)) == details
    assert model_views.model_row(model).items() <= details.items()
    assert details["source"] == list(model.source)
    assert details["jsonSchema"] == form(model, models.accepted(model.media_type)).schema()
    Draft202012Validator.check_schema(details["jsonSchema"])


def test_the_rules_of_a_model_are_sentences_too() -> None:
    """One for each argument, and one for each pair of arguments that depend on each other."""
    model = rich().find("seedance-2-0")
    assert model is not None
    assert model_views.model_details(model, rich())["rules"] == [
        "prompt: text that is not blank",
        "modelId: seedance-2-0",
        "aspectRatio: auto, adaptive, 16:9 or 9:16 (default auto)",
        "resolution: 480p, 720p, 1080p or 4K (default 720p)",
        "duration: a whole number of seconds from 4 to 12 (default 5)",
        "tier: mini, fast or pro (default mini)",
        "referenceImages: at most 2, each a public https URL",
        "referenceVideo: a public https URL",
        "referenceVideoDuration: a number of seconds from 2 to 15",
        "wait: a whole number of seconds from 0 to 300",
        "maxCredits: a number of credits, 0 or more",
        "dryRun: true or false",
        "requestId: a UUID",
        "tier mini of seedance-2-0 has 480p or 720p",
        "tier fast of seedance-2-0 has 480p or 720p",
        "tier pro of seedance-2-0 has 720p, 1080p or 4K",
        "referenceImages or referenceVideo needed: aspectRatio adaptive takes the shape of a"
        " reference and is undefined without one",
        "referenceVideoDuration needed: its seconds are billed, and only MeiGen's own clips are"
        " measured",
        "referenceVideo needed: referenceVideoDuration only has a meaning together with the video"
        " that it measures",
        "seedance-2-0 continues a video in tier fast or pro only",
        "tier fast of seedance-2-0 continues a video in 480p or 720p",
        "tier pro of seedance-2-0 continues a video in 720p",
    ]


def test_the_facts_of_a_model_are_numbers_and_dates_as_text() -> None:
    """Prices are numbers, not strings, and each has its date and source."""
    model = shipped().find("seedance-2-0")
    assert model is not None
    facts = model_views.model_details(model, shipped())["facts"]
    assert facts["prices"] == [
        {
            "from": "2026-05-09",
            "kind": "exact",
            "source": "page",
            "credits_per_second_with_video": {"480p": 8, "720p": 14, "1080p": 14},
        }
    ]
    assert facts["duration"] == {"minimum": 4, "maximum": 15}
