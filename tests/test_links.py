"""Links, and folders that stay what they are, on both kinds of system."""

import os
import stat
from pathlib import Path
from typing import Any

import pytest

from meigen_mcp import system
from meigen_mcp.system.links import (
    Folder,
    ForeignLink,
    follow_own_links,
    is_link,
    is_ordinary_file,
    is_own,
    read_ordinary_file,
    set_mode,
)

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows makes links for few")


IN_THE_WAY = "link|directory"


@pytest.fixture(params=["POSIX", "Windows"])
def kind(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Be on a system of each kind: one that opens by folders, and one by whole paths."""
    if request.param == "Windows":
        monkeypatch.setattr(system, "WINDOWS", True)
    return str(request.param)


def read(folder: Folder, name: str) -> bytes:
    """Return what is in a file."""
    with os.fdopen(folder.open_file(name, os.O_RDONLY), "rb") as file:
        return file.read()


def write(folder: Folder, name: str, data: bytes) -> None:
    """Make a file."""
    with os.fdopen(folder.open_file(name, os.O_WRONLY | os.O_CREAT | os.O_EXCL), "wb") as file:
        file.write(data)


@pytest.mark.usefixtures("kind")
def test_files_are_made_moved_and_removed_in_an_open_folder(tmp_path: Path) -> None:
    """With the folders on the way to it, and from one to another."""
    with Folder.open(tmp_path, ["a", "b"], make=True) as one, Folder.open(tmp_path) as other:
        write(one, "x", b"1")
        assert read(one, "x") == b"1"
        with pytest.raises(FileExistsError):
            write(one, "x", b"2")
        one.move("x", other, "y")
        other.move("y", other, "z")
        assert read(other, "z") == b"1"
        other.remove("z")
        with pytest.raises(FileNotFoundError):
            read(other, "z")
    assert sorted(path.name for path in tmp_path.rglob("*")) == ["a", "b"]


@pytest.mark.usefixtures("kind")
def test_no_link_leads_into_a_folder_or_a_file(tmp_path: Path) -> None:
    """Neither on the way, nor at its end; the base is the caller's own choice."""
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / "secret").write_text("s", encoding="utf-8")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    for make in (False, True):
        with pytest.raises(OSError, match=IN_THE_WAY), Folder.open(tmp_path, ["link"], make=make):
            pytest.fail("it was opened")
    with Folder.open(tmp_path / "link") as folder:
        assert read(folder, "secret") == b"s"
        (tmp_path / "real" / "other").symlink_to("secret")
        for flags in (os.O_RDONLY, os.O_WRONLY):
            with pytest.raises(OSError, match=IN_THE_WAY):
                folder.open_file("other", flags)


def test_what_was_opened_stays_when_its_name_is_taken(tmp_path: Path) -> None:
    """Where the system opens by folders."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "elsewhere").mkdir()
    with Folder.open(tmp_path, ["folder"]) as folder:
        (tmp_path / "folder").rename(tmp_path / "moved")
        (tmp_path / "folder").symlink_to(tmp_path / "elsewhere")
        write(folder, "x", b"1")
    assert [*(tmp_path / "elsewhere").iterdir()] == []
    assert (tmp_path / "moved" / "x").read_bytes() == b"1"


def test_a_junction_of_windows_is_a_link(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is no symlink, and leads elsewhere all the same; a file in a cloud is none."""

    class Found:
        st_mode = stat.S_IFDIR
        st_reparse_tag = 0xA0000003

    monkeypatch.setattr(os, "lstat", lambda _: Found)
    assert is_link("C:\\junction")
    Found.st_reparse_tag = 0x9000001A
    assert not is_link("C:\\OneDrive")


def test_what_is_not_there_or_has_no_name_is_no_link(tmp_path: Path) -> None:
    """Nothing is raised."""
    for path in (tmp_path / "gone", "a\0b", ""):
        assert (is_link(path), is_ordinary_file(path)) == (False, False)


@pytest.mark.usefixtures("kind")
def test_an_ordinary_file_is_read_up_to_a_bound(tmp_path: Path) -> None:
    """What is larger is not read whole, and what is a link, a folder or a FIFO not at all."""
    file = tmp_path / "file"
    file.write_bytes(b"1234")
    (tmp_path / "link").symlink_to(file)
    os.mkfifo(tmp_path / "fifo")
    assert [read_ordinary_file(file, most) for most in (3, 4, 5)] == [None, b"1234", b"1234"]
    for name in ("link", "fifo", "", "gone"):
        with pytest.raises(OSError, match=f"{IN_THE_WAY}|ordinary|No such"):
            read_ordinary_file(tmp_path / name, 10)
    kinds = {name: is_ordinary_file(tmp_path / name) for name in ("file", "link", "fifo", "")}
    assert kinds == {"file": True, "link": False, "fifo": False, "": False}


def test_own_links_are_followed_and_circles_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Relative ones, several in a row, and those of folders; Windows does not tell whose."""
    (tmp_path / "a" / "b").mkdir(parents=True)
    (tmp_path / "one").symlink_to("a")
    (tmp_path / "a" / "two").symlink_to("b/../b")
    assert follow_own_links(tmp_path / "one" / "two" / "x").resolve() == tmp_path / "a" / "b" / "x"
    (tmp_path / "round").symlink_to("round")
    with pytest.raises(OSError, match="circle"):
        follow_own_links(tmp_path / "round")
    uid = os.geteuid()
    monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
    if uid != 0:  # what the system made is followed by everybody
        with pytest.raises(ForeignLink):
            follow_own_links(tmp_path / "one")
    monkeypatch.setattr(system, "WINDOWS", True)
    assert follow_own_links(tmp_path / "one") == tmp_path / "a"


def test_owner_and_mode_are_those_of_posix(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Windows has neither, and a file system without modes is good enough."""
    file = tmp_path / "file"
    file.touch(0o600)
    found = file.stat()

    def mode() -> int:
        return stat.S_IMODE(file.stat().st_mode)

    with file.open("rb") as opened:
        set_mode(opened.fileno(), 0o640)
        assert mode() == 0o640
        with monkeypatch.context() as patch:

            def refuse(*_: Any) -> None:
                raise PermissionError

            patch.setattr(os, "fchmod", refuse)
            set_mode(opened.fileno(), 0o600)
        uid = os.geteuid()
        monkeypatch.setattr(os, "geteuid", lambda: uid + 1)
        assert not is_own(found)
        monkeypatch.setattr(system, "WINDOWS", True)
        set_mode(opened.fileno(), 0o600)
        assert (is_own(found), mode()) == (True, 0o640)
