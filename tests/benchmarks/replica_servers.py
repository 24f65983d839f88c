"""One server on a file, or replicas on one PostgreSQL, and what they and their clients do."""

import contextlib
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
from support.postgres import PostgresServer, run_postgres

from .detection import log
from .http_client import Caller, Serving, serving
from .processes import LONGEST, environment, processor_of, temporary

_NOTING = str(Path(__file__).parent / "noting.py")
_LIKE_A_REAL_ONE = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "shared_buffers": "128MB",
    "shared_preload_libraries": "pg_stat_statements",
}
EACH_FOLLOWS = 10
"""Jobs that one client follows."""
LASTING = "midjourney-v7"
"""A model that is not known to be quick: a job is not looked at before it is followed."""


@dataclass
class Database:
    """The PostgreSQL of the replicas."""

    server: PostgresServer
    url: str

    def processor(self) -> float:
        """Return the processor time of all its processes so far, in seconds."""
        parent, *children = self.server.processes()
        used = 0.0
        for pid in children:
            with contextlib.suppress(FileNotFoundError):  # it ended, and counts with its parent
                used += processor_of(pid)
        return used + processor_of(parent, and_ended=True)

    def counted(self) -> tuple[int, int]:
        """Return how many statements so far, and bytes of its log."""
        ((statements, written),) = self.server.execute(
            "SELECT sum(calls)::bigint, (pg_current_wal_lsn() - '0/0'::pg_lsn)::bigint"
            " FROM pg_stat_statements",
            self.url,
        )
        return statements, written


@dataclass
class Servers:
    """What runs: one server, or replicas with their database.

    Attributes:
        environ: of a command on the same ledger.
        gauges: where each notes how late its looks are begun.
    """

    each: Sequence[Serving]
    gauges: Sequence[Path]
    environ: dict[str, str]
    database: Database | None

    def processor(self) -> float:
        """Return the processor time of all servers so far, in seconds, without PostgreSQL's."""
        return sum(server.processor() for server in self.each)

    def processor_of_database(self) -> float:
        """Return that of PostgreSQL; 0 where there is none."""
        return self.database.processor() if self.database else 0.0

    def counted(self) -> tuple[int, int]:
        """Return PostgreSQL's statements so far, and bytes of its log; 0 where there is none."""
        return self.database.counted() if self.database else (0, 0)

    def memory(self) -> float:
        """Return the resident memory of all servers in MB."""
        return sum(server.memory() for server in self.each)

    def late(self, since: float) -> list[float]:
        """Return by how many ms each look that was begun since then was late."""
        noted = [line.split() for file in self.gauges for line in file.read_text().splitlines()]
        return [float(line[1]) for line in noted if len(line) == 2 and float(line[0]) >= since]

    async def submitted(self, origin: str, prompts: Sequence[str]) -> list[list[str]]:
        """Start jobs, in turn at each server, and return the URIs of each one's."""
        uris: list[list[str]] = [[] for _ in self.each]

        async def start(place: int) -> None:
            async with self.each[place].caller("2026") as caller:
                for prompt in prompts[place :: len(self.each)]:
                    answer = await caller.call(
                        "generate_image", prompt=prompt, modelId=LASTING, wait=0
                    )
                    uris[place].append(answer["resourceUri"])

        async with anyio.create_task_group() as group:
            for place in range(len(self.each)):
                group.start_soon(start, place)
        with anyio.fail_after(LONGEST):
            while len(await log(origin)) < len(prompts):  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.1)
        return uris

    @asynccontextmanager
    async def followed(self, uris: Sequence[Sequence[str]], seconds: float) -> AsyncIterator[None]:
        """Have clients follow jobs, each at another server than the one that acts on them.

        Args:
            uris: those of each server.
            seconds: over which they come, one after another: a crowd at one moment would have all
                jobs looked at in one.
        """
        shares = [
            (self.each[(place + 1) % len(self.each)], own[first : first + EACH_FOLLOWS])
            for place, own in enumerate(uris)
            for first in range(0, len(own), EACH_FOLLOWS)
        ]
        async with AsyncExitStack() as stack:
            for server, share in shares:
                caller: Caller = await stack.enter_async_context(server.caller("2026"))
                await caller.listen(*share)
                await anyio.sleep(seconds / len(shares))
            yield


@asynccontextmanager
async def started(count: int, origin: str, **variables: str) -> AsyncIterator[Servers]:
    """Run one server on a file, or replicas on a PostgreSQL of their own."""
    async with AsyncExitStack() as stack:
        folder = stack.enter_context(temporary())
        database = None
        if count > 1:
            server = stack.enter_context(run_postgres(**_LIKE_A_REAL_ONE))
            database = Database(server, server.make_database())
            server.execute("CREATE EXTENSION pg_stat_statements", database.url)
            keys = folder / "keys"
            keys.write_text("k" * 32, encoding="ascii")
            variables |= {
                "MEIGEN_DATABASE_URL": database.url,
                "MEIGEN_REQUEST_KEYS_FILE": str(keys),
            }
        gauges = [folder / f"late-{number}" for number in range(count)]
        each = [
            await stack.enter_async_context(
                serving(
                    (sys.executable, _NOTING, str(gauge), "serve", "--http", "--port"),
                    environment(folder / str(number), origin, **variables),
                )
            )
            for number, gauge in enumerate(gauges)
        ]
        yield Servers(each, gauges, environment(folder / "0", origin, **variables), database)
