"""MCP prompts and completions: the menu a person picks from, and what it offers while they type."""

from typing import Any

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError

from meigen_mcp import completions, prompts
from meigen_mcp.errors import InvalidArguments
from meigen_mcp.service import Service

Context = ServerRequestContext[Any, Any]


class Menu:
    """What the prompt and completion methods answer."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, ctx: Context, params: Any) -> t.ListPromptsResult:
        """Serve `prompts/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        return t.ListPromptsResult(
            prompts=[
                t.Prompt(
                    name=prompt.name,
                    title=prompt.title,
                    description=prompt.about,
                    arguments=[
                        t.PromptArgument(name=a.name, description=a.about, required=a.required)
                        for a in prompt.arguments
                    ],
                )
                for prompt in prompts.offered(self._service.catalogue.current)
            ]
        )

    async def get(self, ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        """Serve `prompts/get`."""
        del ctx
        current = self._service.catalogue.current
        prompt = next((p for p in prompts.offered(current) if p.name == params.name), None)
        if prompt is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown prompt: {params.name}")
        try:
            text = prompts.message(prompt, params.arguments or {}, current)
        except InvalidArguments as error:
            raise MCPError(t.INVALID_PARAMS, error.message) from None
        message = t.PromptMessage(role="user", content=t.TextContent(text=text))
        return t.GetPromptResult(description=prompt.about, messages=[message])

    async def complete(self, ctx: Context, params: t.CompleteRequestParams) -> t.CompleteResult:
        """Serve `completion/complete`."""
        del ctx
        service = self._service
        chosen = (params.context.arguments if params.context else None) or {}
        argument, typed = params.argument.name, params.argument.value
        if isinstance(params.ref, t.PromptReference):
            current = service.catalogue.current
            found = completions.of_prompt(params.ref.name, argument, typed, chosen, current)
        else:
            uri = str(params.ref.uri)
            found = completions.of_template(uri, argument, typed, chosen, service)
        most = completions.MOST
        return t.CompleteResult(
            completion=t.Completion(
                values=found[:most], total=len(found), has_more=len(found) > most
            )
        )
