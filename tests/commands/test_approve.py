"""`meigen-mcp approve`: the person's yes to one call, from a terminal."""

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from support.in_memory import connect, make_settings

from meigen_mcp.commands import approve
from meigen_mcp.commands.cli import main
from meigen_mcp.errors import NotFound
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.service.consent import approving
from meigen_mcp.settings import Settings, default_data_dir

CALL = {"prompt": "a red cube", "modelId": "nanobanana-2", "wait": 5}


@pytest.fixture
def asking(tmp_path: Path) -> Settings:
    """Return settings with which the person is asked about every price."""
    return make_settings(tmp_path, MEIGEN_CONFIRM_ABOVE="0")


async def _offered(settings: Settings, emulator: Emulator) -> str:
    async with connect(settings, emulator) as on:
        return str((await on.call("generate_image", **CALL))["requestId"])


async def _made(settings: Settings, emulator: Emulator, name: str, **more: Any) -> str:
    async with connect(settings, emulator) as on:
        answer = await on.call("generate_image", **{**CALL, **more}, requestId=name)
    return str(answer.get("error", {}).get("code") or answer["status"])


async def test_it_says_what_is_approved_and_until_when(
    asking: Settings, emulator: Emulator
) -> None:
    """The price with its arithmetic, the model and the prompt; and that nothing is charged yet."""
    name = await _offered(asking, emulator)
    said = await approve.run(asking, f" {name.upper()}\n")
    assert re.sub(r"20..-..-..T..:..:..Z", "TIME", said) == (
        "Approved: generate_image with nanobanana-2 for 5 credits (5 credits per image = 5):"
        ' "a red cube"\n'
        "It runs once, within your caps, when the same call is made with requestId"
        f" {name} before TIME. Nothing was sent or charged yet."
    )
    assert emulator.posts == []


async def test_that_call_runs_once_and_no_other(asking: Settings, emulator: Emulator) -> None:
    """Other arguments are a conflict, another call is asked about, a repetition finds it."""
    name = await _offered(asking, emulator)
    await approve.run(asking, name)
    other = "7d444840-9dc0-11d1-b245-5ffdce74fad2"
    assert [
        await _made(asking, emulator, name, prompt="two red cubes"),
        await _made(asking, emulator, other),
        await _made(asking, emulator, name, maxCredits=4),
        await _made(asking, emulator, name),
        await _made(asking, emulator, name),
        await _made(asking, emulator, other),
    ] == ["request_conflict", "needs_approval", "over_cap", *["completed"] * 2, "needs_approval"]
    assert sum(post.accepted for post in emulator.posts) == 1
    with pytest.raises(NotFound):
        await approve.run(asking, name)


async def test_the_terminal_needs_no_token(asking: Settings, emulator: Emulator) -> None:
    """Whose call it is stands in the ledger."""
    name = await _offered(asking, emulator)
    await approve.run(replace(asking, token=None), name)
    assert await _made(asking, emulator, name) == "completed"


async def test_it_is_for_the_account_that_was_asked(asking: Settings, emulator: Emulator) -> None:
    """The same id with another token is another call."""
    name = await _offered(asking, emulator)
    await approve.run(asking, name)
    other = replace(asking, token="meigen_sk_" + "B" * 32)
    assert await _made(other, emulator, name) == "needs_approval"
    assert emulator.posts == []


def test_an_id_that_nothing_waits_under_is_said(tmp_path: Path) -> None:
    """With the folder that was looked in, since a client may have set another one."""
    folder = tmp_path / "data"
    result = CliRunner().invoke(
        main, ["approve", "it"], env={"MEIGEN_DATA_DIR": str(folder), "MEIGEN_API_TOKEN": ""}
    )
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr == (
        f"Error: No call waits for your yes under it in {folder}: its hour is over, it was made, or"
        " its server uses another MEIGEN_DATA_DIR. Make the call again in the chat for a new offer."
        " Nothing was sent or charged.\n"
    )


@pytest.mark.parametrize(
    ("discreet", "ends"),
    [(False, " (with MEIGEN_DATA_DIR={folder})"), (True, " (on the computer of this server)")],
)
async def test_an_answer_names_the_command_as_it_must_be_typed(
    discreet: bool, ends: str, asking: Settings, emulator: Emulator
) -> None:
    """The folder is named where it is not the usual one, unless no path may be told."""
    async with connect(replace(asking, discreet=discreet), emulator) as on:
        answer = await on.call("generate_image", **CALL)
    where = ends.format(folder=asking.data_dir)
    assert f": `meigen-mcp approve {answer['requestId']}`{where}. If " in answer["next"]


def test_the_usual_folder_is_not_named(asking: Settings) -> None:
    """The command finds it by itself."""
    usual = replace(asking, data_dir=default_data_dir())
    assert approving(usual, "it") == "`meigen-mcp approve it`"
