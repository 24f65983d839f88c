"""The MeiGen wire, and the only HTTP client.

Field names and error codes: the official page of 2026-05 and the official client up to 2026-10.
Every failure becomes one class of `errors.ApiError`; no text of a library leaves this module.
"""

import json
import re
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from functools import cached_property
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import anyio
import httpx

from meigen_mcp import errors
from meigen_mcp.catalogue import MediaType
from meigen_mcp.generation import Balance, Report
from meigen_mcp.references import public_url
from meigen_mcp.settings import Settings

LARGEST_REPLY = 4 * 2**20
LONGEST_RETRY_AFTER = 300.0
LONGEST_EXPECTED = 3600.0
CONNECT_SECONDS = 10.0
GET_SECONDS = 15.0
POST_SECONDS = 60.0
_LONGEST_URL = 4096
_SHORTEST_SECRET = 10
_MOST_MEDIA = 16
_MOST_REDIRECTS = 5

CODES: Mapping[str, type[errors.ApiError]] = MappingProxyType(
    {
        "invalid_request": errors.InvalidRequest,
        "insufficient_credits": errors.InsufficientCredits,
        "request_not_found": errors.RequestNotFound,
        "in_progress": errors.InProgress,
        "idempotency_conflict": errors.IdempotencyConflict,
        "request_id_collision": errors.RequestIdCollision,
        "generation_unavailable": errors.GenerationGone,
        "status_query_busy": errors.StatusBusy,
    }
)
_STATUSES: Mapping[int, type[errors.ApiError]] = MappingProxyType(
    {
        401: errors.Unauthorized,
        402: errors.InsufficientCredits,
        403: errors.Forbidden,
        408: errors.ServerError,
        409: errors.InProgress,
        410: errors.GenerationGone,
        429: errors.RateLimited,
    }
)
_MODERATION = re.compile(r"\b(safety|policy|flagged|moderation|prohibited)\b", re.IGNORECASE)


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
        self._transport = transport
        self._acceptable = public_url(settings.own_origin)

    @cached_property
    def _http(self) -> httpx.AsyncClient:
        """The client, made on first use: what it reads of the environment may be unusable."""
        try:
            return httpx.AsyncClient(
                base_url=self._base_url,
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
        report = self._report(payload)
        if report.generation_id is None or not payload.get("success"):
            raise errors.UnreadableReply("MeiGen's answer to the submission lacks an id.")
        return report

    async def status(self, generation_id: str) -> Report:
        """Look at a generation.

        Raises:
            ApiError: MeiGen did not say how it stands.
        """
        payload = await self._json("GET", f"/generate/v2/status/{quote(generation_id, safe='')}")
        return replace(self._report(payload), generation_id=generation_id)

    async def lookup(self, request_id: str) -> Report:
        """Ask what became of the submission with this idempotency key.

        Raises:
            RequestNotFound: MeiGen says that it never accepted one.
            ApiError: MeiGen did not say.
        """
        payload = await self._json("GET", f"/generate/v2/requests/{quote(request_id, safe='')}")
        report = self._report(payload)
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

    async def _json(
        self,
        method: str,
        path: str,
        *,
        seconds: float = GET_SECONDS,
        headers: Mapping[str, str] | None = None,
        content: bytes | None = None,
    ) -> dict[str, Any]:
        headers = {**(headers or {}), "Accept-Encoding": "gzip"}
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        timeout = httpx.Timeout(seconds, connect=CONNECT_SECONDS)
        raw = bytearray()
        with _translated(), anyio.fail_after(seconds + CONNECT_SECONDS):
            async with self._http.stream(
                method, path, headers=headers, content=content, timeout=timeout
            ) as response:
                _refuse_packed(response, "gzip")
                async for chunk in response.aiter_bytes():
                    raw += chunk
                    if len(raw) > LARGEST_REPLY:
                        raise errors.UnreadableReply("MeiGen's reply was too large to read.")
        return self._judged(response, bytes(raw), lookup="/requests/" in path)

    def _judged(self, response: httpx.Response, raw: bytes, *, lookup: bool) -> dict[str, Any]:
        payload = self._object(raw)
        if payload is not None and response.is_success and payload.get("success") is not False:
            return payload
        said = payload or {}
        text = _words(said.get("error"))
        after = _retry_after(response.headers.get("retry-after"), said.get("retryAfterSeconds"))
        status = response.status_code
        kind = CODES.get(_text(said.get("code")) or "") or _STATUSES.get(status)
        if status == 429 and kind is not errors.StatusBusy:
            kind = errors.RateLimited
        if payload is None and kind in (None, errors.GenerationGone):
            # Nothing but the API's own word ends a generation for good.
            kind = errors.UnreadableReply
        elif kind is None and status == 404:
            # Any other 404 on the look-up route must not be read as "not submitted".
            kind = errors.UnreadableReply if lookup else errors.JobNotFound
        elif kind is None and 400 <= status < 500:
            kind = errors.InvalidRequest
        elif kind is None:
            kind = errors.ServerError
        if kind is errors.InvalidRequest and _MODERATION.search(text):
            kind = errors.ModerationRefused
        raise kind(_sentence(kind, text, said, status), retry_after=after)

    def _object(self, raw: bytes) -> dict[str, Any] | None:
        try:
            payload = self._cleaned(json.loads(raw))
        except (ValueError, RecursionError):
            return None
        return payload if isinstance(payload, dict) else None

    def _cleaned(self, value: Any) -> Any:
        """Return JSON without the token, and without half characters, which cannot be stored."""
        match value:
            case str():
                text = value.encode("utf-8", "replace").decode()
                secret = self._token or ""
                return text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
            case list():
                return [self._cleaned(item) for item in value]
            case dict():
                return {self._cleaned(name): self._cleaned(item) for name, item in value.items()}
        return value

    def _report(self, payload: Mapping[str, Any]) -> Report:
        status = payload.get("status")
        if not isinstance(status, str):
            raise errors.UnreadableReply("MeiGen's reply does not say how the generation stands.")
        media: MediaType | None = None
        if payload.get("mediaType") in ("image", "video"):
            media = payload["mediaType"]
        expected = _seconds(payload.get("expectedWaitSeconds"))
        return Report(
            status=status,
            generation_id=_text(payload.get("generationId")) or _text(payload.get("jobId")),
            media_type=media,
            model_id=_text(payload.get("modelId")),
            media_urls=self._media_urls(payload),
            aspect_ratio=_text(payload.get("aspectRatio")),
            credits_used=_number(payload.get("creditsUsed"), minimum=0),
            credits_status=_text(payload.get("creditsStatus")),
            balance=_balance(payload.get("credits")),
            error=_words(payload.get("error")) or None,
            failure_code=_text(payload.get("failureCode")),
            observed_seconds=_seconds(payload.get("pollHintSeconds")),
            expected_seconds=min(expected, LONGEST_EXPECTED) if expected and expected > 0 else None,
        )

    def _media_urls(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        """Return the video, else all images, else the one image."""
        for found in (
            [payload.get("videoUrl")],
            payload.get("imageUrls"),
            [payload.get("imageUrl")],
        ):
            urls = found if isinstance(found, list) else []
            wanted = dict.fromkeys(u for u in urls if isinstance(u, str) and self.acceptable(u))
            if wanted:
                return tuple(wanted)[:_MOST_MEDIA]
        return ()


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every failure of httpx and below into an `Unreachable` without its text."""
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


# `{words}` are the API's own, `{figures}` what it says of the balance.
_SENTENCES: Mapping[type[errors.ApiError], str] = MappingProxyType(
    {
        errors.Unauthorized: "MeiGen does not accept the token in MEIGEN_API_TOKEN."
        " Nothing was charged.",
        errors.Forbidden: "MeiGen does not allow this for the account{words}. Nothing was charged.",
        errors.InsufficientCredits: "The purchased credits are not enough{figures}. Daily free"
        " credits do not count through an API token. Nothing was charged.",
        errors.ModerationRefused: "MeiGen's content filter refused it{words}. Nothing was charged.",
        errors.InvalidRequest: "MeiGen refused the request{words}. Nothing was charged.",
        errors.RateLimited: "MeiGen's limit of submissions a minute is used up.",
        errors.UnreadableReply: "MeiGen's reply was not the documented JSON{words}.",
        errors.GenerationGone: "MeiGen has deleted the record of this generation; what it cost is"
        " not known.",
        errors.RequestNotFound: "MeiGen has no generation for this request.",
        errors.JobNotFound: "MeiGen does not know this generation.",
        errors.InProgress: "MeiGen is still taking the submission in.",
        errors.IdempotencyConflict: "MeiGen holds this requestId for something else.",
        errors.RequestIdCollision: "MeiGen holds this requestId for something else.",
        errors.StatusBusy: "MeiGen cannot say right now how it stands.",
        errors.ServerError: "MeiGen has a problem of its own{words}.",
    }
)


def _sentence(kind: type[errors.ApiError], text: str, said: Mapping[str, Any], status: int) -> str:
    words = f": {text.rstrip('.')}" if text else f" (HTTP {status})"
    need, have = _number(said.get("required")), _number(said.get("available"))
    known = need is not None and have is not None
    figures = f" ({need:f} needed, {have:f} there)" if known else ""
    return _SENTENCES[kind].format(words=words, figures=figures)


def _words(value: Any) -> str:
    """Return the API's own words, short and on one line."""
    if isinstance(value, Mapping):
        value = value.get("message")
    if not isinstance(value, str):
        return ""
    text = "".join(letter if letter.isprintable() else " " for letter in value[:1000])
    return " ".join(text.split())[:300]


def _retry_after(header: str | None, seconds: Any) -> float | None:
    """Return the longer of both hints, capped; what lies in the past is no hint."""
    hints = (_header_seconds(header), _seconds(seconds))
    said = [hint for hint in hints if hint is not None and hint >= 0]
    return min(max(said), LONGEST_RETRY_AFTER) if said else None


def _header_seconds(header: str | None) -> float | None:
    """Read a `Retry-After`: seconds or a date."""
    try:
        return None if header is None else float(header)
    except ValueError:
        pass
    try:
        when = parsedate_to_datetime(header or "")
    except (ValueError, OverflowError):
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return (when - datetime.now(UTC)).total_seconds()


def _balance(value: Any) -> Balance | None:
    if not isinstance(value, Mapping):
        return None
    unlimited = value.get("unlimited")
    return Balance(
        _number(value.get("daily")),
        _number(value.get("purchased")),
        unlimited if isinstance(unlimited, bool) else None,
    )


def _number(value: Any, *, minimum: float = float("-inf")) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() and abs(number) < 10**12 and number >= minimum else None


def _seconds(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else float(number)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 500 else None
