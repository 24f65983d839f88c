"""The sandbox's own `GET /api/models`: shipped facts, with the gaps filled by `invented.toml`."""

import math
import tomllib
from collections.abc import Mapping
from datetime import date
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import Any, Literal

from meigen_mcp.catalogue import Continuation, Model, Table, shipped
from meigen_mcp.pricing import quote

Era = Literal["2026-05", "2026-09"]
JSON = dict[str, Any]

INVENTED: JSON = tomllib.loads(
    files("meigen_mcp.sandbox").joinpath("invented.toml").read_text(encoding="utf-8"),
    parse_float=Decimal,
)
# Legacy ids and the model that answers them (official page, 2026-05).
ANSWERED_BY: Mapping[str, str] = {"midjourney-v7": "midjourney-v8.1"}


@cache
def models() -> tuple[Model, ...]:
    """Return the models without the legacy ones, with nothing left unknown."""
    return tuple(_completed(model) for model in shipped().listed())


def _completed(model: Model) -> Model:
    facts = model.model_dump(by_alias=True)
    invented = dict(INVENTED["models"].get(model.id, {}))
    invented.pop("invented", None)
    prices = [*facts["prices"], *invented.pop("prices", [])]
    floor = invented.pop("floor_seconds", None)
    if model.continuation is not None:
        clip = INVENTED["reference_video"]
        facts["continuation"] = Continuation(
            minimum_seconds=clip["minimum_seconds"],
            maximum_seconds=clip["maximum_seconds"],
            floor_seconds=floor,
        )
    return Model.model_validate({**facts, **invented, "prices": prices})


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
    entries = [_entry(model, era, speed, today) for model in models()]
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
        raise LookupError(f"the sandbox has no price of {model.id} for {settings}")
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
    if model.media_type == "video" and era == "2026-09":
        entry["capabilities"] = {"video": _capabilities(model)}
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
        "pricing": _by_quality(model, today),
        "tiers": list(model.tiers),
        "defaultTier": model.default_tier,
        "durations": _durations(model),
        "defaultDuration": model.default_duration,
        "pricingPerSec": per_second,
        # The page gives one row of rates for both tiers; the field is keyed by tier.
        "pricingPerSecWithVideo": {tier: with_video for tier in model.tiers if with_video},
        "pricingPerCall": _table(model, "credits_per_call"),
        "minBillableTable": clip and clip.floor_seconds and _plain(clip.floor_seconds),
        "supportsReferenceVideo": clip is not None if model.media_type == "video" else None,
    }
    return {name: value for name, value in said.items() if value not in (None, [], {})}


def _capabilities(model: Model) -> JSON:
    durations = _durations(model)
    clip, limits = model.continuation, INVENTED["reference_video"]
    output: JSON = {"kind": "enum", "values": durations}
    if model.duration and not model.duration.values:
        output = {"kind": "range", "min": durations[0], "max": durations[-1], "step": 1}
    billing: JSON = {
        "mode": "per_call" if _table(model, "credits_per_call") else "per_second",
        "requestDefaultSeconds": model.default_duration,
    }
    if clip:
        billing["referenceSeconds"] = clip.billing
    return {
        "valid": True,
        "outputDuration": {**output, "default": model.default_duration},
        "referenceVideo": {
            "enabled": clip is not None,
            "minSeconds": limits["minimum_seconds"] if clip else 0,
            "maxSeconds": limits["maximum_seconds"] if clip else 0,
            "maxCount": 1 if clip else 0,
            "maxTotalSeconds": limits["maximum_seconds"] if clip else 0,
            "tiers": list(model.tiers) if clip else [],
            "resolutionsByTier": {t: list(model.resolutions or ()) for t in model.tiers if clip},
            "maxUploadBytes": limits["upload_bytes"] if clip else 0,
        },
        "referenceAudio": {
            "enabled": False,
            "minSeconds": 0,
            "maxSeconds": 0,
            "maxCount": 0,
            "maxTotalSeconds": 0,
            "maxUploadBytes": 0,
            "formats": [],
            "requiresVisualReference": False,
        },
        "billing": billing,
        "requiresFirstFrame": model.requires_first_frame,
    }


def _durations(model: Model) -> list[int]:
    known = model.duration
    if known is None:
        return []
    return list(known.values or range(known.minimum, known.maximum + 1))


def _by_quality(model: Model, today: date) -> JSON:
    """Return resolution -> quality -> credits, for a model that has qualities."""
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
