"""What the server answers over MCP, in both protocol eras: tools, and the border of errors."""

import json
from collections.abc import Iterator
from pathlib import Path
from threading import Event
from typing import Any

import anyio
import jsonschema
import mcp_types as t
import pytest
from mcp.shared.exceptions import MCPError
from support.in_memory import MODES, Connected, Mode, connect, make_settings

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

PLANTED = "planted-secret-7f3a"
LONG = "a lighthouse " * 30
MANY_PROBLEMS = {"prompt": "a fox", "modelId": "veo-3.1", "duration": 5, "qualty": "high"}

# name: tool, arguments, status, whether it is flagged as an error
CALLS: dict[str, tuple[str, dict[str, Any], str, bool]] = {
    "completed": ("generate_image", {"prompt": LONG}, "completed", False),
    "processing": (
        "generate_video",
        {"prompt": "sandbox:stall", "modelId": "seedance-2-0", "duration": 5},
        "processing",
        False,
    ),
    "failed": ("generate_image", {"prompt": "sandbox:fail"}, "failed", True),
    "parked": ("generate_image", {"prompt": "sandbox:no-credits"}, "queued", True),
    "refused by the API": ("generate_image", {"prompt": "sandbox:refuse"}, "failed", True),
    "refused here": ("generate_video", MANY_PROBLEMS, "refused", True),
    "dry run": ("generate_image", {"prompt": "a fox", "dryRun": True}, "dry_run", False),
    "not found": ("check_status", {"generationId": "nothing"}, "refused", True),
}
GENERATING = ("generate_image", "generate_video")


def scalars(value: Any) -> Iterator[Any]:
    """Yield every number and string in a structure; yes and no are said in words."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for inner in value:
            yield from scalars(inner)
    elif not isinstance(value, bool):
        yield value


def text_of(result: t.CallToolResult) -> str:
    """Return the text block of a result."""
    block = result.content[0]
    assert isinstance(block, t.TextContent)
    return block.text


def posts(on: Connected) -> list[str]:
    """Return the addresses that submissions were sent to."""
    return [request.url.path for request in on.transport.requests if request.method == "POST"]


# --- tools --------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_four_tools_are_listed_with_true_annotations(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Exactly the four; those that spend are not read-only."""
    async with connect(settings, emulator, mode) as on:
        tools = (await on.client.list_tools()).tools
    read_only = {tool.name: tool.annotations and tool.annotations.read_only_hint for tool in tools}
    assert read_only == {
        "generate_image": False,
        "generate_video": False,
        "check_status": True,
        "list_models": True,
    }


@pytest.mark.parametrize("call", CALLS)
@pytest.mark.parametrize("mode", MODES)
async def test_a_result_says_the_same_as_structure_and_as_text(
    mode: Mode, call: str, settings: Settings, emulator: Emulator
) -> None:
    """The structure matches the schema; every scalar of it is in the text, long prompts cut."""
    tool, arguments, status, is_error = CALLS[call]
    async with connect(settings, emulator, mode) as on:
        schemas = {tool.name: tool.output_schema for tool in (await on.client.list_tools()).tools}
        result = await on.client.call_tool(tool, arguments)
    structure, text = dict(result.structured_content or {}), text_of(result)
    jsonschema.validate(structure, schemas[tool] or {})
    assert (structure["status"], bool(result.is_error)) == (status, is_error)
    assert structure.pop("prompt", None) == arguments.get("prompt")
    for file in map(Path, structure.pop("files", ())):  # their folder is said once
        assert (str(file.parent) in text, file.name in text) == (True, True)
    assert [value for value in scalars(structure) if str(value) not in text] == []
    assert None not in list(scalars(structure))
    shown = [line for line in text.splitlines() if line.startswith("prompt: ")]
    assert all(len(line) <= len("prompt: ") + 120 for line in shown)


@pytest.mark.parametrize("arguments", [{}, {"limit": 2}], ids=str)
@pytest.mark.parametrize("mode", MODES)
async def test_the_newest_generations_are_rows_in_structure_and_text(
    mode: Mode, arguments: dict[str, Any], settings: Settings, emulator: Emulator
) -> None:
    """Without an id check_status lists what there is, newest first, with what was spent."""
    async with connect(settings, emulator, mode) as on:
        for prompt in ("first", "sandbox:fail", "third"):
            await on.call("generate_image", prompt=prompt, modelId="z-image-turbo")
        schemas = {tool.name: tool.output_schema for tool in (await on.client.list_tools()).tools}
        result = await on.client.call_tool("check_status", arguments)
    structure = dict(result.structured_content or {})
    jsonschema.validate(structure, schemas["check_status"] or {})
    newest = ["third", "sandbox:fail", "first"][: arguments.get("limit")]
    assert [row["prompt"] for row in structure["generations"]] == newest
    assert structure["spentToday"] == structure["spentMonth"] > 0
    assert [v for v in scalars(structure) if str(v) not in text_of(result)] == []
    assert not result.is_error


@pytest.mark.parametrize("mode", MODES)
async def test_one_model_is_described_completely_in_structure_and_text(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """With modelId the text is the same JSON, but for what the rules say in words besides."""
    async with connect(settings, emulator, mode) as on:
        result = await on.client.call_tool("list_models", {"modelId": "veo-3.1"})
    [model] = (result.structured_content or {})["models"]
    told = json.loads(text_of(result))
    assert told.pop("jsonSchema").endswith("meigen://models/veo-3.1")
    assert told == {name: model[name] for name in model if name not in ("facts", "jsonSchema")}
    jsonschema.Draft202012Validator.check_schema(model["jsonSchema"])
    assert not result.is_error


@pytest.mark.parametrize("name", ["codex-mcp-client", "claude-code", "mcp", "somebody"])
@pytest.mark.parametrize("mode", MODES)
async def test_media_are_linked_only_where_links_are_of_use(
    mode: Mode, name: str, settings: Settings, emulator: Emulator
) -> None:
    """Elsewhere a link doubles the text or ends the run: LangChain makes a file of each."""
    call = {"prompt": "a fox", "modelId": "midjourney-v8.1", "resolution": "1K"}
    client = t.Implementation(name=name, version="1")
    async with connect(settings, emulator, mode, client_info=client) as on:
        result = await on.client.call_tool("generate_image", call)
    urls = (result.structured_content or {})["mediaUrls"]
    linked = [(url, "image/png") for url in urls] if name == "codex-mcp-client" else []
    links = [block for block in result.content if isinstance(block, t.ResourceLink)]
    assert [(link.uri, link.mime_type) for link in links] == linked
    assert len(urls) == 4


@pytest.mark.parametrize("mode", MODES)
async def test_a_call_that_its_client_spoiled_is_the_call_that_was_meant(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """Numbers, flags, lists and objects in a text; the record and a repetition hold them read."""
    meant = {
        "prompt": "a fox",
        "modelId": "midjourney-v8.1",
        "referenceImages": ["https://images.meigen.ai/a.png"],
        "niji7Options": {"iw": 1, "raw": True},
        "wait": 0,
    }
    spoiled = {
        "prompt": "a fox",
        "modelId": "midjourney-v8.1",
        "aspectRatio": "",
        "referenceImages": '["https://images.meigen.ai/a.png"]',
        "niji7Options": '{"iw": "1", "raw": true}',
        "wait": "0",
        "dryRun": "",
    }
    async with connect(settings, emulator, mode) as on:
        answer = await on.call("generate_image", **spoiled)
        repeated = await on.call("generate_image", **meant, requestId=answer["requestId"])
        listed = await on.call("check_status", limit="1", requestId="")
    assert {
        **answer["settings"],
        "prompt": "a fox",
        "modelId": answer["modelId"],
        "wait": 0,
    } == meant
    assert repeated["requestId"] == answer["requestId"]
    assert [row["requestId"] for row in listed["generations"]] == [answer["requestId"]]
    assert len(emulator.posts) == 1


async def test_a_quote_sends_and_records_nothing(settings: Settings, emulator: Emulator) -> None:
    """After dryRun the API saw no submission and the ledger has no record."""
    async with connect(settings, emulator) as on:
        result = await on.client.call_tool("generate_image", {"prompt": "a fox", "dryRun": True})
        listing = await on.call("check_status")
        seen = posts(on)
    assert [type(block) for block in result.content] == [t.TextContent]
    assert (seen, emulator.posts, listing["generations"]) == ([], [], [])
    assert set(result.structured_content or {}) == {
        "status",
        "requestId",
        "mediaType",
        "modelId",
        "prompt",
        "quote",
        "expectedSeconds",
        "next",
    }


# --- what is wrong ------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_an_unknown_tool_is_a_protocol_error(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """It is invalid params, as the specification asks."""
    async with connect(settings, emulator, mode) as on:
        with pytest.raises(MCPError) as caught:
            await on.client.call_tool("generate_music", {})
    expected = t.ErrorData(code=t.INVALID_PARAMS, message="Unknown tool: generate_music")
    assert caught.value.error == expected


@pytest.mark.parametrize(
    "uri",
    [
        "meigen://generations/nothing",
        "meigen://generations/nothing/media/0",
        "meigen://models/nothing",
        "meigen://nothing",
        "meigen://",
        "file:///etc/passwd",
        "nonsense",
    ],
)
@pytest.mark.parametrize("mode", MODES)
async def test_an_unknown_resource_is_the_error_of_its_era(
    mode: Mode, uri: str, settings: Settings, emulator: Emulator
) -> None:
    """2026 asks for invalid params, 2025 for -32002; both name the URI."""
    async with connect(settings, emulator, mode) as on:
        with pytest.raises(MCPError) as caught:
            await on.client.read_resource(uri)
    code = {"auto": t.INVALID_PARAMS, "legacy": -32002}[mode]
    expected = t.ErrorData(code=code, message="Resource not found", data={"uri": uri})
    assert caught.value.error == expected


@pytest.mark.parametrize("cursor", ["x", "", "%%%", "YmVmb3JlIMKy", "YmVmb3JlIC0x", "é" * 300])
@pytest.mark.parametrize("mode", MODES)
async def test_a_cursor_that_is_not_ours_is_refused(
    mode: Mode, cursor: str, settings: Settings, emulator: Emulator
) -> None:
    """Every list says so in the same way."""
    async with connect(settings, emulator, mode) as on:
        lists = (
            on.client.list_tools,
            on.client.list_resources,
            on.client.list_resource_templates,
        )
        for some_list in lists:
            with pytest.raises(MCPError) as caught:
                await some_list(cursor=cursor)
            expected = t.ErrorData(code=t.INVALID_PARAMS, message="Invalid cursor")
            assert caught.value.error == expected


ODD_VALUES: list[Any] = [
    None,
    True,
    0,
    -1,
    1e308,
    float("nan"),
    float("inf"),
    10**400,
    "",
    "\ud83d",
    "\x00",
    "x" * 100_000,
    [],
    [[]],
    [None],
    {},
    {"a": {"b": [1]}},
]


@pytest.mark.parametrize("tool", ["generate_image", "generate_video", "check_status"])
async def test_odd_values_of_every_argument_are_answered(
    tool: str, settings: Settings, emulator: Emulator
) -> None:
    """Whatever its value, an argument is taken or refused by the rules, and nothing is sent."""
    answers = []
    async with connect(settings, emulator) as on:
        tools = {tool.name: tool for tool in (await on.client.list_tools()).tools}
        for name in [*tools[tool].input_schema["properties"], "unknown"]:
            for value in ODD_VALUES:
                call: dict[str, Any] = {"wait": 0}
                if tool in GENERATING:
                    call = {"prompt": "a fox", "dryRun": True}
                if name != "dryRun":
                    call |= {name: value}
                with anyio.fail_after(5):
                    answers.append(await on.call(tool, **call))
    codes = {answer["error"]["code"] for answer in answers if "error" in answer}
    assert codes <= {"invalid_arguments", "not_found"}
    assert posts(on) == []


# --- what is missing ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_without_a_token_all_works_but_generating(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """It starts, lists, judges and quotes; generating is refused and names the variable."""
    async with connect(make_settings(tmp_path, MEIGEN_API_TOKEN=""), emulator, mode) as on:
        models = await on.call("list_models")
        listing = await on.call("check_status")
        quote = await on.call("generate_image", prompt="a fox", dryRun=True)
        wrong = await on.call("generate_image", prompt=" ")
        refused = await on.call("generate_image", prompt="a fox")
    assert len(models["models"]) > 10
    assert listing["generations"] == []
    assert quote["status"] == "dry_run"
    assert wrong["error"]["code"] == "invalid_arguments"
    assert refused["error"]["code"] == "missing_token"
    assert "MEIGEN_API_TOKEN" in refused["error"]["message"]
    assert emulator.posts == []


@pytest.mark.parametrize("tool", ["generate_image", "check_status", "list_models"])
@pytest.mark.parametrize("mode", MODES)
async def test_with_bad_settings_every_call_says_what_to_fix(
    mode: Mode, tool: str, tmp_path: Path, emulator: Emulator
) -> None:
    """The tools are listed, and a call names each variable, its value and what is allowed."""
    bad = make_settings(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="lots", MEIGEN_POLL_INTERVAL="0")
    async with connect(bad, emulator, mode) as on:
        tools = (await on.client.list_tools()).tools
        result = await on.client.call_tool(tool, {"prompt": "a fox"} if "image" in tool else {})
    error = (result.structured_content or {})["error"]
    assert len(tools) == 4
    assert result.is_error
    assert error == {
        "code": "bad_settings",
        "message": "Settings of this server are wrong; nothing was sent.\n"
        '- MEIGEN_MAX_CREDITS_PER_DAY: "lots" is not allowed; set a number of credits, 0 or more\n'
        '- MEIGEN_POLL_INTERVAL: "0" is not allowed; set a number from 0.05 to 60',
        "charged": "no",
        "retryable": False,
    }


async def test_an_answer_says_that_the_output_folder_cannot_be_written(
    settings: Settings, emulator: Emulator
) -> None:
    """The medium was paid for and is there, by its URL."""
    folder = settings.output_dir
    assert folder is not None
    folder.write_text("in the way")
    async with connect(settings, emulator) as on:
        made = await on.call("generate_image", prompt="a fox")
    assert (made["status"], len(made["mediaUrls"]) > 0) == ("completed", True)
    assert f"media are not saved, since {folder} cannot be written;" in made["next"]


async def test_a_dry_run_over_a_cap_says_so(tmp_path: Path, emulator: Emulator) -> None:
    """In the sentence on what to do next."""
    capped = make_settings(tmp_path, MEIGEN_MAX_CREDITS_PER_GENERATION="1")
    async with connect(capped, emulator) as on:
        told = await on.call("generate_image", prompt="a fox", dryRun=True)
    assert told["status"] == "dry_run"
    assert told["next"].startswith("It would be refused: ")


@pytest.mark.parametrize("state", ["the folder is a file", "the file is damaged"])
@pytest.mark.parametrize("mode", MODES)
async def test_without_a_ledger_nothing_is_spent(
    mode: Mode, state: str, settings: Settings, emulator: Emulator
) -> None:
    """Tools, models and quotes work; generating is refused, and says what to mend."""
    if state == "the folder is a file":
        settings.data_dir.write_text("")
    else:
        settings.data_dir.mkdir()
        (settings.data_dir / "ledger.sqlite3").write_bytes(b"not a database" * 1000)
    async with connect(settings, emulator, mode) as on:
        tools = (await on.client.list_tools()).tools
        models = await on.call("list_models")
        quote = await on.call("generate_image", prompt="a fox", dryRun=True)
        refused = await on.call("generate_image", prompt="a fox")
        status = await on.call("check_status")
    assert (len(tools), len(models["models"]) > 10, quote["status"]) == (4, True, "dry_run")
    assert refused["error"]["code"] == status["error"]["code"] == "ledger_unavailable"
    assert str(settings.data_dir) in refused["error"]["message"]
    assert emulator.posts == []


async def test_a_data_folder_mended_later_needs_no_restart(
    settings: Settings, emulator: Emulator
) -> None:
    """The key of account names is read when the folder can be used, and never made up before."""
    settings.data_dir.write_text("")
    async with connect(settings, emulator) as on:
        refused = await on.call("generate_image", prompt="a fox")
        settings.data_dir.unlink()
        made = await on.call("generate_image", prompt="a fox")
    async with connect(settings, emulator) as on:
        found = await on.call("check_status", requestId=made["requestId"])
    assert refused["error"]["code"] == "ledger_unavailable"
    assert (made["status"], found["generationId"]) == ("completed", made["generationId"])


@pytest.mark.parametrize("mode", MODES)
async def test_what_is_declared_fits_the_era(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """2026-07-28 knows no logging; 2025 clients set its level, and hear of the viewer as well."""
    async with connect(settings, emulator, mode) as on:
        declared = on.client.server_capabilities
        assert declared is not None
        assert (declared.logging is None) == (mode == "auto")
        assert "io.modelcontextprotocol/ui" in (declared.extensions or {})
        assert on.client.server_info is not None
        assert on.client.server_info.website_url == "https://www.meigen.ai"


@pytest.mark.parametrize("mode", MODES)
async def test_a_data_folder_that_does_not_answer_stops_nothing_else(
    mode: Mode, settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """On some network disks a lock is waited for for ever; the server starts, and says so."""
    hung = Event()
    monkeypatch.setattr("meigen_mcp.ledger.sqlite.database.secret", lambda _: hung.wait(60) and b"")
    monkeypatch.setattr("meigen_mcp.ledger.sqlite.worker.BUSY_SECONDS", 0.1)
    try:
        with anyio.fail_after(20):
            async with connect(settings, emulator, mode) as on:
                tools = (await on.client.list_tools()).tools
                quote = await on.call("generate_image", prompt="a fox", dryRun=True)
                refused = await on.call("generate_image", prompt="a fox")
    finally:
        hung.set()
    assert (len(tools), quote["status"], emulator.posts) == (4, "dry_run", [])
    assert refused["error"]["message"] == (
        f"The disk of the ledger in {settings.data_dir} does not answer. Check it, or set"
        " MEIGEN_DATA_DIR to a folder on a disk of this computer. Nothing was sent or charged."
    )


# --- what nobody foresaw ------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_crash_in_a_tool_shows_a_reference_only(
    mode: Mode,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The text of the exception is in the log, under the reference that the client is told."""

    async def crash(*_: Any) -> None:
        raise OSError(PLANTED)

    async with connect(settings, emulator, mode) as on:
        for tool, method in (("generate_image", "generate"), ("check_status", "check")):
            monkeypatch.setattr(on.app.service, method, crash)
            caplog.clear()
            result = await on.client.call_tool(tool, {"prompt": "a fox"})
            told = result.model_dump_json()
            assert (result.structured_content or {})["error"]["code"] == "internal"
            assert result.is_error
            assert PLANTED not in told
            assert PLANTED in caplog.text
            reference = caplog.records[0].getMessage().rpartition(" ")[2]
            assert reference in told


@pytest.mark.parametrize("mode", MODES)
async def test_a_crash_in_a_resource_shows_a_reference_only(
    mode: Mode,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Listing, reading and subscribing answer with an internal error and nothing of its text."""

    def crash(*_: Any) -> None:
        raise RuntimeError(PLANTED)

    async with connect(settings, emulator, mode) as on:
        for method in ("page", "listing", "record"):
            monkeypatch.setattr(on.app.service, method, crash)
        monkeypatch.setattr(on.app.subscriptions, "subscribe_to", crash)
        told = [
            await refused(on.client.list_resources()),
            await refused(on.client.read_resource("meigen://generations")),
            await refused(on.client.read_resource("meigen://generations/x")),
            await refused(subscribed(on, mode)),
        ]
        monkeypatch.undo()
    references = [r.getMessage().rpartition(" ")[2] for r in caplog.records if r.exc_info]
    assert told == [
        t.ErrorData(
            code=t.INTERNAL_ERROR,
            message=f"Internal error, reference {reference} in this server's log",
        )
        for reference in references
    ]
    assert caplog.text.count(f"RuntimeError: {PLANTED}") == 4


async def refused(request: Any) -> t.ErrorData:
    """Return the error that a request is answered with."""
    with pytest.raises(MCPError) as caught:
        await request
    return caught.value.error


async def subscribed(on: Connected, mode: Mode) -> None:
    """Follow a resource, in the way of an era."""
    uri = "meigen://generations/x"
    if mode == "legacy":
        request = t.SubscribeRequest(params=t.SubscribeRequestParams(uri=uri))
        await on.client.session.send_request(request, t.EmptyResult)
        return
    async with on.client.listen(resource_subscriptions=[uri]):
        pass


async def test_a_dry_run_can_be_made_once_under_the_id_that_it_was_given(
    settings: Settings, emulator: Emulator
) -> None:
    """Whoever buys it twice, in a viewer that is shown again, finds the first generation."""
    call = {"prompt": "a fox", "modelId": "nanobanana-2", "wait": 0}
    async with connect(settings, emulator) as on:
        quote = await on.call("generate_image", **call, dryRun=True)
        bought = [
            await on.call("generate_image", **call, requestId=quote["requestId"]) for _ in range(2)
        ]
        listed = await on.call("check_status")
    assert [job["requestId"] for job in bought] == [quote["requestId"]] * 2
    assert [job["requestId"] for job in listed["generations"]] == [quote["requestId"]]
