"""What each client is installed from, and in which ways it is run."""

from collections.abc import Mapping
from dataclasses import dataclass, field

STEPS = ("list", "image", "video", "wait", "refusal", "cancel")


@dataclass(frozen=True)
class Way:
    """A way to run a client.

    Attributes:
        how: as docs/clients.md calls it.
        environment: what its program is told besides.
        starts: seconds that the server takes longer to start.
        sandbox: the name of a sandbox that remembers.
        short: of a client that cuts a call; what waits is not tried.
        http: the server is a process of its own, reached at a URL with a bearer token.
    """

    how: str
    environment: Mapping[str, str] = field(default_factory=dict)
    starts: float = 0
    sandbox: str = ""
    short: bool = False
    http: bool = False


@dataclass(frozen=True)
class Recipe:
    """A client.

    Attributes:
        program: its file in `programs`.
        packages: what it is installed from; the first one's version is told.
        ways: how it is run.
    """

    program: str
    packages: tuple[str, ...]
    ways: tuple[Way, ...] = (Way("Chat Completions", {"API": "chat"}),)


CHAT = Way("Chat Completions", {"API": "chat"})
RESPONSES = Way("Responses", {"API": "responses"})
ANTHROPIC = Way("Anthropic", {"API": "anthropic"})
KEPT = Way("Chat Completions; a sandbox with a name", {"API": "chat"}, sandbox="kept")
_LONG = {"CALL_SECONDS": "120"}


def _sdk(modes: Mapping[str, str], **told: str) -> tuple[Way, ...]:
    """Return the ways of a client of an SDK: each transport in each protocol, told as MODE."""
    return tuple(
        Way(f"{transport}, {protocol}", {"MODE": mode, **told}, http=transport == "HTTP")
        for transport in ("stdio", "HTTP")
        for protocol, mode in modes.items()
    )


RECIPES: Mapping[str, Recipe] = {
    "langchain": Recipe(
        "langchain_py.py",
        ("langchain-mcp-adapters", "langchain", "langchain-openai", "langchain-anthropic"),
        (CHAT, RESPONSES, ANTHROPIC),
    ),
    "langchain-js": Recipe(
        "langchain_js.mjs",
        (
            "@langchain/mcp-adapters@latest",
            "langchain",
            "@langchain/openai",
            "@langchain/anthropic",
        ),
        (CHAT, RESPONSES, ANTHROPIC),
    ),
    "openai-agents": Recipe(
        "openai_agents.py",
        ("openai-agents",),
        (
            Way("Responses, with 120 s a call", _LONG),
            Way("Chat Completions, with 120 s a call", {**_LONG, "API": "chat"}),
            Way("Responses, with its 5 s", short=True),
        ),
    ),
    "pydantic-ai": Recipe(
        "pydantic_ai_run.py", ("pydantic-ai-slim[openai,mcp]",), (CHAT, RESPONSES)
    ),
    "google-adk": Recipe(
        "google_adk.py",
        ("google-adk[mcp]", "litellm"),
        (Way("with 120 s a call", _LONG), Way("with its 5 s", short=True)),
    ),
    "llama-index": Recipe(
        "llama_index_run.py",
        ("llama-index-tools-mcp", "llama-index-core", "llama-index-llms-openai-like"),
        (KEPT,),
    ),
    "smolagents": Recipe("smolagents_run.py", ("smolagents[mcp,openai]", "mcp<2")),
    "semantic-kernel": Recipe("semantic_kernel_run.py", ("semantic-kernel[mcp]",)),
    "mcp-use": Recipe("mcp_use_py.py", ("mcp-use", "langchain-openai")),
    "mcp-use-js": Recipe(
        "mcp_use_js.mjs",
        ("mcp-use@1", "langchain", "@langchain/openai", "@langchain/core"),
        (KEPT,),
    ),
    "fastmcp": Recipe("fastmcp_run.py", ("fastmcp",), (Way("no model"),)),
    "fastmcp-tasks": Recipe(
        "fastmcp_run.py", ("fastmcp-tasks", "fastmcp"), (Way("no model, with tasks"),)
    ),
    "python-sdk": Recipe("python_sdk.py", ("mcp",), _sdk({"2026": "auto", "2025": "legacy"})),
    "typescript-sdk-v1": Recipe(
        "typescript_sdk.mjs", ("@modelcontextprotocol/sdk", "zod"), _sdk({"2025": ""}, SDK="v1")
    ),
    "typescript-sdk-v2": Recipe(
        "typescript_sdk.mjs",
        ("@modelcontextprotocol/client",),
        _sdk({"2026": "auto", "2025": "legacy"}, SDK="v2"),
    ),
    "vercel": Recipe(
        "vercel.mjs",
        ("@ai-sdk/mcp@latest", "ai@latest", "@ai-sdk/openai@latest", "zod"),
        (
            Way("a start of 0 s; Chat Completions", {"API": "chat"}),
            Way("a start of 1 s; Responses", {"API": "responses"}, starts=1),
            Way("a start of 3 s; Chat Completions", {"API": "chat"}, starts=3),
        ),
    ),
}
