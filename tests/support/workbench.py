"""Service, poller and ledger on the sandbox under one clock of the test's own: nothing sleeps."""

import contextlib
import json
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.lowlevel
import anyio.to_thread
import httpx
from support.books import Booked
from support.in_memory import InMemory, make_settings

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.errors import LedgerUnavailable, MeigenError
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.sqlite.ledger import SqliteLedger
from meigen_mcp.media.store import Media
from meigen_mcp.poller.poller import Poller
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.service.person import Question, Verdict
from meigen_mcp.service.references import ReferenceResolver
from meigen_mcp.service.results import Outcome
from meigen_mcp.service.service import Service

Route = Literal["submit", "status", "lookup", "models", "media"]
Fault = Callable[[httpx.Request, httpx.AsyncBaseTransport], Any]


class Clock:
    """Seconds since the epoch, moved by the test.

    Attributes:
        set_by: how far the wall clock was set; the monotonic one does not know.
        slept: how long the machine slept while its monotonic clock stood still.
    """

    def __init__(self) -> None:
        self.now = 1_800_000_000.0
        self.set_by = 0.0
        self.slept = 0.0

    def __call__(self) -> float:
        """Return the time."""
        return self.now

    def true(self) -> float:
        """Return the time elsewhere, whatever the clock was set to."""
        return self.now - self.set_by

    def monotonic(self) -> float:
        """Return the seconds that passed while the machine was awake."""
        return self.true() - self.slept

    def sleep(self, seconds: float) -> None:
        """Have the machine sleep, as Linux counts: its monotonic clock stands still."""
        self.now += seconds
        self.slept += seconds

    def set(self, seconds: float) -> None:
        """Set the wall clock."""
        self.now += seconds
        self.set_by += seconds


@dataclass
class Someone:
    """The person behind a call, with their answer."""

    answer: Verdict = "cannot ask"
    pending: str | None = None
    patience: float = 40
    polls: bool = False
    hears: bool = True
    declared: bool = False
    asked: list[Question] = field(default_factory=list)
    told: list[tuple[str, int | None]] = field(default_factory=list)

    @property
    def can_ask(self) -> bool:
        """Whether they can be asked; one whose client only says so answers `cannot ask`."""
        return self.declared or self.answer != "cannot ask"

    async def confirm(self, question: Question) -> Verdict:
        """Answer a question about a price."""
        self.asked.append(question)
        return self.answer

    async def report(self, job: Generation, elapsed: float, place: int | None) -> None:
        """Hear how it goes."""
        del elapsed
        self.told.append((job.status, place))


class Faulty(httpx.AsyncBaseTransport):
    """Carries requests to the sandbox, and spoils those for which a fault is planned.

    Attributes:
        dead: the machine has no power any more.
    """

    dead = False

    def __init__(self, inner: InMemory) -> None:
        self._inner = inner
        self.faults: dict[Route, list[Fault]] = {}
        self.seen: list[tuple[Route, bytes]] = []

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or do what the next fault of its route does."""
        if self.dead:
            await anyio.sleep_forever()
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


class Elsewhere:
    """What threads and programs do, whose time the workbench's clock does not know.

    Attributes:
        at_work: how many of them are asked for something; the clock stands still meanwhile, so that
            no call's patience ends because this machine is slow.
    """

    def __init__(self) -> None:
        self.at_work = 0

    @contextlib.contextmanager
    def watched(self) -> Iterator["Elsewhere"]:
        """Count what is asked of threads and programs, which do it as ever."""
        asked = ((anyio.to_thread, "run_sync"), (anyio, "run_process"))
        before = [(where, name, getattr(where, name)) for where, name in asked]
        for where, name, ask in before:
            setattr(where, name, self._counting(ask))
        try:
            yield self
        finally:
            for where, name, ask in before:
                setattr(where, name, ask)

    def _counting(self, ask: Callable[..., Awaitable[Any]]) -> Callable[..., Awaitable[Any]]:
        async def counted(*of: Any, **how: Any) -> Any:
            self.at_work += 1
            try:
                return await ask(*of, **how)
            finally:
                self.at_work -= 1

        return counted


@dataclass
class Workbench:
    """Everything between a call and the sandbox."""

    clock: Clock
    emulator: Emulator
    wire: Faulty
    ledger: SqliteLedger
    poller: Poller
    service: Service
    elsewhere: Elsewhere

    async def generate(
        self, tool: Tool = "generate_image", person: Someone | None = None, **arguments: Any
    ) -> Outcome:
        """Make a call while the poller works and the clock runs."""
        call = {"prompt": "a red cube", **arguments}
        someone = person or Someone()
        outcome: Outcome = await self.drive(lambda: self.service.generate(tool, call, someone))
        return outcome

    async def check(self, person: Someone | None = None, **arguments: Any) -> Any:
        """Look at a generation while the poller works and the clock runs."""
        someone = person or Someone()
        return await self.drive(lambda: self.service.check(arguments, someone))

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
                while self.elsewhere.at_work:
                    await anyio.lowlevel.checkpoint()
                await self.turn()
                await self.move()
                await self.ledger.changes.notice()
                self.ledger.changes.wake_all()
                await anyio.lowlevel.checkpoint()
        if refused:
            raise refused[0]
        return results[0]

    async def turn(self) -> None:
        """Let the poller do what is due; without the ledger it does so later, as its loop does."""
        with contextlib.suppress(LedgerUnavailable), _alone():
            await self.poller.step()

    async def next_due(self) -> float | None:
        """Return when this process next has something to do."""
        return (await self.ledger.queue.due(float("-inf"), {}, ())).next_at

    async def newest(self) -> Generation:
        """Return the newest record."""
        ((_, job),) = await self.ledger.records.newest(1)
        return job

    async def reread(self, job: Generation) -> Generation:
        """Return a record as it is now."""
        found = await self.ledger.records.get(job.request_id)
        assert found is not None
        return found

    async def spent(self) -> Decimal:
        """Return the credits that were spent or are reserved, over all accounts."""
        return (await self.ledger.records.overview(0, self.clock())).spent_month

    async def move(self, most: float = 1.0) -> None:
        """Move the clock to what is due next, a second at the most; what is overdue waits too."""
        due = await self.next_due()
        self.clock.now += most if due is None else min(most, max(0.1, due - self.clock.now))

    async def settle(self, job: Generation, seconds: float = 3600.0) -> Generation:
        """Let the poller work until the record is at rest, or the time is over."""
        until = self.clock.now + seconds
        while self.clock.now < until:
            job = await self.ledger.records.get(job.request_id) or job
            if job.next_look is None:
                return job
            self.clock.now = max(self.clock.now, min(job.next_look, until))
            await self.poller.step()
        return await self.ledger.records.get(job.request_id) or job

    def booked(self, key: str) -> Booked:
        """Return what the sandbox has of one request."""
        now = self.clock.true()
        jobs = [job for job in self.emulator.jobs.values() if job.key == key]
        kept = [job.credits for job in jobs if job.status(now) != "failed"]
        return Booked(len(jobs), jobs[0].status(now) if jobs else "", sum(kept))

    @property
    def charged(self) -> int:
        """The credits that the sandbox took and did not give back."""
        now = self.clock.true()
        return sum(a.charged() - a.refunded(now) for a in self.emulator.accounts.values())


@contextlib.contextmanager
def _alone() -> Iterator[None]:
    """Let a single failure of a group through as what it is."""
    try:
        yield
    except BaseExceptionGroup as group:
        if len(group.exceptions) == 1:
            raise group.exceptions[0] from None
        raise


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
        else Emulator(options or Options(rate_limit=1000, credits=10_000, seed=1), clock.true)
    )
    settings = make_settings(
        folder, **{"MEIGEN_POLL_INTERVAL": "3", "MEIGEN_OUTPUT_DIR": "off", **variables}
    )
    wire = Faulty(InMemory(emulator))
    api = Api(settings, wire)
    ledger = SqliteLedger(
        settings.data_dir,
        origin=settings.base_url,
        gateway=settings.upload_url,
        rate_limit=settings.rate_limit,
        name_account=lambda _: f"{settings.base_url} {settings.token}",
        threaded=False,
    )
    catalogue = CurrentCatalogue(settings, ledger, lambda: api, clock)
    media = Media(api, settings.output_dir)
    references = ReferenceResolver(settings, ledger, api, media, clock=clock)
    service = Service(
        settings, ledger, catalogue, references, clock=clock, monotonic=clock.monotonic
    )
    poller = Poller(
        ledger,
        api,
        media,
        interval=settings.poll_interval,
        clock=clock,
        monotonic=clock.monotonic,
        jitter=lambda: 1.0,
    )
    try:
        with Elsewhere().watched() as elsewhere:
            yield Workbench(clock, emulator, wire, ledger, poller, service, elsewhere)
    finally:
        await media.close()
        await api.close()
        await ledger.close()


# --- faults -------------------------------------------------------------------------------------


async def refused(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """No connection can be made."""
    raise httpx.ConnectError("refused", request=request)


async def dropped_before(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """The connection breaks before the API has the request."""
    raise httpx.WriteError("dropped", request=request)


@dataclass
class OnItsWay:
    """A POST that is cut, and that the system sends once more when the test says so."""

    held: tuple[httpx.Request, httpx.AsyncBaseTransport] | None = None

    async def __call__(
        self, request: httpx.Request, inner: httpx.AsyncBaseTransport
    ) -> httpx.Response:
        """Keep it."""
        headers, content = request.headers, request.content
        self.held = httpx.Request("POST", request.url, headers=headers, content=content), inner
        raise httpx.ReadTimeout("on its way", request=request)

    async def arrive(self) -> None:
        """Have the API get it."""
        assert self.held is not None
        request, inner = self.held
        await inner.handle_async_request(request)


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


async def with_an_id(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
    """The API acts, and its reply says both that it failed and which generation it is."""
    reply = await inner.handle_async_request(request)
    said = json.loads(await reply.aread()) | {"success": False, "error": "Internal"}
    return httpx.Response(500, json=said)


def labelled(label: str) -> Fault:
    """Return a fault: the API acts, and its reply has a `Content-Encoding` that is not true."""

    async def answer(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        reply = await inner.handle_async_request(request)
        raw = httpx.ByteStream(await reply.aread())
        return httpx.Response(reply.status_code, headers={"content-encoding": label}, stream=raw)

    return answer


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
