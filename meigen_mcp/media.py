"""Saving results, making previews of them, and reading both back.

What a file is is told by its first bytes, not by its name.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from meigen_mcp import drafts, previews, provenance
from meigen_mcp.api import Api
from meigen_mcp.catalogue import MediaType
from meigen_mcp.errors import ApiError, NotSaved, TooLarge, UnreadableReply
from meigen_mcp.generation import Generation

LARGEST: dict[MediaType, int] = {"image": 64 * 2**20, "video": 512 * 2**20}
SECONDS: dict[MediaType, float] = {"image": 60.0, "video": 180.0}
LARGEST_RESOURCE = 7 * 2**20
"""A stdio message over 10 MiB closes the connection in the TypeScript SDKs; base64 adds a third."""
RENDER_SECONDS = 20.0
"""How long making a preview may take; on an idle machine it takes one or two."""
DRAFT_SECONDS = 3600.0
"""Age at which an unfinished file belongs to no process that lives."""
PREVIEW_SECONDS = 30 * 24 * 3600.0

_RENDERER = (sys.executable, "-P", "-m", "meigen_mcp.previews")  # -P: not what lies in the folder
_NO_WINDOW = getattr(subprocess, "CREATE_NO_WINDOW", 0)  # where Windows would open one

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
        previews: the private folder of the previews; None makes none.
        discreet: errors name no file.
    """

    def __init__(
        self,
        api: Api,
        folder: Path | None,
        previews: Path | None = None,
        *,
        discreet: bool = False,
    ) -> None:
        self._api = api
        self.folder = folder
        self._previews = previews and previews.absolute()
        self._discreet = discreet
        self._rendering = anyio.Lock()

    def problem(self) -> str | None:
        """Say why nothing can be saved, or None when it can (or is turned off)."""
        if self.folder is None:
            return None
        try:
            with drafts.new(self.folder):
                pass
        except OSError:
            return (
                f"Media are not saved: {self.folder} cannot be written. Set MEIGEN_OUTPUT_DIR to a"
                " folder that can, or to off. The URLs work all the same."
            )
        return None

    async def save(self, job: Generation, index: int) -> Path:
        """Download one medium of a finished generation into the output folder.

        A PNG says in its own text what it is, anything else in a JSON file of the same name.

        Raises:
            ApiError: it cannot be had, is too large or is not what it should be.
            NotSaved: the folder cannot be written.
        """
        if self.folder is None:
            raise NotSaved("Saving is turned off (MEIGEN_OUTPUT_DIR is off).")
        try:
            with drafts.new(self.folder) as draft:
                suffix = await self._download(job, index, draft)
                return await anyio.to_thread.run_sync(_publish, draft, job, index, suffix)
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
        saved = _saved(job, index)
        if saved is not None:
            with suppress(OSError, UnreadableReply):  # gone, or no longer what it was
                return await self._read_file(job, index, saved)
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
        saved = _saved(job, index)
        named = saved is not None and not self._discreet
        where = f"{job.media_urls[index]}" + (f" or at {saved}" if named else "")
        return TooLarge(
            f"It is larger than {LARGEST_RESOURCE // 2**20} MiB, too large for one message; it is"
            f" at {where}."
        )

    # --- previews -------------------------------------------------------------------------------

    async def preview(self, job: Generation) -> str | None:
        """Make the one small picture of a completed generation, and return its absolute path.

        It is made from the saved files; what is not saved is downloaded for the moment. Clips need
        PyAV, see `previews.video_extra`.

        Returns:
            None when there can be no picture, whatever the reason.
        """
        clip, folder = job.media_type == "video", self._previews
        if folder is None or not job.media_urls or (clip and not previews.video_extra()):
            return None
        with suppress(OSError), ExitStack() as downloaded:
            async with self._rendering:
                count = 1 if clip else len(job.media_urls)
                paths = [
                    await self._at_hand(job, index, folder, downloaded) for index in range(count)
                ]
                data = await _rendered(job.media_type, paths) if any(paths) else b""
            if sniff(data[:16]) is not None:
                return await anyio.to_thread.run_sync(_replace, folder / job.request_id, data)
        return None

    async def _at_hand(
        self, job: Generation, index: int, folder: Path, downloaded: ExitStack
    ) -> Path | None:
        """Return the saved file, or else a draft with the medium; None if it cannot be had."""
        if (saved := _saved(job, index)) is not None:
            return saved
        draft = downloaded.enter_context(drafts.new(folder, private=True))
        try:
            await self._download(job, index, draft)
        except ApiError:
            return None
        return draft

    async def shown(self, path: str | None) -> Medium | None:
        """Read a preview back; None when it is gone."""
        if path is None or Path(path).parent != self._previews:
            return None
        return await anyio.to_thread.run_sync(_preview_at, Path(path))

    async def seconds(self, job: Generation, index: int) -> float | None:
        """Return the length of a saved clip by its own header, or None where it is not known."""
        saved = _saved(job, index)
        return None if saved is None else await anyio.to_thread.run_sync(previews.seconds, saved)

    def sweep(self) -> None:
        """Remove what killed processes left behind, and previews of long ago; blocks."""
        now = time.time()
        for folder in (self.folder, self._previews):
            if folder is not None:
                drafts.remove(folder, drafts.UNFINISHED, now - DRAFT_SECONDS)
        if self._previews is not None:
            for pattern in ("*.webp", "*.jpg"):
                drafts.remove(self._previews, pattern, now - PREVIEW_SECONDS)


# --- names and files ----------------------------------------------------------------------------


def _saved(job: Generation, index: int) -> Path | None:
    """Return the file that a medium was saved to, if it is still there."""
    name = job.files[index] if index < len(job.files) else None
    # Unlike Path.is_file it raises nothing, whatever the person made of their folder.
    return Path(name) if name is not None and os.path.isfile(name) else None  # noqa: PTH113


def _publish(draft: Path, job: Generation, index: int, suffix: str) -> Path:
    """Give a whole medium its name, with what is known about it in it or beside it."""
    known, stem = provenance.facts(job, index), provenance.stem(job)
    if suffix == ".png":
        # On a full disk the medium itself, which is there already, is worth more than its text.
        with suppress(OSError), drafts.new(draft.parent) as copy:
            with draft.open("rb") as source, copy.open("wb") as target:
                inscribed = provenance.inscribe(source, target, known)
            if inscribed:
                return drafts.keep(copy, stem, suffix)
    return drafts.keep(draft, stem, suffix, provenance.sidecar(known))


async def _rendered(medium: MediaType, paths: Sequence[Path | None]) -> bytes:
    """Make a preview in a process of its own; nothing comes of one that dies or takes too long."""
    with anyio.move_on_after(RENDER_SECONDS):
        command = [*_RENDERER, medium, *(str(path or "") for path in paths)]
        done = await anyio.run_process(
            command,
            stdin=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            check=False,
            creationflags=_NO_WINDOW,
        )
        if done.returncode == 0:
            return done.stdout
    return b""


def _replace(target: Path, data: bytes) -> str:
    """Write a preview, in place of one that was made before."""
    target = target.with_suffix(sniff(data[:16]) or "")
    with drafts.new(target.parent, private=True) as draft:
        draft.write_bytes(data)
        draft.replace(target)
    return str(target)


def _preview_at(path: Path) -> Medium | None:
    with suppress(OSError):
        if path.is_file() and path.stat().st_size <= previews.LARGEST:
            data = path.read_bytes()
            suffix = sniff(data[:16])
            return Medium(data, _TYPES[suffix]) if suffix else None
    return None


__all__ = ["LARGEST_RESOURCE", "Media", "Medium", "NotSaved", "TooLarge", "mime_of", "sniff"]
