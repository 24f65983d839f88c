"""The MeiGen wire, and the only HTTP client.

What a reply means is told by `replies`. Every failure becomes one class of `errors.ApiError`; no
text of a library leaves this module.
"""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

import anyio

from meigen_mcp import errors, replies
from meigen_mcp.generation import Report
from meigen_mcp.references import public_url
from meigen_mcp.settings import Settings

if TYPE_CHECKING:
    import httpx  # loaded on first use: it takes as long as the rest of this package

LARGEST_REPLY = 4 * 2**20
CONNECT_SECONDS = 10.0
GET_SECONDS = 15.0
POST_SECONDS = 60.0
PRESIGN_SECONDS = 15.0
PUT_SECONDS = 30.0
_LONGEST_URL = 4096
_MOST_REDIRECTS = 5


class Api:
    """A client for one account.

    Args:
        settings: origin and token.
        transport: what carries the requests; by default the network, with the proxy and
            certificate variables that httpx honours.
    """

    def __init__(
        self, settings: Settings, transport: httpx.AsyncBaseTransport | None = None
    ) -> None:
        self._token = settings.token
        self._base_url = f"{settings.base_url}/api"
        self._presign_url = f"{settings.upload_url}/upload/presign"
        self._transport = transport
        self._acceptable = public_url(settings.own_origin)

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        """The client, made on first use: what it reads of the environment may be unusable."""
        import httpx  # noqa: PLC0415  # as above

        try:
            return httpx.AsyncClient(
                transport=self._transport,
                limits=httpx.Limits(max_connections=24, max_keepalive_connections=24),
                headers={"Accept": "application/json", "User-Agent": "meigen-mcp"},
            )
        except (ImportError, OSError, ValueError, httpx.InvalidURL):
            raise errors.Unreachable(
                "MeiGen cannot be reached with the proxy (HTTPS_PROXY, ALL_PROXY) or the"
                " certificates (SSL_CERT_FILE, SSL_CERT_DIR) of the environment; nothing was sent.",
                sent=False,
            ) from None

    async def close(self) -> None:
        """Close all connections."""
        if "_http" in vars(self):
            await self._http.aclose()

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
        report = replies.report(payload, self.acceptable)
        if report.generation_id is None or not payload.get("success"):
            raise errors.UnreadableReply("MeiGen's answer to the submission lacks an id.")
        return report

    async def status(self, generation_id: str) -> Report:
        """Look at a generation.

        Raises:
            ApiError: MeiGen did not say how it stands.
        """
        payload = await self._json("GET", f"/generate/v2/status/{quote(generation_id, safe='')}")
        return replace(replies.report(payload, self.acceptable), generation_id=generation_id)

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
    async def download(self, url: str, seconds: float) -> AsyncIterator[httpx.Response]:
        """Open a result for streaming; redirects are followed to acceptable URLs only.

        Raises:
            ApiError: it cannot be had, or its URL is not one to open.
        """
        # No token: results lie on another host than the API.
        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        with _translated():
            for _ in range(_MOST_REDIRECTS + 1):
                if not self.acceptable(url):
                    raise errors.UnreadableReply("The result is at an address that is not public.")
                async with self._http.stream(
                    "GET", url, headers=headers, timeout=seconds
                ) as response:
                    if response.next_request is not None:
                        url = str(response.next_request.url)
                        continue
                    if response.status_code != 200:
                        raise errors.UnreadableReply(
                            f"The result could not be opened (HTTP {response.status_code})."
                        )
                    _refuse_packed(response, "identity")
                    yield response
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
        if promise.get("success") is not True:
            raise replies.not_uploaded("The upload gateway promised nothing.")
        presigned, public = (str(promise.get(name)) for name in ("presignedUrl", "publicUrl"))
        if not (self.acceptable(presigned) and self.acceptable(public)):
            raise replies.not_uploaded("The upload gateway named an address that is not public.")
        await self._uploading(
            "PUT", presigned, data, content_type=content_type, seconds=PUT_SECONDS
        )
        return public

    async def _uploading(
        self, method: str, url: str, content: bytes, *, content_type: str, seconds: float
    ) -> dict[str, Any]:
        """Do one step of an upload, and return what is said; no step carries the token."""
        headers = {"Content-Type": content_type}
        try:
            response, raw = await self._exchange(
                method, url, headers=headers, content=content, seconds=seconds, whole=seconds
            )
        except errors.ApiError as error:
            raise replies.not_uploaded(error.message) from None
        payload = replies.parsed(raw, self._token) or {}
        if not response.is_success or payload.get("success") is False:
            header = response.headers.get("retry-after")
            raise replies.upload_failure(response.status_code, payload, header)
        return payload

    async def _json(
        self,
        method: str,
        path: str,
        *,
        seconds: float = GET_SECONDS,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> dict[str, Any]:
        headers = dict(headers or {})
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        whole = seconds + CONNECT_SECONDS
        url = f"{self._base_url}{path}"
        response, raw = await self._exchange(
            method, url, headers=headers, content=content, seconds=seconds, whole=whole
        )
        payload = replies.parsed(raw, self._token)
        if payload is not None and response.is_success and payload.get("success") is not False:
            return payload
        raise replies.failure(
            response.status_code,
            payload,
            response.headers.get("retry-after"),
            lookup="/requests/" in path,
        )

    async def _exchange(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str],
        content: bytes | None,
        seconds: float,
        whole: float,
    ) -> tuple[httpx.Response, bytes]:
        """Send a request and read its reply.

        Args:
            method: of HTTP.
            url: where to; redirects are not followed.
            headers: besides those of every request.
            content: the body.
            seconds: for each read and write.
            whole: seconds for everything.
        """
        headers = {**headers, "Accept-Encoding": "gzip"}
        timeout = (CONNECT_SECONDS, seconds, seconds, seconds)
        raw = bytearray()
        with _translated(), anyio.fail_after(whole):
            async with self._http.stream(
                method, url, headers=headers, content=content, timeout=timeout
            ) as response:
                _refuse_packed(response, "gzip")
                async for chunk in response.aiter_bytes():
                    raw += chunk
                    if len(raw) > LARGEST_REPLY:
                        raise errors.UnreadableReply("MeiGen's reply was too large to read.")
        return response, bytes(raw)


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every failure of httpx and below into an `Unreachable` without its text."""
    import httpx  # noqa: PLC0415  # as above

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
        raise errors.Unreachable(
            "MeiGen could not be reached; nothing was sent.", sent=False
        ) from None
    except (httpx.TimeoutException, TimeoutError):
        raise errors.Unreachable("MeiGen did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError):
        raise errors.Unreachable("The connection to MeiGen was lost.") from None


def _refuse_packed(response: httpx.Response, accepted: str) -> None:
    """Refuse a compression that was not asked for: a few packed bytes can fill the memory."""
    if response.headers.get("content-encoding", "identity").lower() not in ("identity", accepted):
        raise errors.UnreadableReply("The reply is packed in a way that was not asked for.")
