"""Local references: nothing is read outside the allowed folders, nothing but pixels leaves."""

import json
import os
import socket
import struct
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps, PngImagePlugin

from meigen_mcp import system
from meigen_mcp.media import local_files
from meigen_mcp.media.local_files import (
    FORMATS,
    LARGEST_SOURCE,
    LARGEST_UPLOAD,
    LONGEST_SIDE,
    MOST_PIXELS,
    ONLY_THE_PERSON,
    LocalImage,
    LocalReferences,
    is_local,
)
from meigen_mcp.media.refusals import ReferenceRefused

pytestmark = pytest.mark.skipif(os.name == "nt", reason="symlinks, FIFOs and sockets of POSIX")
UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
SECRET = b"Musterweg 7"


def encoded(picture: Image.Image, kind: str = "PNG", **options: Any) -> bytes:
    """Return a picture as a file."""
    out = BytesIO()
    picture.save(out, kind, **options)
    return out.getvalue()


def opened(image: LocalImage) -> Image.Image:
    """Return what would be uploaded, decoded."""
    picture = Image.open(BytesIO(image.data))
    picture.load()
    return picture


FOX = Image.new("RGB", (40, 20), (200, 80, 30))
PNG = encoded(FOX)
NOISE = Image.effect_noise((64, 64), 50)
KEY = encoded(Image.new("RGB", (3, 3), "white"))


def png_of(width: int, height: int) -> bytes:
    """Return the start of a PNG of that size; nobody has to make its pixels."""
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    small = bytearray(PNG)
    small[8:33] = b""
    made = BytesIO()
    PngImagePlugin.putchunk(made, b"IHDR", header)
    return bytes(small[:8]) + made.getvalue() + bytes(small[8:])


SVG = b'<svg xmlns="http://www.w3.org/2000/svg"><image href="file:///etc/passwd"/></svg>'
EPS = b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n"
FILES: dict[str, bytes] = {
    "fox.png": PNG,
    "trip/fox.png": PNG,
    ".hidden.png": PNG,
    ".ssh/id.png": PNG,
    "empty.png": b"",
    "text.png": b"root:x:0:0:root:/root:/bin/bash\n",
    "drawing.svg": SVG,
    "drawing.png": SVG,
    "script.png": EPS,
    "page.png": b"%PDF-1.7\n",
    "icon.png": encoded(FOX, "ICO"),
    "cut.png": encoded(NOISE)[:-500],
    "cut.jpg": encoded(NOISE, "JPEG")[:-500],
    "head.png": PNG[:8],
    "bomb.png": png_of(8193, 8192),
    "huge-bomb.png": png_of(2**31 - 1, 2**31 - 1),
    "bomb.gif": b"GIF89a\xff\xff\xff\xff" + encoded(FOX, "GIF")[10:],
}
LINKS = {
    "link.png": "../secret/key.png",
    "out": "../secret",
    "up": "..",
    "chain.png": "link.png",
    "loop.png": "loop.png",
    "dangling.png": "../secret/none.png",
    "zero.png": "/dev/zero",
    "environ.png": "/proc/self/environ",
    "shy.png": ".ssh/id.png",
}


@dataclass(frozen=True)
class Place:
    """Folders with all that is hostile in them; only `allowed` may be read."""

    root: Path

    @property
    def allowed(self) -> Path:
        """The allowed folder."""
        return self.root / "allowed"

    @property
    def secret(self) -> Path:
        """A folder beside it, with an image that must not leave."""
        return self.root / "secret"

    def text(self, template: str) -> str:
        """Return a path of the table."""
        return template.format(allowed=self.allowed, secret=self.secret)

    def references(self) -> LocalReferences:
        """Return what reads the allowed folder."""
        return LocalReferences([self.allowed])


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    """Make all of it."""
    found = Place(Path(os.path.realpath(tmp_path)))
    for name, data in FILES.items():
        path = found.allowed / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    for folder in (found.secret, found.root / "allowed-too"):
        folder.mkdir()
        (folder / "key.png").write_bytes(KEY)
        (folder / "fox.png").write_bytes(KEY)
    for name, target in LINKS.items():
        (found.allowed / name).symlink_to(target)
    (found.allowed / "album.png").mkdir()
    os.mkfifo(found.allowed / "fifo.png")
    with (found.allowed / "huge.png").open("wb") as huge:
        huge.truncate(LARGEST_SOURCE + 1)
    # The path of a socket is short: it is bound from within its folder.
    before = Path.cwd()
    with socket.socket(socket.AF_UNIX) as listener:
        os.chdir(found.allowed)
        try:
            listener.bind("socket.png")
        finally:
            os.chdir(before)
        yield found
    for fifo in filter(Path.is_fifo, found.root.rglob("*.png")):
        with suppress(OSError):  # nobody waits there, unless a guard is gone
            os.close(os.open(fifo, os.O_WRONLY | os.O_NONBLOCK))


def show(text: str) -> str:
    """Return a path as a sentence has it."""
    if any(letter < " " or "\ud800" <= letter <= "\udfff" for letter in text):
        return "the path"
    return f'"{text}"' if len(text) <= 120 else f'"...{text[-120:]}"'


async def refusal(references: LocalReferences, text: str) -> tuple[str, str]:
    """Return the message and the fix of a path that is refused."""
    with pytest.raises(ReferenceRefused) as caught:
        await references.read(text)
    return caught.value.message, caught.value.fix


# --- hostile paths ----------------------------------------------------------------------------

OUTSIDE = "is not in a folder that references may come from"
NO_PATH = "is not a path that a file can have"
RELATIVE = "is not an absolute path on this system"
HIDDEN = "is hidden: a name on the way starts with a dot"
ABSENT = "does not exist"
ODD = "is not an ordinary file"
NO_IMAGE = "is not an image that can be read to its end"
BOMB = "has more than 67 million pixels"

# What is tried, as which path, and what is answered. `{allowed}` may be read, `{secret}` may not.
HOSTILE: tuple[tuple[str, str, str], ...] = (
    ("another folder", "{secret}/key.png", OUTSIDE),
    ("a file of the system", "/etc/passwd", OUTSIDE),
    ("a file that is not there, elsewhere", "{secret}/none.png", OUTSIDE),
    ("a folder whose name starts alike", "{allowed}-too/key.png", OUTSIDE),
    ("a way up", "{allowed}/../secret/key.png", OUTSIDE),
    ("a long way up", "{allowed}" + "/.." * 40 + "/etc/passwd", OUTSIDE),
    ("two slashes at the start", "//etc/passwd", OUTSIDE),
    ("a symlink out", "{allowed}/link.png", OUTSIDE),
    ("a symlink to a symlink out", "{allowed}/chain.png", OUTSIDE),
    ("a folder that is a symlink out", "{allowed}/out/key.png", OUTSIDE),
    ("up behind a symlink", "{allowed}/up/secret/key.png", OUTSIDE),
    ("a symlink to nothing, outside", "{allowed}/dangling.png", OUTSIDE),
    ("a symlink to itself", "{allowed}/loop.png", ODD),
    ("a symlink to a device", "{allowed}/zero.png", OUTSIDE),
    ("a symlink into /proc", "{allowed}/environ.png", OUTSIDE),
    ("a device", "/dev/zero", OUTSIDE),
    ("an open descriptor", "/dev/fd/0", OUTSIDE),
    ("the environment", "/proc/self/environ", OUTSIDE),
    ("the root behind /proc", "/proc/self/root{secret}/key.png", OUTSIDE),
    ("an allowed file, by the root behind /proc", "/proc/self/root{allowed}/fox.png", OUTSIDE),
    ("the working folder behind /proc", "/proc/self/cwd/README.md", OUTSIDE),
    ("/proc behind a way up", "{allowed}" + "/.." * 40 + "/proc/self/environ", OUTSIDE),
    ("/sys", "/sys/kernel/notes", OUTSIDE),
    ("somebody's home", "~root/key.png", OUTSIDE),
    ("the home of nobody", "~nobody-has-this-name/key.png", OUTSIDE),
    ("the own home", "~/.ssh/id_ed25519", OUTSIDE),
    ("a URL to elsewhere", "file://{secret}/key.png", OUTSIDE),
    ("a way up in a URL", "file://{allowed}/%2e%2e/secret/key.png", OUTSIDE),
    ("a slash in a URL", "file://{allowed}%2f..%2fsecret%2fkey.png", OUTSIDE),
    ("a URL encoded twice", "file://{allowed}/%252e%252e/secret/key.png", ABSENT),
    ("a URL of another machine", "file://evil.example{allowed}/fox.png", NO_PATH),
    ("a URL with a user", "file://me@localhost{allowed}/fox.png", NO_PATH),
    ("a URL with a port", "file://localhost:80{allowed}/fox.png", NO_PATH),
    ("a URL with a query", "file://{allowed}/fox.png?x=1", NO_PATH),
    ("a URL with a fragment", "file://{allowed}/fox.png#x", NO_PATH),
    ("a URL that is none", "file://[{allowed}/fox.png", NO_PATH),
    ("a URL without a path", "file://", NO_PATH),
    ("a URL to a relative path", "file://%2e", NO_PATH),
    ("a NUL in a URL", "file://{allowed}/fox.png%00.jpg", NO_PATH),
    ("half a character in a URL", "file://{allowed}/fox%ff.png", NO_PATH),
    ("a NUL", "{allowed}/fox.png\0.jpg", NO_PATH),
    ("a new line", "{allowed}/fox.png\n", NO_PATH),
    ("a new line in a URL, which some readers drop", "file://{allowed}/fo\nx.png", NO_PATH),
    ("an escape, which moves a terminal", "{allowed}/fox\x1b[2J.png", NO_PATH),
    ("an escape in a URL", "file://{allowed}/fox%1b[2J.png", NO_PATH),
    ("a mark that turns the writing round", "{allowed}/gnp\u202e.exe.png", ABSENT),
    ("the same in a URL", "file://{allowed}/gnp%e2%80%ae.png", ABSENT),
    ("half a character", "{allowed}/\ud83d.png", NO_PATH),
    ("a byte that is no character", "{allowed}/\udcff.png", NO_PATH),
    ("a path without end", "{allowed}" + "/x" * 4096, NO_PATH),
    ("a name that is too long", "{allowed}/" + "x" * 300, ODD),
    ("a relative path", "allowed/fox.png", RELATIVE),
    ("a relative way up", "../secret/key.png", RELATIVE),
    ("nothing", "", NO_PATH),
    ("a path of Windows", "C:\\Users\\me\\fox.png", RELATIVE),
    ("a share of Windows", "\\\\server\\share\\fox.png", RELATIVE),
    ("a hidden file", "{allowed}/.hidden.png", HIDDEN),
    ("a hidden folder", "{allowed}/.ssh/id.png", HIDDEN),
    ("a symlink to a hidden folder", "{allowed}/shy.png", HIDDEN),
    ("the folder itself", "{allowed}", "is a folder"),
    ("a folder with the name of an image", "{allowed}/album.png", ODD),
    ("a file as a folder", "{allowed}/fox.png/fox.png", ABSENT),
    ("a file that is not there", "{allowed}/none.png", ABSENT),
    ("a FIFO, which would wait for ever", "{allowed}/fifo.png", ODD),
    ("a socket", "{allowed}/socket.png", ODD),
    ("an empty file", "{allowed}/empty.png", "is empty"),
    ("a huge file", "{allowed}/huge.png", "has 64.0 MiB, at most 64 allowed"),
    ("a text", "{allowed}/text.png", NO_IMAGE),
    ("an SVG", "{allowed}/drawing.svg", NO_IMAGE),
    ("an SVG that calls itself PNG", "{allowed}/drawing.png", NO_IMAGE),
    ("a program in PostScript", "{allowed}/script.png", NO_IMAGE),
    ("a PDF", "{allowed}/page.png", NO_IMAGE),
    ("a format that nobody needs here", "{allowed}/icon.png", NO_IMAGE),
    ("a PNG that breaks off", "{allowed}/cut.png", NO_IMAGE),
    ("a JPEG that breaks off", "{allowed}/cut.jpg", NO_IMAGE),
    ("the signature of a PNG", "{allowed}/head.png", NO_IMAGE),
    ("a decompression bomb", "{allowed}/bomb.png", BOMB),
    ("a larger one", "{allowed}/huge-bomb.png", BOMB),
    ("one in a GIF", "{allowed}/bomb.gif", BOMB),
)
FIXES = {
    NO_IMAGE: "use a whole file in one of JPEG, PNG, WEBP, GIF, AVIF, TIFF or BMP; export SVG, HEIC"
    " or PDF as PNG first",
    BOMB: "use a smaller copy; at most 4096 pixels a side are uploaded anyway",
    "has 64.0 MiB, at most 64 allowed": "use a smaller copy; of a picture at most 4096 pixels a"
    " side are uploaded anyway",
    "is empty": "use a file with something in it",
}


@pytest.mark.parametrize(
    ("path", "answer"), [row[1:] for row in HOSTILE], ids=[r[0] for r in HOSTILE]
)
async def test_a_hostile_path_is_refused_with_the_allowed_folder(
    path: str, answer: str, place: Place
) -> None:
    """Each in the same words whether or not something is there, outside of the folder."""
    text = place.text(path)
    shown = show(text)
    fix = FIXES.get(
        answer,
        f"use a file in {place.allowed}, or a public https URL; {MORE}",
    )
    assert await refusal(place.references(), text) == (f"{shown} {answer}", fix)
    assert (shown + fix).encode()


MORE = (
    "only the person can allow another folder, with `meigen-mcp install CLIENT --reference-dir"
    " FOLDER` and a restart of the client"
)
VIRTUAL = [row[1] for row in HOSTILE if row[1].startswith(("/dev", "/proc", "/sys"))]


@pytest.mark.parametrize("path", [*VIRTUAL, "{allowed}/zero.png", "{allowed}/environ.png"])
async def test_where_everything_is_allowed_devices_and_processes_are_not(
    path: str, place: Place
) -> None:
    """Who allows `/` means files."""
    text = place.text(path)
    message, _ = await refusal(LocalReferences([Path("/")]), text)
    assert message == f"{show(text)} {OUTSIDE}"


async def test_without_a_folder_nothing_is_read(place: Place) -> None:
    """Saving is off and no folder is named: the answer is a URL."""
    text = str(place.allowed / "fox.png")
    assert await refusal(LocalReferences([]), text) == (
        f"{show(text)} is a local file, and none may be read here",
        f"use a public https URL; {ONLY_THE_PERSON}",
    )


async def test_every_allowed_folder_is_named(place: Place) -> None:
    """As the person named it."""
    folders = [place.allowed / "trip", place.root / "not-there"]
    _, fix = await refusal(LocalReferences(folders), "/etc/passwd")
    assert fix == (f"use a file in {folders[0]} or {folders[1]}, or a public https URL; {MORE}")


async def test_a_file_that_the_server_may_not_read_is_said_to_be_so(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not that it is missing."""

    def forbidden(*_: object) -> int:
        raise PermissionError

    monkeypatch.setattr(local_files, "_open_beneath", forbidden)
    text = str(place.allowed / "fox.png")
    message, _ = await refusal(place.references(), text)
    assert message == f"{show(text)} may not be read by this server"


async def test_a_file_that_takes_too_long_is_given_up(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A disk may hang, and an image may take its decoder for ever."""
    monkeypatch.setattr(local_files, "SECONDS", 0.0)
    text = str(place.allowed / "fox.png")
    assert await refusal(place.references(), text) == (
        f"{show(text)} could not be read within 0 s",
        "use a smaller file, on a disk of this machine",
    )


@UNHURRIED
@given(text=st.text(st.characters()) | st.from_regex(r"(/|~|file://|[a-z]:\\).*", fullmatch=True))
async def test_any_text_is_refused_in_words_that_can_be_sent(text: str, tmp_path: Path) -> None:
    """Nothing else comes out of a folder without files."""
    message, fix = await refusal(LocalReferences([tmp_path]), text)
    assert (message + fix).encode()


@pytest.mark.parametrize(
    ("text", "local"),
    [
        ("/home/me/fox.png", True),
        ("//server/fox.png", True),
        ("~/fox.png", True),
        ("~me/fox.png", True),
        ("file:///home/me/fox.png", True),
        ("FILE://localhost/fox.png", True),
        ("C:\\fox.png", True),
        ("c:/fox.png", True),
        ("\\\\server\\share\\fox.png", True),
        ("fox.png", False),
        ("./fox.png", False),
        ("https://images.meigen.ai/fox.png", False),
        ("meigen://generations/x/media/0", False),
        ("data:image/png;base64,AA==", False),
        ("f\u0131le:///fox.png", False),
        ("", False),
    ],
)
def test_a_file_is_told_from_a_url(text: str, local: bool) -> None:
    """Of whatever system; a relative path is neither."""
    assert is_local(text) is local


# --- what may be read -------------------------------------------------------------------------


@pytest.mark.parametrize(
    "path",
    [
        "{allowed}/fox.png",
        "{allowed}/trip/../fox.png",
        "{allowed}/./trip//../fox.png",
        "{secret}/../allowed/fox.png",
        "{allowed}/up/allowed/fox.png",
        "~/allowed/fox.png",
        "file://{allowed}/fox.png",
        "file://localhost{allowed}/fox.png",
        "FILE://LocalHost{allowed}/f%6Fx.png",
    ],
)
async def test_an_image_in_the_folder_is_read_however_its_path_is_written(
    path: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The hash is that of the file, and the name tells nothing of the person."""
    monkeypatch.setenv("HOME", str(place.root))
    image = await place.references().read(place.text(path))
    assert image == LocalImage(
        place.allowed / "fox.png", PNG, "image/png", "reference.png", sha256(PNG).hexdigest()
    )
    assert str(PNG) not in repr(image)


@pytest.mark.parametrize(
    "name", ["grün.png", "日本 \u202f3\u202fPM.png", "👩\u200d🎨.png", "a;b'c.png"]
)
async def test_names_are_as_people_and_systems_make_them(name: str, place: Place) -> None:
    """Screenshots on a Mac have a narrow space in theirs."""
    (place.allowed / name).write_bytes(PNG)
    image = await place.references().read(str(place.allowed / name))
    assert image.path == place.allowed / name


ALIKE = {
    "a space that does not break": ("shot 10.00 AM.png", "shot 10.00\u202fAM.png"),
    "another such space": ("a b.png", "a\u00a0b.png"),
    "an accent of its own": ("gr\u00fcn.png", "gru\u0308n.png"),
    "an accent that is none": ("gru\u0308n.png", "gr\u00fcn.png"),
    "a curly quote": ("jo's fox.png", "jo\u2019s fox.png"),
    "curly quotes": ('the "fox".png', "the \u201cfox\u201d.png"),
    "a dash": ("fox - two.png", "fox \u2013 two.png"),
    "a mark that nobody sees": ("fox1.png", "fox\u200e1.png"),
    "a folder too": ("gr\u00fcn/a b.png", "gru\u0308n/a\u00a0b.png"),
    "what is not there, with more in it": ("a\u00a0b.png", "a b.png"),
}


@pytest.mark.parametrize(("written", "named"), ALIKE.values(), ids=ALIKE)
async def test_a_name_that_only_looks_alike_is_that_file(
    written: str, named: str, place: Place
) -> None:
    """A model writes what it read."""
    path = place.allowed / named
    path.parent.mkdir(exist_ok=True)
    path.write_bytes(PNG)
    image = await place.references().read(str(place.allowed / written))
    assert image.path == path


async def test_of_two_that_look_alike_none_is_taken(place: Place) -> None:
    """Both are named so that they can be told apart; an exact name is always that file."""
    both = [place.allowed / name for name in ("a\u00a0b.png", "a\u202fb.png")]
    for path in both:
        path.write_bytes(PNG)
    text = str(place.allowed / "a b.png")
    names = " and ".join(json.dumps(str(path)) for path in both)
    assert await refusal(place.references(), text) == (
        f"{show(text)} does not exist, and two files there read like it: {names}",
        "write one of these with its escapes, as JSON reads them, or rename one",
    )
    for path in both:
        assert (await place.references().read(str(path))).path == path


LOOKS_LIKE_NO_WAY = {
    "another case": ("a b.png", "A\u00a0b.png"),
    "more than a space": ("ab.png", "a\u00a0b.png"),
    "a hidden one": ("\u200efox 1.png", ".\u200efox\u00a01.png"),
    "a hidden one that is written as if it were not": ("\u200e.fox.png", ".fox.png"),
}


@pytest.mark.parametrize(("written", "named"), LOOKS_LIKE_NO_WAY.values(), ids=LOOKS_LIKE_NO_WAY)
async def test_what_reads_differently_or_is_hidden_is_not_meant(
    written: str, named: str, place: Place
) -> None:
    """It is missing, as before."""
    (place.allowed / named).write_bytes(PNG)
    message, _ = await refusal(place.references(), str(place.allowed / written))
    assert message.endswith(" does not exist")


async def test_a_look_alike_leads_no_way_out(place: Place) -> None:
    """A symlink is judged by where it leads, a linked folder is not looked into."""
    (place.allowed / "key\u00a0a.png").symlink_to(place.secret / "key.png")
    (place.allowed / "out\u00a0a").symlink_to(place.secret)
    (place.allowed / "round\u00a0a.png").symlink_to("round a.png")
    said = [
        (await refusal(place.references(), str(place.allowed / name)))[0].rpartition('" ')[2]
        for name in ("key a.png", "out a/key.png", "round a.png")
    ]
    assert said == [OUTSIDE, ABSENT, ABSENT]


async def test_a_folder_that_is_a_symlink_or_hidden_can_be_allowed(place: Place) -> None:
    """It was named by the person."""
    for folder in (place.root / "alias", place.allowed / ".ssh"):
        if folder.name == "alias":
            folder.symlink_to(place.allowed / ".ssh")
        image = await LocalReferences([folder]).read(str(folder / "id.png"))
        assert image.path == place.allowed / ".ssh" / "id.png"


async def test_a_symlink_from_elsewhere_into_the_folder_is_followed(place: Place) -> None:
    """Where the file really lies decides."""
    (place.secret / "alias.png").symlink_to(place.allowed / "fox.png")
    image = await place.references().read(str(place.secret / "alias.png"))
    assert image.path == place.allowed / "fox.png"


# --- races ------------------------------------------------------------------------------------


def _to(path: Path, target: Path) -> None:
    path.rename(path.with_name("was"))
    path.symlink_to(target)


def _allowed_folder_out(place: Place) -> None:
    (place.secret / "trip").symlink_to(place.secret)
    _to(place.allowed, place.secret)


def _fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def _folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


# What happens between the check and the opening, and the answers of POSIX and Windows.
RACES: dict[str, tuple[Callable[[Place], object], str, str]] = {
    "the file becomes a symlink out": (
        lambda place: _to(place.allowed / "trip/fox.png", place.secret / "fox.png"), ODD, ODD,
    ),
    "the file becomes a symlink inside": (
        lambda place: _to(place.allowed / "trip/fox.png", place.allowed / "fox.png"), ODD, ODD,
    ),
    "its folder becomes a symlink out": (
        lambda place: _to(place.allowed / "trip", place.secret), ABSENT, ODD,
    ),
    "the allowed folder becomes a symlink out": (_allowed_folder_out, ABSENT, ODD),
    "the file becomes a FIFO": (lambda place: _fifo(place.allowed / "trip/fox.png"), ODD, ODD),
    "the file becomes a folder": (lambda place: _folder(place.allowed / "trip/fox.png"), ODD, ODD),
    "the file becomes a device": (
        lambda place: _to(place.allowed / "trip/fox.png", Path("/dev/zero")), ODD, ODD,
    ),
    "the file goes": (
        lambda place: (place.allowed / "trip/fox.png").unlink(), ABSENT, ABSENT,
    ),
}  # fmt: skip


def swap_before_opening(
    monkeypatch: pytest.MonkeyPatch, place: Place, swap: Callable[[Place], object]
) -> None:
    """Do something between the check of a path and the opening of its file."""
    original = local_files._open_beneath  # noqa: SLF001  # the seam between both

    def swapped(folder: Path, parts: tuple[str, ...]) -> int:
        swap(place)
        return original(folder, parts)

    monkeypatch.setattr(local_files, "_open_beneath", swapped)


@pytest.mark.parametrize("windows", [False, True], ids=["POSIX", "Windows"])
@pytest.mark.parametrize("race", RACES)
async def test_what_is_swapped_in_after_the_check_is_not_read(
    race: str, windows: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was opened counts, and no symlink was on the way to it."""
    monkeypatch.setattr(system, "WINDOWS", windows)
    swap, *answers = RACES[race]
    text = str(place.allowed / "trip" / "fox.png")
    references = place.references()
    swap_before_opening(monkeypatch, place, swap)
    message, _ = await refusal(references, text)
    assert message == f"{show(text)} {answers[windows]}"


@pytest.mark.parametrize("windows", [False, True], ids=["POSIX", "Windows"])
async def test_another_file_in_the_same_place_is_read_as_what_it_is(
    windows: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It lies in the folder; its hash goes with its pixels."""
    monkeypatch.setattr(system, "WINDOWS", windows)
    swap_before_opening(
        monkeypatch, place, lambda _: (place.allowed / "trip/fox.png").write_bytes(KEY)
    )
    image = await place.references().read(str(place.allowed / "trip/fox.png"))
    assert (opened(image).size, image.sha256) == ((3, 3), sha256(KEY).hexdigest())


@pytest.mark.parametrize("windows", [False, True], ids=["POSIX", "Windows"])
async def test_what_is_swapped_in_and_back_again_is_not_read(
    windows: bool, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The way looks as before; the file that was opened does not lie at its end."""
    monkeypatch.setattr(system, "WINDOWS", windows)
    original = local_files._open_beneath  # noqa: SLF001  # the seam between both
    trip, away = place.allowed / "trip", place.root / "away"

    def swapped(folder: Path, parts: tuple[str, ...]) -> int:
        trip.rename(away)
        trip.symlink_to(place.secret)
        try:
            return original(folder, parts)
        finally:
            trip.unlink()
            away.rename(trip)

    monkeypatch.setattr(local_files, "_open_beneath", swapped)
    text = str(trip / "fox.png")
    message, _ = await refusal(place.references(), text)
    assert message == f"{show(text)} {ODD if windows else ABSENT}"


async def test_an_allowed_folder_stays_what_it_was_at_the_start(place: Place) -> None:
    """A symlink that takes its place later allows nothing else."""
    references = place.references()
    _to(place.allowed, place.secret)
    text = str(place.allowed / "key.png")
    message, _ = await refusal(references, text)
    assert message == f"{show(text)} {OUTSIDE}"


async def test_a_file_that_grows_while_it_is_read_stays_within_the_limit(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its size was checked before."""
    path = place.allowed / "fox.png"
    stat = os.fstat

    def growing(descriptor: int) -> os.stat_result:
        found = stat(descriptor)
        path.write_bytes(PNG * 100)
        return found

    monkeypatch.setattr(local_files, "LARGEST_SOURCE", 50 * len(PNG))
    monkeypatch.setattr(os, "fstat", growing)
    message, _ = await refusal(place.references(), str(path))
    assert message == f"{show(str(path))} has 0.0 MiB, at most 0 allowed"


async def test_no_descriptor_stays_open(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither after a refusal nor after an image."""
    folder = Path("/dev/fd" if sys.platform == "darwin" else "/proc/self/fd")
    references = place.references()
    await references.read(str(place.allowed / "trip/fox.png"))  # starts its thread
    before = len(list(folder.iterdir()))
    for windows in (False, True):
        monkeypatch.setattr(system, "WINDOWS", windows)
        for name in ("trip/fox.png", "fifo.png", "album.png", "empty.png", "trip/none.png"):
            try:
                await references.read(str(place.allowed / name))
            except ReferenceRefused:
                continue
    assert len(list(folder.iterdir())) == before


# --- Windows ----------------------------------------------------------------------------------

WINDOWS_NAMES: tuple[tuple[str, str, str], ...] = (
    ("a stream of a file", "{allowed}/fox.png:secret", OUTSIDE),
    ("the stream that a file is", "{allowed}/fox.png::$DATA", OUTSIDE),
    ("a device", "{allowed}/NUL", OUTSIDE),
    ("a device with the suffix of an image", "{allowed}/con.png", OUTSIDE),
    ("a device with a space", "{allowed}/aux .png", OUTSIDE),
    ("a port", "{allowed}/COM1.tar.png", OUTSIDE),
    ("a port with a raised digit", "{allowed}/lpt².png", OUTSIDE),
    ("the console", "{allowed}/CONOUT$", OUTSIDE),
    ("a folder that is a device", "{allowed}/prn/fox.png", OUTSIDE),
    ("a dot that Windows drops", "{allowed}/fox.png.", OUTSIDE),
    ("a space that Windows drops", "{allowed}/fox.png ", OUTSIDE),
    ("a wildcard", "{allowed}/*.png", OUTSIDE),
    ("a share, which would learn one's password", "//evil.example/share/fox.png", OUTSIDE),
    ("a share in a URL", "file:////evil.example/share/fox.png", OUTSIDE),
    ("the name space of devices", "//./PhysicalDrive0", OUTSIDE),
    ("a path past all checks", "//?/C:/fox.png", OUTSIDE),
    ("another drive", "C:\\fox.png", RELATIVE),
)


@pytest.mark.parametrize(
    ("path", "answer"), [row[1:] for row in WINDOWS_NAMES], ids=[row[0] for row in WINDOWS_NAMES]
)
async def test_what_windows_reads_differently_is_refused_unseen(
    path: str, answer: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not even looked up: that alone can open a device or reach another machine."""
    monkeypatch.setattr(system, "WINDOWS", True)
    references = place.references()
    looked: list[str] = []
    monkeypatch.setattr(os.path, "realpath", looked.append)
    text = place.text(path)
    message, _ = await refusal(references, text)
    assert (message, looked) == (f"{show(text)} {answer}", [])


@pytest.mark.parametrize("path", ["{allowed}/trip/../fox.png", "file://{allowed}/fox.png"])
async def test_windows_reads_what_is_allowed(
    path: str, place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By whole paths."""
    monkeypatch.setattr(system, "WINDOWS", True)
    image = await place.references().read(place.text(path))
    assert (image.path, image.data) == (place.allowed / "fox.png", PNG)


async def test_a_drive_in_a_url_is_a_drive(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the slash before it; here it makes the path one of another system."""
    monkeypatch.setattr(system, "WINDOWS", True)
    text = "file:///C:/fox.png"
    message, _ = await refusal(place.references(), text)
    assert message == f'"{text}" {RELATIVE}'


# --- what is uploaded -------------------------------------------------------------------------


async def prepared(place: Place, source: bytes) -> LocalImage:
    """Read an image with this content."""
    (place.allowed / "source").write_bytes(source)
    return await place.references().read(str(place.allowed / "source"))


UPLOADED = {
    "JPEG": "jpeg", "PNG": "png", "WEBP": "jpeg", "GIF": "png", "AVIF": "jpeg", "TIFF": "png",
    "BMP": "png",
}  # fmt: skip


@pytest.mark.parametrize("kind", FORMATS)
async def test_every_format_becomes_one_that_the_gateway_takes(kind: str, place: Place) -> None:
    """What was lossless stays so."""
    image = await prepared(place, encoded(FOX, kind))
    picture = opened(image)
    suffix = UPLOADED[kind].replace("jpeg", "jpg")
    assert (image.mime_type, image.filename, picture.format, picture.mode, picture.size) == (
        f"image/{UPLOADED[kind]}",
        f"reference.{suffix}",
        UPLOADED[kind].upper(),
        "RGB",
        (40, 20),
    )
    pixel = picture.getpixel((20, 10))
    assert isinstance(pixel, tuple)
    assert all(abs(a - b) < 8 for a, b in zip(pixel, (200, 80, 30), strict=True))


def _exif() -> bytes:
    """Return EXIF with a place in it, as a phone writes it."""
    exif = Image.Exif()
    exif[0x010E] = SECRET.decode()
    exif.get_ifd(0x8825).update({1: "N", 2: (52.0, 31.0, 12.0), 3: "E", 4: (13.0, 24.0, 18.0)})
    return exif.tobytes()


def _text() -> PngImagePlugin.PngInfo:
    """Return all kinds of text that a PNG can hold."""
    text = PngImagePlugin.PngInfo()
    text.add_text("Comment", SECRET.decode())
    text.add_text("Packed", SECRET.decode(), zip=True)
    text.add_itxt("XML:com.adobe.xmp", SECRET.decode())
    text.add(b"prVt", SECRET, after_idat=True)
    return text


SRGB = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
TALKATIVE: dict[str, bytes] = {
    "JPEG": encoded(
        FOX, "JPEG", exif=_exif(), comment=SECRET, xmp=SECRET, icc_profile=SRGB, dpi=(72, 72)
    ),
    "PNG": encoded(FOX, exif=_exif(), pnginfo=_text(), icc_profile=SRGB, dpi=(72, 72)),
    "WEBP": encoded(FOX, "WEBP", exif=_exif(), xmp=SECRET, icc_profile=SRGB),
    "WEBP with alpha": encoded(
        Image.new("RGBA", (9, 9), (1, 2, 3, 99)), "WEBP", exif=_exif(), xmp=SECRET
    ),
    "AVIF": encoded(FOX, "AVIF", exif=_exif(), xmp=SECRET),
    "GIF": encoded(FOX, "GIF", comment=SECRET),
    "TIFF": encoded(FOX, "TIFF", exif=_exif(), description=SECRET.decode(), software="x"),
    "PNG with an archive behind it": PNG + b"PK\x03\x04" + SECRET,
    "JPEG with a page behind it": encoded(FOX, "JPEG") + b"<script>" + SECRET,
    "GIF with a program behind it": encoded(FOX, "GIF") + b"<?php" + SECRET,
}


HARMLESS = {"jfif", "jfif_version", "jfif_unit", "jfif_density"} | {
    "loop", "background", "timestamp", "duration"  # Pillow's own words about any WebP
}  # fmt: skip


@pytest.mark.parametrize("kind", TALKATIVE)
async def test_nothing_but_pixels_is_uploaded(kind: str, place: Place) -> None:
    """No place, name, comment, profile or second file."""
    source = TALKATIVE[kind]
    assert SECRET in source
    image = await prepared(place, source)
    picture = opened(image)
    assert dict(picture.getexif()) == {}
    assert picture.info.keys() <= HARMLESS
    assert SECRET not in image.data


@pytest.mark.parametrize("kind", ["PNG", "TIFF"])
@pytest.mark.parametrize("orientation", range(10))
async def test_an_image_is_uploaded_upright(orientation: int, kind: str, place: Place) -> None:
    """As every viewer shows it, since its EXIF goes; numbers without a meaning change nothing."""
    picture = Image.linear_gradient("L").resize((20, 10)).convert("RGB")
    picture.paste((255, 0, 0), (0, 0, 5, 5))
    exif = Image.Exif()
    exif[0x0112] = orientation
    source = encoded(picture, kind, exif=exif)
    image = await prepared(place, source)
    shown = ImageOps.exif_transpose(Image.open(BytesIO(source)))
    assert opened(image).tobytes() == shown.tobytes()
    assert opened(image).size == ((10, 20) if orientation in (5, 6, 7, 8) else (20, 10))


async def test_broken_exif_and_a_broken_profile_do_not_matter(place: Place) -> None:
    """The picture is whole."""
    source = encoded(FOX, exif=b"Exif\0\0MM\0*\xff\xff\xff\xff", icc_profile=b"no profile")
    assert (await prepared(place, source)).data == PNG


def swapped_profile() -> bytes:
    """Return the profile of a screen whose red and green are exchanged."""
    profile = bytearray(SRGB)
    count = int.from_bytes(profile[128:132], "big")
    rows = {bytes(profile[at : at + 4]): at for at in range(132, 132 + 12 * count, 12)}
    red, green = rows[b"rXYZ"], rows[b"gXYZ"]
    profile[red : red + 4], profile[green : green + 4] = b"gXYZ", b"rXYZ"
    return bytes(profile)


@pytest.mark.parametrize("alpha", [255, 128])
async def test_colours_are_uploaded_as_their_profile_means_them(alpha: int, place: Place) -> None:
    """In sRGB, which is what a picture without a profile is taken for."""
    green = Image.new("RGBA", (4, 4), (0, 255, 0, alpha))
    image = await prepared(place, encoded(green, icc_profile=swapped_profile()))
    red, other, blue, *seen = opened(image).getpixel((0, 0))  # type: ignore[misc]
    assert (red > 250, other < 5, blue < 5, seen) == (True, True, True, [128][: alpha < 255])


@pytest.mark.parametrize(
    ("picture", "pixel"),
    [
        (Image.new("1", (4, 4), 1), (255, 255, 255)),
        (Image.new("L", (4, 4), 77), (77, 77, 77)),
        (Image.new("I;16", (4, 4), 32768), (127, 127, 127)),
        (Image.new("P", (4, 4), 0), (0, 0, 0)),
        (Image.new("LA", (4, 4), (77, 255)), (77, 77, 77)),
        (Image.new("LA", (4, 4), (77, 9)), (77, 77, 77, 9)),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 255)), (1, 2, 3)),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 4)), (1, 2, 3, 4)),
        (Image.new("RGBA", (4, 4), (1, 2, 3, 0)), (0, 0, 0, 0)),
    ],
    ids=lambda value: value.mode if isinstance(value, Image.Image) else str(value),
)
async def test_every_kind_of_pixel_keeps_its_colour(
    picture: Image.Image, pixel: tuple[int, ...], place: Place
) -> None:
    """Alpha stays where there is any; what was erased by it is gone for good."""
    image = await prepared(place, encoded(picture))
    assert (opened(image).getpixel((2, 2)), image.mime_type) == (pixel, "image/png")


@pytest.mark.parametrize(("value", "seen"), [(32768, (0, 0, 0, 0)), (1, (127, 127, 127))])
async def test_the_transparent_value_of_16_bits_of_grey_becomes_alpha(
    value: int, seen: tuple[int, ...], place: Place
) -> None:
    """Pillow by itself forgets it."""
    source = encoded(Image.new("I;16", (4, 4), 32768), transparency=value)
    assert opened(await prepared(place, source)).getpixel((2, 2)) == seen


async def test_a_colour_that_stands_for_transparency_becomes_alpha_before_it_blends(
    place: Place,
) -> None:
    """Else it would be a colour like any other once the picture is made smaller."""
    stripes = Image.new("L", (8192, 8))
    stripes.paste(255, (0, 0, 8192, 8), Image.frombytes("L", (8192, 8), b"\0\xff" * 32768))
    picture = opened(await prepared(place, encoded(stripes, transparency=0)))
    red, green, blue, alpha = picture.getpixel((2000, 2))  # type: ignore[misc]
    assert (red, green, blue, 120 < alpha < 136) == (255, 255, 255, True)


async def test_ink_becomes_light(place: Place) -> None:
    """Print data come as CMYK."""
    source = encoded(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "TIFF")
    assert opened(await prepared(place, source)).getpixel((2, 2)) == (255, 0, 0)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG", "TIFF"])
async def test_of_a_moving_image_the_first_frame_is_uploaded(kind: str, place: Place) -> None:
    """One picture."""
    frames = [Image.new("RGB", (9, 9), name) for name in ("red", "lime")]
    source = encoded(frames[0], kind, save_all=True, append_images=frames[1:])
    picture = opened(await prepared(place, source))
    pixel = picture.getpixel((4, 4))
    assert isinstance(pixel, tuple)
    assert (pixel[0] > 250, pixel[1] < 5, getattr(picture, "n_frames", 1)) == (True, True, 1)


# --- limits -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "uploaded"),
    [
        ((4096, 10), (4096, 10)),
        ((5000, 10), (4096, 8)),
        ((10, 8192), (5, 4096)),
        ((30_000, 1), (4096, 1)),
    ],
)
async def test_the_longest_side_is_4096(
    size: tuple[int, int], uploaded: tuple[int, int], place: Place
) -> None:
    """In proportion, and never made larger."""
    assert LONGEST_SIDE == 4096
    assert opened(await prepared(place, encoded(Image.new("L", size)))).size == uploaded


async def test_an_image_of_as_many_pixels_as_allowed_is_taken(place: Place) -> None:
    """One row more is not."""
    source = encoded(Image.new("1", (8192, 8192)))
    assert (MOST_PIXELS, opened(await prepared(place, source)).size) == (8192**2, (4096, 4096))


async def test_eight_mebibytes_are_enough_for_the_worst_of_photos(place: Place) -> None:
    """Noise of the largest size: quality goes, pixels stay."""
    noise = Image.effect_noise((LONGEST_SIDE, LONGEST_SIDE), 60)
    image = await prepared(place, encoded(noise, "JPEG", quality=95))
    assert LARGEST_UPLOAD // 2 < len(image.data) <= LARGEST_UPLOAD == 8 * 2**20
    assert (opened(image).size, image.mime_type) == ((LONGEST_SIDE, LONGEST_SIDE), "image/jpeg")


@pytest.mark.parametrize(
    ("bands", "kind", "limits"),
    [
        (3, "jpeg", {200_000: "png", 20_000: "jpeg", 5_000: "jpeg", 1_500: "jpeg"}),
        (4, "webp", {200_000: "png", 50_000: "webp", 5_000: "webp", 1_500: "webp"}),
    ],
)
async def test_within_any_limit_quality_goes_first_and_pixels_then(
    bands: int,
    kind: str,
    limits: dict[int, str],
    place: Place,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lossless file stays one only where it fits, and alpha stays in any case."""
    noise = Image.effect_noise((128, 128), 60)
    source = encoded(Image.merge("RGBA"[:bands], [noise] * bands))
    found, widths = {}, []
    for limit in limits:
        monkeypatch.setattr(local_files, "LARGEST_UPLOAD", limit)
        image = await prepared(place, source)
        picture = opened(image)
        assert (len(image.data) <= limit, picture.mode) == (True, "RGBA"[:bands])
        found[limit] = image.mime_type.removeprefix("image/")
        widths.append(picture.width)
    assert found == limits
    assert widths[:2] == [128, 128]
    assert widths == sorted(widths, reverse=True)
    assert (widths[-1] < 128, kind in found.values()) == (True, True)


async def test_a_lossless_file_that_is_too_large_itself_becomes_a_jpeg(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing millions of pixels without loss takes seconds, and rarely fits in the end."""
    monkeypatch.setattr(local_files, "LARGEST_UPLOAD", 5_000)
    plain = Image.new("RGB", (64, 64))
    kinds = [(await prepared(place, encoded(plain, kind))).mime_type for kind in ("PNG", "BMP")]
    assert kinds == ["image/png", "image/jpeg"]


@UNHURRIED
@given(
    kind=st.sampled_from(FORMATS),
    where=st.floats(0, 0.999),
    junk=st.binary(min_size=1, max_size=12),
)
async def test_damage_is_refused_or_leaves_a_picture(
    kind: str, where: float, junk: bytes, place: Place
) -> None:
    """No decoder's exception comes through."""
    source = bytearray(encoded(FOX, kind))
    at = int(where * len(source))
    source[at : at + len(junk)] = junk
    try:
        found = opened(await prepared(place, bytes(source))).mode
    except ReferenceRefused as refused:
        found = refused.message.partition('" ')[2]
    assert found in ("RGB", "RGBA", NO_IMAGE, BOMB)
