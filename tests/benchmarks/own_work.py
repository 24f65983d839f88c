"""The processor time of what a call needs of the server itself, in turn with an older build's.

Both serve all the while, and take turns: the same call costs a fifth more or less within minutes.
"""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from statistics import median
from typing import Any

import anyio

from .beside import Figures, row
from .peer import picture
from .processes import MODEL, Server, connected, environment, instant, serve, temporary
from .report import Part, Row
from .size import Size

MOST_GENERATING, MOST_READING = 1.0, 1.15
TOGETHER = 10
"""Pictures that one turn makes at once: few enough for an older build to draw each preview too."""
_WARM_UP = 20
_WAIT = 40

Ask = Callable[[Server, str], Awaitable[Any]]
"""Asks a server, which is also given the id of a generation that it has completed."""


def _calling(tool: str, **arguments: Any) -> Ask:
    async def ask(server: Server, generation: str) -> Any:
        named = {name: generation if value is ... else value for name, value in arguments.items()}
        return await server.call(tool, **named)

    return ask


READS: Mapping[str, Ask] = {
    "`check_status` of one": _calling("check_status", generationId=...),
    "`check_status` of all": _calling("check_status"),
    "`dryRun`": _calling("generate_image", prompt="a cube", modelId=MODEL, dryRun=True),
    "`list_models`": _calling("list_models"),
    "`list_models` of one": _calling("list_models", modelId=MODEL),
}


@asynccontextmanager
async def _serving(python: str) -> AsyncIterator[Server]:
    with temporary() as folder:
        environ = {"MEIGEN_OUTPUT_DIR": str(folder / "media")}
        async with (
            instant(picture(folder)) as origin,
            connected(serve(python), environment(folder, origin, **environ)) as server,
        ):
            yield server


async def _made(server: Server, prompt: str) -> str:
    """Have a picture made, saved and drawn, and return its id."""
    answer = await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=_WAIT)
    assert answer["status"] == "completed", answer
    return str(answer["generationId"])


async def _waited(server: Server, prompts: Sequence[str], size: Size) -> None:
    del size
    async with anyio.create_task_group() as calls:
        for prompt in prompts:
            calls.start_soon(_made, server, prompt)


async def _unwaited(server: Server, prompts: Sequence[str], size: Size) -> None:
    for prompt in prompts:
        answer = await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=0)
        assert answer["status"] == "processing", answer
    await anyio.sleep(size.made_seconds + size.drawn_within)


async def _generating(
    servers: Mapping[str, Server],
    make: Callable[[Server, Sequence[str], Size], Awaitable[None]],
    size: Size,
) -> tuple[dict[str, Figures], str]:
    """Return the processor time of a picture, in ms, less that of the processes that draw it.

    Also what is to be said besides: how the turns differ.
    """
    spent: dict[str, list[float]] = {build: [] for build in servers}
    for turn in range(1 + size.turns):
        for build, server in servers.items():
            before = server.processor()
            prompts = [
                f"{make.__name__} {turn} {place}, as expected, {size.made_seconds} s"
                for place in range(TOGETHER)
            ]
            await make(server, prompts, size)
            if turn:  # what the first loads is its own
                spent[build].append(1000 * (server.processor() - before) / TOGETHER)
    found = {build: {"cpu": sum(turns) / len(turns)} for build, turns in spent.items()}
    if len(spent) == 1:
        return found, ""
    middle = median(a / b for a, b in zip(*spent.values(), strict=True))
    return found, f"the middle one of {size.turns} ratios {middle:.2f}"


async def _reading(
    servers: Mapping[str, Server], made: Mapping[str, str], ask: Ask, size: Size
) -> dict[str, Figures]:
    """Return the processor time of a call that makes nothing, in ms."""
    for build, server in servers.items():
        for _ in range(_WARM_UP):
            await ask(server, made[build])
    before = {build: server.processor() for build, server in servers.items()}
    for _ in range(size.asked_in_turn):
        for build, server in servers.items():
            await ask(server, made[build])
    return {
        build: {"cpu": 1000 * (server.processor() - before[build]) / size.asked_in_turn}
        for build, server in servers.items()
    }


async def run(size: Size) -> Part:
    """Measure each kind of call."""
    async with AsyncExitStack() as stack:
        servers = {build: await stack.enter_async_context(_serving(build)) for build in size.builds}
        rows: list[Row] = []
        for what, make, most in (
            ("a picture with `wait: 0`, to the end of all its work", _unwaited, MOST_GENERATING),
            ("a picture that is waited for, and shown", _waited, None),
        ):
            found, also = await _generating(servers, make, size)
            told = f"own work: {what}, by {TOGETHER}"
            rows.append(row(told, found, "cpu", most, size, unit="ms", also=also))
        made = {build: await _made(server, "one, 0.1 s") for build, server in servers.items()}
        for what, ask in READS.items():
            found = await _reading(servers, made, ask, size)
            rows.append(row(f"own work: {what}", found, "cpu", MOST_READING, size, unit="ms"))
    return Part(rows)
