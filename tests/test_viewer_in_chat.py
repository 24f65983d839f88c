"""How hosts of MCP Apps come to the viewer, in both protocol eras."""

from typing import Any

import mcp_types as t
import pytest
from studio import MODES, ORIGIN, Mode, studio

from meigen_mcp import viewer
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings


@pytest.mark.parametrize("mode", MODES)
async def test_the_tools_that_make_and_watch_are_shown_in_it(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The server says that it has apps, and each tool names its page."""
    async with studio(settings, emulator, mode) as on:
        extensions = on.client.server_capabilities.extensions
        tools = (await on.client.list_tools()).tools
    assert extensions == {"io.modelcontextprotocol/ui": {}}
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
    async with studio(settings, emulator, mode) as on:
        made = await on.call("generate_image", prompt="a fox")
        with on.app.service.ledger.database.writing() as db:
            db.execute("UPDATE generations SET media_urls = ?", (f'["{elsewhere}/a.png"]',))
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
