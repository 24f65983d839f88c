"""The record of one generation, its states and its transitions; no I/O and no clock.

    queued ──> submitting ──> processing ──> completed
      ^            │  │            └───────> failed
      └── parked <─┘  ├──> failed            (a proven end: refused, expired, gone)
                      └──> unknown           (nothing more can be learnt by itself)

`completed` and `failed` never change; `unknown` may. Times are seconds since the epoch.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal
from urllib.parse import quote as quoted

from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import ApiError, Charged
from meigen_mcp.foreign import is_id
from meigen_mcp.reports import (
    EXPIRED,
    LEDGER_REPLACED,
    NOT_WANTED,
    UNKNOWN,
    Balance,
    Credential,
    Draft,
    Fault,
    Report,
    Unsaved,
    away,
    made_nothing,
    odd_status,
    refused_urls,
    settled_as,
    unanswered,
)

Status = Literal["queued", "submitting", "processing", "completed", "failed", "unknown"]
TERMINAL: frozenset[Status] = frozenset({"completed", "failed"})

SUBMIT_WITHIN = 60 * 60.0
"""Seconds after its creation in which an intent may be sent for the first time."""
RESUBMIT_WITHIN = 15 * 60.0
"""Seconds after its first POST in which a lost one may be repeated with the same key."""
ARRIVES_WITHIN = 180.0
"""Seconds awake in which a POST without a reply may still arrive: who wakes sends it again."""
AHEAD = 60.0
"""Seconds by which a stored time may lie ahead (clocks are set); beyond that it allows nothing."""
SETTLED_AFTER = 60 * 60.0
"""Seconds until one that MeiGen never confirmed can be settled by hand; none is POSTed so late."""
ABANDONED_AFTER = 120.0
"""Seconds after which a POST that nobody reported on is looked up; more than any POST takes."""
OBSERVED: Mapping[MediaType, float] = {"image": 600.0, "video": 1200.0}
"""Seconds after which a processing generation counts as no longer observed."""
TOLD_AFTER = 3
"""Looks in a row that taught nothing, after which is told what they met."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation from intent to result.

    Its fields are grouped by who may write them: `FIXED`, `SHARED`, `HELD`; the rest is the
    poller's.

    Attributes:
        request_id: our idempotency key, a lower-case UUID.
        account: API origin and keyed hash of the token; the ledger fills it in.
        arguments: the generation arguments as given, without the absent ones.
        body: the exact bytes of the POST, as text.
        reserved: credits held against the caps until the charge is known.
        made_from: the URIs of the earlier results that it takes as references.
        watched_until: while somebody waits, there are as many looks as intervals.
        answered: an answer about it reached its caller.
        abandoned: its call was cancelled before the answer.
        adopted: a repeated call took it over.
        owner: the process that acts on it.
        version: grows with every change of any row.
        model_id: the model asked for, then the one that the API used.
        next_look: when the poller acts next; None: never by itself.
        twin: another record has this `generationId` as well.
        posted_at: when the first POST began.
        accepted_at: when the API's acceptance was read.
        failures: looks or submissions in a row that taught nothing.
        garbled: undocumented answers in a row while a lost reply is looked up.
        unobserved: the API's own observation window is over.
        parked: waits for the person (401, 402, 403) and is not sent by itself.
        draft: what is known of the final, of a draft or of a final that failed.
        preview: the path of a small picture of the result.
        unsaved: which media are not saved, or not whole, and why.
        unshown: why there is no preview, where there could be one.
        credentials: who signed which media.
    """

    # FIXED: as it was asked for; written once.
    request_id: str
    account: str = ""
    tool: str
    prompt: str
    arguments: Mapping[str, Any]
    body: str
    quote: Quote
    created_at: float
    reserved: Decimal | None = None
    made_from: tuple[str, ...] = ()
    # SHARED: what calls write at any time.
    watched_until: float = 0.0
    answered: bool = False
    abandoned: bool = False
    adopted: bool = False
    # HELD: by the ledger itself.
    owner: str = ""
    version: int = 0
    # The poller's: what it learns, and when it acts.
    media_type: MediaType
    model_id: str
    expected_seconds: float
    status: Status = "queued"
    next_look: float | None = None
    generation_id: str | None = None
    twin: bool = False
    posted_at: float | None = None
    accepted_at: float | None = None
    finished_at: float | None = None
    failures: int = 0
    garbled: int = 0
    unobserved: bool = False
    parked: bool = False
    aspect_ratio: str | None = None
    credits_used: Decimal | None = None
    credits_status: str | None = None
    balance: Balance | None = None
    media_urls: tuple[str, ...] = ()
    files: tuple[str | None, ...] = ()
    fetch_failures: int = 0
    error: Fault | None = None
    draft: Draft | None = None
    preview: str | None = None
    unsaved: tuple[Unsaved, ...] = ()
    unshown: str | None = None
    credentials: tuple[Credential, ...] = ()

    @property
    def name(self) -> str:
        """The id in its resource URI and in answers: its own `generationId`, else `requestId`."""
        return self.request_id if self.twin else self.shown_id or self.request_id

    @property
    def shown_id(self) -> str | None:
        """The `generationId`, unless it holds what an id does not: that one is only looked up."""
        return self.generation_id if self.generation_id and is_id(self.generation_id) else None

    @property
    def at_rest(self) -> bool:
        """Whether nothing more happens to it by itself."""
        return self.next_look is None

    @property
    def drafted(self) -> bool:
        """Whether it is a draft, from which a final is rendered."""
        return self.arguments.get("draft") is True

    @property
    def terminal(self) -> bool:
        """Whether it can never change again."""
        return self.status in TERMINAL

    @property
    def missing(self) -> tuple[int, ...]:
        """The media that are not saved and may still be had."""
        gone = {medium for medium, _, is_gone in self.unsaved if is_gone}
        return tuple(i for i, file in enumerate(self.files) if file is None and i not in gone)

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
        # A charge of 0 is no refund: only a proven one frees what is reserved.
        return self.credits_used or self.reserved or Decimal(0)


FIXED = frozenset((
    "request_id", "account", "tool", "prompt", "arguments", "body", "quote", "created_at",
    "reserved", "made_from",
))  # fmt: skip
"""Fields that say what was asked for, and whose it is: written once, with the intent."""
SHARED = frozenset({"watched_until", "answered", "abandoned", "adopted"})
"""Fields that calls write at any time: a change of the rest must not undo them."""
HELD = frozenset({"owner", "version"})
"""Fields that only the ledger sets."""


def used(job: Generation) -> Decimal | None:
    """Return what one cost in the end, as far as is known."""
    return Decimal(0) if job.credits_status == "refunded" else job.credits_used


def by_poller(before: Generation, after: Generation) -> Generation:
    """Return a changed record without what the poller may not change; an end never changes."""
    if before.terminal and after.status != before.status:
        return before
    had = ((name, getattr(before, name)) for name in FIXED | SHARED | HELD)
    kept = {name: value for name, value in had if getattr(after, name) is not value}
    return replace(after, **kept) if kept else after


RECORDS = "meigen://generations"


def record_uri(name: str) -> str:
    """Return the URI of a record."""
    return f"{RECORDS}/{quoted(name, safe='')}"


def media_uri(name: str, index: int) -> str:
    """Return the URI of a medium; its index counts from 0."""
    return f"{record_uri(name)}/media/{index}"


def posting(job: Generation, now: float) -> Generation:
    """Return the record to commit before a POST leaves; if nothing follows, it is looked up."""
    posted, look = job.posted_at or now, now + ABANDONED_AFTER
    return replace(
        job, status="submitting", posted_at=posted, error=None, parked=False, next_look=look
    )


def sendable(job: Generation) -> bool:
    """Return whether it may still be POSTed, as it is now: not if it ended or was accepted."""
    return not job.parked and job.status in ("queued", "submitting", "unknown")


def named(job: Generation, error: ApiError) -> Generation:
    """Keep an id that came with an error: it can be asked for, whatever else is known."""
    return replace(job, generation_id=job.generation_id or error.generation_id)


def unsent(job: Generation, look_at: float | None) -> Generation:
    """Return the record after a first POST that provably made nothing: it is an intent again."""
    return replace(job, status="queued", posted_at=None, next_look=look_at)


def postponed(job: Generation, look_at: float | None) -> Generation:
    """Return the record that is acted on at another time; nothing else is new."""
    return replace(job, next_look=look_at)


def observed(job: Generation, age: float) -> Generation:
    """Return the record with the word whether the API may still resolve it, by its age alone."""
    return replace(job, unobserved=job.unobserved or age > OBSERVED[job.media_type])


def missed(job: Generation, look_at: float, error: ApiError) -> Generation:
    """Return the record after a look that taught nothing; what several met is told."""
    failures = job.failures + 1
    tells = failures >= TOLD_AFTER and job.status != "unknown"
    told = unanswered(error, _charge(job)) if tells else job.error
    return replace(job, failures=failures, garbled=0, next_look=look_at, error=told)


def unreached(job: Generation, look_at: float, error: ApiError) -> Generation:
    """Return the record after a POST for which there was no connection, and why."""
    return replace(job, failures=job.failures + 1, next_look=look_at, error=away(error.message))


def misread(job: Generation, look_at: float) -> Generation:
    """Return the record after an undocumented answer to the question about a lost reply."""
    return replace(job, garbled=job.garbled + 1, next_look=look_at)


def informed(job: Generation, report: Report, now: float, age: float = 0.0) -> Generation:
    """Return the record after a reply that speaks of it; a terminal one stays as it is.

    A `generationId` learnt late is kept in any state. A completed reply without URLs counts as
    processing, and so does a status that is not documented; both are told. One whose URLs are not
    handed on is completed all the same, and its error tells them. Its age counts from acceptance.
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
        draft=report.draft or job.draft,
        expected_seconds=report.expected_seconds or job.expected_seconds,
        accepted_at=job.accepted_at or now,
        unobserved=_unobserved(job, report, age),
        parked=False,
        failures=0,
        garbled=0,
        error=None,
    )
    if report.status == "completed" and (report.media_urls or report.refused_urls):
        return replace(
            known,
            status="completed",
            media_urls=report.media_urls,
            files=(None,) * len(report.media_urls),
            finished_at=now,
            unobserved=False,
            error=refused_urls(report, _charge(known)),
        )
    if report.status == "failed":
        fault = made_nothing(report, _charge(known), job.arguments)
        return replace(known, status="failed", error=fault, finished_at=now)
    return replace(known, error=odd) if (odd := odd_status(report, _charge(known))) else known


def _charge(job: Generation) -> Charged:
    if job.credits_status == "refunded":
        return "refunded"
    return "yes" if job.credits_used else "unknown"


def _unobserved(job: Generation, report: Report, age: float) -> bool:
    if report.observed_seconds is not None:
        return report.observed_seconds <= 0
    return age > OBSERVED[report.media_type or job.media_type]


def lost(job: Generation, look_at: float) -> Generation:
    """Return the record after a POST whose reply did not arrive: it is looked up next."""
    return replace(job, status="submitting", next_look=look_at, failures=job.failures + 1)


def parked(job: Generation, error: ApiError, *, posted: bool) -> Generation:
    """Return the record after 401, 402 or 403: uncharged, due when it is too old to be sent.

    Args:
        job: the record.
        error: what the API said.
        posted: it was POSTed before, and that may have arrived.
    """
    return replace(
        job,
        status="queued",
        parked=True,
        error=Fault.of(error, "no"),
        next_look=job.created_at + SUBMIT_WITHIN,
        posted_at=job.posted_at if posted else None,
        failures=0,
    )


def failed(job: Generation, fault: Fault, now: float) -> Generation:
    """Return the record after a proven end without a result."""
    return replace(job, status="failed", error=fault, finished_at=now, next_look=None, parked=False)


def expired(job: Generation, now: float) -> Generation:
    """Return the record of one that is too old to be sent; what may have arrived is looked up."""
    if job.status == "queued" and job.posted_at is not None:
        return replace(lost(job, now), parked=False, error=None)
    return failed(job, EXPIRED, now)


def displaced(job: Generation, now: float) -> Generation:
    """Return the record of one whose ledger was removed or replaced: it must not be sent."""
    if job.status != "queued" or job.posted_at is not None:
        return postponed(job, now + ABANDONED_AFTER)
    return failed(job, LEDGER_REPLACED, now)


def called_off(job: Generation, now: float) -> Generation:
    """Return the record of a queued one that is not wanted any more; what was sent stays as it is.

    A POST is committed before it leaves, so in a transaction this is certain about money.
    """
    if job.status != "queued" or job.posted_at is not None:  # refused, after one that was lost
        return job
    return failed(job, NOT_WANTED, now)


def settled(job: Generation, now: float, *, charged: bool) -> Generation:
    """Return the record of an `unknown` one after the person looked into it on meigen.ai.

    What MeiGen charged goes on counting; otherwise its reservation, held until now, is free.
    """
    return failed(job, settled_as(charged=charged), now)


def unknown(job: Generation) -> Generation:
    """Return the record of a POST of which nothing more can be learnt by itself."""
    return replace(job, status="unknown", error=UNKNOWN, next_look=None)
