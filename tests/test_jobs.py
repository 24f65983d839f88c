"""`meigen-mcp jobs`: see the ledger, download again, settle what stayed unknown."""

import json
from pathlib import Path
from typing import Any

import pytest
from studio import InMemory, studio
from workbench import answers

from meigen_mcp import jobs, service
from meigen_mcp.errors import MeigenError, NotFound
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings


async def _made(settings: Settings, emulator: Emulator, **more: Any) -> dict[str, Any]:
    async with studio(settings, emulator) as on:
        return await on.call("generate_image", prompt="a red cube", modelId="nanobanana-2", **more)


async def _unknown(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Leave a generation whose submission was lost and cannot be looked up."""
    monkeypatch.setattr(service, "ACCEPTANCE", 20.0)
    lost = answers(500, b"<html>")

    async def broken(self: InMemory, request: Any) -> Any:
        return await lost(request, self)

    monkeypatch.setattr(InMemory, "handle_async_request", broken)
    made = await _made(settings, emulator, wait=0)
    monkeypatch.undo()
    return made


async def test_the_newest_are_listed_with_what_was_spent(
    settings: Settings, emulator: Emulator
) -> None:
    """One line each, with URLs."""
    made = await _made(settings, emulator)
    text = await jobs.run(settings)
    lines = text.splitlines()
    assert lines[0].endswith("completed image by nanobanana-2, 5 credits: a red cube")
    assert lines[-1] == "spent or reserved: 5 credits in 24 hours, 5 in 30 days"
    assert [made["generationId"] in text, made["mediaUrls"][0] in text] == [True, True]


async def test_one_is_shown_whole_by_either_id(settings: Settings, emulator: Emulator) -> None:
    """The record as the resource has it."""
    made = await _made(settings, emulator)
    texts = [await jobs.run(settings, made[name]) for name in ("generationId", "requestId")]
    records = [json.loads(text) for text in texts]
    assert records[0] == records[1]
    assert {name: made[name] for name in records[0]} == records[0]


async def test_media_are_downloaded_again_beside_the_old_ones(
    settings: Settings, emulator: Emulator
) -> None:
    """A file once saved is never overwritten."""
    made = await _made(settings, emulator)
    text = await jobs.run(
        settings, made["generationId"], fetch_again=True, transport=InMemory(emulator)
    )
    old, new = Path(made["files"][0]), Path(json.loads(text)["files"][0])
    assert old != new
    assert old.read_bytes() == new.read_bytes()


@pytest.mark.parametrize(
    ("outcome", "charged", "spent"), [("charged", "yes", 5), ("not-charged", "no", 0)]
)
async def test_an_unknown_one_is_settled_as_the_person_found_it(
    outcome: str,
    charged: str,
    spent: int,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Its reservation is kept as a charge, or given back."""
    made = await _unknown(settings, emulator, monkeypatch)
    assert made["status"] == "unknown"
    text = await jobs.run(settings, made["requestId"], outcome=outcome)
    record = json.loads(text)
    assert (record["status"], record["error"]["code"], record["error"]["charged"]) == (
        "failed",
        "settled",
        charged,
    )
    listing = await jobs.run(settings)
    assert f"spent or reserved: {spent} credits" in listing


async def test_what_does_not_fit_is_refused_in_words(
    settings: Settings, emulator: Emulator
) -> None:
    """A completed one cannot be settled, a lost medium not fetched, a strange id not found."""
    made = await _made(settings, emulator)
    with pytest.raises(jobs.NotPossible, match="only an unknown one"):
        await jobs.run(settings, made["generationId"], outcome="charged")
    with pytest.raises(NotFound, match="no generation nope"):
        await jobs.run(settings, "nope")
    with pytest.raises(MeigenError, match="could not be opened"):
        await jobs.run(
            settings, made["generationId"], fetch_again=True, transport=InMemory(Emulator())
        )
