"""The prompts that a person picks from a menu.

Each is made from the catalogue as it is now, so it never names a model or a setting that does not
exist; one for which no model is there is not offered.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from meigen_mcp.arguments import generation_rules
from meigen_mcp.catalogue import Catalogue, MediaType, Model
from meigen_mcp.errors import InvalidArguments, Problem
from meigen_mcp.rules import listed, nearest

_SHOTS = ("1:1", "4:5", "16:9", "9:16")
_MOST_SCENES = 8


@dataclass(frozen=True, slots=True)
class Argument:
    """A blank of a prompt that the person fills in."""

    name: str
    about: str
    required: bool = False


@dataclass(frozen=True, slots=True)
class Prompt:
    """An entry of the menu.

    Attributes:
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
        InvalidArguments: a blank is missing or names what does not exist.
    """
    models = prompt.models(catalogue)
    blanks = {name: value.strip() for name, value in given.items() if value.strip()}
    problems = [
        Problem(blank.name, "missing", f"say {blank.about[0].lower()}{blank.about[1:]}")
        for blank in prompt.arguments
        if blank.required and blank.name not in blanks
    ]
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
    for name in ("aspectRatio", "resolution"):
        if name in blanks:
            problems += rules[name].check(blanks[name], name)
    if problems:
        raise InvalidArguments(problems)
    return prompt.write(model, blanks, catalogue)


_MODEL = Argument("modelId", "The model; by default one that fits.")
_RATIO = Argument("aspectRatio", "The shape, such as 16:9; by default the model decides.")
_RESOLUTION = Argument("resolution", "The resolution; by default the model's own.")
_CAREFULLY = (
    "First make one call with dryRun and tell me what all of it will cost. Go on when I agree."
)


def _storyboard(model: Model, blanks: Mapping[str, str], catalogue: Catalogue) -> str:
    wanted = blanks.get("scenes", "")
    scenes = min(max(int(wanted), 2), _MOST_SCENES) if wanted.isdecimal() else 4
    still = _still_model(catalogue)
    stills = (
        f"Make one still for each scene with generate_image (modelId {still.id}), in the same style"
        " and light, and show me all of them."
        if still
        else "Describe each scene in one sentence first."
    )
    start = " from its still (referenceImages)" if still and _takes_images(model) else ""
    return (
        f"Make a storyboard and then a film of {scenes} scenes: {blanks['story']}\n\n"
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
    return (
        f"Make product shots of {blanks['product']}, in front of {scene}.{reference}\n\n"
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
    return (
        f"Explore styles for: {blanks['subject']}\n\n"
        f"Make three calls of generate_image with modelId {model.id}{_settings(model, blanks)}"
        f"{steps}; each gives {model.images_per_call} candidates.{reference} Show me all of them"
        f" numbered, and ask which to vary. {_CAREFULLY}"
    )


def _image_to_video(model: Model, blanks: Mapping[str, str], _: Catalogue) -> str:
    motion = blanks.get("motion", "slow and natural, the camera moves a little")
    return (
        f"Bring this picture to life: {blanks['image']}\n\n"
        f"Call generate_video with modelId {model.id}{_settings(model, blanks)} and referenceImages"
        f' ["{blanks["image"]}"] as its first frame. Motion: {motion}. Then wait with check_status'
        f" and give me the video. {_CAREFULLY}"
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
            Argument("story", "What happens, in a few sentences.", required=True),
            Argument("scenes", f"How many scenes, 2 to {_MOST_SCENES}; by default 4."),
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
            Argument("product", "What it is and looks like.", required=True),
            Argument("photo", "A public https URL of a photo of it."),
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
            Argument("subject", "What to show.", required=True),
            Argument("style", "A public https URL of an image whose style to take."),
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
            Argument("image", "A public https URL of the picture.", required=True),
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
