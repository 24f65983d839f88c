"""What the references of a call stand for: earlier results, files of this machine, public URLs.

They are looked at before a call is judged; a file is uploaded only after money was decided on.
"""

import contextlib
import re
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal
from urllib.parse import unquote

import anyio.to_thread

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue.lengths import Measured
from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.catalogue.rules import absent
from meigen_mcp.errors import LedgerUnavailable, Problem
from meigen_mcp.generation import RECORDS, Generation, media_uri
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.media.archive import archived_name
from meigen_mcp.media.local_clips import LocalClip, read_clip
from meigen_mcp.media.local_files import (
    LocalImage,
    LocalReferences,
    is_local,
    of_picture,
)
from meigen_mcp.media.refusals import ReferenceRefused
from meigen_mcp.media.store import Media
from meigen_mcp.service.results import Copies
from meigen_mcp.service.uploads import Kind, Named, Uploads, Urls
from meigen_mcp.settings import Settings
from meigen_mcp.wording import plain, show

_HASH = re.compile(r"#sha256=[0-9a-f]{16}$")
_MOST = 16
_AGREES_WITHIN = 0.5
"""Seconds by which a length that was given may differ from the measured one: people round."""
_LISTS: Mapping[str, Kind] = {
    "referenceImages": "image",
    "contentReferenceImages": "image",
    "referenceVideos": "video",
    "referenceAudios": "sound",
}
_NO_LENGTH = Problem(
    "referenceVideoDuration",
    "missing: no saved file of that result tells its length",
    "give the clip's length in seconds",
)


@dataclass(frozen=True, slots=True)
class Reference:
    """What one reference of a call stands for.

    Attributes:
        text: as the record keeps it: a file by its path and the hash of its bytes.
        url: what the API is told for an earlier result.
        name: the argument, with its place in a list.
        kind: what it stands for.
        file: what is uploaded for a file, or for a clip whose last frame is wanted.
        result: the earlier result, and which of its media.
        problem: what is wrong with it.
    """

    text: str
    url: str | None = None
    name: str = ""
    kind: Kind = "image"
    file: LocalImage | LocalClip | None = None
    result: tuple[Generation, int] | None = None
    problem: Problem | None = None


@dataclass(frozen=True, slots=True)
class References:
    """A call's arguments with its references looked up.

    Attributes:
        arguments: as the record keeps them.
        each: what the references stand for.
        measured: whether `referenceVideoDuration` was read in the saved clips alone.
        lengths: what is known of the clips that are earlier results, and of local clips and sounds.
        problems: what is wrong with the references.
    """

    arguments: Mapping[str, Any]
    each: Sequence[Reference] = ()
    measured: bool = False
    lengths: Sequence[Measured] = ()
    problems: Sequence[Problem] = ()

    @property
    def made_from(self) -> tuple[str, ...]:
        """The URIs of the earlier results among them."""
        results = [reference.result for reference in self.each if reference.result is not None]
        return tuple(media_uri(job.name, index) for job, index in results)

    @property
    def urls(self) -> Urls:
        """What the API is told for an earlier result, by its kind and its text in `arguments`."""
        return {(one.kind, one.text): one.url for one in self.each if one.url is not None}

    @property
    def files(self) -> Mapping[Named, LocalImage | LocalClip]:
        """What is uploaded, by its kind and its text in `arguments`."""
        return {(one.kind, one.text): one.file for one in self.each if one.file is not None}


class ReferenceResolver:
    """Looks references up, for one account."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        api: Api,
        media: Media,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._settings = settings
        self._ledger = ledger
        self._uploads = Uploads(settings, ledger, api, clock)
        self._media = media
        self._clock = clock
        self._local = LocalReferences(settings.reference_folders)

    async def close(self) -> None:
        """End the uploads that are on their way."""
        await self._uploads.close()

    async def look_up(self, arguments: Mapping[str, Any]) -> References:
        """Look at every reference of a call; nothing is sent.

        Raises:
            LedgerUnavailable: an earlier result cannot be looked up.
        """
        known, each = dict(arguments), []
        for name, look in _LISTS.items():
            texts = known.get(name)
            if isinstance(texts, list) and len(texts) <= _MOST:
                known[name], found = await self._list(name, texts, look)
                each += found
        listed, clip = known.get("referenceVideos"), known.get("referenceVideo")
        if "referenceVideo" in known and isinstance(listed, list) and clip in listed[:1]:
            known.pop("referenceVideo")  # named twice, as the first of several
        elif isinstance(clip, str):
            video = await self._clip("referenceVideo", clip)
            each.append(video)
            known["referenceVideo"] = video.text
        lengths, problems = await self._measure(each, known)
        problems = [*(e.problem for e in each if e.problem is not None), *problems]
        lengths += [
            one.file.measured(one.name)
            for one in each
            if one.kind == "sound" and isinstance(one.file, LocalClip)
        ]
        measured = "referenceVideoDuration" in known and absent(
            arguments.get("referenceVideoDuration")
        )
        return References(known, each, measured=measured, lengths=lengths, problems=problems)

    async def _list(
        self, name: str, texts: list[Any], kind: Kind
    ) -> tuple[list[Any], list[Reference]]:
        """Look several up, and return them as the record keeps them."""
        look = self._image if kind == "image" else self._clip if kind == "video" else self._sound
        kept, found = [], []
        for index, text in enumerate(texts):
            if isinstance(text, str):
                found.append(await look(f"{name}[{index}]", text))
                text = found[-1].text  # noqa: PLW2901  # as it is kept
            kept.append(text)
        return kept, found

    async def _measure(
        self, each: Sequence[Reference], known: dict[str, Any]
    ) -> tuple[list[Measured], list[Problem]]:
        """Measure the clips that can be, and let their length stand for what was left out."""
        clips = [one for one in each if one.kind == "video"]
        lengths = []
        for one in clips:
            if isinstance(one.file, LocalClip):
                lengths.append(one.file.measured(one.name))
            elif one.result is not None and one.url is not None:
                lengths.append(Measured(one.name, await self._media.seconds(*one.result)))
        given = known.get("referenceVideoDuration")
        seconds = [length.seconds for length in lengths]
        if not clips or len(seconds) < len(clips) or None in seconds:
            earlier = any(length.seconds is None for length in lengths)
            return lengths, [_NO_LENGTH] if earlier and absent(given) else []
        total = round(sum(filter(None, seconds)), 3)
        known["referenceVideoDuration"] = int(total) if total.is_integer() else total
        if isinstance(given, int | float) and abs(given - total) > _AGREES_WITHIN:
            what = "the clip has" if len(clips) == 1 else "the clips have"
            wrong = f"{show(given)} s were given, and {what} {plain(total)} s"
            fix = f"use {plain(total)}, or leave it out: it is measured"
            return lengths, [Problem("referenceVideoDuration", wrong, fix)]
        return lengths, []

    async def _by_record(self, text: str) -> str:
        """Return the URI of the result that one of our own URLs is for; MeiGen opens none."""
        links = self._media.links
        name = None if links is None else links.name_in(text)
        if name is None or (job := await self._ledger.records.keeping(name)) is None:
            return text
        return media_uri(job.name, [archived_name(path or "") for path in job.files].index(name))

    async def _image(self, name: str, text: str) -> Reference:
        """Look one image up."""
        text = await self._by_record(text)
        if text.startswith(RECORDS):
            found = await self._result(name, text, ("image", "video"), "image")
            if found.result is not None and found.result[0].media_type == "video":
                return await self._last_frame(name, found, *found.result)
            return found
        if not (self._settings.accepts.files and is_local(text)):
            return await self._url(name, text, "image")
        try:
            image = await self._local.read(_HASH.sub("", text))
        except ReferenceRefused as refused:
            wrong = Problem(name, refused.message, refused.fix)
            return Reference(text, name=name, problem=wrong)
        kept = f"{image.path.as_uri()}#sha256={image.sha256[:16]}"
        return Reference(kept, name=name, file=image)

    async def _last_frame(
        self, name: str, clip: Reference, job: Generation, index: int
    ) -> Reference:
        """Let the last frame that an earlier clip shows stand for it, as a picture."""
        try:
            frame = await self._media.last_frame(job, index)
            return replace(clip, file=await anyio.to_thread.run_sync(of_picture, frame))
        except ReferenceRefused as refused:
            wrong = f"{show(clip.text)} is a clip: {refused.message}"
            return replace(clip, problem=Problem(name, wrong, refused.fix))

    async def _clip(self, name: str, text: str) -> Reference:
        text = await self._by_record(text)
        if text.startswith(RECORDS):
            return await self._result(name, text, ("video",), "video")
        return await self._own(name, text, "video") or await self._url(name, text, "video")

    async def _sound(self, name: str, text: str) -> Reference:
        own = await self._own(name, text, "sound")
        return own or Reference(text, name=name, kind="sound")

    async def _own(self, name: str, text: str, kind: Kind) -> Reference | None:
        """Look at a clip or sound of this machine, if it is one."""
        if not (self._settings.accepts.files and is_local(text)):
            return None
        medium: Literal["video", "audio"] = "audio" if kind == "sound" else "video"
        try:
            clip = await read_clip(self._local, _HASH.sub("", text), medium)
        except ReferenceRefused as refused:
            wrong = Problem(name, refused.message, refused.fix)
            return Reference(text, name=name, kind=kind, problem=wrong)
        kept = f"{clip.path.as_uri()}#sha256={clip.sha256[:16]}"
        return Reference(kept, name=name, kind=kind, file=clip)

    async def _result(
        self, name: str, text: str, media: tuple[MediaType, ...], kind: Kind
    ) -> Reference:
        """Find the earlier result that a URI names, or say what is wrong with it."""
        record, _, place = text.removeprefix(f"{RECORDS}/").partition("/media/")
        job = await self._ledger.records.get(unquote(record))
        index = int(place) if place.isascii() and place.isdigit() and len(place) < 4 else -1
        if job is None:
            wrong = Problem(
                name,
                f"{show(text)} names no generation of this account",
                "see the newest ones, with check_status",
            )
        elif job.status != "completed":
            wrong = Problem(name, f"{show(text)} is {job.status}", "wait until it is completed")
        elif not 0 <= index < len(job.media_urls):
            last = len(job.media_urls) - 1
            wrong = Problem(name, f"{show(text)} does not exist", f"its media count 0 to {last}")
        elif job.media_type not in media:
            wrong = Problem(name, f"{show(text)} is {job.media_type} data", f"name a {media[0]}")
        else:
            url = job.media_urls[index]
            return Reference(text, url, name=name, kind=kind, result=(job, index))
        return Reference(text, name=name, kind=kind, problem=wrong)

    async def _url(self, name: str, text: str, kind: Kind) -> Reference:
        """Look up whether a URL is that of an earlier result; it stands for itself anyhow."""
        made = None
        with contextlib.suppress(LedgerUnavailable):
            made = await self._ledger.records.made(text)
        return Reference(text, name=name, kind=kind, result=made)

    async def publish(
        self, references: References, sent: Mapping[str, Any], seconds: float
    ) -> tuple[dict[str, Any], Copies]:
        """Return what is sent, a URL for every reference, and how many files were uploaded.

        Args:
            references: those of the call.
            sent: its arguments.
            seconds: how long it can wait for uploads.

        Raises:
            UploadFailed: a file is not uploaded, or not yet; nothing was generated or charged.
        """
        body = dict(sent)
        urls, uploaded = dict(references.urls), Copies()
        if files := references.files:
            model_id = str(sent.get("modelId"))
            copies, uploaded = await self._uploads.urls(files, model_id, seconds)
            urls |= copies  # also the last frame of a clip, where a picture is wanted
        for name, kind in _LISTS.items():
            if name in body:
                body[name] = [urls.get((kind, text), text) for text in body[name]]
        if "referenceVideo" in body:
            clip = body["referenceVideo"]
            body["referenceVideo"] = urls.get(("video", clip), clip)
        if "referenceVideos" in body:
            # The field has the length of one clip; several are measured by the service alone.
            body.pop("referenceVideoDuration", None)
        return body, uploaded
