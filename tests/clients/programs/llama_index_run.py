"""LlamaIndex."""

import asyncio

from common import ARGS, COMMAND, MODEL, each
from llama_index.core.agent.workflow import FunctionAgent
from llama_index.llms.openai_like import OpenAILike
from llama_index.tools.mcp import BasicMCPClient, McpToolSpec


async def main() -> None:
    """Run."""
    client = BasicMCPClient(COMMAND, args=ARGS, timeout=120)
    tools = await McpToolSpec(client=client).to_tool_list_async()
    model = OpenAILike(
        model="scripted",
        api_base=f"{MODEL}/v1",
        api_key="x",
        is_chat_model=True,
        is_function_calling_model=True,
    )
    agent = FunctionAgent(tools=tools, llm=model)

    async def run(prompt: str) -> object:
        return await agent.run(user_msg=prompt)

    await each(run)


asyncio.run(main())
