"""The MeiGen wire, and the only HTTP client.

Field names and error codes: the official page of 2026-05 and the official client up to 2026-10.
Every failure becomes one class of `errors.ApiError`; no text of a library leaves this module.
"""

import json
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urljoin

import httpx

from meigen_mcp import errors
from meigen_mcp.catalogue import MediaType
from meigen_mcp.generation import Balance, Report
from meigen_mcp.references import public_url
from meigen_mcp.settings import Settings

LARGEST_REPLY = 4 * 2**20
LONGEST_RETRY_AFTER = 300.0
POST_SECONDS = 60.0
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
        self._acceptable = public_url(settings.own_origin)
        self._http = httpx.AsyncClient(
            base_url=f"{settings.base_url}/api",
            transport=transport,
            timeout=httpx.Timeout(15, connect=10),
            limits=httpx.Limits(max_connections=24, max_keepalive_connections=24),
            headers={"Accept": "application/json", "User-Agent": "meigen-mcp"},
        )

    async def close(self) -> None:
        """Close all connections."""
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
            timeout=httpx.Timeout(POST_SECONDS, connect=10),
        )
        report = self._report(payload)
        if report.generation_id is None or payload.get("success") in (None, 0, ""):
            raise errors.UnreadableReply("MeiGen's answer to the submission lacks an id.")
        return report

    async def status(self, generation_id: str) -> Report:
        """Look at a generation.

        Raises:
            ApiError: MeiGen did not say how it stands.
        """
        payload = await self._json("GET", f"/generate/v2/status/{quote(generation_id, safe='')}")
        return self._report(payload)

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
        for _ in range(_MOST_REDIRECTS + 1):
            if not self.acceptable(url):
                raise errors.UnreadableReply("The result is at an address that is not public.")
            with _translated():
                # No token: results lie on another host than the API.
                request = self._http.build_request(
                    "GET", url, headers={"Accept": "*/*"}, timeout=seconds
                )
                response = await self._http.send(request, stream=True)
            try:
                if response.is_redirect:
                    url = urljoin(url, response.headers.get("location", ""))
                    continue
                if response.status_code != 200:
                    raise errors.UnreadableReply(
                        f"The result could not be opened (HTTP {response.status_code})."
                    )
                with _translated():
                    yield response
                return
            finally:
                await response.aclose()
        raise errors.UnreadableReply("The result redirects too often.")

    def acceptable(self, url: str) -> bool:
        """Say whether a URL from a reply may be opened or handed on."""
        return not any(self._acceptable.check(url, "url"))

    async def _json(self, method: str, path: str, **request: Any) -> dict[str, Any]:
        headers = dict(request.pop("headers", {}))
        if self._token:
            headers["Authorization"] = f"Bearer {self._token}"
        with _translated():
            async with self._http.stream(method, path, headers=headers, **request) as response:
                raw = bytearray()
                async for chunk in response.aiter_bytes():
                    raw += chunk
                    if len(raw) > LARGEST_REPLY:
                        raise errors.UnreadableReply("MeiGen's reply was too large to read.")
        return self._judged(response, bytes(raw), lookup="/requests/" in path)

    def _judged(self, response: httpx.Response, raw: bytes, *, lookup: bool) -> dict[str, Any]:
        payload = _object(raw)
        if payload is not None and response.is_success and payload.get("success") is not False:
            return payload
        said = payload or {}
        code = _text(said.get("code")) or ""
        text = self._quoted(said.get("error"))
        after = _retry_after(response.headers.get("retry-after"), said.get("retryAfterSeconds"))
        status = response.status_code
        kind = CODES.get(code) or _STATUSES.get(status)
        if status == 429 and kind is not errors.StatusBusy:
            kind = errors.RateLimited
        if kind is None and payload is None:
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

    def _quoted(self, text: Any) -> str:
        """Return the API's own words, short and without the token."""
        if not isinstance(text, str):
            return ""
        words = " ".join(text.split())[:300]
        return words.replace(self._token, "***") if self._token else words

    def _report(self, payload: Mapping[str, Any]) -> Report:
        status = payload.get("status")
        if not isinstance(status, str):
            raise errors.UnreadableReply("MeiGen's reply does not say how the generation stands.")
        media: MediaType | None = None
        if payload.get("mediaType") in ("image", "video"):
            media = payload["mediaType"]
        return Report(
            status=status,
            generation_id=_text(payload.get("generationId")) or _text(payload.get("jobId")),
            media_type=media,
            model_id=_text(payload.get("modelId")),
            media_urls=self._media_urls(payload),
            aspect_ratio=_text(payload.get("aspectRatio")),
            credits_used=_number(payload.get("creditsUsed")),
            credits_status=_text(payload.get("creditsStatus")),
            balance=_balance(payload.get("credits")),
            error=self._quoted(payload.get("error")) or None,
            failure_code=_text(payload.get("failureCode")),
            observed_seconds=_seconds(payload.get("pollHintSeconds")),
            expected_seconds=_seconds(payload.get("expectedWaitSeconds")),
        )

    def _media_urls(self, payload: Mapping[str, Any]) -> tuple[str, ...]:
        images = payload.get("imageUrls")
        urls = [payload.get("videoUrl")]
        urls += images if isinstance(images, list) and images else [payload.get("imageUrl")]
        wanted = dict.fromkeys(url for url in urls if isinstance(url, str))
        return tuple(url for url in wanted if self.acceptable(url))[:_MOST_MEDIA]


@contextmanager
def _translated() -> Iterator[None]:
    """Turn every httpx failure into an `Unreachable` without its text."""
    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout):
        raise errors.Unreachable(
            "MeiGen could not be reached; nothing was sent.", sent=False
        ) from None
    except httpx.TimeoutException:
        raise errors.Unreachable("MeiGen did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError):
        raise errors.Unreachable("The connection to MeiGen was lost.") from None


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


def _object(raw: bytes) -> dict[str, Any] | None:
    try:
        payload = json.loads(raw)
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _retry_after(header: str | None, seconds: Any) -> float | None:
    """Return the longer of both hints, capped; a header may hold seconds or a date."""
    hints = [float(number) for number in (_number(seconds),) if number is not None]
    if header is not None:
        try:
            hints.append(float(header))
        except ValueError:
            try:
                when = parsedate_to_datetime(header)
            except (TypeError, ValueError):
                when = None
            if when is not None:
                when = when if when.tzinfo else when.replace(tzinfo=UTC)
                hints.append((when - datetime.now(UTC)).total_seconds())
    sane = [hint for hint in hints if hint == hint]
    return min(max(0.0, *sane), LONGEST_RETRY_AFTER) if sane else None


def _balance(value: Any) -> Balance | None:
    if not isinstance(value, Mapping):
        return None
    unlimited = value.get("unlimited")
    return Balance(
        _number(value.get("daily")),
        _number(value.get("purchased")),
        unlimited if isinstance(unlimited, bool) else None,
    )


def _number(value: Any) -> Decimal | None:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    number = Decimal(str(value))
    return number if number.is_finite() and abs(number) < 10**12 else None


def _seconds(value: Any) -> float | None:
    number = _number(value)
    return None if number is None else float(number)


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) and 0 < len(value) <= 500 else None
