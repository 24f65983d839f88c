"""`jobs` and `approve` where people sign in: whose a call is, and that nobody else's is touched."""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import anyio
import httpx
import pytest
from click.testing import CliRunner
from support.calls import intent
from support.in_memory import ORIGIN, TOKEN, InMemory, connect, make_settings
from support.over_http import environment

from meigen_mcp.app import Account, open_account
from meigen_mcp.commands import approve, jobs, team
from meigen_mcp.commands.cli import main
from meigen_mcp.errors import LedgerUnavailable, MeigenError, NotFound
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.calls import Terms
from meigen_mcp.ledger.offers import Offer
from meigen_mcp.ledger.sqlite.records import SqliteRecords
from meigen_mcp.ledger.team import Member
from meigen_mcp.ledger.whose import SeveralPeople
from meigen_mcp.media import whole_files
from meigen_mcp.media.archive import FolderArchive
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

ANN, BOB = "a" * 32, "b" * 32
EVERYONE = (ANN, BOB, "")
RID = "0f8fad5b-d9cb-469f-a165-70867728950e"
KEPT = {"MEIGEN_MEDIA_URL": "http://127.0.0.1:1"}
FOX = {"prompt": "a fox", "modelId": "z-image-turbo"}


@pytest.fixture
def keeping(tmp_path: Path) -> Settings:
    """Return settings with which results last."""
    return make_settings(tmp_path, MEIGEN_MEDIA_DIR=str(tmp_path / "kept"), **KEPT)


def kept(folder: Path) -> set[str]:
    """Return the paths of what an archive keeps."""
    return {str(path) for path in (folder / "kept").rglob("*") if path.is_file()}


async def made(account: Account, person: str, request_id: str = RID) -> Generation:
    """Write down what a person made, with a file and a preview that are kept."""
    assert account.media.archive is not None
    paths = []
    for word in (b"file", b"preview"):
        with whole_files.new(account.media.archive.folder, private=True) as partial:
            partial.write_bytes(word)
            paths.append(str(account.media.archive.keep(partial, ".png", person + request_id)))
    share = account.ledger.of(person)
    now = account.ledger.clock()
    call = intent(f"for {person[:1]}", request_id=request_id, created_at=now)
    job = await share.calls.add(call, Terms())
    assert isinstance(job, Generation)
    return await share.records.change(
        job,
        lambda fresh: replace(
            fresh, status="completed", generation_id=f"of {person}", finished_at=now - 1,
            next_look=None, files=(paths[0],), preview=paths[1],
        ),
    )  # fmt: skip


async def all_made(settings: Settings, *people: str) -> list[Generation]:
    """Write down what each made under one id."""
    async with open_account(settings) as account:
        await account.ledger.open()
        for one in people:
            if one:
                now = account.ledger.clock()
                await account.ledger.team.meet(
                    Member(one, "https://i", one[:1], f"N{one[:1]}", now)
                )
        return [await made(account, one) for one in people]


async def prompts(settings: Settings) -> list[str]:
    """Return what is known of what was asked for, the newest last."""
    async with open_account(settings) as account:
        await account.ledger.open()
        return [job.prompt for _, job in await account.ledger.records.newest(9)][::-1]


@pytest.mark.parametrize("name", ["of " + BOB, RID])
async def test_only_whose_is_meant_is_forgotten(
    name: str, keeping: Settings, tmp_path: Path
) -> None:
    """By an id of their own, or by one of several people's and a person."""
    ann, _, other = await all_made(keeping, *EVERYONE)
    who = "Nb" if name == RID else None
    assert "of 1 generation;" in await jobs.run(keeping, name, forget_one=True, who=who)
    assert await prompts(keeping) == ["for a", "", "for "]
    assert kept(tmp_path) == {*ann.files, ann.preview, *other.files, other.preview}


@pytest.mark.parametrize(
    "asked", [{}, {"forget_one": True}, {"call_off": True}, {"outcome": "charged"},
              {"fetch_again": True}],
)  # fmt: skip
async def test_what_several_people_chose_says_whose(
    asked: dict[str, bool], keeping: Settings
) -> None:
    """Whatever is to be done with it."""
    await all_made(keeping, *EVERYONE)
    with pytest.raises(SeveralPeople) as told:
        await jobs.run(keeping, RID, **asked)  # type: ignore[arg-type]
    assert sorted(told.value.people) == sorted(EVERYONE)
    assert told.value.message.endswith(
        "Say whose is meant, with --person. Nothing was sent or charged."
    )
    assert await prompts(keeping) == ["for a", "for b", "for "]
    assert '"for a"' in await jobs.run(keeping, RID, who="a" * 8)
    assert '"for "' in await jobs.run(keeping, RID, who="nobody")


def test_the_command_takes_whose_it_is(keeping: Settings, tmp_path: Path) -> None:
    """And fails where it is not said."""
    anyio.run(all_made, keeping, *EVERYONE)
    environ = environment(tmp_path, ORIGIN) | {"MEIGEN_DATA_DIR": str(keeping.data_dir)}
    environ |= {"MEIGEN_API_TOKEN": TOKEN, "MEIGEN_MEDIA_DIR": str(tmp_path / "kept")}
    words = ["jobs", RID, "--forget"]
    codes = [
        CliRunner().invoke(main, [*words, *more], env=environ).exit_code
        for more in ([], ["--person", "Nb"])
    ]
    assert (codes, anyio.run(prompts, keeping)) == ([1, 0], ["for a", "", "for "])


def _locked(monkeypatch: pytest.MonkeyPatch, paths: Sequence[str | None]) -> None:
    discard = FolderArchive.discard

    def refusing(self: FolderArchive, path: str, before: float) -> bool:
        if path in paths:
            raise PermissionError(13, "Permission denied")
        return discard(self, path, before)

    monkeypatch.setattr(FolderArchive, "discard", refusing)


@pytest.mark.parametrize("command", ["jobs", "older", "team"])
async def test_what_cannot_be_deleted_is_named_and_forgotten_later(
    command: str, keeping: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the same command: till then the record knows where it is, and the person is known."""
    (ann,) = await all_made(keeping, ANN)

    async def run() -> str:
        if command == "team":
            return await team.forget(keeping, "Na")
        if command == "older":
            return await jobs.run(keeping, older_than=0)
        return await jobs.run(keeping, RID, forget_one=True)

    with monkeypatch.context() as locked:
        _locked(locked, ann.files)
        with pytest.raises(jobs.NotDeleted) as told:
            await run()
    assert told.value.message == (
        "Not forgotten is what these files belong to, since they cannot be deleted:\n"
        f"{ann.files[0]} (Permission denied)\nOnce they can, the same command forgets it."
    )
    assert (await prompts(keeping), kept(tmp_path)) == (["for a"], set(ann.files))
    assert "of 1 generation;" in await run()
    assert (await prompts(keeping), kept(tmp_path)) == ([""], set())


async def test_what_was_cut_off_after_the_files_were_deleted_is_repeated(
    keeping: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The record is as it was, and its files are gone already."""
    await all_made(keeping, ANN)

    async def away(*_: object) -> None:
        raise LedgerUnavailable("away")

    with monkeypatch.context() as cut:
        cut.setattr(SqliteRecords, "forget", away)
        with pytest.raises(LedgerUnavailable):
            await jobs.run(keeping, RID, forget_one=True)
    assert (await prompts(keeping), kept(tmp_path)) == (["for a"], set())
    (tmp_path / "kept" / "another").write_bytes(b"")
    assert "of 1 generation;" in await jobs.run(keeping, RID, forget_one=True)
    assert await prompts(keeping) == [""]


async def test_a_folder_that_is_not_mounted_has_nothing_that_is_gone(
    keeping: Settings, tmp_path: Path
) -> None:
    """An empty one is in its place."""
    await all_made(keeping, ANN)
    (tmp_path / "kept").rename(tmp_path / "elsewhere")
    (tmp_path / "kept").mkdir()
    with pytest.raises(jobs.NotDeleted, match="is it mounted"):
        await jobs.run(keeping, RID, forget_one=True)
    assert await prompts(keeping) == ["for a"]


async def test_what_was_fetched_again_takes_the_place_of_what_was_kept(
    keeping: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """Else nothing would know of it, and it could never be forgotten."""
    async with connect(keeping, emulator) as on:
        made = await on.call("generate_image", **FOX)
    wire = InMemory(emulator)
    async with open_account(keeping, wire) as account:
        await account.ledger.open()
        job = await account.ledger.records.get(made["generationId"])
        assert job is not None
        old = await _other(account)
        job = await account.ledger.records.change(job, lambda one: replace(one, files=(old,)))
    await jobs.run(keeping, job.request_id, fetch_again=True, transport=wire)
    assert not Path(old).exists()
    assert len(kept(tmp_path)) == 2
    await jobs.run(keeping, job.request_id, forget_one=True, transport=wire)
    assert kept(tmp_path) == set()


async def test_what_is_kept_already_stays_wherever_its_folder_is(
    keeping: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """The same content has the same name, and another path where it is mounted elsewhere."""
    async with connect(keeping, emulator) as on:
        made = await on.call("generate_image", **FOX)
    before = {Path(path).name for path in kept(tmp_path)}
    (tmp_path / "kept").rename(tmp_path / "elsewhere")
    moved = replace(keeping, media_dir=tmp_path / "elsewhere")
    text = await jobs.run(moved, made["requestId"], fetch_again=True, transport=InMemory(emulator))
    assert {path.name for path in (tmp_path / "elsewhere").rglob("*.*")} == before
    assert json.loads(text)["files"][0].startswith(str(tmp_path / "elsewhere"))


async def test_what_came_before_a_medium_that_is_lost_takes_its_place_all_the_same(
    keeping: Settings, emulator: Emulator, tmp_path: Path
) -> None:
    """The first of four is there, the others are gone at MeiGen: no file is without a record."""
    async with connect(keeping, emulator) as on:
        made = await on.call("generate_image", prompt="a fox", modelId="midjourney-v7")
    wire = InMemory(emulator)

    async def fetched(request: httpx.Request) -> httpx.Response:
        if str(request.url) in lost:
            return httpx.Response(404)
        return await wire.handle_async_request(request)

    async with open_account(keeping) as account:
        await account.ledger.open()
        job = await account.ledger.records.get(made["requestId"])
        assert job is not None
        old = await _other(account)
        lost = job.media_urls[1:]
        files = (old, *job.files[1:])
        await account.ledger.records.change(job, lambda one: replace(one, files=files))
        Path(job.files[0] or "").unlink()
    transport = httpx.MockTransport(fetched)
    with pytest.raises(MeigenError):
        await jobs.run(keeping, made["requestId"], fetch_again=True, transport=transport)
    assert (len(lost), Path(old).exists()) == (3, False)
    await jobs.run(keeping, made["requestId"], forget_one=True)
    assert kept(tmp_path) == set()


async def test_the_beginning_of_an_id_is_that_of_a_persons(keeping: Settings) -> None:
    """Another's that begins so is not in its way."""
    async with open_account(keeping) as account:
        await account.ledger.open()
        for one in (ANN, BOB):
            await account.ledger.team.meet(Member(one, "https://i", one[:1], f"N{one[:1]}", 1.0))
            await made(account, one, f"same-beginning-{one[:1]}")
    with pytest.raises(jobs.NotPossible, match="several ids begin so"):
        await jobs.run(keeping, "same-beginning")
    assert '"for b"' in await jobs.run(keeping, "same-beginning", who="Nb")


async def _other(account: Account) -> str:
    assert account.media.archive is not None
    with whole_files.new(account.media.archive.folder, private=True) as partial:
        partial.write_bytes(b"as it came first")
        return str(account.media.archive.keep(partial, ".png", "k"))


# --- approve ------------------------------------------------------------------------------------


async def offered(settings: Settings, *people: str) -> None:
    """Have a call of each wait for a yes under one id."""
    async with open_account(settings) as account:
        await account.ledger.open()
        call = intent(request_id=RID, created_at=account.ledger.clock() - 1)
        for one in people:
            await account.ledger.of(one).offers.note(Offer.of(call), "offered")


@pytest.mark.parametrize(("who", "whose"), [(ANN, f" for {ANN}"), ("b" * 8, f" for {BOB}"),
                                            ("nobody", "")])  # fmt: skip
async def test_each_offer_of_several_can_be_approved(
    who: str, whose: str, keeping: Settings
) -> None:
    """By what the refusal prints, also of whom nothing else is known."""
    await offered(keeping, *EVERYONE)
    with pytest.raises(SeveralPeople, match="nobody"):
        await approve.run(keeping, RID)
    said = await approve.run(keeping, RID, who)
    assert said.startswith(f"Approved{whose}: generate_image")


async def test_a_name_is_first_that_of_who_waits(keeping: Settings) -> None:
    """Another of that name did not ask; whose name is nobody's is refused."""
    async with open_account(keeping) as account:
        await account.ledger.open()
        for one in ("c" * 32, ANN):
            now = account.ledger.clock()
            await account.ledger.team.meet(Member(one, "https://i", one[:1], "Ann", now))
    await offered(keeping, ANN, BOB)
    assert (await approve.run(keeping, RID, "Ann")).startswith(f"Approved for Ann ({ANN}): ")
    for who in ("Zoe", ""):
        with pytest.raises(NotFound, match=f"Nobody goes by {who}:"):
            await approve.run(keeping, RID, who)
    with pytest.raises(MeigenError, match="No call waits for your yes"):
        await approve.run(keeping, RID, "nobody")
