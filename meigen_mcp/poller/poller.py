"""The background loop: submits intents, watches generations, saves results.

It is the only caller of `Api.submit`. Everything it knows is in the ledger, so it can stop at any
moment and go on in another process. Only `run` sleeps; `step` does what is due.
"""

import logging
import random
import time
from collections import Counter
from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
from anyio.abc import TaskGroup

from meigen_mcp import errors, generation
from meigen_mcp.api.client import POST_SECONDS, Api
from meigen_mcp.generation import Generation, used
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.queue import SLOT_FREED_AFTER, Slot
from meigen_mcp.ledger.records import Change, TakenOver
from meigen_mcp.media.store import Media
from meigen_mcp.people import key_of
from meigen_mcp.poller.keys import Keys
from meigen_mcp.poller.past import Past
from meigen_mcp.poller.permission import Permission
from meigen_mcp.poller.postponed import TOGETHER, Postponed
from meigen_mcp.poller.room import Room
from meigen_mcp.poller.sameness import Sameness
from meigen_mcp.poller.saver import Saver
from meigen_mcp.poller.schedule import QUICK_FETCHES, Schedule, until_due
from meigen_mcp.poller.unwritten import Unwritten
from meigen_mcp.poller.verdicts import (
    REFUSALS,
    UNSURE,
    When,
    after_failed_look,
    after_failed_lookup,
    after_fault,
    after_refused_post,
    after_report,
)
from meigen_mcp.reports import Report
from meigen_mcp.system import Clocks
from meigen_mcp.tally import Tally

log = logging.getLogger(__name__)

REST = 5.0
"""Seconds without the ledger until it is tried again."""
RECLAIM_EVERY = 2.0
_MOST_A_TURN = 12
BREATH = 0.005
JUMP = 1.0
"""Seconds by which the clocks differ after a turn when one was set, or the machine slept."""


class Poller:
    """Acts on the generations that this process owns.

    Args:
        ledger: where everything stands.
        api: the account's API.
        media: what saves results.
        interval: seconds between two looks at a watched generation.
        clock: seconds since the epoch.
        monotonic: seconds that only grow; by these it rests.
        jitter: a factor around 1 for pauses, so that neither many processes nor the looks at many
            generations keep in step.
        tally: where it is counted what was done.
    """

    def __init__(
        self,
        ledger: Ledger,
        api: Api,
        media: Media,
        *,
        interval: float = 3.0,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
        jitter: Callable[[], float] = lambda: random.uniform(0.8, 1.2),  # noqa: S311  # no secret
        tally: Tally | None = None,
    ) -> None:
        self._records = ledger.records
        self._queue = ledger.queue
        self._accounts = ledger.accounts
        self._sameness = Sameness(ledger.accounts, api, monotonic)
        self._api = api
        self._schedule = Schedule(interval)
        self._keys = Keys(ledger.queue, monotonic)
        self._past = Past(ledger.queue, interval, monotonic)
        self._clock = clock
        self._clocks = Clocks(clock, monotonic)
        self._permission = Permission(self._clocks)
        self._jitter = jitter
        self._room = Room()
        self._postponed = Postponed(ledger.queue, monotonic)
        beside = (ledger, media, self._room, self._schedule, self._begin_more)
        self._saver = Saver(*beside, clock=clock, jitter=jitter)
        self._next_reclaim = 0.0
        self._resumed = self._saves_nothing = media.folder is None
        self._looked_again = self._more_due = self._ending = False
        self._unwritten = Unwritten()
        self._tally = tally or Tally()
        self._rests_until = self._jump = 0.0

    async def run(self) -> None:
        """Act for ever; a failure below is logged and never ends the loop."""
        async with anyio.create_task_group() as group:
            while True:
                seen = self._queue.work.count
                try:
                    pause = await self._start_due(group)
                except errors.LedgerUnavailable as error:
                    log.warning("ledger unavailable: %s", error.message)
                    pause = REST
                except Exception:
                    log.exception("poller failed")
                    pause = REST
                if len(self._room) >= _MOST_A_TURN:  # many end one by one: a turn for several
                    await anyio.sleep(BREATH)
                with anyio.move_on_after(pause):
                    await self._queue.work.after(seen)

    async def end(self, within: float) -> None:
        """Begin nothing more, and wait so many seconds for the replies to what is being sent."""
        self._ending = True
        with anyio.move_on_after(within):
            while self._room.sends:
                await self._queue.work.after(self._queue.work.count)

    async def step(self) -> None:
        """Do once everything that is due now, to its end."""
        async with anyio.create_task_group() as group:
            await self._start_due(group, most=100)
        await self._postponed.write()

    async def _start_due(self, group: TaskGroup, most: int = _MOST_A_TURN) -> float:
        """Start what is due, as far as there is room; return in how many seconds to go on."""
        now, running = self._clock(), self._clocks.monotonic()
        if running < self._rests_until:
            return min(self._queue.rest, self._rests_until - running)
        await self._notice_jump(now)
        await self._unwritten.write_late()
        if not self._postponed.left:
            await self._postponed.write()
        if running >= self._next_reclaim:
            self._next_reclaim = running + RECLAIM_EVERY
            await self._queue.reclaim(now)
        if not self._resumed:
            await self._queue.resume_saving(now, QUICK_FETCHES - 1)
            self._resumed = True
        if not self._looked_again:
            await self._queue.look_again(now)
            self._looked_again = True
        if self._sameness.due:
            group.start_soon(self._sameness.run)
        wanted = self._room.wanted(most)
        acted_on = {*self._room.taken, *self._unwritten.keys, *self._postponed}
        due = await self._queue.due(now, wanted, acted_on)
        if self._ending:
            return self._queue.rest
        for kind, job in due.jobs:
            self._room.take(key_of(job), kind)
            group.start_soon(self._act, job)
        begun = Counter(kind for kind, _ in due.jobs)
        if most in begun.values():
            return 0.0
        self._more_due = any(begun[kind] == of_kind.places for kind, of_kind in wanted.items())
        pause = until_due(due.next_at, self._clock(), self._queue.together, self._queue.rest)
        return min(pause, self._postponed.left, self._next_reclaim - running)

    async def _notice_jump(self, now: float) -> None:
        """Have everything done anew once a clock was set or the machine slept: no time is true."""
        self._jump += self._clocks.jumped()
        if abs(self._jump) > JUMP:
            log.info("the clock was set, or the machine slept: %+.0f s", self._jump)
            self._postponed.forget()
            await self._queue.hurry(now)
            self._resumed = self._saves_nothing
            self._looked_again = self._looked_again and self._jump < 0  # it woke: as at a start
        self._jump = 0.0  # only now: what could not be done is done in the next turn

    def _action(self, job: Generation) -> Callable[[Generation], Awaitable[Generation | None]]:
        match job.status:
            case "queued":
                return self._submit
            case "submitting" | "unknown":
                return self._look_up
            case "processing":
                return self._look
            case _:
                return self._saver.fetch

    async def _act(self, job: Generation) -> None:
        action, after = self._action(job), None
        name = f"poller {action.__name__.strip('_')}"
        try:
            with self._tally.span(name, medium=job.media_type, model=job.model_id):
                after = await action(job)
        except errors.LedgerUnavailable as error:
            log.warning("ledger unavailable: %s", error.message)
            self._rests_until = self._clocks.monotonic() + REST  # else it is due again at once
        except TakenOver as over:
            log.info("%s", over.message)
        except Exception:
            log.exception("acting on a generation failed")
            await self._put_off(job)
        finally:
            self._room.leave(key_of(job))
            if (after and after.at_rest) or key_of(job) in self._postponed:
                self._begin_more()
            else:
                self._queue.work.set()

    def _begin_more(self) -> None:
        """Take a turn if others wait for a place: each is a question to the ledger."""
        if self._more_due:
            self._queue.work.set()

    async def _put_off(self, job: Generation) -> None:
        """Try again in a while after a failure of ours."""
        again = self._clock() + 30
        try:
            await self._change(job, lambda j: after_fault(j, again))
        except errors.MeigenError as error:
            log.warning("it could not be put off: %s", error.message)
            self._rests_until = self._clocks.monotonic() + REST

    async def _change(self, job: Generation, change: Change, *, durable: bool = True) -> None:
        how = {"durable": durable, "patient": True, "by_owner": True}
        self._count_end(job, await self._records.change(job, change, **how))

    def _count_end(self, before: Generation, after: Generation) -> None:
        if after.terminal and not before.terminal:
            self._tally.count_end(after.status, after.media_type, used(after))

    def _when(self, job: Generation, schedule: Schedule | None = None) -> When:
        now = self._clock()
        if job.accepted_at is None:  # it may be from now on
            self._clocks.surely_since(now)
        age = self._clocks.surely_since(job.accepted_at or job.posted_at or now)
        return When(schedule or self._schedule, now, self._jitter(), age)

    # --- submitting -----------------------------------------------------------------------------

    async def _submit(self, job: Generation) -> None:
        if self._permission.to_send(job):
            await self._post(job)
            return
        now = self._clock()
        await self._change(job, lambda j: generation.expired(j, now))

    async def _post(self, job: Generation) -> None:
        now = self._clock()
        await self._past.learn(job.model_id)  # before it counts: then only the reply does
        slot = await self._queue.begin_post(
            job, now, held_until=now + POST_SECONDS + 10 + SLOT_FREED_AFTER
        )
        if slot is None:
            return
        self._clocks.since(now)  # the time of a first POST
        if not self._queue.may_post(slot):
            log.warning("woke too late to send %s; whoever has it now looks it up", job.request_id)
            return
        try:
            report = await self._api.submit(slot.job.body)
        except errors.ApiError as error:
            self._tally.count("posts", answer=error.code)
            if not slot.first and isinstance(error, REFUSALS):
                await self._after_refused_repetition(slot, error)
            else:
                await self._after_refused_post(slot, error)
        else:
            self._tally.count("posts", answer="accepted")
            await self._after_accepted_post(slot, report)

    async def _after_accepted_post(self, slot: Slot, report: Report) -> None:
        schedule = self._past.schedule(slot.job.model_id)
        when = self._when(slot.job, schedule)
        await self._end_post(slot, lambda j: after_report(j, report, when), when.now, accepted=True)

    async def _after_refused_repetition(self, slot: Slot, refusal: errors.ApiError) -> None:
        """Ask once more what became of the POST before, which may have arrived meanwhile.

        Only if MeiGen has nothing under the key was nothing charged.
        """
        try:
            report = await self._api.lookup(key_of(slot.job))
        except errors.RequestNotFound:
            await self._after_refused_post(slot, refusal)
        except errors.ApiError as error:
            await self._after_refused_post(slot, error if error.generation_id else UNSURE)
        else:
            await self._after_accepted_post(slot, report)

    async def _after_refused_post(self, slot: Slot, error: errors.ApiError) -> None:
        now, jitter, hold_until = self._clock(), self._jitter(), None
        if isinstance(error, errors.RateLimited):
            pause = SLOT_FREED_AFTER if error.retry_after is None else error.retry_after
            hold_until = now + max(pause, self._schedule.interval)

        def change(job: Generation) -> Generation:
            when = When(self._schedule, now, jitter, hold_until=hold_until)
            return after_refused_post(job, error, when, first=slot.first)

        await self._end_post(slot, change, now, hold_until)

    async def _end_post(
        self,
        slot: Slot,
        change: Change,
        now: float,
        hold_until: float | None = None,
        *,
        accepted: bool = False,
    ) -> None:
        """Write down what became of a POST; what cannot be written now is written later."""

        async def write() -> None:
            try:
                ended = await self._queue.end_post(slot, change, now, hold_until=hold_until)
            except TakenOver:
                if not accepted:
                    raise
                # That MeiGen has it is true whoever goes on with it.
                ended = await self._records.change(slot.job, change, patient=True)
            self._count_end(slot.job, ended)

        await self._unwritten.write(key_of(slot.job), write)

    async def _look_up(self, job: Generation) -> None:
        """Ask what became of a POST whose reply was lost."""
        asked_at = self._clock()
        try:
            if job.generation_id is not None:
                report = await self._status(job)
            else:
                report = await self._api.lookup(key_of(job))
                self._keys.learn(None)
        except errors.ApiError as error:
            self._keys.learn(error)
            self._tally.count("looks", answer=error.code)
            await self._after_failed_lookup(job, error)
        else:
            self._tally.count("looks", answer="answered")
            await self._learn(job, report, asked_at)
        await self._keys.note()

    async def _after_failed_lookup(self, job: Generation, error: errors.ApiError) -> None:
        free = isinstance(error, errors.RequestNotFound) or (
            isinstance(error, errors.InProgress) and error.retry_after == 0
        )
        if free and self._accounts.own(job) and self._permission.to_repeat(job):
            await self._post(job)
            return
        absent = isinstance(error, errors.RequestNotFound) and self._keys.surely_absent(job)
        keyed = isinstance(error, errors.UnreadableReply) and await self._keys.known()
        when = replace(self._when(job), keyed=keyed, absent=absent)
        await self._change(job, lambda j: after_failed_lookup(j, error, when))

    # --- watching -------------------------------------------------------------------------------

    async def _look(self, job: Generation) -> None:
        asked_at = self._clock()
        try:
            report = await self._status(job)
        except errors.ApiError as error:
            when, problem = self._when(job), error
            self._tally.count("looks", answer=error.code)

            def change(job: Generation) -> Generation:
                return after_failed_look(job, problem, when)

            ends = isinstance(problem, errors.GenerationGone | errors.JobNotFound)
            await self._change(job, change, durable=ends)
        else:
            self._tally.count("looks", answer="answered")
            await self._learn(job, report, asked_at)

    async def _status(self, job: Generation) -> Report:
        """Ask how one stands whose id is known; an earlier token's as anybody may ask."""
        public = not self._accounts.own(job)
        report = await self._api.status(job.generation_id or "", public=public)
        if report.other_id is not None and await self._records.get(report.other_id) is not None:
            raise errors.StatusBusy("MeiGen's answer is about another generation.")
        return report

    async def _learn(self, job: Generation, report: Report, asked_at: float) -> None:
        await self._past.learn(job.model_id)
        when = self._when(job, self._past.schedule(job.model_id))
        when = replace(when, asked_at=asked_at)
        learnt = after_report(job, report, when)
        news = generation.postponed(learnt, job.next_look) != job
        if not news and learnt.next_look is not None and learnt.next_look > when.now + TOGETHER:
            self._postponed.add(job, learnt.next_look)
        else:
            await self._change(job, lambda j: after_report(j, report, when), durable=news)
