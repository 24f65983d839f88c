"""The main job through the real server in memory, in both protocol eras."""

from pathlib import Path

import pytest
from support.in_memory import MODES, Mode, connect

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings


@pytest.mark.parametrize("mode", MODES)
async def test_an_image_is_made_saved_and_readable(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """One call gives the URL, the saved file and the record."""
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_image", prompt="a red cube", modelId="z-image-turbo")
        record = await on.client.read_resource(answer["resourceUri"])
        medium = await on.client.read_resource(f"{answer['resourceUri']}/media/0")
    assert answer["status"] == "completed"
    assert answer["mediaUrls"][0] in record.contents[0].text  # type: ignore[union-attr]  # JSON is text
    assert medium.contents[0].mime_type == "image/png"
    assert Path(answer["files"][0]).read_bytes().startswith(b"\x89PNG")
