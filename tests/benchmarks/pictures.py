"""What a preview costs, and how many answers have one when many jobs end together."""

import io
import json
import random
import resource
import subprocess
import sys
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


def _cold(python: str, *paths: Path) -> tuple[float, bytes]:
    """Draw in a new process; return the processor time in ms and the picture."""
    module = "meigen_mcp.previews" if _older(python) else "meigen_mcp.media.previews"
    before = _children()
    made = subprocess.run(
        [python, "-P", "-m", module, "image", *map(str, paths)], capture_output=True, check=True
    ).stdout
    return _children() - before, made


def _warm(python: str, path: Path, count: int) -> float:
    """Draw one after another as the server does; return the processor time of each in ms."""
    if _older(python):
        return sum(_cold(python, path)[0] for _ in range(count)) / count
    before = _children()
    asked = (json.dumps(["image", str(path)]) + "\n") * count
    command = [python, "-P", "-m", "meigen_mcp.media.previews", "serve"]
    subprocess.run(command, input=asked.encode(), capture_output=True, check=True)
    return (_children() - before) / count


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
    one, made = await anyio.to_thread.run_sync(_cold, python, large)
    four, _ = await anyio.to_thread.run_sync(_cold, python, large, large, large, large)
    warm = await anyio.to_thread.run_sync(_warm, python, small, size.pictures)
    return {"one": one, "four": four, "warm": warm, "worse": 1 - _likeness(large, made)}


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
            row("pictures: preview of a 1K PNG", found, "warm", MOST_SMALL, size, unit="ms"),
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
