"""Make a picture as a chat client does: `python examples/make_picture.py "A lighthouse at dusk"`.

It starts `meigen-mcp serve --sandbox` and speaks MCP with it over stdin and stdout, so it needs no
key and costs nothing. Without `--sandbox` the same program spends the credits of your account.
"""

import os
import sys
from typing import Any

import anyio
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

SERVER = StdioServerParameters(
    command=sys.executable,
    args=["-m", "meigen_mcp", "serve", "--sandbox"],
    env=dict(os.environ),  # the SDK alone hands only a few variables on
)


async def make(prompt: str) -> dict[str, Any]:
    """Quote a picture, make it for at most that price, and return the last answer about it."""
    async with Client(stdio_client(SERVER)) as client:

        async def call(tool: str, **arguments: Any) -> dict[str, Any]:
            return (await client.call_tool(tool, arguments)).structured_content or {}

        wanted = {"prompt": prompt, "modelId": "nanobanana-2"}
        answer = await call("generate_image", **wanted, dryRun=True)
        if answer["status"] != "dry_run":
            return answer
        quote = answer["quote"]
        print(f"it will cost {quote['credits']} credits ({quote['basis']})")

        answer = await call("generate_image", **wanted, maxCredits=quote["credits"])
        while answer["status"] in ("queued", "submitting", "processing"):
            # It takes longer than a call waits. Nothing is lost, and nothing must be repeated.
            answer = await call("check_status", requestId=answer["requestId"])
        return answer


def main() -> None:
    """Say where the picture is, or why there is none."""
    made = anyio.run(make, " ".join(sys.argv[1:]))
    if made["status"] != "completed":
        sys.exit(made["error"]["message"])
    print(f"made for {made['creditsUsed']} credits")
    print(*(made.get("files") or made["mediaUrls"]), sep="\n")


if __name__ == "__main__":
    main()
