"""The baseline: a low-level server of the SDK with one tool that does nothing, over stdio."""

from typing import Any

import anyio
import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.server.lowlevel.server import Server
from mcp.server.stdio import stdio_server

TOOL = t.Tool(name="nothing", input_schema={"type": "object", "properties": {}})


async def _list(ctx: ServerRequestContext[Any, Any], params: Any) -> t.ListToolsResult:
    del ctx, params
    return t.ListToolsResult(tools=[TOOL])


async def _call(ctx: ServerRequestContext[Any, Any], params: Any) -> t.CallToolResult:
    del ctx, params
    return t.CallToolResult(content=[t.TextContent(text="done")])


def bare() -> Server[Any]:
    """Return the server."""
    return Server("bare", on_list_tools=_list, on_call_tool=_call)


async def _serve() -> None:
    server = bare()
    async with stdio_server() as (read, write):
        await server.run(read, write, server.create_initialization_options())


if __name__ == "__main__":
    anyio.run(_serve)
