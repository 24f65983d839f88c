"""Whether money may be spent: the caps, the ceiling of the call, and the person's yes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any, Literal, Protocol

from meigen_mcp import errors, pricing
from meigen_mcp.catalogue import Model
from meigen_mcp.generation import Generation
from meigen_mcp.ledger import Ledger
from meigen_mcp.live_catalogue import LiveCatalogue
from meigen_mcp.pricing import Quote
from meigen_mcp.settings import Settings

_HOUR = 3600.0

Verdict = Literal["approved", "declined", "no answer", "cannot ask"]


@dataclass(frozen=True, slots=True)
class Question:
    """What the person is asked before money moves."""

    request_id: str
    message: str
    quote: Quote


class Person(Protocol):
    """Whoever sits behind a call.

    Attributes:
        pending: the request id of a question that this call answers, if it does.
    """

    pending: str | None

    async def confirm(self, question: Question) -> Verdict:
        """Ask whether a price is fine."""
        ...

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Tell how a generation that the call waits for stands, and its place in the queue."""
        ...


@dataclass(frozen=True, slots=True)
class Offer:
    """A call that the person must approve by a second call.

    Attributes:
        job: the draft whose request id the second call must name.
        cheaper: settings of the same model that cost less.
        recent: the credits of the last hour, where they and not the quote are the reason.
    """

    job: Generation
    cheaper: tuple[tuple[str, Quote], ...]
    recent: Decimal | None


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that may be paid for.

    Attributes:
        job: the record to commit, once it has the bytes of its POST.
        sent: the arguments to be sent, the priced defaults among them where a limit applies.
    """

    job: Generation
    sent: Mapping[str, Any]


class Budget:
    """Decides over one account's money."""

    def __init__(
        self,
        settings: Settings,
        account: str,
        ledger: Ledger,
        catalogue: LiveCatalogue,
        clock: Callable[[], float],
    ) -> None:
        self.settings = settings
        self.account = account
        self.ledger = ledger
        self.catalogue = catalogue
        self.clock = clock

    async def decide(
        self, draft: Generation, model: Model, max_credits: float | None, person: Person
    ) -> Intent | Offer:
        """Hold the quote against the caps and, where needed, ask the person.

        Returns:
            The intent, or the offer of a call that needs approval.

        Raises:
            OverCap: a cap or `maxCredits` does not allow it.
            Declined: the person said no.
        """
        ceiling = _credits(max_credits)
        caps = (self.settings.max_per_generation, self.settings.max_per_day, ceiling)
        capped = any(cap is not None for cap in caps)
        firm, settled = self._firm(draft, model)
        asked = self._must_ask(firm.quote)
        if not (asked or capped):
            return self._intent(draft, draft.arguments, draft.quote.credits)
        self._hold_to_caps(firm.quote, ceiling)
        if asked:
            offer = await self._asked(firm, model, ceiling, person)
            if offer is not None:
                return offer
        reserved = firm.quote.credits if firm.quote.bounded else ceiling
        intent = self._intent(firm, settled, reserved or firm.quote.credits)
        if asked:
            self.ledger.notes.put(f"approved:{self.account}", intent.job.created_at)
        return intent

    def _intent(
        self, draft: Generation, sent: Mapping[str, Any], reserved: Decimal | None
    ) -> Intent:
        now = self.clock()
        return Intent(replace(draft, reserved=reserved, created_at=now, next_look=now), sent)

    def objection(
        self, draft: Generation, model: Model, max_credits: float | None
    ) -> errors.OverCap | None:
        """Return the refusal that a call would meet, if a cap or its ceiling is against it."""
        firm, _ = self._firm(draft, model)
        try:
            self._hold_to_caps(firm.quote, _credits(max_credits))
            if self.settings.max_per_day is not None and self.ledger.available():
                self.ledger.hold_to_cap(firm.quote.credits, self.settings.max_per_day, self.clock())
        except errors.OverCap as refusal:
            return refusal
        return None

    def _firm(self, draft: Generation, model: Model) -> tuple[Generation, dict[str, Any]]:
        """Return the draft with the quote that counts for a limit, and what that quote is for."""
        today = self.catalogue.today()
        settled = pricing.settle(model, draft.arguments, today)
        if settled == draft.arguments:  # then it is quoted already
            return draft, settled
        return replace(draft, quote=pricing.quote(model, settled, today)), settled

    def _hold_to_caps(self, quote: Quote, ceiling: Decimal | None) -> None:
        """Refuse what a cap of the person, or the call's own ceiling, does not allow."""
        caps = {
            "MEIGEN_MAX_CREDITS_PER_GENERATION": self.settings.max_per_generation,
            "MEIGEN_MAX_CREDITS_PER_DAY": self.settings.max_per_day,
        }
        for name, cap in caps.items():
            if cap is None:
                continue
            if not quote.bounded:
                raise errors.OverCap(
                    f"The price is not known ({quote.basis}), so {name} {cap:f} cannot be kept."
                    " Nothing was sent or charged."
                )
            if quote.credits is not None and quote.credits > cap:
                raise errors.OverCap(
                    f"It would cost {quote.credits:f} credits ({quote.basis}); {name} is {cap:f}."
                    " Nothing was sent or charged."
                )
        if ceiling is not None and quote.credits is not None and quote.credits > ceiling:
            raise errors.OverCap(
                f"It would cost {quote.credits:f} credits ({quote.basis}); maxCredits is"
                f" {ceiling:f}. Nothing was sent or charged."
            )

    def _must_ask(self, quote: Quote) -> bool:
        limit = self.settings.confirm_above
        if limit is None:
            return False
        if not quote.bounded or quote.credits is None:
            return True
        return self._recent(quote) is not None or quote.credits > limit

    def _recent(self, quote: Quote) -> Decimal | None:
        """Return the credits since the last yes of this hour, if only with them it is too much."""
        limit = self.settings.confirm_above
        if limit is None or not quote.bounded or quote.credits is None or quote.credits > limit:
            return None
        approved = float(self.ledger.notes.get(f"approved:{self.account}") or 0)
        recent = self.ledger.spent(max(self.clock() - _HOUR, approved))
        return recent if recent + quote.credits > limit else None

    async def _asked(
        self, draft: Generation, model: Model, ceiling: Decimal | None, person: Person
    ) -> Offer | None:
        """Ask the person; return None when the answer is yes.

        Where the client cannot ask, the same call with the offered request id and a ceiling that
        covers the quote counts as the person's yes.
        """
        verdict = await person.confirm(
            Question(draft.request_id, self._question(draft), draft.quote)
        )
        if verdict == "approved":
            return None
        if verdict == "declined":
            raise errors.Declined("The person did not agree to the price. Nothing was sent.")
        covered = ceiling is not None and (
            draft.quote.credits is None or draft.quote.credits <= ceiling
        )
        if (
            verdict == "cannot ask"
            and covered
            and self.ledger.notes.offered(self.account, draft.request_id, self.clock())
        ):
            return None
        self.ledger.notes.offer(draft)
        options = pricing.cheaper(model, draft.arguments, self.catalogue.today())
        return Offer(draft, tuple(options[:3]), self._recent(draft.quote))

    def _question(self, draft: Generation) -> str:
        quote = draft.quote
        price = (
            f"for {'at least ' if quote.kind == 'at_least' else ''}{quote.credits:f} credits"
            if quote.credits is not None
            else "at a price that is not known"
        )
        recent = self._recent(quote)
        hour = (
            ""
            if recent is None
            else f" {recent:f} credits were spent or reserved in the last hour."
        )
        return f"Make one {draft.media_type} with {draft.model_id} {price}? ({quote.basis}){hour}"


def _credits(number: float | None) -> Decimal | None:
    return None if number is None else Decimal(str(number))
