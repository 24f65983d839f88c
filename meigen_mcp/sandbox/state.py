"""The records of a sandbox: its options, accounts, jobs, submissions and uploads.

A job never changes: its status follows from the time it was accepted and the time of the question,
and a balance is the start balance less what its jobs have cost so far.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from meigen_mcp.catalogue.models import Model
from meigen_mcp.sandbox.models import INVENTED, Era


@dataclass(frozen=True, slots=True)
class Options:
    """How a sandbox behaves.

    Attributes:
        speed: by which typical times are multiplied; 0.05 makes 45 s into about 2 s, 0 is at once.
        credits: start balance of each account, in purchased credits.
        rate_limit: submissions a minute and account.
        era: generation of the API. 2026-05 knows neither idempotency keys, nor the requests route,
            nor the fields that came until 2026-09.
        seed: of ids and times; None: different in each run.
    """

    speed: float = 0.05
    credits: int = INVENTED["account"]["purchased_credits"]
    rate_limit: int = 12
    era: Era = "2026-09"
    seed: int | None = None


class SandboxError(Exception):
    """An error answer of the API.

    Attributes:
        status: of HTTP.
        code: None where no source gives one.
        retryable: whether the same request can succeed later.
        extra: further fields of the body.
    """

    def __init__(
        self,
        status: int,
        error: str,
        code: str | None = None,
        *,
        retryable: bool = False,
        **extra: int,
    ) -> None:
        super().__init__(error)
        self.status, self.error, self.code = status, error, code
        self.retryable, self.extra = retryable, extra


def invalid(message: str) -> SandboxError:
    """Return the refusal of a request that is wrong."""
    return SandboxError(400, message, "invalid_request")


@dataclass(frozen=True, slots=True, eq=False)
class Job:
    """An accepted generation.

    Attributes:
        account: id of the account that pays for it.
        key: the idempotency key, lower-cased.
        request: the body as sent, without absent fields and without the key.
        model: that made it, which for a legacy id is not the one that was named.
        arguments: what the model was given, with its defaults filled in.
        asked_ratio: None if the ratio was left to the API.
        credits: charged.
        accepted_at: Unix time.
        due_at: Unix time at which it ends; None: never.
        fails: ends without a result, and the credits come back.
        hint_until: Unix time until which the server says that it watches the job.
        failure_detail: what exactly was wrong with the request; None: nothing was.
    """

    id: str
    account: str
    key: str | None
    request: Mapping[str, Any]
    model: Model
    arguments: Mapping[str, Any]
    asked_ratio: str | None
    credits: int
    accepted_at: float
    due_at: float | None
    fails: bool
    hint_until: float
    failure_detail: str | None = None

    def status(self, now: float) -> Literal["processing", "completed", "failed"]:
        """Return the status at a time."""
        if self.due_at is None or now < self.due_at:
            return "processing"
        return "failed" if self.fails else "completed"

    @property
    def names(self) -> tuple[str, ...]:
        """The file names of the results, in their order."""
        if self.model.media_type == "video":
            return (f"{self.id}.mp4",)
        if self.model.images_per_call == 1:
            return (f"{self.id}.png",)
        return tuple(f"{self.id}-{n}.png" for n in range(1, self.model.images_per_call + 1))


@dataclass(slots=True)
class Account:
    """One token.

    Attributes:
        id: short hash of the token.
        jobs: in the order of their acceptance.
        arrivals: Unix times of the submissions that count for the rate limit.
    """

    id: str
    start_credits: int
    jobs: list[Job] = field(default_factory=list)
    arrivals: list[float] = field(default_factory=list)

    def charged(self) -> int:
        """Return all credits ever taken."""
        return sum(job.credits for job in self.jobs)

    def refunded(self, now: float) -> int:
        """Return all credits given back by a time."""
        return sum(job.credits for job in self.jobs if job.status(now) == "failed")

    def balance(self, now: float) -> int:
        """Return the purchased credits left at a time."""
        return self.start_credits - self.charged() + self.refunded(now)

    def find(self, key: str | None) -> Job | None:
        """Return the job of an idempotency key."""
        return next((job for job in self.jobs if key is not None and job.key == key), None)


@dataclass(frozen=True, slots=True)
class Submission:
    """An answered POST: its job, whether an earlier POST made it, whether the reply gets lost."""

    job: Job
    deduped: bool = False
    lost: bool = False


@dataclass(frozen=True, slots=True)
class Post:
    """A POST that was seen; `accepted` if it made a job, `lost` if its reply was withheld."""

    at: float
    account: str | None
    status: int
    key: str | None
    job: str | None
    accepted: bool
    lost: bool


@dataclass(slots=True)
class Upload:
    """A promised or finished upload of a reference image."""

    name: str
    content_type: str
    size: int
    data: bytes | None = None
