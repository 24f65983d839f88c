"""What a body of `GET /api/models` says, as catalogue rows.

The body is judged field by field: what is missing or of a wrong type says nothing. It is judged
here once, and goes from here into schemas, answers and requests: what a program reads (ids, ratios,
resolutions, names of prices) is what ids are, or it is left out; words are cut and printable, and
the whole is bounded. Sources of the
field names: the official Models page of 2026-05 and the types of the official client up to 2026-09;
those that no source gives are in `assumed.toml`.
"""

import json
import re
from collections.abc import Collection, Mapping
from datetime import date
from decimal import Decimal
from typing import Any, NamedTuple

from meigen_mcp.catalogue.assumed import name_of
from meigen_mcp.catalogue.laying import LiveFacts, merge
from meigen_mcp.catalogue.models import Catalogue, Continuation, Duration, Sounds, Table
from meigen_mcp.catalogue.reference_rules import PUBLIC_HTTPS
from meigen_mcp.foreign import is_id, one_line
from meigen_mcp.origins import read_host
from meigen_mcp.wording import without_none

MOST_MODELS = 100
LARGEST_LIST = 256 * 1024
"""Bytes of JSON. MeiGen's own list had 12 models and 7 kB in 2026-09."""
_MOST_VALUES = 50
_LONGEST_TAG = 40
_LONGEST_CLIP = 300
_LONGEST_TIMING = 7200
"""Seconds of a generation; what is said to take longer would not be looked at for as long."""
_MOST_REFERENCES = 16
_CLIP_SECONDS = Decimal(2), Decimal(15)
"""Of a clip, the least and the most where the list tells none (official client, 2026-08)."""
_OWN_HOST = "images.meigen.ai"
"""From which alone the official client takes clips (2026-09)."""
_UPLOAD_BYTES = 50 * 2**20
"""Of a clip, where the list tells no number (official client, 2026-09)."""


class LiveList(NamedTuple):
    """What is taken from a models body.

    Attributes:
        left_out: how many of its models are not, because of their id or of the bounds.
    """

    rows: tuple[LiveFacts, ...]
    left_out: int = 0


def lay(catalogue: Catalogue, body: Any, today: date) -> Catalogue | None:
    """Lay a models body over a catalogue, or return None if it is not one.

    Args:
        catalogue: the shipped facts; its models come first where the list is too long.
        body: JSON.
        today: the date from which live prices count.
    """
    found = read(body, {model.id for model in catalogue.models})
    return None if found is None else merge(catalogue, found.rows, today, found.left_out)


def read(body: Any, first: Collection[str] = ()) -> LiveList | None:
    """Return what a models body says, or None if it is not one.

    Args:
        body: JSON.
        first: the ids that are taken before others where not all are.
    """
    if not isinstance(body, Mapping) or body.get("success") is False:
        return None
    models = body.get("models")
    if not isinstance(models, list):
        return None
    entries = [entry for entry in models if isinstance(entry, Mapping)]
    known = [entry for entry in entries if _id(entry.get("id"))]
    known.sort(key=lambda entry: entry["id"] not in first)
    rows: list[LiveFacts] = []
    size = 0
    for entry in known:
        size_with = size + len(json.dumps(entry))
        if len(rows) < MOST_MODELS and size_with <= LARGEST_LIST:
            rows.append(_row(entry))
            size = size_with
    return LiveList(tuple(rows), len(entries) - len(rows))


def _row(entry: Mapping[str, Any]) -> LiveFacts:
    model_id = entry["id"]
    extra = _mapping(entry.get("extra_config"))
    capabilities = _mapping(entry.get("capabilities"))
    video = _mapping(capabilities.get("video"))
    if extra.get("hidden") is True:
        return LiveFacts(model_id, unavailable="MeiGen no longer lists it")
    if video.get("valid") is False:
        return LiveFacts(
            model_id, unavailable="MeiGen reports its settings as unavailable right now"
        )
    facts = {
        "name": _words(entry.get("name")),
        "provider": _words(entry.get("provider")),
        "media_type": _one_of(entry.get("media_type"), ("image", "video")),
        "ratios": _strings(entry.get("supported_ratios"), without=("auto", "adaptive")),
        "max_reference_images": _whole(entry.get("max_reference_images")),
        "resolutions": _resolutions(extra),
        "tier_resolutions": _lists(extra.get("tierResolutions")),
        "default_resolution": _id(extra.get("defaultResolution")),
        "qualities": _strings(extra.get("qualities")),
        "default_quality": _id(extra.get("defaultQuality")),
        "variants": _strings(extra.get(name_of("variants"))),
        "default_variant": _id(extra.get(name_of("default_variant"))),
        "tiers": _strings(extra.get("tiers")),
        "default_tier": _id(extra.get("defaultTier")),
        "duration": _durations(extra.get("durations")),
        "default_duration": _whole(extra.get("defaultDuration")) or None,
        "requires_first_frame": _flag(extra.get("requiresFirstFrame")),
        "tags": _tags(extra.get("tags")),
        "typical_seconds": _timing(entry.get("estimatedTiming")),
        "adaptive": "adaptive" in (_strings(entry.get("supported_ratios")) or ()) or None,
        "drafts": _flag(_mapping(capabilities.get("draft")).get("enabled")),
        **_capabilities(video, extra),
    }
    price = {
        "credits_per_second": _price(extra.get("pricingPerSec")),
        "credits_per_second_with_video": _price(extra.get("pricingPerSecWithVideo")),
        "credits_per_call": _price(extra.get("pricingPerCall")),
        "credits_per_image": _price(extra.get("pricing")),
    }
    said = without_none(facts)  # what is missing must erase nothing
    for name, announced in (("referenceVideo", "continuation"), ("referenceAudio", "sounds")):
        if _mapping(video.get(name)).get("enabled") is False:
            said[announced] = None
    flat = _number(entry.get("credits_per_generation")) or None
    return LiveFacts(model_id, facts=said, price=without_none(price), flat_price=flat)


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
        known = {
            **_limits(reference, _CLIP_SECONDS),
            "tiers": _strings(reference.get("tiers")),
            "tier_resolutions": _lists(reference.get("resolutionsByTier")),
            **_upload(reference),
            **_between(reference, least_rate=name_of("least_rate"), most_rate=name_of("most_rate")),
            "codecs": _strings(reference.get(name_of("codecs"))),
            "floor_seconds": floor,
            # A service whose list speaks of it measures itself; one of May bills it as 0.
            "probes": bool(reference),
            "billing": _one_of(
                billing.get("referenceSeconds"),
                (
                    "output_only",
                    "reference_plus_output",
                    "reference_plus_output_with_minimum_table",
                ),
            ),
        }
        facts["continuation"] = Continuation.model_validate(without_none(known))
    sound = _mapping(video.get("referenceAudio"))
    if sound.get("enabled") is True:
        visual = _flag(sound.get("requiresVisualReference"))
        known = {
            **_limits(sound),
            **_upload(sound),
            "formats": _formats(sound.get("formats")),
            "requires_visual": visual,
        }
        facts["sounds"] = Sounds.model_validate(without_none(known))
    content = _mapping(video.get(name_of("content_images")))
    if content.get("enabled") is True:
        facts["content_images"] = _most(content)
    return without_none(facts)


def _limits(
    reference: Mapping[str, Any], unsaid: tuple[Decimal, Decimal] | None = None
) -> dict[str, Any]:
    """Return how long references may be, and how many, each by itself.

    Args:
        reference: what the list says; a count that it does not say is one.
        unsaid: the least and the most seconds where it does not say them.
    """
    found = _between(reference, minimum_seconds="minSeconds", maximum_seconds="maxSeconds")
    low, high = found["minimum_seconds"], found["maximum_seconds"]
    if unsaid is not None:
        least, most = unsaid
        found["minimum_seconds"] = low or (least if high is None or least <= high else None)
        found["maximum_seconds"] = high or (most if low is None or low <= most else None)
    total = _number(reference.get("maxTotalSeconds")) or None
    if total is not None and low is not None and total < low:
        total = None
    return {**found, "most": _most(reference), "total_seconds": total}


def _between(said: Mapping[str, Any], **names: str) -> dict[str, Decimal | None]:
    """Return two bounds; of two that let nothing through, nobody knows which one is wrong.

    Args:
        said: what the list says; 0 is no bound.
        names: what the lower and the upper one are called here, and there.
    """
    low, high = (_number(said.get(name)) or None for name in names.values())
    if low is not None and high is not None and low > high:
        low = high = None
    return dict(zip(names, (low, high), strict=True))


def _upload(reference: Mapping[str, Any]) -> dict[str, Any]:
    """Return where references may lie, and how large an uploaded one may be."""
    announced = reference.get("enabled") is True
    most = _whole(reference.get("maxUploadBytes")) or _UPLOAD_BYTES
    hosts = _hosts(reference.get(name_of("hosts")))
    return {"hosts": hosts, "upload_bytes": most if announced else None}


def _hosts(value: Any) -> tuple[str, ...] | None:
    """Return where alone references may lie, or None where the list does not say.

    What it says and nobody can read forbids other hosts too: then MeiGen's own one is left.
    """
    if not value:
        return None
    said = value if isinstance(value, list) else [value]
    hosts = [read_host(host) for host in said[:_MOST_VALUES] if isinstance(host, str)]
    known = [host for host in hosts if host and re.match(PUBLIC_HTTPS, f"https://{host}/")]
    return tuple(dict.fromkeys(known)) or (_OWN_HOST,)


def _most(reference: Mapping[str, Any]) -> int:
    most = _whole(reference.get("maxCount"))
    return min(most, _MOST_REFERENCES) if most else 1


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
    if low is None or high is None or not 0 < low <= high <= _LONGEST_TIMING:
        return None
    return float(low), float(high)


def _floor(value: Any) -> dict[str, Decimal] | None:
    table = {key: _number(seconds) for key, seconds in _cells(value).items()}
    return without_none(table) or None


def _price(value: Any, depth: int = 0) -> Table | None:
    """Read credits, or credits nested by name; a bad cell is left out, and so is a price of 0."""
    if isinstance(value, Mapping) and depth < 4:
        cells = {key: _price(cell, depth + 1) for key, cell in _cells(value).items()}
        return without_none(cells) or None
    return _number(value) or None


def _lists(value: Any) -> dict[str, tuple[str, ...]] | None:
    lists = {key: _strings(inner) for key, inner in _cells(value).items()}
    return without_none(lists) or None


def _strings(value: Any, without: tuple[str, ...] = ()) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    words = [v for v in value if _id(v) and v not in without]
    return tuple(dict.fromkeys(words))[:_MOST_VALUES] or None


def _formats(value: Any) -> tuple[str, ...] | None:
    """Return the formats of files, also where they are written as types or as endings."""
    if not isinstance(value, list):
        return None
    return _strings([v.rpartition("/")[2].lstrip(".") for v in value if isinstance(v, str)])


def _tags(value: Any) -> tuple[str, ...] | None:
    if not isinstance(value, list):
        return None
    words = [one_line(tag, _LONGEST_TAG) for tag in value if _words(tag)]
    return tuple(dict.fromkeys(words))[:_MOST_VALUES] or None


def _cells(value: Any) -> dict[str, Any]:
    """Return a table by name, as far as its names are ones."""
    cells = [(key, cell) for key, cell in _mapping(value).items() if _id(key)]
    return dict(cells[:_MOST_VALUES])


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value < 10**9:
        return None
    return Decimal(str(value))


def _whole(value: Any) -> int | None:
    number = _number(value)
    return int(number) if number is not None and number == int(number) else None


def _flag(value: Any) -> bool | None:
    return value if isinstance(value, bool) else None


def _id(value: Any) -> str | None:
    """Return a word that a program reads; what is none is left out, not mended."""
    return value if isinstance(value, str) and is_id(value) else None


def _words(value: Any) -> str | None:
    """Return words for people, as they may be shown."""
    return (one_line(value) or None) if isinstance(value, str) else None


def _one_of(value: Any, allowed: tuple[str, ...]) -> str | None:
    return value if isinstance(value, str) and value in allowed else None


def _mapping(value: Any) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
