"""What is learnt about a generation: a reply of the API as facts, and why something went wrong."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from types import MappingProxyType
from typing import Any, NamedTuple

from meigen_mcp import errors
from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.errors import Charged, MeigenError


class Fault(NamedTuple):
    """Why a generation ended badly, or waits for the person.

    Attributes:
        detail: MeiGen's own word for what exactly it was, one of DETAILS; empty: it gave none.
    """

    code: str
    message: str
    charged: Charged
    retryable: bool
    next: str = ""
    detail: str = ""

    @property
    def passes(self) -> bool:
        """Whether nobody has to do anything: it is sent once MeiGen can be reached."""
        return self.code == AWAY

    @classmethod
    def of(cls, error: MeigenError, charged: Charged | None = None) -> "Fault":
        """Return the fault that an error amounts to."""
        return cls(error.code, error.message, charged or error.charged, error.retryable, error.next)


class Balance(NamedTuple):
    """The account's credits as the API last told them, after a deduction."""

    daily: Decimal | None = None
    purchased: Decimal | None = None
    unlimited: bool | None = None


@dataclass(frozen=True, slots=True)
class Draft:
    """What a status says of the final of a draft, or of a final that failed.

    Attributes:
        final_credits: what it will cost: the whole, not the difference.
        expires_at: until when it can be rendered; None: nothing was said.
        request: what its request has besides what that of the draft had; empty: nothing that is
            known how to send.
    """

    final_credits: Decimal
    expires_at: float | None = None
    request: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Report:
    """What one reply of the API says about a generation; None where it says nothing.

    Attributes:
        refused_urls: addresses of results that are not opened, as texts that can be shown.
        observed_seconds: `pollHintSeconds`, the seconds in which the API can still resolve it.
        expected_seconds: `expectedWaitSeconds`, how long this kind of generation takes.
        other_id: an id that was not asked about; it may be what the reply is about.
    """

    status: str
    generation_id: str | None = None
    media_type: MediaType | None = None
    model_id: str | None = None
    media_urls: tuple[str, ...] = ()
    refused_urls: tuple[str, ...] = ()
    aspect_ratio: str | None = None
    credits_used: Decimal | None = None
    credits_status: str | None = None
    balance: Balance | None = None
    error: str | None = None
    failure_code: str | None = None
    failure_detail: str | None = None
    draft: Draft | None = None
    observed_seconds: float | None = None
    expected_seconds: float | None = None
    other_id: str | None = None


class Unsaved(NamedTuple):
    """A medium that is not saved, or not whole, and why.

    Attributes:
        gone: its URL says that it is no longer there, so it is not tried again.
    """

    medium: int
    reason: str
    gone: bool = False


class Credential(NamedTuple):
    """Content credentials (C2PA) in a saved medium: what its validator says of them."""

    medium: int
    said: str


# --- why it ended, or is not known, in words ------------------------------------------------------

EXPIRED = Fault(
    "expired",
    "It was never accepted by MeiGen and is now too old to be sent. Nothing was charged.",
    "no",
    retryable=True,
    next="Call the tool again without requestId if the person still wants it.",
)
"""Of an intent that is too old to be sent, and provably was not."""
UNKNOWN = Fault(
    "unknown_outcome",
    "MeiGen's answer to the submission was lost and MeiGen could not say what became of it. It"
    " may have been charged. It will not be sent again by itself.",
    "unknown",
    retryable=False,
    next="Ask the person to look at the history on meigen.ai before anything is repeated;"
    " check_status with this requestId looks again.",
)
"""Of a POST of which nothing more can be learnt by itself."""
AWAY = "meigen_away"
"""The code of one that is queued until MeiGen can be reached, and is then sent by itself."""
CALLED_OFF = "called_off"
"""The code of one that was not wanted any more before it was sent."""
NOT_WANTED = Fault(
    CALLED_OFF,
    "It was called off before it was sent. Nothing was charged.",
    "no",
    retryable=False,
    next="Start a new one only if the person asks for it.",
)
"""Of one that was called off."""
LEDGER_REPLACED = Fault(
    "ledger_replaced",
    "The ledger was removed or replaced before it was sent. Nothing was charged.",
    "no",
    retryable=True,
    next="Ask the person to restart this server; then call the tool again without requestId.",
)
"""Of one whose ledger was removed or replaced before it was sent."""
UNDER_WAY = frozenset({"pending", "queued", "processing", "in_progress", "running", "submitted"})
"""Words of a status that say that it has not ended."""
_MET: Mapping[type[errors.ApiError], str] = MappingProxyType(
    {
        errors.Unauthorized: "MeiGen does not accept the token in MEIGEN_API_TOKEN",
        errors.Forbidden: "MeiGen does not allow this account the question",
        errors.JobNotFound: "MeiGen does not know the generation",
        errors.InProgress: "MeiGen is still taking the submission in",
        errors.RateLimited: "MeiGen is asked too often",
        errors.StatusBusy: "MeiGen cannot say right now",
        errors.ServerError: "MeiGen, or a gateway before it, has a problem of its own",
        errors.UnreadableReply: "the reply cannot be read",
        errors.Unreachable: "MeiGen cannot be reached",
    }
)
"""What a look met; an error's own message may speak of money, which a look knows nothing of."""


def away(why: str = "MeiGen could not be reached; nothing was sent.") -> Fault:
    """Return why one is still queued that would have been sent: no connection was made."""
    return Fault(AWAY, f"{why} It is tried again by itself.", "no", retryable=False)


def unanswered(error: errors.ApiError, charged: Charged) -> Fault:
    """Return what several looks in a row met, of which the last is an error."""
    met = _MET.get(type(error), "MeiGen refuses to say")
    message = f"The last looks did not tell how it stands: {met}."
    return Fault(error.code, message, charged, retryable=False)


def odd_status(report: Report, charged: Charged) -> Fault | None:
    """Return what to tell of a status that says neither that it is under way nor that it ended."""
    if report.status == "completed":
        said = "that it is completed, and gave no address of a result"
    elif report.status.lower() not in UNDER_WAY:
        said = f'a status that is not documented: "{report.status}"'
    else:
        return None
    message = f"The last look did not tell how it stands: MeiGen said {said}."
    return Fault("odd_status", message, charged, retryable=False)


def refused_urls(report: Report, charged: Charged) -> Fault | None:
    """Return what to tell of results at addresses that are not opened."""
    if not report.refused_urls:
        return None
    what = "an address" if len(report.refused_urls) == 1 else "addresses"
    return Fault(
        "refused_url",
        f"MeiGen gave {what} that this server neither opens nor saves, since only whole https"
        f" addresses are: {' '.join(report.refused_urls)}",
        charged,
        retryable=False,
    )


DETAILS: Mapping[str, str] = MappingProxyType(
    {
        "video_edit_duration": "an edit keeps the length of its clip, and another was asked for",
        "reference_video_frame_rate": "the frame rate of the clip is not taken",
    }
)
"""What `failureDetail` says (release notes 3.3.3 of the official client); others are ignored."""
_CHARGED = ("charged", "confirmed")


def made_nothing(report: Report, charged: Charged, arguments: Mapping[str, Any]) -> Fault:
    """Return why the API could not make it; a charge is not proven by that."""
    refunded = charged == "refunded"
    detail = report.failure_detail if report.failure_detail in DETAILS else None
    reason = (report.error or "MeiGen gave no reason").strip().rstrip(".")[:500]
    why = f" ({DETAILS[detail]})" if detail else ""
    return Fault(
        report.failure_code or "generation_failed",
        f"MeiGen could not make it: {reason}{why}. {_money(report.credits_status)}",
        "refunded" if refunded else "unknown",
        retryable=True,
        next=_mended(detail, arguments),
        detail=detail or "",
    )


def _money(status: str | None) -> str:
    """Say what is known of the credits of one that failed."""
    if status == "refunded":
        return "The credits were refunded."
    usual = "MeiGen usually returns the credits of a failed generation; check your balance."
    if status is None:
        return usual
    said = "charged so far" if status in _CHARGED else f'"{status}"'
    return f"Of the credits MeiGen says: {said}. {usual}"


def _mended(detail: str | None, arguments: Mapping[str, Any]) -> str:
    """Say what to do about one that failed; a repetition is paid for, so the person decides."""
    seconds = arguments.get("referenceVideoDuration")
    match detail:
        case "video_edit_duration":
            known = isinstance(seconds, int | float)
            length = f"duration {round(seconds or 0)}" if known else "the clip's length as duration"
            return (
                f"Ask the person whether to repeat it with {length}, in whole seconds, and"
                " aspectRatio adaptive; it is a new generation with a price of its own."
            )
        case "reference_video_frame_rate":
            return (
                "Ask the person for the clip at another frame rate; repeating it as it is does not"
                " help."
            )
    return "Tell the person why it failed and ask before trying again with other words."


def settled_as(*, charged: bool) -> Fault:
    """Return what the person found on meigen.ai."""
    found = "charged it" if charged else "did not charge it"
    return Fault(
        "settled",
        f"The person settled it: MeiGen {found}.",
        "yes" if charged else "no",
        retryable=False,
        next="Start a new one only if the person asks for it.",
    )
