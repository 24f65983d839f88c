"""What a body of `GET /api/models` says, as catalogue rows.

The body is judged field by field: what is missing or of a wrong type says nothing. Sources of the
field names: the official Models page of 2026-05 and the types of the official client up to 2026-09.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from meigen_mcp.catalogue import Continuation, Duration, Row, Table

_MOST_MODELS = 500
_MOST_VALUES = 50
_LONGEST_CLIP = 300


def read(body: Any) -> list[Row] | None:
    """Return the rows of a models body, or None if it is not one."""
    if not isinstance(body, Mapping) or body.get("success") is False:
        return None
    models = body.get("models")
    if not isinstance(models, list):
        return None
    rows = [_row(entry) for entry in models[:_MOST_MODELS] if isinstance(entry, Mapping)]
    return [row for row in rows if row is not None]


def _row(entry: Mapping[str, Any]) -> Row | None:
    model_id = _text(entry.get("id"))
    if model_id is None:
        return None
    extra = _mapping(entry.get("extra_config"))
    video = _mapping(_mapping(entry.get("capabilities")).get("video"))
    if extra.get("hidden") is True:
        return Row(model_id, unavailable="MeiGen no longer lists it")
    if video.get("valid") is False:
        return Row(model_id, unavailable="MeiGen reports its settings as unavailable right now")
    facts = {
        "name": _text(entry.get("name")),
        "provider": _text(entry.get("provider")),
        "media_type": _one_of(entry.get("media_type"), ("image", "video")),
        "ratios": _strings(entry.get("supported_ratios"), without=("auto", "adaptive")),
        "max_reference_images": _whole(entry.get("max_reference_images")),
        "resolutions": _resolutions(extra),
        "tier_resolutions": _lists(extra.get("tierResolutions")),
        "default_resolution": _text(extra.get("defaultResolution")),
        "qualities": _strings(extra.get("qualities")),
        "default_quality": _text(extra.get("defaultQuality")),
        "tiers": _strings(extra.get("tiers")),
        "default_tier": _text(extra.get("defaultTier")),
        "duration": _durations(extra.get("durations")),
        "default_duration": _whole(extra.get("defaultDuration")) or None,
        "requires_first_frame": _flag(extra.get("requiresFirstFrame")),
        "tags": _strings(extra.get("tags")),
        "typical_seconds": _timing(entry.get("estimatedTiming")),
        "adaptive": "adaptive" in (_strings(entry.get("supported_ratios")) or ()) or None,
        **_capabilities(video, extra),
    }
    price = {
        "credits_per_second": _price(extra.get("pricingPerSec")),
        "credits_per_second_with_video": _price(extra.get("pricingPerSecWithVideo")),
        "credits_per_call": _price(extra.get("pricingPerCall")),
        "credits_per_image": _price(extra.get("pricing")),
    }
    said = _said(facts)
    if _mapping(video.get("referenceVideo")).get("enabled") is False:
        said["continuation"] = None
    flat = _number(entry.get("credits_per_generation")) or None
    return Row(model_id, facts=said, price=_said(price), flat_price=flat)


def _capabilities(video: Mapping[str, Any], extra: Mapping[str, Any]) -> dict[str, Any]:
    """Return what `capabilities.video` says, which wins over `extra_config`."""
    output = _mapping(video.get("outputDuration"))
    billing = _mapping(video.get("billing"))
    facts: dict[str, Any] = {
        "duration": _output_duration(output),
        "default_duration": _whole(output.get("default")) or None,
        "billed_default_seconds": _whole(billing.get("requestDefaultSeconds")) or None,
        "requires_first_frame": _flag(video.get("requiresFirstFrame")),
    }
    reference = _mapping(video.get("referenceVideo"))
    floor = _floor(extra.get("minBillableTable"))
    offered = reference.get("enabled") is True or extra.get("supportsReferenceVideo") is True
    if offered or floor is not None or _price(extra.get("pricingPerSecWithVideo")) is not None:
        # A body without usable limits is read as the official client of 2026-08 does.
        low, high = _number(reference.get("minSeconds")), _number(reference.get("maxSeconds"))
        usable = low is not None and high is not None and 0 < low <= high
        known = {
            "minimum_seconds": low if usable else Decimal(2),
            "maximum_seconds": high if usable else Decimal(15),
            "tiers": _strings(reference.get("tiers")),
            "tier_resolutions": _lists(reference.get("resolutionsByTier")),
            "floor_seconds": floor,
            "billing": _one_of(
                billing.get("referenceSeconds"),
                (
                    "output_only",
                    "reference_plus_output",
                    "reference_plus_output_with_minimum_table",
                ),
            ),
        }
        facts["continuation"] = Continuation.model_validate(_said(known))
    return _said(facts)


def _output_duration(output: Mapping[str, Any]) -> Duration | None:
    if output.get("kind") == "enum":
        return _durations(output.get("values"))
    low, high = _whole(output.get("min")), _whole(output.get("max"))
    step = _whole(output.get("step")) or 1
    if output.get("kind") != "range" or low is None or high is None:
        return None
    if not 0 < low <= high <= _LONGEST_CLIP:
        return None
    if step > 1:
        return Duration(values=tuple(range(low, high + 1, step)))
    return Duration(minimum=low, maximum=high)


def _durations(value: Any) -> Duration | None:
    if not isinstance(value, list):
        return None
    seconds = sorted({v for v in map(_whole, value) if v and v <= _LONGEST_CLIP})
    if not seconds:
        return None
    if len(seconds) > 2 and seconds == list(range(seconds[0], seconds[-1] + 1)):
        return Duration(minimum=seconds[0], maximum=seconds[-1])
    return Duration(values=tuple(seconds))


def _resolutions(extra: Mapping[str, Any]) -> tuple[str, ...] | None:
    """Merge `resolutions` with `tierResolutions`, which is ahead of it."""
    by_tier = _lists(extra.get("tierResolutions")) or {}
    flat = _strings(extra.get("resolutions")) or ()
    merged = dict.fromkeys([*flat, *(r for values in by_tier.values() for r in values)])
    return tuple(merged) or None


def _timing(value: Any) -> tuple[float, float] | None:
    timing = _mapping(value)
    low, high = _number(timing.get("p50")), _number(timing.get("p90"))
    return None if low is None or high is None else (float(low), float(high))


def _floor(value: Any) -> dict[str, Decimal] | None:
    table = {key: _number(seconds) for key, seconds in _mapping(value).items()}
    return _said(table) or None


def _price(value: Any, depth: int = 0) -> Table | None:
    """Read credits, or credits nested by name; a bad cell is left out, and so is a price of 0."""
    if isinstance(value, Mapping) and depth < 4:
        cells = {str(key): _price(cell, depth + 1) for key, cell in value.items()}
        return {key: cell for key, cell in cells.items() if cell is not None} or None
    return _number(value) or None


def _lists(value: Any) -> dict[str, tuple[str, ...]] | None:
    lists = {str(key): _strings(inner) for key, inner in _mapping(value).items()}
    return _said(lists) or None


def _strings(value: Any, without: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    words = [v for v in value if isinstance(v, str) and v and v not in without]
    return tuple(dict.fromkeys(words))[:_MOST_VALUES] or None


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        return None
    return Decimal(str(value))


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and value.strip() and len(value) <= 200 else None


def _one_of(value: Any, allowed: tuple[str, ...]) -> str | None:
    return value if isinstance(value, str) and value in allowed else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _said(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Keep what was said; what is missing must erase nothing."""
    return {name: value for name, value in facts.items() if value is not None}
