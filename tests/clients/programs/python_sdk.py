"""The Python SDK's client, which has no model: the calls of the scripts, made by themselves."""

import asyncio
import os
import re

import httpx2
from common import ARGS, COMMAND, each
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

VIDEO = {"prompt": "a red fox runs", "modelId": "seedance-2-0"}
SLOW = {**VIDEO, "prompt": "a slow fox, sandbox:stall"}


def server() -> object:
    """Return what the client connects to: a URL with a bearer token, or a command."""
    if url := os.environ.get("URL"):
        sent = {"Authorization": f"Bearer {os.environ['TOKEN']}"}
        return streamable_http_client(
            url, http_client=httpx2.AsyncClient(headers=sent, timeout=120)
        )
    return StdioServerParameters(command=COMMAND, args=ARGS)


async def main() -> None:
    """Run."""
    async with Client(server(), mode=os.environ["MODE"]) as client:
        print("protocol", client.protocol_version)
        listed = await client.list_tools()

        async def call(tool: str, **given: object) -> str:
            result = await client.call_tool(tool, given)
            return " ".join(getattr(block, "text", "") for block in result.content)

        async def run(prompt: str) -> object:
            if prompt == "SCRIPT wait":
                return await call("generate_video", **SLOW, wait=12)
            if prompt == "SCRIPT list":
                return await call("check_status")
            models = f"{[tool.name for tool in listed.tools]} {await call('list_models')}"
            image = await call("generate_image", prompt="a fox")
            refused = await call("generate_image", prompt="a fox", aspectRatio="wide")
            video = await call("generate_video", **VIDEO)
            name = re.search(r"requestId\W+([0-9a-f-]{36})", video)
            done = await call("check_status", requestId=name[1], wait=40) if name else video
            told = [models, image, refused, video, done]
            return "\n--\n".join(told)

        await each(run)


asyncio.run(main())
