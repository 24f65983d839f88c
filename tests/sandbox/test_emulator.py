"""The sandbox: its routes, decisions and clock, without a socket unless that is the point."""

import asyncio
import itertools
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, date, datetime
from io import BytesIO
from typing import Any

import httpx
import pytest
from PIL import Image
from support.over_http import patient

from meigen_mcp import sandbox
from meigen_mcp.catalogue.arguments import form
from meigen_mcp.catalogue.live_list import lay
from meigen_mcp.catalogue.models import Model, shipped
from meigen_mcp.catalogue.pricing import quote
from meigen_mcp.sandbox.app import create_app
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.media import clip_seconds
from meigen_mcp.sandbox.models import (
    INVENTED,
    NOVEMBER,
    Era,
    body,
    models,
    price,
    seconds_range,
)
from meigen_mcp.sandbox.running import run_sandbox
from meigen_mcp.sandbox.state import Options
from meigen_mcp.sandbox.uploads import UPLOAD_BYTES

TOKEN = f"meigen_sk_{'a' * 32}"
OTHER = f"meigen_sk_{'b' * 32}"
ORIGIN = "http://127.0.0.1:8000"
START = datetime(2026, 10, 1, 12, tzinfo=UTC).timestamp()
TODAY = date(2026, 10, 1)
KEY = "0f8fad5b-d9cb-469f-a165-70867728950e"
HTML_404 = (404, "text/html; charset=utf-8")
LIMIT_HEADERS = ("x-ratelimit-limit", "x-ratelimit-remaining")


@dataclass
class Time:
    """A clock that stands still until a test moves it."""

    now: float = START

    def __call__(self) -> float:
        """Return Unix time."""
        return self.now


def emulator(clock: Time | None = None, **options: Any) -> Emulator:
    """Make the state of a sandbox whose ids and times are always the same."""
    return Emulator(Options(**{"speed": 1, "seed": 7} | options), clock or Time())


@asynccontextmanager
async def client(state: Emulator, token: str | None = TOKEN) -> AsyncIterator[httpx.AsyncClient]:
    """Talk to a sandbox in memory."""
    headers = {"Authorization": f"Bearer {token}"} if token else {}
    transport = httpx.ASGITransport(create_app(state))
    async with httpx.AsyncClient(transport=transport, base_url=ORIGIN, headers=headers) as http:
        yield http


async def post(state: Emulator, token: str | None = TOKEN, **fields: Any) -> httpx.Response:
    """Submit a generation."""
    async with client(state, token) as http:
        return await http.post("/api/generate/v2", json={"prompt": "a fox", **fields})


async def get(state: Emulator, path: str, token: str | None = TOKEN) -> httpx.Response:
    """Ask for something."""
    async with client(state, token) as http:
        return await http.get(path)


async def finished(state: Emulator, clock: Time, **fields: Any) -> dict[str, Any]:
    """Submit a generation, let an hour pass, and return its status."""
    accepted = await post(state, **fields)
    assert accepted.status_code == 200, accepted.text
    clock.now += 3600
    return await status(state, accepted.json()["generationId"])


async def status(state: Emulator, job: str) -> dict[str, Any]:
    """Return the status of a generation."""
    said: dict[str, Any] = (await get(state, f"/api/generate/v2/status/{job}")).json()
    return said


async def balances(state: Emulator) -> dict[str, Any]:
    """Return the only account's entry in the state of the sandbox, without its name."""
    [account] = (await get(state, "/sandbox/state")).json()["accounts"]
    del account["account"]
    return dict(account)


def refusal(error: str, code: str | None = None, **extra: Any) -> dict[str, Any]:
    """Return the body of an error answer."""
    said = {"success": False, "error": error, "retryable": False, **extra}
    return said if code is None else {**said, "code": code}


# --- submitting -----------------------------------------------------------------------------------


async def test_an_accepted_submission_is_charged_and_answers_with_both_generations_fields() -> None:
    """Without a modelId the platform's default model is used."""
    reply = await post(emulator())
    assert reply.status_code == 200
    assert reply.json() == {
        "success": True,
        "generationId": emulator_ids(1)[0],
        "status": "processing",
        "creditsUsed": 5,
        "modelId": "gpt-image-2",
        "credits": {"daily": 0, "purchased": 995, "unlimited": False},
        "deduped": False,
        "mediaType": "image",
        "creditsStatus": "charged",
        "pollHintSeconds": 2400,
        "expectedWaitSeconds": pytest.approx(45 * 1.12),
    }
    assert reply.headers["cache-control"] == "no-store"
    assert [reply.headers[name] for name in LIMIT_HEADERS] == ["12", "11"]


def emulator_ids(count: int) -> list[str]:
    """Return the ids of the first jobs of the fixed seed."""
    state = emulator()
    account = state.authorize(f"Bearer {TOKEN}")
    return [state.submit(account, {"prompt": "a fox"}, ORIGIN).job.id for _ in range(count)]


async def test_the_may_era_answers_with_its_documented_fields_only() -> None:
    """No idempotency, so the same key makes two jobs; the status has no later field."""
    state = emulator(era="2026-05")
    first = (await post(state, idempotencyKey=KEY)).json()
    second = (await post(state, idempotencyKey="not even a UUID")).json()
    assert first == {
        "success": True,
        "generationId": emulator_ids(1)[0],
        "status": "processing",
        "creditsUsed": 5,
        "modelId": "gpt-image-2",
        "credits": {"daily": 0, "purchased": 995, "unlimited": False},
    }
    assert second["generationId"] != first["generationId"]
    assert await status(state, first["generationId"]) == {
        "jobId": first["generationId"],
        "generationId": first["generationId"],
        "status": "processing",
        "imageUrl": None,
        "imageUrls": None,
        "videoUrl": None,
        "mediaType": "image",
        "error": None,
        "aspectRatio": None,
    }
    missing = await get(state, f"/api/generate/v2/requests/{KEY}")
    assert (missing.status_code, missing.headers["content-type"]) == HTML_404


@pytest.mark.parametrize(
    ("token", "expected"),
    [
        (None, (401, refusal("Invalid API token"))),
        ("meigen_sk_short", (401, refusal("Invalid API token"))),
        (f"meigen_sk_{'a' * 31}!", (401, refusal("Invalid API token"))),
        (f"meigen_sk_revoked{'a' * 25}", (401, refusal("Invalid API token"))),
        (f"meigen_sk_forbidden{'a' * 23}", (403, refusal("This account may not use the API"))),
    ],
)
async def test_only_a_token_of_the_right_shape_is_an_account(
    token: str | None, expected: tuple[int, dict[str, Any]]
) -> None:
    """The refusals come before everything else, and for every route that needs the token."""
    state = emulator(rate_limit=0)
    reply = await post(state, token, modelId="nonsense")
    assert (reply.status_code, reply.json()) == expected
    assert [reply.headers[name] for name in LIMIT_HEADERS] == ["0", "0"]
    reply = await get(state, f"/api/generate/v2/requests/{KEY}", token)
    assert (reply.status_code, reply.json()) == expected
    assert state.accounts == {}


async def test_a_scheme_other_than_bearer_is_refused_and_its_case_does_not_matter() -> None:
    """The scheme of HTTP authentication is case-insensitive."""
    async with client(emulator(), None) as http:
        replies = [
            await http.post(
                "/api/generate/v2",
                json={"prompt": "a fox"},
                headers={"Authorization": f"{scheme} {TOKEN}"},
            )
            for scheme in ("Basic", "bearer")
        ]
    assert [reply.status_code for reply in replies] == [401, 200]


async def test_each_token_has_a_balance_of_its_own() -> None:
    """The state names accounts by a short hash, and never by their token."""
    state = emulator(credits=50)
    for token in (TOKEN, OTHER, OTHER):
        await post(state, token)
    report = await get(state, "/sandbox/state")
    assert [account["purchased"] for account in report.json()["accounts"]] == [45, 40]
    assert TOKEN not in report.text
    assert OTHER not in report.text


async def test_the_thirteenth_submission_in_a_minute_is_refused_and_does_not_count() -> None:
    """The window slides: a slot is free 60 s after the submission that took it."""
    clock = Time()
    state = emulator(clock)
    for second in range(12):
        clock.now = START + second
        assert (await post(state)).headers["x-ratelimit-remaining"] == str(11 - second)
    clock.now = START + 20.5
    refused = await post(state)
    assert (refused.status_code, refused.json()) == (
        429,
        {
            "success": False,
            "error": "Rate limit exceeded. Please slow down.",
            "retryable": True,
            "retryAfterSeconds": 40,
        },
    )
    assert refused.headers["retry-after"] == "40"
    assert [refused.headers[name] for name in LIMIT_HEADERS] == ["12", "0"]
    assert (await post(state, OTHER)).status_code == 200
    clock.now = START + 60
    assert [(await post(state)).status_code for _ in range(2)] == [200, 429]


async def test_the_checks_come_in_the_order_401_429_400_402() -> None:
    """A submission with everything wrong loses its faults one by one."""
    state = emulator(rate_limit=2, credits=0)
    seen = [(await post(state, None, quality="wrong")).status_code]
    seen += [(await post(state, quality=quality)).status_code for quality in ("wrong", "low")]
    seen += [(await post(state, quality="wrong")).status_code]
    assert seen == [401, 400, 402, 429]


async def test_too_few_credits_are_refused_with_what_is_needed_and_what_is_there() -> None:
    """Nothing is charged, and the same submission passes once the balance allows it."""
    clock = Time()
    state = emulator(clock, credits=5)
    failing = {"prompt": "sandbox:fail"}
    await post(state, **failing)
    refused = await post(state, idempotencyKey=KEY)
    assert (refused.status_code, refused.json()) == (
        402,
        {
            "success": False,
            "error": "Insufficient credits: 5 required, 0 available",
            "retryable": True,
            "required": 5,
            "available": 0,
            "code": "insufficient_credits",
        },
    )
    clock.now += 3600
    assert (await post(state, idempotencyKey=KEY)).json()["deduped"] is False


@pytest.mark.parametrize("sent", [b"", b"{", b"\xff", b"[" * 100_000, b"[]", b'"text"', b"null"])
async def test_a_body_that_is_not_a_json_object_is_refused(sent: bytes) -> None:
    """It is seen, but it has no key and makes no job."""
    state = emulator()
    async with client(state) as http:
        reply = await http.post("/api/generate/v2", content=sent)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert [(seen.status, seen.key, seen.accepted) for seen in state.posts] == [(400, None, False)]


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"prompt": " "}, "prompt"),
    ({"prompt": None}, "prompt"),
    ({"prompt": "x" * 4001}, "prompt is too long: 4001 characters, at most 4000"),
    ({"modelId": "gpt-image-3"}, 'Model "gpt-image-3" is invalid'),
    ({"modelId": ["gpt-image-2"]}, "Model"),
    ({"modelId": "rhart-1.5"}, 'Model "rhart-1.5" is inactive'),
    ({"aspectRatio": "7:5"}, "ratio not supported"),
    ({"aspectRatio": "adaptive"}, "ratio not supported"),
    ({"resolution": "3K"}, "resolution"),
    ({"quality": "ultra"}, "quality"),
    ({"referenceImages": ["https://x.example.com/a.png"] * 6}, "at most 5"),
    ({"referenceImages": ["http://x.example.com/a.png"]}, "referenceImages[0]"),
    ({"referenceImages": ["https://localhost/a.png"]}, "referenceImages[0]"),
    ({"modelId": "z-image-turbo", "referenceImages": ["https://x.org/a.png"]}, "referenceImages"),
    ({"modelId": "midjourney-v8.1", "niji7Options": {"chaos": 101}}, "niji7Options.chaos"),
    ({"modelId": "midjourney-v8.1", "niji7Options": {"mood": 1}}, "niji7Options.mood"),
    ({"modelId": "midjourney-v8.1", "referenceType": "both"}, "referenceType"),
    ({"modelId": "veo-3.1", "duration": 5}, "duration"),
    ({"modelId": "veo-3.1", "tier": "mini"}, "tier"),
    ({"modelId": "happyhorse-1.0", "duration": 2}, "duration"),
    ({"modelId": "seedance-2-0", "duration": 4.5}, "duration"),
    ({"modelId": "seedance-2-0", "aspectRatio": "adaptive"}, "adaptive"),
    ({"modelId": "seedance-2-0", "referenceVideoDuration": 5}, "referenceVideo"),
    ({"idempotencyKey": "request-1"}, "idempotencyKey must be a UUID"),
    ({"idempotencyKey": 7}, "idempotencyKey must be a UUID"),
]


@pytest.mark.parametrize(("fields", "words"), WRONG)
async def test_an_argument_that_the_model_does_not_accept_is_refused(
    fields: dict[str, Any], words: str
) -> None:
    """The answer names it, and nothing is charged."""
    state = emulator()
    reply = await post(state, **fields)
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert words in reply.json()["error"]
    assert (await balances(state))["charged"] == 0


async def test_half_a_surrogate_pair_in_a_request_does_not_break_the_answer() -> None:
    """JSON can carry it, UTF-8 cannot."""
    state = emulator()
    async with client(state) as http:
        wrong = await http.post(
            "/api/generate/v2", content=rb'{"prompt": "a", "modelId": "\ud800"}'
        )
        right = await http.post("/api/generate/v2", content=rb'{"prompt": "\ud800"}')
    assert [wrong.status_code, right.status_code] == [400, 200]
    assert wrong.json()["error"] == 'Model "?" is invalid'


async def test_what_the_model_does_not_take_is_ignored() -> None:
    """So are absent values and fields that no one knows, of any type."""
    reply = await post(
        emulator(),
        modelId="z-image-turbo",
        quality="no such quality",
        duration="long",
        niji7Options={"chaos": 5000},
        referenceVideo="http://localhost/a.mp4",
        referenceImages=[],
        aspectRatio=None,
        wait="forever",
        webhook={"url": 1},
    )
    assert (reply.status_code, reply.json()["creditsUsed"]) == (200, 2)


async def test_references_may_be_public_or_the_sandboxs_own() -> None:
    """Nothing is fetched, so a host that does not exist will do."""
    own = f"{ORIGIN}/media/a.png"
    reply = await post(emulator(), referenceImages=["https://no-such-host.example/a.png", own])
    assert reply.status_code == 200


async def test_the_legacy_midjourney_is_answered_by_its_successor() -> None:
    """The page says that such requests are still accepted."""
    reply = (await post(emulator(), modelId="midjourney-v7")).json()
    assert (reply["modelId"], reply["creditsUsed"]) == ("midjourney-v8.1", 15)


# --- idempotency ----------------------------------------------------------------------------------


async def test_the_same_key_and_input_give_the_same_job_and_cost_nothing() -> None:
    """Neither the case of the key, nor the order, nor what is absent makes a difference."""
    state = emulator()
    first = (await post(state, modelId="nanobanana-2", resolution="2K", idempotencyKey=KEY)).json()
    again = await post(
        state, idempotencyKey=KEY.upper(), resolution="2K", tier=None, modelId="nanobanana-2"
    )
    assert again.json() == {**first, "deduped": True}
    assert await balances(state) == {"purchased": 995, "accepted": 1, "charged": 5, "refunded": 0}


async def test_the_same_key_with_other_input_is_a_conflict() -> None:
    """The first job stays what it is."""
    state = emulator()
    await post(state, idempotencyKey=KEY)
    reply = await post(state, idempotencyKey=KEY, resolution="1K")
    assert (reply.status_code, reply.json()) == (
        409,
        refusal("This idempotencyKey was used with other input", "idempotency_conflict"),
    )
    assert (await balances(state))["accepted"] == 1


async def test_a_key_belongs_to_one_account() -> None:
    """Another account starts a job of its own with it."""
    state = emulator()
    ids = {
        (await post(state, token, idempotencyKey=KEY)).json()["generationId"]
        for token in (TOKEN, OTHER)
    }
    assert len(ids) == 2


async def test_without_a_key_every_submission_is_a_job() -> None:
    """The same input twice is charged twice."""
    state = emulator()
    await post(state)
    await post(state)
    assert await balances(state) == {"purchased": 990, "accepted": 2, "charged": 10, "refunded": 0}


async def test_a_repeated_key_of_a_finished_job_answers_with_its_result() -> None:
    """The reply is the accepted one with the fields of the status over it."""
    clock = Time()
    state = emulator(clock)
    said = await finished(state, clock, idempotencyKey=KEY)
    again = (await post(state, idempotencyKey=KEY)).json()
    left = {"daily": 0, "purchased": 995, "unlimited": False}
    assert again == {**said, "deduped": True, "credits": left}


async def test_a_key_leads_to_its_job() -> None:
    """The answer is that of the status route."""
    state = emulator()
    job = (await post(state, idempotencyKey=KEY)).json()["generationId"]
    found = await get(state, f"/api/generate/v2/requests/{KEY.upper()}")
    assert found.status_code == 200
    assert found.json() == await status(state, job)
    assert found.json()["requestId"] == KEY


@pytest.mark.parametrize(
    ("key", "token", "expected"),
    [
        (KEY, OTHER, (404, refusal("No receipt", "request_not_found"))),
        (KEY.replace("0", "1"), TOKEN, (404, refusal("No receipt", "request_not_found"))),
        ("x", TOKEN, (400, refusal("idempotencyKey must be a UUID", "invalid_request"))),
    ],
)
async def test_a_key_without_a_job_of_the_account_is_not_found(
    key: str, token: str, expected: tuple[int, dict[str, Any]]
) -> None:
    """A key of someone else is no different from one that no one has."""
    state = emulator()
    await post(state, idempotencyKey=KEY)
    reply = await get(state, f"/api/generate/v2/requests/{key}", token)
    assert (reply.status_code, reply.json()) == expected


# --- jobs -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("model", "low", "high"),
    [("z-image-turbo", 12 * 0.85, 12 * 1.15), ("seedance-2-0", 60, 240)],
)
async def test_a_job_takes_the_models_typical_time(model: str, low: float, high: float) -> None:
    """Times are spread over the range, or 15 % around a single figure, and scaled by the speed."""
    clock = Time()
    state = emulator(clock, speed=0.1, credits=9999, rate_limit=99)
    account = state.authorize(f"Bearer {TOKEN}")
    for _ in range(50):
        state.submit(account, {"prompt": "a fox", "modelId": model}, ORIGIN)
    seconds = [10 * ((job.due_at or 0) - START) for job in state.jobs.values()]
    assert low <= min(seconds) < low + 0.2 * (high - low)
    assert high >= max(seconds) > high - 0.2 * (high - low)
    clock.now = START + min(seconds) / 10
    assert [job.status(clock.now) for job in state.jobs.values()].count("completed") == 1


async def test_a_seed_repeats_ids_and_times_and_without_one_they_differ() -> None:
    """A restarted sandbox must not hand out the ids of its last run."""

    def first(seed: int | None) -> tuple[str, float | None]:
        state = emulator(seed=seed)
        made = state.submit(state.authorize(f"Bearer {TOKEN}"), {"prompt": "a fox"}, ORIGIN)
        return made.job.id, made.job.due_at

    assert first(1) == first(1)
    assert first(None) != first(None)


async def test_a_finished_image_is_served_in_the_size_that_was_asked() -> None:
    """The picture is rendered once, whoever asks how often."""
    clock = Time()
    state = emulator(clock)
    said = await finished(state, clock, aspectRatio="16:9", resolution="1K")
    url = f"{ORIGIN}/media/{said['jobId']}.png"
    assert said == {
        "jobId": said["jobId"],
        "generationId": said["jobId"],
        "status": "completed",
        "imageUrl": url,
        "imageUrls": [url],
        "videoUrl": None,
        "mediaType": "image",
        "error": None,
        "aspectRatio": "16:9",
        "success": True,
        "modelId": "gpt-image-2",
        "creditsUsed": 2,
        "creditsStatus": "charged",
        "pollHintSeconds": None,
        "expectedWaitSeconds": pytest.approx(45 * 1.12),
    }
    async with client(state, None) as http:
        head, whole = await http.head(url), await http.get(url)
    assert whole.headers["content-type"] == head.headers["content-type"] == "image/png"
    assert int(head.headers["content-length"]) == len(whole.content)
    assert head.content == b""
    with Image.open(BytesIO(whole.content)) as image:
        assert image.size == (1368, 768)


async def test_midjourney_makes_four_pictures_that_differ() -> None:
    """`imageUrl` is the first of them."""
    clock = Time()
    state = emulator(clock)
    said = await finished(state, clock, modelId="midjourney-v8.1", resolution="1K")
    pictures = {(await get(state, url)).content for url in said["imageUrls"]}
    assert len(pictures) == 4
    assert said["imageUrl"] == said["imageUrls"][0]


@pytest.mark.parametrize(("fields", "seconds"), [({}, 5), ({"duration": 12}, 12)])
async def test_a_finished_clip_has_the_length_that_was_asked(
    fields: dict[str, Any], seconds: int
) -> None:
    """A video has a videoUrl only."""
    clock = Time()
    state = emulator(clock)
    said = await finished(state, clock, modelId="seedance-2-0", **fields)
    clip = await get(state, said["videoUrl"], None)
    assert clip.headers["content-type"] == "video/mp4"
    assert clip_seconds(clip.content) == seconds
    assert [said["imageUrl"], said["imageUrls"], said["mediaType"]] == [None, None, "video"]


@pytest.mark.parametrize(
    ("fields", "before", "after"),
    [
        ({}, None, "1:1"),
        ({"aspectRatio": "auto"}, None, "1:1"),
        ({"aspectRatio": "9:16"}, "9:16", "9:16"),
        ({"modelId": "veo-3.1"}, None, "16:9"),
        (
            {
                "modelId": "seedance-2-0",
                "aspectRatio": "adaptive",
                "referenceImages": ["https://example.com/a.png"],
            },
            None,
            "16:9",
        ),
    ],
)
async def test_a_ratio_left_to_the_api_is_known_when_the_result_is(
    fields: dict[str, Any], before: str | None, after: str
) -> None:
    """It is the first of the model's list then."""
    clock = Time()
    state = emulator(clock)
    job = (await post(state, **fields)).json()["generationId"]
    assert (await status(state, job))["aspectRatio"] == before
    clock.now += 3600
    assert (await status(state, job))["aspectRatio"] == after


async def test_a_status_is_public_but_not_for_a_token_of_someone_else() -> None:
    """A choice: 404 rather than 403, which says nothing about the id."""
    state = emulator()
    path = f"/api/generate/v2/status/{(await post(state)).json()['generationId']}"
    unknown = refusal("Generation not found")
    replies = [await get(state, path, token) for token in (TOKEN, None, OTHER)]
    replies += [await get(state, "/api/generate/v2/status/none", token) for token in (TOKEN, None)]
    assert [reply.status_code for reply in replies] == [200, 200, 404, 404, 404]
    assert [reply.json() for reply in replies[2:]] == [unknown] * 3
    assert (await get(state, path, "meigen_sk_short")).status_code == 401


async def test_media_are_there_only_once_the_job_is_completed() -> None:
    """Before that, after a failure and for a wrong name the answer is a web page."""
    clock = Time()
    state = emulator(clock)
    names = [
        f"{(await post(state, prompt=prompt)).json()['generationId']}.png"
        for prompt in ("a fox", "sandbox:fail")
    ]
    early = await get(state, f"/media/{names[0]}")
    assert (early.status_code, early.headers["content-type"]) == HTML_404
    clock.now += 3600
    paths = [f"/media/{name}" for name in (*names, "none.png")]
    assert [(await get(state, path)).status_code for path in paths] == [200, 404, 404]


# --- magic words in a prompt ----------------------------------------------------------------------


async def test_sandbox_fail_fails_after_its_time_and_gives_the_credits_back() -> None:
    """The failure is an ordinary answer with the status failed."""
    clock = Time()
    state = emulator(clock)
    accepted = (await post(state, prompt="a fox sandbox:fail")).json()
    assert (await balances(state))["purchased"] == 995
    clock.now += 3600
    assert await status(state, accepted["generationId"]) == {
        "jobId": accepted["generationId"],
        "generationId": accepted["generationId"],
        "status": "failed",
        "imageUrl": None,
        "imageUrls": None,
        "videoUrl": None,
        "mediaType": "image",
        "error": "The provider could not make this image",
        "aspectRatio": None,
        "success": True,
        "modelId": "gpt-image-2",
        "creditsUsed": 5,
        "creditsStatus": "refunded",
        "pollHintSeconds": None,
        "expectedWaitSeconds": accepted["expectedWaitSeconds"],
        "failureCode": "provider_error",
    }
    assert await balances(state) == {"purchased": 1000, "accepted": 1, "charged": 5, "refunded": 5}


async def test_sandbox_refuse_is_refused_by_moderation_and_costs_nothing() -> None:
    """The wording is what the official client looks for."""
    state = emulator()
    reply = await post(state, prompt="sandbox:refuse")
    assert (reply.status_code, reply.json()) == (
        400,
        refusal(
            "Your prompt was flagged by our safety policy. No credits were charged.",
            "invalid_request",
        ),
    )
    assert (await balances(state))["charged"] == 0


async def test_sandbox_stall_never_finishes_and_its_poll_hint_runs_out() -> None:
    """The hint is the time in which the server can still resolve the job: 40 minutes, scaled."""
    clock = Time()
    state = emulator(clock, speed=0.1)
    job = (await post(state, prompt="sandbox:stall")).json()["generationId"]
    seen = []
    for seconds in (0, 60, 240, 500):
        clock.now = START + seconds
        said = await status(state, job)
        seen.append((said["status"], said["pollHintSeconds"]))
    assert seen == [("processing", hint) for hint in (240, 180, 0, -260)]
    assert (await balances(state))["purchased"] == 995


async def test_sandbox_lose_reply_accepts_and_charges_but_gives_no_answer_once() -> None:
    """The same key then finds the job, by a lookup or by another POST."""
    state = emulator()
    fields = {"prompt": "sandbox:lose-reply", "idempotencyKey": KEY}
    with pytest.raises(ConnectionResetError, match="on purpose"):
        await post(state, **fields)
    found = (await get(state, f"/api/generate/v2/requests/{KEY}")).json()
    again = (await post(state, **fields)).json()
    assert again["generationId"] == found["generationId"]
    assert again["deduped"] is True
    assert await balances(state) == {"purchased": 995, "accepted": 1, "charged": 5, "refunded": 0}


async def test_sandbox_no_credits_is_refused_each_time_whatever_the_balance() -> None:
    """As if the balance were 0."""
    state = emulator()
    fields = {"prompt": "sandbox:no-credits", "idempotencyKey": KEY}
    replies = [await post(state, **fields) for _ in range(2)]
    assert [reply.status_code for reply in replies] == [402, 402]
    assert [replies[0].json()[name] for name in ("required", "available")] == [5, 0]


# --- the models and their prices ------------------------------------------------------------------


async def test_the_list_of_models_is_what_the_sandbox_enforces() -> None:
    """A client that merges it over the shipped facts has the catalogue of the sandbox."""
    state = emulator()
    reply = await get(state, "/api/models", None)
    assert reply.headers["cache-control"] == "public, max-age=300"
    assert lay(shipped(), reply.json(), TODAY) == state.catalogue


async def test_inactive_models_are_listed_on_request_only() -> None:
    """Legacy rows are always there, but hidden."""
    state = emulator()
    rows = {}
    for query in ("", "?active=true", "?active=false"):
        listed = (await get(state, f"/api/models{query}", None)).json()["models"]
        rows[query] = {row["id"]: row["extra_config"].get("hidden", False) for row in listed}
    assert rows[""] == rows["?active=true"]
    assert rows["?active=false"] == {**rows[""], "rhart-1.5": True}
    assert [model for model, hidden in rows[""].items() if hidden] == ["midjourney-v7"]


def test_the_may_list_has_no_capabilities_and_leads_to_the_same_rules() -> None:
    """Both eras describe the same models."""
    may, september = (body(era, 1, TODAY) for era in ("2026-05", "2026-09"))
    assert not [row["id"] for row in may["models"] if "capabilities" in row]
    videos = [row["id"] for row in september["models"] if "capabilities" in row]
    assert videos == ["seedance-2-0", "happyhorse-1.0", "veo-3.1"]
    old, new = (lay(shipped(), listed, TODAY) or shipped() for listed in (may, september))
    ignored = {"billed_default_seconds", "continuation"}
    assert [model.model_dump(exclude=ignored) for model in old.models] == [
        model.model_dump(exclude=ignored) for model in new.models
    ]


def test_the_listed_times_are_scaled_by_the_speed() -> None:
    """The median and the 90th percentile of the times that jobs really take."""
    timings = {row["id"]: row["estimatedTiming"] for row in body("2026-09", 0.5, TODAY)["models"]}
    assert timings["veo-3.1"] == {"p50": 120, "p90": 192}
    assert timings["z-image-turbo"] == {"p50": 6, "p90": 6.72}


def test_a_model_without_a_known_time_takes_half_a_minute() -> None:
    """All shipped models have one; a new one may not."""
    assert seconds_range(Model(id="new")) == pytest.approx((25.5, 34.5))


def test_nothing_invented_replaces_a_fact_and_all_of_it_says_what_it_rests_on() -> None:
    """The data file holds inventions only, and the models have no unknown left."""
    facts = {model.id: model.model_dump() for model in shipped().models}
    for model_id, entry in INVENTED["models"].items():
        assert entry["invented"]
        for name in entry.keys() - {"invented", "prices", "floor_seconds"}:
            assert facts[model_id][name] in (None, "", ())
        for listed in entry.get("prices", []):
            assert listed["source"] == "invented"
    assert all(entry["invented"] for entry in NOVEMBER["models"].values())
    named = (INVENTED[name] for name in ("account", "limits", "failure", "reference_video"))
    assert all(entry["invented"] for entry in [*named, *INVENTED["inactive"].values()])
    for model in (*models(), *models("2026-11")):
        assert None not in (model.ratios, model.resolutions, model.default_resolution)


def settings(model: Model) -> Iterator[dict[str, Any]]:
    """Yield every combination of the settings that a price may depend on."""
    lengths = model.duration and (
        model.duration.values or range(model.duration.minimum, model.duration.maximum + 1)
    )
    for resolution, quality, variant, tier, duration, clip in itertools.product(
        (None, *(model.resolutions or ())),
        (None, *model.qualities),
        (None, *model.variants),
        (None, *model.tiers),
        (None, *(lengths or ())),
        (None, 2.5) if model.continuation else (None,),
    ):
        chosen = {
            "resolution": resolution,
            "quality": quality,
            "modelVariant": variant,
            "tier": tier,
            "duration": duration,
            "referenceVideo": clip and "https://images.meigen.ai/a.mp4",
            "referenceImages": ["https://images.meigen.ai/a.png"]
            if model.requires_first_frame
            else None,
            "referenceVideoDuration": clip,
        }
        yield {name: value for name, value in chosen.items() if value is not None}


@pytest.mark.parametrize(
    ("model_id", "era"),
    [
        *((model.id, "2026-09") for model in shipped().models),
        *((model_id, "2026-11") for model_id in NOVEMBER["models"]),
    ],
)
def test_every_combination_of_settings_is_charged_what_a_client_quotes(
    model_id: str, era: Era
) -> None:
    """The charge is whole and known, and never above the quote rounded up."""
    state = emulator(credits=10**9, era=era)
    account = state.authorize(f"Bearer {TOKEN}")
    known = state.catalogue.find(model_id)
    assert known is not None
    for chosen in settings(known):
        request = {"prompt": "a fox", "modelId": model_id, **chosen}
        if form(known, ()).check(request):
            continue  # not of this tier, or without its clip
        charge = state.submit(account, request, ORIGIN).job.credits
        quoted = quote(known, chosen, TODAY).credits
        assert quoted is not None, f"no price on {TODAY} of {chosen}"
        # A legacy model is quoted at its dearest, since its row is hidden.
        assert charge <= -(-quoted // 1) if known.legacy else charge == -(-quoted // 1)


@pytest.mark.parametrize(
    ("fields", "charge"),
    [
        ({}, 5 * 12),
        ({"resolution": "720p", "tier": "pro", "duration": 4}, 4 * 28),
        ({"referenceVideo": f"{ORIGIN}/media/a.mp4", "referenceVideoDuration": 5}, 10 * 8),
        ({"referenceVideo": f"{ORIGIN}/media/a.mp4", "referenceVideoDuration": 2}, 8 * 8),
        ({"referenceVideo": f"{ORIGIN}/media/a.mp4"}, 8 * 8),
        (
            {
                "referenceVideo": f"{ORIGIN}/media/a.mp4",
                "referenceVideoDuration": 5,
                "resolution": "1080p",
                "tier": "pro",
            },
            10 * 14,
        ),
    ],
)
async def test_seedance_is_charged_by_the_second(fields: dict[str, Any], charge: int) -> None:
    """A continuation has the documented rates and a floor; without its length it counts as 0 s."""
    reply = await post(emulator(), modelId="seedance-2-0", **fields)
    assert reply.json()["creditsUsed"] == charge


@pytest.mark.parametrize("now", [0.0, 4e9], ids=["1970", "2096"])
def test_the_sandbox_has_its_prices_on_any_day(now: float) -> None:
    """A computer that lost its date runs the demo too."""
    states = (emulator(), emulator(Time(now)))
    prices = [body(state.options.era, 1, state.today) for state in states]
    charges = [
        state.submit(state.authorize(f"Bearer {TOKEN}"), {"prompt": "a fox"}, ORIGIN).job.credits
        for state in states
    ]
    assert prices[0] == prices[1]
    assert charges == [5, 5]


def test_a_price_that_is_missing_is_an_error_of_the_sandbox() -> None:
    """It must not charge a guess."""
    with pytest.raises(LookupError, match=r"no price of new .* on 2026-10-01"):
        price(Model(id="new"), {}, TODAY)


# --- uploads --------------------------------------------------------------------------------------


async def test_an_uploaded_reference_can_be_fetched_and_used() -> None:
    """Presign, PUT, GET, and a generation that refers to it; no token for the first three."""
    state, data = emulator(), b"GIF89a"
    asked = {"filename": "a.gif", "contentType": "image/gif", "size": len(data)}
    async with client(state, None) as http:
        urls = (await http.post("/upload/presign", json=asked)).json()
        assert urls.keys() == {"success", "presignedUrl", "publicUrl"}
        assert (await http.get(urls["publicUrl"])).status_code == 404
        put = await http.put(
            urls["presignedUrl"], content=data, headers={"Content-Type": "image/gif"}
        )
        assert (put.status_code, put.content) == (200, b"")
        served = await http.get(urls["publicUrl"])
    assert (served.content, served.headers["content-type"]) == (data, "image/gif")
    assert (await post(state, referenceImages=[urls["publicUrl"]])).status_code == 200


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"filename": None}, "filename"),
        ({"contentType": "image/svg+xml"}, "contentType"),
        ({"contentType": ["image/png"]}, "contentType"),
        ({"size": UPLOAD_BYTES + 1}, "size"),
        ({"size": 0}, "size"),
        ({"size": True}, "size"),
        ({"size": "6"}, "size"),
    ],
)
async def test_an_upload_that_the_gateway_would_not_take_gets_no_url(
    fields: dict[str, Any], words: str
) -> None:
    """JPEG, PNG, WebP and GIF up to 9,500,000 bytes."""
    asked = {"filename": "a.png", "contentType": "image/png", "size": 6, **fields}
    async with client(emulator(), None) as http:
        reply = await http.post("/upload/presign", json=asked)
        listed = await http.post("/upload/presign", json=[])
    assert (reply.status_code, reply.json()["code"]) == (400, "invalid_request")
    assert words in reply.json()["error"]
    assert listed.status_code == 400


async def test_a_presigned_url_holds_for_what_was_announced() -> None:
    """Another type, another size, too large a body or a made-up URL are refused."""
    state = emulator()
    png = {"Content-Type": "image/png"}
    asked = {"filename": "a.png", "contentType": "image/png", "size": 6}
    async with client(state, None) as http:
        url = (await http.post("/upload/presign", json=asked)).json()["presignedUrl"]
        replies = [
            await http.put(url, content=b"123456", headers={"Content-Type": "image/gif"}),
            await http.put(url, content=b"12345", headers=png),
            await http.put(url, content=b"x" * (UPLOAD_BYTES + 1), headers=png),
            await http.put(f"{ORIGIN}/upload/none", content=b"123456", headers=png),
            await http.put(url, content=b"123456", headers=png),
        ]
    assert [reply.status_code for reply in replies] == [403, 403, 413, 404, 200]


# --- the rest -------------------------------------------------------------------------------------


async def test_the_state_lists_every_submission_in_order() -> None:
    """With its time, its status, its key and whether it made a job."""
    clock = Time()
    state = emulator(clock)
    job = (await post(state, idempotencyKey=KEY.upper())).json()["generationId"]
    clock.now += 1
    await post(state, idempotencyKey=KEY)
    await post(state, None)
    report = (await get(state, "/sandbox/state", None)).json()
    account = report["accounts"][0]["account"]
    made = {"status": 200, "account": account, "idempotencyKey": KEY, "generationId": job}
    none = {"status": 401, "account": None, "idempotencyKey": None, "generationId": None}
    assert report["now"] == START + 1
    assert report["posts"] == [
        {"at": START, **made, "accepted": True, "lost": False},
        {"at": START + 1, **made, "accepted": False, "lost": False},
        {"at": START + 1, **none, "accepted": False, "lost": False},
    ]


async def test_the_front_page_says_what_the_sandbox_is_and_is_not() -> None:
    """It is the documentation of the package."""
    page = await get(emulator(), "/", None)
    assert page.headers["content-type"] == "text/plain; charset=utf-8"
    assert page.text == sandbox.__doc__
    assert "does NOT reproduce" in page.text


@pytest.mark.parametrize("path", ["/api", "/api/search", "/api/generate/v3", "/index.html"])
async def test_a_route_that_is_not_there_answers_as_a_web_site(path: str) -> None:
    """Such a 404 must not be taken for an answer of the API."""
    reply = await get(emulator(), path)
    assert (reply.status_code, reply.headers["content-type"]) == HTML_404


# --- on a real socket -----------------------------------------------------------------------------


async def test_a_running_sandbox_is_reachable_at_its_origin_and_loses_a_reply_cleanly(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """The connection closes without a byte, nothing is written to stderr, and the key recovers."""
    fields = {"prompt": "sandbox:lose-reply", "idempotencyKey": KEY}
    headers = {"Authorization": f"Bearer {TOKEN}"}
    async with (
        run_sandbox(speed=0, seed=7, credits=10) as origin,
        patient(origin, headers=headers) as http,
    ):
        with pytest.raises(httpx.RemoteProtocolError, match="without sending a response"):
            await http.post("/api/generate/v2", json=fields)
        said = (await http.get(f"/api/generate/v2/requests/{KEY}")).json()
        assert said["imageUrl"] == f"{origin}/media/{said['generationId']}.png"
        picture = await http.get(said["imageUrl"])
        assert picture.content.startswith(b"\x89PNG")
        again = await http.post("/api/generate/v2", json=fields)
        assert again.json()["credits"]["purchased"] == 5
    assert capfd.readouterr() == ("", "")


async def test_a_running_sandbox_ends_with_connections_and_requests_open(
    capfd: pytest.CaptureFixture[str],
) -> None:
    """An idle connection, a kept-alive one and a half-sent request are just closed."""
    head = f"Host: x\r\nAuthorization: Bearer {TOKEN}\r\nContent-Length: 99\r\n\r\n{{"
    async with asyncio.timeout(5), run_sandbox() as origin:
        port = int(origin.rsplit(":", 1)[1])
        streams = [await asyncio.open_connection("127.0.0.1", port) for _ in range(2)]
        streams[1][1].write(f"POST /api/generate/v2 HTTP/1.1\r\n{head}".encode())
        http = patient(origin)
        assert (await http.get("/sandbox/state")).json()["posts"] == []
    assert [await reader.read() for reader, _ in streams] == [b"", b""]
    for _, writer in streams:
        writer.close()
        await writer.wait_closed()
    await http.aclose()
    assert capfd.readouterr() == ("", "")


async def test_a_taken_port_is_an_error_of_the_operating_system() -> None:
    """The caller says it to the person."""
    async with run_sandbox() as origin:
        with pytest.raises(OSError, match="in use"):
            async with run_sandbox(port=int(origin.rsplit(":", 1)[1])):
                pass


SERVE = """
from meigen_mcp.sandbox.running import serve
serve(0, announce=lambda origin: print(origin, flush=True))
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_serve_ends_cleanly_on_a_signal(number: signal.Signals) -> None:
    """With an open keep-alive connection, exit status 0 and nothing on stderr."""
    process = subprocess.Popen(
        [sys.executable, "-c", SERVE],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        encoding="utf-8",
    )
    with process:
        assert process.stdout is not None
        origin = process.stdout.readline().strip()
        with httpx.Client(base_url=origin) as http:
            assert http.get("/").status_code == 200
            process.send_signal(number)
            out, err = process.communicate(timeout=10)
    assert (process.returncode, out, err) == (0, "", "")
