"""Drafts and finals: a preview that is paid, and the whole that is paid again.

How the request of a final names its draft is MeiGen's to say; where it does not, none is made here.
"""

import json
from collections.abc import Mapping, Sequence
from typing import Any

from meigen_mcp.catalogue.arguments import CONTROL
from meigen_mcp.catalogue.models import Model
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.catalogue.rules import present
from meigen_mcp.errors import InvalidArguments, Problem
from meigen_mcp.generation import Generation
from meigen_mcp.reports import Draft
from meigen_mcp.service.references import Reference, References
from meigen_mcp.service.repeats import forgotten
from meigen_mcp.wording import show, time_of

KEPT_FOR = 7 * 86400.0
"""Seconds for which a draft can become a final, where MeiGen tells no time (notes 3.2.0)."""
_LONGEST = 366 * 86400.0
"""Seconds beyond that which are believed: who says more means another time."""
_OF_A_DRAFT = ("draft", "resolution")
"""What a final does not have of its draft: it is in 1080p (notes 3.2.0)."""
_ELSEWHERE = "render the final on meigen.ai"


def over_at(job: Generation, draft: Draft) -> float:
    """Return when a draft is over; what MeiGen told counts if it can be."""
    usual = (job.finished_at or job.created_at) + KEPT_FOR
    said = draft.expires_at
    return said if said is not None and 0 < said <= usual + _LONGEST else usual


def final_of(
    job: Generation | None, given: Mapping[str, Any], now: float
) -> tuple[References, Quote, str]:
    """Return the arguments, the price and the body of the final of a draft.

    Args:
        job: the draft, or a final that failed; None where there is no such record.
        given: the arguments of the call: what the draft says may be repeated, and nothing else.
        now: the time.

    Raises:
        InvalidArguments: no final can be made of it, or another one was asked for.
    """
    named = given["finalOf"]
    if job is None:
        wrong = f"{show(named)} names no generation of this account"
        raise _refused(wrong, "see the newest ones, with check_status")
    if forgotten(job):
        raise _refused(f"what {show(named)} was made from was forgotten", _ELSEWHERE)
    draft = job.draft
    if draft is None and job.drafted and not job.terminal:
        raise _refused(f"{show(named)} is {job.status}", "wait until it is completed")
    if draft is None or not (job.drafted or job.status == "failed"):
        raise _refused(f"{show(named)} is no draft of which MeiGen told a final", _ELSEWHERE)
    if not draft.request:
        raise _refused("MeiGen told no way to the final that this server knows", _ELSEWHERE)
    if now > over_at(job, draft):
        over = time_of(over_at(job, draft))
        raise _refused(f"that draft was over on {over}", "make a new draft")
    kept = {name: value for name, value in job.arguments.items() if name not in _OF_A_DRAFT}
    kept |= {"finalOf": job.name}
    other = [
        Problem(name, "the final renders the draft as it is", "leave it out, or make a new draft")
        for name, value in present(given).items()
        if name not in (*CONTROL, "finalOf") and kept.get(name) != value
    ]
    if other:
        raise InvalidArguments(other)
    quote = Quote(draft.final_credits, "exact", "the whole final, as MeiGen told with the draft")
    body = {
        name: value
        for name, value in json.loads(job.body).items()
        if name not in (*_OF_A_DRAFT, "idempotencyKey")
    }
    control = {name: given[name] for name in CONTROL if name in given}
    parent = Reference(named, result=(job, 0))
    return References({**kept, **control}, [parent]), quote, json.dumps({**body, **draft.request})


def why_no_draft(model: Model, jobs: Sequence[Generation], listed_at: float) -> Problem | None:
    """Return why no draft is made before the next list: the last one was not what was announced."""
    for job in jobs:
        if not job.drafted or job.model_id != model.id or (job.accepted_at or 0) < listed_at:
            continue
        if wrong := not_as_announced(job):
            words = f"the last one of {model.id} {wrong}, so none is made before MeiGen's next list"
            return Problem("draft", words, f"leave it out, or {_ELSEWHERE}")
    return None


def not_as_announced(job: Generation) -> str:
    """Say what is wrong with a draft, as the end of a sentence; nothing where it is right."""
    quoted, used = job.quote.credits, job.credits_used
    if quoted is not None and used is not None and used > quoted:
        return f"cost {used:f} credits, and {quoted:f} were quoted"
    if job.status == "completed" and job.draft is None:
        return "came without a word on its final"
    return ""


def _refused(message: str, fix: str) -> InvalidArguments:
    return InvalidArguments([Problem("finalOf", message, fix)])
