"""Google ADK, with a model of OpenAI's API through LiteLLM."""

import asyncio
import os

from common import ARGS, COMMAND, MODEL, each
from google.adk.agents import LlmAgent
from google.adk.models.lite_llm import LiteLlm
from google.adk.runners import InMemoryRunner
from google.adk.tools.mcp_tool import McpToolset, StdioConnectionParams
from google.genai import types
from mcp import StdioServerParameters


async def main() -> None:
    """Run."""
    server = StdioServerParameters(command=COMMAND, args=ARGS)
    seconds = float(os.environ.get("CALL_SECONDS", "5"))
    tools = McpToolset(
        connection_params=StdioConnectionParams(server_params=server, timeout=seconds)
    )
    model = LiteLlm(model="openai/scripted", api_base=f"{MODEL}/v1", api_key="x")
    runner = InMemoryRunner(LlmAgent(name="a", model=model, tools=[tools]), app_name="a")

    async def run(prompt: str) -> object:
        session = await runner.session_service.create_session(app_name="a", user_id="u")
        said = types.Content(role="user", parts=[types.Part(text=prompt)])
        last = None
        async for event in runner.run_async(user_id="u", session_id=session.id, new_message=said):
            parts = event.content.parts if event.content else None
            last = parts[0].text if parts and parts[0].text else last
        return last

    await each(run)
    await tools.close()


asyncio.run(main())
