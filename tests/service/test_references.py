"""What references stand for: earlier results, local files, URLs; through the whole server."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest
from PIL import Image
from support.in_memory import MODES, ORIGIN, Connected, Mode, connect, make_settings
from support.ledger_file import execute

from meigen_mcp.sandbox.emulator import Emulator
from meigen_mcp.settings import Settings

NOTHING = "; nothing was sent or charged:\n"


def picture(path: Path, colour: str = "red") -> Path:
    """Save a small picture."""
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (64, 48), colour).save(path)
    return path


@pytest.fixture
def own(tmp_path: Path) -> Path:
    """Return a picture in a folder that references may come from."""
    return picture(tmp_path / "references" / "cat.png")


@pytest.fixture
def configured(tmp_path: Path, own: Path) -> Settings:
    """Return the settings of a server that may read that folder."""
    return make_settings(tmp_path, MEIGEN_REFERENCE_DIRS=str(own.parent))


def sent(on: Connected) -> list[dict[str, Any]]:
    """Return the bodies of the submissions."""
    return [
        json.loads(request.content)
        for request in on.transport.requests
        if request.url.path == "/api/generate/v2"
    ]


def uploads(on: Connected) -> list[httpx.Request]:
    """Return the requests to the upload gateway."""
    return [request for request in on.transport.requests if "/upload" in request.url.path]


async def image(on: Connected, prompt: str = "a cat", **arguments: Any) -> dict[str, Any]:
    """Make an image."""
    return await on.call("generate_image", prompt=prompt, modelId="nanobanana-2", **arguments)


async def video(on: Connected, **arguments: Any) -> dict[str, Any]:
    """Make a video to its end."""
    call = {"prompt": "a cat", "modelId": "seedance-2-0", "duration": 4, "tier": "fast"}
    return await on.call("generate_video", **call, resolution="480p", wait=40, **arguments)


def problems(answer: dict[str, Any]) -> list[str]:
    """Return the problems of a refused call."""
    assert answer["status"] == "refused", answer
    lines: list[str] = answer["error"]["message"].partition(NOTHING)[2].splitlines()
    return lines


# --- local files --------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_a_local_picture_is_uploaded_and_the_person_is_told(
    mode: Mode, configured: Settings, emulator: Emulator, own: Path
) -> None:
    """MeiGen gets a public URL; the record keeps the path."""
    async with connect(configured, emulator, mode) as on:
        answer = await image(on, referenceImages=[str(own)])
        [url] = sent(on)[0]["referenceImages"]
    assert url.startswith(f"{ORIGIN}/media/")
    assert answer["settings"]["referenceImages"][0].partition("#sha256=")[0] == own.as_uri()
    assert (
        "a copy of the local file is public at MeiGen's upload host for 24 hours"
        in (answer["next"])
    )


async def test_the_same_picture_is_uploaded_once(
    configured: Settings, emulator: Emulator, own: Path
) -> None:
    """By its bytes, whatever its name; and the person is told once."""
    other = own.with_name("again.png")
    other.write_bytes(own.read_bytes())
    async with connect(configured, emulator) as on:
        await image(on, referenceImages=[str(own)])
        again = await image(on, referenceImages=[other.as_uri()])
        await image(on, referenceImages=again["settings"]["referenceImages"])
        assert len({body["referenceImages"][0] for body in sent(on)}) == 1
        assert [request.method for request in uploads(on)] == ["POST", "PUT"]
    assert "public" not in again["next"]


async def test_a_copy_that_may_be_gone_is_uploaded_again(
    configured: Settings, emulator: Emulator, own: Path
) -> None:
    """The gateway removes what is a day old."""
    async with connect(configured, emulator) as on:
        await image(on, referenceImages=[str(own)])
        execute(configured.data_dir, "UPDATE uploads SET good_until = 1")
        await image(on, referenceImages=[str(own)])
        assert len(uploads(on)) == 4


@pytest.mark.parametrize(
    "extra",
    [{"dryRun": True}, {"maxCredits": 0}, {"resolution": "9K"}],
    ids=["dry run", "over its ceiling", "wrong"],
)
async def test_nothing_is_uploaded_for_a_call_that_is_not_sent(
    extra: dict[str, Any], configured: Settings, emulator: Emulator, own: Path
) -> None:
    """A copy is public, so it is made only when it is needed."""
    async with connect(configured, emulator) as on:
        await image(on, referenceImages=[str(own)], **extra)
        assert (uploads(on), sent(on)) == ([], [])


async def test_a_failed_upload_costs_nothing_and_says_so(
    configured: Settings, emulator: Emulator, own: Path
) -> None:
    """No record is made either: the same call goes on when the gateway is back."""
    async with connect(configured, emulator) as on:
        on.transport.refuses = "/upload"
        answer = await image(on, referenceImages=[str(own)])
        newest = await on.call("check_status")
        assert sent(on) == []
    assert (answer["status"], answer["error"]["charged"]) == ("refused", "no")
    assert newest["generations"] == []


async def test_all_problems_are_told_at_once(
    configured: Settings, emulator: Emulator, own: Path
) -> None:
    """Those of the files beside those of the rules."""
    outside = picture(own.parent.parent / "elsewhere" / "dog.png")
    async with connect(configured, emulator) as on:
        answer = await image(on, referenceImages=[str(own), str(outside)], resolution="9K")
    told = problems(answer)
    assert [line.split(":")[0] for line in told] == ["- resolution", "- referenceImages[1]"]
    assert str(own.parent) in told[1]


async def test_a_file_that_changed_is_another_call(
    configured: Settings, emulator: Emulator, own: Path
) -> None:
    """One requestId stands for the bytes, not for the name."""
    async with connect(configured, emulator) as on:
        first = await image(on, referenceImages=[str(own)])
        same = await image(on, referenceImages=[str(own)], requestId=first["requestId"])
        picture(own, "blue")
        other = await image(on, referenceImages=[str(own)], requestId=first["requestId"])
        assert len(sent(on)) == 1
    assert same["generationId"] == first["generationId"]
    assert other["error"]["code"] == "request_conflict"


async def test_a_server_that_names_no_paths_reads_none(
    tmp_path: Path, emulator: Emulator, own: Path
) -> None:
    """Whoever reaches it over the network has no files on its computer."""
    public = replace(make_settings(tmp_path), discreet=True, reference_dirs=(own.parent,))
    async with connect(public, emulator) as on:
        answer = await image(on, referenceImages=[str(own)])
    assert [line.split(":")[0] for line in problems(answer)] == ["- referenceImages[0]"]
    assert str(own.parent) not in json.dumps(answer).replace(str(own), "")


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "prompt", ['a note that says "file://x"', '"file://', "file:///etc/passwd", 'a \\ "file://\\"']
)
async def test_a_prompt_about_a_file_is_nobodys_file(
    prompt: str, mode: Mode, tmp_path: Path, emulator: Emulator
) -> None:
    """On a server that names no paths it is made, told and listed as it was written."""
    public = replace(make_settings(tmp_path), discreet=True)
    async with connect(public, emulator, mode) as on:
        made = await image(on, prompt=prompt)
        listed = await on.call("check_status")
        record = await on.client.read_resource(made["resourceUri"])
    assert (made["status"], made["prompt"]) == ("completed", prompt)
    assert [row["prompt"] for row in listed["generations"]] == [prompt]
    assert json.loads(record.contents[0].text)["prompt"] == prompt  # type: ignore[union-attr]  # it is text


async def test_a_file_that_another_server_was_given_is_not_named(
    tmp_path: Path, configured: Settings, emulator: Emulator, own: Path
) -> None:
    """Servers of one person share a ledger; only the one on their own computer names paths."""
    async with connect(configured, emulator) as on:
        made = await image(on, prompt='"file://x"', referenceImages=[str(own)])
    async with connect(replace(configured, discreet=True), emulator) as on:
        told = await on.call("check_status", requestId=made["requestId"])
    assert made["settings"]["referenceImages"][0].startswith(own.as_uri())
    assert (told["prompt"], told["settings"]["referenceImages"]) == ('"file://x"', ["a local file"])
    assert str(tmp_path) not in str(told)


# --- earlier results ----------------------------------------------------------------------------


@pytest.mark.parametrize("mode", MODES)
async def test_an_earlier_result_is_a_reference(
    mode: Mode, settings: Settings, emulator: Emulator
) -> None:
    """MeiGen gets its URL; the record says what it was made from."""
    async with connect(settings, emulator, mode) as on:
        first = await image(on)
        uri = f"{first['resourceUri']}/media/0"
        second = await image(on, referenceImages=[uri])
        listed = await on.call("check_status")
        assert sent(on)[1]["referenceImages"] == first["mediaUrls"]
    assert (second["settings"]["referenceImages"], second["madeFrom"]) == ([uri], [uri])
    assert [row.get("madeFrom") for row in listed["generations"]] == [[uri], None]


async def test_the_url_of_an_earlier_result_is_recognised(
    settings: Settings, emulator: Emulator
) -> None:
    """People and models pass URLs on."""
    async with connect(settings, emulator) as on:
        first = await image(on)
        second = await image(on, referenceImages=first["mediaUrls"])
    assert second["madeFrom"] == [f"{first['resourceUri']}/media/0"]


async def test_a_clip_of_our_own_is_measured_and_continued(
    settings: Settings, emulator: Emulator
) -> None:
    """Its length is read in the saved file, and counts in the quote."""
    async with connect(settings, emulator) as on:
        first = await video(on)
        second = await video(on, referenceVideo=f"{first['resourceUri']}/media/0")
        body = sent(on)[1]
    assert (body["referenceVideo"], body["referenceVideoDuration"]) == (first["mediaUrls"][0], 4)
    assert second["status"] == "completed"


async def test_a_clip_that_is_not_saved_must_be_measured_by_the_caller(
    tmp_path: Path, emulator: Emulator
) -> None:
    """MeiGen would count it as 0 seconds."""
    async with connect(make_settings(tmp_path, MEIGEN_OUTPUT_DIR="off"), emulator) as on:
        first = await video(on)
        uri = f"{first['resourceUri']}/media/0"
        refused = await video(on, referenceVideo=uri)
        made = await video(on, referenceVideo=uri, referenceVideoDuration=4)
    assert problems(refused) == [
        "- referenceVideoDuration: missing: no saved file of that result tells its length; give"
        " the clip's length in seconds"
    ]
    assert made["status"] == "completed"


async def test_a_result_that_cannot_be_a_reference_is_refused(
    settings: Settings, emulator: Emulator
) -> None:
    """Unknown, unfinished, out of range, or of the other kind."""
    async with connect(settings, emulator) as on:
        made = await image(on)
        stalled = await on.call(
            "generate_image", prompt="sandbox:stall", modelId="nanobanana-2", wait=0
        )
        place = [
            "meigen://generations/nothing/media/0",
            f"meigen://generations/{stalled['requestId']}/media/0",
            f"{made['resourceUri']}/media/7",
        ]
        refused = await image(on, referenceImages=place)
        clip = await video(on, referenceVideo=f"{made['resourceUri']}/media/0")
    assert problems(refused) == [
        '- referenceImages[0]: "meigen://generations/nothing/media/0" names no generation of this'
        " account; see the newest ones, with check_status",
        f'- referenceImages[1]: "{place[1][:55]}..." is processing; wait until it is completed',
        f'- referenceImages[2]: "{place[2][:55]}..." does not exist; its media count 0 to 0',
    ]
    assert problems(clip)[0].startswith("- referenceVideo: ")
