"""A fortnight of one machine, simulated: whatever it meets, nothing is paid twice or lost."""

from pathlib import Path

import pytest
from support.fortnight import Fortnight

SEEDS = 10


@pytest.mark.parametrize("seed", range(SEEDS))
async def test_after_a_fortnight_every_job_is_known_and_every_result_saved_or_said(
    tmp_path: Path, seed: int
) -> None:
    """And the credits are those that the sandbox took; `python -m tests.tools.fortnight` tries 200.

    One that fails tells its story, and runs alone with `--seed`.
    """
    lived = await Fortnight(tmp_path, seed).live()
    if lived.wrong:
        pytest.fail(str(lived), pytrace=False)
    assert len(lived.found) >= lived.jobs
