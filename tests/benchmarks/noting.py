"""The command with a gauge beside it: `noting.py FILE serve ...` notes how late looks are begun.

Each line is a time and the milliseconds by which a look was begun after it was due in the ledger.
"""

import sys
import time
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TextIO

from meigen_mcp.commands import cli
from meigen_mcp.ledger.postgres.queue import PostgresQueue
from meigen_mcp.ledger.queue import Due, Kind, Wanted
from meigen_mcp.ledger.sqlite.queue import SqliteQueue


def _note(queue: type[PostgresQueue | SqliteQueue], lines: TextIO) -> None:
    """Have a ledger note of each look that it gives out how late that is."""
    due = queue.due

    async def noted(
        self: PostgresQueue | SqliteQueue,
        now: float,
        wanted: Mapping[Kind, Wanted],
        but: Collection[str] = (),
    ) -> Due:
        found: Due = await due(self, now, wanted, but)  # type: ignore[arg-type]  # one of both
        begun = time.time()
        for kind, job in found.jobs:
            if kind == "look" and job.next_look is not None:
                lines.write(f"{begun:.3f} {1000 * (begun - job.next_look):.3f}\n")
        return found

    queue.due = noted  # type: ignore[method-assign]


if __name__ == "__main__":
    file = Path(sys.argv.pop(1)).open("w", encoding="ascii", buffering=1)  # noqa: SIM115  # to the end
    for engine in (PostgresQueue, SqliteQueue):
        _note(engine, file)
    cli.main()
