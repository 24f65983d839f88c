"""The client against the recorded exchanges, and against all else that a network can answer."""

import gzip
import json
import socket
import threading
import time
import zlib
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from decimal import Decimal
from email.utils import formatdate
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
import pytest
from anyio.lowlevel import checkpoint
from hypothesis import example, given, settings
from hypothesis import strategies as st
from support.in_memory import ORIGIN, TOKEN, make_settings

from meigen_mcp import errors
from meigen_mcp.api import client as wire
from meigen_mcp.api import replies
from meigen_mcp.api.body import LARGEST_REPLY
from meigen_mcp.api.client import Api
from meigen_mcp.api.packing import PIECE
from meigen_mcp.api.replies import CODES, LONGEST_RETRY_AFTER
from meigen_mcp.reports import Balance, Report

WIRE = {file.stem: file for file in (Path(__file__).parents[1] / "wire").glob("*.json")}
GENERATION = "0c5c7fd0-a6a3-4450-a513-270e269e0d37"
REQUEST = "0f8fad5b-d9cb-469f-a165-70867728950e"
BODY = '{"prompt": "ein roter Würfel 🟥", "idempotencyKey": "0f8fad5b"}'
IMAGE = "https://images.meigen.ai/generations/fox.png"

UNHURRIED = settings(deadline=None)
SETTINGS = make_settings(Path())

Answer = Callable[[httpx.Request], httpx.Response]
Outcome = Report | errors.ApiError


def api_on(answer: Answer, **variables: str) -> Api:
    """Return a client whose network is a function."""
    configured = make_settings(Path(), **variables) if variables else SETTINGS
    return Api(configured, httpx.MockTransport(answer))


def saying(body: Any, status: int = 200, headers: dict[str, str] | None = None) -> Api:
    """Return a client of an API that always answers the same; what is not text is sent as JSON."""
    raw = body if isinstance(body, bytes | str) else json.dumps(body)
    return api_on(lambda _: httpx.Response(status, headers=headers, content=raw))


async def outcome(api: Api, route: str = "status") -> Outcome:
    """Ask on one route and return the report or the error."""
    try:
        match route:
            case "submit":
                return await api.submit(BODY)
            case "lookup":
                return await api.lookup(REQUEST)
            case _:
                return await api.status(GENERATION)
    except errors.ApiError as error:
        return error


def plain(found: Outcome) -> object:
    """Return what two equal outcomes have in common: errors do not compare."""
    if isinstance(found, Report):
        return found
    return type(found), found.message, found.retry_after


def recorded(name: str) -> dict[str, Any]:
    """Read an exchange."""
    exchange: dict[str, Any] = json.loads(WIRE[name].read_text(encoding="utf-8"))
    return exchange


# --- the recorded exchanges -------------------------------------------------------------------

SAVED = f"{ORIGIN}/media/{GENERATION}"
PURCHASED = {
    left: Balance(Decimal(0), Decimal(left), unlimited=False) for left in (860, 985, 995, 1000)
}
RUNNING = Report(
    "processing",
    GENERATION,
    "image",
    "gpt-image-2",
    credits_used=Decimal(5),
    credits_status="charged",
    observed_seconds=2390.0,
    expected_seconds=50.4,
)
ACCEPTED = replace(RUNNING, balance=PURCHASED[995], observed_seconds=2400.0)
MIDJOURNEY = replace(
    ACCEPTED, model_id="midjourney-v8.1", credits_used=Decimal(15), balance=PURCHASED[985]
)
DONE = replace(
    RUNNING,
    status="completed",
    media_urls=(f"{SAVED}.png",),
    aspect_ratio="1:1",
    observed_seconds=None,
)
FAILED = replace(
    RUNNING,
    status="failed",
    credits_status="refunded",
    error="The provider could not make this image",
    failure_code="provider_error",
    observed_seconds=None,
)
DOCUMENTED = Report("processing", GENERATION, "image", aspect_ratio="16:9")
FREE = "Nothing was charged."
NOT_JSON = "MeiGen's reply was not the documented JSON (HTTP {})."
BAD_TOKEN = errors.Unauthorized(f"MeiGen does not accept the token in MEIGEN_API_TOKEN. {FREE}")
GONE = errors.GenerationGone(
    "MeiGen has deleted the record of this generation; what it cost is not known."
)
TAKING_IN = "MeiGen is still taking the submission in."
HELD = "MeiGen holds this requestId for something else."


def refused(words: str) -> errors.InvalidRequest:
    """Return the error of a refused request."""
    return errors.InvalidRequest(f"MeiGen refused the request: {words}. {FREE}")


def said(name: str) -> str:
    """Return the API's words in an exchange, for those that its rules phrase."""
    return str(recorded(name)["response"]["body"]["error"])


def too_poor(need: int) -> errors.InsufficientCredits:
    """Return the error of an account with 3 credits."""
    return errors.InsufficientCredits(
        f"The purchased credits are not enough ({need} needed, 3 there). Daily free credits do not"
        f" count through an API token. {FREE}"
    )


EXPECTED: dict[str, Outcome] = {
    "accepted-2026-05": Report(
        "processing",
        GENERATION,
        model_id="nanobanana-2",
        credits_used=Decimal(5),
        balance=PURCHASED[995],
    ),
    "accepted-continuation": replace(
        ACCEPTED,
        media_type="video",
        model_id="seedance-2-0",
        credits_used=Decimal(140),
        balance=PURCHASED[860],
        expected_seconds=222.0,
    ),
    "accepted-deduped-completed": replace(
        DONE,
        model_id="nanobanana-2",
        aspect_ratio="16:9",
        balance=PURCHASED[995],
        expected_seconds=42.56,
    ),
    "accepted-deduped-failed": replace(FAILED, balance=PURCHASED[1000]),
    "accepted-deduped": replace(
        RUNNING, model_id="nanobanana-2", balance=PURCHASED[995], expected_seconds=42.56
    ),
    "accepted-default-model": ACCEPTED,
    "accepted-empty": errors.UnreadableReply(NOT_JSON.format(200)),
    "accepted-image": replace(ACCEPTED, model_id="nanobanana-2", expected_seconds=42.56),
    "accepted-legacy-model": MIDJOURNEY,
    "accepted-midjourney": MIDJOURNEY,
    "accepted-without-id": errors.UnreadableReply("MeiGen's answer to the submission lacks an id."),
    "refused-400-arguments": refused(said("refused-400-arguments")),
    "refused-400-documented": refused("Invalid parameters"),
    "refused-400-key": refused("idempotencyKey must be a UUID"),
    "refused-400-model": refused('Model "gpt-image-3" is invalid'),
    "refused-400-moderation": errors.ModerationRefused(
        f"MeiGen's content filter refused it: Your prompt was flagged by our safety policy. {FREE}"
    ),
    "refused-400-not-json": refused("The body is not JSON"),
    "refused-400-ratio": refused(said("refused-400-ratio")),
    "refused-400-retired-model": refused('Model "rhart-1.5" is inactive'),
    "refused-401-no-token": BAD_TOKEN,
    "refused-401-revoked-token": BAD_TOKEN,
    "refused-402": too_poor(5),
    "refused-403": errors.Forbidden(
        f"MeiGen does not allow this for the account: This account may not use the API. {FREE}"
    ),
    "refused-409-collision": errors.RequestIdCollision(HELD),
    "refused-409-conflict": errors.IdempotencyConflict(HELD),
    "refused-409-in-progress": errors.InProgress(TAKING_IN, retry_after=7.0),
    "refused-409-lease-expired": errors.InProgress(TAKING_IN, retry_after=0.0),
    "refused-410": GONE,
    "refused-429": errors.RateLimited(
        "MeiGen's limit of submissions a minute is used up.", retry_after=42.0
    ),
    "refused-500": errors.ServerError("MeiGen has a problem of its own: Internal server error."),
    "refused-502-html": errors.ServerError("MeiGen has a problem of its own (HTTP 502)."),
    "request-401": BAD_TOKEN,
    "request-402": too_poor(8),
    "request-404-2026-05": errors.UnreadableReply(NOT_JSON.format(404)),
    "request-404": errors.RequestNotFound("MeiGen has no generation for this request."),
    "request-409-in-progress": errors.InProgress(TAKING_IN, retry_after=7.0),
    "request-409-lease-expired": errors.InProgress(TAKING_IN, retry_after=0.0),
    "request-410": GONE,
    "request-502-html": errors.ServerError("MeiGen has a problem of its own (HTTP 502)."),
    "request-completed": DONE,
    "request-processing": RUNNING,
    "status-401": BAD_TOKEN,
    "status-404-other-account": errors.JobNotFound("MeiGen does not know this generation."),
    "status-404": errors.JobNotFound("MeiGen does not know this generation."),
    "status-410-without-code": GONE,
    "status-410": GONE,
    "status-429-busy": errors.StatusBusy("MeiGen cannot say right now how it stands."),
    "status-completed-image-2026-05": replace(
        DOCUMENTED, status="completed", media_urls=(f"{SAVED}.png",), aspect_ratio="1:1"
    ),
    "status-completed-image": DONE,
    "status-completed-midjourney": replace(
        DONE,
        model_id="midjourney-v8.1",
        media_urls=tuple(f"{SAVED}-{number}.png" for number in (1, 2, 3, 4)),
        aspect_ratio="16:9",
        credits_used=Decimal(15),
    ),
    "status-completed-video-2026-05": replace(
        DOCUMENTED,
        status="completed",
        media_type="video",
        media_urls=(f"{SAVED}.mp4",),
        aspect_ratio="9:16",
    ),
    "status-completed-video": replace(
        DONE,
        media_type="video",
        model_id="veo-3.1",
        media_urls=(f"{SAVED}.mp4",),
        aspect_ratio="9:16",
        credits_used=Decimal(15),
        expected_seconds=384.0,
    ),
    "status-completed-without-urls": replace(DOCUMENTED, status="completed", aspect_ratio="1:1"),
    "status-failed-2026-05": replace(
        DOCUMENTED,
        status="failed",
        error="The provider could not make this image",
        aspect_ratio=None,
    ),
    "status-failed-refunded": FAILED,
    "status-pending": replace(DOCUMENTED, status="pending", aspect_ratio=None),
    "status-processing-2026-05": DOCUMENTED,
    "status-processing-without-token": replace(
        RUNNING, model_id="nanobanana-2", aspect_ratio="16:9", expected_seconds=42.56
    ),
    "status-processing": RUNNING,
    "status-stalled": replace(RUNNING, observed_seconds=-60.0),
    "status-success-false": errors.ServerError(
        "MeiGen has a problem of its own: Something went wrong."
    ),
}
MODELS = {"models-2026-05", "models-2026-09", "models-2026-11"}
UPLOADS = {"presign", "presign-400", "presign-refused"}  # see test_upload.py


def replaying(name: str) -> Api:
    """Return a client that gets a recorded response."""
    response = recorded(name)["response"]
    return saying(response["body"], response["status"], response["headers"])


def test_every_recorded_exchange_has_an_expectation() -> None:
    """A new file without one fails here."""
    assert EXPECTED.keys() | MODELS | UPLOADS == WIRE.keys()


@pytest.mark.parametrize("name", EXPECTED)
async def test_a_recorded_exchange_becomes_its_report_or_its_error(name: str) -> None:
    """All fields, or class, sentence and waiting time."""
    route = {"request": "lookup", "status": "status"}.get(name.partition("-")[0], "submit")
    assert plain(await outcome(replaying(name), route)) == plain(EXPECTED[name])


@pytest.mark.parametrize("name", sorted(MODELS))
async def test_the_list_of_models_is_handed_on_as_it_came(name: str) -> None:
    """What is in it is for the catalogue to judge."""
    assert await replaying(name).models() == recorded(name)["response"]["body"]


@pytest.mark.parametrize(
    ("status", "code", "told"),
    [
        ("failed", "invalid_request", "video_edit_duration"),
        ("failed", "provider_error", None),
        ("failed", None, None),
        ("processing", "invalid_request", None),
    ],
)
def test_a_detail_means_something_only_where_the_request_was_wrong(
    status: str, code: str | None, told: str | None
) -> None:
    """So the release notes of MeiGen's own client say."""
    said = {"status": status, "failureCode": code, "failureDetail": "video_edit_duration"}
    assert replies.report(said, lambda _: True).failure_detail == told


# --- errors -----------------------------------------------------------------------------------


def test_every_code_of_the_api_has_one_class_and_is_that_class_s_code() -> None:
    """The table of the documents; the exchanges hold all of them."""
    seen = set()
    for name in EXPECTED:
        body = recorded(name)["response"]["body"]
        seen.add(body.get("code") if isinstance(body, dict) else None)
    assert seen - {None} == CODES.keys()
    assert {code: kind.code for code, kind in CODES.items()} == {code: code for code in CODES}


@pytest.mark.parametrize("status", [200, 400, 404, 409, 410, 500])
@pytest.mark.parametrize(("code", "kind"), CODES.items())
async def test_a_known_code_says_more_than_the_status(
    code: str, kind: type[errors.ApiError], status: int
) -> None:
    """Only the rate limit goes by its status."""
    found = await outcome(saying({"success": False, "code": code, "error": "No"}, status))
    assert type(found) is kind


@pytest.mark.parametrize("code", CODES)
async def test_the_rate_limit_goes_by_its_status(code: str) -> None:
    """Only a status that cannot be read right now has the same."""
    found = await outcome(saying({"code": code, "error": "No"}, 429))
    assert type(found) is (errors.StatusBusy if code == "status_query_busy" else errors.RateLimited)


@pytest.mark.parametrize(
    ("status", "submit", "lookup", "look"),
    [
        (302, errors.ServerError, errors.ServerError, errors.ServerError),
        (400, errors.InvalidRequest, errors.InvalidRequest, errors.InvalidRequest),
        (401, errors.Unauthorized, errors.Unauthorized, errors.Unauthorized),
        (402, errors.InsufficientCredits, errors.InsufficientCredits, errors.InsufficientCredits),
        (403, errors.Forbidden, errors.Forbidden, errors.Forbidden),
        (404, errors.JobNotFound, errors.UnreadableReply, errors.JobNotFound),
        (408, errors.ServerError, errors.ServerError, errors.ServerError),
        (409, errors.InProgress, errors.InProgress, errors.InProgress),
        (410, errors.GenerationGone, errors.GenerationGone, errors.GenerationGone),
        (422, errors.InvalidRequest, errors.InvalidRequest, errors.InvalidRequest),
        (429, errors.RateLimited, errors.RateLimited, errors.RateLimited),
        (500, errors.ServerError, errors.ServerError, errors.ServerError),
        (503, errors.ServerError, errors.ServerError, errors.ServerError),
    ],
)
async def test_a_status_without_a_known_code_has_its_class(
    status: int,
    submit: type[errors.ApiError],
    lookup: type[errors.ApiError],
    look: type[errors.ApiError],
) -> None:
    """A 404 on the look-up route that is not the documented one proves nothing."""
    api = saying({"error": "No", "code": "something_new"}, status)
    found = [type(await outcome(api, route)) for route in ("submit", "lookup", "status")]
    assert found == [submit, lookup, look]


@pytest.mark.parametrize("status", [200, 302, 400, 402, 403, 404, 409, 410, 500, 502, 503])
@pytest.mark.parametrize("route", ["submit", "lookup", "status"])
async def test_a_page_of_somebody_in_between_proves_nothing(route: str, status: int) -> None:
    """Neither a refusal nor that a record is gone; one in the API's place has no such route."""
    found = await outcome(saying("<html>nginx</html>", status), route)
    in_its_place = status in (200, 404)
    assert type(found) is (errors.UnreadableReply if in_its_place else errors.ServerError)


@pytest.mark.parametrize(
    ("words", "kind"),
    [
        ("Blocked by Policy", errors.ModerationRefused),
        ("flagged", errors.ModerationRefused),
        ({"message": "prohibited"}, errors.ModerationRefused),
        ("The content type is wrong", errors.InvalidRequest),
        ("policyholder", errors.InvalidRequest),
        (None, errors.InvalidRequest),
    ],
)
async def test_moderation_is_told_by_its_words(words: Any, kind: type[errors.ApiError]) -> None:
    """There is no code for it."""
    assert type(await outcome(saying({"error": words}, 400))) is kind


@pytest.mark.parametrize(
    ("said", "shown"),
    [
        ("No.", ": No. "),
        ("a\nb\x1b[31m\u202ec", ": a b [31mc. "),
        ({"message": "No"}, ": No. "),
        ({"text": "No"}, " (HTTP 400). "),
        (["No"], " (HTTP 400). "),
        ("x" * 600, f": {'x' * 499}…. "),
        ("", " (HTTP 400). "),
        ("cut \ud83d", ": cut ?. "),
    ],
)
async def test_the_words_of_an_error_are_short_and_on_one_line(said: Any, shown: str) -> None:
    """Nothing in them moves a cursor, and half an emoji can be stored."""
    found = await outcome(saying({"error": said}, 400))
    assert plain(found) == (errors.InvalidRequest, f"MeiGen refused the request{shown}{FREE}", None)


def _kinds(kind: type[Exception]) -> Iterator[type[Exception]]:
    yield kind
    for below in kind.__subclasses__():
        if below.__module__ == "httpx":
            yield from _kinds(below)


HTTPX = [
    kind for base in (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError) for kind in _kinds(base)
]


def broken(kind: type[Exception]) -> Exception:
    """Return an exception of a library, with a text that must not come through."""
    error = kind.__new__(kind)
    error.args = (f"errno 104 {TOKEN}",)
    return error


@pytest.mark.parametrize("route", ["submit", "lookup", "status"])
@pytest.mark.parametrize("kind", [*HTTPX, TimeoutError])
async def test_every_failure_of_the_network_is_unreachable_and_says_whether_it_was_sent(
    kind: type[Exception], route: str
) -> None:
    """Only a connection that could not be made proves that nothing was sent."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise broken(kind)

    found = await outcome(api_on(answer), route)
    assert isinstance(found, errors.Unreachable)
    assert found.sent is (
        kind not in (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError)
    )
    assert found.message in {
        "MeiGen could not be reached; nothing was sent.",
        "MeiGen did not answer in time.",
        "The connection to MeiGen was lost.",
    }
    assert (found.__cause__, found.__suppress_context__) == (None, True)


BAD_BODIES = {
    "damaged": ({"content-encoding": "gzip"}, gzip.compress(b"{}")[:10] + b"\xff" * 20),
    "too large": ({}, b" " * (LARGEST_REPLY + 1)),
}


@pytest.mark.parametrize("body", BAD_BODIES)
@pytest.mark.parametrize("route", ["submit", "lookup", "status"])
@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (500, errors.ServerError),
        (502, errors.ServerError),
        (503, errors.ServerError),
        (429, errors.RateLimited),
        (401, errors.Unauthorized),
        (200, errors.UnreadableReply),
        (404, errors.UnreadableReply),
    ],
)
async def test_a_failure_whose_body_cannot_be_read_is_that_failure(
    status: int, kind: type[errors.ApiError], route: str, body: str
) -> None:
    """Whoever could not be asked has said nothing of keys; where the answer belongs it counts."""
    headers, content = BAD_BODIES[body]

    def answer(_: httpx.Request) -> httpx.Response:
        stream = httpx.ByteStream(content)  # else httpx unpacks it here
        return httpx.Response(status, headers=headers, stream=stream)

    assert type(await outcome(api_on(answer), route)) is kind


async def test_a_reply_that_came_while_the_process_was_stopped_is_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A lid that closes between the POST and its reply: both are there at once afterwards."""
    monkeypatch.setattr(wire, "POST_SECONDS", 0.3)
    monkeypatch.setattr(wire, "CONNECT_SECONDS", 0.3)
    asked, go, replied = threading.Event(), threading.Event(), threading.Event()
    said = json.dumps({"success": True, "generationId": GENERATION, "status": "processing"})

    def serve(listener: socket.socket) -> None:
        connection, _ = listener.accept()
        with connection:
            while not connection.recv(65536).endswith(BODY.encode()):
                pass
            asked.set()
            go.wait(20)
            head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(said)}\r\n\r\n"
            connection.sendall(f"{head}{said}".encode())
            replied.set()
            connection.recv(1)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        server = threading.Thread(target=serve, args=(listener,), daemon=True)
        server.start()
        origin = f"http://127.0.0.1:{listener.getsockname()[1]}"
        api = Api(make_settings(Path(), MEIGEN_BASE_URL=origin))
        found: list[Report] = []
        async with anyio.create_task_group() as group:

            async def submit() -> None:
                found.append(await api.submit(BODY))

            group.start_soon(submit)
            with anyio.fail_after(20):
                await anyio.to_thread.run_sync(asked.wait)
            over = time.monotonic() + 0.7
            go.set()
            replied.wait(20)  # nothing runs on the loop meanwhile
            while time.monotonic() < over:
                pass
        await api.close()
        server.join(20)
    assert [report.generation_id for report in found] == [GENERATION]


@pytest.mark.parametrize("kind", HTTPX)
async def test_a_reply_that_breaks_off_is_unreachable(kind: type[Exception]) -> None:
    """Its first half counts for nothing."""

    async def half() -> AsyncIterator[bytes]:
        yield b'{"success": true,'
        raise broken(kind)

    found = await outcome(api_on(lambda _: httpx.Response(200, content=half())), "submit")
    assert isinstance(found, errors.Unreachable)


async def test_a_reply_that_never_ends_is_unreachable(monkeypatch: pytest.MonkeyPatch) -> None:
    """Each byte in time is not enough: the whole exchange has a limit."""
    monkeypatch.setattr(wire, "POST_SECONDS", 0.0)
    monkeypatch.setattr(wire, "CONNECT_SECONDS", 0.01)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await checkpoint()

    found = await outcome(api_on(lambda _: httpx.Response(200, content=drip())), "submit")
    assert plain(found) == (errors.Unreachable, "MeiGen did not answer in time.", None)


@pytest.mark.parametrize(
    ("variable", "value"), [("ALL_PROXY", "gopher://10.0.0.1"), ("SSL_CERT_FILE", "/nowhere")]
)
async def test_a_proxy_or_a_certificate_that_cannot_be_used_is_named(
    variable: str, value: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server starts with it, and nothing was sent."""
    for name in ("HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv(variable, value)
    api = Api(make_settings(Path(), MEIGEN_BASE_URL="https://www.meigen.ai"))
    found = await outcome(api, "submit")
    await api.close()
    assert isinstance(found, errors.Unreachable)
    assert (found.sent, variable in found.message) == (False, True)


_IN_TWO_HOURS = [formatdate(time.time() + 7200, usegmt=gmt) for gmt in (True, False)]


@pytest.mark.parametrize(
    ("header", "body", "seconds"),
    [
        (None, None, None),
        ("7", None, 7.0),
        (None, 5, 5.0),
        ("7", 5, 7.0),
        ("5", 7, 7.0),
        ("1.5", None, 1.5),
        (None, 0, 0.0),
        ("0", None, 0.0),
        ("99999999", None, LONGEST_RETRY_AFTER),
        (None, 1e11, LONGEST_RETRY_AFTER),
        ("inf", None, LONGEST_RETRY_AFTER),
        ("-1", None, None),
        (None, -1, None),
        ("-1", 5, 5.0),
        ("nan", None, None),
        ("soon", None, None),
        ("", None, None),
        (None, "5", None),
        (None, True, None),
        ("Wed, 21 Oct 2015 07:28:00 GMT", None, None),
        pytest.param(_IN_TWO_HOURS[0], None, LONGEST_RETRY_AFTER, id="in two hours"),
        pytest.param(_IN_TWO_HOURS[1], None, LONGEST_RETRY_AFTER, id="in two hours, as -0000"),
        ("Mon, 01 Jan 99999 00:00:00 GMT", None, None),
        ("Mon, 01 Jan 2026 00:00:00 +99999999999999999", None, None),
        ("Mon, 01 Jan 2026 00:00:00 +2400", None, None),
    ],
)
async def test_the_longer_hint_says_when_to_ask_again(
    header: str | None, body: Any, seconds: float | None
) -> None:
    """Seconds or a date; up to the cap, and neither nonsense nor the past."""
    headers = {} if header is None else {"Retry-After": header}
    said = {"error": "No"} if body is None else {"error": "No", "retryAfterSeconds": body}
    found = await outcome(saying(said, 503, headers))
    assert plain(found) == (errors.ServerError, "MeiGen has a problem of its own: No.", seconds)


@UNHURRIED
@given(header=st.text(st.characters(min_codepoint=32, max_codepoint=126)))
async def test_any_header_leaves_the_hint_sane(header: str) -> None:
    """A number up to the cap, or none."""
    found = await outcome(saying({"error": "No"}, 503, {"Retry-After": header}))
    assert isinstance(found, errors.ServerError)
    assert found.retry_after is None or 0 <= found.retry_after <= LONGEST_RETRY_AFTER


# --- replies that are not as they should be ---------------------------------------------------


@pytest.mark.parametrize("status", [200, 500])
@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"<!DOCTYPE html><html></html>",
        b"null",
        b"[]",
        b'"processing"',
        b"1",
        b"{",
        b'{"status": "processing"',
        b'\xff\xfe{"status"',
        b'{"a":' * 10_000 + b"1" + b"}" * 10_000,
        b"[" * 10_000,
        b'{"creditsUsed": ' + b"9" * 5000 + b"}",
        b'{"prompt": "' + b"x" * LARGEST_REPLY + b'"}',
    ],
    ids=range(13),
)
async def test_a_reply_that_is_not_an_object_is_unreadable(raw: bytes, status: int) -> None:
    """Whatever its status; JSON that broke off is no page of who knows no keys."""
    found = [type(await outcome(saying(raw, status), r)) for r in ("submit", "status", "lookup")]
    said = errors.ServerError if status == 500 else errors.UnreadableReply
    broke_off = len(raw) < LARGEST_REPLY and raw[:1] in (b"", b"{")
    assert found == [said, said, errors.ServerError if broke_off else said]


async def test_a_small_reply_that_unpacks_to_a_huge_one_is_too_large() -> None:
    """The size that counts is the one in memory."""
    bomb = gzip.compress(b" " * (LARGEST_REPLY + 1))
    found = await outcome(saying(bomb, headers={"Content-Encoding": "gzip"}))
    assert plain(found) == (
        errors.UnreadableReply,
        "MeiGen's reply was too large to read.",
        None,
    )


@pytest.mark.parametrize(
    ("encoding", "status"),
    [("gzip", "processing"), ("GZIP", "processing"), ("identity", "processing")],
)
async def test_a_packed_reply_is_unpacked(encoding: str, status: str) -> None:
    """Gzip is what the client asks for."""
    raw = json.dumps({"status": status}).encode()
    packed = raw if encoding == "identity" else gzip.compress(raw)
    found = await outcome(saying(packed, headers={"Content-Encoding": encoding}))
    assert found == Report("processing", GENERATION)


LABELS = ["utf-8", "identity", "none", "", "deflate", "gzip", "gzip, gzip", "br", "zstd", "\xff"]


def labelled(raw: bytes, label: str, status: int = 200) -> Api:
    """Return a client of an API whose replies are labelled in some way."""

    def answer(_: httpx.Request) -> httpx.Response:
        response = httpx.Response(status, headers=[(b"content-encoding", label.encode("latin-1"))])
        response.stream = httpx.ByteStream(raw)
        return response

    return api_on(answer)


def deflated(raw: bytes, window: int) -> bytes:
    """Return bytes packed by zlib in some container."""
    engine = zlib.compressobj(wbits=window)
    return engine.compress(raw) + engine.flush()


SAID = json.dumps({"success": True, "status": "processing", "generationId": GENERATION}).encode()


@pytest.mark.parametrize("label", LABELS)
async def test_a_label_does_not_decide_over_what_can_be_read(label: str) -> None:
    """The reply to a submission holds the id of what was paid."""
    assert await outcome(labelled(SAID, label), "submit") == Report("processing", GENERATION)


@pytest.mark.parametrize("label", LABELS)
@pytest.mark.parametrize(
    "packed",
    [
        gzip.compress(SAID),
        gzip.compress(gzip.compress(SAID)),
        gzip.compress(SAID)[:-8],
        gzip.compress(SAID[:9]) + gzip.compress(SAID[9:]),
        gzip.compress(SAID) + b"\0\0",
        deflated(SAID, 15),
    ],
    ids=["gzip", "twice", "without its end", "in parts", "with zeros", "zlib"],
)
async def test_what_is_packed_is_unpacked_whatever_its_label(packed: bytes, label: str) -> None:
    """The bytes tell it themselves."""
    assert await outcome(labelled(packed, label), "submit") == Report("processing", GENERATION)


async def test_raw_deflate_is_known_by_its_label() -> None:
    """It has no signature."""
    found = await outcome(labelled(deflated(SAID, -15), "deflate"), "submit")
    assert found == Report("processing", GENERATION)


@pytest.mark.parametrize(
    ("raw", "label", "message"),
    [
        (b"\x8b\x02\x80\0\1\2\3", "br", "MeiGen's reply is packed as br, which was not asked for."),
        (
            b"\x28\xb5\x2f\xfd\0\1",
            "",
            "MeiGen's reply is packed as zstd, which was not asked for.",
        ),
        (
            gzip.compress(SAID, mtime=0)[:12] + b"\xff" * 9,
            "gzip",
            "What was sent is packed and damaged.",
        ),
        (
            gzip.compress(gzip.compress(gzip.compress(gzip.compress(gzip.compress(SAID))))),
            "gzip",
            "What was sent is packed and damaged.",
        ),
    ],
    ids=["br", "zstd", "damaged", "five times"],
)
async def test_what_cannot_be_unpacked_is_looked_up(raw: bytes, label: str, message: str) -> None:
    """It is no answer, so the submission is asked for by its key."""
    found = await outcome(labelled(raw, label), "submit")
    assert plain(found) == (errors.UnreadableReply, message, None)


async def test_numbers_that_json_does_not_have_are_as_good_as_absent() -> None:
    """Python reads them all the same."""
    raw = (
        '{"status": "processing", "creditsUsed": NaN, "pollHintSeconds": Infinity,'
        ' "expectedWaitSeconds": 1e999, "credits": {"daily": -Infinity, "purchased": 1e12}}'
    )
    assert await outcome(saying(raw)) == Report("processing", GENERATION, balance=Balance())


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("creditsUsed", -1),
        ("creditsUsed", True),
        ("creditsUsed", "5"),
        ("creditsUsed", 10**12),
        ("expectedWaitSeconds", -1),
        ("expectedWaitSeconds", 0),
        ("mediaType", "audio"),
        ("mediaType", {}),
        ("modelId", ""),
        ("modelId", "x" * 501),
        ("modelId", 5),
        ("aspectRatio", []),
        ("creditsStatus", False),
        ("failureCode", {"code": 1}),
        ("error", 5),
        ("credits", [1, 2]),
        ("credits", "many"),
        ("imageUrls", {"0": IMAGE}),
        ("imageUrls", [None, 5, [IMAGE]]),
        ("imageUrl", [IMAGE]),
        ("videoUrl", {}),
    ],
)
async def test_a_field_of_the_wrong_kind_is_as_good_as_absent(field: str, value: Any) -> None:
    """A negative charge would give credits back to the caps."""
    found = await outcome(saying({"status": "processing", field: value}))
    assert found == Report("processing", GENERATION)


async def test_an_id_that_was_not_asked_about_is_handed_on_as_that() -> None:
    """The reply may be about another generation; the id is the one asked for."""
    found = await outcome(saying({"status": "processing", "generationId": "another-one"}))
    assert found == Report("processing", GENERATION, other_id="another-one")


async def test_a_long_expectation_is_cut() -> None:
    """The first look comes after half of it."""
    found = await outcome(saying({"status": "processing", "expectedWaitSeconds": 10**9}))
    assert found == Report("processing", GENERATION, expected_seconds=3600.0)


@pytest.mark.parametrize("success", [None, 0, "", [], {}])
async def test_an_id_is_an_acceptance_whatever_stands_beside_it(success: Any) -> None:
    """It can be asked for, so it is never thrown away."""
    said = {"status": "processing", "generationId": GENERATION, "success": success}
    found = [await outcome(saying(said), route) for route in ("submit", "lookup", "status")]
    assert found == [Report("processing", GENERATION)] * 3


@pytest.mark.parametrize("status", [None, 5, {}])
async def test_a_submission_that_is_given_an_id_has_begun(status: Any) -> None:
    """A look at it says more; of a look itself that is no answer."""
    api = saying({"generationId": GENERATION, "status": status})
    assert await outcome(api, "submit") == Report("pending", GENERATION)
    assert isinstance(await outcome(api, "status"), errors.UnreadableReply)


@pytest.mark.parametrize("status", [500, 502, 409, 400])
async def test_an_error_keeps_the_id_that_it_names(status: int) -> None:
    """What became of it can be asked."""
    found = await outcome(saying({"success": False, "jobId": GENERATION}, status), "submit")
    assert isinstance(found, errors.ApiError)
    assert found.generation_id == GENERATION


@pytest.mark.parametrize(
    "raw",
    [
        b'\xef\xbb\xbf{"status": "processing"}',
        b'{"status": "processing", "modelId": "\xff\xe9"}'.replace(b"modelId", b"x"),
        b' \n{"status": "processing"}\n<script src=x></script>',
        b'{"status": "processing"}{"status": "failed"}',
    ],
    ids=["BOM", "no UTF-8", "something behind", "two"],
)
async def test_an_object_is_read_whatever_hangs_on(raw: bytes) -> None:
    """It begins the reply, and is whole."""
    assert await outcome(saying(raw)) == Report("processing", GENERATION)


@pytest.mark.parametrize("name", ["generationId", "jobId"])
async def test_the_id_has_two_names(name: str) -> None:
    """The pages of 2026-05 say jobId, the code of the official client generationId."""
    api = saying({"success": True, "status": "processing", name: GENERATION})
    found = [await outcome(api, route) for route in ("submit", "lookup")]
    assert found == [Report("processing", GENERATION)] * 2


async def test_an_answer_without_an_id_is_unreadable() -> None:
    """Except to a question that already names it."""
    said = {"success": True, "status": "processing"}
    found = [type(await outcome(saying(said), route)) for route in ("submit", "lookup", "status")]
    assert found == [errors.UnreadableReply, errors.UnreadableReply, Report]


FIELDS = (
    "success", "status", "generationId", "jobId", "mediaType", "modelId", "imageUrl", "imageUrls",
    "videoUrl", "aspectRatio", "creditsUsed", "creditsStatus", "credits", "error", "failureCode",
    "pollHintSeconds", "expectedWaitSeconds", "code", "required", "available", "retryAfterSeconds",
    "daily", "purchased", "unlimited", "message",
)  # fmt: skip
TEXTS = st.one_of(
    st.text(st.characters()),
    st.sampled_from(["processing", "completed", "failed", "image", "video", IMAGE, *CODES]),
)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS,
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(st.sampled_from(FIELDS) | TEXTS, inner, max_size=5)
    ),
    max_leaves=10,
)
OBJECTS = st.dictionaries(st.sampled_from(FIELDS), VALUES)


@UNHURRIED
@given(body=VALUES | OBJECTS, status=st.sampled_from([200, 201, 302, 400, 404, 409, 429, 500]))
@example(body={"status": "completed", "imageUrl": "https://a.example/\ud800"}, status=200)
async def test_any_json_becomes_a_report_or_an_error_that_can_be_stored(
    body: Any, status: int
) -> None:
    """Nothing else comes out, and half characters do not."""
    for route in ("submit", "lookup", "status"):
        found = await outcome(saying(body, status), route)
        assert isinstance(found, Report | errors.ApiError)
        told = found.message if isinstance(found, errors.ApiError) else found
        assert str(told).encode()


@UNHURRIED
@given(raw=st.binary(max_size=200), status=st.sampled_from([200, 404, 500]))
async def test_any_bytes_become_a_report_or_an_error(raw: bytes, status: int) -> None:
    """Nothing else comes out."""
    assert isinstance(await outcome(saying(raw, status)), Report | errors.ApiError)


# --- media URLs -------------------------------------------------------------------------------

ONLY_TOLD = ["http://images.meigen.ai/fox.png", "https://images.meigen.ai/a b.png"]
"""Public hosts, but no address that is opened: the person is told of it."""
REFUSED_URLS = [
    "javascript:alert(1)",
    "file:///etc/passwd",
    "data:image/png;base64,AA==",
    "ftp://images.meigen.ai/fox.png",
    "//images.meigen.ai/fox.png",
    "fox.png",
    "",
    "http://images.meigen.ai/fox.png",
    "https://localhost/fox.png",
    "https://127.0.0.1/fox.png",
    "https://10.0.0.1/fox.png",
    "https://169.254.169.254/latest/meta-data",
    "https://192.168.1.1/fox.png",
    "https://[::1]/fox.png",
    "https://[fe80::1]/fox.png",
    "https://2130706433/fox.png",
    "https://printer.local/fox.png",
    "https://user:word@images.meigen.ai/fox.png",
    "https://images.meigen.ai/a b.png",
    "http://127.0.0.1:8001/fox.png",
    "http://127.0.0.1:8000@evil.example/fox.png",
    "http://127.0.0.1:80001/fox.png",
    "https://images.meigen.ai/" + "x" * 5000,
]


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_a_url_that_is_not_public_never_reaches_a_report(url: str) -> None:
    """Neither as the image, nor in the list, nor as the video; what is only told is a text."""
    said = {"status": "completed", "imageUrl": url, "imageUrls": [url, url], "videoUrl": url}
    told = (f'"{url}"',) if url in ONLY_TOLD else ()
    assert await outcome(saying(said)) == Report("completed", GENERATION, refused_urls=told)


@pytest.mark.parametrize(
    ("fields", "urls"),
    [
        ({"imageUrl": IMAGE}, (IMAGE,)),
        ({"imageUrls": [IMAGE, IMAGE]}, (IMAGE,)),
        ({"imageUrls": ["file:///x", IMAGE]}, (IMAGE,)),
        ({"imageUrls": [], "imageUrl": IMAGE}, (IMAGE,)),
        ({"imageUrls": [None, "file:///x"], "imageUrl": IMAGE}, (IMAGE,)),
        ({"imageUrls": [f"{IMAGE}?2"], "imageUrl": IMAGE}, (f"{IMAGE}?2",)),
        ({"videoUrl": f"{IMAGE}.mp4", "imageUrl": IMAGE}, (f"{IMAGE}.mp4",)),
        ({"videoUrl": "file:///x", "imageUrl": IMAGE}, (IMAGE,)),
        (
            {"imageUrls": [f"{IMAGE}?{n}" for n in range(20)]},
            tuple(f"{IMAGE}?{n}" for n in range(16)),
        ),
        ({"imageUrl": f"{ORIGIN}/media/fox.png"}, (f"{ORIGIN}/media/fox.png",)),
    ],
)
async def test_the_media_are_the_video_or_else_the_images(
    fields: dict[str, Any], urls: tuple[str, ...]
) -> None:
    """A poster of a video is none of them; an own loopback origin counts as public."""
    found = await outcome(saying({"status": "completed", **fields}))
    assert found == Report("completed", GENERATION, media_urls=urls)


async def test_loopback_is_acceptable_for_no_api_but_a_loopback_one() -> None:
    """The real API has no business there."""
    said = {"status": "completed", "imageUrl": f"{ORIGIN}/media/fox.png"}
    api = api_on(lambda _: httpx.Response(200, json=said), MEIGEN_BASE_URL="https://www.meigen.ai")
    assert await outcome(api) == Report("completed", GENERATION)


# --- requests ---------------------------------------------------------------------------------

HEADERS = {
    "host": "127.0.0.1:8000",
    "accept": "application/json",
    "accept-encoding": "gzip",
    "connection": "keep-alive",
    "user-agent": "meigen-mcp",
}


async def sent_by(**variables: str) -> list[httpx.Request]:
    """Return the requests of one call of each method."""
    requests: list[httpx.Request] = []

    def answer(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json={})

    api = api_on(answer, **variables)
    for route in ("submit", "lookup", "status"):
        await outcome(api, route)
    await api.models()
    return requests


async def test_a_request_looks_like_this_on_the_wire() -> None:
    """Method, URL, all headers, and the stored body byte for byte."""
    authorized = HEADERS | {"authorization": f"Bearer {TOKEN}"}
    typed = {"content-type": "application/json", "content-length": str(len(BODY.encode()))}
    assert [(r.method, str(r.url), dict(r.headers), r.content) for r in await sent_by()] == [
        ("POST", f"{ORIGIN}/api/generate/v2", authorized | typed, BODY.encode()),
        ("GET", f"{ORIGIN}/api/generate/v2/requests/{REQUEST}", authorized, b""),
        ("GET", f"{ORIGIN}/api/generate/v2/status/{GENERATION}", authorized, b""),
        ("GET", f"{ORIGIN}/api/models", authorized, b""),
    ]


async def test_without_a_token_no_authorization_is_sent() -> None:
    """Not even an empty one."""
    requests = await sent_by(MEIGEN_API_TOKEN="")
    assert ["authorization" in request.headers for request in requests] == [False] * 4


@pytest.mark.parametrize("name", ["../models", "a/b", "?x=1", "#x", "é", "%2e%2e"])
async def test_an_id_is_one_part_of_the_path(name: str) -> None:
    """It cannot lead to another route."""
    paths: list[bytes] = []

    def answer(request: httpx.Request) -> httpx.Response:
        paths.append(request.url.raw_path)
        return httpx.Response(200, json={"status": "processing"})

    api = api_on(answer)
    await api.status(name)
    with pytest.raises(errors.UnreadableReply):
        await api.lookup(name)
    parts = [path.split(b"/") for path in paths]
    assert [part[:-1] for part in parts] == [
        [b"", b"api", b"generate", b"v2", b"status"],
        [b"", b"api", b"generate", b"v2", b"requests"],
    ]
    assert b"?" not in b"".join(paths)


@pytest.mark.parametrize("status", [200, 400, 401, 500])
async def test_the_token_comes_back_in_nothing(status: int) -> None:
    """Wherever a reply repeats it: in words, codes, URLs, ids or headers."""
    said = {
        "success": status == 200,
        "status": "completed",
        "error": f"{'x' * 280} bad token Bearer {TOKEN}",
        "code": TOKEN,
        "failureCode": TOKEN,
        "modelId": f"m-{TOKEN}",
        "generationId": TOKEN,
        "creditsStatus": TOKEN,
        "aspectRatio": TOKEN,
        "imageUrl": f"{IMAGE}?token={TOKEN}",
        TOKEN: TOKEN,
    }
    for route in ("submit", "lookup", "status"):
        found = await outcome(saying(said, status, {"Retry-After": TOKEN, "X-Token": TOKEN}), route)
        told = found if isinstance(found, Report) else (found.message, found.args, vars(found))
        assert TOKEN[:14] not in repr(told)


async def test_a_short_token_is_not_cut_out_of_other_words() -> None:
    """It could be a part of any id."""
    api = api_on(lambda _: httpx.Response(200, json={"status": "processing"}), MEIGEN_API_TOKEN="o")
    assert await outcome(api) == Report("processing", GENERATION)


# --- downloads --------------------------------------------------------------------------------


async def download(api: Api, url: str = IMAGE) -> bytes | errors.ApiError:
    """Return what is at a URL, or why it cannot be had."""
    try:
        async with api.download(url, 5) as response:
            return b"".join([chunk async for chunk in response.pieces()])
    except errors.ApiError as error:
        return error


def site(pages: dict[str, httpx.Response], seen: list[httpx.Request]) -> Api:
    """Return a client of a site whose every page is given, and a list that gets its requests."""

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append(request)
        return pages[str(request.url)]

    return api_on(answer)


def moved(to: str, status: int = 302) -> httpx.Response:
    """Return a redirect."""
    return httpx.Response(status, headers={"Location": to})


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("location", ["https://cdn.example/2.png", "//cdn.example/2.png"])
async def test_a_download_follows_redirects_and_takes_the_token_nowhere(
    location: str, status: int
) -> None:
    """Nor does it ask for anything packed; all responses are closed."""
    seen: list[httpx.Request] = []
    pages = {
        IMAGE: moved("/1.png", status),
        "https://images.meigen.ai/1.png": moved(location, status),
        "https://cdn.example/2.png": httpx.Response(200, content=b"pixels"),
    }
    assert await download(site(pages, seen)) == b"pixels"
    assert [str(request.url) for request in seen] == list(pages)
    assert [request.headers["accept-encoding"] for request in seen] == ["identity"] * 3
    assert TOKEN not in repr([(r.url, r.headers.raw, r.content) for r in seen])
    assert [page.is_closed for page in pages.values()] == [True] * 3


@pytest.mark.parametrize(
    "location",
    [
        *(url for url in REFUSED_URLS if ":" in url and " " not in url),
        "http://[",
        "https://\x00/",
        "https://xn--a.example/1",
    ],
)
async def test_a_redirect_to_a_url_that_is_not_public_is_not_followed(location: str) -> None:
    """No request leaves for it."""
    seen: list[httpx.Request] = []
    page = moved(location)
    found = await download(site({IMAGE: page}, seen))
    assert isinstance(found, errors.UnreadableReply | errors.Unreachable)
    assert ([str(request.url) for request in seen], page.is_closed) == ([IMAGE], True)


@pytest.mark.parametrize("url", REFUSED_URLS)
async def test_a_url_that_is_not_public_is_not_opened(url: str) -> None:
    """Whoever stored it."""
    seen: list[httpx.Request] = []
    found = await download(site({}, seen), url)
    assert (type(found), seen) == (errors.UnreadableReply, [])


@pytest.mark.parametrize("url", ["https://xn--a.example/1", "https://images.meigen.ai/\ud800"])
async def test_a_url_that_cannot_be_asked_for_is_not_reached(url: str) -> None:
    """Though it looks public."""
    seen: list[httpx.Request] = []
    found = await download(site({}, seen), url)
    assert (type(found), seen) == (errors.Unreachable, [])


async def test_redirects_in_a_circle_come_to_an_end() -> None:
    """After five of them."""
    seen: list[httpx.Request] = []
    found = await download(site({IMAGE: moved("?"), f"{IMAGE}?": moved(IMAGE)}, seen))
    assert isinstance(found, errors.UnreadableReply)
    assert (found.message, len(seen)) == ("The result redirects too often.", 6)


@pytest.mark.parametrize("status", [204, 206, 300, 302, 304, 403, 404, 410, 500])
async def test_a_result_that_cannot_be_opened_is_no_result(status: int) -> None:
    """Also a redirect to nowhere; the response is closed."""
    page = httpx.Response(status, content=b"<html>")
    found = await download(site({IMAGE: page}, []))
    gone = status in (403, 404, 410)
    assert isinstance(found, errors.ResultGone if gone else errors.UnreadableReply)
    assert (found.message, page.is_closed) == (
        f"The result could not be opened (HTTP {status}).",
        True,
    )


@pytest.mark.parametrize("kind", HTTPX)
async def test_a_download_that_breaks_off_is_unreachable(kind: type[Exception]) -> None:
    """Also while the caller reads; the response is closed."""

    async def half() -> AsyncIterator[bytes]:
        yield b"pix"
        raise broken(kind)

    page = httpx.Response(200, content=half())
    found = await download(site({IMAGE: page}, []))
    assert isinstance(found, errors.Unreachable)
    assert (TOKEN in found.message, page.is_closed) == (False, True)


async def test_a_download_that_cannot_start_is_unreachable() -> None:
    """As any other request."""

    def answer(_: httpx.Request) -> httpx.Response:
        raise broken(httpx.ConnectError)

    assert isinstance(await download(api_on(answer)), errors.Unreachable)


PICTURE = b"\x89PNG\r\n\x1a\n" + bytes(range(256)) * 9


@pytest.mark.parametrize("label", [*LABELS, "aws-chunked", "binary", "base64"])
@pytest.mark.parametrize("pack", [bytes, gzip.compress], ids=["as it is", "packed"])
async def test_a_result_is_what_it_is(label: str, pack: Callable[[bytes], bytes]) -> None:
    """Storage keeps whatever label an upload had."""
    assert await download(labelled(pack(PICTURE), label)) == PICTURE


async def test_a_result_that_stays_packed_names_its_packing() -> None:
    """Whoever looks at the bytes can say why they are none of ours."""
    async with labelled(b"\x8b\x02\x80" * 50, "br").download(IMAGE, 5) as body:
        assert [piece async for piece in body.pieces()] == [b"\x8b\x02\x80" * 50]
        assert (body.packed, body.whole) == ("br", True)


async def test_a_packed_result_that_is_cut_is_not_whole() -> None:
    """What came of it is given all the same."""
    async with labelled(gzip.compress(PICTURE)[:-20], "gzip").download(IMAGE, 5) as body:
        assert PICTURE.startswith(b"".join([piece async for piece in body.pieces()]))
        assert not body.whole


async def test_a_bomb_unpacks_piece_by_piece() -> None:
    """So whoever counts can stop in time."""
    bomb = gzip.compress(bytes(2**26))
    async with labelled(bomb, "gzip").download(IMAGE, 5) as body:
        sizes = [len(piece) async for piece in body.pieces()]
    assert (max(sizes), sum(sizes)) == (PIECE, 2**26)


async def test_a_caller_that_stops_reading_closes_the_response() -> None:
    """Its own error comes through as it is."""
    page = httpx.Response(200, content=b"pixels")
    api = site({IMAGE: page}, [])
    with pytest.raises(KeyError):
        async with api.download(IMAGE, 5):
            raise KeyError
    assert page.is_closed
