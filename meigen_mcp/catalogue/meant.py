"""What people and models write instead of what a call takes: suggested, and never taken for it."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from meigen_mcp.catalogue.models import Catalogue, MediaType, Model
from meigen_mcp.errors import Problem
from meigen_mcp.foreign import one_line
from meigen_mcp.wording import listed, nearest, show

_SIZES = re.compile(r"(\d{1,5})\s*[x\u00d7:/]\s*(\d{1,5})", re.IGNORECASE)
_SHAPES: Mapping[str, str] = {
    **dict.fromkeys(
        ("vertical", "portrait", "upright", "tall", "story", "stories", "reel", "tiktok",
         "hochformat", "hochkant", "senkrecht", "竖屏", "竖版", "纵向"),
        "9:16",
    ),
    **dict.fromkeys(
        ("horizontal", "landscape", "wide", "widescreen", "youtube", "querformat", "breitbild",
         "quer", "横屏", "横版", "横向"),
        "16:9",
    ),
    **dict.fromkeys(("square", "quadratisch", "quadrat", "instagram", "方形", "正方形"), "1:1"),
    **dict.fromkeys(("ultrawide", "cinematic", "cinemascope", "kino", "电影"), "21:9"),
}  # fmt: skip
_LINES: Mapping[str, tuple[str, ...]] = {
    **dict.fromkeys(("hd", "720", "hd ready"), ("720p", "1K")),
    **dict.fromkeys(("fullhd", "fhd", "1080", "1080p", "hq", "high"), ("1080p", "2K")),
    **dict.fromkeys(("uhd", "ultrahd", "2160p", "4k"), ("4K",)),
    **dict.fromkeys(("qhd", "1440p", "2k"), ("2K", "1080p")),
    **dict.fromkeys(("sd", "480", "low"), ("480p", "1K")),
}
ALIKE = 1.25
"""By what factor two shapes differ that look much the same."""
_ONE = "MeiGen makes one result a call, and Midjourney four"
_PIXELS = "sizes are not given in pixels"
NO_SUCH = "there is no such argument"
_NO_EFFECT = "there is no such thing at MeiGen"
_OTHERS: Sequence[tuple[str, str, str]] = (
    # names as people write them, what is wrong, what to do; {} is an argument that must be taken
    ("n count num images numimages numberofimages numoutputs batch batchsize samples variations",
     _ONE, "leave it out, and call the tool once for each"),
    ("size dimensions imagesize width height", _PIXELS, "use aspectRatio and resolution instead"),
    ("negativeprompt negative no exclude", _NO_EFFECT,
     "leave it out, and say in the prompt what is to be seen instead"),
    ("seed steps guidance guidancescale cfg cfgscale sampler scheduler strength fps framerate"
     " format outputformat safetychecker user", _NO_EFFECT, "leave it out"),
    ("style mood medium camera cameramotion motion", NO_SUCH,
     "leave it out, and say it in the prompt"),
    ("audio sound music generateaudio withaudio voice", NO_SUCH,
     "leave it out, and say it in the prompt"),
    ("image imageurl inputimage referenceimage firstframe startframe startimage firstframeimage",
     NO_SUCH, "give it in the list {referenceImages}"),
    ("lastframe endframe endimage lastframeimage tailimage", NO_SUCH,
     "give it as the second of the list {referenceImages}, after the first frame"),
    ("video videourl inputvideo clip", NO_SUCH, "give it as {referenceVideo}"),
    ("ratio aspect orientation shape", NO_SUCH, "did you mean {aspectRatio}?"),
    ("length seconds time videolength", NO_SUCH, "did you mean {duration}?"),
    ("text description input query", NO_SUCH, "did you mean {prompt}?"),
    ("duration tier", "it is for videos only", "leave it out, or call generate_video"),
    ("hd definition", NO_SUCH, "did you mean {resolution}?"),
)  # fmt: skip


def unknown(path: str, name: str, known: Iterable[str]) -> Problem:
    """Describe an argument or option that does not exist."""
    names = list(known)
    plain = re.sub(r"[\s_.-]", "", name).lower()
    for others, wrong, fix in _OTHERS if "prompt" in names else ():
        needed = re.findall(r"\{(\w+)\}", fix)
        if plain in others.split() and set(needed) <= set(names):
            return Problem(one_line(path), wrong, re.sub(r"[{}]", "", fix))
    guess = nearest(name, names)
    fix = f"did you mean {guess}?" if guess else f"use {listed(names)}"
    return Problem(one_line(path), NO_SUCH, fix)


def choice(value: object, values: Sequence[str | int]) -> str | int | None:
    """Return which of some values was probably meant."""
    if not isinstance(value, str):
        return None
    texts = [text for text in values if isinstance(text, str)]
    said = value.strip().lower()
    if (shape := _SHAPES.get(said)) is not None and texts:
        return shape if shape in texts else _nearest_shape(shape, texts)
    if size := _SIZES.fullmatch(said):
        return _nearest_shape(f"{size[1]}:{size[2]}", texts)
    for lines in _LINES.get(re.sub(r"\s", "", said), ()):
        if lines in texts:
            return lines
    if not texts:
        number = seconds(value)
        return int(number) if number is not None and number in values else None
    return nearest(value, texts)


def _nearest_shape(shape: str, texts: Iterable[str]) -> str | None:
    """Return the ratio that is nearest in shape, if one looks much the same."""
    ratios = {text: _aspect(text) for text in texts if _SIZES.fullmatch(text)}
    wanted = _aspect(shape)
    if not ratios or wanted <= 0:
        return None
    apart = {text: max(one / wanted, wanted / one) for text, one in ratios.items()}
    nearest_one = min(apart, key=apart.__getitem__)
    return nearest_one if apart[nearest_one] <= ALIKE else None


def _aspect(text: str) -> float:
    size = _SIZES.fullmatch(text)
    width, height = (int(side) for side in size.groups()) if size else (0, 0)
    return width / height if height else 0.0


def seconds(value: object) -> float | None:
    """Return the one number that a text holds, such as that of `10s`; None for none or several."""
    found = re.findall(r"\d+(?:\.\d+)?", value[:40]) if isinstance(value, str) else []
    minutes = isinstance(value, str) and re.search(r"\d\s*(?:m|h)", value.lower())
    return float(found[0]) if len(found) == 1 and not minutes else None


def use_one(models: Iterable[Model]) -> str:
    """Return what to do where none of some models was named."""
    ids = [m.id for m in models if not m.legacy]
    return f"use {listed(ids)}" if ids else "no model of this kind is available; see list_models"


def no_such_model(
    given: Any, medium: MediaType, catalogue: Catalogue, tools: Mapping[MediaType, str]
) -> Problem:
    """Say that a model is none of a medium, and which one is meant.

    Args:
        given: what was written as its id.
        medium: what is to be made.
        catalogue: what models there are.
        tools: which tool makes what.
    """
    found = catalogue.find(given) if isinstance(given, str) else None
    if found is not None:
        message = f"{show(given)} makes {found.media_type}s"
        return Problem("modelId", message, f"call {tools[found.media_type]}")
    if isinstance(given, str) and given in catalogue.retired:
        use = catalogue.retired[given]
        return Problem("modelId", f"{show(given)} was retired", f"use {use}")
    if isinstance(given, str) and given in catalogue.unavailable:
        message = f"{show(given)} cannot be used: {catalogue.unavailable[given]}"
        return Problem("modelId", message, use_one(catalogue.listed(medium)))
    if guess := catalogue.guess(given, medium):
        fix = f"did you mean {guess.id}?"
    elif other := catalogue.guess(given):
        tool = tools[other.media_type]
        fix = f"did you mean {other.id}? It makes {other.media_type}s: call {tool}"
    else:
        fix = use_one(catalogue.listed(medium))
    return Problem("modelId", f"{show(given)} is no {medium} model", fix)
