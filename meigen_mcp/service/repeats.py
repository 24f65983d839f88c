"""What a request id stands for: one call with one set of arguments."""

from meigen_mcp.errors import RequestConflict
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Opening
from meigen_mcp.ledger.offers import fingerprint


def forgotten(job: Generation) -> bool:
    """Say whether what was asked for was taken out; every call has arguments at first."""
    return not job.arguments


def must_agree(draft: Generation, job: Generation) -> None:
    """Refuse a call whose request id stands for a generation with other arguments.

    Of one that was forgotten only the tool is left to compare; it has ended, so nothing is sent.

    Raises:
        RequestConflict: they differ.
    """
    given = job.arguments if forgotten(job) else draft.arguments
    if fingerprint(job.tool, job.arguments) != fingerprint(draft.tool, given):
        raise conflict(job.request_id)


def conflict(request_id: str) -> RequestConflict:
    """Return the refusal of a call whose request id is another call's."""
    return RequestConflict(
        f"requestId {request_id} names a generation with other arguments. Nothing was sent or"
        " charged for this one."
    )


def stands_for(draft: Generation, opening: Opening) -> Generation | None:
    """Return the generation that a call's request id stands for already.

    Raises:
        RequestConflict: it is another call's; or an earlier token's, and only that can ask what
            became of it.
    """
    job, others = opening.known, opening.others
    # What ended unpaid, or was refused and waits for its own token, is in nobody's way.
    if others is not None and others.amount and not others.parked:
        job = others
        if job.generation_id is None:
            raise RequestConflict(
                f"requestId {job.request_id} was sent with another token, and only that one can ask"
                " what became of it. Nothing was sent or charged for this call."
            )
    if job is not None:
        must_agree(draft, job)
    return job
