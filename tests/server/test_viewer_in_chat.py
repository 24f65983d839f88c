"""How hosts of MCP Apps come to the viewer, in both protocol eras."""

from typing import Any

import mcp_types as t
import pytest
from support.in_memory import MODES, ORIGIN, Mode, connect
from support.ledger_file import execute

from meigen_mcp.catalogue.models import shipped
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.server import viewer
from meigen_mcp.server.tools import continues_by
from meigen_mcp.settings import Settings


@pytest.mark.parametrize("mode", MODES)
async def test_the_tools_that_make_and_watch_are_shown_in_it(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The server says that it has apps, and each tool names its page."""
    async with connect(settings, emulator, mode) as on:
        extensions = on.client.server_capabilities.extensions
        tools = (await on.client.list_tools()).tools
    assert (extensions or {})["io.modelcontextprotocol/ui"] == {}
    assert {tool.name: tool.meta for tool in tools} == {
        "generate_image": viewer.TOOL_META,
        "generate_video": viewer.TOOL_META,
        "check_status": viewer.TOOL_META,
        "list_models": None,
    }


@pytest.mark.parametrize("mode", MODES)
async def test_its_page_may_load_media_and_nothing_else(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """From where MeiGen keeps results, and from where they came so far."""
    elsewhere = "https://cdn.example.com"
    async with connect(settings, emulator, mode) as on:
        made = await on.call("generate_image", prompt="a fox")
        urls = f'["{elsewhere}/a.png"]'
        execute(settings.data_dir, "UPDATE generations SET media_urls = ?", urls)
        [page] = (await on.client.read_resource(viewer.URI)).contents
    assert made["status"] == "completed"
    assert isinstance(page, t.TextResourceContents)
    assert (page.mime_type, page.text) == (viewer.MIME, viewer.page())
    allowed: dict[str, Any] = (page.meta or {})["ui"]["csp"]
    assert allowed == {
        "resourceDomains": sorted(
            [ORIGIN, elsewhere, "https://images.meigen.ai", "https://images.meigen.art"]
        )
    }


@pytest.mark.parametrize(
    ("model_id", "by"),
    [("seedance-2-0", "referenceVideo"), ("veo-3.1", "referenceImages"), (None, "referenceVideo")],
)
def test_a_model_that_takes_no_clip_goes_on_from_its_last_frame(
    model_id: str | None, by: str
) -> None:
    """The viewer is told in which argument, so that its button does not send what is refused."""
    assert continues_by(shipped().find(model_id or "")) == by


async def test_the_viewer_is_told_how_a_clip_is_continued(
    settings: Settings, emulator: Emulator
) -> None:
    """Beside the answer, where no model reads it."""
    async with connect(settings, emulator) as on:
        call = {"prompt": "a cat", "modelId": "veo-3.1", "duration": 4, "wait": 40}
        result = await on.client.call_tool("generate_video", call)
        picture = await on.client.call_tool("generate_image", {"prompt": "a cat", "wait": 40})
    assert (result.meta or {})["meigen/continuesBy"] == "referenceImages"
    assert "meigen/continuesBy" not in (picture.meta or {})
