"""What the references of a call stand for: earlier results, files of this machine, public URLs.

They are looked at before a call is judged; a file is uploaded only after money was decided on.
"""

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import unquote

import anyio

from meigen_mcp.api import Api
from meigen_mcp.catalogue import MediaType
from meigen_mcp.errors import MeigenError, Problem, UploadFailed
from meigen_mcp.generation import RECORDS, Generation, media_uri
from meigen_mcp.ledger import Ledger
from meigen_mcp.local_references import LocalImage, LocalReferences, ReferenceRefused, is_local
from meigen_mcp.media import Media
from meigen_mcp.rules import absent, show
from meigen_mcp.settings import Settings
from meigen_mcp.uploads import Uploads

UPLOAD_SECONDS = 25.0
_HASH = re.compile(r"#sha256=[0-9a-f]{16}$")
_MOST = 16
_AT_ONCE = 3


@dataclass(slots=True)
class Given:
    """A call's arguments with its references looked up.

    Attributes:
        arguments: as the record keeps them: a file by its path and the hash of its bytes.
        urls: what the API is told for an earlier result, by its text in `arguments`.
        files: what is uploaded for a file, by its text in `arguments`.
        made_from: the URIs of the earlier results.
        measured: whether `referenceVideoDuration` was read in the saved clip.
        problems: what is wrong with the references.
    """

    arguments: dict[str, Any]
    urls: dict[str, str] = field(default_factory=dict)
    files: dict[str, LocalImage] = field(default_factory=dict)
    made_from: list[str] = field(default_factory=list)
    measured: bool = False
    problems: list[Problem] = field(default_factory=list)


class Sources:
    """Looks references up, for one account."""

    def __init__(
        self,
        settings: Settings,
        account: str,
        ledger: Ledger,
        api: Api,
        media: Media,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._account = account
        self._ledger = ledger
        self._api = api
        self._media = media
        self._clock = clock
        self._uploads = Uploads(ledger.database, settings.upload_url)
        self._local = LocalReferences(settings.reference_folders)
        self._files = settings.accepts.files

    async def look_up(self, arguments: Mapping[str, Any]) -> Given:
        """Look at every reference of a call; nothing is sent.

        Raises:
            LedgerUnavailable: an earlier result cannot be looked up.
        """
        given = Given(dict(arguments))
        images = arguments.get("referenceImages")
        if isinstance(images, list) and len(images) <= _MOST:
            given.arguments["referenceImages"] = [
                await self._image(given, f"referenceImages[{index}]", image)
                for index, image in enumerate(images)
            ]
        clip = arguments.get("referenceVideo")
        if isinstance(clip, str):
            await self._clip(given, clip)
        return given

    async def _image(self, given: Given, name: str, text: Any) -> Any:
        """Look one image up, and return how the record names it."""
        if not isinstance(text, str):
            return text
        if text.startswith(RECORDS):
            self._result(given, name, text, "image")
            return text
        if not (self._files and is_local(text)):
            self._note_origin(given, text)
            return text
        try:
            image = await self._local.read(_HASH.sub("", text))
        except ReferenceRefused as refused:
            given.problems.append(Problem(name, refused.message, refused.fix))
            return text
        known = f"{image.path.as_uri()}#sha256={image.sha256[:16]}"
        given.files[known] = image
        return known

    async def _clip(self, given: Given, text: str) -> None:
        if not text.startswith(RECORDS):
            self._note_origin(given, text)
            return
        found = self._result(given, "referenceVideo", text, "video")
        if found is None or not absent(given.arguments.get("referenceVideoDuration")):
            return
        seconds = await self._media.seconds(*found)
        if seconds is None:
            given.problems.append(
                Problem(
                    "referenceVideoDuration",
                    "missing: no saved file of that result tells its length",
                    "give the clip's length in seconds",
                )
            )
        else:
            given.arguments["referenceVideoDuration"] = round(seconds, 3)
            given.measured = True

    def _result(
        self, given: Given, name: str, text: str, medium: MediaType
    ) -> tuple[Generation, int] | None:
        """Find the earlier result that a URI names, or say what is wrong with it."""
        record, _, place = text.removeprefix(f"{RECORDS}/").partition("/media/")
        job = self._ledger.get(self._account, unquote(record))
        index = int(place) if place.isascii() and place.isdigit() and len(place) < 4 else -1
        if job is None:
            wrong = Problem(
                name, f"{show(text)} names no generation of this account", "see check_status"
            )
        elif job.status != "completed":
            wrong = Problem(name, f"{show(text)} is {job.status}", "wait until it is completed")
        elif not 0 <= index < len(job.media_urls):
            last = len(job.media_urls) - 1
            wrong = Problem(name, f"{show(text)} does not exist", f"its media count 0 to {last}")
        elif job.media_type != medium:
            wrong = Problem(name, f"{show(text)} is {job.media_type} data", f"name a {medium}")
        else:
            given.urls[text] = job.media_urls[index]
            given.made_from.append(media_uri(job.name, index))
            return job, index
        given.problems.append(wrong)
        return None

    def _note_origin(self, given: Given, url: str) -> None:
        """Note that a URL is an earlier result, if it is one."""
        made = self._ledger.made(self._account, url) if self._ledger.available() else None
        if made is not None:
            given.made_from.append(media_uri(made[0].name, made[1]))

    async def publish(self, given: Given, sent: Mapping[str, Any]) -> tuple[dict[str, Any], int]:
        """Return what is sent, a URL for every reference, and how many files were uploaded.

        Raises:
            UploadFailed: a file could not be uploaded; nothing was generated or charged.
        """
        urls, uploaded = await self._uploaded(given.files) if given.files else ({}, 0)
        urls |= given.urls
        body = dict(sent)
        if "referenceImages" in body:
            body["referenceImages"] = [urls.get(text, text) for text in body["referenceImages"]]
        if "referenceVideo" in body:
            body["referenceVideo"] = urls.get(body["referenceVideo"], body["referenceVideo"])
        return body, uploaded

    async def _uploaded(self, files: Mapping[str, LocalImage]) -> tuple[dict[str, str], int]:
        now = self._clock()
        urls = {text: self._uploads.url(image.sha256, now) for text, image in files.items()}
        failures: list[MeigenError] = []
        places = anyio.CapacityLimiter(_AT_ONCE)

        async def upload(text: str, image: LocalImage) -> None:
            async with places:
                try:
                    url = await self._api.upload(image.data, image.filename, image.mime_type)
                except MeigenError as error:
                    failures.append(error)
                    return
            self._uploads.keep(image.sha256, url, self._clock())
            urls[text] = url

        missing = [text for text, url in urls.items() if url is None]
        with anyio.move_on_after(UPLOAD_SECONDS):
            async with anyio.create_task_group() as group:
                for text in missing:
                    group.start_soon(upload, text, files[text])
        if failures:
            raise failures[0]
        if None in urls.values():
            raise UploadFailed(
                f"The local references were not uploaded within {UPLOAD_SECONDS:.0f} s. Nothing was"
                " generated or charged; what arrived is kept, so that the same call goes on."
            )
        return {text: url for text, url in urls.items() if url is not None}, len(missing)
