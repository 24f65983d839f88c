"""How long a call waits: what it asks for, shortened to what its client survives."""

from pathlib import Path
from typing import Any

import pytest
from support.workbench import Someone, answers, workbench

STALL: dict[str, Any] = {"prompt": "sandbox:stall", "modelId": "veo-3.1", "duration": 4}


@pytest.mark.parametrize(
    ("patience", "wait", "waited"),
    [(4, None, 0), (40, 300, 40), (290, 300, 290), (290, 60, 60), (4, 300, 4)],
)
async def test_a_generating_call_waits_no_longer_than_its_client(
    tmp_path: Path, patience: float, wait: int | None, waited: float
) -> None:
    """Silently: the answer is processing as ever."""
    async with workbench(tmp_path) as on:
        began = on.clock.now
        person = Someone(patience=patience)
        outcome = await on.generate("generate_video", person, **STALL, wait=wait)
        assert outcome.status == "processing"
        assert on.clock.now - began == pytest.approx(waited, abs=1.1)


@pytest.mark.parametrize(
    ("patience", "wait", "waited"), [(40, None, 25), (40, 300, 40), (290, 300, 290), (4, None, 4)]
)
async def test_a_look_waits_no_longer_than_its_client(
    tmp_path: Path, patience: float, wait: int | None, waited: float
) -> None:
    """A video of four minutes is one answer where the client allows it."""
    async with workbench(tmp_path) as on:
        job = (await on.generate("generate_video", **STALL)).job
        began = on.clock.now
        person = Someone(patience=patience)
        found = await on.check(person, requestId=job.request_id, wait=wait)
        assert found.status == "processing"
        assert on.clock.now - began == pytest.approx(waited, abs=1.1)


async def test_acceptance_too_is_awaited_only_as_long_as_the_client_survives(
    tmp_path: Path,
) -> None:
    """A client that gives up after a few seconds is told submitting, and nothing is lost."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(500, acts=True)]
        on.wire.faults["lookup"] = [answers(500)] * 9
        began = on.clock.now
        outcome = await on.generate(person=Someone(patience=2), modelId="nanobanana-2")
        assert outcome.status == "submitting"
        assert on.clock.now - began == pytest.approx(2, abs=1.1)


@pytest.mark.parametrize(("hears", "place"), [(True, 0), (False, None)])
async def test_the_place_in_the_queue_is_counted_for_who_asked_for_progress(
    tmp_path: Path, *, hears: bool, place: int | None
) -> None:
    """With many at once it would be dear."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        await on.generate(wait=0)
        person = Someone(hears=hears)
        await on.generate(person=person, prompt="another", wait=10)
        assert set(person.told) == {("queued", place)}
