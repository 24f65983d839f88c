"""The commands `image` and `video`, as a shell calls them."""

import json
import os
import re
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import anyio
import pytest
from chaos.truth import rows, until
from click.testing import CliRunner
from PIL import Image

from meigen_mcp import settings
from meigen_mcp.catalogue.arguments import TOOL_OF
from meigen_mcp.catalogue.models import shipped
from meigen_mcp.commands.cli import main
from meigen_mcp.commands.generating import LEFT_OUT, Medium
from meigen_mcp.commands.tokens import keep_token
from meigen_mcp.commands.typed import allow_folder, whole_paths
from meigen_mcp.server.tool_schemas import generate_schema
from meigen_mcp.service.consent import approving


@pytest.fixture(autouse=True)
def _nowhere(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Keep commands from the ledger of whoever runs the tests, and from the network."""
    monkeypatch.setenv("MEIGEN_DATA_DIR", str(tmp_path / "data"))
    monkeypatch.setenv("MEIGEN_OUTPUT_DIR", str(tmp_path / "media"))
    monkeypatch.setenv("MEIGEN_BASE_URL", "http://127.0.0.1:9")


def run(*words: str) -> tuple[int, str, str]:
    """Run a command; return its exit status, its output and its complaint."""
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout, result.stderr


@pytest.mark.parametrize("medium", ["image", "video"])
def test_every_argument_of_the_tool_is_an_option_with_its_text(medium: Medium) -> None:
    """By the same rules, so that nothing is said twice."""
    _, text, _ = run(medium, "--help")
    schema = generate_schema(TOOL_OF[medium], shipped())["properties"]
    told = " ".join(text.split())
    for name, about in schema.items():
        if name not in LEFT_OUT:
            word = re.sub("([A-Z])", r"-\1", name).lower().removesuffix("s")
            assert f"--{word}" in told
            assert " ".join(about["description"].split())[:40] in told


def test_options_mean_what_the_arguments_do() -> None:
    """A number is read, a list is given word by word, and the refusal names all at once."""
    status, said, complaint = run(
        "video", "a fox", "--model", "veo-3.1", "--duration", "5",
        "--reference-image", "ftp://a.example/b.png", "--reference-image", "c", "--dry-run",
    )  # fmt: skip
    assert (status, said) == (2, "")
    assert [line.split(":")[0] for line in complaint.splitlines()[2:]] == [
        "- --duration", "- --reference-image[0]", "- --reference-image[1]"
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("words", "sentence"),
    [
        ([], "give a prompt, or a file of them with --prompts"),
        (["a", "--prompts", "-"], "give a prompt, or a file of them with --prompts, and not both"),
        (["--prompts", __file__], "--prompts needs --key, by which it goes on after an end"),
        (["a", "--yes-up-to", "-1"], "Invalid value for '--yes-up-to'"),
        (
            ["a", "--duration", "5", "--dry-run"],
            "- --duration: it is for videos only",
        ),
        (["a", "fox", "--json"], 'put the whole prompt into quotes: "a fox"'),
        (
            ["a", "--niji7-options", "stylize=5"],
            "--niji7-options: it is written as JSON, such as '{\"stylize\": 250}'",
        ),
        (
            ["a", "--size", "9"],
            "--size: sizes are not given in pixels; use --aspect-ratio and --re",
        ),
        (["a", "-n", "4"], "-n: MeiGen makes one result a call, and Midjourney four; leave it out"),
        (["a", "--steps", "5"], "--steps: there is no such thing at MeiGen; leave it out"),
        (["a", "--ratio", "1:1"], "--ratio: there is no such option; did you mean --aspect-ratio?"),
        (["a", "--image", "x"], "such option; give it as --reference-image"),
        (["a", "--ar", "1:1"], "--ar: there is no such option; give --aspect-ratio"),
        (
            ["a", "--q", "1"],
            "--q: there is no such option; give it in --niji7-options, as JSON with q",
        ),
        (["--prompt", "a"], "the prompt stands by itself, in quotes, before the options"),
        (["a", "--request-id", "1"], "such option; --key NAME names one generation for ever"),
        (["a", "--jsn"], "--jsn: there is no such option; did you mean --json?"),
        (["a", "--colour"], "--colour: there is no such option; --help lists them"),
        (["--prompts", "-", "--key", "k"], "there is no prompt in that file"),
        (["--sandbox", "a fox"], "'a fox' is no name: a prompt stands before --sandbox"),
        (["--sandbox", "fox"], "fox was taken for the name of a sandbox"),
    ],
    ids=str,
)
def test_what_cannot_be_meant_is_said(words: list[str], sentence: str) -> None:
    """With status 2, like every refusal."""
    status, said, complaint = run(
        "image", *words, *(["--dry-run"] if "--duration" in words else [])
    )
    assert (status, said) == (2, "")
    assert sentence in complaint


def test_the_token_of_the_clients_is_named_where_the_shell_has_none(tmp_path: Path) -> None:
    """It is not taken by itself: a shell is not one of the clients that were set up."""
    keep_token(tmp_path / "data", "meigen_sk_" + "a" * 32)
    status, _, complaint = run("image", "a fox")
    assert status == 2
    first, *rest = complaint.splitlines()
    assert first.endswith(f"MEIGEN_API_TOKEN_FILE={tmp_path / 'data' / 'token'}")
    assert any("MEIGEN_API_TOKEN is not set" in line for line in rest)


def test_a_file_is_meant_from_the_folder_of_the_shell(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where it may not be read, how that is allowed in a terminal is said."""
    here = tmp_path / "here"
    here.mkdir()
    Image.new("RGB", (64, 64), "red").save(here / "fox.png")
    monkeypatch.chdir(here)
    words = ("image", "a", "--model", "nanobanana-2", "--dry-run")
    for given in ("fox.png", "./fox.png", "../here/fox.png"):
        call = (*words, "--reference-image", given)
        status, _, complaint = run(*call)
        assert status == 2
        assert f'"{here / "fox.png"}" is not in a folder that references may come' in complaint
        assert complaint.endswith(f"; {allow_folder()}\n")
        monkeypatch.setenv("MEIGEN_REFERENCE_DIRS", str(here))
        assert run(*call)[0] == 0
        monkeypatch.delenv("MEIGEN_REFERENCE_DIRS")
    monkeypatch.setenv("MEIGEN_OUTPUT_DIR", "off")
    assert run(*call)[2].endswith(f"; {allow_folder()}\n")


def test_what_is_no_relative_path_stays_as_it_is() -> None:
    """A URL, an earlier result, a whole path of any system; other arguments are no paths."""
    others = [
        "https://a.example/b.png",
        "meigen://x",
        "data:a",
        "~/a.png",
        "/a.png",
        "C:\\a",
        "\\a",
    ]
    assert whole_paths("referenceImages", others) == others
    assert whole_paths("referenceVideo", "a.mp4") == str(Path.cwd() / "a.mp4")
    assert whole_paths("aspectRatio", "a.mp4") == "a.mp4"


def test_lines_that_begin_with_a_hash_and_a_space_are_comments(tmp_path: Path) -> None:
    """That they were left out is said: somebody may have meant one."""
    file = tmp_path / "prompts.txt"
    file.write_text("# posters\n#\n#1 in the charts\n  # later\na fox\n", encoding="utf-8")
    words = ("image", "--prompts", str(file), "--model", "nanobanana-2", "--dry-run", "--json")
    status, said, complaint = run(*words)
    prompts = re.findall(r'"prompt": "(.*?)"', said)
    assert (status, prompts) == (0, ["#1 in the charts", "a fox"])
    assert complaint == "3 lines begin with # and a space: a comment, not made\n"
    file.write_text("# posters\n", encoding="utf-8")
    assert "there is no prompt in that file" in run(*words)[2]


def test_prompts_come_one_a_line(tmp_path: Path) -> None:
    """Blank lines and a byte order mark are none."""
    file = tmp_path / "prompts.txt"
    file.write_text("\ufeffa fox\n\n  ein süßer Hund \n", encoding="utf-8")
    words = ("--prompts", str(file), "--model", "nanobanana-2", "--dry-run", "--json")
    status, said, _ = run("image", *words)
    assert (status, re.findall(r'"prompt": "(.*?)"', said)) == (0, ["a fox", "ein süßer Hund"])
    price = "5 credits (5 credits per image = 5)\n"
    in_all = "in all 10 credits (2 x (5 credits per image = 5))\n"
    assert run("image", *words[:-1]) == (0, 2 * price, in_all)


def test_it_runs_on_the_embedded_sandbox(tmp_path: Path) -> None:
    """Without a key, into a folder beside the real results."""
    ended = subprocess.run(
        [sys.executable, "-m", "meigen_mcp", "image", "a fox", "--sandbox"],
        env={"MEIGEN_OUTPUT_DIR": str(tmp_path), "HOME": str(tmp_path)},
        stdin=subprocess.DEVNULL, capture_output=True, check=True, timeout=120,
    )  # fmt: skip
    file = Path(ended.stdout.decode().removesuffix("\n"))
    assert (file.parent, file.is_file()) == (tmp_path / "sandbox", True)


@pytest.mark.skipif(os.name == "nt", reason="SIGINT to a process is POSIX's")
async def test_who_stops_waiting_is_told_what_goes_on(tmp_path: Path) -> None:
    """The intent stays; the status is that of an interrupted command."""
    process = await anyio.open_process(
        [sys.executable, "-m", "meigen_mcp", "image", "a fox", "--key", "k"],
        stdin=subprocess.DEVNULL,
        env={
            "MEIGEN_API_TOKEN": "meigen_sk_" + "t0ken-32" * 4,
            "MEIGEN_BASE_URL": "http://127.0.0.1:9",
            "MEIGEN_DATA_DIR": str(tmp_path),
            "MEIGEN_OUTPUT_DIR": "off",
            "MEIGEN_CONFIRM_ABOVE": "off",
        },
    )
    async with process:
        assert await until(lambda: bool(rows(tmp_path)), 60)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        told = b"".join([part async for part in process.stderr]).decode()
        assert await process.wait() == 130
        (row,) = rows(tmp_path)
        assert row.status in ("queued", "submitting")
    said = " ".join(told.split())
    assert said.startswith(f"Not waited for any longer: {row.request_id}. What MeiGen has goes on")
    assert said.endswith(f"`meigen-mcp jobs {row.request_id} --call-off` ends what is queued.")


def test_what_a_sandbox_with_a_name_made_is_listed(tmp_path: Path) -> None:
    """Apart from what was made at MeiGen; a misspelt name makes no new one."""
    (file,) = run("image", "a fox", "--sandbox", "den")[1].splitlines()
    listed = run("jobs", "--sandbox", "den")
    assert [listed[0], f"saved: {file}" in listed[1], listed[2]] == [0, True, ""]
    real = run("jobs")[1].splitlines()
    assert (real[0], real[-1]) == (
        "no generations yet", "What the sandbox den made: `meigen-mcp jobs --sandbox den`."
    )  # fmt: skip
    assert run("jobs", "--sandbox", "dem") == (1, "", "Error: there is no sandbox dem\n")
    assert [path.name for path in (tmp_path / "data" / "sandboxes").iterdir()] == ["den"]


@pytest.mark.parametrize("words", [("jobs",), ("approve", "some-id")])
def test_a_sandbox_without_a_name_is_told_to_be_gone(words: tuple[str, ...]) -> None:
    """Whoever made something in one looks for it with the same option."""
    status, said, complaint = run(*words, "--sandbox")
    assert (status, said) == (2, "")
    assert "what one without a name made was gone when it ended" in complaint


def test_a_yes_is_given_in_a_sandbox_with_a_name_as_its_answers_say(tmp_path: Path) -> None:
    """The command names the sandbox, and looks into its ledger."""
    run("image", "a fox", "--sandbox", "den")
    named = replace(settings.load(), sandbox="den")
    words = ("approve", "x", "--sandbox", "den")
    assert approving(named, "x") == f"`meigen-mcp {' '.join(words)}`"
    status, said, complaint = run(*words)
    assert (status, said) == (1, "")
    assert f"under x in {tmp_path / 'data' / 'sandboxes' / 'den'}" in complaint


def test_what_ends_with_the_command_is_not_named_to_a_script() -> None:
    """A sandbox without a name takes its previews and its records along."""
    status, said, _ = run("image", "a fox", "--sandbox", "--json")
    answer = json.loads(said)
    assert (status, answer["status"]) == (0, "completed")
    assert {"preview", "resourceUri"} & set(answer) == set()
