"""What an answer says of states that a whole server reaches only after minutes."""

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from meigen_mcp import generation as g
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.errors import InsufficientCredits
from meigen_mcp.reports import Balance, Unsaved
from meigen_mcp.server.tools import is_being_saved
from meigen_mcp.service.results import Outcome
from meigen_mcp.views import generations as views
from meigen_mcp.views.next_step import RUNS_ON, how_to_stop
from meigen_mcp.wording import credits_json

NOW = 1_800_000_000.0
JOB = g.Generation(
    request_id="7d444840-9dc0-11d1-b245-5ffdce74fad2",
    account="origin key",
    tool="generate_video",
    media_type="video",
    model_id="seedance-2-0",
    prompt="waves",
    arguments={"prompt": "waves"},
    body="{}",
    quote=Quote(Decimal("12.5"), "exact", "2.5 credits x 5 s"),
    created_at=NOW,
    expected_seconds=120.0,
)
SENT = replace(JOB, status="processing", generation_id="gen-1", accepted_at=NOW)


def test_a_queued_generation_says_its_place_and_start() -> None:
    """Whoever waits for the submission limit knows how long."""
    told = [
        views.outcome(Outcome(JOB, "queued", place=place, starts_at=start), NOW)["next"]
        for place, start in ((3, NOW + 40), (0, NOW + 40), (0, NOW), (0, None))
    ]
    call = f'Wait for it: call check_status with requestId "{JOB.request_id}"'
    limit = "it waits for the submission limit"
    stop = f" {how_to_stop(JOB)}"
    assert told == [
        f"{call}; {limit}, 3 before it, starts in about 40 s.{stop}",
        f"{call}; {limit}, next in line, starts in about 40 s.{stop}",
        f"{call}.{stop}",
        f"{call}.{stop}",
    ]
    assert stop.endswith(f"`meigen-mcp jobs {JOB.request_id} --call-off`.")


def test_a_queued_generation_that_could_not_be_sent_says_so() -> None:
    """It does not wait for the submission limit, whatever the limit says."""
    tried = replace(JOB, failures=2)
    told = views.outcome(Outcome(tried, "queued", starts_at=NOW + 40), NOW)["next"]
    assert told == (
        f'Wait for it: call check_status with requestId "{JOB.request_id}"; MeiGen could not be'
        " reached, nothing was sent yet, and it is tried again by itself. If that goes on, the"
        f" person runs `meigen-mcp doctor`, which says why. {how_to_stop(JOB)}"
    )


@pytest.mark.parametrize(
    ("next_look", "looked_at"),
    [
        (NOW + 1800, "It is still looked at"),
        (None, "It is looked at no more by itself, but at each start of a server"),
    ],
)
def test_an_unobserved_generation_is_neither_failed_nor_refunded(
    next_look: float | None, looked_at: str
) -> None:
    """The answer says so, and whether anybody still looks."""
    job = replace(SENT, unobserved=True, next_look=next_look)
    structure = views.outcome(Outcome(job, "processing"), NOW + 1500)
    assert structure["status"] == "processing"
    assert structure["next"] == (
        "Tell the person that MeiGen no longer observes it: neither failed nor refunded is"
        f' proven. {looked_at}; check_status with generationId "gen-1" later.'
    )


def test_an_unknown_outcome_is_an_ordinary_result_that_warns_of_the_charge() -> None:
    """Nothing is repeated by itself, and the person looks first."""
    structure = views.outcome(Outcome(g.unknown(JOB), "unknown"), NOW)
    assert structure["error"] == {
        "code": "unknown_outcome",
        "message": "MeiGen's answer to the submission was lost and MeiGen could not say what became"
        " of it. It may have been charged. It will not be sent again by itself.",
        "charged": "unknown",
        "retryable": False,
    }
    assert "history on meigen.ai" in structure["next"]
    assert not views.is_error(structure)


def test_an_adopted_generation_says_that_it_is_no_second_one() -> None:
    """The repeated call was given what the interrupted one had started."""
    said = views.outcome(Outcome(SENT, "processing", adopted=True), NOW)["next"]
    assert said == (
        "This is the generation of your interrupted call, not a second one."
        f' Wait for the result: call check_status with generationId "gen-1". {RUNS_ON}'
    )


def test_a_repeated_call_says_that_nothing_was_charged_again() -> None:
    """Its answer is otherwise that of the first."""
    said = views.outcome(Outcome(SENT, "processing", repeated=True), NOW)["next"]
    assert said == (
        "This is the generation that the requestId stands for, not a second one."
        f' Wait for the result: call check_status with generationId "gen-1". {RUNS_ON}'
    )


def test_what_was_refunded_cost_nothing_and_its_balance_is_not_told() -> None:
    """The API told the balance before it gave the credits back."""
    charged = replace(SENT, credits_used=Decimal(5), balance=Balance(Decimal(0), Decimal(995)))
    refunded = replace(charged, credits_status="refunded")
    told = [views.outcome(Outcome(job, "processing"), NOW) for job in (charged, refunded)]
    assert [(one["creditsUsed"], one.get("credits")) for one in told] == [
        (5, {"daily": 0, "purchased": 995}),
        (0, None),
    ]
    lines = [line for one in told for line in views.text(one).splitlines()]
    assert [line for line in lines if line.startswith(("used", "balance"))] == [
        "used: 5 credits",
        "balance: 0 daily, 995 purchased",
        "used: 0 credits",
    ]


@pytest.mark.parametrize(
    ("urls", "files", "said"),
    [
        (1, 0, "Give the person the URL."),
        (1, 1, "Give the person the URL and the saved file."),
        (4, 3, "Give the person the 4 URLs and the 3 saved files."),
    ],
)
def test_what_is_given_to_the_person_is_counted(urls: int, files: int, said: str) -> None:
    """A medium that could not be saved is there by its URL."""
    job = replace(
        SENT,
        status="completed",
        media_urls=tuple(f"https://x/{n}.png" for n in range(urls)),
        files=tuple(f"/x/{n}.png" if n < files else None for n in range(urls)),
    )
    assert views.outcome(Outcome(job, "completed"), NOW)["next"] == said


def test_what_is_still_being_saved_is_asked_for_by_the_id_that_is_its_own() -> None:
    """Of twins, which share a generation of MeiGen's, the request."""
    done = replace(SENT, status="completed", media_urls=("https://x/a.mp4",), files=(None,))
    told = [
        views.outcome(Outcome(job, "completed", saving=True), NOW)["next"]
        for job in (done, replace(done, twin=True))
    ]
    assert told == [
        "Give the person the URL. It is still being saved; check_status with"
        f' {name} "{given}" says where.'
        for name, given in (("generationId", "gen-1"), ("requestId", JOB.request_id))
    ]


SAVED = replace(
    SENT, status="completed", media_urls=("https://x/a.mp4",), files=("/x/a.mp4",), next_look=None
)


@pytest.mark.parametrize(
    ("job", "saving"),
    [
        (replace(SAVED, files=(None,), next_look=NOW), True),
        (replace(SAVED, files=(None,)), False),
        (replace(SAVED, next_look=NOW), False),
        (
            replace(SAVED, files=(None,), next_look=NOW, unsaved=(Unsaved(0, "It is full."),)),
            False,
        ),
    ],
    ids=["to be saved", "given up", "saved", "with a reason"],
)
def test_only_what_nothing_stands_in_the_way_of_is_being_saved(
    job: g.Generation, saving: bool
) -> None:
    """Else the reason is told, or nothing goes on."""
    assert is_being_saved(job) is saving


@pytest.mark.parametrize(
    ("job", "status", "flagged"),
    [
        (JOB, "queued", False),
        (g.parked(JOB, InsufficientCredits("Too little."), posted=False), "queued", True),
        (replace(JOB, status="submitting"), "submitting", False),
        (SENT, "processing", False),
        (replace(SENT, status="completed", media_urls=("https://x/a.mp4",)), "completed", False),
        (g.expired(JOB, NOW), "failed", True),
        (g.unknown(JOB), "unknown", False),
        (JOB, "needs_approval", False),
        (JOB, "dry_run", False),
    ],
)
def test_only_what_ended_badly_or_waits_for_the_person_is_flagged(
    job: g.Generation, status: Any, flagged: bool
) -> None:
    """And every state has one imperative sentence on what to do next."""
    structure = views.outcome(Outcome(job, status), NOW)
    assert (structure["status"], views.is_error(structure)) == (status, flagged)
    assert structure["next"].endswith(".")
    assert structure["next"][0].isupper()


@pytest.mark.parametrize(
    ("quote", "price", "ceiling"),
    [
        (Quote(None, "unknown", "no list"), "the price is not known", "the most they will pay"),
        (Quote(Decimal(90), "at_least", "a floor"), "it costs at least 90 credits", "90"),
        (Quote(Decimal(90), "exact", "a list"), "it costs 90 credits", "90"),
    ],
)
def test_an_offer_says_what_is_and_is_not_known_of_the_price(
    quote: Quote, price: str, ceiling: str
) -> None:
    """The person hears the price as far as it is known, and how to agree to it."""
    offer = Outcome(replace(JOB, quote=quote), "needs_approval", command="`approve it`")
    said = views.outcome(offer, NOW)["next"]
    may_differ = "" if quote.kind == "exact" else ", the charge may differ"
    assert said == (
        f"Ask the person: {price}{may_differ}. They are asked above MEIGEN_CONFIRM_ABOVE, and can"
        " agree in a terminal too: `approve it`. If they agree, repeat the same call with requestId"
        f' "{JOB.request_id}" and maxCredits {ceiling}.'
    )


@pytest.mark.parametrize(
    ("way", "starts", "ends"),
    [
        ("pass on", "Ask the person: it costs", "and maxCredits 90."),
        ("automatic", "This client answered by itself. Ask the person:", "and maxCredits 90."),
        (
            "ask again",
            "Nobody answered the question. Ask the person:",
            f'repeat the same call with requestId "{JOB.request_id}": they are asked again.',
        ),
        (
            "terminal",
            "This client does not get their answer. Ask the person:",
            "they type that command first, then repeat the same call with requestId"
            f' "{JOB.request_id}".',
        ),
    ],
)
def test_an_offer_says_how_the_person_can_agree(way: Any, starts: str, ends: str) -> None:
    """What the model is told to do fits what is known of the client."""
    job = replace(JOB, quote=Quote(Decimal(90), "exact", "a list"))
    offer = Outcome(job, "needs_approval", way=way, command="`approve it`")
    said = views.outcome(offer, NOW)["next"]
    assert said.startswith(starts)
    assert said.endswith(ends)
    assert "MEIGEN_CONFIRM_ABOVE, and can agree in a terminal too: `approve it`. " in said


def test_cheaper_settings_without_a_price_are_not_offered() -> None:
    """An option of unknown price is no option."""
    unknown, known = Quote(None, "unknown", ""), Quote(Decimal(5), "exact", "")
    offers = [(("480p", unknown),), (("480p", unknown), ("720p", known))]
    said = [
        views.outcome(Outcome(JOB, "needs_approval", cheaper=offer), NOW)["next"]
        for offer in offers
    ]
    assert ["Cheaper" in words for words in said] == [False, True]
    assert "Cheaper: 720p (5)." in said[1]


def test_half_credits_stay_half() -> None:
    """An amount is a whole number where it is one."""
    amounts = [Decimal("12.5"), Decimal("12.0"), Decimal(0), None]
    assert [credits_json(amount) for amount in amounts] == [12.5, 12, 0, None]


def test_a_prompt_of_many_lines_is_one_line_in_the_text() -> None:
    """It is cut at 120 characters there, and whole in the structure."""
    prompt = "a fox\n\n  and a hare " * 20
    structure = views.outcome(Outcome(replace(SENT, prompt=prompt), "processing"), NOW)
    [line] = [x for x in views.text(structure).splitlines() if x.startswith("prompt: ")]
    assert structure["prompt"] == prompt
    assert line == "prompt: " + " ".join(prompt.split())[:119] + "…"


def test_an_odd_id_is_quoted_in_its_uri() -> None:
    """Whatever the API calls a generation, its URI has three parts, and its media five."""
    assert g.record_uri("a/b c?") == "meigen://generations/a%2Fb%20c%3F"
    assert g.media_uri("a/b", 2) == "meigen://generations/a%2Fb/media/2"
