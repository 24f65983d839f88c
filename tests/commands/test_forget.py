"""`meigen-mcp jobs --forget`: what was asked for goes, what it cost and came to stays."""

import json
import sqlite3
import time
from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from PIL import Image
from support.in_memory import connect, make_settings
from support.ledger_file import execute
from support.over_http import environment

from meigen_mcp.commands import jobs
from meigen_mcp.commands.cli import main
from meigen_mcp.errors import MeigenError
from meigen_mcp.ledger.offers import OFFERED_FOR
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

SECRET = "a surprise for Ada's birthday, 狐"
CALL = {"prompt": SECRET, "modelId": "nanobanana-2", "wait": 40}
DAY = 24 * 3600.0


async def make(settings: Settings, emulator: Emulator, **more: Any) -> dict[str, Any]:
    """Make an image in a server of its own."""
    async with connect(settings, emulator) as on:
        return await on.call("generate_image", **{**CALL, **more})


def written(folder: Path) -> bytes:
    """Return every byte of the ledger's files."""
    return b"".join(path.read_bytes() for path in (folder / "data").glob("ledger.sqlite3*"))


async def test_what_was_asked_for_is_taken_out(tmp_path: Path, emulator: Emulator) -> None:
    """From every byte of the ledger, with the preview; key, amount and outcome stay."""
    own = tmp_path / "own" / "Secret plans.png"
    own.parent.mkdir()
    Image.new("RGB", (64, 64), "red").save(own)
    settings = replace(make_settings(tmp_path), reference_dirs=(own.parent,))
    async with connect(settings, emulator) as on:
        other = await on.call("generate_image", **{**CALL, "prompt": "another"})
        made = await on.call("generate_image", **CALL, referenceImages=[str(own)])
    assert SECRET.encode() in written(tmp_path)
    said = await jobs.run(settings, made["generationId"], forget_one=True)
    kept = json.loads(await jobs.run(settings, made["requestId"]))
    gone = [SECRET.encode(), b"surprise", b"Secret%20plans", made["preview"].encode()]
    assert [part for part in gone if part in written(tmp_path)] == []
    assert not Path(made["preview"]).exists()
    assert made["preview"] not in written(tmp_path).decode("latin-1")
    lost = ("prompt", "settings", "preview", "madeFrom", "files")
    assert kept == {name: made[name] for name in made if name not in (*lost, "next")}
    assert said.startswith("Forgotten: prompt, arguments, references and preview of 1 generation;")
    assert said.splitlines()[1:] == made["files"]
    assert Path(other["preview"]).exists()
    listed = await jobs.run(settings)
    assert "spent or reserved: 10 credits in 24 hours" in listed
    assert [b"another" in written(tmp_path), Path(made["files"][0]).exists()] == [True, True]


async def test_what_is_old_enough_is_forgotten(
    settings: Settings, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever's it is, and no more than that."""
    await make(replace(settings, token="meigen_sk_" + "another0" * 4), emulator)
    await make(settings, emulator)
    now = time.time()
    none = await jobs.run(settings, older_than=1)
    assert ("of 0 generations" in none, SECRET.encode() in written(tmp_path)) == (True, True)
    monkeypatch.setattr("time.time", lambda: now + 2 * DAY)
    both = await jobs.run(settings, older_than=1)
    assert ("of 2 generations" in both, SECRET.encode() in written(tmp_path)) == (True, False)
    again = await jobs.run(settings, older_than=1)
    assert "of 0 generations" in again


async def test_a_call_that_nobody_agreed_to_is_forgotten(
    settings: Settings, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its offer holds the prompt too; one that still stands is needed."""
    offered = await make(replace(settings, confirm_above=Decimal(0)), emulator)
    await jobs.run(settings, older_than=0)
    assert (offered["status"], SECRET.encode() in written(tmp_path)) == ("needs_approval", True)
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + OFFERED_FOR + 1)
    await jobs.run(settings, older_than=0)
    assert SECRET.encode() not in written(tmp_path)


class Lazy(sqlite3.Connection):
    """A connection of an SQLite that leaves what is freed as it was, as many are built."""

    def __init__(self, *given: Any, **named: Any) -> None:
        super().__init__(*given, **named)
        self.execute("PRAGMA secure_delete = OFF")


async def test_what_was_freed_before_is_gone_as_well(
    settings: Settings, emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An offer that was used, and a record that grew, leave their old bytes in the file."""
    opened = sqlite3.connect
    monkeypatch.setattr("sqlite3.connect", lambda *a, **k: opened(*a, **{"factory": Lazy, **k}))
    careful = replace(settings, confirm_above=Decimal(0))
    for number in range(4):
        call = {"prompt": f"{SECRET} {number} " * 60, "maxCredits": 100}
        offered = await make(careful, emulator, prompt=call["prompt"])
        await make(careful, emulator, **call, requestId=offered["requestId"])
    now = time.time()
    monkeypatch.setattr("time.time", lambda: now + DAY)
    said = await jobs.run(settings, older_than=0.5)
    assert ("of 4 generations" in said, b"surprise" in written(tmp_path)) == (True, False)


async def test_what_has_not_ended_is_not_forgotten(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """It is still needed."""
    made = await make(settings, emulator, prompt="sandbox:stall", wait=0)
    with pytest.raises(MeigenError, match="only what has ended"):
        await jobs.run(settings, made["requestId"], forget_one=True)
    await jobs.run(settings, older_than=0)
    assert b"sandbox:stall" in written(tmp_path)


async def test_a_request_id_names_its_generation_after_a_forget(
    settings: Settings, emulator: Emulator
) -> None:
    """It is told as it ended, and that nothing is left to compare; but for the tool."""
    made = await make(settings, emulator)
    name = made["requestId"]
    await jobs.run(settings, name, forget_one=True)
    kept = json.loads(await jobs.run(settings, name))
    again = await make(settings, emulator, requestId=name)
    gone = await make(settings, emulator, requestId=name, modelId="a model that is gone")
    async with connect(settings, emulator) as on:
        other = await on.call("generate_video", **CALL | {"modelId": "veo-3.1"}, requestId=name)
    said = (
        "This is the generation that the requestId stands for, not a second one. What it was asked"
        " with, and its files, were forgotten here, so nothing says whether these are the same"
        " arguments. Give the person the URL."
    )
    assert again.pop("next").startswith(said)
    assert gone.pop("next").startswith(said)
    assert [again, gone] == [kept, kept]
    assert (other["status"], other["error"]["code"]) == ("refused", "request_conflict")
    assert len(emulator.posts) == 1


async def test_a_call_without_an_id_finds_nothing_that_was_forgotten(
    settings: Settings, emulator: Emulator
) -> None:
    """Identical to all of them and to none, it is made as any other."""
    made = await make(settings, emulator)
    async with connect(settings, emulator) as on:
        await jobs.run(settings, made["requestId"], forget_one=True)
        execute(settings.data_dir, "UPDATE generations SET abandoned = 1, adopted = 0")
        again = await on.call("generate_image", **CALL)
    assert (again["status"], again["requestId"] == made["requestId"]) == ("completed", False)
    assert len(emulator.posts) == 2


async def test_a_server_that_reads_just_then_is_named(
    settings: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """What it reads cannot be overwritten under it."""
    made = await make(settings, emulator)
    with closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite3")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM generations").fetchone()
        said = await jobs.run(settings, made["requestId"], forget_one=True)
    assert "Another server has the ledger open" in said


@pytest.mark.parametrize(
    "words",
    [
        ["--forget"],
        ["x", "--forget", "--fetch"],
        ["x", "--older-than", "3"],
        ["x", "--forget", "--older-than", "3"],
        ["--older-than", "-1"],
        ["--older-than", "3", "--call-off"],
        ["--older-than", "3"],
    ],
)
def test_what_to_forget_is_said_once(words: list[str], tmp_path: Path) -> None:
    """One of them, or all that are older."""
    environ: Mapping[str, str] = environment(tmp_path, "http://127.0.0.1:9")
    ended = CliRunner().invoke(main, ["jobs", *words], env=environ)
    assert ended.exit_code == 2


def test_all_that_is_older_is_forgotten(tmp_path: Path) -> None:
    """Where the word for it stands there."""
    words = ("--forget", "--older-than", "0.5")
    environ: Mapping[str, str] = environment(tmp_path, "http://127.0.0.1:9")
    ended = CliRunner().invoke(main, ["jobs", *words], env=environ)
    assert (ended.exit_code, "of 0 generations" in ended.output) == (0, True)
