"""A person behind a client, who takes their time without anybody waiting for it."""

from typing import Any, Literal

import mcp_types as t
from mcp.client.context import ClientRequestContext

Action = Literal["accept", "decline", "cancel"]


class Person:
    """Answers every form in the same way, and remembers what was asked.

    Args:
        action: what they do.
        content: what they fill in.
        seconds: how long they take; nothing else takes time on the clock that the server is given.
        code: answer with a protocol error of that code instead.

    Attributes:
        asked: the messages of the forms.
        forms: the fields of the forms.
    """

    def __init__(
        self,
        action: Action,
        content: dict[str, Any] | None = None,
        *,
        seconds: float = 2.0,
        code: int | None = None,
    ) -> None:
        self.action: Action = action
        self.content = content
        self.seconds = seconds
        self.code = code
        self.asked: list[str] = []
        self.forms: list[dict[str, Any]] = []
        self._now = 1000.0

    def monotonic(self) -> float:
        """Return the time on the server's clock."""
        return self._now

    def hesitate(self) -> None:
        """Take the time that an answer takes."""
        self._now += self.seconds

    async def __call__(
        self, context: ClientRequestContext, params: t.ElicitRequestParams
    ) -> t.ElicitResult | t.ErrorData:
        """Answer a form."""
        del context
        self.asked.append(params.message)
        if isinstance(params, t.ElicitRequestFormParams):
            self.forms.append(dict(params.requested_schema))
        self.hesitate()
        if self.code is not None:
            return t.ErrorData(code=self.code, message="no answer from this form")
        return t.ElicitResult(action=self.action, content=self.content)
