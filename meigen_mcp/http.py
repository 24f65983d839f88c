"""Serving clients over Streamable HTTP, in front of one MeiGen account.

Loopback is open; any other address needs MEIGEN_HTTP_TOKEN, and there answers name no path of this
machine's disk. Host and Origin are checked on every address, since a web page can reach them all.
"""

import asyncio
import hmac
import logging
import os
import re
import socket
import time
from collections.abc import AsyncIterator, Iterable, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from ipaddress import IPv6Address
from threading import Timer
from typing import NoReturn
from urllib.parse import quote

import anyio
import h11
import uvicorn
from mcp.server.auth.middleware.bearer_auth import RequireAuthMiddleware
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.settings import AuthSettings
from mcp.server.transport_security import TransportSecuritySettings
from pydantic import AnyHttpUrl
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.h11_impl import H11Protocol

from meigen_mcp.app import App, on_sandbox, running
from meigen_mcp.settings import Settings, is_loopback
from meigen_mcp.system import termination

log = logging.getLogger(__name__)
log.setLevel(logging.INFO)  # whoever runs a server wants its address and its accesses
logging.getLogger("mcp.server.streamable_http_manager").setLevel(logging.WARNING)  # names sessions

PATH = "/mcp"
HEALTH = "/healthz"
LARGEST_REQUEST = 4 * 2**20
REQUEST_WITHIN = 10.0
"""Seconds in which a whole request, headers and body, must have arrived."""
ANSWERED_WITHIN = 0.2
"""Seconds at the end for answers to be written, once they are given."""
LONGEST_END = 0.8
"""Seconds from the wish to end to the end, whatever a clean-up waits for."""
_SCOPE = "meigen"
_LIBRARY_TEXT = re.compile(rb'"message":"(Parse|Validation) error: (?:[^"\\]|\\.)*"')


class Refused(Exception):
    """The server does not start, for a reason that the person can mend."""


async def serve(
    settings: Settings, host: str, port: int, allowed_hosts: Iterable[str] = ()
) -> NoReturn:
    """Serve until the process is asked to end; returns only by refusing to start.

    The process ends here, since what else it holds needs no care and would only take time.

    Args:
        settings: what the environment says.
        host: the address to bind.
        port: 0 for any free one.
        allowed_hosts: further names under which clients may reach this server.

    Raises:
        Refused: the address may not or cannot be bound.
    """
    settings = for_address(settings, host)
    ended = anyio.Event()

    async def end() -> None:
        await termination()
        _end_within(LONGEST_END)
        ended.set()

    with listening(host, port) as listener:
        async with anyio.create_task_group() as group:
            group.start_soon(end)  # first, so that no signal is missed from here on
            async with (
                running(settings) as app,
                serving(app, listener, host, allowed_hosts) as origin,
            ):
                log.info("serving MCP on %s%s", origin, PATH)
                await ended.wait()
    os._exit(0)


async def serve_on_sandbox(
    settings: Settings, host: str, port: int, allowed_hosts: Iterable[str] = ()
) -> None:
    """Serve with an API emulator of our own in this process.

    Raises:
        Refused: as for `serve`.
    """
    from meigen_mcp.sandbox.running import running as sandbox  # noqa: PLC0415  # rarely needed

    async with sandbox() as origin:
        await serve(on_sandbox(settings, origin), host, port, allowed_hosts)


def for_address(settings: Settings, host: str) -> Settings:
    """Return the settings for serving at an address, if it may be served there at all.

    Raises:
        Refused: everybody could spend, or the answers would name what is wrong on this machine.
    """
    broken = [problem for problem in settings.problems if "MEIGEN_HTTP_TOKEN" in problem]
    if is_loopback(_origin(host)):
        if broken:
            raise Refused(broken[0])
        return settings
    if settings.problems:
        raise Refused("\n".join(settings.problems))
    if settings.http_token is None:
        raise Refused(
            f"Everybody who reaches {host or 'this machine'} could spend your credits. Set"
            " MEIGEN_HTTP_TOKEN to a long random text, which clients then send as a bearer token,"
            " or serve on 127.0.0.1."
        )
    return replace(settings, discreet=True, reference_dirs=())


@contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Bind an address.

    Raises:
        Refused: it cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        listener = socket.create_server((host, port), family=family)
    except OSError as error:
        raise Refused(
            f"{host}, port {port} cannot be served: {error.strerror}. Choose another with --host or"
            " --port."
        ) from None
    with listener:
        yield listener


@asynccontextmanager
async def serving(
    app: App, listener: socket.socket, host: str, allowed_hosts: Iterable[str] = ()
) -> AsyncIterator[str]:
    """Serve a running app on a bound address, and yield its origin.

    At the end calls are answered and streams ended first; a client that does not read is dropped.
    """
    names = ("127.0.0.1", "localhost", "::1", host, socket.gethostname(), *allowed_hosts)
    routes = _routes(app, [_origin(name).removeprefix("http://") for name in names if name])
    front = _Front(routes)
    server = _Server(
        uvicorn.Config(
            front,
            http=_Protocol,
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
        )
    )
    async with anyio.create_task_group() as group:
        async with routes.router.lifespan_context(routes):
            group.start_soon(server.serve, [listener])
            try:
                yield f"{_origin(host)}:{listener.getsockname()[1]}"
            finally:
                front.closing = True
                with anyio.CancelScope(shield=True):
                    await app.close()
                    with anyio.move_on_after(ANSWERED_WITHIN):
                        await front.answered()
        server.should_exit = True


def _origin(host: str) -> str:
    """Return the origin of a host, without a port."""
    try:
        return f"http://[{IPv6Address(host.strip('[]'))}]"
    except ValueError:
        return f"http://{host}"


# --- routes -------------------------------------------------------------------------------------


class _Token:
    """Knows the one token; part of the SDK's border."""

    def __init__(self, token: str) -> None:
        self._token = token.encode()

    async def verify_token(self, token: str) -> AccessToken | None:
        """Compare in a time that says nothing about the token."""
        if hmac.compare_digest(token.encode(), self._token):
            return AccessToken(token=token, client_id="owner", scopes=[_SCOPE])
        return None


def _routes(app: App, hosts: list[str]) -> Starlette:
    token = app.service.settings.http_token
    elsewhere: ASGIApp = PlainTextResponse(f"MCP is served on {PATH}.\n", status_code=404)
    if token is not None:
        elsewhere = RequireAuthMiddleware(elsewhere, [_SCOPE])
    spelled = sorted({spelling for host in hosts for spelling in (host, host.lower())})
    with_ports = [*spelled, *(f"{host}:*" for host in spelled)]
    routes = app.server.streamable_http_app(
        streamable_http_path=PATH,
        max_request_body_size=LARGEST_REQUEST,
        transport_security=TransportSecuritySettings(
            allowed_hosts=with_ports,
            allowed_origins=[f"{s}://{host}" for s in ("http", "https") for host in with_ports],
        ),
        # No resource URL: a client that is refused should not go looking for a sign-in page.
        auth=AuthSettings(
            issuer_url=AnyHttpUrl("http://127.0.0.1"),
            resource_server_url=None,
            required_scopes=[_SCOPE],
        )
        if token is not None
        else None,
        token_verifier=None if token is None else _Token(token),
        custom_starlette_routes=[Route(HEALTH, _healthy)],
    )
    routes.router.default = elsewhere
    routes.router.redirect_slashes = False
    return routes


async def _healthy(request: Request) -> Response:
    del request
    return PlainTextResponse("ok\n")


class _Front:
    """What every request passes first: the log of accesses, and the count of open questions.

    Attributes:
        closing: nothing new is taken in.
    """

    def __init__(self, inner: ASGIApp) -> None:
        self._inner = inner
        self.closing = False
        self._open = 0
        self._answered = anyio.Event()

    async def answered(self) -> None:
        """Wait until every question is answered; a GET is a stream, which never is."""
        while self._open:
            self._answered = anyio.Event()
            await self._answered.wait()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        started = time.monotonic()
        status = 0
        question = scope["method"] != "GET"

        async def noted(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        self._open += question
        try:
            if self.closing:
                await Response(status_code=503)(scope, receive, noted)
            else:
                await self._inner(scope, receive, _in_plain_words(noted))
        except ClientDisconnect:
            pass  # gone, or dropped as too slow
        finally:
            self._open -= question
            self._answered.set()
            client = (scope["client"] or ("?",))[0]
            path = quote(scope["path"])[:100]  # without the query, where some put a token
            seconds = time.monotonic() - started
            log.info("%s %s %s %s %.3f s", client, scope["method"], path, status, seconds)


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


# --- connections --------------------------------------------------------------------------------


class _Protocol(H11Protocol):
    """Drops a connection on which a request does not arrive whole in time."""

    _late: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        super().connection_made(transport)
        self._expect()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._arrived()
        super().connection_lost(exc)

    def _expect(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self._arrived()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_WITHIN, self.transport.abort)

    def _arrived(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class _Server(uvicorn.Server):
    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `termination`, which has calls answered first."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the last answers be read for a moment; then nobody is waited for."""
        for connection in list(self.server_state.connections):
            connection.shutdown()
        until = time.monotonic() + ANSWERED_WITHIN
        while self.server_state.connections and time.monotonic() < until:  # noqa: ASYNC110  # uvicorn tells of no end
            await asyncio.sleep(0.01)
        for connection in list(self.server_state.connections):
            connection.transport.abort()
        await super().shutdown(sockets)


def _end_within(seconds: float) -> None:
    watchdog = Timer(seconds, os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()
