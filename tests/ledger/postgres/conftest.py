"""Replicas on one database."""

from collections.abc import AsyncIterator

import pytest
from support.engines import PostgresPlace
from support.pg_proxy import Line, run_line
from support.postgres import PostgresServer

from meigen_mcp.ledger.postgres.ledger import PostgresLedger


@pytest.fixture
async def place(postgres: PostgresServer) -> AsyncIterator[PostgresPlace]:
    """Return where replicas share a ledger."""
    made = PostgresPlace(postgres)
    yield made
    await made.close()


@pytest.fixture
def ledger(place: PostgresPlace) -> PostgresLedger:
    """Return the ledger of one replica."""
    return place.open()


@pytest.fixture
def other(place: PostgresPlace) -> PostgresLedger:
    """Return the ledger of another one."""
    return place.open()


@pytest.fixture
async def line(postgres: PostgresServer) -> AsyncIterator[Line]:
    """Return a line to the server that can be broken."""
    async with run_line(postgres.folder) as line:
        yield line


@pytest.fixture
async def far(postgres: PostgresServer, line: Line) -> AsyncIterator[PostgresPlace]:
    """Return a place whose replicas ask by that line."""
    made = PostgresPlace(postgres, line.url)
    yield made
    line.speak()
    await made.close()
