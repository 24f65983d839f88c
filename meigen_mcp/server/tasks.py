"""The tasks extension: a client is told by itself when what it asked for is done.

`io.modelcontextprotocol/tasks` of 2026-07-28. A call that would be answered with "not done yet" is
answered with a task, and the client asks for it until it has the result. A generation's record is
its task, so that nothing else is stored: any process of the account knows it, after any restart.
"""

import re
import secrets
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as t
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from meigen_mcp.reports import CALLED_OFF
from meigen_mcp.server.guard import Context, guarded
from meigen_mcp.service.results import Outcome
from meigen_mcp.service.service import Service
from meigen_mcp.views.generations import progress_words

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_SECONDS: Mapping[str, float] = {"image": 1.0, "video": 3.0}
"""Seconds between the questions of a client, by medium; every client keeps to them."""
_TASK_ID = re.compile(r"([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})(?:\.[0-9a-f]{8})?")

Status = Literal["working", "input_required", "completed", "failed", "cancelled"]


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands.

    Attributes:
        created_at: seconds since the epoch, as all times.
        message: how it goes, for people.
        poll_seconds: after which the client asks again.
        more: what its status brings: `result`, `error` or `inputRequests`.
    """

    id: str
    status: Status
    created_at: float
    updated_at: float
    message: str = ""
    poll_seconds: float = 3.0
    more: Mapping[str, Any] = field(default_factory=dict)

    def wire(self) -> dict[str, Any]:
        """Return it as clients read it; a record is kept for ever, so no task expires."""
        return {
            "taskId": self.id,
            "status": self.status,
            "createdAt": _time(self.created_at),
            "lastUpdatedAt": _time(self.updated_at),
            "ttlMs": None,
            "pollIntervalMs": round(self.poll_seconds * 1000),
            **({"statusMessage": self.message} if self.message else {}),
        }


class NamedTask(t.RequestParams):
    """The parameters of `tasks/get` and `tasks/cancel`."""

    task_id: str


class TaskAnswers(NamedTask):
    """The parameters of `tasks/update`."""

    input_responses: dict[str, Any] = Field(default_factory=dict)


def wants_tasks(ctx: Context) -> bool:
    """Say whether a request may be answered with a task: it says so itself, in 2026."""
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        return False
    declared = ctx.session.client_capabilities
    return bool(declared and declared.extensions and EXTENSION in declared.extensions)


def require_tasks(ctx: Context) -> None:
    """Refuse a request that says nothing of tasks.

    Raises:
        MCPError: in 2026, that its client must declare them; before, that there is no such method.
    """
    if ctx.protocol_version not in MODERN_PROTOCOL_VERSIONS:
        raise MCPError(t.METHOD_NOT_FOUND, "Method not found", ctx.method)
    if not wants_tasks(ctx):
        needed = t.ClientCapabilities(extensions={EXTENSION: {}})
        data = t.MissingRequiredClientCapabilityErrorData(required_capabilities=needed)
        raise MCPError(
            t.MISSING_REQUIRED_CLIENT_CAPABILITY,
            f"Client did not declare {EXTENSION}",
            data.model_dump(by_alias=True, mode="json", exclude_none=True),
        )


def created(task: Task) -> dict[str, Any]:
    """Return the answer of a call that became a task."""
    return {"resultType": "task", **task.wire()}


def completed(result: t.CallToolResult) -> dict[str, Any]:
    """Return what a finished task brings; a tool's error is no error of its task."""
    told = result.model_dump(by_alias=True, mode="json", exclude_none=True)
    # The official npm package refuses an inlined result that does not say its own type.
    return {"result": told | {"resultType": "complete"}}


class Tasks(ABC):
    """What the task methods answer."""

    @abstractmethod
    async def find(self, ctx: Context, task_id: str) -> Task | None:
        """Return a task of the account as it stands."""

    @abstractmethod
    async def answered(self, task_id: str) -> None:
        """Note that the client was given the result."""

    @abstractmethod
    async def cancelled(self, task_id: str) -> None:
        """Note that the client no longer waits."""

    @abstractmethod
    async def updated(self, task_id: str, answers: Mapping[str, Any]) -> None:
        """Take answers of the person."""

    async def get(self, ctx: Context, params: NamedTask) -> dict[str, Any]:
        """Serve `tasks/get`."""
        task = await self._found(ctx, params)
        answer = {"resultType": "complete", **task.wire(), **task.more}
        if "result" in task.more:
            await self.answered(task.id)
        return answer

    async def update(self, ctx: Context, params: TaskAnswers) -> dict[str, Any]:
        """Serve `tasks/update`."""
        await self.updated((await self._found(ctx, params)).id, params.input_responses)
        return {"resultType": "complete"}

    async def cancel(self, ctx: Context, params: NamedTask) -> dict[str, Any]:
        """Serve `tasks/cancel`: a wish, which the task may outlive."""
        await self.cancelled((await self._found(ctx, params)).id)
        return {"resultType": "complete"}

    async def _found(self, ctx: Context, params: NamedTask) -> Task:
        require_tasks(ctx)
        named = ctx.request.headers.get("mcp-name") if ctx.request is not None else None
        if named not in (None, params.task_id):
            raise MCPError(t.HEADER_MISMATCH, "Mcp-Name is another task than taskId")
        task = await self.find(ctx, params.task_id)
        if task is None:
            raise MCPError(t.INVALID_PARAMS, "Task not found")
        return task


def serve_tasks(server: Server[Any], tasks: Tasks, tell: Callable[[str], str]) -> None:
    """Declare the extension, and serve its methods.

    Args:
        server: whose clients may ask.
        tasks: what answers.
        tell: as for `guarded`.
    """
    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", NamedTask, guarded(tasks.get, tell))
    server.add_request_handler("tasks/update", TaskAnswers, guarded(tasks.update, tell))
    server.add_request_handler("tasks/cancel", NamedTask, guarded(tasks.cancel, tell))


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


def _time(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{when.isoformat(timespec='milliseconds')}Z"
