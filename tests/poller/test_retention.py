"""`MEIGEN_KEEP_DAYS`: saved files that grow old are deleted, if they are ours, and it is said."""

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.in_memory import InMemory, connect, make_settings

from meigen_mcp.app import open_account
from meigen_mcp.generation import Generation
from meigen_mcp.poller import retention
from meigen_mcp.poller.retention import DAY
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings
from meigen_mcp.views import generations as views

PHOTO = {"prompt": "a fox", "modelId": "nanobanana-2"}


@dataclass
class Kept:
    """A saved picture with its sidecar, and what becomes of both."""

    settings: Settings
    emulator: Emulator
    name: str
    file: Path

    @property
    def sidecar(self) -> Path:
        """The JSON beside it."""
        return self.file.with_suffix(".json")

    async def look(self, days: float, after: float) -> tuple[int, Generation]:
        """Look for files older than so many days, so many days after it was made."""
        wire = InMemory(self.emulator)
        async with open_account(self.settings, wire) as account:
            job = await account.ledger.records.get(self.name)
            assert job is not None
            now = (job.finished_at or 0) + after * DAY
            count = await retention.discard(account.ledger.records, account.media, days, now)
            job = await account.ledger.records.get(self.name)
            assert job is not None
        return count, job


@pytest.fixture
async def kept(settings: Settings, emulator: Emulator) -> Kept:
    """Return a picture that was saved, with what it was made from beside it."""
    async with connect(settings, emulator) as on:
        made = await on.call("generate_image", **PHOTO)
    file = Path(made["files"][0])
    at = file.stat().st_mtime
    file.with_suffix(".json").write_text("{}", encoding="utf-8")
    os.utime(file.with_suffix(".json"), (at, at))
    return Kept(settings, emulator, made["generationId"], file)


async def test_what_is_old_is_deleted_and_its_record_says_so(kept: Kept) -> None:
    """With its sidecar; the URL stays, and nothing is fetched again by itself."""
    assert (await kept.look(30, 29))[0] == 0
    count, job = await kept.look(30, 31)
    fields = views.generation_structure(job, 0.0)
    assert (count, kept.file.exists(), kept.sidecar.exists()) == (1, False, False)
    assert fields["unsaved"] == [
        {"index": 0, "reason": "Deleted 30 days after it was made, as MEIGEN_KEEP_DAYS says."}
    ]
    assert ["files" in fields, len(fields["mediaUrls"]), job.at_rest, job.missing] == [
        False, 1, True, ()
    ]  # fmt: skip
    assert await kept.look(30, 60) == (0, job)


def _edited(kept: Kept) -> None:
    kept.file.write_bytes(kept.file.read_bytes() + b"mine")


def _replaced(kept: Kept) -> None:
    kept.file.unlink()
    kept.file.write_bytes(b"mine")


def _linked(kept: Kept) -> None:
    moved = kept.file.with_name("moved.png")
    kept.file.rename(moved)
    kept.file.symlink_to(moved)


@pytest.mark.parametrize("change", [_edited, _replaced, _linked])
async def test_what_is_not_ours_stays(change: Callable[[Kept], None], kept: Kept) -> None:
    """A picture that somebody worked on is theirs, and so is what lies in its place."""
    change(kept)
    count, job = await kept.look(1, 40)
    assert (count, kept.file.exists(), job.files) == (0, True, (str(kept.file),))


async def test_a_sidecar_that_somebody_wrote_into_stays(kept: Kept) -> None:
    """The picture goes all the same."""
    kept.sidecar.write_text('{"note": "mine"}', encoding="utf-8")
    assert ((await kept.look(1, 40))[0], kept.sidecar.exists()) == (1, True)


async def test_what_lies_in_another_folder_stays(kept: Kept, tmp_path: Path) -> None:
    """The output folder of today is where files may be deleted."""
    kept.settings = make_settings(tmp_path, MEIGEN_OUTPUT_DIR=str(tmp_path / "other"))
    assert ((await kept.look(1, 40))[0], kept.file.exists()) == (0, True)


async def test_what_was_fetched_again_begins_its_days_anew(kept: Kept) -> None:
    """It came to its place just now, however old its generation is."""
    assert (await kept.look(30, 0.5))[0] == 0
    wire = InMemory(kept.emulator)
    async with open_account(kept.settings, wire) as account:
        job = await account.ledger.records.get(kept.name)
        assert job is not None
        before = kept.file.stat().st_ctime - 1
        assert retention.delete_saved(job, account.media.folder, before) == ()
    assert kept.file.exists()


async def test_it_is_off_unless_it_is_set(tmp_path: Path) -> None:
    """And a value that cannot be read deletes nothing."""
    values = [
        make_settings(tmp_path, **given).keep_days
        for given in ({}, {"MEIGEN_KEEP_DAYS": "30"}, {"MEIGEN_KEEP_DAYS": "0"})
    ]
    assert values == [None, 30.0, None]
