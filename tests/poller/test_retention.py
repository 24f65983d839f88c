"""`MEIGEN_KEEP_DAYS`: saved files that grow old are deleted, if they are ours, and it is said."""

import errno
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from support.in_memory import InMemory, connect, make_settings

from meigen_mcp.app import open_account
from meigen_mcp.generation import Generation
from meigen_mcp.media import reasons
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

    async def look(
        self, days: float, after: float, *, alone: bool = True
    ) -> tuple[int, Generation]:
        """Look for files older than so many days, so many days after it was made."""
        wire = InMemory(self.emulator)
        async with open_account(self.settings, wire) as account:
            job = await account.ledger.records.get(self.name)
            assert job is not None
            now = (job.finished_at or 0) + after * DAY
            count = await retention.discard(
                account.ledger.records, account.media, days, now, alone=alone
            )
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
        assert retention.delete_saved(job, account.media.folder, before) == (set(), [])
    assert kept.file.exists()


async def test_it_is_off_unless_it_is_set(tmp_path: Path) -> None:
    """And a value that cannot be read deletes nothing."""
    values = [
        make_settings(tmp_path, **given).keep_days
        for given in ({}, {"MEIGEN_KEEP_DAYS": "30"}, {"MEIGEN_KEEP_DAYS": "0"})
    ]
    assert values == [None, 30.0, None]


async def test_what_an_ended_run_deleted_is_said_by_the_next(kept: Kept) -> None:
    """It deleted the file, and was killed before it wrote so."""
    kept.file.unlink()
    assert (await kept.look(30, 29))[1].files == (str(kept.file),)
    kept.file.with_name("other.txt").write_text("mine", encoding="utf-8")
    count, job = await kept.look(30, 31)
    assert (count, job.files, len(job.unsaved)) == (1, (None,), 1)


async def test_a_folder_that_is_empty_is_not_known_to_be_ours(kept: Kept) -> None:
    """Nothing may be mounted there just now."""
    for file in kept.file.parent.iterdir():
        file.unlink()
    assert (await kept.look(30, 31))[1].files == (str(kept.file),)


async def test_a_file_of_another_server_is_not_known_to_be_gone(kept: Kept) -> None:
    """Servers with one database and a disk each: it may be on the other's, under the same name."""
    elsewhere = kept.file.rename(kept.file.with_name("elsewhere.png"))
    count, job = await kept.look(30, 31, alone=False)
    assert (count, job.files) == (0, (str(kept.file),))
    elsewhere.rename(kept.file)
    count, job = await kept.look(30, 31, alone=False)
    assert (count, kept.file.exists(), job.files) == (1, False, (None,))


async def test_what_cannot_be_looked_at_is_not_gone_and_said_once(
    kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk on a network that is away for a moment; one line, however many files it has."""
    lstat = Path.lstat

    def away(path: Path) -> os.stat_result:
        if path.parent == kept.file.parent:
            raise OSError(errno.ESTALE, "Stale file handle", str(path))
        return lstat(path)

    async with connect(kept.settings, kept.emulator) as on:
        await on.call("generate_image", **{**PHOTO, "prompt": "a hare"})
    monkeypatch.setattr(Path, "lstat", away)
    count, job = await kept.look(30, 31)
    said = [record.message for record in caplog.records if record.name == retention.__name__]
    assert (count, job.files, len(said)) == (0, (str(kept.file),), 1)
    assert said == [
        "old files that cannot be deleted or looked at: 2; the first: Stale file handle"
    ]


async def test_what_cannot_be_deleted_is_said(
    kept: Kept, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stays, in its record too."""
    unlink = Path.unlink

    def locked(path: Path, missing_ok: bool = False) -> None:
        if path == kept.file:
            raise PermissionError(errno.EACCES, "Permission denied", str(path))
        unlink(path, missing_ok=missing_ok)

    with monkeypatch.context() as folder:
        folder.setattr(Path, "unlink", locked)
        count, job = await kept.look(30, 31)
    assert (count, job.files) == (0, (str(kept.file),))
    assert "cannot be deleted or looked at: 1; the first: Permission denied" in caplog.text


@pytest.mark.parametrize("saved", [True, False])
async def test_what_an_archive_lost_is_said_with_its_preview(
    saved: bool, tmp_path: Path, emulator: Emulator
) -> None:
    """In one change; also where there is a preview alone."""
    settings = make_settings(
        tmp_path, MEIGEN_MEDIA_DIR=str(tmp_path / "kept"), MEIGEN_MEDIA_URL="http://127.0.0.1:1"
    )
    async with connect(settings, emulator) as on:
        made = await on.call("generate_image", **PHOTO)
    async with open_account(settings, InMemory(emulator)) as account:
        records = account.ledger.records
        job = await records.get(made["generationId"])
        assert job is not None
        assert account.media.archive is not None
        later = (job.finished_at or 0) + 40 * DAY
        if not saved:
            job = await records.change(job, lambda fresh: replace(fresh, files=()))
        for path in filter(None, (*job.files, job.preview)):
            assert account.media.archive.discard(path, later)  # and then the run was ended
        assert await retention.discard(records, account.media, 30, later) == int(saved)
        job = await records.get(made["generationId"])
        assert job is not None
        told = (any(job.files), job.preview, job.unshown, len(job.unsaved))
        assert told == (False, None, reasons.NO_LONGER, int(saved))
        assert await records.saved_before(later, 0, 9) == []
