"""Each piece of advice fits: it names what the person can do, whole, and where."""

import shlex
from decimal import Decimal
from pathlib import Path
from typing import Any

import click
import pytest
from support.workbench import Someone, answers, workbench

from meigen_mcp import errors
from meigen_mcp.commands import terminal
from meigen_mcp.generation import media_uri, record_uri
from meigen_mcp.service.results import Listing
from meigen_mcp.system.extras import install_extra

TOKEN = "meigen_sk_" + "x" * 32
CALL: dict[str, Any] = {"prompt": "a red cube", "modelId": "nanobanana-2"}
KEYS = "(their picture, Settings, API Keys)"


async def test_a_token_that_counts_no_more_is_renewed_where_it_is_kept(tmp_path: Path) -> None:
    """By the command that writes the file, and it is said where a new one is made."""
    async with workbench(tmp_path) as on:
        on.wire.faults["submit"] = [answers(401, body={"error": "Invalid API token"})]
        parked = (await on.generate(**CALL, wait=0)).job
    assert parked.error is not None
    assert f"{KEYS}: by `meigen-mcp install CLIENT --new-token`" in parked.error.next
    assert KEYS in errors.MissingToken.next


async def test_check_status_takes_the_uri_of_its_own_answers(tmp_path: Path) -> None:
    """Of the record, by either id, and of a medium."""
    async with workbench(tmp_path) as on:
        made = (await on.generate(**CALL)).job
        names = [record_uri(made.name), record_uri(made.request_id), media_uri(made.name, 0)]
        for name in names:
            for field in ("generationId", "requestId"):
                named: dict[str, Any] = {field: name}
                found = await on.check(**named)
                assert found.job.request_id == made.request_id
        assert (await on.check(generationId=f"{names[0]}/media")).job == found.job


@pytest.mark.parametrize("given", ["meigen://fox", "meigen://generations", "meigen://models/x"])
async def test_another_uri_is_told_how_that_of_a_generation_is_written(
    given: str, tmp_path: Path
) -> None:
    """Whichever id it stands for; and it is looked for in no ledger."""
    fix = "write meigen://generations/GENERATIONID, as resourceUri has it, or the id alone"
    async with workbench(tmp_path) as on:
        for field in ("generationId", "requestId"):
            named: dict[str, Any] = {field: given}
            with pytest.raises(errors.InvalidArguments) as refused:
                await on.check(**named)
            wrong = errors.Problem(field, f'"{given}" is the URI of no generation', fix)
            assert refused.value.problems == (wrong,)


@pytest.mark.parametrize("given", ["", "/media", "/media/", "/media/x", "/media/0/", "/0"])
async def test_a_record_as_a_reference_is_told_how_a_medium_is_named(
    given: str, tmp_path: Path
) -> None:
    """A generation may have several, so none is guessed; a clip as well."""
    fix = "name one of a generation's media, counted from 0:"
    async with workbench(tmp_path) as on:
        uri = record_uri((await on.generate(**CALL)).job.name) + given
        for call in (
            {**CALL, "referenceImages": [uri]},
            {"prompt": "x", "modelId": "seedance-2-0", "referenceVideo": uri},
        ):
            tool: Any = "generate_image" if "referenceImages" in call else "generate_video"
            with pytest.raises(errors.InvalidArguments) as refused:
                await on.generate(tool, **call, dryRun=True)
            said = refused.value.problems[0]
            assert said.message.endswith('" is the URI of no single medium')
            assert said.fix == f"{fix} meigen://generations/GENERATIONID/media/0"


async def test_what_is_spent_and_what_is_only_reserved_are_two_numbers(tmp_path: Path) -> None:
    """The sums keep their meaning: both together."""
    async with workbench(tmp_path) as on:
        await on.generate(**CALL)
        on.wire.faults["submit"] = [answers(401, body={"error": "no"})]
        await on.generate(prompt="another", modelId="z-image-turbo", wait=0)
        found: Listing = await on.check(person=Someone())
    sums = (found.spent_today, found.spent_month, found.reserved)
    assert sums == (Decimal(7), Decimal(7), Decimal(2))


@pytest.mark.parametrize(
    ("typed", "kept", "asked"),
    [
        ([TOKEN], TOKEN, [terminal.ASKED]),
        (["", TOKEN], TOKEN, [terminal.ASKED, terminal.NOTHING]),
        (["", ""], "", [terminal.ASKED, terminal.NOTHING]),
        (["sk-other", TOKEN], TOKEN, [terminal.ASKED, terminal.NOT_ONE]),
        (["sk-other", ""], "", [terminal.ASKED, terminal.NOT_ONE]),
    ],
    ids=["typed", "Enter first", "Enter twice", "odd first", "odd given up"],
)
def test_what_is_no_token_is_asked_about_once_more(
    typed: list[str], kept: str, asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Enter at once is a slip more often than a wish, and so is an odd token."""
    questions: list[str] = []

    def prompt(question: str, **_: object) -> str:
        questions.append(question)
        return typed[len(questions) - 1]

    monkeypatch.setattr(click, "prompt", prompt)
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    assert (terminal.Terminal().token(), questions) == (kept, asked)
    assert "your picture, Settings, API Keys" in questions[0]


def test_what_is_no_token_twice_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is changed by it."""
    monkeypatch.setattr(click, "prompt", lambda *_, **__: "sk-other")
    monkeypatch.setattr("sys.stdin.isatty", lambda: True, raising=False)
    with pytest.raises(click.ClickException, match=r"is no token.*nothing was changed"):
        terminal.Terminal().token()


def test_the_command_for_frames_is_whole_and_for_this_very_python() -> None:
    """Wherever it was installed; a cache may go at any time, so there the client starts it anew."""
    words = shlex.split(install_extra("video", "/opt/venv", "/opt/my venv/bin/python"))
    assert words == ["/opt/my venv/bin/python", "-m", "pip", "install", "meigen-mcp[video]"]
    cached = install_extra("video", "/home/me/.cache/uv/archive-v0/x", "/x/bin/python")
    assert cached == 'uvx --from "meigen-mcp[video]" meigen-mcp install CLIENT'
