"""The commands of `meigen-mcp`, as a person types them."""

import json
import os
import socket
import subprocess
import sys
import tempfile
from importlib.metadata import version
from pathlib import Path

import jsonschema
import pytest
from click.testing import CliRunner

from meigen_mcp import settings
from meigen_mcp.catalogue.models import shipped
from meigen_mcp.commands.cli import main
from meigen_mcp.views import models as model_views


def run(*words: str) -> tuple[int, str, str]:
    """Run a command; return its exit status, its output and its complaint."""
    result = CliRunner().invoke(main, words)
    return result.exit_code, result.stdout, result.stderr


def test_the_version_is_that_of_the_package() -> None:
    """There is one version, in the metadata."""
    assert run("--version") == (0, f"meigen-mcp, version {version('meigen-mcp')}\n", "")


def test_the_module_is_the_command() -> None:
    """`python -m meigen_mcp` does the same."""
    command = [sys.executable, "-m", "meigen_mcp", "--version"]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert ended.stdout == run("--version")[1]


def test_a_start_asks_no_other_package_whether_it_is_a_plugin(tmp_path: Path) -> None:
    """Pydantic would read what each installed one says of itself: a twentieth of the start."""
    (tmp_path / "noisy-1.dist-info").mkdir()
    (tmp_path / "noisy-1.dist-info" / "METADATA").write_text("Name: noisy\nVersion: 1\n")
    (tmp_path / "noisy-1.dist-info" / "entry_points.txt").write_text("[pydantic]\nit = noisy:it\n")
    (tmp_path / "noisy.py").write_text("print('loaded')\nit = None\n")
    search = os.pathsep.join(filter(None, [str(tmp_path), os.environ.get("PYTHONPATH")]))
    environ = {**os.environ, "PYTHONPATH": search}
    environ.pop("PYDANTIC_DISABLE_PLUGINS", None)
    command = [sys.executable, "-m", "meigen_mcp", "models"]
    ended = subprocess.run(
        command, env=environ, capture_output=True, text=True, check=True, encoding="utf-8"
    )
    assert (ended.stdout, ended.stderr) == run("models")[1:]


def test_a_start_makes_ready_no_message_that_nobody_sent() -> None:
    """The protocol's models in three versions are a tenth of the start; few of them are used."""
    program = (
        "import meigen_mcp.commands.cli, mcp_types;"
        "print(mcp_types.ListToolsResult.__pydantic_complete__);"
        "print(mcp_types.ListToolsResult(tools=[]).tools)"
    )
    command = [sys.executable, "-c", program]
    ended = subprocess.run(command, capture_output=True, text=True, check=True, encoding="utf-8")
    assert (ended.stdout, ended.stderr) == ("False\n[]\n", "")


@pytest.mark.parametrize("words", [["frobnicate"], ["serve", "now"], ["models", "--yaml"]])
def test_what_is_no_command_is_said(words: list[str]) -> None:
    """Unknown commands, words and options end with status 2 and the way to the help."""
    status, said, complaint = run(*words)
    assert (status, said) == (2, "")
    assert complaint.startswith("Usage: ")
    assert complaint.splitlines()[-1].startswith(("Error: No such", "Error: Got unexpected"))


@pytest.mark.parametrize(
    "words",
    [["--host", "127.0.0.2"], ["--port", "8765"], ["--allowed-host", "a.example"], ["--no-token"]],
)
def test_an_address_without_http_is_refused(words: list[str]) -> None:
    """Nobody believes that it is served while it waits on stdin."""
    status, said, complaint = run("serve", *words)
    assert (status, said) == (2, "")
    assert "--host, --port, --allowed-host and --no-token need --http" in complaint


@pytest.mark.parametrize("words", [["serve", "--sandbox"], ["demo"]])
def test_without_a_folder_for_temporary_files_it_is_said(
    words: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The sandbox's own ledger lies there."""

    def missing(**_: str) -> str:
        raise FileNotFoundError

    monkeypatch.setattr(tempfile, "mkdtemp", missing)
    status, said, complaint = run(*words)
    assert (status, said) == (1, "")
    assert "here is no folder for temporary files; set TMPDIR" in complaint


def test_models_are_listed_a_line_each() -> None:
    """The same lines that the tool answers with, by the shipped facts."""
    models = shipped().listed()
    status, said, _ = run("models")
    assert (status, said) == (0, model_views.models_text(models) + "\n")
    assert len(said.splitlines()) == len(models)


def test_models_as_json_are_the_rows_of_the_tool() -> None:
    """A script reads what a client reads."""
    status, said, _ = run("models", "--json")
    rows = [model_views.model_row(model) for model in shipped().listed()]
    assert (status, json.loads(said)) == (0, rows)


def test_one_model_is_shown_with_its_schema_to_a_program() -> None:
    """Everything about it."""
    status, said, _ = run("models", "veo-3.1", "--json")
    model = json.loads(said)
    jsonschema.Draft202012Validator.check_schema(model["jsonSchema"])
    assert (status, model["modelId"]) == (0, "veo-3.1")


def test_one_model_is_shown_to_a_person_in_lines() -> None:
    """What it is, what it costs, and what a call may say; no schema."""
    status, said, _ = run("models", "z-image-turbo")
    catalogue = shipped()
    model = catalogue.find("z-image-turbo")
    assert model is not None
    details = model_views.model_details(model, catalogue, settings.load().accepts)
    assert (status, said.splitlines()) == (0, [
        "z-image-turbo: Z Image Turbo, image, by Alibaba, about 12 s",
        "credits: 2 per image",
        "what a call may say:",
        *(f"  {rule}" for rule in details["rules"]),
        "In a terminal aspectRatio is --aspect-ratio, and so on. --json says all, for programs.",
    ])  # fmt: skip


@pytest.mark.parametrize(
    ("given", "hint"),
    [
        ("veo-31", "; did you mean veo-3.1?"),
        ("Veo3.1", "; did you mean veo-3.1?"),
        ("nano", "; did you mean nanobanana-2?"),
        ("qqqq", ""),
    ],
)
def test_a_misspelt_model_is_named_with_what_was_meant(given: str, hint: str) -> None:
    """The sentence says what is near, if anything is."""
    assert run("models", given) == (1, "", f"Error: there is no model {given}{hint}\n")


def test_a_taken_port_is_said_in_a_sentence() -> None:
    """The sandbox does not start beside something else."""
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        status, said, complaint = run("sandbox", "--port", str(port))
    sentence = f"Error: port {port} is taken; choose another with --port\n"
    assert (status, said, complaint) == (1, "", sentence)


@pytest.mark.parametrize(
    "option",
    [
        ["--port", "65536"],
        ["--port", "-1"],
        ["--speed", "-1"],
        ["--credits", "-1"],
        ["--rate-limit", "0"],
        ["--api", "2025"],
    ],
    ids=" ".join,
)
def test_a_sandbox_that_cannot_be_is_refused(option: list[str]) -> None:
    """Each option says what it takes."""
    status, said, complaint = run("sandbox", *option)
    assert (status, said) == (2, "")
    assert f"Invalid value for '{option[0]}'" in complaint


def test_the_sandbox_says_how_to_use_it_and_ends_when_asked() -> None:
    """It prints its origin as settings, serves, and ends on SIGTERM with status 0."""
    command = [sys.executable, "-m", "meigen_mcp", "sandbox", "--port", "0"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, encoding="utf-8") as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().strip() for _ in range(5)]
        process.terminate()
        status = process.wait()
    origin = lines[1].removeprefix("MEIGEN_BASE_URL=")
    assert lines[0].startswith(f"MeiGen sandbox on {origin} ")
    assert lines[2] == f"MEIGEN_UPLOAD_URL={origin}"
    assert lines[4] == f"what it saw: {origin}/sandbox/state"
    assert status == 0
