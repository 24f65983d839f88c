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

from meigen_mcp.catalogue import live_list
from meigen_mcp.catalogue.arguments import CONTROL, GENERATION, REQUEST_ID, form
from meigen_mcp.catalogue.lengths import Measured, check_measured
from meigen_mcp.catalogue.models import Model, shipped
from meigen_mcp.catalogue.reference_rules import Accepts
from meigen_mcp.catalogue.rules import absent, present
from meigen_mcp.sandbox import drafts
from meigen_mcp.sandbox.journal import Journal
from meigen_mcp.sandbox.media import PARTS, clip_seconds
from meigen_mcp.sandbox.models import (
    ANSWERED_BY,
    INVENTED,
    body,
    models,
    percentile,
    price,
    seconds_range,
)
from meigen_mcp.sandbox.state import (
    Account,
    Job,
    Options,
    Post,
    SandboxError,
    Submission,
    Upload,
    invalid,
)
from meigen_mcp.sandbox.uploads import check_clip, check_image
from meigen_mcp.wording import show

WINDOW_SECONDS = 60  # of the rate limit (official pages, 2026-05)
OBSERVATION_SECONDS = 2400  # how long the server can still resolve a job (official client, 2026-08)
_EDIT = re.compile(r"\bedit\b", re.IGNORECASE)
_TOKEN = re.compile(r"meigen_sk_[A-Za-z0-9_-]{32}")


class Emulator:
    """The state of one sandbox.

    Args:
        options: how it behaves.
        clock: returns Unix time.
        journal: what an earlier process of it accepted, and where this one writes it down.

    Attributes:
        clock: returns Unix time.
        catalogue: what a client has that merges this sandbox's own list over the shipped facts.
        jobs: by their id.
        media: the job and the index in its results, by file name.
        posts: every submission, in order.
        uploads: by the id in the presigned URL.
    """

    def __init__(
        self,
        options: Options | None = None,
        clock: Callable[[], float] = time.time,
        journal: Journal | None = None,
    ) -> None:
        self.options = options or Options()
        self.clock = clock
        self._models = models(self.options.era)
        listed = body(self.options.era, self.options.speed, self.today)
        self.catalogue = live_list.lay(shipped(), listed, self.today) or shipped()
        self.accounts: dict[str, Account] = {}
        self.jobs: dict[str, Job] = {}
        self.media: dict[str, tuple[Job, int]] = {}
        self.posts: list[Post] = []
        self.uploads: dict[str, Upload] = {}
        self._random = random.Random(self.options.seed)  # noqa: S311  # no secret
        self._seconds = {model.id: seconds_range(model) for model in self._models}
        self._journal = journal
        for known in journal.read(self.catalogue.find) if journal else ():
            if isinstance(known, Job):
                self._remember(known)
            else:
                self.uploads[known.name] = known

    @property
    def today(self) -> date:
        """The date of prices: that of its newest ones where this computer's date lies before it."""
        newest = max(price.since for model in self._models for price in model.prices)
        return max(newest, datetime.fromtimestamp(self.clock(), UTC).date())

    def new_id(self) -> str:
        """Return a UUID that no one has yet."""
        return str(uuid.UUID(int=self._random.getrandbits(128), version=4))

    def authorize(self, authorization: str | None) -> Account:
        """Return the account of an `Authorization` header."""
        scheme, _, token = (authorization or "").partition(" ")
        if token.startswith("meigen_sk_forbidden"):
            raise SandboxError(403, "This account may not use the API")
        known = _TOKEN.fullmatch(token) and not token.startswith("meigen_sk_revoked")
        if scheme.lower() != "bearer" or not known:
            raise SandboxError(401, "Invalid API token")
        account_id = hashlib.sha256(token.encode()).hexdigest()[:12]
        return self._account(account_id)

    def _account(self, account_id: str) -> Account:
        return self.accounts.setdefault(account_id, Account(account_id, self.options.credits))

    def _remember(self, job: Job) -> None:
        """Take in a job that an earlier process accepted."""
        account = self._account(job.account)
        account.arrivals.append(job.accepted_at)
        self._take_in(account, job)

    def _take_in(self, account: Account, job: Job) -> None:
        account.jobs.append(job)
        self.jobs[job.id] = job
        self.media |= {name: (job, index) for index, name in enumerate(job.names)}

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
            raise SandboxError(
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
            raise invalid("The body must be a JSON object")
        request = present(request)
        key = self._key(request.pop("idempotencyKey", None))
        final = self._final(account, request)
        model, arguments = final or self._judge(request, origin)
        if (earlier := account.find(key)) is not None:
            if earlier.request != request:
                message = "This idempotencyKey was used with other input"
                raise SandboxError(409, message, "idempotency_conflict")
            return Submission(earlier, deduped=True)
        prompt = arguments["prompt"]
        if "sandbox:refuse" in prompt:
            raise invalid("Your prompt was flagged by our safety policy. No credits were charged.")
        dear = {"draft": False} if "sandbox:dear-draft" in prompt else {}
        charge = price(model, {**arguments, **dear}, self.today)
        available = 0 if "sandbox:no-credits" in prompt else account.balance(self.clock())
        if charge > available:
            # The client of 2026-09 expects true: the same request succeeds after a top-up.
            raise SandboxError(
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

    def _final(
        self, account: Account, request: Mapping[str, Any]
    ) -> tuple[Model, dict[str, Any]] | None:
        """Return what a final is made with, if a request is that of one."""
        named = drafts.parent_of(request) if self.options.era == "2026-11" else None
        if named is None:
            return None
        return drafts.made_with(self.find_job(named, account), self.clock(), self.today)

    def find_request(self, account: Account, key: str) -> Job:
        """Return the job of an idempotency key."""
        job = account.find(self._key(key))
        if job is None:
            raise SandboxError(404, "No receipt", "request_not_found")
        return job

    def find_job(self, job_id: str, account: Account | None) -> Job:
        """Return a job; with an account, only one of its own (a choice: 404 rather than 403)."""
        job = self.jobs.get(job_id)
        if job is None or (account is not None and job.account != account.id):
            raise SandboxError(404, "Generation not found")
        return job

    def part(self, job: Job) -> int:
        """Return which clip a job shows: what goes on where its reference ends, or the next one.

        Args:
            job: a video's.
        """
        steps = 0
        while (before := self._goes_on_from(job)) is not None:
            job, steps = before, steps + 1
        films = [other for other in self.jobs.values() if other.model.media_type == "video"]
        first = next(place for place, other in enumerate(films) if other is job) % PARTS
        for _ in range(steps):
            first = first + 1 if first + 1 < PARTS else 1
        return first

    def _goes_on_from(self, job: Job) -> Job | None:
        """Return the job whose clip, the last of several, is a job's reference."""
        several = job.request.get("referenceVideos") or [""]
        clip = str(job.request.get("referenceVideo") or several[-1])
        found, _ = self.media.get(clip.rpartition("/")[2], (None, 0))
        return found if found and found.model.media_type == "video" else None

    def expected_seconds(self, job: Job) -> float:
        """Return the 90th percentile of the job's model in seconds."""
        return percentile(self._seconds[job.model.id], 0.9, self.options.speed)

    def presign(self, content_type: Any, size: Any) -> str:
        """Promise an upload and return its id."""
        return self._promise(check_image(content_type, size), content_type, size)

    def keep_upload(self, upload: Upload, data: bytes) -> None:
        """Take in the bytes of an upload."""
        upload.data = data
        if self._journal:
            self._journal.add_upload(upload)

    def presign_clip(self, account: Account, asked: Mapping[str, Any]) -> str:
        """Promise the upload of a clip or sound for a model, and return its id.

        Documented: it costs nothing, and wants a purchased balance above 0.
        """
        suffix = check_clip(self._model(asked.get("modelId")), asked)
        if account.balance(self.clock()) <= 0:
            raise SandboxError(402, "A purchased balance is needed", "insufficient_credits")
        return self._promise(suffix, str(asked["contentType"]), asked["size"])

    def _promise(self, suffix: str, content_type: str, size: int) -> str:
        upload_id = self.new_id()
        self.uploads[upload_id] = Upload(f"{self.new_id()}.{suffix}", content_type, size)
        return upload_id

    def _key(self, given: Any) -> str | None:
        if given is None or self.options.era == "2026-05":
            return None
        if next(REQUEST_ID.check(given, "idempotencyKey"), None):
            raise invalid("idempotencyKey must be a UUID")
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
        lengths = self._measure(named, arguments)
        problems = [
            problem
            for problem in [*rules.check(arguments), *check_measured(named, lengths)]
            # Documented: left out, it counts as 0.
            if problem.field != "referenceVideoDuration" or problem.field in arguments
        ]
        if problems:
            ratio = any(problem.field == "aspectRatio" for problem in problems)
            title = "Aspect ratio not supported" if ratio else "Invalid parameters"
            raise invalid(f"{title}: {'; '.join(map(str, problems))}")
        most = INVENTED["limits"]["prompt_characters"]
        if len(arguments["prompt"]) > most:
            length = len(arguments["prompt"])
            raise invalid(f"prompt is too long: {length} characters, at most {most}")
        model = self.catalogue.find(ANSWERED_BY.get(named.id, "")) or named
        defaults = {
            "resolution": model.default_resolution,
            "quality": model.default_quality,
            "tier": model.default_tier,
            "duration": model.default_duration,
            "modelVariant": model.default_variant,
        }
        return model, present(defaults) | arguments

    def _detail(self, model: Model, arguments: Mapping[str, Any]) -> str | None:
        """Return what is wrong with the clip of a request, which a job finds out and refunds.

        A choice: an edit is what the prompt calls so.
        """
        prompt, seconds = arguments["prompt"], arguments.get("referenceVideoDuration")
        if self.options.era != "2026-11" or seconds is None:
            return None
        if "sandbox:frame-rate" in prompt:
            return "reference_video_frame_rate"
        edits = model.edits is not None and _EDIT.search(prompt) is not None
        if edits and arguments.get("aspectRatio") != "adaptive":
            raise invalid("Aspect ratio not supported: an edit needs adaptive")
        return "video_edit_duration" if edits and arguments["duration"] != round(seconds) else None

    def _measure(self, model: Model, arguments: dict[str, Any]) -> list[Measured]:
        """Measure the clips that lie here, as the service does since 2026-08; others are believed.

        A choice: of several clips, one that lies elsewhere counts as the shortest that is taken.
        """
        if self.options.era != "2026-11":
            return []
        clips, clip = arguments.get("referenceVideos"), arguments.get("referenceVideo")
        if not isinstance(clips, list):
            seconds = self._seconds_of(clip)
            arguments |= {} if seconds is None else {"referenceVideoDuration": seconds}
            return []
        if clip == clips[0]:
            del arguments["referenceVideo"]  # documented: it may stand beside them
        least = (model.continuation and model.continuation.minimum_seconds) or 0.0
        lengths = [self._seconds_of(clip) for clip in clips]
        arguments["referenceVideoDuration"] = round(sum(s or float(least) for s in lengths), 3)
        return [Measured(f"referenceVideos[{n}]", seconds) for n, seconds in enumerate(lengths)]

    def _seconds_of(self, url: Any) -> float | None:
        """Return the length of a clip that lies here."""
        name = str(url).rpartition("/")[2]
        for upload in self.uploads.values():
            if upload.name == name and upload.data is not None:
                return clip_seconds(upload.data)
        job, _ = self.media.get(name, (None, 0))
        return None if job is None else float(job.arguments.get("duration", 0)) or None

    def _model(self, model_id: Any) -> Model:
        default = self.catalogue.default("image")
        found = default if absent(model_id) else self.catalogue.find(model_id)
        if found is None:
            state = "inactive" if model_id in [*self.catalogue.retired] else "invalid"
            raise invalid(f"Model {show(model_id)} is {state}")
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
        detail = self._detail(model, arguments)
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
            fails=drafts.fails(prompt, request) or detail is not None,
            hint_until=now + OBSERVATION_SECONDS * speed,
            failure_detail=detail,
        )
        if self._journal:
            self._journal.add(job)
        self._take_in(account, job)
        return job
