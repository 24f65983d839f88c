"""The published JSON Schema and the check are one rule: neither accepts what the other refuses."""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import pytest
from catalogue.test_rule_cases import CASES
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.rich_models import TODAY, rich

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.arguments import CHECK_STATUS, MEDIUM_OF, TOOL_OF, form, list_models_form
from meigen_mcp.catalogue.forms import Form
from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.catalogue.rules import Items, Schema, Text, absent, present, union
from meigen_mcp.errors import Problem
from meigen_mcp.sandbox.models import Era, body
from meigen_mcp.server.tool_schemas import make_tools


def _listed(era: Era) -> Catalogue:
    """Return the catalogue that the list of a generation of the API leads to."""
    return live_list.lay(shipped(), body(era, 1, TODAY), TODAY) or shipped()


CATALOGUES: Mapping[str, Catalogue] = {
    "shipped": shipped(),
    "rich": rich(),
    "2026-05": _listed("2026-05"),
    "2026-09": _listed("2026-09"),
    "2026-11": _listed("2026-11"),
}
# What those lists say of the others is judged by the same rules as above.
CHANGED = {
    "2026-05": ("seedance-2-0",),
    "2026-09": ("seedance-2-0",),
    "2026-11": ("gpt-image-25", "midjourney-v8.1", "grok-video", "seedance-2-0", "seedance-2-5"),
}


class Judge(NamedTuple):
    """The three that judge a call: the check, the model's schema and the tool's flat one."""

    rules: Form
    schema: Schema
    validator: Draft202012Validator
    flat: Draft202012Validator


def _judges() -> Iterator[tuple[str, str, Judge]]:
    for name, catalogue in CATALOGUES.items():
        flat = {t.name: Draft202012Validator(t.input_schema) for t in make_tools(catalogue)}
        for model in catalogue.accepted():
            if model.id not in CHANGED.get(name, (model.id,)):
                continue
            rules = form(model, catalogue.accepted(model.media_type))
            schema = rules.schema()
            validator = Draft202012Validator(schema)
            yield name, model.id, Judge(rules, schema, validator, flat[TOOL_OF[model.media_type]])


JUDGES = {(name, model_id): judge for name, model_id, judge in _judges()}
MODELS = [
    pytest.param(model_id, JUDGES[name, model_id], id=f"{name} {model_id}")
    for name, model_id in JUDGES
]
CLIP = "https://images.meigen.ai/a.mp4"
ELSEWHERE = "https://example.com/a.mp4"
PICTURE = "https://images.meigen.ai/a.png"
SOUND = "https://images.meigen.ai/a.wav"
RESULT = "meigen://generations/a/media/0"
UUID = "0f8fad5b-d9cb-469f-a165-70867728950e"
BOUNDED = settings(deadline=None, max_examples=min(25, settings().max_examples))


# --- near-valid arguments -------------------------------------------------------------------------

SCALARS = st.sampled_from(
    [
        *(None, True, False, "", " ", "5", "5.0", "true", "\x00", "auto\n", "16:9\n", f"{UUID}\n"),
        *(f"{PICTURE}\n", "http://images.meigen.ai/a", "https://10.0.0.1/a", "https://localhost"),
        *("[]", '{"iw": "1"}', f'["{PICTURE}"]', "NaN", "null", '"5"', "1e2", " 5"),
        *(-1, 0, 0.1, 1, 2.0, 3, 4.5, 5.0, 15, 16, 300, 301, 1001, 1e300, 10**400),
    ]
)
STRANGE: list[Any] = [None, [], {}, [None], [[]], {"a": None}, [PICTURE, 5], {"iw": 1, "a": 2}]
LIKELY: Mapping[str, st.SearchStrategy[Any]] = {
    "prompt": st.sampled_from(
        ["a cat", "猫", "\n", "a cat --ar 3:2", "a::2 b", "a [b|c]", "a --sref 5"]
    ),
    "modelId": st.sampled_from([model.id for model in rich().accepted()]),
    "aspectRatio": st.sampled_from(["auto", "adaptive", "16:9", "1:1", "3:2", "0:1"]),
    "resolution": st.sampled_from(["1K", "2K", "3K", "4K", "480p", "720p", "1080p"]),
    "quality": st.sampled_from(["low", "medium", "high", "ultra"]),
    "duration": st.sampled_from([3, 4, 4.0, 5, 6, 8, 12, 15, 16]),
    "tier": st.sampled_from(["mini", "fast", "pro"]),
    "referenceImages": st.lists(
        st.sampled_from([PICTURE] * 6 + ["https://[::1]/", CLIP]), max_size=6
    ),
    "referenceType": st.sampled_from(["content", "style"]),
    "referenceVideo": st.sampled_from([CLIP, PICTURE, ELSEWHERE]),
    "referenceVideoDuration": st.sampled_from([0, 0.1, 1.9, 2, 5.0, 15, 15.1, 30.1, 45]),
    "referenceVideos": st.lists(
        st.sampled_from([CLIP, CLIP, RESULT, PICTURE, ELSEWHERE]), max_size=4
    ),
    "referenceAudios": st.lists(st.sampled_from([SOUND, SOUND, CLIP]), max_size=3),
    "contentReferenceImages": st.lists(st.sampled_from([PICTURE, PICTURE, CLIP]), max_size=5),
    "modelVariant": st.sampled_from(["flare", "sunburst", "other"]),
    "draft": st.booleans(),
    "finalOf": st.sampled_from(["g-1", RESULT, " ", "x" * 201]),
    "niji7Options": st.dictionaries(
        st.sampled_from(
            ["stylize", "chaos", "raw", "iw", "sref", "sw", "quality", "weird", "profile", "sv"]
        ),
        st.one_of(
            st.sampled_from([0, 1, 2, "1", "4", "random", True, PICTURE, None, [], {}]), SCALARS
        ),
        max_size=3,
    ),
    "wait": st.sampled_from([0, 300, 300.0]),
    "maxCredits": st.sampled_from([0, 1.5]),
    "dryRun": st.booleans(),
    "requestId": st.sampled_from([UUID, UUID.upper()]),
}


def _value(name: str) -> st.SearchStrategy[Any]:
    likely = LIKELY.get(name, SCALARS)
    return st.one_of(likely, likely, likely, likely, SCALARS, st.sampled_from(STRANGE))


@st.composite
def _calls(draw: Callable[..., Any], rules: Form, model_id: str | None) -> dict[str, Any]:
    """Return a valid call that was changed in up to six places, perhaps not for the worse."""
    call: dict[str, Any] = {"prompt": "a cat", "modelId": model_id} if model_id else {}
    call |= {"referenceImages": [PICTURE]} if "referenceImages" in rules.required else {}
    names = [*rules.rules, *rules.rules, *rules.elsewhere, "size", "Prompt"]
    for name in draw(st.lists(st.sampled_from(names), max_size=6, unique=True)):
        call[name] = draw(_value(name))
    call.pop(draw(st.sampled_from(["", "", "", "", *call])), None)
    return call


def _agree(rules: Form, validator: Draft202012Validator, call: dict[str, Any]) -> bool:
    return validator.is_valid(call) is not bool(rules.check(call))


def _spoiled(rules: Form, call: Mapping[str, Any], draw: Callable[..., Any]) -> dict[str, Any]:
    """Return a call as clients spoil one: some values written as JSON in a text, some blank."""
    types: dict[str, Any] = {"number": int | float, "array": list, "object": dict}
    spoil = [
        name
        for name, value in call.items()
        if name in rules.rules
        and (absent(value) or isinstance(value, types.get(rules.rules[name].kind, ())))
        and not (rules.rules[name].kind == "number" and isinstance(value, bool))
        and value != 10**400  # Python reads no number of so many digits
    ]
    chosen = draw(st.lists(st.sampled_from(spoil), unique=True)) if spoil else []
    return {
        name: ("" if absent(value) else json.dumps(value)) if name in chosen else value
        for name, value in call.items()
    }


# --- schema and check -----------------------------------------------------------------------------


@pytest.mark.parametrize(("model_id", "judge"), MODELS)
@BOUNDED
@given(data=st.data())
def test_the_schema_of_a_model_accepts_a_call_if_and_only_if_the_check_does(
    model_id: str, judge: Judge, data: st.DataObject
) -> None:
    """For every model, shipped and live; and the flat schema accepts what the model accepts."""
    call = data.draw(_calls(judge.rules, model_id))
    assert _agree(judge.rules, judge.validator, call)
    if not judge.rules.check(call):
        assert [error.message for error in judge.flat.iter_errors(present(call))] == []


@pytest.mark.parametrize(("model_id", "judge"), MODELS)
@BOUNDED
@given(data=st.data())
def test_a_call_that_a_client_spoiled_is_the_call_that_was_meant(
    model_id: str, judge: Judge, data: st.DataObject
) -> None:
    """JSON in a text is read, a blank is absent, nothing else is bent; reading twice is once."""
    call = data.draw(_calls(judge.rules, model_id))
    meant = judge.rules.as_meant(call)
    assert judge.rules.as_meant(meant) == meant
    assert _agree(judge.rules, judge.validator, meant)
    spoiled = judge.rules.as_meant(_spoiled(judge.rules, meant, data.draw))
    assert bool(judge.rules.check(spoiled)) == bool(judge.rules.check(meant))
    assert present(spoiled) == present(meant)


def _recipes(problem: Problem) -> list[Any]:
    """Return the values that a fix tells to give instead."""
    told = re.match(r"(?:use|write|did you mean) (?!more than)(.*?)\??$", problem.fix)
    if told is None:
        return []
    try:
        return [json.loads(told[1])]
    except ValueError:
        found = re.findall(r'"(?:[^"\\]|\\.)*"|(?<![\w.-])-?\d+(?:\.\d+)?(?![\w.])', told[1])
        words = [] if problem.field != "modelId" else re.split(r", | or ", told[1])
        bounds = re.search(r"\b(?:from|above|or more|or less)\b", told[1])
        return words or ([] if bounds else [json.loads(part) for part in found])


def _instead(call: Mapping[str, Any], field: str, value: Any) -> dict[str, Any]:
    """Return a call with another value for a field, such as `niji7Options.iw` or `images[1]`."""
    name, member, index = re.fullmatch(r"(\w+)(?:\.(\w+))?(?:\[(\d+)\])?", field).groups()  # type: ignore[union-attr]  # a field
    if member is not None:
        value = call[name] | {member: value}
    elif index is not None:
        value = [value if place == int(index) else v for place, v in enumerate(call[name])]
    return {**call, name: value}


@pytest.mark.parametrize(("model_id", "judge"), MODELS)
@BOUNDED
@given(data=st.data())
def test_what_a_refusal_tells_to_write_passes_the_check(
    model_id: str, judge: Judge, data: st.DataObject
) -> None:
    """A model follows a recipe to the letter: one that is refused again costs a turn."""
    call = data.draw(_calls(judge.rules, model_id))
    for problem in judge.rules.check(call):
        for value in _recipes(problem):
            mended = judge.rules.check(_instead(call, problem.field, value))
            assert problem.field not in [again.field for again in mended], (str(problem), value)


@pytest.mark.parametrize(
    "rules", [CHECK_STATUS, list_models_form(rich())], ids=["check_status", "list_models"]
)
@BOUNDED
@given(data=st.data())
def test_the_tools_without_a_model_keep_schema_and_check_together(
    rules: Form, data: st.DataObject
) -> None:
    """check_status and list_models follow the same rule."""
    assert _agree(rules, Draft202012Validator(rules.schema()), data.draw(_calls(rules, None)))


@pytest.mark.parametrize(("model_id", "arguments", "wrong"), CASES)
def test_the_schema_judges_the_cases_of_the_page_alike(
    model_id: str, arguments: dict[str, Any], wrong: str
) -> None:
    """What the table accepts passes the model's schema and the flat one, the rest the first not."""
    judge = JUDGES["shipped", model_id]
    call = {"prompt": "a red cube", "modelId": model_id} | arguments
    assert judge.validator.is_valid(call) == (not wrong)
    assert wrong or judge.flat.is_valid(present(call))


@pytest.mark.parametrize(("model_id", "judge"), MODELS)
def test_the_schema_of_a_model_is_a_valid_schema(model_id: str, judge: Judge) -> None:
    """The dialect is named, a validator takes it, and it is the model's own."""
    Draft202012Validator.check_schema(judge.schema)
    assert judge.schema["$schema"] == Draft202012Validator.META_SCHEMA["$id"]
    named = judge.schema["properties"]["modelId"]
    assert named.get("enum", [model_id]) == [model_id]


# --- the flat schemas -----------------------------------------------------------------------------

PORTABLE = {
    *("type", "description", "enum", "minimum", "maximum", "minLength", "maxLength", "items"),
    *("properties", "required", "additionalProperties"),
}


def _input_schema(catalogue: Catalogue, tool: str) -> Schema:
    return next(made.input_schema for made in make_tools(catalogue) if made.name == tool)


def _keywords(schema: Schema) -> set[str]:
    inner = [
        *schema.get("properties", {}).values(),
        *([schema["items"]] if "items" in schema else []),
    ]
    return set(schema).union(*map(_keywords, inner))


def _undescribed(schema: Schema) -> list[str]:
    members = schema.get("properties", {}).items()
    return [
        *(name for name, inner in members if not inner.get("description")),
        *(name for _, inner in members for name in _undescribed(inner)),
    ]


@pytest.mark.parametrize("allowed", [(), ("veo-3.1",), ("flux2-klein",), ("no-such-model",)])
@pytest.mark.parametrize("catalogue", CATALOGUES.values(), ids=CATALOGUES)
def test_input_schemas_stay_in_the_portable_subset(
    catalogue: Catalogue, allowed: tuple[str, ...]
) -> None:
    """Flat objects, every property described, every required one defined, enums of strings only."""
    for tool in make_tools(catalogue.only(allowed)):
        schema = tool.input_schema
        Draft202012Validator.check_schema(schema)
        assert _keywords(schema) <= PORTABLE
        assert _undescribed(schema) == []
        assert set(schema.get("required", ())) <= set(schema["properties"])
        enums = [inner.get("enum", ["-"]) for inner in schema["properties"].values()]
        assert all(enum and all(isinstance(v, str) for v in enum) for enum in enums)


def test_a_union_keeps_the_order_of_its_parts() -> None:
    """1K 2K 4K and 2K 3K read 1K 2K 3K 4K."""
    schema = _input_schema(shipped(), "generate_image")["properties"]["resolution"]
    assert schema["enum"] == ["1K", "2K", "3K", "4K"]


def test_one_model_with_an_unknown_list_opens_the_union() -> None:
    """No enum where the API may accept more than any source says."""
    open_ended = _input_schema(rich(), "generate_image")["properties"]["resolution"]
    assert "enum" not in open_ended
    assert union([Items(Text(), 1), Items(Text())]) == {
        "type": "array",
        "items": {"type": "string"},
    }


def test_each_medium_has_its_tool() -> None:
    """The two maps of tools and media are inverse."""
    assert {TOOL_OF[medium]: medium for medium in TOOL_OF} == MEDIUM_OF
