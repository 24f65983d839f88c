"""The prompts name only models and settings that exist, whatever the catalogue is."""

import re

import pytest

from meigen_mcp.catalogue.arguments import form
from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.errors import InvalidArguments
from meigen_mcp.server import completions, prompt_templates

BLANKS = {
    "story": "A fox crosses a city",
    "product": "a red mug",
    "subject": "a fox",
    "image": "https://example.com/a.png",
    "style": "https://example.com/s.png",
    "photo": "https://example.com/p.png",
}
CASES = [(p, m.id) for p in prompt_templates.offered(shipped()) for m in p.models(shipped())]


@pytest.mark.parametrize(("prompt", "model_id"), CASES, ids=lambda v: getattr(v, "name", v))
def test_what_a_prompt_asks_for_passes_the_model_s_own_check(
    prompt: prompt_templates.Prompt, model_id: str
) -> None:
    """Ratios, durations and options that stand in the message are the model's."""
    catalogue = shipped()
    model = catalogue.find(model_id)
    assert model is not None
    text = prompt_templates.message(prompt, BLANKS | {"modelId": model_id}, catalogue)
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
    names = [prompt.name for prompt in prompt_templates.offered(shipped())]
    assert names == ["storyboard", "product_shot", "style_exploration", "image_to_video"]
    assert prompt_templates.offered(shipped().only(["z-image-turbo"])) == []
    assert prompt_templates.offered(Catalogue(())) == []


def test_every_wrong_blank_is_named_at_once() -> None:
    """A model that cannot, and a setting that the model lacks."""
    prompt = next(p for p in prompt_templates.offered(shipped()) if p.name == "style_exploration")
    with pytest.raises(InvalidArguments) as refused:
        prompt_templates.message(
            prompt, {"modelId": "midjourney-v8", "resolution": "4K"}, shipped()
        )
    assert [str(problem) for problem in refused.value.problems] == [
        'modelId: "midjourney-v8" does not fit; did you mean midjourney-v8.1?',
        'resolution: "4K" is not allowed; use "1K" or "2K"',
    ]


def _named(name: str) -> prompt_templates.Prompt:
    return next(p for p in prompt_templates.offered(shipped()) if p.name == name)


@pytest.mark.parametrize("scenes", ["99", "1", "many", "٣", "3.0"])
def test_a_number_of_scenes_that_is_none_is_refused(scenes: str) -> None:
    """A person may write anything, and is told what fits."""
    with pytest.raises(InvalidArguments, match="use 2 to 8"):
        prompt_templates.message(_named("storyboard"), BLANKS | {"scenes": scenes}, shipped())


@pytest.mark.parametrize(("given", "shown"), [("3", 3), ("8", 8), ("", 4)])
def test_a_number_of_scenes_is_that_of_the_film(given: str, shown: int) -> None:
    """Four, where none is given."""
    blanks = BLANKS | {"scenes": given}
    text = prompt_templates.message(_named("storyboard"), blanks, shipped())
    assert f"a film of {shown} scenes: A fox crosses a city" in text


@pytest.mark.parametrize("prompt", prompt_templates.offered(shipped()), ids=lambda p: p.name)
def test_every_prompt_works_without_a_word(prompt: prompt_templates.Prompt) -> None:
    """It has the model ask what it is about."""
    assert "irst ask me wh" in prompt_templates.message(prompt, {}, shipped())


@pytest.mark.parametrize(
    ("name", "words", "said"),
    [
        ("storyboard", "a fox finds a hat", "a film of 4 scenes: a fox finds a hat"),
        ("storyboard", "about 3 pigs", "a film of 4 scenes: about 3 pigs"),
        ("storyboard", "the moon 16:9", "aspectRatio 16:9"),
        ("storyboard", "Apollo 8", "a film of 8 scenes: Apollo"),
        ("product_shot", 'a "red" mug on wood', "Make product shots of a red mug on wood."),
        ("product_shot", "red mug", "Make product shots of red mug."),
        (
            "product_shot",
            "mug https://x.com/a.png on wood",
            'referenceImages ["https://x.com/a.png"]',
        ),
        ("product_shot", "mug / bowl", "Make product shots of mug / bowl."),
        ("product_shot", "mug ~5 cm", "Make product shots of mug ~5 cm."),
        ("style_exploration", "an owl at night", "Explore styles for: an owl at night"),
        ("image_to_video", "waves crash", "First ask me which"),
        ("image_to_video", "https://x.com/a.png a slow pan", "Motion: a slow pan."),
        (
            "image_to_video",
            "slow pan veo-3.1 ~/a.png",
            'modelId veo-3.1, duration 4 and referenceImages ["~/a.png"]',
        ),
    ],
)
def test_words_that_a_client_dealt_out_are_read_as_one_line(
    name: str, words: str, said: str
) -> None:
    """Claude Code cuts at spaces: no stray word is a photo, a model or a number in silence."""
    prompt = _named(name)
    blanks = dict(zip((a.name for a in prompt.arguments), words.split(), strict=False))
    text = prompt_templates.message(prompt, blanks, shipped())
    line = " ".join(blanks.values()).replace('"', "")
    assert text.startswith(f'I typed "{line}" in one line')
    assert said in text


@pytest.mark.parametrize(
    ("name", "blank", "value"),
    [
        ("product_shot", "photo", "my mug"),
        ("style_exploration", "style", "old oil"),
        ("image_to_video", "image", "/"),
        ("image_to_video", "image", "~"),
        ("image_to_video", "image", "https://"),
    ],
)
def test_what_is_no_picture_is_none(name: str, blank: str, value: str) -> None:
    """A word is never taken for a photo."""
    with pytest.raises(InvalidArguments, match=f'"{value}" is no picture'):
        prompt_templates.message(_named(name), {blank: value}, shipped())


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
