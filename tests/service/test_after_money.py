"""Before and after money moved are two errors: whatever breaks after the intent, nobody says no."""

import re
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from support.workbench import Someone, Workbench, workbench

from meigen_mcp.errors import InvalidArguments, LedgerUnavailable, MeigenError, RequestConflict
from meigen_mcp.ledger.calls import AskFirst
from meigen_mcp.service.references import ReferenceResolver
from meigen_mcp.service.results import Outcome
from meigen_mcp.service.service import Service
from meigen_mcp.views import generations as views

CALL: dict[str, Any] = {"prompt": "a red cube", "modelId": "nanobanana-2"}
SAYS_NO = re.compile(r"(?i)nothing (was|has been)|not (sent|charged)|\bno (credits|charge)\b")
BUSY = "The ledger in DATA is kept busy by another process."
PLANTED = "planted-text-of-a-library"


@dataclass
class Breaking:
    """A ledger of which one step breaks once an intent is in it, until it is mended.

    Attributes:
        step: the name of the method.
        error: what it raises.
        done: whether it does its work before.
    """

    ledger: Any
    step: str
    error: Callable[[], Exception]
    done: bool = False
    broken: bool = False

    def __getattr__(self, name: str) -> Any:
        return _Part(getattr(self.ledger, name), self)


class _Part:
    """A part of it, or what it gives out to be waited with."""

    def __init__(self, part: Any, on: Breaking) -> None:
        self._part = part
        self._on = on

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._part, name)
        if not callable(found) or name in ("wake_all", "own"):
            return found

        async def ask(*given: Any, **named: Any) -> Any:
            on = self._on
            on.broken = on.broken or name == "add" == on.step
            breaks = on.broken and name == on.step
            if breaks and not on.done:
                raise on.error()
            result = await found(*given, **named)
            if breaks:
                raise on.error()
            on.broken = on.broken or (name == "add" and not isinstance(result, AskFirst))
            return _Part(result, on) if name == "follow" else result

        return ask


def broken(on: Workbench, step: str, error: Callable[[], Exception], **how: bool) -> Breaking:
    """Let the calls of a workbench meet a ledger that breaks; its poller does not."""
    ledger: Any = Breaking(on.ledger, step, error, **how)
    settings, catalogue = on.service.settings, on.service.catalogue
    references: Any = on.service._references  # noqa: SLF001  # its API and files are as they were
    api, media = references._uploads._api, references._media  # noqa: SLF001  # as above
    resolver = ReferenceResolver(settings, ledger, api, media, clock=on.clock)
    on.service = Service(
        settings, ledger, catalogue, resolver, clock=on.clock, monotonic=on.clock.monotonic
    )
    breaking: Breaking = ledger
    return breaking


def busy() -> Exception:
    """Return what a ledger raises that others keep busy."""
    return LedgerUnavailable(BUSY)


def unsure() -> Exception:
    """Return what a ledger raises whose disk did not come back in the middle."""
    return LedgerUnavailable(BUSY, unsure=True)


def unforeseen() -> Exception:
    """Return what nobody foresaw."""
    return RuntimeError(PLANTED)


def told(answer: Outcome | MeigenError, on: Workbench) -> dict[str, Any]:
    """Return an answer as a client reads it, and look for a word in it that nobody may say."""
    if isinstance(answer, MeigenError):
        structure = views.refusal(answer, "generate_image", "a red cube")
    else:
        structure = views.outcome(answer, on.clock())
    text = views.text(structure)
    assert not SAYS_NO.search(text), text
    assert PLANTED not in text
    return dict(structure)


def unknown(request_id: str, message: str, *, code: str = "ledger_unavailable") -> dict[str, Any]:
    """Return what a call must say of which it is not known what became of it."""
    return {
        "status": "unknown",
        "requestId": request_id,
        "error": {"code": code, "message": message, "charged": "unknown", "retryable": False},
        "next": (
            "Whether it was charged is not known. Look it up: call check_status with requestId"
            f' "{request_id}". Do not repeat the call.'
        ),
    }


STEPS: dict[str, tuple[str, Callable[[], Exception], bool]] = {
    "the commit, which may be done": ("add", unsure, True),
    "the commit, by a fault of ours": ("add", unforeseen, True),
    "following it": ("follow", busy, False),
    "following it, by a fault of ours": ("follow", unforeseen, False),
    "waiting for a change": ("change", busy, False),
    "waiting for a change, by a fault of ours": ("change", unforeseen, False),
}


@pytest.mark.parametrize("later", [False, True], ids=["answered", "asked for again"])
@pytest.mark.parametrize("step", STEPS)
async def test_a_call_that_breaks_after_its_intent_is_told_its_id_and_repeated_is_one(
    step: str, tmp_path: Path, *, later: bool
) -> None:
    """Charged unknown, look it up, do not repeat it; and who repeats it all the same pays once."""
    name, error, done = STEPS[step]
    async with workbench(tmp_path) as on:
        breaking = broken(on, name, error, done=done)
        answer = told(await on.generate(person=Someone(polls=later), **CALL), on)
        job = await on.newest()
        ours = answer["error"]["code"] == "internal"
        message = answer["error"]["message"] if ours else BUSY
        code = "internal" if ours else "ledger_unavailable"
        expected = unknown(job.request_id, message, code=code)
        assert {field: answer[field] for field in expected} == expected
        breaking.step = "nothing"
        again = await on.generate(**CALL)
        assert (again.job.request_id, again.adopted) == (job.request_id, True)
        await on.settle(again.job)
        assert (len(on.wire.posts()), on.charged) == (1, 5)


@pytest.mark.parametrize(
    ("step", "error", "status"),
    [
        ("mark", busy, "completed"),
        ("mark", unforeseen, "completed"),
        ("ahead", busy, "completed"),
        ("ahead", unforeseen, "completed"),
        ("place", busy, "queued"),
        ("place", unforeseen, "unknown"),
    ],
)
async def test_what_is_not_the_result_breaks_no_answer(
    step: str, error: Callable[[], Exception], status: str, tmp_path: Path
) -> None:
    """The note that it was answered, its place in the line, and how many are shown before it."""
    async with workbench(tmp_path, MEIGEN_RATE_LIMIT="1") as on:
        if step == "place":
            await on.generate(**CALL, wait=0)
        broken(on, step, error)
        answer = told(await on.generate(**{**CALL, "prompt": "another"}), on)
        job = await on.newest()
        assert (answer["status"], answer["requestId"]) == (status, job.request_id)


async def test_who_cannot_be_told_how_it_goes_gets_the_answer(tmp_path: Path) -> None:
    """The stream of a client's progress may be gone before the one of its answer."""

    class Unreachable(Someone):
        async def report(self, *_: Any) -> None:
            raise RuntimeError(PLANTED)

    async with workbench(tmp_path) as on:
        answer = told(await on.generate(person=Unreachable(), **CALL), on)
        assert (answer["status"], on.charged) == ("completed", 5)


async def test_an_end_that_is_known_is_told_whatever_breaks_then(tmp_path: Path) -> None:
    """A result that is at hand is no question any more."""
    async with workbench(tmp_path) as on:
        broken(on, "ahead", unforeseen)
        answer = told(await on.generate(**CALL), on)
        assert (answer["status"], len(answer["mediaUrls"])) == ("completed", 1)
        assert "error" not in answer


async def test_what_is_accepted_is_processing_as_far_as_is_known(tmp_path: Path) -> None:
    """The wait broke after MeiGen had taken it in."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(**{**CALL, "prompt": "sandbox:stall"}, wait=0)).job
        breaking = broken(on, "follow", busy)
        breaking.broken = True
        answer = told(await on.check(requestId=job.request_id), on)
        expected = {**unknown(job.request_id, BUSY), "status": "processing"}
        assert {field: answer[field] for field in expected} == expected
        assert answer["generationId"] == job.generation_id


@pytest.mark.parametrize("repeated", ["by its id", "as an answer to a question"])
async def test_an_id_that_may_stand_for_something_is_looked_up(
    repeated: str, tmp_path: Path
) -> None:
    """The call before may have been charged; this one cannot see it."""
    name = str(uuid4())
    by_id = repeated == "by its id"
    async with workbench(tmp_path) as on:
        call = {**CALL, "requestId": name} if by_id else CALL
        await on.generate(**CALL, requestId=name)
        breaking = broken(on, "open_call", busy)
        breaking.broken = True
        with pytest.raises(LedgerUnavailable) as caught:
            await on.generate(person=Someone(pending=None if by_id else name), **call)
        answer = told(caught.value, on)
        expected = unknown(name, BUSY)
        assert {field: answer[field] for field in expected} == expected


@pytest.mark.parametrize("step", ["open_call", "add"])
async def test_a_call_before_its_intent_says_that_nothing_was_sent(
    step: str, tmp_path: Path
) -> None:
    """There it is true, also under an id that was just looked for."""
    async with workbench(tmp_path) as on:
        breaking = broken(on, step, busy)
        breaking.broken = True
        named: dict[str, Any] = {} if step == "open_call" else {"requestId": str(uuid4())}
        with pytest.raises(LedgerUnavailable) as caught:
            await on.generate(**CALL, **named)
        answer = views.refusal(caught.value, "generate_image", "a red cube")
        assert (answer["status"], answer["error"]["charged"]) == ("refused", "no")
        assert answer["error"]["message"] == f"{BUSY} Nothing was sent or charged."
        assert on.wire.posts() == []


async def test_a_question_that_cannot_be_answered_says_nothing_of_money(tmp_path: Path) -> None:
    """Whoever asks for one hears that it is to be asked for again."""
    async with workbench(tmp_path) as on:
        job = (await on.generate(**CALL)).job
        breaking = broken(on, "get", busy)
        breaking.broken = True
        for arguments in ({"requestId": job.request_id}, {"generationId": job.generation_id}):
            with pytest.raises(LedgerUnavailable) as caught:
                await on.check(**arguments)
            structure = views.refusal(caught.value, "check_status")
            assert not SAYS_NO.search(views.text(structure))
            assert (structure["status"], structure["error"]["charged"]) == ("refused", "unknown")


async def test_a_call_that_was_sent_is_known_by_its_id_though_its_model_is_gone(
    tmp_path: Path,
) -> None:
    """The models changed since; with other arguments it is a conflict as ever."""
    name = str(uuid4())
    async with workbench(tmp_path) as first:
        made = (await first.generate(**CALL, requestId=name)).job
        async with workbench(tmp_path, beside=first, MEIGEN_MODELS="z-image-turbo") as on:
            again = told(await on.generate(**CALL, requestId=name), on)
            with pytest.raises(RequestConflict):
                await on.generate(**{**CALL, "prompt": "another"}, requestId=name)
            with pytest.raises(InvalidArguments):
                await on.generate(**CALL, requestId=str(uuid4()))
            assert (again["status"], again["generationId"]) == ("completed", made.generation_id)
            assert on.wire.posts() == []
