"""Saving results, making previews of them, and reading both back.

What a file is is told by its content, not by its name, and so is whether it is whole.
"""

import functools
from collections.abc import Sequence
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.errors import ApiError, NotSaved, Problem, TooLarge, UnreadableReply
from meigen_mcp.generation import Generation
from meigen_mcp.media import clips, ends, previews, processes, reasons, whole_files
from meigen_mcp.media.archive import Archive
from meigen_mcp.media.fetching import SECONDS, download, must_be
from meigen_mcp.media.kinds import HEAD, MIME, sniff
from meigen_mcp.media.links import MediaLinks
from meigen_mcp.media.publishing import publish
from meigen_mcp.media.refusals import ReferenceRefused
from meigen_mcp.people import key_of
from meigen_mcp.system.links import is_ordinary_file, read_ordinary_file

LARGEST_RESOURCE = 7 * 2**20
"""A stdio message over 10 MiB closes the connection in the TypeScript SDKs; base64 adds a third."""
PARTIAL_SECONDS = 3600.0
"""Age at which an unfinished file belongs to no process that lives."""
PREVIEW_SECONDS = 30 * 24 * 3600.0

_DEFAULT: dict[MediaType, str] = {"image": "image/png", "video": "video/mp4"}


@dataclass(frozen=True, slots=True)
class Medium:
    """The bytes of one medium with their type."""

    data: bytes
    mime_type: str


class Saved(NamedTuple):
    """A medium in the output folder.

    Attributes:
        incomplete: what is wrong with it, or could not be written of it; None: nothing.
        credential: what is said of its content credentials; None: it has none.
    """

    path: Path
    incomplete: str | None = None
    credential: str | None = None


class Shown(NamedTuple):
    """The absolute path of a preview, and why there is none, or not all; both may be wanting."""

    path: str | None = None
    why_not: str | None = None


def mime_of(url: str, media_type: MediaType) -> str:
    """Return the type that the name in a URL promises."""
    return MIME.get(Path(urlsplit(url).path).suffix.lower(), _DEFAULT[media_type])


class Media:
    """Saves the media of finished generations and reads them back.

    Args:
        api: what opens the URLs.
        folder: where files go; None saves nothing.
        previews: the private folder of the previews; None makes none.
        discreet: errors name no file.
        level: how much a saved file says about itself: all, mark or off; empty: what is usual for
            its format.
        archive: where files and previews go instead; the folders are not used then.
        links: the URLs of what it keeps.
    """

    def __init__(
        self,
        api: Api,
        folder: Path | None,
        previews: Path | None = None,
        *,
        discreet: bool = False,
        level: str = "",
        archive: Archive | None = None,
        links: MediaLinks | None = None,
    ) -> None:
        self._api = api
        self.level = level
        self.archive = archive
        self.links = links
        self.folder = archive.folder if archive else folder
        self._previews = archive.folder if archive else previews and previews.absolute()
        self._discreet = discreet
        self._drawing = processes.Drawing()
        self._places = anyio.Semaphore(processes.AT_ONCE)

    def problem(self) -> Problem | None:
        """Return why nothing can be saved, or None when it can (or is turned off)."""
        if self.folder is None:
            return None
        try:
            with whole_files.new(self.folder, private=self.archive is not None):
                pass
        except OSError:
            return Problem(
                "MEIGEN_MEDIA_DIR" if self.archive else "MEIGEN_OUTPUT_DIR",
                f"media are not saved, since {self.folder} cannot be written",
                "set it to a folder that can, or to off (the URLs work all the same)",
            )
        return None

    async def save(self, job: Generation, index: int, *, last: bool = False) -> Saved:
        """Download one medium of a finished generation into the output folder.

        It says in itself that it is made by an algorithm, where its format can hold that; the rest
        of what is known is in a PNG's own text, else in a JSON file of the same name.

        Args:
            job: the generation.
            index: which medium.
            last: what breaks off is kept all the same, since it will not be tried again.

        Raises:
            ApiError: it cannot be had, is too large or is not what it should be.
            NotSaved: the folder cannot be written.
        """
        if self.folder is None:
            raise NotSaved(reasons.OFF)
        try:
            async with whole_files.new_aside(
                self.folder, private=self.archive is not None
            ) as partial:
                suffix, whole = await download(self._api, job, index, partial)
                place = functools.partial(self._place, job, index, whole=whole, last=last)
                path, signed, lacks, suffix, cut = await anyio.to_thread.run_sync(
                    place, partial, suffix
                )
        except OSError as error:
            raise NotSaved(reasons.not_written(self.folder, error)) from None
        said = await processes.signer(path, suffix) if signed else None
        why = [f"{reasons.BREAKS_OFF}; what arrived is kept."] if cut else []
        return Saved(path, " ".join(why or lacks) or None, said)

    def _place(
        self,
        job: Generation,
        index: int,
        partial: whole_files.Partial,
        suffix: str,
        *,
        whole: bool,
        last: bool,
    ) -> tuple[Path, bool, Sequence[str], str, bool]:
        """Give what was downloaded its name, if it is what it should be; see `save`.

        In one go of a thread, since each takes the loop some time.

        Returns:
            What `publish` does, what it is by its end, and whether it breaks off.
        """
        try:
            path = partial.write()
            suffix, cut = ends.examine(path, suffix)
            must_be(job.media_type, suffix)
            cut = cut or not whole
            if cut and not last:
                raise UnreadableReply(f"{reasons.BREAKS_OFF}.")
            placed = publish(path, job, index, suffix, self.level, archive=self.archive)
            return (*placed, suffix, cut)
        finally:
            partial.remove()

    async def read(self, job: Generation, index: int, largest: int = LARGEST_RESOURCE) -> Medium:
        """Return the bytes of a medium, from the saved file or else from its URL.

        Args:
            job: whose medium.
            index: from 0.
            largest: the most bytes that fit into one message.

        Raises:
            TooLarge: it does not fit into one message.
            ApiError: it cannot be had.
        """
        saved = await self._saved_path(job, index)
        if saved is not None:
            with suppress(OSError, UnreadableReply):  # gone, or no longer what it was
                return await self._read_file(job, index, saved, largest)
        data = bytearray()
        seconds = SECONDS[job.media_type]
        with anyio.move_on_after(seconds) as scope:
            async with self._api.download(job.media_urls[index], seconds) as body:
                async for chunk in body.pieces():
                    data += chunk
                    if len(data) > largest:
                        raise await self.too_large(job, index, largest)
        if scope.cancelled_caught:
            raise UnreadableReply("The result did not arrive in time.")
        return self._medium(bytes(data), job)

    async def _read_file(self, job: Generation, index: int, path: Path, largest: int) -> Medium:
        data = await anyio.to_thread.run_sync(read_ordinary_file, path, largest)
        if data is None:
            raise await self.too_large(job, index, largest)
        return self._medium(data, job)

    async def _saved_path(self, job: Generation, index: int) -> Path | None:
        """Return the file that a medium was saved to, if it is there and no link took its place."""
        name = job.files[index] if index < len(job.files) else None
        if name is None:
            return None
        if self.archive is not None:
            return await anyio.to_thread.run_sync(self.archive.find, name)
        return Path(name) if is_ordinary_file(name) else None

    def _medium(self, data: bytes, job: Generation) -> Medium:
        suffix = sniff(data[:HEAD])
        if suffix is None:
            raise UnreadableReply(f"The result is not {job.media_type} data.")
        return Medium(data, MIME[suffix])

    async def too_large(self, job: Generation, index: int, largest: int) -> TooLarge:
        """Return the error that says where a medium is which fits into no message."""
        saved = await self._saved_path(job, index)
        named = saved is not None and not self._discreet
        url = (self.links.on(job) if self.links else job).media_urls[index]
        where = url + (f" or at {saved}" if named else "")
        return TooLarge(
            f"It is larger than {largest / 2**20:.2g} MiB, too large for one message here; it is at"
            f" {where}."
        )

    # --- previews -------------------------------------------------------------------------------

    async def preview(self, job: Generation) -> Shown:
        """Make the one small picture of a completed generation.

        It is made from the saved files; what is not saved is downloaded for the moment. Clips need
        PyAV, see `previews.video_extra`.
        """
        clip, folder = job.media_type == "video", self._previews
        if folder is None or not job.media_urls:
            return Shown()
        if clip and not previews.video_extra():
            return Shown(None, reasons.NO_FRAMES)
        try:
            async with AsyncExitStack() as downloaded:
                async with self._places:
                    paths: list[Path | None] = []
                    lost: dict[int, str] = {}
                    for index in range(1 if clip else len(job.media_urls)):
                        try:
                            paths.append(await self._at_hand(job, index, folder, downloaded))
                        except ApiError as error:
                            paths.append(None)
                            lost[index] = error.message
                    if not any(paths):
                        return Shown(None, f"{reasons.NOT_HAD} {lost[0]}")
                    try:
                        drawn = await self._drawing.draw(job.media_type, paths)
                    except OSError:
                        return Shown(None, reasons.NO_PROCESS)
                if drawn is None:
                    return Shown(None, reasons.SLOW.format(processes.SECONDS))
                if sniff(drawn.data[:HEAD]) is None:
                    return Shown(None, reasons.NOTHING_DRAWN)
                path = await anyio.to_thread.run_sync(self._keep_preview, folder, job, drawn.data)
        except OSError as error:
            place = "MEIGEN_MEDIA_DIR" if self.archive else "MEIGEN_DATA_DIR/previews"
            return Shown(None, reasons.not_written(place, error))
        return Shown(path, reasons.not_drawn(job, drawn.left_out, lost))

    async def _at_hand(
        self, job: Generation, index: int, folder: Path, downloaded: AsyncExitStack
    ) -> Path:
        """Return the saved file, else a partial file with the medium.

        Raises:
            ApiError: it cannot be had.
            OSError: the folder cannot be written.
        """
        if (saved := await self._saved_path(job, index)) is not None:
            return saved
        partial = await downloaded.enter_async_context(whole_files.new_aside(folder, private=True))
        await download(self._api, job, index, partial)
        return await anyio.to_thread.run_sync(partial.write)

    async def last_frame(self, job: Generation, index: int) -> bytes:
        """Return the last frame that a clip shows, exact and upright, as a PNG.

        Raises:
            ReferenceRefused: it cannot be had, and what to do instead.
        """
        if not previews.video_extra():
            raise ReferenceRefused(
                "its last frame, which stands for it, cannot be taken without PyAV",
                'install "meigen-mcp[video]" (`meigen-mcp doctor` prints the command) and restart'
                " this server, or name a picture",
            )
        folder, frame = self._previews or self.folder, None
        with suppress(OSError, ApiError):
            async with AsyncExitStack() as downloaded:
                path = folder and await self._at_hand(job, index, folder, downloaded)
                frame = path and await self._drawing.last_frame(path)
        if not frame:
            raise ReferenceRefused(
                "its last frame, which stands for it, cannot be read", "name a picture"
            )
        return frame

    async def close(self) -> None:
        """End what draws."""
        await self._drawing.close()

    async def read_preview(self, path: str | None) -> Medium | None:
        """Read a preview back; None when it is gone."""
        if path is None or (self.archive is None and Path(path).parent != self._previews):
            return None
        return await anyio.to_thread.run_sync(self._preview_at, path)

    def _preview_at(self, path: str) -> Medium | None:
        found = self.archive.find(path) if self.archive else Path(path)
        with suppress(OSError):
            data = (found and read_ordinary_file(found, previews.LARGEST)) or b""
            suffix = sniff(data[:HEAD])
            return Medium(data, MIME[suffix]) if suffix else None
        return None

    def _keep_preview(self, folder: Path, job: Generation, data: bytes) -> str:
        """Write a preview, in place of one that was made before."""
        suffix = sniff(data[:HEAD]) or ""
        with whole_files.new(folder, private=True) as partial:
            partial.write_bytes(data)
            if self.archive is not None:
                return str(self.archive.keep(partial, suffix, key_of(job)))
            target = (folder / key_of(job)).with_suffix(suffix)
            partial.replace(target)
        return str(target)

    async def seconds(self, job: Generation, index: int) -> float | None:
        """Return the length of a saved clip, or None where it is not known."""
        if (saved := await self._saved_path(job, index)) is not None:
            with suppress(OSError):
                return (await anyio.to_thread.run_sync(clips.read, saved)).seconds
        return None

    def sweep(self) -> None:
        """Remove what killed processes left behind, and previews of long ago; blocks."""
        for folder in (self.folder, self._previews):
            if folder is not None:
                whole_files.remove(folder, whole_files.PARTIAL, PARTIAL_SECONDS)
        if self._previews is not None and self.archive is None:
            for pattern in ("*.webp", "*.jpg"):
                whole_files.remove(self._previews, pattern, PREVIEW_SECONDS)


async def still_shown(job: Generation, archive: Archive | None = None) -> Generation:
    """Return a record without a preview that was kept long enough, or that somebody deleted."""
    if job.preview is None:
        return job
    if archive is not None:  # it may be on a network
        there = await anyio.to_thread.run_sync(archive.find, job.preview) is not None
    else:
        there = is_ordinary_file(job.preview)
    return job if there else replace(job, preview=None, unshown=reasons.NO_LONGER)


__all__ = [
    "LARGEST_RESOURCE",
    "Media",
    "Medium",
    "NotSaved",
    "Saved",
    "Shown",
    "TooLarge",
    "mime_of",
    "still_shown",
]
