"""The generations of an account as tasks."""

import re
import secrets
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

import mcp_types as t

from meigen_mcp.reports import CALLED_OFF
from meigen_mcp.server.guard import Context
from meigen_mcp.server.tasks import POLL_SECONDS, Status, Task, Tasks, completed, created
from meigen_mcp.service.results import Outcome
from meigen_mcp.service.service import Service
from meigen_mcp.views.generations import progress_words

_TASK_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[0-9a-f]{8})?")


class GenerationTasks(Tasks):
    """The generations of the account as tasks; the person is asked before, and never within one."""

    def __init__(
        self,
        service: Service,
        tell: Callable[[Context, Outcome], Awaitable[t.CallToolResult]],
    ) -> None:
        self._service = service
        self._tell = tell

    def create(self, outcome: Outcome) -> dict[str, Any]:
        """Return the answer of a call whose generation still runs.

        A client takes an id only once: a later call is given an alias, which names the same record.
        """
        alias = "" if outcome.first else f".{secrets.token_hex(4)}"
        return created(self._task(f"{outcome.job.request_id}{alias}", outcome))

    async def find(self, ctx: Context, task_id: str) -> Task | None:
        """Return a generation as a task; one that runs is looked at until the next question."""
        named = _TASK_ID.fullmatch(task_id)
        outcome = await self._service.look(named[1]) if named else None
        if outcome is None:
            return None
        task = self._task(task_id, outcome)
        if task.status == "completed" and ctx.method == "tasks/get":  # the others need no result
            return replace(task, more=completed(await self._tell(ctx, outcome)))
        return task

    async def answered(self, task_id: str) -> None:
        """Note that the client was given the result: a repeated call is a new one."""
        await self._service.end_look(task_id.partition(".")[0], answered=True)

    async def cancelled(self, task_id: str) -> None:
        """Call off what is still queued; what was sent goes on, and its result is kept."""
        await self._service.end_look(task_id.partition(".")[0], answered=False)

    async def updated(self, task_id: str, answers: Mapping[str, Any]) -> None:
        """Take nothing: nothing is asked."""

    def _task(self, task_id: str, outcome: Outcome) -> Task:
        job, now = outcome.job, self._service.clock()
        known = (job.posted_at, job.accepted_at, job.finished_at)
        place = outcome.place if outcome.status == "queued" else None
        words = progress_words(job, now - job.created_at, place)
        called_off = job.error is not None and job.error.code == CALLED_OFF
        ended: Status = "cancelled" if called_off else "completed"
        return Task(
            id=task_id,
            status="working" if outcome.later else ended,
            created_at=job.created_at,
            updated_at=max((at for at in known if at is not None), default=job.created_at),
            message=f"{words}; nobody has to ask for it" if outcome.later else "",
            poll_seconds=POLL_SECONDS[job.media_type],
        )
