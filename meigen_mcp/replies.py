"""What a reply of MeiGen means: a report, or one class of `errors.ApiError`; no I/O.

Field names and error codes: the official page of 2026-05 and the official client up to 2026-10.
"""

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any

from meigen_mcp import errors
from meigen_mcp.catalogue import MediaType
from meigen_mcp.generation import Balance, Report

LONGEST_RETRY_AFTER = 300.0
LONGEST_EXPECTED = 3600.0
_SHORTEST_SECRET = 10
_MOST_MEDIA = 16

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


def parsed(raw: bytes, secret: str | None) -> dict[str, Any] | None:
    """Return the JSON object that a reply is, without the token, or None when it is none."""
    try:
        payload = _cleaned(json.loads(raw), secret or "")
    except (ValueError, RecursionError):
        return None
    return payload if isinstance(payload, dict) else None


def _cleaned(value: Any, secret: str) -> Any:
    """Return JSON without the token, and without half characters, which cannot be stored."""
    match value:
        case str():
            text = value.encode("utf-8", "replace").decode()
            return text.replace(secret, "***") if len(secret) >= _SHORTEST_SECRET else text
        case list():
            return [_cleaned(item, secret) for item in value]
        case dict():
            return {_cleaned(name, secret): _cleaned(item, secret) for name, item in value.items()}
    return value


def failure(
    status: int, payload: Mapping[str, Any] | None, header: str | None, *, lookup: bool
) -> errors.ApiError:
    """Return the error that a reply is.

    Args:
        status: of HTTP.
        payload: the body; None when it was no JSON object.
        header: `Retry-After`.
        lookup: whether an idempotency key was asked for.
    """
    said = payload or {}
    text = words(said.get("error"))
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
    return kind(
        _sentence(kind, text, said, status),
        retry_after=retry_after(header, said.get("retryAfterSeconds")),
    )


def upload_failure(
    status: int, payload: Mapping[str, Any], header: str | None
) -> errors.UploadFailed:
    """Return the error that a refusal of the upload gateway, or of its storage, is.

    Args:
        status: of HTTP.
        payload: the body; empty when it was no JSON object.
        header: `Retry-After`.
    """
    retryable = payload.get("retryable")
    if not isinstance(retryable, bool):
        retryable = status in (408, 425, 429) or not 300 <= status < 500
    text = words(payload.get("error")).rstrip(".") or f"HTTP {status}"
    return not_uploaded(
        f"The upload gateway refused it: {text}.",
        retryable=retryable,
        after=retry_after(header, payload.get("retryAfterSeconds")),
    )


def not_uploaded(
    why: str, *, retryable: bool = True, after: float | None = None
) -> errors.UploadFailed:
    """Return the error of an upload that failed, for a reason in one sentence."""
    hope = "The same call may succeed later" if retryable else "The same call will not help"
    return errors.UploadFailed(
        f"The local reference was not uploaded. {why} Nothing was generated or charged. {hope}; a"
        " public https URL of the image needs no upload.",
        retry_after=after,
        retryable=retryable,
    )


def report(payload: Mapping[str, Any], acceptable: Callable[[str], bool]) -> Report:
    """Return what a reply says of a generation.

    Args:
        payload: the body.
        acceptable: whether a URL may be handed on.

    Raises:
        UnreadableReply: it does not say how the generation stands.
    """
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
        media_urls=_media_urls(payload, acceptable),
        aspect_ratio=_text(payload.get("aspectRatio")),
        credits_used=_number(payload.get("creditsUsed"), minimum=0),
        credits_status=_text(payload.get("creditsStatus")),
        balance=_balance(payload.get("credits")),
        error=words(payload.get("error")) or None,
        failure_code=_text(payload.get("failureCode")),
        observed_seconds=_seconds(payload.get("pollHintSeconds")),
        expected_seconds=min(expected, LONGEST_EXPECTED) if expected and expected > 0 else None,
    )


def _media_urls(payload: Mapping[str, Any], acceptable: Callable[[str], bool]) -> tuple[str, ...]:
    """Return the video, else all images, else the one image."""
    for found in (
        [payload.get("videoUrl")],
        payload.get("imageUrls"),
        [payload.get("imageUrl")],
    ):
        urls = found if isinstance(found, list) else []
        wanted = dict.fromkeys(url for url in urls if isinstance(url, str) and acceptable(url))
        if wanted:
            return tuple(wanted)[:_MOST_MEDIA]
    return ()


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
    text = text.replace("No credits were charged.", "").rstrip(". ")  # we say it ourselves
    words = f": {text}" if text else f" (HTTP {status})"
    need, have = _number(said.get("required")), _number(said.get("available"))
    known = need is not None and have is not None
    figures = f" ({need:f} needed, {have:f} there)" if known else ""
    return _SENTENCES[kind].format(words=words, figures=figures)


def words(value: Any) -> str:
    """Return the API's own words, short and on one line."""
    if isinstance(value, Mapping):
        value = value.get("message")
    if not isinstance(value, str):
        return ""
    text = "".join(letter if letter.isprintable() else " " for letter in value[:1000])
    return " ".join(text.split())[:300]


def retry_after(header: str | None, seconds: Any) -> float | None:
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
