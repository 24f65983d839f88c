"""Whether money may be spent: the caps, the ceiling of the call, and the person's yes."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from decimal import Decimal
from typing import Any

from meigen_mcp import errors
from meigen_mcp.catalogue import pricing
from meigen_mcp.catalogue.models import Model
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Opening, Terms
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.spending import HOUR, hold_to_cap
from meigen_mcp.ledger.team import hold
from meigen_mcp.service.consent import Consent
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.service.person import Person, Way
from meigen_mcp.settings import Settings
from meigen_mcp.system import Clocks


@dataclass(frozen=True, slots=True)
class Unapproved:
    """A call that the person has not agreed to yet.

    Attributes:
        job: the draft, whose request id the repetition of the call must name.
        cheaper: settings of the same model that cost less.
        recent: the credits of the last hour, where they and not the quote are the reason.
        way: how the person can still agree.
    """

    job: Generation
    cheaper: tuple[tuple[str, Quote], ...]
    recent: Decimal | None
    way: Way


@dataclass(frozen=True, slots=True)
class Intent:
    """A call that may be paid for.

    Attributes:
        job: the record to commit, once it has the bytes of its POST.
        sent: the arguments to be sent, the priced defaults among them where a limit applies.
        terms: what its reservation is held to once more, when it is made.
    """

    job: Generation
    sent: Mapping[str, Any]
    terms: Terms


class Budget:
    """Decides over one account's money."""

    def __init__(
        self,
        settings: Settings,
        ledger: Ledger,
        catalogue: CurrentCatalogue,
        clocks: Clocks,
    ) -> None:
        self.settings = settings
        self.catalogue = catalogue
        self.clocks = clocks
        self._consent = Consent(settings, ledger, clocks)

    async def decide(
        self,
        draft: Generation,
        model: Model,
        max_credits: float | None,
        person: Person,
        opening: Opening,
    ) -> Intent | Unapproved:
        """Hold the quote against the caps and, where needed, ask the person.

        Args:
            draft: the call with its quote.
            model: what it is made with.
            max_credits: the call's own ceiling.
            person: whoever is asked.
            opening: what the ledger knows.

        Returns:
            The intent, or that the call needs approval.

        Raises:
            OverCap: a cap or `maxCredits` does not allow it.
            Declined: the person said no.
        """
        ceiling = _credits(max_credits)
        capped = self._capped(ceiling, opening)
        firm, sent = self._firm(draft, model)
        recent = self._recent(firm.quote, opening)
        asked = recent is not None or self._too_dear(firm.quote)
        terms = Terms(
            cap_per_day=self.settings.max_per_day,
            ask_above=None if asked else self.settings.confirm_above,
            price=firm.quote.credits or Decimal(0),
            counted_from=self._counted_from(opening),
            approved=asked,
        )
        if not (asked or capped):
            return self._intent(draft, draft.arguments, draft.quote.credits, terms)
        self._hold_to_caps(firm.quote, ceiling, opening)
        if asked:
            match await self._consent.find(firm, recent, ceiling, person, opening.offer):
                case "asked" | "offer" as yes:
                    terms = replace(terms, by_offer=yes == "offer")
                case way:
                    today = self.catalogue.today()
                    # A final is what its draft was: nothing of it can be chosen.
                    options = [] if draft.body else pricing.cheaper(model, firm.arguments, today)
                    return Unapproved(firm, tuple(options[:3]), recent, way)
        reserved = firm.quote.credits if firm.quote.bounded else ceiling
        intent = self._intent(firm, sent, reserved or firm.quote.credits, terms)
        if asked:
            self.clocks.since(intent.job.created_at)
        return intent

    def _intent(
        self,
        draft: Generation,
        sent: Mapping[str, Any],
        reserved: Decimal | None,
        terms: Terms,
    ) -> Intent:
        now = self.clocks.wall()
        job = replace(draft, reserved=reserved, created_at=now, next_look=now)
        return Intent(job, sent, terms)

    def objection(
        self, draft: Generation, model: Model, max_credits: float | None, opening: Opening
    ) -> errors.OverCap | None:
        """Return the refusal that a call would meet, if a cap or its ceiling is against it."""
        ceiling = _credits(max_credits)
        if not self._capped(ceiling, opening):
            return None
        firm, _ = self._firm(draft, model)
        try:
            self._hold_to_caps(firm.quote, ceiling, opening)
        except errors.OverCap as refusal:
            return refusal
        return None

    def asks(self, quote: Quote, opening: Opening) -> bool:
        """Say whether the person is asked before a call of this price is made."""
        return self._too_dear(quote) or self._recent(quote, opening) is not None

    def _firm(self, draft: Generation, model: Model) -> tuple[Generation, dict[str, Any]]:
        """Return the draft with the quote that counts for a limit, and what that quote is for."""
        if draft.body:  # its price is MeiGen's own word, and its body is made
            return draft, dict(draft.arguments)
        today = self.catalogue.today()
        sent = pricing.explicit(model, draft.arguments, today)
        if sent == draft.arguments:  # then it is quoted already
            return draft, sent
        return replace(draft, quote=pricing.quote(model, sent, today)), sent

    def _capped(self, ceiling: Decimal | None, opening: Opening) -> bool:
        """Say whether there is anything that a price could pass."""
        caps = (self.settings.max_per_generation, self.settings.max_per_day, ceiling)
        return any(cap is not None for cap in caps) or bool(opening.allowances)

    def _hold_to_caps(self, quote: Quote, ceiling: Decimal | None, opening: Opening) -> None:
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
        hold_to_cap(quote.credits, self.settings.max_per_day, opening.spent_today)
        hold(quote.credits if quote.bounded else None, opening.allowances)
        if ceiling is not None and quote.credits is not None and quote.credits > ceiling:
            raise errors.OverCap(
                f"It would cost {quote.credits:f} credits ({quote.basis}); maxCredits is"
                f" {ceiling:f}. Nothing was sent or charged."
            )

    def _too_dear(self, quote: Quote) -> bool:
        """Say whether the person is asked about a price whatever else was spent."""
        limit = self.settings.confirm_above
        if limit is None:
            return False
        return not quote.bounded or quote.credits is None or quote.credits > limit

    def _counted_from(self, opening: Opening) -> float:
        """Return since when what was spent counts towards the next question to the person."""
        start = self.clocks.wall() - HOUR
        lasts = self._consent.lasts(opening.approved_at)
        return max(start, opening.approved_at) if lasts else start

    def _recent(self, quote: Quote, opening: Opening) -> Decimal | None:
        """Return the credits since the last yes of this hour, if only with them it is too much."""
        limit = self.settings.confirm_above
        if limit is None or quote.credits is None or self._too_dear(quote):
            return None
        lasts = self._consent.lasts(opening.approved_at)
        recent = opening.spent_since_yes if lasts else opening.spent_this_hour
        return recent if recent + quote.credits > limit else None


def _credits(number: float | None) -> Decimal | None:
    return None if number is None else Decimal(str(number))
