"""The prompts that a person picks in a client.

Each is made from the catalogue as it is now, so it never names a model or a setting that does not
exist; one for which no model is there is not offered.

Some clients cut what is typed after a prompt at each space and deal the words out to the blanks.
So every prompt works without any, and words that landed where they do not fit are read as one line.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from typing import Literal, NamedTuple

from meigen_mcp.catalogue.arguments import generation_rules
from meigen_mcp.catalogue.models import Catalogue, MediaType, Model
from meigen_mcp.errors import InvalidArguments, Problem
from meigen_mcp.wording import listed, nearest

_SHOTS = ("1:1", "4:5", "16:9", "9:16")


Kind = Literal["words", "picture", "scenes", "modelId", "aspectRatio", "resolution"]


class Argument(NamedTuple):
    """A blank of a prompt that the person may fill in.

    Attributes:
        kind: what fits it.
    """

    name: str
    about: str
    kind: Kind = "words"


class Prompt(NamedTuple):
    """A prompt as it is listed.

    Attributes:
        arguments: its blanks; the words of a line go to the first that takes words.
        medium: the models among which `modelId` chooses.
        fits: which of them can do what the prompt asks for.
        write: makes the message from the model and the filled-in blanks.
    """

    name: str
    title: str
    about: str
    arguments: tuple[Argument, ...]
    medium: MediaType
    fits: Callable[[Model], bool]
    write: Callable[[Model, Mapping[str, str], Catalogue], str]

    def models(self, catalogue: Catalogue) -> tuple[Model, ...]:
        """Return the models that fit, the platform's default first."""
        found = [model for model in catalogue.listed(self.medium) if self.fits(model)]
        return tuple(sorted(found, key=lambda model: not model.default))


def offered(catalogue: Catalogue) -> list[Prompt]:
    """Return the prompts for which a model is there."""
    return [prompt for prompt in _ALL if prompt.models(catalogue)]


def message(prompt: Prompt, given: Mapping[str, str], catalogue: Catalogue) -> str:
    """Write the message of a prompt.

    Raises:
        InvalidArguments: a blank names what does not exist.
    """
    blanks = {name: value.strip() for name, value in given.items() if value.strip()}
    model, problems = _judge(prompt, blanks, catalogue)
    line = _line(prompt, blanks)
    if problems and line:
        blanks = _read_line(prompt, line, catalogue)
        model, problems = _judge(prompt, blanks, catalogue)
    if problems:
        raise InvalidArguments(problems)
    typed = (
        f'I typed "{line}" in one line, of which only the first words may have arrived: ask me if'
        " they break off, or if you doubt what is meant by one.\n\n"
    )
    return (typed if line else "") + prompt.write(model, blanks, catalogue)


def _line(prompt: Prompt, blanks: Mapping[str, str]) -> str:
    """Return the words that were dealt out to the blanks, or nothing where none can have been."""
    first = [argument.name for argument in prompt.arguments[: len(blanks)]]
    words = [blanks.get(name, "") for name in first]
    dealt = len(words) > 1 and all(words) and not any(" " in word for word in words)
    return " ".join(words).replace('"', "") if dealt else ""


def _judge(
    prompt: Prompt, blanks: Mapping[str, str], catalogue: Catalogue
) -> tuple[Model, list[Problem]]:
    """Return the model of a prompt, and what is wrong with its blanks."""
    models = prompt.models(catalogue)
    problems: list[Problem] = []
    model = models[0]
    if "modelId" in blanks:
        chosen = next((m for m in models if m.id == blanks["modelId"]), None)
        if chosen is None:
            ids = [m.id for m in models]
            guess = nearest(blanks["modelId"], ids)
            fix = f"did you mean {guess}?" if guess else f"use {listed(ids)}"
            problems.append(Problem("modelId", f'"{blanks["modelId"]}" does not fit', fix))
        model = chosen or model
    rules = generation_rules(model)
    for blank in prompt.arguments:
        value = blanks.get(blank.name)
        if value is None:
            continue
        if blank.kind in ("aspectRatio", "resolution"):
            problems += rules[blank.kind].check(value, blank.name)
        elif blank.kind == "picture" and not re.match(_PICTURE, value):
            fix = "give its https URL, its path, or a meigen:// URI"
            problems.append(Problem(blank.name, f'"{value}" is no picture', fix))
        elif blank.kind == "scenes" and value not in _SCENES:
            message, fix = f'"{value}" is no such number', f"use 2 to {_SCENES[-1]}"
            problems.append(Problem(blank.name, message, fix))
    return model, problems


def _read_line(prompt: Prompt, line: str, catalogue: Catalogue) -> dict[str, str]:
    """Return the blanks that a line fills in.

    A model, a ratio and a picture are known by what they look like. A number is not: it may count
    anything.
    """
    ids = {model.id for model in prompt.models(catalogue)}
    found: dict[str, str] = {}
    rest: list[str] = []
    for word in line.split():
        looks: Mapping[Kind, bool] = {
            "modelId": word in ids,
            "aspectRatio": _RATIO_SHAPE.fullmatch(word) is not None,
            "picture": re.match(_PICTURE, word) is not None,
        }
        fitting = [a.name for a in prompt.arguments if looks.get(a.kind) and a.name not in found]
        if fitting:
            found[fitting[0]] = word
        else:
            rest.append(word)
    words = next(a.name for a in prompt.arguments if a.kind == "words")
    return found | ({words: " ".join(rest)} if rest else {})


_PICTURE = r"(?:https?|meigen|file)://\S|~\w*[\\/]\S|/+[^\s/]|[A-Za-z]:[\\/]\S|\\\\\w"
"""An address or a path with something in it; a slash or a ~ alone is a word like others."""
_RATIO_SHAPE = re.compile(r"[1-9][0-9]?:[1-9][0-9]?")
_SCENES = ("2", "3", "4", "5", "6", "7", "8")
_MODEL = Argument("modelId", "The model; by default one that fits.", "modelId")
_RATIO = Argument("aspectRatio", "The shape, such as 16:9; else the model decides.", "aspectRatio")
_RESOLUTION = Argument("resolution", "The resolution; by default the model's own.", "resolution")
_CAREFULLY = (
    "First make one call with dryRun and tell me what all of it will cost. Go on when I agree."
)


def _storyboard(model: Model, blanks: Mapping[str, str], catalogue: Catalogue) -> str:
    scenes = blanks.get("scenes", "4")
    story = f": {blanks['story']}" if "story" in blanks else ". First ask me what happens in it."
    still = _still_model(catalogue)
    stills = (
        f"Make one still for each scene with generate_image (modelId {still.id}), in the same style"
        " and light, and show me all of them."
        if still
        else "Describe each scene in one sentence first."
    )
    start = " from its still (referenceImages)" if still and _takes_images(model) else ""
    return (
        f"Make a storyboard and then a film of {scenes} scenes{story}\n\n"
        f"1. {stills}\n"
        f"2. When I like them, make the first scene as a video with generate_video (modelId"
        f" {model.id}{_settings(model, blanks)}){start}, and wait with check_status.\n"
        "3. Continue it scene by scene: pass the URL of the last video as referenceVideo and its"
        " length in seconds as referenceVideoDuration.\n"
        f"{_CAREFULLY}"
    )


def _product_shot(model: Model, blanks: Mapping[str, str], _: Catalogue) -> str:
    ratios = [ratio for ratio in _SHOTS if model.ratios is None or ratio in model.ratios]
    photo = blanks.get("photo")
    reference = f' Use my photo of it: referenceImages ["{photo}"].' if photo else ""
    scene = blanks.get("scene", "a plain studio background with soft light")
    product = blanks.get("product", "a product of mine; first ask me what it is and looks like")
    return (
        f"Make product shots of {product}. In front of: {scene}.{reference}\n\n"
        f"One picture in each of these aspect ratios: {listed(ratios, 'and')}, with generate_image"
        f" (modelId {model.id}{_settings(model, blanks)}), the product looking the same in all."
        f" Show me each with its aspect ratio. {_CAREFULLY}"
    )


def _style_exploration(model: Model, blanks: Mapping[str, str], _: Catalogue) -> str:
    stylize = model.options.get("stylize")
    steps = ""
    if stylize is not None and stylize.minimum is not None and stylize.maximum is not None:
        low, high = stylize.minimum, stylize.maximum
        values = [f"{low + (high - low) * part:g}" for part in (0.05, 0.25, 0.75)]
        steps = f", with niji7Options stylize {listed(values, 'and')}"
    style = blanks.get("style")
    kinds = listed(model.reference_types) if model.reference_types else ""
    reference = (
        f' In each call pass referenceImages ["{style}"] with referenceType style.'
        if style and "style" in kinds
        else ""
    )
    subject = blanks.get("subject", "something of mine; first ask me what")
    return (
        f"Explore styles for: {subject}\n\n"
        f"Make three calls of generate_image with modelId {model.id}{_settings(model, blanks)}"
        f"{steps}; each gives {model.images_per_call} candidates.{reference} Show me all of them"
        f" numbered, and ask which to vary. {_CAREFULLY}"
    )


def _image_to_video(model: Model, blanks: Mapping[str, str], _: Catalogue) -> str:
    motion = blanks.get("motion", "slow and natural, the camera moves a little")
    which = (
        f"this picture to life: {blanks['image']}"
        if "image" in blanks
        else "a picture to life. First ask me which: its URL, its path, or an earlier result."
    )
    return (
        f"Bring {which}\n\n"
        f"Call generate_video with modelId {model.id}{_settings(model, blanks)} and referenceImages"
        f' ["{blanks.get("image", "that picture")}"] as its first frame. Motion: {motion}. Then'
        f" wait with check_status and give me the video. {_CAREFULLY}"
    )


def _takes_images(model: Model) -> bool:
    return model.max_reference_images != 0


def _still_model(catalogue: Catalogue) -> Model | None:
    images = catalogue.listed("image")
    return catalogue.default("image") or (images[0] if images else None)


def _settings(model: Model, blanks: Mapping[str, str]) -> str:
    """Write the settings of a call: what was chosen, and the length of a video."""
    length = {"duration": model.default_duration} if model.default_duration else {}
    chosen = {name: blanks[name] for name in ("aspectRatio", "resolution") if name in blanks}
    return "".join(f", {name} {value}" for name, value in (length | chosen).items())


_ALL: Sequence[Prompt] = (
    Prompt(
        "storyboard",
        "Storyboard to film",
        "Stills for a story, then a video that continues scene by scene.",
        (
            Argument("story", "What happens, in a few sentences."),
            Argument("scenes", f"How many scenes, 2 to {_SCENES[-1]}; by default 4.", "scenes"),
            _MODEL,
            _RATIO,
            _RESOLUTION,
        ),
        "video",
        lambda model: model.continuation is not None,
        _storyboard,
    ),
    Prompt(
        "product_shot",
        "Product shots in several ratios",
        "The same product for a shop, a feed, a banner and a story.",
        (
            Argument("product", "What it is and looks like."),
            Argument("photo", "A photo of it: https URL or path.", "picture"),
            Argument("scene", "What is around it."),
            _MODEL,
            _RESOLUTION,
        ),
        "image",
        lambda model: _takes_images(model) and not model.options,
        _product_shot,
    ),
    Prompt(
        "style_exploration",
        "Explore styles with Midjourney",
        "One subject from restrained to extravagant, four candidates each.",
        (
            Argument("subject", "What to show."),
            Argument("style", "An image whose style to take: https URL or path.", "picture"),
            _MODEL,
            _RATIO,
            _RESOLUTION,
        ),
        "image",
        lambda model: bool(model.options),
        _style_exploration,
    ),
    Prompt(
        "image_to_video",
        "Image to video",
        "A still picture starts to move.",
        (
            Argument("image", "The picture: https URL or path.", "picture"),
            Argument("motion", "What moves and how."),
            _MODEL,
            _RATIO,
            _RESOLUTION,
        ),
        "video",
        _takes_images,
        _image_to_video,
    ),
)
