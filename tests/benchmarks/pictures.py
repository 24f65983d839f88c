"""What a preview costs, and how many answers have one when many jobs end together.

Its cost is what drawing takes as the server has it done, one after another.
"""

import io
import json
import random
import resource
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import anyio
from PIL import Image

from meigen_mcp.media import fitting, previews

from .beside import Figures, in_turn, row
from .processes import MODEL, connected, environment, instant, serve, temporary
from .report import Part, Row, load
from .size import Size

MOST_LARGE, MOST_FOUR, MOST_SMALL, MOST_WORSE = 0.55, 0.7, 0.55, 0.01
LEAST_SHOWN = 0.8
"""Of the answers to jobs that end together."""
SIZES = {"large": (3840, 2160), "small": (1024, 1024)}


def photograph(size: tuple[int, int]) -> bytes:
    """Return a PNG with detail of every size, as a photograph has, the same each time."""
    chance = random.Random(1)  # noqa: S311  # no secret
    image = Image.new("RGB", size, (120, 110, 100))
    for cells in (4, 16, 64, 256, size[0] // 4):
        noise = Image.frombytes("RGB", (cells, cells), chance.randbytes(3 * cells * cells))
        image = Image.blend(image, noise.resize(size, Image.Resampling.BICUBIC), 0.3)
    out = io.BytesIO()
    image.save(out, "PNG", compress_level=1)
    return out.getvalue()


def _older(python: str) -> bool:
    return python != sys.executable


def _drawn(python: str, count: int, *paths: Path) -> tuple[float, bytes]:
    """Draw some times, as the server does; return the processor time of each in ms and a picture.

    The older build starts a process for each; this one has a process ready that forks.
    """
    before = _children()
    if _older(python):
        command = [python, "-P", "-m", "meigen_mcp.previews", "image", *map(str, paths)]
        for _ in range(count):
            made = subprocess.run(command, capture_output=True, check=True).stdout
    else:
        asked = (json.dumps(["image", *map(str, paths)]) + "\n") * count
        command = [python, "-P", "-m", "meigen_mcp.media.previews", "serve"]
        done = subprocess.run(command, input=asked.encode(), capture_output=True, check=True)
        made = done.stdout[: len(done.stdout) // count]
    return (_children() - before) / count, made


def _children() -> float:
    used = resource.getrusage(resource.RUSAGE_CHILDREN)
    return 1000 * (used.ru_utime + used.ru_stime)


def _likeness(original: Path, made: bytes) -> float:
    """Return how alike a preview and what it shows are."""
    data = made[made.find(b"\xff\xd8\xff") if b"\xff\xd8\xff" in made else made.find(b"RIFF") :]
    with Image.open(original) as image:
        image.thumbnail((previews.LONGEST, previews.LONGEST))
        return fitting.likeness(image.convert("RGB"), data)  # the same measure


async def _costs(python: str, folder: Path, size: Size) -> Figures:
    large, small = folder / "large.png", folder / "small.png"
    draw = partial(anyio.to_thread.run_sync, _drawn, python, size.pictures)
    one, made = await draw(large)
    four, _ = await draw(large, large, large, large)
    few, _ = await draw(small)
    return {"one": one, "four": four, "small": few, "worse": 1 - _likeness(large, made)}


async def _ending(python: str, size: Size) -> Figures:
    """Have jobs end together; return how many answers had no picture, and the last one's time."""
    with temporary() as folder:
        picture = folder / "picture.png"
        picture.write_bytes(photograph(SIZES["small"]))
        environ = {"MEIGEN_OUTPUT_DIR": str(folder / "media")}
        async with (
            instant(str(picture)) as origin,
            connected(serve(python), environment(folder, origin, **environ)) as server,
        ):
            answers: list[tuple[float, dict[str, Any]]] = []
            began = anyio.current_time()

            async def call(number_: int) -> None:
                prompt = f"ending {number_}, as expected, {size.ending_seconds} s"
                arguments = {"prompt": prompt, "modelId": MODEL, "wait": 40}
                made = await server.request(
                    "tools/call", name="generate_image", arguments=arguments
                )
                answers.append((anyio.current_time() - began, made))

            async with anyio.create_task_group() as group:
                for number_ in range(size.ending):
                    group.start_soon(call, number_)
    shown = sum(any(part["type"] == "image" for part in made["content"]) for _, made in answers)
    return {"without": size.ending - shown, "last": max(at for at, _ in answers)}


async def run(size: Size) -> Part:
    """Draw, and then answer many calls."""
    with temporary() as folder:
        for name, pixels in SIZES.items():
            (folder / f"{name}.png").write_bytes(photograph(pixels))
        found = await in_turn(lambda python: _costs(python, folder, size), size)
    ended = await in_turn(lambda python: _ending(python, size), size, rounds=1)
    worse = found[sys.executable]["worse"] - found.get(size.today, {"worse": 1.0})["worse"]
    alike = f"likeness lower by {worse:.3f}" if size.today else ""
    large = row(
        "pictures: preview of a 4K PNG, processor", found, "one", MOST_LARGE, size,
        unit="ms", also=alike,
    )  # fmt: skip
    if large.met and worse > MOST_WORSE:
        large = Row(large.what, large.target, large.measured, large.ratio, False)
    return Part(
        [
            large,
            row("pictures: preview of four", found, "four", MOST_FOUR, size, unit="ms"),
            row("pictures: preview of a 1K PNG", found, "small", MOST_SMALL, size, unit="ms"),
            _shown(ended, size),
        ]
    )


def _shown(ended: dict[str, Figures], size: Size) -> Row:
    """Judge how many answers have a picture."""
    ours = ended[sys.executable]
    shown = size.ending - ours["without"]
    measured = f"{shown:.0f} of {size.ending}, the last after {ours['last']:.1f} s"
    if size.today:
        theirs = ended[size.today]
        measured += f"; today {size.ending - theirs['without']:.0f}, after {theirs['last']:.1f} s"
    return Row(
        f"pictures: in the answers of {size.ending} jobs that end together",
        f"{LEAST_SHOWN:.0%}",
        f"{measured}; {load()}",
        "",
        shown >= LEAST_SHOWN * size.ending if size.judged else None,
        absolute=True,
    )
