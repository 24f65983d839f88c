"""What the sandbox knows and decides. No HTTP in here.

Where no source says how the API decides, the choice is named in a docstring or comment beside it.
"""

import hashlib
import math
import random
import re
import time
import uuid
from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime
from typing import Any

from meigen_mcp import listing
from meigen_mcp.arguments import CONTROL, GENERATION, REQUEST_ID, form
from meigen_mcp.catalogue import Model, merge, shipped
from meigen_mcp.references import Accepts
from meigen_mcp.rules import absent, present, show
from meigen_mcp.sandbox.models import (
    ANSWERED_BY,
    INVENTED,
    body,
    models,
    percentile,
    price,
    seconds_range,
)
from meigen_mcp.sandbox.state import Account, ApiError, Job, Options, Post, Submission, Upload

UPLOAD_TYPES: Mapping[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
}
UPLOAD_BYTES = 9_500_000  # ceiling of the upload gateway (official client, 2026-09)
WINDOW_SECONDS = 60  # of the rate limit (official pages, 2026-05)
OBSERVATION_SECONDS = 2400  # how long the server can still resolve a job (official client, 2026-08)
_TOKEN = re.compile(r"meigen_sk_[A-Za-z0-9_-]{32}")


class Emulator:
    """The state of one sandbox.

    Attributes:
        clock: returns Unix time.
        catalogue: what a client has that merges this sandbox's own list over the shipped facts.
        jobs: by their id.
        media: the job and the index in its results, by file name.
        posts: every submission, in order.
        uploads: by the id in the presigned URL.
    """

    def __init__(
        self, options: Options | None = None, clock: Callable[[], float] = time.time
    ) -> None:
        self.options = options or Options()
        self.clock = clock
        rows = listing.read(body(self.options.era, self.options.speed, self.today))
        self.catalogue = merge(shipped(), rows or (), self.today)
        self.accounts: dict[str, Account] = {}
        self.jobs: dict[str, Job] = {}
        self.media: dict[str, tuple[Job, int]] = {}
        self.posts: list[Post] = []
        self.uploads: dict[str, Upload] = {}
        self._random = random.Random(self.options.seed)  # noqa: S311  # no secret
        self._seconds = {model.id: seconds_range(model) for model in models()}

    @property
    def today(self) -> date:
        """The date of prices."""
        return datetime.fromtimestamp(self.clock(), UTC).date()

    def new_id(self) -> str:
        """Return a UUID that no one has yet."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def authorize(self, authorization: str | None) -> Account:
        """Return the account of an `Authorization` header."""
        scheme, _, token = (authorization or "").partition(" ")
        if token.startswith("meigen_sk_forbidden"):
            raise ApiError(403, "This account may not use the API")
        known = _TOKEN.fullmatch(token) and not token.startswith("meigen_sk_revoked")
        if scheme.lower() != "bearer" or not known:
            raise ApiError(401, "Invalid API token")
        account_id = hashlib.sha256(token.encode()).hexdigest()[:12]
        return self.accounts.setdefault(account_id, Account(account_id, self.options.credits))

    def remaining(self, account: Account | None) -> int:
        """Return how many submissions the window still has room for."""
        if account is None:
            return self.options.rate_limit
        oldest = self.clock() - WINDOW_SECONDS
        account.arrivals = [arrival for arrival in account.arrivals if arrival > oldest]
        return self.options.rate_limit - len(account.arrivals)

    def admit(self, account: Account) -> None:
        """Count a submission; a choice: in a sliding window, and what is turned away is free."""
        now = self.clock()
        if self.remaining(account) <= 0:
            wait = math.ceil(account.arrivals[0] + WINDOW_SECONDS - now)
            raise ApiError(
                429,
                "Rate limit exceeded. Please slow down.",
                retryable=True,
                retryAfterSeconds=max(1, wait),
            )
        account.arrivals.append(now)

    def submit(self, account: Account, request: Any, origin: str) -> Submission:
        """Judge a submission, charge it and start its job, or find the job that it repeats.

        Args:
            account: that pays.
            request: the JSON body.
            origin: of this sandbox, whose own URLs may be references.
        """
        if not isinstance(request, dict):
            raise _invalid("The body must be a JSON object")
        request = present(request)
        key = self._key(request.pop("idempotencyKey", None))
        model, arguments = self._judge(request, origin)
        if (earlier := account.find(key)) is not None:
            if earlier.request != request:
                message = "This idempotencyKey was used with other input"
                raise ApiError(409, message, "idempotency_conflict")
            return Submission(earlier, deduped=True)
        prompt = arguments["prompt"]
        if "sandbox:refuse" in prompt:
            raise _invalid("Your prompt was flagged by our safety policy. No credits were charged.")
        charge = price(model, arguments, self.today)
        available = 0 if "sandbox:no-credits" in prompt else account.balance(self.clock())
        if charge > available:
            # The client of 2026-09 expects true: the same request succeeds after a top-up.
            raise ApiError(
                402,
                f"Insufficient credits: {charge} required, {available} available",
                "insufficient_credits",
                retryable=True,
                required=charge,
                available=available,
            )
        job = self._start(
            account, key, request=request, model=model, arguments=arguments, charge=charge
        )
        return Submission(job, lost="sandbox:lose-reply" in prompt)

    def find_request(self, account: Account, key: str) -> Job:
        """Return the job of an idempotency key."""
        job = account.find(self._key(key))
        if job is None:
            raise ApiError(404, "No receipt", "request_not_found")
        return job

    def find_job(self, job_id: str, account: Account | None) -> Job:
        """Return a job; with an account, only one of its own (a choice: 404 rather than 403)."""
        job = self.jobs.get(job_id)
        if job is None or (account is not None and job.account != account.id):
            raise ApiError(404, "Generation not found")
        return job

    def expected_seconds(self, job: Job) -> float:
        """Return the 90th percentile of the job's model in seconds."""
        return percentile(self._seconds[job.model.id], 0.9, self.options.speed)

    def presign(self, content_type: Any, size: Any) -> str:
        """Promise an upload and return its id."""
        if content_type not in [*UPLOAD_TYPES]:
            raise _invalid(f"contentType must be one of {', '.join(UPLOAD_TYPES)}")
        if type(size) is not int or not 0 < size <= UPLOAD_BYTES:
            raise _invalid(f"size must be a whole number of bytes up to {UPLOAD_BYTES}")
        upload_id = self.new_id()
        name = f"{self.new_id()}.{UPLOAD_TYPES[content_type]}"
        self.uploads[upload_id] = Upload(name, content_type, size)
        return upload_id

    def _key(self, given: Any) -> str | None:
        if given is None or self.options.era == "2026-05":
            return None
        if next(REQUEST_ID.check(given, "idempotencyKey"), None):
            raise _invalid("idempotencyKey must be a UUID")
        return str(given).lower()

    def _judge(self, request: Mapping[str, Any], origin: str) -> tuple[Model, dict[str, Any]]:
        """Return the model that will answer and its arguments, or refuse what is wrong."""
        named = self._model(request.get("modelId"))
        peers = self.catalogue.accepted(named.media_type)
        rules = form(named, peers, Accepts(origin))
        # A documented choice of the API: what a model does not take, it ignores. Only references
        # have a documented maximum of 0.
        taken = {*rules.rules, "referenceImages"} - {*CONTROL}
        arguments = {
            name: value for name, value in request.items() if name in GENERATION and name in taken
        }
        arguments["modelId"] = named.id
        problems = [
            problem
            for problem in rules.check(arguments)
            # Documented: left out, it counts as 0.
            if problem.field != "referenceVideoDuration" or problem.field in arguments
        ]
        if problems:
            ratio = any(problem.field == "aspectRatio" for problem in problems)
            title = "Aspect ratio not supported" if ratio else "Invalid parameters"
            raise _invalid(f"{title}: {'; '.join(map(str, problems))}")
        most = INVENTED["limits"]["prompt_characters"]
        if len(arguments["prompt"]) > most:
            length = len(arguments["prompt"])
            raise _invalid(f"prompt is too long: {length} characters, at most {most}")
        model = self.catalogue.find(ANSWERED_BY.get(named.id, "")) or named
        defaults = {
            "resolution": model.default_resolution,
            "quality": model.default_quality,
            "tier": model.default_tier,
            "duration": model.default_duration,
        }
        return model, present(defaults) | arguments

    def _model(self, model_id: Any) -> Model:
        default = self.catalogue.default("image")
        found = default if absent(model_id) else self.catalogue.find(model_id)
        if found is None:
            state = "inactive" if model_id in [*self.catalogue.retired] else "invalid"
            raise _invalid(f"Model {show(model_id)} is {state}")
        return found

    def _start(
        self,
        account: Account,
        key: str | None,
        *,
        request: Mapping[str, Any],
        model: Model,
        arguments: Mapping[str, Any],
        charge: int,
    ) -> Job:
        now, speed, prompt = self.clock(), self.options.speed, arguments["prompt"]
        asked = arguments.get("aspectRatio", "auto")
        seconds = self._random.uniform(*self._seconds[model.id]) * speed
        # A choice: a ratio left to the API is the model's first one.
        primary = (model.ratios or ("1:1",))[0]
        left_open = asked in ("auto", "adaptive")
        job = Job(
            id=self.new_id(),
            account=account.id,
            key=key,
            request=request,
            model=model,
            arguments={**arguments, "aspectRatio": primary if left_open else asked},
            asked_ratio=None if left_open else asked,
            credits=charge,
            accepted_at=now,
            due_at=None if "sandbox:stall" in prompt else now + seconds,
            fails="sandbox:fail" in prompt,
            hint_until=now + OBSERVATION_SECONDS * speed,
        )
        account.jobs.append(job)
        self.jobs[job.id] = job
        self.media |= {name: (job, index) for index, name in enumerate(job.names)}
        return job


def _invalid(message: str) -> ApiError:
    return ApiError(400, message, "invalid_request")
