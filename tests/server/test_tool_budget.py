"""The list of tools is in every conversation: what it may take, whatever a live list says."""

import json
import re
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest
from catalogue.test_rules_property import PORTABLE, _keywords, _undescribed
from jsonschema import Draft202012Validator
from support.in_memory import MODES, Mode, connect, make_settings
from support.rich_models import rich

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.arguments import TOOL_OF, form
from meigen_mcp.catalogue.models import Catalogue, shipped
from meigen_mcp.errors import Unreachable
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.models import Era
from meigen_mcp.sandbox.state import Options
from meigen_mcp.server.tool_budget import AROUND
from meigen_mcp.server.tool_schemas import make_tools

WIRE = Path(__file__).parents[1] / "wire"
PICTURE = "https://images.meigen.ai/a.png"


def size(catalogue: Catalogue) -> int:
    """Return the bytes of the list."""
    tools = [
        t.model_dump(mode="json", by_alias=True, exclude_none=True) for t in make_tools(catalogue)
    ]
    return len(json.dumps({"tools": tools}, separators=(",", ":"), ensure_ascii=False).encode())


def with_more(count: int, *, odd: bool = False, length: int = 0) -> Catalogue:
    """Return the shipped models and some more; odd ones have facts that no other has."""
    rows: list[dict[str, Any]] = []
    for number in range(count):
        medium = "video" if number % 2 else "image"
        row: dict[str, Any] = {
            "id": f"model-{number}".ljust(length, "x"),
            "name": f"Model {number}",
            "media_type": medium,
        }
        if odd:
            row |= {
                "supported_ratios": [f"{n}:{number + 1}" for n in range(1, 12)],
                "max_reference_images": number,
                "extra_config": {
                    "resolutions": [f"{number + n}K" for n in range(1, 5)],
                    "durations": [number + 3, number + 4, number + 6],
                },
            }
        rows.append(row)
    laid = live_list.lay(shipped(), {"models": rows}, date(2026, 11, 27))
    assert laid is not None
    return laid


@pytest.mark.parametrize("era", [None, "2026-05", "2026-09", "2026-11"])
@pytest.mark.parametrize("mode", MODES)
async def test_the_whole_answer_keeps_to_its_bytes(
    mode: Mode,
    era: Era | None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """With what the server is called, which is longest in the sandbox, on every list there is."""

    async def none(_: Api) -> Any:
        raise Unreachable("no network", sent=False)

    if era is None:
        monkeypatch.setattr(Api, "models", none)
    emulator = Emulator(Options(era=era or "2026-09"))
    configured = replace(make_settings(tmp_path), sandbox="")
    async with connect(configured, emulator, mode) as on:
        answer = await on.client.list_tools()
    most = 9000 + 4 * 60 if era == "2026-11" else 8000
    assert len(answer.model_dump_json(by_alias=True, exclude_none=True).encode()) <= most


@pytest.mark.parametrize("year", ["", "2026-05", "2026-09"])
def test_a_model_reads_no_more_than_2480_tokens(year: str) -> None:
    """As mcp-quality 0.7.0 counts without a tokenizer, for its 96 points: 1.3 a word and a mark."""
    catalogue: Catalogue | None = shipped()
    if year:
        recorded = json.loads((WIRE / f"models-{year}.json").read_text(encoding="utf-8"))
        catalogue = live_list.lay(shipped(), recorded["response"]["body"], date(2026, 11, 27))
    assert catalogue is not None
    read = [
        {"name": t.name, "description": t.description, "input_schema": t.input_schema}
        for t in make_tools(catalogue)
    ]
    counted = len(re.findall(r"\w+|[^\w\s]", json.dumps(read, ensure_ascii=False)))
    assert round(counted * 1.3) <= 2480


@pytest.mark.parametrize("year", ["2026-05", "2026-09"])
def test_the_lists_that_were_recorded_lose_nothing(year: str) -> None:
    """Their facts have room, every limit of every model."""
    recorded = json.loads((WIRE / f"models-{year}.json").read_text(encoding="utf-8"))
    catalogue = live_list.lay(shipped(), recorded["response"]["body"], date(2026, 11, 27))
    assert catalogue is not None
    assert size(catalogue) <= 8000 - AROUND
    assert "By model: see list_models" not in str(make_tools(catalogue))


def test_today_s_inputs_have_a_thousand_bytes_of_their_own() -> None:
    """Nine thousand in all, and what four more models take: every limit has room."""
    recorded = json.loads((WIRE / "models-2026-11.json").read_text(encoding="utf-8"))
    catalogue = live_list.lay(shipped(), recorded["response"]["body"], date(2026, 11, 27))
    assert catalogue is not None
    assert len(catalogue.accepted()) == len(shipped().accepted()) + 4
    assert size(catalogue) <= 9000 - AROUND + 4 * 60
    assert "By model: see list_models" not in str(make_tools(catalogue))


@pytest.mark.parametrize("odd", [False, True], ids=["alike", "odd"])
@pytest.mark.parametrize("count", [1, 2, 10, 40, 100])
def test_a_further_model_takes_sixty_bytes_at_most(count: int, *, odd: bool) -> None:
    """What has no room stands in list_models, and the tool says so."""
    assert size(with_more(count, odd=odd)) <= 8000 - AROUND + 60 * count


@pytest.mark.parametrize(("count", "length"), [(300, 0), (2000, 0), (100, 128), (500, 128)])
def test_no_list_takes_more_than_sixteen_thousand_bytes(count: int, length: int) -> None:
    """Whatever it says; as long as there is room the tools name the models."""
    catalogue = with_more(count, odd=True, length=length)
    assert size(catalogue) <= 16_000
    for tool in make_tools(catalogue):
        Draft202012Validator.check_schema(tool.input_schema)
        assert _keywords(tool.input_schema) <= PORTABLE
        assert _undescribed(tool.input_schema) == []


def test_limits_go_first_and_the_names_of_the_models_last() -> None:
    """With a hundred odd models the tools still name each, and say where its limits stand."""
    catalogue = with_more(100, odd=True)
    (image,) = [tool for tool in make_tools(catalogue) if tool.name == "generate_image"]
    properties = image.input_schema["properties"]
    assert properties["modelId"]["enum"] == [m.id for m in catalogue.accepted("image")]
    assert properties["aspectRatio"]["description"] == "Default auto. By model: see list_models."


@pytest.mark.parametrize(
    "catalogue",
    [rich(), with_more(40, odd=True), with_more(500, odd=True)],
    ids=["rich", "40", "500"],
)
def test_a_shortened_schema_refuses_nothing_that_a_model_takes(catalogue: Catalogue) -> None:
    """It says less, and never something else."""
    flat = {tool.name: Draft202012Validator(tool.input_schema) for tool in make_tools(catalogue)}
    for model in catalogue.accepted()[:60]:
        call: dict[str, Any] = {"prompt": "a cat", "modelId": model.id}
        call |= {"resolution": model.resolutions[0]} if model.resolutions else {}
        call |= {"aspectRatio": model.ratios[0]} if model.ratios else {}
        call |= {"referenceImages": [PICTURE]} if model.requires_first_frame else {}
        call |= {"niji7Options": {"raw": True}} if "raw" in model.options else {}
        assert form(model, catalogue.accepted(model.media_type)).check(call) == []
        assert flat[TOOL_OF[model.media_type]].is_valid(call)
