"""What `meigen-mcp approve` does: the person's yes to one offer, from a terminal."""

import json

from meigen_mcp.app import open_account
from meigen_mcp.commands.members import find_among
from meigen_mcp.errors import NotFound
from meigen_mcp.foreign import flat
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.offers import OFFERED_FOR
from meigen_mcp.people import person_of
from meigen_mcp.settings import Settings
from meigen_mcp.wording import time_of


async def run(settings: Settings, request_id: str, who: str | None = None) -> str:
    """Let an offer run once, and return what is printed.

    It is found by its id alone: the token need not be set here, since the offer says whose it is.
    Where people sign in, two may have chosen the same id.

    Args:
        settings: what the environment says.
        request_id: as the answer names it.
        who: whose it is, by id, name, subject or `nobody`; None: that of whoever has it.

    Raises:
        MeigenError: it cannot be done, and why.
    """
    async with open_account(settings) as account:
        await account.ledger.open()
        now = account.ledger.clock()
        offers, name, person = account.ledger.offers, request_id.strip().lower(), None
        if who is not None:
            people = [person_of(one.account) for one in await offers.standing(name, now)]
            person = await find_among(account.ledger, who, set(people))
        offer = await offers.approve(name, now, person)
        whose = "" if offer is None else await _named(account.ledger, offer.account)
    if offer is None:
        named = "MEIGEN_DATA_DIR" if settings.database_url is None else "MEIGEN_DATABASE_URL"
        raise NotFound(
            f"No call waits for your yes under {request_id} in {settings.ledger_place}: its hour is"
            f" over, it was made, or its server uses another {named}. Make the call again in the"
            " chat for a new offer. Nothing was sent or charged."
        )
    quote = offer.quote
    price = "at a price that is not known"
    if quote.credits is not None:
        least = "at least " if quote.kind == "at_least" else ""
        price = f"for {least}{quote.credits:f} credits"
    tool, arguments = json.loads(offer.fingerprint)
    until = time_of(offer.made_at + OFFERED_FOR)
    return (
        f"Approved{whose}: {tool} with {offer.model_id} {price} ({quote.basis}):"
        f" {json.dumps(arguments.get('prompt'), ensure_ascii=False)}\n"
        f"It runs once, within your caps, when the same call is made with requestId"
        f" {offer.request_id} before {until}. Nothing was sent or charged yet."
    )


async def _named(ledger: Ledger, account: str) -> str:
    """Return for whom a call is, where people sign in."""
    person = person_of(account)
    if not person:
        return ""
    members = await ledger.team.members(ledger.clock())
    known = {member.id: f"{flat(member.name)} ({person})" for member in members}
    return f" for {known.get(person, person)}"
