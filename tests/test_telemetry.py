"""What is measured, told to whoever asks, and what never is: anything that a person wrote."""

import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
import uvicorn
from mcp.shared import _otel
from mcp.shared.exceptions import MCPError
from opentelemetry import trace
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send
from support.in_memory import connect, make_settings
from support.over_http import connected, process

from meigen_mcp import app, telemetry
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.settings import Settings
from meigen_mcp.system import Signal, listen_on

SECRET = "a surprise for Ada's birthday"


def values(reader: InMemoryMetricReader) -> dict[str, dict[tuple[str, ...], float]]:
    """Return what is measured, by name and by the facts of each value."""
    data = reader.get_metrics_data()
    assert data is not None
    found: dict[str, dict[tuple[str, ...], float]] = {}
    for metric in data.resource_metrics[0].scope_metrics[0].metrics:
        points: Any = metric.data.data_points
        found[metric.name] = {
            tuple(str(value) for _, value in sorted(point.attributes.items())): point.value
            for point in points
        }
    return found


async def test_calls_and_work_are_counted_and_no_prompt_is_told(
    settings: Settings, emulator: Emulator
) -> None:
    """By tool, answer, status and medium; each piece of work of the poller is a span."""
    reader, spans = InMemoryMetricReader(), InMemorySpanExporter()
    meters, tracers = MeterProvider([reader]), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    async with connect(settings, emulator) as on, app.open_account(settings) as account:
        tally = on.app.service.tally
        standings = telemetry.Standings(account.ledger)
        meter = meters.get_meter("test")
        telemetry.measure(tally, meter)
        telemetry.trace_with(tally, tracers.get_tracer("test"))
        standings.measure(meter)
        made = await on.call("generate_image", prompt=SECRET, modelId="nanobanana-2")
        await on.call("generate_image", prompt=SECRET, modelId="no such")
        await on.call("list_models")
        await standings.look()
        told = values(reader)
    looks = told.pop("meigen.looks")
    assert looks.keys() == {("answered",)}
    assert told == {
        "meigen.calls": {
            ("completed", "generate_image"): 1,
            ("invalid_arguments", "generate_image"): 1,
            ("told", "list_models"): 1,
        },
        "meigen.posts": {("accepted",): 1},
        "meigen.generations.ended": {("image", "completed"): 1},
        "meigen.credits.used": {("image",): made["creditsUsed"]},
        "meigen.generations.oldest": {(): 0},
        "meigen.credits.day": {(): made["creditsUsed"]},
    }
    ended = spans.get_finished_spans()
    assert {span.name for span in ended} == {"poller submit", "poller look", "poller fetch"}
    facts = {"meigen.medium": "image", "meigen.model": "nanobanana-2"}
    assert [dict(span.attributes or {}) for span in ended] == [facts] * len(ended)
    assert SECRET not in str([span.to_json() for span in ended]) + str(told)


async def test_an_error_puts_no_text_into_a_span(settings: Settings, emulator: Emulator) -> None:
    """Only that there was a span: what a library says may hold a prompt."""
    spans, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(spans))
    async with connect(settings, emulator) as on:
        telemetry.trace_with(on.app.service.tally, tracers.get_tracer("test"))
        with pytest.raises(ValueError, match="Ada"), on.app.service.tally.span("work"):
            raise ValueError(SECRET)
    (span,) = spans.get_finished_spans()
    assert ("Ada" in span.to_json(), span.status.description) == (False, None)


async def test_what_a_client_wrote_leaves_with_no_span(
    settings: Settings, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The SDK names a span by what is called for, whether there is such a thing, and why not."""
    spans, tracers = InMemorySpanExporter(), TracerProvider()
    tracers.add_span_processor(SimpleSpanProcessor(telemetry.WithoutWords(spans)))
    monkeypatch.setattr(_otel, "_tracer", tracers.get_tracer("mcp-python-sdk"))
    async with connect(settings, emulator) as on:
        await on.call("list_models")
        for wrong in (
            on.client.call_tool(SECRET, {}),
            on.client.get_prompt("storyboard", {"modelId": SECRET}),
            on.client.read_resource(f"meigen://generations/{SECRET.replace(' ', '-')}"),
        ):
            with pytest.raises(MCPError):
                await wrong
    ended = [span for span in spans.get_finished_spans() if span.kind is trace.SpanKind.SERVER]
    named = {span.name for span in ended} - {"server/discover", "tools/list"}
    assert named == {"tools/call list_models", "tools/call", "prompts/get", "resources/read"}
    assert "Ada" not in str([span.to_json() for span in spans.get_finished_spans()])


async def test_a_wrong_variable_of_opentelemetry_ends_no_server(
    tmp_path: Path,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It is said, and the server serves."""

    def wrong(*_: object) -> None:
        raise ValueError("interval value 0.0 is invalid")

    monkeypatch.setattr(telemetry, "start", wrong)
    settings = make_settings(tmp_path, MEIGEN_TELEMETRY="otlp")
    async with connect(settings, emulator) as on:
        assert (await on.call("generate_image", prompt="a fox"))["status"] == "completed"
    assert "nothing is measured" in caplog.text


async def test_without_the_extra_a_server_says_so_and_serves(
    tmp_path: Path,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """To measure is worth less than a picture."""
    monkeypatch.setitem(sys.modules, "meigen_mcp.telemetry", None)
    monkeypatch.delattr("meigen_mcp.telemetry", raising=False)
    settings = make_settings(tmp_path, MEIGEN_TELEMETRY="otlp")
    async with connect(settings, emulator) as on:
        assert (await on.call("generate_image", prompt="a fox"))["status"] == "completed"
    assert [line for line in caplog.messages if "meigen-mcp[telemetry]" in line] != []


class Collector:
    """Takes what is sent, as a collector of OpenTelemetry does."""

    def __init__(self) -> None:
        self.sent: dict[str, bytes] = {}
        self.more = Signal()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Keep what is sent, by path."""
        request = Request(scope, receive)
        self.sent[request.url.path] = self.sent.get(request.url.path, b"") + await request.body()
        self.more.set()
        await Response()(scope, receive, send)

    def has(self, path: str, *words: bytes) -> bool:
        """Say whether all of these were sent to a path."""
        return all(word in self.sent.get(path, b"") for word in words)


@asynccontextmanager
async def collecting() -> AsyncIterator[tuple[Collector, str]]:
    """Serve a collector on a free port."""
    with listen_on("127.0.0.1", 0) as listener:
        collector = Collector()
        config = uvicorn.Config(collector, log_config=None, lifespan="off")
        server = uvicorn.Server(config)
        async with anyio.create_task_group() as group:
            group.start_soon(server._serve, [listener])  # noqa: SLF001  # without its signals
            yield collector, f"http://127.0.0.1:{listener.getsockname()[1]}"
            server.should_exit = server.force_exit = True


async def test_a_server_sends_spans_and_metrics_and_no_prompt(tmp_path: Path) -> None:
    """Those of requests, which the SDK opens, and those of the work."""
    async with collecting() as (collector, origin), run_sandbox(speed=0.01) as sandbox:
        variables = {
            "MEIGEN_TELEMETRY": "otlp",
            "OTEL_EXPORTER_OTLP_ENDPOINT": origin,
            "OTEL_EXPORTER_OTLP_COMPRESSION": "none",
            "OTEL_SERVICE_NAME": "pictures",
            "OTEL_BSP_SCHEDULE_DELAY": "50",
            "OTEL_METRIC_EXPORT_INTERVAL": "100",
        }
        traces = (b"tools/call generate_image", b"poller submit", b"meigen.answer", b"pictures")
        measured = (b"meigen.calls", b"meigen.generations.ended", b"pictures")
        async with process(tmp_path, sandbox, **variables) as served:
            async with connected(served.url, "auto", served.token) as client:
                # It begins to measure beside its start, and keeps no call waiting for that.
                with anyio.fail_after(60):
                    while not collector.has("/v1/traces", b"tools/call list_models"):
                        await client.call_tool("list_models", {})
                await client.call_tool("generate_image", {"prompt": SECRET})
                with anyio.fail_after(60):
                    while not (
                        collector.has("/v1/traces", *traces)
                        and collector.has("/v1/metrics", *measured)
                    ):
                        await collector.more.after(collector.more.count)
            served.process.terminate()
            assert await served.ended() == (0, [])
    assert SECRET.encode() not in b"".join(collector.sent.values())
