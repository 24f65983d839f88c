"""What a saved file says about itself: its name is tested with saving, its text here."""

import json
import struct
import zlib
from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from io import BytesIO
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from PIL import Image

from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.generation import Generation
from meigen_mcp.media.marks import inscribe
from meigen_mcp.media.metadata import facts, sidecar

JOB = Generation(
    request_id="0f8fad5b-d9cb-469f-a165-70867728950e",
    account="",
    tool="generate_image",
    media_type="image",
    model_id="midjourney-v7",
    prompt="Ein Fuchs im Schnee, 雪の狐 🦊\nsecond line",
    arguments={
        "prompt": "Ein Fuchs im Schnee, 雪の狐 🦊\nsecond line",
        "modelId": "midjourney-v7",
        "aspectRatio": "16:9",
        "referenceImages": ["https://a.example/x.png"],
        "niji7Options": {"iw": 1.5},
    },
    body="{}",
    quote=Quote(None, "unknown", ""),
    created_at=datetime(2026, 3, 14, 15, 9, 26, tzinfo=UTC).timestamp(),
    expected_seconds=5,
    status="completed",
    generation_id="gen-1",
    credits_used=Decimal(15),
    media_urls=("https://images.meigen.ai/1.png", "https://images.meigen.ai/2.png"),
    files=(None, None),
)
KNOWN = {
    "prompt": JOB.prompt,
    "modelId": "midjourney-v7",
    "settings": {
        "aspectRatio": "16:9",
        "referenceImages": ["https://a.example/x.png"],
        "niji7Options": {"iw": 1.5},
    },
    "generationId": "gen-1",
    "requestId": JOB.request_id,
    "mediaUrl": "https://images.meigen.ai/2.png",
    "index": 1,
    "createdAt": "2026-03-14T15:09:26Z",
    "creditsUsed": 15,
    "software": "meigen-mcp",
    "digitalSourceType": "compositeWithTrainedAlgorithmicMedia",
}


def png(mode: str = "RGB", **options: Any) -> bytes:
    """Return a PNG with something in it."""
    out = BytesIO()
    Image.linear_gradient("L").convert(mode).save(out, "PNG", **options)
    return out.getvalue()


def chunk(kind: bytes, data: bytes) -> bytes:
    """Return a PNG chunk."""
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def inscribed(data: bytes, known: Any = KNOWN) -> bytes | None:
    """Return a PNG with text, or None for one that is left as it is."""
    target = BytesIO()
    if inscribe(BytesIO(data), target, ".png", known) == "marked":
        return target.getvalue()
    assert target.getvalue() == b""
    return None


def texts(data: bytes) -> dict[str, str]:
    """Return the texts of a PNG as Pillow reads them."""
    with Image.open(BytesIO(data)) as image:
        image.verify()
    with Image.open(BytesIO(data)) as image:
        image.load()
        return {name: str(text) for name, text in image.text.items()}  # type: ignore[attr-defined]


# --- facts ------------------------------------------------------------------------------------


def test_all_that_made_a_medium_is_known() -> None:
    """By the API's names."""
    assert facts(JOB, 1) == KNOWN


def test_what_has_no_value_is_left_out() -> None:
    """An old API gives no charge, and half a credit stays half."""
    bare = facts(replace(JOB, credits_used=None, generation_id=None), 1)
    missing = {"creditsUsed", "generationId"}
    assert bare == {name: KNOWN[name] for name in KNOWN if name not in missing}
    assert facts(replace(JOB, credits_used=Decimal("7.5")), 1)["creditsUsed"] == 7.5


def test_a_local_reference_is_named_without_its_folder() -> None:
    """A file that is sent to somebody does not tell the names of the person's folders."""
    images = ["file:///home/ada/Secret%20plans/fox.png#sha256=00", "https://a.example/file:/x.png"]
    job = replace(JOB, arguments={"referenceImages": images})
    assert facts(job, 0)["settings"] == {
        "referenceImages": ["fox.png#sha256=00", "https://a.example/file:/x.png"]
    }


def test_a_text_about_a_file_stays_as_it_is() -> None:
    """Only a reference is a file; what somebody wrote may hold quotes and URLs of any kind."""
    options = {"sref": 'a "file:x/y" style'}
    job = replace(JOB, prompt='"file://x"', arguments={"niji7Options": options})
    assert (facts(job, 0)["prompt"], facts(job, 0)["settings"]) == (
        '"file://x"',
        {"niji7Options": options},
    )


def test_a_sidecar_is_json_that_people_can_read() -> None:
    """UTF-8 and indented; half a character does not spoil it."""
    text = sidecar(KNOWN).decode()
    assert json.loads(text) == KNOWN
    assert text.startswith('{\n  "prompt": "Ein Fuchs im Schnee, 雪の狐 🦊\\nsecond line",\n')
    assert json.loads(sidecar({"prompt": "half \ud83d"})) == {"prompt": "half ?"}


# --- PNG --------------------------------------------------------------------------------------


def test_a_png_holds_everything_as_text() -> None:
    """Structures as JSON; the model and the prompt by the names that other programs look for."""
    written = inscribed(png())
    assert written is not None
    found = texts(written)
    assert found.pop("XML:com.adobe.xmp").count("DigitalSourceType>") == 2
    assert found == {
        "parameters": f"{JOB.prompt}\nSteps: unknown, Sampler: unknown, CFG scale: unknown,"
        " Seed: unknown, Size: 256x256, Model: midjourney-v7, aspectRatio: 16:9,"
        " Version: meigen-mcp",
        "Description": JOB.prompt,
        "model": "midjourney-v7",
        "settings": json.dumps(KNOWN["settings"]),
        "generationId": "gen-1",
        "requestId": JOB.request_id,
        "mediaUrl": "https://images.meigen.ai/2.png",
        "index": "1",
        "createdAt": "2026-03-14T15:09:26Z",
        "creditsUsed": "15",
        "software": "meigen-mcp",
        "digitalSourceType": "compositeWithTrainedAlgorithmicMedia",
    }


@pytest.mark.parametrize(
    ("prompt", "kind"),
    [
        ("A fox\nin snow", b"tEXt"),
        ("Füchse, 50 £", b"tEXt"),
        ("雪の狐", b"iTXt"),
        ("a\tb", b"iTXt"),
    ],
)
def test_a_text_is_plain_where_it_is_plain_latin(prompt: str, kind: bytes) -> None:
    """Some readers never show the other form."""
    written = inscribed(png(), {**KNOWN, "prompt": prompt})
    assert written is not None
    assert written[written.index(b"Description\0") - 4 :][:4] == kind
    assert texts(written)["Description"] == prompt


@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P", "1", "I;16"])
def test_every_other_byte_of_a_png_stays_as_it_is(mode: str) -> None:
    """The header first, then the text, then all the rest."""
    data = png(mode, compress_level=0)
    written = inscribed(data)
    assert written is not None
    assert (written[:33], written[-len(data) + 33 :]) == (data[:33], data[33:])
    with Image.open(BytesIO(data)) as before, Image.open(BytesIO(written)) as after:
        assert before.tobytes() == after.tobytes()


@given(prompt=st.text())
@example(prompt="half \ud83d")
@example(prompt="a\0b")
def test_any_prompt_can_be_read_back(prompt: str) -> None:
    """But for what PNG text cannot hold: NUL, and half a character."""
    written = inscribed(png(), {**KNOWN, "prompt": prompt})
    assert written is not None
    expected = prompt.replace("\0", " ").encode(errors="replace").decode()
    assert texts(written)["Description"] == expected


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\x89PNG\r\n\x1a\n",
        png()[:32],
        png()[:8] + chunk(b"CgBI", bytes(4)) + png()[8:],
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(14)) + png()[33:],
        png()[:33] + chunk(b"tEXt", b"a\0b") + chunk(b"caBX", b"signed") + png()[33:],
        png()[:33] + chunk(b"tEXt", b"a\0b") * 1001 + png()[33:],
    ],
    ids=["empty", "signature", "short", "Apple's", "long header", "signed", "endless chunks"],
)
def test_an_odd_or_signed_png_is_left_as_it_is(data: bytes) -> None:
    """Content credentials (C2PA) would be void with one more byte in the file."""
    assert inscribed(data) is None


def test_a_cut_png_gets_its_text_too() -> None:
    """It is no less worth it; a chunk that claims more than there is ends the look."""
    data = png()[:33] + struct.pack(">I4s", 2**31, b"zzzz")
    written = inscribed(data)
    assert written is not None
    assert written.endswith(data[33:])
