"""A server process that says on SIGUSR1 how many asyncio tasks it has: `counted.py FILE`."""

import asyncio
import os
import signal
import sys
from pathlib import Path

from meigen_mcp.commands.cli import main


def _count(*_: object) -> None:
    """Write the number; the signal arrives in the main thread, where the loop runs."""
    draft = Path(f"{sys.argv[1]}.draft")
    draft.write_text(str(len(asyncio.all_tasks())), encoding="ascii")
    draft.replace(sys.argv[1])


if __name__ == "__main__" and os.name == "posix":
    signal.signal(signal.SIGUSR1, _count)
    main(["serve"])
