"""The command: install, run, and say what came back."""

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import click
import uvicorn

from .apis import Talk
from .model import Model
from .recipes import RECIPES, STEPS, Recipe, Way

PROMPTS = (("SCRIPT all", 0), ("SCRIPT wait", 3), ("SCRIPT list", 0))
PROGRAMS = Path(__file__).parent / "programs"
LONGEST = 400.0
TOKEN = "a-token-of-this-run-and-of-nothing-else"
_PICTURE = re.compile(r"https?://[\w.:]+/media/[\w-]+\.(?:png|jpe?g|webp)")
_CLIP = re.compile(r"https?://[\w.:]+/media/[\w-]+\.mp4")


@click.command()
@click.argument("tools", type=click.Path(file_okay=False, path_type=Path))
@click.argument("names", nargs=-1)
@click.option("--model", "port", type=int, help="Only serve the scripted model, on this port.")
@click.option("--keep", is_flag=True, help="Show what each program printed.")
def main(tools: Path, names: Sequence[str], *, port: int | None, keep: bool) -> None:
    """Run clients from a folder. The exit status is 0 if each had all that it was to have."""
    if port is not None:
        serve(port)
        return
    failed = False
    for name in names or RECIPES:
        recipe = RECIPES[name]
        version = install(tools / name, recipe)
        for way in recipe.ways:
            done, printed = run(tools / name, recipe, way)
            wanted = {"list", "image", "video", "refusal"} if way.short else {*STEPS}
            failed = failed or not wanted <= done
            cells = " | ".join("yes" if step in done else "" for step in STEPS)
            click.echo(f"| {name} {version} | {way.how} | {cells} |")
            if keep or not wanted <= done:
                click.echo(printed)
    sys.exit(1 if failed else 0)


def serve(port: int) -> None:
    """Serve the model until it is ended, and print what it said."""
    model = Model()
    config = uvicorn.Config(model.app, port=port, log_level="warning")
    threading.Thread(target=uvicorn.Server(config).run, daemon=True).start()
    told = 0
    while True:
        time.sleep(0.2)
        for talk, said in [*zip(model.talks, model.said, strict=False)][told:]:
            told += 1
            last = talk.results[-1][1] if talk.results else ""
            last = re.sub(r"[\w+/=]{200,}", "[...]", last)
            click.echo(f"{time.strftime('%T')} {talk.script} {last[:1500]}\n  -> {said}")


@contextmanager
def serving() -> Iterator[tuple[Model, str]]:
    """Serve a model for one run, and yield it with its origin."""
    model = Model()
    server = uvicorn.Server(uvicorn.Config(model.app, port=0, log_level="warning"))
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        time.sleep(0.01)
    try:
        yield model, f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def over_http(server: Sequence[str], home: str) -> Iterator[str]:
    """Serve a sandbox over HTTP to whoever has the token, and yield its URL."""
    told = {**os.environ, "HOME": home, "MEIGEN_HTTP_TOKEN": TOKEN}
    command = [*server, "--http", "--port", "0"]
    with subprocess.Popen(command, env=told, stderr=subprocess.PIPE, text=True) as process:
        try:
            lines = iter(process.stderr or ())
            found = next(filter(None, (re.search(r"serving MCP on (\S+)", ln) for ln in lines)))
            threading.Thread(target=lambda: [*lines], daemon=True).start()
            yield found[1]
        finally:
            process.terminate()


def install(folder: Path, recipe: Recipe) -> str:
    """Install a client where it is not yet, and return its version."""
    first = recipe.packages[0]
    if recipe.program.endswith(".mjs"):
        if not (folder / "node_modules").exists():
            folder.mkdir(parents=True, exist_ok=True)
            npm = shutil.which("npm") or "npm"
            subprocess.run([npm, "install", "--prefix", folder, *recipe.packages], check=True)
        module = re.sub(r"(?<=.)@.*", "", first)
        told = (folder / "node_modules" / module / "package.json").read_text(encoding="utf-8")
        return str(json.loads(told)["version"])
    python = folder / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", folder], check=True)
        subprocess.run([python, "-m", "pip", "install", "-q", *recipe.packages], check=True)
    code = f"from importlib.metadata import version; print(version('{first.partition('[')[0]}'))"
    return subprocess.run(
        [python, "-c", code], check=True, capture_output=True, text=True
    ).stdout.strip()


def run(folder: Path, recipe: Recipe, way: Way) -> tuple[set[str], str]:
    """Run a client in one way, and return which steps came back, with what it printed."""
    with ExitStack() as around:
        home = around.enter_context(tempfile.TemporaryDirectory(prefix="meigen-client-"))
        model, origin = around.enter_context(serving())
        program = PROGRAMS / recipe.program
        if program.suffix == ".mjs":  # it finds its modules beside itself
            beside = folder / program.name
            beside.write_bytes(program.read_bytes())
            command = ["node", str(beside)]
        else:
            command = [str(folder / "bin" / "python"), str(program)]
        server = [
            "env",
            "MEIGEN_CONFIRM_ABOVE=1000",
            sys.executable,
            "-m",
            "meigen_mcp",
            "serve",
            "--sandbox",
        ]
        server += [way.sandbox] if way.sandbox else []
        if way.starts:
            server = ["sh", "-c", f'sleep {way.starts}; exec "$0" "$@"', *server]
        told = {
            "HOME": home,
            "PATH": os.environ["PATH"],
            "MODEL": origin,
            "SERVER": json.dumps(server),
            "PROMPTS": json.dumps(PROMPTS),
            "OPENAI_API_KEY": "x",
            "OPENAI_AGENTS_DISABLE_TRACING": "1",
            "MCP_USE_ANONYMIZED_TELEMETRY": "false",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "AI_SDK_LOG_WARNINGS": "false",
            **way.environment,
        }
        if way.http:
            told |= {"URL": around.enter_context(over_http(server, home)), "TOKEN": TOKEN}
        try:
            ended = subprocess.run(
                command,
                env=told,
                cwd=home,
                capture_output=True,
                text=True,
                timeout=LONGEST,
                check=False,
            )
            printed, status = ended.stdout + ended.stderr, ended.returncode
        except subprocess.TimeoutExpired as late:
            printed, status = f"still running after {LONGEST:g} s: {late.stdout!r}", 1
    if status:
        return set(), f"exit status {status}\n{printed}"
    return (judge(model.talks) if model.talks else judge_printed(printed)), printed


def judge(talks: Sequence[Talk]) -> set[str]:
    """Return the steps whose results reached the model."""
    results = max((t.results for t in talks if t.script == "all"), key=len, default=[])
    told = [text for _, text in results] + [""] * 5
    listed = [text for t in talks if t.script == "list" for _, text in t.results]
    waited = any(t.script == "wait" for t in talks)
    cut = waited and not any(t.results for t in talks if t.script == "wait")
    return steps(told[:4], " ".join(told[4:]), listed[-1] if cut and listed else "")


def judge_printed(printed: str) -> set[str]:
    """Return the steps whose results a client without a model printed."""
    whole, cut, listed = re.split(r"^SCRIPT (?:wait|list) -> ", printed, flags=re.MULTILINE)[:3]
    told = whole.split("\n--\n") + [""] * 5
    return steps(told[:4], told[4], listed if cut.startswith("CUT") else "")


def steps(told: Sequence[str], waited: str, listed: str) -> set[str]:
    """Return the steps that went well.

    Args:
        told: what `list_models`, an image, a wrong argument and a video were answered with.
        waited: what came of the wait for the video.
        listed: what the list said after a call was cut.
    """
    models, image, refused, video = told
    went = {
        "list": "gpt-image-2" in models,
        "image": bool(_PICTURE.search(image)),
        "refusal": "wide" in refused and "16:9" in refused,
        "video": "requestId" in video or bool(_CLIP.search(video)),
        "wait": bool(_CLIP.search(waited) or _CLIP.search(video)),
        "cancel": "seedance-2-0" in listed and "a slow fox" in listed,
    }
    return {step for step, good in went.items() if good}


if __name__ == "__main__":
    main()
