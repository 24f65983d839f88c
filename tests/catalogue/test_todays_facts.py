"""What MeiGen takes since May, fact by fact: where the list announces it, and where it does not.

The list is that of the sandbox of 2026-11, the other one that of May. What rests on a name that no
source gives has a table of its own.
"""

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import replace
from typing import Any

import pytest
from jsonschema import Draft202012Validator
from support.rich_models import TODAY

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.arguments import ANNOUNCED, TOOL_OF, form, judge
from meigen_mcp.catalogue.assumed import assumed, name_of
from meigen_mcp.catalogue.lengths import Measured, check_measured
from meigen_mcp.catalogue.models import Catalogue, MediaType, Model, shipped
from meigen_mcp.catalogue.pricing import quote
from meigen_mcp.sandbox.models import body


def laid(listed: Mapping[str, Any]) -> Catalogue:
    """Return the catalogue of a list."""
    catalogue = live_list.lay(shipped(), listed, TODAY)
    assert catalogue is not None
    return catalogue


NOVEMBER, MAY = laid(body("2026-11", 1, TODAY)), laid(body("2026-05", 1, TODAY))
CLIP, SOUND, PICTURE = (f"https://images.meigen.ai/a.{kind}" for kind in ("mp4", "wav", "png"))
ELSEWHERE = "https://example.com/a.mp4"
ABSENT = "MeiGen's list does not announce it for "


def wrong(catalogue: Catalogue, model_id: str, arguments: Mapping[str, Any]) -> list[str]:
    """Return what a call is told, which the model's schema has to agree with."""
    model = catalogue.find(model_id)
    if model is None:
        medium: MediaType = "video" if "duration" in arguments else "image"
        call = {"prompt": "a cat", "modelId": model_id, **arguments}
        return [str(problem) for problem in judge(TOOL_OF[medium], catalogue, call)[1]]
    rules = form(model, catalogue.accepted(model.media_type))
    call = {"prompt": "a cat", "modelId": model_id, **arguments}
    problems = [str(problem) for problem in rules.check(call)]
    assert Draft202012Validator(rules.schema()).is_valid(call) is not bool(problems)
    return problems


def clips(count: int, seconds: float | None = None) -> dict[str, Any]:
    """Return several clips, with the length of all together."""
    length = {} if seconds is None else {"referenceVideoDuration": seconds}
    return {"referenceVideos": [CLIP] * count, **length}


# fact, model, arguments, what is wrong with them where the list announces it ("": nothing)
FACTS: list[tuple[str, str, dict[str, Any], str]] = [
    ("several clips", "seedance-2-5", clips(1, 2), ""),
    ("several clips", "seedance-2-5", clips(3, 45), ""),
    ("one clip too many", "seedance-2-5", clips(4, 40), "4 given, at most 3 allowed"),
    ("together too long", "seedance-2-5", clips(3, 45.1), "from 2 to 45"),
    ("together too short", "seedance-2-5", clips(1, 1.9), "from 2 to 45"),
    ("clips that MeiGen measures itself", "seedance-2-5", clips(2), ""),
    (
        "a clip that MeiGen measures itself",
        "seedance-2-0",
        {"referenceVideo": CLIP, "tier": "fast"},
        "",
    ),
    (
        "nobody knows how long",
        "seedance-2-0",
        {"referenceVideo": ELSEWHERE},
        "only MeiGen's own clips are measured",
    ),
    ("one clip alone", "seedance-2-5", {"referenceVideo": CLIP, "referenceVideoDuration": 30}, ""),
    (
        "one clip too long, though several may be",
        "seedance-2-5",
        {"referenceVideo": CLIP, "referenceVideoDuration": 30.1},
        "one clip of seedance-2-5 has at most 30 s",
    ),
    (
        "a clip named twice",
        "seedance-2-5",
        {"referenceVideo": CLIP, **clips(2, 20)},
        "a clip is named once",
    ),
    ("a picture for a clip", "seedance-2-5", {"referenceVideos": [PICTURE]}, "is a picture"),
    ("a sound for a clip", "seedance-2-5", {"referenceVideos": [SOUND]}, "is a sound"),
    (
        "a sound",
        "seedance-2-0",
        {"referenceAudios": [SOUND]},
        "",
    ),
    ("one sound too many", "seedance-2-0", {"referenceAudios": [SOUND] * 2}, "at most 1 allowed"),
    ("a clip for a sound", "seedance-2-0", {"referenceAudios": [CLIP]}, "is a clip"),
    (
        "a sound alone where a picture has to be there",
        "seedance-2-5",
        {"referenceAudios": [SOUND]},
        "takes a sound only beside a picture or clip",
    ),
    (
        "a sound beside a picture",
        "seedance-2-5",
        {"referenceAudios": [SOUND, SOUND], "referenceImages": [PICTURE]},
        "",
    ),
    (
        "a sound beside a content image",
        "seedance-2-5",
        {"referenceAudios": [SOUND], "contentReferenceImages": [PICTURE]},
        "",
    ),
    ("no sound where none is announced", "veo-3.1", {"referenceAudios": [SOUND]}, ABSENT),
    ("a tier of its own", "seedance-2-0", {"tier": "mini", "resolution": "720p"}, ""),
    ("a tier has its resolutions", "seedance-2-0", {"tier": "mini", "resolution": "1080p"}, "mini"),
    (
        "a tier that takes no clip",
        "seedance-2-0",
        {"tier": "mini", "referenceVideo": CLIP, "referenceVideoDuration": 5},
        "in tier fast or pro only",
    ),
    ("4K in a tier", "seedance-2-5", {"tier": "pro", "resolution": "4K"}, ""),
    ("4K not in another", "seedance-2-5", {"tier": "fast", "resolution": "4K"}, "480p or 720p"),
    ("ultra", "gpt-image-25", {"quality": "ultra"}, ""),
    ("ultra elsewhere", "gpt-image-2", {"quality": "ultra"}, 'use "low", "medium" or "high"'),
    ("a first frame is needed", "grok-video", {"duration": 4}, "referenceImages: missing"),
    ("and is there", "grok-video", {"duration": 15, "referenceImages": [PICTURE]}, ""),
    (
        "4 to 15 s",
        "grok-video",
        {"duration": 16, "referenceImages": [PICTURE]},
        "from 4 to 15",
    ),
    (
        "an edit: adaptive, as long as its clip",
        "seedance-2-5",
        {
            "referenceVideo": CLIP,
            "referenceVideoDuration": 29.6,
            "duration": 30,
            "aspectRatio": "adaptive",
        },
        "",
    ),
    ("never -1", "seedance-2-5", {"duration": -1}, "from 4 to 30"),
    ("a draft", "seedance-2-5", {"draft": True, "duration": 4}, ""),
    ("a draft in its resolution", "seedance-2-5", {"draft": True, "resolution": "480p"}, ""),
    ("no draft in another", "seedance-2-5", {"draft": True, "resolution": "720p"}, "in 480p"),
    ("not a draft in any", "seedance-2-5", {"draft": False, "resolution": "720p"}, ""),
    ("no draft where none is announced", "seedance-2-0", {"draft": True}, ABSENT),
    ("a final names its draft", "seedance-2-5", {"finalOf": "g-1"}, ""),
    ("and not nothing", "seedance-2-5", {"finalOf": " "}, "the id of a draft"),
    ("no final where no draft is", "seedance-2-0", {"finalOf": "g-1"}, ABSENT),
    ("a variant", "gpt-image-25", {"modelVariant": "flare"}, ""),
    ("no other variant", "gpt-image-25", {"modelVariant": "dusk"}, '"flare" or "sunburst"'),
    ("content images", "seedance-2-5", {"contentReferenceImages": [PICTURE] * 4}, ""),
    ("one too many", "seedance-2-5", {"contentReferenceImages": [PICTURE] * 5}, "at most 4"),
    ("a profile", "midjourney-v8.1", {"niji7Options": {"profile": "abc123"}}, ""),
    ("a blank profile", "midjourney-v8.1", {"niji7Options": {"profile": " "}}, "not blank"),
    ("weird is ignored", "midjourney-v8.1", {"niji7Options": {"weird": 5}}, "V8.2 ignores it"),
    ("sv is fixed", "midjourney-v8.1", {"niji7Options": {"sv": 4}}, "V8.2 has fixed it to 6"),
    ("a style by its number", "midjourney-v8.1", {"niji7Options": {"sref": "123456"}}, ""),
    ("a style at random", "midjourney-v8.1", {"niji7Options": {"sref": "random"}}, ""),
    ("a style by a picture", "midjourney-v8.1", {"niji7Options": {"sref": PICTURE}}, ""),
    ("no style by a word", "midjourney-v8.1", {"niji7Options": {"sref": "baroque"}}, "numeric"),
    ("no style by a path", "midjourney-v8.1", {"niji7Options": {"sref": "/a.png"}}, "numeric code"),
    ("the ranges of May", "midjourney-v8.1", {"niji7Options": {"stylize": 1000, "iw": 2}}, ""),
    ("and not beyond", "midjourney-v8.1", {"niji7Options": {"stylize": 1001}}, "from 0 to 1000"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("model_id", "arguments", "words"),
    [fact[1:] for fact in FACTS],
    ids=[f"{fact[1]} {fact[0]}" for fact in FACTS],
)
def test_what_the_list_announces_is_taken_within_its_limits(
    model_id: str, arguments: dict[str, Any], words: str
) -> None:
    """One sentence for what is wrong; the schema of the model says the same."""
    told = wrong(NOVEMBER, model_id, arguments)
    assert (told == []) is (words == "")
    assert words in "; ".join(told)


# model, arguments, what a service of May is told instead
AGAINST_MAY: list[tuple[str, dict[str, Any], str]] = [
    (
        "seedance-2-0",
        {**clips(1, 5)},
        f"referenceVideos: {ABSENT}seedance-2-0; give the one clip that it takes as referenceVideo",
    ),
    ("seedance-2-0", {"referenceVideo": CLIP}, "MeiGen counts the reference video as 0 s"),
    ("seedance-2-0", {"referenceAudios": [SOUND]}, f"{ABSENT}seedance-2-0; leave it out"),
    ("seedance-2-0", {"contentReferenceImages": [PICTURE]}, f"{ABSENT}seedance-2-0; leave it out"),
    ("seedance-2-0", {"draft": True}, f"{ABSENT}seedance-2-0; leave it out"),
    ("seedance-2-0", {"finalOf": "g-1"}, f"{ABSENT}seedance-2-0; leave it out"),
    ("seedance-2-0", {"modelVariant": "sunburst"}, f"{ABSENT}seedance-2-0; leave it out"),
    ("gpt-image-2", {"modelVariant": "sunburst"}, f"{ABSENT}gpt-image-2; leave it out"),
    ("seedance-2-0", {"tier": "mini"}, 'tier: "mini" is not allowed; use "fast" or "pro"'),
    ("seedance-2-0", {"resolution": "4K"}, 'resolution: "4K" is not allowed'),
    ("gpt-image-2", {"quality": "ultra"}, 'quality: "ultra" is not allowed'),
    ("gpt-image-25", {}, 'modelId: "gpt-image-25" is no image model; did you mean gpt-image-2?'),
    ("grok-video", {"duration": 5}, 'modelId: "grok-video" is no video model'),
    (
        "midjourney-v8.1",
        {"niji7Options": {"profile": "a"}},
        "niji7Options.profile: it came with V8.2, and MeiGen's list calls midjourney-v8.1"
        ' "Midjourney V8.1"; leave it out',
    ),
]


@pytest.mark.parametrize(("model_id", "arguments", "words"), AGAINST_MAY)
def test_against_a_service_of_may_each_is_refused_with_the_reason(
    model_id: str, arguments: dict[str, Any], words: str
) -> None:
    """It is not that the argument does not exist: this service does not announce it."""
    assert words in "; ".join(wrong(MAY, model_id, arguments))


@pytest.mark.parametrize("name", [name for name in ANNOUNCED if "video" in ANNOUNCED[name]])
def test_a_call_without_a_model_is_told_so_too(name: str) -> None:
    """With a wrong model nothing else is judged by one."""
    call = {"prompt": "a cat", "modelId": "no-such", name: ["x"]}
    told = [str(problem) for problem in judge("generate_video", MAY, call)[1]]
    assert f"{name}: {ABSENT}any model; leave it out" in told


# --- what rests on a name that no source gives ----------------------------------------------------

# assumption, where it stands in a model's row, model, a call that rests on it, what else is told
ASSUMED: list[tuple[str, tuple[str, ...], str, dict[str, Any], str]] = [
    (
        "variants",
        ("extra_config",),
        "gpt-image-25",
        {"modelVariant": "sunburst"},
        f"modelVariant: {ABSENT}gpt-image-25",
    ),
    (
        "content_images",
        ("capabilities", "video"),
        "seedance-2-5",
        {"contentReferenceImages": [PICTURE]},
        f"contentReferenceImages: {ABSENT}seedance-2-5",
    ),
]


def without(model_id: str, where: tuple[str, ...], name: str) -> Catalogue:
    """Return the catalogue of the November list without one name in one row."""
    listed = deepcopy(body("2026-11", 1, TODAY))
    (place,) = [row for row in listed["models"] if row["id"] == model_id]
    for step in where:
        place = place[step]
    del place[name]
    return laid(listed)


@pytest.mark.parametrize(("what", "where", "model_id", "arguments", "told"), ASSUMED)
def test_what_no_source_names_is_taken_only_where_the_list_names_it_so(
    what: str, where: tuple[str, ...], model_id: str, arguments: dict[str, Any], told: str
) -> None:
    """The real service is sent no name that it did not use itself."""
    assert wrong(NOVEMBER, model_id, arguments) == []
    lacking = without(model_id, where, name_of(what))
    assert told in "; ".join(wrong(lacking, model_id, arguments))


def test_a_default_variant_that_is_not_named_is_quoted_at_its_dearest() -> None:
    """Then the list says which there are, and not which one is meant."""
    lacking = without("gpt-image-25", ("extra_config",), name_of("default_variant"))
    model = lacking.find("gpt-image-25")
    assert model is not None
    assert (model.variants, model.default_variant) == (("flare", "sunburst"), None)


@pytest.mark.parametrize(
    ("name", "url"), [("referenceVideo", ELSEWHERE), ("referenceAudios", [ELSEWHERE])]
)
def test_a_clip_elsewhere_is_sent_unless_the_list_forbids_it(name: str, url: Any) -> None:
    """Its hosts stand under a name that is assumed; without them every public one is taken."""
    call = {name: url, "referenceImages": [PICTURE]}
    call |= {"referenceVideoDuration": 5} if name == "referenceVideo" else {}
    if name == "referenceAudios":
        call[name] = [ELSEWHERE.replace("mp4", "wav")]
    allowed = "MeiGen's list allows no other host"
    assert allowed in "; ".join(wrong(NOVEMBER, "seedance-2-5", call))
    kind = "referenceVideo" if name == "referenceVideo" else "referenceAudio"
    lacking = without("seedance-2-5", ("capabilities", "video", kind), name_of("hosts"))
    assert wrong(lacking, "seedance-2-5", call) == []


# assumption, a clip of this computer that is refused by it
LIMITS = [
    ("least_rate", Measured("referenceVideo", 5, 1, "mp4", 23.4, "h264")),
    ("most_rate", Measured("referenceVideo", 5, 1, "mp4", 60.1, "h264")),
    ("codecs", Measured("referenceVideo", 5, 1, "mp4", 24, "vp9")),
]


@pytest.mark.parametrize(("what", "clip"), LIMITS)
def test_a_limit_whose_name_no_source_gives_holds_only_where_the_list_says_it_so(
    what: str, clip: Measured
) -> None:
    """Without it the service judges, as it does of a URL; at the edge it is taken."""
    lacking = without("seedance-2-5", ("capabilities", "video", "referenceVideo"), name_of(what))
    told = [len([*check_measured(found(list_), [clip])]) for list_ in (NOVEMBER, lacking)]
    edges = [replace(clip, rate=rate, codec="hevc") for rate in (23.5, 60)]
    assert (told, [*check_measured(found(NOVEMBER), edges)]) == ([1, 0], [])


def found(catalogue: Catalogue, model_id: str = "seedance-2-5") -> Model:
    """Return a model, by default the one that takes most."""
    model = catalogue.find(model_id)
    assert model is not None
    return model


@pytest.mark.parametrize(
    ("model_id", "arguments", "seconds"),
    [
        ("seedance-2-0", {"referenceVideo": CLIP, "resolution": "720p"}, 2),
        ("seedance-2-5", {**clips(2), "resolution": "720p"}, 2),
    ],
)
def test_what_meigen_measures_itself_costs_at_least_as_much_as_the_shortest_clip(
    model_id: str, arguments: dict[str, Any], seconds: int
) -> None:
    """Nobody here knows more."""
    model = found(NOVEMBER, model_id)
    known = {**arguments, "duration": 5, "referenceVideoDuration": seconds}
    unknown = {**arguments, "duration": 5}
    quoted = quote(model, unknown, TODAY)
    assert (quoted.credits, quoted.kind) == (quote(model, known, TODAY).credits, "at_least")


def test_each_assumption_has_a_row_in_a_table() -> None:
    """Those of a status are read by `test_what_a_status_says_of_a_final_is_read_...`."""
    of_a_status = {"draft_expiry", "final_request"}
    rows = {row[0] for row in ASSUMED} | {row[0] for row in LIMITS}
    assert rows | of_a_status | {"hosts", "default_variant"} == {*assumed()}


def test_each_assumption_says_what_is_known_and_stands_in_no_other_list() -> None:
    """Before 2026-11 the sandbox uses none of the names."""
    assert all(entry.keys() == {"name", "known"} for entry in assumed().values())
    earlier = str(body("2026-05", 1, TODAY)) + str(body("2026-09", 1, TODAY))
    assert [what for what in assumed() if f"'{name_of(what)}'" in earlier] == []
