"""What the programs share: what they are told by their environment, and a run that is cut."""

import asyncio
import json
import os
from collections.abc import Awaitable, Callable
from typing import Any

MODEL = os.environ["MODEL"]
API = os.environ.get("API", "")
COMMAND, *ARGS = json.loads(os.environ["SERVER"])
LONGEST = 170.0


async def each(run: Callable[[str], Awaitable[Any]]) -> None:
    """Run each prompt, and print what it came to; one with seconds is broken off after them."""
    for prompt, seconds in json.loads(os.environ["PROMPTS"]):
        task = asyncio.ensure_future(run(prompt))
        done, _ = await asyncio.wait({task}, timeout=seconds or LONGEST)
        if not done:
            task.cancel()
            await asyncio.wait({task}, timeout=20)
            # The call ends before the session does, or mcp 1 fails at its very end:
            # findings/mcp-1-stdio-client-fails-on-a-late-answer.sh
            await asyncio.sleep(10)
        print(prompt, "->", "CUT" if task.cancelled() else task.result())
