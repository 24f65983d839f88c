"""Results that last, over HTTP: what a signed URL names, whole or a part of it.

Nobody brings a token here, since a page that shows a picture has none: the signature is the lock.
"""

from http import HTTPStatus

import anyio.to_thread
from starlette.requests import Request
from starlette.responses import FileResponse, PlainTextResponse
from starlette.types import Receive, Scope, Send

from meigen_mcp.media.kinds import MIME
from meigen_mcp.media.links import PATH
from meigen_mcp.media.store import Media
from meigen_mcp.server.access_notes import noted

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


async def serve_medium(media: Media, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer a request for a medium or preview: 403 without a good signature, whatever is there."""
    request = Request(scope)
    name = scope["path"].removeprefix(PATH)
    who = media.links.judge(name, request.query_params) if media.links else None
    if who is None or media.archive is None:
        answer = PlainTextResponse(_REFUSED, HTTPStatus.FORBIDDEN)
        await answer(scope, receive, send)
        return
    if (note := noted.get()) is not None:
        note.person = who
    if scope["method"] not in ("GET", "HEAD"):
        await PlainTextResponse("Only GET.\n", 405, {"allow": "GET, HEAD"})(scope, receive, send)
        return
    path = await anyio.to_thread.run_sync(media.archive.find, name)
    if path is None:
        gone = PlainTextResponse("It is no longer kept here.\n", HTTPStatus.NOT_FOUND)
        await gone(scope, receive, send)
        return
    whole = FileResponse(path, media_type=MIME[path.suffix], headers=_HEADERS)
    await whole(scope, receive, send)
