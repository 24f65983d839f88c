"""Several clips, sounds, content images and variants, from the call to the charge."""

import json
from pathlib import Path
from typing import Any

import pytest
from media.test_local_clips import SECRET, encoded, tagged, wav
from service.test_references import problems, sent, uploads
from support.in_memory import MODES, Mode, connect, make_settings
from support.ledger_file import execute

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.sandbox.models import Era
from meigen_mcp.sandbox.state import Options
from meigen_mcp.settings import Settings

PICTURE = "https://images.meigen.ai/a.png"
SOUND = "https://images.meigen.ai/a.wav"


def sandbox(era: Era = "2026-11") -> Emulator:
    """Return a sandbox of one generation of the API."""
    return Emulator(Options(speed=0, rate_limit=1000, credits=10_000, seed=1, era=era))


async def film(on: Any, model_id: str = "seedance-2-5", **arguments: Any) -> dict[str, Any]:
    """Make a clip to its end."""
    call = {"prompt": "a cat", "modelId": model_id, "resolution": "480p", "tier": "fast"}
    made: dict[str, Any] = await on.call("generate_video", **{**call, "wait": 40, **arguments})
    return made


async def test_several_clips_are_measured_together_and_the_sum_is_right(settings: Settings) -> None:
    """The quote counts all of them; MeiGen, which measures them itself, is told no length."""
    state = sandbox()
    async with connect(settings, state) as on:
        first, second = await film(on, duration=4), await film(on, duration=7)
        uris = [f"{made['resourceUri']}/media/0" for made in (first, second)]
        call: dict[str, Any] = {"referenceVideos": uris, "referenceAudios": [SOUND], "duration": 6}
        call |= {"contentReferenceImages": [PICTURE], "aspectRatio": "adaptive"}
        quoted = await film(on, **call, dryRun=True)
        third = await film(on, **call)
        body = sent(on)[2]
    assert quoted["quote"] == {
        "credits": 170,
        "kind": "exact",
        "basis": "(11 s reference + 6 s) x fast 480p 10 credits/s = 170",
    }
    assert (third["status"], third["creditsUsed"], third["madeFrom"]) == ("completed", 170, uris)
    assert body["referenceVideos"] == [made["mediaUrls"][0] for made in (first, second)]
    assert (body["referenceAudios"], body["contentReferenceImages"]) == ([SOUND], [PICTURE])
    assert "referenceVideoDuration" not in body
    assert [a.charged() for a in state.accounts.values()] == [4 * 14 + 7 * 14 + 170]


async def test_a_clip_that_is_named_twice_is_one(settings: Settings) -> None:
    """The first of several may stand beside them, as in MeiGen's own client."""
    async with connect(settings, sandbox()) as on:
        made = await film(on, duration=4)
        uri = f"{made['resourceUri']}/media/0"
        again = await film(on, referenceVideo=uri, referenceVideos=[uri], dryRun=True)
        other = await film(
            on, referenceVideo=made["mediaUrls"][0], referenceVideos=[uri], dryRun=True
        )
    assert again["settings"]["referenceVideos"] == [uri]
    assert "referenceVideo" not in again["settings"]
    assert "a clip is named once" in other["error"]["message"]


async def test_what_is_told_to_write_keeps_the_limit_of_one_clip(settings: Settings) -> None:
    """Several together may have 45 s; that is no advice about one."""
    clip = "https://images.meigen.ai/a.mp4"
    async with connect(settings, sandbox()) as on:
        refused = await film(on, referenceVideo=clip, referenceVideoDuration=300)
    assert problems(refused) == [
        "- referenceVideoDuration: 300 must be a number of seconds from 2 to 30: one clip of"
        " seedance-2-5 has at most 30 s; use 30"
    ]


async def test_a_list_of_clips_with_a_null_is_refused_with_the_reason(settings: Settings) -> None:
    """Where no single clip is named: that was taken for the null."""
    async with connect(settings, sandbox()) as on:
        refused = await film(on, referenceVideos=[None])
    assert problems(refused)[0].startswith("- referenceVideos[0]: null must be an https URL")


async def test_each_of_several_clips_is_held_to_the_limits_of_one(settings: Settings) -> None:
    """Together they may be longer; none alone."""
    async with connect(settings, sandbox()) as on:
        long = await film(on, duration=20, modelId="seedance-2-5")
        short = await film(on, duration=4)
        uris = [f"{made['resourceUri']}/media/0" for made in (long, short)]
        refused = await film(on, "seedance-2-0", referenceVideos=uris)
    assert problems(refused) == [
        "- referenceVideoDuration: 24 must be a number of seconds from 2 to 15; use a clip of"
        " such a length",
        "- referenceVideos[0]: it has 20 s, and seedance-2-0 takes clips up to 15 s; use a shorter"
        " clip",
    ]


@pytest.mark.parametrize(("given", "sent_as"), [(4, 4), (4.4, 4), (3.6, 4)])
async def test_a_length_that_somebody_rounded_is_the_measured_one(
    settings: Settings, given: float, sent_as: float
) -> None:
    """What is sent, and what the quote rests on, is what the file has."""
    async with connect(settings, sandbox("2026-09")) as on:
        made = await film(on, "seedance-2-0", duration=4)
        uri = f"{made['resourceUri']}/media/0"
        await film(on, "seedance-2-0", referenceVideo=uri, referenceVideoDuration=given)
        assert sent(on)[1]["referenceVideoDuration"] == sent_as


async def test_a_length_that_is_not_that_of_the_clip_is_refused(settings: Settings) -> None:
    """The charge hangs on it, so nobody guesses which of the two is meant."""
    async with connect(settings, sandbox("2026-09")) as on:
        made = await film(on, "seedance-2-0", duration=4)
        uri = f"{made['resourceUri']}/media/0"
        refused = await film(on, "seedance-2-0", referenceVideo=uri, referenceVideoDuration=9)
        assert len(sent(on)) == 1
    assert problems(refused) == [
        "- referenceVideoDuration: 9 s were given, and the clip has 4 s; use 4, or leave it out: it"
        " is measured"
    ]


async def test_a_variant_counts_in_the_price(settings: Settings) -> None:
    """Named or left out, the quote is what is charged."""
    state = sandbox()
    async with connect(settings, state) as on:
        call = {"prompt": "a cat", "modelId": "gpt-image-25", "quality": "ultra", "wait": 40}
        usual = await on.call("generate_image", **call)
        other = await on.call("generate_image", **call, modelVariant="sunburst")
    assert [made["quote"]["credits"] for made in (usual, other)] == [30, 45]
    assert [a.charged() for a in state.accounts.values()] == [75]


async def test_against_a_service_of_may_nothing_new_is_sent(tmp_path: Path) -> None:
    """Each is refused by name, with the reason; the same call without it runs."""
    state = sandbox("2026-05")
    async with connect(make_settings(tmp_path), state) as on:
        refused = await film(
            on,
            "seedance-2-0",
            referenceVideos=["https://images.meigen.ai/a.mp4"],
            referenceAudios=[SOUND],
            contentReferenceImages=[PICTURE],
            modelVariant="sunburst",
            draft=True,
        )
        made = await film(on, "seedance-2-0", duration=4)
        assert len(state.posts) == 1
    why = "MeiGen's list does not announce it for seedance-2-0"
    assert problems(refused) == [
        f"- referenceVideos: {why}; give the one clip that it takes as referenceVideo",
        f"- referenceAudios: {why}; leave it out",
        f"- contentReferenceImages: {why}; leave it out",
        f"- modelVariant: {why}; leave it out",
        f"- draft: {why}; leave it out",
    ]
    assert (made["status"], made["creditsUsed"]) == ("completed", 48)


# --- what MeiGen says of a failure ----------------------------------------------------------------


async def _edit(on: Any, seconds: int, **arguments: Any) -> dict[str, Any]:
    """Edit a clip of 7 s with a duration."""
    made = await film(on, duration=7)
    call = {"prompt": "edit: a red hat", "aspectRatio": "adaptive", **arguments}
    return await film(on, referenceVideo=f"{made['resourceUri']}/media/0", duration=seconds, **call)


async def test_an_edit_keeps_the_length_of_its_clip(settings: Settings) -> None:
    """It is charged as what it is: the clip and the result, by the second."""
    async with connect(settings, sandbox()) as on:
        made = await _edit(on, 7)
    assert (made["status"], made["creditsUsed"]) == ("completed", 140)


async def test_a_detail_of_a_failure_is_told_as_what_to_do(settings: Settings) -> None:
    """In the record, in the text and in `next`; the credits came back."""
    state = sandbox()
    async with connect(settings, state) as on:
        failed = await _edit(on, 5)
        result = await on.client.call_tool("check_status", {"requestId": failed["requestId"]})
        record = await on.client.read_resource(failed["resourceUri"])
    assert failed["error"] == {
        "code": "invalid_request",
        "message": "MeiGen could not make it: The provider could not make this video (an edit keeps"
        " the length of its clip, and another was asked for). The credits were refunded.",
        "detail": "video_edit_duration",
        "charged": "refunded",
        "retryable": True,
    }
    assert failed["next"] == (
        "Ask the person whether to repeat it with duration 7, in whole seconds, and aspectRatio"
        " adaptive; it is a new generation with a price of its own."
    )
    text = result.content[0].text  # type: ignore[union-attr]  # it is text
    assert "invalid_request (video_edit_duration): MeiGen could not make it" in text
    assert '"detail": "video_edit_duration"' in record.contents[0].text  # type: ignore[union-attr]  # it is text
    assert [a.charged() - a.refunded(9e9) for a in state.accounts.values()] == [98]


async def test_a_frame_rate_that_is_not_taken_is_told(settings: Settings) -> None:
    """Another length or ratio would not help."""
    async with connect(settings, sandbox()) as on:
        failed = await _edit(on, 7, prompt="sandbox:frame-rate")
    assert failed["error"]["detail"] == "reference_video_frame_rate"
    assert failed["next"].startswith("Ask the person for the clip at another frame rate")


async def test_an_edit_demands_its_ratio(settings: Settings) -> None:
    """MeiGen refuses it, and charges nothing."""
    async with connect(settings, sandbox()) as on:
        failed = await _edit(on, 7, aspectRatio="16:9")
    assert (failed["status"], failed["error"]["charged"]) == ("failed", "no")


# --- clips and sounds of this computer ------------------------------------------------------------


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a folder that references may come from, with a clip of 3 s and a sound of 2 s."""
    folder = tmp_path / "own"
    folder.mkdir()
    (folder / "beach.mp4").write_bytes(tagged(encoded(tmp_path / "made"), "mp4"))
    (folder / "sea.wav").write_bytes(wav(2))
    return folder


@pytest.fixture
def configured(tmp_path: Path, own: Path) -> Settings:
    """Return the settings of a server that may read that folder."""
    return make_settings(tmp_path, MEIGEN_REFERENCE_DIRS=str(own))


@pytest.mark.parametrize("mode", MODES)
async def test_a_local_clip_and_sound_are_measured_uploaded_and_told(
    mode: Mode, configured: Settings, own: Path
) -> None:
    """By the documented route, with the token, once in seven days; the price counts its length."""
    state = sandbox()
    call: dict[str, Any] = {
        "referenceVideo": str(own / "beach.mp4"),
        "referenceAudios": [(own / "sea.wav").as_uri()],
    }
    async with connect(configured, state, mode) as on:
        quoted = await film(on, **call, duration=4, dryRun=True)
        assert uploads(on) == []
        made = await film(on, **call, duration=4)
        again = await film(on, **call, duration=4)
        asked = [request for request in uploads(on) if request.method == "POST"]
        bodies = sent(on)
    assert quoted["quote"]["basis"] == "(3 s reference + 4 s) x fast 480p 10 credits/s = 70"
    assert [call["creditsUsed"] for call in (made, again)] == [70, 70]
    assert [(r.url.path, "authorization" in r.headers) for r in asked] == [
        ("/api/upload/reference-video", True)
    ] * 2
    told = sorted((json.loads(r.content) for r in asked), key=lambda body: body["kind"])
    assert [{**body, "size": body["size"] > 0} for body in told] == [
        {
            "modelId": "seedance-2-5",
            "kind": kind,
            "filename": name,
            "contentType": content_type,
            "size": True,
        }
        for kind, name, content_type in (
            ("audio", "reference.wav", "audio/wav"),
            ("video", "reference.mp4", "video/mp4"),
        )
    ]
    assert "copies of the local clips are public at MeiGen for seven days" in made["next"]
    assert "public" not in again["next"]
    assert bodies[0]["referenceVideo"] == bodies[1]["referenceVideo"]
    assert (bodies[0]["referenceVideoDuration"], SECRET in b"".join(kept(state))) == (3, False)
    assert made["settings"]["referenceVideo"].startswith((own / "beach.mp4").as_uri())


def kept(state: Emulator) -> list[bytes]:
    """Return what was uploaded."""
    return [upload.data or b"" for upload in state.uploads.values()]


async def test_a_copy_that_may_be_gone_is_uploaded_again(configured: Settings, own: Path) -> None:
    """The service removes what is seven days old."""
    async with connect(configured, sandbox()) as on:
        await film(on, referenceVideo=str(own / "beach.mp4"), duration=4)
        [(good_until, now)] = execute(
            configured.data_dir, "SELECT good_until, unixepoch() FROM uploads"
        )
        execute(configured.data_dir, "UPDATE uploads SET good_until = 1")
        await film(on, referenceVideo=str(own / "beach.mp4"), duration=4)
        assert [request.method for request in uploads(on)] == ["POST", "PUT"] * 2
    assert 6.8 * 86_400 < good_until - now < 7 * 86_400


@pytest.mark.parametrize(
    "extra",
    [{"dryRun": True}, {"maxCredits": 0}, {"tier": "mini"}, {"duration": 99}],
    ids=["dry run", "over its ceiling", "a wrong tier", "a wrong length"],
)
async def test_nothing_is_uploaded_for_a_call_that_is_not_made(
    configured: Settings, own: Path, extra: dict[str, Any]
) -> None:
    """Before the yes nothing leaves this computer."""
    async with connect(configured, sandbox()) as on:
        await film(on, referenceVideo=str(own / "beach.mp4"), **extra)
        assert (uploads(on), sent(on)) == ([], [])


async def test_a_question_comes_before_the_upload(tmp_path: Path, own: Path) -> None:
    """An offer that nobody has answered has sent nothing."""
    asking = make_settings(tmp_path, MEIGEN_REFERENCE_DIRS=str(own), MEIGEN_CONFIRM_ABOVE="10")
    async with connect(asking, sandbox()) as on:
        offered = await film(on, referenceVideo=str(own / "beach.mp4"), duration=4)
        assert (offered["status"], uploads(on)) == ("needs_approval", [])


async def test_against_a_service_of_may_no_local_clip_leaves(
    configured: Settings, own: Path
) -> None:
    """Its list announces no upload, and the refusal says so."""
    async with connect(configured, sandbox("2026-05")) as on:
        refused = await film(on, "seedance-2-0", referenceVideo=str(own / "beach.mp4"))
        assert (uploads(on), sent(on)) == ([], [])
    assert "MeiGen's list announces no upload of local clips or sounds" in problems(refused)[0]


async def test_an_account_without_credits_is_told_that_nothing_was_charged(
    configured: Settings, own: Path
) -> None:
    """An upload wants a purchased balance above 0."""
    state = Emulator(Options(speed=0, credits=0, seed=1, era="2026-11"))
    async with connect(configured, state) as on:
        refused = await film(on, referenceVideo=str(own / "beach.mp4"))
    assert (refused["status"], refused["error"]["code"]) == ("refused", "upload_failed")
    assert "Nothing was generated or charged" in refused["error"]["message"]
