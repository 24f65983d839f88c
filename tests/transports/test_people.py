"""Several people on one server: nothing of another's is found, told or joined."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import anyio
import anyio.lowlevel
import anyio.to_thread
import mcp_types as t
import pytest
from mcp.client.client import Client
from mcp.shared.exceptions import MCPError
from support.in_memory import MODES, Mode, make_settings
from support.issuer import RESOURCE, Issuer, serving
from support.over_http import connected, inside
from support.task_client import DeclaresTasks, begin, get_task, result_of

from meigen_mcp.app import open_account
from meigen_mcp.commands import approve, team
from meigen_mcp.errors import NotFound
from meigen_mcp.ledger.team import Member
from meigen_mcp.ledger.whose import SeveralPeople
from meigen_mcp.people import person_id, wire_key
from meigen_mcp.poller import room
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Job
from meigen_mcp.server import subscriptions
from meigen_mcp.transports import http

RECORDS = "meigen://generations"
SECRET = "correct-horse-battery-staple"


@dataclass
class Person:
    """Somebody who signed in, with their client."""

    client: Client
    issuer: Issuer
    subject: str

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool and return its structured content."""
        result = await self.client.call_tool(tool, arguments)
        return dict(result.structured_content or {})

    def key(self, request_id: str) -> str:
        """Return by what MeiGen knows one of theirs."""
        return wire_key(person_id(self.issuer.url, self.subject), request_id)

    async def resources(self) -> list[str]:
        """Return what is listed for them."""
        listed = (await self.client.list_resources()).resources
        return [str(each.uri) for each in listed if str(each.uri).startswith(f"{RECORDS}/")]


@asynccontextmanager
async def two_people(
    folder: Path, emulator: Emulator, mode: Mode, **variables: str
) -> AsyncIterator[tuple[Person, Person]]:
    """Serve, and connect two people."""
    async with serving() as issuer:
        oauth = {"MEIGEN_OAUTH_ISSUER": issuer.url, "MEIGEN_OAUTH_RESOURCE": RESOURCE}
        settings = make_settings(folder, **oauth, **variables)
        async with inside(settings, emulator) as (origin, _):
            url = f"{origin}{http.PATH}"
            async with (
                connected(url, mode, issuer.token(sub="ann", name="Ann")) as ann,
                connected(url, mode, issuer.token(sub="bob", name="=Bob")) as bob,
            ):
                yield Person(ann, issuer, "ann"), Person(bob, issuer, "bob")


def jobs_of(emulator: Emulator) -> list[Job]:
    """Return what was made at MeiGen."""
    return [job for account in emulator.accounts.values() for job in account.jobs]


@pytest.mark.parametrize("mode", MODES)
async def test_what_one_made_another_does_not_find(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """By no id, in no list, resource, completion or reference, and not in what is spent."""
    async with two_people(tmp_path, emulator, mode) as (ann, bob):
        made = await ann.call("generate_image", prompt="a secret fox")
        name = made["generationId"]
        for named in ({"generationId": name}, {"requestId": made["requestId"]}):
            mine = await ann.call("check_status", **named, wait=0)
            assert (mine["status"], mine["prompt"]) == ("completed", "a secret fox")
            theirs = await bob.call("check_status", **named, wait=0)
            assert (theirs["status"], theirs["error"]["code"]) == ("refused", "not_found")
        assert (await ann.call("check_status"))["generations"][0]["generationId"] == name
        assert await bob.call("check_status") == {
            "generations": [],
            "spentToday": 0,
            "spentMonth": 0,
            "reserved": 0,
        }
        assert await ann.resources() == [f"{RECORDS}/{name}", f"{RECORDS}/{name}/media/0"]
        assert await bob.resources() == []
        for uri in (f"{RECORDS}/{name}", f"{RECORDS}/{name}/media/0"):
            assert (await ann.client.read_resource(uri)).contents
            with pytest.raises(MCPError, match="not found"):
                await bob.client.read_resource(uri)
        template = t.ResourceTemplateReference(uri=f"{RECORDS}/{{generationId}}")
        typed = {"name": "generationId", "value": ""}
        assert (await ann.client.complete(template, typed)).completion.values == [name]
        assert (await bob.client.complete(template, typed)).completion.values == []
        again = {"prompt": "again", "referenceImages": [f"{RECORDS}/{name}/media/0"]}
        refused = await bob.call("generate_image", **again)
        assert (refused["status"], len(jobs_of(emulator))) == ("refused", 1)
        assert (await ann.call("generate_image", **again))["status"] == "completed"


@pytest.mark.parametrize("mode", MODES)
async def test_one_request_id_of_two_people_is_two_jobs_at_meigen(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """Each is answered with their own id; nobody joins, or learns that it is taken."""
    name = str(uuid4())
    async with two_people(tmp_path, emulator, mode) as (ann, bob):
        fox = await ann.call("generate_image", prompt="a fox", requestId=name)
        hare = await bob.call("generate_image", prompt="a hare", requestId=name)
        assert (fox["requestId"], hare["requestId"]) == (name, name)
        assert fox["generationId"] != hare["generationId"]
        assert fox["mediaUrls"] != hare["mediaUrls"]
        repeated = await bob.call("generate_image", prompt="a hare", requestId=name)
        assert repeated["generationId"] == hare["generationId"]
        assert (await bob.call("check_status", requestId=name))["prompt"] == "a hare"
        keys = [job.key for job in jobs_of(emulator)]
        assert keys == [ann.key(name), bob.key(name)]
        assert name not in keys
        # What was made for each is drawn and kept for each.
        drawn = await anyio.to_thread.run_sync(lambda: list((tmp_path / "data/previews").iterdir()))
        pictures = [path.read_bytes() for path in drawn]
        assert len(set(pictures)) == len(pictures) == 2


@pytest.mark.parametrize("mode", MODES)
async def test_an_offer_of_one_is_none_of_another(
    mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """Whoever guesses its id is offered their own, and spends nothing by it."""
    async with two_people(tmp_path, emulator, mode, MEIGEN_CONFIRM_ABOVE="0") as (ann, bob):
        offered = await ann.call("generate_image", prompt="a fox")
        assert offered["status"] == "needs_approval"
        passed_on = {"prompt": "a fox", "requestId": offered["requestId"], "maxCredits": 1000}
        assert (await bob.call("generate_image", **passed_on))["status"] == "needs_approval"
        assert jobs_of(emulator) == []
        settings, name = make_settings(tmp_path), offered["requestId"]
        with pytest.raises(SeveralPeople, match="with --person"):
            await approve.run(settings, name)
        said = await approve.run(settings, name, "Ann")
        assert said.startswith(f"Approved for Ann ({person_id(ann.issuer.url, 'ann')}): generate_")
        assert (await ann.call("generate_image", **passed_on))["status"] == "completed"


async def test_nobody_hears_of_anothers(tmp_path: Path, emulator: Emulator) -> None:
    """Not of a record that they name, nor that a list changed."""
    async with two_people(tmp_path, emulator, "auto") as (ann, bob):
        mine: list[str] = []
        theirs: list[str] = []
        name = str(uuid4())
        uris = [f"{RECORDS}/{name}"]
        async with (
            ann.client.listen(resources_list_changed=True, resource_subscriptions=uris) as to_ann,
            bob.client.listen(resources_list_changed=True, resource_subscriptions=uris) as to_bob,
            anyio.create_task_group() as group,
        ):

            async def hear(events: AsyncIterator[Any], heard: list[str]) -> None:
                async for event in events:
                    heard += [type(event).__name__]

            group.start_soon(hear, to_ann, mine)
            group.start_soon(hear, to_bob, theirs)
            await ann.call("generate_image", prompt="a fox", requestId=name)
            await bob.call("list_models")
            assert {"ResourceUpdated", "ResourcesListChanged"} <= set(mine)
            assert theirs == []
            await bob.call("generate_image", prompt="a hare")
            with anyio.fail_after(10):
                while "ResourcesListChanged" not in theirs:
                    await anyio.lowlevel.checkpoint()
            group.cancel_scope.cancel()
        assert "ResourceUpdated" not in theirs


async def test_a_session_of_2025_hears_of_its_persons_alone(
    tmp_path: Path, emulator: Emulator
) -> None:
    """On the stream of the session, which outlives the request that opened it."""
    name, heard = str(uuid4()), {"ann": 0, "bob": 0}
    async with serving() as issuer:
        oauth = {"MEIGEN_OAUTH_ISSUER": issuer.url, "MEIGEN_OAUTH_RESOURCE": RESOURCE}
        async with inside(make_settings(tmp_path, **oauth), emulator) as (origin, _):
            url = f"{origin}{http.PATH}"

            def ears(who: str) -> Any:
                async def hear(message: Any) -> None:
                    changed = (t.ResourceListChangedNotification, t.ResourceUpdatedNotification)
                    heard[who] += isinstance(message, changed)

                return hear

            async with (
                connected(
                    url, "legacy", issuer.token(sub="ann"), message_handler=ears("ann")
                ) as ann,
                connected(
                    url, "legacy", issuer.token(sub="bob"), message_handler=ears("bob")
                ) as bob,
            ):
                follow = t.SubscribeRequest(
                    params=t.SubscribeRequestParams(uri=f"{RECORDS}/{name}")
                )
                for client in (ann, bob):
                    await client.session.send_request(follow, t.EmptyResult)
                await ann.call_tool("generate_image", {"prompt": "a fox", "requestId": name})
                with anyio.fail_after(10):
                    while not heard["ann"]:
                        await anyio.lowlevel.checkpoint()
                await bob.call_tool("list_models", {})
                assert heard["bob"] == 0


async def test_a_task_is_its_persons_alone(tmp_path: Path, emulator: Emulator) -> None:
    """Its id is found by nobody else."""
    async with serving() as issuer:
        oauth = {"MEIGEN_OAUTH_ISSUER": issuer.url, "MEIGEN_OAUTH_RESOURCE": RESOURCE}
        async with inside(make_settings(tmp_path, **oauth), emulator) as (origin, _):
            url, extensions = f"{origin}{http.PATH}", [DeclaresTasks()]
            async with (
                connected(url, "auto", issuer.token(sub="ann"), extensions=extensions) as ann,
                connected(url, "auto", issuer.token(sub="bob"), extensions=extensions) as bob,
            ):
                task = await begin(ann, "generate_video", prompt="a fox", modelId="seedance-2-0")
                assert (await get_task(ann.session, task["taskId"]))["taskId"] == task["taskId"]
                with pytest.raises(MCPError, match="Task not found"):
                    await get_task(bob.session, task["taskId"])
                await result_of(ann.session, task["taskId"])
            # The note that the result left is written when its request has ended.
            with closing(sqlite3.connect(tmp_path / "data" / "ledger.sqlite3")) as db:
                with anyio.fail_after(10):
                    while not db.execute("SELECT answered FROM generations").fetchone()[0]:
                        await anyio.lowlevel.checkpoint()


async def test_nobody_takes_all_streams(
    tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another's is opened all the same."""
    monkeypatch.setattr(subscriptions, "MOST_STREAMS", 1)
    async with two_people(tmp_path, emulator, "auto") as (ann, bob):
        async with (
            ann.client.listen(resources_list_changed=True),
            bob.client.listen(resources_list_changed=True),
        ):
            with pytest.raises(MCPError, match="Subscription limit reached"):
                async with ann.client.listen(resources_list_changed=True):
                    pass
        async with ann.client.listen(resources_list_changed=True):
            pass


async def test_scripts_find_what_scripts_made(tmp_path: Path, emulator: Emulator) -> None:
    """Their token is a person of its own, also beside a subject of the same name."""
    async with serving() as issuer:
        oauth = {"MEIGEN_OAUTH_ISSUER": issuer.url, "MEIGEN_OAUTH_RESOURCE": RESOURCE}
        settings = make_settings(tmp_path, **oauth, MEIGEN_HTTP_TOKEN=SECRET)
        async with inside(settings, emulator) as (origin, _):
            url = f"{origin}{http.PATH}"
            async with (
                connected(url, "auto", SECRET) as scripts,
                connected(url, "auto", issuer.token(sub="scripts")) as other,
            ):
                await scripts.call_tool("generate_image", {"prompt": "a fox"})
                mine = await scripts.call_tool("check_status", {})
                theirs = await other.call_tool("check_status", {})
    assert mine.structured_content is not None
    assert theirs.structured_content is not None
    assert [job["prompt"] for job in mine.structured_content["generations"]] == ["a fox"]
    assert theirs.structured_content["generations"] == []


async def test_who_asks_for_more_than_is_done_at_once_gets_all(
    tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has ended for a person makes room for their next one."""
    few = 2
    monkeypatch.setattr(room, "MOST", dict.fromkeys(room.MOST, few))
    async with two_people(tmp_path, emulator, "auto") as (ann, _):
        for _ in range(few + 1):
            assert (await ann.call("generate_image", prompt="a fox"))["status"] == "completed"
        previews = tmp_path / "data" / "previews"
        with anyio.fail_after(20):
            while len(await anyio.to_thread.run_sync(lambda: [*previews.iterdir()])) <= few:
                await anyio.lowlevel.checkpoint()


async def test_what_one_may_spend_is_held_and_told(tmp_path: Path, emulator: Emulator) -> None:
    """By each call, and in what is left; nobody is told what the others spent."""
    settings = make_settings(tmp_path)
    async with two_people(tmp_path, emulator, "auto") as (ann, bob):
        await team.cap(settings, "each", "12", None)
        await team.cap(settings, "team", None, "20")
        assert (await ann.call("check_status"))["budget"] == {"dayLeft": 12, "monthLeft": 20}
        image = {"prompt": "a fox", "modelId": "nanobanana-2"}
        for left in (7, 2):
            assert (await ann.call("generate_image", **image))["status"] == "completed"
            budget = (await ann.call("check_status"))["budget"]
            assert budget == {"dayLeft": left, "monthLeft": left + 8}
        for more in ({}, {"dryRun": True}):
            refused = await ann.call("generate_image", **image, **more)
            assert "of your cap of 12 credits in 24 hours, 10 are spent" in str(refused)
        assert (await bob.call("check_status"))["budget"] == {"dayLeft": 12, "monthLeft": 10}
        told = await bob.client.call_tool("check_status", {})
        words = "you may still spend 12 today and 10 in these 30 days"
        assert words in str(told.content)
        assert len(jobs_of(emulator)) == 2


async def test_who_came_is_listed_and_forgotten(tmp_path: Path, emulator: Emulator) -> None:
    """With what they spent and may spend; a cell that begins a formula is a text."""
    settings = make_settings(tmp_path)
    async with two_people(tmp_path, emulator, "auto") as (ann, bob):
        await ann.call("generate_image", prompt="a secret fox", modelId="nanobanana-2")
        await bob.call("generate_image", prompt="a hare", modelId="nanobanana-2")
        ids = [person_id(ann.issuer.url, who) for who in ("ann", "bob")]
        assert await team.cap(settings, "Ann", "50", "none") == (
            "Ann: at most 50 a day; what is not said here is as for `each`. It holds from the next"
            f" call on, in {settings.data_dir}."
        )
        rows = [row.split(",") for row in (await team.listed(settings, as_csv=True)).splitlines()]
        assert rows[0] == list(team.COLUMNS)
        issuer = ann.issuer.url
        told = [[*row[:4], *row[5:]] for row in rows[1:]]
        assert told == [
            [ids[0], "Ann", issuer, "ann", "1", "5", "50", "5", ""],
            [ids[1], "'=Bob", issuer, "bob", "1", "5", "", "5", ""],
        ]
        text = await team.listed(settings, as_csv=False)
        assert f"{ids[0][:8]} Ann (ann of {issuer}, since " in text
        assert "1 made, spent or reserved 5 in 24 hours, 5 in 30 days; at most 50 a day" in text
        assert text.endswith(
            "each: no caps set, where a person has no number of their own\n"
            "team: spent or reserved 10 in 24 hours, 10 in 30 days; no caps set\n"
            f"(in {settings.data_dir})"
        )
        said = await team.forget(settings, ids[0][:8])
        assert said.startswith("Forgotten: prompt, arguments, references and preview of 1 ")
        assert said.endswith(f"Who {ids[0][:8]} was is forgotten too.")
        assert "Ann" not in await team.listed(settings, as_csv=False)
        mine = await ann.call("check_status")
        assert mine["generations"][0].get("prompt", "") == ""
        assert mine["spentToday"] == 5
        assert (await bob.call("check_status"))["generations"][0]["prompt"] == "a hare"
        with pytest.raises(NotFound, match="Nobody goes by Ann"):
            await team.forget(settings, "Ann")


@pytest.mark.parametrize(
    "name",
    ["=1+1", "+1", "-1", "@A1", "\t=1", " =1", "\r=1", "\n=1", "\uff1d1", "\xa0=1", "\u202e=1"],
)
async def test_no_name_is_a_formula_or_another_row(name: str, tmp_path: Path) -> None:
    """A person chooses it, and whoever looks after the team opens the table."""
    settings = make_settings(tmp_path)
    async with open_account(settings) as account:
        await account.ledger.open()
        await account.ledger.team.meet(Member("a" * 32, "https://id.example", "ann", name, 1e9))
    rows = (await team.listed(settings, as_csv=True)).split("\n")
    cells = [row.split(",")[1] for row in rows]
    assert (cells[0], cells[1][:1], len(rows)) == ("name", "'", 2)


@pytest.mark.parametrize("typed", ["-1", "many", "NaN", "1e99"])
async def test_a_cap_that_is_none_changes_nothing(typed: str, tmp_path: Path) -> None:
    """It is named, with what to type."""
    with pytest.raises(team.NoCap, match=f"--day {typed} is no number of credits: give 0 or more"):
        await team.cap(make_settings(tmp_path), "each", typed, None)
