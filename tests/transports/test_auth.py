"""Who is let in over HTTP, at which address, and who is told of this computer's files."""

import os
import pty
import re
import signal
import socket
import stat
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from starlette.datastructures import Headers
from support.in_memory import MODES, Mode, make_settings
from support.over_http import (
    ACCEPT,
    HELLO,
    SERVE,
    bearer,
    environment,
    inside,
    open_session,
    patient,
    post,
    process,
    structure_of,
)

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings
from meigen_mcp.transports import auth, http
from meigen_mcp.transports.auth import Access, CannotServe, NotAdmitted, access_for

SECRET = "correct-horse-battery-staple"
SHORT = "x" * (auth.LEAST_TOKEN - 1)
EVERYWHERE = "0.0.0.0"  # noqa: S104  # the address under test
LOOPBACK = ("127.0.0.1", "127.1.2.3", "::1", "localhost")
OPEN = (EVERYWHERE, "::", "", "192.0.2.1", "example.com")


def guarded(settings: Settings, token: str = SECRET) -> Settings:
    """Return settings with a token for clients."""
    return replace(settings, http_token=token)


# --- at the start -------------------------------------------------------------------------------


@pytest.mark.parametrize("token", [None, "a", SHORT])
@pytest.mark.parametrize("host", OPEN)
def test_others_are_let_in_with_a_token_that_nobody_guesses(
    host: str, token: str | None, settings: Settings
) -> None:
    """On any other address than loopback; a good one is offered."""
    with pytest.raises(CannotServe, match="MEIGEN_HTTP_TOKEN") as refused:
        access_for(replace(settings, http_token=token), host)
    offered = str(refused.value).split()[-1]
    opened = access_for(guarded(settings, offered), host)
    assert (opened.discreet, opened.guarded, opened.token) == (True, True, offered)


def test_under_another_name_a_token_is_asked_for_on_loopback_too(settings: Settings) -> None:
    """Whoever uses that name is not on this computer: its own token will do, a short one not."""
    own = access_for(settings, "127.0.0.1", ("pictures.example",))
    assert (own.discreet, own.guarded, own.token_file) == (
        True,
        True,
        settings.data_dir / auth.KEPT_IN,
    )
    with pytest.raises(CannotServe, match="MEIGEN_HTTP_TOKEN"):
        access_for(guarded(settings, SHORT), "127.0.0.1", ("pictures.example",))


@pytest.mark.parametrize("host", LOOPBACK)
def test_on_this_computer_a_token_is_made_once(
    host: str, settings: Settings, tmp_path: Path
) -> None:
    """It lies in a private file; whoever can read it may use the server."""
    first, again = (access_for(settings, host) for _ in range(2))
    kept = tmp_path / "data" / "http-token"
    assert first == again
    assert (first.token, first.token_file) == (kept.read_text("ascii"), kept)
    assert (first.discreet, first.guarded, len(first.token or "")) == (False, True, 32)
    assert os.name == "nt" or stat.S_IMODE(kept.stat().st_mode) == 0o600


def test_a_token_of_the_environment_comes_first(settings: Settings, tmp_path: Path) -> None:
    """None is made beside it, and on this computer alone it may be short."""
    for token in (SECRET, SHORT):
        access = access_for(guarded(settings, token), "127.0.0.1")
        assert (access.token, access.token_file) == (token, None)
        assert access.guessable is (token == SHORT)
    assert not access_for(guarded(settings, SHORT), "127.0.0.1", sandbox=True).guessable
    assert not (tmp_path / "data").exists()


def test_the_sandbox_asks_for_none_on_this_computer(settings: Settings, tmp_path: Path) -> None:
    """There is nothing to protect; elsewhere it is a server like any other."""
    for allowed in ((), ("pictures.example",)):
        assert access_for(settings, "127.0.0.1", allowed, sandbox=True).token is None
    assert access_for(guarded(settings), "127.0.0.1", sandbox=True).token == SECRET
    with pytest.raises(CannotServe, match="MEIGEN_HTTP_TOKEN"):
        access_for(settings, EVERYWHERE, sandbox=True)
    assert not (tmp_path / "data").exists()


@pytest.mark.parametrize("host", LOOPBACK)
def test_the_person_may_do_without_on_this_computer(host: str, settings: Settings) -> None:
    """And nowhere else."""
    access = access_for(guarded(settings), host, no_token=True)
    assert (access.token, access.discreet, access.guarded) == (None, False, False)
    for other, allowed in ((EVERYWHERE, ()), (host, ("pictures.example",))):
        with pytest.raises(CannotServe, match="--no-token"):
            access_for(guarded(settings), other, allowed, no_token=True)


@pytest.mark.parametrize(
    "kept", [b"x" * 40 + b"\xff", b"two words, and some more of them", b"\n" * 40]
)
def test_a_file_that_holds_no_token_is_named(
    kept: bytes, settings: Settings, tmp_path: Path
) -> None:
    """It is not overwritten, and nobody is let in with what it holds."""
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "http-token").write_bytes(kept)
    with pytest.raises(CannotServe, match="http-token"):
        access_for(settings, "127.0.0.1")
    assert (tmp_path / "data" / "http-token").read_bytes() == kept


def test_a_folder_that_keeps_no_token_is_named(settings: Settings, tmp_path: Path) -> None:
    """A sentence, no traceback."""
    (tmp_path / "data").write_bytes(b"a file")
    with pytest.raises(CannotServe, match="MEIGEN_HTTP_TOKEN"):
        access_for(settings, "127.0.0.1")


def test_a_token_that_cannot_be_sent_is_refused_everywhere(tmp_path: Path) -> None:
    """It would otherwise count as none."""
    broken = make_settings(tmp_path, MEIGEN_HTTP_TOKEN="two words")
    for host in ("127.0.0.1", EVERYWHERE):
        with pytest.raises(CannotServe, match="MEIGEN_HTTP_TOKEN"):
            access_for(broken, host)


def test_an_open_address_needs_right_settings(tmp_path: Path) -> None:
    """Nobody far away could mend them."""
    wrong = make_settings(tmp_path, MEIGEN_HTTP_TOKEN=SECRET, MEIGEN_RATE_LIMIT="many")
    assert not access_for(wrong, "127.0.0.1").discreet
    with pytest.raises(CannotServe, match="MEIGEN_RATE_LIMIT"):
        access_for(wrong, EVERYWHERE)


@pytest.mark.parametrize(
    "name", ["https://pictures.example", "pictures.example/mcp", "*", "bücher"]
)
def test_a_name_that_no_host_has_is_refused(name: str, settings: Settings) -> None:
    """It would let nobody in."""
    with pytest.raises(CannotServe, match="--allowed-host"):
        access_for(guarded(settings), "127.0.0.1", (name,))


# --- hosts and origins --------------------------------------------------------------------------

ACCESS = Access(frozenset({"127.0.0.1", "localhost", "[::1]", "pictures.example"}), SECRET)
OURS = (
    "127.0.0.1",
    "localhost:8765",
    "LocalHost",
    "[::1]:80",
    "Pictures.Example:443",
    "127.0.0.9",
    "localhost.",
    "Pictures.example.:443",
)
FOREIGN = (
    "",
    "evil.example",
    "127.0.0.1.evil.example",
    "localhost.evil.example:80",
    "evil.example#@localhost",
    "localhost@evil.example",
    "localhost:80:80",
    "[::1",
    "[::1].",
    ".",
    "localhost..",
    "::1",
    "192.0.2.1",
    EVERYWHERE,
    "[::]",
    "2130706433",
    "local\x1bhost",
    "x" * 300,
)


def recognised(access: Access, **headers: str) -> str:
    """Return what a request is refused with, or nothing."""
    try:
        access.recognise(Headers(headers))
    except NotAdmitted as refused:
        return f"{refused.status.value} {refused.sentence}"
    return ""


@pytest.mark.parametrize("host", OURS)
def test_a_host_of_ours_is_let_in(host: str) -> None:
    """By name, whatever its case and port, and by a literal address of this computer."""
    assert recognised(ACCESS, host=host) == ""
    assert recognised(ACCESS, host="localhost", origin=f"https://{host}") == ""


@pytest.mark.parametrize("host", FOREIGN)
def test_a_host_that_is_not_ours_is_refused(host: str) -> None:
    """A page can make a browser send any of them here."""
    assert recognised(ACCESS, host=host).startswith("421 ")
    if host:
        assert recognised(ACCESS, host="localhost", origin=f"http://{host}").startswith("403 ")


def test_a_name_that_is_given_with_a_dot_is_the_name(settings: Settings) -> None:
    """Browsers send it as it stands in the address; what names the root is still no loopback."""
    access = access_for(guarded(settings), "127.0.0.1", ("Team.example.",))
    assert [recognised(access, host=host) for host in ("team.example", "team.example.")] == ["", ""]
    near = Headers({"host": "localhost.", **bearer(SECRET)})
    assert replace(ACCESS, guarded=True).admit(near)


def test_a_refused_host_is_told_the_option() -> None:
    """The sentence names what lets it in, and repeats nothing that is no host."""
    assert recognised(ACCESS, host="Team.example:8765") == (
        "421 This server does not go by the Host team.example. If it should, start it with"
        " --allowed-host team.example."
    )
    assert "<" not in recognised(ACCESS, host="<script>")


@pytest.mark.parametrize(
    "origin", ["null", "chrome-extension://abc", "file://", "http://", "http:"]
)
def test_an_origin_without_a_host_of_ours_is_refused(origin: str) -> None:
    """Nothing that is served from nowhere is let in."""
    assert recognised(ACCESS, host="localhost", origin=origin).startswith("403 ")


def test_each_origin_is_one_of_ours() -> None:
    """Also where a request names several."""
    ours, other = (b"origin", b"http://localhost:3000"), (b"origin", b"https://evil.example")
    for several in ((ours, other), (other, ours)):
        headers = Headers(raw=[(b"host", b"localhost"), *several])
        with pytest.raises(NotAdmitted, match=r"Origin evil\.example"):
            ACCESS.recognise(headers)


def test_an_address_of_many_computers_is_not_the_computers_own() -> None:
    """It can be bound, and is nobody's."""
    assert recognised(ACCESS, host="224.0.0.1").startswith("421 ")
    assert recognised(ACCESS, host="[ff02::1]").startswith("421 ")


def test_without_a_token_no_address_is_taken_on_trust() -> None:
    """Names in the list are all that is known then."""
    bare = replace(ACCESS, token=None)
    assert recognised(bare, host="127.0.0.1") == ""
    assert recognised(bare, host="127.0.0.9").startswith("421 ")


# --- from elsewhere -----------------------------------------------------------------------------

PROXIED: Mapping[str, Mapping[str, str]] = {
    "another name": {"host": "pictures.example"},
    "Forwarded": {"forwarded": "for=192.0.2.1"},
    "X-Forwarded-For": {"x-forwarded-for": "192.0.2.1"},
    "X-Forwarded-Host": {"x-forwarded-host": "pictures.example"},
    "X-Forwarded-Proto": {"x-forwarded-proto": "https"},
    "an empty X-Forwarded-For": {"x-forwarded-for": ""},
    "Via": {"via": "1.1 proxy"},
    **{
        name: {name.lower(): "192.0.2.1"}
        for name in (
            "X-Real-IP",
            "X-Forwarded",
            "X_Forwarded_For",
            "X-Original-Host",
            "X-Original-Forwarded-For",
            "X-Client-IP",
            "Client-IP",
            "X-Cluster-Client-IP",
            "True-Client-IP",
            "Fastly-Client-IP",
            "X-ARR-ClientIP",
            "CF-Connecting-IP",
            "CF-Ray",
            "CDN-Loop",
            "X-ProxyUser-IP",
            "X-Envoy-External-Address",
            "X-Amzn-Trace-Id",
            "X-Azure-ClientIP",
            "Fly-Forwarded-Port",
            "Tailscale-User-Login",
            "X-Vercel-Forwarded-For",
            "X-Vercel-Id",
            "X-MS-Forwarded-Client-IP",
            "X-NF-Client-Connection-IP",
            "X-Remote-IP",
            "X-Remote-Addr",
            "X-Originating-IP",
            "X-Host",
            "X-Scheme",
            "X-Url-Scheme",
            "X-Rewrite-URL",
            "Front-End-Https",
            "X-Nginx-Proxy",
            "X-Request-Start",
            "X-Varnish",
            "Surrogate-Capability",
            "CloudFront-Viewer-Address",
            "X-Amz-Cf-Id",
            "Akamai-Origin-Hop",
            "X-Railway-Edge",
            "X-GitHub-Request-Id",
            "Ngrok-Trace-Id",
            "X-Tunnel-Authorization",
        )
    },
}
NO_PROXY_S = (
    "User-Agent",
    "Mcp-Session-Id",
    "X-MCP-Proxy-Auth",
    "Traceparent",
    "X-Request-Id",
    "Mcp-Method",
    "X-Requested-With",
    "Client",
)


@pytest.mark.parametrize("sign", PROXIED)
def test_what_comes_through_a_proxy_is_from_elsewhere(sign: str) -> None:
    """It is let in with a token that nobody guesses, and without one not at all."""
    headers = Headers({"host": "localhost", **bearer(SECRET), **PROXIED[sign]})
    here = Headers({"host": "localhost", **bearer(SECRET), **dict.fromkeys(NO_PROXY_S, "x")})
    access = replace(ACCESS, guarded=True)
    assert (access.admit(headers), access.admit(here)) == (True, False)
    for weak in (replace(ACCESS, token=None), ACCESS):
        with pytest.raises(NotAdmitted) as refused:
            weak.admit(headers)
        assert refused.value.status == 403


def test_a_server_that_is_open_takes_all_for_elsewhere() -> None:
    """A proxy that hides itself is told of by --allowed-host."""
    headers = Headers({"host": "127.0.0.1", **bearer(SECRET)})
    assert replace(ACCESS, guarded=True, discreet=True).admit(headers)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("sign", ["X-Forwarded-For", "Forwarded"])
async def test_who_asks_from_elsewhere_is_told_no_path(
    sign: str,
    mode: Mode,
    tmp_path: Path,
    settings: Settings,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Neither in an answer nor in a record or an error, in one session with those who are."""
    picture = tmp_path / "media" / "own.png"
    async with (
        inside(guarded(settings), emulator) as (origin, app),
        patient(origin, headers=bearer(SECRET)) as client,
    ):
        named = await open_session(client) if mode == "legacy" else {}
        told: dict[str, str] = {}
        for who, more in (("here", {}), ("elsewhere", PROXIED[sign])):
            call = {"name": "generate_image", "arguments": {"prompt": "a fox"}}
            made = await post(client, mode, "tools/call", call, **named, **more)
            uri = structure_of(made)["resourceUri"]
            record = await post(client, mode, "resources/read", {"uri": uri}, **named, **more)
            look = {"name": "check_status", "arguments": {}}
            newest = await post(client, mode, "tools/call", look, **named, **more)
            call["arguments"] = {"prompt": "a fox", "referenceImages": [str(picture)]}
            local = structure_of(await post(client, mode, "tools/call", call, **named, **more))
            told[who] = "\n".join((made.text, record.text, newest.text, str(local)))
            assert local["status"] == "refused"
        monkeypatch.setattr("meigen_mcp.ledger.sqlite.database.can_lock", lambda _: False)
        await app.service._ledger.close()  # noqa: SLF001  # as when it was never opened
        for who, more in (("here", {}), ("elsewhere", PROXIED[sign])):
            broken = await post(client, mode, "tools/call", look, **named, **more)
            told[who] += broken.text
    told = {who: text.replace(str(picture), "") for who, text in told.items()}
    assert [part in told["here"] for part in (str(tmp_path), '"files"', '"preview"')] == [True] * 3
    assert [
        part for part in (str(tmp_path), '"files"', '"preview"') if part in told["elsewhere"]
    ] == []
    assert "ledger_unavailable" in told["elsewhere"]


# --- as a process ---------------------------------------------------------------------------------


async def test_whoever_brings_no_token_is_told_what_to_do(tmp_path: Path) -> None:
    """One sentence, no sign-in page to look for; the log names the file and never the token."""
    async with (
        process(tmp_path, "http://127.0.0.1:9") as served,
        patient(served.origin) as client,
        served.client() as owner,
    ):
        stranger = await post(client, "auto", "tools/list", {})
        known = await post(owner, "auto", "tools/list", {})
        served.process.send_signal(signal.SIGTERM)
        ended = await served.ended()
    assert (stranger.status_code, known.status_code, ended) == (401, 200, (0, []))
    assert stranger.headers["www-authenticate"] == "Bearer"
    assert stranger.text.count(".\n") == stranger.text.count("\n") == 1
    assert "Authorization: Bearer" in stranger.text
    assert f"meigen-mcp install CLIENT --url {served.url}\n" in served.said
    assert str(tmp_path / "data" / "http-token") in served.said
    assert served.token not in (None, served.said)
    assert str(served.token) not in served.said


async def test_without_a_token_by_the_persons_word(tmp_path: Path) -> None:
    """Whoever is on this computer is served, and nothing that came through a proxy."""
    async with (
        process(tmp_path, "http://127.0.0.1:9", "--no-token") as served,
        patient(served.origin) as client,
    ):
        here = await post(client, "auto", "tools/list", {})
        through = await post(client, "auto", "tools/list", {}, **PROXIED["X-Forwarded-For"])
    assert (here.status_code, through.status_code) == (200, 403)
    assert "--no-token" in through.text
    assert not (tmp_path / "data" / "http-token").exists()


async def test_a_refused_host_is_in_the_log(tmp_path: Path) -> None:
    """With the option that lets it in."""
    async with process(tmp_path, "http://127.0.0.1:9") as served, served.client() as client:
        answer = await post(client, "auto", "tools/list", {}, host="Team.example")
        served.process.send_signal(signal.SIGTERM)
        await served.ended()
    sentence = "start it with --allowed-host team.example."
    assert (answer.status_code, sentence in answer.text, sentence in served.said) == (
        421,
        True,
        True,
    )


@pytest.mark.skipif(os.name == "nt", reason="no terminal of its own there")
def test_the_token_is_shown_on_a_terminal_alone(tmp_path: Path) -> None:
    """Not into a pipe, which may be a log."""
    environ = environment(tmp_path, "http://127.0.0.1:9")
    command = [*SERVE, "--show-token"]

    async def run() -> tuple[int, bytes, int, str]:
        piped = await anyio.run_process(command, check=False, env=environ)
        ours, theirs = pty.openpty()
        on_terminal = await anyio.run_process(command, check=False, env=environ, stdout=theirs)
        os.close(theirs)
        said = os.read(ours, 1000).decode()
        os.close(ours)
        return piped.returncode, piped.stdout, on_terminal.returncode, said

    status, printed, shown, said = anyio.run(run)
    kept = (tmp_path / "data" / "http-token").read_text("ascii")
    assert (status, printed, shown, said.split()) == (2, b"", 0, [kept])


# --- pages --------------------------------------------------------------------------------------


@pytest.mark.parametrize("page", ["http://localhost:3000", "https://127.0.0.1"])
async def test_a_page_that_is_let_in_can_use_it(
    page: str, settings: Settings, emulator: Emulator
) -> None:
    """A browser asks first, without the token, and then lets the page read its session's id."""
    asks = {
        "origin": page,
        "access-control-request-method": "POST",
        "access-control-request-headers": "authorization,content-type,mcp-protocol-version",
    }
    async with (
        inside(guarded(settings), emulator) as (origin, _),
        patient(origin) as client,
    ):
        before = await client.options(http.PATH, headers=asks)
        hello = await post(client, "legacy", "initialize", HELLO, origin=page, **bearer(SECRET))
        stranger = await post(client, "legacy", "initialize", HELLO, origin=page)
    allowed = {
        name.removeprefix("access-control-"): before.headers[name] for name in before.headers
    }
    assert (before.status_code, allowed["allow-origin"]) == (204, page)
    assert allowed["allow-headers"] == asks["access-control-request-headers"]
    assert {"GET", "POST", "DELETE"} == set(re.split(", ", allowed["allow-methods"]))
    assert (hello.status_code, hello.headers["access-control-allow-origin"]) == (200, page)
    assert "Mcp-Session-Id" in hello.headers["access-control-expose-headers"]
    assert hello.headers["vary"] == "Origin"
    assert (stranger.status_code, stranger.headers["access-control-allow-origin"]) == (401, page)


@pytest.mark.parametrize("page", ["http://evil.example", "null", "http://localhost.evil.example"])
async def test_no_other_page_is_answered(page: str, settings: Settings, emulator: Emulator) -> None:
    """Neither before nor with the token."""
    asks = {"origin": page, "access-control-request-method": "POST"}
    async with (
        inside(guarded(settings), emulator) as (origin, _),
        patient(origin, headers=bearer(SECRET)) as client,
    ):
        answers: list[Any] = [
            await client.options(http.PATH, headers=asks),
            await client.post(http.PATH, headers={**ACCEPT, "origin": page}, json={}),
        ]
    assert [answer.status_code for answer in answers] == [403, 403]
    assert [n for answer in answers for n in answer.headers if n.startswith("access-control")] == []


async def test_the_computers_own_address_is_let_in(settings: Settings, emulator: Emulator) -> None:
    """Nobody can make a page be served from there."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as route:
        try:
            route.connect(("192.0.2.1", 9))  # sends nothing
        except OSError:
            pytest.skip("this computer has no other address")
        own = route.getsockname()[0]
    async with (
        inside(guarded(settings), emulator, EVERYWHERE) as (origin, _),
        patient(headers=bearer(SECRET)) as client,
    ):
        client.base_url = httpx.URL(origin).copy_with(host=own)
        answer = await post(client, "auto", "tools/list", {})
    assert answer.status_code == 200
