"""Pydantic AI."""

import asyncio

from common import API, ARGS, COMMAND, MODEL, each
from fastmcp.client.transports import StdioTransport
from pydantic_ai import Agent
from pydantic_ai.mcp import MCPToolset
from pydantic_ai.models.openai import OpenAIChatModel, OpenAIResponsesModel
from pydantic_ai.providers.openai import OpenAIProvider


async def main() -> None:
    """Run."""
    provider = OpenAIProvider(base_url=f"{MODEL}/v1", api_key="x")
    kind = OpenAIResponsesModel if API == "responses" else OpenAIChatModel
    server = MCPToolset(StdioTransport(COMMAND, ARGS))
    agent = Agent(kind("scripted", provider=provider), toolsets=[server])
    async with agent:

        async def run(prompt: str) -> object:
            return (await agent.run(prompt)).output

        await each(run)


asyncio.run(main())
