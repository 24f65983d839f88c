"""The arguments of the four tools: every schema, check and description comes from here.

What a model accepts is built from its facts in the catalogue; nothing per model is written by hand.
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Literal

from meigen_mcp.catalogue import Catalogue, Continuation, MediaType, Model, Option
from meigen_mcp.errors import Problem
from meigen_mcp.forms import Form, Link, Narrows, Requires, When
from meigen_mcp.references import MEDIUM, Accepts, text_or_public_url
from meigen_mcp.rules import (
    Choice,
    Flag,
    Items,
    Number,
    Options,
    Rule,
    Text,
    absent,
    listed,
    show,
    unknown,
)

Tool = Literal["generate_image", "generate_video", "check_status", "list_models"]
TOOL_OF: Mapping[MediaType, Tool] = {"image": "generate_image", "video": "generate_video"}
MEDIUM_OF: Mapping[str, MediaType] = {tool: medium for medium, tool in TOOL_OF.items()}

# `$` also matches before a final newline in Python; the look-ahead makes all dialects agree.
_UUID = r"^[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$(?!\n)"
REQUEST_ID = Text("a UUID", _UUID, "give the requestId of an earlier answer, or leave it out")
WAIT = Number(0, 40, whole=True, unit="seconds")
PROMPT = Text("text that is not blank", r"\S", "describe the picture or clip")

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
    "aspectRatio",
    "resolution",
    "quality",
    "duration",
    "tier",
    "referenceImages",
    "referenceType",
    "referenceVideo",
    "referenceVideoDuration",
    "niji7Options",
)
CHECK_STATUS = Form(
    {
        "generationId": Text("the id of a generation", r"\S", "copy it from an earlier answer"),
        "requestId": REQUEST_ID,
        "wait": WAIT,
        "limit": Number(1, 50, whole=True, default=10),
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
    return Form({**rules, **CONTROL}, tuple(required), tuple(_links(model)), elsewhere)


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
        problem = Problem("modelId", "missing", _use(peers))
        return None, [problem, *_common_problems(peers, arguments, accepts)]
    found = catalogue.find(given) if isinstance(given, str) else None
    if found is not None and found.media_type == medium:
        return found, form(found, peers, accepts).check(arguments)
    problem = _no_such_model(given, medium, catalogue)
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


def _use(models: Iterable[Model]) -> str:
    ids = [m.id for m in models if not m.legacy]
    return f"use {listed(ids)}" if ids else "no model of this kind is available; see list_models"


def _no_such_model(given: Any, medium: MediaType, catalogue: Catalogue) -> Problem:
    found = catalogue.find(given) if isinstance(given, str) else None
    if found is not None:
        message = f"{show(given)} makes {found.media_type}s"
        return Problem("modelId", message, f"call {TOOL_OF[found.media_type]}")
    if isinstance(given, str) and given in catalogue.retired:
        use = catalogue.retired[given]
        return Problem("modelId", f"{show(given)} was retired", f"use {use}")
    if isinstance(given, str) and given in catalogue.unavailable:
        message = f"{show(given)} cannot be used: {catalogue.unavailable[given]}"
        return Problem("modelId", message, _use(catalogue.listed(medium)))
    guess = catalogue.guess(given, medium)
    fix = f"did you mean {guess.id}?" if guess else _use(catalogue.listed(medium))
    return Problem("modelId", f"{show(given)} is no {medium} model", fix)


def _common_problems(
    peers: Sequence[Model], arguments: Mapping[str, Any], accepts: Accepts
) -> list[Problem]:
    """Judge what does not depend on the model, and what every model refuses."""
    rules = [generation_rules(model, accepts) for model in peers]
    known_names = [*(names(peers, accepts) or GENERATION), *CONTROL]
    strange = [unknown(n, n, known_names) for n in arguments if n not in known_names]
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


def _not_taken(name: str, model: Model, takers: Sequence[str]) -> Problem:
    fix = f"leave it out, or use {listed(takers)}" if takers else "leave it out"
    return Problem(name, f"{model.id} takes no {name}, so it would have no effect", fix)


def names(models: Sequence[Model], accepts: Accepts = URLS) -> list[str]:
    """Return the generation arguments that any of the models takes, in reading order."""
    taken = {name for model in models for name in generation_rules(model, accepts)}
    return [name for name in GENERATION if name in taken]


def generation_rules(model: Model, accepts: Accepts = URLS) -> dict[str, Rule]:
    """Return what each generation argument of a model may be, in reading order."""
    rules: dict[str, Rule] = {
        "prompt": PROMPT,
        "modelId": Choice((model.id,)),
        "aspectRatio": _ratio(model),
        "resolution": Text("a resolution")
        if model.resolutions is None
        else Choice(model.resolutions, model.default_resolution),
    }
    if model.qualities:
        rules["quality"] = Choice(model.qualities, model.default_quality)
    if model.media_type == "video":
        rules["duration"] = _duration(model)
    if model.tiers:
        rules["tier"] = Choice(model.tiers, model.default_tier)
    if model.max_reference_images != 0:
        rules["referenceImages"] = Items(accepts.image(), model.max_reference_images)
    if model.reference_types:
        rules["referenceType"] = Choice(model.reference_types, model.default_reference_type)
    if (clip := model.continuation) is not None:
        low = clip.minimum_seconds
        rules["referenceVideo"] = accepts.video()
        rules["referenceVideoDuration"] = Number(
            low or 0, clip.maximum_seconds, above=not low, unit="seconds"
        )
    if model.options:
        options = {name: _option(option, accepts) for name, option in model.options.items()}
        rules["niji7Options"] = Options(options)
    return {name: rules[name] for name in GENERATION if name in rules}


def _ratio(model: Model) -> Rule:
    special = ("auto", "adaptive") if model.adaptive and _sources(model) else ("auto",)
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
            return text_or_public_url(_STYLE, accepts.own_origin)


_STYLE = "a style code, a word or a public https URL"


def _sources(model: Model) -> tuple[str, ...]:
    """Return the arguments that `adaptive` can take its shape from."""
    images = ("referenceImages",) if model.max_reference_images != 0 else ()
    return (*images, "referenceVideo") if model.continuation else images


def _links(model: Model) -> Iterable[Link]:
    for tier, resolutions in (model.tier_resolutions or {}).items():
        yield Narrows(
            (When("tier", (tier,), or_absent=tier == model.default_tier),),
            "resolution",
            resolutions,
            absent_ok=True,
            why=f"tier {tier} of {model.id} has {listed(resolutions)}",
        )
    if model.adaptive and (sources := _sources(model)):
        yield Requires(
            When("aspectRatio", ("adaptive",)),
            sources,
            "aspectRatio adaptive takes the shape of a reference and is undefined without one",
        )
    if model.continuation is not None:
        yield from _continuation_links(model, model.continuation)


def _continuation_links(model: Model, clip: Continuation) -> Iterable[Link]:
    yield Requires(
        When("referenceVideo", unless=f"^{MEDIUM}"),  # an earlier result is measured
        ("referenceVideoDuration",),
        "without it MeiGen counts the reference video as 0 s, so the charge would be wrong and the"
        " continuation misconfigured",
    )
    yield Requires(
        When("referenceVideoDuration"),
        ("referenceVideo",),
        "referenceVideoDuration only has a meaning together with the video that it measures",
    )
    if clip.tiers and model.tiers:
        yield Narrows(
            (When("referenceVideo"),),
            "tier",
            clip.tiers,
            absent_ok=model.default_tier in clip.tiers,
            why=f"{model.id} continues a video in tier {listed(clip.tiers)} only",
        )
    for tier, resolutions in (clip.tier_resolutions or {}).items():
        yield Narrows(
            (
                When("referenceVideo"),
                When("tier", (tier,), or_absent=tier == model.default_tier),
            ),
            "resolution",
            resolutions,
            absent_ok=True,
            why=f"tier {tier} of {model.id} continues a video in {listed(resolutions)}",
        )
