"""A client that declares the tasks extension, and asks for its tasks."""

from collections.abc import Sequence
from typing import Any, Literal

import anyio
import mcp_types as t
from mcp.client.client import Client
from mcp.client.extension import ClaimContext, ClientExtension, ResultClaim
from mcp.client.session import ClientSession
from pydantic import ConfigDict

from meigen_mcp.server.tasks import EXTENSION, NamedTask, TaskAnswers


class Handle(t.Result):
    """A task as a call is answered with it."""

    model_config = ConfigDict(extra="allow")
    result_type: Literal["task"] = "task"
    task_id: str
    status: str
    poll_interval_ms: int


class State(t.Result):
    """What a task method answers."""

    model_config = ConfigDict(extra="allow")


class GetTask(t.Request[NamedTask, Literal["tasks/get"]]):
    """How does it stand?"""

    method: Literal["tasks/get"] = "tasks/get"
    params: NamedTask
    name_param = "taskId"


class CancelTask(t.Request[NamedTask, Literal["tasks/cancel"]]):
    """Never mind."""

    method: Literal["tasks/cancel"] = "tasks/cancel"
    params: NamedTask
    name_param = "taskId"


class UpdateTask(t.Request[TaskAnswers, Literal["tasks/update"]]):
    """Here is what was asked."""

    method: Literal["tasks/update"] = "tasks/update"
    params: TaskAnswers
    name_param = "taskId"


class DeclaresTasks(ClientExtension):
    """Declares the extension; a call that becomes a task is asked for until it is done."""

    identifier = EXTENSION

    def claims(self) -> Sequence[ResultClaim[Any]]:
        """Take tasks as results."""
        return (ResultClaim(result_type="task", model=Handle, resolve=self._resolve),)

    async def _resolve(self, handle: Handle, context: ClaimContext) -> t.CallToolResult:
        return t.CallToolResult.model_validate(await result_of(context.session, handle.task_id))


async def get_task(session: ClientSession, task_id: str) -> dict[str, Any]:
    """Ask how a task stands."""
    request = GetTask(params=NamedTask(task_id=task_id))
    return (await session.send_request(request, State)).model_dump(by_alias=True, mode="json")


async def result_of(session: ClientSession, task_id: str) -> dict[str, Any]:
    """Ask for a task until it is done, and return its result."""
    with anyio.fail_after(20):
        while True:
            state = await get_task(session, task_id)
            if state["status"] != "working":
                return dict(state["result"])
            await anyio.sleep(0.02)


async def begin(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """Call a tool, and return the task that it became, or its structured content."""
    made = await client.session.call_tool(tool, arguments, allow_claimed=True)
    if isinstance(made, t.CallToolResult):
        return dict(made.structured_content or {})
    return made.model_dump(by_alias=True, mode="json")
