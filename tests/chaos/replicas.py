"""Replicas on one PostgreSQL behind a balancer: they and the database are ended all the time."""

import contextlib
import json
import shutil
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any
from uuid import UUID

import anyio
import httpx
from support.balancer import run_balancer
from support.haproxy import free_port, haproxy
from support.in_memory import MODES, Mode
from support.over_http import patient, post, process, structure_of
from support.postgres import PostgresServer, run_postgres

from meigen_mcp.sandbox.running import run_sandbox

from .report import Part, dice, table
from .servers import MODEL, temporary
from .truth import charged, most_in_a_window, posts

TOKEN = "correct-horse-battery-staple"
CREDITS = 2
"""Of one generation by the model that is used."""
CAP_OF_JOBS = 0.8
"""The share of the jobs for which there are credits."""
LIMIT = 1200
TO_AN_END = 240.0
_PROMPTS = ("a lighthouse",) * 18 + ("sandbox:lose-reply", "sandbox:fail")


@dataclass
class _Team:
    folder: Path
    sandbox: str
    database: PostgresServer
    url: str
    ports: list[int]
    chance: Random
    until: float  # for ever, as long as none is ready
    jobs: int
    longest: float
    kills: int = 0
    stops: int = 0
    ends: int = 0
    restarts: int = 0
    repeated: int = 0
    told: list[str] = field(default_factory=list)

    async def host(self, number: int) -> None:
        """Run one replica after another, each until chance ends it."""
        folder = self.folder / str(number)
        folder.mkdir()
        keys = folder / "keys"
        keys.write_text("k" * 32, encoding="ascii")
        while True:
            with contextlib.suppress(anyio.EndOfStream, TimeoutError):  # without its database
                async with (
                    process(
                        folder,
                        self.sandbox,
                        "--port",
                        str(self.ports[number]),
                        MEIGEN_DATABASE_URL=self.url,
                        MEIGEN_REQUEST_KEYS_FILE=str(keys),
                        MEIGEN_HTTP_TOKEN=TOKEN,
                        MEIGEN_RATE_LIMIT=str(LIMIT),
                        MEIGEN_MAX_CREDITS_PER_DAY=str(int(self.jobs * CAP_OF_JOBS) * CREDITS),
                        MEIGEN_OUTPUT_DIR="off",
                    ) as on,
                    anyio.create_task_group() as group,
                ):
                    group.start_soon(_read, on.stderr)
                    await self._live(on.process)
                    group.cancel_scope.cancel()
            await anyio.sleep(0.2)

    async def _live(self, replica: anyio.abc.Process) -> None:
        while True:
            life = self.chance.uniform(0.1, 1) * self.longest
            if time.time() + life > self.until:
                await anyio.sleep_forever()
            await anyio.sleep(life)
            match self.chance.choice(("kill", "stop", "end")):
                case "kill":
                    self.kills += 1
                    replica.kill()
                    return
                case "end":
                    self.ends += 1
                    replica.terminate()
                    await replica.wait()
                    return
                case _:
                    self.stops += 1
                    replica.send_signal(signal.SIGSTOP)
                    try:
                        await anyio.sleep(self.chance.uniform(0.1, 0.9) * self.longest)
                    finally:
                        replica.send_signal(signal.SIGCONT)

    async def restart(self) -> None:
        """Restart the database again and again, well or as after a crash."""
        while time.time() + self.longest < self.until:
            await anyio.sleep(self.chance.uniform(0.4, 1.5) * self.longest)
            how = self.chance.choice((signal.SIGINT, signal.SIGQUIT))
            await anyio.to_thread.run_sync(self.database.end, how)
            await anyio.sleep(self.chance.uniform(0, 3))
            await anyio.to_thread.run_sync(self.database.start)
            self.restarts += 1

    async def want(self, client: httpx.AsyncClient, mode: Mode, jobs: int, seconds: float) -> None:
        """Want one thing after another, each until an answer says what became of it."""
        for _ in range(jobs):
            name = str(UUID(int=self.chance.getrandbits(128), version=4))
            made = {"prompt": self.chance.choice(_PROMPTS), "modelId": MODEL, "requestId": name}
            what = {"name": "generate_image", "arguments": {**made, "wait": 0}}
            while (told := await self._ask(client, mode, what)) is None:
                self.repeated += 1
                await anyio.sleep(0.2)
            self.told.append(told)
            await anyio.sleep(self.chance.uniform(0, 2) * seconds / jobs)

    async def _ask(self, client: httpx.AsyncClient, mode: Mode, what: dict[str, Any]) -> str | None:
        """Return what a call came to; None if that is not known, or it is to be made again."""
        try:
            answer = await post(client, mode, "tools/call", what)
            answer.raise_for_status()
            told = structure_of(answer)
        except (httpx.HTTPError, ValueError, KeyError):
            return None
        code = told.get("error", {}).get("code")
        return None if code in ("ledger_unavailable", "internal") else code or told["status"]


async def _read(stderr: anyio.abc.ByteReceiveStream) -> None:
    """Read what it says, so that it never waits for that."""
    with contextlib.suppress(anyio.EndOfStream, anyio.ClosedResourceError):
        while True:
            await stderr.receive()


@asynccontextmanager
async def balanced(folder: Path, ports: list[int]) -> AsyncIterator[tuple[str, str]]:
    """Put HAProxy before replicas where there is one, else our own; yield its name and origin."""
    if shutil.which("haproxy"):
        with haproxy(folder, ports) as origin:
            yield "HAProxy", origin
    else:
        async with run_balancer() as (balancer, origin):
            balancer.servers = [f"http://127.0.0.1:{port}" for port in ports]
            yield "a balancer of the tests", origin


async def run(replicas: int, jobs: int, seconds: float, seed: int) -> Part:
    """Have so many jobs made while replicas and their database are ended for a time."""
    part = Part(
        f"{replicas} replicas on one PostgreSQL behind a balancer, {jobs} calls of both eras,"
        " random SIGKILL, SIGSTOP, SIGTERM and restarts of the database"
    )
    with temporary() as folder, run_postgres() as database:
        await _run(part, folder, database, replicas, jobs, seconds, dice(seed, "replicas"))
    return part


async def _until_one_is_ready(client: httpx.AsyncClient) -> None:
    with anyio.fail_after(TO_AN_END):
        while True:
            with contextlib.suppress(httpx.HTTPError):
                if (await client.get("/readyz")).status_code == 200:
                    return
            await anyio.sleep(0.1)


async def _run(
    part: Part,
    folder: Path,
    database: PostgresServer,
    replicas: int,
    jobs: int,
    seconds: float,
    chance: Random,
) -> None:
    url = database.make_database()
    callers = 6
    jobs -= jobs % callers
    ports = [free_port() for _ in range(replicas)]
    async with (
        run_sandbox(speed=0.1, rate_limit=1_000_000, credits=1_000_000) as sandbox,
        balanced(folder, ports) as (name, origin),
        httpx.AsyncClient(
            base_url=origin,
            timeout=20,
            headers={"authorization": f"Bearer {TOKEN}"},
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
        anyio.create_task_group() as group,
    ):
        team = _Team(
            folder,
            sandbox,
            database,
            url,
            ports,
            chance,
            float("inf"),
            jobs,
            min(20.0, seconds / 3),
        )
        for number in range(replicas):
            group.start_soon(team.host, number)
        await _until_one_is_ready(client)
        began = time.time()
        team.until = began + seconds
        async with anyio.create_task_group() as wanting:
            wanting.start_soon(team.restart)
            for number in range(callers):
                mode = MODES[number % len(MODES)]
                wanting.start_soon(team.want, client, mode, jobs // callers, seconds * 0.8)
        await anyio.sleep(max(0.0, team.until - time.time()))
        busy = "SELECT count(*) FROM meigen.generations WHERE next_look IS NOT NULL"
        with anyio.move_on_after(TO_AN_END) as late:
            while database.execute(busy, url) != [(0,)]:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.5)
        took = time.time() - began
        part.hold(not late.cancelled_caught, f"not at rest {TO_AN_END:.0f} s later")
        async with patient(sandbox) as looking:
            state = json.loads((await looking.get("/sandbox/state")).text)
        group.cancel_scope.cancel()
    found = database.execute(
        "SELECT request_id, status, millicredits, generation_id FROM meigen.generations", url
    )
    seen = posts(state)
    accepted = [sent.key for sent in seen if sent.accepted]
    statuses = [row[1] for row in found]
    spent, held = charged(state), sum(row[2] for row in found) / 1000
    cap = int(jobs * CAP_OF_JOBS) * CREDITS
    refused = team.told.count("over_cap")
    part.hold(len(accepted) == len(set(accepted)), "a key was charged twice")
    part.hold(set(accepted) == {row[0] for row in found}, "ledger and sandbox have other keys")
    part.hold(set(statuses) <= {"completed", "failed"}, f"ends: {statuses}")
    part.hold(spent == held, f"charged {spent}, in the ledger {held}")
    part.hold(held <= cap, f"{held} credits in the ledger, with a cap of {cap}")
    part.hold(len(team.told) == jobs, f"{jobs} jobs, {len(team.told)} answered")
    part.hold(len(found) + refused == jobs, f"{len(found)} made and {refused} refused of {jobs}")
    part.text = table(
        ("what", "count"),
        [
            (f"calls by way of {name}", jobs + team.repeated),
            ("replicas killed", team.kills),
            ("replicas stopped and woken, for up to 18 s", team.stops),
            ("replicas ended by SIGTERM", team.ends),
            ("restarts of the database, well and as after a crash", team.restarts),
            ("jobs wanted", jobs),
            ("calls that were repeated by their requestId", team.repeated),
            ("refused for the cap", refused),
            ("jobs in the ledger", len(found)),
            ("completed", statuses.count("completed")),
            ("failed and refunded (on purpose)", statuses.count("failed")),
            ("submissions that the sandbox saw", len(seen)),
            ("of these accepted as new", len(accepted)),
            ("most submissions in any 60 s", most_in_a_window(seen)),
            ("credits that the sandbox took", spent),
            ("credits in the ledger", held),
            ("cap on these", cap),
            ("seconds until everything was at rest", round(took)),
        ],
    )
