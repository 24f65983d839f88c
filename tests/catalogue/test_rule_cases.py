"""What each model accepts and refuses, as the official page of the generate endpoint says it."""

from collections.abc import Mapping
from typing import Any

import pytest
from support.rich_models import rich

from meigen_mcp.catalogue.arguments import (
    CHECK_STATUS,
    MEDIUM_OF,
    TOOL_OF,
    Tool,
    as_meant,
    form,
    judge,
    list_models_form,
)
from meigen_mcp.catalogue.models import Catalogue, Model, shipped
from meigen_mcp.errors import Problem
from meigen_mcp.server.tool_schemas import generate_schema

PICTURE = "https://images.meigen.ai/a.png"
CLIP = "https://images.meigen.ai/a.mp4"
MJ = "midjourney-v8.1"
NOTHING: tuple[Any, ...] = (None, "", [], {})
NESTED: list[Any] = []
for _ in range(5000):
    NESTED = [NESTED, NESTED[:0]]
FOLLOW = {"referenceVideo": CLIP, "referenceVideoDuration": 5}


def problems(tool: Tool, **arguments: Any) -> list[Problem]:
    """Judge a call by the shipped facts."""
    return judge(tool, shipped(), arguments)[1]


def fields(found: list[Problem]) -> str:
    """Return the names of the wrong arguments, each once."""
    return " ".join(dict.fromkeys(problem.field for problem in found))


# Model, arguments, and the names of the wrong ones; an empty name: accepted.
CASES: list[tuple[str, dict[str, Any], str]] = [
    # Prompt: the only argument that every call needs.
    *((model.id, {}, "") for model in shipped().accepted()),
    *((model.id, {"prompt": " \n\t"}, "prompt") for model in shipped().listed()),
    ("z-image-turbo", {"prompt": "猫"}, ""),
    ("z-image-turbo", {"prompt": ""}, "prompt"),
    ("z-image-turbo", {"prompt": None}, "prompt"),
    ("z-image-turbo", {"prompt": []}, "prompt"),
    ("z-image-turbo", {"prompt": 5}, "prompt"),
    ("z-image-turbo", {"prompt": ["a cat"]}, "prompt"),
    # Ratios: `auto` everywhere; a list where a source gives one, else W:H.
    *((model.id, {"aspectRatio": "auto"}, "") for model in shipped().accepted()),
    *((model.id, {"aspectRatio": "16:9"}, "") for model in shipped().accepted()),
    *((model.id, {"aspectRatio": "wide"}, "aspectRatio") for model in shipped().listed()),
    ("gemini-3-pro-image-preview", {"aspectRatio": "21:9"}, ""),
    ("gemini-3-pro-image-preview", {"aspectRatio": "9:21"}, "aspectRatio"),
    ("seedream-5.0-lite", {"aspectRatio": "3:2"}, ""),
    ("seedream-5.0-lite", {"aspectRatio": "21:9"}, "aspectRatio"),
    ("nanobanana-2", {"aspectRatio": "4:1"}, ""),
    ("nanobanana-2", {"aspectRatio": "4:0"}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": "0:4"}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": "16x9"}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": "16:9\n"}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": "1٦:9"}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": "1.5:1"}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": " "}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": 1.5}, "aspectRatio"),
    # `adaptive`: Seedance only, and only with a reference.
    ("seedance-2-0", {"aspectRatio": "adaptive"}, "referenceImages"),
    ("seedance-2-0", {"aspectRatio": "adaptive", "referenceImages": []}, "referenceImages"),
    ("seedance-2-0", {"aspectRatio": "adaptive", "referenceImages": [PICTURE]}, ""),
    ("seedance-2-0", {"aspectRatio": "adaptive", **FOLLOW}, ""),
    ("veo-3.1", {"aspectRatio": "adaptive", "referenceImages": [PICTURE]}, "aspectRatio"),
    ("happyhorse-1.0", {"aspectRatio": "adaptive", "referenceImages": [PICTURE]}, "aspectRatio"),
    ("gpt-image-2", {"aspectRatio": "adaptive", "referenceImages": [PICTURE]}, "aspectRatio"),
    # Resolutions.
    *(("gpt-image-2", {"resolution": r}, "") for r in ("1K", "2K", "4K")),
    *(
        ("gpt-image-2", {"resolution": r}, "resolution")
        for r in ("3K", "8K", "2k", "1080p", " ", 2)
    ),
    *(("seedream-5.0-lite", {"resolution": r}, "") for r in ("2K", "3K")),
    *(("seedream-5.0-lite", {"resolution": r}, "resolution") for r in ("1K", "4K")),
    *((MJ, {"resolution": r}, "") for r in ("1K", "2K")),
    *((MJ, {"resolution": r}, "resolution") for r in ("3K", "4K")),
    *(("nanobanana-2", {"resolution": r}, "") for r in ("1K", "2K", "3K", "4K")),
    *((m, {"resolution": "4K"}, "") for m in ("seedream-4.5", "flux2-klein", "z-image-turbo")),
    *((m, {"resolution": "5K"}, "resolution") for m in ("seedream-4.5", "flux2-klein")),
    *((m.id, {"resolution": "480p"}, "") for m in shipped().listed("video")),
    *((m.id, {"resolution": "1080p"}, "") for m in shipped().listed("video")),
    *((m.id, {"resolution": "4K"}, "resolution") for m in shipped().listed("video")),
    *((m.id, {"resolution": "1440p"}, "resolution") for m in shipped().listed("video")),
    # Quality: GPT Image 2.0 only.
    *(("gpt-image-2", {"quality": q}, "") for q in ("low", "medium", "high")),
    *(("gpt-image-2", {"quality": q}, "quality") for q in ("ultra", "Low", 1, True)),
    *(
        (m.id, {"quality": "high"}, "quality")
        for m in shipped().accepted("image")
        if m.id != "gpt-image-2"
    ),
    ("seedance-2-0", {"quality": "high"}, "quality"),
    # Reference images: Z Image 0, Midjourney and Happyhorse 1, the others 5.
    ("z-image-turbo", {"referenceImages": []}, ""),
    ("z-image-turbo", {"referenceImages": [PICTURE]}, "referenceImages"),
    *((m, {"referenceImages": [PICTURE]}, "") for m in (MJ, "midjourney-v7", "happyhorse-1.0")),
    *((m, {"referenceImages": [PICTURE] * 2}, "referenceImages") for m in (MJ, "happyhorse-1.0")),
    *(
        (m.id, {"referenceImages": [PICTURE] * count}, wrong)
        for m in shipped().listed()
        for count, wrong in ((5, ""), (6, "referenceImages"))
        if m.max_reference_images == 5
    ),
    ("gpt-image-2", {"referenceImages": PICTURE}, "referenceImages"),
    ("gpt-image-2", {"referenceImages": [None]}, "referenceImages[0]"),
    ("gpt-image-2", {"referenceImages": [PICTURE, "a.png"]}, "referenceImages[1]"),
    ("gpt-image-2", {"referenceImages": ["http://images.meigen.ai/a"]}, "referenceImages[0]"),
    ("gpt-image-2", {"referenceImages": {"0": PICTURE}}, "referenceImages"),
    # Midjourney's own options: both ends of each range.
    *(
        (MJ, {"niji7Options": {name: value}}, "")
        for name, values in {
            "stylize": (0, 1000, 99.5),
            "chaos": (0, 100),
            "raw": (True, False, None),
            "iw": (0, 2, 0.25),
            "sref": ("3799554500", "random", PICTURE),
            "sw": (0, 1000),
            "quality": ("1", "4"),
        }.items()
        for value in values
    ),
    *(
        (MJ, {"niji7Options": {name: value}}, f"niji7Options.{name}")
        for name, values in {
            "stylize": (-1, 1001, "100", True),
            "chaos": (-1, 101, "5"),
            "raw": (0, 1, "true"),
            "iw": (-0.1, 2.1, "1"),
            "sref": (" ", 5, "http://127.0.0.1/a.png", "file:///etc/passwd"),
            "sw": (-1, 1001, False),
            "quality": ("2", "3", 4, " "),
            "weird": (0,),
            "profile": ("x",),
        }.items()
        for value in values
    ),
    (MJ, {"niji7Options": {"iw": 1, "sw": 100}}, ""),  # judged one by one
    (MJ, {"niji7Options": "raw"}, "niji7Options"),
    (MJ, {"niji7Options": [1]}, "niji7Options"),
    ("midjourney-v7", {"niji7Options": {"stylize": 1000}}, ""),
    ("midjourney-v7", {"niji7Options": {"stylize": 1001}}, "niji7Options.stylize"),
    ("gpt-image-2", {"niji7Options": {"stylize": 1}}, "niji7Options"),
    ("veo-3.1", {"niji7Options": {"stylize": 1}}, "niji7Options"),
    # How Midjourney reads the reference.
    *((MJ, {"referenceType": t}, "") for t in ("content", "style")),
    *((MJ, {"referenceType": t}, "referenceType") for t in ("Content", "subject", 1)),
    ("gpt-image-2", {"referenceType": "style"}, "referenceType"),
    # Durations.
    *(("seedance-2-0", {"duration": s}, "") for s in (4, 5, 15, 5.0)),
    *(("seedance-2-0", {"duration": s}, "duration") for s in (3, 16, 0, -5, 4.5, "5", True)),
    *(("happyhorse-1.0", {"duration": s}, "") for s in (3, 15)),
    *(("happyhorse-1.0", {"duration": s}, "duration") for s in (2, 16)),
    *(("veo-3.1", {"duration": s}, "") for s in (4, 6, 8, 8.0)),
    *(("veo-3.1", {"duration": s}, "duration") for s in (3, 5, 7, 9, 4.5, "4", True, [4])),
    ("z-image-turbo", {"duration": 5}, "duration"),
    # Tiers: Seedance and Veo.
    *((m, {"tier": t}, "") for m in ("seedance-2-0", "veo-3.1") for t in ("fast", "pro")),
    *((m, {"tier": t}, "tier") for m in ("seedance-2-0", "veo-3.1") for t in ("mini", "Pro", 1)),
    ("happyhorse-1.0", {"tier": "fast"}, "tier"),
    # Continuing a video: Seedance only, always with the length of the reference.
    ("seedance-2-0", FOLLOW, ""),
    ("seedance-2-0", {**FOLLOW, "referenceVideoDuration": 0.1}, ""),
    ("seedance-2-0", {"referenceVideo": CLIP}, "referenceVideoDuration"),
    ("seedance-2-0", {**FOLLOW, "referenceVideoDuration": None}, "referenceVideoDuration"),
    ("seedance-2-0", {"referenceVideoDuration": 5}, "referenceVideo"),
    *(
        ("seedance-2-0", {**FOLLOW, "referenceVideoDuration": s}, "referenceVideoDuration")
        for s in (0, -1, "5", True)
    ),
    ("seedance-2-0", {**FOLLOW, "referenceVideo": "a.mp4"}, "referenceVideo"),
    ("seedance-2-0", {**FOLLOW, "referenceVideo": [CLIP]}, "referenceVideo"),
    ("veo-3.1", FOLLOW, "referenceVideo referenceVideoDuration"),
    ("happyhorse-1.0", FOLLOW, "referenceVideo referenceVideoDuration"),
    # Control.
    *((MJ, {"wait": s}, "") for s in (0, 40)),
    *((MJ, {"wait": s}, "wait") for s in (-1, 301, 2.5, "5", True)),
    *((MJ, {"maxCredits": c}, "") for c in (0, 2.5, 10**6)),
    *((MJ, {"maxCredits": c}, "maxCredits") for c in (-1, "5", False)),
    *((MJ, {"dryRun": d}, "") for d in (True, False)),
    *((MJ, {"dryRun": d}, "dryRun") for d in (1, "true")),
    (MJ, {"requestId": "0f8fad5b-d9cb-469f-a165-70867728950E"}, ""),
    (MJ, {"requestId": "0f8fad5b-d9cb-469f-a165-70867728950e\n"}, "requestId"),
    (MJ, {"requestId": "0f8fad5bd9cb469fa16570867728950e"}, "requestId"),
    (MJ, {"requestId": "my-request"}, "requestId"),
    # null, [] and {} mean absent, also for what the model does not take.
    *(
        ("gpt-image-2", {name: nothing}, "")
        for name in ("aspectRatio", "quality", "referenceImages", "niji7Options", "wait", "dryRun")
        for nothing in NOTHING
    ),
    ("veo-3.1", {"tier": None, "referenceVideo": None, "duration": None}, ""),
    # What no tool knows.
    ("gpt-image-2", {"size": "1024x1024"}, "size"),
    ("gpt-image-2", {"negativePrompt": None}, "negativePrompt"),
    ("veo-3.1", {"fps": 24}, "fps"),
]


@pytest.mark.parametrize(("model_id", "arguments", "wrong"), CASES)
def test_a_model_accepts_and_refuses_what_the_page_says(
    model_id: str, arguments: dict[str, Any], wrong: str
) -> None:
    """Every limit from both sides, and the wrong argument is named."""
    model = shipped().find(model_id)
    assert model is not None
    call = {"prompt": "a red cube", "modelId": model_id} | arguments
    assert fields(problems(TOOL_OF[model.media_type], **call)) == wrong


# Tool, the wrong arguments, and the sentences in full.
SENTENCES: list[tuple[Tool, dict[str, Any], list[str]]] = [
    (
        "generate_video",
        {"modelId": "seedance-2-0", "referenceVideo": CLIP},
        [
            "referenceVideoDuration: missing: without it MeiGen counts the reference video as 0 s,"
            " so the charge would be wrong and the continuation misconfigured; add"
            " referenceVideoDuration with the seconds that it lasts; who does not know them asks"
            " the person"
        ],
    ),
    (
        "generate_video",
        {"modelId": "seedance-2-0", "duration": 16},
        ["duration: 16 must be a whole number of seconds from 4 to 15; use 15"],
    ),
    (
        "generate_video",
        {"modelId": "seedance-2-0", "duration": "five"},
        [
            'duration: "five" is not a number and must be a whole number of seconds from 4 to 15;'
            " write a whole number of seconds from 4 to 15"
        ],
    ),
    (
        "generate_video",
        {"modelId": "veo-3.1", "duration": True},
        ["duration: true is not allowed; use 4, 6 or 8"],
    ),
    (
        "generate_video",
        {"modelId": "veo-3.1", "duration": "six"},
        ['duration: "six" is not allowed; use 4, 6 or 8'],
    ),
    (
        "generate_video",
        {"modelId": "veo-3.1", "tier": "pros"},
        ['tier: "pros" must be "fast" or "pro"; did you mean "pro"?'],
    ),
    (
        "generate_image",
        {"modelId": "nanobanana-2", "quality": "low"},
        [
            "quality: nanobanana-2 takes no quality, so it would have no effect; leave it out, or"
            " use gpt-image-2"
        ],
    ),
    (
        "generate_image",
        {"aspect_ratio": "1:1"},
        ["aspect_ratio: there is no such argument; did you mean aspectRatio?"],
    ),
    (
        "generate_image",
        {"modelId": MJ, "niji7Options": {"stilize": 5}},
        ["niji7Options.stilize: there is no such argument; did you mean stylize?"],
    ),
    (
        "generate_image",
        {"resolution": "2k"},
        ['resolution: "2k" must be "1K", "2K" or "4K"; did you mean "2K"?'],
    ),
    (
        "generate_image",
        {"modelId": "rhart-1.5"},
        ['modelId: "rhart-1.5" was retired; use gpt-image-2'],
    ),
    (
        "generate_image",
        {"modelId": "nano banana pro"},
        ['modelId: "nano banana pro" is no image model; did you mean gemini-3-pro-image-preview?'],
    ),
    (
        "generate_image",
        {"modelId": "flux"},
        ['modelId: "flux" is no image model; did you mean flux2-klein?'],
    ),
    (
        "generate_video",
        {"modelId": "sora"},
        [
            'modelId: "sora" is no video model; use seedance-2-0, happyhorse-1.0 or veo-3.1',
        ],
    ),
    (
        "generate_image",
        {"modelId": "veo-3.1", "duration": 5},
        [
            'modelId: "veo-3.1" makes videos; call generate_video',
            "duration: 5 is not allowed; use 4, 6 or 8",
        ],
    ),
    (
        "generate_video",
        {"modelId": "gpt-image-2"},
        ['modelId: "gpt-image-2" makes images; call generate_image'],
    ),
    (
        "generate_video",
        {"duration": 99, "referenceImages": "x", "tier": "pro"},
        [
            "modelId: missing; use seedance-2-0, happyhorse-1.0 or veo-3.1",
            "duration: no model takes 99; see list_models for what each takes",
            'referenceImages: "x" must be a list; write a list of values, each a public https URL',
        ],
    ),
    (
        "generate_video",
        {"modelId": ["veo-3.1"]},
        [
            'modelId: ["veo-3.1"] is no video model; use seedance-2-0, happyhorse-1.0 or veo-3.1',
        ],
    ),
    (
        "generate_image",
        {"modelId": "GPT-Image-2", "prompt": " ", "quality": "ultra", "wait": 301, "seed": 1},
        [
            'modelId: "GPT-Image-2" is no image model; did you mean gpt-image-2?',
            "seed: there is no such thing at MeiGen; leave it out",
            'prompt: " " must be text that is not blank; describe the picture or clip',
            'quality: "ultra" is not allowed; use "low", "medium" or "high"',
            "wait: 301 must be a whole number of seconds from 0 to 300; use 300",
        ],
    ),
]


@pytest.mark.parametrize(("tool", "arguments", "sentences"), SENTENCES)
def test_a_refusal_names_the_field_the_value_the_limit_and_the_fix(
    tool: Tool, arguments: dict[str, Any], sentences: list[str]
) -> None:
    """All problems of a call come at once, each with what to write instead."""
    found = problems(tool, **{"prompt": "a red cube"} | arguments)
    assert [str(problem) for problem in found] == sentences


@pytest.mark.parametrize("name", ["duration", "tier", "aspectRatio", "prompt", "modelId", "wait"])
@pytest.mark.parametrize("value", [float("inf"), float("nan"), 10**5000, NESTED], ids=type)
def test_no_value_is_too_strange_to_be_refused(name: str, value: Any) -> None:
    """Neither what JSON cannot write nor what is too deep to show breaks the sentence."""
    call = {"prompt": "a cat", "modelId": "seedance-2-0"} | {name: value}
    assert fields(problems("generate_video", **call)) == name


# What clients make of a value, and what is meant.
WRITTEN: list[tuple[Tool, dict[str, Any], dict[str, Any]]] = [
    ("generate_video", {"duration": "10"}, {"duration": 10}),
    ("generate_video", {"duration": " 10\n"}, {"duration": 10}),
    ("generate_video", {"referenceVideoDuration": "2.5"}, {"referenceVideoDuration": 2.5}),
    ("generate_image", {"dryRun": "true", "wait": "0"}, {"dryRun": True, "wait": 0}),
    ("generate_image", {"maxCredits": "1e1"}, {"maxCredits": 10.0}),
    ("generate_image", {"referenceImages": f'["{PICTURE}"]'}, {"referenceImages": [PICTURE]}),
    (
        "generate_image",
        {"niji7Options": '{"raw": "true", "iw": 1, "sref": "123"}'},
        {"niji7Options": {"raw": True, "iw": 1, "sref": "123"}},
    ),
    ("generate_image", {"niji7Options": {"iw": "1.5"}}, {"niji7Options": {"iw": 1.5}}),
    # No second of a clip is no clip, and no draft is none.
    ("generate_video", {"referenceVideoDuration": 0}, {"referenceVideoDuration": None}),
    ("generate_video", {"referenceVideoDuration": "0.0"}, {"referenceVideoDuration": None}),
    ("generate_video", {"referenceVideoDuration": False}, {"referenceVideoDuration": False}),
    ("generate_video", {"draft": False}, {"draft": None}),
    ("generate_video", {"draft": 0, "duration": 0}, {"draft": 0, "duration": 0}),
    # What is not exactly of the wanted type stays what it is, and is refused.
    *(
        ("generate_image", {name: text}, {name: text})
        for name, text in (
            ("dryRun", "True"), ("dryRun", "1"), ("dryRun", '"true"'), ("wait", "five"),
            ("wait", "true"), ("wait", "NaN"), ("wait", "+5"), ("wait", "null"),
            ("wait", "1" * 5000), ("wait", "[5]"), ("referenceImages", PICTURE),
            ("referenceImages", '{"0": "x"}'), ("referenceImages", "[" * 9999),
            ("niji7Options", "[]"), ("prompt", "true"), ("prompt", "5"), ("resolution", '"2K"'),
            ("seed", "5"),
        )
    ),
]  # fmt: skip


@pytest.mark.parametrize(("tool", "written", "meant"), WRITTEN)
def test_what_a_client_wrote_as_text_is_read(
    tool: Tool, written: dict[str, Any], meant: dict[str, Any]
) -> None:
    """Models behind some clients write numbers, flags, lists and objects as JSON in a text."""
    assert as_meant(tool, shipped(), written) == meant


EMPTY: Mapping[str, Any] = {"string": "", "number": 0, "boolean": False, "array": [], "object": {}}
FIGURES = {"wait", "maxCredits", "duration"}  # of which 0 is no way to say nothing
FILLED = [
    pytest.param(tool, catalogue, model.id, id=f"{name} {model.id}")
    for name, catalogue in {"shipped": shipped(), "rich": rich()}.items()
    for tool, medium in MEDIUM_OF.items()
    for model in catalogue.accepted(medium)
]


@pytest.mark.parametrize(("tool", "catalogue", "model"), FILLED)
def test_a_call_whose_client_fills_in_every_argument_is_the_call_without_them(
    tool: Tool, catalogue: Catalogue, model: str
) -> None:
    """As smolagents has its model do, whether the chosen one takes the argument or not."""
    bare = {"prompt": "a fox", "modelId": model}
    asked = generate_schema(tool, catalogue)["properties"]
    filled = {name: EMPTY[asked[name]["type"]] for name in asked.keys() - FIGURES}
    read = as_meant(tool, catalogue, {**filled, **bare})
    assert judge(tool, catalogue, read) == judge(tool, catalogue, bare)


def test_no_seconds_of_a_clip_that_is_there_are_missing() -> None:
    """Its seconds are billed: none can be agreed to."""
    call = {"prompt": "a fox", "modelId": "seedance-2-0", **FOLLOW, "referenceVideoDuration": 0}
    (problem,) = problems("generate_video", **as_meant("generate_video", shipped(), call))
    assert (problem.field, problem.fix) == (
        "referenceVideoDuration",
        "add referenceVideoDuration with the seconds that it lasts; who does not know them asks the"
        " person",
    )


@pytest.mark.parametrize("value", [None, "", [], {}, 5, "x"], ids=str)
def test_a_required_argument_that_is_absent_is_missing(value: Any) -> None:
    """A blank is no prompt."""
    assert fields(problems("generate_image", prompt=value)) == ("" if value == "x" else "prompt")


@pytest.mark.parametrize(
    ("ratio", "fix"),
    [
        ("16:9", 'take it out and give aspectRatio "16:9"'),
        ("0:9", "take it out and give aspectRatio"),
        ("wide", "take it out and give aspectRatio"),
    ],
)
def test_a_flag_is_mended_with_what_the_argument_takes(ratio: str, fix: str) -> None:
    """The ratio of a flag is repeated only if the argument would take it."""
    (problem,) = problems("generate_image", prompt=f"a fox --ar {ratio}", modelId=MJ)
    assert problem.fix == fix


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"tier": "fast", "resolution": "720p"}, []),
        ({"resolution": "720p"}, []),
        (
            {"tier": "fast", "resolution": "1080p"},
            [
                'resolution: "1080p": tier fast of seedance-2-0 has 480p or 720p; use "480p" or'
                ' "720p"'
            ],
        ),
        (
            {"resolution": "1080p"},
            [
                'resolution: "1080p": tier mini of seedance-2-0 has 480p or 720p; use "480p" or'
                ' "720p"'
            ],
        ),
        ({"tier": "pro", **FOLLOW}, []),
        (
            FOLLOW,
            [
                "tier: left out: seedance-2-0 continues a video in tier fast or pro only; use"
                ' "fast" or "pro"'
            ],
        ),
        (
            {"tier": "pro", "resolution": "1080p", **FOLLOW},
            ['resolution: "1080p": tier pro of seedance-2-0 continues a video in 720p; use "720p"'],
        ),
        (
            {"tier": "fast", "resolution": "8K"},
            [
                'resolution: "8K" is not allowed; use "480p" or "720p": tier fast of seedance-2-0'
                " has 480p or 720p",
            ],
        ),
        (
            {"tier": "fast", "referenceVideo": CLIP, "referenceVideoDuration": 1.5},
            ["referenceVideoDuration: 1.5 must be a number of seconds from 2 to 15; use 2"],
        ),
    ],
)
def test_what_the_live_list_says_of_tiers_is_held(
    arguments: dict[str, Any], expected: list[str]
) -> None:
    """Resolutions by tier, and what a continuation leaves of them; each problem is said once."""
    call = {"prompt": "a cat", "modelId": "seedance-2-0"} | arguments
    found = judge("generate_video", rich(), call)[1]
    assert [str(problem) for problem in found] == expected


@pytest.mark.parametrize(
    ("facts", "arguments", "wrong"),
    [
        ({"adaptive": True, "max_reference_images": 0}, {"aspectRatio": "adaptive"}, "aspectRatio"),
        ({"continuation": {"tiers": ["pro"]}}, FOLLOW, ""),
        ({"continuation": {}, "tiers": ["fast"]}, FOLLOW, ""),
        ({"requires_first_frame": True}, {}, "referenceImages"),
        ({"requires_first_frame": True, "max_reference_images": 0}, {}, ""),
    ],
)
def test_facts_that_do_not_fit_together_leave_the_model_usable(
    facts: dict[str, Any], arguments: dict[str, Any], wrong: str
) -> None:
    """No rule asks for an argument that the model does not take."""
    model = Model.model_validate({"id": "x", "media_type": "video", **facts})
    call = {"prompt": "a cat", "modelId": "x"} | arguments
    assert fields(form(model, (model,)).check(call)) == wrong


@pytest.mark.parametrize("tool", MEDIUM_OF)
def test_without_arguments_only_what_is_needed_is_missing(tool: Tool) -> None:
    """An image has a default model, a video has none."""
    expected = {"generate_image": "prompt", "generate_video": "modelId prompt"}
    assert fields(problems(tool)) == expected[tool]


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, ""),
        ({"limit": 1}, ""),
        ({"limit": 50, "wait": 300, "generationId": "x"}, ""),
        ({"limit": 0}, "limit"),
        ({"limit": 51}, "limit"),
        ({"limit": 2.5, "wait": 301}, "wait limit"),
        ({"generationId": " "}, "generationId"),
        ({"requestId": "x"}, "requestId"),
        ({"generationID": "x"}, "generationID"),
        ({"generationId": None, "requestId": None, "wait": None, "limit": None}, ""),
    ],
)
def test_check_status_has_limits_too(arguments: dict[str, Any], wrong: str) -> None:
    """Ids are text, requestId a UUID, limit 1-50, wait 0-300."""
    assert fields(CHECK_STATUS.check(arguments)) == wrong


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ({}, ""),
        ({"mediaType": "video"}, ""),
        ({"mediaType": "audio"}, "mediaType"),
        ({"modelId": "midjourney-v7"}, ""),
        ({"modelId": "midjourney-v9"}, "modelId"),
        ({"model": None}, "model"),
    ],
)
def test_list_models_knows_every_id(arguments: dict[str, Any], wrong: str) -> None:
    """A legacy id is known, a wrong one is named."""
    assert fields(list_models_form(shipped()).check(arguments)) == wrong
