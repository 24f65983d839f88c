"""How often a call asks the ledger: as often as it must where each time is a way over a network."""

from collections import Counter
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.workbench import Someone, Workbench, answers, workbench

from meigen_mcp.ledger.calls import AskFirst
from meigen_mcp.service.references import ReferenceResolver
from meigen_mcp.service.service import Service

PARTS = ("records", "calls", "offers", "queue", "changes", "uploads", "live_lists")


class Counted:
    """A ledger that counts what it is asked; what it gives out to be waited with counts once."""

    def __init__(self, ledger: Any, asked: Counter[str]) -> None:
        for name in PARTS:
            setattr(self, name, _Part(getattr(ledger, name), asked))
        self.accounts = ledger.accounts  # whose a record is stands in it


class _Part:
    def __init__(self, part: Any, asked: Counter[str]) -> None:
        self._part = part
        self._asked = asked

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._part, name)
        if name == "wake_all":
            return method

        def count(*given: Any, **named: Any) -> Any:
            self._asked[name] += 1
            return method(*given, **named)

        return count


def counting(on: Workbench) -> Counter[str]:
    """Let the calls of a workbench ask a ledger that counts; its poller does not."""
    asked: Counter[str] = Counter()
    ledger: Any = Counted(on.ledger, asked)
    settings, catalogue = on.service.settings, on.service.catalogue
    references: Any = on.service._references  # noqa: SLF001  # its API and files are as they were
    api, media = references._uploads._api, references._media  # noqa: SLF001  # as above
    resolver = ReferenceResolver(settings, ledger, api, media, clock=on.clock)
    on.service = Service(
        settings, ledger, catalogue, resolver, clock=on.clock, monotonic=on.clock.monotonic
    )
    return asked


IMAGE: dict[str, Any] = {"modelId": "nanobanana-2"}


@pytest.mark.parametrize("wait", [0, 25, 300])
async def test_a_call_asks_at_most_six_times_however_long_it_waits(
    wait: int, tmp_path: Path
) -> None:
    """Once before it decides, once to write down, once to wait, and once that it was answered."""
    async with workbench(tmp_path) as on:
        asked = counting(on)
        long = Someone(patience=400)
        made = await on.generate(person=long, **IMAGE, wait=wait)
        assert made.status == ("processing" if wait == 0 else "completed")
    assert asked == {"open_call": 1, "add": 1, "follow": 1, "mark": 1}


async def test_a_call_that_waits_in_line_asks_no_more(tmp_path: Path) -> None:
    """Its place is told again and again; that is the waiting."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        await on.generate(**IMAGE, wait=0)
        asked = counting(on)
        person = Someone()
        await on.generate(person=person, prompt="another", **IMAGE, wait=20)
        assert len(person.told) > 3
    assert sum(asked.values()) <= 6


@pytest.mark.parametrize("answer", ["approved", "automatic", "no answer", "cannot ask"])
async def test_a_call_with_a_question_asks_at_most_six_times(answer: Any, tmp_path: Path) -> None:
    """Whatever the person says."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="1") as on:
        asked = counting(on)
        person = Someone(answer, declared=True)
        await on.generate(person=person, **IMAGE, wait=20)
        assert len(person.asked) == 1
    assert sum(asked.values()) <= 6


async def test_where_others_were_faster_the_person_is_asked_within_six_times(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hour's sum had room when it was read, and none when it was to be reserved."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="12") as on:
        asked = counting(on)
        add, late = on.ledger.calls.add, [AskFirst(Decimal(10))]

        async def add_late(*given: Any) -> Any:
            return late.pop() if late else await add(*given)

        monkeypatch.setattr(on.ledger.calls, "add", add_late)  # others reserve meanwhile
        person = Someone("approved")
        made = await on.generate(person=person, **IMAGE)
        assert (made.status, len(on.wire.posts())) == ("completed", 1)
        assert (
            "10 credits were spent or reserved unasked in the last hour" in person.asked[0].message
        )
    assert sum(asked.values()) == 6


async def test_a_quote_asks_once(tmp_path: Path) -> None:
    """And would do without."""
    async with workbench(tmp_path) as on:
        asked = counting(on)
        await on.generate(**IMAGE, dryRun=True)
    assert asked == {"glance": 1}


async def test_each_reference_is_asked_for_once_more(tmp_path: Path) -> None:
    """An earlier result by its URI or its URL."""
    async with workbench(tmp_path) as on:
        first = (await on.generate(**IMAGE)).job
        asked = counting(on)
        references = [f"meigen://generations/{first.generation_id}/media/0", first.media_urls[0]]
        await on.generate(**IMAGE, prompt="another", referenceImages=references)
    assert asked == {"get": 1, "made": 1, "open_call": 1, "add": 1, "follow": 1, "mark": 1}


@pytest.mark.parametrize("state", ["processing", "completed", "unknown", "parked"])
async def test_a_look_asks_at_most_twice(state: str, tmp_path: Path) -> None:
    """Once for the record, once to wait."""
    async with workbench(tmp_path) as on:
        prompt = "sandbox:stall" if state == "processing" else "a fox"
        if state == "unknown":
            on.wire.faults["submit"] = [answers(500, b"<html>", acts=True)]
            on.wire.faults["lookup"] = [answers(404, b"<html>")] * 9
        if state == "parked":
            on.wire.faults["submit"] = [answers(401, body={"error": "Invalid API token"})]
        call = {"prompt": prompt, "requestId": str(uuid4()), **IMAGE}
        job = await on.settle((await on.generate(**call, wait=20)).job, 20)
        asked = counting(on)
        found = await on.check(requestId=job.request_id, wait=30)
        assert found.status in (state, "queued")
    assert asked == {"get": 1, "follow": 1}


async def test_the_newest_are_asked_for_once(tmp_path: Path) -> None:
    """With what was spent."""
    async with workbench(tmp_path) as on:
        asked = counting(on)
        await on.check()
    assert asked == {"overview": 1}
