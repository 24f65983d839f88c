"""The models: shipped facts from `models.toml`, merged with the live `GET /api/models`.

What no source states is None or empty, and then the API decides. Nothing here does I/O except
reading the shipped file.
"""

import hashlib
import tomllib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from datetime import date
from decimal import Decimal
from functools import cache, cached_property
from importlib.resources import files
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from typing_extensions import TypeAliasType

from meigen_mcp.rules import nearest

MediaType = Literal["image", "video"]
PriceKind = Literal["exact", "estimate"]
Table = TypeAliasType("Table", "Decimal | dict[str, Table]")
"""Credits, or credits by tier, resolution, quality or duration, nested in any order."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Price(_Facts):
    """A dated price list; the name of a table says its unit."""

    since: date = Field(alias="from")
    kind: PriceKind
    source: str
    credits_per_image: Table | None = None
    credits_per_call: Table | None = None
    credits_per_second: Table | None = None
    credits_per_second_with_video: Table | None = None

    @property
    def fallback(self) -> bool:
        """Whether it is the live list's one figure, which counts where nothing else does."""
        return self.source == "live" and self.kind == "estimate"


class Option(_Facts):
    """A member of `niji7Options`."""

    type: Literal["number", "boolean", "choice", "reference"]
    minimum: int | float | None = None
    maximum: int | float | None = None
    values: tuple[str, ...] = ()
    default: str | int | float | bool | None = None


class Duration(_Facts):
    """The output lengths of a video model, in whole seconds: a range or a list."""

    minimum: int = 0
    maximum: int = 0
    values: tuple[int, ...] = ()

    @property
    def seconds(self) -> tuple[int, ...]:
        """Every accepted length, shortest first."""
        return self.values or tuple(range(self.minimum, self.maximum + 1))


class Continuation(_Facts):
    """How a model continues a reference video.

    Attributes:
        minimum_seconds: shortest reference clip.
        maximum_seconds: longest reference clip.
        tiers: the tiers that take a reference video; None: all.
        tier_resolutions: the resolutions by tier with a reference video; None: all.
        billing: which seconds are billed.
        floor_seconds: the least billable seconds by output duration; None: unknown.
    """

    minimum_seconds: float | None = None
    maximum_seconds: float | None = None
    tiers: tuple[str, ...] | None = None
    tier_resolutions: dict[str, tuple[str, ...]] | None = None
    billing: Literal[
        "output_only", "reference_plus_output", "reference_plus_output_with_minimum_table"
    ] = "reference_plus_output_with_minimum_table"
    floor_seconds: dict[str, Decimal] | None = None


class Model(_Facts):
    """What is known of one model; None means that no source says it.

    Attributes:
        ratios: accepted aspect ratios besides `auto`; None: unknown.
        adaptive: takes `adaptive` together with a reference.
        resolutions: accepted resolutions; None: unknown.
        tier_resolutions: the resolutions by tier, where they differ.
        qualities: accepted qualities; empty: the model would ignore the argument.
        max_reference_images: 0 for none; None: unknown.
        reference_types: accepted values; empty: the model would ignore the argument.
        options: members of `niji7Options`; empty: the model would ignore the argument.
        tiers: empty: the model has none.
        billed_default_seconds: seconds billed when `duration` is left out, where that differs.
        continuation: None: the model takes no reference video.
        prices: oldest first; the last that has the cell wins.
        typical_seconds: how long a generation usually takes, from and to.
        legacy: still accepted, no longer listed.
    """

    id: str
    name: str = ""
    provider: str = ""
    media_type: MediaType = "image"
    default: bool = False
    ratios: tuple[str, ...] | None = None
    adaptive: bool = False
    resolutions: tuple[str, ...] | None = None
    tier_resolutions: dict[str, tuple[str, ...]] | None = None
    default_resolution: str | None = None
    qualities: tuple[str, ...] = ()
    default_quality: str | None = None
    max_reference_images: int | None = None
    requires_first_frame: bool = False
    reference_types: tuple[str, ...] = ()
    default_reference_type: str | None = None
    options: dict[str, Option] = {}
    images_per_call: int = 1
    duration: Duration | None = None
    default_duration: int | None = None
    billed_default_seconds: int | None = None
    tiers: tuple[str, ...] = ()
    default_tier: str | None = None
    continuation: Continuation | None = None
    prices: tuple[Price, ...] = ()
    typical_seconds: tuple[float, float] | None = None
    tags: tuple[str, ...] = ()
    legacy: bool = False
    source: tuple[str, ...] = ()
    checked: date | None = None
    note: str = ""

    def __hash__(self) -> int:
        """Hash the id alone: the tables of facts have no hash."""
        return hash(self.id)

    @property
    def expected_seconds(self) -> float | None:
        """The middle of the typical time."""
        return sum(self.typical_seconds) / 2 if self.typical_seconds else None

    def resolutions_of(self, tier: str | None, *, continues: bool = False) -> tuple[str, ...]:
        """Return the resolutions of a tier, as far as they are known.

        Args:
            tier: the tier of the call, or its default.
            continues: whether the call continues a reference video.
        """
        known = self.resolutions or ()
        clip = self.continuation if continues else None
        for by_tier in (self.tier_resolutions, clip and clip.tier_resolutions):
            if by_tier and tier in by_tier:
                known = tuple(r for r in known or by_tier[tier] if r in by_tier[tier])
        return known


@dataclass(frozen=True)  # without slots: the digest is kept
class Catalogue:
    """All models that a call may name.

    Attributes:
        models: in the order of the official page, then of the live list.
        retired: ids that are gone, with the id to use instead.
        unavailable: ids that the live list hides or cannot describe, with the reason.
    """

    models: tuple[Model, ...]
    retired: Mapping[str, str] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)

    def listed(self, media_type: MediaType | None = None) -> tuple[Model, ...]:
        """Return the models to show a person."""
        return tuple(m for m in self.accepted(media_type) if not m.legacy)

    def accepted(self, media_type: MediaType | None = None) -> tuple[Model, ...]:
        """Return the models that a call may name, legacy ids included."""
        return tuple(m for m in self.models if media_type in (None, m.media_type))

    def find(self, model_id: str) -> Model | None:
        """Return the model with this id."""
        return next((m for m in self.models if m.id == model_id), None)

    def guess(self, model_id: Any, media_type: MediaType | None = None) -> Model | None:
        """Return the model that was probably meant by a wrong id or by a display name."""
        names = {m.name: m for m in self.listed(media_type) if m.name}
        names |= {m.id: m for m in self.listed(media_type)}
        close = nearest(model_id, names)
        return names[close] if close else None

    def default(self, media_type: MediaType) -> Model | None:
        """Return the platform's default model of a medium; videos have none."""
        return next((m for m in self.accepted(media_type) if m.default), None)

    def only(self, allowed: Iterable[str]) -> "Catalogue":
        """Return the catalogue of an allow-list; an empty one allows every model."""
        ids = set(allowed)
        if not ids:
            return self
        why = "MEIGEN_MODELS does not list it"
        return replace(
            self,
            models=tuple(m for m in self.models if m.id in ids),
            unavailable={**{m.id: why for m in self.models if m.id not in ids}, **self.unavailable},
        )

    @cached_property
    def digest(self) -> str:
        """A short fingerprint of all facts, so that a changed surface is noticed."""
        # A live price is dated by the day on which it was read, which is no fact about the model.
        undated: Any = {"prices": {"__all__": {"since"}}}
        text = "\n".join(m.model_dump_json(exclude=undated) for m in self.models)
        return hashlib.sha256(text.encode()).hexdigest()[:12]


@cache
def shipped() -> Catalogue:
    """Read the facts that come with the package."""
    return read(files("meigen_mcp").joinpath("models.toml").read_text(encoding="utf-8"))


def read(text: str) -> Catalogue:
    """Read a catalogue in the form of `models.toml`; a key that it does not know is an error."""
    raw = tomllib.loads(text, parse_float=Decimal)
    if strange := raw.keys() - {"media", "retired", "models"}:
        raise ValueError(f"models.toml has unknown keys: {', '.join(sorted(strange))}")
    models: dict[str, Model] = {}
    for entry in raw["models"]:
        base: dict[str, Any] = {}
        if "like" in entry:
            base = models[entry.pop("like")].model_dump(by_alias=True, exclude_unset=True)
        medium = raw["media"][entry["media_type"]]
        models[entry["id"]] = Model.model_validate(medium | base | entry)
    retired = {old: fact["use"] for old, fact in raw["retired"].items()}
    return Catalogue(tuple(models.values()), retired)


def merge(catalogue: Catalogue, rows: Iterable["Row"], today: date) -> Catalogue:
    """Lay the live list over a catalogue, field by field.

    Args:
        catalogue: the shipped facts.
        rows: what the live list says of each model (see `listing.read`).
        today: the date from which live prices count.
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
        base = old or Model(id=row.id, source=("live",))
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
        models[row.id] = _coherent(base.model_copy(update={**facts, "prices": prices}))
    return replace(catalogue, models=tuple(models.values()), unavailable=unavailable)


@dataclass(frozen=True, slots=True)
class Row:
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


def _coherent(model: Model) -> Model:
    """Forget a default that the model does not accept: one of the two is out of date."""
    accepted: Mapping[str, tuple[Any, ...] | None] = {
        "default_resolution": model.resolutions,
        "default_quality": model.qualities,
        "default_tier": model.tiers,
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
    return (Price.model_validate({"from": today, "kind": kind, "source": "live", **tables}),)
