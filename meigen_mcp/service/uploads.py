"""Copies of local files at MeiGen: each is sent once, however many calls wait for it.

A large clip takes longer than a client waits for an answer. So an upload goes on after its call has
answered, and the same call, made again, waits for the rest of it.
"""

import asyncio
import contextlib
from collections.abc import Callable, Iterable, Mapping
from typing import Literal

import anyio

from meigen_mcp.api.client import Api
from meigen_mcp.errors import LedgerUnavailable, MeigenError, UploadFailed
from meigen_mcp.ledger.asking import acting
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.uploads import CLIPS_GOOD_FOR, GOOD_FOR
from meigen_mcp.media.local_clips import LocalClip
from meigen_mcp.media.local_files import LocalImage
from meigen_mcp.people import named
from meigen_mcp.service.results import Copies
from meigen_mcp.settings import Settings

Kind = Literal["image", "video", "sound"]
Named = tuple[Kind, str]
"""A reference by its kind and its text in a call's arguments."""
Urls = dict[Named, str]
File = LocalImage | LocalClip
_AT_ONCE = 3


class Uploads:
    """The copies of one account's local files, and those that are on their way."""

    def __init__(
        self, settings: Settings, ledger: Ledger, api: Api, clock: Callable[[], float]
    ) -> None:
        self._origin = settings.base_url
        self._ledger = ledger
        self._api = api
        self._clock = clock
        self._places = anyio.CapacityLimiter(_AT_ONCE)
        self._under_way: dict[str, asyncio.Task[str | MeigenError]] = {}

    async def urls(
        self, files: Mapping[Named, File], model_id: str, seconds: float
    ) -> tuple[Urls, Copies]:
        """Return where copies of files lie, and how many of them became public for this call.

        Args:
            files: what is wanted.
            model_id: for which model.
            seconds: how long the call can wait; what is not done by then goes on.

        Raises:
            UploadFailed: a file is not there, or not yet; nothing was generated or charged.
        """
        known = await self._known(files.values())
        missing = {self._key(file): file for file in files.values() if self._key(file) not in known}
        sent = {key: self._sending(key, file, model_id) for key, file in missing.items()}
        if sent:
            bounded = None if seconds == float("inf") else max(0.0, seconds)
            done, rest = await asyncio.wait(sent.values(), timeout=bounded)
            for result in (task.result() for task in done):
                if isinstance(result, MeigenError):
                    raise result
            if rest:
                raise UploadFailed(
                    "The local references are not uploaded yet. Nothing was generated or charged."
                    " Their upload goes on, to where it is public: the same call, made again in a"
                    " minute, uses it."
                )
        found = {**known, **{key: str(task.result()) for key, task in sent.items()}}
        clips = sum(isinstance(file, LocalClip) for file in missing.values())
        urls = {named: found[self._key(file)] for named, file in files.items()}
        return urls, Copies(len(missing) - clips, clips)

    async def close(self) -> None:
        """End what is on its way."""
        tasks = [*self._under_way.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _sending(self, key: str, file: File, model_id: str) -> "asyncio.Task[str | MeigenError]":
        """Return the upload of a file, which is begun if it is not on its way."""
        if (task := self._under_way.get(key)) is None:
            task = asyncio.create_task(self._upload(key, file, model_id))
            self._under_way[key] = task
            task.add_done_callback(lambda _: self._under_way.pop(key))
        return task

    async def _upload(self, key: str, file: File, model_id: str) -> str | MeigenError:
        """Upload a file; its failure is for the calls that wait for it, if there are any."""
        async with self._places:
            try:
                url = await self._send(file, model_id)
            except MeigenError as error:
                return error
        good_for = CLIPS_GOOD_FOR if isinstance(file, LocalClip) else GOOD_FOR
        with contextlib.suppress(LedgerUnavailable):  # then it is uploaded once more
            await self._ledger.uploads.keep(key, url, self._clock(), good_for)
        return url

    async def _send(self, file: File, model_id: str) -> str:
        if isinstance(file, LocalClip):
            return await self._api.upload_clip(
                file.data, file.filename, file.mime_type, kind=file.medium, model_id=model_id
            )
        return await self._api.upload(file.data, file.filename, file.mime_type)

    async def _known(self, files: Iterable[File]) -> Mapping[str, str]:
        """Return the copies that are still there, by their keys."""
        found: dict[str, str] = {}
        kinds = ((LocalImage, GOOD_FOR), (LocalClip, CLIPS_GOOD_FOR))
        for kind, good_for in kinds:
            if keys := [self._key(file) for file in files if isinstance(file, kind)]:
                found |= await self._ledger.uploads.urls(keys, self._clock(), good_for)
        return found

    def _key(self, file: File) -> str:
        """Return by what a copy is known: clips lie at the API, pictures at the upload gateway."""
        key = file.sha256
        if isinstance(file, LocalClip):
            key = f"{self._origin} {file.kind} {key}"
        return named(key, acting.get())
