"""Everything that can go wrong, as sentences for the person and the model that read them.

    MeigenError                   code, charged, retryable, next
    ├── Refusal                   nothing was sent, nothing was charged
    │   ├── InvalidArguments      every problem of a call at once
    │   ├── NotFound              no generation with that id in this account's ledger
    │   ├── MissingToken          MEIGEN_API_TOKEN is not set
    │   ├── BadSettings           a setting has a value that is not allowed
    │   ├── OverCap               a cap of the person, or maxCredits, is below the quote
    │   ├── Declined              the person said no
    │   ├── ApprovalEnded         the person's yes was too long ago, or was used
    │   └── RequestConflict       the requestId belongs to other arguments
    ├── LedgerUnavailable         the ledger cannot be read or written
    ├── TooLarge                  a medium does not fit into one message
    ├── NotSaved                  the output folder cannot be written
    ├── Unforeseen                something that nobody foresaw went wrong
    └── ApiError                  what MeiGen answered, or that it did not
        ├── InvalidRequest        400 and other refusals of the request itself
        ├── ModerationRefused     400 with a moderation wording
        ├── Unauthorized          401
        ├── Forbidden             403
        ├── InsufficientCredits   402
        ├── RequestNotFound       404 `request_not_found`: no job has this key
        ├── JobNotFound           404 on a status
        ├── InProgress            409 `in_progress`: another submission of this key is under way
        ├── IdempotencyConflict   409 `idempotency_conflict`: the key has other arguments
        ├── RequestIdCollision    409 `request_id_collision`: the key is another account's
        ├── GenerationGone        410 `generation_unavailable`: the record was deleted
        ├── RateLimited           429
        ├── StatusBusy            429 `status_query_busy`
        ├── ServerError           5xx
        ├── UnreadableReply       an answer that is not the documented JSON
        ├── ResultGone            403, 404 or 410 on a result's own URL
        ├── Unreachable           no answer at all
        └── UploadFailed          a local reference did not get to the upload gateway

`charged`: were credits taken? `retryable`: can the same call succeed later? `next`: for the model.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from meigen_mcp.foreign import printable

Charged = Literal["no", "yes", "refunded", "unknown"]


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with one argument or setting.

    Attributes:
        field: the argument, with a path into it where needed (`niji7Options.iw`), or the variable.
        message: what is wrong with which value, and the limit.
        fix: what to write instead, as the end of a sentence.
    """

    field: str
    message: str
    fix: str

    def __str__(self) -> str:
        return f"{self.field}: {self.message}; {self.fix}"


class MeigenError(Exception):
    """The base of all errors that reach a person.

    Attributes:
        message: a whole sentence without secrets and without text of a library.
        charged, retryable: a class has one answer, except where an instance knows better.
        request_id: what a repetition of the call may name, where that is of use.
    """

    code: ClassVar[str] = "error"
    charged: Charged = "no"
    retryable: bool = False
    next: str = "Tell the person what the message says."
    request_id: str | None = None

    def __init__(self, message: str) -> None:
        self.message = printable(message)  # it may repeat what somebody else wrote
        super().__init__(self.message)


class Refusal(MeigenError):
    """The call was refused here: nothing was sent and nothing was charged."""


class InvalidArguments(Refusal):
    """Arguments that no MeiGen model, or not this one, accepts."""

    code = "invalid_arguments"
    next = "Correct everything that the message names and call again."

    def __init__(self, problems: Sequence[Problem]) -> None:
        lines = "\n".join(f"- {problem}" for problem in problems)
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count}; nothing was sent or charged:\n{lines}")
        self.problems = tuple(problems)


class NotFound(Refusal):
    """No generation of this account has the given id; what it names may be in a lost ledger."""

    code = "not_found"
    charged = "unknown"
    next = "Call check_status without arguments to see the newest generations and their ids."


class MissingToken(Refusal):
    """Generating needs an API token and none is set."""

    code = "missing_token"
    next = (
        "Ask the person for a token of meigen.ai (their picture, Settings, API Keys): by"
        " `meigen-mcp install CLIENT`, or in MEIGEN_API_TOKEN or MEIGEN_API_TOKEN_FILE and with a"
        " restart of this server; validating and quoting with dryRun works without."
    )


class BadSettings(Refusal):
    """A setting of this server has a value that is not allowed."""

    code = "bad_settings"
    next = "Ask the person to correct the named setting and to restart the server."


class OverCap(Refusal):
    """The quote is above a limit on spending, or no quote could be made while a limit is set."""

    code = "over_cap"
    next = (
        "Offer the person cheaper settings, or ask for a higher maxCredits if that refused it; only"
        " the person can raise a MEIGEN_MAX_* limit."
    )


class Declined(Refusal):
    """The person was asked about the price and did not agree."""

    code = "declined"
    next = "Do not repeat the call as it is; ask the person what to change."

    def __init__(self, message: str, request_id: str | None = None) -> None:
        super().__init__(message)
        self.request_id = request_id


class ApprovalEnded(Refusal):
    """The yes that a call rests on is no more: its hour is over, or another call used it."""

    code = "approval_ended"
    retryable = True
    next = "Repeat the call without requestId; the person is asked again."


class RequestConflict(Refusal):
    """The `requestId` already belongs to a generation with other arguments."""

    code = "request_conflict"
    next = "Leave requestId out to start a new generation, or repeat the first call unchanged."


class LedgerUnavailable(MeigenError):
    """The ledger cannot be read or written.

    By itself it says nothing about money: whoever knows that none has moved says so, with
    `before_money`.

    Attributes:
        what: what is wrong, as a sentence.
        fix: what to do, as a sentence; empty where only time helps.
        damaged: `doctor --reset-ledger` would begin a new one.
        unsure: what was to be written may be there all the same.
    """

    code = "ledger_unavailable"
    charged: Charged = "unknown"
    retryable = True
    next = "Where the message says what to mend, ask the person to do it; then call again."

    def __init__(
        self, what: str, fix: str = "", *, damaged: bool = False, unsure: bool = False
    ) -> None:
        super().__init__(f"{what} {fix}".rstrip())
        self.what, self.fix, self.damaged, self.unsure = what, fix, damaged, unsure

    def before_money(self) -> "LedgerUnavailable":
        """Return the same, with the word that nothing was sent or charged."""
        told = LedgerUnavailable(self.what, self.fix, damaged=self.damaged)
        told.message, told.charged = f"{self.message} Nothing was sent or charged.", "no"
        return told


class TooLarge(MeigenError):
    """A medium does not fit into one message."""

    code = "too_large"
    next = "Open the URL or the saved file instead."


class NotSaved(MeigenError):
    """The output folder cannot be written."""

    code = "not_saved"
    next = "Use the URL, and ask the person to mend the output folder."


class Unforeseen(MeigenError):
    """Something that we did not foresee went wrong.

    Attributes:
        reference: under which the log has more.
    """

    code = "internal"
    charged = "unknown"
    next = "Call check_status without arguments to see whether a generation was started."

    def __init__(self, reference: str) -> None:
        super().__init__(
            "Internal error of this server; its log says more under reference"
            f" {reference}. Whether something was charged is not known."
        )
        self.reference = reference


class ApiError(MeigenError):
    """MeiGen answered with an error, or with nothing that could be read.

    Attributes:
        retry_after: seconds to wait before the next request, where the API said so.
        generation_id: the one that the answer names all the same.
    """

    generation_id: str | None = None

    def __init__(self, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class InvalidRequest(ApiError):
    """MeiGen refused the request itself."""

    code = "invalid_request"
    next = "Correct the arguments as the message says and call the tool again."


class ModerationRefused(ApiError):
    """MeiGen's moderation refused the prompt or a reference; it does not charge for that."""

    code = "moderation"
    next = "Tell the person that the content filter refused it and propose another wording."


class Unauthorized(ApiError):
    """MeiGen does not accept the token."""

    code = "unauthorized"
    next = (
        "Ask the person for a new token of meigen.ai (their picture, Settings, API Keys): by"
        " `meigen-mcp install CLIENT --new-token` where a file holds it, else in MEIGEN_API_TOKEN;"
        " after a restart of the server repeat the same call."
    )


class Forbidden(ApiError):
    """The token is known but may not do this."""

    code = "forbidden"
    next = (
        "Ask the person to check the account behind MEIGEN_API_TOKEN on meigen.ai, then repeat the"
        " same call."
    )


class InsufficientCredits(ApiError):
    """The purchased credits do not cover the generation."""

    code = "insufficient_credits"
    next = (
        "Ask the person to buy credits on meigen.ai or choose cheaper settings; after topping up,"
        " repeat the same call."
    )


class RequestNotFound(ApiError):
    """MeiGen has no job for this idempotency key."""

    code = "request_not_found"


class JobNotFound(ApiError):
    """MeiGen does not know the generation id (yet)."""

    code = "generation_not_found"
    charged = "unknown"
    retryable = True


class InProgress(ApiError):
    """Another submission with the same key is under way."""

    code = "in_progress"
    charged = "unknown"
    retryable = True


class IdempotencyConflict(ApiError):
    """MeiGen holds this key with other arguments."""

    code = "idempotency_conflict"
    next = "Start a new generation without requestId."


class RequestIdCollision(ApiError):
    """The key belongs to something that this account may not see."""

    code = "request_id_collision"
    next = "Start a new generation without requestId."


class GenerationGone(ApiError):
    """MeiGen deleted the record of this generation."""

    code = "generation_unavailable"
    charged = "unknown"
    next = "Tell the person that MeiGen deleted this generation; start a new one only if asked."


class RateLimited(ApiError):
    """Too many submissions in a minute."""

    code = "rate_limited"
    retryable = True


class StatusBusy(ApiError):
    """MeiGen cannot answer status questions right now."""

    code = "status_query_busy"
    charged = "unknown"
    retryable = True


class ServerError(ApiError):
    """MeiGen failed on its own side."""

    code = "server_error"
    charged = "unknown"
    retryable = True


class UnreadableReply(ApiError):
    """The reply is not the documented JSON."""

    code = "unreadable_reply"
    charged = "unknown"
    retryable = True


class ResultGone(ApiError):
    """A result is not at its URL: not yet, in its first minutes, or never again."""

    code, next = "result_gone", "Ask the person to look for the result on meigen.ai."


class Unreachable(ApiError):
    """No reply arrived.

    Attributes:
        sent: False when the request provably never left (no connection could be made).
    """

    code = "unreachable"
    charged = "unknown"
    retryable = True

    def __init__(
        self, message: str, *, retry_after: float | None = None, sent: bool = True
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.sent = sent


class UploadFailed(ApiError):
    """A local reference could not be made public, so nothing was generated."""

    code = "upload_failed"
    retryable = True
    next = "Repeat the same call if the message says so, or give a public https URL of the image."

    def __init__(
        self, message: str, *, retry_after: float | None = None, retryable: bool = True
    ) -> None:
        super().__init__(message, retry_after=retry_after)
        self.retryable = retryable
