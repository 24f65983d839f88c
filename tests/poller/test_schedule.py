"""When one is looked at next, by what is expected and by its model's own past."""

from dataclasses import replace
from itertools import pairwise

import pytest
from support.calls import NOW, intent

from meigen_mcp.generation import Generation
from meigen_mcp.poller.schedule import Schedule, Usual, usual

INTERVAL = 3.0
PAST = [20.0, 24.0, 27.0, 30.0, 33.0, 37.0, 45.0]


def watched(**fields: object) -> Generation:
    """Return one that was just accepted, and that somebody waits for."""
    job = intent(status="processing", accepted_at=NOW, watched_until=NOW + 900)
    return replace(job, **{"expected_seconds": 1000.0, **fields})  # type: ignore[arg-type]


def look_times(schedule: Schedule, job: Generation, until: float) -> list[float]:
    """Return the seconds after acceptance at which it is looked at."""
    times, at = [], NOW
    while (at := schedule.after_look(job, at, 1.0) or NOW + until) < NOW + until:
        times.append(round(at - NOW, 2))
    return times


@pytest.mark.parametrize(
    "past", [[30.0] * 4, [6.0, 7.0, 8.0, 9.0, 10.0], []], ids=["few", "quick", "none"]
)
def test_a_few_prove_nothing_and_one_that_is_quick_needs_nothing(past: list[float]) -> None:
    """Then every interval is a look."""
    assert usual(past, INTERVAL) is None
    assert look_times(Schedule(INTERVAL), watched(), 10) == [3, 6, 9]


def test_the_looks_are_there_where_it_is_usually_done() -> None:
    """As many as one every interval would be until then; later that again."""
    learnt = usual(PAST, INTERVAL)
    assert learnt is not None
    assert [round(part, 1) for part in (learnt.first, learnt.last, learnt.pace)] == [
        17.4,
        67.5,
        0.5,
    ]
    looks = look_times(Schedule(INTERVAL, learnt), watched(), 90)
    assert (looks[0], len([at for at in looks if at <= 30])) == (17.37, 9)
    late = [at for at in looks if at > learnt.last]
    assert {round(b - a, 2) for a, b in pairwise(late)} == {INTERVAL}


def test_a_long_one_is_looked_at_now_and_then_before() -> None:
    """A model that has become faster is found out soon."""
    schedule = Schedule(INTERVAL, Usual(first=60.0, last=200.0, pace=0.5))
    assert look_times(schedule, watched(), 62) == [15, 30, 45, 60, 61.5]


def test_what_meigen_expects_sooner_counts_more() -> None:
    """Its word is of this one."""
    schedule = Schedule(INTERVAL, Usual(first=17.0, last=60.0, pace=0.5))
    assert look_times(schedule, watched(expected_seconds=8.0), 12) == [8, 9.5, 11]


def test_one_that_nobody_waits_for_is_looked_at_as_before() -> None:
    """After half of what is expected."""
    schedule = Schedule(INTERVAL, Usual(first=17.0, last=60.0, pace=0.5))
    job = watched(watched_until=0.0, model_id="of nobody")
    assert schedule.after_look(job, NOW, 1.0) == NOW + 500
