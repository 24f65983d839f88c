"""The server does for each client what was measured to be right there."""

from collections.abc import Mapping
from typing import Any

import mcp_types as t
import pytest
from support.in_memory import MODES, Mode, connect

from meigen_mcp.commands.clients import CLIENTS
from meigen_mcp.known_clients import RUNS, known_clients
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.service.service import Service
from meigen_mcp.settings import Settings

WAITS = {
    "claude-code": (290, 290),
    "codex-mcp-client": (290, 290),
    "gemini-cli-mcp-client": (290, 290),
    "opencode": (55, 290),
    "copilot-cli": (40, 290),
    "inspector-cli": (55, 55),
    "google-adk": (4, 4),
    "google-adk (via mcp-remote 0.15.1)": (4, 4),
    "claude-code (via mcp-remote 0.15.1)": (290, 290),
    "claude-code (via another bridge)": (40, 40),
    "mcp": (40, 40),
    "somebody else": (40, 40),
}
"""Seconds that a call may take, without a progress token and with one."""


@pytest.mark.parametrize(("name", "waits"), WAITS.items())
@pytest.mark.parametrize("mode", MODES)
async def test_a_call_takes_what_its_client_survives(
    mode: Mode,
    name: str,
    waits: tuple[float, float],
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its name, and by whether it hears of progress."""
    seen: list[float] = []
    check = Service.check

    async def watched(self: Service, arguments: Mapping[str, Any], person: Any) -> Any:
        seen.append(person.patience)
        return await check(self, arguments, person)

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        del progress, total, message

    monkeypatch.setattr(Service, "check", watched)
    client = t.Implementation(name=name, version="1")
    async with connect(settings, emulator, mode, client_info=client) as on:
        await on.client.call_tool("check_status", {})
        if mode == "legacy":  # in memory a 2026 client sends no token
            await on.client.call_tool("check_status", {}, progress_callback=hear)
    assert seen == list(waits[: len(seen)])


def test_what_was_run_is_said_in_the_words_of_the_page() -> None:
    """A step that the page does not know would be lost; what was run has a version and a day."""
    for client in known_clients().values():
        steps = {step for done in client.ran.values() for step in done.split()}
        assert steps <= set(RUNS)
        assert bool(client.version) == (client.checked is not None)
        assert client.version or not client.ran


def test_every_client_that_can_be_installed_is_known() -> None:
    """What a person sees there is said from the one list."""
    assert CLIENTS.keys() <= known_clients().keys()
    assert {id_: known_clients()[id_].title for id_ in CLIENTS} == {
        id_: client.title for id_, client in CLIENTS.items()
    }
