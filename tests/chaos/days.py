"""The bad days of a real machine: a lid that closes, a clock that is set, a disk that fills up.

Each is brought about again and again, with real server processes; what every answer says is
compared with the sandbox's books and with the disk. A disk that is full, a clock that is set and
time that passes are preloaded into the server (`tests/environments/shim.c`), since no test may do
that to the machine; a machine that sleeps is a stopped process whose clock is ahead afterwards.

Nearly all of a day is waiting: for a lock that is held longer than anybody waits for it, for a host
that is silent. So many are lived through beside each other, each in a folder, behind a sandbox and
by clocks of its own.
"""

import traceback
from collections.abc import Awaitable, Callable, Iterator, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any

import anyio
from environments.places import shim

from meigen_mcp.sandbox.running import run_sandbox

from . import days_money as money
from . import days_results as results
from .proxy import proxied
from .report import Part, dice, table
from .servers import Place, temporary
from .stage import Stage, Tally

LONGEST = 120.0
"""Seconds of real time for one repetition."""
READ_ANEW = 0.1
"""Seconds until a server surely goes by a clock that was set: it reads it anew every 20 ms."""


@dataclass(frozen=True)
class Day:
    """A bad day.

    Attributes:
        name: what happens, for the table; the letters are those of the list it comes from.
        strike: brings it about once, and judges.
        shares: all repetitions meet one server.
        full: the folder, of data or of media, that gets full.
        options: of the sandbox.
        long: it waits longest of all, and is begun first.
        alone: what it is about is over within a second, so it is lived through after the others.
    """

    name: str
    strike: Callable[[Stage], Awaitable[None]]
    shares: bool = True
    full: str = "data"
    options: Mapping[str, Any] = field(default_factory=dict)
    long: bool = False
    alone: bool = False


_OLD: Mapping[str, Any] = {"era": "2026-05"}
DAYS: tuple[Day, ...] = (
    Day("M1: another program holds the ledger while a job runs", money.held_for_long),
    Day("M1: the same, before an API without keys", money.held_for_long, options=_OLD),
    Day("M1: the ledger's disk fills up during the POST", money.full_while_it_is_sent),
    Day("M1: that, before an API without keys", money.full_while_it_is_sent, options=_OLD),
    Day("M2: HTTP, a connection is reset in a waiting call", money.reset_over_http, shares=False),
    Day("M2: stdio, both pipes are gone in a call", money.pipes_gone, shares=False),
    Day("M7: many small calls at once, two processes", money.many_at_once, shares=False),
    Day("M9: a late POST, its repetition refused", money.late_and_refused),
    Day("M10: a form that ends in an error", money.form_times_out, shares=False),
    Day("M11: the data folder removed, two servers", money.folder_removed, shares=False),
    Day("M11: the ledger's file removed, and a restart", money.file_removed, shares=False),
    Day("M11: the ledger's file overwritten in its place", money.overwritten, shares=False),
    Day("M11b: the account's key lost, and a restart", money.key_lost, shares=False),
    Day("M11c: an older copy of the folder put back", money.older_copy, shares=False),
    Day("M4b: a yes of tomorrow", money.yes_of_another_day, shares=False),
    Day("P3: a charge of 0", money.charge_of_nothing),
    Day(
        "a client that answers for the person",
        money.client_answers_by_itself,
        shares=False,
        alone=True,
    ),
    Day("M3: 25 h off, then no network yet", results.slept_for_a_day, shares=False),
    Day("M3b: 20 min asleep in the POST, then no network", results.slept_during_the_post),
    Day("M3c: HTML 502 or 503 for a while after the POST", results.gateway_restarts),
    Day("M4: the clock set in a call with `wait: 8`", results.clock_back_in_a_call),
    Day("M4: a kill, and the clock set back", results.killed_and_clock_back, shares=False),
    Day("M4: 429 for 3 s, and the clock set back", results.held_back_and_clock_back),
    Day("M4: the clock hours ahead, then right", results.clock_ahead_then_right, shares=False),
    Day("M8: the output's disk full for a while", results.output_full, full="media", long=True),
    Day("M8: the media's host fails for a while", results.host_fails, long=True),
    Day("M8: no descriptor left for a while", results.descriptors_used_up, long=True),
    Day("M8: 16 silent media of 4 jobs", results.silent_hosts, long=True),
    Day("M12: a result at an address that is not opened", results.refused_address),
    Day("M12: 401 or 404 to every look for a while", results.looks_refused),
    Day("M12: a status that is not documented", results.odd_status),
    Day("F2: a reply with an untrue `Content-Encoding`", results.labelled_reply),
    Day("F2: media with an odd `Content-Encoding`", results.labelled_media),
    Day("F4: half a PNG or MP4", results.half_a_file),
    Day("F1: a clip in fragments is to be continued", results.clip_in_fragments),
    Day("P2: one `generationId` for two keys", results.one_id_for_two),
    Day("H3: stopped for 90 s between POST and reply", money.stopped_between),
    Day("H2: lists while another program holds the ledger", results.lists_while_held),
    Day("F13: a file system without locks", results.no_locks, shares=False),
    Day("called off while it is about to be sent", results.called_off_in_time),
)
HEAD = (
    "day",
    "lived",
    "accepted",
    "answers",
    "charged twice",
    "charged and lost",
    "untrue",
    "late or other",
)


async def run(repetitions: int, lanes: int, seed: int, share: int = 1) -> Part:
    """Live through every day, so many times.

    Args:
        repetitions: of each day.
        lanes: how many days are lived through at the same time.
        seed: of all chance.
        share: only every so manieth day, another one with each seed.
    """
    part = Part("Bad days (real processes)")
    if shim() is None:
        part.text = "Not run: it needs Linux with a C compiler."
        return part
    days = [day for number, day in enumerate(DAYS) if (number + seed) % share == 0]
    tallies = {day.name: Tally() for day in days}
    beside = sorted((day for day in days if not day.alone), key=lambda day: not day.long)
    alone = [day for day in days if day.alone]

    async def lane(waiting: Iterator[Day]) -> None:
        for day in waiting:
            await _live(day, tallies[day.name], repetitions, seed)

    for waiting, count in ((iter(beside), lanes), (iter(alone), 1)):
        async with anyio.create_task_group() as group:
            for _ in range(count):
                group.start_soon(lane, waiting)
    for name, tally in tallies.items():
        part.broken += [f"{name}: {problem}" for problem in tally.problems()]
    lines = [(name, *tally.cells()) for name, tally in tallies.items()]
    part.text = table(HEAD, lines)
    return part


async def _live(day: Day, tally: Tally, repetitions: int, seed: int) -> None:
    """Live through one day again and again."""
    options = {"speed": 0.01, "rate_limit": 100_000, "credits": 100_000, **day.options}
    with temporary() as folder:
        async with AsyncExitStack() as stack:
            sandbox = await stack.enter_async_context(run_sandbox(**options))
            wire = await stack.enter_async_context(proxied(sandbox))
            place = Place(folder / "place", wire.origin, sandbox)
            stage = Stage(folder, place, wire, dice(seed, day.name), "", tally)
            stage.begin("", dice(seed))
            if day.shares:
                stage.shared = await stack.enter_async_context(stage.server(full=day.full))
            for number in range(repetitions):
                stage.begin(f"{day.name} / {number}", dice(seed, day.name, number))
                await anyio.sleep(READ_ANEW)
                tally.lived += 1
                try:
                    with anyio.fail_after(LONGEST):
                        await day.strike(stage)
                except Exception as problem:  # noqa: BLE001  # the other days go on
                    stage.late("".join(traceback.format_exception(problem)))
            stage.mend()
