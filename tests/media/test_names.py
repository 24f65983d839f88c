"""Where a locale or a file system cannot spell a prompt, and where a link took a file's place."""

import errno
import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from media.test_store import JOB, JPEG, PNG, VIDEO
from support.in_memory import make_settings

from meigen_mcp.api.client import Api
from meigen_mcp.media import metadata
from meigen_mcp.media.store import Media

FOX = "雪の中の赤い狐"
DAY = "2026-03-14_z-image-turbo"


class Counting:
    """Media that are served, and how often they were asked for."""

    def __init__(self, folder: Path, data: bytes) -> None:
        self.asked = 0
        self._data = data
        transport = httpx.MockTransport(self._answer)
        self.media = Media(Api(make_settings(Path()), transport), folder, folder / "small")

    def _answer(self, _: httpx.Request) -> httpx.Response:
        self.asked += 1
        return httpx.Response(200, content=self._data)


@pytest.mark.parametrize(
    ("prompt", "slug"),
    [
        (FOX, "image"),
        ("Ein Füchslein im Schnee", "ein-fuchslein-im-schnee"),
        ("½ fox, 狐 and fox", "12-fox-and-fox"),
        ("🦊", "image"),
        ("a red fox", "a-red-fox"),
    ],
)
def test_a_name_in_ascii_keeps_what_ascii_can_spell(prompt: str, slug: str) -> None:
    """Letters lose their marks; what is nothing then is the kind of medium."""
    name = metadata.stem(replace(JOB, prompt=prompt), in_ascii=True)
    assert name == f"{DAY}_{slug}"


def spelling(refusal: Callable[[str], Exception], monkeypatch: pytest.MonkeyPatch) -> None:
    """Make this computer unable to spell what is not ASCII, in its own way."""
    link, touch = os.link, Path.touch

    def linked(source: Path, target: Path) -> None:
        if not str(target).isascii():
            raise refusal(str(target))
        link(source, target)

    def touched(path: Path, *arguments: Any, **more: Any) -> None:
        if not str(path).isascii():
            raise refusal(str(path))
        touch(path, *arguments, **more)

    monkeypatch.setattr(os, "link", linked)
    monkeypatch.setattr(Path, "touch", touched)


REFUSALS: dict[str, Callable[[str], Exception]] = {
    "the locale": lambda name: UnicodeEncodeError("ascii", name, 0, 1, "ordinal not in range(128)"),
    "FAT": lambda _: OSError(errno.EINVAL, "Invalid argument"),
    "APFS": lambda _: OSError(errno.EILSEQ, "Illegal byte sequence"),
    "eCryptfs": lambda _: OSError(errno.ENAMETOOLONG, "File name too long"),
}


@pytest.mark.parametrize("data", [PNG, JPEG], ids=["PNG", "JPEG"])
@pytest.mark.parametrize("who", REFUSALS)
async def test_what_cannot_be_spelled_is_saved_under_an_ascii_name(
    who: str, data: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Downloaded once, with its sidecar beside it, and nothing half written stays."""
    spelling(REFUSALS[who], monkeypatch)
    served = Counting(tmp_path, data)
    job = replace(JOB, prompt=FOX)
    paths = [(await served.media.save(job, index)).path for index in (0, 1)]
    suffix = ".png" if data is PNG else ".jpg"
    names = [f"{DAY}_image_{number}{suffix}" for number in (1, 2)]
    beside = [] if data is PNG else [f"{DAY}_image_{number}.json" for number in (1, 2)]
    assert [path.name for path in paths] == names
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(names + beside)
    assert served.asked == 2


async def test_a_disk_without_room_is_no_reason_for_another_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told as it is, once."""
    asked: list[Path] = []

    def full(_: Path, target: Path) -> None:
        asked.append(target)
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "link", full)
    monkeypatch.setattr(Path, "replace", full)
    served = Counting(tmp_path, JPEG)
    with pytest.raises(Exception, match="is full"):
        await served.media.save(replace(JOB, prompt=FOX), 0)
    assert [path for path in asked if path.name.endswith(".jpg") and path.name.isascii()] == []


SAVE = """
import anyio, os, sys
from pathlib import Path
sys.path.insert(0, sys.argv[1])
from media.test_names import Counting, FOX, JOB, JPEG, replace
served = Counting(Path(sys.argv[2]), JPEG)
path = anyio.run(served.media.save, replace(JOB, prompt=FOX), 0).path
print(sys.getfilesystemencoding(), path.name, served.asked)
"""


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="their names are Unicode always")
def test_a_process_in_an_ascii_locale_saves_a_prompt_in_chinese(tmp_path: Path) -> None:
    """As in a container without a locale, with the mode off that hides it."""
    environment = {
        **os.environ,
        "LC_ALL": "C",
        "PYTHONUTF8": "0",
        "PYTHONCOERCECLOCALE": "0",
        "PYTHONIOENCODING": "utf-8",
    }
    tests = str(Path(__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", SAVE, tests, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        encoding="utf-8",
        check=False,
    )
    assert (done.stdout, done.returncode) == (f"ascii {DAY}_image_1.jpg 1\n", 0), done.stderr
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"{DAY}_image_1.jpg",
        f"{DAY}_image_1.json",
    ]


# --- links ----------------------------------------------------------------------------------------


@pytest.mark.skipif(os.name == "nt", reason="Windows makes links for few")
@pytest.mark.parametrize("kind", ["link", "link to a device", "FIFO", "folder"])
async def test_what_took_the_place_of_a_saved_file_is_not_read_through(
    kind: str, tmp_path: Path
) -> None:
    """Somebody who may write into the folder chooses no file of the person's to be shown."""
    secret = tmp_path / "secret.png"
    secret.write_bytes(PNG)
    place = tmp_path / "saved.jpg"
    if kind == "FIFO":
        os.mkfifo(place)
    elif kind == "folder":
        place.mkdir()
    else:
        place.symlink_to(secret if kind == "link" else Path("/dev/zero"))
    served = Counting(tmp_path / "out", JPEG)
    job = replace(JOB, files=(str(place), None))
    assert (await served.media.read(job, 0)).data == JPEG
    shown = await served.media.preview(replace(job, media_urls=job.media_urls[:1]))
    assert shown.path is not None
    clip = replace(VIDEO, files=(str(place), None))
    assert await served.media.seconds(clip, 0) is None
    await served.media.close()
    assert served.asked == 2


@pytest.mark.skipif(os.name == "nt", reason="as above")
async def test_a_preview_that_became_a_link_is_not_shown(tmp_path: Path) -> None:
    """The folder of the previews holds files of ours."""
    served = Counting(tmp_path, JPEG)
    secret = tmp_path / "secret.jpg"
    secret.write_bytes(JPEG)
    (tmp_path / "small").mkdir()
    place = tmp_path / "small" / "x.jpg"
    place.symlink_to(secret)
    assert await served.media.read_preview(str(place)) is None
    place.unlink()
    place.write_bytes(JPEG)
    assert await served.media.read_preview(str(place)) is not None
