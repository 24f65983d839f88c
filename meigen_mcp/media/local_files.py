"""Images of this machine as references: read in the allowed folders only, uploaded as pixels only.

A model names the path, so the path is hostile. Symlinks are resolved first; the file is then opened
step by step beneath its folder, through no symlink at all, and only what was opened is read: what
is swapped in between cannot lead out. What leaves this module is decoded and encoded again, so that
no metadata, no second format inside the file and no colour under full transparency goes along.

Names that start with a dot are refused beneath an allowed folder: somebody who allows a home folder
does not mean the caches and keys in it. A hidden folder can be allowed by its own name.
"""

import hashlib
import json
import os
import re
import stat
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from io import BytesIO
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, TypeVar
from urllib.parse import unquote, urlsplit

import anyio
import anyio.to_thread

from meigen_mcp import system
from meigen_mcp.media import colours, pixels
from meigen_mcp.media.lookalikes import find_alike
from meigen_mcp.media.refusals import UNPRINTABLE, ReferenceRefused, shown
from meigen_mcp.wording import listed

if TYPE_CHECKING:
    from PIL.Image import Image as Picture

LARGEST_SOURCE = 64 * 2**20
LARGEST_UPLOAD = 8 * 2**20
LONGEST_SIDE = 4096
MOST_PIXELS = 2**26
"""Decoded, they take 256 MiB; cameras of phones make up to 50 million by themselves."""
SECONDS = 20.0
ONLY_THE_PERSON = (
    "only the person can allow another folder, with `meigen-mcp install CLIENT --reference-dir"
    " FOLDER` and a restart of the client"
)
"""How a folder is allowed in a chat; a terminal has a way of its own."""
FORMATS = ("JPEG", "PNG", "WEBP", "GIF", "AVIF", "TIFF", "BMP")
_LOSSLESS = ("PNG", "GIF", "TIFF", "BMP")
_LONGEST_PATH = 4096
_AT_ONCE = 2

_T = TypeVar("_T")
_LOCAL = re.compile(r"file://|[/~]|\\\\|[a-z]:[\\/]", re.ASCII | re.IGNORECASE)
_FILE_URL = re.compile(r"file://", re.ASCII | re.IGNORECASE)
_DRIVE_URL = re.compile(r"/[a-z]:", re.ASCII | re.IGNORECASE)
_VIRTUAL = (("proc",), ("dev",), ("sys",))
# Devices under any suffix, streams (`x.png:y`), wildcards, and endings that Windows drops.
_NO_WINDOWS_NAME = re.compile(
    r'(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\..*)?|.*[<>:"|?*].*|.*[ .]',
    re.IGNORECASE | re.DOTALL,
)


@dataclass(frozen=True, slots=True)
class LocalImage:
    """An image of this machine, ready to be uploaded.

    Attributes:
        path: the file, with symlinks resolved.
        data: at most 8 MiB and 4096 pixels a side, upright, in sRGB, without metadata.
        mime_type: of `data`: image/jpeg, image/png or image/webp.
        filename: for the gateway; it tells nothing of the person's own names.
        sha256: of the bytes of the file itself, in hexadecimal.
    """

    path: Path
    data: bytes = field(repr=False)
    mime_type: str
    filename: str
    sha256: str


def of_picture(data: bytes) -> LocalImage:
    """Return a picture of our own, such as a frame of a clip, as a reference that has no path.

    Raises:
        ReferenceRefused: it has too many pixels.
    """
    return _as_reference(Path(), data, "the picture")


def _as_reference(path: Path, source: bytes, text: str) -> LocalImage:
    data, kind = _prepare(source, text)
    return LocalImage(
        path=path,
        data=data,
        mime_type=f"image/{kind}",
        filename=f"reference.{'jpg' if kind == 'jpeg' else kind}",
        sha256=hashlib.sha256(source).hexdigest(),
    )


def is_local(text: str) -> bool:
    """Say whether a reference is meant as a file of this machine, of whatever system."""
    return _LOCAL.match(text) is not None


class LocalReferences:
    """Reads references from some folders.

    Args:
        folders: what may be read, with everything in it; each stays what it is now, even if a
            symlink takes its place later.
    """

    def __init__(self, folders: Sequence[Path]) -> None:
        self._named = tuple(folders)
        self._real = tuple(Path(os.path.realpath(folder)) for folder in folders)
        self._places = anyio.CapacityLimiter(_AT_ONCE)

    async def read(self, text: str) -> LocalImage:
        """Read an image: a path from the root, `~` or a `file://` URL.

        Raises:
            ReferenceRefused: it is not allowed, not there or not an image.
        """
        return await self._within(lambda: _as_reference(*self._read(text), text), text)

    async def read_whole(self, text: str) -> tuple[Path, bytes]:
        """Read a file as it is, for whoever looks at it in a process of its own.

        Raises:
            ReferenceRefused: it is not allowed, not there, empty or too large.
        """
        return await self._within(lambda: self._read(text), text)

    async def _within(self, read: Callable[[], _T], text: str) -> _T:
        with anyio.move_on_after(SECONDS):
            return await anyio.to_thread.run_sync(
                read, abandon_on_cancel=True, limiter=self._places
            )
        raise ReferenceRefused(
            f"{shown(text)} could not be read within {SECONDS:.0f} s",
            "use a smaller file, on a disk of this machine",
        )

    def _read(self, text: str, *, exactly: bool = False) -> tuple[Path, bytes]:
        folder, parts = self._locate(text)
        descriptor = -1
        try:
            descriptor = _open_beneath(folder, parts)
            if system.WINDOWS:
                _look_again(descriptor, folder.joinpath(*parts))
            source = _content(descriptor, text)
        except (FileNotFoundError, NotADirectoryError):
            if exactly:
                raise self._refused(text, "does not exist") from None
            return self._read(self._meant(text, folder, parts), exactly=True)
        except PermissionError:
            raise self._refused(text, "may not be read by this server") from None
        except OSError:
            raise self._refused(text, "is not an ordinary file") from None
        finally:
            if descriptor >= 0:
                os.close(descriptor)
        return folder.joinpath(*parts), source

    def _meant(self, text: str, folder: Path, parts: Sequence[str]) -> str:
        """Return the path that is there and reads as one that is not."""
        found = [folder.joinpath(*way) for way in find_alike(folder, parts)]
        if len(found) == 1:
            return str(found[0])
        if not found:
            raise self._refused(text, "does not exist")
        names = listed([json.dumps(str(path)) for path in found], "and")
        raise ReferenceRefused(
            f"{shown(text)} does not exist, and two files there read like it: {names}",
            "write one of these with its escapes, as JSON reads them, or rename one",
        )

    def _refused(self, text: str, why: str) -> ReferenceRefused:
        path = shown(text)
        if not self._named:
            return ReferenceRefused(
                f"{path} is a local file, and none may be read here",
                f"use a public https URL; {ONLY_THE_PERSON}",
            )
        return ReferenceRefused(
            f"{path} {why}",
            f"use a file in {listed(self._named)}, or a public https URL; {ONLY_THE_PERSON}",
        )

    # --- where it is ----------------------------------------------------------------------------

    def _locate(self, text: str) -> tuple[Path, tuple[str, ...]]:
        """Return the allowed folder in which a path really lies, and the way from there."""
        path = self._path(text)
        real = Path(path if _virtual(path) else os.path.realpath(path))
        ways = [
            (folder, real.relative_to(folder).parts)
            for folder in self._real
            if real.is_relative_to(folder) and not _virtual(str(real))
        ]
        if not ways:
            raise self._refused(text, "is not in a folder that references may come from")
        for folder, parts in ways:
            if parts and not any(part.startswith(".") for part in parts):
                return folder, parts
        why = "is hidden: a name on the way starts with a dot" if ways[0][1] else "is a folder"
        raise self._refused(text, why)

    def _path(self, text: str) -> str:
        """Return the absolute path that a text names; no disk is touched for it."""
        path = text
        if len(text) > _LONGEST_PATH or UNPRINTABLE.search(text):
            path = ""
        elif _FILE_URL.match(text):
            path = _from_url(text)
        elif text.startswith("~"):
            path = os.path.join(os.sep, os.path.expanduser(text))  # noqa: PTH111, PTH118  # who is unknown has no home, as who is not allowed
        if not path or UNPRINTABLE.search(path):
            raise self._refused(text, "is not a path that a file can have")
        if not Path(path).is_absolute():
            raise self._refused(text, "is not an absolute path on this system")
        # On Windows, looking at a path can already reach another machine, with one's password.
        if system.WINDOWS and not self._fits_windows(PureWindowsPath(path)):
            raise self._refused(text, "is not in a folder that references may come from")
        return path

    def _fits_windows(self, path: PureWindowsPath) -> bool:
        """Say whether a path is on the drive of an allowed folder, and a name of files at all."""
        drives = {PureWindowsPath(folder).drive.lower() for folder in (*self._named, *self._real)}
        return path.drive.lower() in drives and not any(
            part != ".." and _NO_WINDOWS_NAME.fullmatch(part) for part in path.parts[1:]
        )


def _from_url(text: str) -> str:
    """Return the path of a `file://` URL of this machine, or an empty text."""
    try:
        url = urlsplit(text)
        path = unquote(url.path, errors="strict")
    except ValueError:
        return ""
    if url.netloc.lower() not in ("", "localhost") or url.query or url.fragment:
        return ""
    return path.removeprefix("/") if system.WINDOWS and _DRIVE_URL.match(path) else path


def _virtual(path: str) -> bool:
    """Say whether a path leads to where the kernel shows processes and devices as files."""
    return not system.WINDOWS and Path(os.path.normpath(path)).parts[1:2] in _VIRTUAL


# --- what is in it --------------------------------------------------------------------------------


def _open_beneath(folder: Path, parts: Sequence[str]) -> int:
    """Open a file for reading, through no symlink.

    Raises:
        OSError: it cannot be opened, or a symlink has taken the place of a part of the way.
    """
    if system.WINDOWS:  # it opens by whole paths only, so `_look_again` follows
        flags = os.O_RDONLY | getattr(os, "O_BINARY", 0) | getattr(os, "O_NONBLOCK", 0)
        return os.open(folder.joinpath(*parts), flags)
    steps = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    here = os.open(folder, steps)
    try:
        for part in parts[:-1]:
            below = os.open(part, steps, dir_fd=here)
            os.close(here)
            here = below
        last = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY  # a FIFO would wait
        return os.open(parts[-1], last, dir_fd=here)
    finally:
        os.close(here)


def _look_again(descriptor: int, path: Path) -> None:
    """Make sure that an open file is the one that a path without symlinks leads to.

    Raises:
        OSError: it is not.
    """
    same = os.path.samestat(os.fstat(descriptor), os.lstat(path))
    if not same or os.path.realpath(path) != str(path):
        raise OSError("a symlink has taken the place of a part of the way")


def _content(descriptor: int, text: str) -> bytes:
    """Return the bytes of an open file.

    Raises:
        ReferenceRefused: it is empty or too large.
        OSError: it is no ordinary file.
    """
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        raise OSError("not an ordinary file")
    with open(descriptor, "rb", closefd=False) as file:
        data = b"" if found.st_size > LARGEST_SOURCE else file.read(LARGEST_SOURCE + 1)
    size = max(found.st_size, len(data))
    if size > LARGEST_SOURCE:
        raise ReferenceRefused(
            f"{shown(text)} has {size / 2**20:.1f} MiB, at most {LARGEST_SOURCE // 2**20} allowed",
            f"use a smaller copy; of a picture at most {LONGEST_SIDE} pixels a side are uploaded"
            " anyway",
        )
    if not data:
        raise ReferenceRefused(f"{shown(text)} is empty", "use a file with something in it")
    return data


def _prepare(source: bytes, text: str) -> tuple[bytes, str]:
    """Decode an image whole, and return what is uploaded, with its kind: jpeg, png or webp.

    The first frame counts. JPEG, WebP and AVIF become JPEG; the lossless formats become PNG if
    their file is within the limit; transparency stays, in PNG or WebP. Quality goes before size.

    Raises:
        ReferenceRefused: it is not an image, or has too many pixels.
    """
    from PIL import Image  # noqa: PLC0415  # slow to import

    Image.init()
    formats = [name for name in FORMATS if name in Image.OPEN]
    try:
        with Image.open(BytesIO(source), formats=formats) as image:
            if image.width * image.height <= MOST_PIXELS:
                image.load()
                fits = image.format in _LOSSLESS and len(source) <= LARGEST_UPLOAD
                icc = image.info.get("icc_profile")
                profile = colours.of_picture(BytesIO(source), icc)
                return _encode(_plain(image, profile), as_png=fits)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        pass
    except Exception:  # noqa: BLE001  # hostile bytes make a decoder raise anything
        raise ReferenceRefused(
            f"{shown(text)} is not an image that can be read to its end",
            f"use a whole file in one of {listed(formats)}; export SVG, HEIC or PDF as PNG first",
        ) from None
    raise ReferenceRefused(
        f"{shown(text)} has more than {MOST_PIXELS / 10**6:.0f} million pixels",
        f"use a smaller copy; at most {LONGEST_SIDE} pixels a side are uploaded anyway",
    )


def _plain(image: "Picture", profile: bytes | None) -> "Picture":
    """Return the pixels alone: upright, in sRGB, at most 4096 a side, RGB or RGBA."""
    from PIL import Image  # noqa: PLC0415  # slow to import

    turn = pixels.turn_upright(image)
    image = pixels.as_eight_bits(image)
    mode = "RGBA" if image.has_transparency_data else "RGB"
    if image.mode != mode and (mode == "RGBA" or image.mode not in ("L", "CMYK")):
        image = image.convert(mode)
    image.thumbnail((LONGEST_SIDE, LONGEST_SIDE))
    if profile:
        image = pixels.in_srgb(image, profile)
    image = image.convert(mode)
    if turn is not None:
        image = image.transpose(turn)
    seen = None
    if mode == "RGBA":
        alpha = image.getchannel("A")
        if alpha.getextrema() == (255, 255):
            image = image.convert("RGB")
        else:
            seen = alpha.point(lambda value: 255 if value else 0)
    bare = Image.new(image.mode, image.size)
    bare.paste(image, mask=seen)
    return bare


def _encode(picture: "Picture", *, as_png: bool) -> tuple[bytes, str]:
    """Return an image within the limit of an upload: first less quality, then fewer pixels."""
    steps: list[tuple[str, dict[str, int]]] = [("png", {})] if as_png else []
    if picture.mode == "RGBA":
        steps += [("webp", {"quality": quality}) for quality in (90, 75)]
    else:
        steps += [("jpeg", {"quality": 95, "subsampling": 0})]
        steps += [("jpeg", {"quality": quality}) for quality in (90, 80, 70)]
    while True:
        for kind, options in steps:
            written = BytesIO()
            picture.save(written, kind, **options)
            if written.tell() <= LARGEST_UPLOAD:
                return written.getvalue(), kind
        picture = picture.resize([max(1, side * 7 // 10) for side in picture.size])
