"""What `meigen-mcp image` and `video` do: the calls of a terminal or a script, to their end.

They are those of a chat: the same service judges, quotes and writes down, the same poller sends.
Only the waiting is the command's own, and it has no limit.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

import anyio
import httpx

from meigen_mcp import errors
from meigen_mcp.app import Account, open_account, run_service
from meigen_mcp.catalogue.arguments import MEDIUM_OF, Tool
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.commands.exits import BY_WEIGHT, Exit, advise, exit_of
from meigen_mcp.commands.keys import request_id_of
from meigen_mcp.commands.results import Results
from meigen_mcp.commands.typed import allow_folder
from meigen_mcp.errors import LedgerUnavailable, MeigenError, OverCap
from meigen_mcp.generation import SETTLED_AFTER, Generation
from meigen_mcp.ledger.offers import Offer
from meigen_mcp.ledger.spending import hold_to_cap
from meigen_mcp.media.local_files import ONLY_THE_PERSON
from meigen_mcp.poller.schedule import QUICK_FETCHES
from meigen_mcp.service.person import Question, Verdict
from meigen_mcp.service.repeats import forgotten, must_agree
from meigen_mcp.service.results import Outcome
from meigen_mcp.service.service import Service
from meigen_mcp.settings import Settings
from meigen_mcp.system import Signal
from meigen_mcp.views import generations as views
from meigen_mcp.views.next_step import FORGOTTEN
from meigen_mcp.views.structure import Structure

Ask = Callable[[str], Awaitable[bool]]
"""Puts a question before the person at the terminal."""
WATCHED_FOR = 3600.0
AT_ONCE = 8
"""Calls on their way to MeiGen: an intent must not grow too old to be sent while it waits."""
SHOWN_EVERY = 1.0
TRY_AGAIN_AFTER = 0.5


@dataclass(frozen=True, slots=True)
class Order:
    """What a command asks for.

    Attributes:
        tool: the tool of a chat that does the same.
        arguments: of every call, as typed.
        prompts: one for each call.
        several: they come from a file: one quote and one yes for all that are not made yet.
        key: what they are known by, for ever.
        yes_up_to: the credits that the person agreed to beforehand.
    """

    tool: Tool
    arguments: Mapping[str, Any]
    prompts: Sequence[str]
    several: bool = False
    key: str | None = None
    yes_up_to: Decimal | None = None

    def key_of(self, index: int) -> str | None:
        """Return the key of one call; in a file a prompt keeps it wherever its line moves to."""
        if self.key is None or not self.several:
            return self.key
        prompt = self.prompts[index]
        return f"{self.key}\n{prompt}\n{self.prompts[:index].count(prompt)}"

    def covers(self, quote: Quote) -> bool:
        """Say whether the yes that was given beforehand is one to a price."""
        known = quote.credits if quote.bounded else None
        return known is not None and self.yes_up_to is not None and known <= self.yes_up_to


@dataclass(slots=True)
class Buyer:
    """The person behind one call: at a terminal, or in a script with a yes given beforehand.

    Attributes:
        agrees: whether that yes covers a quote; None: none was given.
        ask: puts a question before them; None: nobody is there.
    """

    agrees: Callable[[Quote], bool] | None
    ask: Ask | None
    pending: str | None = None
    patience: float = float("inf")
    polls: bool = False
    hears: bool = False

    @property
    def can_ask(self) -> bool:
        """Whether anything can be answered for them."""
        return self.ask is not None or self.agrees is not None

    async def confirm(self, question: Question) -> Verdict:
        """Answer with their yes, or ask them."""
        if self.agrees is not None and self.agrees(question.quote):
            return "approved"
        if self.ask is None:
            return "cannot ask"
        return "approved" if await self.ask(question.message) else "declined"

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Say nothing: how it goes is shown from the records."""


async def run(
    settings: Settings,
    order: Order,
    results: Results,
    ask: Ask | None,
    transport: httpx.AsyncBaseTransport | None = None,
) -> Exit:
    """Make what is ordered and show each result as it comes.

    Args:
        settings: what the environment says.
        order: what is asked for.
        results: where it is shown.
        ask: puts a question before the person; None: nothing is asked.
        transport: what carries requests to the API; by default the network.

    Returns:
        The exit status; of several the one that matters most.
    """
    async with (
        open_account(settings, transport) as account,
        run_service(settings, account) as service,
    ):
        making = _Making(settings, account, service, order, results, ask)
        try:
            buyers = await making.prepare()
        except LedgerUnavailable as error:
            return making.refuse(error.before_money())
        except MeigenError as error:
            return making.refuse(error)
        if buyers:
            await making.make(buyers)
    return max(making.ends, key=BY_WEIGHT.index)


@dataclass
class _Making:
    """An order under way.

    Attributes:
        ids: the request id of each call that has a key.
        made: the calls that were made before, by their index.
        jobs: the records, as they were told last.
        ends: how calls ended.
    """

    settings: Settings
    account: Account
    service: Service
    order: Order
    results: Results
    ask: Ask | None
    ids: dict[int, str] = field(default_factory=dict)
    made: set[int] = field(default_factory=set)
    jobs: dict[str, Generation] = field(default_factory=dict)
    ends: list[Exit] = field(default_factory=list)
    told: Signal = field(default_factory=Signal)

    # --- before money moves ---------------------------------------------------------------------

    async def prepare(self) -> list[Buyer]:
        """Return who pays for each call; without anybody, all has been shown.

        Raises:
            MeigenError: nothing was sent or charged.
        """
        if self.settings.problems:
            lines = "\n".join(f"- {problem}" for problem in self.settings.problems)
            raise errors.BadSettings(f"Settings are wrong; nothing was sent.\n{lines}")
        if self.order.arguments.get("dryRun"):
            drafts = [
                await self._quote(index, tell=True) for index in range(len(self.order.prompts))
            ]
            if self.order.several:
                self.results.show_total(_total([draft.quote for draft in drafts if draft]))
            return []
        for index in range(len(self.order.prompts)):
            if (key := self.order.key_of(index)) is not None:
                self.ids[index] = await request_id_of(
                    self.settings, self.account.ledger, self.service, key
                )
        if self.order.several or self.order.yes_up_to is not None:
            return await self._agree()
        return [Buyer(None, self._asking)]

    async def _agree(self) -> list[Buyer]:
        """Quote what is not made yet, and get one yes for all of it."""
        drafts = [await self._quote(index) for index in range(len(self.order.prompts))]
        if self.ends:  # some were refused, so nothing is begun
            return []
        wanted = [draft for index, draft in enumerate(drafts) if draft and index not in self.made]
        total = _total([draft.quote for draft in wanted])
        spent = (await self.service.listing(1)).spent_today
        hold_to_cap(total.credits, self.settings.max_per_day, spent)
        # Whoever says how much is asked about all that is more, whatever is asked about otherwise.
        asks = self.settings.confirm_above is not None or self.order.yes_up_to is not None
        if wanted and asks and not self.order.covers(total):
            medium = MEDIUM_OF[self.order.tool] + "s" * (len(wanted) > 1)
            price = "at a price that is not known"
            if total.credits is not None:
                price = f"for {total.credits:f} credits"
            question = f"Make {len(wanted)} {medium} {price}? ({total.basis})"
            if self.ask is None:
                self._show({"status": "needs_approval", "quote": views.quote_structure(total)})
                return []
            if not await self._ask_person(question):
                raise errors.Declined("You said no. Nothing was sent or charged.")
        return [Buyer(Offer.of(draft).covers, self._asking) for draft in drafts if draft]

    @property
    def _asking(self) -> Ask | None:
        return None if self.ask is None else self._ask_person

    async def _ask_person(self, question: str) -> bool:
        """Ask, with no line of progress in the way."""
        self.results.close()
        self.results.held = True
        try:
            return self.ask is not None and await self.ask(question)
        finally:
            self.results.held = False

    async def _quote(self, index: int, *, tell: bool = False) -> Generation | None:
        """Return what a call would come to; None: it would be refused, and that is shown."""
        prompt, named = self.order.prompts[index], self.ids.get(index)
        call = {**self.order.arguments, "prompt": prompt, "dryRun": True}
        known = None if named is None else await self.service.record(named)
        try:
            outcome = await self.service.generate(self.order.tool, call, Buyer(None, None))
            draft = outcome.job
            if known is not None:
                must_agree(draft, known)
                if not known.parked:
                    self.made.add(index)
            elif isinstance(outcome.objection, OverCap):  # a quote needs no token
                raise outcome.objection
        except MeigenError as error:
            self.refuse(error, prompt, index)
            return None
        if tell:
            self._show(views.outcome(outcome, time.time()))
        return draft

    # --- from then on ---------------------------------------------------------------------------

    async def make(self, buyers: Sequence[Buyer]) -> None:
        """Make everything, and show how each call ends."""
        room = anyio.CapacityLimiter(AT_ONCE)
        self._name_waited_for()
        async with anyio.create_task_group() as beside:
            beside.start_soon(self._listen, await self.service.version())
            if self.results.live:
                beside.start_soon(self._show_progress)
            async with anyio.create_task_group() as calls:
                for index, buyer in enumerate(buyers):
                    calls.start_soon(self._make, index, buyer, room)
            beside.cancel_scope.cancel()

    async def _make(self, index: int, buyer: Buyer, room: anyio.CapacityLimiter) -> None:
        """Make one call and wait for its end."""
        prompt = self.order.prompts[index]
        try:
            async with room:
                outcome = await self._call(index, buyer)
                if outcome.status == "needs_approval":
                    self._show(views.outcome(outcome, time.time()), outcome.recent)
                    return
                job = await self._follow(outcome.job)
                await self._until(job, lambda job: job.submitted)
            await self._until(job, has_ended)
        except MeigenError as error:
            self.refuse(error, prompt, index)
            return
        job = self.jobs[job.request_id]
        answer = views.outcome(Outcome(job, job.status), time.time())
        if forgotten(job) and self.order.several:  # its key is made of these words
            answer |= views.printable_fields({"prompt": prompt})
        self._show(answer, forgotten=forgotten(job))

    async def _call(self, index: int, buyer: Buyer) -> Outcome:
        """Call, and look again at what is unknown."""
        call = {**self.order.arguments, "prompt": self.order.prompts[index], "wait": 0}
        named = {"requestId": self.ids[index]} if index in self.ids else {}
        outcome = await self.service.generate(self.order.tool, {**call, **named}, buyer)
        if outcome.status != "unknown":
            return outcome
        again = await self.service.check({"requestId": outcome.job.request_id, "wait": 0}, buyer)
        return again if isinstance(again, Outcome) else outcome

    async def _follow(self, job: Generation) -> Generation:
        """Hear of a record from here on, and have it looked at every interval."""
        self.jobs[job.request_id] = job
        self._tell(await self.service.record(job.request_id) or job)  # it may be another by now
        await self.service.watch([job.request_id], WATCHED_FOR)
        return job

    async def _until(self, job: Generation, done: Callable[[Generation], bool]) -> None:
        while not done(self.jobs[job.request_id]):
            await self.told.after(self.told.count)

    async def _listen(self, since: int) -> None:
        while True:
            try:
                async for jobs in self.service.changes(since):
                    since = jobs[-1].version
                    for job in jobs:
                        self._tell(job)
            except LedgerUnavailable:
                await anyio.sleep(TRY_AGAIN_AFTER)

    def _tell(self, job: Generation) -> None:
        before = self.jobs.get(job.request_id)
        if before is not None and job.version >= before.version:
            self.jobs[job.request_id] = job
            if job.error is not None and job.error.passes:
                self.results.tell_once(f"queued: {job.error.message}")
            self._name_waited_for()
            self.told.set()

    def _name_waited_for(self) -> None:
        unknown = [name for name in self.ids.values() if name not in self.jobs]
        going = [job.request_id for job in self.jobs.values() if not has_ended(job)]
        self.results.waited_for = unknown + going

    async def _show_progress(self) -> None:
        try:
            while True:
                self.results.progress(self.jobs.values(), len(self.order.prompts))
                await anyio.sleep(SHOWN_EVERY)
        finally:
            self.results.close()

    # --- what is shown --------------------------------------------------------------------------

    def refuse(self, error: MeigenError, prompt: str | None = None, index: int = 0) -> Exit:
        """Show a refusal, and how the call ends with it."""
        answer = views.refusal(error, self.order.tool, prompt)
        if isinstance(error, errors.Declined):
            answer["error"]["message"] = "You said no. Nothing was sent or charged."
        if isinstance(error, errors.RequestConflict):
            named = f"requestId {self.ids.get(index)}"
            told = error.message.replace(named, f"The key {self.order.key}")
            answer["error"]["message"] = f"{told} Another generation takes another key."
        message = answer["error"]["message"]
        answer["error"]["message"] = message.replace(ONLY_THE_PERSON, allow_folder())
        if self.order.several and prompt is not None:
            message = answer["error"]["message"]
            answer["error"]["message"] = f"Prompt {index + 1}: {message}"
        return self._show(answer)

    def _show(
        self, answer: Structure, recent: Decimal | None = None, *, forgotten: bool = False
    ) -> Exit:
        answer.pop("next", None)  # it is for a model in a chat
        anew = self.settings.sandbox == ""
        if anew:  # they end with this command
            for name in ("preview", "resourceUri"):
                answer.pop(name, None)
        named = self.order.key is not None and not self.order.arguments.get("dryRun")
        advice = advise(answer, recent, key=named, several=self.order.several, anew=anew)
        said = [FORGOTTEN] * forgotten + ([advice] if advice else [])
        self.results.show(answer, " ".join(said) or None)
        self.ends.append(exit_of(answer))
        return self.ends[-1]


def has_ended(job: Generation) -> bool:
    """Say whether a command waits no longer: it is saved, or nothing more is learnt soon."""
    if job.status == "completed":
        return job.at_rest or job.fetch_failures >= QUICK_FETCHES
    late = time.time() - (job.posted_at or job.created_at) > SETTLED_AFTER
    lost = job.status == "unknown" or (job.status == "submitting" and late)
    return job.terminal or job.parked or job.unobserved or lost


def _total(quotes: Sequence[Quote]) -> Quote:
    """Return the quote of several calls together."""
    counts = Counter(quotes)
    basis = ", ".join(f"{count} x ({quote.basis})" for quote, count in counts.items())
    if not all(quote.bounded and quote.credits is not None for quote in quotes):
        return Quote(None, "unknown", basis)
    total = sum((quote.credits or Decimal(0) for quote in quotes), Decimal(0))
    exact = all(quote.kind == "exact" for quote in quotes)
    return Quote(total, "exact" if exact else "estimate", basis)
