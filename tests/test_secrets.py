"""The token appears in no answer, resource, log line, ledger byte or exception."""

import logging
from pathlib import Path
from typing import Any

import httpx
import pytest
from studio import MODES, TOKEN, Mode, make_settings, studio
from workbench import answers

from meigen_mcp import service
from meigen_mcp.sandbox.emulator import Emulator

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
    monkeypatch.setattr(service, "ACCEPTANCE", 0.3)  # no need to wait for what never comes
    caplog.set_level(logging.DEBUG)
    configured = make_settings(tmp_path)
    async with studio(configured, emulator, mode) as on:
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
