"""The four tools as clients list them: names, texts, annotations and flat schemas.

A flat schema is the union over the models of a medium, in the subset of JSON Schema that every
client passes on; what the union cannot say is said, model by model, in the descriptions.
"""

from collections.abc import Mapping, Sequence

import mcp_types as t

from meigen_mcp import arguments as args
from meigen_mcp import model_views, views
from meigen_mcp.arguments import CONTROL, MEDIUM_OF, PROMPT, WAIT, Tool, generation_rules, names
from meigen_mcp.catalogue import Catalogue, Model
from meigen_mcp.forms import Form
from meigen_mcp.rules import Choice, Items, Number, Options, Rule, Schema, union

_Rules = Mapping[str, Mapping[str, Rule]]
_MODELS = "list_models has rules and prices."
_ABOUT: Mapping[str, str] = {
    "prompt": "What to show.",
    "modelId": f"Required. {_MODELS}",
    "aspectRatio": "Default auto.",
    "resolution": "Omit for the model's default.",
    "quality": "Finer is dearer.",
    "duration": "Whole seconds.",
    "tier": "Finer is dearer.",
    "referenceImages": "Public https URLs.",
    "referenceType": "Use the reference for its subject (content) or its style.",
    "referenceVideo": "Public https URL of a clip to continue.",
    "referenceVideoDuration": "Seconds of that clip; required with referenceVideo (it is billed).",
    "niji7Options": "Midjourney options.",
}
_VIDEO_ABOUT: Mapping[str, str] = {
    "referenceImages": "Public https URLs: [0] first frame, [1] last frame.",
}


def generate_schema(tool: Tool, catalogue: Catalogue) -> Schema:
    """Return the flat input schema of a generating tool: the union over its models."""
    medium = MEDIUM_OF[tool]
    models = catalogue.accepted(medium)
    about = {**_ABOUT, **(_VIDEO_ABOUT if medium == "video" else {})}
    by_model = {model.id: generation_rules(model, None) for model in models}
    default = catalogue.default(medium)
    legacy = [m.id for m in models if m.legacy]
    if default is not None:
        about["modelId"] = f"Omit for MeiGen's default (at present {default.id}). {_MODELS}"
    about["modelId"] += f" Legacy: {', '.join(legacy)}." if legacy else ""
    properties: Schema = {}
    for name in names(models, None) or ["prompt"]:
        takers = [m for m in models if name in by_model[m.id]]
        schema = union([by_model[m.id][name] for m in takers] or [PROMPT])
        limits = _limits(name, [m for m in takers if not m.legacy], models, by_model)
        properties[name] = {**schema, "description": f"{about[name]}{limits}"}
    seconds = "25" if medium == "image" else "0"
    properties |= {
        "wait": {
            **union([WAIT]),
            "description": f"Seconds to wait for the result, default {seconds}, at most 40.",
        },
        "maxCredits": {
            **union([CONTROL["maxCredits"]]),
            "description": "Do not spend if the quote is higher.",
        },
        "dryRun": {"type": "boolean", "description": "Only check and quote; nothing is sent."},
        "requestId": {
            "type": "string",
            "description": "Only to repeat an earlier call: the UUID from its answer. Never invent"
            " one.",
        },
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["prompt"] if default or not models else ["prompt", "modelId"],
        "additionalProperties": False,
    }


def flat_schema(rules: Form, about: Mapping[str, str]) -> Schema:
    """Return the portable schema of a tool whose rules do not depend on a model."""
    return {
        "type": "object",
        "properties": {
            name: {**union([rule]), "description": about[name]}
            for name, rule in rules.rules.items()
        },
        "additionalProperties": False,
    }


def _limits(name: str, takers: Sequence[Model], models: Sequence[Model], by_model: _Rules) -> str:
    """Say, model by model, what the union cannot; `others` are the models with the same limits."""
    if name in ("prompt", "modelId", "referenceVideo") or not takers:
        return ""
    said: dict[str, list[str]] = {}
    for model in takers:
        said.setdefault(_brief(name, by_model[model.id][name]), []).append(model.id)
    rest = [m.id for m in models if not m.legacy and m not in takers]
    if len(said) == 1 and len(rest) >= len(takers):
        words = next(iter(said))
        return f" {', '.join(m.id for m in takers)} only{words and ': '}{words}."
    if rest:
        said["none"] = rest
    if len(said) == 1:
        words = next(iter(said))
        return f" {words[:1].upper()}{words[1:]}."
    most = max(said, key=lambda words: len(said[words]))
    if len(said[most]) > 1:
        said.pop(most)
        said[most] = ["others"]
    parts = [f"{', '.join(ids)}: {words}" for words, ids in said.items()]
    return f" {'; '.join(parts)}."


def _brief(name: str, rule: Rule) -> str:
    """Write a rule in as few words as a list of limits needs."""
    match rule:
        case Options():
            return ""
        case Items(maximum=None):
            return "any number"
        case Items():
            return f"up to {rule.maximum}"
        case Choice() if name == "aspectRatio":
            return " ".join(str(value) for value in rule.values if value != rule.default)
        case Choice():
            default = "" if rule.default is None else f" (default {rule.default})"
            return f"{' '.join(map(str, rule.values))}{default}"
        case Number(minimum=int() | float(), maximum=int() | float(), above=False):
            default = "" if rule.default is None else f" (default {rule.default:g})"
            return f"{rule.minimum:g}-{rule.maximum:g}{default}"
    return rule.sentence()


# --- the tools --------------------------------------------------------------------------------

ABOUT_TOOLS: Mapping[str, tuple[str, str]] = {
    "generate_image": (
        "Generate image",
        "Make an image with MeiGen; it costs credits. Every problem is reported before anything is"
        " spent. Answers with URLs, or with status processing: then call check_status.",
    ),
    "generate_video": (
        "Generate video",
        "Make a video with MeiGen, from text, images or a clip to continue; it costs credits."
        " Answers at once; then call check_status.",
    ),
    "check_status": (
        "Check status",
        "See one generation, waiting for it to finish; without an id, the newest ones. Free.",
    ),
    "list_models": (
        "List models",
        "Models with rules and prices; with modelId, everything about one with its JSON Schema."
        " Free.",
    ),
}
_STATUS_ABOUT = {
    "generationId": "Id from an earlier answer.",
    "requestId": "UUID from an earlier answer, while there is no generationId yet.",
    "wait": "Seconds to wait for it to finish, default 25, at most 40.",
    "limit": "Without an id: how many, default 10.",
}
_MODELS_ABOUT = {
    "mediaType": "Only these.",
    "modelId": "Everything about this one: its id, as in the generating tools.",
}


def make_tools(catalogue: Catalogue) -> list[t.Tool]:
    """Return the tools with the schemas of a catalogue."""
    list_models = flat_schema(args.list_models_form(catalogue), _MODELS_ABOUT)
    # The generating tools list the ids already, and every byte here is in every conversation.
    list_models["properties"]["modelId"].pop("enum")
    schemas = {
        "generate_image": (
            generate_schema("generate_image", catalogue),
            views.GENERATION_SCHEMA,
        ),
        "generate_video": (
            generate_schema("generate_video", catalogue),
            views.GENERATION_SCHEMA,
        ),
        "check_status": (
            flat_schema(args.CHECK_STATUS, _STATUS_ABOUT),
            views.STATUS_SCHEMA,
        ),
        "list_models": (
            list_models,
            model_views.MODELS_SCHEMA,
        ),
    }
    return [
        t.Tool(
            name=name,
            title=title,
            description=about,
            input_schema=schemas[name][0],
            output_schema=schemas[name][1],
            annotations=t.ToolAnnotations(
                read_only_hint=name not in args.MEDIUM_OF,
                destructive_hint=False,
                idempotent_hint=name not in args.MEDIUM_OF,
                open_world_hint=name != "list_models",
            ),
        )
        for name, (title, about) in ABOUT_TOOLS.items()
    ]
