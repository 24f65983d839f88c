"""The person behind a call, reached through the client that sent it, in either protocol era."""

import json
from typing import Any

import anyio
import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from meigen_mcp.budget import Question, Verdict
from meigen_mcp.generation import Generation
from meigen_mcp.service import HARD_STOP

Context = ServerRequestContext[Any, Any]


class Asked(Exception):
    """The person must be asked first; the client will repeat the call with the answer."""

    def __init__(self, question: Question) -> None:
        super().__init__()
        self.question = question


class Caller:
    """The person behind one call, reached through the client that sent it."""

    def __init__(self, ctx: Context, params: t.CallToolRequestParams, clock: Any) -> None:
        self._ctx = ctx
        self._params = params
        self._clock = clock
        self._started = clock()
        self._modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self._state = json.loads(params.request_state) if params.request_state else {}
        self.pending: str | None = self._state.get("requestId")

    async def confirm(self, question: Question) -> Verdict:
        """Ask through a form, in the way of the client's era."""
        capabilities = self._ctx.session.client_capabilities
        can = capabilities.elicitation if capabilities else None
        if can is None or (can.form is None and can.url is not None):
            return "cannot ask"
        if self._modern:
            answer = (self._params.input_responses or {}).get("approval")
            if answer is None or self._state.get("credits") != str(question.quote.credits):
                raise Asked(question)
            return _verdict(answer)
        if not self._ctx.session.can_send_request:
            return "cannot ask"
        left = HARD_STOP - (self._clock() - self._started)
        with anyio.move_on_after(max(0.0, left)):
            try:
                return _verdict(
                    await self._ctx.session.elicit_form(
                        question.message, _FORM, related_request_id=self._ctx.request_id
                    )
                )
            except MCPError:
                return "cannot ask"  # the client says that it can, and then that it cannot
            except ValidationError:
                return "declined"
        return "no answer"

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Send progress; a client that does not read it is not waited for."""
        expected = job.expected_seconds
        line = "" if place is None else f", {place} before it" if place else ", next in line"
        words = f"{job.status}{line}, {elapsed:.0f} s of about {expected:.0f} s"
        total = expected if elapsed < expected else None
        with anyio.move_on_after(1):
            await self._ctx.session.report_progress(elapsed, total, words)


_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Spend these credits?"}},
    "required": ["approve"],
}


def _verdict(answer: Any) -> Verdict:
    accepted = isinstance(answer, t.ElicitResult) and answer.action == "accept"
    agreed = accepted and (answer.content or {}).get("approve") is True
    return "approved" if agreed else "declined"


def ask(question: Question) -> t.InputRequiredResult:
    """Return the answer that has a 2026 client ask the person and call again."""
    form = t.ElicitRequestFormParams(message=question.message, requested_schema=_FORM)
    state = {"requestId": question.request_id, "credits": str(question.quote.credits)}
    return t.InputRequiredResult(
        input_requests={"approval": t.ElicitRequest(params=form)}, request_state=json.dumps(state)
    )
