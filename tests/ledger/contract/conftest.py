"""The contract is held to every engine."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.engines import ENGINES, Place, PostgresPlace, SqlitePlace

from meigen_mcp.ledger.ledger import Ledger


@pytest.fixture(params=ENGINES)
async def place(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[Place]:
    """Return where processes share a ledger."""
    made: Place
    if request.param == "postgres":
        made = PostgresPlace(request.getfixturevalue("postgres"))
    else:
        made = SqlitePlace(tmp_path / "data")
    yield made
    await made.close()


@pytest.fixture
def ledger(place: Place) -> Ledger:
    """Return the ledger of one process."""
    return place.open()


@pytest.fixture
def other(place: Place) -> Ledger:
    """Return the ledger of another process of the same account."""
    return place.open()


@pytest.fixture
def stranger(place: Place) -> Ledger:
    """Return the ledger of a process of another account, on a server for other computers."""
    return place.open("https://www.meigen.ai 2", alone=True)


@pytest.fixture
def renewed(place: Place) -> Ledger:
    """Return the ledger of a process with another token, at home."""
    return place.open("https://www.meigen.ai 3")
