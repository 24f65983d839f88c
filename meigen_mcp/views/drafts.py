"""What is answered about a draft: what its final costs, and until when it can be had."""

from collections.abc import Mapping
from typing import Any

from meigen_mcp.generation import Generation
from meigen_mcp.service import finals
from meigen_mcp.wording import credits_json, time_of


def known(job: Generation) -> dict[str, Any] | None:
    """Return what a draft, or a final that failed, says of the final; None for all others."""
    if job.draft is None:
        return None
    price, until = credits_json(job.draft.final_credits), finals.over_at(job, job.draft)
    return {"finalCredits": price, "expiresAt": time_of(until)}


def told(structure: Mapping[str, Any]) -> list[str]:
    """Write it as a line, if there is something to say."""
    if "draft" not in structure:
        return []
    draft = structure["draft"]
    return [f"draft: its final costs {draft['finalCredits']} credits, until {draft['expiresAt']}"]
