"""OpenAI Agents SDK."""

import asyncio
import os

from agents import Agent, OpenAIChatCompletionsModel, OpenAIResponsesModel, Runner
from agents.mcp import MCPServerStdio
from common import API, ARGS, COMMAND, MODEL, each
from openai import AsyncOpenAI


async def main() -> None:
    """Run."""
    client = AsyncOpenAI(base_url=f"{MODEL}/v1", api_key="x")
    kind = OpenAIChatCompletionsModel if API == "chat" else OpenAIResponsesModel
    seconds = float(os.environ.get("CALL_SECONDS", "5"))
    params = {"command": COMMAND, "args": ARGS}
    async with MCPServerStdio(params=params, client_session_timeout_seconds=seconds) as server:
        agent = Agent("a", model=kind("scripted", client), mcp_servers=[server])

        async def run(prompt: str) -> object:
            return (await Runner.run(agent, prompt, max_turns=30)).final_output

        await each(run)


asyncio.run(main())
