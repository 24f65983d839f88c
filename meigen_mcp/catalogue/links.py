"""How the arguments of a call depend on each other, by the facts of its model."""

from collections.abc import Iterator

from meigen_mcp.catalogue.forms import Excludes, Link, Narrows, Requires, When, Within
from meigen_mcp.catalogue.models import DRAFT_RESOLUTION, Continuation, Model
from meigen_mcp.catalogue.reference_rules import FILE, MEDIUM, NO_CLIP, OWN_HOST
from meigen_mcp.catalogue.rules import Number
from meigen_mcp.wording import listed, plain


def shapes(model: Model) -> tuple[str, ...]:
    """Return the arguments that `adaptive` can take its shape from."""
    images = ("referenceImages",) if model.max_reference_images != 0 else ()
    return (*images, *_clips(model))


def _clips(model: Model) -> tuple[str, ...]:
    """Return the arguments that take clips."""
    if model.continuation is None:
        return ()
    return ("referenceVideo", "referenceVideos")[: 2 if model.continuation.most > 1 else 1]


def links_of(model: Model) -> Iterator[Link]:
    """Yield how the arguments of a model depend on each other."""
    for tier, resolutions in (model.tier_resolutions or {}).items():
        yield Narrows(
            (When("tier", (tier,), or_absent=tier == model.default_tier),),
            "resolution",
            resolutions,
            absent_ok=True,
            why=f"tier {tier} of {model.id} has {listed(resolutions)}",
        )
    if model.adaptive and (sources := shapes(model)):
        yield Requires(
            When("aspectRatio", ("adaptive",)),
            sources,
            "aspectRatio adaptive takes the shape of a reference and is undefined without one",
            "or leave aspectRatio out",
        )
    if model.continuation is not None:
        yield from _continuation_links(model, model.continuation)
    if model.drafts:
        yield Narrows(
            (When("draft", (True,)),),
            "resolution",
            (DRAFT_RESOLUTION,),
            absent_ok=True,
            why="a draft is rendered in 480p, its final in 1080p",
        )
    if model.sounds is not None and model.sounds.requires_visual:
        content = ("contentReferenceImages",) if model.content_images else ()
        if visual := (*shapes(model), *content):
            yield Requires(
                When("referenceAudios"),
                visual,
                f"{model.id} takes a sound only beside a picture or clip",
            )


def _continuation_links(model: Model, clip: Continuation) -> Iterator[Link]:
    clips = _clips(model)
    # What is ours is measured, and a picture is refused for what it is.
    measured = f"^{MEDIUM}|^{FILE}|{NO_CLIP}" + (f"|^{OWN_HOST}" if clip.probes else "")
    for name in clips:
        if name != "referenceVideo":
            why = "without the length of all clips together the charge cannot be told"
        elif clip.probes:
            why = "its seconds are billed, and only MeiGen's own clips are measured"
        else:
            why = (
                "without it MeiGen counts the reference video as 0 s, so the charge would be wrong"
                " and the continuation misconfigured"
            )
        known = "with the seconds that it lasts; who does not know them asks the person"
        yield Requires(When(name, unless=measured), ("referenceVideoDuration",), why, known)
    yield Requires(
        When("referenceVideoDuration"),
        clips,
        "referenceVideoDuration only has a meaning together with the video that it measures",
    )
    if clip.most > 1:
        yield Excludes("referenceVideos", "referenceVideo", "a clip is named once")
        if clip.maximum_seconds is not None and clip.longest != clip.maximum_seconds:
            yield Within(
                When("referenceVideo"),
                "referenceVideoDuration",
                Number(clip.minimum_seconds, clip.maximum_seconds, unit="seconds"),
                f"one clip of {model.id} has at most {plain(clip.maximum_seconds)} s",
            )
    for name in clips:
        yield from _narrowed_by_clip(model, clip, name)


def _narrowed_by_clip(model: Model, clip: Continuation, name: str) -> Iterator[Link]:
    if clip.tiers and model.tiers:
        yield Narrows(
            (When(name),),
            "tier",
            clip.tiers,
            absent_ok=model.default_tier in clip.tiers,
            why=f"{model.id} continues a video in tier {listed(clip.tiers)} only",
        )
    for tier, resolutions in (clip.tier_resolutions or {}).items():
        yield Narrows(
            (When(name), When("tier", (tier,), or_absent=tier == model.default_tier)),
            "resolution",
            resolutions,
            absent_ok=True,
            why=f"tier {tier} of {model.id} continues a video in {listed(resolutions)}",
        )
