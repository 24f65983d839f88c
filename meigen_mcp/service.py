"""The use cases behind the four tools.

A call decides whether money may be spent, writes the intent into the ledger and waits for what the
poller learns. It never talks to the API about a generation itself.
"""

import json
import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

from meigen_mcp import arguments as args
from meigen_mcp import errors, pricing
from meigen_mcp.arguments import Tool
from meigen_mcp.budget import Budget, Offer, Person
from meigen_mcp.catalogue import Model
from meigen_mcp.errors import Problem
from meigen_mcp.generation import Balance, Generation, fingerprint
from meigen_mcp.ledger import Ledger
from meigen_mcp.live_catalogue import LiveCatalogue
from meigen_mcp.pricing import Quote
from meigen_mcp.rules import absent, present
from meigen_mcp.settings import Settings
from meigen_mcp.sources import Given, Sources
from meigen_mcp.window import DAY, Window

ACCEPTANCE = 5.0
_LOCAL = re.compile(r'"file://[^"]*"')
HARD_STOP = 40.0
SAVING = 5.0
MOST_PREVIEWS_AHEAD = 3
DEFAULT_WAIT: Mapping[str, int] = {"generate_image": 25, "generate_video": 0, "check_status": 25}
DEFAULT_EXPECTED: Mapping[str, float] = {"image": 30.0, "video": 120.0}
_CATALOGUE_WAIT = 5.0
_REPORT_EVERY = 2.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a call comes to: a record, or what would become one.

    Attributes:
        job: the record; for `dry_run` and `needs_approval` a draft that is not stored.
        status: the record's status, or one of those two.
        place: how many generations are sent before a queued one.
        starts_at: when a queued one is sent, as far as can be told.
        adopted: a repeated call was given the generation of an interrupted one.
        repeated: its request id stood for this generation already.
        uploaded: how many local references were uploaded for it.
        preview: the path of a small picture of the result, whoever may be told of paths.
        objection: why the call of a dry run would be refused.
        cheaper: settings of the same model that cost less.
        recent: the credits of the last hour, where they are why approval is needed.
        balance: the credits as last told, with the time of that.
    """

    job: Generation
    status: str
    place: int = 0
    starts_at: float | None = None
    adopted: bool = False
    repeated: bool = False
    uploaded: int = 0
    preview: str | None = None
    objection: errors.OverCap | None = None
    cheaper: tuple[tuple[str, Quote], ...] = ()
    recent: Decimal | None = None
    balance: tuple[Balance, float] | None = None


@dataclass(frozen=True, slots=True)
class Listing:
    """The newest generations, with what was spent."""

    jobs: tuple[Generation, ...]
    spent_today: Decimal
    spent_month: Decimal


class Service:
    """The use cases, for one account."""

    def __init__(
        self,
        settings: Settings,
        account: str,
        ledger: Ledger,
        catalogue: LiveCatalogue,
        sources: Sources,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.settings = settings
        self.account = account
        self.ledger = ledger
        self.catalogue = catalogue
        self.clock = clock
        self.closing = False
        self._sources = sources
        self._budget = Budget(settings, account, ledger, catalogue, clock)
        self._window = Window(ledger.database, account, settings.rate_limit)

    def close(self) -> None:
        """Let every waiting call answer at once with how things stand."""
        self.closing = True
        self.ledger.wake_waiting()

    def shown(self, job: Generation) -> Generation:
        """Return a record as answers may tell it."""
        if not self.settings.discreet:
            return job
        # Another server on the same ledger may have been given local files.
        told = json.loads(_LOCAL.sub('"a local file"', json.dumps(job.arguments)))
        return replace(job, files=(), preview=None, arguments=told)

    # --- generating -----------------------------------------------------------------------------

    async def generate(self, tool: Tool, arguments: Mapping[str, Any], person: Person) -> Outcome:
        """Make an image or a video, or say what it would cost.

        Raises:
            Refusal: nothing was sent and nothing was charged.
        """
        started = self.clock()
        sources = await self._sources.look_up(arguments)
        model, quote = await self._checked(tool, sources)
        given = present(sources.arguments)
        control = {name: given.pop(name, None) for name in args.CONTROL}
        draft = self._draft(tool, model, given, quote, sources)
        if control["dryRun"]:
            objection = self._budget.objection(draft, model, control["maxCredits"])
            return Outcome(draft, "dry_run", balance=self._balance(), objection=objection)
        if self.settings.token is None:
            raise errors.MissingToken(
                "MEIGEN_API_TOKEN is not set, so nothing can be generated. Nothing was sent."
            )
        wait = float(DEFAULT_WAIT[tool] if control["wait"] is None else control["wait"])
        named = control["requestId"] or person.pending
        if named is not None:
            known = self._known(draft, named)
            if known is not None:
                result = await self._joined(known, wait, started, person)
                return replace(result, repeated=not known.parked)
            draft = replace(draft, request_id=named.lower())
        else:
            repeated = self.ledger.repeated(draft)
            if repeated is not None:
                job, adopted = repeated
                return await self._joined(job, wait, started, person, adopted=adopted)
        decision = await self._budget.decide(draft, model, control["maxCredits"], person)
        if isinstance(decision, Offer):
            return Outcome(
                decision.job,
                "needs_approval",
                cheaper=decision.cheaper,
                recent=decision.recent,
                balance=self.ledger.last_balance(self.account),
            )
        sent, uploaded = await self._sources.publish(sources, decision.sent)
        key = {"idempotencyKey": decision.job.request_id}
        job = self.ledger.add(
            replace(decision.job, body=json.dumps({**sent, **key}, ensure_ascii=False)),
            self.settings.max_per_day,
            adoptable=control["requestId"] is None,
        )
        self._must_agree(draft, job)
        return replace(await self._joined(job, wait, started, person), uploaded=uploaded)

    async def _checked(self, tool: Tool, given: Given) -> tuple[Model, Quote]:
        """Judge the arguments and quote them; the live list is awaited for an unknown price."""
        arguments = given.arguments
        for attempt in ("as it is", "with a fresh list"):
            current = self.catalogue.current
            model, problems = args.judge(tool, current, arguments, self.settings.accepts)
            problems = _together(problems, given)
            quote = None
            if model is not None and not problems:
                named = not absent(arguments.get("modelId"))
                today = self.catalogue.today()
                quote = pricing.quote(model, present(arguments), today, named=named)
                if quote.kind != "unknown":
                    return model, quote
            if attempt == "as it is":
                await self.catalogue.awaited(_CATALOGUE_WAIT)
        if model is None or quote is None:
            raise errors.InvalidArguments(problems)
        return model, quote

    def _draft(
        self,
        tool: Tool,
        model: Model,
        given: Mapping[str, Any],
        quote: Quote,
        sources: Given,
    ) -> Generation:
        expected = None
        if self.ledger.available():
            expected = self.ledger.usual_seconds(model.id)
        return Generation(
            request_id=str(uuid4()),
            account=self.account,
            tool=tool,
            media_type=model.media_type,
            model_id=model.id,
            prompt=given["prompt"],
            arguments=given,
            body="",
            quote=quote,
            made_from=tuple(sources.made_from),
            created_at=self.clock(),
            expected_seconds=expected
            or model.expected_seconds
            or DEFAULT_EXPECTED[model.media_type],
        )

    def _known(self, draft: Generation, name: str) -> Generation | None:
        """Return the generation that a request id already stands for."""
        job = self.ledger.get(self.account, name)
        same = fingerprint(draft.tool, draft.arguments)
        if job is not None and job.request_id == name.lower():
            self._must_agree(draft, job)
            return job
        offered = self.ledger.notes.offered(self.account, name.lower(), self.clock())
        if offered not in (None, same):
            raise _conflict(name)
        return None

    def _must_agree(self, draft: Generation, job: Generation) -> None:
        """Refuse a call whose request id stands for a generation with other arguments."""
        if fingerprint(job.tool, job.arguments) != fingerprint(draft.tool, draft.arguments):
            raise _conflict(job.request_id)

    def _balance(self) -> tuple[Balance, float] | None:
        return self.ledger.last_balance(self.account) if self.ledger.available() else None

    # --- waiting --------------------------------------------------------------------------------

    async def _joined(
        self,
        job: Generation,
        wait: float,
        started: float,
        person: Person,
        *,
        adopted: bool = False,
    ) -> Outcome:
        """Wait for acceptance, then for the result, and answer in any case in time."""
        if job.parked:
            self.ledger.wake(job, self.clock())
            job = replace(job, parked=False)
        try:
            now = self.clock()
            if wait:
                self.ledger.watch(self.account, [job.request_id], now + ACCEPTANCE + wait, now)
            job = await self._waited(job, lambda j: j.submitted, now + ACCEPTANCE, person)
            until = min(self.clock() + wait, started + HARD_STOP)
            if wait and not job.terminal and not job.parked:
                job = await self._waited(job, _settled, until, person)
            job = await self._saved(job, started + HARD_STOP)
        except BaseException:
            self.ledger.mark(job, answered=False)
            raise
        self.ledger.mark(job, answered=True)
        return self._outcome(job, adopted=adopted)

    async def _saved(self, job: Generation, until: float) -> Generation:
        """Give a finished generation a few seconds until its media are saved and shown.

        Previews are made one at a time, so of many that end together most are answered without.
        """
        if job.status != "completed":
            return job
        soon = min((job.finished_at or 0) + SAVING, until)
        if self.settings.output_dir is not None:
            job = await self._until(job, lambda j: j.next_look is None or all(j.files), soon)
        ahead = self.ledger.agenda.unfinished_before(job, self.clock())
        if job.next_look is None or ahead > MOST_PREVIEWS_AHEAD:
            return job
        return await self._until(job, lambda j: j.next_look is None, soon)

    async def _waited(
        self, job: Generation, done: Callable[[Generation], bool], until: float, person: Person
    ) -> Generation:
        """Wait until a record is done, telling the person how it goes meanwhile."""
        while True:
            now = self.clock()
            job = await self._until(job, done, min(until, now + _REPORT_EVERY))
            if done(job) or self.clock() >= until or self.closing:
                return job
            place = self._place(job)[0] if job.status == "queued" else None
            await person.report(job, self.clock() - job.created_at, place)
            job = self.ledger.get(job.account, job.request_id) or job  # it may be done meanwhile

    async def _until(
        self, job: Generation, done: Callable[[Generation], bool], until: float
    ) -> Generation:
        """Wait until a record is done, a time has come, or the server closes."""
        return await self.ledger.wait(job, lambda j: self.closing or done(j), until, self.clock)

    def _place(self, job: Generation) -> tuple[int, float]:
        return self._window.in_line(job, self.clock())

    def _outcome(self, job: Generation, *, adopted: bool = False) -> Outcome:
        place, starts = 0, None
        if job.status == "queued" and not job.parked:
            place, starts = self._place(job)
        return Outcome(
            self.shown(job),
            job.status,
            place=place,
            starts_at=starts,
            adopted=adopted,
            preview=job.preview,
        )

    # --- looking --------------------------------------------------------------------------------

    async def check(self, arguments: Mapping[str, Any], person: Person) -> Outcome | Listing:
        """Say how one generation stands, waiting for it; without an id list the newest.

        Raises:
            InvalidArguments: the arguments are wrong.
            NotFound: this account has no such generation.
        """
        started = self.clock()
        problems = args.CHECK_STATUS.check(arguments)
        if problems:
            raise errors.InvalidArguments(problems)
        given = present(arguments)
        name = given.get("generationId") or given.get("requestId")
        if name is None:
            return self.listing(given.get("limit", 10))
        job = self.ledger.get(self.account, name)
        if job is None or given.get("requestId", job.request_id).lower() != job.request_id:
            raise errors.NotFound(
                f"This account has no generation {name} in its ledger. Nothing was sent."
            )
        wait = float(given.get("wait", DEFAULT_WAIT["check_status"]))
        now = self.clock()
        if job.status == "unknown":
            self.ledger.wake(job, now)
            seen = job.version
            job = await self._until(
                job, lambda j: j.version > seen + 1 and j.next_look is None, now + ACCEPTANCE
            )
        if job.parked or job.status in ("completed", "failed", "unknown"):
            return self._outcome(await self._saved(job, started + HARD_STOP))
        if wait:
            self.ledger.watch(self.account, [job.request_id], now + wait, now)
            until = min(now + wait, started + HARD_STOP)
            job = await self._waited(job, _settled, until, person)
        return self._outcome(await self._saved(job, started + HARD_STOP))

    def listing(self, limit: int) -> Listing:
        """Return the newest generations of the account."""
        now = self.clock()
        jobs = tuple(self.shown(job) for _, job in self.ledger.newest(self.account, limit))
        return Listing(jobs, self.ledger.spent(now - DAY), self.ledger.spent(now - 30 * DAY))

    def models(self, arguments: Mapping[str, Any]) -> tuple[tuple[Model, ...], bool]:
        """Return the models to show, and whether everything about one was asked for.

        Raises:
            InvalidArguments: the arguments are wrong.
        """
        current = self.catalogue.current
        problems = args.list_models_form(current).check(arguments)
        if problems:
            raise errors.InvalidArguments(problems)
        given = present(arguments)
        if "modelId" in given:
            model = current.find(given["modelId"])
            return ((model,) if model else ()), True
        return current.listed(given.get("mediaType")), False


def _together(problems: list[Problem], given: Given) -> list[Problem]:
    """Return what is wrong with a call, each argument named once."""
    named = {problem.field for problem in problems}
    if given.measured and "referenceVideo" in named:
        # Nobody gave the length that we measured.
        problems = [p for p in problems if p.field != "referenceVideoDuration"]
    return [*problems, *(p for p in given.problems if p.field not in named)]


def _conflict(request_id: str) -> errors.RequestConflict:
    return errors.RequestConflict(
        f"requestId {request_id} belongs to a call with other arguments. Nothing was sent or"
        " charged for this one."
    )


def _settled(job: Generation) -> bool:
    return job.terminal or job.parked or job.status == "unknown"
