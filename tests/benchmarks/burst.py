"""Many calls at once, from the first to the last answer with its file saved."""

import time
from pathlib import Path

import anyio

from meigen_mcp.sandbox import media

from .processes import MODEL, OURS, connected, environment, instant, temporary
from .report import Part, Row, number
from .size import Size

MOST = 7.0
PEER = 78.6
"""Seconds that the TypeScript peer takes for the same 50, as measured elsewhere."""


async def run(size: Size) -> Part:
    """Call all at once, with pictures of the usual size."""
    with temporary() as folder:
        picture = folder / "picture.png"
        picture.write_bytes(
            media.render_image(model="m", prompt="p", ratio="1:1", resolution="1K", seed="s")
        )
        output = folder / "media"
        variables = {"MEIGEN_OUTPUT_DIR": str(output), "MEIGEN_POLL_INTERVAL": str(size.interval)}
        async with (
            instant(str(picture)) as origin,
            connected(OURS, environment(folder, origin, **variables)) as server,
        ):
            ended: list[float] = []

            async def one(number_: int) -> None:
                prompt = f"burst {number_}, as expected, {size.burst_seconds} s"
                answer = await server.call("generate_image", prompt=prompt, modelId=MODEL, wait=40)
                assert answer["status"] == "completed", answer
                assert Path(answer["files"][0]).stat().st_size > picture.stat().st_size  # its text
                ended.append(time.perf_counter() - began)

            began = time.perf_counter()
            async with anyio.create_task_group() as group:
                for number_ in range(size.burst):
                    group.start_soon(one, number_)
    last = max(ended)
    return Part(
        [
            Row(
                f"burst: {size.burst} calls, jobs of the expected {size.burst_seconds:g} s, saved",
                f"{MOST:g} s",
                f"{number(last)} s for the last, {number(min(ended))} s for the first",
                f"{last / size.burst_seconds:.2f} x the job; a peer {PEER / last:.0f} x slower",
                last <= MOST if size.judged else None,
            )
        ]
    )
