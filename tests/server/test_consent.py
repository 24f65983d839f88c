"""Consent: client by client, what an answer to the question means, and the way outside of them."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import mcp_types as t
import pytest
from support.in_memory import MODES, Connected, Mode, connect, make_settings
from support.person import Person

from meigen_mcp.commands import approve
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

CALL = {"modelId": "nanobanana-2", "wait": 5, "maxCredits": 5}
ERA: dict[Mode, str] = {"auto": "2026", "legacy": "2025"}


_MADE, _NEEDS, _NO = "made", "`needs_approval`", "`declined`"


@dataclass(frozen=True, slots=True)
class Worth:
    """What an answer is worth.

    Attributes:
        first: what the call answers.
        how: what the same call with its `requestId` and enough `maxCredits` does.
        again: what that answers.
        questions: how often somebody was asked in both calls.
    """

    first: str
    how: str
    again: str
    questions: int = 2


YES = Worth(_MADE, "it is that generation", _MADE, 1)
NO = Worth(_NO, "asked again, three times in all", _NO)
UNANSWERED = Worth(_NEEDS, "asked again, three times in all", _NEEDS)
NOBODY = Worth(
    _NEEDS, "asked once more; after two such answers it counts as one that cannot ask", _MADE
)
CANNOT_ASK = Worth(_NEEDS, "the model passes your yes on", _MADE)


@dataclass(frozen=True, slots=True)
class Way:
    """One way of answering, and what it is worth.

    Attributes:
        client: what it is called in the docs.
        answer: what it does with the question, in words.
        worth: what happens.
        person: who answers; None: the client has no forms.
        name: as the client calls itself.
        modes: the eras that it speaks.
    """

    client: str
    answer: str
    worth: Worth
    person: Callable[[], Person] | None
    name: str = "some-client"
    modes: tuple[Mode, ...] = MODES


def _way(client: str, answer: str, worth: Worth, *does: Any, **more: Any) -> Way:
    """Return a way of answering from what the person does, takes, and with which client."""
    takes = {name: more.pop(name) for name in ("seconds", "code") if name in more}
    return Way(client, answer, worth, partial(Person, *does, **takes), **more)


TICKED = {"approve": True}
_CLAUDE: dict[str, Any] = {"name": "claude-code", "modes": ("auto",)}
_CODEX: dict[str, Any] = {"name": "codex-mcp-client", "modes": ("legacy",)}
_ALL = "others with forms"
_OLD: dict[str, Any] = {"modes": ("legacy",)}
_NEW: dict[str, Any] = {"modes": ("auto",)}

WAYS = (
    _way("Claude Code", "Accept, in a form without fields", YES, "accept", **_CLAUDE),
    _way("Claude Code", "Decline", NO, "decline", **_CLAUDE),
    _way("Claude Code", "Esc after 3 s", UNANSWERED, "cancel", seconds=3, **_CLAUDE),
    _way("Claude Code -p", "`cancel` after 17 ms", NOBODY, "cancel", seconds=0.017, **_CLAUDE),
    _way("Codex", "Allow, in a form without fields", YES, "accept", **_CODEX),
    _way("Codex", "Deny", NO, "decline", **_CODEX),
    _way("Codex", "Cancel", UNANSWERED, "cancel", **_CODEX),
    _way("codex exec", "`decline` after 4 ms", NOBODY, "decline", seconds=0.004, **_CODEX),
    _way("Copilot CLI -p", "`decline` at once", NOBODY, "decline", seconds=0, **_NEW),
    _way(_ALL, "accepted and ticked", YES, "accept", TICKED),
    _way(_ALL, "the same within a second", YES, "accept", TICKED, seconds=0),
    _way(_ALL, "accepted, not ticked", NO, "accept", {"approve": False}),
    _way(_ALL, "accepted without the field", NO, "accept"),
    _way(_ALL, "the same within a second", UNANSWERED, "accept", seconds=0),
    _way(_ALL, "declined", NO, "decline"),
    _way(_ALL, "declined within a second", NOBODY, "decline", seconds=1),
    _way(_ALL, "declined, the clock went back meanwhile", UNANSWERED, "decline", seconds=-60),
    _way(_ALL, "closed", UNANSWERED, "cancel"),
    _way(_ALL, "closed within a second", NOBODY, "cancel", seconds=1),
    _way(_ALL, "an error, as after a time-out", UNANSWERED, "cancel", code=-32001, **_OLD),
    _way(_ALL, "the error that it has no forms", CANNOT_ASK, "cancel", code=-32601, **_OLD),
    Way("those without forms", "none", replace(CANNOT_ASK, questions=0), None),
)


def table() -> str:
    """Return the table of the docs; each of its rows is tested below."""
    lines = [
        "| client | protocol | answer | the call | the same call again |",
        "|---|---|---|---|---|",
    ]
    for way in WAYS:
        eras = ", ".join(sorted(ERA[mode] for mode in way.modes))
        again = f"{way.worth.how}: {way.worth.again}"
        lines.append(f"| {way.client} | {eras} | {way.answer} | {way.worth.first} | {again} |")
    return "\n".join(lines)


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Return settings with which the person is asked about every price."""
    return make_settings(tmp_path, MEIGEN_CONFIRM_ABOVE="0")


def _word(answer: dict[str, Any]) -> str:
    """Return what the table calls an answer."""
    if answer["status"] == "refused":
        return f"`{answer['error']['code']}`"
    return "made" if answer["status"] == "completed" else f"`{answer['status']}`"


def _accepted(emulator: Emulator) -> int:
    return sum(post.accepted for post in emulator.posts)


CASES = [
    pytest.param(way, mode, id=f"{way.client}-{way.answer}-{ERA[mode]}")
    for way in WAYS
    for mode in way.modes
]


@pytest.mark.parametrize(("way", "mode"), CASES)
async def test_an_answer_is_worth_what_the_table_says(
    way: Way, mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """The first call, its repetition, and the person's yes in a terminal to another call."""
    worth, person = way.worth, way.person() if way.person else None
    shown: dict[str, Any] = {}
    if person is not None:
        shown = {"monotonic": person.monotonic, "elicitation_callback": person}
    info = t.Implementation(name=way.name, version="1")
    async with connect(settings, emulator, mode, client_info=info, **shown) as on:

        async def call(prompt: str, **more: Any) -> dict[str, Any]:
            return await on.call("generate_image", prompt=prompt, **{**CALL, **more})

        first = await call("one")
        again = await call("one", requestId=first["requestId"])
        assert (_word(first), _word(again)) == (worth.first, worth.again)
        assert len(person.asked if person else []) == worth.questions
        assert _accepted(emulator) == (worth.again == _MADE)
        if worth is YES:
            return
        other = await call("two")
        for told in (first, other):
            assert f"`meigen-mcp approve {told['requestId']}`" in _told(told)
            assert "MEIGEN_CONFIRM_ABOVE" in _told(told)
        before = (_accepted(emulator), len(person.asked) if person else 0)
        await approve.run(settings, other["requestId"].upper())
        answers = [
            await call("two", requestId=other["requestId"], maxCredits=None) for _ in range(2)
        ]
    assert [_word(answer) for answer in answers] == [_MADE] * 2
    assert len({answer["generationId"] for answer in answers}) == 1
    assert (_accepted(emulator), len(person.asked) if person else 0) == (before[0] + 1, before[1])


def _told(answer: dict[str, Any]) -> str:
    return str(answer["error"]["message"] if "error" in answer else answer["next"])


@pytest.mark.parametrize(
    ("name", "fields"), [("claude-code", []), ("codex-mcp-client", []), ("claude", ["approve"])]
)
@pytest.mark.parametrize("mode", MODES)
async def test_only_who_was_seen_to_show_it_gets_a_form_without_fields(
    mode: Mode, name: str, fields: list[str], settings: Settings, emulator: Emulator
) -> None:
    """Everybody else has a box to tick, which must be ticked."""
    person = Person("accept")
    info = t.Implementation(name=name, version="1")
    async with connect(
        settings, emulator, mode, client_info=info, elicitation_callback=person
    ) as on:
        answer = await on.call("generate_image", prompt="one", **CALL)
    [form] = person.forms
    assert (list(form["properties"]), form.get("required", [])) == (fields, fields)
    assert answer["status"] == ("needs_approval" if fields else "completed")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["cancel", "decline"])
async def test_nobody_is_asked_more_than_three_times_about_one_offer(
    mode: Mode, action: Any, settings: Settings, emulator: Emulator
) -> None:
    """Then the terminal is left, or a new call, which is another offer."""
    person = Person(action)
    async with connect(
        settings, emulator, mode, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        call = partial(on.call, "generate_image", prompt="one", **CALL)
        first = await call()
        answers = [first, *[await call(requestId=first["requestId"]) for _ in range(4)]]
        assert len(person.asked) == 3
        assert len({_word(answer) for answer in answers}) == 1
        if action == "cancel":
            told = [answer["next"].partition(". ")[0] for answer in answers]
            assert told == [
                *["Nobody answered the question"] * 2,
                *["This client does not get their answer"] * 3,
            ]
        person.action, person.content = "accept", TICKED
        assert _word(await call(requestId=first["requestId"])) == _word(first)
        assert _word(await call()) == _MADE
    assert _accepted(emulator) == 1


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("action", ["cancel", "decline"])
async def test_what_a_person_saw_is_never_passed_on(
    mode: Mode, action: Any, settings: Settings, emulator: Emulator
) -> None:
    """Who closed the question or said no once is there, however fast they close the next ones."""
    person = Person(action)
    async with connect(
        settings, emulator, mode, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        call = partial(on.call, "generate_image", prompt="one", **CALL)
        first = await call()
        person.seconds = 0.1
        answers = [await call(requestId=first["requestId"]) for _ in range(4)]
    assert [_word(answer) for answer in answers] == [_NEEDS] * 4
    assert _accepted(emulator) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_a_no_holds_in_another_client_that_cannot_ask(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """A model there cannot pass on a yes to what its person was asked and did not agree to."""
    person = Person("decline")
    async with connect(
        settings, emulator, mode, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        first = await on.call("generate_image", prompt="one", **CALL)
    async with connect(settings, emulator, mode) as on:
        again = await on.call("generate_image", prompt="one", **CALL, requestId=first["requestId"])
    assert (_word(first), _word(again)) == (_NO, _NEEDS)
    assert again["next"].startswith("This client does not get their answer. ")
    assert _accepted(emulator) == 0


@pytest.mark.parametrize("mode", MODES)
async def test_an_automatic_no_without_a_ceiling_is_never_a_yes(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """However often; with a ceiling that covers the price it is asked once more."""
    person = Person("decline", seconds=0.004)
    async with connect(
        settings, emulator, mode, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        call = partial(on.call, "generate_image", prompt="one", modelId="nanobanana-2")
        first = await call()
        answers = [await call(requestId=first["requestId"]) for _ in range(4)]
        assert [_word(answer) for answer in answers] == [_NEEDS] * 4
        assert answers[0]["next"].startswith("This client answered by itself. Ask the person: ")
        assert _word(await call(requestId=first["requestId"], maxCredits=5)) == _MADE
    assert (len(person.asked), _accepted(emulator)) == (6, 1)


async def _round(
    on: Connected, call: dict[str, Any], state: str | None = None, **answer: Any
) -> t.InputRequiredResult | t.CallToolResult:
    """Make one request of a 2026 call: the question, or its answer."""
    responses: Any = {"approval": t.ElicitResult(**answer)} if answer else None
    return await on.client.session.call_tool(
        "generate_image",
        call,
        input_responses=responses,
        request_state=state,
        allow_input_required=True,
    )


async def test_one_answer_that_arrives_twice_is_not_two(
    settings: Settings, emulator: Emulator
) -> None:
    """A request that is repeated on its way is no second question, whatever its ceiling."""
    name = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    call = {"prompt": "one", **CALL, "requestId": name}
    async with connect(settings, emulator, elicitation_callback=Person("cancel")) as on:
        question = await _round(on, call)
        assert isinstance(question, t.InputRequiredResult)
        answers = [
            await _round(on, call, question.request_state, action="decline") for _ in range(3)
        ]
    told = [answer.structured_content for answer in answers if isinstance(answer, t.CallToolResult)]
    assert [_word(answer or {}) for answer in told] == [_NEEDS] * 3
    assert emulator.posts == []


@pytest.mark.parametrize("action", ["accept", "cancel", "decline"])
async def test_a_yes_from_the_terminal_waits_for_what_the_form_says(
    action: Any, settings: Settings, emulator: Emulator
) -> None:
    """A form that is open meanwhile may still be declined, and a no is the last word."""
    name = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    call = {"prompt": "one", **CALL, "requestId": name}
    person = Person(action)
    async with connect(
        settings, emulator, monotonic=person.monotonic, elicitation_callback=person
    ) as on:
        question = await _round(on, call)
        assert isinstance(question, t.InputRequiredResult)
        await approve.run(settings, name)
        person.hesitate()
        content = TICKED if action == "accept" else None
        answer = await _round(on, call, question.request_state, action=action, content=content)
        assert isinstance(answer, t.CallToolResult)
        told = [_word(answer.structured_content or {})]
        person.action = "cancel"
        told.append(_word(await on.call("generate_image", **call)))
    assert told == ([_NO, _NEEDS] if action == "decline" else [_MADE] * 2)
    assert _accepted(emulator) == (action != "decline")
