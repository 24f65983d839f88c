"""What list_models and the model resources answer with: rules and prices, compact or complete."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from decimal import Decimal
from functools import lru_cache
from typing import Any

from meigen_mcp.catalogue import arguments as args
from meigen_mcp.catalogue.models import Catalogue, Duration, Model, Price, Table
from meigen_mcp.catalogue.reference_rules import Accepts
from meigen_mcp.views.structure import MODELS, Structure, expected_json
from meigen_mcp.wording import credits_json, without_none

_REMEMBERED = 512
"""Of how many models the row and the line are kept: they change only where the live list does."""


@lru_cache(_REMEMBERED)
def model_row(model: Model) -> Structure:
    """Return one model's rules and prices, compact; answers share it, so nobody writes to it."""
    clip = model.continuation
    return without_none(
        {
            "modelId": model.id,
            "name": model.name or None,
            "mediaType": model.media_type,
            "default": model.default or None,
            "aspectRatios": list(model.ratios) if model.ratios else None,
            "adaptive": model.adaptive or None,
            "resolutions": list(model.resolutions) if model.resolutions else None,
            "defaultResolution": model.default_resolution,
            "qualities": list(model.qualities) or None,
            "defaultQuality": model.default_quality,
            "durations": _durations(model.duration),
            "defaultDuration": model.default_duration,
            "modelVariants": list(model.variants) or None,
            "defaultModelVariant": model.default_variant,
            "tiers": list(model.tiers) or None,
            "defaultTier": model.default_tier,
            "maxReferenceImages": model.max_reference_images,
            "referenceVideo": True if clip else None,
            "referenceVideos": clip.most if clip and clip.most > 1 else None,
            "referenceAudios": model.sounds.most if model.sounds else None,
            "contentReferenceImages": model.content_images,
            "edits": True if model.edits else None,
            "drafts": True if model.drafts else None,
            "niji7Options": list(model.options) or None,
            "prices": prices(model) or ["not known; dryRun asks MeiGen's live list"],
            "expectedSeconds": expected_json(model.expected_seconds),
            "tags": list(model.tags) or None,
        }
    )


def model_details(model: Model, catalogue: Catalogue, accepts: Accepts = args.URLS) -> Structure:
    """Return everything that is known of one model, its complete JSON Schema included."""
    peers = catalogue.accepted(model.media_type)
    facts = _plain(model.model_dump(exclude_defaults=True, by_alias=True))
    rules = args.form(model, peers, accepts)
    return model_row(model) | {
        "provider": model.provider,
        "note": model.note,
        "source": list(model.source),
        "checked": facts.get("checked", ""),
        "facts": {name: facts[name] for name in facts if name not in ("id", "name")},
        "rules": rules.sentences(),
        "jsonSchema": rules.schema(),
    }


def details_text(details: Structure) -> str:
    """Write everything about one model as JSON that stays short: the rules in words.

    The schema says the same for programs, and is where the structure and the resource have it.
    """
    short = {name: details[name] for name in details if name not in ("facts", "jsonSchema")}
    short["jsonSchema"] = f"in the structure of this answer, and at {MODELS}/{details['modelId']}"
    return json.dumps(short, ensure_ascii=False)


def details_lines(details: Structure) -> str:
    """Write everything about one model that a person chooses by, one fact a line."""
    about = [details.get("name"), details["mediaType"]]
    about += [f"by {details['provider']}"] if details["provider"] else []
    about += [f"about {details['expectedSeconds']} s"] if "expectedSeconds" in details else []
    about += ["the default"] * bool(details.get("default"))
    lines = [f"{details['modelId']}: {', '.join(filter(None, about))}"]
    lines += [f"credits: {price}" for price in details["prices"]]
    lines += [f"note: {details['note']}"] if details["note"] else []
    lines += ["what a call may say:", *(f"  {rule}" for rule in details["rules"])]
    return "\n".join(lines)


def _plain(value: Any) -> Any:
    """Return facts as JSON values."""
    match value:
        case dict():
            return {key: _plain(inner) for key, inner in value.items()}
        case list() | tuple():
            return [_plain(inner) for inner in value]
        case Decimal():
            return credits_json(value)
        case date():
            return value.isoformat()
    return value


def prices(model: Model) -> list[str]:
    """Write the price lists that count, the newest first, each cell once."""
    stated = [price for price in model.prices if not price.fallback]
    seen: dict[str, list[tuple[str, ...]]] = {}
    lines: list[str] = []
    for price in reversed(stated or model.prices):
        for unit, cells in _cells(model, price):
            known = seen.setdefault(unit, [])
            # `fast 480p` of a newer list says what `480p` of an older one said.
            new = {
                where: amount
                for where, amount in cells.items()
                if not any({*where} <= {*other} for other in known)
            }
            known += new
            about = "about " if price.kind == "estimate" else ""
            figures = [_figure(where, amount) for where, amount in new.items()]
            if figures:
                lines.append(f"{about}{', '.join(figures)} per {unit}")
    if [*seen] == ["s with reference video"]:
        lines.append("not known without one")
    return lines


def _figure(where: tuple[str, ...], amount: Decimal) -> str:
    settings = [f"{key} s" if key.isdigit() else key for key in where]
    return f"{' '.join(settings)} = {amount:f}" if settings else f"{amount:f}"


def _cells(model: Model, price: Price) -> list[tuple[str, dict[tuple[str, ...], Decimal]]]:
    batch = f" of {model.images_per_call}" if model.images_per_call > 1 else ""
    tables = {
        "image": price.credits_per_image,
        f"call{batch}": price.credits_per_call,
        "s": price.credits_per_second,
        "s with reference video": price.credits_per_second_with_video,
    }
    return [(unit, dict(_flat(table))) for unit, table in tables.items() if table is not None]


def _flat(table: Table, *where: str) -> Iterator[tuple[tuple[str, ...], Decimal]]:
    if isinstance(table, Decimal):
        yield where, table
        return
    for key, inner in table.items():
        yield from _flat(inner, *where, key)


def models_structure(models: Iterable[Model], left_out: int = 0) -> Structure:
    """Return the compact rows of models.

    Args:
        models: which.
        left_out: how many more MeiGen's list has.
    """
    rows = [model_row(model) for model in models]
    return {"models": rows} | ({"leftOut": left_out} if left_out else {})


def models_text(models: Iterable[Model], left_out: int = 0) -> str:
    """Write the compact rows of models as text, one line each."""
    lines = [_model_line(model) for model in models] or ["no model is available"]
    lines += [f"left out of MeiGen's list, which is too long or odd: {left_out}"] * bool(left_out)
    return "\n".join(lines)


@lru_cache(_REMEMBERED)
def _model_line(model: Model) -> str:
    row = model_row(model)
    parts = [f"{row['modelId']} ({', '.join([row[n] for n in ('name', 'mediaType') if n in row])})"]
    if row.get("default"):
        parts[0] += " default"
    words = {
        "aspectRatios": ("ratios", ""),
        "resolutions": ("resolutions", "defaultResolution"),
        "qualities": ("qualities", "defaultQuality"),
        "modelVariants": ("variants", "defaultModelVariant"),
        "tiers": ("tiers", "defaultTier"),
        "durations": ("seconds", "defaultDuration"),
    }
    for name, (word, default) in words.items():
        if name in row:
            value = row[name]
            said = value if isinstance(value, str) else " ".join(map(str, value))
            parts.append(f"{word} {said}")
            parts[-1] += f" (default {row[default]})" if default in row else ""
        elif name == "aspectRatios":
            parts.append("ratios any W:H")
    if row.get("adaptive"):
        parts.append("adaptive with a reference")
    parts.append(f"references {row.get('maxReferenceImages', 'any number')}")
    parts += _reference_parts(row)
    if "niji7Options" in row:
        parts.append("niji7Options, referenceType")
    parts.append(f"credits: {'; '.join(row['prices'])}")
    if "expectedSeconds" in row:
        parts.append(f"~{row['expectedSeconds']} s")
    return ", ".join(parts)


def _reference_parts(row: Mapping[str, Any]) -> list[str]:
    parts = []
    if row.get("referenceVideo"):
        verbs = "edits or continues" if row.get("edits") else "continues"
        several = f", or up to {row['referenceVideos']}" if "referenceVideos" in row else ""
        parts.append(f"{verbs} a referenceVideo{several}")
    if "referenceAudios" in row:
        parts.append(f"referenceAudios {row['referenceAudios']}")
    if "contentReferenceImages" in row:
        parts.append(f"contentReferenceImages {row['contentReferenceImages']}")
    parts += ["draft"] if row.get("drafts") else []
    return parts


def _durations(duration: Duration | None) -> str | None:
    if duration is None:
        return None
    if duration.values:
        return " ".join(map(str, duration.values))
    return f"{duration.minimum}-{duration.maximum}"


MODELS_SCHEMA: Structure = {
    "type": "object",
    "properties": {"models": {"type": "array", "items": {"type": "object"}}},
    "required": ["models"],
}
