"""Results that last, over HTTP: who is let to them, whole and in parts, and until when."""

import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
import httpx
import pytest
from starlette.datastructures import Headers
from starlette.requests import ClientDisconnect
from starlette.types import Message
from support.in_memory import InMemory, connect, make_settings
from support.issuer import RESOURCE, serving
from support.over_http import connected, inside, patient

from meigen_mcp.app import open_account
from meigen_mcp.commands import jobs, team
from meigen_mcp.ledger.whose import SeveralPeople
from meigen_mcp.media import archive, store, whole_files
from meigen_mcp.media.links import MediaLinks
from meigen_mcp.media.store import Media
from meigen_mcp.people import person_id
from meigen_mcp.poller import retention
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.server import viewer
from meigen_mcp.settings import Settings
from meigen_mcp.system import WINDOWS
from meigen_mcp.transports import http, media
from meigen_mcp.transports.connections import CONNECTION
from meigen_mcp.transports.media import Downloads

FOX = {"prompt": "a fox", "modelId": "z-image-turbo"}


@dataclass
class Kept:
    """A server that keeps results, with two people, and what one of them made."""

    settings: Settings
    client: httpx.AsyncClient
    ann: Any
    bob: Any
    person: str
    made: dict[str, Any]

    @property
    def url(self) -> str:
        """Where the picture is."""
        return str(self.made["mediaUrls"][0])

    async def get(self, url: str, **headers: str) -> httpx.Response:
        """Open a URL as a browser would, without a token."""
        return await self.client.get(url, headers=headers)


@asynccontextmanager
async def keeping(folder: Path, emulator: Emulator) -> AsyncIterator[Kept]:
    """Serve, and have one make a picture."""
    async with serving() as issuer:
        variables = {
            "MEIGEN_OAUTH_ISSUER": issuer.url,
            "MEIGEN_OAUTH_RESOURCE": RESOURCE,
            "MEIGEN_MEDIA_DIR": str(folder / "kept"),
            "MEIGEN_MEDIA_URL": "http://127.0.0.1:1",  # each test opens it at the free port
        }
        settings = make_settings(folder, **variables)
        async with inside(settings, emulator) as (origin, app), patient() as client:
            assert app.media.links is not None
            app.media.links.origin = origin
            url = f"{origin}{http.PATH}"
            async with (
                connected(url, "auto", issuer.token(sub="ann", name="Ann")) as ann,
                connected(url, "auto", issuer.token(sub="bob", name="Bob")) as bob,
            ):
                made = (await ann.call_tool("generate_image", FOX)).structured_content
                assert made is not None
                person = person_id(issuer.url, "ann")
                yield Kept(settings, client, ann, bob, person, dict(made))


async def test_a_result_is_opened_without_a_token_whole_and_in_parts(
    tmp_path: Path, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    """At our own URL, and its preview too; the line of the log names a person nobody can read."""
    async with keeping(tmp_path, emulator) as on:
        whole = await on.get(on.url)
        part = await on.get(on.url, range="bytes=1-3")
        beyond = await on.get(on.url, range="bytes=99999999-")
        head = await on.client.head(on.url)
        small = await on.get(on.made["preview"])
        assert (whole.status_code, whole.content[1:4]) == (200, b"PNG")
        assert (part.status_code, part.content) == (206, b"PNG")
        assert part.headers["content-range"] == f"bytes 1-3/{len(whole.content)}"
        assert (beyond.status_code, head.status_code, head.content) == (416, 200, b"")
        assert small.headers["content-type"].startswith("image/")
        assert whole.headers["content-type"] == "image/png"
        assert whole.headers["cache-control"] == "private, max-age=604800, immutable"
        assert whole.headers["content-security-policy"] == "default-src 'none'; sandbox"
        assert (await on.client.post(on.url)).status_code == 405
    if not WINDOWS:
        assert (tmp_path / "kept").stat().st_mode & 0o077 == 0
    lines = [line for line in caplog.messages if " GET /media/" in line]
    assert len(lines) == 4
    assert all(f" s by {on.person[:12]}" in line for line in lines)
    calls = [line for line in caplog.messages if "generate_image completed" in line]
    assert [f"by {on.person[:12]} generate_image" in line for line in calls] == [True]
    assert [secret for secret in ("ann", "s=", "e=1") if secret in "".join(lines)] == []


async def test_without_its_signature_nothing_is_there(tmp_path: Path, emulator: Emulator) -> None:
    """Whether or not a file is: the answer is the same."""
    async with keeping(tmp_path, emulator) as on:
        bare, _, query = on.url.partition("?")
        name = bare.rpartition("/")[2]
        other = bare.replace(name, f"{'0' * 64}.png")
        forged = [
            bare,
            f"{bare}?{query}x",
            f"{other}?{query}",
            other,
            bare.replace(name, f"..%2f{name}?{query}"),
            f"{bare}?{query.replace(on.person[:12], 'b' * 12)}",
        ]
        told = [await on.get(url) for url in forged]
        assert {answer.status_code for answer in told} == {403}
        assert len({answer.text for answer in told}) == 1


async def test_a_reference_to_our_url_is_the_result_itself(
    tmp_path: Path, emulator: Emulator
) -> None:
    """MeiGen cannot open it, so its own is sent; another's is no result of whoever names it."""
    async with keeping(tmp_path, emulator) as on:
        again = {"prompt": "again", "modelId": "nanobanana-2", "referenceImages": [on.url]}
        mine = (
            await on.ann.call_tool("generate_image", {**again, "dryRun": True})
        ).structured_content
        assert mine["settings"]["referenceImages"] == [f"{on.made['resourceUri']}/media/0"]
        theirs = (
            await on.bob.call_tool("generate_image", {**again, "dryRun": True})
        ).structured_content
        assert on.made["generationId"] not in str(theirs)


async def test_the_viewer_may_load_from_here(tmp_path: Path, emulator: Emulator) -> None:
    """Its policy names the origin of the URLs, before anything was made too."""
    async with keeping(tmp_path, emulator) as on:
        page = (await on.bob.read_resource(viewer.URI)).contents[0]
        assert "http://127.0.0.1:1" in page.meta["ui"]["csp"]["resourceDomains"]


async def test_of_two_people_s_calls_with_one_id_one_is_forgotten(
    tmp_path: Path, emulator: Emulator
) -> None:
    """That which is named by its generationId; by the id that both chose none is."""
    async with keeping(tmp_path, emulator) as on:
        chosen = {**FOX, "requestId": "0f8fad5b-d9cb-469f-a165-70867728950e"}
        made = [
            (await by.call_tool("generate_image", chosen)).structured_content
            for by in (on.ann, on.bob)
        ]
        with pytest.raises(SeveralPeople, match="the calls of several people"):
            await jobs.run(on.settings, chosen["requestId"], forget_one=True)
        said = await jobs.run(on.settings, made[0]["generationId"], forget_one=True)
        assert "preview and kept files of 1 generation;" in said
        answers = [(await on.get(each["mediaUrls"][0])).status_code for each in made]
        assert answers == [404, 200]


async def test_what_is_old_or_forgotten_is_no_longer_kept(
    tmp_path: Path, emulator: Emulator
) -> None:
    """With its preview; the record says so, and MeiGen's own URL is told again."""
    async with keeping(tmp_path, emulator) as on:
        hare = (await on.bob.call_tool("generate_image", FOX)).structured_content
        async with open_account(on.settings, InMemory(emulator)) as account:
            job = await account.ledger.of(None).records.get(on.made["generationId"])
            assert job is not None
            soon = (job.finished_at or 0.0) + 2 * retention.DAY
            records = account.ledger.of(None).records
            assert await retention.discard(records, account.media, 30, soon) == 0
            said = await team.forget(on.settings, "Bob")
            assert str(tmp_path) not in said
            assert (await on.get(hare["mediaUrls"][0])).status_code == 404
            assert (await on.get(on.url)).status_code == 200
            assert await retention.discard(records, account.media, 1, soon) == 1
        assert (await on.get(on.url)).status_code == 404
        left = await anyio.to_thread.run_sync(
            lambda: [path for path in (tmp_path / "kept").rglob("*") if path.is_file()]
        )
        assert left == []
        known = await on.ann.call_tool("check_status", {"requestId": on.made["requestId"]})
        told = known.structured_content
        assert told["unsaved"][0]["reason"].startswith("Deleted 1 day")
        assert "preview" not in told
        assert "&s=" not in told["mediaUrls"][0]


async def test_no_look_at_the_folder_of_results_stops_the_loop(
    tmp_path: Path, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may be on a network, and hang: each look, and each new file, is a thread's."""
    loop, here = threading.get_ident(), list[str]()

    def watched(module: Any, name: str) -> None:
        real = getattr(module, name)

        def look(*given: Any) -> Any:
            if threading.get_ident() == loop:
                here.append(f"{name} {given[0]}")
            return real(*given)

        monkeypatch.setattr(module, name, look)

    for module, name in (
        *((archive, "is_ordinary_file"), (store, "is_ordinary_file")),
        *((archive, "private_folder"), (whole_files, "private_folder")),
    ):
        watched(module, name)
    variables = {"MEIGEN_MEDIA_DIR": str(tmp_path / "kept"), "MEIGEN_MEDIA_URL": "http://127.0.0.1"}
    async with connect(make_settings(tmp_path, **variables), emulator) as on:
        made = await on.call("generate_image", **FOX)
        told = await on.call("check_status", generationId=made["generationId"])
        assert Path(told["preview"]).is_file()
        await on.call("check_status")
        medium = f"{made['resourceUri']}/media/0"
        await on.client.read_resource(medium)
        of_it = {"modelId": "nanobanana-2", "referenceImages": [medium], "dryRun": True}
        quoted = await on.call("generate_image", prompt="a fox", **of_it)
    assert (quoted["status"], here) == ("dry_run", [])


class Reader:
    """Asks for one URL and reads nothing of it until it is let."""

    def __init__(self, url: str) -> None:
        path, _, query = url.removeprefix("http://pictures").partition("?")
        self.scope = {
            "type": "http",
            "method": "GET",
            "path": path,
            "query_string": query.encode(),
            "headers": [],
            "state": {CONNECTION: self},
        }
        self.told: list[tuple[int, str | None]] = []
        self.reads = anyio.Event()
        self.asked = anyio.Event()
        self.dropped = False

    def drop(self) -> None:
        """End the connection."""
        self.dropped = True

    async def written(self) -> bool:
        """Wait until it reads."""
        await self.reads.wait()
        return True

    async def receive(self) -> Message:
        """Stay."""
        await anyio.sleep_forever()
        raise AssertionError

    async def send(self, message: Message) -> None:
        """Take the start, and what is no file."""
        if message["type"] == "http.response.start":
            self.told.append((message["status"], Headers(scope=message).get("retry-after")))
        elif self.told[-1][0] == 200:
            self.asked.set()
            await self.reads.wait()

    async def ask(self, downloads: Downloads) -> list[tuple[int, str | None]]:
        """Ask, and return the answer."""
        self.reads.set()
        with anyio.fail_after(60):
            await downloads.serve(self.scope, self.receive, self.send)
        return self.told


@pytest.fixture
def shelf(tmp_path: Path) -> Media:
    """Return media with one picture in its archive."""
    kept = archive.FolderArchive(tmp_path)
    links = MediaLinks("http://pictures", [b"k" * 32])
    return Media(cast(Any, None), None, archive=kept, links=links)


def url_of(shelf: Media, person: str) -> str:
    """Keep a picture for a person, and return its URL."""
    assert isinstance(shelf.archive, archive.FolderArchive)
    assert shelf.links is not None
    with whole_files.new(shelf.archive.folder) as partial:
        partial.write_bytes(b"fox")
        path = shelf.archive.keep(partial, ".png", person)
    url = shelf.links.of(str(path), person)
    assert url is not None
    return url


async def test_more_downloads_than_there_is_room_for_are_told_to_come_again(shelf: Media) -> None:
    """Of one person and of all: each holds a connection and a file. The rest goes on."""
    downloads = Downloads(shelf, most=2, each=1)
    ann, bob, cyd = (url_of(shelf, who * 12) for who in "abc")
    first, second = Reader(ann), Reader(bob)
    busy, served = [(503, "5")], [(200, None)]
    async with anyio.create_task_group() as group:
        for reader in (first, second):
            group.start_soon(downloads.serve, reader.scope, reader.receive, reader.send)
            with anyio.fail_after(60):
                await reader.asked.wait()
            assert await Reader(ann).ask(downloads) == busy
        assert await Reader(cyd).ask(downloads) == busy
        first.reads.set()
        second.reads.set()
    assert [await Reader(url).ask(downloads) for url in (ann, bob, cyd)] == [served] * 3


async def test_a_reader_that_does_not_read_is_dropped(
    shelf: Media, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its place is free then."""
    monkeypatch.setattr(media, "STALLED", 0.01)
    downloads = Downloads(shelf, most=1)
    url = url_of(shelf, "a" * 12)
    stalled = Reader(url)
    with anyio.fail_after(60), pytest.raises(ClientDisconnect):
        await downloads.serve(stalled.scope, stalled.receive, stalled.send)
    assert (stalled.dropped, await Reader(url).ask(downloads)) == (True, [(200, None)])
