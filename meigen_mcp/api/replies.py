"""What a reply of MeiGen means: a report, or one class of `errors.ApiError`; no I/O.

Field names and error codes: the official page of 2026-05 and the official client up to 2026-10.
"""

import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from decimal import Decimal
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

from meigen_mcp import errors
from meigen_mcp.catalogue.arguments import GENERATION
from meigen_mcp.catalogue.assumed import name_of
from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.foreign import LONGEST_ERROR, is_id, one_line, printable_url
from meigen_mcp.reports import Balance, Draft, Report

LONGEST_RETRY_AFTER = 300.0
LONGEST_EXPECTED = 3600.0
_EARLIEST, _LATEST = (datetime(year, 1, 1, tzinfo=UTC).timestamp() for year in (2020, 2100))
"""Between these a time is one that MeiGen can mean."""
_MOST_MILLI = 1000 * _LATEST
_MOST_MEDIA = 16
_IN_URLS = "/:@?&=+$,;%#[]!*()~'"
_LONGEST_ID = 2000
_OF_A_REFUSAL = frozenset({"success", "error", "code"})
"""Names of which MeiGen's refusals have one, and a gateway's, such as {"message": ...}, none."""
_OF_A_STATUS = frozenset((
    "success", "generationId", "jobId", "imageUrl", "imageUrls", "videoUrl", "mediaType", "error",
    "failureCode", "creditsUsed", "creditsStatus", "pollHintSeconds", "aspectRatio", "modelId",
))  # fmt: skip
"""Names of which MeiGen's word on how a generation stands has some beside its status."""
_OURS = frozenset({*GENERATION, "idempotencyKey"})

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


def stands_there(status: int) -> bool:
    """Return whether what comes with a status stands where the API's own answer should."""
    return status == 404 or 200 <= status < 300


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
    if payload is not None and not payload.keys() & _OF_A_REFUSAL:
        payload = None  # JSON of somebody in between
    said = payload or {}
    text = words(said.get("error"))
    kind = CODES.get(_id(said.get("code")) or "") or _STATUSES.get(status)
    if status == 429 and kind is not errors.StatusBusy:
        kind = errors.RateLimited
    if payload is None and kind not in (errors.Unauthorized, errors.RateLimited):
        # Nothing but the API's own word refuses a request, or ends a generation for good. A page
        # says nothing at all, unless it stands where the API's answer should.
        kind = errors.UnreadableReply if stands_there(status) else errors.ServerError
    elif kind is None and status == 404:
        # Any other 404 on the look-up route must not be read as "not submitted".
        kind = errors.UnreadableReply if lookup else errors.JobNotFound
    elif kind is None and 400 <= status < 500:
        kind = errors.InvalidRequest
    elif kind is None:
        kind = errors.ServerError
    if kind is errors.InvalidRequest and _MODERATION.search(text):
        kind = errors.ModerationRefused
    error = kind(
        _sentence(kind, text, said, status),
        retry_after=retry_after(header, said.get("retryAfterSeconds")),
    )
    error.generation_id = generation_id(said)
    return error


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
        " public https URL of it needs no upload.",
        retry_after=after,
        retryable=retryable,
    )


def accepted(payload: Mapping[str, Any], acceptable: Callable[[str], bool]) -> Report:
    """Return what the reply to a submission says; without a word on how it stands, it began."""
    said = payload if isinstance(payload.get("status"), str) else {**payload, "status": "pending"}
    return report(said, acceptable)


def generation_id(payload: Mapping[str, Any]) -> str | None:
    """Return the id that a reply names, however odd: what was paid is found by it."""
    for name in ("generationId", "jobId"):
        value = payload.get(name)
        text = str(value) if isinstance(value, str | int) and not isinstance(value, bool) else ""
        if 0 < len(text) <= _LONGEST_ID and text.strip(". \t\r\n"):  # no way up in a path
            return text
    return None


def report(payload: Mapping[str, Any], acceptable: Callable[[str], bool]) -> Report:
    """Return what a reply says of a generation.

    Args:
        payload: the body.
        acceptable: whether a URL may be handed on.

    Raises:
        UnreadableReply: it does not say how the generation stands.
    """
    status = payload.get("status")
    bare = status == "failed" and not payload.keys() & _OF_A_STATUS  # somebody's in between
    if not isinstance(status, str) or bare:
        error = errors.UnreadableReply("MeiGen's reply does not say how the generation stands.")
        error.generation_id = generation_id(payload)
        raise error
    media: MediaType | None = None
    if payload.get("mediaType") in ("image", "video"):
        media = payload["mediaType"]
    expected = _seconds(payload.get("expectedWaitSeconds"))
    media_urls, refused_urls = _media_urls(payload, acceptable)
    return Report(
        status=one_line(status),
        generation_id=generation_id(payload),
        media_type=media,
        model_id=_id(payload.get("modelId")),
        media_urls=media_urls,
        refused_urls=refused_urls,
        aspect_ratio=_id(payload.get("aspectRatio")),
        credits_used=_number(payload.get("creditsUsed"), minimum=0),
        credits_status=_id(payload.get("creditsStatus")),
        balance=_balance(payload.get("credits")),
        error=words(payload.get("error")) or None,
        failure_code=_id(payload.get("failureCode")),
        failure_detail=_detail(payload),
        draft=_draft(payload.get("seedanceDraft")),
        observed_seconds=_seconds(payload.get("pollHintSeconds")),
        expected_seconds=min(expected, LONGEST_EXPECTED) if expected and expected > 0 else None,
    )


def _draft(value: Any) -> Draft | None:
    """Return what `seedanceDraft` says; without a price there is nothing to go by."""
    if not isinstance(value, Mapping):
        return None
    price = _number(value.get("finalCredits"), minimum=0)
    handles = value.get(name_of("final_request"))
    named = handles.items() if isinstance(handles, Mapping) else ()
    request = {name: said for name, said in named if _handle(name, said)}
    if price is None or len(request) < len(named):
        request = {}
    expiry = _time(value.get(name_of("draft_expiry")))
    return None if not price else Draft(price, expiry, request)


def _handle(name: Any, said: Any) -> bool:
    """Say whether a member can go into a request: it must not be one that changes what is made."""
    return _id(name) is not None and _id(said) is not None and name not in _OURS


def _time(value: Any) -> float | None:
    """Read a time: ISO 8601, or seconds or milliseconds since 1970; None where it cannot be."""
    if isinstance(value, str):
        try:
            when = datetime.fromisoformat(value)
            number = (when if when.tzinfo else when.replace(tzinfo=UTC)).timestamp()
        except (ValueError, OverflowError):
            return None
    elif isinstance(value, int | float) and not isinstance(value, bool) and value < _MOST_MILLI:
        number = value / 1000 if value > _LATEST else value
    else:
        return None
    return float(number) if _EARLIEST <= number < _LATEST else None


def _detail(payload: Mapping[str, Any]) -> str | None:
    """Return `failureDetail`, which means something only beside a terminal `invalid_request`."""
    meant = (payload.get("status"), payload.get("failureCode")) == ("failed", "invalid_request")
    return _id(payload.get("failureDetail")) if meant else None


def _media_urls(
    payload: Mapping[str, Any], acceptable: Callable[[str], bool]
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Return the video, else all images, else the one image; and those that can only be shown.

    These would be opened if they were written otherwise; what leads elsewhere is not even told.
    """
    refused: tuple[str, ...] = ()
    for found in (
        [payload.get("videoUrl")],
        payload.get("imageUrls"),
        [payload.get("imageUrl")],
    ):
        urls = found if isinstance(found, list) else []
        texts = dict.fromkeys(url for url in urls if isinstance(url, str))
        wanted = tuple(url for url in texts if acceptable(url))[:_MOST_MEDIA]
        odd = (url for url in texts if not acceptable(url) and acceptable(_mended(url)))
        others = tuple(f'"{one_line(url, 500)}"' for url in odd)[:_MOST_MEDIA]
        if wanted:
            return tuple(map(printable_url, wanted)), others
        refused = refused or others
    return (), refused


def _mended(url: str) -> str:
    """Return an address as it would be opened: over TLS, with its odd letters encoded."""
    scheme, _, rest = url.strip().partition("://")
    return f"https://{quote(rest, safe=_IN_URLS)}" if scheme.lower() in ("http", "https") else ""


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
    return one_line(value, LONGEST_ERROR) if isinstance(value, str) else ""


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


def _id(value: Any) -> str | None:
    """Return a word that a program reads; what is none is left out, not mended."""
    return value if isinstance(value, str) and is_id(value) else None
