"""The person behind a call: the question before money moves, and word of how it goes."""

from pathlib import Path
from typing import Any

import anyio
import mcp_types as t
import pytest
from mcp.client.context import ClientRequestContext
from mcp.shared.exceptions import MCPError
from support.in_memory import MODES, Connected, Mode, connect, make_settings
from support.person import Person

from meigen_mcp.known_clients import KnownClient
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.server import sender
from meigen_mcp.service import waiting
from meigen_mcp.settings import Settings

VIDEO = {
    "prompt": "waves",
    "modelId": "seedance-2-0",
    "resolution": "1080p",
    "duration": 10,
    "wait": 25,
}


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with which the person is asked about every price."""
    return make_settings(tmp_path, MEIGEN_CONFIRM_ABOVE="0")


def accepted(emulator: Emulator) -> int:
    """Return how many submissions the API accepted."""
    return sum(post.accepted for post in emulator.posts)


# --- a client that can ask ----------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_yes_makes_it_once(mode: Mode, settings: Settings, emulator: Emulator) -> None:
    """The person reads what is made, with which model, and what it costs by which arithmetic."""
    person = Person("accept", {"approve": True})
    async with connect(settings, emulator, mode, elicitation_callback=person) as on:
        answer = await on.call("generate_video", **VIDEO)
    assert person.asked == [
        f"Make one video with seedance-2-0 for {answer['quote']['credits']} credits?"
        f" ({answer['quote']['basis']})"
    ]
    assert answer["status"] == "completed"
    assert answer["creditsUsed"] == answer["quote"]["credits"]
    assert accepted(emulator) == 1


@pytest.mark.parametrize(
    ("person", "status", "code"),
    [
        (Person("decline"), "refused", "declined"),
        (Person("cancel"), "needs_approval", None),
        (Person("accept"), "refused", "declined"),
        (Person("accept", {"approve": False}), "refused", "declined"),
        (Person("accept", {"approve": "true"}), "refused", "declined"),
        (Person("accept", {"agree": True}), "refused", "declined"),
    ],
    ids=["decline", "cancel", "empty", "no", "text", "another field"],
)
@pytest.mark.parametrize("mode", MODES)
async def test_anything_but_a_yes_sends_nothing(
    mode: Mode,
    person: Person,
    status: str,
    code: str | None,
    settings: Settings,
    emulator: Emulator,
) -> None:
    """A no is one, a form that was closed is no answer; the API saw nothing."""
    async with connect(
        settings, emulator, mode, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        result = await on.client.call_tool("generate_video", VIDEO)
        listing = await on.call("check_status")
    structure = result.structured_content or {}
    assert (structure["status"], structure.get("error", {}).get("code")) == (status, code)
    assert result.is_error is (status == "refused")
    assert (emulator.posts, listing["generations"]) == ([], [])


@pytest.mark.parametrize("mode", MODES)
async def test_max_credits_does_not_answer_for_the_person(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Where the person can be asked they are, whatever the model offers, also with a requestId."""
    person = Person("decline")
    call = {**VIDEO, "maxCredits": 100_000, "requestId": "7d444840-9dc0-11d1-b245-5ffdce74fad2"}
    async with connect(
        settings, emulator, mode, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        answers = [await on.call("generate_video", **call) for _ in range(2)]
    assert [answer["error"]["code"] for answer in answers] == ["declined"] * 2
    assert len(person.asked) == 2
    assert emulator.posts == []


async def asked(on: Connected) -> t.InputRequiredResult:
    """Make a call of 2026 up to its question."""
    first = await on.client.session.call_tool("generate_video", VIDEO, allow_input_required=True)
    assert isinstance(first, t.InputRequiredResult)
    return first


async def answered(on: Connected, state: str | None, **changes: Any) -> dict[str, Any]:
    """Repeat a call of 2026 with the person's yes."""
    result = await on.client.session.call_tool(
        "generate_video",
        {**VIDEO, **changes},
        input_responses={"approval": t.ElicitResult(action="accept", content={"approve": True})},
        request_state=state,
        allow_input_required=True,
    )
    assert isinstance(result, t.CallToolResult)
    return dict(result.structured_content or {})


async def test_an_approval_that_is_replayed_pays_once(
    settings: Settings, emulator: Emulator
) -> None:
    """The same state and answers, one after another and at once, are one generation."""
    answers: list[dict[str, Any]] = []

    async def replay(state: str | None) -> None:
        answers.append(await answered(on, state))

    async with connect(settings, emulator, elicitation_callback=Person("cancel")) as on:
        first = await asked(on)
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(replay, first.request_state)
        await replay(first.request_state)
    assert len({answer["generationId"] for answer in answers}) == 1
    assert [answer["status"] for answer in answers] == ["completed"] * 4
    assert accepted(emulator) == 1


async def test_two_yeses_to_one_request_id_make_it_once(
    settings: Settings, emulator: Emulator
) -> None:
    """A 2025 client repeats a call while its person is still being asked about the first."""
    both = anyio.Event()
    waiting: list[str] = []
    answers: list[dict[str, Any]] = []

    async def slow(context: ClientRequestContext, params: t.ElicitRequestParams) -> t.ElicitResult:
        del context
        waiting.append(params.message)
        if len(waiting) == 2:
            both.set()
        await both.wait()
        return t.ElicitResult(action="accept", content={"approve": True})

    async def repeat(on: Connected) -> None:
        call = {**VIDEO, "requestId": "7d444840-9dc0-11d1-b245-5ffdce74fad2"}
        answers.append(await on.call("generate_video", **call))

    async with (
        connect(settings, emulator, "legacy", elicitation_callback=slow) as on,
        anyio.create_task_group() as group,
    ):
        group.start_soon(repeat, on)
        group.start_soon(repeat, on)
    assert [answer["status"] for answer in answers] == ["completed"] * 2
    assert accepted(emulator) == 1


async def test_a_state_is_good_for_its_own_call_only(
    settings: Settings, emulator: Emulator
) -> None:
    """Changed by a character, made up, or moved to a dearer call, it is refused."""
    async with connect(settings, emulator, elicitation_callback=Person("cancel")) as on:
        state = (await asked(on)).request_state or ""
        swapped = state[:-1] + ("A" if state[-1] != "A" else "B")
        for odd, changes in ((swapped, {}), ('{"credits": "1"}', {}), (state, {"duration": 15})):
            with pytest.raises(MCPError) as caught:
                await answered(on, odd, **changes)
            assert caught.value.code == t.INVALID_PARAMS
    assert emulator.posts == []


async def test_an_answer_without_a_question_asks_first(
    settings: Settings, emulator: Emulator
) -> None:
    """A client cannot say yes before it was asked."""
    async with connect(settings, emulator, elicitation_callback=Person("cancel")) as on:
        result = await on.client.session.call_tool(
            "generate_video",
            VIDEO,
            input_responses={
                "approval": t.ElicitResult(action="accept", content={"approve": True})
            },
            allow_input_required=True,
        )
    assert isinstance(result, t.InputRequiredResult)
    assert emulator.posts == []


async def test_an_answer_of_another_kind_is_no_yes(settings: Settings, emulator: Emulator) -> None:
    """What is not a form that somebody closed is no answer at all."""
    async with connect(settings, emulator, elicitation_callback=Person("cancel")) as on:
        result = await on.client.session.call_tool(
            "generate_video",
            VIDEO,
            input_responses={"approval": t.ListRootsResult(roots=[])},
            request_state=(await asked(on)).request_state,
        )
    assert (result.structured_content or {})["status"] == "needs_approval"
    assert emulator.posts == []


async def test_a_form_without_an_answer_ends_in_time(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A 2025 client waits for its person too long: the call answers, and nothing was sent."""
    hurried = KnownClient("hurried", wait=0.05)
    monkeypatch.setattr(sender, "UNKNOWN", hurried)

    async def never(context: ClientRequestContext, params: t.ElicitRequestParams) -> t.ErrorData:
        del context, params
        await anyio.sleep_forever()
        raise AssertionError

    with anyio.fail_after(10):
        async with connect(settings, emulator, "legacy", elicitation_callback=never) as on:
            answer = await on.call("generate_video", **VIDEO)
    assert answer["status"] == "needs_approval"
    assert emulator.posts == []


async def test_a_client_that_fails_to_ask_falls_back_to_an_argument(
    settings: Settings, emulator: Emulator
) -> None:
    """A 2025 client declares forms and then answers with an error: its person answers in chat."""
    person = Person("cancel", code=t.METHOD_NOT_FOUND)
    async with connect(settings, emulator, "legacy", elicitation_callback=person) as on:
        offer = await on.call("generate_video", **VIDEO)
        price = offer["quote"]["credits"]
        approved = {**VIDEO, "requestId": offer["requestId"], "maxCredits": price}
        answer = await on.call("generate_video", **approved)
    assert (offer["status"], answer["status"]) == ("needs_approval", "completed")
    assert accepted(emulator) == 1


# --- a client that cannot ask -------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_without_forms_the_answer_says_all_that_the_person_needs(
    mode: Mode, settings: Settings, tmp_path: Path, emulator: Emulator
) -> None:
    """The price, the last known balance with its time, cheaper settings, and how to say yes."""
    async with connect(make_settings(tmp_path), emulator) as before:
        paid = await before.call("generate_image", prompt="a fox", modelId="z-image-turbo")
    async with connect(settings, emulator, mode) as on:
        result = await on.client.call_tool("generate_video", VIDEO)
    offer = result.structured_content or {}
    price, balance = offer["quote"]["credits"], paid["credits"]["purchased"]
    assert offer["status"] == "needs_approval"
    assert not result.is_error
    assert offer["credits"] == paid["credits"]
    told = offer["next"]
    assert told.startswith(
        f"Ask the person: it costs {price} credits. Last known balance {balance} (20"
    )
    assert "Cheaper: " in told
    assert told.endswith(
        f'repeat the same call with requestId "{offer["requestId"]}" and maxCredits {price}.'
    )
    assert accepted(emulator) == 1


@pytest.mark.parametrize("mode", MODES)
async def test_the_offered_call_runs_exactly_once(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Repeated with its requestId and enough maxCredits, however often, it is one generation."""
    async with connect(settings, emulator, mode) as on:
        offer = await on.call("generate_video", **VIDEO)
        approved = {
            **VIDEO,
            "requestId": offer["requestId"],
            "maxCredits": offer["quote"]["credits"],
        }
        answers = [await on.call("generate_video", **approved) for _ in range(3)]
    assert [answer["status"] for answer in answers] == ["completed"] * 3
    assert {answer["requestId"] for answer in answers} == {offer["requestId"]}
    assert accepted(emulator) == 1


@pytest.mark.parametrize(
    ("change", "status", "code"),
    [
        ({"maxCredits": 1}, "refused", "over_cap"),
        ({"maxCredits": 100_000, "duration": 12}, "refused", "request_conflict"),
        ({}, "needs_approval", None),
    ],
    ids=["too little", "another call", "no ceiling"],
)
async def test_an_offer_is_good_for_its_own_call_and_price_only(
    change: dict[str, Any], status: str, code: str | None, settings: Settings, emulator: Emulator
) -> None:
    """With less, for other arguments or without a ceiling nothing is sent."""
    async with connect(settings, emulator) as on:
        offer = await on.call("generate_video", **VIDEO)
        answer = await on.call(
            "generate_video", **VIDEO | {"requestId": offer["requestId"]} | change
        )
    assert (answer["status"], answer.get("error", {}).get("code")) == (status, code)
    assert emulator.posts == []


@pytest.mark.parametrize("mode", MODES)
async def test_an_id_that_was_not_offered_approves_nothing(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """A model that invents a requestId is sent to the person like any other."""
    invented = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_video", **VIDEO, maxCredits=100_000, requestId=invented)
    assert answer["status"] == "needs_approval"
    assert emulator.posts == []


# --- word of how it goes ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_progress_is_told_while_a_call_waits(
    mode: Mode, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The seconds so far, of how many that are expected, and the status in words."""
    monkeypatch.setattr(waiting, "_REPORT_EVERY", 0.05)
    told: list[tuple[float, float | None, str | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    async with connect(make_settings(tmp_path), Emulator(Options(speed=1)), mode) as on:
        call = {"prompt": "a fox", "modelId": "z-image-turbo", "wait": 1}
        result = await on.client.call_tool("generate_image", call, progress_callback=note)
    expected = (result.structured_content or {})["expectedSeconds"]
    done, total, words = told[-1]
    assert len(told) > 1
    assert [done for done, _, _ in told] == sorted({done for done, _, _ in told})
    assert total == pytest.approx(expected, abs=0.5)
    assert words == f"processing, {done:.0f} s of about {expected:.0f} s"


async def test_progress_beyond_what_was_expected_has_no_total(
    tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A client that draws a bar never draws one of more than the whole."""
    monkeypatch.setattr(waiting, "_REPORT_EVERY", 0.05)
    told: list[tuple[float, float | None]] = []

    async def note(progress: float, total: float | None, message: str | None) -> None:
        del message
        told.append((progress, total))

    async with connect(make_settings(tmp_path), emulator) as on:
        call = {"prompt": "sandbox:stall", "modelId": "z-image-turbo", "wait": 1}
        await on.client.call_tool("generate_image", call, progress_callback=note)
    assert told[-1] == (told[-1][0], None)
    assert [pair for pair in told if pair[1] is not None and pair[0] > pair[1]] == []
