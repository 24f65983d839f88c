"""MCP: tools, resources, prompts, subscriptions."""
