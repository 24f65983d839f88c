"""Money is the person's: caps, ceilings, questions and approvals."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import pytest
from support.in_memory import TOKEN
from support.ledger_file import execute
from support.workbench import Someone, Workbench, answers, workbench

from meigen_mcp import errors
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.ledger.spending import DAY
from meigen_mcp.ledger.team import TEAM, Caps
from meigen_mcp.sandbox.state import Options
from meigen_mcp.service.person import Question, Verdict
from meigen_mcp.service.results import Outcome
from meigen_mcp.views import generations as views

VIDEO: dict[str, Any] = {
    "modelId": "seedance-2-0",
    "resolution": "720p",
    "duration": 10,
    "wait": 0,
}  # 200 credits
CLIP = "https://images.meigen.ai/a.mp4"


async def test_a_cap_per_generation_refuses_a_dearer_quote(tmp_path: Path) -> None:
    """Nothing is sent, and the sentence has both figures."""
    async with workbench(tmp_path, MEIGEN_MAX_CREDITS_PER_GENERATION="4") as on:
        with pytest.raises(errors.OverCap, match=r"5 credits.*PER_GENERATION is 4"):
            await on.generate(modelId="nanobanana-2")
        assert on.wire.posts() == []


async def test_a_cap_per_day_counts_what_is_reserved_and_forgets_after_a_day(
    tmp_path: Path,
) -> None:
    """Two fit, the third does not, a day later it does."""
    async with workbench(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="10") as on:
        for number in range(2):
            await on.generate(prompt=f"{number}", modelId="nanobanana-2", wait=0)
        with pytest.raises(errors.OverCap, match="10 are spent or reserved in the last 24 hours"):
            await on.generate(modelId="nanobanana-2")
        on.clock.now += 24 * 3600 + 1
        assert (await on.generate(modelId="nanobanana-2")).status == "completed"


async def test_a_zero_cap_spends_nothing(tmp_path: Path) -> None:
    """0 is a cap, not the absence of one."""
    async with workbench(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="0") as on:
        with pytest.raises(errors.OverCap):
            await on.generate(modelId="z-image-turbo")
        assert on.wire.posts() == []


async def test_a_refunded_failure_gives_its_amount_back(tmp_path: Path) -> None:
    """What is proven to be refunded no longer counts."""
    async with workbench(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="5") as on:
        failed = await on.generate(prompt="sandbox:fail", modelId="nanobanana-2", wait=40)
        assert failed.status == "failed"
        assert (await on.generate(modelId="nanobanana-2", wait=40)).status == "completed"


async def test_a_charge_that_differs_is_counted_in_full(tmp_path: Path) -> None:
    """`creditsUsed` corrects the reservation."""
    async with workbench(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="10") as on:
        dear = {
            "success": True,
            "generationId": "g",
            "status": "processing",
            "creditsUsed": 9,
        }
        on.wire.faults["submit"] = [answers(200, body=dear)]
        await on.generate(modelId="nanobanana-2", wait=0)
        assert await on.spent() == Decimal(9)
        with pytest.raises(errors.OverCap):
            await on.generate(prompt="two", modelId="nanobanana-2")


async def test_an_unknown_price_counts_as_over_a_cap(tmp_path: Path) -> None:
    """The reason is given; the live list was asked before."""
    async with workbench(tmp_path, MEIGEN_MAX_CREDITS_PER_GENERATION="1000") as on:
        on.wire.faults["models"] = [answers(500, body={})] * 9
        with pytest.raises(errors.OverCap, match="price is not known"):
            await on.generate(modelId="flux2-klein")
        assert ("models", b"") in on.wire.seen


async def test_an_unknown_price_counts_as_over_what_the_team_may_spend(tmp_path: Path) -> None:
    """Before anybody is asked about it."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="0") as on:
        await on.ledger.team.set_caps(TEAM, Caps(month=Decimal(1000)))
        on.wire.faults["models"] = [answers(500, body={})] * 9
        with pytest.raises(errors.OverCap, match="so the team's cap of 1000 credits in 30 days"):
            await on.generate(modelId="flux2-klein")


@pytest.mark.parametrize("dry", [True, False], ids=["dry", "real"])
async def test_a_lower_bound_counts_as_over_what_the_team_may_spend(
    dry: bool, tmp_path: Path
) -> None:
    """Under a team's cap alone, and a dry run says so."""
    call = {**VIDEO, "referenceVideo": CLIP, "referenceVideoDuration": 3}
    async with workbench(tmp_path) as on:
        await on.ledger.team.set_caps(TEAM, Caps(day=Decimal(1000)))
        refused = "so the team's cap of 1000 credits in 24 hours cannot be kept"
        if dry:
            outcome = await on.generate("generate_video", dryRun=True, **call)
            assert outcome.objection is not None
            assert refused in outcome.objection.message
        else:
            with pytest.raises(errors.OverCap, match=refused):
                await on.generate("generate_video", **call)
        assert on.wire.posts() == []


async def test_a_live_price_counts_whatever_the_clock_is_set_to(tmp_path: Path) -> None:
    """Read just after midnight; set back by three seconds, it is the day before."""
    dear = {"id": "nanobanana-2", "type": "image", "extra_config": {"pricing": 50}}
    no = Someone("declined")
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="10") as on:
        on.wire.faults["models"] = [answers(200, body={"success": True, "models": [dear]})]
        on.clock.now = (on.clock.now // DAY + 1) * DAY + 1
        await on.service.catalogue.refresh()
        for step in (0, -3):
            on.clock.set(step)
            with pytest.raises(errors.Declined):
                await on.generate(modelId="nanobanana-2", person=no)
        assert [question.quote.credits for question in no.asked] == [50, 50]
        assert on.wire.posts() == []


async def test_what_does_not_fit_is_refused_before_anybody_is_asked(tmp_path: Path) -> None:
    """A yes would be of no use."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="0") as on:
        await on.ledger.team.set_caps(TEAM, Caps(day=Decimal(4)))
        with pytest.raises(errors.OverCap, match="the team's cap of 4 credits in 24 hours"):
            await on.generate(modelId="nanobanana-2")


async def test_what_the_day_has_no_room_for_is_refused_before_anybody_is_asked(
    tmp_path: Path,
) -> None:
    """Where a part of it is spent already, too; a dry run says the same."""
    limits: dict[str, Any] = {"MEIGEN_MAX_CREDITS_PER_DAY": "9", "MEIGEN_CONFIRM_ABOVE": "0"}
    asked = Someone("approved")
    async with workbench(tmp_path, **limits) as on:
        await on.generate(modelId="nanobanana-2", wait=0, person=asked)
        call: dict[str, Any] = {"prompt": "another", "modelId": "nanobanana-2"}
        with pytest.raises(errors.OverCap, match="5 of MEIGEN_MAX_CREDITS_PER_DAY 9") as refused:
            await on.generate(person=asked, **call)
        told = await on.generate(dryRun=True, **call)
    assert told.objection is not None
    assert (told.objection.message, len(asked.asked)) == (refused.value.message, 1)


async def test_a_dry_run_says_what_comes_before_the_call(tmp_path: Path) -> None:
    """A question, and a token."""
    told = {}
    for limit, token in (("5", TOKEN), ("4", TOKEN), ("4", "")):
        settings: dict[str, Any] = {"MEIGEN_CONFIRM_ABOVE": limit, "MEIGEN_API_TOKEN": token}
        async with workbench(tmp_path / f"{limit}{token}", **settings) as on:
            outcome = await on.generate(modelId="nanobanana-2", dryRun=True)
        told[limit, bool(token)] = views.outcome(outcome, on.clock())["next"]
    assert told == {
        ("5", True): "Call again without dryRun to make it; nothing was sent.",
        ("4", True): "Call again without dryRun to make it, and the person is asked first;"
        " nothing was sent.",
        ("4", False): "It would be refused: MEIGEN_API_TOKEN is not set, so nothing can be"
        f" generated. Nothing was sent. {errors.MissingToken.next}",
    }


async def test_max_credits_refuses_a_dearer_quote(tmp_path: Path) -> None:
    """The call's own ceiling holds."""
    async with workbench(tmp_path) as on:
        with pytest.raises(errors.OverCap, match="maxCredits is 4"):
            await on.generate(modelId="nanobanana-2", maxCredits=4)
        assert (await on.generate(modelId="nanobanana-2", maxCredits=5)).status == "completed"


@pytest.mark.parametrize(
    ("cap", "ceiling", "reason"),
    [
        ({"MEIGEN_MAX_CREDITS_PER_GENERATION": "4"}, None, "MEIGEN_MAX_CREDITS_PER_GENERATION"),
        ({"MEIGEN_MAX_CREDITS_PER_DAY": "9"}, None, "MEIGEN_MAX_CREDITS_PER_DAY"),
        ({}, 4, "maxCredits"),
    ],
)
async def test_a_dry_run_says_that_the_call_would_be_refused(
    cap: dict[str, Any], ceiling: float | None, reason: str, tmp_path: Path
) -> None:
    """With the words of that refusal; with room for it there is nothing to say."""
    call: dict[str, Any] = {"modelId": "nanobanana-2", "maxCredits": ceiling}
    async with workbench(tmp_path, **cap) as on:
        if "MEIGEN_MAX_CREDITS_PER_DAY" in cap:
            assert (await on.generate(**call, dryRun=True)).objection is None
            await on.generate(prompt="another", modelId="nanobanana-2", wait=0)
        told = await on.generate(**call, dryRun=True)
        with pytest.raises(errors.OverCap, match=reason) as refused:
            await on.generate(**call)
    assert told.status == "dry_run"
    assert told.objection is not None
    assert told.objection.message == refused.value.message


async def test_what_a_quote_rests_on_is_sent_when_a_limit_applies(tmp_path: Path) -> None:
    """The quoted model and its price-relevant defaults are explicit then."""
    async with workbench(tmp_path) as on:
        await on.generate(maxCredits=100)
        sent = json.loads(on.wire.posts()[0])
        assert (sent["modelId"], sent["resolution"], sent["quality"]) == (
            "gpt-image-2",
            "2K",
            "low",
        )


async def _offered(on: Workbench, **more: Any) -> str:
    outcome = await on.generate("generate_video", **VIDEO, **more)
    assert outcome.status == "needs_approval"
    return outcome.job.request_id


async def test_a_dear_call_needs_approval_where_nobody_can_be_asked(tmp_path: Path) -> None:
    """It makes no job and offers cheaper settings of the same model."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        outcome = await on.generate("generate_video", **VIDEO)
        assert (outcome.status, outcome.job.quote.credits) == ("needs_approval", Decimal(200))
        assert outcome.cheaper[0][1].credits is not None
        assert outcome.cheaper[0][1].credits < 200
        assert (on.wire.posts(), await on.ledger.records.newest(9)) == ([], [])


async def test_the_same_call_with_the_offer_and_a_ceiling_runs_once(tmp_path: Path) -> None:
    """Repeating the approval cannot pay twice."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        offered = await _offered(on)
        for _ in range(2):
            outcome = await on.generate(
                "generate_video", **VIDEO, requestId=offered.upper(), maxCredits=200
            )
            assert (outcome.status, outcome.job.request_id) == ("processing", offered)
        assert (len(on.wire.posts()), on.charged) == (1, 200)


async def test_a_ceiling_without_the_offer_approves_nothing(tmp_path: Path) -> None:
    """A model cannot answer for the person in its first call."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        await _offered(on, maxCredits=500)
        assert on.wire.posts() == []


async def test_an_offer_ends_after_an_hour(tmp_path: Path) -> None:
    """A yes of yesterday is none."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        offered = await _offered(on)
        on.clock.now += 3601
        again = await on.generate("generate_video", **VIDEO, requestId=offered, maxCredits=200)
        assert (again.status, on.wire.posts()) == ("needs_approval", [])


async def test_an_offer_ends_after_an_hour_by_either_clock(tmp_path: Path) -> None:
    """Set back for 50 minutes meanwhile, the wall clock says that only 20 are over."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        offered = await _offered(on)
        on.clock.now += 4200
        on.clock.set(-3000)
        again = await on.generate("generate_video", **VIDEO, requestId=offered, maxCredits=200)
        assert (again.status, on.wire.posts()) == ("needs_approval", [])


async def test_an_offer_of_the_future_is_void(tmp_path: Path) -> None:
    """It was made while the clock was ahead, also where another process made it."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        offered = await _offered(on)
        on.clock.set(-60)
        async with workbench(tmp_path, beside=on, MEIGEN_CONFIRM_ABOVE="100") as other:
            for server in (on, other):
                again = await server.generate(
                    "generate_video", **VIDEO, requestId=offered, maxCredits=200
                )
                assert again.status == "needs_approval"
                server.clock.set(-60)
            assert (on.wire.posts(), other.wire.posts()) == ([], [])


async def test_a_yes_from_the_future_saves_no_question(tmp_path: Path) -> None:
    """Given while the clock was a day ahead; then small calls are summed up as ever."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="12") as on:
        person = Someone("approved")
        on.clock.set(24 * 3600)
        for number in range(3):
            await on.generate(person=person, prompt=f"{number}", modelId="nanobanana-2", wait=0)
        on.clock.set(-24 * 3600)
        for number in range(3, 9):
            await on.generate(person=person, prompt=f"{number}", modelId="nanobanana-2", wait=0)
    assert len(person.asked) == 7


@pytest.mark.parametrize(("passed", "set_by", "questions"), [(900, 0, 1), (3900, -3000, 2)])
async def test_a_yes_to_the_sum_ends_after_an_hour_by_either_clock(
    passed: float, set_by: float, questions: int, tmp_path: Path
) -> None:
    """In both cases the wall clock says that 15 minutes are over."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="12") as on:

        class Reader(Someone):
            async def confirm(self, question: Question) -> Verdict:
                on.clock.now += 5
                return await super().confirm(question)

        person = Reader("approved")
        for number in range(3):
            await on.generate(person=person, prompt=f"{number}", modelId="nanobanana-2", wait=0)
        on.clock.now += passed
        on.clock.set(set_by)
        await on.generate(person=person, prompt="later", modelId="nanobanana-2", wait=0)
    assert len(person.asked) == questions


async def test_an_offer_is_for_the_price_that_was_told(tmp_path: Path) -> None:
    """A dearer one is a new question, whatever the ceiling of the call."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="0") as on:
        call: dict[str, Any] = {"modelId": "nanobanana-2", "wait": 0}
        first = await on.generate(**call)
        offer = (await on.ledger.calls.open_call(first.job, first.job.request_id)).offer
        assert offer is not None
        cheaper = Quote(Decimal(4), "exact", "a price of yesterday")
        await on.ledger.offers.note(replace(offer, quote=cheaper), "offered")
        again = await on.generate(**call, requestId=first.job.request_id, maxCredits=900)
        assert (again.status, on.wire.posts()) == ("needs_approval", [])
        once_more = await on.generate(**call, requestId=first.job.request_id, maxCredits=900)
        assert (once_more.status, len(on.wire.posts())) == ("processing", 1)


async def test_caps_hold_above_a_yes_from_the_terminal(tmp_path: Path) -> None:
    """What was spent meanwhile counts; with room again the yes is still good."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="0", MEIGEN_MAX_CREDITS_PER_DAY="5") as on:
        call: dict[str, Any] = {"modelId": "nanobanana-2", "wait": 0}
        offered = (await on.generate(**call)).job.request_id
        assert await on.ledger.offers.approve(offered, on.clock()) is not None
        failing = Someone("approved")
        await on.generate(person=failing, prompt="sandbox:fail", modelId="nanobanana-2", wait=0)
        for ceiling in (4, None):
            with pytest.raises(errors.OverCap):
                await on.generate(**call, maxCredits=ceiling, requestId=offered)
        await on.settle(await on.newest())
        made = await on.generate(**call, requestId=offered)
        assert (made.status, on.charged) == ("processing", 5)


async def test_a_yes_that_another_process_used_is_no_yes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is taken in the transaction that writes the intent, and nothing is sent without."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        offered = await _offered(on)
        publish = on.service._references.publish  # noqa: SLF001 - the moment before the intent

        async def meanwhile(*given: Any) -> Any:
            execute(tmp_path / "data", "DELETE FROM offers")
            return await publish(*given)

        monkeypatch.setattr(on.service._references, "publish", meanwhile)  # noqa: SLF001 - as above
        with pytest.raises(errors.ApprovalEnded):
            await on.generate("generate_video", **VIDEO, requestId=offered, maxCredits=200)
        assert (on.wire.posts(), await on.ledger.records.newest(9)) == ([], [])


async def test_an_offer_is_for_one_call_only(tmp_path: Path) -> None:
    """Other arguments under the offered id are a conflict."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        offered = await _offered(on)
        with pytest.raises(errors.RequestConflict):
            await on.generate(
                "generate_video",
                **{**VIDEO, "duration": 15},
                requestId=offered,
                maxCredits=900,
            )


async def test_a_person_who_can_be_asked_is_asked_whatever_the_ceiling(tmp_path: Path) -> None:
    """`maxCredits` never replaces the question."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        person = Someone("approved")
        outcome = await on.generate("generate_video", person, **VIDEO, maxCredits=900)
        assert (outcome.status, len(person.asked), on.charged) == ("processing", 1, 200)


async def test_a_no_sends_nothing(tmp_path: Path) -> None:
    """Declined is declined."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        with pytest.raises(errors.Declined):
            await on.generate("generate_video", Someone("declined"), **VIDEO)
        assert on.wire.posts() == []


async def test_small_calls_add_up_until_the_person_is_asked(tmp_path: Path) -> None:
    """The sum since the last approval in the last hour counts; an approval starts it anew."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="12") as on:
        person = Someone("approved")
        asked = []
        for number in range(6):
            await on.generate(person=person, prompt=f"{number}", modelId="nanobanana-2", wait=0)
            asked.append(len(person.asked))
            on.clock.now += 1
        assert asked == [0, 0, 1, 1, 1, 2]
        assert person.asked[0].message.endswith(
            " 10 credits were spent or reserved unasked in the last hour."
        )


@pytest.mark.parametrize("answer", ["approved", "cannot ask"])
@pytest.mark.parametrize("processes", [1, 2])
async def test_of_calls_that_are_too_much_only_together_the_later_one_is_asked_about(
    processes: int, answer: Verdict, tmp_path: Path
) -> None:
    """Each read the hour's sum before the other reserved; it is held where that is done."""
    async with (
        workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="8") as one,
        workbench(tmp_path, beside=one, MEIGEN_CONFIRM_ABOVE="8") as two,
    ):
        decided: list[str] = []
        both = anyio.Event()
        for on in (one, two):
            resolver: Any = on.service._references  # noqa: SLF001  # between the sum and the intent
            publish = resolver.publish

            async def together(*given: Any, publish: Any = publish) -> Any:
                decided.append("")
                if len(decided) == 2:
                    both.set()
                await both.wait()
                return await publish(*given)

            resolver.publish = together
        people = [Someone(answer, patience=0) for _ in range(2)]
        made: list[Outcome] = []

        async def call(on: Workbench, person: Someone) -> None:
            arguments = {"prompt": "a red cube", "modelId": "nanobanana-2"}
            made.append(await on.service.generate("generate_image", arguments, person))

        async with anyio.create_task_group() as group:
            for on, person in zip((one, two if processes == 2 else one), people, strict=True):
                group.start_soon(call, on, person)
        asked = [question.message for person in people for question in person.asked]
        waiting = [outcome for outcome in made if outcome.status == "needs_approval"]
        if answer == "approved":
            assert (len(asked), len(waiting), int(await one.spent())) == (1, 0, 10)
            assert "5 credits were spent or reserved unasked in the last hour" in asked[0]
        else:
            assert [outcome.recent for outcome in waiting] == [Decimal(5)]
            assert await one.spent() == 5


async def test_who_cannot_be_asked_in_a_form_is_told_why_too(tmp_path: Path) -> None:
    """The quote alone would be no reason; a dearer one is."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="8") as on:
        await on.generate(prompt="one", modelId="nanobanana-2", wait=0)
        second = await on.generate(prompt="two", modelId="nanobanana-2", wait=0)
        dear = await on.generate(modelId="midjourney-v8.1", wait=0)
    assert [(o.status, o.recent) for o in (second, dear)] == [
        ("needs_approval", Decimal(5)),
        ("needs_approval", None),
    ]
    assert (
        "it costs 5 credits, and 5 were spent or reserved unasked in the last hour"
        in views.outcome(second, 0)["next"]
    )


async def test_an_unknown_price_is_asked_about_and_its_ceiling_reserved(tmp_path: Path) -> None:
    """The ceiling is what counts until the charge is known."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="100") as on:
        on.wire.faults["models"] = [answers(500, body={})] * 9
        call: dict[str, Any] = {"modelId": "flux2-klein", "wait": 0}
        first = await on.generate(**call)
        assert (first.status, first.job.quote.kind) == ("needs_approval", "unknown")
        on.wire.faults["submit"] = [answers(500, body={})]
        on.wire.faults["lookup"] = [answers(404, b"<html>")] * 3
        await on.generate(**call, requestId=first.job.request_id, maxCredits=30)
        assert await on.spent() == Decimal(30)


async def test_off_never_asks(tmp_path: Path) -> None:
    """Not even for an unknown price."""
    async with workbench(tmp_path, MEIGEN_CONFIRM_ABOVE="off") as on:
        on.wire.faults["models"] = [answers(500, body={})] * 9
        person = Someone("declined")
        await on.generate(person=person, modelId="flux2-klein", wait=0)
        assert (person.asked, len(on.wire.posts())) == ([], 1)


async def test_a_price_only_the_live_list_has_is_waited_for(tmp_path: Path) -> None:
    """Before a price is called unknown the live list is asked."""
    async with workbench(tmp_path, options=Options(rate_limit=100, seed=1)) as on:
        outcome = await on.generate(modelId="flux2-klein", dryRun=True)
        assert (outcome.job.quote.kind, outcome.job.quote.credits) == (
            "estimate",
            Decimal(3),
        )
