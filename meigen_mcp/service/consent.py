"""The person's yes to one call: asked for in a form, passed on by the model, or from a terminal.

What nobody can have said is nobody's: a client that answers by itself gives neither a yes nor a no.
"""

from decimal import Decimal
from typing import Literal

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import Declined
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.offers import OFFERED_FOR, Offer
from meigen_mcp.service.person import Person, Question, Way
from meigen_mcp.settings import Settings, default_data_dir
from meigen_mcp.system import Clocks

MOST_QUESTIONS = 3
"""How often a person is asked about one offer; what a client answers by itself does not count."""

Yes = Literal["asked", "offer"]
"""The person said yes to the question, or to the offer, which is then used up."""


class Consent:
    """Finds the person's yes.

    Args:
        settings: what the environment says.
        ledger: has the calls that wait for a yes.
        clocks: what ends a yes as soon as one of them says so.
    """

    def __init__(self, settings: Settings, ledger: Ledger, clocks: Clocks) -> None:
        self._settings = settings
        self._ledger = ledger
        self._clocks = clocks

    def lasts(self, at: float) -> bool:
        """Say whether a yes or an offer of a time still counts; one of the future never does."""
        elapsed = self._clocks.since(at)
        return elapsed is not None and elapsed < OFFERED_FOR

    async def find(
        self,
        draft: Generation,
        recent: Decimal | None,
        ceiling: Decimal | None,
        person: Person,
        offer: Offer | None,
    ) -> Yes | Way:
        """Find the person's yes to a call, or how they can still agree.

        Args:
            draft: the call, with the quote that counts.
            recent: the credits of the last hour, where they are why the person is asked.
            ceiling: the call's own; one that covers the quote passes a yes to the offer on, where
                no person can have seen the question.
            person: whoever is asked.
            offer: what the call's request id was offered for.

        Raises:
            Declined: the person said no.
        """
        repeated = offer is not None and self.lasts(offer.made_at) and offer.covers(draft.quote)
        if offer is None or not repeated:
            offer = Offer.of(draft)
            self._clocks.since(offer.made_at)
        approved = offer.approved_at is not None and self.lasts(offer.approved_at)
        answers = person.can_ask and person.pending is not None  # an earlier call's question
        if approved and not answers:
            return "offer"
        passed_on = repeated and _covered(draft.quote, ceiling)
        if not person.can_ask:
            offer = offer if repeated else await self._ledger.offers.note(offer, "offered")
            return _unheard("pass on", offer, passed_on=passed_on)
        if not answers and offer.asked >= MOST_QUESTIONS:
            if offer.declined:
                raise self._declined(draft)
            return "terminal"
        if not answers or not repeated:
            offer = await self._ledger.offers.note(offer, "asked")
        way = await self._asked(draft, recent, person, offer, passed_on=passed_on)
        return "offer" if approved and way != "asked" else way

    async def _asked(
        self,
        draft: Generation,
        recent: Decimal | None,
        person: Person,
        offer: Offer,
        *,
        passed_on: bool,
    ) -> Yes | Way:
        """Ask the person, and note what came of it."""
        words = _question(draft, recent)
        question = Question(draft.request_id, words, draft.quote, offer.automatic)
        match await person.confirm(question):
            case "approved":
                return "asked"
            case "declined":
                await self._ledger.offers.note(offer, "declined")
                raise self._declined(draft)
            case "no answer":
                return "ask again" if offer.asked < MOST_QUESTIONS else "terminal"
            case "automatic":
                before = offer.automatic
                offer = await self._ledger.offers.note(offer, "automatic")
                return _unheard("automatic", offer, passed_on=passed_on and before > 0)
            case "cannot ask":
                offer = await self._ledger.offers.note(offer, "not askable")
                return _unheard("pass on", offer, passed_on=passed_on)

    def _declined(self, draft: Generation) -> Declined:
        name, price = draft.request_id, "a price that is not known"
        if draft.quote.credits is not None:
            price = f"{draft.quote.credits:f} credits"
        command = approving(self._settings, name)
        return Declined(
            f"The person said no to {price}. Nothing was sent or charged. If they change their mind"
            f" within the hour, they type {command} in a terminal, and the same call with requestId"
            f' "{name}" runs once. They are asked above MEIGEN_CONFIRM_ABOVE.',
            name,
        )


def approving(settings: Settings, request_id: str) -> str:
    """Return the command that says yes to an offer, as one types it to reach this ledger."""
    where = ""
    if settings.sandbox and settings.names_paths:
        return f"`meigen-mcp approve {request_id} --sandbox {settings.sandbox}`"
    if not settings.names_paths:
        where = " (on the computer of this server)"
    elif settings.database_url is not None:
        where = " (with this server's MEIGEN_DATABASE_URL)"
    elif settings.data_dir != default_data_dir():
        where = f" (with MEIGEN_DATA_DIR={settings.data_dir})"
    return f"`meigen-mcp approve {request_id}`{where}"


def _unheard(way: Way, offer: Offer, *, passed_on: bool) -> Yes | Way:
    """Return what follows where the client did not put the question before a person."""
    if not offer.unseen:  # but somebody did, and got no yes
        return "ask again" if way == "automatic" else "terminal"
    return "offer" if passed_on else way


def _covered(quote: Quote, ceiling: Decimal | None) -> bool:
    return ceiling is not None and (quote.credits is None or quote.credits <= ceiling)


def _question(draft: Generation, recent: Decimal | None) -> str:
    quote = draft.quote
    price = (
        f"for {'at least ' if quote.kind == 'at_least' else ''}{quote.credits:f} credits"
        if quote.credits is not None
        else "at a price that is not known"
    )
    hour = (
        ""
        if recent is None
        else f" {recent:f} credits were spent or reserved unasked in the last hour."
    )
    return f"Make one {draft.media_type} with {draft.model_id} {price}? ({quote.basis}){hour}"
