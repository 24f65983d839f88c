"""MCP prompts and completions: what a person picks from, and what is offered while they type."""

from typing import Any

import mcp_types as t
from mcp.shared.exceptions import MCPError

from meigen_mcp.errors import InvalidArguments
from meigen_mcp.foreign import one_line
from meigen_mcp.server import completions, prompt_templates
from meigen_mcp.server.guard import Context
from meigen_mcp.service.service import Service


class Prompts:
    """What the prompt and completion methods answer."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def list(self, ctx: Context, params: Any) -> t.ListPromptsResult:
        """Serve `prompts/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        kept = await self._service.catalogue.settle()
        return t.ListPromptsResult(
            ttl_ms=kept,
            prompts=[
                t.Prompt(
                    name=prompt.name,
                    title=prompt.title,
                    description=prompt.about,
                    arguments=[
                        t.PromptArgument(name=a.name, description=a.about, required=False)
                        for a in prompt.arguments
                    ],
                )
                for prompt in prompt_templates.offered(self._service.catalogue.current)
            ],
        )

    async def get(self, ctx: Context, params: t.GetPromptRequestParams) -> t.GetPromptResult:
        """Serve `prompts/get`."""
        del ctx
        current = self._service.catalogue.current
        prompt = next((p for p in prompt_templates.offered(current) if p.name == params.name), None)
        if prompt is None:
            raise MCPError(t.INVALID_PARAMS, f"Unknown prompt: {one_line(params.name)}")
        try:
            text = prompt_templates.message(prompt, params.arguments or {}, current)
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
            found = await completions.of_template(uri, argument, typed, chosen, service)
        most = completions.MOST
        return t.CompleteResult(
            completion=t.Completion(
                values=found[:most], total=len(found), has_more=len(found) > most
            )
        )
