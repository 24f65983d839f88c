"""What many tests start from."""

import gc
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import settings as hypothesis
from support.in_memory import make_settings
from support.postgres import PostgresServer, run_postgres
from tools.gate import list_besides

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.settings import Settings

# Coverage is read of the processes that run tests; those that tests start go at their own speed.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.pop("COVERAGE_PROCESS_CONFIG", None)

# A shell that runs the tests in the background has them, and all that they start, ignore Ctrl-C.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)

hypothesis.register_profile("quick", max_examples=10)  # what `nox -s quick` tries of a property


@pytest.fixture(scope="session")
def postgres() -> Iterator[PostgresServer]:
    """Return a PostgreSQL server, one for all tests of a process."""
    with run_postgres() as server:
        yield server


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Where several processes share the tests, mix their files: else the patient come last."""
    if hasattr(config, "workerinput"):
        files = sorted({item.path for item in items})
        Random(1).shuffle(files)  # noqa: S311  # in the same way in each process
        items.sort(key=lambda item: files.index(item.path))


def pytest_collection_finish() -> None:
    """Keep the thousands of tests out of every later look for garbage: a sixth of the work."""
    gc.collect()
    gc.freeze()


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
    if besides := list_besides().values():
        terminalreporter.write_line("the gate (.ci/run) has besides, from Debian and npm:")
    for part in besides:
        terminalreporter.write_line(f"  {part}")


@pytest.fixture(autouse=True)
def _no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the settings of whoever runs the tests out of them."""
    for name in [name for name in os.environ if name.startswith("MEIGEN_")]:
        if name not in ("MEIGEN_RERECORD", "MEIGEN_SNAPSHOT"):
            monkeypatch.delenv(name)
