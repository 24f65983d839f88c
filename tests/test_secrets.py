"""The token appears in no answer, resource, log line, ledger byte or exception."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from support.in_memory import MODES, TOKEN, Mode, connect, make_settings
from support.workbench import answers

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.service import waiting

# The API repeats what it was sent, wherever it can.
ECHOES: dict[str, Any] = {
    "400": answers(400, body={"error": f"bad header Bearer {TOKEN}", "code": TOKEN}),
    "401": answers(401, body={"error": f"Invalid API token {TOKEN}"}),
    "402": answers(402, body={"error": TOKEN, "required": TOKEN, "available": TOKEN}),
    "500": answers(500, body={"error": f"trace: {TOKEN}"}),
    "HTML": answers(502, f"<pre>{TOKEN}</pre>".encode()),
    "failed": answers(
        200,
        body={
            "success": True,
            "generationId": "g",
            "status": "failed",
            "error": f"for {TOKEN}",
            "failureCode": "x",
        },
    ),
}


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("echo", ECHOES)
async def test_a_token_that_the_api_repeats_goes_nowhere(
    mode: Mode,
    echo: str,
    tmp_path: Path,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Answers, resources, logs at debug level and the ledger's bytes are searched."""
    monkeypatch.setattr(waiting, "ACCEPTANCE", 0.3)  # no need to wait for what never comes
    caplog.set_level(logging.DEBUG)
    configured = make_settings(tmp_path)
    async with connect(configured, emulator, mode) as on:
        real = on.transport.handle_async_request

        async def spoiled(request: httpx.Request) -> httpx.Response:
            if request.method == "POST" and "/generate" in request.url.path:
                reply: httpx.Response = await ECHOES[echo](request, on.transport)
                return reply
            return await real(request)

        on.transport.handle_async_request = spoiled  # type: ignore[method-assign]  # the seam
        result = await on.client.call_tool(
            "generate_image", {"prompt": "x", "modelId": "nanobanana-2", "wait": 1}
        )
        seen = [result.model_dump_json()]
        seen.append((await on.client.call_tool("check_status", {})).model_dump_json())
        listed = await on.client.list_resources()
        read = [await on.client.read_resource(resource.uri) for resource in listed.resources]
    seen += [contents.model_dump_json() for contents in read]
    seen += [record.getMessage() for record in caplog.records]
    seen += [str(record.exc_info) for record in caplog.records if record.exc_info]
    seen += list(capfd.readouterr())
    secret = TOKEN.removeprefix("meigen_sk_")
    assert [text for text in seen if secret in text] == []
    files = [path for path in configured.data_dir.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
    assert len(files) >= 2


def _raised(request: httpx.Request) -> httpx.Response:
    cause = OSError(f"[Errno 104] {request.headers}, {TOKEN}")
    raise httpx.ReadError(f"Bearer {TOKEN}", request=request) from cause


def _in_headers(request: httpx.Request) -> httpx.Response:
    del request
    named = dict.fromkeys(("retry-after", "location", "x-debug", "content-encoding"), TOKEN)
    return httpx.Response(503, headers=named, json={"error": "No", "retryAfterSeconds": 0})


def _in_a_redirect(request: httpx.Request) -> httpx.Response:
    del request
    return httpx.Response(302, headers={"location": f"https://10.0.0.1/{TOKEN}?key={TOKEN}"})


def _in_the_body(request: httpx.Request) -> httpx.Response:
    del request
    return httpx.Response(500, json={"error": TOKEN, "code": TOKEN, "credits": TOKEN, TOKEN: TOKEN})


def _in_every_field(request: httpx.Request) -> httpx.Response:
    del request
    names = ("modelId", "aspectRatio", "creditsStatus", "failureCode", "error", "requestId")
    url = f"https://images.meigen.ai/{TOKEN}.png?key={TOKEN}"
    said: dict[str, Any] = {
        "success": True,
        "status": "resting",
        "imageUrl": url,
        "imageUrls": [url],
    }
    models = [{"id": f"m-{TOKEN}", "name": TOKEN, "description": TOKEN, "media_type": "image"}]
    said |= {TOKEN: [TOKEN], "models": models}
    return httpx.Response(200, json=dict.fromkeys(names, TOKEN) | said)


PLANTS = (_raised, _in_headers, _in_a_redirect, _in_the_body, _in_every_field)


def _route(request: httpx.Request) -> str:
    path = request.url.path
    if request.method == "POST":
        return "submit"
    routes = {"/status/": "status", "/requests/": "lookup", "/models": "models"}
    return next((route for part, route in routes.items() if part in path), "media")


@pytest.mark.parametrize(
    ("mode", "route"),
    [
        ("auto", "submit"),
        ("legacy", "submit"),
        ("auto", "lookup"),
        ("auto", "status"),
        ("auto", "media"),
        ("auto", "models"),
    ],
)
async def test_a_token_planted_on_any_route_goes_nowhere(
    mode: Mode,
    route: str,
    tmp_path: Path,
    emulator: Emulator,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """In exceptions and their causes, headers, redirects, bodies and URLs; all is searched."""
    monkeypatch.setattr(waiting, "ACCEPTANCE", 1.0)
    caplog.set_level(logging.DEBUG)
    configured = make_settings(tmp_path)
    planted: dict[str, list[Callable[[httpx.Request], httpx.Response]]] = {}
    async with connect(configured, emulator, mode) as on:
        real = on.transport.handle_async_request

        async def spoiled(request: httpx.Request) -> httpx.Response:
            plan = planted.get(_route(request))
            return plan.pop()(request) if plan else await real(request)

        on.transport.handle_async_request = spoiled  # type: ignore[method-assign]  # the seam
        seen = []
        for plant in PLANTS:
            planted[route] = [plant]
            if route == "lookup":
                planted["submit"] = [_raised]
            if route == "models":
                on.app.service.catalogue._fetched_at = 0  # noqa: SLF001  # it is kept for minutes
                await on.app.service.catalogue.refresh()
            call = {"prompt": "x", "modelId": "nanobanana-2", "wait": 10}
            seen.append((await on.client.call_tool("generate_image", call)).model_dump_json())
            assert planted[route] == []
        seen.append((await on.client.call_tool("check_status", {})).model_dump_json())
        seen.append((await on.client.call_tool("list_models", {})).model_dump_json())
        listed = await on.client.list_resources()
        read = [await on.client.read_resource(resource.uri) for resource in listed.resources]
    seen += [contents.model_dump_json() for contents in read]
    seen += [f"{record.getMessage()} {record.exc_info}" for record in caplog.records]
    seen += list(capfd.readouterr())
    seen += [str(path) for path in tmp_path.rglob("*")]
    secret = TOKEN.removeprefix("meigen_sk_")
    assert [text for text in seen if secret in text] == []
    files = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert [path for path in files if secret.encode() in path.read_bytes()] == []
