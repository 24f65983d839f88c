"""Looks that taught nothing: when the next ones are due is noted together."""

from pathlib import Path

import pytest
from support.workbench import workbench

from meigen_mcp.poller.postponed import Postponed


@pytest.mark.parametrize("forgets", [False, True])
async def test_times_of_a_clock_that_was_set_are_not_noted(
    tmp_path: Path, *, forgets: bool
) -> None:
    """What is known then is looked at at once."""
    async with workbench(tmp_path) as on:
        job = (await on.generate("generate_video", modelId="veo-3.1", wait=0)).job
        before = await on.ledger.records.get(job.request_id)
        assert before is not None
        postponed = Postponed(on.ledger.queue, on.clock.monotonic)
        postponed.add(before, later := on.clock.now + 99)
        if forgets:
            postponed.forget()
        assert list(postponed) == ([] if forgets else [before.request_id])
        await postponed.write()
        after = await on.ledger.records.get(job.request_id)
        assert after is not None
        assert (after.next_look, list(postponed)) == (before.next_look if forgets else later, [])
