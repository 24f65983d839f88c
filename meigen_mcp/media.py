"""Saving results and reading them back; the only user of the file system besides the ledger.

A file is written whole or not at all, and never over another one. What it is is told by its first
bytes, not by its name.
"""

import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from urllib.parse import urlsplit
from uuid import uuid4

import anyio
import anyio.to_thread

from meigen_mcp.api import Api
from meigen_mcp.catalogue import MediaType
from meigen_mcp.errors import NotSaved, TooLarge, UnreadableReply
from meigen_mcp.generation import Generation

LARGEST: dict[MediaType, int] = {"image": 64 * 2**20, "video": 512 * 2**20}
SECONDS: dict[MediaType, float] = {"image": 60.0, "video": 180.0}
LARGEST_RESOURCE = 7 * 2**20
"""A stdio message over 10 MiB closes the connection in the TypeScript SDKs; base64 adds a third."""

_TYPES = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
}
_BRANDS = {b"qt  ": ".mov", b"avif": ".avif", b"avis": ".avif"}
_DEFAULT: dict[MediaType, str] = {"image": "image/png", "video": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Medium:
    """The bytes of one medium with their type."""

    data: bytes
    mime_type: str


def mime_of(url: str, media_type: MediaType) -> str:
    """Return the type that the name in a URL promises."""
    return _TYPES.get(Path(urlsplit(url).path).suffix.lower(), _DEFAULT[media_type])


def sniff(head: bytes) -> str | None:
    """Return the type that the first bytes of a file show, or None for none of ours."""
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if head[4:8] == b"ftyp":
        return _BRANDS.get(head[8:12], ".mp4")
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm"
    return None


class Media:
    """Saves the media of finished generations and reads them back.

    Args:
        api: what opens the URLs.
        folder: where files go; None saves nothing.
        discreet: errors name no file.
    """

    def __init__(self, api: Api, folder: Path | None, *, discreet: bool = False) -> None:
        self._api = api
        self.folder = folder
        self._discreet = discreet

    def problem(self) -> str | None:
        """Say why nothing can be saved, or None when it can (or is turned off)."""
        if self.folder is None:
            return None
        try:
            with _draft(self.folder):
                pass
        except OSError:
            return (
                f"Media are not saved: {self.folder} cannot be written. Set MEIGEN_OUTPUT_DIR to a"
                " folder that can, or to off. The URLs work all the same."
            )
        return None

    async def save(self, job: Generation, index: int) -> Path:
        """Download one medium of a finished generation into the output folder.

        Raises:
            ApiError: it cannot be had, is too large or is not what it should be.
            NotSaved: the folder cannot be written.
        """
        if self.folder is None:
            raise NotSaved("Saving is turned off (MEIGEN_OUTPUT_DIR is off).")
        try:
            with _draft(self.folder) as draft:
                suffix = await self._download(job, index, draft)
                return await anyio.to_thread.run_sync(_keep, draft, _stem(job), suffix)
        except OSError:
            raise NotSaved(f"{self.folder} cannot be written.") from None

    async def _download(self, job: Generation, index: int, draft: Path) -> str:
        head = b""
        size = 0
        seconds = SECONDS[job.media_type]
        with anyio.move_on_after(seconds) as scope:
            async with (
                self._api.download(job.media_urls[index], seconds) as response,
                await anyio.open_file(draft, "wb") as file,
            ):
                async for chunk in response.aiter_bytes(2**18):
                    head = head or chunk[:16]
                    size += len(chunk)
                    if size > LARGEST[job.media_type]:
                        raise UnreadableReply("The result is larger than it may be.")
                    await file.write(chunk)  # in a thread
        if scope.cancelled_caught:
            raise UnreadableReply("The result did not arrive in time.")
        suffix = sniff(head)
        if suffix is None or not _TYPES[suffix].startswith(job.media_type):
            raise UnreadableReply(f"The result is not {job.media_type} data.")
        return suffix

    async def read(self, job: Generation, index: int) -> Medium:
        """Return the bytes of a medium, from the saved file or else from its URL.

        Raises:
            TooLarge: it does not fit into one message.
            ApiError: it cannot be had.
        """
        saved = job.files[index] if index < len(job.files) else None
        if saved is not None:
            with suppress(OSError, UnreadableReply):  # gone, or no longer what it was
                return await self._read_file(job, index, Path(saved))
        data = bytearray()
        seconds = SECONDS[job.media_type]
        with anyio.move_on_after(seconds) as scope:
            async with self._api.download(job.media_urls[index], seconds) as response:
                async for chunk in response.aiter_bytes():
                    data += chunk
                    if len(data) > LARGEST_RESOURCE:
                        raise self._too_large(job, index)
        if scope.cancelled_caught:
            raise UnreadableReply("The result did not arrive in time.")
        return self._medium(bytes(data), job)

    async def _read_file(self, job: Generation, index: int, path: Path) -> Medium:
        if path.stat().st_size > LARGEST_RESOURCE:
            raise self._too_large(job, index)
        return self._medium(await anyio.Path(path).read_bytes(), job)

    def _medium(self, data: bytes, job: Generation) -> Medium:
        suffix = sniff(data[:16])
        if suffix is None:
            raise UnreadableReply(f"The result is not {job.media_type} data.")
        return Medium(data, _TYPES[suffix])

    def _too_large(self, job: Generation, index: int) -> TooLarge:
        saved = job.files[index] if index < len(job.files) else None
        named = saved is not None and not self._discreet
        where = f"{job.media_urls[index]}" + (f" or at {saved}" if named else "")
        return TooLarge(
            f"It is larger than {LARGEST_RESOURCE // 2**20} MiB, too large for one message; it is"
            f" at {where}."
        )


def _stem(job: Generation) -> str:
    """Return the start of a file's name: the day, the model and words of the prompt."""
    day = datetime.fromtimestamp(job.created_at).astimezone().strftime("%Y-%m-%d")
    model = re.sub(r"[^\w.-]", "-", job.model_id, flags=re.ASCII)[:40]
    words = "-".join(re.findall(r"\w+", job.prompt)[:6]).lower()
    # Some file systems count bytes, and the strictest takes 143 of them.
    slug = words[:40].encode()[:80].decode(errors="ignore").strip("-_")
    return f"{day}_{model}_{slug or job.media_type}"


@contextmanager
def _draft(folder: Path) -> Iterator[Path]:
    """Give a new empty file with a name of its own, and remove that name at the end."""
    folder.mkdir(parents=True, exist_ok=True)
    draft = folder / f".meigen-{uuid4().hex}.part"
    draft.touch(exist_ok=False)
    try:
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def _keep(draft: Path, stem: str, suffix: str) -> Path:
    """Give a finished draft the first free name; a name that is taken stays as it is."""
    number = 1
    while True:
        target = draft.with_name(f"{stem}_{number}{suffix}")
        try:
            os.link(draft, target)
        except FileExistsError:
            number += 1
        except OSError:  # a file system without hard links
            if _moved(draft, target):
                return target
            number += 1
        else:
            return target


def _moved(draft: Path, target: Path) -> bool:
    """Take a name that is free, then put the draft there in one step."""
    try:
        target.touch(exist_ok=False)
    except FileExistsError:
        return False
    try:
        draft.replace(target)
    except OSError:
        target.unlink(missing_ok=True)
        raise
    return True


__all__ = ["LARGEST_RESOURCE", "Media", "Medium", "NotSaved", "TooLarge", "mime_of", "sniff"]
