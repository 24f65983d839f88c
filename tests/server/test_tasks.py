"""The tasks extension: a client of 2026 that asks for it is told by itself when it is done."""

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import mcp_types as t
import pytest
from mcp.client.extension import advertise
from mcp.shared.exceptions import MCPError
from support.in_memory import Connected, Mode, connect, make_settings
from support.person import Person
from support.task_client import (
    CancelTask,
    DeclaresTasks,
    GetTask,
    State,
    UpdateTask,
    begin,
    get_task,
    result_of,
)
from support.workbench import Someone, answers, workbench

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.server.tasks import EXTENSION, NamedTask, TaskAnswers
from meigen_mcp.settings import Settings

VIDEO = {"prompt": "waves", "modelId": "seedance-2-0", "duration": 5}
STALL = {**VIDEO, "prompt": "sandbox:stall"}
TIME = r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
UNKNOWN = "0f8fad5b-d9cb-469f-a165-70867728950e"


@asynccontextmanager
async def declared(
    settings: Settings, emulator: Emulator, mode: Mode = "auto", **client: Any
) -> AsyncIterator[Connected]:
    """Connect a client that declares tasks."""
    async with connect(settings, emulator, mode, extensions=[DeclaresTasks()], **client) as on:
        yield on


async def test_a_video_is_a_task_at_once_and_its_result_is_the_answer(
    settings: Settings, emulator: Emulator
) -> None:
    """A client that knows tasks never sees anything but the result."""
    async with declared(settings, emulator) as on:
        result = await on.client.call_tool("generate_video", VIDEO)
        made = dict(result.structured_content or {})
        shown = await on.call("check_status", requestId=made["requestId"])
    assert (made["status"], result.is_error) == ("completed", False)
    assert {**shown, "elapsedSeconds": 0} == {**made, "elapsedSeconds": 0}
    assert [post.accepted for post in emulator.posts] == [True]


async def test_a_task_says_how_it_stands(settings: Settings, emulator: Emulator) -> None:
    """Its id is the request id, it never expires, and people read how it goes."""
    async with declared(settings, emulator) as on:
        task = await begin(on.client, "generate_video", **STALL)
        state = await get_task(on.client.session, task["taskId"])
        listed = (await on.call("check_status"))["generations"]
    assert task["taskId"] == listed[0]["requestId"]
    assert task["resultType"] == "task"
    assert state["resultType"] == "complete"
    for told in (task, state):
        assert set(told) - {"_meta"} == {
            *("resultType", "taskId", "status", "createdAt", "lastUpdatedAt", "ttlMs"),
            *("pollIntervalMs", "statusMessage"),
        }
        assert (told["status"], told["ttlMs"], told["pollIntervalMs"]) == ("working", None, 3000)
        assert re.fullmatch(TIME, told["createdAt"])
        assert re.fullmatch(TIME, told["lastUpdatedAt"])
        assert re.fullmatch(
            r"\w+, \d+ s of about \d+ s; nobody has to ask for it", told["statusMessage"]
        )


async def test_a_picture_that_is_quick_is_an_ordinary_answer(
    settings: Settings, emulator: Emulator
) -> None:
    """Through a task its picture would reach the model as the name of a file only."""
    async with declared(settings, emulator) as on:
        quick = await begin(on.client, "generate_image", prompt="a fox")
        slow = await begin(on.client, "generate_image", prompt="sandbox:stall", wait=1)
    assert quick["status"] == "completed"
    assert (slow["resultType"], slow["pollIntervalMs"]) == ("task", 1000)


@pytest.mark.parametrize("wait", [0, "0"])
async def test_whoever_wants_an_answer_at_once_gets_one(
    wait: Any, settings: Settings, emulator: Emulator
) -> None:
    """A model that looks how it stands is told how it stands."""
    async with declared(settings, emulator) as on:
        made = await begin(on.client, "generate_video", **STALL, wait=wait)
        looked = await begin(on.client, "check_status", requestId=made["requestId"], wait=wait)
    assert (made["status"], looked["status"]) == ("processing", "processing")


async def test_what_needs_no_waiting_is_no_task(settings: Settings, emulator: Emulator) -> None:
    """Refusals, quotes, lists and what is over are answered as ever."""
    async with declared(settings, emulator) as on:
        refused = await begin(on.client, "generate_video", prompt="waves")
        quote = await begin(on.client, "generate_video", **VIDEO, dryRun=True)
        parked = await begin(
            on.client, "generate_video", **{**VIDEO, "prompt": "sandbox:no-credits"}
        )
        listed = await begin(on.client, "check_status")
    assert [answer["status"] for answer in (refused, quote, parked)] == [
        *("refused", "dry_run", "queued")
    ]
    assert parked["error"]["code"] == "insufficient_credits"
    assert len(listed["generations"]) == 1


async def test_the_person_is_asked_before_there_is_a_task(
    tmp_path: Path, emulator: Emulator
) -> None:
    """Nothing is asked within one."""
    asks = make_settings(tmp_path, MEIGEN_CONFIRM_ABOVE="0")
    person = Person("accept", {"approve": True})
    async with declared(asks, emulator, elicitation_callback=person) as on:
        result = await on.client.call_tool("generate_video", VIDEO)
    assert len(person.asked) == 1
    assert (result.structured_content or {})["status"] == "completed"


async def test_a_failed_generation_is_a_completed_task_with_an_error(
    settings: Settings, emulator: Emulator
) -> None:
    """Only an error of the protocol fails a task."""
    async with declared(settings, emulator) as on:
        task = await begin(on.client, "generate_video", **{**VIDEO, "prompt": "sandbox:fail"})
        result = await result_of(on.client.session, task["taskId"])
    assert (result["resultType"], result["isError"]) == ("complete", True)
    assert result["structuredContent"]["error"]["code"] == "provider_error"


async def test_a_later_call_has_an_alias_for_the_same_record(
    settings: Settings, emulator: Emulator
) -> None:
    """A client takes an id once, and both lead to the result."""
    async with declared(settings, emulator) as on:
        task = await begin(on.client, "generate_video", **VIDEO)
        alias = await begin(on.client, "check_status", requestId=task["taskId"], wait=1)
        again = await begin(on.client, "generate_video", **VIDEO, requestId=task["taskId"])
        both = [told["taskId"] for told in (alias, again) if "taskId" in told]
        results = [await result_of(on.client.session, name) for name in (task["taskId"], *both)]
    assert {result["structuredContent"]["requestId"] for result in results} == {task["taskId"]}
    assert all(re.fullmatch(rf"{task['taskId']}\.[0-9a-f]{{8}}", name) for name in both)
    assert len({*both}) == len(both)
    assert [post.accepted for post in emulator.posts] == [True]


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_whoever_does_not_ask_for_tasks_gets_none(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Neither a client of 2026 that declares nothing, nor one of 2025, whatever it declares."""
    extensions = [advertise(EXTENSION)] if mode == "legacy" else []
    async with connect(settings, emulator, mode, extensions=extensions) as on:
        answer = await on.call("generate_video", **STALL)
        with pytest.raises(MCPError) as refused:
            await get_task(on.client.session, answer["requestId"])
    assert answer["status"] == "processing"
    error = refused.value.error
    if mode == "legacy":
        assert error.code == -32601
    else:
        needed: dict[str, Any] = {"extensions": {EXTENSION: {}}}
        assert (error.code, error.data) == (-32021, {"requiredCapabilities": needed})


async def test_tasks_can_be_turned_off(tmp_path: Path, emulator: Emulator) -> None:
    """For a client that declares them and cannot take one."""
    async with declared(make_settings(tmp_path, MEIGEN_TASKS="off"), emulator) as on:
        offered = on.client.server_capabilities.extensions or {}
        answer = await begin(on.client, "generate_video", **STALL)
        with pytest.raises(MCPError) as refused:
            await get_task(on.client.session, answer["requestId"])
    assert (answer["status"], refused.value.error.code) == ("processing", -32601)
    assert EXTENSION not in offered


@pytest.mark.parametrize("kind", ["unknown", "generation", "upper", "odd", "alias"])
async def test_a_name_that_is_no_task_is_not_found(
    kind: str, settings: Settings, emulator: Emulator
) -> None:
    """In the same words as another account's."""
    async with declared(settings, emulator) as on:
        made = await begin(on.client, "generate_video", **STALL, wait=0)
        names = {
            "unknown": UNKNOWN,
            "generation": made["generationId"],
            "upper": made["requestId"].upper(),
            "odd": "../x",
            "alias": f"{made['requestId']}.xyz",
        }
        asked: list[t.Request[Any, Any]] = [
            GetTask(params=NamedTask(task_id=names[kind])),
            CancelTask(params=NamedTask(task_id=names[kind])),
            UpdateTask(params=TaskAnswers(task_id=names[kind])),
        ]
        for request in asked:
            with pytest.raises(MCPError, match="Task not found") as refused:
                await on.client.session.send_request(request, State)
            assert refused.value.error.code == -32602


async def test_a_task_is_known_to_every_process_of_the_account_and_to_no_other(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """Beside the first, and after a restart."""
    other = make_settings(tmp_path, MEIGEN_API_TOKEN="meigen_sk_" + "0ther-32" * 4)
    async with declared(settings, emulator) as on, declared(settings, emulator) as beside:
        task = await begin(on.client, "generate_video", **VIDEO)
        first = await result_of(beside.client.session, task["taskId"])
    async with declared(settings, emulator) as later, declared(other, emulator) as elsewhere:
        second = await result_of(later.client.session, task["taskId"])
        with pytest.raises(MCPError) as refused:
            await get_task(elsewhere.client.session, task["taskId"])
    urls = [result["structuredContent"]["mediaUrls"] for result in (first, second)]
    assert urls[0] == urls[1]
    assert (refused.value.error.code, refused.value.error.message) == (-32602, "Task not found")


@pytest.mark.parametrize("end", ["cancelled", "answered", "left"])
async def test_a_task_that_got_no_answer_is_adopted_by_its_repetition(
    end: str, settings: Settings, emulator: Emulator
) -> None:
    """Answered is who was given the result, not who was given a name for it."""
    async with declared(settings, emulator) as on:
        task = await begin(on.client, "generate_video", **VIDEO)
        if end == "cancelled":
            params = NamedTask(task_id=task["taskId"])
            done = await on.client.session.send_request(CancelTask(params=params), State)
            assert done.model_dump(by_alias=True)["resultType"] == "complete"
        if end == "answered":
            await result_of(on.client.session, task["taskId"])
        again = dict((await on.client.call_tool("generate_video", VIDEO)).structured_content or {})
    adopted = again["requestId"] == task["taskId"]
    assert adopted == (end == "cancelled")
    assert again["status"] == "completed"
    assert len(emulator.posts) == (1 if adopted else 2)


async def test_what_is_still_queued_is_called_off_with_its_task(
    tmp_path: Path, emulator: Emulator
) -> None:
    """Nothing was sent, so nothing is charged for certain."""
    async with declared(make_settings(tmp_path, MEIGEN_RATE_LIMIT="1"), emulator) as on:
        first = await begin(on.client, "generate_video", **VIDEO)
        queued = await begin(on.client, "generate_video", **{**VIDEO, "prompt": "hills"})
        params = NamedTask(task_id=queued["taskId"])
        await on.client.session.send_request(CancelTask(params=params), State)
        state = await get_task(on.client.session, queued["taskId"])
        shown = await on.call("check_status", requestId=queued["taskId"])
        await result_of(on.client.session, first["taskId"])
    assert queued["statusMessage"].startswith("queued, next in line")
    assert (state["status"], "result" in state) == ("cancelled", False)
    assert (shown["error"]["code"], shown["error"]["charged"]) == ("called_off", "no")
    assert len(emulator.posts) == 1


async def test_an_answer_that_nobody_asked_for_changes_nothing(
    settings: Settings, emulator: Emulator
) -> None:
    """It is acknowledged, as the specification has it."""
    async with declared(settings, emulator) as on:
        task = await begin(on.client, "generate_video", **STALL)
        params = TaskAnswers(task_id=task["taskId"], input_responses={"x": {}})
        done = await on.client.session.send_request(UpdateTask(params=params), State)
        state = await get_task(on.client.session, task["taskId"])
    assert done.model_dump(by_alias=True)["resultType"] == "complete"
    assert state["status"] == "working"


# --- what the service says of one -----------------------------------------------------------------


async def test_one_that_is_no_longer_observed_ends_its_task(tmp_path: Path) -> None:
    """The person is told, and no client asks for a month."""
    async with workbench(tmp_path) as on:
        over = answers(200, body={"status": "processing", "pollHintSeconds": 0})
        on.wire.faults["status"] = [over] * 3
        outcome = await on.generate(modelId="nanobanana-2", person=Someone(polls=True))
        looked = await on.service.look(outcome.job.request_id)
    assert looked is not None
    assert (outcome.status, outcome.later, looked.later) == ("processing", False, False)


async def test_one_that_is_done_has_a_moment_for_its_media(tmp_path: Path) -> None:
    """The result is told with its file, or five seconds later without."""
    async with workbench(tmp_path, MEIGEN_OUTPUT_DIR=str(tmp_path / "media")) as on:
        on.wire.faults["media"] = [answers(500)] * 50
        outcome = await on.generate("generate_video", person=Someone(polls=True), **VIDEO)
        assert outcome.later
        name = outcome.job.request_id
        while (looked := await on.service.look(name)) and looked.status != "completed":
            on.clock.now += 1
            await on.poller.step()
        soon = await on.service.look(name)
        on.clock.now += 6
        late = await on.service.look(name)
    assert soon is not None
    assert late is not None
    assert (soon.later, late.later, late.status) == (True, False, "completed")


async def test_a_client_that_asks_has_it_looked_at_every_interval(tmp_path: Path) -> None:
    """As if a call waited for it; when it asks no more, it is looked at as seldom as before."""
    async with workbench(tmp_path) as on:
        outcome = await on.generate("generate_video", person=Someone(polls=True), **STALL)
        looked = await on.service.look(outcome.job.request_id)
        assert looked is not None
        assert looked.later
        await on.poller.step()
        job = await on.service.source(outcome.job.request_id)
        assert job is not None
        assert job.watched_until == pytest.approx(on.clock.now + 20, abs=1.1)
        assert (job.next_look or 0) <= on.clock.now + 3
