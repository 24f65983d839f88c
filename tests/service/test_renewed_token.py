"""A token is renewed: what the old one made is shown and finished, and proven to be the same's."""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.in_memory import ORIGIN, TOKEN
from support.workbench import Fault, Someone, Workbench, answers, dropped_after, refused, workbench

from meigen_mcp import errors
from meigen_mcp.generation import Generation, media_uri
from meigen_mcp.views import generations as views
from meigen_mcp.views.next_step import of_others

RENEWED = "meigen_sk_" + "R" * 32
CALL: dict[str, Any] = {"prompt": "a red cube", "modelId": "nanobanana-2"}
FILM: dict[str, Any] = {"prompt": "a kite", "modelId": "seedance-2-0", "tool": "generate_video"}


def _name(token: str) -> str:
    return hashlib.sha256(token.encode()).hexdigest()[:12]


@asynccontextmanager
async def _renewed(
    folder: Path, first: Workbench, *, same: bool = True, token: str = RENEWED
) -> AsyncIterator[Workbench]:
    """Go on with another token, of the same account at MeiGen or of another."""
    if same:
        accounts = first.emulator.accounts
        accounts[_name(RENEWED)] = accounts[_name(TOKEN)]
    async with workbench(folder, beside=first, MEIGEN_API_TOKEN=token) as second:
        yield second


async def _turns(on: Workbench, count: int = 3) -> None:
    for _ in range(count):
        await on.poller.step()
        on.clock.now += 3


def _looks(on: Workbench) -> list[str]:
    return [route for route, _ in on.wire.seen if route != "models"]


@pytest.mark.parametrize("same", [True, False])
async def test_what_was_made_is_shown_and_used_whatever_the_token(
    same: bool, tmp_path: Path
) -> None:
    """By id, in the list and as a reference; the answer says what is proven."""
    async with workbench(tmp_path) as first:
        made = (await first.generate(**CALL)).job
        async with _renewed(tmp_path, first, same=same) as second:
            await _turns(second)
            shown = await second.check(generationId=made.generation_id)
            listing = await second.service.listing(9)
            again = await second.generate(
                **CALL, referenceImages=[media_uri(made.name, 0)], dryRun=True
            )
    assert (shown.job.media_urls, shown.others) == (made.media_urls, not same)
    assert (listing.jobs, listing.others) == ((shown.job,), 0 if same else 1)
    assert again.job.made_from == (media_uri(made.name, 0),)
    said = views.listing_text(views.listing(listing))
    assert (of_others(1) in said) is not same
    assert (of_others() in views.outcome(shown, 0)["next"]) is not same


async def test_what_runs_is_finished_by_a_proven_token(tmp_path: Path) -> None:
    """Looked up by its key, and sent if it had not left."""
    async with workbench(tmp_path) as first:
        await first.generate(**CALL)
        async with workbench(tmp_path, beside=first) as dying:
            dying.wire.faults["submit"] = [dropped_after]
            dying.wire.faults["lookup"] = [refused] * 9
            lost = (await dying.generate(**CALL, wait=0)).job
            dying.wire.faults["submit"] = [answers(401, body={"error": "Invalid API token"})] * 2
            parked = (await dying.generate(prompt="a blue cube", modelId="z-image-turbo")).job
        async with _renewed(tmp_path, first) as second:
            await _turns(second)
            repeated = await second.generate(prompt="a blue cube", modelId="z-image-turbo")
            found = await second.settle(lost)
    assert (lost.status, parked.status) == ("submitting", "queued")
    assert (repeated.job.request_id, repeated.status) == (parked.request_id, "completed")
    assert found.status == "completed"
    assert first.emulator.accounts[_name(TOKEN)].charged() == 5 + 5 + 2


async def test_without_proof_what_runs_is_looked_at_as_anybody_may(tmp_path: Path) -> None:
    """By its id and without the token; what only its account may ask is left as it is."""
    async with workbench(tmp_path) as first:
        async with workbench(tmp_path, beside=first) as dying:
            dying.wire.faults["submit"] = [dropped_after]
            dying.wire.faults["lookup"] = [refused] * 9
            lost = (await dying.generate(**CALL, wait=0)).job
            film = (await dying.generate(**FILM, wait=0)).job
        async with _renewed(tmp_path, first, same=False) as second:
            done = await second.settle(film, 600)
            stuck = await second.check(requestId=lost.request_id)
            text = views.outcome(stuck, second.clock.now)["next"]
    assert (film.status, done.status) == ("processing", "completed")
    assert (stuck.status, stuck.job.posted_at) == ("submitting", lost.posted_at)
    assert text.startswith("Tell the person that only its own token can ask what became of it.")
    assert "status" in _looks(second)
    assert second.wire.posts() == []


async def test_a_finished_one_of_somebody_else_proves_nothing(tmp_path: Path) -> None:
    """MeiGen knows no such key for this account; the sums count all the same."""
    async with workbench(tmp_path) as first:
        for _ in range(5):
            await first.generate(**CALL)
        async with _renewed(tmp_path, first, same=False) as second:
            await _turns(second, 30)
            assert _looks(second) == ["lookup"] * 3
            assert await second.spent() == Decimal(25)
            assert (await second.service.listing(9)).others == 5


async def test_a_key_that_names_another_generation_proves_nothing(tmp_path: Path) -> None:
    """Only the very one that was made for it does."""
    async with workbench(tmp_path) as first:
        made = (await first.generate(**CALL)).job
        async with _renewed(tmp_path, first) as second:
            body = {"success": True, "generationId": str(uuid4()), "status": "completed"}
            second.wire.faults["lookup"] = [answers(200, body=body)]
            await _turns(second, 30)
            assert not second.ledger.accounts.own(made)


async def test_who_cannot_be_asked_is_asked_again(tmp_path: Path) -> None:
    """No network proves nothing, for or against; after a minute it is tried again."""
    async with workbench(tmp_path) as first:
        made = (await first.generate(**CALL)).job
        async with _renewed(tmp_path, first) as second:
            second.wire.faults["lookup"] = [refused, answers(503, body={})]
            await _turns(second)
            assert not second.ledger.accounts.own(made)
            await _turns(second, 50)
            assert second.ledger.accounts.own(made)
            assert _looks(second) == ["lookup"] * 3


@pytest.mark.parametrize(
    "fault",
    [answers(200, b"<html>Sign in</html>"), answers(404, b""), answers(401, body={"error": "No"})],
    ids=["a login page", "an empty 404", "401"],
)
async def test_what_is_no_word_about_the_key_is_asked_again(fault: Fault, tmp_path: Path) -> None:
    """Later each time: an API that knows no keys never says one."""
    async with workbench(tmp_path) as first:
        made = (await first.generate(**CALL)).job
        async with _renewed(tmp_path, first) as second:
            second.wire.faults["lookup"] = [fault] * 4
            await _turns(second, 100)
            assert _looks(second) == ["lookup"] * 4  # after 0, 1, 2 and 4 minutes
            assert not second.ledger.accounts.own(made)
            await _turns(second, 80)
            assert second.ledger.accounts.own(made)


async def test_without_a_token_nobody_is_asked(tmp_path: Path) -> None:
    """And everything is shown."""
    async with workbench(tmp_path) as first:
        await first.generate(**CALL)
        async with _renewed(tmp_path, first, token="") as second:
            await _turns(second)
            assert (len((await second.service.listing(9)).jobs), _looks(second)) == (1, [])


async def test_the_same_request_id_is_not_paid_for_twice_after_a_renewal(tmp_path: Path) -> None:
    """It stands for what it stood for; where nobody here can ask, nothing is sent."""
    name = str(uuid4())
    async with workbench(tmp_path) as first:
        film = (await first.generate(**FILM, requestId=name, wait=0)).job
        async with _renewed(tmp_path, first, same=False) as second:
            again = await second.generate(**FILM, requestId=name, wait=0)
            with pytest.raises(errors.RequestConflict, match="other arguments"):
                await second.generate(**FILM | {"prompt": "a boat"}, requestId=name)
            assert (again.repeated, again.others) == (True, True)
            assert again.job.generation_id == film.generation_id
            assert second.wire.posts() == []


@pytest.mark.parametrize("sent", [True, False])
async def test_an_id_whose_end_only_its_own_token_can_ask_for_sends_nothing(
    sent: bool, tmp_path: Path
) -> None:
    """It may have been paid for; one that provably was not is free for another account."""
    name = str(uuid4())
    async with workbench(tmp_path) as first:
        first.wire.faults["submit"] = [dropped_after]
        first.wire.faults["lookup"] = [refused] * 9
        lost = (await first.generate(**CALL, requestId=name, wait=0)).job
        if not sent:
            await first.ledger.records.change(lost, _ended_unpaid)
        async with _renewed(tmp_path, first, same=False) as second:
            if sent:
                with pytest.raises(errors.RequestConflict, match="sent with another token"):
                    await second.generate(**CALL, requestId=name)
            else:
                assert (await second.generate(**CALL, requestId=name)).status == "completed"


def _ended_unpaid(job: Generation) -> Generation:
    return replace(job, status="failed", credits_status="refunded", next_look=None)


async def test_a_task_of_another_token_is_none_here(tmp_path: Path) -> None:
    """Whoever may be asked about it was told of it by its own account."""
    async with workbench(tmp_path) as first:
        film = (await first.generate(**FILM, wait=0)).job
        async with _renewed(tmp_path, first, same=False) as second:
            assert await second.service.look(film.request_id) is None
            asking = await second.check(person=Someone(polls=True), requestId=film.request_id)
            assert (asking.others, asking.later) == (True, False)


async def test_the_account_s_name_holds_the_origin(tmp_path: Path) -> None:
    """By that what another service's tokens made stays away from this one's."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(**CALL)).job
    assert job.account == f"{ORIGIN} {TOKEN}"
