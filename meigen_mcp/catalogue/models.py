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

from meigen_mcp.wording import nearest

MediaType = Literal["image", "video"]
PriceKind = Literal["exact", "estimate"]
Table = TypeAliasType("Table", "Decimal | dict[str, Table]")
"""Credits, or credits by tier, resolution, quality or duration, nested in any order."""


LIVE = "live"
"""The source of what MeiGen's own list says."""
DRAFT_RESOLUTION = "480p"
"""Of a draft (release notes 3.2.0 of the official client); its final is in 1080p."""


class _Facts(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", populate_by_name=True)


class Price(_Facts):
    """A dated price list; the name of a table says its unit.

    Attributes:
        since: the first day on which it counts; of MeiGen's own list the day on which it was read.
    """

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
        return self.source == LIVE and self.kind == "estimate"


class Option(_Facts):
    """A member of `niji7Options`."""

    type: Literal["number", "boolean", "choice", "reference", "style_code", "text"]
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


class Version(_Facts):
    """What counts once the live list calls a model by another version, behind the same id.

    Attributes:
        options: members that are new, or are judged anew.
        ignored: members that do nothing any more, each with the reason.
    """

    options: dict[str, Option] = {}
    ignored: dict[str, str] = {}


class Continuation(_Facts):
    """How a model continues a reference video.

    Attributes:
        minimum_seconds: shortest reference clip.
        maximum_seconds: longest reference clip.
        most: how many clips a call may have.
        total_seconds: how long several are together at the most; None: as long as one.
        hosts: where clips may lie; None: the list forbids none.
        upload_bytes: how large a clip may be that is uploaded; None: the list announces no upload.
        least_rate, most_rate: frames a second; None: the list says nothing of them.
        codecs: how its pictures may be coded; None: the list says nothing of it.
        tiers: the tiers that take a reference video; None: all.
        tier_resolutions: the resolutions by tier with a reference video; None: all.
        billing: which seconds are billed.
        floor_seconds: the least billable seconds by output duration; None: unknown.
        probes: MeiGen measures the clips on its own hosts itself.
    """

    minimum_seconds: float | None = None
    maximum_seconds: float | None = None
    most: int = 1
    total_seconds: float | None = None
    hosts: tuple[str, ...] | None = None
    upload_bytes: int | None = None
    least_rate: float | None = None
    most_rate: float | None = None
    codecs: tuple[str, ...] | None = None
    tiers: tuple[str, ...] | None = None
    tier_resolutions: dict[str, tuple[str, ...]] | None = None
    billing: Literal[
        "output_only", "reference_plus_output", "reference_plus_output_with_minimum_table"
    ] = "reference_plus_output_with_minimum_table"
    floor_seconds: dict[str, Decimal] | None = None
    probes: bool = False

    @property
    def longest(self) -> float | None:
        """How long all clips of a call are together at the most."""
        if self.most > 1 and self.total_seconds is not None:
            return self.total_seconds
        bounds = [b for b in (self.maximum_seconds, self.total_seconds) if b is not None]
        return min(bounds, default=None)


class Sounds(_Facts):
    """How a model takes reference sounds, whose seconds are never billed.

    Attributes:
        most: how many sounds a call may have.
        hosts: where sounds may lie; None: the list forbids none.
        upload_bytes: how large a sound may be that is uploaded; None: the list announces no upload.
        formats: which files are taken, such as wav; None: the list says nothing of it.
        requires_visual: they are taken only beside a picture or a clip.
    """

    minimum_seconds: float | None = None
    maximum_seconds: float | None = None
    most: int = 1
    total_seconds: float | None = None
    hosts: tuple[str, ...] | None = None
    upload_bytes: int | None = None
    formats: tuple[str, ...] | None = None
    requires_visual: bool = False


class Edits(_Facts):
    """The lengths of the clips that a model edits; an edit keeps the length of its clip."""

    minimum_seconds: float
    maximum_seconds: float


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
        ignored_options: members of earlier versions that do nothing now, each with the reason.
        versions: what counts once the live list's name of the model says so, by that word.
        variants: accepted values of `modelVariant`; empty: the list names none.
        strips_flags: Midjourney's own flags are taken out of its prompt.
        tiers: empty: the model has none.
        billed_default_seconds: seconds billed when `duration` is left out, where that differs.
        continuation: None: the model takes no reference video.
        sounds: None: the list announces no reference sounds.
        content_images: how many `contentReferenceImages` it takes; None: the list names none.
        edits: None: it does not edit clips.
        drafts: the list announces paid previews in 480p, from which a final is rendered.
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
    ignored_options: dict[str, str] = {}
    versions: dict[str, Version] = {}
    variants: tuple[str, ...] = ()
    default_variant: str | None = None
    strips_flags: bool = False
    images_per_call: int = 1
    duration: Duration | None = None
    default_duration: int | None = None
    billed_default_seconds: int | None = None
    tiers: tuple[str, ...] = ()
    default_tier: str | None = None
    continuation: Continuation | None = None
    sounds: Sounds | None = None
    content_images: int | None = None
    edits: Edits | None = None
    drafts: bool = False
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
        left_out: how many models of the live list are not here, since it is too long or too odd.
        facts: what sources say of models that are not here before the live list names them.
    """

    models: tuple[Model, ...]
    retired: Mapping[str, str] = field(default_factory=dict)
    unavailable: Mapping[str, str] = field(default_factory=dict)
    left_out: int = 0
    facts: Mapping[str, Model] = field(default_factory=dict)

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
        names = {m.id: m for m in self.listed(media_type)}  # first: a name may be of another id
        names |= {m.name: m for m in self.listed(media_type) if m.name}
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
    return read(files("meigen_mcp.catalogue").joinpath("models.toml").read_text(encoding="utf-8"))


def read(text: str) -> Catalogue:
    """Read a catalogue in the form of `models.toml`; a key that it does not know is an error."""
    raw = tomllib.loads(text, parse_float=Decimal)
    if strange := raw.keys() - {"media", "retired", "models", "later"}:
        raise ValueError(f"models.toml has unknown keys: {', '.join(sorted(strange))}")
    models: dict[str, Model] = {}
    for entry in raw["models"]:
        base: dict[str, Any] = {}
        if "like" in entry:
            base = models[entry.pop("like")].model_dump(by_alias=True, exclude_unset=True)
        medium = raw["media"][entry["media_type"]]
        models[entry["id"]] = Model.model_validate(medium | base | entry)
    retired = {old: fact["use"] for old, fact in raw["retired"].items()}
    later = {entry["id"]: Model.model_validate(entry) for entry in raw.get("later", ())}
    return Catalogue(tuple(models.values()), retired, facts=later)
