"""The arguments of the four tools: every schema, check and description comes from here.

What a model accepts is built from its facts in the catalogue; nothing per model is written by hand.
"""

from collections.abc import Container, Mapping, Sequence
from dataclasses import replace
from functools import lru_cache, partial
from typing import Any, Literal

from meigen_mcp.catalogue import forms
from meigen_mcp.catalogue.forms import Form
from meigen_mcp.catalogue.links import links_of, shapes
from meigen_mcp.catalogue.meant import no_such_model, unknown, use_one
from meigen_mcp.catalogue.models import Catalogue, MediaType, Model, Option
from meigen_mcp.catalogue.prompt_flags import DROPPED, explain_dropped
from meigen_mcp.catalogue.reference_rules import Accepts, style_code, text_or_public_url
from meigen_mcp.catalogue.rules import (
    Choice,
    Except,
    Flag,
    Items,
    Number,
    Options,
    Rule,
    Text,
    absent,
)
from meigen_mcp.errors import Problem
from meigen_mcp.wording import listed, plain, show

Tool = Literal["generate_image", "generate_video", "check_status", "list_models"]
TOOL_OF: Mapping[MediaType, Tool] = {"image": "generate_image", "video": "generate_video"}
MEDIUM_OF: Mapping[str, MediaType] = {tool: medium for medium, tool in TOOL_OF.items()}

# `$` also matches before a final newline in Python; the look-ahead makes all dialects agree.
_UUID = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$(?!\n)"
REQUEST_ID = Text("a UUID", _UUID, "give the requestId of an earlier answer, or leave it out")
FINAL_OF = Text("the id of a draft", r"\S", "copy it from an earlier answer", 200)
WAIT = Number(0, 300, whole=True, unit="seconds")
WAITS: Mapping[Tool, Number] = {
    "generate_image": replace(WAIT, default=25),
    "generate_video": replace(WAIT, default=0),
    "check_status": replace(WAIT, default=25),
}
"""How long each tool waits, and how long if nobody says."""
LIMIT = Number(1, 50, whole=True, default=10)
LONGEST_PROMPT = 32_000
"""Characters: far more than any model reads, and little enough to be kept a thousand times."""
PROMPT = Text("text that is not blank", r"\S", "describe the picture or clip", LONGEST_PROMPT)

_LONGEST_OPTION = 200

URLS = Accepts()
"""What the API itself takes: URLs."""
CONTROL: Mapping[str, Rule] = {
    "wait": WAIT,
    "maxCredits": Number(0, unit="credits"),
    "dryRun": Flag(),
    "requestId": REQUEST_ID,
}
GENERATION = (
    "prompt",
    "modelId",
    "modelVariant",
    "aspectRatio",
    "resolution",
    "quality",
    "duration",
    "tier",
    "referenceImages",
    "referenceType",
    "referenceVideo",
    "referenceVideoDuration",
    "referenceVideos",
    "referenceAudios",
    "contentReferenceImages",
    "draft",
    "finalOf",
    "niji7Options",
)
ANNOUNCED: Mapping[str, tuple[MediaType, ...]] = {
    "modelVariant": ("image", "video"),
    "referenceVideos": ("video",),
    "referenceAudios": ("video",),
    "contentReferenceImages": ("video",),
    "draft": ("video",),
    "finalOf": ("video",),
}
"""What only the live list announces, by the media that it is for: a service of May takes none."""
NOTHING: Mapping[str, float | bool] = {"referenceVideoDuration": 0, "draft": False}
"""What says of an argument the same as leaving it out: some clients have every one filled in."""
CHECK_STATUS = Form(
    {
        "generationId": Text("the id of a generation", r"\S", "copy it from an earlier answer"),
        "requestId": REQUEST_ID,
        "wait": WAITS["check_status"],
        "limit": LIMIT,
    }
)


def list_models_form(catalogue: Catalogue) -> Form:
    """Return the rules of `list_models`."""
    return Form(
        {
            "mediaType": Choice(("image", "video")),
            "modelId": Choice(tuple(m.id for m in catalogue.accepted()) or ("",)),
        }
    )


@lru_cache(maxsize=64)
def form(model: Model, peers: tuple[Model, ...], accepts: Accepts = URLS) -> Form:
    """Return the complete rules of a generating call with one model.

    Args:
        model: the model that the call uses.
        peers: all models of the same medium, to say which of them takes what this one does not.
        accepts: what references may be; by default what the API takes.
    """
    rules = generation_rules(model, accepts)
    required = ["prompt"]
    if not (model.default and model.media_type == "image"):
        required.append("modelId")
    if model.requires_first_frame and "referenceImages" in rules:
        required.append("referenceImages")
    takers: dict[str, list[str]] = {}
    for peer in peers:
        for name in generation_rules(peer, accepts):
            takers.setdefault(name, []).extend([] if peer.legacy else [peer.id])
    elsewhere = {
        name: _not_taken(name, model, takers[name])
        for name in GENERATION
        if name in takers and name not in rules
    }
    return Form(
        {**rules, **CONTROL},
        tuple(required),
        tuple(links_of(model)),
        elsewhere,
        {name: _not_taken(name, model, ()) for name in _unheard(model.media_type, takers)},
        _notes(model),
    )


def _unheard(medium: MediaType, taken: Container[str]) -> list[str]:
    """Return the arguments of a medium that the live list announces for no model."""
    return [name for name, media in ANNOUNCED.items() if medium in media and name not in taken]


def _notes(model: Model) -> tuple[str, ...]:
    if (edits := model.edits) is None:
        return ()
    lengths = f"{plain(edits.minimum_seconds)}-{plain(edits.maximum_seconds)} s"
    return (
        f"an edit keeps the length of its clip ({lengths}): give that as duration, rounded, with"
        " aspectRatio adaptive; MeiGen tells by the prompt whether it is one",
    )


def as_meant(tool: Tool, catalogue: Catalogue, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a generating call with what was written as text read.

    What says nothing is None, so that also a model without such an argument takes it.
    """
    rules = _rules_of_all(catalogue.accepted(MEDIUM_OF[tool]))
    read = {name: forms.as_meant(value, rules.get(name, ())) for name, value in arguments.items()}
    return {name: None if _says_nothing(name, value) else value for name, value in read.items()}


def _says_nothing(name: str, value: Any) -> bool:
    nothing = NOTHING.get(name)
    alike = isinstance(value, bool) == isinstance(nothing, bool)  # in Python False is 0
    return nothing is not None and alike and bool(value == nothing)


@lru_cache(maxsize=8)
def _rules_of_all(models: tuple[Model, ...]) -> Mapping[str, Sequence[Rule]]:
    """Return what each argument may be with some of the models."""
    by_model = [generation_rules(model) for model in models]
    rules = {
        name: [rules[name] for rules in by_model if name in rules]
        for name in dict.fromkeys(name for rules in by_model for name in rules)
    }
    return {**rules, **{name: [rule] for name, rule in CONTROL.items()}}


def judge(
    tool: Tool, catalogue: Catalogue, arguments: Mapping[str, Any], accepts: Accepts = URLS
) -> tuple[Model | None, list[Problem]]:
    """Find the model of a generating call and every problem of its arguments.

    A call without `modelId` is judged by the catalogue's default model. With a wrong id the other
    arguments are judged by the model that was probably meant.
    """
    medium = MEDIUM_OF[tool]
    peers = catalogue.accepted(medium)
    given = arguments.get("modelId")
    if absent(given):
        model = catalogue.default(medium)
        if model is not None:
            return model, form(model, peers, accepts).check(arguments)
        problem = Problem("modelId", "missing", use_one(peers))
        return None, [problem, *_common_problems(peers, arguments, accepts)]
    found = catalogue.find(given) if isinstance(given, str) else None
    if found is not None and found.media_type == medium:
        return found, form(found, peers, accepts).check(arguments)
    problem = no_such_model(given, medium, catalogue, TOOL_OF)
    meant = found or _meant(given, medium, catalogue)
    if meant is None:
        return None, [problem, *_common_problems(peers, arguments, accepts)]
    meant_form = form(meant, catalogue.accepted(meant.media_type), accepts)
    return None, [problem, *meant_form.check({**arguments, "modelId": meant.id})]


def _meant(given: Any, medium: MediaType, catalogue: Catalogue) -> Model | None:
    """Return the model that a wrong id stands for, if that can be told."""
    if isinstance(given, str) and given in catalogue.retired:
        return catalogue.find(catalogue.retired[given])
    if isinstance(given, str) and given in catalogue.unavailable:
        return None
    return catalogue.guess(given, medium)


def _common_problems(
    peers: Sequence[Model], arguments: Mapping[str, Any], accepts: Accepts
) -> list[Problem]:
    """Judge what does not depend on the model, and what every model refuses."""
    rules = [generation_rules(model, accepts) for model in peers]
    known_names = [*(names(peers, accepts) or GENERATION), *CONTROL]
    medium = peers[0].media_type if peers else "image"
    unheard = {name: _unannounced(name, "any model") for name in _unheard(medium, known_names)}
    strange = [
        unheard.get(n) or unknown(n, n, known_names) for n in arguments if n not in known_names
    ]
    common = Form({"prompt": PROMPT, **CONTROL}, ("prompt",))
    known = {name: value for name, value in arguments.items() if name in common.rules}
    problems = [*strange, *common.check(known)]
    for name in names(peers, accepts):
        value = arguments.get(name)
        if name in ("prompt", "modelId") or absent(value):
            continue
        found = [tuple(rule[name].check(value, name)) for rule in rules if name in rule]
        if all(found):
            fix = "see list_models for what each takes"
            refused = Problem(name, f"no model takes {show(value)}", fix)
            problems.extend(found[0] if len(set(found)) == 1 else [refused])
    return problems


def _unannounced(name: str, what: str, fix: str = "leave it out") -> Problem:
    return Problem(name, f"MeiGen's list does not announce it for {what}", fix)


def _not_taken(name: str, model: Model, takers: Sequence[str]) -> Problem:
    if name == "referenceVideos" and model.continuation is not None:
        return _unannounced(name, model.id, "give the one clip that it takes as referenceVideo")
    length = " with referenceVideoDuration" if name in ("referenceVideo", "referenceVideos") else ""
    fix = f"leave it out, or use {listed(takers)}{length}" if takers else "leave it out"
    if name in ANNOUNCED:
        return _unannounced(name, model.id, fix)
    return Problem(name, f"{model.id} takes no {name}, so it would have no effect", fix)


def names(models: Sequence[Model], accepts: Accepts = URLS) -> list[str]:
    """Return the generation arguments that any of the models takes, in reading order."""
    taken = {name for model in models for name in generation_rules(model, accepts)}
    return [name for name in GENERATION if name in taken]


def generation_rules(model: Model, accepts: Accepts = URLS) -> dict[str, Rule]:
    """Return what each generation argument of a model may be, in reading order."""
    rules: dict[str, Rule] = {
        "prompt": _prompt(model),
        "modelId": Choice((model.id,)),
        "aspectRatio": _ratio(model),
        "resolution": Text("a resolution")
        if model.resolutions is None
        else Choice(model.resolutions, model.default_resolution),
    }
    if model.variants:
        rules["modelVariant"] = Choice(model.variants, model.default_variant)
    if model.qualities:
        rules["quality"] = Choice(model.qualities, model.default_quality)
    if model.media_type == "video":
        rules["duration"] = _duration(model)
    if model.tiers:
        rules["tier"] = Choice(model.tiers, model.default_tier)
    rules |= _references(model, accepts)
    if model.reference_types:
        rules["referenceType"] = Choice(model.reference_types, model.default_reference_type)
    if model.options:
        options = {name: _option(option, accepts) for name, option in model.options.items()}
        rules["niji7Options"] = Options(options, _reasons(model))
    return {name: rules[name] for name in GENERATION if name in rules}


def _references(model: Model, accepts: Accepts) -> dict[str, Rule]:
    """Return what each argument that takes pictures, clips or sounds may be."""
    rules: dict[str, Rule] = {}
    if model.max_reference_images != 0:
        rules["referenceImages"] = Items(
            accepts.image(continues=model.continuation is not None), model.max_reference_images
        )
    if (clip := model.continuation) is not None:
        low, uploads = clip.minimum_seconds, clip.upload_bytes is not None
        video = accepts.video(clip.hosts or (), uploads=uploads)
        rules["referenceVideo"] = video
        rules["referenceVideoDuration"] = Number(
            low or 0, clip.longest, above=not low, unit="seconds"
        )
        if clip.most > 1:
            rules["referenceVideos"] = Items(video, clip.most)
    if (sounds := model.sounds) is not None:
        sound = accepts.sound(sounds.hosts or (), uploads=sounds.upload_bytes is not None)
        rules["referenceAudios"] = Items(sound, sounds.most)
    if model.drafts:
        rules["draft"] = Flag()
        rules["finalOf"] = FINAL_OF
    if model.content_images:
        continues = model.continuation is not None
        rules["contentReferenceImages"] = Items(
            accepts.image(continues=continues), model.content_images
        )
    return rules


def _prompt(model: Model) -> Rule:
    if not model.strips_flags:
        return PROMPT
    explain = partial(explain_dropped, options=frozenset(model.options), ratio=_ratio(model))
    return Except(PROMPT, DROPPED, explain)


def _ratio(model: Model) -> Rule:
    special = ("auto", "adaptive") if model.adaptive and shapes(model) else ("auto",)
    if model.ratios is not None:
        return Choice((*special, *model.ratios), "auto")
    words = "|".join(special)
    return Text(
        f"{', '.join(special)} or W:H in whole numbers",
        rf"^(?:{words}|[1-9][0-9]{{0,4}}:[1-9][0-9]{{0,4}})$(?!\n)",
        'use a ratio such as "16:9", or "auto"',
    )


def _duration(model: Model) -> Rule:
    known = model.duration
    if known is None:
        return Number(1, whole=True, unit="seconds", default=model.default_duration)
    if known.values:
        return Choice(known.values, model.default_duration)
    return Number(
        known.minimum, known.maximum, whole=True, unit="seconds", default=model.default_duration
    )


def _reasons(model: Model) -> Mapping[str, str]:
    """Return why members that some version has are not taken now."""
    later = {
        name: f"it came with {word}, and MeiGen's list calls {model.id} {show(model.name)}"
        for word, version in model.versions.items()
        for name in version.options
        if name not in model.options
    }
    return {**later, **model.ignored_options}


def _option(option: Option, accepts: Accepts) -> Rule:
    match option.type:
        case "number":
            default = option.default if isinstance(option.default, int | float) else None
            return Number(option.minimum, option.maximum, default=default)
        case "boolean":
            return Flag(option.default if isinstance(option.default, bool) else None)
        case "choice":
            default_choice = option.default if isinstance(option.default, str) else None
            return Choice(option.values, default_choice)
        case "reference":
            words = "a style code, word or public https URL"
            return text_or_public_url(words, accepts.own_origin)
        case "style_code":
            return style_code(accepts.own_origin)
        case "text":
            return Text(longest=_LONGEST_OPTION)
