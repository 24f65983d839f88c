"""Drafts and finals of the sandbox of 2026-11, as far as no source says how they are spoken of.

How a status names the way to the final is in `../catalogue/assumed.toml`; the names and the choices
here are INVENTED.
"""

from collections.abc import Mapping
from datetime import UTC, date, datetime
from typing import Any

from meigen_mcp.catalogue.assumed import name_of
from meigen_mcp.catalogue.models import Model
from meigen_mcp.sandbox.models import JSON, price
from meigen_mcp.sandbox.state import Job, invalid

DRAFT, FAILED = "draftGenerationId", "retryFailedGenerationId"
"""What the request of a final names, a draft or a final that failed."""
KEPT_SECONDS = 7 * 86400.0
_FINAL = "1080p"


def settings_of_final(model: Model, arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Return the arguments of a final; a tier that has no 1080p makes way for one that has."""
    kept = {name: value for name, value in arguments.items() if name != "draft"}
    tier = kept.get("tier")
    if _FINAL not in model.resolutions_of(tier):
        tier = next(other for other in model.tiers if _FINAL in model.resolutions_of(other))
    return {**kept, "tier": tier, "resolution": _FINAL}


def parent_of(request: Mapping[str, Any]) -> str | None:
    """Return the job that the request of a final names."""
    named = request.get(FAILED) or request.get(DRAFT)
    return named if isinstance(named, str) else None


def fails(prompt: str, request: Mapping[str, Any]) -> bool:
    """Say whether a job fails by the words of its prompt; a final that is tried again does not."""
    final = "sandbox:fail-final" in prompt and DRAFT in request and FAILED not in request
    return final or "sandbox:fail" in prompt.replace("sandbox:fail-final", "")


def is_over(job: Job, now: float) -> bool:
    """Say whether nothing can be rendered from a job any more."""
    return job.due_at is None or now > job.due_at + KEPT_SECONDS


def said_of(job: Job, now: float, today: date) -> JSON | None:
    """Return what a status says of the final, of a draft or of a final that failed."""
    drafted = job.arguments.get("draft") is True and job.status(now) == "completed"
    failed = parent_of(job.request) is not None and job.status(now) == "failed"
    if not (drafted or failed) or "sandbox:no-final" in job.arguments["prompt"]:
        return None
    until = datetime.fromtimestamp((job.due_at or now) + KEPT_SECONDS, UTC)
    arguments = settings_of_final(job.model, job.arguments)
    return {
        "finalCredits": price(job.model, arguments, today),
        name_of("draft_expiry"): until.isoformat(),
        name_of("final_request"): {DRAFT if drafted else FAILED: job.id},
    }


def made_with(job: Job, now: float, today: date) -> tuple[Model, dict[str, Any]]:
    """Return what makes the final of a job, and its arguments, or refuse it."""
    if said_of(job, now, today) is None:
        raise invalid("This generation has no final")
    if is_over(job, now):
        raise invalid("This draft is over")
    return job.model, settings_of_final(job.model, job.arguments)
