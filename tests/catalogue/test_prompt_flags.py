"""Flags that Midjourney users type: refused with what does the same; MeiGen would drop them."""

import pytest

from meigen_mcp.catalogue.arguments import judge
from meigen_mcp.catalogue.models import shipped


def refusals(prompt: str, model_id: str = "midjourney-v8.1") -> list[str]:
    """Return what is wrong with a prompt, as sentences."""
    _, problems = judge("generate_image", shipped(), {"prompt": prompt, "modelId": model_id})
    return [str(problem) for problem in problems]


def dropped(flag: str, instead: str) -> str:
    """Return the sentence about one flag."""
    return f"prompt: MeiGen takes --{flag} out of the prompt; take it out{instead}"


NO_EFFECT = ": it has no effect at MeiGen; say it in words"


@pytest.mark.parametrize(
    ("written", "flag", "instead"),
    [
        ("--ar 16:9", "ar", ' and give aspectRatio "16:9"'),
        ("--AR16:9", "ar", ' and give aspectRatio "16:9"'),
        ("--aspect 3:2", "aspect", ' and give aspectRatio "3:2"'),
        ("--aspect", "aspect", " and give aspectRatio"),
        ("--v 7", "v", "; modelId chooses the version"),
        ("--version 6.1", "version", "; modelId chooses the version"),
        ("--niji 6", "niji", "; modelId chooses the version"),
        ("--s 750", "s", " and give niji7Options.stylize"),
        ("--stylize 750", "stylize", " and give niji7Options.stylize"),
        ("--c 20", "c", " and give niji7Options.chaos"),
        ("--chaos=20", "chaos", " and give niji7Options.chaos"),
        ("--iw 2", "iw", " and give niji7Options.iw"),
        ("--sw 50", "sw", " and give niji7Options.sw"),
        ("--sref https://example.com/a.png", "sref", " and give niji7Options.sref"),
        ("--sref", "sref", " and give niji7Options.sref"),
        ("--raw", "raw", " and give niji7Options.raw"),
        ("--style raw", "style", " and give niji7Options.raw"),
        ("--q 2", "q", " and give niji7Options.quality"),
        ("--quality 4", "quality", " and give niji7Options.quality"),
        ("--no dogs", "no", NO_EFFECT),
        ("--seed 5", "seed", NO_EFFECT.partition(";")[0]),
        ("--w 100", "w", NO_EFFECT),
        ("--weird 100", "weird", NO_EFFECT),
        ("--tile", "tile", NO_EFFECT),
        ("--repeat 4", "repeat", NO_EFFECT.partition(";")[0]),
    ],
)
def test_a_flag_is_refused_with_what_does_the_same(written: str, flag: str, instead: str) -> None:
    """Wherever it stands: at the start, after a line break, before other words."""
    refusal = [dropped(flag, instead)]
    for prompt in (f"a cat {written}", f"{written} a cat", f"a cat\n{written}\tin the sun"):
        assert refusals(prompt) == refusal


def test_every_flag_is_named_at_once_and_only_once() -> None:
    """Whoever types one types several."""
    assert refusals("a cat --ar 16:9 --no dogs --no people --v 7") == [
        dropped("ar", ' and give aspectRatio "16:9"'),
        dropped("no", NO_EFFECT),
        dropped("v", "; modelId chooses the version"),
    ]


@pytest.mark.parametrize("prompt", ["hot:: dog", "hot::2 dog", "hot::-1 dog", "hot::0.5 x", "a::"])
def test_a_weight_is_refused(prompt: str) -> None:
    """A word with two colons, before white space or the end."""
    assert refusals(prompt) == [
        "prompt: MeiGen takes weights written with :: out of the prompt; say in words what"
        " matters most"
    ]


def test_a_choice_is_refused() -> None:
    """It would have made one picture of each."""
    assert refusals("a [red|blue] car") == [
        "prompt: MeiGen takes [a|b] out of the prompt; make one call for each, or name one of them"
    ]


@pytest.mark.parametrize(
    "prompt",
    [
        "a cat -- in the sun",
        "a well--known cat",
        "a --vivid dream",
        "a cat --no-one sees",
        "std::vector<int> on a shirt",
        "a sign that says [open]",
        "a | b",
        "a cat --sref 123",
        "a cat --sref random",
        "10 - 3 -- 7",
    ],
)
def test_a_dash_in_a_sentence_is_no_flag(prompt: str) -> None:
    """And `--sref` with a code is kept by MeiGen, as its page says."""
    assert refusals(prompt) == []


def test_only_midjourney_takes_flags_out() -> None:
    """The others read them as words, whatever they make of them."""
    assert refusals("a cat --ar 16:9 hot::2 [a|b]", "gpt-image-2") == []
    assert refusals("a cat --tile", "midjourney-v7") == [dropped("tile", NO_EFFECT)]


def test_a_picture_is_no_clip_and_a_clip_no_picture() -> None:
    """Told by the ending of its name, before a length is asked for."""
    call = {"prompt": "it goes on", "modelId": "seedance-2-0"}
    told = {}
    for argument, value in {
        "referenceVideo": "https://example.com/a.PNG?size=2#top",
        "referenceImages": ["https://example.com/a.png", "https://example.com/b.mp4"],
    }.items():
        _, problems = judge("generate_video", shipped(), {**call, argument: value})
        told[argument] = [str(problem) for problem in problems]
    assert told == {
        "referenceVideo": [
            'referenceVideo: "https://example.com/a.PNG?size=2#top" is a picture, not a clip;'
            " a picture is given in referenceImages"
        ],
        "referenceImages": [
            'referenceImages[1]: "https://example.com/b.mp4" is a clip, not a picture; a clip is'
            " given as referenceVideo"
        ],
    }


@pytest.mark.parametrize(
    ("written", "tool", "fix"),
    [
        ("nano banana", "generate_image", "did you mean nanobanana-2?"),
        ("midjourney", "generate_image", "did you mean midjourney-v8.1?"),
        ("gpt image", "generate_image", "did you mean gpt-image-2?"),
        ("veo 3", "generate_video", "did you mean veo-3.1?"),
        ("seedance 2.5", "generate_video", "did you mean seedance-2-0?"),
        ("veo 3", "generate_image", "did you mean veo-3.1? It makes videos: call generate_video"),
        (
            "nano banana",
            "generate_video",
            "did you mean nanobanana-2? It makes images: call generate_image",
        ),
    ],
)
def test_a_name_that_people_use_is_suggested_never_guessed(
    written: str, tool: str, fix: str
) -> None:
    """With the tool that makes it, where this one does not."""
    assert tool in ("generate_image", "generate_video")
    call = {"prompt": "a cat", "modelId": written}
    model, problems = judge(tool, shipped(), call)  # type: ignore[arg-type]  # one of the two
    assert (model, [p.fix for p in problems if p.field == "modelId"]) == (None, [fix])
