"""Many servers on one database, behind a balancer that takes turns between them."""

import json
import sys
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import anyio
import httpx
import mcp_types as t
import pytest
from mcp.client.client import Client
from mcp.server.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from support.balancer import run_balancer
from support.in_memory import MODES, Mode, make_settings
from support.over_http import (
    HELLO,
    Served,
    connected,
    inside,
    patient,
    post,
    process,
    structure_of,
)
from support.person import Person
from support.pg_proxy import run_line
from support.postgres import PostgresServer

from meigen_mcp import app
from meigen_mcp.commands import approve, doctor, jobs
from meigen_mcp.errors import BadSettings, NotFound
from meigen_mcp.ledger.postgres import ledger as ledgers
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.settings import Settings
from meigen_mcp.transports import http
from meigen_mcp.transports.auth import Access, CannotServe

TOKEN = "correct-horse-battery-staple"
KEYS = ("k" * 32,)
OPEN = Access(frozenset({"127.0.0.1"}), None)
AT_ONCE = 2
"""Servers of each of the two generations."""
PACE = 0.05
PICTURE = {"modelId": "z-image-turbo"}


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """Return the address of an empty database."""
    url = postgres.make_database()
    yield url
    postgres.give_back(url)


@pytest.fixture
def shared(tmp_path: Path, database: str) -> Settings:
    """Return the settings of one of many servers."""
    return replace(make_settings(tmp_path), database_url=database, request_keys=KEYS)


@asynccontextmanager
async def two(settings: Settings, emulator: Emulator) -> AsyncIterator[tuple[str, str]]:
    """Serve from two servers, and yield their origins."""
    async with (
        inside(settings, emulator) as (first, _),
        inside(settings, emulator) as (second, _),
    ):
        yield first, second


# --- whether it may start -----------------------------------------------------------------------


async def test_without_keys_one_of_many_does_not_start(shared: Settings) -> None:
    """A client's answer would be understood by the one server that asked."""
    with pytest.raises(CannotServe, match="set MEIGEN_REQUEST_KEYS_FILE to a file with one of at"):
        await http.serve(replace(shared, request_keys=()), OPEN, "127.0.0.1", 0)


async def test_where_no_change_is_heard_none_starts(
    shared: Settings, postgres: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As behind a pooler, and here on another database, what is told comes back to nobody."""
    monkeypatch.setattr(ledgers, "HEARD_WITHIN", 0.2)
    elsewhere = postgres.make_database()
    with pytest.raises(CannotServe) as told:
        await http.serve(
            replace(shared, database_direct_url=postgres.url("postgres")), OPEN, "127.0.0.1", 0
        )
    assert str(told.value) == ledgers.DEAF.message
    postgres.execute("DROP SCHEMA IF EXISTS meigen CASCADE")
    postgres.give_back(elsewhere)


async def test_without_the_extra_the_command_for_it_is_told(
    shared: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing of a library's is."""
    monkeypatch.setitem(sys.modules, "meigen_mcp.ledger.postgres.ledger", None)
    with pytest.raises(BadSettings, match=r"is not installed\. .*meigen-mcp\[team\]"):
        app.open_ledger(shared)
    topics = [one for one in await doctor.examine(None, environ(shared)) if one.topic == "ledger"]
    assert [("meigen-mcp[team]" in one.says, one.fix) for one in topics] == [
        (True, "See docs/team.md.")
    ]


async def test_an_address_that_is_none_is_not_repeated(shared: Settings) -> None:
    """It has a password in it."""
    wrong = replace(shared, database_url="postgresql://me:pa55@host:port/x?no=such")
    with pytest.raises(BadSettings) as told:
        app.open_ledger(wrong)
    assert told.value.message == "A MEIGEN_DATABASE_* is no address that PostgreSQL knows."


def environ(settings: Settings) -> dict[str, str]:
    """Return the variables of some settings."""
    return {
        "MEIGEN_API_TOKEN": settings.token or "",
        "MEIGEN_BASE_URL": settings.base_url,
        "MEIGEN_UPLOAD_URL": settings.upload_url,
        "MEIGEN_DATA_DIR": str(settings.data_dir),
        "MEIGEN_OUTPUT_DIR": str(settings.output_dir),
        "MEIGEN_DATABASE_URL": settings.database_url or "",
    }


# --- a call goes to any of them -----------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_what_one_made_another_tells(
    mode: Mode, shared: Settings, emulator: Emulator
) -> None:
    """Without a session, in both eras, and the same id is the same generation anywhere."""
    made = {"prompt": "a fox", "requestId": "7d444840-9dc0-11d1-b245-5ffdce74fad2", **PICTURE}
    async with two(shared, emulator) as origins, httpx.AsyncClient(timeout=60) as client:
        told = []
        for origin in origins:
            client.base_url = httpx.URL(origin)
            call = {"name": "generate_image", "arguments": made}
            told.append(structure_of(await post(client, mode, "tools/call", call)))
    assert [one["status"] for one in told] == ["completed"] * 2
    assert told[0]["generationId"] == told[1]["generationId"]
    assert [sent.accepted for sent in emulator.posts] == [True]


async def test_a_2025_client_is_promised_no_changes_and_has_no_session(
    shared: Settings, emulator: Emulator
) -> None:
    """Each of its requests may go to another server, so nothing could be kept for it in one."""
    async with (
        inside(shared, emulator) as (origin, _),
        patient(origin) as client,
    ):
        hello = await post(client, "legacy", "initialize", HELLO)
        asked = await post(client, "legacy", "resources/subscribe", {"uri": "meigen://models"})
        refused = [await client.request(how, http.PATH) for how in ("GET", "DELETE")]
    said = next(line[5:] for line in hello.text.splitlines() if line.startswith("data:"))
    offered = json.loads(said)["result"]["capabilities"]
    assert "mcp-session-id" not in hello.headers
    assert [offered[name] for name in ("tools", "resources", "prompts")] == [{}, {}, {}]
    assert '"code":-32601' in asked.text
    assert [(one.status_code, one.headers["allow"]) for one in refused] == [(405, "POST")] * 2


async def test_what_one_asked_another_understands_also_with_newer_keys(
    shared: Settings, emulator: Emulator
) -> None:
    """The first key seals, and all open: so they can be changed one server after another."""
    asking = replace(shared, confirm_above=Decimal(0))
    newer = replace(asking, request_keys=("n" * 32, *KEYS))
    strange = replace(asking, request_keys=("s" * 32,))
    name = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    call = {"prompt": "a fox", "requestId": name, **PICTURE}
    async with AsyncExitStack() as stack:
        clients = []
        for each in (asking, newer, strange):
            origin, _ = await stack.enter_async_context(inside(each, emulator))
            on = connected(f"{origin}{http.PATH}", "auto", elicitation_callback=Person("accept"))
            clients.append(await stack.enter_async_context(on))

        async def ask(client: Client, **back: Any) -> Any:
            return await client.session.call_tool(
                "generate_image", call, allow_input_required=True, **back
            )

        asked = await ask(clients[0])
        assert isinstance(asked, t.InputRequiredResult)
        yes: Any = {"approval": t.ElicitResult(action="accept", content={"approve": True})}
        back = {"request_state": asked.request_state, "input_responses": yes}
        with pytest.raises(MCPError) as refused:
            await ask(clients[2], **back)
        taken = await ask(clients[1], **back)
    assert refused.value.error.code == -32602
    assert taken.structured_content["requestId"] == name


async def test_a_change_in_one_is_heard_from_another(shared: Settings, emulator: Emulator) -> None:
    """The notification is a hint, and the version what counts."""
    async with two(shared, emulator) as (first, second), AsyncExitStack() as stack:
        listening = await stack.enter_async_context(connected(f"{first}{http.PATH}", "auto"))
        calling = await stack.enter_async_context(connected(f"{second}{http.PATH}", "auto"))
        heard = await stack.enter_async_context(
            listening.listen(resource_subscriptions=["meigen://generations"])
        )
        with anyio.fail_after(30):
            await calling.call_tool("generate_image", {"prompt": "a fox", **PICTURE})
            event = await anext(aiter(heard))
    assert event == ResourceUpdated(uri="meigen://generations")


async def test_the_command_line_works_on_the_database(shared: Settings, emulator: Emulator) -> None:
    """It finds there what was made, what waits for a yes, and what is wrong."""
    asking = replace(shared, confirm_above=Decimal(0))
    async with inside(asking, emulator) as (origin, running):
        async with connected(f"{origin}{http.PATH}", "auto") as client:
            offered = await client.call_tool("generate_image", {"prompt": "a fox", **PICTURE})
        with anyio.fail_after(20):
            while not running.service.ready:  # noqa: ASYNC110  # once it hears of changes
                await anyio.sleep(0.01)
    name = (offered.structured_content or {})["requestId"]
    said = await approve.run(asking, name)
    assert said.startswith("Approved: generate_image with z-image-turbo")
    assert (await jobs.run(asking)).startswith("no generations yet")
    with pytest.raises(NotFound, match=r"in the database of MEIGEN_DATABASE_URL: its hour is"):
        await approve.run(asking, "7d444840-9dc0-11d1-b245-5ffdce74fad9")
    findings = await doctor.examine(None, environ(shared))
    assert [(one.says, one.fix) for one in findings if one.topic == "ledger"] == [
        ("the database of MEIGEN_DATABASE_URL is sound; no generations", None),
        (
            "`serve --http` on a database does not start without keys",
            "Set MEIGEN_REQUEST_KEYS_FILE, the same for all its servers (docs/team.md).",
        ),
    ]
    kept = await doctor.reset_ledger(shared)
    assert kept.says == "It is in the database of MEIGEN_DATABASE_URL; nothing was changed."


async def test_who_hears_nothing_of_its_database_is_not_ready(
    shared: Settings,
    database: str,
    emulator: Emulator,
    postgres: PostgresServer,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A balancer asks whether it is; whoever restarts what hangs asks whether it lives."""
    monkeypatch.setattr(ledgers, "LATELY", 2.0)
    async with (
        run_line(postgres.folder) as line,
        inside(replace(shared, database_url=line.url(database)), emulator) as (origin, _),
        patient(origin) as client,
    ):
        for silent, said in ((False, "ready\n"), (True, "not ready\n")):
            if silent:
                line.fall_silent()
            with anyio.fail_after(30):
                while (await client.get("/readyz")).text != said:  # noqa: ASYNC110  # nothing tells
                    await anyio.sleep(0.02)
        told = [await client.get(path) for path in ("/readyz", "/healthz")]
    assert [(one.status_code, one.text) for one in told] == [(503, "not ready\n"), (200, "ok\n")]


# --- as they really run -------------------------------------------------------------------------


def start(folder: Path, sandbox: str, database: str, **variables: str) -> Any:
    """Run one of many as a process of its own."""
    keys = folder / "keys"
    keys.write_text(KEYS[0], encoding="ascii")
    return process(
        folder,
        sandbox,
        MEIGEN_DATABASE_URL=database,
        MEIGEN_REQUEST_KEYS_FILE=str(keys),
        MEIGEN_HTTP_TOKEN=TOKEN,
        MEIGEN_RATE_LIMIT="100000",
        **variables,
    )


async def test_one_that_leaves_says_so_first_and_answers_who_waits(
    tmp_path: Path, database: str, postgres: PostgresServer
) -> None:
    """It is not ready and still takes what comes; at last its lease is given back, all in time."""
    call = {"name": "generate_image", "arguments": {"prompt": "sandbox:stall", **PICTURE}}
    async with (
        run_sandbox(speed=0.01) as sandbox,
        start(tmp_path, sandbox, database) as served,
        served.client() as client,
        anyio.create_task_group() as group,
    ):
        told: list[httpx.Response] = []

        async def ask(what: dict[str, Any]) -> None:
            told.append(await post(client, "auto", "tools/call", what))

        group.start_soon(ask, call)
        with anyio.fail_after(30):
            while not postgres.execute("SELECT 1 FROM meigen.generations", database):  # noqa: ASYNC110  # as below
                await anyio.sleep(0.02)
            served.process.terminate()
            while (await client.get("/readyz")).status_code != 503:  # noqa: ASYNC110  # nothing tells
                await anyio.sleep(0.02)
        late = await post(client, "auto", "tools/list", {})
        with anyio.fail_after(http.LONGEST_SHARED_END + 8):
            status = await served.process.wait()
    assert (late.status_code, status) == (200, 0)
    assert structure_of(told[0])["status"] in ("submitting", "processing")
    held = "SELECT count(*) FROM meigen.owners WHERE lease_until > clock_timestamp()"
    assert postgres.execute(held, database) == [(0,)]


async def test_no_call_fails_while_all_are_replaced_one_by_one(
    tmp_path: Path, database: str
) -> None:
    """Calls of both eras, in turns; each is made once."""
    told: Counter[str] = Counter()
    ended = False
    async with (
        run_sandbox(speed=0.01, rate_limit=100_000, credits=1_000_000) as sandbox,
        run_balancer() as (balancer, origin),
        AsyncExitStack() as stack,
        httpx.AsyncClient(
            base_url=origin,
            timeout=60,
            headers={"authorization": f"Bearer {TOKEN}"},
            limits=httpx.Limits(max_keepalive_connections=0),
        ) as client,
    ):

        async def begin() -> Served:
            served: Served = await stack.enter_async_context(start(tmp_path, sandbox, database))
            balancer.servers.append(served.origin)
            return served

        old = [await begin() for _ in range(AT_ONCE)]
        await balancer.until_ready(*balancer.servers)
        new = [await begin() for _ in range(AT_ONCE)]

        async def call(mode: Mode) -> None:
            while not ended:
                made = {"prompt": f"fox {told.total()}", "wait": 0, **PICTURE}
                what = {"name": "generate_image", "arguments": made}
                answer = await post(client, mode, "tools/call", what)
                told[structure_of(answer)["status"]] += 1
                await anyio.sleep(PACE)

        with anyio.fail_after(300):
            async with anyio.create_task_group() as group:
                for mode in MODES:
                    group.start_soon(call, mode)
                for leaving in old:
                    leaving.process.terminate()
                    balanced = {one.origin for one in (*old, *new) if one is not leaving}
                    await balancer.until_ready(*(balanced & set(balancer.servers)))
                    assert await leaving.process.wait() == 0
                    balancer.servers.remove(leaving.origin)
                ended = True
        async with patient(sandbox) as looking:
            posts = (await looking.get("/sandbox/state")).json()["posts"]
    keys = Counter(sent["idempotencyKey"] for sent in posts if sent["accepted"])
    assert told.keys() <= {"submitting", "queued", "processing", "completed"}
    assert set(keys.values()) == {1}
