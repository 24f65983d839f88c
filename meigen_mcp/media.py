"""Saving results and reading them back; the only user of the file system besides the ledger.

A file is written whole or not at all, and never over another one. What it is is told by its first
bytes, not by its name.
"""

import contextlib
import os
import re
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from tempfile import mkstemp
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from meigen_mcp.api import Api
from meigen_mcp.catalogue import MediaType
from meigen_mcp.errors import ApiError, MeigenError, UnreadableReply
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
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
}
_DEFAULT: dict[MediaType, str] = {"image": "image/png", "video": "video/mp4"}


class TooLarge(MeigenError):
    """A medium does not fit into one message."""

    code = "too_large"
    next = "Open the URL or the saved file instead."


class NotSaved(MeigenError):
    """The output folder cannot be written."""

    code = "not_saved"
    next = "Use the URL, and ask the person to mend the output folder."


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
        return ".mov" if head[8:12] == b"qt  " else ".mp4"
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        return ".webm"
    return None


class Media:
    """Saves the media of finished generations and reads them back.

    Args:
        api: what opens the URLs.
        folder: where files go; None saves nothing.
    """

    def __init__(self, api: Api, folder: Path | None) -> None:
        self._api = api
        self.folder = folder

    def problem(self) -> str | None:
        """Say why nothing can be saved, or None when it can (or is turned off)."""
        if self.folder is None:
            return None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, probe = mkstemp(prefix=".meigen-", dir=self.folder)
            os.close(descriptor)
            Path(probe).unlink()
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
        assert self.folder is not None
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            descriptor, name = mkstemp(prefix=".meigen-", suffix=".part", dir=self.folder)
            os.close(descriptor)
            draft = Path(name)
            try:
                suffix = await self._download(job, index, draft)
                return await anyio.to_thread.run_sync(_keep, draft, self._stem(job), suffix)
            finally:
                draft.unlink(missing_ok=True)
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
                    head = (head + chunk)[:16]
                    size += len(chunk)
                    if size > LARGEST[job.media_type]:
                        raise UnreadableReply("The result is larger than it may be.")
                    await file.write(chunk)
        if scope.cancelled_caught:
            raise UnreadableReply("The result did not arrive in time.")
        suffix = sniff(head)
        if suffix is None or not _TYPES[suffix].startswith(job.media_type):
            raise UnreadableReply(f"The result is not {job.media_type} data.")
        return suffix

    def _stem(self, job: Generation) -> str:
        day = datetime.fromtimestamp(job.created_at).astimezone().strftime("%Y-%m-%d")
        words = re.findall(r"\w+", job.prompt, re.UNICODE)[:6]
        slug = "-".join(words).lower()[:40].strip("-_") or job.media_type
        model = re.sub(r"[^\w.-]", "-", job.model_id)[:40]
        return f"{day}_{model}_{slug}"

    async def read(self, job: Generation, index: int) -> Medium:
        """Return the bytes of a medium, from the saved file or else from its URL.

        Raises:
            TooLarge: it does not fit into one message.
            ApiError: it cannot be had.
        """
        saved = job.files[index] if index < len(job.files) else None
        if saved is not None:
            with contextlib.suppress(OSError):
                return await self._read_file(job, index, Path(saved))
        data = bytearray()
        async with self._api.download(job.media_urls[index], SECONDS[job.media_type]) as response:
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > LARGEST_RESOURCE:
                    raise self._too_large(job, index)
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
        where = f"{job.media_urls[index]}" + (f" or at {saved}" if saved else "")
        return TooLarge(
            f"It is larger than {LARGEST_RESOURCE // 2**20} MiB, too large for one message; it is"
            f" at {where}."
        )


def _keep(draft: Path, stem: str, suffix: str) -> Path:
    """Give a finished draft the first free name; a name that is taken stays as it is."""
    if os.name != "nt":
        draft.chmod(0o644)
    number = 1
    while True:
        target = draft.with_name(f"{stem}_{number}{suffix}")
        try:
            os.link(draft, target)
        except FileExistsError:
            number += 1
        except OSError:  # a file system without hard links: take the name, then fill it
            with contextlib.suppress(FileExistsError), target.open("xb") as file:
                file.write(draft.read_bytes())
                return target
            number += 1
        else:
            return target


__all__ = [
    "LARGEST_RESOURCE",
    "ApiError",
    "Media",
    "Medium",
    "NotSaved",
    "TooLarge",
    "mime_of",
    "sniff",
]
