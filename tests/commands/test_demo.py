"""`meigen-mcp demo`: the main job end to end on the embedded sandbox, as a person runs it."""

import json
import os
import re
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import httpx
import pytest
from mcp.client.client import Client
from PIL import Image
from support.in_memory import InMemory, make_settings

from meigen_mcp import app
from meigen_mcp.commands import demo
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.service import waiting

pytestmark = pytest.mark.timeout(300)  # on a busy machine a demo takes a minute
HOSTILE = {
    "MEIGEN_API_TOKEN": "meigen_sk_revoked-and-not-for-the-demo",
    "MEIGEN_BASE_URL": "http://127.0.0.1:9",
    "MEIGEN_MAX_CREDITS_PER_DAY": "0",
    "MEIGEN_MODELS": "z-image-turbo",
    "MEIGEN_OUTPUT_DIR": "off",
}
DEMO = [sys.executable, "-m", "meigen_mcp", "demo"]
ENDS = {
    "basic": "completed",
    "reference": "completed",
    "midjourney": "completed",
    "video": "completed",
    "continuation": "completed",
    "auto-ratio": "completed",
    "refusal": "refused",
    "failure": "failed",
}


@dataclass(frozen=True)
class Run:
    """A demo that ran to its end."""

    folder: Path
    status: int
    said: str
    complained: str


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Run]:
    """Run the demo as text and as JSON, side by side, with settings that must not matter."""
    started = {}
    for form, options in {"text": [], "json": ["--json"]}.items():
        folder = tmp_path_factory.mktemp("demo") / form
        command = [*DEMO, "--output", str(folder), *options]
        process = subprocess.Popen(
            command,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env={**os.environ, **HOSTILE},
            text=True,
            encoding="utf-8",
        )
        started[form] = folder, process
    ended = {}
    for form, (folder, process) in started.items():
        said, complained = process.communicate()
        ended[form] = Run(folder, process.returncode, said, complained)
    return ended


@pytest.mark.parametrize("form", ["text", "json"])
def test_the_demo_ends_well_and_complains_of_nothing(form: str, runs: dict[str, Run]) -> None:
    """Whatever the person's own settings, its status is 0 and its standard error is empty."""
    assert (runs[form].status, runs[form].complained) == (0, "")


def test_each_example_has_a_line_with_its_status(runs: dict[str, Run]) -> None:
    """In the order of the examples, with what it took and cost."""
    lines = re.findall(r"^  ([a-z-]+) (\w+): (.+)$", runs["text"].said, re.MULTILINE)
    ends = [(name, status) for name, status, _ in lines if name in ENDS]
    facts = {name: words for name, _, words in lines}
    assert ends == list(ENDS.items())
    assert re.fullmatch(
        r"[\d.]+ s of about [\d.]+ s expected, 140 credits charged, \d+ credits after the charge",
        facts["continuation"],
    )
    assert facts["refusal"] == "nothing charged"
    assert "its credits charged and refunded" in facts["failure"]


def test_the_text_tells_every_url_file_and_problem(runs: dict[str, Run]) -> None:
    """What was made and where it is, the balance before, and all that was wrong at once."""
    said = runs["text"].said
    assert len(re.findall(r"^  http://127\.0\.0\.1:\d+/media/", said, re.MULTILINE)) == 9
    assert sorted(re.findall(r"^  saved (.+)$", said, re.MULTILINE)) == sorted(
        str(path) for path in runs["text"].folder.iterdir() if path.suffix != ".json"
    )
    assert "continuation: the same video continued, quote 140 credits, 875 credits before" in said
    assert "4 problems; nothing was sent or charged:" in said
    assert "All 8 examples ended as they should; 270 sandbox credits spent." in said


def test_as_json_each_line_is_an_example_with_its_fields(runs: dict[str, Run]) -> None:
    """One object a line: the example's name and the fields of its generation."""
    rows: list[dict[str, Any]] = [json.loads(line) for line in runs["json"].said.splitlines()]
    made = [row for row in rows if row["status"] == "completed"]
    assert {row["example"]: row["status"] for row in rows} == ENDS
    assert [row["example"] for row in rows] == list(ENDS)
    assert [len(row["mediaUrls"]) for row in made] == [1, 1, 4, 1, 1, 1]
    assert sorted(name for row in made for name in row["files"]) == sorted(
        str(path) for path in runs["json"].folder.iterdir() if path.suffix != ".json"
    )
    assert rows[-1]["error"]["charged"] == "refunded"


def test_its_media_can_be_opened_and_say_what_they_are(runs: dict[str, Run]) -> None:
    """Seven images and two videos, each with its facts in its own text or in the file beside it."""
    rows = [json.loads(line) for line in runs["json"].said.splitlines()]
    facts = {name: row for row in rows for name in row.get("files", ())}
    assert sorted(Path(name).suffix for name in facts) == [".mp4"] * 2 + [".png"] * 7
    for name, row in facts.items():
        path = Path(name)
        if path.suffix == ".png":
            with Image.open(path) as image:
                image.load()
                known: dict[str, Any] = dict(image.text)  # type: ignore[attr-defined]  # of a PNG
            known["settings"] = json.loads(known["settings"])
            known["prompt"] = known["Description"]
        else:
            with av.open(name) as clip:
                seconds = (clip.duration or 0) / av.time_base
            assert seconds == pytest.approx(row["settings"]["duration"], abs=0.05)
            known = json.loads(path.with_suffix(".json").read_text("utf-8"))
        told = {key: known[key] for key in ("prompt", "generationId", "settings")}
        assert told == {key: row.get(key, {}) for key in told}


def test_a_folder_that_cannot_be_used_is_said_in_a_sentence(tmp_path: Path) -> None:
    """It ends with status 1 before anything is made."""
    (tmp_path / "file").write_text("")
    command = [*DEMO, "--output", str(tmp_path / "file")]
    ended = subprocess.run(command, capture_output=True, text=True, check=False, encoding="utf-8")
    sentence = (
        f"demo failed: the folder {tmp_path / 'file'} or a temporary file cannot be written\n"
    )
    assert (ended.returncode, ended.stdout, ended.stderr) == (1, "", sentence)


# --- a busy machine -------------------------------------------------------------------------------


class Late(InMemory):
    """Gives the list of models and each medium only when asked for the fifth time, or never."""

    def __init__(self, *never: str) -> None:
        super().__init__(Emulator(Options(speed=0, seed=1)))
        self._never = never

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer a request, or refuse the connection."""
        path = request.url.path
        early = sum(seen.url.path == path for seen in self.requests) < 4
        late = path.startswith("/media/") or path.endswith("/models")
        self.refuses = path if (early and late) or path.startswith(self._never) else None
        return await super().handle_async_request(request)


async def run_late(transport: Late, folder: Path, patch: pytest.MonkeyPatch) -> str | None:
    """Run the examples with a server whose answers wait for no file; return what went wrong."""
    patch.setattr(waiting, "SAVING", 0.0)
    settings = make_settings(folder, MEIGEN_CONFIRM_ABOVE="100")
    async with app.run_app(settings, transport) as running, Client(running.server) as client:
        try:
            await demo.run_examples(client, folder / "media", demo._Json())  # noqa: SLF001  # as with --json
        except demo.DemoFailed as failed:
            return str(failed)
    return None


async def test_the_demo_waits_for_prices_and_files_however_late_they_are(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """An answer before a medium is saved, and a price before the list is read, are no failures."""
    assert await run_late(Late(), tmp_path, monkeypatch) is None
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert {row["example"]: row["status"] for row in rows} == ENDS
    assert [len(row.get("files", ())) for row in rows] == [1, 1, 4, 1, 1, 1, 0, 0]


async def test_media_that_are_never_saved_end_the_demo_with_a_sentence(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It hangs at nothing for ever."""
    monkeypatch.setattr(demo, "LONGEST_SAVING", 0.0)
    said = await run_late(Late("/media/"), tmp_path, monkeypatch)
    assert said == "example basic: its media were not saved"
