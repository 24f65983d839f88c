"""Connections over HTTP: how many there may be, how long a request may take, and how they end."""

import asyncio
import errno
import logging
import os
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from threading import Timer

import anyio
import h11
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.h11_impl import H11Protocol

from meigen_mcp.system import allow_descriptors

REQUEST_WITHIN = 10.0
"""Seconds in which a whole request, headers and body, must have arrived."""
ANSWERED_WITHIN = 0.5
"""Seconds at the end for what waits to be answered, and for that to leave."""
LONGEST_END = 0.8
"""Seconds from the wish to end to the end, whatever a clean-up waits for."""
MOST_CONNECTIONS = 4096
KEPT_FREE = 128
"""Descriptors for the ledger, for MeiGen and for the files that are saved."""
KEPT_FOR = 75
"""Seconds for which a connection is kept after an answer. Clients keep theirs for 4 or 5: whoever
closes first must not be the server, which may just then be sent a call."""
PATIENCE = 1.0
"""Seconds in which a connection is not closed for another one, however many wait."""
CONNECTION = "connection"
"""By which a request's `state` has the connection that it came on."""
_QUEUE = 2048
"""Connections that the system lets wait until they are taken in."""
_AT_ONCE = 64
_LOOK_EVERY = 0.02
_OUT_OF_DESCRIPTORS_FOR = 1.0
_SELDOM = 60.0

log = logging.getLogger("meigen_mcp.http")
logging.getLogger("uvicorn.error").setLevel(logging.ERROR)  # it tells each request that is none


class BoundedProtocol(H11Protocol):
    """Drops a connection on which a request does not arrive whole in time, and knows what left.

    Attributes:
        asked: a whole request arrived once.
        since: when something last happened on it, by the loop's clock.
        gone: it is no more.
    """

    _late: asyncio.TimerHandle | None = None
    _cut = False
    asked = False
    since = 0.0
    gone = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]  # as in the base
        """Expect the first request."""
        super().connection_made(transport)
        transport.set_write_buffer_limits(high=0)  # so that what waits is known
        self.app_state = {**self.app_state, CONNECTION: self}
        self.since = self.loop.time()
        self._expect()

    def on_response_complete(self) -> None:
        """Keep the connection for a while."""
        super().on_response_complete()
        self.since = self.loop.time()

    @property
    def idle(self) -> bool:
        """Whether nobody waits for what it brings: it never asked, or has its answer."""
        answered = self.timeout_keep_alive_task and not self.transport.get_write_buffer_size()
        return not self.asked or bool(answered)

    def data_received(self, data: bytes) -> None:
        """Take what arrived, and expect the rest of it."""
        super().data_received(data)
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        """Expect nothing more."""
        self._stop_expecting()
        self.gone, self._cut = True, self._cut or exc is not None
        self.app_state = {}
        super().connection_lost(exc)

    def drop(self) -> None:
        """End it at once, with what is not with the system yet."""
        self._cut = self._cut or self.transport.get_write_buffer_size() > 0
        self.transport.abort()

    async def written(self) -> bool:
        """Wait until all that was written while it was there is with the system.

        Returns:
            Whether it is.
        """
        await self.flow.drain()
        await asyncio.sleep(0)  # that a write failed at once is told in the next turn
        return not self._cut

    def _expect(self) -> None:
        if self.conn.their_state not in (h11.IDLE, h11.SEND_BODY):
            self.asked = self.asked or self.conn.their_state is not h11.ERROR
            self.since = self.loop.time()
            self._stop_expecting()
        elif self._late is None:
            self._late = self.loop.call_later(REQUEST_WITHIN, self.transport.abort)

    def _stop_expecting(self) -> None:
        if self._late is not None:
            self._late.cancel()
            self._late = None


class PromptServer(uvicorn.Server):
    """A server that keeps room for its own work, and ends in time, whatever is still open.

    It takes connections in itself: asyncio takes in all that wait, and without descriptors it
    writes a traceback for each.

    Attributes:
        most: how many connections there may be.
        drained: at the end, what could be written is.
    """

    def __init__(self, app: ASGIApp) -> None:
        super().__init__(
            uvicorn.Config(
                app,
                http=BoundedProtocol,
                ws="none",
                lifespan="off",
                log_config=None,
                access_log=False,
                timeout_keep_alive=KEPT_FOR,
                proxy_headers=False,
                server_header=False,
            )
        )
        self.drained = anyio.Event()
        allowed = allow_descriptors(MOST_CONNECTIONS + KEPT_FREE)
        self.most = min(MOST_CONNECTIONS, allowed - min(KEPT_FREE, allowed // 2))
        self._told_at = -_SELDOM
        self._doors: list[asyncio.Task[None]] = []

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to take connections in."""
        self.servers = []
        for listener in sockets or ():
            listener.listen(_QUEUE)
            listener.setblocking(False)
            self._doors.append(asyncio.create_task(self._take_in(listener)))
        self.started = True

    async def _take_in(self, listener: socket.socket) -> None:
        """Take in what comes, when there is room; the rest waits in the system's queue."""
        loop = asyncio.get_running_loop()
        while True:
            await anyio.wait_readable(listener)
            room = await self._make_room()
            taken: list[socket.socket] = []
            failure: OSError | None = None
            try:
                while len(taken) < room:
                    taken.append(listener.accept()[0])
            except BlockingIOError:
                pass  # no more wait
            except OSError as error:  # one is gone already, or no descriptor is free
                failure = error
            for connection in taken:
                connection.setblocking(False)
                with suppress(OSError):  # asyncio does it for others, and misses ours
                    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            # Whoever is gone meanwhile is no error of ours. An end that comes meanwhile waits until
            # each has its protocol, which it closes.
            making = (loop.connect_accepted_socket(self._speak, part) for part in taken)
            made = asyncio.gather(*making, return_exceptions=True)
            try:
                await asyncio.shield(made)
            finally:
                await made
            if failure is not None:
                await self._wait_for_descriptors(failure)

    def _speak(self) -> BoundedProtocol:
        return BoundedProtocol(self.config, self.server_state, self.lifespan.state)

    async def _make_room(self) -> int:
        """Return how many may be taken in; at the bound, close what nobody misses.

        That is the connection that never sent a whole request and is idle longest, else the one
        that is kept longest after an answer. Whatever is at work is waited for.
        """
        while (free := self.most - len(self.server_state.connections)) <= 0:
            long_ago = asyncio.get_running_loop().time() - PATIENCE
            idle = [c for c in self._connections() if c.idle]
            idle = [c for c in idle if not c.asked] or idle
            late = sorted((c for c in idle if c.since <= long_ago), key=lambda c: c.since)
            for connection in late[: 1 + self.most // _AT_ONCE]:
                connection.transport.abort()
            await asyncio.sleep(0 if late else _LOOK_EVERY)
        return min(free, _AT_ONCE)

    def _connections(self) -> list[BoundedProtocol]:
        found = self.server_state.connections
        return [connection for connection in found if isinstance(connection, BoundedProtocol)]

    async def _wait_for_descriptors(self, error: OSError) -> None:
        if error.errno not in (errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM):
            return
        now = time.monotonic()
        if now - self._told_at > _SELDOM:
            self._told_at = now
            log.warning("no descriptor is free: no connection can be taken in")
        await asyncio.sleep(_OUT_OF_DESCRIPTORS_FOR)

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave the signals to `termination`, which has calls answered first."""
        yield

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Let the last answers be read for a moment; then nobody is waited for."""
        for door in self._doors:
            door.cancel()
        await asyncio.gather(*self._doors, return_exceptions=True)  # whom they took in is known now
        for connection in list(self.server_state.connections):
            connection.shutdown()
        until = time.monotonic() + ANSWERED_WITHIN
        while self.server_state.connections and time.monotonic() < until:  # noqa: ASYNC110  # uvicorn tells of no end
            await asyncio.sleep(0.01)
        for connection in self._connections():
            connection.drop()
        self.drained.set()
        await super().shutdown(sockets)


def end_within(seconds: float) -> None:
    """End this process after some seconds, whatever a clean-up waits for."""
    watchdog = Timer(seconds, os._exit, (0,))
    watchdog.daemon = True
    watchdog.start()
