"""The MeiGen wire, and the only HTTP client.

What a reply means is told by `replies`. Every failure becomes one class of `errors.ApiError`; no
text of a library leaves this module.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from meigen_mcp import errors
from meigen_mcp.api import objects, replies
from meigen_mcp.api.body import Body
from meigen_mcp.api.wire import Wire, giving_up_after, redirected, translating
from meigen_mcp.catalogue.reference_rules import public_url
from meigen_mcp.reports import Report
from meigen_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx  # loaded on first use: it takes as long as the rest of this package

CONNECT_SECONDS = 10.0
GET_SECONDS = 15.0
POST_SECONDS = 60.0
PRESIGN_SECONDS = 15.0
PUT_SECONDS = 30.0
SLOWEST = 2**16
"""Bytes a second of the slowest line that an upload is waited for on, beyond PUT_SECONDS."""
_PIECE = 2**16
_LONGEST_URL = 4096
_GONE = (403, 404, 410)
_MOST_REDIRECTS = 5


class Api:
    """A client for one account.

    Args:
        settings: origin and token.
        transport: what carries the requests; by default the network, by way of the proxies and
            with the certificates of the environment.
    """

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._token = settings.token
        self._base_url = f"{settings.base_url}/api"
        self._presign_url = f"{settings.upload_url}/upload/presign"
        self._wire = Wire(transport)
        self._acceptable = public_url(settings.own_origin)

    async def close(self) -> None:
        """Close all connections."""
        await self._wire.close()

    @property
    def has_token(self) -> bool:
        """Whether anything may be asked that is not public."""
        return self._token is not None

    async def submit(self, body: str) -> Report:
        """Start the generation that a stored body describes.

        Raises:
            ApiError: MeiGen refused it, or its answer was lost.
        """
        payload = await self._json(
            "POST",
            "/generate/v2",
            content=body.encode(),
            headers={"Content-Type": "application/json"},
            seconds=POST_SECONDS,
        )
        report = replies.accepted(payload, self.acceptable)
        if report.generation_id is None:
            raise errors.UnreadableReply("MeiGen's answer to the submission lacks an id.")
        return report

    async def status(self, generation_id: str, *, public: bool = False) -> Report:
        """Look at a generation.

        Args:
            generation_id: MeiGen's id.
            public: ask as anybody may, since it may be another account's.

        Raises:
            ApiError: MeiGen did not say how it stands.
        """
        path = f"/generate/v2/status/{quote(generation_id, safe='')}"
        try:
            payload = await self._json("GET", path, public=public)
        except errors.Unauthorized as refused:  # the token counts no more, but the route is public
            try:
                payload = await self._json("GET", path, public=True)
            except errors.ApiError:
                raise refused from None
        report = replies.report(payload, self.acceptable)
        if report.generation_id == generation_id:
            return report
        return replace(report, generation_id=generation_id, other_id=report.generation_id)

    async def lookup(self, request_id: str) -> Report:
        """Ask what became of the submission with this idempotency key.

        Raises:
            RequestNotFound: MeiGen says that it never accepted one.
            ApiError: MeiGen did not say.
        """
        payload = await self._json("GET", f"/generate/v2/requests/{quote(request_id, safe='')}")
        report = replies.report(payload, self.acceptable)
        if report.generation_id is None:
            raise errors.UnreadableReply("MeiGen's answer to the look-up lacks an id.")
        return report

    async def models(self) -> Any:
        """Return the body of the live model list."""
        return await self._json("GET", "/models")

    @asynccontextmanager
    async def download(self, url: str, seconds: float) -> AsyncIterator[Body]:
        """Open a result for streaming; redirects are followed to acceptable URLs only.

        Raises:
            ApiError: it cannot be had, or its URL is not one to open.
        """
        # No token: results lie on another host than the API.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        with translating():
            for _ in range(_MOST_REDIRECTS + 1):
                if not self.acceptable(url):
                    raise errors.UnreadableReply("The result is at an address that is not public.")
                async with self._wire.open("GET", url, headers, (seconds,) * 4) as response:
                    if response.has_redirect_location:
                        url = redirected(url, response)
                        continue
                    status = response.status_code
                    if status != 200:
                        kind = errors.ResultGone if status in _GONE else errors.UnreadableReply
                        error = kind(f"The result could not be opened (HTTP {status}).")
                        if kind is errors.ResultGone:  # a page of somebody in between ends nothing
                            error.retryable = objects.is_for_people(await Body(response).start())
                        raise error
                    yield Body(response)
                    return
        raise errors.UnreadableReply("The result redirects too often.")

    def acceptable(self, url: str) -> bool:
        """Say whether a URL from a reply may be opened or handed on."""
        return len(url) <= _LONGEST_URL and not any(self._acceptable.check(url, "url"))

    async def upload(self, data: bytes, filename: str, content_type: str) -> str:
        """Make a reference image public for 24 hours and return its URL.

        Args:
            data: the image, at most the gateway's 9,500,000 bytes.
            filename: what the gateway is told; anyone may see it.
            content_type: image/jpeg, image/png, image/webp or image/gif.

        Raises:
            UploadFailed: nothing was generated or charged.
        """
        asked = {"filename": filename, "contentType": content_type, "size": len(data)}
        promise = await self._uploading(
            "POST",
            self._presign_url,
            json.dumps(asked).encode(),
            content_type="application/json",
            seconds=PRESIGN_SECONDS,
        )
        return await self._put(promise, data, content_type)

    async def upload_clip(
        self, data: bytes, filename: str, content_type: str, *, kind: str, model_id: str
    ) -> str:
        """Make a clip or sound public for seven days and return its URL; it costs no credits.

        Args:
            data: the clip.
            filename: what the service is told; anyone may see it.
            content_type: video/mp4, video/quicktime, audio/wav or audio/mpeg.
            kind: video or audio.
            model_id: for which model.

        Raises:
            UploadFailed: nothing was generated or charged.
        """
        asked = {
            "modelId": model_id,
            "kind": kind,
            "filename": filename,
            "contentType": content_type,
            "size": len(data),
        }
        promise = await self._uploading(
            "POST",
            f"{self._base_url}/upload/reference-video",
            json.dumps(asked).encode(),
            content_type="application/json",
            seconds=PRESIGN_SECONDS,
            signed=True,
        )
        return await self._put(promise, data, content_type)

    async def _put(self, promise: Mapping[str, Any], data: bytes, content_type: str) -> str:
        """Send the bytes to where an upload was promised, and return their public URL."""
        if promise.get("success") is not True:
            raise replies.not_uploaded("The upload gateway promised nothing.")
        presigned, public = (str(promise.get(name)) for name in ("presignedUrl", "publicUrl"))
        if not (self.acceptable(presigned) and self.acceptable(public)):
            raise replies.not_uploaded("The upload gateway named an address that is not public.")
        await self._uploading(
            "PUT",
            presigned,
            data,
            content_type=content_type,
            seconds=PUT_SECONDS,
            whole=PUT_SECONDS + len(data) / SLOWEST,
        )
        return public

    async def _uploading(
        self,
        method: str,
        url: str,
        content: bytes,
        *,
        content_type: str,
        seconds: float,
        whole: float | None = None,
        signed: bool = False,
    ) -> dict[str, Any]:
        """Do one step of an upload, and return what is said; only the API's own gets the token."""
        headers = {"Content-Type": content_type, "Content-Length": str(len(content))}
        if signed and self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        try:
            response, raw, _ = await self._exchange(
                method,
                url,
                headers=headers,
                content=_pieces(content) if len(content) > _PIECE else content,
                seconds=seconds,
                whole=whole or seconds,
            )
        except errors.ApiError as error:
            raise replies.not_uploaded(error.message) from None
        payload = objects.parsed(raw, self._token) or {}
        if not response.is_success or payload.get("success") is False:
            header = response.headers.get("retry-after")
            raise replies.upload_failure(response.status_code, payload, header)
        if method == "PUT" and objects.is_for_people(raw):
            raise replies.not_uploaded("A page of somebody in between came back.")
        return payload

    async def _json(
        self,
        method: str,
        path: str,
        *,
        seconds: float = GET_SECONDS,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
        public: bool = False,
    ) -> dict[str, Any]:
        headers = dict(headers or {})
        if self._token and not public:
            headers["Authorization"] = f"Bearer {self._token}"
        whole = seconds + CONNECT_SECONDS
        url = f"{self._base_url}{path}"
        response, raw, packed = await self._exchange(
            method, url, headers=headers, content=content, seconds=seconds, whole=whole
        )
        payload = objects.parsed(raw, self._token)
        if payload is not None and response.is_success and payload.get("success") is not False:
            return payload
        lookup = "/requests/" in path
        unread = payload is None and response.is_success
        broke_off = unread and (packed or not objects.is_page(raw))
        broke_off = broke_off or (payload is None and objects.begins(raw))
        error: errors.ApiError
        if lookup and broke_off:
            error = errors.ServerError("MeiGen's answer to the look-up broke off.")
        elif unread and packed:
            error = errors.UnreadableReply(
                f"MeiGen's reply is packed as {packed}, which was not asked for."
            )
        else:
            header = response.headers.get("retry-after")
            error = replies.failure(response.status_code, payload, header, lookup=lookup)
        if payload is None:
            error.generation_id = replies.generation_id(objects.rest_of(raw))
        raise error

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | AsyncIterator[bytes] | None,
        seconds: float,
        whole: float,
    ) -> tuple[httpx.Response, bytes, str | None]:
        """Send a request and read its reply: its body, and how that is still packed.

        Args:
            method: of HTTP.
            url: where to; redirects are not followed.
            headers: besides those of every request.
            content: the body.
            seconds: for each write.
            whole: seconds for everything.
        """
        headers = {"Accept": "application/json", **headers, "Accept-Encoding": "gzip"}
        timeout = (CONNECT_SECONDS, None, seconds, seconds)  # reading is bounded by the whole
        body: Body | None = None
        try:
            with translating(), giving_up_after(whole):
                async with self._wire.open(method, url, headers, timeout, content) as response:
                    body = Body(response)
                    raw = await body.read()
        except (errors.UnreadableReply, errors.Unreachable) as error:
            if body is None:
                raise
            raw = body.so_far
            told = objects.parsed(raw, None) is not None or objects.rest_of(raw)
            unread = isinstance(error, errors.UnreadableReply)
            if not told and (not unread or replies.stands_there(response.status_code)):
                raise
        return response, raw, body.packed


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    """Give the bytes one after another: each has to be written in its time, not all at once."""
    for start in range(0, len(data), _PIECE):
        yield data[start : start + _PIECE]
