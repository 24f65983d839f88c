"""Results that last, over HTTP: what a signed URL names, whole or a part of it.

Nobody brings a token here, since a page that shows a picture has none: the signature is the lock.
So whoever reads slowly, or not at all, is bounded: each holds a connection and an open file.
"""

from collections import Counter
from http import HTTPStatus

import anyio
import anyio.to_thread
from starlette.requests import ClientDisconnect, Request
from starlette.responses import FileResponse, PlainTextResponse
from starlette.types import Message, Receive, Scope, Send

from meigen_mcp.media.kinds import MIME
from meigen_mcp.media.links import PATH
from meigen_mcp.media.store import Media
from meigen_mcp.server.access_notes import noted
from meigen_mcp.transports.connections import CONNECTION, BoundedProtocol

MOST = 96
"""Downloads at once: their files are less than the descriptors that are kept free."""
MOST_EACH = 32
"""Of one person's URLs."""
STALLED = 30.0
"""Seconds in which one part of a file (64 KiB) must have left."""
_HEADERS = {
    # Its name changes with its content, and no cache between may hand it to somebody else.
    "cache-control": "private, max-age=604800, immutable",
    # It is shown in the frame of a chat, and whatever is in it runs nothing.
    "cross-origin-resource-policy": "cross-origin",
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
}
_REFUSED = (
    "This URL is none of this server's, or has expired. Ask for the result again in the chat:"
    " check_status gives a fresh one.\n"
)


class Downloads:
    """Serves media and previews, so many at once.

    Args:
        media: what is served.
        most: how many at once.
        each: of these, by URLs that were made for the same person.
    """

    def __init__(self, media: Media, most: int = MOST, each: int = MOST_EACH) -> None:
        self._media = media
        self._most = most
        self._each = each
        self._open = Counter[str]()

    async def serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request: 403 without a good signature, whatever is there.

        Raises:
            ClientDisconnect: it does not read; its connection is ended.
        """
        request = Request(scope)
        name = scope["path"].removeprefix(PATH)
        media = self._media
        who = media.links.judge(name, request.query_params) if media.links else None
        if who is None or media.archive is None:
            answer = PlainTextResponse(_REFUSED, HTTPStatus.FORBIDDEN)
            await answer(scope, receive, send)
            return
        if (note := noted.get()) is not None:
            note.person = who
        if scope["method"] not in ("GET", "HEAD"):
            only = {"allow": "GET, HEAD"}
            await PlainTextResponse("Only GET.\n", 405, only)(scope, receive, send)
            return
        # Without people who sign in all URLs are nobody's.
        if self._open.total() >= self._most or (who and self._open[who] >= self._each):
            busy = PlainTextResponse("Too many downloads at once.\n", 503, {"retry-after": "5"})
            await busy(scope, receive, send)
            return
        self._open[who] += 1
        try:
            path = await anyio.to_thread.run_sync(media.archive.find, name)
            if path is None:
                gone = PlainTextResponse("It is no longer kept here.\n", HTTPStatus.NOT_FOUND)
                await gone(scope, receive, send)
                return
            whole = FileResponse(path, media_type=MIME[path.suffix], headers=_HEADERS)
            await _send_on(whole, scope, receive, send)
        finally:
            self._open[who] -= 1
            self._open += Counter()  # forgets whoever has none


async def _send_on(whole: FileResponse, scope: Scope, receive: Receive, send: Send) -> None:
    """Send a file as long as it advances."""
    connection: BoundedProtocol | None = scope.get("state", {}).get(CONNECTION)

    async def send_part(message: Message) -> None:
        with anyio.move_on_after(STALLED) as waiting:
            await send(message)
            last = message["type"] == "http.response.body" and not message.get("more_body")
            if last and connection is not None:
                await connection.written()
        if waiting.cancelled_caught:
            if connection is not None:
                connection.drop()
            raise ClientDisconnect

    await whole(scope, receive, send_part)
