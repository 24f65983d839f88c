"""When the poller acts next; pure."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean, stdev

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
LEAST_PAST = 5
"""Generations of a model from which its usual time is learnt."""
_NARROWEST = 0.1
"""Of a spread that is believed: a few that took equally long prove nothing."""
_EARLY, _LATE = 2.0, 3.0
"""Spreads before and after the usual time between which nearly all are done: 98 of 100, and all
but one of 700."""
_DENSER = 0.8
"""Looks in all by as many as there would be if they were spread evenly from the start."""
_DENSEST = 0.5
"""Of an interval between two looks at the least."""
_SPARSEST = 6.0
"""Intervals between two looks at the most, before it is usually done: models become faster."""


def is_last_quick(job: Generation) -> bool:
    """Return whether the quick tries to save its media end with this one."""
    return job.fetch_failures + 1 >= QUICK_FETCHES


@dataclass(frozen=True, slots=True)
class Usual:
    """When a model is done, by its own past: times of one kind spread as a log-normal does.

    Attributes:
        first: seconds after acceptance before which hardly one is done.
        last: seconds after which hardly one still runs.
        pace: intervals between two looks meanwhile, as many looks as are saved before.
    """

    first: float
    last: float
    pace: float


def usual(seconds: Sequence[float], interval: float) -> Usual | None:
    """Return what is learnt of a model from how long its last ones took.

    None is learnt from a few, and of a model that is done within a few looks.
    """
    if len(seconds) < LEAST_PAST:
        return None
    logs = [math.log(each) for each in seconds]
    middle, spread = fmean(logs), max(_NARROWEST, stdev(logs))
    if math.exp(middle) < 4 * interval:
        return None
    pace = min(1.0, max(_DENSEST, (1 - math.exp(-_EARLY * spread)) / _DENSER))
    return Usual(math.exp(middle - _EARLY * spread), math.exp(middle + _LATE * spread), pace)


@dataclass(frozen=True, slots=True)
class Schedule:
    """When to look at a generation next.

    Attributes:
        interval: seconds between two looks at a watched one.
        usual: what is known of its model's past.
    """

    interval: float
    usual: Usual | None = None

    def after_look(
        self, job: Generation, now: float, jitter: float, age: float = 0.0
    ) -> float | None:
        """Return when to look again at one that is processing; None: never by itself.

        Args:
            job: the record.
            now: the time.
            jitter: a factor for pauses.
            age: seconds since it was accepted.
        """
        accepted = min(job.accepted_at or now, now)  # the clock may have been set back since
        # Half the jitter, so that the looks at many that began together drift apart.
        soon = now + self.interval * (1 + jitter) / 2
        if job.watched_until > now and not job.unobserved:
            expected = accepted + job.expected_seconds
            soon = self._by_past(accepted, expected, now, soon)
            return expected if now < expected < soon else soon
        if job.unobserved:
            return _late_look(now, age)
        return max(accepted + min(job.expected_seconds / 2, _quickest(job.model_id)), soon)

    def _by_past(self, accepted: float, expected: float, now: float, soon: float) -> float:
        """Return when to look at a watched one, by when its model is usually done.

        As many looks as one every interval, but there where they find something. What MeiGen
        expects sooner counts more than the past.
        """
        if self.usual is None or now > accepted + self.usual.last:
            return soon
        first = min(accepted + self.usual.first, expected)
        if now >= first:
            return now + (soon - now) * self.usual.pace
        return now + (first - now) / math.ceil((first - now) / (_SPARSEST * self.interval))

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


def _late_look(now: float, age: float) -> float | None:
    if age > GIVEN_UP_AFTER:
        return None
    return now + (DAY if age > LATE_LOOKS_FOR else LATE_LOOK_EVERY)


def _quickest(model_id: str) -> float:
    """Return in how many seconds a model may be done at the earliest, as far as is known."""
    model = catalogue.shipped().find(model_id)
    return model.typical_seconds[0] if model and model.typical_seconds else float("inf")


def until_due(due_at: float | None, now: float, together: float, rest: float) -> float:
    """Return in how many seconds there is a turn again.

    Args:
        due_at: when the next is due; None: nothing is known of one.
        now: the time.
        together: seconds for which what comes due waits for more.
        rest: seconds between two turns at the most.
    """
    return rest if due_at is None else min(rest, max(0.0, due_at - now) + together)
