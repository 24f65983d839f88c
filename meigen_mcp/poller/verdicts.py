"""What an answer of the API makes of a generation; pure."""

import math
from dataclasses import dataclass

from meigen_mcp import errors, generation, saving
from meigen_mcp.errors import ApiError
from meigen_mcp.generation import Generation
from meigen_mcp.poller.schedule import Schedule, is_last_quick
from meigen_mcp.reports import Fault, Report

MOST_GARBLED = 3
"""Undocumented answers in a row after which the API counts as one that knows no keys."""
ABSENT_EVERY = 30.0
"""Seconds between looks for what may still be on its way."""
REFUSALS = (
    errors.Unauthorized,
    errors.Forbidden,
    errors.InsufficientCredits,
    errors.InvalidRequest,
    errors.ModerationRefused,
)
"""What MeiGen says of a request that it does not take, and does not charge."""
UNSURE = errors.Unreachable("MeiGen did not say what became of the submission.")


@dataclass(frozen=True, slots=True)
class When:
    """When an answer came, and what follows from that.

    Attributes:
        schedule: when the poller acts next.
        now: the time.
        jitter: a factor for pauses.
        age: seconds since it was accepted, or sent, as far as both clocks are sure of it.
        asked_at: when it was asked for: of later the answer tells nothing.
        hold_until: until when the API wants no submission.
        keyed: the API showed that it knows keys, so pages in its place are somebody else's.
        absent: MeiGen has had nothing under the key for so long that nothing arrives any more.
    """

    schedule: Schedule
    now: float
    jitter: float
    age: float = 0.0
    hold_until: float | None = None
    keyed: bool = False
    absent: bool = False
    asked_at: float = math.inf

    def again(self, job: Generation, error: ApiError) -> float:
        """Return when to try again after a try that taught nothing."""
        return self.schedule.after_failure(job, error, self.now, self.jitter)


def after_report(job: Generation, report: Report, when: When) -> Generation:
    """Return the record after a reply that says how it stands."""
    job = generation.informed(job, report, when.now, when.age)
    match job.status:
        case "completed":
            look_at: float | None = when.now
        case "processing":
            asked_at = min(when.asked_at, when.now)  # the clock may have been set back since
            look_at = when.schedule.after_look(job, asked_at, when.jitter, when.age)
        case _:
            look_at = None
    return generation.postponed(job, look_at)


def after_refused_post(job: Generation, error: ApiError, when: When, *, first: bool) -> Generation:
    """Return the record after a POST that was refused, or whose reply is lost.

    Args:
        job: the record.
        error: what came of the POST.
        when: the time.
        first: no POST before it may have arrived.
    """
    match error:
        case errors.Unreachable(sent=False) if first:
            # Provably never left: an intent again, tried each minute as long as it may be sent.
            again = when.now + when.schedule.backoff(job, when.jitter)
            return generation.unsent(generation.unreached(job, again, error), again)
        case errors.RateLimited() if first:
            return generation.unsent(job, when.hold_until)
        case errors.RateLimited():
            return generation.postponed(job, when.hold_until)
        case errors.Unauthorized() | errors.Forbidden() | errors.InsufficientCredits():
            return generation.parked(job, error, posted=not first)
        case errors.InvalidRequest() | errors.ModerationRefused():
            return generation.failed(job, Fault.of(error, "no"), when.now)
        case errors.IdempotencyConflict() | errors.RequestIdCollision() | errors.GenerationGone():
            return generation.failed(job, Fault.of(error, "unknown"), when.now)
        case errors.InProgress():
            pause = error.retry_after or when.schedule.interval
            return generation.postponed(generation.named(job, error), when.now + pause)
        case _:
            # Looked up at once; one that is lost again and again waits longer each time.
            pause = 0.0 if job.failures == 0 else when.schedule.backoff(job, when.jitter)
            return generation.lost(generation.named(job, error), when.now + pause)


def after_failed_lookup(job: Generation, error: ApiError, when: When) -> Generation:
    """Return the record after a lost reply was asked about; only an answer proves something."""
    job = generation.named(job, error)
    match error:
        case errors.RequestNotFound() if when.absent:
            return generation.expired(job, when.now)
        case errors.RequestNotFound():  # what was sent last may still be on its way
            return generation.postponed(job, when.now + ABSENT_EVERY)
        case errors.InsufficientCredits():
            return generation.parked(job, error, posted=True)
        case errors.GenerationGone():
            return generation.failed(job, Fault.of(error), when.now)
        case errors.JobNotFound() if when.age > generation.OBSERVED[job.media_type]:
            return generation.failed(job, Fault.of(error), when.now)
        case errors.UnreadableReply() if not when.keyed:
            if job.status == "unknown" or job.garbled + 1 >= MOST_GARBLED:
                return generation.unknown(job)
            return generation.misread(job, when.now + min(when.schedule.interval, 3.0))
        case _:
            return generation.missed(job, when.again(job, error), error)


def after_failed_look(job: Generation, error: ApiError, when: When) -> Generation:
    """Return the record of one that is processing after a look that did not say how it stands."""
    job = generation.observed(job, when.age)
    match error:
        case errors.GenerationGone():
            return generation.failed(job, Fault.of(error), when.now)
        case errors.JobNotFound() if job.unobserved:  # before, MeiGen may have just taken it in
            return generation.failed(job, Fault.of(error), when.now)
        case _:
            return generation.missed(job, when.again(job, error), error)


def after_fault(job: Generation, again: float) -> Generation:
    """Return the record to be tried again after a failure of ours; saving is given up at last."""
    if not job.terminal:
        return generation.postponed(job, again)
    return saving.unfetched(job, None if is_last_quick(job) else again)
