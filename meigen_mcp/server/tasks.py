"""The tasks extension: a client is told by itself when what it asked for is done.

`io.modelcontextprotocol/tasks` of 2026-07-28. A call that would be answered with "not done yet" is
answered with a task, and the client asks for it until it has the result. A generation's record is
its task, so that nothing else is stored: any process of the account knows it, after any restart.
"""

from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import mcp_types as t
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import Field

from meigen_mcp.server.guard import Context, guarded

EXTENSION = "io.modelcontextprotocol/tasks"
POLL_SECONDS: Mapping[str, float] = {"image": 1.0, "video": 3.0}
"""Seconds between the questions of a client, by medium; every client keeps to them."""

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


def serve_tasks(
    server: Server[Any], tasks: Callable[[], Awaitable[Tasks]], tell: Callable[[str], str]
) -> None:
    """Declare the extension, and serve its methods.

    Args:
        server: whose clients may ask.
        tasks: returns what answers, with the first question.
        tell: as for `guarded`.
    """

    async def get(ctx: Context, params: NamedTask) -> dict[str, Any]:
        return await (await tasks()).get(ctx, params)

    async def update(ctx: Context, params: TaskAnswers) -> dict[str, Any]:
        return await (await tasks()).update(ctx, params)

    async def cancel(ctx: Context, params: NamedTask) -> dict[str, Any]:
        return await (await tasks()).cancel(ctx, params)

    server.extensions[EXTENSION] = {}
    server.add_request_handler("tasks/get", NamedTask, guarded(get, tell))
    server.add_request_handler("tasks/update", TaskAnswers, guarded(update, tell))
    server.add_request_handler("tasks/cancel", NamedTask, guarded(cancel, tell))


def _time(seconds: float) -> str:
    when = datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None)
    return f"{when.isoformat(timespec='milliseconds')}Z"
