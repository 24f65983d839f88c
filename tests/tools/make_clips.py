"""Encode the clips of the sandbox again: `pip install av pillow`, then run this file.

Each is 48 frames of a ball crossing the picture over a bar that fills up. There are five parts of
each: a part begins as the one before ends, and after the last comes the second. The settings are
there for a simple file, which the sandbox can re-time in place: no B-frames (so no `ctts` box), no
edit list, equal frames (so one `stts` entry), no bit rate box (untrue at another speed).
"""

import itertools
import math
from pathlib import Path

from PIL import Image, ImageDraw

CLIPS = Path(__file__).parents[2] / "meigen_mcp" / "sandbox" / "clips"
RATIOS = ((16, 9), (9, 16), (1, 1), (4, 3), (3, 4), (21, 9))
LONGEST = 480
FRAMES = 48
BACKGROUND, TRACK, BALL = "#1b2a41", "#324a5f", "#ffd166"
BARS = ("#4ecdc4", "#ff6b6b", "#c792ea", "#f4f1de")
PARTS = 5
CODEC = {
    "preset": "veryslow",
    "tune": "animation",
    "crf": "30",
    "profile": "baseline",
    "threads": "1",  # the file must not depend on the number of cores
}
MUXER = {
    "movflags": "+faststart",
    "fflags": "+bitexact",
    "use_editlist": "0",
    "write_btrt": "0",
}


def draw_frame(width: int, height: int, index: int, part: int) -> Image.Image:
    """Draw one frame; `index` runs from 0 to FRAMES - 1, `part` from 0 to PARTS - 1."""
    image = Image.new("RGB", (width, height), BACKGROUND)
    draw = ImageDraw.Draw(image)
    unit, done = min(width, height) // 12, index / (FRAMES - 1)
    way = 1 - done if part % 2 else done
    x = 2 * unit + (width - 4 * unit) * way
    y = height * 0.42 - math.sin(way * 2 * math.pi) * height * 0.25
    draw.ellipse((x - unit, y - unit, x + unit, y + unit), fill=BALL)
    left, right, top = unit, width - unit, height - 2 * unit
    draw.rectangle((left, top, right, top + unit), fill=BARS[part - 1] if part else TRACK)
    draw.rectangle(
        (left, top, left + (right - left) * done, top + unit), fill=BARS[part % len(BARS)]
    )
    return image


def main() -> None:
    """Write every clip and print its size."""
    import av  # noqa: PLC0415 - an encoder, for this script only

    CLIPS.mkdir(exist_ok=True)
    for (across, down), part in itertools.product(RATIOS, range(PARTS)):
        path = CLIPS / f"{across}x{down}-{part}.mp4"
        scale = LONGEST / max(across, down)
        width, height = (2 * round(side * scale / 2) for side in (across, down))
        with av.open(str(path), "w", options=MUXER) as container:
            stream = container.add_stream("libx264", rate=24, options=CODEC)
            stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
            for index in range(FRAMES):
                frame = av.VideoFrame.from_image(draw_frame(width, height, index, part))  # type: ignore[no-untyped-call]
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        print(f"{path.name}: {width} x {height}, {path.stat().st_size} bytes")  # noqa: T201 - a script


if __name__ == "__main__":
    main()
