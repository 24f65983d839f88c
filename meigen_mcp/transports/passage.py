"""The way of one request over HTTP, and the word whether its answer left."""

from starlette.types import Message, Receive, Scope, Send

from meigen_mcp.service.delivery import Delivery
from meigen_mcp.transports.connections import CONNECTION, BoundedProtocol

_ANSWERS = (b'"result":', b'"error":')
"""What only the event of an answer holds; inside of a text the quotes would be escaped."""


class Passage:
    """One request on its way through, and the delivery of its answer.

    That left once it is with the system, unless the client was gone before. In a stream of events
    it is the one event that answers: some clients read no further and hang up.
    """

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.delivery = Delivery()
        self._connection: BoundedProtocol | None = scope.get("state", {}).get(CONNECTION)
        self._receive = receive
        self._send = send
        self._sent = self._whole = self._left = False

    async def receive(self) -> Message:
        """Receive what the client sends; that it is gone ends the delivery."""
        message = await self._receive()
        if message["type"] == "http.disconnect" and not self._sent:  # else it says nothing new
            await self.delivery.end(left=False)
        return message

    async def send(self, message: Message) -> None:
        """Send a part of the answer."""
        body = message.get("body", b"")
        last = message["type"] == "http.response.body" and not message.get("more_body")
        answers = any(word in body for word in _ANSWERS)
        self._sent = self._sent or last or answers
        await self._send(message)
        there = self._connection is None or not self._connection.gone
        self._whole = self._whole or (last and there)
        if answers and there and not last:  # after the last part the SDK waits for nothing
            self._left = self._left or await self._written()

    async def end(self) -> None:
        """End the delivery with the word whether the answer left."""
        await self.delivery.end(left=self._left or (self._whole and await self._written()))

    async def _written(self) -> bool:
        return self._connection is None or await self._connection.written()
