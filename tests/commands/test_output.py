"""What a terminal, a pipe or its code page cannot spell ends no command."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from support.in_memory import connect, make_settings

from meigen_mcp.commands.output import escape
from meigen_mcp.sandbox.emulator import Emulator

PROMPT = 'a 🦊 in the 雪, "quoted" \\ and ü'
CODE_PAGES = ("cp1252", "cp437", "gbk", "ascii", "utf-8")


def run(folder: Path, code_page: str, *words: str) -> tuple[int, str]:
    """Run a command as a process whose output goes into a pipe in a code page."""
    environment = {
        **os.environ,
        "HOME": str(folder),
        "PYTHONIOENCODING": code_page,
        "MEIGEN_DATA_DIR": str(folder / "data"),
        "MEIGEN_OUTPUT_DIR": str(folder / "media 雪"),
        "MEIGEN_API_TOKEN": make_settings(folder).token or "",
        "MEIGEN_BASE_URL": make_settings(folder).base_url,
        "MEIGEN_UPLOAD_URL": make_settings(folder).base_url,
    }
    done = subprocess.run(
        [sys.executable, "-m", "meigen_mcp", *words],
        env=environment,
        cwd=folder,
        capture_output=True,
        check=False,
    )
    assert done.stderr == b""
    # click writes UTF-8 where Python believes that the terminal knows ASCII alone
    return done.returncode, done.stdout.decode("utf-8" if code_page == "ascii" else code_page)


@pytest.mark.parametrize("code_page", CODE_PAGES)
async def test_every_command_ends_well_in_every_code_page(
    code_page: str, tmp_path: Path, emulator: Emulator
) -> None:
    """JSON stays JSON with every character in it, and a path can be told from others."""
    folder = tmp_path / "雪 🦊"
    folder.mkdir()
    async with connect(make_settings(folder), emulator) as on:
        made = await on.call("generate_image", prompt=PROMPT, modelId="z-image-turbo")
    status, listed = run(folder, code_page, "jobs")
    assert (status, "completed image by z-image-turbo" in listed) == (0, True)
    status, shown = run(folder, code_page, "jobs", made["generationId"])
    assert (status, json.loads(shown)["prompt"]) == (0, PROMPT)
    status, findings = run(folder, code_page, "doctor", "--json")
    said = [one["says"] for one in json.loads(findings)["findings"]]
    assert (status, f"{folder / 'media 雪'} can be written" in said) == (1, True)
    status, installed = run(folder, code_page, "install", "cursor", "--sandbox")
    assert (status, "starts this server now" in installed) == (0, True)
    if code_page in {"utf-8", "gbk"}:
        assert "雪" in installed
    elif code_page != "ascii":
        assert "\\u96ea \\ud83e\\udd8a" in installed


def test_what_cannot_be_spelled_is_escaped_as_in_json() -> None:
    """Half a character too, which a broken argument or a file's name brings."""
    error = UnicodeEncodeError("cp1252", "a🦊\udcffz", 1, 3, "no such character")
    assert escape(error) == ("\\ud83e\\udd8a\\udcff", 3)
    with pytest.raises(UnicodeDecodeError):
        escape(UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad"))


@pytest.mark.skipif(os.name == "nt", reason="arguments there are Unicode")
@pytest.mark.parametrize("command", ["jobs", "approve"])
def test_an_argument_that_is_no_text_is_nobodys_id(command: str, tmp_path: Path) -> None:
    """A sentence, and no traceback."""
    words = [sys.executable, "-m", "meigen_mcp", command, os.fsdecode(b"\xff\xfe")]
    environment = {**os.environ, "MEIGEN_DATA_DIR": str(tmp_path), "HOME": str(tmp_path)}
    done = subprocess.run(words, env=environment, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (1, b"")
    assert done.stderr.startswith(b"Error: ")
    assert b"Traceback" not in done.stderr


_HOW_IT_GOES = (
    "from meigen_mcp.commands.output import StatusLine, say; line = StatusLine(err=True);"
    "line.show('waiting for a place'); line.show('30 s' + '.' * 999); line.clear(); say('done')"
)


@pytest.mark.skipif(os.name == "nt", reason="a terminal for a test is POSIX's")
@pytest.mark.parametrize("terminal", [True, False])
def test_a_line_that_replaces_itself_stands_on_terminals_alone(
    terminal: bool, tmp_path: Path
) -> None:
    """It takes one line and leaves nothing behind, without any sequence of a terminal."""
    ours, theirs = os.openpty()
    with (tmp_path / "said").open("w") as said:
        done = subprocess.run(
            [sys.executable, "-c", _HOW_IT_GOES],
            env={**os.environ, "COLUMNS": "20"},
            stdout=subprocess.PIPE,
            stderr=theirs if terminal else said,
            check=True,
        )
    os.close(theirs)
    shown = os.read(ours, 10_000).decode() if terminal else (tmp_path / "said").read_text()
    os.close(ours)
    assert done.stdout == b"done\n"
    parts = ["", "waiting for a place", "30 s...............", " " * 19, ""]
    assert shown == ("\r".join(parts) if terminal else "")
