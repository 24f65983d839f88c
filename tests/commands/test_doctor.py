"""What the doctor finds, each problem with its fix, against the sandbox in memory."""

import errno
import json
import os
import sqlite3
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from click.testing import CliRunner
from support.in_memory import ORIGIN, TOKEN, InMemory, connect, make_settings

from meigen_mcp import settings
from meigen_mcp.api.client import Api
from meigen_mcp.commands import cli, doctor
from meigen_mcp.commands.clients import CLIENTS, Machine
from meigen_mcp.commands.findings import Finding, as_json, as_text
from meigen_mcp.commands.launch import Launch
from meigen_mcp.ledger.sqlite.database import Database
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

SERVER = Launch(("/opt/meigen-mcp",), {})


class Examination:
    """What was found, by topic."""

    def __init__(self, findings: list[Finding]) -> None:
        self.findings = findings
        self.text = as_text(findings)

    def says(self, topic: str) -> str:
        """Return all that was said of a topic."""
        return "\n".join(found.says for found in self.findings if found.topic == topic)

    def fixes(self) -> dict[str, str]:
        """Return the fix of each problem by topic."""
        return {found.topic: found.fix for found in self.findings if found.fix}


class Desk:
    """A machine with settings, clients, and an API behind them."""

    def __init__(self, folder: Path, emulator: Emulator) -> None:
        self.folder = folder
        self.machine = Machine("linux", folder, folder / "config", folder, folder / "project")
        self.transport: httpx.AsyncBaseTransport = InMemory(emulator)
        self.environment = {
            "MEIGEN_API_TOKEN": TOKEN,
            "MEIGEN_BASE_URL": ORIGIN,
            "MEIGEN_UPLOAD_URL": "http://127.0.0.1:8001",
            "MEIGEN_DATA_DIR": str(folder / "data"),
            "MEIGEN_OUTPUT_DIR": str(folder / "media"),
            "MEIGEN_MAX_CREDITS_PER_DAY": "500",
        }

    async def examine(self, **changes: str | None) -> Examination:
        """Look, with some variables changed, or without those that are None."""
        merged: dict[str, str | None] = {**self.environment, **changes}
        environment = {name: value for name, value in merged.items() if value is not None}
        found = await doctor.examine(self.machine, environment, self.api, lambda: 2e9)
        examination = Examination(found)
        assert TOKEN not in examination.text + as_json(found)
        return examination

    def api(self, loaded: Settings) -> Api:
        """Return a client of the API in memory."""
        return Api(loaded, self.transport)

    def configure(self, client: str, launch: Launch) -> Path:
        """Give a client the server."""
        chosen = CLIENTS[client]
        path = chosen.path(self.machine, "user")
        assert path is not None
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(chosen.snippet("meigen", chosen.entry(launch)), encoding="utf-8")
        return path


@pytest.fixture
def desk(tmp_path: Path, emulator: Emulator) -> Desk:
    """Return a machine on which all is well."""
    return Desk(tmp_path, emulator)


async def test_when_all_is_well_it_says_what_is_there(desk: Desk) -> None:
    """Versions, settings with their source, the token by its shape, latency, acceptance."""
    found = await desk.examine()
    assert found.fixes() == {}
    assert "meigen-mcp 0.1.0" in found.says("versions")
    assert "MEIGEN_MAX_CREDITS_PER_DAY: 500 (the environment)" in found.says("settings")
    assert found.says("token") == (
        "set, 42 characters, right shape (MEIGEN_API_TOKEN, the environment)"
    )
    assert " ms" in found.says("api")
    assert " ms" in found.says("upload")
    assert found.says("account") == "the token is accepted"
    assert "none yet" in found.says("ledger")
    assert "can be written" in found.says("output")
    assert found.text.endswith("Nothing to mend.")


async def test_looking_spends_nothing_and_sends_the_token_to_the_api_only(
    desk: Desk, emulator: Emulator
) -> None:
    """The token is tried by asking for a request that cannot exist."""
    await desk.examine()
    assert isinstance(desk.transport, InMemory)
    asked = [(r.method, r.url.port, "authorization" in r.headers) for r in desk.transport.requests]
    assert asked == [("GET", 8000, True), ("GET", 8001, False)]
    assert emulator.posts == []


async def test_after_a_generation_it_knows_the_balance_and_the_jobs(
    desk: Desk, emulator: Emulator
) -> None:
    """As the API last told them, with the time."""
    async with connect(make_settings(desk.folder), emulator) as on:
        await on.call("generate_image", prompt="a red cube", modelId="z-image-turbo")
    found = await desk.examine()
    assert found.fixes() == {}
    assert found.says("ledger").endswith("is sound; 1 completed")
    assert found.says("balance").startswith("99998 purchased")
    assert "days ago" in found.says("balance")


@pytest.mark.parametrize("status", [401, 403])
async def test_a_token_that_is_not_accepted_is_a_problem(desk: Desk, status: int) -> None:
    """With how to make another."""
    desk.transport = httpx.MockTransport(lambda _: httpx.Response(status, json={"error": "no"}))
    assert "--new-token" in (await desk.examine()).fixes()["account"]


@pytest.mark.parametrize("answer", [httpx.Response(500), httpx.Response(404, text="<html>")])
async def test_an_api_that_cannot_say_leaves_the_token_unjudged(
    desk: Desk, answer: httpx.Response
) -> None:
    """Neither accepted nor refused: an older API has no such route."""
    desk.transport = httpx.MockTransport(lambda _: answer)
    found = await desk.examine()
    assert "cannot be told" in found.says("account")
    assert found.fixes() == {}


async def test_an_api_that_cannot_be_reached_is_a_problem(desk: Desk) -> None:
    """For each host, with where the proxy is set."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    desk.transport = httpx.MockTransport(refuse)
    fixes = (await desk.examine()).fixes()
    assert fixes.keys() == {"api", "upload"}
    assert "HTTPS_PROXY" in fixes["api"]


@pytest.mark.parametrize(
    ("changes", "topic", "says", "fix"),
    [
        ({"MEIGEN_API_TOKEN": None}, "token", "makes nothing", "meigen-mcp install"),
        ({"MEIGEN_API_TOKEN": "meigen_sk_short"}, "token", "unusual shape", "32 characters"),
        ({"MEIGEN_CONFIRM_ABOVE": "much"}, "settings", '"much"', "a number of credits"),
        ({"SSL_CERT_FILE": "/no/such.pem"}, "network", "does not exist", "SSL_CERT_FILE"),
    ],
)
async def test_each_bad_setting_is_named_with_its_fix(
    desk: Desk, changes: dict[str, str | None], topic: str, says: str, fix: str
) -> None:
    """A person mends it without a look into the documentation."""
    found = await desk.examine(**changes)
    assert says in found.says(topic)
    assert fix in found.fixes()[topic]


async def test_a_password_of_a_proxy_is_not_shown(desk: Desk) -> None:
    """Nor a secret that stands in a wrong setting."""
    found = await desk.examine(HTTPS_PROXY="http://me:hunter2@proxy:3128", no_proxy="localhost")
    assert "HTTPS_PROXY: http://***@proxy:3128" in found.says("network")
    assert "no_proxy: localhost" in found.says("network")
    assert "hunter2" not in found.text


async def test_no_cap_is_worth_a_word_and_no_problem(desk: Desk) -> None:
    """Nothing but a cap holds a model that does not ask."""
    found = await desk.examine(MEIGEN_MAX_CREDITS_PER_DAY=None)
    assert "No cap" in found.says("settings")
    assert found.fixes() == {}


async def test_an_output_folder_that_cannot_be_written_is_a_problem(desk: Desk) -> None:
    """A file stands in its place; turned off, it is none."""
    (desk.folder / "media").write_text("", encoding="utf-8")
    assert "MEIGEN_OUTPUT_DIR" in (await desk.examine()).fixes()["output"]
    assert "turned off" in (await desk.examine(MEIGEN_OUTPUT_DIR="off")).says("output")


async def test_the_token_that_a_client_was_given_is_the_one_examined(desk: Desk) -> None:
    """A terminal seldom has it; the source is named."""
    token = desk.folder / "token"
    token.write_text(TOKEN, encoding="utf-8")
    token.chmod(0o600)
    path = desk.configure("cursor", Launch(("meigen-mcp",), {"MEIGEN_API_TOKEN_FILE": str(token)}))
    found = await desk.examine(MEIGEN_API_TOKEN=None)
    assert f"(MEIGEN_API_TOKEN_FILE, Cursor, {path})" in found.says("token")
    assert found.fixes() == {}


@pytest.mark.skipif(os.name == "nt", reason="Windows has no modes")
async def test_a_token_file_that_others_can_read_is_a_problem(desk: Desk) -> None:
    """With the command that mends it."""
    token = desk.folder / "token"
    token.write_text(TOKEN, encoding="utf-8")
    token.chmod(0o644)
    found = await desk.examine(MEIGEN_API_TOKEN=None, MEIGEN_API_TOKEN_FILE=str(token))
    assert found.fixes()["token"] == f"chmod 600 {token}"


async def test_each_client_is_named_with_what_it_will_show(desk: Desk) -> None:
    """And what is wrong with its entry: a command that is gone, a bad value, a broken file."""
    assert "none has this server" in (await desk.examine()).says("clients")
    desk.configure("codex", Launch(("meigen-mcp", "serve", "--sandbox"), {}))
    found = await desk.examine()
    assert 'has it as "meigen", in the sandbox' in found.says("clients")
    assert CLIENTS["codex"].shows in found.says("clients")
    desk.configure("codex", Launch(("meigen-mcp", "serve", "--sandbox", "den"), {}))
    assert '"meigen", in the sandbox den. You' in (await desk.examine()).says("clients")
    desk.configure("cursor", Launch((str(desk.folder / "gone" / "meigen-mcp"),), {}))
    assert "install cursor" in (await desk.examine()).fixes()["clients"]
    desk.configure("cursor", Launch(("meigen-mcp",), {"MEIGEN_RATE_LIMIT": "0"}))
    assert "MEIGEN_RATE_LIMIT" in (await desk.examine()).says("clients")
    desk.configure("cursor", Launch(("meigen-mcp",), {"MEIGEN_API_TOKEN": "meigen_sk_cut"}))
    found = await desk.examine()
    assert "a token of unusual shape" in found.says("clients")
    assert "install cursor --new-token` again" in found.fixes()["clients"]
    desk.configure("cursor", SERVER).write_text('{"meigen": ', encoding="utf-8")
    assert "Mend the file" in (await desk.examine()).fixes()["clients"]


async def test_in_the_home_folder_the_persons_own_file_is_no_project_s(desk: Desk) -> None:
    """Cursor and Gemini CLI have the same place in both; each is listed once, and is theirs."""
    desk.machine = replace(desk.machine, project=desk.machine.home)
    (desk.folder / "pictures").mkdir()
    own = {"MEIGEN_REFERENCE_DIRS": str(desk.folder / "pictures")}
    for client in ("cursor", "gemini"):
        desk.configure(client, Launch(("meigen-mcp",), own))
    found = await desk.examine()
    assert [found.fixes(), found.says("clients").count("has it as")] == [{}, 2]


async def test_what_a_project_brought_is_named_and_believed_in_nothing(
    desk: Desk, emulator: Emulator
) -> None:
    """The token goes to no origin of its, and no file that it names is opened."""
    fifo = desk.folder / "fifo"
    os.mkfifo(fifo)
    project = desk.folder / "project" / ".cursor" / "mcp.json"
    project.parent.mkdir(parents=True)
    variables = {
        "MEIGEN_BASE_URL": "http://127.0.0.1:9",
        "MEIGEN_API_TOKEN_FILE": str(fifo),
        "MEIGEN_MAX_CREDITS_PER_DAY": "5",
    }
    entry = CLIENTS["cursor"].entry(Launch(("meigen-mcp",), variables))
    project.write_text(CLIENTS["cursor"].snippet("meigen", entry), encoding="utf-8")
    found = await desk.examine(MEIGEN_BASE_URL=None)
    assert "MEIGEN_BASE_URL" not in found.says("settings")
    assert isinstance(desk.transport, InMemory)
    assert {request.url.host for request in desk.transport.requests} == {
        "www.meigen.ai",
        "127.0.0.1",
    }
    assert [r for r in desk.transport.requests if r.url.port == 9] == []
    says = found.says("clients")
    assert f"Cursor ({project}) comes with this project and sets MEIGEN_BASE_URL = http" in says
    assert "MEIGEN_MAX_CREDITS_PER_DAY" not in says
    assert "install cursor --scope project` leaves it out" in found.fixes()["clients"]
    assert emulator.posts == []


async def test_no_name_of_a_project_makes_a_line(desk: Desk) -> None:
    """Else a folder, a server or a value could say that all is well."""
    evil = "x\nok  account   the token is accepted"
    desk.machine = replace(desk.machine, project=desk.folder / evil)
    variables = {"MEIGEN_MODELS": f"a {evil}", "MEIGEN_LOG_LEVEL": evil, evil: evil}
    entry = CLIENTS["cursor"].entry(Launch(("meigen-mcp",), variables))
    for client, name, text in (
        ("cursor", ".cursor", CLIENTS["cursor"].snippet(evil, entry)),
        ("vscode", ".vscode", '{"servers": {"meigen": '),
    ):
        path = desk.machine.project / name / "mcp.json"
        assert CLIENTS[client].path(desk.machine, "project") == path
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    found = await desk.examine(MEIGEN_BASE_URL="http://127.0.0.1:9", MEIGEN_API_TOKEN=None)
    lines = found.text.splitlines()
    assert [line for line in lines if line.startswith("ok  account")] == []
    assert len(lines) == sum(2 if finding.fix else 1 for finding in found.findings) + 1
    assert sum("the token is accepted" in line for line in lines) >= 5


async def test_a_link_of_a_project_is_not_read(desk: Desk) -> None:
    """It may lead anywhere, and the client reads it, not we."""
    secret = desk.folder / "secret.json"
    entry = CLIENTS["cursor"].entry(SERVER)
    secret.write_text(CLIENTS["cursor"].snippet("meigen", entry), encoding="utf-8")
    (desk.folder / "project" / ".cursor").mkdir(parents=True)
    (desk.folder / "project" / ".cursor" / "mcp.json").symlink_to(secret)
    assert "none has this server" in (await desk.examine()).says("clients")


async def test_a_byte_order_mark_is_a_problem(desk: Desk) -> None:
    """The client does not get past it."""
    path = desk.configure("claude-desktop", Launch(("meigen-mcp",), {}))
    path.write_text(f"\ufeff{path.read_text(encoding='utf-8')}", encoding="utf-8")
    found = await desk.examine()
    assert "begins with a byte order mark" in found.says("clients")
    assert "install claude-desktop` again" in found.fixes()["clients"]


async def test_without_a_home_the_rest_is_looked_at(desk: Desk) -> None:
    """Clients keep their files there; nothing else does."""
    found = await doctor.examine(None, desk.environment, desk.api)
    assert [one.topic for one in found if one.fix] == ["clients"]


async def test_where_no_ledger_can_be_made_is_a_problem(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the first generation, and not by it."""
    data = desk.folder / "data"
    data.write_text("in the way", encoding="utf-8")
    found = await desk.examine()
    assert found.says("ledger") == f"the data folder {data} cannot be written"
    data.unlink()
    with monkeypatch.context() as patch:

        def unsupported(*_: object) -> None:
            raise OSError(errno.ENOLCK, "No locks available")

        patch.setattr("fcntl.flock", unsupported)
        found = await desk.examine()
    assert "cannot lock files" in found.says("ledger")
    assert "MEIGEN_DATA_DIR" in found.fixes()["ledger"]
    assert (await desk.examine()).fixes() == {}
    assert [*data.iterdir()] == []


async def test_a_bad_data_folder_is_not_looked_into(desk: Desk) -> None:
    """Which folder was meant is not known."""
    found = await desk.examine(MEIGEN_DATA_DIR="./here")
    assert found.says("ledger") == ""
    assert "absolute path" in found.fixes()["settings"]


async def test_in_the_sandbox_neither_a_token_nor_the_network_is_missed(desk: Desk) -> None:
    """Who tries it for free has nothing to mend."""
    desk.configure("vscode", Launch(("meigen-mcp", "serve", "--sandbox"), {}))
    found = await desk.examine(MEIGEN_API_TOKEN=None)
    assert "the sandbox needs none" in found.says("token")
    assert found.says("api") == ""
    assert found.fixes() == {}


async def test_a_client_in_the_sandbox_hides_nothing_of_another(desk: Desk) -> None:
    """Token, caps and ways to the API are those of the client that spends."""

    def refuse(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no", request=request)

    desk.transport = httpx.MockTransport(refuse)
    desk.configure("claude-code", Launch(("meigen-mcp", "serve", "--sandbox", "try"), {}))
    given = {"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_MAX_CREDITS_PER_DAY": "50"}
    path = desk.configure("cursor", Launch(("meigen-mcp",), given))
    found = await desk.examine(MEIGEN_API_TOKEN=None, MEIGEN_MAX_CREDITS_PER_DAY=None)
    assert found.fixes().keys() == {"api", "upload"}
    assert f"MEIGEN_MAX_CREDITS_PER_DAY: 50 (Cursor, {path})" in found.says("settings")
    assert "No cap" not in found.says("settings")
    assert found.says("token") == (
        f"set, 42 characters, right shape (MEIGEN_API_TOKEN, Cursor, {path})"
    )


async def test_a_sandbox_of_the_person_s_hides_no_token_that_a_project_s_entry_misses(
    desk: Desk,
) -> None:
    """Whose entry it is: what it starts makes nothing without one."""
    desk.configure("claude-code", Launch(("meigen-mcp", "serve", "--sandbox"), {}))
    project = desk.folder / "project" / ".cursor" / "mcp.json"
    project.parent.mkdir(parents=True)
    entry = CLIENTS["cursor"].entry(Launch(("meigen-mcp",), {}))
    project.write_text(CLIENTS["cursor"].snippet("meigen", entry), encoding="utf-8")
    found = await desk.examine(MEIGEN_API_TOKEN=None)
    assert found.fixes().keys() == {"token"}
    assert "answers after" in found.says("api")


async def test_the_settings_of_each_client_that_differ_are_looked_at(desk: Desk) -> None:
    """What one has hides nothing that another has not, and each line says whose it is."""
    given = {"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_MAX_CREDITS_PER_DAY": "50"}
    gone = {"MEIGEN_REFERENCE_DIRS": str(desk.folder / "gone")}
    cursor = desk.configure("cursor", Launch(("meigen-mcp",), given))
    desk.configure("windsurf", Launch(("meigen-mcp",), given))
    gemini = desk.configure("gemini", Launch(("meigen-mcp",), gone))
    found = await desk.examine(MEIGEN_API_TOKEN=None, MEIGEN_MAX_CREDITS_PER_DAY=None)
    told = [line for line in found.says("settings").splitlines() if "PER_DAY" in line]
    assert told == [
        f"MEIGEN_MAX_CREDITS_PER_DAY: 50 (Cursor, {cursor})",
        f"Gemini CLI, {gemini}: No cap on spending is set (MEIGEN_MAX_CREDITS_PER_DAY).",
    ]
    assert found.says("token").splitlines() == [
        f"set, 42 characters, right shape (MEIGEN_API_TOKEN, Cursor, {cursor})",
        f"Gemini CLI, {gemini}: not set: the server quotes and makes nothing",
    ]
    assert found.fixes().keys() == {"token", "references"}
    assert found.says("account") == f"Cursor, {cursor}: the token is accepted"
    assert found.says("ledger").count("none yet") == 1


async def test_the_terminal_s_token_is_asked_about_once_and_is_no_client_s(desk: Desk) -> None:
    """It lies over theirs, however they differ."""
    for client, cap in (("cursor", "5"), ("windsurf", "50")):
        variables = {"MEIGEN_MAX_CREDITS_PER_GENERATION": cap}
        desk.configure(client, Launch(("meigen-mcp",), variables))
    found = await desk.examine()
    assert found.says("account") == "the token is accepted"
    assert found.says("token").count("right shape") == 1
    assert isinstance(desk.transport, InMemory)
    assert len(desk.transport.requests) == 2


async def test_each_token_that_clients_were_given_is_tried(desk: Desk) -> None:
    """One that is accepted says nothing of another."""
    other = f"meigen_sk_{'z' * 32}"
    paths = [
        desk.configure(client, Launch(("meigen-mcp",), {"MEIGEN_API_TOKEN": token}))
        for client, token in (("cursor", TOKEN), ("windsurf", other))
    ]
    desk.transport = httpx.MockTransport(
        lambda r: httpx.Response(401 if other in r.headers.get("authorization", "") else 500)
    )
    found = await desk.examine(MEIGEN_API_TOKEN=None)
    refused = [f.says for f in found.findings if f.topic == "account" and f.fix]
    assert [says.split(": ")[0] for says in refused] == [f"Windsurf, {paths[1]}"]


# --- the ledger ----------------------------------------------------------------------------------


def damaged(folder: Path) -> Path:
    """Return a ledger that is none."""
    data = folder / "data"
    data.mkdir()
    (data / "ledger.sqlite3").write_bytes(b"not a database" * 1000)
    return data


async def test_a_damaged_ledger_is_a_problem_until_it_is_reset(desk: Desk) -> None:
    """The copy keeps every byte; the next look finds a new one."""
    data = damaged(desk.folder)
    assert "--reset-ledger" in (await desk.examine()).fixes()["ledger"]
    before = (data / "ledger.sqlite3").read_bytes()
    loaded = settings.load(desk.environment)
    said = await doctor.reset_ledger(loaded, lambda: 0.0)
    copy = data / "ledger-damaged-19700101-000000.sqlite3"
    assert said.fix is None
    assert str(copy) in said.says
    assert copy.read_bytes() == before
    assert "nothing to do" in (await doctor.reset_ledger(loaded)).says
    assert (await desk.examine()).fixes() == {}


@pytest.mark.parametrize("sound", [True, False])
async def test_what_was_rescued_of_a_removed_ledger_is_named(desk: Desk, *, sound: bool) -> None:
    """A look takes it in; what cannot be read is kept and stays a problem."""
    data = desk.folder / "data"
    await desk.examine()
    ledger = Database(data, name="rescued-abc.sqlite3")
    ledger.open()
    ledger.close()
    if not sound:
        (data / "rescued-abc.sqlite3").write_bytes(b"not a database" * 1000)
    found = await desk.examine()
    assert "rescued-abc.sqlite3" in found.says("ledger")
    assert ("ledger" in found.fixes(), (data / "rescued-abc.sqlite3").exists()) == (not sound,) * 2


async def test_a_page_that_is_damaged_is_found(desk: Desk) -> None:
    """Though the file still opens."""
    database = Database(desk.folder / "data")
    database.check()
    database.close()
    path = desk.folder / "data" / "ledger.sqlite3"
    raw = bytearray(path.read_bytes())
    raw[4096:8192] = b"\xff" * 4096
    path.write_bytes(raw)
    assert "--reset-ledger" in (await desk.examine()).fixes()["ledger"]
    assert "is kept as" in (await doctor.reset_ledger(settings.load(desk.environment))).says


async def test_a_ledger_that_another_process_has_open_is_left_alone(desk: Desk) -> None:
    """Its lock says so, whatever the file looks like."""
    database = Database(desk.folder / "data")
    database.check()
    path = desk.folder / "data" / "ledger.sqlite3"
    path.with_name("ledger.sqlite3-wal").unlink(missing_ok=True)
    path.write_bytes(b"not a database" * 1000)
    said = await doctor.reset_ledger(settings.load(desk.environment))
    assert "open in another process" in said.says
    assert said.fix is not None
    assert path.exists()
    database.close()


async def test_a_sound_ledger_and_a_newer_one_are_left_alone(desk: Desk) -> None:
    """They hold what was spent."""
    loaded = settings.load(desk.environment)
    database = Database(loaded.data_dir)
    database.check()
    database.close()
    said = await doctor.reset_ledger(loaded)
    assert (said.fix, "is sound" in said.says) == (None, True)
    with sqlite3.connect(loaded.data_dir / "ledger.sqlite3") as db:
        db.execute("PRAGMA user_version=99")
    db.close()
    said = await doctor.reset_ledger(loaded)
    assert "newer meigen-mcp" in said.says
    assert said.fix == "Update meigen-mcp. Nothing was changed."
    assert [*loaded.data_dir.glob("ledger-damaged*")] == []


# --- the command ---------------------------------------------------------------------------------


@pytest.fixture
def variables(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> Mapping[str, str]:
    """Set the variables of a desk whose API is not there."""
    gone = {"MEIGEN_BASE_URL": "http://127.0.0.1:9", "MEIGEN_UPLOAD_URL": "http://127.0.0.1:9"}
    for name, value in {**desk.environment, **gone, "HOME": str(desk.folder)}.items():
        monkeypatch.setenv(name, value)
    for name in ("XDG_CONFIG_HOME", "CLAUDE_CONFIG_DIR", "CODEX_HOME"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(desk.folder)
    return desk.environment


@pytest.mark.usefixtures("variables")
def test_the_command_ends_with_1_when_something_is_to_be_mended() -> None:
    """As text and as JSON, without the token in either."""
    text = CliRunner().invoke(cli.main, ["doctor"])
    told = CliRunner().invoke(cli.main, ["doctor", "--json"])
    assert (text.exit_code, told.exit_code) == (1, 1)
    assert "To mend: 2." in text.output
    report = json.loads(told.stdout)
    assert report["ok"] is False
    assert [f["topic"] for f in report["findings"] if "fix" in f] == ["api", "upload"]
    assert TOKEN not in text.output + told.output


@pytest.mark.usefixtures("variables")
def test_the_command_resets_the_ledger_and_ends_with_0(desk: Desk) -> None:
    """Nothing else is looked at."""
    damaged(desk.folder)
    result = CliRunner().invoke(cli.main, ["doctor", "--reset-ledger", "--json"])
    assert result.exit_code == 0, result.output
    assert "is kept as" in json.loads(result.stdout)["findings"][0]["says"]


async def test_a_model_that_is_allowed_but_unknown_is_named(desk: Desk) -> None:
    """With the one that was probably meant; the live list of the last fetch counts."""
    found = await desk.examine(MEIGEN_MODELS="z-image-turbo,z-image-turb")
    assert found.says("models") == "MEIGEN_MODELS names z-image-turb, which is no known model"
    assert found.fixes() == {"models": "Did you mean z-image-turbo? `meigen-mcp models` shows all."}


async def test_what_measuring_needs_is_named_where_it_is_missing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A server without it serves, and measures nothing."""
    assert (await desk.examine(MEIGEN_TELEMETRY="otlp")).fixes() == {}
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http", None)
    assert (await desk.examine()).fixes() == {}
    missed = (await desk.examine(MEIGEN_TELEMETRY="otlp")).fixes()
    assert [*missed] == ["telemetry"]
    assert "meigen-mcp[telemetry]" in missed["telemetry"]


async def test_a_folder_where_results_last_is_looked_at(desk: Desk, tmp_path: Path) -> None:
    """In place of the output folder."""
    kept = {
        "MEIGEN_MEDIA_DIR": str(tmp_path / "kept"),
        "MEIGEN_MEDIA_URL": "https://pictures.example",
    }
    assert f"results are kept in {tmp_path / 'kept'}" in (await desk.examine(**kept)).says("output")
    (tmp_path / "file").write_text("")
    wrong = {**kept, "MEIGEN_MEDIA_DIR": str(tmp_path / "file" / "kept")}
    assert "MEIGEN_MEDIA_DIR" in (await desk.examine(**wrong)).fixes()["output"]


async def test_a_client_with_a_token_of_its_own_is_named(desk: Desk) -> None:
    """No new token of another client reaches it; in the sandbox there is none that counts."""
    own, kept = desk.folder / "mine", desk.folder / "data" / "token"
    kept.parent.mkdir()
    for file in (own, kept):
        file.write_text(TOKEN, encoding="utf-8")
        file.chmod(0o600)
    command = ("/opt/meigen-mcp",)
    path = desk.configure("cursor", Launch(command, {"MEIGEN_API_TOKEN_FILE": str(own)}))
    desk.configure("windsurf", Launch(command, {"MEIGEN_API_TOKEN_FILE": str(kept)}))
    desk.configure("gemini", Launch(command, {"MEIGEN_API_TOKEN": TOKEN}))
    alone = Launch((*command, "serve", "--sandbox"), {"MEIGEN_API_TOKEN": TOKEN})
    desk.configure("vscode", alone)
    said = (await desk.examine()).says("clients").splitlines()
    about = "has a token of its own, which `install --new-token` for another client leaves alone"
    told = [line for line in said if "token of its own" in line]
    gemini = desk.folder / ".gemini" / "settings.json"
    assert told == [
        f"Cursor ({path}) {about}: {own}",
        f"Gemini CLI ({gemini}) {about}: MEIGEN_API_TOKEN, in its configuration",
    ]
