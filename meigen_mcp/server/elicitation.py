"""The person behind a call, reached through the client that sent it, in either protocol era."""

import json
from collections.abc import Callable
from typing import Any

import anyio
import mcp_types as t
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS
from pydantic import ValidationError

from meigen_mcp.generation import Generation
from meigen_mcp.server.guard import Context
from meigen_mcp.server.sender import client_of
from meigen_mcp.service.person import Question, Verdict
from meigen_mcp.views.generations import progress_words

READING = 1.0
"""Seconds that anybody needs at least to read a question; a faster no is the client's own."""


class Asked(Exception):
    """The person must be asked first; the client will repeat the call with the answer.

    Attributes:
        question: what has a 2026 client do that.
    """

    def __init__(self, question: t.InputRequiredResult) -> None:
        super().__init__()
        self.question = question


class ClientPerson:
    """The person behind one call, reached through the client that sent it."""

    def __init__(
        self,
        ctx: Context,
        params: t.CallToolRequestParams,
        monotonic: Callable[[], float],
        *,
        polls: bool = False,
    ) -> None:
        self._ctx = ctx
        self._params = params
        self._monotonic = monotonic
        self._started = monotonic()
        self._modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        self._state = json.loads(params.request_state) if params.request_state else {}
        self.pending: str | None = self._state.get("requestId")
        self._client = client_of(ctx)
        self.patience = self._client.wait
        self.polls = polls
        self.hears = (params.meta or {}).get("progress_token") is not None

    @property
    def can_ask(self) -> bool:
        """Whether the client says that it shows forms, and a form can reach it."""
        capabilities = self._ctx.session.client_capabilities
        can = capabilities.elicitation if capabilities else None
        if can is None or (can.form is None and can.url is not None):
            return False
        return self._modern or self._ctx.session.can_send_request

    async def confirm(self, question: Question) -> Verdict:
        """Ask through a form, in the way of the client's era."""
        if not self.can_ask:
            return "cannot ask"
        if self._modern:
            return self._answered(question)
        asked, left = self._monotonic(), self.patience - self._since(self._started)
        schema = self._schema()
        with anyio.move_on_after(max(0.0, left)):
            try:
                answer = await self._ctx.session.elicit_form(
                    question.message, schema, related_request_id=self._ctx.request_id
                )
            except MCPError as error:
                # Only this one says that the client cannot, whatever it declared.
                return "cannot ask" if error.code == t.METHOD_NOT_FOUND else "no answer"
            except ValidationError:
                return "no answer"
            return _verdict(answer, self._since(asked), empty=schema == _EMPTY)
        return "no answer"

    def _answered(self, question: Question) -> Verdict:
        """Return what the repeated call brings, or have the client ask."""
        answer = (self._params.input_responses or {}).get("approval")
        price = str(question.quote.credits)
        if answer is None or self._state.get("credits") != price:
            schema = self._schema()
            state = {
                "requestId": question.request_id,
                "credits": price,
                "automatic": question.automatic,
                "empty": schema == _EMPTY,
                "asked": self._monotonic(),
            }
            params = t.ElicitRequestFormParams(message=question.message, requested_schema=schema)
            raise Asked(
                t.InputRequiredResult(
                    input_requests={"approval": t.ElicitRequest(params=params)},
                    request_state=json.dumps(state),
                )
            )
        # Only the process that asked can read the state, so it is the same clock.
        verdict = _verdict(answer, self._since(self._state["asked"]), empty=self._state["empty"])
        again = self._state["automatic"] != question.automatic  # that question had its answer
        return "no answer" if verdict == "automatic" and again else verdict

    def _schema(self) -> dict[str, Any]:
        return _EMPTY if self._client.empty_form else _FORM

    def _since(self, moment: float) -> float:
        return self._monotonic() - moment

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Send progress; a client that does not read it is not waited for."""
        expected = job.expected_seconds
        words = progress_words(job, elapsed, place)
        total = expected if elapsed < expected else None
        with anyio.move_on_after(1):
            await self._ctx.session.report_progress(elapsed, total, words)


_EMPTY: dict[str, Any] = {"type": "object", "properties": {}}
_FORM: dict[str, Any] = {
    "type": "object",
    "properties": {"approve": {"type": "boolean", "title": "Spend these credits?"}},
    "required": ["approve"],
}


def _verdict(answer: Any, seconds: float, *, empty: bool) -> Verdict:
    """Return what an answer means.

    Args:
        answer: what the client sent.
        seconds: how long it took; negative: the clock went back, so it is not known.
        empty: whether accepting the form is all that was asked for.
    """
    if not isinstance(answer, t.ElicitResult):
        return "no answer"
    if answer.action == "accept" and (answer.content or {}).get("approve", empty) is True:
        return "approved"
    if seconds < 0:
        return "no answer"
    if seconds <= READING:
        return "no answer" if answer.action == "accept" else "automatic"
    return "no answer" if answer.action == "cancel" else "declined"
