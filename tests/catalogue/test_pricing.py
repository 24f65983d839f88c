"""What a call will cost, as written arithmetic on both sides of each threshold."""

from collections.abc import Callable
from datetime import date
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from support.rich_models import DATED, NOON, TODAY, rich

from meigen_mcp.catalogue.arguments import form
from meigen_mcp.catalogue.models import Catalogue, Continuation, Duration, Model, Price, shipped
from meigen_mcp.catalogue.pricing import Quote, QuoteKind, cheaper, explicit, quote
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options

CLIP = "https://images.meigen.ai/a.mp4"
LIVE = Emulator(Options(seed=1), clock=lambda: NOON).catalogue
"""What a client has whose API is the sandbox: no price is unknown."""


def find(models: Catalogue, model_id: str) -> Model:
    """Return a model that must be there."""
    found = models.find(model_id)
    assert found is not None
    return found


def priced(models: Catalogue, model_id: str, arguments: dict[str, Any]) -> tuple[float, str] | str:
    """Quote a call; return credits and kind, or the reason why it is unknown."""
    found = quote(find(models, model_id), arguments, TODAY)
    return found.basis if found.credits is None else (float(found.credits), found.kind)


def make(**facts: Any) -> Model:
    """Return a model with prices of 2026-01-01 in the given units."""
    lists = [name for name in facts if name.startswith("credits_")]
    price = {"from": date(2026, 1, 1), "kind": "exact", "source": "page"}
    price |= {name: facts.pop(name) for name in lists}
    return Model.model_validate({"id": "x", "prices": [price] if lists else [], **facts})


# --- the shipped prices ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "arguments", "expected"),
    [
        # Per image by resolution and quality; the default is 2K low.
        ("gpt-image-2", {}, (5, "exact")),
        ("gpt-image-2", {"resolution": "1K"}, (2, "exact")),
        ("gpt-image-2", {"resolution": "2K", "quality": "low"}, (5, "exact")),
        ("gpt-image-2", {"resolution": "1K", "quality": "medium"}, (10, "estimate")),
        ("gpt-image-2", {"quality": "medium"}, (25, "estimate")),
        ("gpt-image-2", {"resolution": "4K", "quality": "medium"}, (40, "estimate")),
        # Per image, whatever the settings.
        ("gemini-3-pro-image-preview", {}, (10, "exact")),
        ("gemini-3-pro-image-preview", {"resolution": "4K"}, (10, "exact")),
        ("nanobanana-2", {"aspectRatio": "1:1"}, (5, "exact")),
        ("seedream-5.0-lite", {"resolution": "3K"}, (5, "exact")),
        ("seedream-4.5", {}, (5, "exact")),
        ("z-image-turbo", {}, (2, "exact")),
        # Per batch of 4; the default resolution is not known, so the dearer one is quoted.
        ("midjourney-v8.1", {}, (20, "estimate")),
        ("midjourney-v8.1", {"resolution": "1K"}, (15, "exact")),
        ("midjourney-v8.1", {"resolution": "2K"}, (20, "exact")),
        ("midjourney-v7", {"resolution": "1K"}, (15, "exact")),
        # A continuation: (reference + duration) x rate, at least, since no source gives the floor.
        (
            "seedance-2-0",
            {"referenceVideo": CLIP, "referenceVideoDuration": 5, "resolution": "480p"},
            ((5 + 5) * 8, "at_least"),
        ),
        (
            "seedance-2-0",
            {"referenceVideo": CLIP, "referenceVideoDuration": 5, "resolution": "720p"},
            ((5 + 5) * 14, "at_least"),
        ),
        (
            "seedance-2-0",
            {
                "referenceVideo": CLIP,
                "referenceVideoDuration": 2.5,
                "resolution": "1080p",
                "duration": 15,
            },
            ((2.5 + 15) * 14, "at_least"),
        ),
        (
            "seedance-2-0",
            {"referenceVideo": CLIP, "referenceVideoDuration": 5, "duration": 4},
            ((5 + 4) * 14, "at_least"),
        ),
    ],
)
def test_the_shipped_price_of_each_model(
    model_id: str, arguments: dict[str, Any], expected: tuple[float, str]
) -> None:
    """Figures of the sources, with how sure they are."""
    assert priced(shipped(), model_id, arguments) == expected, DATED


@pytest.mark.parametrize(
    ("model_id", "arguments"),
    [
        ("gpt-image-2", {"quality": "high"}),
        ("gpt-image-2", {"resolution": "4K"}),
        ("flux2-klein", {}),
        ("seedance-2-0", {}),
        ("seedance-2-0", {"tier": "pro", "resolution": "720p", "duration": 5}),
        ("happyhorse-1.0", {"duration": 3}),
        ("veo-3.1", {"duration": 8, "tier": "fast"}),
    ],
)
def test_a_price_that_no_source_gives_is_unknown(model_id: str, arguments: dict[str, Any]) -> None:
    """It is never 0 and holds against no cap."""
    found = quote(find(shipped(), model_id), arguments, TODAY)
    why = f"no source gives the price of {model_id} for these settings"
    assert found == Quote(None, "unknown", why)
    assert not found.bounded


# --- the live prices ------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model_id", "arguments", "expected"),
    [
        # Per second by tier and resolution; fast, 480p and 5 s are the defaults.
        ("seedance-2-0", {}, (5 * 12, "exact")),
        ("seedance-2-0", {"duration": 4}, (4 * 12, "exact")),
        ("seedance-2-0", {"duration": 15.0}, (15 * 12, "exact")),
        ("seedance-2-0", {"resolution": "720p"}, (5 * 20, "exact")),
        ("seedance-2-0", {"resolution": "1080p", "tier": "pro"}, (5 * 44, "exact")),
        ("happyhorse-1.0", {"duration": 3, "resolution": "480p"}, (3 * 8, "exact")),
        ("happyhorse-1.0", {"duration": 15}, (15 * 12, "exact")),
        # Per call by tier and duration.
        ("veo-3.1", {}, (10, "exact")),
        ("veo-3.1", {"duration": 6}, (15, "exact")),
        ("veo-3.1", {"duration": 6.0}, (15, "exact")),
        ("veo-3.1", {"duration": 8, "tier": "pro"}, (80, "exact")),
        # The one figure of the list counts where nothing else does.
        ("flux2-klein", {}, (3, "estimate")),
        ("gpt-image-2", {"resolution": "4K", "quality": "high"}, (80, "exact")),
        ("midjourney-v8.1", {}, (15, "exact")),
        # max(reference + duration, floor of that duration) x rate.
        (
            "seedance-2-0",
            {"referenceVideo": CLIP, "referenceVideoDuration": 2, "resolution": "480p"},
            (max(2 + 5, 8) * 8, "exact"),
        ),
        (
            "seedance-2-0",
            {"referenceVideo": CLIP, "referenceVideoDuration": 3, "resolution": "480p"},
            (max(3 + 5, 8) * 8, "exact"),
        ),
        (
            "seedance-2-0",
            {"referenceVideo": CLIP, "referenceVideoDuration": 3.5, "resolution": "720p"},
            (max(3.5 + 5, 8) * 14, "exact"),
        ),
        (
            "seedance-2-0",
            {
                "referenceVideo": CLIP,
                "referenceVideoDuration": 2,
                "resolution": "1080p",
                "tier": "pro",
                "duration": 15.0,
            },
            (max(2 + 15, 18) * 14, "exact"),
        ),
    ],
)
def test_the_price_by_a_live_list(
    model_id: str, arguments: dict[str, Any], expected: tuple[float, str]
) -> None:
    """Both sides of each threshold; a whole float is the whole number."""
    assert priced(LIVE, model_id, arguments) == expected, DATED


@pytest.mark.parametrize(
    ("arguments", "basis"),
    [
        ({"referenceVideoDuration": 2}, "max(2 s reference + 5 s, 8 s minimum) x fast 480p 8"),
        ({"referenceVideoDuration": 9.5}, "max(9.5 s reference + 5 s, 8 s minimum) x fast 480p 8"),
    ],
)
def test_the_basis_is_the_arithmetic(arguments: dict[str, Any], basis: str) -> None:
    """A person can recompute it."""
    call = {"referenceVideo": CLIP, **arguments}
    found = quote(find(LIVE, "seedance-2-0"), call, TODAY)
    figure = found.credits.normalize() if found.credits else 0
    assert found.basis == f"{basis} credits/s = {figure:f}", DATED


@pytest.mark.parametrize(
    ("models", "model_id", "basis"),
    [
        (shipped(), "gpt-image-2", "2K low 5 credits per image = 5"),
        (shipped(), "midjourney-v8.1", "2K 20 credits per call of 4 images = 20"),
        (shipped(), "gemini-3-pro-image-preview", "10 credits per image = 10"),
        (LIVE, "happyhorse-1.0", "5 s x 720p 12 credits/s = 60"),
        (LIVE, "veo-3.1", "fast 4 s 10 credits per call = 10"),
    ],
)
def test_the_basis_names_the_settings(models: Catalogue, model_id: str, basis: str) -> None:
    """What was left out is named by the value that the quote rests on."""
    assert quote(find(models, model_id), {}, TODAY).basis == basis, DATED


# --- dates and sources ----------------------------------------------------------------------------


def _dated(*lists: tuple[date, int | dict[str, int]]) -> Model:
    prices = [
        {"from": since, "kind": "exact", "source": "page", "credits_per_image": table}
        for since, table in lists
    ]
    return Model.model_validate({"id": "x", "resolutions": ["1K", "2K"], "prices": prices})


@pytest.mark.parametrize(
    ("on", "expected"),
    [
        (date(2025, 12, 31), None),
        (date(2026, 1, 1), 5),
        (date(2026, 5, 31), 5),
        (date(2026, 6, 1), 7),
    ],
)
def test_a_price_counts_from_its_date(on: date, expected: int | None) -> None:
    """A later price does not count yet."""
    model = _dated((date(2026, 1, 1), 5), (date(2026, 6, 1), 7))
    assert quote(model, {}, on).credits == expected


def test_an_unknown_price_says_which_date_was_looked_at() -> None:
    """Where a price list does not count yet, the date may be why; elsewhere it says nothing."""
    lists = (date(2026, 1, 1), {"1K": 5}), (date(2026, 6, 1), {"1K": 7})
    unknown = "no source gives the price of x for these settings"
    assert quote(_dated(*lists), {"resolution": "1K"}, date(2025, 12, 31)) == Quote(
        None, "unknown", f"{unknown} on 2025-12-31; a price list counts from 2026-01-01 on"
    )
    assert quote(_dated(*lists), {"resolution": "2K"}, date(2026, 1, 1)) == Quote(
        None, "unknown", f"{unknown} on 2026-01-01; a price list counts from 2026-06-01 on"
    )
    assert quote(_dated(*lists), {"resolution": "2K"}, TODAY) == Quote(None, "unknown", unknown)


@pytest.mark.parametrize(("resolution", "expected"), [("1K", 3), ("2K", 8)])
def test_the_last_list_that_has_the_cell_wins(resolution: str, expected: int) -> None:
    """An older list answers for the cells that a newer one leaves out."""
    model = _dated((date(2026, 1, 1), {"1K": 4, "2K": 8}), (date(2026, 6, 1), {"1K": 3}))
    assert quote(model, {"resolution": resolution}, TODAY).credits == expected


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ({"resolution": "1K", "quality": "low"}, (3, "exact")),  # the live list
        ({"resolution": "2K", "quality": "low"}, (5, "exact")),  # the shipped one
        ({"resolution": "4K", "quality": "medium"}, (40, "estimate")),  # the older shipped one
        ({"resolution": "4K", "quality": "ultra"}, (5, "at_least")),  # the one figure: of 2K low
    ],
)
def test_live_beats_shipped_beats_the_one_figure(
    arguments: dict[str, Any], expected: tuple[float, str]
) -> None:
    """Cell by cell; where other settings have lists, the one figure is only a bound."""
    assert priced(rich(), "gpt-image-2", arguments) == expected, DATED


def test_the_one_figure_of_a_video_is_only_a_bound() -> None:
    """For video the API itself calls it a floor for display."""
    model = find(rich(), "grok-video").model_copy(update={"resolutions": None})
    assert quote(model, {"duration": 8}, TODAY).kind == "at_least"


# --- defaults -------------------------------------------------------------------------------------


def test_without_a_model_the_quote_is_an_estimate() -> None:
    """The platform may choose another model; what is unknown stays so."""
    model = find(shipped(), "gpt-image-2")
    basis = "2K low 5 credits per image = 5, if MeiGen's default model is still gpt-image-2"
    assert quote(model, {}, TODAY, named=False) == Quote(Decimal(5), "estimate", basis)
    unknown = quote(model, {"quality": "high"}, TODAY)
    assert quote(model, {"quality": "high"}, TODAY, named=False) == unknown


PER_SECOND = {"tiers": ["a", "b"], "duration": {"values": [2, 4]}, "media_type": "video"}
RATES = {"a": {"480p": 1, "720p": 2}, "b": {"720p": 3}}
BY_TIER = {"a": ["480p", "720p"], "b": ["720p"]}


@pytest.mark.parametrize(
    ("facts", "arguments", "expected"),
    [
        ({"default_tier": "a"}, {}, (4 * 2, "estimate")),
        ({"default_tier": "a", "default_duration": 2}, {}, (2 * 2, "estimate")),
        ({"default_tier": "a", "default_duration": 2}, {"resolution": "480p"}, (2 * 1, "exact")),
        ({"default_duration": 2}, {"resolution": "720p"}, (2 * 3, "estimate")),
        ({}, {"tier": "b", "duration": 4}, (4 * 3, "exact")),
        ({}, {}, (4 * 3, "estimate")),
    ],
)
def test_an_unknown_default_is_quoted_at_its_dearest(
    facts: dict[str, Any], arguments: dict[str, Any], expected: tuple[float, str]
) -> None:
    """Exact only where the price does not depend on what is unknown."""
    model = make(
        **PER_SECOND,
        **facts,
        resolutions=["480p", "720p"],
        tier_resolutions=BY_TIER,
        credits_per_second=RATES,
    )
    found = quote(model, arguments, TODAY)
    assert (float(found.credits or 0), found.kind) == expected


def test_an_unknown_default_is_dearest_over_all_lists() -> None:
    """A newer list with the cheap cell only does not make the dear one cheap."""
    model = _dated((date(2026, 1, 1), {"1K": 4, "2K": 8}), (date(2026, 6, 1), {"1K": 3}))
    assert quote(model, {}, TODAY) == Quote(Decimal(8), "estimate", "2K 8 credits per image = 8")


@pytest.mark.parametrize(
    ("arguments", "seconds"), [({}, 6), ({"duration": 5}, 5), ({"duration": 8}, 8)]
)
def test_a_left_out_duration_is_billed_as_the_list_says(
    arguments: dict[str, Any], seconds: int
) -> None:
    """`requestDefaultSeconds` counts exactly when duration is left out."""
    assert priced(rich(), "seedance-2-0", arguments) == (seconds * 10, "exact")
    call = {"referenceVideo": CLIP, "referenceVideoDuration": 20, "tier": "pro", **arguments}
    kind = "exact" if seconds < 7 else "at_least"
    assert priced(rich(), "seedance-2-0", call) == ((20 + seconds) * 16, kind)


@pytest.mark.parametrize(
    ("billing", "expected"),
    [
        ("output_only", (5 * 8, "exact")),
        ("reference_plus_output", ((2 + 5) * 8, "exact")),
        ("reference_plus_output_with_minimum_table", (max(2 + 5, 9) * 8, "exact")),
    ],
)
def test_a_continuation_is_billed_by_its_mode(billing: str, expected: tuple[float, str]) -> None:
    """Three modes are known."""
    model = make(
        media_type="video",
        resolutions=["480p"],
        duration=Duration(minimum=4, maximum=15),
        default_duration=5,
        continuation=Continuation.model_validate({"billing": billing, "floor_seconds": {"5": 9}}),
        credits_per_second_with_video={"480p": 8},
    )
    call = {"referenceVideo": CLIP, "referenceVideoDuration": 2, "resolution": "480p"}
    found = quote(model, call, TODAY)
    assert (float(found.credits or 0), found.kind) == expected


def test_a_continuation_has_no_other_price_than_its_own() -> None:
    """Without its rate, neither the rate without a video nor the one figure says anything."""
    call = {"referenceVideo": CLIP, "referenceVideoDuration": 2, "tier": "pro", "resolution": "4K"}
    expected = "no source gives the price of seedance-2-0 with a reference video"
    assert priced(rich(), "seedance-2-0", call) == expected


# --- made explicit --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("models", "model_id", "arguments", "added"),
    [
        (shipped(), "gpt-image-2", {}, {"resolution": "2K", "quality": "low"}),
        (shipped(), "gpt-image-2", {"quality": "high"}, {"resolution": "2K"}),
        (shipped(), "nanobanana-2", {}, {}),
        (shipped(), "midjourney-v8.1", {}, {"resolution": "2K"}),
        (shipped(), "flux2-klein", {}, {}),
        (LIVE, "seedance-2-0", {}, {"tier": "fast", "resolution": "480p", "duration": 5}),
        (LIVE, "seedance-2-0", {"tier": "pro"}, {"resolution": "480p", "duration": 5}),
        (LIVE, "veo-3.1", {"resolution": "1080p"}, {"tier": "fast", "duration": 4}),
        (LIVE, "happyhorse-1.0", {"duration": 3}, {"resolution": "720p"}),
        (rich(), "seedance-2-0", {}, {"tier": "mini", "resolution": "720p", "duration": 5}),
        (rich(), "seedance-2-0", {"tier": "pro"}, {"resolution": "720p", "duration": 5}),
        (rich(), "grok-video", {}, {"resolution": "720p", "duration": 16}),
    ],
)
def test_the_model_and_what_the_price_rests_on_are_made_explicit(
    models: Catalogue, model_id: str, arguments: dict[str, Any], added: dict[str, Any]
) -> None:
    """Nothing else is added, and what was given stays."""
    call = {"prompt": "a cat", **arguments}
    made = explicit(find(models, model_id), call, TODAY)
    assert made == call | {"modelId": model_id} | added, DATED


def _some(model: Model, draw: Callable[..., Any]) -> dict[str, Any]:
    """Return some of the price-relevant settings of a model, all accepted."""
    values: dict[str, tuple[Any, ...]] = {
        "tier": model.tiers,
        "resolution": model.resolutions or (),
        "quality": model.qualities,
        "duration": model.duration.seconds if model.duration else (),
        "referenceVideo": (CLIP,) if model.continuation else (),
    }
    given = {name: draw(st.sampled_from([None, *options])) for name, options in values.items()}
    chosen = {name: value for name, value in given.items() if value is not None}
    if "referenceVideo" in chosen:
        chosen["referenceVideoDuration"] = draw(st.sampled_from([2, 5.5, 15]))
    return {"prompt": "a cat", "modelId": model.id, **chosen}


MODELS = [
    pytest.param(models, model, id=f"{name} {model.id}")
    for name, models in {"shipped": shipped(), "sandbox": LIVE, "rich": rich()}.items()
    for model in models.accepted()
]


@pytest.mark.parametrize(("models", "model"), MODELS)
@settings(deadline=None, max_examples=25)
@given(data=st.data())
def test_an_explicit_call_passes_the_check_and_costs_what_its_quote_says(
    models: Catalogue, model: Model, data: st.DataObject
) -> None:
    """No more than the quote before, explicit for good, and exact unless its source is not."""
    rules = form(model, models.accepted(model.media_type))
    call = _some(model, data.draw)
    call |= (
        {"referenceImages": ["https://images.meigen.ai/a.png"]}
        if model.requires_first_frame
        else {}
    )
    assume(not rules.check(call))
    made = explicit(model, call, TODAY)
    before, after = quote(model, call, TODAY), quote(model, made, TODAY)
    assert rules.check(made) == []
    assert explicit(model, made, TODAY) == made
    assert before.credits is None or 0 < (after.credits or 0) <= before.credits
    sources = [price.kind for price in model.prices if not price.fallback]
    assert after.kind != "estimate" or "estimate" in sources or not sources


# --- cheaper --------------------------------------------------------------------------------------


def _offers(models: Catalogue, model_id: str, arguments: dict[str, Any]) -> list[tuple[str, int]]:
    offers = cheaper(find(models, model_id), arguments, TODAY)
    return [(words, int(found.credits or 0)) for words, found in offers]


@pytest.mark.parametrize(
    ("models", "model_id", "arguments", "offers"),
    [
        (shipped(), "gpt-image-2", {}, [("resolution 1K", 2)]),
        (
            shipped(),
            "gpt-image-2",
            {"resolution": "2K", "quality": "medium"},
            [("resolution 1K", 10), ("quality low", 5)],
        ),
        (shipped(), "gpt-image-2", {"resolution": "1K"}, []),
        (shipped(), "nanobanana-2", {}, []),
        (shipped(), "midjourney-v8.1", {}, [("resolution 1K", 15)]),
        (LIVE, "veo-3.1", {"duration": 6}, [("duration 4", 10)]),
        (
            LIVE,
            "veo-3.1",
            {"duration": 8, "tier": "pro"},
            [("duration 6", 60), ("tier fast", 20), ("duration 4", 40)],
        ),
        # A tier without the resolution that was asked for, or that continues nothing, is no offer.
        (
            rich(),
            "seedance-2-0",
            {"tier": "pro", "resolution": "1080p", "duration": 4},
            [
                ("resolution 720p", 112),
            ],
        ),
        (
            rich(),
            "seedance-2-0",
            {
                "tier": "pro",
                "resolution": "720p",
                "duration": 4,
                "referenceVideo": CLIP,
                "referenceVideoDuration": 6,
            },
            [("tier fast", (6 + 4) * 14)],
        ),
    ],
)
def test_cheaper_settings_are_offered_cheapest_first(
    models: Catalogue, model_id: str, arguments: dict[str, Any], offers: list[tuple[str, int]]
) -> None:
    """Each changes one setting of the same model, and is one that the model accepts."""
    assert _offers(models, model_id, arguments) == offers, DATED


def test_a_known_price_is_offered_where_the_quote_is_unknown() -> None:
    """A person can choose the setting whose price is known."""
    offers = _offers(shipped(), "gpt-image-2", {"resolution": "4K", "quality": "high"})
    assert offers == [("quality medium", 40)], DATED


def test_a_quote_knows_whether_it_bounds_the_charge() -> None:
    """A lower bound and an unknown price hold against no cap."""
    kinds: tuple[QuoteKind, ...] = ("exact", "estimate", "at_least")
    assert [Quote(Decimal(5), kind, "").bounded for kind in kinds] == [True, True, False]
    assert Price.model_validate({"from": TODAY, "kind": "estimate", "source": "live"}).fallback
