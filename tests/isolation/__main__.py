"""Fifty people on three replicas: `python -m tests.isolation`, by hand, in a quarter of an hour.

They try 20,000 times to reach what is another's, each way of it, and a thousand calls race for the
last credits of each and of the team. `--short` is a minute. The exit status is 0 if nothing leaked
and every sum is right.
"""

import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import anyio
from support.in_memory import TOKEN
from support.issuer import serving
from support.over_http import environment, patient, process
from support.postgres import run_postgres

from isolation.crowd import SHORT, WHOLE, Crowd, report
from meigen_mcp import settings
from meigen_mcp.app import open_account
from meigen_mcp.sandbox.running import run_sandbox

REPLICAS = 3


async def main(*, short: bool) -> int:
    """Run it, and print what was seen."""
    size = SHORT if short else WHOLE
    began = time.monotonic()
    with run_postgres() as server, tempfile.TemporaryDirectory() as name:
        folder, url = Path(name), server.make_database()
        (folder / "keys").write_text("k" * 32, encoding="ascii")
        async with (
            run_sandbox(speed=0.01, rate_limit=1_000_000, credits=1_000_000) as sandbox,
            serving() as issuer,
            AsyncExitStack() as stack,
        ):
            variables = {
                "MEIGEN_API_TOKEN": TOKEN,
                "MEIGEN_DATABASE_URL": url,
                "MEIGEN_REQUEST_KEYS_FILE": str(folder / "keys"),
                "MEIGEN_OAUTH_ISSUER": issuer.url,
                "MEIGEN_OAUTH_RESOURCE": "https://pictures.example/mcp",
                "MEIGEN_MEDIA_DIR": str(folder / "kept"),
                "MEIGEN_RATE_LIMIT": "100000",
            }
            replicas = [
                await stack.enter_async_context(
                    process(folder / f"replica-{number}", sandbox, **variables)
                )
                for number in range(REPLICAS)
            ]
            loaded = settings.load(environment(folder, sandbox, **variables))
            async with (
                open_account(replace(loaded, telemetry=False)) as account,
                anyio.create_task_group() as group,
            ):
                for one in replicas:  # else a full pipe would stop it
                    group.start_soon(_drain, one.stderr)
                await account.ledger.open()
                crowd = Crowd([one.origin for one in replicas], issuer, size)
                found = await crowd.run(account.ledger)
                async with patient(sandbox) as looking:
                    state = (await looking.get("/sandbox/state")).json()
                await crowd.compare(account.ledger, state)
                group.cancel_scope.cancel()
    took = time.monotonic() - began
    sys.stdout.write(f"{size}, {REPLICAS} replicas, {took:.0f} s\n{report(found)}\n")
    return 0 if found.well else 1


async def _drain(stream: anyio.abc.ByteReceiveStream) -> None:
    async for _ in stream:
        pass


if __name__ == "__main__":
    raise SystemExit(anyio.run(lambda: main(short="--short" in sys.argv)))
