"""The TypeScript server of the same API beside this one: `--peer` names its program.

Its package is `meigen` 1.2.13, the last one that can be pointed at another origin. It is built
outside of this project, from npm or from its public source.
"""

import time
from pathlib import Path

import anyio

from meigen_mcp.sandbox import media

from .processes import MODEL, OURS, connected, environment, instant, spawned, temporary
from .report import Part, Row, load, number
from .size import Size

LONGEST = 300.0
MOST_START, MOST_BURST, MOST_MEMORY, MOST_CPU = 1.0, 0.2, 1.0, 1.0
"""Of the peer's. It starts a Node and no Python, and holds no ledger."""


def picture(folder: Path) -> str:
    """Make the picture that the API hands out."""
    path = folder / "picture.png"
    path.write_bytes(
        media.render_image(model="m", prompt="p", ratio="1:1", resolution="1K", seed="s")
    )
    return str(path)


async def _start(command: tuple[str, ...], environ: dict[str, str]) -> tuple[float, float]:
    """Return the seconds to the answered `tools/list`, and the memory then, in MB."""
    began = time.perf_counter()
    async with spawned(command, environ) as server:
        await server.greet()
        await server.request("tools/list")
        took = time.perf_counter() - began
        await anyio.sleep(0.5)
        return took, server.memory()


async def _burst(command: tuple[str, ...], size: Size) -> tuple[float, float]:
    """Return the seconds to the last answer, and the processor time of a job in ms."""
    with temporary() as folder:
        variables = {"MEIGEN_OUTPUT_DIR": str(folder / "media"), "HOME": str(folder)}
        async with (
            instant(picture(folder)) as origin,
            connected(command, environment(folder, origin, **variables)) as server,
        ):
            server.patience = LONGEST
            used, began = server.processor(), time.perf_counter()

            async def call(number_: int) -> None:
                prompt = f"burst {number_}, as expected, {size.burst_seconds} s"
                await server.call("generate_image", prompt=prompt, modelId=MODEL)

            async with anyio.create_task_group() as group:
                for number_ in range(size.burst):
                    group.start_soon(call, number_)
            return (
                time.perf_counter() - began,
                1000 * (server.processor() - used) / size.burst,
            )


async def run(size: Size) -> Part:
    """Measure both in turn; without a peer there is nothing to say."""
    if not size.peer:
        told = "not measured: `--peer PROGRAM` names its program"
        return Part([Row("peer: beside the TypeScript server", "", told)])
    commands = {"ours": OURS, "peer": ("node", size.peer)}
    starts: dict[str, list[tuple[float, float]]] = {name: [] for name in commands}
    with temporary() as folder:
        environ = {**environment(folder), "HOME": str(folder)}
        for _ in range(1 + size.rounds):  # the first makes what later ones find
            for name, command in commands.items():
                starts[name].append(await _start(command, environ))
    bursts = {name: await _burst(command, size) for name, command in commands.items()}

    def row(what: str, unit: str, ours: float, theirs: float, most: float, *, judged: bool) -> Row:
        return Row(
            f"peer: {what}",
            f"{most:g} x" if judged else "",
            f"{number(ours)} {unit}; the peer {number(theirs)} {unit}; {load()}",
            f"{ours / theirs:.2f} x",
            ours <= most * theirs if judged and size.judged else None,
        )

    least = {
        name: (min(one[0] for one in found[1:]), min(one[1] for one in found[1:]))
        for name, found in starts.items()
    }
    jobs = f"{size.burst} jobs of {size.burst_seconds:g} s at once"
    return Part(
        [
            row("start", "s", least["ours"][0], least["peer"][0], MOST_START, judged=False),
            row("memory", "MB", least["ours"][1], least["peer"][1], MOST_MEMORY, judged=False),
            row(
                f"{jobs}, last", "s", bursts["ours"][0], bursts["peer"][0], MOST_BURST, judged=True
            ),
            row(
                f"{jobs}, processor a job",
                "ms", bursts["ours"][1], bursts["peer"][1], MOST_CPU, judged=False,
            ),
        ]
    )  # fmt: skip
