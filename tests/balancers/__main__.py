"""Three replicas behind HAProxy and nginx, with PgBouncer before their database.

`python -m tests.balancers` needs all three programs (Debian: haproxy, nginx-light, pgbouncer). The
lines of the balancers are those of docs/team.md. Under calls of both eras an event of one replica
is heard from another, and all three are replaced one by one: no call may fail, and each is made
once. The exit status is 0 if that is so.
"""

import os
import re
import shutil
import signal
import sys
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import anyio
import httpx
from mcp.server.subscriptions import ResourceUpdated
from support.haproxy import free_port, haproxy, lines_of, running
from support.in_memory import MODES, Mode
from support.over_http import Served, connected, patient, post, process, structure_of
from support.postgres import PostgresServer, run_postgres

from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.transports import http

REPLICAS = 3
TOKEN = "correct-horse-battery-staple"
PICTURE = {"modelId": "z-image-turbo"}
CALLERS = 2
"""Of each era, since one alone may wait while a replica leaves."""
PACE = 0.2
"""Seconds between two calls of a caller."""
AFTER_ALL = 5
"""Calls of each caller once the last replica is replaced."""

NGINX = """
daemon off;
pid {folder}/nginx.pid;
error_log {folder}/nginx.log;
events {{}}
http {{
  access_log off;
  client_body_temp_path {folder}/body;
  proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi;
  scgi_temp_path {folder}/scgi;
{lines}
}}
"""
PGBOUNCER = """
[databases]
* = host={database} user=postgres
[pgbouncer]
unix_socket_dir = {folder}
listen_port = 6432
auth_type = any
pool_mode = transaction
"""


@contextmanager
def pooled(server: PostgresServer, folder: Path, url: str) -> Iterator[str]:
    """Put PgBouncer before a database, and return the address there."""
    folder.chmod(0o777)  # it does not run as root, and its configuration has no secret
    (folder / "pgbouncer.ini").write_text(
        PGBOUNCER.format(database=server.folder, folder=folder), encoding="utf-8"
    )
    as_nobody = {"user": "nobody"} if os.geteuid() == 0 else {}
    command = ["pgbouncer", "-q", str(folder / "pgbouncer.ini")]
    with running(command, folder / ".s.PGSQL.6432", **as_nobody):
        name = re.findall(r"/(\w+)\?", url)[0]
        yield f"postgresql://postgres@/{name}?host={folder}&port=6432"


Spare = Callable[[Sequence[int]], None]
"""Tells a balancer which replicas to leave alone; one that asks them needs no telling."""


@contextmanager
def unasked(folder: Path, ports: Sequence[int]) -> Iterator[tuple[str, Spare]]:
    """Run HAProxy, which asks the replicas itself."""
    with haproxy(folder, ports) as origin:
        yield origin, lambda _: None


@contextmanager
def nginx(folder: Path, ports: Sequence[int]) -> Iterator[tuple[str, Spare]]:
    """Run nginx before replicas, and return its origin."""
    port, config = free_port(), folder / "nginx"

    def spare(leaving: Sequence[int]) -> None:
        used = [one for one in ports if one not in leaving]
        lines = lines_of("nginx", "upstream meigen", used)
        lines = lines.replace("listen 80;", f"listen 127.0.0.1:{port};")
        config.write_text(NGINX.format(folder=folder, lines=lines), encoding="utf-8")

    spare(())
    command = ["nginx", "-c", str(config), "-e", str(folder / "nginx.log"), "-p", str(folder)]
    with running(command, port) as program:

        def reload(leaving: Sequence[int]) -> None:
            spare(leaving)
            program.send_signal(signal.SIGHUP)

        yield f"http://127.0.0.1:{port}", reload


BALANCERS = {"haproxy": unasked, "nginx": nginx}


class Replica:
    """One place of a replica, behind which one process follows another."""

    def __init__(self, folder: Path, sandbox: str, variables: Mapping[str, str]) -> None:
        self.port = free_port()
        self._folder, self._sandbox, self._variables = folder, sandbox, variables
        self._stack = AsyncExitStack()
        self._served: Served | None = None

    async def begin(self) -> None:
        """Start a process, and wait until it is ready."""
        options = ("--port", str(self.port))
        on = process(self._folder, self._sandbox, *options, **self._variables)
        self._served = await self._stack.enter_async_context(on)
        async with self._served.client() as client:
            with anyio.fail_after(60):
                while (await client.get("/readyz")).status_code != 200:  # noqa: ASYNC110  # nothing tells
                    await anyio.sleep(0.05)

    async def end(self) -> int | None:
        """Have the process leave, and return its exit status; None: there is none."""
        if self._served is None:
            return None
        self._served.process.terminate()
        status = await self._served.process.wait()
        await self._stack.aclose()
        return status


@asynccontextmanager
async def replicas(
    folder: Path, sandbox: str, variables: Mapping[str, str]
) -> AsyncIterator[list[Replica]]:
    """Run all of them."""
    all_of_them = [Replica(folder, sandbox, variables) for _ in range(REPLICAS)]
    try:
        for one in all_of_them:
            await one.begin()
        yield all_of_them
    finally:
        for one in all_of_them:
            await one.end()


async def an_event_arrives(origin: str) -> bool:
    """Say whether a listener hears what another connection made."""
    url = f"{origin}{http.PATH}"
    async with (
        connected(url, "auto", TOKEN) as one,
        connected(url, "auto", TOKEN) as other,
        one.listen(resource_subscriptions=["meigen://generations"]) as heard,
    ):
        await other.call_tool("generate_image", {"prompt": "a fox", **PICTURE})
        with anyio.fail_after(60):
            event = await anext(aiter(heard))
    return bool(event == ResourceUpdated(uri="meigen://generations"))


async def replace_all(all_of_them: Sequence[Replica], origin: str, spare: Spare) -> Counter[str]:
    """Replace each replica while calls are made, and return what these were told."""
    told: Counter[str] = Counter()
    left = AFTER_ALL

    async def call(client: httpx.AsyncClient, mode: Mode) -> None:
        nonlocal left
        while left > 0:
            arguments = {"prompt": f"fox {told.total()}", "wait": 0, **PICTURE}
            made = {"name": "generate_image", "arguments": arguments}
            answer = await post(client, mode, "tools/call", made)
            well = answer.status_code == 200
            told[structure_of(answer)["status"] if well else f"HTTP {answer.status_code}"] += 1
            left -= done
            await anyio.sleep(PACE)

    done = False
    headers = {"authorization": f"Bearer {TOKEN}"}
    async with patient(origin, headers=headers) as client, anyio.create_task_group() as group:
        for mode in MODES * CALLERS:
            group.start_soon(call, client, mode)
        for one in all_of_them:
            spare([one.port])
            status = await one.end()
            told[f"a replica ended with {status}"] += status != 0
            await one.begin()
            spare([])
        done = True
    return +told


async def try_out(kind: str, folder: Path, server: PostgresServer, pooler: Path) -> bool:
    """Try one balancer; print what was seen, and return whether all of it was well."""
    url = server.make_database()
    keys = folder / "keys"
    keys.write_text("k" * 32, encoding="ascii")
    with pooled(server, pooler, url) as pool:
        variables = {
            "MEIGEN_DATABASE_URL": pool,
            "MEIGEN_DATABASE_DIRECT_URL": url,
            "MEIGEN_REQUEST_KEYS_FILE": str(keys),
            "MEIGEN_HTTP_TOKEN": TOKEN,
            "MEIGEN_RATE_LIMIT": "100000",
            "MEIGEN_OUTPUT_DIR": "off",
        }
        async with (
            run_sandbox(speed=0.01, rate_limit=100_000, credits=1_000_000) as sandbox,
            replicas(folder, sandbox, variables) as all_of_them,
        ):
            ports = [one.port for one in all_of_them]
            with BALANCERS[kind](folder, ports) as (origin, spare):
                heard = await an_event_arrives(origin)
                told = await replace_all(all_of_them, origin, spare)
            async with patient(sandbox) as looking:
                posts = (await looking.get("/sandbox/state")).json()["posts"]
    keys_of = Counter(sent["idempotencyKey"] for sent in posts if sent["accepted"])
    once = set(keys_of.values()) == {1}
    well = told.keys() <= {"submitting", "queued", "processing", "completed"}
    sys.stdout.write(
        f"{kind}: {REPLICAS} replicas replaced one by one under {told.total()} calls {dict(told)}\n"
        f"  an event was heard: {heard}; each of {len(keys_of)} keys accepted once: {once}\n"
    )
    return heard and well and once


async def main() -> int:
    """Try both."""
    missing = [name for name in (*BALANCERS, "pgbouncer") if shutil.which(name) is None]
    if missing:
        sys.exit(f"missing: {', '.join(missing)} (Debian: haproxy, nginx-light, pgbouncer)")
    well = []
    with run_postgres() as server:
        for kind in BALANCERS:
            with tempfile.TemporaryDirectory() as folder, tempfile.TemporaryDirectory() as pooler:
                well.append(await try_out(kind, Path(folder), server, Path(pooler)))
    return 0 if all(well) else 1


if __name__ == "__main__":
    raise SystemExit(anyio.run(main))
