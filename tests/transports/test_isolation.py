"""People on the replicas of a team, at a size for every day; `python -m tests.isolation` is 50."""

from collections.abc import Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from isolation.crowd import SHORT, WAYS, Crowd
from support.in_memory import InMemory, make_settings
from support.issuer import RESOURCE, serving
from support.over_http import inside
from support.postgres import PostgresServer

from meigen_mcp.app import open_account
from meigen_mcp.sandbox.emulator import Emulator

KEYS = ("k" * 32,)


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """Return the address of an empty database."""
    url = postgres.make_database()
    yield url
    postgres.give_back(url)


async def test_nobody_reaches_anothers_and_all_sums_are_right_to_the_credit(
    tmp_path: Path, emulator: Emulator, database: str
) -> None:
    """By no way, from no replica; under the caps of each and of the team, whoever races."""
    async with serving() as issuer, AsyncExitStack() as stack:
        variables = {
            "MEIGEN_OAUTH_ISSUER": issuer.url,
            "MEIGEN_OAUTH_RESOURCE": RESOURCE,
            "MEIGEN_MEDIA_DIR": str(tmp_path / "kept"),
            "MEIGEN_RATE_LIMIT": "1000",
        }
        settings = make_settings(tmp_path, **variables)
        settings = replace(settings, database_url=database, request_keys=KEYS)
        origins = [
            (await stack.enter_async_context(inside(settings, emulator)))[0] for _ in range(2)
        ]
        wire = InMemory(emulator)
        account = await stack.enter_async_context(open_account(settings, wire))
        crowd = Crowd(origins, issuer, SHORT)
        found = await crowd.run(account.ledger)
        async with httpx.AsyncClient(transport=wire, base_url="http://127.0.0.1:8000") as api:
            await crowd.compare(account.ledger, (await api.get("/sandbox/state")).json())
    assert (found.leaks, found.wrong) == ([], [])
    assert found.attempts.keys() == {*WAYS, "listening"}
