"""A draft and its final: two generations, each with its price, its key and its question."""

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from media.test_local_clips import encoded, wav
from service.test_references import problems, sent
from service.test_todays_inputs import film, sandbox
from support.in_memory import MODES, Mode, connect, make_settings
from support.ledger_file import execute
from support.workbench import Someone, dropped_after, workbench

from meigen_mcp.api import replies
from meigen_mcp.commands import jobs
from meigen_mcp.reports import Draft
from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.state import Options
from meigen_mcp.settings import Settings


def charged(state: Emulator) -> int:
    """Return what the sandbox took."""
    return sum(account.charged() for account in state.accounts.values())


async def draft(on: Any, prompt: str = "a cat", **arguments: Any) -> dict[str, Any]:
    """Make a draft to its end."""
    call = {"prompt": prompt, "modelId": "seedance-2-5", "draft": True, "duration": 4}
    made: dict[str, Any] = await on.call("generate_video", **{**call, "wait": 40, **arguments})
    return made


async def final(on: Any, of: dict[str, Any], **arguments: Any) -> dict[str, Any]:
    """Render the final of a draft."""
    call = {"finalOf": of["generationId"], "wait": 40, **arguments}
    made: dict[str, Any] = await on.call("generate_video", **call)
    return made


@pytest.mark.parametrize("mode", MODES)
async def test_a_draft_says_what_its_final_costs_and_the_final_is_paid_whole(
    mode: Mode, settings: Settings
) -> None:
    """Both are quoted before they are paid, and the sum is right to the credit."""
    state = sandbox()
    async with connect(settings, state, mode) as on:
        quoted = await draft(on, dryRun=True)
        first = await draft(on)
        second = await final(on, first, dryRun=True)
        third = await final(on, first, prompt="a cat", modelId="seedance-2-5")
        result = await on.client.call_tool("check_status", {"requestId": first["requestId"]})
        bodies = sent(on)
    assert quoted["quote"] == {
        "credits": 56,
        "kind": "estimate",
        "basis": "a draft as a clip in 480p: 4 s x fast 480p 14 credits/s = 56",
    }
    assert (first["creditsUsed"], first["draft"]["finalCredits"]) == (56, 208)
    until = first["draft"]["expiresAt"]
    assert first["next"].endswith(
        "It is a draft: ask the person whether to render the final in 1080p for 208 credits more,"
        f' until {until}; if so, call generate_video with finalOf "{first["generationId"]}" and'
        " the same prompt and modelId."
    )
    assert f"draft: its final costs 208 credits, until {until}" in result.content[0].text  # type: ignore[union-attr]  # it is text
    assert second["quote"] == {
        "credits": 208,
        "kind": "exact",
        "basis": "the whole final, as MeiGen told with the draft",
    }
    assert (third["status"], third["creditsUsed"]) == ("completed", 208)
    assert third["madeFrom"] == [f"{first['resourceUri']}/media/0"]
    assert third["settings"] == {"duration": 4, "finalOf": first["generationId"]}
    assert "draft" not in third
    assert bodies[1] == {
        "prompt": "a cat",
        "modelId": "seedance-2-5",
        "duration": 4,
        "draftGenerationId": first["generationId"],
        "idempotencyKey": third["requestId"],
    }
    assert third["requestId"] != first["requestId"]
    assert charged(state) == 56 + 208


async def test_a_final_is_asked_about_and_capped_by_its_own_price(tmp_path: Path) -> None:
    """The yes to a draft is none to its final."""
    state = sandbox()
    asking = make_settings(tmp_path, MEIGEN_CONFIRM_ABOVE="100")
    async with connect(asking, state) as on:
        first = await draft(on)
        offered = await final(on, first)
        capped = await final(on, first, maxCredits=207)
        made = await final(on, first, requestId=offered["requestId"], maxCredits=208)
    assert (offered["status"], offered["quote"]["credits"]) == ("needs_approval", 208)
    assert "Cheaper" not in offered["next"]
    assert (capped["status"], capped["error"]["code"]) == ("refused", "over_cap")
    assert (made["status"], charged(state)) == ("completed", 56 + 208)


async def test_a_final_that_failed_is_tried_again_by_its_own_id(settings: Settings) -> None:
    """Where MeiGen says so; it is a third generation with a price and a key of its own."""
    state = sandbox()
    async with connect(settings, state) as on:
        first = await draft(on, "a cat sandbox:fail-final")
        failed = await final(on, first)
        made = await final(on, failed)
        body = sent(on)[2]
    assert (failed["status"], failed["error"]["charged"]) == ("failed", "refunded")
    assert f'call generate_video with finalOf "{failed["generationId"]}"' in failed["next"]
    assert body["retryFailedGenerationId"] == failed["generationId"]
    assert (made["status"], made.get("creditsUsed")) == ("completed", 208)
    assert charged(state) == 56 + 2 * 208


async def test_of_what_was_forgotten_no_final_is_made(settings: Settings) -> None:
    """Neither of a draft nor of a final that failed; its own id still finds that one."""
    state = sandbox()
    async with connect(settings, state) as on:
        first = await draft(on, "a cat sandbox:fail-final")
        failed = await final(on, first)
        await jobs.run(settings, failed["requestId"], forget_one=True)
        again = await final(on, first, requestId=failed["requestId"])
        await jobs.run(settings, first["requestId"], forget_one=True)
        later = await final(on, first, requestId=failed["requestId"])
        refused = [await final(on, made) for made in (first, failed)]
    assert [problems(answer) for answer in refused] == [
        [
            f'- finalOf: what "{made["generationId"]}" was made from was forgotten; render the'
            " final on meigen.ai"
        ]
        for made in (first, failed)
    ]
    assert [told["generationId"] for told in (again, later)] == [failed["generationId"]] * 2
    offers = ["with finalOf" in told["next"] for told in (failed, again, later)]
    assert offers == [True, False, False]
    assert (len(sent(on)), charged(state)) == (2, 56 + 208)


async def test_a_final_has_not_the_resolution_of_its_draft(tmp_path: Path) -> None:
    """Neither what was asked for nor what a cap wrote into the request says 480p of it."""
    capped = make_settings(tmp_path, MEIGEN_MAX_CREDITS_PER_DAY="1000")
    async with connect(capped, sandbox()) as on:
        first = await draft(on, resolution="480p")
        second = await final(on, first)
        bodies = sent(on)
    assert ([body.get("resolution") for body in bodies]) == ["480p", None]
    assert second["settings"] == {"duration": 4, "finalOf": first["generationId"]}
    assert second["creditsUsed"] == 208


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"finalOf": "nothing"}, 'finalOf: "nothing" names no generation of this account'),
    ({"prompt": "a dog"}, "prompt: the final renders the draft as it is; leave it out"),
    ({"modelId": "seedance-2-0"}, "modelId: the final renders the draft as it is"),
    ({"duration": 9}, "duration: the final renders the draft as it is"),
    ({"draft": True}, "draft: the final renders the draft as it is"),
    ({"wait": 999}, "wait: 999 must be a whole number of seconds from 0 to 300"),
]


@pytest.mark.parametrize(("arguments", "words"), WRONG, ids=[str(row[0]) for row in WRONG])
async def test_a_final_is_what_its_draft_was(
    settings: Settings, arguments: dict[str, Any], words: str
) -> None:
    """Who wants another one makes another draft."""
    async with connect(settings, sandbox()) as on:
        first = await draft(on)
        refused = await final(on, first, **arguments)
        assert len(sent(on)) == 1
    assert words in problems(refused)[0]


async def test_a_clip_that_is_no_draft_has_no_final(settings: Settings) -> None:
    """Nor has a final that is there."""
    state = sandbox()
    async with connect(settings, state) as on:
        clip = await film(on, duration=4)
        first = await draft(on)
        second = await final(on, first)
        refused = [await final(on, made) for made in (clip, second)]
    assert all("is no draft of which MeiGen told a final" in problems(r)[0] for r in refused)
    assert charged(state) == 56 + 56 + 208


async def test_a_draft_that_is_over_has_no_final(settings: Settings) -> None:
    """A deadline that passed is told before anything is sent; a repeated call stays what it was."""
    state = sandbox()
    async with connect(settings, state) as on:
        first = await draft(on)
        made = await final(on, first)
        over = json.dumps(
            {"final_credits": "208", "expires_at": 1.0, "request": {"draftGenerationId": "x"}}
        )
        execute(
            settings.data_dir,
            "UPDATE generations SET draft = ? WHERE request_id = ?",
            over,
            first["requestId"],
        )
        refused = await final(on, first)
        repeated = await final(on, first, requestId=made["requestId"])
    assert problems(refused) == [
        "- finalOf: that draft was over on 1970-01-01T00:00:01Z; make a new draft"
    ]
    assert (repeated["status"], charged(state)) == ("completed", 56 + 208)


@pytest.mark.parametrize(
    ("word", "told"),
    [
        ("dear-draft", "cost 96 credits, and 56 were quoted"),
        ("no-final", "came without a word on its final"),
    ],
)
async def test_a_draft_that_is_not_as_announced_stops_drafts(
    settings: Settings, word: str, told: str
) -> None:
    """Until the next list; the answer says where the final can be rendered."""
    state = sandbox()
    async with connect(settings, state) as on:
        first = await draft(on, f"a cat sandbox:{word}")
        refused = await draft(on)
        other = await film(on, duration=4)
    assert f"this draft {told}: they can render the final on meigen.ai" in first["next"]
    assert problems(refused) == [
        f"- draft: the last one of seedance-2-5 {told}, so none is made before MeiGen's next list;"
        " leave it out, or render the final on meigen.ai"
    ]
    assert other["status"] == "completed"


async def test_a_lost_reply_between_draft_and_final_charges_each_once(tmp_path: Path) -> None:
    """Both POSTs arrive, both replies are lost; each key is found again."""
    options = Options(rate_limit=1000, credits=10_000, seed=1, era="2026-11")
    async with workbench(tmp_path, options=options) as bench:
        bench.wire.faults["submit"] = [dropped_after]
        call = {"modelId": "seedance-2-5", "draft": True, "duration": 4, "wait": 300}
        made = await bench.generate("generate_video", Someone(patience=400), **call)
        first = await bench.settle(made.job)
        bench.wire.faults["submit"] = [dropped_after]
        of = {"finalOf": first.name, "prompt": None, "wait": 300}
        second = await bench.settle(
            (await bench.generate("generate_video", Someone(patience=400), **of)).job
        )
        assert (first.status, second.status) == ("completed", "completed")
        assert (len(bench.wire.posts()), bench.charged) == (2, 56 + 208)


async def test_against_a_service_of_may_there_are_no_drafts(tmp_path: Path) -> None:
    """Nothing is sent, and the refusal says why."""
    state = sandbox("2026-05")
    async with connect(make_settings(tmp_path), state) as on:
        refused = await draft(on, modelId="seedance-2-0")
    assert problems(refused) == [
        "- draft: MeiGen's list does not announce it for seedance-2-0; leave it out"
    ]
    assert state.posts == []


@pytest.mark.parametrize("mode", MODES)
async def test_one_session_from_a_local_clip_to_an_edit_is_right_to_the_credit(
    mode: Mode, tmp_path: Path
) -> None:
    """Draft, final, continuation of the final, edit: each quoted, asked about and charged once."""
    own = tmp_path / "own"
    own.mkdir()
    (own / "beach.mp4").write_bytes(encoded(tmp_path / "made"))
    (own / "sea.wav").write_bytes(wav(2))
    asking = make_settings(tmp_path, MEIGEN_REFERENCE_DIRS=str(own), MEIGEN_CONFIRM_ABOVE="0")
    state, prices, asked = sandbox(), [], 0

    async def paid(on: Any, **call: Any) -> dict[str, Any]:
        """Quote a call, be asked about it, agree, and get its result."""
        nonlocal asked
        quoted = await on.call("generate_video", **call, dryRun=True)
        offered = await on.call("generate_video", **call, wait=40)
        assert offered["status"] == "needs_approval", offered
        asked += 1
        price = quoted["quote"]["credits"]
        agreed = {"requestId": offered["requestId"], "maxCredits": price, "wait": 40}
        made: dict[str, Any] = await on.call("generate_video", **call, **agreed)
        assert (made["status"], made.get("creditsUsed")) == ("completed", price), made
        prices.append(price)
        return made

    async with connect(asking, state, mode) as on:
        model = {"modelId": "seedance-2-5"}
        first = await paid(
            on,
            prompt="the sea",
            referenceVideo=str(own / "beach.mp4"),
            referenceAudios=[str(own / "sea.wav")],
            contentReferenceImages=[
                "https://images.meigen.ai/1.png",
                "https://images.meigen.ai/2.png",
            ],
            duration=4,
            draft=True,
            **model,
        )
        second = await paid(on, finalOf=first["generationId"])
        clip = f"{second['resourceUri']}/media/0"
        third = await paid(on, prompt="and a boat", referenceVideo=clip, duration=5, **model)
        edited = {"aspectRatio": "adaptive", "duration": 5, **model}
        source = f"{third['resourceUri']}/media/0"
        fourth = await paid(on, prompt="edit: at night", referenceVideo=source, **edited)
        keys = {body["idempotencyKey"] for body in sent(on)}
    assert prices == [(3 + 4) * 10, (3 + 4) * 26, (4 + 5) * 16, (5 + 5) * 16]
    assert (asked, len(keys), charged(state)) == (4, 4, sum(prices))
    assert fourth["madeFrom"] == [source]


# --- what a status says ---------------------------------------------------------------------------

SAID = {
    "finalCredits": 208,
    "expiresAt": "2026-12-04T12:00:00+00:00",
    "finalRequest": {"draftGenerationId": "g-1"},
}
KNOWN = Draft(Decimal(208), 1_796_385_600.0, {"draftGenerationId": "g-1"})


@pytest.mark.parametrize(
    ("changes", "known"),
    [
        ({}, KNOWN),
        ({"expiresAt": 1_796_385_600}, KNOWN),
        ({"expiresAt": 1_796_385_600_000}, KNOWN),
        ({"expiresAt": "2026-12-04T12:00:00Z"}, KNOWN),
        ({"expiresAt": 1_796_385_600_000.0}, KNOWN),
        ({"finalRequest": None}, replace(KNOWN, request={})),
        ({"finalRequest": {"draftGenerationId": 5}}, replace(KNOWN, request={})),
        ({"finalRequest": {"a": "b", "idempotencyKey": "x"}}, replace(KNOWN, request={})),
        ({"finalRequest": {"resolution": "4K"}}, replace(KNOWN, request={})),
        ({"finalRequest": {"a b": "c"}}, replace(KNOWN, request={})),
        ({"finalCredits": None}, None),
        ({"finalCredits": -1}, None),
    ],
)
def test_what_a_status_says_of_a_final_is_read_as_far_as_it_is_meant(
    changes: dict[str, Any], known: Draft | None
) -> None:
    """A handle that would change what is made, or that is no word, is no handle."""
    said = {"status": "completed", "seedanceDraft": SAID | changes}
    assert replies.report(said, lambda _: True).draft == known


CANNOT_BE = [
    "soon", "", "NaN", "infinity", "1796385600", "12:00", "0001-01-01T00:00:00+14:00",
    "9999-12-31T23:59:59-14:00", "9999-12-31", "10000-01-01T00:00:00Z", "+010000-01-01T00:00:00Z",
    "1970-01-01T00:00:00Z", "2262-04-11", "x" * 10_000, 0, 1, -1, -1_796_385_600, 2**31 * 2,
    10**11, 10**13, 10**15, 10**300, 1e300, float("nan"), float("inf"), float("-inf"), True, None,
    [], {}, ["2026-12-04"],
]  # fmt: skip


@pytest.mark.parametrize("said", CANNOT_BE, ids=lambda said: str(said)[:30])
def test_a_time_that_cannot_be_is_none(said: Any) -> None:
    """Then the seven days count for which drafts are kept."""
    told = {"status": "completed", "seedanceDraft": SAID | {"expiresAt": said}}
    assert replies.report(told, lambda _: True).draft == replace(KNOWN, expires_at=None)


@pytest.mark.parametrize("stored", [-1.0, 0.0, 1e11, 1e300, 4e9, None])
async def test_a_time_that_cannot_be_breaks_no_answer(
    stored: float | None, settings: Settings
) -> None:
    """A ledger may hold one; a year beyond the seven days is none either."""
    async with connect(settings, sandbox()) as on:
        first = await draft(on)
        until = first["draft"]["expiresAt"]
        odd = {"final_credits": "208", "expires_at": stored, "request": {"draftGenerationId": "x"}}
        change = "UPDATE generations SET draft = ? WHERE request_id = ?"
        execute(settings.data_dir, change, json.dumps(odd), first["requestId"])
        told = await on.call("check_status", requestId=first["requestId"])
        (row,) = (await on.call("check_status"))["generations"]
    assert told["draft"]["expiresAt"][:13] == row["draft"]["expiresAt"][:13] == until[:13]


async def test_without_a_way_to_it_the_final_is_rendered_on_meigen_ai(settings: Settings) -> None:
    """What no source gives is not guessed: the real service may name its drafts otherwise."""
    state = sandbox()
    async with connect(settings, state) as on:
        first = await draft(on)
        unnamed = json.dumps({"final_credits": "208", "expires_at": None, "request": {}})
        execute(
            settings.data_dir,
            "UPDATE generations SET draft = ? WHERE request_id = ?",
            unnamed,
            first["requestId"],
        )
        told = await on.call("check_status", requestId=first["requestId"])
        refused = await final(on, first)
    assert told["next"].endswith(
        "Tell the person to render the final on meigen.ai: MeiGen told no way to it here."
    )
    assert problems(refused) == [
        "- finalOf: MeiGen told no way to the final that this server knows; render the final on"
        " meigen.ai"
    ]
    assert charged(state) == 56
