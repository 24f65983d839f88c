"""The catalogue as it is now: what the live list changes, and what it cannot break."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.lowlevel
import httpx
import pytest
from support.in_memory import make_settings

from meigen_mcp.api.client import Api
from meigen_mcp.app import open_ledger
from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue import models as catalogue
from meigen_mcp.server.tool_schemas import make_tools
from meigen_mcp.service import current_catalogue
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.settings import Settings

MODEL: dict[str, Any] = {"id": "brand-new", "name": "Brand New", "media_type": "image"}


@asynccontextmanager
async def live(settings: Settings, answer: Any) -> AsyncIterator[CurrentCatalogue]:
    """Give a catalogue whose live list is an answer: a body, bytes, an error, or a handler."""

    def handle(request: httpx.Request) -> httpx.Response:
        assert request.url.path == "/api/models"
        if isinstance(answer, Exception):
            raise answer
        content = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
        return httpx.Response(200, content=content)

    ledger = open_ledger(settings)
    api = Api(settings, httpx.MockTransport(answer if callable(answer) else handle))
    made = CurrentCatalogue(settings, ledger, lambda: api)
    await made.load()
    try:
        yield made
    finally:
        await api.close()
        await ledger.close()


async def test_a_live_model_is_there_after_the_fetch_and_after_a_restart(
    settings: Settings,
) -> None:
    """It is kept in the ledger: the next start knows it before any network."""
    async with live(settings, {"success": True, "models": [MODEL]}) as now:
        before = now.current.find("brand-new")
        fresh = await now.refresh()
        after = now.current.find("brand-new")
    async with live(settings, httpx.ConnectError("no network")) as then:
        kept = then.current.find("brand-new")
    assert (before, fresh) == (None, True)
    assert after is not None
    assert kept == after


async def test_a_list_that_is_kept_answers_the_first_question_before_any_fetch(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However old it is: what talks to the network is loaded after that."""
    monkeypatch.setattr(current_catalogue, "START_AFTER", 3600.0)
    monkeypatch.setattr(current_catalogue, "FRESH_FOR", 0.0)
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"success": True, "models": [MODEL]})

    async with live(settings, handle) as first:
        await first.refresh()
    async with live(settings, handle) as now, anyio.create_task_group() as group:
        group.start_soon(now.run)
        await anyio.wait_all_tasks_blocked()
        await now.settle()
        await anyio.wait_all_tasks_blocked()
        group.cancel_scope.cancel()
    assert asked == ["/api/models"]


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"<html>",
        b"[]",
        b"null",
        {},
        {"success": False, "models": [MODEL]},
        {"models": {}},
        httpx.ConnectError("no network"),
        httpx.ReadTimeout("slow"),
    ],
    ids=str,
)
async def test_an_answer_that_is_no_list_changes_nothing(answer: Any, settings: Settings) -> None:
    """What was known stays, and the next try is not put off as if it were fresh."""
    async with live(settings, answer) as now:
        fresh = await now.refresh()
        digest = now.current.digest
    assert (fresh, digest) == (False, catalogue.shipped().digest)


ODD: list[Any] = [None, True, -1, 1e308, "", "x" * 1000, [], [None], {}, {"a": {"b": []}}, "\x00"]


@pytest.mark.parametrize("odd", ODD, ids=lambda odd: repr(odd)[:20])
async def test_an_odd_field_spoils_neither_the_list_nor_the_tools(
    odd: Any, settings: Settings
) -> None:
    """Whatever a field holds, the other models stay and every call is still answered."""
    fields = ["name", "media_type", "supported_ratios", "extra_config", "capabilities"]
    fields += ["max_reference_images", "estimatedTiming", "credits_per_generation", "provider"]
    extra = ["resolutions", "tierResolutions", "qualities", "durations", "pricing"]
    extra += ["pricingPerSec", "pricingPerSecWithVideo", "minBillableTable", "tags"]
    video = ["outputDuration", "referenceVideo", "billing", "requiresFirstFrame"]
    models = [{**MODEL, "id": f"odd-{field}", field: odd} for field in fields]
    models += [{**MODEL, "id": f"extra-{n}", "extra_config": {n: odd}} for n in extra]
    models += [
        {**MODEL, "id": f"video-{n}", "capabilities": {"video": {"valid": True, n: odd}}}
        for n in video
    ]
    async with live(settings, {"models": [odd, *models, MODEL]}) as now:
        assert await now.refresh()
        assert now.current.find("brand-new")
        assert len(make_tools(now.current)) == 4
        assert {m.id for m in catalogue.shipped().models} <= {m.id for m in now.current.models}


async def test_a_list_that_cannot_be_laid_over_the_facts_is_left_out(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither a fetch nor the next start is ended by it."""

    def crash(*_: Any) -> None:
        raise ValueError("planted")

    async with live(settings, {"models": [MODEL]}) as now:
        await now.refresh()
        monkeypatch.setattr(live_list, "merge", crash)
        monkeypatch.setattr(current_catalogue, "FRESH_FOR", 0)
        assert not await now.refresh()
    async with live(settings, {"models": [MODEL]}) as then:
        assert then.current.digest == catalogue.shipped().digest


async def test_an_allow_list_holds_for_live_models_too(tmp_path: Path) -> None:
    """What the person did not allow is not there, wherever it comes from."""
    allowed = make_settings(tmp_path, MEIGEN_MODELS="brand-new, z-image-turbo")
    async with live(allowed, {"models": [MODEL, {**MODEL, "id": "another"}]}) as now:
        await now.refresh()
        assert {model.id for model in now.current.models} == {"brand-new", "z-image-turbo"}


async def test_a_list_is_fetched_again_only_when_it_is_old(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Several who wait at once cause one request; once old, the next one causes another."""
    asked: list[str] = []

    def handle(request: httpx.Request) -> httpx.Response:
        asked.append(request.url.path)
        return httpx.Response(200, json={"models": [MODEL]})

    async with live(settings, handle) as now:
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(now.wait_until_fresh, 5)
        first = len(asked)
        monkeypatch.setattr(current_catalogue, "FRESH_FOR", 0)
        await now.wait_until_fresh(5)
    assert (first, len(asked)) == (1, 2)


async def test_a_fetch_that_crashes_ends_nothing(
    settings: Settings, caplog: pytest.LogCaptureFixture
) -> None:
    """The background loop goes on, and the crash is in the log."""
    async with live(settings, RuntimeError("planted")) as now, anyio.create_task_group() as group:
        group.start_soon(now.run)
        with anyio.fail_after(10):
            while "planted" not in caplog.text:
                await anyio.lowlevel.checkpoint()
        running = not group.cancel_scope.cancel_called
        group.cancel_scope.cancel()
    assert running
    assert now.current.digest == catalogue.shipped().digest


async def test_without_a_ledger_the_list_is_fetched_all_the_same(settings: Settings) -> None:
    """It is only not kept."""
    settings.data_dir.write_text("")
    async with live(settings, {"models": [MODEL]}) as now:
        assert await now.refresh()
        assert now.current.find("brand-new")
