"""When the poller acts next; pure."""

from dataclasses import dataclass

from meigen_mcp.catalogue import models as catalogue
from meigen_mcp.errors import ApiError
from meigen_mcp.generation import Generation

LONGEST_BACKOFF = 60.0
LATE_LOOK_EVERY = 300.0
QUICK_FETCHES = 6
"""Tries to save a result in its first minutes; the preview then waits no longer."""
_LATER_FETCHES = (60.0, 600.0)
FETCH_EVERY = 3600.0
FETCHED_FOR = 24 * 3600.0
"""Seconds after completion in which saving is tried again by itself; later at each start."""
LATE_LOOKS_FOR = 24 * 3600.0
"""Seconds after acceptance in which an unobserved generation is looked at so often; then daily."""
GIVEN_UP_AFTER = 30 * 24 * 3600.0
"""Seconds after acceptance after which an answered look is the last one that nobody asked for."""
HOURLY_AFTER, DAILY_AFTER = 20, 20 + 24
"""Failures in a row, about a quarter of an hour and a day, after which the pauses are so long."""
HOUR, DAY = 3600.0, 24 * 3600.0


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to look at a generation next.

    Attributes:
        interval: seconds between two looks at a watched one.
    """

    interval: float

    def after_look(self, job: Generation, now: float, jitter: float) -> float | None:
        """Return when to look again at one that is processing; None: never by itself."""
        accepted = min(job.accepted_at or now, now)  # the clock may have been set back since
        # Half the jitter, so that the looks at many that began together drift apart.
        soon = now + self.interval * (1 + jitter) / 2
        if job.watched_until > now and not job.unobserved:
            expected = accepted + job.expected_seconds
            return expected if now < expected < soon else soon
        if job.unobserved:
            return _late_look(job, now)
        return max(accepted + min(job.expected_seconds / 2, _quickest(job.model_id)), soon)

    def after_failure(self, job: Generation, error: ApiError, now: float, jitter: float) -> float:
        """Return when to try again after a try that taught nothing, later each time.

        It is never the last: could not ask is not asked.
        """
        if job.failures >= DAILY_AFTER:
            return now + DAY * jitter
        if job.failures >= HOURLY_AFTER:
            return now + HOUR * jitter
        return now + max(self.backoff(job, jitter), error.retry_after or 0.0)

    def after_unsaved(self, job: Generation, now: float, jitter: float) -> float | None:
        """Return when to try again to save what could not be saved; None: not by itself.

        A full disk, missing descriptors and a failing host pass, most in a minute, some in a day.
        """
        tries = job.fetch_failures
        if tries + 1 < QUICK_FETCHES:
            pause: float = self.interval * 2**tries
            return now + pause * jitter
        if (later := tries + 1 - QUICK_FETCHES) < len(_LATER_FETCHES):
            return now + _LATER_FETCHES[later] * jitter
        again = now + FETCH_EVERY * jitter
        return again if again < (job.finished_at or now) + FETCHED_FOR else None

    def backoff(self, job: Generation, jitter: float) -> float:
        """Return the pause after as many failures as it has."""
        pause: float = self.interval * 2 ** min(job.failures, 10)
        return min(pause, LONGEST_BACKOFF) * jitter


def _late_look(job: Generation, now: float) -> float | None:
    age = now - (job.accepted_at or now)
    if age > GIVEN_UP_AFTER:
        return None
    return now + (DAY if age > LATE_LOOKS_FOR else LATE_LOOK_EVERY)


def _quickest(model_id: str) -> float:
    """Return in how many seconds a model may be done at the earliest, as far as is known."""
    model = catalogue.shipped().find(model_id)
    return model.typical_seconds[0] if model and model.typical_seconds else float("inf")
