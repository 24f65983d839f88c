"""A call whose client has gone, or whose disk does not say what it has, is no second charge."""

import sqlite3
from pathlib import Path

import pytest
from support.workbench import workbench

from meigen_mcp.errors import Refusal
from meigen_mcp.ledger.sqlite import worker
from meigen_mcp.service.delivery import Delivery, under_way
from meigen_mcp.views import generations as views


async def test_a_call_whose_client_has_gone_before_its_intent_sends_nothing(tmp_path: Path) -> None:
    """It was repeated meanwhile, and found nothing that it could adopt."""
    async with workbench(tmp_path) as on:
        delivery = Delivery()
        await delivery.end(left=False)
        token = under_way.set(delivery)
        with pytest.raises(Refusal, match="has gone"):
            await on.generate(modelId="nanobanana-2")
        under_way.reset(token)
        assert (await on.generate(modelId="nanobanana-2")).status == "completed"
        assert (len(on.wire.posts()), on.charged) == (1, 5)


async def test_an_intent_that_is_not_known_to_be_on_the_disk_is_not_said_to_be_free(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was written, and to sync it failed: a crash brings it back."""
    commit = worker._committed  # noqa: SLF001  # there is no other place between the two

    def unsynced(db: sqlite3.Connection) -> BaseException | None:
        monkeypatch.setattr(worker, "_committed", commit)
        commit(db)
        error = sqlite3.OperationalError("disk I/O error")
        error.sqlite_errorname = "SQLITE_IOERR_FSYNC"
        return error

    async with workbench(tmp_path) as on:
        await on.ledger.open()
        monkeypatch.setattr(worker, "_committed", unsynced)
        told = views.outcome(await on.generate(modelId="nanobanana-2", wait=0), on.clock())
        again = await on.generate(modelId="nanobanana-2")
        assert (told["error"]["charged"], told["requestId"]) == ("unknown", again.job.request_id)
        assert (again.status, len(on.wire.posts()), on.charged) == ("completed", 1, 5)
