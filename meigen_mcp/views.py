"""What tools and resources answer with: the same facts as a structure and as text.

Some clients hand the model only the structure, some only the text; so each is complete by itself,
and the text is made from the structure.
"""

import json
from collections.abc import Mapping
from decimal import Decimal
from typing import Any

from meigen_mcp import advice
from meigen_mcp import arguments as args
from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Balance, Fault, Generation, record_uri
from meigen_mcp.media import mime_of
from meigen_mcp.pricing import Quote
from meigen_mcp.service import Listing, Outcome

Structure = dict[str, Any]

LONGEST_PROMPT = 120
MODELS = "meigen://models"


def credits_json(amount: Decimal | None) -> int | float | None:
    """Return credits as a JSON number."""
    if amount is None:
        return None
    return int(amount) if amount == int(amount) else float(amount)


# --- one generation -----------------------------------------------------------------------------


def generation(job: Generation, now: float) -> Structure:
    """Return the public fields of a record; a field without a value is left out."""
    return without_none(
        {
            "generationId": job.generation_id,
            "requestId": job.request_id,
            "status": job.status,
            "mediaType": job.media_type,
            "modelId": job.model_id,
            "prompt": job.prompt,
            "mediaUrls": list(job.media_urls) or None,
            "files": [name for name in job.files if name] or None,
            "preview": job.preview,
            "resourceUri": record_uri(job.name),
            "aspectRatio": job.aspect_ratio,
            "settings": _settings(job) or None,
            "madeFrom": list(job.made_from) or None,
            "creditsUsed": credits_json(_used(job)),
            "quote": _quote(job.quote),
            # After a refund it is no longer what it was told to be.
            "credits": None if job.credits_status == "refunded" else _balance(job.balance),
            "createdAt": advice.time_of(job.created_at),
            "elapsedSeconds": round((job.finished_at or now) - job.created_at, 1),
            "expectedSeconds": round(job.expected_seconds, 1),
            "error": _fault(job.error),
        }
    )


def _used(job: Generation) -> Decimal | None:
    """Return what it cost in the end."""
    return Decimal(0) if job.credits_status == "refunded" else job.credits_used


def _settings(job: Generation) -> Structure:
    """Return the arguments as given, apart from what has a field of its own."""
    return {
        name: job.arguments[name] for name in job.arguments if name not in ("prompt", "modelId")
    }


def outcome(result: Outcome, now: float) -> Structure:
    """Return what a call answers about one generation."""
    structure = generation(result.job, now) | {"status": result.status}
    if result.status in ("dry_run", "needs_approval"):
        for name in ("elapsedSeconds", "createdAt", "resourceUri"):
            structure.pop(name)
        if result.status == "dry_run":
            structure.pop("requestId")
        if result.balance is not None:
            structure["credits"] = _balance(result.balance[0])
    return structure | {"next": advice.sentence(result, now)}


def refusal(error: MeigenError, tool: str, prompt: Any = None) -> Structure:
    """Return what a call answers when nothing was sent."""
    medium = args.MEDIUM_OF.get(tool)
    return without_none(
        {
            "status": "refused",
            "mediaType": medium,
            "prompt": prompt if isinstance(prompt, str) and prompt.strip() else None,
            "error": {
                "code": error.code,
                "message": error.message,
                "charged": error.charged,
                "retryable": error.retryable,
            },
            "next": error.next,
        }
    )


def is_error(structure: Structure) -> bool:
    """Say whether a tool result is flagged: refused, failed, or waiting for the person's action."""
    status = structure.get("status")
    return status in ("refused", "failed") or (status == "queued" and "error" in structure)


def _quote(quote: Quote) -> Structure:
    figures = {"credits": credits_json(quote.credits), "kind": quote.kind, "basis": quote.basis}
    return without_none(figures)


def _balance(balance: Balance | None) -> Structure | None:
    if balance is None:
        return None
    return without_none(
        {
            "daily": credits_json(balance.daily),
            "purchased": credits_json(balance.purchased),
            "unlimited": balance.unlimited,
        }
    )


def _fault(fault: Fault | None) -> Structure | None:
    if fault is None:
        return None
    return {
        "code": fault.code,
        "message": fault.message,
        "charged": fault.charged,
        "retryable": fault.retryable,
    }


# --- text ---------------------------------------------------------------------------------------


def text(structure: Structure) -> str:
    """Write a generation's structure as lines for a model that sees no structure."""
    status = structure["status"]
    what = [structure.get("mediaType", ""), structure.get("modelId", "")]
    head = f"{status}: {' by '.join(w for w in what if w)}" if any(what) else status
    lines = [head + (f", {structure['aspectRatio']}" if "aspectRatio" in structure else "")]
    lines += _error_lines(structure)
    for index, url in enumerate(structure.get("mediaUrls", ())):
        lines.append(f"media {index}: {url}")
    lines += [f"saved: {name}" for name in structure.get("files", ())]
    if "preview" in structure:
        lines.append(f"preview: {structure['preview']}")
    if "prompt" in structure:
        lines.append(f"prompt: {_cut(structure['prompt'])}")
    if "settings" in structure:
        said = (f"{name} {_said(value)}" for name, value in structure["settings"].items())
        lines.append(f"settings: {', '.join(said)}")
    if "madeFrom" in structure:
        lines.append(f"made from: {', '.join(structure['madeFrom'])}")
    lines += _money_lines(structure)
    times = {"created": "createdAt", "elapsed": "elapsedSeconds", "expected": "expectedSeconds"}
    known = [
        f"{word} {structure[name]}{' s' if name.endswith('Seconds') else ''}"
        for word, name in times.items()
        if name in structure
    ]
    lines += [", ".join(known)] if known else []
    for name in ("generationId", "requestId"):
        if name in structure:
            lines.append(f"{name}: {structure[name]}")
    if "resourceUri" in structure:
        lines.append(f"record: {structure['resourceUri']}")
    lines.append(f"next: {structure['next']}")
    return "\n".join(lines)


def _said(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _error_lines(structure: Structure) -> list[str]:
    if "error" not in structure:
        return []
    error = structure["error"]
    retry = "may help" if error["retryable"] else "alone will not help"
    return [
        f"{error['code']}: {error['message']}",
        f"charged: {error['charged']}; retrying {retry}",
    ]


def _money_lines(structure: Structure) -> list[str]:
    lines = []
    if "quote" in structure:
        quote = structure["quote"]
        figure = f"{quote['credits']} credits, " if "credits" in quote else ""
        lines.append(f"quote: {figure}{quote['kind']} ({quote['basis']})")
    if "creditsUsed" in structure:
        lines.append(f"used: {structure['creditsUsed']} credits")
    if "credits" in structure:
        known = structure["credits"]
        parts = [f"{known[name]} {name}" for name in ("daily", "purchased") if name in known]
        parts += ["unlimited"] if known.get("unlimited") else []
        lines += [f"balance: {', '.join(parts)}"] if parts else []
    return lines


def _cut(prompt: str) -> str:
    flat = " ".join(prompt.split())
    return flat if len(flat) <= LONGEST_PROMPT else flat[: LONGEST_PROMPT - 1] + "…"


# --- the newest ---------------------------------------------------------------------------------


def listing(result: Listing) -> Structure:
    """Return the newest generations, one compact row each."""
    rows = [
        without_none(
            {
                "generationId": job.generation_id,
                "requestId": job.request_id,
                "status": job.status,
                "mediaType": job.media_type,
                "modelId": job.model_id,
                "prompt": _cut(job.prompt),
                "mediaUrls": list(job.media_urls) or None,
                "files": [name for name in job.files if name] or None,
                "preview": job.preview,
                "resourceUri": record_uri(job.name),
                "madeFrom": list(job.made_from) or None,
                "creditsUsed": credits_json(_used(job)),
                "createdAt": advice.time_of(job.created_at),
                "error": _fault(job.error),
            }
        )
        for job in result.jobs
    ]
    return {
        "generations": rows,
        "spentToday": credits_json(result.spent_today),
        "spentMonth": credits_json(result.spent_month),
    }


def listing_text(structure: Structure) -> str:
    """Write the newest generations as lines."""
    lines = []
    for row in structure["generations"]:
        cost = f", {row['creditsUsed']} credits" if "creditsUsed" in row else ""
        lines.append(
            f"{row['createdAt']} {row['status']} {row['mediaType']} by {row['modelId']}{cost}:"
            f" {row['prompt']}"
        )
        names = [f"{name} {row[name]}" for name in ("generationId", "requestId") if name in row]
        more = [*_error_lines(row), *row.get("mediaUrls", ())]
        more += [f"saved: {name}" for name in row.get("files", ())]
        more += [f"preview: {row['preview']}"] if "preview" in row else []
        more += [f"made from: {', '.join(row['madeFrom'])}"] if "madeFrom" in row else []
        more += [", ".join(names), row["resourceUri"]]
        lines += [f"  {line}" for line in more]
    spent = (
        f"spent or reserved: {structure['spentToday']} credits in 24 hours,"
        f" {structure['spentMonth']} in 30 days"
    )
    return "\n".join([*(lines or ["no generations yet"]), spent])


# --- media --------------------------------------------------------------------------------------


def media_links(job: Generation) -> list[tuple[str, str, str]]:
    """Return url, name and type of each final medium."""
    return [
        (url, f"{job.media_type} {index}", mime_of(url, job.media_type))
        for index, url in enumerate(job.media_urls)
    ]


def without_none(fields: Mapping[str, Any]) -> Structure:
    """Leave out the fields without a value."""
    return {name: value for name, value in fields.items() if value is not None}


# --- output schemas -----------------------------------------------------------------------------

_TEXT: Structure = {"type": "string"}
_NUMBER: Structure = {"type": "number"}
_TEXTS: Structure = {"type": "array", "items": _TEXT}
_OBJECT: Structure = {"type": "object"}

# What a program acts on; what a result repeats of its call comes besides, and would be said thrice.
GENERATION_FIELDS: Structure = {
    "generationId": _TEXT,
    "requestId": _TEXT,
    "status": _TEXT,
    "modelId": _TEXT,
    "mediaUrls": _TEXTS,
    "files": _TEXTS,
    "preview": _TEXT,
    "resourceUri": _TEXT,
    "creditsUsed": _NUMBER,
    "quote": _OBJECT,
    "credits": _OBJECT,
    "expectedSeconds": _NUMBER,
    "error": _OBJECT,
    "next": _TEXT,
}
GENERATION_SCHEMA: Structure = {"type": "object", "properties": GENERATION_FIELDS}
STATUS_SCHEMA: Structure = {
    "type": "object",
    "properties": {
        **GENERATION_FIELDS,
        "generations": {"type": "array", "items": _OBJECT},
        "spentToday": _NUMBER,
        "spentMonth": _NUMBER,
    },
}
