"""fastmcp's client, which has no model: the calls of the scripts, made by themselves."""

import asyncio
import contextlib
import re

from common import ARGS, COMMAND, each
from fastmcp import Client
from fastmcp.client.transports import StdioTransport

with contextlib.suppress(ImportError):
    import fastmcp_tasks  # noqa: F401  # with it the client declares the tasks extension
VIDEO = {"prompt": "a red fox runs", "modelId": "seedance-2-0"}
SLOW = {**VIDEO, "prompt": "a slow fox, sandbox:stall"}


async def main() -> None:
    """Run."""
    async with Client(StdioTransport(COMMAND, ARGS)) as client:

        async def call(tool: str, **given: object) -> str:
            result = await client.call_tool(tool, given, raise_on_error=False)
            return " ".join(getattr(block, "text", "") for block in result.content)

        async def run(prompt: str) -> object:
            if prompt == "SCRIPT wait":
                return await call("generate_video", **SLOW, wait=12)
            if prompt == "SCRIPT list":
                return await call("check_status")
            models, image = await call("list_models"), await call("generate_image", prompt="a fox")
            refused = await call("generate_image", prompt="a fox", aspectRatio="wide")
            video = await call("generate_video", **VIDEO)
            name = re.search(r"requestId\W+([0-9a-f-]{36})", video)
            done = await call("check_status", requestId=name[1], wait=40) if name else video
            told = [models, image, refused, video, done]
            return "\n--\n".join(told)

        await each(run)


asyncio.run(main())
