"""Bad days on which a paid result could be lost, or something untrue be said of it."""

import re
import time
from collections.abc import Callable, Mapping
from typing import Any

import anyio
import anyio.to_thread
from support.clips import FAST, RATE, Clip, write

from .days_money import DAY, HOUR
from .proxy import Exchange, HangUp, Plan, Script, answered, changed, dropped, plain
from .servers import SERVE, environment
from .stage import LONGEST, Stage
from .truth import ledger_held, until

HTML = b"<html><body>Bad gateway</body></html>"
BAD_GATEWAY = answered("502 Bad Gateway", HTML, "content-type: text/html")
UNAVAILABLE = answered("503 Service Unavailable", HTML, "content-type: text/html")
SLOW = {"modelId": "seedance-2-0", "duration": 4, "wait": 0}
"""A clip of some seconds: at the speed of this sandbox it takes 0.6 to 2.4."""
FOUR = "midjourney-v8.1"
"""A model that makes four pictures at once."""
_IS_OF_FOUR = re.compile(rb"-[1-4]\.png")
MOST_BEHIND = 20.0
"""Seconds in which a good result is saved though other hosts are silent."""


# --- could not ask -------------------------------------------------------------------------------


async def slept_for_a_day(stage: Stage) -> None:
    """A clip is under way; 25 hours later a server starts, and has no network yet."""
    stage.another_place()
    async with stage.server() as on:
        await stage.call(on, "generate_video", **SLOW)
    if stage.chance.random() < 0.5:
        stage.set_clock(25 * HOUR)
    else:
        stage.let_pass(25 * HOUR)
    stage.wire.script = Plan(status=dropped)
    async with stage.server() as on:
        (key,) = stage.sent()
        await stage.call(on, "check_status", requestId=key, wait=0)
        await anyio.sleep(stage.chance.uniform(0, 2))
        stage.wire.script = plain
        await stage.judge(on)


async def slept_during_the_post(stage: Stage) -> None:
    """20 minutes asleep during the POST, whose reply is lost; then for a while no network."""

    async def asleep(exchange: Exchange) -> None:
        async with stage.stopped(stage.on):
            await exchange.forward()
            stage.set_clock(20 * 60)
            await anyio.sleep(stage.chance.uniform(0.05, 0.3))
        raise HangUp

    stage.wire.script = Plan(submit=[asleep], lookup=[dropped] * stage.chance.randint(1, 4))
    answer = await stage.call(stage.on, wait=stage.chance.choice([0, 25]))
    if answer["status"] == "unknown":
        stage.tally.lies.append(f"unknown, though the API knows the key: {answer}")
    await stage.judge(stage.on)


async def gateway_restarts(stage: Stage) -> None:
    """A gateway answers HTML with 502 or 503 for a while after an accepted POST."""
    html = stage.chance.choice([BAD_GATEWAY, UNAVAILABLE])
    over = time.monotonic() + stage.chance.uniform(0.5, 12)

    async def look(exchange: Exchange) -> None:
        await (html if time.monotonic() < over else plain)(exchange)

    async def lost(exchange: Exchange) -> None:
        await exchange.forward()
        await html(exchange)

    stage.wire.script = Plan(submit=[lost], lookup=look, status=look)
    await stage.insist(stage.on)
    await stage.judge(stage.on)


async def looks_refused(stage: Stage) -> None:
    """Every look is answered by 401 or 404 for a while."""
    said = stage.chance.choice(
        [
            answered("401 Unauthorized", b'{"success":false,"error":"Invalid API token"}'),
            answered("404 Not Found", b'{"success":false,"error":"Generation not found"}'),
        ]
    )
    await _told_what_looks_met(stage, said)


async def odd_status(stage: Stage) -> None:
    """Every look is answered by a status that is not documented."""
    await _told_what_looks_met(stage, changed(lambda said: {**said, "status": "resting"}))


async def _told_what_looks_met(stage: Stage, met: Script) -> None:
    plan = stage.wire.script = Plan(status=met)
    answer = await stage.call(stage.on, wait=0)
    await until(lambda: plan.met["status"] > 8, LONGEST)
    await anyio.sleep(0.3)
    key = answer["requestId"]
    answer = await stage.call(stage.on, "check_status", requestId=key, wait=0)
    stage.must("error" in answer, f"what the looks met is not told: {answer}")
    stage.wire.script = plain
    await stage.judge(stage.on)


# --- clocks --------------------------------------------------------------------------------------


async def clock_back_in_a_call(stage: Stage) -> None:
    """The clock is set back or ahead during a call with `wait: 8`."""
    began, by = time.monotonic(), stage.chance.choice([-HOUR, -30, -DAY, 30, HOUR])

    async def set_clock() -> None:
        await anyio.sleep(stage.chance.uniform(0, 1))
        stage.set_clock(by)

    async with anyio.create_task_group() as group:
        group.start_soon(set_clock)
        stalls = stage.chance.random() < 0.3
        prompt = f"{stage.prompt} / sandbox:stall" if stalls else stage.prompt
        answer = await stage.call(stage.on, prompt=prompt, wait=8)
    took = time.monotonic() - began
    stage.must(took < 16, f"a wait of 8 took {took:.0f} s")
    # Set so far before it was sent, nobody knows how old it is: then it is not sent, and says so.
    void = abs(by) >= HOUR and not stage.sent() and _expired(answer)
    stage.must(stalls or void or answer["status"] == "completed", f"not completed: {answer}")
    await stage.judge(stage.on, ("completed", "processing"), rest=not stalls)


def _expired(answer: Mapping[str, Any]) -> bool:
    error = answer.get("error", {})
    return (answer["status"], error.get("code"), error.get("charged")) == (
        "failed",
        "expired",
        "no",
    )


async def killed_and_clock_back(stage: Stage) -> None:
    """A server is killed and the clock goes back by an hour; another takes over in 5 s."""
    stage.another_place()
    async with stage.server() as other:
        async with stage.server() as on:
            await stage.call(on, "generate_video", **SLOW)
        stage.set_clock(-stage.chance.choice([30, HOUR, DAY]))
        await stage.rest(5 + 10)
        await stage.judge(other)


async def held_back_and_clock_back(stage: Stage) -> None:
    """A 429 says 3 s, and the clock goes back by an hour."""
    busy = answered("429 Too Many", b"{}", "retry-after: 3")
    plan = stage.wire.script = Plan(submit=[busy])
    await stage.call(stage.on, wait=0)
    await until(lambda: plan.met["submit"] > 0, LONGEST)
    stage.set_clock(-HOUR)
    await stage.rest(20)
    await stage.judge(stage.on)


async def clock_ahead_then_right(stage: Stage) -> None:
    """Jobs are begun while the clock is hours ahead; then it is right, in a new process."""
    stage.another_place()
    ahead = stage.chance.choice([2 * HOUR, 9 * HOUR, DAY])
    stage.set_clock(ahead)
    async with stage.server(MEIGEN_RATE_LIMIT="2") as on:
        for number in range(2):
            await stage.call(on, prompt=f"{stage.prompt} / {number}", wait=0)
        if stage.chance.random() < 0.5:
            stage.set_clock(0)
            await stage.rest()
    stage.set_clock(0)
    async with stage.server(MEIGEN_RATE_LIMIT="20") as on:
        await stage.call(on, prompt=f"{stage.prompt} / new")
        await stage.judge(on)


# --- saving --------------------------------------------------------------------------------------


async def output_full(stage: Stage) -> None:
    """The disk of the output folder is full, until it has room again."""
    stage.fill()
    await _saved_later(stage, stage.free, "full")


async def host_fails(stage: Stage) -> None:
    """The host of the media answers 503 for two minutes."""
    stage.wire.script = Plan(media=UNAVAILABLE)
    await _saved_later(stage, lambda: setattr(stage.wire, "script", plain), "opened")


async def descriptors_used_up(stage: Stage) -> None:
    """A server may open no more files, until it may again."""
    import resource  # noqa: PLC0415  # Windows has none

    pid, kind = stage.on.pid, resource.RLIMIT_NOFILE
    before = resource.prlimit(pid, kind)

    async def used_up(exchange: Exchange) -> None:
        resource.prlimit(pid, kind, (3, before[1]))
        await plain(exchange)

    def again() -> None:
        resource.prlimit(pid, kind, before)

    stage.wire.script = Plan(media=[used_up])
    try:
        await _saved_later(stage, again, "")
    finally:
        again()


async def _saved_later(stage: Stage, mend: Callable[[], Any], reason: str) -> None:
    """See that what cannot be saved is said with its reason, and saved once that is mended."""
    answer = await stage.call(stage.on)
    key = answer["requestId"]
    completed = await until(lambda: [row.status for row in stage.rows()] == ["completed"], LONGEST)
    stage.must(completed, f"not completed: {answer}")
    await anyio.sleep(stage.chance.uniform(0.5, 4))
    answer = await stage.call(stage.on, "check_status", requestId=key, wait=0)
    reasons = [item["reason"] for item in answer.get("unsaved", ())]
    told = len(reasons) == 1 and reason in reasons[0]
    stage.must(told, f"the reason {reason!r} is not said: {answer}")
    mend()
    for seconds in (70, 800, 4800):
        if not await until(lambda: [row.idle for row in stage.rows()] == [True], 4):
            stage.let_pass(seconds)
    await stage.judge(stage.on)
    answer = await stage.call(stage.on, "check_status", requestId=key, wait=0)
    stage.must(len(answer.get("files", ())) == 1, f"never saved: {answer}")


async def silent_hosts(stage: Stage) -> None:
    """16 media of 4 generations are silent; a good result is saved all the same."""
    over = anyio.Event()

    async def media(exchange: Exchange) -> None:
        if _IS_OF_FOUR.search(exchange.line) and not over.is_set():
            await over.wait()
            raise HangUp
        await plain(exchange)

    good, plan = f"{stage.prompt} / good", Plan(media=media)
    stage.wire.script = plan
    for number in range(4):
        prompt = f"{stage.prompt} / silent {number}"
        await stage.call(stage.on, prompt=prompt, modelId=FOUR, wait=0)
    await until(lambda: plan.met["media"] > 3, LONGEST)
    began = time.monotonic()
    answer = await stage.call(stage.on, prompt=good)

    def saved() -> bool:
        return any(row.saved for row in stage.rows() if row.prompt == good)

    stage.must(await until(saved, LONGEST), f"not saved behind silent ones: {answer}")
    took = time.monotonic() - began
    stage.must(took < MOST_BEHIND, f"saved after {took:.0f} s behind silent ones")
    over.set()
    await stage.judge(stage.on)


# --- odd replies ---------------------------------------------------------------------------------


async def refused_address(stage: Stage) -> None:
    """A completed result has an `http://` URL of another host, or one with a space."""
    url = stage.chance.choice(["http://cdn.example/a.png", "https://cdn.example/a b.png"])

    def elsewhere(said: dict[str, Any]) -> dict[str, Any]:
        return (
            {**said, "imageUrl": url, "imageUrls": [url]}
            if said.get("status") == "completed"
            else said
        )

    odd = changed(elsewhere)
    stage.wire.script = Plan(status=odd, submit=odd, lookup=odd)
    answer = await stage.call(stage.on)
    await stage.rest()
    answer = await stage.call(stage.on, "check_status", requestId=answer["requestId"])
    told = url in str(answer.get("error", {}).get("message")) and answer["status"] == "completed"
    stage.must(told, f"the address is not handed on: {answer}")
    await stage.judge(stage.on)


async def labelled_reply(stage: Stage) -> None:
    """The API's JSON carries a `Content-Encoding` that is not true."""
    label = stage.chance.choice(["utf-8", "deflate", "gzip", "none", "identity, utf-8"])
    odd = _labelled(label)
    stage.wire.script = Plan(submit=odd, status=odd, lookup=odd)
    await stage.call(stage.on)
    await stage.judge(stage.on)


async def labelled_media(stage: Stage) -> None:
    """The media carry a `Content-Encoding` that says nothing."""
    label = stage.chance.choice(["aws-chunked", "binary", "none", ""])
    stage.wire.script = Plan(media=_labelled(label))
    await stage.call(stage.on)
    await stage.judge(stage.on)
    stage.must(all(row.saved for row in stage.rows()), f"not saved: {stage.rows()}")


def _labelled(label: str) -> Script:
    async def script(exchange: Exchange) -> None:
        head, _, body = (await exchange.forward()).partition(b"\r\n\r\n")
        await exchange.answer(head + f"\r\ncontent-encoding: {label}\r\n\r\n".encode() + body)

    return script


async def half_a_file(stage: Stage) -> None:
    """Half a PNG or MP4 without a Content-Length, and the connection is closed."""
    share, clip = stage.chance.uniform(0.2, 0.95), stage.chance.random() < 0.5

    async def half(exchange: Exchange) -> None:
        body = (await exchange.forward()).partition(b"\r\n\r\n")[2]
        kept = body[: int(len(body) * share)]
        await exchange.answer(b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\n" + kept)
        raise HangUp

    always = stage.chance.random() < 0.3
    stage.wire.script = Plan(media=half if always else [half] * stage.chance.randint(1, 3))
    tool = "generate_video" if clip else "generate_image"
    how = SLOW if clip else {"wait": 0}
    answer = await stage.call(stage.on, tool, **how)
    await stage.rest()
    answer = await stage.call(stage.on, "check_status", requestId=answer["requestId"])
    stage.must(len(answer.get("files", ())) == 1, f"nothing was kept: {answer}")
    stage.must(("unsaved" in answer) == always, f"called whole, or cut: {answer}")
    await stage.judge(stage.on)


async def one_id_for_two(stage: Stage) -> None:
    """The same `generationId` comes back for two keys; each record shows its own prompt."""
    first: dict[str, Any] = {}

    def same(said: dict[str, Any]) -> dict[str, Any]:
        return {**said, "generationId": first.setdefault("id", said["generationId"])}

    stage.wire.script = Plan(submit=changed(same))
    prompts = [stage.prompt, f"{stage.prompt} / the other"]
    answers = [await stage.call(stage.on, prompt=prompt) for prompt in prompts]
    await stage.rest()
    for prompt, answer in zip(prompts, answers, strict=True):
        record = await stage.on.client.read_resource(answer["resourceUri"])
        shown = getattr(record.contents[0], "text", "")
        stage.must(f'"{prompt}"' in shown, f"{answer['resourceUri']} shows {shown}")
    stage.tally.accepted += len(answers)


# --- standing still ------------------------------------------------------------------------------


async def lists_while_held(stage: Stage) -> None:
    """Another program holds the write lock: what needs no ledger is answered at once."""
    longest = 0.0
    async with anyio.create_task_group() as group:
        with ledger_held(stage.place.data):
            group.start_soon(stage.call, stage.on)
            over = time.monotonic() + stage.chance.uniform(1, 5)
            while time.monotonic() < over:
                began = time.monotonic()
                await stage.on.client.list_tools()
                longest = max(longest, time.monotonic() - began)
                await anyio.sleep(0.05)
    stage.must(longest < 4, f"tools/list took {longest:.1f} s")
    await stage.judge(stage.on)


async def no_locks(stage: Stage) -> None:
    """The file system knows no locks: the server starts, and refuses in words."""
    stage.another_place()
    began = time.monotonic()
    async with stage.server(ENV_NO_LOCKS="1") as on:
        await on.client.list_tools()
        answer = await stage.call(on)
    took = time.monotonic() - began
    stage.must(took < 25, f"it took {took:.0f} s")
    stage.must("cannot lock files" in str(answer), f"not said: {answer}")
    stage.must(not stage.sent(), "something was sent")


async def called_off_in_time(stage: Stage) -> None:
    """A queued one is called off from a terminal at the moment at which it can be sent."""
    hold = f"retry-after: {stage.chance.randint(1, 3)}"
    stage.wire.script = Plan(submit=[answered("429 Too Many", b"{}", hold)])
    async with anyio.create_task_group() as group:
        group.start_soon(stage.call, stage.on)
        await until(lambda: len(stage.rows()) > 0, LONGEST)
        (key,) = [row.request_id for row in stage.rows()]
        await anyio.sleep(stage.chance.uniform(0, 2))
        await _typed(stage, "jobs", key, "--call-off")
    await stage.rest()
    answer = await stage.call(stage.on, "check_status", requestId=key, wait=0)
    off = answer["status"] == "failed" and answer["error"]["code"] == "called_off"
    accepted = (await stage.booked(key)).accepted
    stage.must(off != (accepted > 0), f"called off: {off}, accepted: {accepted}: {answer}")
    await stage.judge(stage.on)


async def _typed(stage: Stage, *words: str) -> None:
    told = environment(stage.place)
    await anyio.run_process([*SERVE[:-1], *words], env=told, check=False)


async def clip_in_fragments(stage: Stage) -> None:
    """A result of 5 s is written in fragments without an empty header; what it costs to go on."""
    frames = tuple(range(stage.chance.randint(2, 9) * RATE))
    clip = Clip("mp4", "libx264", FAST, {"movflags": "+frag_keyframe"}, times=frames)
    path = stage.folder / "fragments.mp4"
    await anyio.to_thread.run_sync(write, clip, path)
    body = path.read_bytes()
    stage.wire.script = Plan(media=answered("200 OK", body, "content-type: video/mp4"))
    made = await stage.call(stage.on, "generate_video", **{**SLOW, "wait": 25})
    await stage.rest()
    again = {"prompt": f"{stage.prompt} / on", "modelId": SLOW["modelId"], "dryRun": True}
    again["referenceVideo"] = f"{made['resourceUri']}/media/0"
    by_file = await stage.call(stage.on, "generate_video", **again)
    again["referenceVideoDuration"] = len(frames) / RATE
    by_hand = await stage.call(stage.on, "generate_video", **again)
    prices = [answer.get("quote", {}).get("credits") for answer in (by_file, by_hand)]
    stage.must(prices[0] == prices[1], f"{again['referenceVideoDuration']} s: {prices}: {by_file}")
    await stage.judge(stage.on)
