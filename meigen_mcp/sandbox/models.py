"""The sandbox's own `GET /api/models`: shipped facts, with the gaps filled by `invented.toml`."""

import math
import tomllib
from collections.abc import Mapping, Sequence
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from meigen_mcp.catalogue.assumed import name_of
from meigen_mcp.catalogue.models import Continuation, Model, Sounds, Table, shipped
from meigen_mcp.catalogue.pricing import quote

Era = Literal["2026-05", "2026-09", "2026-11"]
JSON = dict[str, Any]


def _toml(name: str) -> JSON:
    text = files("meigen_mcp.sandbox").joinpath(name).read_text(encoding="utf-8")
    return tomllib.loads(text, parse_float=Decimal)


INVENTED = _toml("invented.toml")
NOVEMBER = _toml("november.toml")
# Legacy ids and the model that answers them (official page, 2026-05).
ANSWERED_BY: Mapping[str, str] = {"midjourney-v7": "midjourney-v8.1"}


@cache
def models(era: Era = "2026-09") -> tuple[Model, ...]:
    """Return the models without the legacy ones, with nothing left unknown."""
    known = {model.id: _completed(model) for model in shipped().listed()}
    if era == "2026-11":
        for model_id, invented in NOVEMBER["models"].items():
            base = known.get(model_id) or shipped().facts.get(model_id)
            known[model_id] = _laid(base or Model(id=model_id), invented)
    return tuple(known.values())


def _completed(model: Model) -> Model:
    invented = dict(INVENTED["models"].get(model.id, {}))
    floor = invented.pop("floor_seconds", None)
    if model.continuation is not None:
        clip = INVENTED["reference_video"]
        invented["continuation"] = Continuation(
            minimum_seconds=clip["minimum_seconds"],
            maximum_seconds=clip["maximum_seconds"],
            floor_seconds=floor,
        ).model_dump()
    return _laid(model, invented)


def _laid(model: Model, invented: Mapping[str, Any]) -> Model:
    """Lay what is invented over what is known of a model."""
    facts = model.model_dump(by_alias=True)
    said = {name: invented[name] for name in invented if name != "invented"}
    said["prices"] = [*facts["prices"], *said.get("prices", [])]
    if "continuation" in said:
        said["continuation"] = (facts["continuation"] or {}) | said["continuation"]
    return Model.model_validate({**facts, **said})


def seconds_range(model: Model) -> tuple[float, float]:
    """Return how long a job takes, from and to, before the speed of the sandbox is applied."""
    low, high = model.typical_seconds or (30, 30)
    # A single figure is a middle; real jobs scatter.
    return (low, high) if low < high else (0.85 * low, 1.15 * high)


def percentile(seconds: tuple[float, float], share: float, speed: float) -> float:
    """Return the time within which a share of the jobs ends, in scaled seconds."""
    low, high = seconds
    return round(speed * (low + share * (high - low)), 3)


def body(era: Era, speed: float, today: date, *, inactive: bool = False) -> JSON:
    """Return the body of `GET /api/models`.

    Args:
        era: the generation of the API; before 2026-09 there are no `capabilities`.
        speed: by which the typical times are multiplied.
        today: the date of the prices.
        inactive: also list what can no longer be used, as `?active=false` does.
    """
    entries = [_entry(model, era, speed, today) for model in models(era)]
    for old, new in ANSWERED_BY.items():
        row = next(entry for entry in entries if entry["id"] == new)
        name = next(model.name for model in shipped().accepted() if model.id == old)
        entries.append(
            {
                **row,
                "id": old,
                "name": name,
                "extra_config": {**row["extra_config"], "hidden": True},
            }
        )
    if inactive:
        entries += [_inactive(old, fact) for old, fact in INVENTED["inactive"].items()]
    return {"success": True, "models": entries}


def price(model: Model, settings: Mapping[str, Any], today: date) -> int:
    """Return the charge in whole credits; settings that are left out are the model's defaults."""
    found = quote(model, settings, today).credits
    if found is None:
        raise LookupError(f"the sandbox has no price of {model.id} for {settings} on {today}")
    return math.ceil(found)


def _inactive(model_id: str, fact: Mapping[str, Any]) -> JSON:
    return {
        "id": model_id,
        "name": fact["name"],
        "credits_per_generation": fact["credits"],
        "media_type": "image",
        "active": False,
        "extra_config": {"hidden": True},
    }


def _entry(model: Model, era: Era, speed: float, today: date) -> JSON:
    entry: JSON = {
        "id": model.id,
        "name": model.name,
        "provider": model.provider,
        "description": None,
        "credits_per_generation": price(model, {}, today),
        "supports_4k": "4K" in (model.resolutions or ()),
        "supported_ratios": list(model.ratios or ()),
        "max_reference_images": model.max_reference_images,
        "media_type": model.media_type,
        "extra_config": _extra_config(model, today),
        "estimatedTiming": {
            "p50": percentile(seconds_range(model), 0.5, speed),
            "p90": percentile(seconds_range(model), 0.9, speed),
        },
    }
    if model.media_type == "video" and era != "2026-05":
        entry["capabilities"] = {"video": _capabilities(model)}
        if model.drafts:
            entry["capabilities"]["draft"] = {"enabled": True}
    return entry


def _extra_config(model: Model, today: date) -> JSON:
    per_second = _table(model, "credits_per_second")
    with_video = _table(model, "credits_per_second_with_video")
    clip = model.continuation
    said = {
        "resolutions": list(model.resolutions or ()),
        "defaultResolution": model.default_resolution,
        "qualities": list(model.qualities),
        "defaultQuality": model.default_quality,
        "pricing": _by_quality(model, today) or _by_resolution(model),
        name_of("variants"): list(model.variants),
        name_of("default_variant"): model.default_variant,
        "tierResolutions": model.tier_resolutions and _lists(model.tier_resolutions),
        "tiers": list(model.tiers),
        "defaultTier": model.default_tier,
        "durations": _durations(model),
        "defaultDuration": model.default_duration,
        "pricingPerSec": per_second,
        # The page gives one row of rates for both tiers; the field is keyed by tier.
        "pricingPerSecWithVideo": with_video
        if {*model.tiers} & {*(with_video or ())}
        else {tier: with_video for tier in (clip and clip.tiers) or model.tiers if with_video},
        "pricingPerCall": _table(model, "credits_per_call"),
        "minBillableTable": clip and clip.floor_seconds and _plain(clip.floor_seconds),
        "supportsReferenceVideo": clip is not None if model.media_type == "video" else None,
    }
    return {name: value for name, value in said.items() if value not in (None, [], {})}


def _capabilities(model: Model) -> JSON:
    durations = _durations(model)
    clip = model.continuation
    output: JSON = {"kind": "enum", "values": durations}
    if model.duration and not model.duration.values:
        output = {"kind": "range", "min": durations[0], "max": durations[-1], "step": 1}
    billing: JSON = {
        "mode": "per_call" if _table(model, "credits_per_call") else "per_second",
        "requestDefaultSeconds": model.default_duration,
    }
    if clip:
        billing["referenceSeconds"] = clip.billing
    said: JSON = {
        "valid": True,
        "outputDuration": {**output, "default": model.default_duration},
        "referenceVideo": _clips(model),
        "referenceAudio": _sounds(model.sounds),
        "billing": billing,
        "requiresFirstFrame": model.requires_first_frame,
    }
    if model.content_images:
        limits = {"enabled": True, "maxCount": model.content_images}
        said[name_of("content_images")] = limits
    return said


def _clips(model: Model) -> JSON:
    clip = model.continuation
    by_tier = (clip and clip.tier_resolutions) or {
        tier: model.resolutions_of(tier) for tier in model.tiers if clip
    }
    return {
        "enabled": clip is not None,
        **_reference_limits(clip),
        "tiers": list(clip.tiers or model.tiers) if clip else [],
        "resolutionsByTier": _lists(by_tier),
        "maxUploadBytes": INVENTED["reference_video"]["upload_bytes"] if clip else 0,
        **_hosts(clip),
        **_pictures(clip),
    }


def _sounds(sounds: Sounds | None) -> JSON:
    return {
        "enabled": sounds is not None,
        **_reference_limits(sounds),
        "maxUploadBytes": INVENTED["reference_video"]["upload_bytes"] if sounds else 0,
        "formats": ["wav", "mp3"] if sounds else [],
        "requiresVisualReference": sounds is not None and sounds.requires_visual,
        **_hosts(sounds),
    }


def _reference_limits(limits: Continuation | Sounds | None) -> JSON:
    if limits is None:
        return {"minSeconds": 0, "maxSeconds": 0, "maxCount": 0, "maxTotalSeconds": 0}
    longest = Decimal(str(limits.maximum_seconds))
    return {
        "minSeconds": _plain(Decimal(str(limits.minimum_seconds))),
        "maxSeconds": _plain(longest),
        "maxCount": limits.most,
        "maxTotalSeconds": _plain(Decimal(str(limits.total_seconds or longest))),
    }


def _pictures(clip: Continuation | None) -> JSON:
    if clip is None or clip.most_rate is None:
        return {}
    return {
        name_of("least_rate"): clip.least_rate,
        name_of("most_rate"): clip.most_rate,
        name_of("codecs"): list(clip.codecs or ()),
    }


def _hosts(limits: Continuation | Sounds | None) -> JSON:
    return {name_of("hosts"): list(limits.hosts)} if limits and limits.hosts else {}


def _lists(by_name: Mapping[str, Sequence[str]]) -> JSON:
    return {name: list(values) for name, values in by_name.items()}


def _durations(model: Model) -> list[int]:
    known = model.duration
    if known is None:
        return []
    return list(known.values or range(known.minimum, known.maximum + 1))


def _by_resolution(model: Model) -> Any:
    """Return what a model without qualities, or with variants, costs where that differs."""
    table = _table(model, "credits_per_image")
    return table if isinstance(table, dict) else None


def _by_quality(model: Model, today: date) -> JSON:
    """Return resolution -> quality -> credits, for a model that has qualities alone."""
    if model.variants:
        return {}
    return {
        resolution: {
            quality: price(model, {"resolution": resolution, "quality": quality}, today)
            for quality in model.qualities
        }
        for resolution in model.resolutions or ()
        if model.qualities
    }


def _table(model: Model, unit: str) -> Any:
    """Return the newest price table of a unit as plain JSON, or None."""
    tables = [getattr(price, unit) for price in model.prices]
    found = [table for table in tables if table is not None]
    return _plain(found[-1]) if found else None


def _plain(table: Table | dict[str, Decimal]) -> Any:
    if isinstance(table, Decimal):
        return int(table) if table == int(table) else float(table)
    return {key: _plain(cell) for key, cell in table.items()}
