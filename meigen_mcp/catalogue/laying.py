"""How the live list is laid over the shipped facts, field by field."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from typing import Any

from meigen_mcp.catalogue.models import LIVE, Catalogue, Model, Price, PriceKind, Table


def merge(
    catalogue: Catalogue, rows: Iterable["LiveFacts"], today: date, left_out: int = 0
) -> Catalogue:
    """Lay the live list over a catalogue, field by field.

    Args:
        catalogue: the shipped facts.
        rows: what the live list says of each model (see `listing.read`).
        today: the date from which live prices count.
        left_out: how many models of the live list are not among the rows.
    """
    models = {m.id: m for m in catalogue.models}
    unavailable = dict(catalogue.unavailable)
    for row in rows:
        old = models.get(row.id)
        if row.unavailable:
            if old is None or not old.legacy:
                unavailable[row.id] = row.unavailable
                models.pop(row.id, None)
            continue
        if row.id in catalogue.retired:
            continue
        base = old or catalogue.facts.get(row.id) or Model(id=row.id, source=(LIVE,))
        facts = dict(row.facts)
        if (new := facts.get("continuation")) is not None and base.continuation is not None:
            said = {name: getattr(new, name) for name in new.model_fields_set}
            facts["continuation"] = base.continuation.model_copy(update=said)
        flat = {} if row.flat_price is None else {"credits_per_call": row.flat_price}
        prices = (
            *_prices(flat, today, "estimate"),
            *base.prices,
            *_prices(row.price, today, "exact"),
        )
        laid = base.model_copy(update={**facts, "prices": prices})
        models[row.id] = _coherent(_in_its_version(laid))
    return replace(
        catalogue,
        models=tuple(models.values()),
        unavailable=unavailable,
        left_out=left_out,
    )


@dataclass(frozen=True, slots=True)
class LiveFacts:
    """What the live list says of one model: only what it says.

    Attributes:
        facts: fields of `Model`.
        price: tables of `Price` from `extra_config`, which win over the shipped ones.
        flat_price: `credits_per_generation`, an estimate that counts where nothing else does.
        unavailable: why the model must not be offered; empty when it may be.
    """

    id: str
    facts: Mapping[str, Any] = field(default_factory=dict)
    price: Mapping[str, Table] = field(default_factory=dict)
    flat_price: Decimal | None = None
    unavailable: str = ""


def _in_its_version(model: Model) -> Model:
    """Add what counts in the version by which the list calls a model."""
    for word, version in model.versions.items():
        if word in model.name:
            options = {**model.options, **version.options}
            said = {"options": options, "ignored_options": version.ignored}
            model = model.model_copy(update=said)
    return model


def _coherent(model: Model) -> Model:
    """Forget a default that the model does not accept: one of the two is out of date."""
    accepted: Mapping[str, tuple[Any, ...] | None] = {
        "default_resolution": model.resolutions,
        "default_quality": model.qualities,
        "default_tier": model.tiers,
        "default_variant": model.variants,
        "default_duration": model.duration.seconds if model.duration else None,
    }
    gone = {
        name: None
        for name, values in accepted.items()
        if values is not None and getattr(model, name) not in values
    }
    return model.model_copy(update=gone)


def _prices(tables: Mapping[str, Table], today: date, kind: PriceKind) -> tuple[Price, ...]:
    if not tables:
        return ()
    return (Price.model_validate({"from": today, "kind": kind, "source": LIVE, **tables}),)
