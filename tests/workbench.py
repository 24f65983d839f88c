"""Service, poller and ledger on the sandbox under one clock of the test's own: nothing sleeps."""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import httpx
from studio import InMemory, make_settings

from meigen_mcp.api import Api
from meigen_mcp.arguments import Tool
from meigen_mcp.budget import Question, Verdict
from meigen_mcp.database import Database
from meigen_mcp.errors import MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.ledger import Ledger
from meigen_mcp.live_catalogue import LiveCatalogue
from meigen_mcp.media import Media
from meigen_mcp.poller import Poller
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.service import Outcome, Service
from meigen_mcp.sources import Sources

Route = Literal["submit", "status", "lookup", "models", "media"]
Fault = Callable[[httpx.Request, httpx.AsyncBaseTransport], Any]


class Clock:
    """Seconds since the epoch, moved by the test."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now


@dataclass
class Someone:
    """The person behind a call, with their answer."""

    answer: Verdict = "cannot ask"
    pending: str | None = None
    asked: list[Question] = field(default_factory=list)
    told: list[tuple[str, int | None]] = field(default_factory=list)

    async def confirm(self, question: Question) -> Verdict:
        """Answer a question about a price."""
        self.asked.append(question)
        return self.answer

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Hear how it goes."""
        del elapsed
        self.told.append((job.status, place))


class Faulty(httpx.AsyncBaseTransport):
    """Carries requests to the sandbox, and spoils those for which a fault is planned."""

    def __init__(self, inner: InMemory) -> None:
        self._inner = inner
        self.faults: dict[Route, list[Fault]] = {}
        self.seen: list[tuple[Route, bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or do what the next fault of its route does."""
        route = _route(request)
        self.seen.append((route, request.content))
        planned = self.faults.get(route)
        if planned:
            reply: httpx.Response = await planned.pop(0)(request, self._inner)
            return reply
        return await self._inner.handle_async_request(request)

    def posts(self) -> list[bytes]:
        """Return the bodies of all submissions that left."""
        return [body for route, body in self.seen if route == "submit"]


def _route(request: httpx.Request) -> Route:
    path = request.url.path
    if request.method == "POST":
        return "submit"
    for part, route in (("/status/", "status"), ("/requests/", "lookup"), ("/models", "models")):
        if part in path:
            return route  # type: ignore[return-value]  # one of the names above
    return "media"


@dataclass
class Workbench:
    """Everything between a call and the sandbox."""

    clock: Clock
    emulator: Emulator
    wire: Faulty
    ledger: Ledger
    poller: Poller
    service: Service

    async def generate(
        self, tool: Tool = "generate_image", person: Someone | None = None, **arguments: Any
    ) -> Outcome:
        """Make a call while the poller works and the clock runs."""
        call = {"prompt": "a red cube", **arguments}
        someone = person or Someone()
        outcome: Outcome = await self.drive(lambda: self.service.generate(tool, call, someone))
        return outcome

    async def check(self, **arguments: Any) -> Any:
        """Look at a generation while the poller works and the clock runs."""
        return await self.drive(lambda: self.service.check(arguments, Someone()))

    async def drive(self, call: Callable[[], Any]) -> Any:
        """Run a call to its end, moving the clock from one thing to do to the next."""
        results: list[Any] = []
        refused: list[Exception] = []

        async def caller() -> None:
            try:
                results.append(await call())
            except MeigenError as error:
                refused.append(error)

        async with anyio.create_task_group() as group:
            group.start_soon(caller)
            while not (results or refused):
                await anyio.lowlevel.checkpoint()
                await self.poller.step()
                self.move()
                self.ledger.wake_waiting()
                await anyio.lowlevel.checkpoint()
        if refused:
            raise refused[0]
        return results[0]

    def move(self, most: float = 1.0) -> None:
        """Move the clock to what is due next, a second at the most."""
        due = self.ledger.agenda.next_due(self.service.account)
        self.clock.now += most if due is None else min(most, max(0.0, due - self.clock.now))

    async def settle(self, job: Generation, seconds: float = 3600.0) -> Generation:
        """Let the poller work until the record is at rest, or the time is over."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            job = self.ledger.get(job.account, job.request_id) or job
            if job.next_look is None:
                return job
            self.clock.now = max(self.clock.now, min(job.next_look, until))
            await self.poller.step()
        return self.ledger.get(job.account, job.request_id) or job

    @property
    def charged(self) -> int:
        """The credits that the sandbox took and did not give back."""
        now = self.clock()
        return sum(a.charged() - a.refunded(now) for a in self.emulator.accounts.values())


@asynccontextmanager
async def workbench(
    folder: Path,
    *,
    options: Options | None = None,
    beside: "Workbench | None" = None,
    **variables: str,
) -> AsyncIterator[Workbench]:
    """Make a workbench; `beside` shares another one's clock, sandbox and data folder."""
    clock = beside.clock if beside else Clock()
    emulator = (
        beside.emulator
        if beside
        else Emulator(options or Options(rate_limit=1000, credits=10_000, seed=1), clock)
    )
    settings = make_settings(
        folder, **{"MEIGEN_POLL_INTERVAL": "3", "MEIGEN_OUTPUT_DIR": "off", **variables}
    )
    wire = Faulty(InMemory(emulator))
    api = Api(settings, wire)
    database = Database(settings.data_dir)
    ledger = Ledger(database)
    catalogue = LiveCatalogue(settings, ledger, lambda: api, clock)
    account = f"{settings.base_url} {settings.token}"
    media = Media(api, settings.output_dir)
    sources = Sources(settings, account, ledger, api, media, clock=clock)
    service = Service(settings, account, ledger, catalogue, sources, clock=clock)
    poller = Poller(
        ledger,
        api,
        media,
        account,
        interval=settings.poll_interval,
        rate_limit=settings.rate_limit,
        clock=clock,
        jitter=lambda: 1.0,
    )
    try:
        yield Workbench(clock, emulator, wire, ledger, poller, service)
    finally:
        await api.close()
        database.close()


# --- faults -------------------------------------------------------------------------------------


async def refused(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """No connection can be made."""
    raise httpx.ConnectError("refused", request=request)


async def dropped_before(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """The connection breaks before the API has the request."""
    raise httpx.WriteError("dropped", request=request)


async def dropped_after(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
    """The API acts, and the connection breaks before its reply."""
    await inner.handle_async_request(request)
    raise httpx.ReadError("dropped", request=request)


async def silent(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
    """The API acts, and never answers."""
    await inner.handle_async_request(request)
    raise httpx.ReadTimeout("silence", request=request)


async def cut(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
    """The API acts, and half of its reply arrives."""
    reply = await inner.handle_async_request(request)
    raw = await reply.aread()
    return httpx.Response(reply.status_code, content=raw[: len(raw) // 2])


def answers(
    status: int,
    content: bytes | None = None,
    *,
    body: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    acts: bool = False,
) -> Fault:
    """Return a fault: a reply of the test's own, after the API acted or without."""

    async def answer(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        if acts:
            await inner.handle_async_request(request)
        return httpx.Response(status, content=content, json=body, headers=headers)

    return answer
