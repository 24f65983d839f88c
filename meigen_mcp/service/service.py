"""The use cases behind the four tools.

A call decides whether money may be spent, writes the intent into the ledger and waits for what the
poller learns. It never talks to the API about a generation itself.
"""

import contextlib
import json
import time
from collections.abc import AsyncIterator, Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from meigen_mcp import errors, generation
from meigen_mcp.catalogue import arguments as args
from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.catalogue.forms import Form
from meigen_mcp.catalogue.models import Model
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.catalogue.rules import present
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Opening
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.offers import fingerprint
from meigen_mcp.media.archive import Archive
from meigen_mcp.media.links import MediaLinks
from meigen_mcp.service.aftermath import after_money
from meigen_mcp.service.answering import Answering, Begun, runs
from meigen_mcp.service.budget import Budget, Unapproved
from meigen_mcp.service.consent import approving
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.service.finals import final_of, why_no_draft
from meigen_mcp.service.intents import write_intent
from meigen_mcp.service.names import odd_uris, request_id_of, without_uri
from meigen_mcp.service.person import Person
from meigen_mcp.service.quoting import make_draft, quote_call
from meigen_mcp.service.references import ReferenceResolver, References
from meigen_mcp.service.repeats import conflict, must_agree, stands_for
from meigen_mcp.service.results import STARTS_ANEW, Copies, Listing, Outcome
from meigen_mcp.service.waiting import ACCEPTANCE
from meigen_mcp.settings import Settings
from meigen_mcp.system import Clocks
from meigen_mcp.tally import Tally

_DRAFTS_SEEN = 50
"""Records among which the last draft of a model is looked for."""


class Service:
    """The use cases, for one account; the one door to its records."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        catalogue: CurrentCatalogue,
        references: ReferenceResolver,
        *,
        links: MediaLinks | None = None,
        archive: Archive | None = None,
        tally: Tally | None = None,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.tally = tally or Tally()
        self.clock = clock
        self.clocks = Clocks(clock, monotonic)
        self._closing = False
        self._ledger = ledger
        self._references = references
        self._budget = Budget(settings, ledger, catalogue, self.clocks)
        self._answering = Answering(
            *(settings, ledger, self.clocks, lambda: self._closing), links=links, archive=archive
        )

    def close(self) -> None:
        """Let every waiting call answer at once with how things stand."""
        self._closing = True
        self._ledger.changes.wake_all()

    # --- records --------------------------------------------------------------------------------

    async def record(self, name: str) -> Generation | None:
        """Return the generation with this `generationId` or `requestId`, as it may be told."""
        job = await self._ledger.records.get(name)
        return None if job is None else await self._answering.shown(job)

    async def source(self, name: str) -> Generation | None:
        """Return the same with its files, for whoever reads their bytes and names none."""
        return await self._ledger.records.get(name)

    async def page(self, limit: int, before: int | None) -> list[tuple[int, Generation]]:
        """Return generations, newest first, each with its place; `before` is the last one seen."""
        found = await self._ledger.records.newest(limit, before)
        return [(place, await self._answering.shown(job)) for place, job in found]

    async def listing(self, limit: int) -> Listing:
        """Return the newest generations, with what was spent."""
        found = await self._ledger.records.overview(limit, self.clock())
        jobs = tuple([await self._answering.shown(job) for job in found.jobs])
        anew = self.settings.sandbox == ""
        others = sum(not self._ledger.accounts.own(job) for job in found.jobs)
        return Listing(
            jobs,
            found.spent_today,
            found.spent_month,
            found.reserved,
            anew=anew,
            others=others,
            sandbox=self.settings.sandbox is not None,
            allowances=found.allowances,
        )

    @property
    def ready(self) -> bool:
        """Whether a call can be answered now."""
        return self._ledger.ready

    async def version(self) -> int:
        """Return the version of the newest change."""
        return await self._ledger.changes.version()

    async def changes(self, since: int) -> AsyncIterator[list[Generation]]:
        """Yield generations as they change after a version, whichever process did it."""
        async for jobs in self._ledger.changes.changes(since):
            yield [await self._answering.shown(job) for job in jobs]

    async def watch(self, names: Iterable[str], seconds: float) -> None:
        """Have generations looked at every interval for a while."""
        now = self.clock()
        await self._ledger.changes.watch(names, now, now + seconds)

    async def call_off(self, job: Generation) -> Generation:
        """End a generation that is still queued, uncharged; one that was sent goes on.

        Returns:
            The record as it is now: `failed` with the code `called_off`, or whatever it is.
        """
        now = self.clock()
        ended = await self._ledger.records.change(job, lambda j: generation.called_off(j, now))
        return await self._answering.shown(ended)

    # --- generating -----------------------------------------------------------------------------

    async def generate(self, tool: Tool, arguments: Mapping[str, Any], person: Person) -> Outcome:
        """Make an image or a video, or say what it would cost.

        Raises:
            Refusal: nothing was sent and nothing was charged.
            LedgerUnavailable: likewise, if it says so; else what its request id stands for cannot
                be known.
        """
        stop = self.clocks.monotonic() + person.patience
        read = args.as_meant(tool, self.catalogue.current, arguments)
        named = request_id_of(read, person)
        try:
            begun = await self._open_or_repeat(tool, read, named, person)
        except LedgerUnavailable as error:
            # An id may stand for what an earlier call sent.
            told = error.before_money() if named is None else after_money(error, named)
            raise told from None
        if isinstance(begun, _Opened):
            try:
                begun = await self._reserve(begun, stop, person)
            except LedgerUnavailable as error:
                raise error.before_money() from None
        if isinstance(begun, Outcome):
            return begun
        return await self._answering.finish(begun, stop, person)

    async def _open_or_repeat(
        self, tool: Tool, read: Mapping[str, Any], named: str | None, person: Person
    ) -> "Outcome | Begun | _Opened":
        """Open a call; one that was sent before is not judged again: its model may be gone."""
        try:
            return await self._open(tool, read, named, person)
        except errors.InvalidArguments:
            job = None if named is None else await self._ledger.records.get(named)
            if job is None or job.request_id != named or not self._ledger.accounts.own(job):
                raise
        given = {name: given for name, given in present(read).items() if name not in args.CONTROL}
        if given.get("finalOf") is not None:  # what a final leaves out is its draft's
            given = {**job.arguments, **given}
        must_agree(replace(job, tool=tool, arguments=given), job)
        return Begun(job, args.WAITS[tool].default or 0.0, person.polls, repeated=True)

    async def _open(
        self, tool: Tool, read: Mapping[str, Any], named: str | None, person: Person
    ) -> "Outcome | Begun | _Opened":
        """Judge and quote a call, and find what it repeats; nothing is reserved."""
        model, quote, references, body = await self._judge(tool, read)
        given = present(references.arguments)
        control = {name: given.pop(name, None) for name in args.CONTROL}
        draft = make_draft(model, given, quote, references, body=body, now=self.clock())
        if control["dryRun"]:
            return await self._dry_run(draft, model, control["maxCredits"])
        if (tokenless := self._tokenless()) is not None:
            raise tokenless
        usual = args.WAITS[tool].default or 0.0
        wait = usual if control["wait"] is None else float(control["wait"])
        polled = person.polls and control["wait"] != 0  # 0 asks for an answer, done or not
        draft = replace(draft, request_id=named or draft.request_id)
        await self._answering.marks.catch_up()
        opening = await self._ledger.calls.open_call(draft, named)
        if (known := stands_for(draft, opening)) is not None:
            return Begun(known, wait, polled, repeated=not known.parked)
        call = fingerprint(draft.tool, draft.arguments)
        if opening.offer is not None and opening.offer.fingerprint != call:
            raise conflict(draft.request_id)
        if opening.repeated is not None:
            return Begun(opening.repeated, wait, polled, adopted=opening.adopted)
        expected = opening.usual_seconds or draft.expected_seconds
        draft = replace(draft, expected_seconds=expected)
        return _Opened(draft, model, references, control, opening, wait, polled)

    async def _judge(
        self, tool: Tool, read: Mapping[str, Any]
    ) -> tuple[Model, Quote, References, str]:
        """Return what a call is made with, its price, and the body of a final.

        Raises:
            InvalidArguments: all that is wrong with it.
        """
        if tool == "generate_video" and isinstance(name := read.get("finalOf"), str) and name:
            control = {n: read[n] for n in args.CONTROL if n in read}
            if problems := Form(args.CONTROL).check(control):
                raise errors.InvalidArguments(problems)
            job = await self._ledger.records.get(name)
            references, quote, body = final_of(job, read, self.clock())
            known = references.arguments["modelId"]
            model = self.catalogue.current.find(known) or Model(id=known, media_type="video")
            return model, quote, references, body
        references = await self._references.look_up(read)
        model, quote = await quote_call(tool, references, self.catalogue, self.settings.accepts)
        if references.arguments.get("draft") is True:
            jobs = [job for _, job in await self._ledger.records.newest(_DRAFTS_SEEN)]
            if problem := why_no_draft(model, jobs, self.catalogue.fetched_at):
                raise errors.InvalidArguments([problem])
        return model, quote, references, ""

    async def _reserve(self, call: "_Opened", stop: float, person: Person) -> Outcome | Begun:
        """Decide over the money of a call and write its intent down."""
        opening, uploaded = call.opening, Copies()
        while True:
            decision = await self._budget.decide(
                call.draft, call.model, call.control["maxCredits"], person, opening
            )
            if isinstance(decision, Unapproved):
                return Outcome(
                    decision.job,
                    "needs_approval",
                    way=decision.way,
                    command=approving(self.settings, decision.job.request_id),
                    cheaper=decision.cheaper,
                    recent=decision.recent,
                    balance=opening.balance,
                )
            sent: Mapping[str, Any] = json.loads(call.draft.body or "{}")
            if not sent:
                left = stop - self.clocks.monotonic() - ACCEPTANCE
                sent, copies = await self._references.publish(call.references, decision.sent, left)
                uploaded = uploaded.and_also(copies)
            adoptable = call.control["requestId"] is None
            terms = replace(decision.terms, adoptable=adoptable, polled=call.polled)
            watched = self.clock() + ACCEPTANCE + call.wait if call.wait else 0.0
            draft = replace(decision.job, watched_until=watched)
            job = await write_intent(self._ledger, draft, terms, sent, self._answering.marks)
            if isinstance(job, Generation):
                return Begun(job, call.wait, call.polled, uploaded=uploaded, first=True)
            if isinstance(job, Outcome):
                return job
            opening = replace(opening, spent_since_yes=job.spent, spent_this_hour=job.spent)

    async def _dry_run(self, draft: Generation, model: Model, max_credits: float | None) -> Outcome:
        opening = Opening()
        with contextlib.suppress(LedgerUnavailable):  # a quote needs no ledger
            opening = await self._ledger.calls.glance(draft)
        expected = opening.usual_seconds or draft.expected_seconds
        objection = self._budget.objection(draft, model, max_credits, opening)
        return Outcome(
            replace(draft, expected_seconds=expected),
            "dry_run",
            balance=opening.balance,
            objection=objection or self._tokenless(),
            asks=self._budget.asks(draft.quote, opening),
        )

    def _tokenless(self) -> errors.MissingToken | None:
        if self.settings.token is not None:
            return None
        return errors.MissingToken(
            "MEIGEN_API_TOKEN is not set, so nothing can be generated. Nothing was sent."
        )

    # --- looking --------------------------------------------------------------------------------

    async def check(self, arguments: Mapping[str, Any], person: Person) -> Outcome | Listing:
        """Say how one generation stands, waiting for it; without an id list the newest.

        Raises:
            InvalidArguments: the arguments are wrong.
            NotFound: this account has no such generation.
            LedgerUnavailable: the ledger cannot be read.
        """
        stop = self.clocks.monotonic() + person.patience
        read = args.CHECK_STATUS.as_meant(arguments)
        read = {name: without_uri(value) for name, value in read.items()}
        problems = odd_uris(read) or args.CHECK_STATUS.check(read)
        if problems:
            raise errors.InvalidArguments(problems)
        given = present(read)
        name = given.get("requestId") or given.get("generationId")
        try:
            if name is None:
                return await self.listing(given.get("limit", int(args.LIMIT.default or 0)))
            job = await self._ledger.records.get(name)
        except LedgerUnavailable as error:
            asked = given.get("requestId")
            raise error if asked is None else after_money(error, asked.lower()) from None
        if job is None or given.get("generationId", name) not in (name, job.generation_id):
            anew = f" {STARTS_ANEW}" if self.settings.sandbox == "" else ""
            raise errors.NotFound(f"This account has no generation {name} in its ledger.{anew}")
        wait = float(given.get("wait", args.WAITS["check_status"].default or 0.0))
        outcome = await self._answering.look_at(job, wait, stop, person)
        polled = person.polls and given.get("wait") != 0
        later = polled and not (outcome.broken or outcome.others) and runs(outcome.job)
        return replace(outcome, later=later)

    async def look(self, request_id: str) -> Outcome | None:
        """Say how a generation stands, for a client that asks until it is done."""
        job = await self._task(request_id)
        return None if job is None else await self._answering.look(job)

    async def _task(self, request_id: str) -> Generation | None:
        """Return what a client may ask about until it is done: nothing of another token's."""
        job = await self._ledger.records.get(request_id)
        own = job is not None and self._ledger.accounts.own(job)
        return job if job is not None and own and job.request_id == request_id else None

    async def end_look(self, request_id: str, *, answered: bool) -> None:
        """Note that a client which asks until it is done got the result, or wants it no more.

        What is still queued is then called off; what was sent goes on, and can be called for again.
        """
        if answered:
            await self._answering.told(request_id)
        elif (job := await self._task(request_id)) is not None:
            job = await self.call_off(job)
            await self._answering.marks.note(job, answered=False)

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


@dataclass(frozen=True, slots=True)
class _Opened:
    """A call that repeats none, and for which nothing is reserved yet."""

    draft: Generation
    model: Model
    references: References
    control: Mapping[str, Any]
    opening: Opening
    wait: float
    polled: bool
