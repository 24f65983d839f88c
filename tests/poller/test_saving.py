"""What becomes of media that break off or cannot be saved: it is tried again, then said."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import anyio.lowlevel
import httpx
import pytest
from support.workbench import Workbench, workbench

from meigen_mcp.api.client import Api
from meigen_mcp.generation import Generation
from meigen_mcp.media import reasons
from meigen_mcp.media.store import Media
from meigen_mcp.poller import saver
from meigen_mcp.poller.poller import Poller
from meigen_mcp.poller.schedule import QUICK_FETCHES
from meigen_mcp.reports import Unsaved
from meigen_mcp.settings import from_elsewhere
from meigen_mcp.views import generations as views

CUT = "The result breaks off before its end"


class Closing(httpx.AsyncByteStream):
    """The first half of a body; then the connection closes, as it does at the end of one."""

    def __init__(self, body: bytes) -> None:
        self._body = body

    async def __aiter__(self) -> AsyncIterator[bytes]:
        """Give half."""
        yield self._body[: len(self._body) // 2]


async def half(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
    """Answer without a length, and with half of what there is."""
    reply = await inner.handle_async_request(request)
    return httpx.Response(200, stream=Closing(await reply.aread()))


def saving(on: Workbench, folder: Path) -> Api:
    """Let the poller save media."""
    api = Api(on.service.settings, on.wire)
    on.poller = Poller(
        on.ledger,
        api,
        Media(api, folder),
        clock=on.clock,
        monotonic=on.clock.monotonic,
        jitter=lambda: 1.0,
    )
    return api


CALLS = {"image": {"modelId": "nanobanana-2"}, "video": {"modelId": "seedance-2-0", "duration": 4}}


@pytest.mark.parametrize("medium", CALLS)
async def test_half_a_medium_is_fetched_again(medium: str, tmp_path: Path) -> None:
    """A connection that closes too early looks as one does at its end."""
    async with workbench(tmp_path) as on:
        api = saving(on, tmp_path / "media")
        on.wire.faults["media"] = [half, half]
        made = await on.generate(f"generate_{medium}", **CALLS[medium])  # type: ignore[arg-type]
        job = await on.settle(made.job)
        async with api.download(job.media_urls[0], 9) as body:
            whole = b"".join([piece async for piece in body.pieces()])
    assert (job.unsaved, job.fetch_failures) == ((), 2)
    saved = Path(job.files[0] or "").read_bytes()
    assert whole[len(whole) // 2 :] in saved


@pytest.mark.parametrize("medium", CALLS)
async def test_what_stays_cut_is_kept_and_called_incomplete(medium: str, tmp_path: Path) -> None:
    """Half is better than nothing, but is not called saved."""
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [half] * 100
        made = await on.generate(f"generate_{medium}", **CALLS[medium])  # type: ignore[arg-type]
        during: list[Generation] = []
        while not any((job := await on.settle(made.job, 1.0)).files):
            during.append(job)
        job = await on.settle(job)
    assert {job.unsaved for job in during if job.fetch_failures} == {(Unsaved(0, f"{CUT}."),)}
    assert (job.status, job.fetch_failures) == ("completed", QUICK_FETCHES - 1)
    assert job.unsaved == (Unsaved(0, f"{CUT}; what arrived is kept."),)
    assert Path(job.files[0] or "").exists()
    said = views.generation_structure(job, on.clock())
    assert said["unsaved"] == [{"index": 0, "reason": f"{CUT}; what arrived is kept."}]


async def test_a_reason_is_told_until_it_is_saved(tmp_path: Path) -> None:
    """In the record, in the answer and in its text; then it is gone."""
    (tmp_path / "media").write_text("in the way")
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        made = await on.generate(modelId="nanobanana-2")
        job = await on.settle(made.job)
        answer = views.outcome(await on.check(generationId=job.name), on.clock())
    reason = f"{tmp_path / 'media'} cannot be written."
    assert job.unsaved == (Unsaved(0, reason),)
    assert answer["unsaved"] == [{"index": 0, "reason": reason}]
    assert (
        answer["next"] == "Give the person the URL. Say what is not saved, or not whole, and why."
    )
    assert f"not saved, or not whole: media 0: {reason}" in views.text(answer)


@pytest.mark.parametrize("discreet", [False, True])
async def test_whoever_asks_is_told_why_nothing_is_saved(discreet: bool, tmp_path: Path) -> None:
    """Also from elsewhere, where no folder is named: not even that of another server."""
    (tmp_path / "media").write_text("in the way")
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        made = await on.generate(modelId="nanobanana-2")
        await on.settle(made.job)
        mark = from_elsewhere.set(discreet)
        answer = views.outcome(await on.check(requestId=made.job.request_id), on.clock())
        from_elsewhere.reset(mark)
    reason = "It could not be written." if discreet else f"{tmp_path / 'media'} cannot be written."
    assert answer["unsaved"] == [{"index": 0, "reason": reason}]


async def test_that_saving_is_turned_off_is_said_until_it_is_on(tmp_path: Path) -> None:
    """In the record, so in the answer and in `jobs`; a later start with a folder saves it."""
    async with workbench(tmp_path) as on:
        made = await on.generate(modelId="midjourney-v8.1")
        off = await on.settle(made.job)
        answer = views.outcome(await on.check(generationId=off.name), on.clock())
        listing = views.listing(await on.service.listing(9))
        async with workbench(tmp_path, beside=on) as other:
            saving(other, tmp_path / "media")
            await other.poller.step()
            saved = await other.settle(off)
    line = f"not saved, or not whole: media 0, 1, 2, 3: {reasons.OFF}"
    for text in (views.text(answer), views.listing_text(listing)):
        assert line in map(str.strip, text.splitlines())
    assert (len(off.unsaved), saved.unsaved, sum(map(bool, saved.files))) == (4, (), 4)


HOUR, DAY = 3600.0, 24 * 3600.0


async def broken(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """Answer as a media host in trouble does."""
    return httpx.Response(503, request=request)


async def gone(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """Answer that the result is no longer there."""
    return httpx.Response(410, request=request)


async def away(request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
    """Do not answer at all."""
    raise httpx.ConnectTimeout("silence", request=request)


@pytest.mark.parametrize(("failures", "hours"), [(1, 1 / 60), (7, 0.25), (20, 14)])
async def test_a_host_that_fails_for_a_while_loses_no_result(
    failures: int, hours: float, tmp_path: Path
) -> None:
    """Seconds, minutes, hours: it is tried again, and saved in the end."""
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [broken] * failures
        made = await on.generate(modelId="nanobanana-2")
        job = await on.settle(made.job, hours * HOUR)
    assert (job.at_rest, job.unsaved, job.fetch_failures) == (True, (), failures)
    assert Path(job.files[0] or "").exists()


async def test_a_full_disk_that_is_mended_is_written_to(tmp_path: Path) -> None:
    """What cannot be written is worth another try as well."""
    (tmp_path / "media").write_text("in the way")
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        made = await on.generate(modelId="nanobanana-2")
        before = await on.settle(made.job, HOUR / 2)
        (tmp_path / "media").unlink()
        job = await on.settle(before, 2 * HOUR)
    assert [reason for _, reason, _ in before.unsaved] == [
        f"{tmp_path / 'media'} cannot be written."
    ]
    assert (job.at_rest, job.unsaved) == (True, ())
    assert Path(job.files[0] or "").exists()


async def test_saving_rests_after_a_day_and_is_tried_at_each_start_for_a_week(
    tmp_path: Path,
) -> None:
    """By whichever process starts; after the week the result is left alone."""
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [broken] * 1000
        made = await on.generate(modelId="nanobanana-2")
        rested = await on.settle(made.job, 2 * DAY)
        tries = rested.fetch_failures
        on.clock.now += 5 * DAY
        async with workbench(tmp_path, beside=on) as other:
            saving(other, tmp_path / "media")
            other.wire.faults["media"] = [broken] * 1000
            await other.poller.step()
            again = await other.settle(await other.reread(rested), DAY)
            tried = [route for route, _ in other.wire.seen].count("media")
        on.clock.now += 3 * DAY
        async with workbench(tmp_path, beside=on) as late:
            saving(late, tmp_path / "media")
            await late.poller.step()
            left = await late.reread(again)
    assert rested.at_rest
    assert 25 <= tries <= 35
    assert tried == 3
    assert (again.at_rest, again.fetch_failures) == (True, QUICK_FETCHES + 2)
    assert left == again


@pytest.mark.parametrize("starts", [True, False])
async def test_a_machine_that_wakes_before_its_network_loses_no_result(
    tmp_path: Path, *, starts: bool
) -> None:
    """Two days later the first try meets nobody; a minute later somebody, at a start as well."""
    async with workbench(tmp_path) as on, AsyncExitStack() as first:
        acting = await first.enter_async_context(workbench(tmp_path, beside=on)) if starts else on
        saving(acting, tmp_path / "media")
        acting.wire.faults["media"] = [broken] * 9
        job = (await acting.generate(modelId="nanobanana-2")).job
        await acting.settle(job, HOUR)
        if starts:
            await first.aclose()
            saving(on, tmp_path / "media")
        on.clock.sleep(2 * DAY)
        on.wire.faults["media"] = [away]
        for _ in range(3):
            await on.poller.step()
        before = await on.reread(job)
        after = await on.settle(before, HOUR)
    assert before.unsaved
    assert (after.at_rest, after.unsaved) == (True, ())
    assert Path(after.files[0] or "").exists()


async def test_saving_goes_on_when_a_clock_that_was_ahead_is_set_right(tmp_path: Path) -> None:
    """Its day, and its week, were over by that clock only."""
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [broken] * 1000
        job = (await on.generate(modelId="nanobanana-2")).job
        await on.settle(job, HOUR / 2)
        on.clock.set(40 * DAY)
        rests = await on.settle(job, HOUR)
        on.clock.set(-40 * DAY)
        on.wire.faults.clear()
        await on.poller.step()
        after = await on.settle(await on.reread(job), HOUR)
    assert rests.at_rest
    assert (after.at_rest, after.unsaved) == (True, ())


async def test_a_result_that_is_gone_is_not_asked_for_again(tmp_path: Path) -> None:
    """In its first minutes it may not be there yet; later, and at a start, it is not asked for."""
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [gone] * 100
        made = await on.generate(modelId="nanobanana-2")
        job = await on.settle(made.job)
        asked = len([route for route, _ in on.wire.seen if route == "media"])
        async with workbench(tmp_path, beside=on) as other:
            saving(other, tmp_path / "media")
            await other.poller.step()
            assert await other.reread(job) == job
    reason = "The result could not be opened (HTTP 410)."
    assert (job.at_rest, job.unsaved) == (True, (Unsaved(0, reason, gone=True),))
    assert asked == QUICK_FETCHES
    assert views.generation_structure(job, on.clock())["unsaved"] == [
        {"index": 0, "reason": reason}
    ]


async def test_every_medium_that_is_not_saved_has_its_reason(tmp_path: Path) -> None:
    """Also where one host keeps silent about all of them."""
    async with workbench(tmp_path) as on:
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [away] * 1000
        made = await on.generate(modelId="midjourney-v8.1")
        job = await on.settle(made.job, 2.0)
    assert [medium for medium, _, _ in job.unsaved] == [0, 1, 2, 3]


async def test_hosts_that_are_slow_keep_no_place_from_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Four of them take every place for a moment; a good result is saved while they still hang."""
    monkeypatch.setattr(saver, "FETCH_PLACE_FOR", 0.0)
    hang = anyio.Event()

    async def hanging(request: httpx.Request, inner: httpx.AsyncBaseTransport) -> httpx.Response:
        await hang.wait()
        return await inner.handle_async_request(request)

    async with workbench(tmp_path) as on:
        made = [await on.generate(modelId="nanobanana-2", prompt=f"cube {n}") for n in range(5)]
        done = [await on.settle(outcome.job) for outcome in made]
        saving(on, tmp_path / "media")
        on.wire.faults["media"] = [hanging] * 4
        with anyio.fail_after(30):
            async with anyio.create_task_group() as group:
                group.start_soon(on.poller.run)
                while not any([any((await on.reread(job)).files) for job in done]):
                    await anyio.lowlevel.checkpoint()
                saved = [any((await on.reread(job)).files) for job in done]
                hang.set()
                group.cancel_scope.cancel()
    assert sorted(saved) == [False, False, False, False, True]
