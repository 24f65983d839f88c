"""What is told of a call whose intent may be on the disk, whatever breaks from then on.

Nobody says of it that nothing was sent or charged: it is looked up by its id, and not repeated.
"""

from copy import copy
from dataclasses import replace
from typing import TypeVar

from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.reports import Fault
from meigen_mcp.service.results import Outcome

E = TypeVar("E", bound=MeigenError)


def after_money(error: E, request_id: str) -> E:
    """Return an error as a call is told of it whose intent may be on the disk."""
    told = copy(error)  # several calls may meet the same one
    told.charged, told.retryable, told.request_id = "unknown", False, request_id
    told.next = (
        "Whether it was charged is not known. Look it up: call check_status with requestId"
        f' "{request_id}". Do not repeat the call.'
    )
    return told


def as_far_as_known(job: Generation, error: MeigenError) -> Outcome:
    """Return what a call comes to that broke after its intent: what was known last.

    An end stays one. What MeiGen accepted is processing as far as is known; else it is unknown,
    since it may have been sent meanwhile.
    """
    if job.terminal:
        return Outcome(job, job.status, preview=job.preview)
    fault = Fault.of(after_money(error, job.request_id))
    status = job.status if job.generation_id is not None else "unknown"
    return Outcome(replace(job, error=fault), status, broken=True)
