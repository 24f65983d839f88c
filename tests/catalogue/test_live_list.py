"""What a body of `GET /api/models` says, however broken it is."""

from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from support.rich_models import TODAY, rich_body

from meigen_mcp.catalogue import live_list, pricing
from meigen_mcp.catalogue.arguments import form
from meigen_mcp.catalogue.laying import LiveFacts
from meigen_mcp.catalogue.models import Catalogue, Continuation, Duration, shipped
from meigen_mcp.server.tool_schemas import make_tools
from meigen_mcp.views import models as model_views

JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=5)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)
    ),
    max_leaves=8,
)


def read(**entry: Any) -> LiveFacts:
    """Read one entry of a list."""
    found = live_list.read({"success": True, "models": [{"id": "x", **entry}]})
    assert found is not None
    return found.rows[0]


def video(**said: Any) -> LiveFacts:
    """Read one entry of which only `capabilities.video` says something."""
    return read(capabilities={"video": {"valid": True, **said}})


@pytest.mark.parametrize(
    "body",
    [None, [], "x", 5, {}, {"models": {}}, {"models": None}, {"success": False, "models": []}],
)
def test_what_is_no_models_body_is_no_list(body: Any) -> None:
    """An error page must not empty the catalogue."""
    assert live_list.read(body) is None


@pytest.mark.parametrize("entry", [None, 5, "x", [], {}, {"id": None}, {"id": 5}, {"id": " "}])
def test_an_entry_without_an_id_is_skipped(entry: Any) -> None:
    """The others count all the same; `success` may be missing."""
    found = live_list.read({"models": [entry, {"id": "x"}]})
    assert found is not None
    assert found.rows == (LiveFacts("x"),)


@pytest.mark.parametrize(
    ("entry", "facts"),
    [
        ({"name": "X"}, {"name": "X"}),
        ({"media_type": "audio"}, {}),
        ({"media_type": "video"}, {"media_type": "video"}),
        ({"supported_ratios": ["auto", "1:1", 5, "1:1"]}, {"ratios": ("1:1",)}),
        ({"supported_ratios": ["adaptive"]}, {"adaptive": True}),
        ({"supported_ratios": ["auto"]}, {}),
        ({"supported_ratios": "1:1"}, {}),
        ({"max_reference_images": 0}, {"max_reference_images": 0}),
        ({"max_reference_images": 5.0}, {"max_reference_images": 5}),
        ({"max_reference_images": -1}, {}),
        ({"max_reference_images": True}, {}),
        ({"max_reference_images": "5"}, {}),
        ({"extra_config": {"resolutions": ["1K", "2K"]}}, {"resolutions": ("1K", "2K")}),
        ({"extra_config": {"resolutions": []}}, {}),
        ({"extra_config": {"defaultTier": "fast"}}, {"default_tier": "fast"}),
        ({"extra_config": {"defaultDuration": 0}}, {}),
        (
            {"extra_config": {"durations": [6, 4, 5, "8", 0]}},
            {"duration": Duration(minimum=4, maximum=6)},
        ),
        ({"extra_config": {"durations": [8, 4]}}, {"duration": Duration(values=(4, 8))}),
        ({"extra_config": {"durations": [4000]}}, {}),
        ({"extra_config": {"requiresFirstFrame": True}}, {"requires_first_frame": True}),
        ({"extra_config": {"tags": ["New"]}}, {"tags": ("New",)}),
        ({"estimatedTiming": {"p50": 10, "p90": 20}}, {"typical_seconds": (10.0, 20.0)}),
        ({"estimatedTiming": {"p50": 10}}, {}),
        ({"estimatedTiming": {"p50": 10**8, "p90": 10**8}}, {}),
        ({"estimatedTiming": {"p50": 10, "p90": 10**8}}, {}),
        ({"estimatedTiming": {"p50": 20, "p90": 10}}, {}),
        ({"estimatedTiming": {"p50": 0, "p90": 0}}, {}),
        ({"extra_config": []}, {}),
        ({"capabilities": 5}, {}),
    ],
)
def test_each_field_is_judged_by_itself(entry: dict[str, Any], facts: dict[str, Any]) -> None:
    """What is missing or of a wrong type says nothing."""
    assert read(**entry) == LiveFacts("x", facts=facts)


def test_resolutions_of_tiers_complete_the_resolutions() -> None:
    """`tierResolutions` is ahead of `resolutions`."""
    extra = {"resolutions": ["480p"], "tierResolutions": {"fast": ["480p", "720p"], "pro": []}}
    assert read(extra_config=extra).facts == {
        "resolutions": ("480p", "720p"),
        "tier_resolutions": {"fast": ("480p", "720p")},
    }


@pytest.mark.parametrize(
    ("output", "facts"),
    [
        ({"kind": "range", "min": 4, "max": 15}, {"duration": Duration(minimum=4, maximum=15)}),
        (
            {"kind": "range", "min": 4, "max": 13, "step": 4, "default": 8},
            {"duration": Duration(values=(4, 8, 12)), "default_duration": 8},
        ),
        ({"kind": "enum", "values": [8, 4]}, {"duration": Duration(values=(4, 8))}),
        ({"kind": "enum", "values": []}, {}),
        ({"kind": "range", "min": 15, "max": 4}, {}),
        ({"kind": "range", "min": 0, "max": 4}, {}),
        ({"kind": "range", "min": 1, "max": 10**9}, {}),
        ({"kind": "range", "min": 4}, {}),
        ({"kind": "any", "min": 4, "max": 5}, {}),
    ],
)
def test_capabilities_give_the_output_lengths(output: Any, facts: dict[str, Any]) -> None:
    """A range, a range with steps, or a list."""
    assert video(outputDuration=output).facts == facts


def test_capabilities_win_over_extra_config() -> None:
    """They are the newer of the two."""
    row = read(
        extra_config={"defaultDuration": 5, "durations": [4, 5]},
        capabilities={"video": {"outputDuration": {"kind": "enum", "values": [6], "default": 6}}},
    )
    assert row.facts == {"duration": Duration(values=(6,)), "default_duration": 6}


@pytest.mark.parametrize(
    ("entry", "clip"),
    [
        ({"extra_config": {"supportsReferenceVideo": True}}, (2, 15)),
        ({"extra_config": {"pricingPerSecWithVideo": {"480p": 8}}}, (2, 15)),
        ({"extra_config": {"minBillableTable": {"5": 8}}}, (2, 15)),
        ({"extra_config": {"pricingPerSecWithVideo": None}}, None),
        ({"extra_config": {"supportsReferenceVideo": "yes"}}, None),
        ({"capabilities": {"video": {"referenceVideo": {"enabled": True}}}}, (2, 15)),
        (
            {"capabilities": {"video": {"referenceVideo": {"enabled": True, "minSeconds": 20}}}},
            (20, None),
        ),
        (
            {
                "capabilities": {
                    "video": {"referenceVideo": {"enabled": True, "minSeconds": 0, "maxSeconds": 9}}
                }
            },
            (2, 9),
        ),
        (
            {
                "capabilities": {
                    "video": {"referenceVideo": {"enabled": True, "minSeconds": 3, "maxSeconds": 9}}
                }
            },
            (3, 9),
        ),
    ],
)
def test_a_reference_video_is_taken_where_the_list_says_so(
    entry: dict[str, Any], clip: tuple[int, int | None] | None
) -> None:
    """Where it tells no limit, that of the official client of 2026-08 holds if it can."""
    found: Continuation | None = read(**entry).facts.get("continuation")
    assert (found and (found.minimum_seconds, found.maximum_seconds)) == clip


def test_a_disabled_reference_video_takes_the_continuation_away() -> None:
    """That is said, not missing."""
    assert video(referenceVideo={"enabled": False}).facts == {"continuation": None}


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ({"extra_config": {"hidden": True}}, "MeiGen no longer lists it"),
        ({"extra_config": {"hidden": "yes"}}, ""),
        (
            {"capabilities": {"video": {"valid": False}}},
            "MeiGen reports its settings as unavailable right now",
        ),
        ({"capabilities": {"video": {"valid": None}}}, ""),
        ({"capabilities": {"video": {}}}, ""),
    ],
)
def test_a_row_can_take_a_model_away(entry: dict[str, Any], why: str) -> None:
    """Only by saying so."""
    assert read(**entry) == LiveFacts("x", unavailable=why)


@pytest.mark.parametrize(
    ("said", "table"),
    [
        (5, Decimal(5)),
        (0.1, Decimal("0.1")),
        ({"480p": 8}, {"480p": Decimal(8)}),
        (
            {"fast": {"480p": 8, "720p": "14"}, "pro": None},
            {"fast": {"480p": Decimal(8)}},
        ),
        ({"480p": -8}, None),
        ({"480p": True}, None),
        ({"480p": float("nan")}, None),
        (10**12, None),
        (0, None),
        ({"480p": 0}, None),
        ([8], None),
    ],
)
def test_a_price_is_a_number_or_a_table_of_numbers(said: Any, table: Any) -> None:
    """A bad cell is left out; 0 is no price."""
    expected = {} if table is None else {"credits_per_second": table}
    assert read(extra_config={"pricingPerSec": said}).price == expected
    flat = table if isinstance(table, Decimal) else None
    assert read(credits_per_generation=said).flat_price == flat


def test_each_table_has_its_unit() -> None:
    """The name in the list says what the credits are for."""
    names = ("pricing", "pricingPerCall", "pricingPerSec", "pricingPerSecWithVideo")
    assert read(extra_config=dict(zip(names, (1, 2, 3, 4), strict=True))).price == {
        "credits_per_image": Decimal(1),
        "credits_per_call": Decimal(2),
        "credits_per_second": Decimal(3),
        "credits_per_second_with_video": Decimal(4),
    }


def _used(body: Any) -> Catalogue:
    """Read a body and use whatever it says in every way that the server does."""
    found = live_list.read(body)
    merged = live_list.lay(shipped(), body, TODAY) or shipped()
    assert len(make_tools(merged)) == 4
    rows = found.rows if found is not None else ()
    for model in {row.id: merged.find(row.id) for row in rows}.values():
        if model is None:
            continue
        rules = form(model, merged.accepted(model.media_type))
        Draft202012Validator.check_schema(rules.schema())
        assert rules.check({"prompt": "a cat", "modelId": model.id, "duration": "x"}) != []
        sent = pricing.explicit(model, {"prompt": "a cat"}, TODAY)
        assert pricing.quote(model, sent, TODAY).credits != 0
        assert model_views.model_details(model, merged)["modelId"] == model.id
    assert model_views.models_text(merged.listed())
    return merged


@settings(deadline=None, max_examples=100)
@given(body=JSON)
def test_any_json_is_read_without_an_error(body: Any) -> None:
    """Whatever the body is, the server goes on."""
    described = {"models": [{"id": "x", "extra_config": body, "capabilities": body}]}
    assert [len(_used(one).digest) for one in (body, described)] == [12, 12]


def _places(value: Any, *path: Any) -> list[tuple[Any, ...]]:
    """Return the path to every value within a value."""
    if not isinstance(value, dict | list):
        return [path]
    cells = value.items() if isinstance(value, dict) else enumerate(value)
    return [path, *(place for key, cell in cells for place in _places(cell, *path, key))]


PLACES = _places(rich_body())[1:]


@settings(deadline=None, max_examples=40)  # one of these takes a fifth of a second
@given(spoilt=st.lists(st.tuples(st.sampled_from(PLACES), JSON), min_size=1, max_size=5))
def test_a_list_with_wrong_types_anywhere_is_read_without_an_error(
    spoilt: list[tuple[tuple[Any, ...], Any]],
) -> None:
    """A rich body with a few of its values replaced by any JSON, the innermost first."""
    body = rich_body()
    for (*path, last), value in sorted(spoilt, key=lambda place: -len(place[0])):
        at: Any = body
        for key in path:
            at = at[key]
        at[last] = value
    assert len(_used(body).digest) == 12
