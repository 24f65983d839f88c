"""The four tools as clients list them: names, texts, annotations and flat schemas.

A flat schema is the union over the models of a medium, in the subset of JSON Schema that every
client passes on; what the union cannot say is said, model by model, in the descriptions.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import mcp_types as t
from mcp.shared.exceptions import MCPError

from meigen_mcp.catalogue import arguments as args
from meigen_mcp.catalogue.arguments import (
    CONTROL,
    MEDIUM_OF,
    PROMPT,
    TOOL_OF,
    WAITS,
    Tool,
    generation_rules,
    names,
)
from meigen_mcp.catalogue.forms import Form
from meigen_mcp.catalogue.models import Catalogue
from meigen_mcp.catalogue.rules import (
    Choice,
    Flag,
    Items,
    Number,
    Options,
    Rule,
    Schema,
    Text,
    union,
)
from meigen_mcp.server import tool_budget, viewer
from meigen_mcp.server.guard import Context
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.views import models as model_views
from meigen_mcp.views import output_schemas
from meigen_mcp.wording import plain, show

log = logging.getLogger(__name__)

_Rules = Mapping[str, Mapping[str, Rule]]
_REFERENCES = "https URLs, paths or meigen://"
_ABOUT: Mapping[str, str] = {
    "prompt": "What to show.",
    "modelId": "Which model.",
    "aspectRatio": "Default auto.",
    "resolution": "Default by model.",
    "quality": "Finer is dearer.",
    "duration": "Seconds, default by model.",
    "tier": "Finer is dearer.",
    "referenceImages": f"{_REFERENCES}.",
    "referenceType": "What to take.",
    "referenceVideo": "Clip to continue, given as images are.",
    "referenceVideoDuration": "Its billed seconds; needed for https URLs.",
    "referenceVideos": "Several clips; the seconds are those of all.",
    "referenceAudios": "Sounds: https URLs, paths. Not billed.",
    "contentReferenceImages": "Pictures that are no frames.",
    "draft": "A paid preview in 480p; its answer has the price of the final.",
    "finalOf": "Id of a draft: render its final.",
    "modelVariant": "Kind of the model.",
    "niji7Options": "Style options.",
}
_ELSEWHERE = " By model: see list_models."
_NO_LIMITS = ("prompt", "modelId", "referenceVideo")
_VIDEO_ABOUT: Mapping[str, str] = {
    "referenceImages": f"First, last frame. {_REFERENCES}.",
}


def generate_schema(tool: Tool, catalogue: Catalogue, *, brief: bool = False) -> Schema:
    """Return the flat input schema of a generating tool: the union over its models.

    Args:
        tool: which.
        catalogue: the models.
        brief: what differs by model is said to stand in `list_models`, and not said.
    """
    medium = MEDIUM_OF[tool]
    models = catalogue.accepted(medium)
    about = {**_ABOUT, **(_VIDEO_ABOUT if medium == "video" else {})}
    by_model = {model.id: generation_rules(model) for model in models}
    default = catalogue.default(medium)
    legacy = [m.id for m in models if m.legacy]
    if default is not None:
        about["modelId"] = f"Default now {default.id}."
    about["modelId"] += f" Legacy: {', '.join(legacy)}." if legacy and not brief else ""
    taken = names(models) or ["prompt"]
    if "referenceImages" not in taken:
        about["referenceVideo"] = f"Clip to continue: {_REFERENCES}."
    properties: Schema = {}
    for name in taken:
        takers = [m for m in models if name in by_model[m.id]]
        rules = {m.id: by_model[m.id][name] for m in takers if not m.legacy}
        if name in ("resolution", "duration"):  # whose default is said to be the model's
            rules = {
                k: replace(v, default=None) if isinstance(v, Choice | Number) else v
                for k, v in rules.items()
            }
        schema = _flat([by_model[m.id][name] for m in takers] or [PROMPT])
        others = [m.id for m in models if not m.legacy and m.id not in rules]
        limits = _limits(rules, others, schema) if name not in _NO_LIMITS else ""
        if brief and len(limits) > len(_ELSEWHERE):
            limits = _ELSEWHERE
        elif name == "aspectRatio":  # the words have every ratio of every model
            schema.pop("enum", None)
        properties[name] = {**schema, "description": f"{about[name]}{limits}"}
    properties |= {
        "wait": {**_flat([WAITS[tool]]), "description": _wait(tool)},
        "maxCredits": {
            **_flat([CONTROL["maxCredits"]]),
            "description": "Highest quote taken.",
        },
        "dryRun": {"type": "boolean", "description": "Only quote."},
        "requestId": {
            "type": "string",
            "description": "To repeat a call: its UUID, never invented.",
        },
    }
    return {
        "type": "object",
        "properties": properties,
        "required": ["prompt"] if default or not models else ["prompt", "modelId"],
        "additionalProperties": False,
    }


def _wait(tool: Tool) -> str:
    return f"Seconds {_numbers(WAITS[tool])}."


def _numbers(rule: Number) -> str:
    """Return what a number may be and what it is by default, in as few characters as can be."""
    least, most, usual = (plain(n or 0) for n in (rule.minimum, rule.maximum, rule.default))
    return f"{least}-{most}, default {usual}"


def flat_schema(rules: Form, about: Mapping[str, str]) -> Schema:
    """Return the portable schema of a tool whose rules do not depend on a model."""
    return {
        "type": "object",
        "properties": {
            name: {**_flat([rule]), "description": about[name]}
            for name, rule in rules.rules.items()
        },
        "additionalProperties": False,
    }


def _flat(rules: Sequence[Rule]) -> Schema:
    """Return what any of the rules accepts.

    Bounds are left to the descriptions: many clients drop the keywords, and none needs both.
    """
    schema = {
        name: value for name, value in union(rules).items() if name not in ("minimum", "maximum")
    }
    if options := [rule for rule in rules if isinstance(rule, Options)]:
        for name, member in {k: v for rule in options for k, v in rule.members.items()}.items():
            known = _flat([rule.members[name] for rule in options if name in rule.members])
            about = _brief(member, known) or member.sentence()
            schema["properties"][name] = {**known, "description": about}
    return schema


def _limits(rules: Mapping[str, Rule], others: Sequence[str], schema: Schema) -> str:
    """Say, model by model, what the union cannot.

    Args:
        rules: by the models that take the argument.
        others: the models that do not.
        schema: the union, which need not be repeated.
    """
    common = _common([*rules.values()])
    said: dict[str, list[str]] = {}
    for model, rule in rules.items():
        said.setdefault(_brief(rule, schema, common), []).append(model)
    if len(said) == 1 and (not others or len(others) >= len(rules)):
        words = next(iter(said))
        only = f"{', '.join(rules)} only" if others else ""
        parts = [part for part in (only, words) if part]
        return f" {': '.join(parts)}." if parts else ""
    if others:
        said["none"] = [*others]
    most = max(said, key=lambda words: (len(said[words]), not words))
    if common and not most:  # what all take is all that these take
        said.pop(most)
    elif len(said[most]) > 1:
        said.pop(most)
        said[most] = ["others"]
    nothing = "same" if common else "any"
    parts = [f"{', '.join(ids)}: {words or nothing}" for words, ids in said.items()]
    everywhere = f" All: {' '.join(common)}. Also" if common else ""
    return f"{everywhere} {'; '.join(parts)}."


def _common(rules: Sequence[Rule]) -> list[str]:
    """Return the ratios that every model takes, if several do that take others besides."""
    lists = [rule.values for rule in rules if isinstance(rule, Choice) and rule.default == "auto"]
    if len({frozenset(values) for values in lists}) < 2:
        return []
    every = set(lists[0]).intersection(*lists)
    return [str(value) for value in lists[0] if value in every and value != "auto"]


def _brief(rule: Rule, schema: Schema, common: Sequence[str] = ()) -> str:
    """Write a rule in as few words as a list of limits needs; none for what the schema lists."""
    match rule:
        case Options():
            return ""
        case Items():
            return "any number" if rule.maximum is None else f"max {rule.maximum}"
        case Text() if "W:H" in rule.words:
            return "adaptive or any W:H" if "adaptive" in rule.words else "any W:H"
        case Choice(default="auto"):
            return " ".join(str(v) for v in rule.values if v != "auto" and v not in common)
        case Choice():
            words = "" if [*rule.values] == schema.get("enum") else " ".join(map(str, rule.values))
        case Number(minimum=int() | float() as low, maximum=int() | float() as high, above=False):
            words = f"{plain(low)}-{plain(high)}"
        case Flag() | Number(minimum=0, maximum=None):
            words = ""
        case _:
            return rule.sentence()
    said = rule.default if isinstance(rule.default, str) else show(rule.default)
    default = "" if rule.default is None else f"default {said}"
    return ", ".join(part for part in (words, default) if part)


# --- the tools --------------------------------------------------------------------------------

ABOUT_TOOLS: Mapping[str, tuple[str, str]] = {
    "generate_image": (
        "Generate image",
        "Make an image (picture, photo, logo, drawing, Midjourney); costs credits. Answers with"
        " URLs or processing: then, or after a time-out, call check_status; never generate"
        " again.",
    ),
    "generate_video": (
        "Generate video",
        "Make a video (film, clip, animation) from text, images or a clip; costs"
        " credits. Answers at once: then, or after a time-out, call check_status; never generate"
        " again.",
    ),
    "check_status": (
        "Check status",
        "See a generation, waiting for it; without an id the newest, also those whose call timed"
        " out. Free.",
    ),
    "list_models": (
        "List models",
        "Models with rules and prices. Free.",
    ),
}
_STATUS_ABOUT = {
    "generationId": "From an answer.",
    "requestId": "Or its requestId.",
    "wait": _wait("check_status"),
    "limit": f"{_numbers(args.LIMIT)}.",
}
_MODELS_ABOUT = {
    "mediaType": "Only these.",
    "modelId": "All about this one.",
}


class CurrentTools:
    """The four tools as they are listed now, made anew when the catalogue changes."""

    def __init__(self, catalogue: CurrentCatalogue) -> None:
        self._catalogue = catalogue
        self._made: tuple[str, list[t.Tool]] = ("", [])

    async def list(self, ctx: Context, params: Any) -> t.ListToolsResult:
        """Serve `tools/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        kept = await self._catalogue.settle()
        return t.ListToolsResult(tools=[*self.all()], ttl_ms=kept)

    def input_schema(self, name: str) -> Mapping[str, Any] | None:
        """Return a tool's input schema, for the SDK's own header check."""
        return next((tool.input_schema for tool in self.all() if tool.name == name), None)

    def all(self) -> Sequence[t.Tool]:
        """Return them."""
        current = self._catalogue.current
        if self._made[0] != current.digest:
            try:
                made = make_tools(current)
            except Exception:
                # One odd live model must not take every tool away.
                log.exception("the live catalogue gives no schemas")
                made = make_tools(self._catalogue.shipped)
            self._made = (current.digest, made)
        return self._made[1]


def make_tools(catalogue: Catalogue) -> list[t.Tool]:
    """Return the tools with the schemas of a catalogue, as complete as there is room for."""
    tools = _complete_tools(catalogue)
    generating = {tool.name: tool.input_schema for tool in tools if tool.name in MEDIUM_OF}
    room = tool_budget.allowed(catalogue) - sum(
        len(tool.model_dump_json(by_alias=True, exclude_none=True).encode()) for tool in tools
    )
    if room < 0:
        brief: dict[str, Schema] = {
            tool: generate_schema(tool, catalogue, brief=True) for tool in TOOL_OF.values()
        }
        tool_budget.shorten(generating, brief, -room)
    return tools


def _complete_tools(catalogue: Catalogue) -> list[t.Tool]:
    list_models = flat_schema(args.list_models_form(catalogue), _MODELS_ABOUT)
    # The generating tools list the ids already, and every byte here is in every conversation.
    list_models["properties"]["modelId"].pop("enum")
    schemas = {
        "generate_image": (
            generate_schema("generate_image", catalogue),
            output_schemas.GENERATION_SCHEMA,
        ),
        "generate_video": (
            generate_schema("generate_video", catalogue),
            output_schemas.GENERATION_SCHEMA,
        ),
        "check_status": (
            flat_schema(args.CHECK_STATUS, _STATUS_ABOUT),
            output_schemas.STATUS_SCHEMA,
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
            _meta=None if name == "list_models" else viewer.TOOL_META,
            annotations=t.ToolAnnotations(
                read_only_hint=name not in args.MEDIUM_OF,
                destructive_hint=False if name in args.MEDIUM_OF else None,
                open_world_hint=name != "list_models",
            ),
        )
        for name, (title, about) in ABOUT_TOOLS.items()
    ]
