"""Semantic Kernel."""

import asyncio

from common import ARGS, COMMAND, MODEL, each
from openai import AsyncOpenAI
from semantic_kernel.agents import ChatCompletionAgent
from semantic_kernel.connectors.ai.open_ai import OpenAIChatCompletion
from semantic_kernel.connectors.mcp import MCPStdioPlugin


async def main() -> None:
    """Run."""
    client = AsyncOpenAI(base_url=f"{MODEL}/v1", api_key="x")
    service = OpenAIChatCompletion("scripted", async_client=client)
    async with MCPStdioPlugin("meigen", COMMAND, args=ARGS, request_timeout=120) as plugin:

        async def run(prompt: str) -> object:
            agent = ChatCompletionAgent(service=service, name="a", plugins=[plugin])
            return str((await agent.get_response(messages=prompt)).message.content)

        await each(run)


asyncio.run(main())
