"""Installers that race for one file as real processes; `python -m tests.installers` runs many."""

from pathlib import Path

import pytest
from installers.rounds import Round, run

from meigen_mcp.commands.clients import CLIENTS


@pytest.mark.parametrize("client", ["cursor", "codex"])
def test_installers_that_start_at_once_are_all_there(client: str, tmp_path: Path) -> None:
    """Nobody's entry is lost, what stood there stays, and nothing else is written."""
    assert run(CLIENTS[client], 4, tmp_path) == Round(said=4, there=4, odd=())
