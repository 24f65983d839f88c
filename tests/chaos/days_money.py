"""Bad days on which money could be taken twice, or without a yes."""

import contextlib
import json
import os
import shutil
import sqlite3
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass, field
from typing import Any
from uuid import uuid4

import anyio
import httpx
import mcp_types as t
from mcp.client.context import ClientRequestContext
from PIL import Image
from support.books import says_nothing_moved
from support.over_http import Served, bearer, open_session, process, structure_of

from .proxy import Exchange, HangUp, Plan, answered, changed, plain
from .servers import SERVE, Killed, Server, environment
from .stage import LONGEST, Stage
from .truth import ledger_held, until

FIVE = "nanobanana-2"
"""A model that takes 5 credits for a picture."""
DAY, HOUR = 86400.0, 3600.0
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "raw", "version": "1"},
}


# --- after the intent ----------------------------------------------------------------------------


async def held_for_long(stage: Stage) -> None:
    """Somebody else holds the write lock for longer than anybody waits, then the call again."""

    async def somebody_else() -> None:
        await anyio.sleep(stage.chance.uniform(0, 0.4))
        with ledger_held(stage.place.data):
            await anyio.sleep(stage.chance.uniform(11, 13))

    async with anyio.create_task_group() as group:
        group.start_soon(somebody_else)
        await stage.insist(stage.on)
    await stage.judge(stage.on)


async def full_while_it_is_sent(stage: Stage) -> None:
    """The disk of the ledger fills up while the POST is under way; the call again."""

    async def filled(exchange: Exchange) -> None:
        stage.fill()
        await plain(exchange)

    async def freed() -> None:
        await until(lambda: stage.wire.script.met["submit"] > 0, LONGEST)  # type: ignore[attr-defined]  # a plan
        await anyio.sleep(stage.chance.uniform(0.1, 6))
        stage.free()

    stage.wire.script = Plan(submit=[filled])
    async with anyio.create_task_group() as group:
        group.start_soon(freed)
        await stage.insist(stage.on)
    await stage.judge(stage.on)


async def stopped_between(stage: Stage) -> None:
    """The process stands still for 90 s while the reply lies in its socket."""

    async def stopping(exchange: Exchange) -> None:
        async with stage.stopped(stage.on):
            await plain(exchange)
            stage.let_pass(90)
            await anyio.sleep(stage.chance.uniform(0.05, 0.3))

    stage.wire.script = Plan(submit=[stopping])
    await stage.insist(stage.on)
    await stage.judge(stage.on)


# --- answers that nobody read --------------------------------------------------------------------


async def reset_over_http(stage: Stage) -> None:
    """2025 over HTTP: the connection is reset during a waiting call; the same call again."""
    stage.another_place()
    message = {"jsonrpc": "2.0", "id": 2, "method": "tools/call", "params": _slow(stage)}
    async with _http(stage) as served, served.client(timeout=LONGEST, trust_env=False) as client:
        named = await open_session(client)
        headers = {"accept": "application/json, text/event-stream", **named}
        async with httpx.AsyncClient(
            base_url=served.origin, headers=bearer(served.token), trust_env=False
        ) as cut:
            with anyio.move_on_after(stage.chance.uniform(0.02, 0.5)) as waited:
                await cut.post("/mcp", json=message, headers=headers)
        stage.must(waited.cancelled_caught, "it was answered before its connection was lost")
        answer = await client.post("/mcp", json={**message, "id": 3}, headers=headers)
        await stage.compare(structure_of(answer), stage.prompt, len(stage.wire.sent))
        async with stage.server() as on:
            await stage.judge(on)


@asynccontextmanager
async def _http(stage: Stage) -> AsyncIterator[Served]:
    told = environment(stage.place, **stage.variables())
    async with process(stage.place.folder, stage.wire.origin, **told) as served:
        yield served


async def pipes_gone(stage: Stage) -> None:
    """Over stdio both pipes are gone during a call; the same call in a new process."""
    stage.another_place()
    stage.place.folder.mkdir(parents=True)
    told = {**os.environ, **environment(stage.place, **stage.variables())}
    messages: list[dict[str, Any]] = [
        {"id": 1, "method": "initialize", "params": _HELLO},
        {"method": "notifications/initialized"},
        {"id": 2, "method": "tools/call", "params": _slow(stage)},
    ]
    lines = [json.dumps({"jsonrpc": "2.0", **message}) + "\n" for message in messages]
    async with await anyio.open_process([*SERVE], env=told, stderr=None) as dying:
        assert dying.stdin is not None
        assert dying.stdout is not None
        for line in lines[:-1]:
            await dying.stdin.send(line.encode())
        await dying.stdout.receive()
        await dying.stdin.send(lines[-1].encode())
        await anyio.sleep(stage.chance.uniform(0.02, 0.5))
        ends = [dying.stdin.aclose, dying.stdout.aclose]
        stage.chance.shuffle(ends)
        for end in ends:
            await end()
        with anyio.move_on_after(5):
            await dying.wait()
    async with stage.server() as on:
        again = _slow(stage)
        await stage.call(on, again["name"], **again["arguments"])
        await stage.judge(on)


def _slow(stage: Stage) -> dict[str, Any]:
    """Return a call that waits for more than half a second, so that it is cut off before."""
    arguments = {"prompt": stage.prompt, "modelId": "seedance-2-0", "duration": 4, "wait": 25}
    return {"name": "generate_video", "arguments": arguments}


# --- limits and a yes ----------------------------------------------------------------------------


async def many_at_once(stage: Stage) -> None:
    """Many small calls at once, each with a local file, that only together need a yes."""
    stage.another_place()
    pictures = stage.place.folder / "pictures"
    pictures.mkdir(parents=True)
    count = stage.chance.randint(8, 30)
    for number in range(count):
        Image.new("RGB", (64, 64), (number, 90, 200)).save(pictures / f"{number}.png")
    told: dict[str, Any] = {
        "MEIGEN_CONFIRM_ABOVE": "20",
        "MEIGEN_REFERENCE_DIRS": str(pictures),
    }

    async def wish(on: Server, number: int) -> None:
        await stage.call(
            on,
            prompt=f"{stage.prompt} / {number}",
            modelId=FIVE,
            referenceImages=[str(pictures / f"{number}.png")],
            wait=0,
        )

    async with stage.server(**told) as on, stage.server(**told) as other:
        async with anyio.create_task_group() as group:
            for number in range(count):
                group.start_soon(wish, stage.chance.choice([on, other]), number)
        accepted = stage.tally.accepted
        await stage.judge(on)
        if (more := stage.tally.accepted - accepted) > 4:
            stage.tally.twice.append(f"{more} x 5 credits without a yes, the limit is 20")


@dataclass
class Client:
    """Answers forms by itself, or not at all, or as a person does after a while."""

    answer: t.ElicitResult | t.ErrorData
    seconds: float = 0.0
    asked: list[str] = field(default_factory=list)

    async def __call__(
        self, _: ClientRequestContext, params: t.ElicitRequestParams
    ) -> t.ElicitResult | t.ErrorData:
        """Answer a form."""
        self.asked.append(params.message)
        await anyio.sleep(self.seconds)
        return self.answer

    def options(self, mode: str = "legacy") -> dict[str, Any]:
        """Return what makes a client answer like this."""
        return {"mode": mode, "elicitation_callback": self}


async def form_times_out(stage: Stage) -> None:
    """A client of 2025 answers the form with an error; the model then passes a yes on."""
    stage.another_place()
    code = stage.chance.choice([t.REQUEST_TIMEOUT, t.INTERNAL_ERROR, -32000])
    client = Client(t.ErrorData(code=code, message="timed out"), stage.chance.uniform(0, 0.2))
    async with stage.server(client=client.options(), MEIGEN_CONFIRM_ABOVE="0") as on:
        first = await stage.call(on)
        await stage.call(on, requestId=first["requestId"], maxCredits=100)
        stage.must(len(client.asked) == 2, f"asked {len(client.asked)} times, not twice")
        await stage.judge(on, most=0)


async def client_answers_by_itself(stage: Stage) -> None:
    """The client declines or cancels a few milliseconds after it was asked, every time."""
    stage.another_place()
    said = t.ElicitResult(action=stage.chance.choice(["cancel", "decline"]))
    client = Client(said, stage.chance.uniform(0, 0.03))
    mode = stage.chance.choice(["legacy", "auto"])
    async with stage.server(client=client.options(mode), MEIGEN_CONFIRM_ABOVE="0") as on:
        first = await stage.call(on)
        again = {"requestId": first["requestId"], "maxCredits": 100}
        answers = [first, await stage.call(on, **again), await stage.call(on, **again)]
        found = [answer["status"] for answer in answers]
        good = found[0] == "needs_approval" and found[-1] == "completed"
        stage.must(good, f"the call that names the offer never runs: {found}")
        await stage.judge(on)


async def yes_of_another_day(stage: Stage) -> None:
    """A yes given while the clock was a day ahead saves no question once it is set right."""
    stage.another_place()
    client = Client(t.ElicitResult(action="accept", content={"approve": True}))
    stage.set_clock(DAY)
    async with stage.server(client=client.options(), MEIGEN_CONFIRM_ABOVE="7") as on:
        for number in range(2):
            await stage.call(on, prompt=f"{stage.prompt} / {number}", modelId=FIVE, wait=0)
        asked = len(client.asked)
        await anyio.sleep(stage.chance.uniform(0, 0.5))
        stage.set_clock(0)
        await anyio.sleep(0.1)
        client.answer = t.ErrorData(code=t.REQUEST_TIMEOUT, message="nobody is there")
        for number in range(2, 8):
            await stage.call(on, prompt=f"{stage.prompt} / {number}", modelId=FIVE, wait=0)
        stage.must(asked > 0, "nothing was asked while the clock was ahead")
        accepted = stage.tally.accepted
        await stage.judge(on)
        if (more := stage.tally.accepted - accepted) > 3:
            stage.tally.twice.append(f"{more} x 5 credits, and the last yes was for the second")


# --- what a refusal means ------------------------------------------------------------------------


async def late_and_refused(stage: Stage) -> None:
    """A POST is cut, then arrives late, and its repetition is refused."""
    refusals = {
        "400 Bad Request": b'{"success":false,"error":"Invalid","code":"invalid_request"}',
        "401 Unauthorized": b'{"success":false,"error":"Invalid API token"}',
        "402 Payment Required": b'{"success":false,"code":"insufficient_credits"}',
    }
    status, body = stage.chance.choice([*refusals.items()])
    late: list[Exchange] = []

    async def cut(exchange: Exchange) -> None:
        late.append(exchange)
        raise HangUp

    async def refused(exchange: Exchange) -> None:
        await late[0].forward()
        late[0].close()
        await answered(status, body)(exchange)

    stage.wire.script = Plan(submit=[cut, refused])
    await stage.insist(stage.on)
    await stage.judge(stage.on)


async def charge_of_nothing(stage: Stage) -> None:
    """Each reply says that 0 credits were used: no refund is proven."""
    stage.priced, free = False, changed(lambda said: {**said, "creditsUsed": 0})
    stage.wire.script = Plan(submit=free, status=free, lookup=free)
    await stage.call(stage.on, modelId=FIVE)
    await stage.rest()
    found = stage.rows()
    stage.must([row.amount for row in found] == [5], f"the reservation was freed: {found}")
    stage.wire.script = plain
    stage.tally.accepted += len(found)


# --- the ledger is another one -------------------------------------------------------------------


async def folder_removed(stage: Stage) -> None:
    """The data folder is removed under a running server; a second one starts; a cap of 10."""
    await _removed(stage, lambda: shutil.rmtree(stage.place.data), again=True)


async def file_removed(stage: Stage) -> None:
    """Only the ledger's file is removed, and the server is started again."""

    def remove() -> None:
        for path in stage.place.data.glob("ledger.sqlite3*"):
            path.unlink()

    await _removed(stage, remove, again=False)


async def overwritten(stage: Stage) -> None:
    """Something else is written into the ledger's file: an older copy, one made anew, nothing."""
    kind, copy = stage.chance.choice(["anew", "as it is", "nothing"]), f"copy-{uuid4()}"

    def take_copy() -> None:
        (stage.folder / copy).touch()
        if kind == "nothing":
            return
        with closing(sqlite3.connect(stage.place.data / "ledger.sqlite3")) as db:
            if kind == "anew":
                db.execute(f"VACUUM INTO '{stage.folder / copy}'")
                return
            with closing(sqlite3.connect(stage.folder / copy)) as target:
                db.backup(target)

    def overwrite() -> None:
        content = (stage.folder / copy).read_bytes()
        (stage.place.data / "ledger.sqlite3").write_bytes(content)

    again = stage.chance.random() < 0.5
    await _removed(stage, overwrite, again=again, before=take_copy)


async def older_copy(stage: Stage) -> None:
    """An older copy of the data folder is put back while nothing runs: nobody can know of it."""
    stage.another_place()
    copy, later = stage.folder / f"copy-{uuid4()}", f"{stage.prompt} / since"
    async with stage.server() as on:
        await stage.call(on, modelId=FIVE)
        await stage.rest()
    shutil.copytree(stage.place.data, copy)
    async with stage.server() as on:
        lost = await stage.call(on, prompt=later, modelId=FIVE)
        await stage.rest()
    saved = [row.saved for row in stage.rows() if row.prompt == later]
    stage.must(saved == [True], f"not saved: {lost}")
    shutil.rmtree(stage.place.data)
    shutil.move(copy, stage.place.data)
    async with stage.server(MEIGEN_MAX_CREDITS_PER_DAY="10") as on:
        told = await on.call("check_status", requestId=lost["requestId"])
        stage.must(not says_nothing_moved(told), f"untrue of what is not known: {told}")
        await _spend(stage, on)
        accepted = len(stage.sent())
        stage.must(accepted == 3, f"{accepted} sent: one before, one that is lost, one of a cap")
        await stage.rest()
    stage.tally.accepted += accepted


async def _removed(
    stage: Stage, remove: Callable[[], Any], *, again: bool, before: Callable[[], Any] | None = None
) -> None:
    stage.another_place()
    cap: dict[str, Any] = {"MEIGEN_MAX_CREDITS_PER_DAY": "10"}
    async with stage.server(**cap) as on:
        if before is not None:
            await on.call("check_status")  # now it is there
            before()
        await stage.call(on, modelId=FIVE, wait=stage.chance.choice([0, 25]))
        remove()
        with contextlib.suppress(Killed):
            await stage.call(on, prompt=f"{stage.prompt} / again", modelId=FIVE, wait=0)
        await anyio.sleep(stage.chance.uniform(2.5, 4))  # it looks every 2 s
        if again:
            async with stage.server(**cap) as other:
                await _spend(stage, other)
    async with stage.server(**cap) as on:
        await _spend(stage, on)
        spent = stage.tally.accepted
        await stage.judge(on)
        if (taken := 5 * (stage.tally.accepted - spent)) > 10:
            stage.tally.twice.append(f"{taken} credits, the cap is 10")


async def _spend(stage: Stage, on: Server) -> None:
    for number in range(3):
        prompt = f"{stage.prompt} / {uuid4()} {number}"
        await stage.call(on, prompt=prompt, modelId=FIVE, wait=0)


async def key_lost(stage: Stage) -> None:
    """The account's key file is lost while nothing runs: the paid job is known all the same."""
    stage.another_place()
    async with stage.server() as on:
        await stage.call(on, modelId=FIVE, wait=0)
        await anyio.sleep(stage.chance.uniform(0, 0.3))
    (stage.place.data / "account.key").unlink()
    async with stage.server() as on:
        await stage.judge(on)
        known = await on.call("check_status")
        prompts = [row["prompt"] for row in known["generations"]]
        stage.must(prompts == [stage.prompt], f"the history is {prompts}")
