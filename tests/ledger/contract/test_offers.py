"""Contract: calls that wait for the person's yes; what is kept of them, and a yes is used once."""

from dataclasses import replace
from decimal import Decimal

import pytest
from support.ledgers import ACCOUNT

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import ApprovalEnded
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.ledger.offers import MOST_OFFERS, OFFERED_FOR, Offer

OTHER = "https://www.meigen.ai 2"
NOW = 1_800_000_000.0
JOB = Generation(
    request_id="7d444840-9dc0-11d1-b245-5ffdce74fad2",
    account=ACCOUNT,
    tool="generate_image",
    media_type="image",
    model_id="nanobanana-2",
    prompt="a red cube",
    arguments={"prompt": "a red cube"},
    body="{}",
    quote=Quote(Decimal("5.5"), "exact", "5.5 per image"),
    created_at=NOW,
    expected_seconds=30.0,
)
OFFER = Offer.of(JOB)
BY_OFFER = Terms(by_offer=True)


async def _read(ledger: Ledger, now: float = NOW) -> Offer | None:
    draft = replace(JOB, created_at=now)
    return (await ledger.calls.open_call(draft, JOB.request_id)).offer


async def test_an_offer_is_kept_as_it_was_made(ledger: Ledger, stranger: Ledger) -> None:
    """For its own account and id, with the call, the price and its arithmetic."""
    assert await ledger.offers.note(OFFER, "offered") == OFFER
    assert await _read(ledger) == OFFER
    assert await _read(stranger) is None
    opening = await ledger.calls.open_call(JOB, "another")
    assert opening.offer is None


@pytest.mark.parametrize("after", [-0.001, OFFERED_FOR])
async def test_an_offer_stands_for_an_hour_and_never_before_it_was_made(
    ledger: Ledger, after: float
) -> None:
    """One of the future is void: the clock was ahead when it was made."""
    await ledger.offers.note(OFFER, "offered")
    assert await _read(ledger, NOW + OFFERED_FOR - 0.001) == OFFER
    assert await _read(ledger, NOW + after) is None
    assert await ledger.offers.approve(JOB.request_id, NOW + after) is None


async def test_what_happens_to_an_offer_adds_up(ledger: Ledger) -> None:
    """Also where another process noted something since it was read."""
    for event in ("asked", "asked", "automatic", "asked", "not askable"):
        await ledger.offers.note(OFFER, event)  # as it was read at first
    assert await _read(ledger) == replace(OFFER, asked=1, automatic=1)


async def test_a_new_offer_of_the_same_id_starts_anew(ledger: Ledger) -> None:
    """Nothing that was said about the old price counts for it."""
    await ledger.offers.note(OFFER, "declined")
    new = replace(OFFER, made_at=NOW + 1)
    assert await ledger.offers.note(new, "asked") == replace(new, asked=1)


async def test_a_no_takes_an_earlier_yes_back(ledger: Ledger) -> None:
    """And a later yes counts again."""
    await ledger.offers.note(OFFER, "offered")
    assert await ledger.offers.approve(JOB.request_id, NOW + 1) == replace(
        OFFER, approved_at=NOW + 1
    )
    assert await ledger.offers.note(OFFER, "declined") == replace(OFFER, declined=True)
    said = replace(OFFER, declined=True, approved_at=NOW + 2)
    assert await ledger.offers.approve(JOB.request_id, NOW + 2) == said
    assert await _read(ledger, NOW + 3) == said


async def test_a_yes_needs_no_account(ledger: Ledger, stranger: Ledger) -> None:
    """The newest offer of that id is meant, and stays that of its account."""
    newer = replace(OFFER, account=OTHER, made_at=NOW + 1)
    await stranger.offers.note(newer, "offered")
    await ledger.offers.note(OFFER, "offered")
    approved = replace(newer, approved_at=NOW + 2)
    assert await ledger.offers.approve(JOB.request_id, NOW + 2) == approved
    assert await _read(ledger, NOW + 2) == OFFER


@pytest.mark.parametrize(
    ("offered", "quote", "covered"),
    [
        (OFFER.quote, Quote(Decimal("5.5"), "estimate", ""), True),
        (OFFER.quote, Quote(Decimal(5), "exact", ""), True),
        (OFFER.quote, Quote(Decimal(6), "exact", ""), False),
        (OFFER.quote, Quote(Decimal(5), "at_least", ""), False),
        (OFFER.quote, Quote(None, "unknown", ""), False),
        (Quote(Decimal(0), "exact", ""), Quote(Decimal(0), "exact", ""), True),
        (Quote(Decimal(0), "exact", ""), Quote(Decimal(1), "exact", ""), False),
        (Quote(Decimal(5), "at_least", ""), Quote(Decimal(5), "at_least", ""), True),
        (Quote(Decimal(5), "at_least", ""), Quote(Decimal(6), "at_least", ""), False),
        (Quote(None, "unknown", ""), Quote(Decimal(900), "exact", ""), True),
    ],
)
def test_a_yes_is_to_the_price_that_was_told(offered: Quote, quote: Quote, covered: object) -> None:
    """A dearer one, or one that is less sure, is another question."""
    assert replace(OFFER, quote=offered).covers(quote) is covered


async def test_a_yes_is_used_up_with_the_intent_that_rests_on_it(ledger: Ledger) -> None:
    """In one transaction: whoever comes second finds the first's generation."""
    await ledger.offers.note(OFFER, "offered")
    made = await ledger.calls.add(JOB, BY_OFFER)
    assert await _read(ledger) is None
    assert await ledger.calls.add(JOB, BY_OFFER) == made


@pytest.mark.parametrize("at", [NOW - 1, NOW + OFFERED_FOR])
async def test_an_intent_without_the_offer_that_it_needs_is_not_written(
    ledger: Ledger, at: float
) -> None:
    """It ended, or lies in the future: nothing is kept, and nothing is reserved."""
    await ledger.offers.note(OFFER, "offered")
    job = replace(JOB, created_at=at, reserved=Decimal(5))
    with pytest.raises(ApprovalEnded, match=JOB.request_id):
        await ledger.calls.add(job, BY_OFFER)
    found = await ledger.records.overview(9, at)
    assert (found.jobs, found.spent_month) == ([], Decimal(0))


async def test_a_form_s_yes_needs_no_offer_and_ends_it(ledger: Ledger) -> None:
    """What was offered is made now, and cannot be approved any more."""
    await ledger.offers.note(OFFER, "asked")
    await ledger.calls.add(JOB, Terms())
    assert await ledger.offers.approve(JOB.request_id, NOW) is None
    another = replace(JOB, request_id="another")
    assert await ledger.calls.add(another, Terms()) == await ledger.records.get("another")


async def test_offers_of_yesterday_are_cleared_away(ledger: Ledger) -> None:
    """Those that nobody answered would stay for ever."""
    await ledger.offers.note(OFFER, "offered")
    later = replace(OFFER, request_id="later", made_at=NOW + OFFERED_FOR)
    await ledger.offers.note(later, "offered")
    assert await _read(ledger) is None


async def test_of_too_many_offers_the_oldest_without_a_yes_gives_way(ledger: Ledger) -> None:
    """Each holds a whole prompt, and whoever asks again and again would fill the disk."""
    ids = [f"offer {number}" for number in range(MOST_OFFERS + 1)]
    for number, request_id in enumerate(ids):
        offer = replace(OFFER, request_id=request_id, made_at=NOW + number)
        await ledger.offers.note(offer, "offered")
        if number == 0:
            await ledger.offers.approve(request_id, NOW + number)
    now = NOW + len(ids)
    found = [(await ledger.calls.open_call(replace(JOB, created_at=now), one)).offer for one in ids]
    assert [one for one, offer in zip(ids, found, strict=True) if offer is None] == [ids[1]]


async def test_what_was_offered_before_a_time_is_forgotten(
    ledger: Ledger, stranger: Ledger
) -> None:
    """Whoever's it is, and nothing that was offered since."""
    await ledger.offers.note(OFFER, "offered")
    await stranger.offers.note(replace(OFFER, request_id="theirs"), "offered")
    await ledger.offers.note(replace(OFFER, request_id="later", made_at=NOW + 9), "offered")
    await ledger.offers.forget(NOW + 9)
    ids = (OFFER.request_id, "theirs", "later")
    left = [offer.request_id for one in ids for offer in await ledger.offers.standing(one, NOW + 9)]
    assert left == ["later"]
