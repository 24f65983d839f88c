"""What a call is answered about a generation that is in the ledger, and how long it waits for that.

From here on money may have moved: whatever breaks, the call is told what is known.
"""

import contextlib
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from meigen_mcp.catalogue.reference_rules import rename_files
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.media.archive import Archive
from meigen_mcp.media.links import MediaLinks
from meigen_mcp.media.store import still_shown
from meigen_mcp.reports import away
from meigen_mcp.service.aftermath import as_far_as_known
from meigen_mcp.service.delivery import Answer, Marks, under_way
from meigen_mcp.service.person import Person
from meigen_mcp.service.results import NO_COPIES, Copies, Outcome
from meigen_mcp.service.unforeseen import unforeseen
from meigen_mcp.service.waiting import ACCEPTANCE, SAVING, Waiting
from meigen_mcp.settings import Settings
from meigen_mcp.system import Clocks

POLLED_WITHIN = 20.0
"""Seconds for which a client that asks until it is done is expected to ask again."""


@dataclass(frozen=True, slots=True)
class Begun:
    """A generation that a call stands for, and what is to be told of how it came to it."""

    job: Generation
    wait: float
    polled: bool
    first: bool = False
    adopted: bool = False
    repeated: bool = False
    uploaded: Copies = NO_COPIES


class Answering:
    """Waits for what the poller learns, and says what is known.

    Args:
        settings: what the environment says.
        ledger: where the records are.
        clocks: what it waits by.
        closing: whether the server ends, and every call answers at once.
        links: the URLs of results that last; None: MeiGen's count.
        archive: where previews are kept; None: where their records say.

    Attributes:
        marks: notes which calls were answered.
    """

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        clocks: Clocks,
        closing: Callable[[], bool],
        *,
        links: MediaLinks | None = None,
        archive: Archive | None = None,
    ) -> None:
        self.marks = Marks(ledger)
        self._settings = settings
        self._ledger = ledger
        self._clocks = clocks
        self._closing = closing
        self._links = links
        self._archive = archive

    async def shown(self, job: Generation) -> Generation:
        """Return a record as answers may tell it."""
        job, preview = await still_shown(job, self._archive), None
        if self._links is not None:
            job, preview = self._links.on(job), self._links.of_preview(job)
        if self._settings.names_paths:
            return job
        # Another server on the same ledger may have been given local files.
        told = rename_files(job.arguments, lambda _: "a local file")
        error = job.error and job.error._replace(
            message=self._settings.without_paths(job.error.message)
        )
        if error is not None and error.passes:
            error = away()  # why names the server's own proxy or certificates
        unsaved = tuple(item._replace(reason=self._told(item.reason)) for item in job.unsaved)
        return replace(job, files=(), preview=preview, unsaved=unsaved, arguments=told, error=error)

    def _told(self, reason: str) -> str:
        """Return why something is not saved without a folder, which may be another server's."""
        told = self._settings.without_paths(reason)
        return told if Path(told).name == told else "It could not be written."

    async def finish(self, begun: Begun, stop: float, person: Person) -> Outcome:
        """Wait for acceptance, then for the result, and answer in any case in time."""
        answer, delivery = Answer(self.marks, begun.job), under_way.get()
        try:
            if delivery is not None:
                await delivery.tell(answer.end)
            outcome = await self._wait(begun, stop, person)
        except BaseException:
            await answer.end(left=False)
            raise
        later = begun.polled and not (outcome.broken or outcome.others) and runs(outcome.job)
        if not outcome.broken:
            answer.tells = None if later else True
        if delivery is None:
            await answer.end(left=True)
        return replace(
            outcome,
            adopted=begun.adopted,
            repeated=begun.repeated,
            uploaded=begun.uploaded,
            later=later,
            first=begun.first,
        )

    async def _wait(self, begun: Begun, stop: float, person: Person) -> Outcome:
        job, wait = begun.job, begun.wait
        until = self._clocks.wall() + ACCEPTANCE + wait if wait else 0.0

        async def wait_for(waiting: Waiting) -> None:
            await waiting.wait_for_acceptance()
            await waiting.wait_for_result(wait)

        act = job.parked and self._ledger.accounts.own(job)
        return await self._attend(job, stop, person, wait_for, until=until, act=act)

    async def look_at(self, job: Generation, wait: float, stop: float, person: Person) -> Outcome:
        """Say how a generation stands, waiting for it; one that nothing looks at is looked at."""
        unasked = job.at_rest and not job.terminal  # nothing looks at it by itself
        # Without an id of MeiGen's only the account itself is told anything.
        can_ask = job.generation_id is not None or self._ledger.accounts.own(job)
        now, lost = self._clocks.wall(), can_ask and (job.status == "unknown" or unasked)
        until = now + wait if wait and not (job.parked or job.terminal or lost) else 0.0

        async def wait_for(waiting: Waiting) -> None:
            if not lost:
                await waiting.wait_for_result(wait)
                return
            asked = waiting.job.version
            seen_again = min(self._clocks.monotonic() + ACCEPTANCE, stop)
            await waiting.wait_until(
                lambda j: j.version > asked and (j.at_rest or j.failures > 0), seen_again
            )
            await waiting.wait_for_media()

        return await self._attend(job, stop, person, wait_for, until=until, act=lost)

    async def _attend(
        self,
        job: Generation,
        stop: float,
        person: Person,
        wait_for: Callable[[Waiting], Awaitable[None]],
        **how: Any,
    ) -> Outcome:
        """Follow a record, wait in some way, and say how it stands then, or was known last."""
        waiting: Waiting | None = None
        try:
            followed = await self._ledger.changes.follow(job, self._clocks.wall(), **how)
            waiting = Waiting(followed, person, stop, self._clocks, self._closing)
            await wait_for(waiting)
            return await self._outcome(waiting)
        except LedgerUnavailable as error:
            broken = as_far_as_known(waiting.job if waiting else job, error)
        except Exception as error:  # noqa: BLE001  # money may have moved: the call is told its id
            unknown = unforeseen("waiting", error)
            broken = as_far_as_known(waiting.job if waiting else job, unknown)
        return replace(broken, job=await self.shown(broken.job))

    async def _outcome(self, waiting: Waiting) -> Outcome:
        job, place, starts = waiting.job, 0, None
        if job.status == "queued" and not job.parked:
            place, starts = await waiting.place()
        others = not self._ledger.accounts.own(job)
        return Outcome(
            await self.shown(job),
            job.status,
            place=place,
            starts_at=starts,
            preview=job.preview,
            others=others,
        )

    async def told(self, request_id: str) -> None:
        """Note that a client which asks until it is done was given the result, once it left.

        One that did not leave is asked for again.
        """
        records = self._ledger.records  # the person's: nobody knows later whose answer it was

        async def note(left: bool) -> None:
            with contextlib.suppress(LedgerUnavailable):
                job = await records.get(request_id) if left else None
                if job is not None:
                    await self.marks.note(job, answered=True)

        delivery = under_way.get()
        if delivery is None:
            await note(True)
        else:
            await delivery.tell(note)

    async def look(self, job: Generation) -> Outcome:
        """Say how a generation stands at once, for a client that asks until it is done.

        One that still runs is looked at every interval until the client asks again. One that
        completed has a few seconds for its media and its picture.
        """
        now = self._clocks.wall()
        if not runs(job):
            saving = job.status == "completed" and not job.at_rest
            later = saving and now < (job.finished_at or 0) + SAVING
            return Outcome(await self.shown(job), job.status, preview=job.preview, later=later)
        place, starts = 0, None
        try:
            followed = await self._ledger.changes.follow(job, now, until=now + POLLED_WITHIN)
            if job.status == "queued":
                place, starts = await followed.place(now)
        except LedgerUnavailable:
            pass  # it is only looked at less often
        return Outcome(await self.shown(job), job.status, place=place, starts_at=starts, later=True)


def runs(job: Generation) -> bool:
    """Say whether something is still to come by itself, and soon."""
    waits = job.parked or job.unobserved
    return job.status in ("queued", "submitting", "processing") and not waits
