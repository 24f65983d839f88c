"""People sign in: whose token is taken, what happens while nobody can say, and when streams end."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import anyio
import httpx
import jwt
import pytest
from support.in_memory import MODES, Mode, make_settings
from support.issuer import RESOURCE, Issuer, serving
from support.over_http import (
    ACCEPT,
    HELLO,
    bearer,
    connected,
    inside,
    open_session,
    patient,
    post,
)

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings, SignIn
from meigen_mcp.transports import auth, http, sign_in
from meigen_mcp.transports.auth import CannotServe, access_for
from meigen_mcp.transports.issuer_keys import PAUSE, Keys, ProviderAway
from meigen_mcp.transports.sign_in import Verifier

SECRET = "correct-horse-battery-staple"
METADATA = "/.well-known/oauth-protected-resource/mcp"


def where(issuer: Issuer, folder: Path, **more: str) -> Settings:
    """Return the settings of a server to which people sign in by an issuer."""
    oauth = {"MEIGEN_OAUTH_ISSUER": issuer.url, "MEIGEN_OAUTH_RESOURCE": RESOURCE}
    return make_settings(folder, **oauth, **more)


def how(issuer: Issuer, **more: str) -> SignIn:
    """Return how people sign in by an issuer."""
    found = where(issuer, Path("/nowhere"), **more).sign_in
    assert found is not None
    return found


@dataclass
class Team:
    """A server with its issuer, and a client without a token."""

    issuer: Issuer
    client: httpx.AsyncClient
    origin: str

    async def tools(self, token: str | None, mode: Mode = "auto") -> httpx.Response:
        """Ask for something, with a token; a session of 2025 begins with being let in."""
        method, params = ("tools/list", {}) if mode == "auto" else ("initialize", HELLO)
        return await post(self.client, mode, method, params, **bearer(token))


@asynccontextmanager
async def team(folder: Path, emulator: Emulator, **more: str) -> AsyncIterator[Team]:
    """Serve to people who sign in."""
    async with (
        serving() as issuer,
        inside(where(issuer, folder, **more), emulator) as (origin, _),
        patient(origin) as client,
    ):
        yield Team(issuer, client, origin)


# --- whose token it is --------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_who_brings_no_token_is_told_where_to_sign_in(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """The refusal names the metadata, which name the issuer byte by byte."""
    async with team(tmp_path, emulator, MEIGEN_OAUTH_SCOPES="meigen") as on:
        refused = await on.tools(None, mode)
        told = await on.client.get(METADATA)
        assert (await on.tools(on.issuer.token(scope="meigen"), mode)).status_code == 200
    assert refused.status_code == 401
    named = f'resource_metadata="https://pictures.example{METADATA}"'
    assert named in refused.headers["www-authenticate"]
    assert told.json() == {
        "resource": RESOURCE,
        "authorization_servers": [on.issuer.url],
        "scopes_supported": ["meigen"],
        "bearer_methods_supported": ["header"],
    }


async def test_a_token_without_the_scope_is_not_enough(tmp_path: Path, emulator: Emulator) -> None:
    """It is somebody's, so no other is asked for: 403."""
    async with team(tmp_path, emulator, MEIGEN_OAUTH_SCOPES="meigen") as on:
        refused = await on.tools(on.issuer.token(scope="openid"))
    assert refused.status_code == 403
    assert 'error="insufficient_scope"' in refused.headers["www-authenticate"]


@asynccontextmanager
async def keys_of(
    issuer: Issuer, settings: SignIn, monotonic: Callable[[], float] = time.monotonic
) -> AsyncIterator[Keys]:
    """Fetch the keys of an issuer in memory."""
    keys = Keys(settings, httpx.ASGITransport(issuer), monotonic)
    async with anyio.create_task_group() as group:
        group.start_soon(keys.run)
        yield keys
        group.cancel_scope.cancel()


def other_key(issuer: Issuer) -> str:
    """Return a token that somebody else signed and calls the issuer's."""
    return Issuer(issuer.url).token()


def with_public_secret(issuer: Issuer) -> str:
    """Return a token whose secret the issuer publishes, as none should."""
    issuer.also.append({"kty": "oct", "kid": "shared", "k": "eHh4" * 11})
    return jwt.encode(issuer.claims(), "x" * 33, "HS256", {"kid": "shared"})


NOT_TAKEN: dict[str, Callable[[Issuer], str]] = {
    "for another server": lambda i: i.token(aud="https://other.example/mcp"),
    "for nobody": lambda i: i.token(aud=None),
    "with a slash more": lambda i: i.token(aud=f"{RESOURCE}/"),
    "of another issuer": lambda i: i.token(iss="https://id.example"),
    "of the issuer with a slash": lambda i: i.token(iss=f"{i.url}/"),
    "of nobody": lambda i: i.token(sub=None),
    "of an empty name": lambda i: i.token(sub=""),
    "of a number": lambda i: i.token(sub=5),
    "without an end": lambda i: i.token(exp=None),
    "ended": lambda i: i.token(exp=int(time.time()) - 100),
    "not begun": lambda i: i.token(nbf=int(time.time()) + 100),
    "of the future": lambda i: i.token(iat=int(time.time()) + 100),
    "signed by another": other_key,
    "signed with a shared secret": with_public_secret,
    "signed by nobody": lambda i: jwt.encode(i.claims(), "", "none", {"kid": "first"}),
    "with a critical header": lambda i: jwt.encode(
        i.claims(), i.keys["first"], "ES256", {"kid": "first", "crit": ["b64"], "b64": False}
    ),
    "no token": lambda _: "letmein",
    "three dots": lambda _: "a.b.c",
    "letters of elsewhere": lambda _: "ü.ü.ü",
    "longer than any": lambda i: i.token(more="x" * 20_000),
}


@pytest.mark.parametrize("made", NOT_TAKEN.values(), ids=NOT_TAKEN.keys())
async def test_a_token_that_is_not_for_us_is_not_taken(made: Callable[[Issuer], str]) -> None:
    """Whatever is wrong with it."""
    issuer = Issuer()
    async with keys_of(issuer, how(issuer)) as keys:
        assert await Verifier(how(issuer), keys, None, "").verify_token(made(issuer)) is None


TAKEN: dict[str, Callable[[Issuer], str]] = {
    "plain": lambda i: i.token(),
    "for us among others": lambda i: i.token(aud=["https://other.example", RESOURCE]),
    "ended just now": lambda i: i.token(exp=int(time.time()) - 10),
    "of a clock that is ahead": lambda i: i.token(iat=int(time.time()) + 20),
    "without a key's name": lambda i: jwt.encode(i.claims(), i.keys["first"], "ES256"),
}


@pytest.mark.parametrize("made", TAKEN.values(), ids=TAKEN.keys())
async def test_a_good_token_is_a_person(made: Callable[[Issuer], str]) -> None:
    """Issuer and subject together; the end that the SDK compares has the leeway in it."""
    issuer = Issuer()
    async with keys_of(issuer, how(issuer)) as keys:
        found = await Verifier(how(issuer), keys, None, "").verify_token(made(issuer))
    assert found is not None
    assert (found.claims or {})["iss"] == issuer.url
    assert (found.subject, found.client_id, found.resource) == ("ann", "chat", RESOURCE)
    assert found.expires_at is not None
    assert found.expires_at >= time.time()
    assert found.token == ""  # so nothing behind can show it


async def test_what_providers_call_things_is_a_setting() -> None:
    """Audiences, the claims of scopes and of a name."""
    issuer = Issuer()
    settings = how(
        issuer,
        MEIGEN_OAUTH_AUDIENCES="6f1c-guid, api://meigen",
        MEIGEN_OAUTH_SCOPE_CLAIMS="roles,scp",
        MEIGEN_OAUTH_NAME_CLAIMS="upn",
        MEIGEN_OAUTH_KEYS_URL=issuer.key_url,
    )
    async with keys_of(issuer, settings) as keys:
        token = issuer.token(aud="api://meigen", scp=["a", "b"], upn="Ann", client_id=None, cid="c")
        found = await Verifier(settings, keys, None, "").verify_token(token)
    assert found is not None
    assert (found.scopes, found.client_id) == (["a", "b"], "c")
    assert found.claims == {"iss": issuer.url, "name": "Ann"}
    assert issuer.asked == ["/tenant/keys"]


async def test_scripts_have_a_token_and_are_a_person_of_their_own(
    tmp_path: Path, emulator: Emulator
) -> None:
    """It has a name, and is no subject of the issuer's; a wrong one is nobody's."""
    async with team(tmp_path, emulator, MEIGEN_HTTP_TOKEN=SECRET) as on:
        assert (await on.tools(SECRET)).status_code == 200
        assert (await on.tools(f"{SECRET}x")).status_code == 401
    verifier = Verifier(how(Issuer()), Keys(how(Issuer())), SECRET, "night shift")
    found = await verifier.verify_token(SECRET)
    assert found is not None
    assert (found.subject, found.claims) == (
        "night shift",
        {"iss": sign_in.STATIC, "name": "night shift"},
    )


# --- the issuer's keys --------------------------------------------------------------------------


class Clock:
    """A clock that a test sets."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


async def test_a_new_key_is_fetched_when_a_token_names_it() -> None:
    """Once in some seconds, whatever tokens name; the key before stays good."""
    issuer, clock = Issuer(), Clock()
    async with keys_of(issuer, how(issuer), clock) as keys:
        verifier = Verifier(how(issuer), keys, None, "")
        old = issuer.token()
        assert await verifier.verify_token(old)
        issuer.rotate("second")
        new, fetched = issuer.token(), len(issuer.asked)
        for number in range(20):
            issuer.keys["unknown"] = issuer.keys["second"]
            assert await keys.find(f"unknown {number}") is None
        assert await verifier.verify_token(new) is None
        assert len(issuer.asked) == fetched
        clock.now += PAUSE
        assert await verifier.verify_token(new)
        assert await verifier.verify_token(old)
        assert len(issuer.asked) == fetched + 1


async def test_keys_stay_good_while_the_issuer_is_away() -> None:
    """And of a token with another key nobody says that it is bad."""
    issuer, clock = Issuer(), Clock()
    async with keys_of(issuer, how(issuer), clock) as keys:
        verifier = Verifier(how(issuer), keys, None, "")
        assert await verifier.verify_token(issuer.token())
        issuer.away = True
        issuer.rotate("second")
        clock.now += PAUSE
        with pytest.raises(ProviderAway):
            await verifier.verify_token(issuer.token())
        assert await verifier.verify_token(issuer.token("first"))
        issuer.away = False
        clock.now += PAUSE
        assert await verifier.verify_token(issuer.token())


async def test_an_issuer_of_another_name_is_none() -> None:
    """Else whoever serves that address would say whose token is good."""
    issuer = Issuer()
    settings = how(issuer)
    issuer.url += "/"
    async with keys_of(issuer, settings) as keys:
        with pytest.raises(ProviderAway):
            await keys.find("first")


class Careless(Issuer):
    """Says that its keys come by a way that anybody may change."""

    @property
    def key_url(self) -> str:
        """Where its keys are."""
        return "http://id.example/keys"


async def test_keys_come_by_no_open_way() -> None:
    """Else whoever sits in between would say whose token is good."""
    issuer = Careless()
    async with keys_of(issuer, how(issuer)) as keys:
        with pytest.raises(ProviderAway):
            await keys.find("first")
    assert issuer.asked == ["/tenant/.well-known/openid-configuration"]


async def test_many_wait_for_one_fetch_and_nobody_else_does(
    tmp_path: Path, emulator: Emulator
) -> None:
    """The loop goes on while the issuer takes its time."""
    async with serving() as issuer:
        issuer.open = anyio.Event()
        settings = where(issuer, tmp_path)
        async with inside(settings, emulator) as (origin, _), patient(origin) as client:
            answers: list[int] = []

            async def ask() -> None:
                answer = await post(client, "auto", "tools/list", {}, **bearer(issuer.token()))
                answers.append(answer.status_code)

            async with anyio.create_task_group() as group:
                for _ in range(6):
                    group.start_soon(ask)
                assert (await client.get(http.HEALTH)).status_code == 200
                assert (await client.get(METADATA)).status_code == 200
                assert answers == []
                issuer.open.set()
        assert answers == [200] * 6
        assert issuer.asked == ["/.well-known/openid-configuration", "/keys"]


@pytest.mark.parametrize("mode", MODES)
async def test_while_the_issuer_is_away_no_token_is_called_bad(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """A client would throw it away; so 503, and when to come again. The rest goes on."""
    async with serving() as issuer:
        issuer.away = True
        settings = where(issuer, tmp_path, MEIGEN_HTTP_TOKEN=SECRET)
        async with inside(settings, emulator) as (origin, _), patient(origin) as client:
            on = Team(issuer, client, origin)
            away = await on.tools(issuer.token(), mode)
            for path in (METADATA, http.HEALTH, http.READINESS):
                assert (await client.get(path, headers=bearer(issuer.token()))).status_code == 200
            assert (await on.tools(SECRET, mode)).status_code == 200
            assert (await on.tools("letmein", mode)).status_code == 401
            assert (await on.tools(None, mode)).status_code == 401
    assert (away.status_code, away.headers["retry-after"]) == (503, "5")
    assert "www-authenticate" not in away.headers
    assert away.text == (
        "Who you are cannot be checked now, since the identity provider does not answer. Nothing"
        " was sent or charged. Your token may be good: keep it, and send the same again.\n"
    )


# --- streams ------------------------------------------------------------------------------------


async def test_a_stream_ends_with_its_token(tmp_path: Path, emulator: Emulator) -> None:
    """With its last word, so that the client opens another; and not before."""
    async with team(tmp_path, emulator, MEIGEN_OAUTH_LEEWAY="0") as on:
        ends = int(time.time()) + 2
        token = on.issuer.token(exp=ends)
        async with (
            connected(f"{on.origin}{http.PATH}", "auto", token) as client,
            client.listen(resources_list_changed=True) as events,
        ):
            with anyio.fail_after(20):
                heard = [event async for event in events]
        assert heard == []
        assert time.time() >= ends


async def test_a_stream_of_a_session_ends_with_its_token(
    tmp_path: Path, emulator: Emulator
) -> None:
    """As HTTP ends one; the session itself is there for whoever brings a fresh token."""
    async with team(tmp_path, emulator, MEIGEN_OAUTH_LEEWAY="0") as on:
        ends = int(time.time()) + 2
        on.client.headers.update(bearer(on.issuer.token()))
        named = await open_session(on.client)
        brief = {**ACCEPT, **named, **bearer(on.issuer.token(exp=ends))}
        with anyio.fail_after(20):
            async with on.client.stream("GET", http.PATH, headers=brief) as stream:
                assert stream.status_code == 200
                async for _ in stream.aiter_bytes():
                    assert time.time() < ends + 10
        assert time.time() >= ends
        again = await post(on.client, "legacy", "tools/list", {}, **named)
        assert again.status_code == 200


async def test_a_session_is_its_persons_alone(tmp_path: Path, emulator: Emulator) -> None:
    """Somebody else's is not found, whatever they know of it."""
    async with team(tmp_path, emulator) as on:
        on.client.headers.update(bearer(on.issuer.token()))
        named = await open_session(on.client)
        on.client.headers.update(bearer(on.issuer.token(sub="bob")))
        assert (await post(on.client, "legacy", "tools/list", {}, **named)).status_code == 404


# --- at the start -------------------------------------------------------------------------------


def test_where_people_sign_in_no_token_is_made(tmp_path: Path) -> None:
    """Nobody would know whose it is; and every request counts as one from elsewhere."""
    access = access_for(where(Issuer(), tmp_path), "127.0.0.1")
    assert access.token is None
    assert access.discreet
    assert "pictures.example" in access.names
    assert not (tmp_path / "data" / auth.KEPT_IN).exists()


@pytest.mark.parametrize(
    ("variables", "named"),
    [
        ({"MEIGEN_OAUTH_ISSUER": "https://id.example"}, "MEIGEN_OAUTH_RESOURCE"),
        ({"MEIGEN_OAUTH_RESOURCE": RESOURCE}, "MEIGEN_OAUTH_ISSUER"),
        ({"MEIGEN_OAUTH_AUDIENCES": "x"}, "MEIGEN_OAUTH_ISSUER"),
        (
            {"MEIGEN_OAUTH_ISSUER": "http://id.example", "MEIGEN_OAUTH_RESOURCE": RESOURCE},
            "MEIGEN_OAUTH_ISSUER",
        ),
        (
            {
                "MEIGEN_OAUTH_ISSUER": "https://id.example",
                "MEIGEN_OAUTH_RESOURCE": RESOURCE,
                "MEIGEN_HTTP_TOKEN": "x" * (auth.LEAST_TOKEN - 1),
            },
            "MEIGEN_HTTP_TOKEN",
        ),
    ],
)
def test_half_a_sign_in_opens_no_door(
    variables: dict[str, str], named: str, tmp_path: Path
) -> None:
    """Nor does one beside a token that can be guessed; also on this computer."""
    with pytest.raises(CannotServe, match=named):
        access_for(make_settings(tmp_path, **variables), "127.0.0.1")


def test_people_who_sign_in_are_not_to_be_let_in_without(tmp_path: Path) -> None:
    """Two wishes that exclude each other."""
    with pytest.raises(CannotServe, match="MEIGEN_OAUTH_ISSUER"):
        access_for(where(Issuer(), tmp_path), "127.0.0.1", no_token=True)
