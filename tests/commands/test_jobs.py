"""`meigen-mcp jobs`: see the ledger, download again, settle what stayed unknown, call off."""

import json
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.calls import added, intent
from support.in_memory import InMemory, connect
from support.ledger_file import execute
from support.workbench import answers

from meigen_mcp.app import open_ledger
from meigen_mcp.commands import jobs
from meigen_mcp.errors import MeigenError, NotFound
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.service import waiting
from meigen_mcp.settings import Settings


async def _made(settings: Settings, emulator: Emulator, **more: Any) -> dict[str, Any]:
    async with connect(settings, emulator) as on:
        call = {"prompt": "a red cube", "modelId": "nanobanana-2", **more}
        return await on.call("generate_image", **call)


async def _unknown(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> dict[str, Any]:
    """Leave a generation whose submission was lost and cannot be looked up."""
    monkeypatch.setattr(waiting, "ACCEPTANCE", 20.0)
    lost = answers(404, b"<html>")

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


@pytest.mark.parametrize(
    ("outcome", "charged", "spent"), [("charged", "yes", 5), ("not-charged", "no", 0)]
)
async def test_one_that_is_unconfirmed_for_an_hour_can_be_settled_and_not_before(
    outcome: str,
    charged: str,
    spent: int,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """MeiGen could never be asked; until then the same key may still be sent again."""
    lost, posted = answers(502, b"<html>"), anyio.Event()

    async def broken(self: InMemory, request: Any) -> Any:
        if request.method == "POST":
            posted.set()
        return await lost(request, self)

    monkeypatch.setattr(waiting, "ACCEPTANCE", 0.2)
    monkeypatch.setattr(InMemory, "handle_async_request", broken)
    async with connect(settings, emulator) as on:
        call = {"prompt": "a red cube", "modelId": "nanobanana-2", "wait": 0}
        name = (await on.call("generate_image", **call))["requestId"]
        await posted.wait()  # by then it is on the disk that it is submitting
    monkeypatch.undo()
    execute(settings.data_dir, "UPDATE generations SET posted_at = posted_at - 3500")
    with pytest.raises(MeigenError, match="submitting for an hour, can be settled"):
        await jobs.run(settings, name, outcome=outcome)
    execute(settings.data_dir, "UPDATE generations SET posted_at = posted_at - 110")
    record = json.loads(await jobs.run(settings, name, outcome=outcome))
    assert (record["status"], record["error"]["code"], record["error"]["charged"]) == (
        "failed",
        "settled",
        charged,
    )
    assert f"spent or reserved: {spent} credits" in await jobs.run(settings)
    with pytest.raises(MeigenError, match="is failed"):
        await jobs.run(settings, name, outcome=outcome)


async def test_a_queued_one_is_called_off_once(settings: Settings, emulator: Emulator) -> None:
    """It ends uncharged; there is nothing to call off any more, nor of what was sent."""
    sent = await _made(settings, emulator)
    async with connect(settings, emulator) as on:
        on.transport.refuses = "/api/generate"
        call = {"prompt": "a red cube", "modelId": "nanobanana-2", "wait": 0}
        made = await on.call("generate_image", **call)
        text = await jobs.run(settings, made["requestId"], call_off=True)
    record = json.loads(text)
    assert (made["status"], record["status"]) == ("queued", "failed")
    assert (record["error"]["code"], record["error"]["charged"]) == ("called_off", "no")
    for name in (made["requestId"], sent["generationId"]):
        with pytest.raises(jobs.NotPossible, match="nothing to call off"):
            await jobs.run(settings, name, call_off=True)


async def test_what_was_sent_is_not_called_off(settings: Settings, emulator: Emulator) -> None:
    """MeiGen knows no way to stop it."""
    made = await _made(settings, emulator, prompt="sandbox:stall", wait=0)
    with pytest.raises(jobs.NotPossible, match="knows no way to stop it"):
        await jobs.run(settings, made["requestId"], call_off=True)
    # As it stands when a try was lost, and the next one refused.
    execute(settings.data_dir, "UPDATE generations SET status = 'queued', parked = 1")
    with pytest.raises(jobs.NotPossible, match="may still arrive"):
        await jobs.run(settings, made["requestId"], call_off=True)


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


async def test_the_beginning_of_an_id_stands_for_it_where_something_is_only_shown(
    settings: Settings,
) -> None:
    """At least six characters that one id begins with; nothing is ended by them."""
    ledger = open_ledger(settings)
    for number in (1, 2):
        await added(ledger, intent(request_id=f"abcdef{number}0", next_look=None))
    await ledger.close()
    shown = json.loads(await jobs.run(settings, "abcdef1"))
    assert shown["requestId"] == "abcdef10"
    with pytest.raises(jobs.NotPossible) as several:
        await jobs.run(settings, "abcdef")
    assert several.value.message == (
        "abcdef is the beginning of an id, and several ids begin so: abcdef20 or abcdef10."
    )
    acts: list[dict[str, Any]]
    acts = [{"call_off": True}, {"outcome": "charged"}, {"forget_one": True}]
    for act in acts:
        with pytest.raises(jobs.NotPossible) as refused:
            await jobs.run(settings, "abcdef1", **act)
        assert refused.value.message == (
            "abcdef1 is the beginning of an id, and that takes a whole id: abcdef10."
        )
    with pytest.raises(NotFound):
        await jobs.run(settings, "abcde")
