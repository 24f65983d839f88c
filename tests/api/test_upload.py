"""Uploading a local reference: presign, PUT, a public URL; whatever fails, nothing was charged."""

import json
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractContextManager
from hashlib import sha256
from io import BytesIO
from pathlib import Path
from typing import Any

import httpx
import pytest
from anyio.lowlevel import checkpoint
from PIL import Image
from support.in_memory import ORIGIN, TOKEN, InMemory, make_settings

from meigen_mcp.api import client as wire
from meigen_mcp.api.body import LARGEST_REPLY
from meigen_mcp.api.client import Api
from meigen_mcp.api.wire import giving_up_after
from meigen_mcp.errors import UploadFailed
from meigen_mcp.media.local_files import LocalReferences
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

GATEWAY = "https://gen.meigen.ai"
STORAGE = "https://bucket.r2.example/ref/fox?X-Amz-Signature=ab%2Fc"
PUBLIC = "https://images.meigen.ai/ref/fox.jpg"
PROMISE = {"success": True, "presignedUrl": STORAGE, "publicUrl": PUBLIC}
WIRE = Path(__file__).parents[1] / "wire"
DATA = b"\xff\xd8\xffpixels"

Reply = httpx.Response | type[Exception]


def saying(status: int = 200, body: Any = None, **headers: str) -> httpx.Response:
    """Return a response; what is not bytes is sent as JSON."""
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return httpx.Response(status, headers=named, content=raw)


class Gateway:
    """A gateway and its storage with one answer each, and what they were asked."""

    def __init__(self, presign: Reply, put: Reply) -> None:
        self.requests: list[httpx.Request] = []
        self._answers = {"POST": presign, "PUT": put}

    def answer(self, request: httpx.Request) -> httpx.Response:
        """Answer, or fail as a network does."""
        self.requests.append(request)
        reply = self._answers[request.method]
        if isinstance(reply, httpx.Response):
            return reply
        raise reply(f"errno 104 {TOKEN}")

    async def upload(self, **variables: str) -> str | UploadFailed:
        """Upload an image and return its URL or the error."""
        configured = make_settings(
            Path(),
            **{
                "MEIGEN_BASE_URL": "https://www.meigen.ai",
                "MEIGEN_UPLOAD_URL": GATEWAY,
                **variables,
            },
        )
        api = Api(configured, httpx.MockTransport(self.answer))
        try:
            return await api.upload(DATA, "reference.jpg", "image/jpeg")
        except UploadFailed as error:
            return error
        finally:
            await api.close()


# --- what works -------------------------------------------------------------------------------


async def test_a_file_becomes_a_url_that_anyone_can_open(
    tmp_path: Path, settings: Settings, emulator: Emulator
) -> None:
    """End to end: the file, the sandbox's gateway, and the bytes at the public URL."""
    Image.new("RGB", (30, 20), (200, 80, 30)).save(tmp_path / "Anna, passport.jpg", comment="Anna")
    image = await LocalReferences([tmp_path]).read(str(tmp_path / "Anna, passport.jpg"))
    transport = InMemory(emulator)
    api = Api(settings, transport)
    url = await api.upload(image.data, image.filename, image.mime_type)
    async with httpx.AsyncClient(transport=transport) as anyone:
        served = await anyone.get(url)
    await api.close()
    assert url.startswith(f"{ORIGIN}/media/")
    assert (served.content, served.headers["content-type"]) == (image.data, "image/jpeg")
    assert Image.open(BytesIO(served.content)).size == (30, 20)
    assert image.sha256 == sha256((tmp_path / "Anna, passport.jpg").read_bytes()).hexdigest()
    sent = repr([(r.url, r.headers.raw, r.content) for r in transport.requests])
    assert [word in sent for word in ("Anna", "passport", TOKEN, "uthorization")] == [False] * 4


async def test_the_two_requests_look_like_this_on_the_wire() -> None:
    """Method, URL, all headers, body, and the time they may take; the token is in neither."""
    gateway = Gateway(saying(body=PROMISE), saying())
    assert await gateway.upload() == PUBLIC
    headers = {
        "accept": "application/json",
        "accept-encoding": "gzip",
        "connection": "keep-alive",
        "user-agent": "meigen-mcp",
    }
    asked = b'{"filename": "reference.jpg", "contentType": "image/jpeg", "size": 9}'
    presign = {"host": "gen.meigen.ai", "content-type": "application/json", "content-length": "69"}
    put = {"host": "bucket.r2.example", "content-type": "image/jpeg", "content-length": "9"}
    assert [(r.method, str(r.url), dict(r.headers), r.content) for r in gateway.requests] == [
        ("POST", f"{GATEWAY}/upload/presign", headers | presign, asked),
        ("PUT", STORAGE, headers | put, DATA),
    ]
    assert [r.extensions["timeout"]["write"] for r in gateway.requests] == [15.0, 30.0]


async def test_a_page_is_no_success_of_the_storage() -> None:
    """A network that wants a login keeps the bytes: the model would get a dead URL."""
    page = saying(200, b"<!DOCTYPE html><title>Sign in</title>", content_type="text/html")
    found = await Gateway(saying(body=PROMISE), page).upload()
    assert told(found) == failed("A page of somebody in between came back.", True, None)


@pytest.mark.parametrize("status", [200, 201, 204])
async def test_any_success_of_the_storage_will_do(status: int) -> None:
    """Whatever it says; storages answer with nothing, XML or JSON."""
    assert await Gateway(saying(body=PROMISE), saying(status, b"<ok/>")).upload() == PUBLIC


async def test_the_sandbox_s_own_origin_counts_as_public() -> None:
    """When it is the API's own."""
    promise = {**PROMISE, "presignedUrl": f"{ORIGIN}/upload/1", "publicUrl": f"{ORIGIN}/media/1"}
    gateway = Gateway(saying(body=promise), saying())
    own = {"MEIGEN_BASE_URL": ORIGIN, "MEIGEN_UPLOAD_URL": ORIGIN}
    assert await gateway.upload(**own) == f"{ORIGIN}/media/1"


# --- what fails -------------------------------------------------------------------------------

REFUSED = "The upload gateway refused it: "
NO_PROMISE = "The upload gateway promised nothing."
NOT_PUBLIC = "The upload gateway named an address that is not public."
UNREACHABLE = "MeiGen could not be reached; nothing was sent."
LOST = "The connection to MeiGen was lost."
LATE = "MeiGen did not answer in time."
TOO_LARGE = "MeiGen's reply was too large to read."


def without(name: str) -> httpx.Response:
    """Return a promise that lacks a field."""
    return saying(body={field: value for field, value in PROMISE.items() if field != name})


def naming(**fields: Any) -> httpx.Response:
    """Return a promise with other fields."""
    return saying(body={**PROMISE, **fields})


# What goes wrong with either step: the reply, why, whether to repeat, and in how many seconds.
FAILURES: dict[str, tuple[Callable[[], Reply], str, bool, float | None]] = {
    "no connection": (lambda: httpx.ConnectError, UNREACHABLE, True, None),
    "no connection in time": (lambda: httpx.ConnectTimeout, UNREACHABLE, True, None),
    "no proxy": (lambda: httpx.ProxyError, UNREACHABLE, True, None),
    "no answer in time": (lambda: httpx.ReadTimeout, LATE, True, None),
    "a slow line": (lambda: httpx.WriteTimeout, LATE, True, None),
    "a lost connection": (lambda: httpx.ReadError, LOST, True, None),
    "no HTTP": (lambda: httpx.RemoteProtocolError, LOST, True, None),
    "a redirect": (lambda: saying(302, location=PUBLIC), f"{REFUSED}HTTP 302.", False, None),
    "a redirect that keeps the body": (
        lambda: saying(307, location=STORAGE), f"{REFUSED}HTTP 307.", False, None,
    ),
    "400": (
        lambda: saying(400, {"success": False, "error": "contentType is wrong."}),
        f"{REFUSED}contentType is wrong.", False, None,
    ),
    "401": (lambda: saying(401, {"error": "No"}), f"{REFUSED}No.", False, None),
    "403 in XML": (lambda: saying(403, b"<Code>x</Code>"), f"{REFUSED}HTTP 403.", False, None),
    "404 in HTML": (lambda: saying(404, b"<html>"), f"{REFUSED}HTTP 404.", False, None),
    "408": (lambda: saying(408), f"{REFUSED}HTTP 408.", True, None),
    "413": (lambda: saying(413, {"error": "Too large"}), f"{REFUSED}Too large.", False, None),
    "429": (lambda: saying(429, retry_after="7"), f"{REFUSED}HTTP 429.", True, 7.0),
    "500": (lambda: saying(500, {"error": "Oops"}), f"{REFUSED}Oops.", True, None),
    "502 in HTML": (lambda: saying(502, b"<html>"), f"{REFUSED}HTTP 502.", True, None),
    "503": (
        lambda: saying(503, {"retryAfterSeconds": 9}, retry_after="3"),
        f"{REFUSED}HTTP 503.", True, 9.0,
    ),
    "500 for good": (
        lambda: saying(500, {"error": "Closed", "retryable": False}),
        f"{REFUSED}Closed.", False, None,
    ),
    "a refusal in a 200": (
        lambda: saying(200, {"success": False, "error": "Upload is unavailable"}),
        f"{REFUSED}Upload is unavailable.", True, None,
    ),
    "words that move the cursor": (
        lambda: saying(400, {"error": f"a\nb\x1b[2J {TOKEN}"}), f"{REFUSED}a b [2J ***.", False,
        None,
    ),
    "a reply without end": (lambda: saying(200, b" " * (LARGEST_REPLY + 1)), TOO_LARGE, True, None),
}  # fmt: skip
PROMISES: dict[str, tuple[Callable[[], Reply], str, bool, float | None]] = {
    "no JSON": (lambda: saying(200, b"<html>captive portal</html>"), NO_PROMISE, True, None),
    "nothing": (lambda: saying(200, b""), NO_PROMISE, True, None),
    "a list": (lambda: saying(200, [PROMISE]), NO_PROMISE, True, None),
    "no success": (lambda: without("success"), NO_PROMISE, True, None),
    "a success in words": (lambda: naming(success="true"), NO_PROMISE, True, None),
    "JSON too deep": (lambda: saying(200, b"[" * 100_000), NO_PROMISE, True, None),
    "no presigned URL": (lambda: without("presignedUrl"), NOT_PUBLIC, True, None),
    "no public URL": (lambda: without("publicUrl"), NOT_PUBLIC, True, None),
}
BAD_URLS: list[Any] = [
    None,
    5,
    "",
    [STORAGE],
    "/upload/1",
    "//images.meigen.ai/1",
    "http://images.meigen.ai/1",
    "ftp://images.meigen.ai/1",
    "file:///etc/passwd",
    "javascript:alert(1)",
    "https://localhost/1",
    "https://127.0.0.1/1",
    f"{ORIGIN}/upload/1",
    "https://169.254.169.254/latest/meta-data",
    "https://[::1]/1",
    "https://printer.local/1",
    "https://user:word@images.meigen.ai/1",
    "https://images.meigen.ai/a b",
    "https://images.meigen.ai/\n",
    "https://images.meigen.ai/" + "x" * 5000,
]


def told(found: str | UploadFailed) -> object:
    """Return what an error says."""
    if isinstance(found, str):
        return found
    assert (found.charged, found.code) == ("no", "upload_failed")
    assert TOKEN not in repr((found.args, vars(found)))
    assert (found.__cause__, found.__context__ is None or found.__suppress_context__) == (
        None,
        True,
    )
    return found.message, found.retryable, found.retry_after


def failed(why: str, retryable: bool, after: float | None) -> object:
    """Return what an error of this kind says."""
    hope = "The same call may succeed later" if retryable else "The same call will not help"
    message = (
        f"The local reference was not uploaded. {why} Nothing was generated or charged. {hope}; a"
        " public https URL of it needs no upload."
    )
    return message, retryable, after


@pytest.mark.parametrize("failure", FAILURES | PROMISES)
async def test_a_presign_that_fails_uploads_nothing(failure: str) -> None:
    """The person learns why, whether to repeat, what it cost and what works instead."""
    reply, why, retryable, after = (FAILURES | PROMISES)[failure]
    gateway = Gateway(reply(), saying())
    assert told(await gateway.upload()) == failed(why, retryable, after)
    assert [request.method for request in gateway.requests] == ["POST"]


@pytest.mark.parametrize("failure", FAILURES)
async def test_a_put_that_fails_gives_no_url(failure: str) -> None:
    """A redirect is not followed: the image goes to where it was promised to go."""
    reply, why, retryable, after = FAILURES[failure]
    gateway = Gateway(saying(body=PROMISE), reply())
    assert told(await gateway.upload()) == failed(why, retryable, after)
    assert [str(request.url) for request in gateway.requests] == [
        f"{GATEWAY}/upload/presign",
        STORAGE,
    ]


@pytest.mark.parametrize("name", ["presignedUrl", "publicUrl"])
@pytest.mark.parametrize("url", BAD_URLS, ids=lambda url: repr(url)[:40])
async def test_an_address_that_is_not_public_gets_nothing(url: Any, name: str) -> None:
    """Neither the image nor the generation that would refer to it."""
    gateway = Gateway(naming(**{name: url}), saying())
    assert told(await gateway.upload()) == failed(NOT_PUBLIC, retryable=True, after=None)
    assert [request.method for request in gateway.requests] == ["POST"]


@pytest.mark.parametrize("step", ["PRESIGN_SECONDS", "PUT_SECONDS"])
async def test_a_reply_that_never_ends_is_given_up(
    step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each byte in time is not enough: both steps have a limit."""
    monkeypatch.setattr(wire, step, 0.0)

    async def drip() -> AsyncIterator[bytes]:
        while True:
            yield b" "
            await checkpoint()

    endless = httpx.Response(200, content=drip())
    promise = saying(body=PROMISE)
    gateway = Gateway(*((endless, saying()) if step == "PRESIGN_SECONDS" else (promise, endless)))
    assert told(await gateway.upload()) == failed(LATE, retryable=True, after=None)


async def test_a_large_clip_has_the_time_that_its_size_needs(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Piece by piece: what is bounded is each piece, and the whole by what a slow line takes."""
    given: list[float] = []

    def noted(seconds: float) -> AbstractContextManager[None]:
        given.append(seconds)  # which is the point
        return giving_up_after(seconds)

    monkeypatch.setattr(wire, "giving_up_after", noted)
    pieces: list[int] = []

    class Storage(httpx.AsyncBaseTransport):
        async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
            stream = request.stream
            assert isinstance(stream, httpx.AsyncByteStream)
            sizes = [len(piece) async for piece in stream]
            if request.method == "POST":
                return saying(body=PROMISE)
            assert request.headers["content-length"] == str(sum(sizes))
            assert "transfer-encoding" not in request.headers
            pieces.extend(sizes)
            return saying()

    api = Api(make_settings(Path()), Storage())
    clip = bytes(100 * 2**20)
    url = await api.upload_clip(clip, "a.mp4", "video/mp4", kind="video", model_id="seedance-2-5")
    await api.close()
    assert (url, given) == (PUBLIC, [wire.PRESIGN_SECONDS, wire.PUT_SECONDS + 1600])
    assert (sum(pieces), max(pieces)) == (len(clip), 2**16)


async def test_a_proxy_that_cannot_be_used_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with any other request."""
    for name in ("HTTPS_PROXY", "https_proxy", "all_proxy", "NO_PROXY", "no_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("ALL_PROXY", "gopher://10.0.0.1")
    gateway = make_settings(Path(), MEIGEN_UPLOAD_URL="https://gen.meigen.ai")
    with pytest.raises(UploadFailed) as caught:
        await Api(gateway).upload(DATA, "reference.jpg", "image/jpeg")
    assert "ALL_PROXY" in caught.value.message


@pytest.mark.parametrize("status", [200, 400, 500])
async def test_the_token_comes_back_in_no_url_and_no_error(status: int) -> None:
    """Even if the gateway came to know it."""
    said = {"success": status == 200, "error": TOKEN, "presignedUrl": STORAGE}
    gateway = Gateway(saying(status, {**said, "publicUrl": f"{PUBLIC}?{TOKEN}"}), saying())
    assert TOKEN[:14] not in repr(told(await gateway.upload()))


# --- the recorded exchanges -------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("presign", f"{ORIGIN}/media/d23f0824-128b-4f33-8c5c-7fd0a6a3a450.png"),
        (
            "presign-400",
            failed(
                f"{REFUSED}contentType must be one of image/jpeg, image/png, image/webp,"
                " image/gif.",
                retryable=False,
                after=None,
            ),
        ),
        (
            "presign-refused",
            failed(f"{REFUSED}Upload is unavailable.", retryable=True, after=None),
        ),
    ],
)
async def test_a_recorded_promise_is_read(name: str, expected: object) -> None:
    """Those of the sandbox, and what the documents say."""
    reply = json.loads((WIRE / f"{name}.json").read_text(encoding="utf-8"))["response"]
    gateway = Gateway(saying(reply["status"], reply["body"]), saying())
    own = {"MEIGEN_BASE_URL": ORIGIN, "MEIGEN_UPLOAD_URL": ORIGIN}
    assert told(await gateway.upload(**own)) == expected
