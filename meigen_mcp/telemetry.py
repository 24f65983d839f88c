"""OpenTelemetry: spans and metrics of this process, sent where the OTEL_* variables say.

Imported only where MEIGEN_TELEMETRY asks for it. Nothing that a person wrote is in either: spans
have names of tools, kinds of work, statuses and models, and of a person the beginning of an id.
What the SDK of MCP opens for each request is sent as well, without what a client wrote into it: a
name of no tool, the text of an error.
"""

import logging
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from typing import get_args

import anyio
import anyio.to_thread
from mcp_types.methods import SPEC_CLIENT_METHODS, SPEC_CLIENT_NOTIFICATION_METHODS
from mcp_types.version import SUPPORTED_PROTOCOL_VERSIONS
from opentelemetry import metrics, trace
from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.metrics import CallbackOptions, Meter, Observation
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
from opentelemetry.sdk.resources import OTELResourceDetector, Resource
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult
from opentelemetry.trace import Status

from meigen_mcp import __version__
from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.ledger import Ledger
from meigen_mcp.tally import Tally, What

log = logging.getLogger(__name__)

NAME = "meigen-mcp"
_KNOWN: Mapping[str, Collection[str]] = {
    "mcp.method.name": SPEC_CLIENT_METHODS | SPEC_CLIENT_NOTIFICATION_METHODS,
    "mcp.protocol.version": SUPPORTED_PROTOCOL_VERSIONS,
    "gen_ai.operation.name": ("execute_tool",),
    "gen_ai.tool.name": get_args(Tool),
}
"""What the SDK tells of a request, and what that may be: else a client wrote it."""
_OF_ERRORS = ("error.type", "rpc.response.status_code")
"""Codes, and names of classes."""
LOOK_EVERY = 15.0
"""Seconds between two looks at the ledger."""
SENT_WITHIN = 0.4
"""Seconds that the end of the process waits for the last of it."""
_COUNTED: Mapping[What, tuple[str, str]] = {
    "calls": ("meigen.calls", "Calls of tools, by tool and answer: a status, or a refusal's code"),
    "posts": ("meigen.posts", "Submissions to MeiGen, by their answer"),
    "looks": ("meigen.looks", "Questions to MeiGen how generations stand, by their answer"),
    "ended": ("meigen.generations.ended", "Generations that ended, by status and medium"),
    "credits": ("meigen.credits.used", "Credits that those which ended cost"),
}


class WithoutWords(SpanExporter):
    """Takes out of spans what somebody may have written, and has the rest sent.

    Args:
        sender: sends spans.
    """

    def __init__(self, sender: SpanExporter) -> None:
        self._sender = sender

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        """Send what may be sent of some."""
        return self._sender.export([_without_words(span) for span in spans])

    def shutdown(self) -> None:
        """Send no more."""
        self._sender.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        """Send what waits."""
        return self._sender.force_flush(timeout_millis)


def _without_words(span: ReadableSpan) -> ReadableSpan:
    facts, name = dict(span.attributes or {}), span.name
    scope = span.instrumentation_scope
    if scope is None or scope.name != NAME:
        known = {fact: facts[fact] for fact in _KNOWN if facts.get(fact) in _KNOWN[fact]}
        known |= {fact: facts[fact] for fact in _OF_ERRORS if fact in facts}
        known |= {fact: facts[fact] for fact in facts if fact.startswith("meigen.")}
        facts = known
        words = (facts.get("mcp.method.name", "request"), facts.get("gen_ai.tool.name"))
        name = " ".join(str(word) for word in words if word)
    return ReadableSpan(
        name,
        span.context,
        span.parent,
        span.resource,
        facts,
        (),  # what was raised has a text
        span.links,
        span.kind,
        status=Status(span.status.status_code),
        start_time=span.start_time,
        end_time=span.end_time,
        instrumentation_scope=scope,
    )


class Standings:
    """What the ledger says of everybody, as of the last look; each replica tells the same.

    Args:
        ledger: of everybody.
    """

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._jobs: Mapping[str, int] = {}
        self._oldest = 0.0
        self._spent = 0.0

    async def look(self) -> None:
        """Look once; what cannot be read stays as it was."""
        with suppress(LedgerUnavailable):
            now = self._ledger.clock()
            standing = await self._ledger.queue.standing()
            newest = await self._ledger.of(None).records.overview(1, now)
            # A status that nothing has any more is 0, and not what it was last.
            self._jobs = dict.fromkeys(self._jobs, 0) | dict(standing.jobs)
            self._oldest = max(0.0, now - (standing.oldest_at or now))
            self._spent = float(newest.spent_today)

    async def run(self) -> None:
        """Look for ever."""
        while True:
            try:
                await self.look()
            except Exception:
                log.exception("looking at what is under way failed")
            await anyio.sleep(LOOK_EVERY)

    def measure(self, meter: Meter) -> None:
        """Let a meter ask."""
        meter.create_observable_gauge(
            "meigen.generations.open",
            [lambda _: [Observation(n, {"status": s}) for s, n in self._jobs.items()]],
            description="Generations under way, of the whole ledger",
        )
        meter.create_observable_gauge(
            "meigen.generations.oldest",
            [lambda _: [Observation(self._oldest)]],
            "s",
            "Age of the oldest of them",
        )
        meter.create_observable_gauge(
            "meigen.credits.day",
            [lambda _: [Observation(self._spent)]],
            description="Credits spent or reserved in 24 hours, of the whole ledger",
        )


def measure(tally: Tally, meter: Meter) -> None:
    """Let a meter ask for the counts of this process."""

    def tell(what: What, _: CallbackOptions) -> Iterable[Observation]:
        known = dict(tally.counts)  # whoever asks is another thread
        return [Observation(float(known[key]), dict(key[1])) for key in known if key[0] == what]

    for what, (name, about) in _COUNTED.items():
        meter.create_observable_counter(name, [partial(tell, what)], description=about)


def trace_with(tally: Tally, tracer: trace.Tracer) -> None:
    """Let the pieces of work become spans."""

    def open_span(name: str, facts: Mapping[str, str]) -> AbstractContextManager[object]:
        named = {f"meigen.{fact}": value for fact, value in facts.items()}
        # The text of an error may say more than its kind, so it stays in the log.
        return tracer.start_as_current_span(
            name, attributes=named, record_exception=False, set_status_on_exception=False
        )

    tally.open_span = open_span
    tally.tell = lambda facts: trace.get_current_span().set_attributes(dict(facts))


def start(tally: Tally, standings: Standings) -> Callable[[], None]:
    """Send spans and metrics from now on; return what sends the last of it, and blocks."""
    resource = Resource({"service.name": NAME, "service.version": __version__}).merge(
        OTELResourceDetector().detect()
    )
    tracers = TracerProvider(resource=resource)
    tracers.add_span_processor(BatchSpanProcessor(WithoutWords(OTLPSpanExporter())))
    trace.set_tracer_provider(tracers)
    reader = PeriodicExportingMetricReader(OTLPMetricExporter())
    meters = MeterProvider([reader], resource=resource)
    metrics.set_meter_provider(meters)
    meter = meters.get_meter(NAME, __version__)
    standings.measure(meter)
    measure(tally, meter)
    trace_with(tally, tracers.get_tracer(NAME, __version__))

    def end() -> None:
        tracers.shutdown()
        meters.shutdown()

    return end


async def run(tally: Tally, ledger: Ledger) -> None:
    """Send spans and metrics until cancelled; where they go being away costs nothing but them."""
    logging.getLogger("opentelemetry").setLevel(logging.ERROR)
    standings = Standings(ledger)
    end = await anyio.to_thread.run_sync(start, tally, standings)
    try:
        await standings.run()
    finally:
        with anyio.move_on_after(SENT_WITHIN, shield=True):
            await anyio.to_thread.run_sync(end, abandon_on_cancel=True)
