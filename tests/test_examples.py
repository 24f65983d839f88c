"""Each program in examples/ does what its first line says, run as that line says."""

import csv
import os
import subprocess
import sys
from io import StringIO
from pathlib import Path

import anyio.to_thread
import pytest
from mcp.client.client import Client
from support.in_memory import TOKEN, make_settings
from support.over_http import patient

from meigen_mcp.app import run_app
from meigen_mcp.sandbox.running import run_sandbox

EXAMPLES = Path(__file__).parent.parent / "examples"


def run(name: str, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
    """Run an example to its end."""
    return subprocess.run(
        [sys.executable, EXAMPLES / name, *words],
        capture_output=True,
        check=False,
        encoding="utf-8",
        env={**os.environ, "PYTHONIOENCODING": "utf-8", **variables},
        timeout=50,
    )


def test_every_example_is_run() -> None:
    """A new one gets a test of its own here."""
    names = {"make_picture.py", "read_history.py", "call_sandbox.py"}
    assert {path.name for path in EXAMPLES.glob("*.py")} == names


def test_a_client_makes_a_picture(tmp_path: Path) -> None:
    """It tells the price before, the charge after, and the file that is there."""
    ended = run("make_picture.py", "A", "lighthouse", MEIGEN_OUTPUT_DIR=str(tmp_path))
    (picture,) = tmp_path.glob("sandbox/*.png")
    said = ["it will cost 5 credits (5 credits per image = 5)", "made for 5 credits", str(picture)]
    assert (ended.returncode, ended.stdout.splitlines()) == (0, said)


@pytest.mark.parametrize(
    ("prompt", "why"),
    [
        ("", "1 problem; nothing was sent or charged:\n- prompt: missing; give text"),
        ("sandbox:fail", "MeiGen could not make it: "),
    ],
    ids=["refused", "failed"],
)
def test_a_client_says_why_there_is_no_picture(prompt: str, why: str, tmp_path: Path) -> None:
    """A refusal costs nothing, and a generation that fails is no crash."""
    ended = run("make_picture.py", prompt, MEIGEN_OUTPUT_DIR=str(tmp_path))
    assert (ended.returncode, list(tmp_path.glob("sandbox/*.png"))) == (1, [])
    assert ended.stderr.startswith(why)


async def test_the_history_is_read_whole(tmp_path: Path) -> None:
    """Over more than one page, newest first, whatever a prompt contains."""
    prompts = ["a fox, asleep\nin the snow", *(f"fox {number}" for number in range(52))]
    async with run_sandbox(speed=1000, rate_limit=1000) as origin:
        variables = {"MEIGEN_BASE_URL": origin, "MEIGEN_RATE_LIMIT": "1000"}
        async with (
            run_app(make_settings(tmp_path, **variables)) as app,
            Client(app.server) as client,
        ):
            for prompt in prompts:
                call = {"prompt": prompt, "modelId": "z-image-turbo", "wait": 0}
                await client.call_tool("generate_image", call)
        variables |= {"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_DATA_DIR": str(tmp_path / "data")}
        variables["MEIGEN_OUTPUT_DIR"] = "off"
        ended = await anyio.to_thread.run_sync(lambda: run("read_history.py", **variables))
    rows = list(csv.DictReader(StringIO(ended.stdout)))
    assert (ended.returncode, [row["prompt"] for row in rows]) == (0, prompts[::-1])
    assert {row["modelId"] for row in rows} == {"z-image-turbo"}


async def test_another_client_pays_once_for_a_lost_reply() -> None:
    """The sandbox loses its reply; the same key finds the job that was charged."""
    async with run_sandbox(speed=0) as origin:
        ended = await anyio.to_thread.run_sync(lambda: run("call_sandbox.py", origin))
        async with patient() as http:
            state = (await http.get(f"{origin}/sandbox/state")).json()
            url = ended.stdout.split()[-1]
            picture = await http.get(url)
    said = ["the reply was lost", "accepted before: 5 credits", f"completed: {url}"]
    assert (ended.returncode, ended.stdout.splitlines()) == (0, said)
    assert [account["accepted"] for account in state["accounts"]] == [1]
    assert picture.headers["content-type"] == "image/png"
