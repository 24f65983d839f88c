"""The facts about the models, and how the live list is laid over them."""

from dataclasses import replace
from datetime import date
from decimal import Decimal
from itertools import pairwise
from typing import Any

import pytest
from support.rich_models import DATED, TODAY, rich, rich_body

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue import models as catalogue
from meigen_mcp.catalogue.arguments import form, judge
from meigen_mcp.catalogue.laying import LiveFacts, merge
from meigen_mcp.catalogue.models import (
    Catalogue,
    Continuation,
    Duration,
    Model,
    shipped,
)
from meigen_mcp.catalogue.pricing import quote

PAGE = [
    *("gpt-image-2", "gemini-3-pro-image-preview", "nanobanana-2", "seedream-5.0-lite"),
    *("seedream-4.5", "midjourney-v8.1", "flux2-klein", "z-image-turbo"),
    *("seedance-2-0", "happyhorse-1.0", "veo-3.1"),
]


def laid(*rows: dict[str, Any], today: date = TODAY) -> Catalogue:
    """Lay the entries of a live list over the shipped facts."""
    return live_list.lay(shipped(), {"models": list(rows)}, today) or shipped()


def find(models: Catalogue, model_id: str) -> Model:
    """Return a model that must be there."""
    found = models.find(model_id)
    assert found is not None
    return found


# --- the shipped facts ----------------------------------------------------------------------------


def test_the_listed_models_are_those_of_the_page_in_its_order() -> None:
    """Eight image models and three video models; one is the default."""
    assert [model.id for model in shipped().listed()] == PAGE
    assert [model.id for model in shipped().listed("video")] == PAGE[8:]
    assert [model.id for model in shipped().models if model.default] == ["gpt-image-2"]
    assert shipped().default("video") is None


def test_a_legacy_id_is_accepted_and_not_listed() -> None:
    """midjourney-v7 has the rules of its successor; rhart-1.5 is gone."""
    legacy = [model.id for model in shipped().accepted() if model not in shipped().listed()]
    assert legacy == ["midjourney-v7"]
    old, new = find(shipped(), "midjourney-v7"), find(shipped(), "midjourney-v8.1")
    own = {"id", "name", "legacy", "source", "note"}
    assert old.model_dump(exclude=own) == new.model_dump(exclude=own)
    assert shipped().retired == {"rhart-1.5": "gpt-image-2"}


@pytest.mark.parametrize("model", shipped().models, ids=lambda model: model.id)
def test_each_model_says_where_its_facts_are_from(model: Model) -> None:
    """A source, a date, coherent defaults, and prices in order of their dates."""
    assert model.source
    assert model.source[0] == "page"
    assert model.checked is not None
    assert model.default_resolution in (None, *(model.resolutions or ()))
    assert model.default_quality in (None, *model.qualities)
    assert model.default_tier in (None, *model.tiers)
    assert model.default_duration in (None, *(model.duration or Duration()).seconds)
    assert all(first.since <= second.since for first, second in pairwise(model.prices))
    for price in model.prices:
        tables = price.model_dump(exclude={"since", "kind", "source"}, exclude_none=True)
        assert len(tables) == 1
        assert price.source in {*model.source, "report-zh"}


@pytest.mark.parametrize(
    ("model_id", "facts"),
    [
        (
            "gpt-image-2",
            {"resolutions": ("1K", "2K", "4K"), "qualities": ("low", "medium", "high")},
        ),
        ("seedream-5.0-lite", {"resolutions": ("2K", "3K"), "max_reference_images": 5}),
        ("nanobanana-2", {"resolutions": ("1K", "2K", "3K", "4K"), "ratios": None}),
        ("midjourney-v8.1", {"max_reference_images": 1, "images_per_call": 4}),
        ("z-image-turbo", {"max_reference_images": 0, "options": {}}),
        ("seedance-2-0", {"duration": Duration(minimum=4, maximum=15), "default_duration": 5}),
        ("seedance-2-0", {"adaptive": True, "tiers": ("fast", "pro"), "default_tier": "fast"}),
        ("seedance-2-0", {"continuation": Continuation()}),
        ("happyhorse-1.0", {"duration": Duration(minimum=3, maximum=15), "default_duration": 5}),
        ("happyhorse-1.0", {"max_reference_images": 1, "tiers": (), "continuation": None}),
        ("veo-3.1", {"duration": Duration(values=(4, 6, 8)), "default_duration": 4}),
        ("veo-3.1", {"tiers": ("fast", "pro"), "continuation": None, "adaptive": False}),
    ],
)
def test_the_shipped_facts_are_those_of_the_page(model_id: str, facts: dict[str, Any]) -> None:
    """Spot checks against the official page."""
    model = find(shipped(), model_id)
    assert {name: getattr(model, name) for name in facts} == facts


MINIMAL = """
[media.image]
resolutions = ["1K"]
[retired]
[[models]]
id = "x"
media_type = "image"
"""


@pytest.mark.parametrize(
    "line",
    [
        'colour = "red"',
        "max_references = 1",
        "resolutions = 1",
        'media_type = "audio"',
        '[[models.prices]]\nfrom = 2026-01-01\nkind = "exact"\nsource = "page"\nprice = 5',
        '[[models.prices]]\nfrom = 2026-01-01\nkind = "sure"\nsource = "page"',
        'options.iw = { type = "number", max = 2 }',
        '[[model]]\nid = "y"',
    ],
)
def test_a_key_that_the_catalogue_does_not_know_is_refused(line: str) -> None:
    """A misspelt fact must not vanish."""
    text = MINIMAL.replace('media_type = "image"\n', "") if "media_type" in line else MINIMAL
    with pytest.raises((ValueError, KeyError)):
        catalogue.read(f"{text}\n{line}")
    assert [model.id for model in catalogue.read(MINIMAL).models] == ["x"]


# --- the live list --------------------------------------------------------------------------------


def test_what_a_live_row_says_overrides_field_by_field() -> None:
    """Only the fields that it gives change; everything else stays as shipped."""
    before = find(shipped(), "gpt-image-2")
    row = {"id": "gpt-image-2", "max_reference_images": 3, "extra_config": {"qualities": ["low"]}}
    after = find(laid(row), "gpt-image-2")
    assert after == before.model_copy(update={"max_reference_images": 3, "qualities": ("low",)})


@pytest.mark.parametrize(
    "row", [{"id": "gpt-image-2"}, {"id": "gpt-image-2", "extra_config": None}]
)
def test_what_is_missing_erases_nothing(row: dict[str, Any]) -> None:
    """Neither a missing field nor a missing model."""
    assert laid(row) == shipped()
    assert laid() == shipped()


def test_the_facts_of_a_continuation_are_merged_one_by_one() -> None:
    """A list without the floor keeps the floor that was known."""
    known = Continuation(floor_seconds={"5": Decimal(8)})
    model = find(shipped(), "seedance-2-0").model_copy(update={"continuation": known})
    row = LiveFacts("seedance-2-0", facts={"continuation": Continuation(tiers=("pro",))})
    merged = merge(replace(shipped(), models=(model,)), [row], TODAY).models[0]
    assert merged.continuation == known.model_copy(update={"tiers": ("pro",)})


def test_a_hidden_row_is_no_model_but_a_legacy_id_stays_accepted() -> None:
    """`hidden` rows exist for old clients."""
    hidden = {"extra_config": {"hidden": True}}
    models = laid({"id": "midjourney-v7"} | hidden, {"id": "seedance"} | hidden)
    assert models.listed() == shipped().listed()
    assert models.find("midjourney-v7") == shipped().find("midjourney-v7")
    assert models.unavailable == {"seedance": "MeiGen no longer lists it"}


def test_a_model_with_invalid_capabilities_is_refused_with_the_reason() -> None:
    """Fail closed: neither listed nor usable, and the refusal says why."""
    models = laid({"id": "veo-3.1", "capabilities": {"video": {"valid": False}}})
    assert [model.id for model in models.listed("video")] == ["seedance-2-0", "happyhorse-1.0"]
    call = {"prompt": "a cat", "modelId": "veo-3.1"}
    assert [str(problem) for problem in judge("generate_video", models, call)[1]] == [
        'modelId: "veo-3.1" cannot be used: MeiGen reports its settings as unavailable right now;'
        " use seedance-2-0 or happyhorse-1.0"
    ]


def test_a_retired_model_does_not_come_back() -> None:
    """`?active=false` lists it still."""
    assert laid({"id": "rhart-1.5", "credits_per_generation": 2}) == shipped()


def test_a_model_that_only_the_live_list_has_is_a_full_member() -> None:
    """It gets a schema, checks and a quote."""
    model = find(rich(), "grok-video")
    assert rich().listed("video")[-1] == model
    rules = form(model, rich().accepted("video"))
    assert rules.schema()["required"] == ["prompt", "modelId", "referenceImages"]
    call = {"prompt": "a cat", "modelId": "grok-video", "duration": 6, "tier": "pro"}
    assert [str(problem) for problem in rules.check(call)] == [
        "tier: grok-video takes no tier, so it would have no effect; leave it out, or use"
        " seedance-2-0 or veo-3.1",
        "duration: 6 is not allowed; use 4, 8, 12 or 16",
        "referenceImages: missing; give at most 1, each a public https URL",
    ]
    assert str(quote(model, {"duration": 8, "resolution": "480p"}, TODAY).credits) == "64", DATED


def test_a_default_that_is_no_longer_accepted_is_forgotten() -> None:
    """The live list narrowed the values without giving the new default."""
    row = {
        "id": "seedance-2-0",
        "extra_config": {"tiers": ["mini", "pro"], "durations": [8, 12], "defaultResolution": "4K"},
    }
    model = find(laid(row), "seedance-2-0")
    defaults = (model.default_tier, model.default_duration, model.default_resolution)
    assert defaults == (None, None, None)


def test_live_prices_follow_the_shipped_ones_and_the_one_figure_precedes_them() -> None:
    """The last list that has the cell wins."""
    sources = [price.source for price in find(rich(), "gpt-image-2").prices]
    assert sources == ["live", "client-05", "report-zh", "live"]
    kinds = [price.kind for price in find(rich(), "gpt-image-2").prices]
    assert kinds == ["estimate", "estimate", "exact", "exact"]


# --- the allow-list and the digest ----------------------------------------------------------------


def test_an_allow_list_leaves_only_its_models() -> None:
    """An empty list allows all; what is left out is refused with the reason."""
    assert shipped().only([]) is shipped()
    few = shipped().only(["veo-3.1", "z-image-turbo", "no-such-model"])
    assert [model.id for model in few.listed()] == ["z-image-turbo", "veo-3.1"]
    assert few.default("image") is None
    call = {"prompt": "a cat", "modelId": "nanobanana-2"}
    assert [str(problem) for problem in judge("generate_image", few, call)[1]] == [
        'modelId: "nanobanana-2" cannot be used: MEIGEN_MODELS does not list it; use z-image-turbo'
    ]
    assert [str(p) for p in judge("generate_image", few, {"prompt": "a cat"})[1]] == [
        "modelId: missing; use z-image-turbo"
    ]


def test_without_any_model_of_a_medium_the_refusal_says_so() -> None:
    """An allow-list of images leaves no video."""
    few = shipped().only(["z-image-turbo"])
    assert [str(p) for p in judge("generate_video", few, {"prompt": "a cat"})[1]] == [
        "modelId: missing; no model of this kind is available; see list_models"
    ]


def test_the_digest_changes_with_the_facts_only() -> None:
    """Another day is no other fact; another price or model is."""
    rows = rich_body()["models"]
    same = {
        laid(*rows).digest,
        rich().digest,
        laid(*rows, today=date(2027, 1, 1)).digest,
        laid(*rows, {"id": "old", "extra_config": {"hidden": True}}).digest,
    }
    changed = {
        shipped().digest,
        shipped().only(PAGE[1:]).digest,
        laid(*rows[1:]).digest,
        laid(*rows, {"id": "veo-3.1", "name": "Veo 3.2"}).digest,
        laid(*rows, {"id": "fresh-image", "credits_per_generation": 8}).digest,
    }
    assert (len(same), len(changed), same & changed) == (1, 5, set())
