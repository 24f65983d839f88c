"""Results that last: named by content, found wherever the folder is, and opened by signed URLs."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from urllib.parse import parse_qsl, urlsplit

import pytest

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation
from meigen_mcp.media import archive, whole_files
from meigen_mcp.media.archive import FolderArchive, archived_name
from meigen_mcp.media.links import DAY, GOOD_FOR, MediaLinks
from meigen_mcp.people import named

ORIGIN = "https://pictures.example"
OLD, NEW = b"o" * 32, b"n" * 32
NOON = 20_000 * DAY + DAY / 2
ANN = "a" * 32
JOB = Generation(
    request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    account=named("payer", ANN),
    tool="generate_image",
    media_type="image",
    model_id="z-image-turbo",
    prompt="a fox",
    arguments={},
    body="{}",
    quote=Quote(None, "unknown", ""),
    created_at=0.0,
    expected_seconds=5,
    media_urls=("https://images.meigen.ai/0.png", "https://images.meigen.ai/1.png"),
)


def kept(archive: FolderArchive, data: bytes, key: str = "k") -> Path:
    """Keep some bytes as a PNG."""
    with whole_files.new(archive.folder, private=True) as partial:
        partial.write_bytes(data)
        return archive.keep(partial, ".png", key)


def test_the_same_again_is_that_file_and_another_records_is_another(tmp_path: Path) -> None:
    """So a try that was killed is found, and what one forgets no other loses."""
    archive = FolderArchive(tmp_path / "media")
    first = kept(archive, b"fox")
    assert (kept(archive, b"fox"), first.read_bytes()) == (first, b"fox")
    others = {kept(archive, b"hare"), kept(archive, b"fox", "other")}
    assert len(others | {first}) == 3
    assert archive.discard(str(first), first.stat().st_mtime + 1)
    assert (archive.find(str(first)), all(map(Path.exists, others))) == (None, True)
    assert [path for path in archive.folder.iterdir() if path.is_file()] == []


def test_a_new_folder_of_the_archive_is_on_the_disk_with_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Once, when it is made: a power cut could leave it out with the file in it."""
    synced: list[Path] = []
    monkeypatch.setattr(archive, "sync_names", synced.append)
    shelf = FolderArchive(tmp_path / "media")
    kept(shelf, b"fox")
    kept(shelf, b"fox")
    assert synced == [shelf.folder]


def test_what_is_kept_is_found_wherever_the_folder_is_mounted(tmp_path: Path) -> None:
    """By its name alone, which nothing but an archive gives; a link in its place is not it."""
    archive = FolderArchive(tmp_path / "media")
    file = kept(archive, b"fox")
    (tmp_path / "media").rename(tmp_path / "moved")
    moved = FolderArchive(tmp_path / "moved")
    found = moved.find(str(file))
    assert found == tmp_path / "moved" / file.parent.name / file.name
    assert moved.find("/etc/passwd") is moved.find("../../x.png") is None
    found.unlink()
    found.symlink_to("/etc/passwd")
    assert (moved.find(str(file)), moved.discard(str(file), 2e10)) == (None, False)
    assert found.is_symlink()


def test_what_is_younger_stays(tmp_path: Path) -> None:
    """By the time when it was kept."""
    archive = FolderArchive(tmp_path)
    file = kept(archive, b"fox")
    os.utime(file, (1000, 1000))
    assert not archive.discard(str(file), 1000)
    assert archive.discard(str(file), 1001)


@pytest.mark.parametrize(
    "path", ["fox.png", f"{'g' * 64}.png", f"{'a' * 63}.png", f"{'a' * 64}.html", f"{'a' * 64}"]
)
def test_other_names_are_none_of_an_archive(path: str) -> None:
    """Whatever folder they are in."""
    assert archived_name(f"/media/{path}") is None
    assert archived_name(f"C:\\media\\{'a' * 64}.png") == f"{'a' * 64}.png"


# --- URLs ---------------------------------------------------------------------------------------

FILE = f"/media/ab/{'ab' * 32}.png"


def links(*keys: bytes, at: float = NOON) -> MediaLinks:
    """Return what makes and judges URLs at a time."""
    return MediaLinks(ORIGIN, keys or (NEW,), lambda: at)


def judged(url: str, by: MediaLinks) -> str | None:
    """Return for whom a URL is, as it is judged."""
    parts = urlsplit(url)
    return by.judge(parts.path.removeprefix("/media/"), dict(parse_qsl(parts.query)))


def made(by: MediaLinks) -> str:
    """Return the URL of a file."""
    url = by.of(FILE, ANN)
    assert url is not None
    return url


def test_a_url_is_the_same_all_day_and_good_for_a_week() -> None:
    """Then it is nobody's; without a person it is that of nobody in particular."""
    url = made(links())
    assert url == made(links(at=NOON + DAY / 2 - 1)) != made(links(at=NOON + DAY / 2))
    assert judged(url, links(at=NOON + GOOD_FOR * DAY)) == ANN[:12]
    assert judged(url, links(at=NOON + (GOOD_FOR + 0.5) * DAY)) is None
    alone = links().of(FILE, "")
    assert alone is not None
    assert ("p=" in alone, judged(alone, links())) == (False, "")


def _of_another_file(url: str) -> str:
    return url.replace("/media/ab", "/media/cd")


def _of_another_person(url: str) -> str:
    return url.replace("p=aaaa", "p=bbbb")


def _for_ever(url: str) -> str:
    return url.replace("e=17", "e=97")


def _unsigned(url: str) -> str:
    return url.partition("&s=")[0]


def _odd(url: str) -> str:
    return url.replace("e=", "e=%C2%B2")


@pytest.mark.parametrize(
    "change",
    [_of_another_file, _of_another_person, _for_ever, _unsigned, _odd, lambda url: url[:-1]],
)
def test_what_is_changed_in_a_url_voids_it(change: Callable[[str], str]) -> None:
    """Each part is signed."""
    url = made(links())
    assert change(url) != url
    assert judged(change(url), links()) is None


def test_keys_rotate_as_those_of_requests_do() -> None:
    """The first signs and all are taken; a key for something else is none for this."""
    old, both, new = links(OLD), links(OLD, NEW), links(NEW, OLD)
    assert judged(made(old), both) == judged(made(new), both) == judged(made(old), new) == ANN[:12]
    assert judged(made(old), links(NEW)) is None


def test_a_record_has_our_urls_where_its_files_are_kept() -> None:
    """MeiGen's where they are not."""
    job = replace(JOB, files=(None, FILE), preview=FILE)
    by = links()
    assert by.on(job).media_urls == (JOB.media_urls[0], made(by))
    assert by.on(JOB).media_urls == JOB.media_urls
    assert (by.of_preview(job), by.of_preview(JOB)) == (made(by), None)
    assert by.on(replace(job, files=("/pictures/fox.png",))).media_urls == JOB.media_urls
    assert [by.name_in(made(by)), by.name_in(JOB.media_urls[0])] == [f"{'ab' * 32}.png", None]
