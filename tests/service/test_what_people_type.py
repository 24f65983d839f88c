"""What people really type: each refusal tells how to mend it, and mended so it is quoted.

The mended arguments are what a reader writes who sees the refusal and the schema, and nothing else.
"""

from pathlib import Path
from typing import Any

import pytest
from PIL import Image
from support.workbench import workbench

from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.errors import InvalidArguments

P: Tool = "generate_image"
V: Tool = "generate_video"
OUT = "{out}"
URL, CLIP = "https://a.example/fox.png", "https://a.example/fox.mp4"
NANO, SEED, MJ = (
    {"modelId": "nanobanana-2"},
    {"modelId": "seedance-2-0"},
    {"modelId": "midjourney-v8.1"},
)
TYPED: list[tuple[Tool, dict[str, Any], dict[str, Any]]] = [
    # names of models
    (P, {"prompt": "Ein roter Würfel", "modelId": "nanobanana"}, NANO),
    (P, {"prompt": "一只穿宇航服的猫 水彩", "modelId": "midjourney"}, MJ),
    (P, {"modelId": "gpt image"}, {"modelId": "gpt-image-2"}),
    (P, {"modelId": "dall-e-3"}, {"modelId": "gpt-image-2"}),
    (P, {"modelId": "Nano Banana 2"}, NANO),
    (P, {"model": "nanobanana-2"}, {"model": None, **NANO}),
    (P, {"modelId": "veo-3.1"}, {"tool": V}),
    (V, {"prompt": "风筝在海边飞", "modelId": "seedance 2.5"}, SEED),
    (V, {"modelId": "seedance", "duration": 5}, SEED),
    (V, {"modelId": "veo 3"}, {"modelId": "veo-3.1"}),
    (V, {"modelId": "gpt-image-2"}, {"tool": P}),
    (V, {}, SEED),
    # shapes and sizes
    (P, {"aspectRatio": "vertical", **NANO}, {"aspectRatio": "9:16"}),
    (P, {"aspectRatio": "portrait"}, {"aspectRatio": "9:16"}),
    (P, {"aspectRatio": "Hochformat", **NANO}, {"aspectRatio": "9:16"}),
    (P, {"aspectRatio": "横屏", **NANO}, {"aspectRatio": "16:9"}),
    (P, {"aspectRatio": "1920x1080", **NANO}, {"aspectRatio": "16:9"}),
    (P, {"aspectRatio": "16/9", **NANO}, {"aspectRatio": "16:9"}),
    (V, {"aspectRatio": "16:10", **SEED}, {"aspectRatio": "16:9"}),
    (P, {"ratio": "1:1", **NANO}, {"ratio": None, "aspectRatio": "1:1"}),
    (P, {"size": "1024x1024"}, {"size": None, "aspectRatio": "1:1", "resolution": "1K"}),
    (P, {"width": 512, "height": 512}, {"width": None, "height": None, "aspectRatio": "1:1"}),
    (P, {"resolution": "HD", **NANO}, {"resolution": "1K"}),
    (P, {"resolution": "1080p"}, {"resolution": "2K"}),
    (P, {"resolution": "4k", **NANO}, {"resolution": "4K"}),
    (P, {"quality": "hd"}, {"quality": "high"}),
    (P, {"quality": "high", **NANO}, {"quality": None}),
    (V, {"resolution": "Full HD", **SEED}, {"resolution": "1080p"}),
    (V, {"resolution": "720", **SEED}, {"resolution": "720p"}),
    (V, {"aspectRatio": "9x16", **SEED}, {"aspectRatio": "9:16"}),
    (V, {"aspectRatio": "adaptive", **SEED}, {"aspectRatio": None}),
    # how many, how long, how much
    (P, {"n": 4}, {"n": None}),
    (P, {"num_images": 2}, {"num_images": None}),
    (P, {"duration": 5, **NANO}, {"duration": None}),
    (P, {"wait": "1 minute"}, {"wait": 60}),
    (P, {"maxCredits": "five"}, {"maxCredits": 5}),
    (V, {"duration": "10s", **SEED}, {"duration": 10}),
    (V, {"duration": 30, **SEED}, {"duration": 15}),
    (V, {"duration": "fünf", **SEED}, {"duration": 5}),
    (V, {"modelId": "veo-3.1", "duration": "5 seconds"}, {"duration": 4}),
    (V, {"length": 6, **SEED}, {"length": None, "duration": 6}),
    # what is not there
    (P, {"prompt": "  "}, {"prompt": "a fox"}),
    (P, {"negative_prompt": "blurry"}, {"negative_prompt": None, "prompt": "a sharp fox"}),
    (P, {"style": "watercolor"}, {"style": None, "prompt": "a fox, watercolor"}),
    (P, {"seed": 7}, {"seed": None}),
    (V, {"fps": 30, **SEED}, {"fps": None}),
    (V, {"audio": True, **SEED}, {"audio": None, "prompt": "a fox, with sound"}),
    (V, {"modelId": "happyhorse-1.0", "tier": "pro"}, {"tier": None}),
    (V, {"tier": "Pro", **SEED}, {"tier": "pro"}),
    # flags
    (
        P,
        {"prompt": "a fox --ar 16:9 --v 6.1 --stylize 250", **MJ},
        {"prompt": "a fox", "aspectRatio": "16:9", "niji7Options": {"stylize": 250}},
    ),
    (
        P,
        {"prompt": "ein Fuchs --niji 6 --c 20 --seed 3", **MJ},
        {"prompt": "ein Fuchs", "niji7Options": {"chaos": 20}},
    ),
    (P, {"prompt": "cat::2 dog::1 in a park", **MJ}, {"prompt": "mostly a cat, a dog in a park"}),
    (P, {"prompt": "a [red|blue] balloon", **MJ}, {"prompt": "a red balloon"}),
    (P, {"niji7Options": {"stylize": 5000}, **MJ}, {"niji7Options": {"stylize": 1000}}),
    # references
    (P, {"image": URL, **NANO}, {"image": None, "referenceImages": [URL]}),
    (P, {"referenceImages": URL, **NANO}, {"referenceImages": [URL]}),
    (P, {"referenceImages": ["http://a.example/fox.png"], **NANO}, {"referenceImages": [URL]}),
    (P, {"referenceImages": ["fox.png"], **NANO}, {"referenceImages": [f"{OUT}/fox.png"]}),
    (P, {"referenceImages": ["./bilder/fox.png"], **NANO}, {"referenceImages": [f"{OUT}/fox.png"]}),
    (
        P,
        {"referenceImages": ["data:image/png;base64,iVBORw0KGgo="], **NANO},
        {"referenceImages": [f"{OUT}/fox.png"]},
    ),
    (P, {"referenceImages": [CLIP], **NANO}, {"referenceImages": [URL]}),
    (P, {"referenceImages": [URL], "modelId": "z-image-turbo"}, {"referenceImages": None}),
    (P, {"referenceImages": ["/home/me/fox.png"], **NANO}, {"referenceImages": [f"{OUT}/fox.png"]}),
    (V, {"referenceVideo": URL, **SEED}, {"referenceVideo": None, "referenceImages": [URL]}),
    (
        V,
        {"modelId": "veo-3.1", "referenceVideo": CLIP},
        {"modelId": "seedance-2-0", "referenceVideoDuration": 5},
    ),
    (V, {"referenceVideo": CLIP, **SEED}, {"referenceVideoDuration": 5}),
    (
        V,
        {"firstFrame": URL, "lastFrame": URL, **SEED},
        {"firstFrame": None, "lastFrame": None, "referenceImages": [URL, URL]},
    ),
]


def test_there_are_sixty_of_them() -> None:
    """At the least, and no two alike."""
    assert len({repr(row[:2]) for row in TYPED}) == len(TYPED) >= 60


@pytest.mark.parametrize(
    ("tool", "typed", "mended"), TYPED, ids=[str(number) for number in range(len(TYPED))]
)
async def test_what_a_refusal_says_makes_the_call_a_good_one(
    tool: Tool, typed: dict[str, Any], mended: dict[str, Any], tmp_path: Path
) -> None:
    """It names every argument that is changed, and where a file may lie; nothing was sent."""
    out = tmp_path / "media"
    out.mkdir()
    Image.new("RGB", (64, 64), "red").save(out / "fox.png")
    call = {"prompt": "a fox", **typed, "dryRun": True}
    async with workbench(tmp_path, MEIGEN_OUTPUT_DIR=str(out)) as on:
        with pytest.raises(InvalidArguments) as refused:
            await on.generate(tool, **call)
        changes = {name: _placed(value, out) for name, value in mended.items() if name != "tool"}
        better = {name: value for name, value in {**call, **changes}.items() if value is not None}
        quoted = await on.generate(mended.get("tool", tool), **better)
        assert on.wire.posts() == []
    said = refused.value.message
    wrong = {
        problem.field.partition("[")[0].partition(".")[0] for problem in refused.value.problems
    }
    assert quoted.status == "dry_run"
    named = [name for name, value in changes.items() if name in said or str(value) in said]
    assert set(changes) - set(named) <= wrong
    assert mended.get("tool", "") in said
    assert str(out) in said or OUT not in str(mended)


def _placed(value: Any, out: Path) -> Any:
    """Put the allowed folder, which the refusal names, where it is meant."""
    if isinstance(value, list):
        return [_placed(item, out) for item in value]
    return value.replace(OUT, str(out)) if isinstance(value, str) else value
