"""What list_models and the model resources answer with: rules and prices, compact or complete."""

from collections.abc import Mapping, Sequence
from decimal import Decimal
from typing import Any

from meigen_mcp import arguments as args
from meigen_mcp.catalogue import Catalogue, Duration, Model, Price, Table
from meigen_mcp.views import Structure, without_none


def model_row(model: Model) -> Structure:
    """Return one model's rules and prices, compact."""
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
            "durations": _durations(model.duration),
            "defaultDuration": model.default_duration,
            "tiers": list(model.tiers) or None,
            "defaultTier": model.default_tier,
            "maxReferenceImages": model.max_reference_images,
            "referenceVideo": True if clip else None,
            "niji7Options": list(model.options) or None,
            "prices": prices(model) or ["not known; dryRun asks MeiGen's live list"],
            "expectedSeconds": model.expected_seconds,
            "tags": list(model.tags) or None,
        }
    )


def model_details(model: Model, catalogue: Catalogue, own_origin: str | None) -> Structure:
    """Return everything that is known of one model, its complete JSON Schema included."""
    peers = catalogue.accepted(model.media_type)
    facts = model.model_dump(mode="json", exclude_defaults=True, by_alias=True)
    schema = args.form(model, peers, own_origin).schema()
    return model_row(model) | {
        "provider": model.provider,
        "note": model.note,
        "source": list(model.source),
        "checked": facts.get("checked", ""),
        "facts": {name: facts[name] for name in facts if name not in ("id", "name")},
        "jsonSchema": schema,
    }


def prices(model: Model) -> list[str]:
    """Write the price lists that count, the newest first, each cell once."""
    stated = [price for price in model.prices if not _is_flat_estimate(price)]
    seen: set[str] = set()
    lines: list[str] = []
    for price in reversed(stated or model.prices):
        for unit, cells in _cells(price):
            new = {where: amount for where, amount in cells.items() if f"{unit}{where}" not in seen}
            seen |= {f"{unit}{where}" for where in new}
            about = "about " if price.kind == "estimate" else ""
            figures = [f"{where} {amount:f}".strip() for where, amount in new.items()]
            if figures:
                lines.append(f"{about}{', '.join(figures)} per {unit}")
    return lines


def _is_flat_estimate(price: Price) -> bool:
    """Tell the live list's legacy figure, which only counts where nothing else is stated."""
    return price.kind == "estimate" and isinstance(price.credits_per_call, Decimal)


def _cells(price: Price) -> list[tuple[str, dict[str, Decimal]]]:
    tables = {
        "image": price.credits_per_image,
        "call": price.credits_per_call,
        "s": price.credits_per_second,
        "s with reference video": price.credits_per_second_with_video,
    }
    return [(unit, _flat(table)) for unit, table in tables.items() if table is not None]


def _flat(table: Table, where: str = "") -> dict[str, Decimal]:
    if isinstance(table, Decimal):
        return {where: table}
    cells: dict[str, Decimal] = {}
    for key, inner in table.items():
        cells |= _flat(inner, f"{where} {key}".strip())
    return cells


def models_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """Write the compact rows of models as text, one line each."""
    return "\n".join(_model_line(row) for row in rows) or "no model is available"


def _model_line(row: Mapping[str, Any]) -> str:
    parts = [f"{row['modelId']} ({row.get('name', '')}, {row['mediaType']})"]
    if row.get("default"):
        parts[0] += " default"
    words = {
        "aspectRatios": "ratios",
        "resolutions": "resolutions",
        "qualities": "qualities",
        "tiers": "tiers",
        "durations": "seconds",
    }
    for name, word in words.items():
        if name in row:
            value = row[name]
            said = value if isinstance(value, str) else " ".join(map(str, value))
            parts.append(f"{word} {said}")
    parts.append(f"references {row.get('maxReferenceImages', '?')}")
    if row.get("referenceVideo"):
        parts.append("continues a referenceVideo")
    if "niji7Options" in row:
        parts.append("niji7Options, referenceType")
    parts.append(f"credits: {'; '.join(row['prices'])}")
    if "expectedSeconds" in row:
        parts.append(f"~{row['expectedSeconds']:.3g} s")
    return ", ".join(parts)


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
