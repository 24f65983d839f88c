"""What other processes on the file write is noticed without asking it for everything each time."""

from pathlib import Path

import anyio
from support.calls import NOW, added, intent
from support.engines import SqlitePlace


async def test_a_look_that_another_process_wants_wakes_the_poller(tmp_path: Path) -> None:
    """It rests for longer than anybody who waits there would like to."""
    place = SqlitePlace(tmp_path)
    ledger, other = place.open(), place.open()
    job = await added(ledger, intent(status="processing", next_look=NOW + 60))
    work = ledger.queue.work
    with anyio.fail_after(20):
        async with anyio.create_task_group() as group:
            seen = work.count
            group.start_soon(ledger.run)
            await work.after(seen)  # its first look at the file
            seen = work.count
            await other.changes.watch([job.request_id], NOW, NOW + 20)
            await work.after(seen)
            group.cancel_scope.cancel()
    await place.close()
    assert work.count > seen
