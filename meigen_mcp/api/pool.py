"""The connections: each by a transport of its own.

A pool of httpcore asks with each request each idle connection about all others: with sixteen of
them that is a fifth of the processor time of a look.
"""

import time
from collections.abc import AsyncIterator, Callable
from functools import partial
from typing import NamedTuple

import anyio
import httpx

KEPT_FOR = 5.0
"""Seconds for which a connection is kept after a reply; httpx's own."""
CLOSED_WITHIN = 1.0
"""Seconds for which one that is closed may say so to the other side."""
ONE = httpx.Limits(max_connections=1, max_keepalive_connections=1, keepalive_expiry=KEPT_FOR)
"""The limits of a transport that is one connection."""


class _Idle(NamedTuple):
    origin: str
    connection: httpx.AsyncBaseTransport
    since: float


class Pool:
    """Hands each request a connection that is idle, or a new one.

    Args:
        most: requests at once, and about as many connections are kept idle.
    """

    def __init__(self, most: int) -> None:
        self._most = most
        self._places = anyio.Semaphore(most, fast_acquire=True)
        self._idle: list[_Idle] = []
        self._open: set[httpx.AsyncBaseTransport] = set()

    async def send(
        self, request: httpx.Request, origin: str, connect: Callable[[], httpx.AsyncBaseTransport]
    ) -> httpx.Response:
        """Send a request; its place is free once the response is closed.

        Args:
            request: what is sent.
            origin: whom a connection leads to.
            connect: makes a transport that is one connection there.

        Raises:
            httpx.PoolTimeout: no place was free in time; nothing was sent.
            httpx.TransportError: it could not be sent, or not be answered.
        """
        await self._take_place(request)
        connection = None
        try:
            await self._close_oldest()
            connection = self._kept(origin) or connect()
            self._open.add(connection)
            response = await connection.handle_async_request(request)
        except BaseException:
            self._places.release()
            if connection is not None:  # httpcore may hold one whose tunnel failed for ever
                await self._close(connection)
            raise
        closed = partial(self._take_back, origin, connection)
        response.stream = _Reply(response.stream, closed)  # type: ignore[arg-type]  # asynchronous
        return response

    async def _take_place(self, request: httpx.Request) -> None:
        if self._places.value:
            self._places.acquire_nowait()
            return
        with anyio.move_on_after(request.extensions.get("timeout", {}).get("pool")) as waiting:
            await self._places.acquire()
        if waiting.cancelled_caught:
            raise httpx.PoolTimeout("", request=request)

    def _kept(self, origin: str) -> httpx.AsyncBaseTransport | None:
        for place in reversed(range(len(self._idle))):  # the rest may grow old
            if self._idle[place].origin == origin:
                return self._idle.pop(place).connection
        return None

    async def _close_oldest(self) -> None:
        if not self._idle:
            return
        # Each request leaves at most one more: to many hosts, they would all stay open.
        if len(self._idle) > self._most or time.monotonic() - self._idle[0].since > KEPT_FOR:
            await self._close(self._idle.pop(0).connection)

    async def _close(self, connection: httpx.AsyncBaseTransport) -> None:
        self._open.discard(connection)
        with anyio.move_on_after(CLOSED_WITHIN, shield=True):
            await connection.aclose()

    def _take_back(self, origin: str, connection: httpx.AsyncBaseTransport) -> None:
        self._places.release()
        self._idle.append(_Idle(origin, connection, time.monotonic()))

    async def aclose(self) -> None:
        """Close all connections."""
        self._idle.clear()
        while self._open:
            await self._close(next(iter(self._open)))


class _Reply(httpx.AsyncByteStream):
    """The body of a response, which says when it is closed."""

    def __init__(self, body: httpx.AsyncByteStream, closed: Callable[[], None]) -> None:
        self._body = body
        self._closed = closed

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Give what arrives."""
        return aiter(self._body)

    async def aclose(self) -> None:
        """Close it, and say so."""
        try:
            await self._body.aclose()
        finally:
            self._closed()
