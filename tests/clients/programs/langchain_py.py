"""LangChain in Python, with three model APIs."""

import asyncio

from common import API, ARGS, COMMAND, MODEL, each
from langchain.agents import create_agent
from langchain_anthropic import ChatAnthropic
from langchain_mcp_adapters.client import MultiServerMCPClient
from langchain_mcp_adapters.tools import load_mcp_tools
from langchain_openai import ChatOpenAI


async def main() -> None:
    """Run."""
    if API == "anthropic":
        model = ChatAnthropic(model="claude-sonnet-4-5", base_url=MODEL, api_key="x")
    else:
        responses = API == "responses"
        model = ChatOpenAI(
            model="gpt-5", base_url=f"{MODEL}/v1", api_key="x", use_responses_api=responses
        )
    server = {"command": COMMAND, "args": ARGS, "transport": "stdio"}
    async with MultiServerMCPClient({"meigen": server}).session("meigen") as session:
        agent = create_agent(model, await load_mcp_tools(session))

        async def run(prompt: str) -> object:
            given = {"messages": [{"role": "user", "content": prompt}]}
            told = (await agent.ainvoke(given, {"recursion_limit": 60}))["messages"]
            more = {"role": "user", "content": "and now?"}  # the media are in the history
            return (await agent.ainvoke({"messages": [*told, more]}))["messages"][-1].content

        await each(run)


asyncio.run(main())
