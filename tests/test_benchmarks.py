"""The benchmarks at a size for every day, without judging times; and the pages that quote them."""

import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest
from benchmarks import __main__ as command
from benchmarks.pages import filled
from benchmarks.report import Part, Row, Sample, number, results
from benchmarks.size import SHORT, Size
from click.testing import CliRunner

ROOT = Path(__file__).parents[1]
QUOTED = "<!-- measured: performance -->\n"


@pytest.mark.skipif(sys.platform != "linux", reason="the gauges read /proc")
@pytest.mark.parametrize("name", command.ALL)
async def test_every_part_measures_its_target(name: str) -> None:
    """What does not depend on time is judged in a short run too."""
    part = await command.ALL[name](SHORT)
    assert {row.what.partition(":")[0] for row in part.rows} == {name}
    assert [row for row in part.rows if row.met is False] == []


def measured(row: Row) -> dict[str, Callable[[Size], Awaitable[Part]]]:
    """Return the parts of a run that comes to one row."""

    async def part(size: Size) -> Part:
        del size
        return Part([row])

    return {"start": part}


@pytest.mark.parametrize(
    ("met", "absolute", "verdict", "status"),
    [
        (True, False, "met", 0),
        (False, False, "MISSED", 1),
        (False, True, "missed on this machine", 0),
        (None, False, "", 0),
    ],
)
def test_a_missed_ratio_fails_and_a_slow_machine_does_not(
    met: bool | None, absolute: bool, verdict: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The table says which of the two it was."""
    row = Row("start", "1 s", "2 s", "2 x", met, absolute)
    monkeypatch.setattr(command, "ALL", measured(row))
    ended = CliRunner().invoke(command.main, [])
    assert (ended.exit_code, results([row]) in ended.output, row.verdict) == (status, True, verdict)


def test_figures_are_told_with_three_digits_and_their_tail() -> None:
    """The median, and what 99 of 100 do not exceed."""
    assert str(Sample(range(1, 201), "ms")) == "100 ms, 198 ms"
    assert Sample(range(1, 401), "s").least_median == 181
    assert [number(value) for value in (0.1234, 12.34, 1234.5)] == ["0.12", "12.3", "1,234"]


def topics(table: str) -> list[str]:
    """Return what a table is about, in its order."""
    rows = table.splitlines()[4:]
    return [*dict.fromkeys(line.split("|")[1].split(":")[0].strip() for line in rows)]


def test_the_page_quotes_one_run_in_which_no_ratio_was_missed() -> None:
    """Nobody edits a figure; `python -m tests.benchmarks --write` measures all anew."""
    page = (ROOT / "docs" / "performance.md").read_text("utf-8")
    table = page.partition(QUOTED)[2].partition("<!-- end")[0]
    assert (topics(table), "MISSED" in table) == ([*command.PARTS], False)
    beside = page.partition("<!-- measured: beside -->\n")[2].partition("<!-- end")[0]
    assert topics(beside) == [*command.BESIDE]
    assert filled(f"a\n{QUOTED}old\n<!-- end -->\nb", "performance", "new") == (
        f"a\n{QUOTED}new\n<!-- end -->\nb"
    )
