"""What many tests start from."""

import os
from pathlib import Path

import pytest
from studio import make_settings

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.settings import Settings


@pytest.fixture
def emulator() -> Emulator:
    """Return a sandbox whose generations take milliseconds."""
    return Emulator(Options(speed=0.002, rate_limit=1000, credits=100_000, seed=1))


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return the settings of a server on the in-memory sandbox, with folders of the test's own."""
    return make_settings(tmp_path)


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Name what this command does not run."""
    terminalreporter.write_line(
        "not run here, since they need npm: the official conformance suite (python -m"
        " tests.conformance) and the viewer in Chromium (python -m tests.viewer)"
    )


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("MEIGEN_")]:
        if name not in ("MEIGEN_RERECORD", "MEIGEN_SNAPSHOT"):
            monkeypatch.delenv(name)
