"""mcp-use in Python."""

import asyncio

from common import ARGS, COMMAND, MODEL, each
from langchain_openai import ChatOpenAI
from mcp_use import MCPAgent, MCPClient


async def main() -> None:
    """Run."""
    servers = {"mcpServers": {"meigen": {"command": COMMAND, "args": ARGS}}}
    client = MCPClient.from_dict(servers)
    model = ChatOpenAI(model="gpt-5", base_url=f"{MODEL}/v1", api_key="x")

    async def run(prompt: str) -> object:
        agent = MCPAgent(llm=model, client=client, max_steps=20, memory_enabled=False)
        return await agent.run(prompt)

    await each(run)
    await client.close_all_sessions()


asyncio.run(main())
