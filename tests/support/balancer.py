"""An ordinary load balancer for tests: each connection goes to the next server that is ready."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import httpx

CHECK_EVERY = 0.1


class Balancer:
    """Takes turns between servers, by what they say of themselves.

    Attributes:
        servers: their origins; those that are there and not ready are sent nothing.
    """

    def __init__(self) -> None:
        self.servers: list[str] = []
        self._ready: list[str] = []
        self._changed = asyncio.Event()
        self._turn = 0

    async def look(self) -> None:
        """Ask all of them for ever whether they are ready."""
        async with httpx.AsyncClient(timeout=2, trust_env=False) as client:
            while True:
                ready = []
                for origin in list(self.servers):
                    with contextlib.suppress(httpx.HTTPError):
                        if (await client.get(f"{origin}/readyz")).status_code == 200:
                            ready.append(origin)
                self._ready = ready
                self._changed.set()
                self._changed = asyncio.Event()
                await asyncio.sleep(CHECK_EVERY)

    async def until_ready(self, *origins: str) -> None:
        """Wait until exactly these are sent something."""
        while set(self._ready) != set(origins):
            await self._changed.wait()

    async def carry(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Carry one connection to the end."""
        try:
            answers, server = await self._open()
        except OSError:
            writer.close()
            return
        try:
            await asyncio.gather(_pump(reader, server), _pump(answers, writer))
        finally:
            server.close()
            writer.close()

    async def _open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Open a connection to whoever is next; one that is gone meanwhile is passed over."""
        for _ in range(len(self._ready)):
            self._turn += 1
            host, _, port = self._ready[self._turn % len(self._ready)][7:].partition(":")
            with contextlib.suppress(OSError):
                return await asyncio.open_connection(host, int(port))
        raise OSError("no server is ready")


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
        writer.write_eof()


@asynccontextmanager
async def run_balancer() -> AsyncIterator[tuple[Balancer, str]]:
    """Serve on a free port, and yield the balancer and its origin."""
    balancer = Balancer()
    looking = asyncio.create_task(balancer.look())
    carrying: set[asyncio.Task[None]] = set()

    def carry(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.create_task(balancer.carry(reader, writer))
        carrying.add(task)
        task.add_done_callback(carrying.discard)

    serving = await asyncio.start_server(carry, "127.0.0.1", 0)
    try:
        yield balancer, f"http://127.0.0.1:{serving.sockets[0].getsockname()[1]}"
    finally:
        serving.close()
        looking.cancel()
        for task in list(carrying):
            task.cancel()
        await asyncio.wait([looking, *carrying], timeout=5)
