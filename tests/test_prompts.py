"""The prompts name only models and settings that exist, whatever the catalogue is."""

import re

import pytest

from meigen_mcp import completions, prompts
from meigen_mcp.arguments import form
from meigen_mcp.catalogue import Catalogue, shipped
from meigen_mcp.errors import InvalidArguments

BLANKS = {
    "story": "A fox crosses a city",
    "product": "a red mug",
    "subject": "a fox",
    "image": "https://example.com/a.png",
    "style": "https://example.com/s.png",
    "photo": "https://example.com/p.png",
}
CASES = [(p, m.id) for p in prompts.offered(shipped()) for m in p.models(shipped())]


@pytest.mark.parametrize(("prompt", "model_id"), CASES, ids=lambda v: getattr(v, "name", v))
def test_what_a_prompt_asks_for_passes_the_model_s_own_check(
    prompt: prompts.Prompt, model_id: str
) -> None:
    """Ratios, durations and options that stand in the message are the model's."""
    catalogue = shipped()
    model = catalogue.find(model_id)
    assert model is not None
    text = prompts.message(prompt, BLANKS | {"modelId": model_id}, catalogue)
    call: dict[str, object] = {"prompt": "x", "modelId": model_id}
    if seconds := re.search(r"duration (\d+)", text):
        call["duration"] = int(seconds[1])
    if stylize := re.search(r"stylize (\d+), (\d+) and (\d+)", text):
        call["niji7Options"] = {"stylize": int(stylize[3])}
    ratios = re.findall(r"\d+:\d+", text) or ["auto"]
    rules = form(model, catalogue.accepted(model.media_type))
    found = [problem for r in ratios for problem in rules.check({**call, "aspectRatio": r})]
    assert (model_id in text, found) == (True, [])


def test_four_are_offered_and_none_without_a_model_for_it() -> None:
    """An allow-list takes its prompts away."""
    names = [prompt.name for prompt in prompts.offered(shipped())]
    assert names == ["storyboard", "product_shot", "style_exploration", "image_to_video"]
    assert prompts.offered(shipped().only(["z-image-turbo"])) == []
    assert prompts.offered(Catalogue(())) == []


def test_every_wrong_blank_is_named_at_once() -> None:
    """A missing one, a model that cannot, and a setting that the model lacks."""
    prompt = next(p for p in prompts.offered(shipped()) if p.name == "style_exploration")
    with pytest.raises(InvalidArguments) as refused:
        prompts.message(prompt, {"modelId": "midjourney-v8", "resolution": "4K"}, shipped())
    assert [str(problem) for problem in refused.value.problems] == [
        "subject: missing; say what to show.",
        'modelId: "midjourney-v8" does not fit; did you mean midjourney-v8.1?',
        'resolution: "4K" is not allowed; use "1K" or "2K"',
    ]


@pytest.mark.parametrize(
    ("scenes", "shown"), [("3", 3), ("99", 8), ("1", 2), ("many", 4), ("", 4), ("٣", 3)]
)
def test_the_number_of_scenes_is_brought_into_bounds(scenes: str, shown: int) -> None:
    """A person may write anything."""
    prompt = prompts.offered(shipped())[0]
    text = prompts.message(prompt, BLANKS | {"scenes": scenes}, shipped())
    assert f"a film of {shown} scenes" in text


@pytest.mark.parametrize(
    ("argument", "typed", "chosen", "values"),
    [
        ("modelId", "v", {}, ["veo-3.1"]),
        ("aspectRatio", "16", {"modelId": "veo-3.1"}, ["16:9", "9:16"]),
        ("resolution", "", {"modelId": "veo-3.1"}, ["480p", "720p", "1080p"]),
        ("motion", "", {}, []),
    ],
)
def test_a_blank_is_completed_from_the_chosen_model(
    argument: str, typed: str, chosen: dict[str, str], values: list[str]
) -> None:
    """What begins with the typed text comes first."""
    found = completions.of_prompt("image_to_video", argument, typed, chosen, shipped())
    assert found == values


def test_an_unknown_prompt_completes_nothing() -> None:
    """No error: a client asks while somebody types."""
    assert completions.of_prompt("none", "modelId", "", {}, shipped()) == []
