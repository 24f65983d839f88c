"""The record of one generation, its states and its transitions; no I/O and no clock.

    queued ──> submitting ──> processing ──> completed
      ^            │  │            └───────> failed
      └── parked <─┘  ├──> failed            (a proven end: refused, expired, gone)
                      └──> unknown           (nothing more can be learnt by itself)

`completed` and `failed` never change; `unknown` may. Times are seconds since the epoch.
"""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote as quoted

from meigen_mcp.catalogue import MediaType
from meigen_mcp.errors import ApiError, Charged, MeigenError
from meigen_mcp.pricing import Quote

Status = Literal["queued", "submitting", "processing", "completed", "failed", "unknown"]
TERMINAL: frozenset[Status] = frozenset({"completed", "failed"})

SUBMIT_WITHIN = 60 * 60.0
"""Seconds after its creation in which an intent may be sent for the first time."""
RESUBMIT_WITHIN = 15 * 60.0
"""Seconds after its first POST in which a lost one may be repeated with the same key."""
LOOKUP_WITHIN = 15 * 60.0
"""Seconds for which an API that cannot be reached is asked about a lost reply."""
ABANDONED_AFTER = 120.0
"""Seconds after which a POST that nobody reported on is looked up; more than any POST takes."""
OBSERVED: Mapping[MediaType, float] = {"image": 600.0, "video": 1200.0}
"""Seconds after which a processing generation counts as no longer observed."""
LATE_LOOKS_FOR = 24 * 3600.0
"""Seconds after acceptance for which an unobserved generation is still looked at."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Why a generation ended badly, or waits for the person."""

    code: str
    message: str
    charged: Charged
    retryable: bool
    next: str = ""

    @classmethod
    def of(cls, error: MeigenError, charged: Charged | None = None) -> "Fault":
        """Return the fault that an error amounts to."""
        return cls(error.code, error.message, charged or error.charged, error.retryable, error.next)


@dataclass(frozen=True, slots=True)
class Balance:
    """The account's credits as the API last told them, after a deduction."""

    daily: Decimal | None = None
    purchased: Decimal | None = None
    unlimited: bool | None = None


@dataclass(frozen=True, slots=True)
class Report:
    """What one reply of the API says about a generation; None where it says nothing.

    Attributes:
        observed_seconds: `pollHintSeconds`, the seconds in which the API can still resolve it.
        expected_seconds: `expectedWaitSeconds`, how long this kind of generation takes.
    """

    status: str
    generation_id: str | None = None
    media_type: MediaType | None = None
    model_id: str | None = None
    media_urls: tuple[str, ...] = ()
    aspect_ratio: str | None = None
    credits_used: Decimal | None = None
    credits_status: str | None = None
    balance: Balance | None = None
    error: str | None = None
    failure_code: str | None = None
    observed_seconds: float | None = None
    expected_seconds: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation from intent to result.

    Attributes:
        request_id: our idempotency key, a lower-case UUID.
        account: API origin and keyed hash of the token.
        arguments: the generation arguments as given, without the absent ones.
        body: the exact bytes of the POST, as text.
        model_id: the model asked for, then the one that the API used.
        reserved: credits held against the caps until the charge is known.
        next_look: when the poller acts next; None: never by itself.
        posted_at: when the first POST began.
        accepted_at: when the API's acceptance was read.
        watched_until: while somebody waits, every interval is a look.
        failures: looks or submissions in a row that taught nothing.
        garbled: undocumented answers in a row while a lost reply is looked up.
        unobserved: the API's own observation window is over.
        parked: waits for the person (401, 402, 403) and is not sent by itself.
        answered: an answer about it reached its caller.
        abandoned: its call was cancelled before the answer.
        adopted: a repeated call took it over.
        preview: the path of a small picture of the result.
        made_from: the URIs of the earlier results that it takes as references.
        owner: the process that acts on it.
        version: grows with every change of any row.
    """

    request_id: str
    account: str
    tool: str
    media_type: MediaType
    model_id: str
    prompt: str
    arguments: Mapping[str, Any]
    body: str
    quote: Quote
    created_at: float
    expected_seconds: float
    reserved: Decimal | None = None
    status: Status = "queued"
    next_look: float | None = None
    generation_id: str | None = None
    posted_at: float | None = None
    accepted_at: float | None = None
    finished_at: float | None = None
    watched_until: float = 0.0
    failures: int = 0
    garbled: int = 0
    unobserved: bool = False
    parked: bool = False
    answered: bool = False
    abandoned: bool = False
    adopted: bool = False
    aspect_ratio: str | None = None
    credits_used: Decimal | None = None
    credits_status: str | None = None
    balance: Balance | None = None
    media_urls: tuple[str, ...] = ()
    files: tuple[str | None, ...] = ()
    fetch_failures: int = 0
    error: Fault | None = None
    preview: str | None = None
    made_from: tuple[str, ...] = ()
    owner: str = ""
    version: int = 0

    @property
    def name(self) -> str:
        """The id in its resource URI: the `generationId`, until then the `requestId`."""
        return self.generation_id or self.request_id

    @property
    def terminal(self) -> bool:
        """Whether it can never change again."""
        return self.status in TERMINAL

    @property
    def submitted(self) -> bool:
        """Whether the API has answered, or will not be asked further by itself."""
        return self.parked or self.status not in ("queued", "submitting")

    @property
    def amount(self) -> Decimal:
        """The credits that count against the caps."""
        if self.credits_status == "refunded":
            return Decimal(0)
        if self.status == "failed" and self.error and self.error.charged == "no":
            return Decimal(0)
        if self.credits_used is not None:
            return self.credits_used
        return self.reserved or Decimal(0)


RECORDS = "meigen://generations"


def record_uri(name: str) -> str:
    """Return the URI of a record."""
    return f"{RECORDS}/{quoted(name, safe='')}"


def media_uri(name: str, index: int) -> str:
    """Return the URI of a medium; its index counts from 0."""
    return f"{record_uri(name)}/media/{index}"


_canonical = json.JSONEncoder(ensure_ascii=False, sort_keys=True, separators=(",", ":")).encode


def fingerprint(tool: str, arguments: Mapping[str, Any]) -> str:
    """Return the text by which two calls are identical: the tool and its generation arguments."""
    return _canonical([tool, arguments])


def posting(job: Generation, now: float) -> Generation:
    """Return the record to commit before a POST leaves; if nothing follows, it is looked up."""
    return replace(
        job,
        status="submitting",
        posted_at=job.posted_at or now,
        error=None,
        parked=False,
        next_look=now + ABANDONED_AFTER,
    )


def informed(job: Generation, report: Report, now: float) -> Generation:
    """Return the record after a reply that speaks of it; a terminal one stays as it is.

    A `generationId` learnt late is kept in any state. A completed reply without URLs counts as
    processing, and so does a status that is not documented.
    """
    if job.terminal:
        return replace(job, generation_id=job.generation_id or report.generation_id)
    known = replace(
        job,
        status="processing",
        generation_id=report.generation_id or job.generation_id,
        media_type=report.media_type or job.media_type,
        model_id=report.model_id or job.model_id,
        aspect_ratio=report.aspect_ratio or job.aspect_ratio,
        credits_used=job.credits_used if report.credits_used is None else report.credits_used,
        credits_status=report.credits_status or job.credits_status,
        balance=report.balance or job.balance,
        expected_seconds=report.expected_seconds or job.expected_seconds,
        accepted_at=job.accepted_at or now,
        unobserved=_unobserved(job, report, now),
        parked=False,
        failures=0,
        garbled=0,
        error=None,
    )
    if report.status == "completed" and report.media_urls:
        return replace(
            known,
            status="completed",
            media_urls=report.media_urls,
            files=(None,) * len(report.media_urls),
            finished_at=now,
            unobserved=False,
        )
    if report.status == "failed":
        return replace(known, status="failed", error=_failure(known, report), finished_at=now)
    return known


def _unobserved(job: Generation, report: Report, now: float) -> bool:
    if report.observed_seconds is not None:
        return report.observed_seconds <= 0
    since = job.accepted_at or now
    return now - since > OBSERVED[report.media_type or job.media_type]


def _failure(job: Generation, report: Report) -> Fault:
    refunded = job.credits_status == "refunded"
    charged: Charged = "refunded" if refunded else "unknown"
    reason = (report.error or "MeiGen gave no reason").strip().rstrip(".")[:500]
    money = (
        "the credits were refunded"
        if refunded
        else "MeiGen usually returns the credits of a failed generation; check your balance"
    )
    return Fault(
        report.failure_code or "generation_failed",
        f"MeiGen could not make it: {reason}. {money[0].upper()}{money[1:]}.",
        charged,
        retryable=True,
        next="Tell the person why it failed and ask before trying again with other words.",
    )


def lost(job: Generation, look_at: float) -> Generation:
    """Return the record after a POST whose reply did not arrive: it is looked up next."""
    return replace(job, status="submitting", next_look=look_at, failures=job.failures + 1)


def parked(job: Generation, error: ApiError) -> Generation:
    """Return the record after 401, 402 or 403: nothing was charged, the person must act.

    It is due again when it is too old to be sent, and then ends.
    """
    return replace(
        job,
        status="queued",
        parked=True,
        error=Fault.of(error, "no"),
        next_look=job.created_at + SUBMIT_WITHIN,
        posted_at=None,
        failures=0,
    )


def failed(job: Generation, fault: Fault, now: float) -> Generation:
    """Return the record after a proven end without a result."""
    return replace(job, status="failed", error=fault, finished_at=now, next_look=None, parked=False)


def expired(job: Generation, now: float) -> Generation:
    """Return the record of an intent that is too old to be sent, and provably was not."""
    fault = Fault(
        "expired",
        "It was never accepted by MeiGen and is now too old to be sent. Nothing was charged.",
        "no",
        retryable=True,
        next="Call the tool again without requestId if the person still wants it.",
    )
    return failed(job, fault, now)


def settled(job: Generation, now: float, *, charged: bool) -> Generation:
    """Return the record of an `unknown` one after the person looked into it on meigen.ai.

    Args:
        job: the record; its reservation is held until then.
        now: the time.
        charged: whether MeiGen took the credits; if so their amount goes on counting.
    """
    fault = Fault(
        "settled",
        "The person settled it: MeiGen charged it."
        if charged
        else "The person settled it: MeiGen did not charge it.",
        "yes" if charged else "no",
        retryable=False,
        next="Start a new one only if the person asks for it.",
    )
    return failed(job, fault, now)


def unknown(job: Generation) -> Generation:
    """Return the record of a POST of which nothing more can be learnt by itself."""
    fault = Fault(
        "unknown_outcome",
        "MeiGen's answer to the submission was lost and MeiGen could not say what became of it. It"
        " may have been charged. It will not be sent again by itself.",
        "unknown",
        retryable=False,
        next="Ask the person to look at the history on meigen.ai before anything is repeated;"
        " check_status with this requestId looks again.",
    )
    return replace(job, status="unknown", error=fault, next_look=None)
