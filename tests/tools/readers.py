"""What other programs see in our files: `python -m tests.tools.readers` fetches and asks them.

It makes twenty files of each marked format, lets exiftool look for the mark, the model, the date,
the prompt and the parents, compares every pixel and sample with what came, and writes down in
docs/files.md what the readers that people use show. It needs Perl, Node and npm; what it installs
lies in a folder that is removed. It is no part of the tests: nothing here depends on our code to
read what our code wrote.
"""

import itertools
import json
import random
import subprocess
import sys
import tempfile
import venv
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from io import BytesIO
from pathlib import Path

from media.test_marks import CLIPS, PICTURES, pixels, samples
from media.test_metadata import JOB
from media.test_previews import CLIP
from PIL import Image
from pymediainfo import MediaInfo
from support.clips import write

from meigen_mcp.media import metadata
from meigen_mcp.media.marks import Level, inscribe

PAGE = Path(__file__).parents[2] / "docs" / "files.md"
BEGIN, END = "<!-- seen by: python -m tests.tools.readers -->", "<!-- end -->"
EACH = 20
SUFFIXES = (".png", ".jpg", ".webp", ".mp4")
UNREADABLE = "cannot read it"
Made = tuple[str, Path, Path]
"""A format, what came, and what is saved."""
PROMPT = "A red fox in the snow, 50 mm"
CHILD = replace(JOB, prompt=PROMPT, arguments={"aspectRatio": "16:9"}, made_from=(
    "meigen://generations/gen-0/media/0",
))  # fmt: skip
MARK = "http://cv.iptc.org/newscodes/digitalsourcetype/trainedAlgorithmicMedia"
NODE = ("exifr@7.1.3", "exiftool-vendored.pl@13.59.3")
PYTHON = ("sd-parsers==0.6", "sd-prompt-reader==1.3.4", "piexif==1.1.3", "pillow==13.0.0")

EXIFR = """
import { readFileSync } from "node:fs";
import exifr from "exifr";
const all = { xmp: true, tiff: true, iptc: true, ihdr: true, jfif: true, multiSegment: true };
let said;
try {
  said = (await exifr.parse(readFileSync(process.argv[2]), all)) ?? {};
} catch (error) {
  said = { error: String(error) };
}
console.log(JSON.stringify(said));
"""
STABLE_DIFFUSION = """
import json, sys
from PIL import Image
from sd_parsers import ParserManager
from sd_prompt_reader.image_data_reader import ImageDataReader
with Image.open(sys.argv[1]) as image:
    found = ParserManager().parse(image)
    parsed = str([p.value for p in found.prompts] + [m.name for m in found.models]) if found else ""
reader = ImageDataReader(sys.argv[1])
read = f"{reader.tool} {reader.positive} {reader.setting}" if reader.tool else ""
print(json.dumps([parsed, read]), file=sys.stderr)
"""


def files(folder: Path, level: Level) -> Iterator[Made]:
    """Make EACH files of each format."""
    for suffix in SUFFIXES:
        for index, data in enumerate(itertools.islice(sources(suffix, folder), EACH)):
            came, saved = (folder / f"{word}-{level}-{index}{suffix}" for word in ("came", "saved"))
            came.write_bytes(data)
            with came.open("rb") as source, saved.open("wb") as target:
                done = inscribe(source, target, suffix, metadata.facts(CHILD, 0), level)
            assert done == "marked", (suffix, index, done)
            yield suffix, came, saved


def sources(suffix: str, folder: Path) -> Iterator[bytes]:
    """Make files of a format: of every kind there is, then noise of any size."""
    if suffix == ".mp4":
        yield CLIP
        for clip in CLIPS.values():
            if clip.container == "mp4":
                yield write(clip, folder / "clip").read_bytes()
        return
    yield from (data for kind, data in PICTURES.values() if kind == suffix)
    chance = random.Random(18)  # noqa: S311  # no secret
    while True:
        out = BytesIO()
        noise = Image.effect_noise((chance.randint(20, 200), chance.randint(20, 200)), 60)
        noise.convert("RGB").save(out, {".jpg": "JPEG"}.get(suffix, suffix[1:].upper()))
        yield out.getvalue()


def run(*command: str, cwd: Path) -> str:
    """Run a program and return what it prints."""
    return subprocess.run(command, cwd=cwd, check=True, capture_output=True, text=True).stdout


def seen(said: object) -> str:
    """Say which of the facts stand in what a reader shows."""
    text = said if isinstance(said, str) else json.dumps(said, default=str)
    signs = {
        "mark": ["trainedAlgorithmicMedia"],
        "model": [CHILD.model_id],
        "date": ["2026-03-14", "2026:03:14"],
        "prompt": [PROMPT],
        "parents": ["gen-0"],
    }
    found = [word for word, ways in signs.items() if any(way in text for way in ways)]
    return ", ".join(found) or "nothing"


def judge(made: Sequence[Made], level: Level, tools: Path) -> None:
    """Let exiftool look at every file, and compare every pixel and sample."""
    said = json.loads(
        run("perl", exiftool_in(tools), "-json", "-G1", "-a", "-validate", "-warning",
            "-XMP:all", *(str(saved) for _, _, saved in made), cwd=tools)
    )  # fmt: skip
    for found, (suffix, came, saved) in zip(said, made, strict=True):
        expected = {
            "XMP-iptcExt:DigitalSourceType": MARK,
            "XMP-iptcExt:AISystemUsed": CHILD.model_id,
        }
        if level == "all":
            expected |= {"XMP-dc:Description": PROMPT, "XMP-dc:Relation": "gen-0"}
        assert {name: found.get(name) for name in expected} == expected, (saved, found)
        assert str(found["XMP-xmp:CreateDate"]).startswith("2026:03:14"), saved
        if suffix == ".mp4":
            assert samples(saved) == samples(came), saved
        else:
            assert pixels(saved.read_bytes()) == pixels(came.read_bytes()), saved


def readers(tools: Path) -> dict[str, Callable[[Path], str]]:
    """Return what asks each reader about a file."""

    def exifr(path: Path) -> str:
        said = json.loads(run("node", "exifr.mjs", str(path), cwd=tools))
        return UNREADABLE if "error" in said else seen(said)

    def pillow(path: Path) -> str:
        return UNREADABLE if path.suffix == ".mp4" else seen(str(Image.open(path).info))

    def stable_diffusion(place: int) -> Callable[[Path], str]:
        def ask(path: Path) -> str:
            if path.suffix == ".mp4":
                return UNREADABLE
            command = [str(python_in(tools)), "stable.py", str(path)]
            done = subprocess.run(command, cwd=tools, check=True, capture_output=True, text=True)
            return seen(json.loads(done.stderr.splitlines()[-1])[place])

        return ask

    return {
        "exiftool 13.59": lambda path: seen(
            run("perl", exiftool_in(tools), "-a", "-G1", str(path), cwd=tools)
        ),
        "exifr 7.1.3 (JavaScript)": exifr,
        "Pillow 13": pillow,
        "MediaInfo, by pymediainfo 7": lambda path: seen(str(MediaInfo.parse(path).to_data())),
        "sd-parsers 0.6": stable_diffusion(0),
        "sd-prompt-reader 1.3.4": stable_diffusion(1),
    }


def exiftool_in(tools: Path) -> str:
    """Return where exiftool is."""
    return str(tools / "node_modules" / "exiftool-vendored.pl" / "bin" / "exiftool")


def python_in(tools: Path) -> Path:
    """Return the Python that has the readers."""
    return tools / "venv" / ("Scripts" if sys.platform == "win32" else "bin") / "python"


def table(made: Mapping[Level, Sequence[Made]], tools: Path) -> str:
    """Ask each reader about the first file of each format."""
    columns = {
        f"{suffix[1:].upper()}, `{level}`": next(saved for kind, _, saved in rows if kind == suffix)
        for level, rows in made.items()
        for suffix in SUFFIXES
    }
    lines = [f"| reader | {' | '.join(columns)} |", "|---" * (len(columns) + 1) + "|"]
    for name, ask in readers(tools).items():
        lines.append(f"| {name} | {' | '.join(ask(path) for path in columns.values())} |")
    return "\n".join(lines)


def main() -> None:
    """Fetch the readers, ask them, and write down what they see."""
    with tempfile.TemporaryDirectory() as name:
        tools = Path(name)
        run("npm", "init", "-y", cwd=tools)
        run("npm", "install", "--no-fund", "--no-audit", *NODE, cwd=tools)
        venv.create(tools / "venv", with_pip=True)
        run(str(python_in(tools)), "-m", "pip", "install", "-q", *PYTHON, cwd=tools)
        (tools / "exifr.mjs").write_text(EXIFR, encoding="utf-8")
        (tools / "stable.py").write_text(STABLE_DIFFUSION, encoding="utf-8")
        levels: tuple[Level, ...] = ("all", "mark")
        made = {level: list(files(tools, level)) for level in levels}
        for level, rows in made.items():
            judge(rows, level, tools)
            print(f"{len(rows)} files, {level}: all is read, nothing else changed")  # noqa: T201
        shown = table(made, tools)
        print(shown)  # noqa: T201
        before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
        after = rest.partition(END)[2]
        PAGE.write_text(f"{before}{BEGIN}\n{shown}\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
