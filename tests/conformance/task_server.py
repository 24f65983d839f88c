"""A server with the seven tools that the suite's scenarios of tasks need: `... task_server PORT`.

The product asks nothing within a task and cancels none, so its own tools cannot show all of the
wire. These keep their tasks in memory, behind the product's own `Tasks`.
"""

import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import mcp_types as t
import uvicorn
from mcp.server.lowlevel.server import Server
from mcp.shared.exceptions import MCPError

from meigen_mcp.server.guard import Context
from meigen_mcp.server.tasks import (
    Task,
    Tasks,
    completed,
    created,
    require_tasks,
    serve_tasks,
    wants_tasks,
)

_TEXT = {"type": "string"}
TOOLS: Mapping[str, dict[str, Any]] = {
    "greet": {"name": _TEXT},
    "slow_compute": {"seconds": {"type": "number"}, "label": _TEXT},
    "failing_job": {},
    "protocol_error_job": {},
    "confirm_delete": {"filename": _TEXT},
    "multi_input": {},
    "test_tool_with_task": {},
}
QUESTIONS: Mapping[str, tuple[str, ...]] = {
    "confirm_delete": ("confirm",),
    "multi_input": ("first", "second"),
}
_FORM = {"type": "object", "properties": {"name": _TEXT, "confirm": {"type": "boolean"}}}


@dataclass
class Job:
    """A tool that works for some seconds, and has open questions."""

    tool: str
    words: str
    seconds: float
    open: dict[str, Any]
    began: float = field(default_factory=time.time)
    changed: float = field(default_factory=time.time)
    cancelled: bool = False

    def task(self, name: str) -> Task:
        """Return it as it stands."""
        if self.cancelled:
            return Task(name, "cancelled", self.began, self.changed)
        if self.open:
            asked = {"inputRequests": self.open}
            return Task(name, "input_required", self.began, self.changed, more=asked)
        if time.time() < self.began + self.seconds:
            return Task(name, "working", self.began, self.changed, "at it", 0.2)
        if self.tool == "protocol_error_job":
            error = {"error": {"code": t.INTERNAL_ERROR, "message": "It broke"}}
            return Task(name, "failed", self.began, self.changed, more=error)
        told = result(self.words, is_error=self.tool == "failing_job")
        return Task(name, "completed", self.began, self.changed, more=completed(told))


def result(words: str, *, is_error: bool = False) -> t.CallToolResult:
    """Return what a tool says."""
    return t.CallToolResult(content=[t.TextContent(text=words)], is_error=is_error)


def ask(message: str) -> t.ElicitRequest:
    """Return a question to the person."""
    form = t.ElicitRequestFormParams(message=message, requested_schema=_FORM)
    return t.ElicitRequest(params=form)


class MemoryTasks(Tasks):
    """Tasks that last as long as this process."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}

    def begin(self, tool: str, words: str, seconds: float = 1) -> dict[str, Any]:
        """Begin a task, and return the answer of its call."""
        questions = {
            key: ask(f"{key}?").model_dump(by_alias=True, mode="json", exclude_none=True)
            for key in QUESTIONS.get(tool, ())
        }
        name = str(uuid4())
        self._jobs[name] = Job(tool, words, seconds, questions)
        # A task begins as working, whatever it will ask.
        return created(Task(name, "working", time.time(), time.time(), poll_seconds=0.2))

    async def find(self, ctx: Context, task_id: str) -> Task | None:
        """Return a task as it stands."""
        del ctx
        return self._jobs[task_id].task(task_id) if task_id in self._jobs else None

    async def answered(self, task_id: str) -> None:
        """Nobody keeps count here."""

    async def cancelled(self, task_id: str) -> None:
        """Cancel what still runs."""
        job = self._jobs[task_id]
        if job.task(task_id).status in ("working", "input_required"):
            job.cancelled, job.changed = True, time.time()

    async def updated(self, task_id: str, answers: Mapping[str, Any]) -> None:
        """Take answers to open questions."""
        job = self._jobs[task_id]
        for key in [key for key in answers if key in job.open]:
            del job.open[key]
            job.changed = time.time()


async def call(
    tasks: MemoryTasks, ctx: Context, params: t.CallToolRequestParams
) -> t.CallToolResult | t.InputRequiredResult | dict[str, Any]:
    """Serve `tools/call`."""
    given = params.arguments or {}
    match params.name:
        case "greet":
            return result(f"Hello, {given.get('name', '')}!")
        case "slow_compute":
            words = f"computed {given.get('label', '')}"
            seconds = float(given.get("seconds", 0))
            taken = seconds and wants_tasks(ctx)
            return tasks.begin(params.name, words, seconds) if taken else result(words)
        case "test_tool_with_task":
            require_tasks(ctx)
            answer = (params.input_responses or {}).get("user_name")
            if not isinstance(answer, t.ElicitResult):
                return t.InputRequiredResult(input_requests={"user_name": ask("Who are you?")})
            return tasks.begin(params.name, f"Hello, {(answer.content or {}).get('name')}")
        case name if name in TOOLS:
            require_tasks(ctx)
            return tasks.begin(name, f"{name} is done")
    raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {params.name}")


def build() -> Server[Any]:
    """Return the server."""
    tasks = MemoryTasks()

    async def list_tools(ctx: Context, params: Any) -> t.ListToolsResult:
        del ctx, params
        schemas = {name: {"type": "object", "properties": TOOLS[name]} for name in TOOLS}
        tools = [t.Tool(name=name, input_schema=schema) for name, schema in schemas.items()]
        return t.ListToolsResult(tools=tools)

    async def call_tool(ctx: Context, params: t.CallToolRequestParams) -> Any:
        return await call(tasks, ctx, params)

    server: Server[Any] = Server(
        "task-fixtures", version="1", on_list_tools=list_tools, on_call_tool=call_tool
    )

    async def known() -> Tasks:
        return tasks

    serve_tasks(server, known, str)
    return server


if __name__ == "__main__":
    uvicorn.run(build().streamable_http_app(), port=int(sys.argv[1]), log_level="warning")
