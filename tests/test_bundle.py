"""The bundle for Claude Desktop: its manifest, and itself where it can be packed and started."""

import json
import os
import shutil
from pathlib import Path
from typing import Any

import anyio
import pytest
from mcp import StdioServerParameters
from mcp.client.client import Client
from mcp.client.stdio import stdio_client
from tools import bundle

import meigen_mcp
from meigen_mcp.server.tool_schemas import ABOUT_TOOLS
from meigen_mcp.settings import load
from meigen_mcp.variables import SETTINGS

MCPB, UV = shutil.which("mcpb"), shutil.which("uv")


def manifest(folder: Path = bundle.ROOT / "mcpb") -> dict[str, Any]:
    """Return what the bundle says of itself."""
    return dict(json.loads((folder / "manifest.json").read_text(encoding="utf-8")))


def test_it_says_what_the_package_says() -> None:
    """The version, the tools, and settings that exist."""
    said = manifest()
    assert said["version"] == meigen_mcp.__version__
    assert [tool["name"] for tool in said["tools"]] == list(ABOUT_TOOLS)
    assert said["server"]["mcp_config"]["env"].keys() <= {setting.name for setting in SETTINGS}


def test_every_question_becomes_a_setting_and_the_token_is_kept_secret() -> None:
    """Nothing is asked for in vain; nothing is required, so that it starts at once."""
    said = manifest()
    asked = {f"${{user_config.{name}}}" for name in said["user_config"]}
    assert set(said["server"]["mcp_config"]["env"].values()) == asked
    assert said["user_config"]["token"]["sensitive"] is True
    assert not any(question["required"] for question in said["user_config"].values())


def test_questions_left_open_are_settings_left_out() -> None:
    """A host may pass the placeholders as they are, or nothing."""
    variables = manifest()["server"]["mcp_config"]["env"]
    for environment in (variables, dict.fromkeys(variables, "")):
        loaded = load(environment)
        assert (loaded.token, loaded.max_per_day, loaded.problems) == (None, None, ())


@pytest.mark.timeout(300)
@pytest.mark.skipif(
    MCPB is None or UV is None,
    reason="the bundle was not packed and started: mcpb (npm @anthropic-ai/mcpb) or uv is missing",
)
async def test_the_unpacked_bundle_lists_the_tools(tmp_path: Path) -> None:
    """Checked and packed by the official tool, started as its manifest says."""
    assert MCPB is not None
    folder = bundle.laid_out(tmp_path / "laid-out")
    packed = bundle.packed(folder, tmp_path / "meigen-mcp.mcpb", MCPB)
    unpacked = tmp_path / "unpacked"
    await anyio.run_process([MCPB, "unpack", packed, unpacked])
    start = manifest(unpacked)["server"]["mcp_config"]
    parameters = StdioServerParameters(
        command=start["command"],
        args=[part.replace("${__dirname}", str(unpacked)) for part in start["args"]],
        env={**os.environ, **start["env"], "MEIGEN_DATA_DIR": str(tmp_path / "data")},
    )
    async with Client(stdio_client(parameters)) as client:
        listed = await client.list_tools()
    assert [tool.name for tool in listed.tools] == list(ABOUT_TOOLS)
