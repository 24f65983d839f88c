"""The background loop: submits intents, watches generations, saves results.

It is the only caller of `Api.submit`. Everything it knows is in the ledger, so it can stop at any
moment and go on in another process. Only `run` sleeps; `step` does what is due.
"""

import contextlib
import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from meigen_mcp import catalogue, errors, generation, window
from meigen_mcp.api import POST_SECONDS, Api
from meigen_mcp.generation import Fault, Generation, Report, Status
from meigen_mcp.ledger import Ledger
from meigen_mcp.media import Media, NotSaved

log = logging.getLogger(__name__)

TICK = 0.5
REST = 5.0
"""Seconds without the ledger until it is tried again."""
TAKE_OVER_EVERY = 2.0
LONGEST_BACKOFF = 60.0
LATE_LOOK_EVERY = 300.0
MOST_GARBLED = 3
MOST_FETCHES = 6
_KINDS: Mapping[str, tuple[tuple[Status, ...], int]] = {
    "post": (("queued", "submitting", "unknown"), 8),
    "look": (("processing",), 12),
    "fetch": (("completed", "failed"), 4),
}
"""What there is to do in which states, and how much of it at once."""
_MOST_A_TURN = 4
BREATH = 0.005
START_AFTER = 1.0
MOST_PREVIEWS = 60
"""Previews that wait for their turn; beyond that none is made, since they may never catch up."""


class Poller:
    """Acts on the generations that this process owns.

    Args:
        ledger: where everything stands.
        api: the account's API.
        media: what saves results.
        account: whose generations to act on.
        interval: seconds between two looks at a watched generation.
        rate_limit: submissions that may start in 60 seconds, over all processes.
        clock: seconds since the epoch.
        jitter: a factor around 1 for pauses, so that neither many processes nor the looks at many
            generations keep in step.
    """

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        media: Media,
        account: str,
        *,
        interval: float = 3.0,
        rate_limit: int = 12,
        clock: Callable[[], float] = time.time,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311  # no secret
    ) -> None:
        self._ledger = ledger
        self._agenda = ledger.agenda
        self._api = api
        self._media = media
        self._account = account
        self._interval = interval
        self._window = window.Window(ledger.database, account, rate_limit)
        self._clock = clock
        self._jitter = jitter
        self._busy: dict[str, str] = {}
        self._next_take_over = 0.0
        self._rests_until = 0.0

    async def run(self) -> None:
        """Act for ever; a failure below is logged and never ends the loop."""
        with anyio.move_on_after(START_AFTER):  # what a client asks first comes first
            await self._ledger.work.wait()
        async with anyio.create_task_group() as group:
            while True:
                self._ledger.work = anyio.Event()
                pause = TICK
                try:
                    self._ledger.notice()
                    pause = self._start_due(group)
                except errors.LedgerUnavailable as error:
                    log.warning("ledger unavailable: %s", error.message)
                    pause = REST
                except Exception:
                    log.exception("poller failed")
                    pause = REST
                if len(self._busy) >= _MOST_A_TURN:  # many end one by one: a turn for several
                    await anyio.sleep(BREATH)
                with anyio.move_on_after(pause):
                    await self._ledger.work.wait()

    async def step(self) -> None:
        """Do once everything that is due now, to its end."""
        async with anyio.create_task_group() as group:
            self._start_due(group, most=100)

    def _start_due(self, group: TaskGroup, most: int = _MOST_A_TURN) -> float:
        """Start what is due, as far as there is room; return in how many seconds to go on."""
        now = self._clock()
        if now < self._rests_until:
            return self._pause(self._rests_until)
        if now >= self._next_take_over:
            self._next_take_over = now + TAKE_OVER_EVERY
            self._agenda.take_over(self._account, now)
            self._ledger.expire(now - generation.SUBMIT_WITHIN, now)
        due_at = self._agenda.next_due(self._account)
        if due_at is None or due_at > now:
            return self._pause(due_at)
        busy, left = Counter(self._busy.values()), False
        for kind, (statuses, at_once) in _KINDS.items():
            room = min(at_once - busy[kind], most)
            if room <= 0:
                continue
            due = self._agenda.due(self._account, now, statuses, self._busy, room)
            for job in due:
                self._busy[job.request_id] = kind
                group.start_soon(self._act, job)
            left = left or len(due) == most
        return 0.0 if left else self._pause(self._agenda.next_due(self._account, now))

    def _pause(self, due_at: float | None) -> float:
        return TICK if due_at is None else min(TICK, max(0.0, due_at - self._clock()))

    def _action(self, job: Generation) -> Callable[[Generation], Awaitable[None]]:
        match job.status:
            case "queued":
                return self._submit
            case "submitting" | "unknown":
                return self._look_up
            case "processing":
                return self._look
            case _:
                return self._fetch

    async def _act(self, job: Generation) -> None:
        try:
            await self._action(job)(job)
        except errors.LedgerUnavailable as error:
            log.warning("ledger unavailable: %s", error.message)
            self._rests_until = self._clock() + REST  # else it would be due again at once
        except Exception:
            log.exception("acting on a generation failed")
            with contextlib.suppress(errors.LedgerUnavailable):
                self._save(self._after_failure_of_ours(self._fresh(job)))
        finally:
            self._busy.pop(job.request_id, None)
            self._ledger.work.set()

    def _after_failure_of_ours(self, job: Generation) -> Generation:
        """Try again in a while; what is only about files is given up in the end."""
        failures = job.fetch_failures + (1 if job.terminal else 0)
        again = self._clock() + 30 if failures < MOST_FETCHES else None
        return replace(job, fetch_failures=failures, next_look=again)

    def _fresh(self, job: Generation) -> Generation:
        """Read the record again: calls may have written to it while a reply was awaited."""
        return self._ledger.get(job.account, job.request_id) or job

    def _save(self, job: Generation, *, durable: bool = True) -> None:
        self._ledger.save(job, durable=durable)

    # --- submitting -----------------------------------------------------------------------------

    async def _submit(self, job: Generation) -> None:
        now = self._clock()
        if now - job.created_at >= generation.SUBMIT_WITHIN:
            self._save(generation.expired(job, now))
            return
        held = self._ledger.notes.get(f"hold:{self._account}") or 0.0
        slot, free_at = (
            (None, held)
            if held > now
            else self._window.claim(
                job.request_id, now, held_until=now + POST_SECONDS + 10 + window.SECONDS
            )
        )
        if slot is None:
            self._save(replace(job, next_look=free_at))
            return
        first = job.posted_at is None
        job = generation.posting(job, now)
        self._save(job)
        try:
            report = await self._api.submit(job.body)
        except errors.ApiError as error:
            self._window.answered(slot, self._clock())
            self._after_refused_post(self._fresh(job), error, first=first)
        else:
            self._window.answered(slot, self._clock())
            self._learn(self._fresh(job), report)

    def _after_refused_post(self, job: Generation, error: errors.ApiError, *, first: bool) -> None:
        now = self._clock()
        match error:
            case errors.Unreachable(sent=False) if first:
                # Provably never left: it is an intent again, and may be sent as long as one may.
                again = replace(job, status="queued", posted_at=None)
                self._save(self._later(again, error))
            case errors.RateLimited():
                until = now + (
                    error.retry_after if error.retry_after is not None else window.SECONDS
                )
                self._ledger.notes.put(f"hold:{self._account}", until)
                if first:
                    job = replace(job, status="queued", posted_at=None)
                self._save(replace(job, next_look=until))
            case errors.Unauthorized() | errors.Forbidden() | errors.InsufficientCredits():
                self._save(generation.parked(job, error))
            case errors.InvalidRequest() | errors.ModerationRefused():
                self._save(generation.failed(job, Fault.of(error, "no"), now))
            case (
                errors.IdempotencyConflict() | errors.RequestIdCollision() | errors.GenerationGone()
            ):
                self._save(generation.failed(job, Fault.of(error, "unknown"), now))
            case errors.InProgress():
                self._save(replace(job, next_look=now + (error.retry_after or self._interval)))
            case _:
                # Looked up at once; one that is lost again and again waits longer each time.
                pause = 0.0 if job.failures == 0 else self._backoff(job)
                self._save(generation.lost(job, now + pause))

    async def _look_up(self, job: Generation) -> None:
        """Ask what became of a POST whose reply was lost."""
        try:
            if job.generation_id is not None:
                report = await self._api.status(job.generation_id)
            else:
                report = await self._api.lookup(job.request_id)
        except errors.ApiError as error:
            await self._after_failed_lookup(self._fresh(job), error)
        else:
            self._learn(self._fresh(job), report)

    async def _after_failed_lookup(self, job: Generation, error: errors.ApiError) -> None:
        now = self._clock()
        since = now - (job.posted_at or job.created_at)
        free = isinstance(error, errors.RequestNotFound) or (
            isinstance(error, errors.InProgress) and error.retry_after == 0
        )
        match error:
            case _ if free and since <= generation.RESUBMIT_WITHIN:
                await self._submit(job)
            case errors.RequestNotFound():
                self._save(generation.expired(job, now))
            case errors.InsufficientCredits():
                self._save(generation.parked(job, error))
            case errors.GenerationGone():
                self._save(generation.failed(job, Fault.of(error), now))
            case _ if job.status == "unknown":
                self._save(generation.unknown(job))
            case errors.UnreadableReply() if job.garbled + 1 >= MOST_GARBLED:
                self._save(generation.unknown(job))
            case errors.UnreadableReply():
                soon = now + min(self._interval, 3.0)
                self._save(replace(job, garbled=job.garbled + 1, next_look=soon))
            case _ if since > generation.LOOKUP_WITHIN:
                self._save(generation.unknown(job))
            case _:
                self._save(self._later(job, error))

    # --- watching -------------------------------------------------------------------------------

    async def _look(self, job: Generation) -> None:
        try:
            report = await self._api.status(job.generation_id or "")
        except errors.GenerationGone as error:
            gone = generation.failed(self._fresh(job), Fault.of(error), self._clock())
            self._save(gone)
        except errors.ApiError as error:
            fresh = self._fresh(job)
            waited = self._clock() - (fresh.accepted_at or fresh.created_at)
            late = fresh.unobserved or waited > generation.OBSERVED[fresh.media_type]
            self._save(self._later(replace(fresh, unobserved=late), error), durable=False)
        else:
            self._learn(self._fresh(job), report)

    def _learn(self, job: Generation, report: Report) -> None:
        now, known = self._clock(), job
        job, look_at = generation.informed(job, report, now), None
        if job.status == "completed":
            look_at = now
        elif job.status == "processing":
            look_at = self._next_look(job, now)
            if job == known:
                self._ledger.look_again(job, look_at)
                return
        self._save(replace(job, next_look=look_at))

    def _next_look(self, job: Generation, now: float) -> float | None:
        accepted = job.accepted_at or now
        # Half the jitter, so that the looks at many that began together drift apart.
        soon = now + self._interval * (1 + self._jitter()) / 2
        if job.watched_until > now and not job.unobserved:
            expected = accepted + job.expected_seconds
            return expected if now < expected < soon else soon
        if job.unobserved:
            late = now - accepted > generation.LATE_LOOKS_FOR
            return None if late else now + LATE_LOOK_EVERY
        return max(accepted + min(job.expected_seconds / 2, _quickest(job.model_id)), soon)

    def _later(self, job: Generation, error: errors.ApiError) -> Generation:
        """Put off the next try after one that taught nothing, a little longer each time."""
        now = self._clock()
        when: float | None = now + max(self._backoff(job), error.retry_after or 0.0)
        if job.unobserved:
            late = now - (job.accepted_at or now) > generation.LATE_LOOKS_FOR
            when = None if late else now + LATE_LOOK_EVERY
        return replace(job, failures=job.failures + 1, next_look=when)

    def _backoff(self, job: Generation) -> float:
        pause: float = self._interval * 2 ** min(job.failures, 10)
        return min(pause, LONGEST_BACKOFF) * self._jitter()

    # --- saving ---------------------------------------------------------------------------------

    async def _fetch(self, job: Generation) -> None:
        """Save what is not saved yet, then make the preview.

        A failure never changes that the generation completed.
        """
        again = False
        if self._media.folder is not None:
            missing = [index for index, saved in enumerate(job.files) if saved is None]
            again = not all([await self._saved(job, index) for index in missing])
        fresh = self._fresh(job)
        if again and fresh.fetch_failures + 1 < MOST_FETCHES:
            pause = self._interval * 2**fresh.fetch_failures * self._jitter()
            failures = fresh.fetch_failures + 1
            self._save(replace(fresh, fetch_failures=failures, next_look=self._clock() + pause))
            return
        preview = None
        if Counter(self._busy.values())["preview"] < MOST_PREVIEWS:
            self._busy[job.request_id] = "preview"  # which takes its turn; saving goes on meanwhile
            self._ledger.work.set()
            preview = await self._media.preview(fresh)
        self._save(replace(self._fresh(job), preview=preview, next_look=None))

    async def _saved(self, job: Generation, index: int) -> bool:
        """Save one medium; return False when it is worth another try."""
        try:
            path = await self._media.save(job, index)
        except NotSaved:
            return True
        except errors.ApiError:
            return False
        fresh = self._fresh(job)
        files = (*fresh.files[:index], str(path), *fresh.files[index + 1 :])
        self._save(replace(fresh, files=files))
        return True


def _quickest(model_id: str) -> float:
    """Return in how many seconds a model may be done at the earliest, as far as is known."""
    model = catalogue.shipped().find(model_id)
    return model.typical_seconds[0] if model and model.typical_seconds else float("inf")
