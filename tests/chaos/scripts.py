"""Killed commands: `meigen-mcp image --key` as a script runs it, ended by SIGKILL at any moment.

A script calls the same command with the same key until it ends by itself. Two run at a time, on one
ledger.
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from random import Random
from typing import IO, Any
from uuid import uuid4

import anyio
from anyio.abc import Process

from meigen_mcp.sandbox.running import run_sandbox

from .report import Part, dice, table
from .servers import MODEL, TOKEN, Place, temporary
from .truth import broken, charged, posts, rows, until

LONGEST = 120.0
LANES = 2
A_WHILE = 0.5
"""Seconds in which a generation is sent, made and saved here."""
WHILE_IT_STARTS = 0.25
"""The share of kills that are not timed by what the ledger says."""
MOST_KILLS = 3
"""Of one generation; then the command is let go on."""


@dataclass
class _Scripts:
    """What the scripts came to.

    Attributes:
        typical: seconds from the start of a command to its end.
        kills: how many commands were killed, by how far they had come.
        ended: what each generation's last command printed, by its key.
    """

    place: Place
    chance: Random
    typical: float = 0.0
    kills: Counter[str] = field(default_factory=Counter)
    ended: dict[str, dict[str, Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)

    async def make(self, key: str, most_kills: int) -> None:
        """Call the command until it ends by itself."""
        for killed in range(most_kills + 1):
            began = time.monotonic()
            said = self.place.folder / f"said-{uuid4()}"
            with said.open("wb") as stdout:
                status = await self._command(key, stdout, kill=killed < most_kills)
            if status == -signal.SIGKILL:
                self.kills[self._reached(key)] += 1
                continue
            if status == 0:
                self.ended[key] = json.loads(said.read_bytes())
                self.typical = self.typical or time.monotonic() - began
            else:
                self.problems.append(f"{key} ended with status {status}: {said.read_text()}")
            return

    async def _command(self, key: str, stdout: IO[bytes], *, kill: bool) -> int:
        """Run the command, and perhaps kill it at any moment; return its status."""
        words = ("-m", "meigen_mcp", "image", key, "--model", MODEL, "--key", key, "--json")
        process = await anyio.open_process(
            (sys.executable, *words),
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=subprocess.DEVNULL,
            env={
                "MEIGEN_API_TOKEN": TOKEN,
                "MEIGEN_BASE_URL": self.place.origin,
                "MEIGEN_UPLOAD_URL": self.place.origin,
                "MEIGEN_DATA_DIR": str(self.place.data),
                "MEIGEN_OUTPUT_DIR": str(self.place.folder / "media"),
                "MEIGEN_POLL_INTERVAL": "0.1",
                "MEIGEN_RATE_LIMIT": "100000",
                "MEIGEN_CONFIRM_ABOVE": "off",
            },
        )
        async with process:
            if kill:
                with anyio.move_on_after(LONGEST):
                    await self._moment(key, process)
                    # Its own kill() looks for its end first, and may take its status away.
                    with suppress(ProcessLookupError):
                        os.kill(process.pid, signal.SIGKILL)
            with anyio.fail_after(LONGEST):
                return await process.wait()

    async def _moment(self, key: str, process: Process) -> None:
        """Wait for a moment: at any time of the start, or soon after something was written down."""
        before = self._reached(key)
        if self.chance.random() < WHILE_IT_STARTS:
            await anyio.sleep(self.chance.uniform(0, self.typical))
            return
        await until(lambda: self._reached(key) != before or process.returncode is not None, LONGEST)
        await anyio.sleep(self.chance.choice([0, self.chance.uniform(0, A_WHILE)]))

    def _reached(self, key: str) -> str:
        """Return how far a killed command had brought its generation."""
        found = [row for row in rows(self.place.data) if row.prompt == key]
        if not found:
            return "before its intent"
        return "after the file was saved" if found[0].saved else f"{found[0].status}, not saved"


async def run(generations: int, seed: int) -> Part:
    """Make so many, each by a command that is killed up to three times.

    Args:
        generations: how many, each with a key of its own.
        seed: of all chance.
    """
    part = Part("Killed commands (`meigen-mcp image --key`, SIGKILL)")
    with temporary() as folder:
        async with run_sandbox(speed=0.01, rate_limit=100_000, credits=10**6) as origin:
            scripts = _Scripts(Place(folder, origin, origin), dice(seed))
            await scripts.make("the first, never killed", 0)
            keys = iter([f"{number} of {generations}" for number in range(1, generations + 1)])

            async def lane() -> None:
                for key in keys:
                    await scripts.make(key, scripts.chance.randint(1, MOST_KILLS))

            async with anyio.create_task_group() as group:
                for _ in range(LANES):
                    group.start_soon(lane)
            state = await scripts.place.state()
        found, seen = rows(scripts.place.data), posts(state)
        part.broken += [*scripts.problems, *broken(found, seen)]
        files = [path for path in (folder / "media").iterdir() if path.suffix == ".png"]
        accepted = Counter(post.key for post in seen if post.accepted)
    told = Counter(answer["status"] for answer in scripts.ended.values())
    part.hold(told == {"completed": generations + 1}, f"not all were completed: {dict(told)}")
    part.hold(set(accepted.values()) == {1}, f"charged otherwise than once: {accepted}")
    part.hold(len(accepted) == generations + 1, f"{len(accepted)} were charged")
    part.hold(len(files) == generations + 1, f"{len(files)} files were saved")
    part.hold(
        charged(state) == sum(row.amount for row in found), "the ledger has another sum than MeiGen"
    )
    head = ("generations", "commands killed", "charged once", "charged twice", "files")
    once = sum(count == 1 for count in accepted.values())
    twice = sum(count > 1 for count in accepted.values())
    line = (generations + 1, scripts.kills.total(), once, twice, len(files))
    moments = table(("killed", "times"), sorted(scripts.kills.items()))
    part.text = f"{table(head, [line])}\n\n{moments}"
    return part
