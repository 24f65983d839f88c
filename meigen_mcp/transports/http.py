"""Serving clients over Streamable HTTP, in front of one MeiGen account.

Every request passes `auth.Access` first: its Host, its Origin and its token. Whoever may be on
another computer is told no path of this machine's disk.
"""

import logging
import os
import re
import secrets
import socket
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote

import anyio
from anyio.abc import TaskGroup, TaskStatus
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

import meigen_mcp.server.server  # noqa: F401  # with the transport, and not when it runs
from meigen_mcp.app import App, check_database, discard_sandbox, run_app
from meigen_mcp.errors import MeigenError
from meigen_mcp.foreign import flat
from meigen_mcp.media.links import PATH as MEDIA
from meigen_mcp.media.store import Media
from meigen_mcp.origins import origin_of
from meigen_mcp.server.access_notes import AccessNote, noted
from meigen_mcp.service.delivery import under_way
from meigen_mcp.settings import Settings, from_elsewhere
from meigen_mcp.system import Signal, listen_on, termination
from meigen_mcp.transports.auth import LEAST_TOKEN, Access, CannotServe, NotAdmitted
from meigen_mcp.transports.connections import (
    ANSWERED_WITHIN,
    LONGEST_END,
    PromptServer,
    end_within,
)
from meigen_mcp.transports.media import Downloads
from meigen_mcp.transports.passage import Passage
from meigen_mcp.transports.sessions import Sessions
from meigen_mcp.variables import LEAST_KEY

if TYPE_CHECKING:
    from meigen_mcp.transports.sign_in import Door

log = logging.getLogger("meigen_mcp.http")
log.setLevel(logging.INFO)  # whoever runs a server wants its address and its accesses

PATH = "/mcp"
HEALTH = "/healthz"
READINESS = "/readyz"
UNREADY = 3.0
"""Seconds in which a balancer must notice that one of many servers leaves."""
LONGEST_SHARED_END = 12.0
"""Seconds from the wish to the end of one of many: what it is sending is waited for."""
_LIBRARY_TEXT = re.compile(rb'"message":"(Parse|Validation) error: (?:[^"\\]|\\.)*"')


async def serve(settings: Settings, access: Access, host: str, port: int) -> None:
    """Serve until the process is asked to end; returns only by refusing to start.

    The process ends here, since what else it holds needs no care and would only take time.

    Args:
        settings: what the environment says.
        access: who is let in.
        host: the address to bind.
        port: 0 for any free one.

    Raises:
        CannotServe: the address cannot be bound, or it cannot be one of many.
    """
    ended = anyio.Event()
    shared = settings.database_url is not None
    if shared:
        await _must_be_one_of_many(settings)

    async def end() -> None:
        await termination()
        end_within(LONGEST_SHARED_END if shared else LONGEST_END)
        ended.set()

    with listening(host, port) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(end)  # first, so that no signal is missed from here on
            async with run_app(replace(settings, discreet=access.discreet)) as app:
                end_serving = await start_serving(group, app, listener, access)
                origin = f"{origin_of(host)}:{listener.getsockname()[1]}"
                log.info("serving MCP on %s%s", origin, PATH)
                log.info("it answers to %s; --allowed-host adds a name", ", ".join(access.spoken))
                if access.sign_in is not None:
                    log.info("people sign in by %s", access.sign_in.issuer)
                elif access.token is not None:
                    log.info(
                        "clients need the token in %s", access.token_file or "MEIGEN_HTTP_TOKEN"
                    )
                if access.guessable:
                    log.warning(
                        "MEIGEN_HTTP_TOKEN has fewer than %d characters: programs of this computer"
                        " could guess it, and what comes through a proxy is refused; give it more,"
                        " or unset it, and one is made",
                        LEAST_TOKEN,
                    )
                if not access.discreet:
                    log.info(
                        "this prints what a client needs: meigen-mcp install CLIENT --url %s%s%s",
                        origin,
                        PATH,
                        "" if access.asks else " --no-token",
                    )
                if settings.sandbox is not None:
                    log.info("this is the sandbox: nothing here is real")
                elif settings.token is None:
                    log.warning(
                        "it quotes and makes nothing: MEIGEN_API_TOKEN_FILE is not set, nor a token"
                    )
                await ended.wait()
                await end_serving(UNREADY if shared else 0.0)
            discard_sandbox(settings)
            os._exit(0)  # thousands of sessions would take longer to unwind than there is time


async def _must_be_one_of_many(settings: Settings) -> None:
    if not settings.request_keys:
        raise CannotServe(
            "Servers of one database share the keys that seal what a client carries from one to"
            " another: set MEIGEN_REQUEST_KEYS_FILE to a file with one of at least"
            f" {LEAST_KEY} bytes. This one was just made: {secrets.token_urlsafe(LEAST_KEY)}"
        )
    try:
        await check_database(settings)
    except MeigenError as problem:
        raise CannotServe(problem.message) from None


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind an address.

    Raises:
        CannotServe: it cannot be bound.
    """
    try:
        host.encode("idna")  # as binding does, which leaves a socket open where it cannot
        listener = listen_on(host, port)
    except (OSError, UnicodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "no host has such a name"
        raise CannotServe(
            f"{flat(host)}, port {port} cannot be served: {why}. Choose another with --host or"
            " --port."
        ) from None
    with listener:
        yield listener


async def start_serving(
    group: TaskGroup, app: App, listener: socket.socket, access: Access
) -> Callable[[float], Awaitable[None]]:
    """Serve a running app on a bound address, in a task group, until that is cancelled.

    Returns:
        What ends it well: for so many seconds it serves and is not ready, so that a balancer sends
        no more; then calls are answered and streams ended; a client that does not read is dropped.
    """
    shared = app.service.settings.database_url is not None
    sessions = Sessions(app.server, stateless=shared)
    door = None
    if access.sign_in is not None:
        from meigen_mcp.transports.sign_in import Door  # noqa: PLC0415  # few have people sign in

        scripts = app.service.settings.http_token_name
        door = Door(
            *(sessions.asgi_app, access.sign_in, app.team),
            static=access.token,
            static_name=scripts,
        )
        group.start_soon(door.keys.run)
    front = Front(
        *(sessions.asgi_app, access, lambda: app.service.ready, door, app.media),
        sessionless=shared,
    )
    server = PromptServer(front)

    async def run_sessions(*, task_status: TaskStatus[None]) -> None:
        async with sessions.run():
            task_status.started()
            await anyio.sleep_forever()

    async def end_serving(unready: float) -> None:
        front.leaving = True
        await anyio.sleep(unready)
        front.closing = True
        app.close()
        with anyio.move_on_after(ANSWERED_WITHIN):
            await front.answered()
        sessions.end_streams()
        server.should_exit = True
        await server.drained.wait()

    await group.start(run_sessions)
    group.start_soon(server.serve, [listener])
    return end_serving


class Front:
    """What every request passes first: who is let in, the log, and the count of open questions.

    Args:
        inner: what serves MCP.
        access: who is let in.
        ready: says whether a call can be answered now.
        door: what stands before `inner` where people sign in.
        media: what signed URLs name; None: nothing.
        sessionless: a 2025 client has no session, and so no stream of its own either.

    Attributes:
        leaving: a balancer is told to send nothing more.
        closing: nothing new is taken in.
    """

    def __init__(
        self,
        inner: ASGIApp,
        access: Access,
        ready: Callable[[], bool] = lambda: True,
        door: "Door | None" = None,
        media: Media | None = None,
        *,
        sessionless: bool = False,
    ) -> None:
        self._inner = door or inner
        self._door = door
        self._access = access
        self._ready = ready
        self._downloads = Downloads(media) if media is not None and media.links else None
        self._sessionless = sessionless
        self.leaving = False
        self.closing = False
        self._open = 0
        self._answered = Signal()

    async def answered(self) -> None:
        """Wait until every question is answered; a GET is a stream, which never is."""
        while self._open:
            await self._answered.after(self._answered.count)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        started = time.monotonic()
        status = 0
        refusal = ""
        question = scope["method"] != "GET"
        came = AccessNote()
        noted.set(came)
        passage = Passage(scope, receive, send)
        under_way.set(passage.delivery)

        async def remembered(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await passage.send(message)

        self._open += question
        try:
            if self.closing:
                await Response(status_code=503)(scope, receive, remembered)
            elif scope["path"] == HEALTH:  # a container asks by itself, and has no token
                await PlainTextResponse("ok\n")(scope, receive, remembered)
            elif scope["path"] == READINESS:
                now = not self.leaving and self._ready()
                told = (
                    PlainTextResponse("ready\n") if now else PlainTextResponse("not ready\n", 503)
                )
                await told(scope, receive, remembered)
            else:
                refusal = await self._answer(scope, passage.receive, remembered)
        except ClientDisconnect:
            pass  # gone, or dropped as too slow
        finally:
            took = time.monotonic() - started
            await passage.end()
            self._open -= question
            self._answered.set()
            client = (scope["client"] or ("?",))[0]
            path = quote(scope["path"])[:100]  # without the query, where some put a token
            more = (f" by {came.person}" if came.person else "") + (refusal or came.words)
            # A balancer asks twice a second: its answer is worth a line when it is a no.
            level = logging.DEBUG if path == READINESS and status == 200 else logging.INFO
            words = (client, scope["method"], path, status, took, more)
            log.log(level, "%s %s %s %s %.3f s%s", *words)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> str:
        """Answer a request, and return what the log says of a host that is not let in."""
        headers = Headers(scope=scope)
        try:
            self._access.recognise(headers)
        except NotAdmitted as refused:
            await _refuse(refused)(scope, receive, send)
            return f" {refused.sentence}"
        if "origin" in headers:
            send = _readable_by(headers["origin"], send)
        if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
            await _allow_page(headers)(scope, receive, send)
            return ""
        if self._door is not None and scope["path"] == self._door.metadata_path:
            await self._door.metadata(scope, receive, send)
            return ""
        if self._downloads is not None and scope["path"].startswith(MEDIA):
            await self._downloads.serve(scope, receive, send)
            return ""
        try:
            # Set for each: a request that was sent behind another begins in what that one left.
            from_elsewhere.set(self._access.admit(headers))
        except NotAdmitted as refused:
            await _refuse(refused)(scope, receive, send)
            return ""
        if scope["path"] == PATH and self._sessionless and scope["method"] in ("GET", "DELETE"):
            only = {"allow": "POST"}
            await PlainTextResponse("No session is kept here.\n", 405, only)(scope, receive, send)
        elif scope["path"] == PATH:
            await self._inner(scope, receive, _in_plain_words(send))
        else:
            await PlainTextResponse(f"MCP is served on {PATH}.\n", 404)(scope, receive, send)
        return ""


def _refuse(refused: NotAdmitted) -> Response:
    # No resource metadata: a client that is refused should not go looking for a sign-in page.
    asks = {"www-authenticate": "Bearer"} if refused.status is HTTPStatus.UNAUTHORIZED else None
    return PlainTextResponse(f"{refused.sentence}\n", refused.status, asks)


def _allow_page(headers: Headers) -> Response:
    """Answer a browser that asks whether a page may send what it wants to."""
    return Response(
        status_code=HTTPStatus.NO_CONTENT,
        headers={
            "access-control-allow-methods": "GET, POST, DELETE",
            "access-control-allow-headers": headers.get("access-control-request-headers", ""),
            "access-control-max-age": "600",
        },
    )


def _readable_by(origin: str, send: Send) -> Send:
    """Let a page from an origin that is let in read the answer, and the id of its session."""

    async def allowed(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["access-control-allow-origin"] = origin
            headers["access-control-expose-headers"] = "Mcp-Session-Id, WWW-Authenticate"
            headers.add_vary_header("Origin")
        await send(message)

    return allowed


def _in_plain_words(send: Send) -> Send:
    """Cut the text of a library out of the SDK's protocol errors of 2025."""
    start: Message = {}
    body = b""

    async def cut(message: Message) -> None:
        nonlocal start, body
        if message.get("status") == 400:
            start = message
            return
        if start:
            body += message.get("body", b"")
            if message.get("more_body"):
                return
            body = _LIBRARY_TEXT.sub(rb'"message":"\1 error"', body)
            others = [pair for pair in start.get("headers", ()) if pair[0] != b"content-length"]
            length = (b"content-length", str(len(body)).encode())
            await send({**start, "headers": [*others, length]})
            message = {**message, "body": body}
        await send(message)

    return cut
