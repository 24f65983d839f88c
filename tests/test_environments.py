"""Every command in every odd place: it works, or a sentence says why not; docs/environments.md."""

from pathlib import Path

import pytest
from chaos.report import section
from environments.commands import COMMANDS, visit
from environments.places import PLACES, Place


@pytest.mark.timeout(300)  # five processes, and a machine may be busy
@pytest.mark.parametrize("place", PLACES, ids=lambda place: place.name)
async def test_every_command_works_or_says_why_not(place: Place, tmp_path: Path) -> None:
    """Never a traceback; what works there goes on working."""
    missing = place.needs()
    if missing is not None:
        pytest.skip(f"not tried here: {place.name} needs {missing}")
    cells = await visit(place, tmp_path)
    assert {name: cell.says for name, cell in cells.items() if cell.broken} == {}
    assert {name for name, cell in cells.items() if cell.works} == place.works
    assert tuple(cells) == COMMANDS


def test_each_place_has_its_line_in_the_page() -> None:
    """`python -m tests.environments --write docs/environments.md` writes what it saw."""
    page = Path(__file__).parent.parent / "docs" / "environments.md"
    _, table, _ = section(page.read_text(encoding="utf-8"), "environments")
    rows = [line.partition(":")[0] for line in table.splitlines()[2:] if line.startswith("| ")]
    assert rows == [f"| {place.name}" for place in PLACES]
    assert "**broken**" not in table
