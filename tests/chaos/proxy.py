"""A small HTTP proxy between a server process and the sandbox, which can hold or spoil messages."""

import asyncio
import contextlib
import json
import re
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal
from urllib.parse import urlsplit

Route = Literal["submit", "status", "lookup", "presign", "upload", "media", "other"]
_LENGTH = re.compile(rb"\r\ncontent-length: *(\d+)", re.IGNORECASE)
_LARGEST_HEAD = 2**16


class HangUp(Exception):
    """The connection is closed without another byte."""


class Exchange:
    """One request on its way to the sandbox, and its reply on the way back."""

    def __init__(
        self, request: bytes, connection: "_Connection", reader: asyncio.StreamReader
    ) -> None:
        self.line = request.split(b"\r\n", 1)[0]
        self.route = _route(self.line)
        self.body = request.partition(b"\r\n\r\n")[2]
        self._request = request
        self._connection = connection
        self._reader = reader

    async def forward(self) -> bytes:
        """Give the request to the sandbox and return its reply.

        Raises:
            HangUp: the sandbox closed the connection.
        """
        return await self._connection.forward(self._request)

    async def answer(self, reply: bytes) -> None:
        """Write bytes to the server process; one that is gone is no problem."""
        with contextlib.suppress(ConnectionError):
            self._connection.writer.write(reply)
            await self._connection.writer.drain()

    def close(self) -> None:
        """Close both ends; what is forwarded after a hang-up opens one of them anew."""
        self._connection.close()

    async def silence(self, seconds: float) -> None:
        """Say nothing until the server process gives up, at most for a time; then hang up."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._reader.read(1), seconds)
        raise HangUp


Script = Callable[[Exchange], Awaitable[None]]


async def plain(exchange: Exchange) -> None:
    """Carry a request and its reply unchanged."""
    await exchange.answer(await exchange.forward())


class Proxy:
    """Carries every request as its script says.

    Attributes:
        script: what to do with an exchange.
        sent: the bodies of all submissions that arrived here, whatever became of them.
        port: of this machine, the same for life.
    """

    def __init__(self, upstream: str) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self._tasks: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        self.script: Script = plain
        self.sent: list[bytes] = []
        self.port = 0

    @property
    def origin(self) -> str:
        """The origin under which the sandbox is reached through this proxy."""
        return f"http://127.0.0.1:{self.port}"

    async def open(self) -> None:
        """Accept connections."""
        self._server = await asyncio.start_server(
            self._serve, "127.0.0.1", self.port, limit=_LARGEST_HEAD
        )
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse connections, and break those that are open."""
        if self._server is not None:
            self._server.close()
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        connection = _Connection(self._upstream, writer)
        try:
            while (request := await _message(reader)) is not None:
                exchange = Exchange(request, connection, reader)
                if exchange.route == "submit":
                    self.sent.append(exchange.body)
                await self.script(exchange)
        except (HangUp, ConnectionError, asyncio.IncompleteReadError, asyncio.CancelledError):
            pass  # the server process sees a broken connection, or is gone
        finally:
            self._tasks.discard(task)
            connection.close()


class _Connection:
    """The two ends of a connection: the server process, and the sandbox once it is needed."""

    def __init__(self, upstream: tuple[str, int], writer: asyncio.StreamWriter) -> None:
        self._address = upstream
        self._upstream: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self.writer = writer

    async def forward(self, request: bytes) -> bytes:
        if self._upstream is None:
            self._upstream = await asyncio.open_connection(*self._address, limit=_LARGEST_HEAD)
        reader, writer = self._upstream
        writer.write(request)
        reply = await _message(reader)
        if reply is None:
            raise HangUp
        return reply

    def close(self) -> None:
        self.writer.transport.abort()
        if self._upstream is not None:
            self._upstream[1].transport.abort()


async def _message(reader: asyncio.StreamReader) -> bytes | None:
    """Read a request or a reply, head and body; None at the end of the connection."""
    try:
        head = await reader.readuntil(b"\r\n\r\n")
    except asyncio.IncompleteReadError:
        return None
    length = _LENGTH.search(head)
    return head + await reader.readexactly(int(length[1]) if length else 0)


def _route(line: bytes) -> Route:
    for part, route in _ROUTES.items():
        if part in line:
            return route
    return "other"


_ROUTES: dict[bytes, Route] = {
    b"POST /api/generate/": "submit",
    b"/status/": "status",
    b"/requests/": "lookup",
    b"POST /api/upload/": "presign",
    b"PUT /upload/": "upload",
    b"/media/": "media",
}


@asynccontextmanager
async def proxied(upstream: str) -> AsyncIterator[Proxy]:
    """Run a proxy in front of an origin."""
    proxy = Proxy(upstream)
    await proxy.open()
    try:
        yield proxy
    finally:
        await proxy.close()


# --- what may become of an exchange --------------------------------------------------------------


def reply(status: str, body: bytes = b"{}", *headers: str) -> bytes:
    """Return a reply as it stands on the wire."""
    lines = [f"HTTP/1.1 {status}", *headers, f"content-length: {len(body)}"]
    return "\r\n".join(lines).encode() + b"\r\n\r\n" + body


def answered(status: str, body: bytes = b"{}", *headers: str, acts: bool = False) -> Script:
    """Return a script that answers by itself, after the sandbox acted or without."""

    async def script(exchange: Exchange) -> None:
        if acts:
            await exchange.forward()
        await exchange.answer(reply(status, body, *headers))

    return script


async def dropped(_: Exchange) -> None:
    """The connection breaks before the sandbox has the request."""
    raise HangUp


async def dropped_after(exchange: Exchange) -> None:
    """The sandbox acts, and the connection breaks before its reply."""
    await exchange.forward()
    raise HangUp


def changed(change: Callable[[dict[str, Any]], dict[str, Any]]) -> Script:
    """Return a script that writes other things into the JSON of a reply."""

    async def script(exchange: Exchange) -> None:
        head, _, body = (await exchange.forward()).partition(b"\r\n\r\n")
        said = json.dumps(change(json.loads(body))).encode()
        status, *headers = head.decode().split("\r\n")
        kept = [line for line in headers if not line.lower().startswith("content-length")]
        await exchange.answer(reply(status.removeprefix("HTTP/1.1 "), said, *kept))

    return script


class Plan:
    """A script that does on some routes what was planned for them, and else carries.

    Args:
        scripts: for each route what happens to its exchanges, one after the other; a single one
            happens to all of them.
    """

    def __init__(self, **scripts: "Script | list[Script]") -> None:
        self._scripts: Mapping[str, Script | list[Script]] = scripts
        self.met: Counter[str] = Counter()

    async def __call__(self, exchange: Exchange) -> None:
        """Carry an exchange, or do what is planned."""
        planned = self._scripts.get(exchange.route, plain)
        if isinstance(planned, list):
            planned = planned.pop(0) if planned else plain
        self.met[exchange.route] += planned is not plain
        await planned(exchange)
