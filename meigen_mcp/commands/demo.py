"""The main job, end to end, on the embedded sandbox: what a chat client does, without a chat.

A real server process is started over stdio and driven with the SDK's client through the six
examples of the official page, one refusal and one failed generation.
"""

import json
import os
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import anyio
import click
from mcp.client.client import Client
from mcp.client.stdio import StdioServerParameters, stdio_client

from meigen_mcp.app import SANDBOX_TOKEN
from meigen_mcp.commands.output import StatusLine, say
from meigen_mcp.sandbox.running import run_sandbox

REFERENCE = "https://example.com/reference.png"
LONGEST_RUN = 900.0
"""Seconds after which something must hang: a run takes about ten, on a busy machine a minute."""
LONGEST_SAVING = 180.0
"""Seconds from a result to its files, after which it must hang: saving takes less than one."""
PAUSE = 0.2
SPEED = 0.015
"""Factor on typical times: a video takes a few seconds, long enough to see progress."""


class DemoFailed(Exception):
    """An example did not come out as it should."""


@dataclass(frozen=True, slots=True)
class Example:
    """One call of the demo and how it should end.

    Attributes:
        name: as shown.
        about: what it shows, in a few words.
        arguments: of the tool; `$video` stands for the URL of the last video.
        status: the status it should end with.
        media: how many media it should give.
    """

    name: str
    about: str
    tool: str
    arguments: Mapping[str, Any]
    status: str = "completed"
    media: int = 1


EXAMPLES = (
    Example(
        "basic",
        "an image with the default model",
        "generate_image",
        {"prompt": "A lighthouse at dusk, oil on canvas"},
    ),
    Example(
        "reference",
        "an image after a reference image",
        "generate_image",
        {
            "prompt": "The same lighthouse in winter",
            "modelId": "nanobanana-2",
            "aspectRatio": "16:9",
            "referenceImages": [REFERENCE],
        },
    ),
    Example(
        "midjourney",
        "four candidates in the style of a reference",
        "generate_image",
        {
            "prompt": "A fox in tall grass",
            "modelId": "midjourney-v8.1",
            "resolution": "1K",
            "aspectRatio": "3:4",
            "referenceImages": [REFERENCE],
            "referenceType": "style",
            "niji7Options": {"stylize": 250, "chaos": 10},
        },
        media=4,
    ),
    Example(
        "video",
        "a video from text",
        "generate_video",
        {
            "prompt": "Waves break on a black beach",
            "modelId": "seedance-2-0",
            "aspectRatio": "16:9",
            "resolution": "720p",
            "duration": 5,
        },
    ),
    Example(
        "continuation",
        "the same video continued",
        "generate_video",
        {
            "prompt": "The camera rises above the clouds",
            "modelId": "seedance-2-0",
            "resolution": "720p",
            "duration": 5,
            "referenceVideo": "$video",
            "referenceVideoDuration": 5,
        },
    ),
    Example(
        "auto-ratio",
        "the model picks the aspect ratio",
        "generate_image",
        {"prompt": "A market street in the rain", "modelId": "seedream-4.5", "aspectRatio": "auto"},
    ),
    Example(
        "refusal",
        "every problem at once, nothing spent",
        "generate_video",
        {
            "prompt": " ",
            "modelId": "veo-3.1",
            "duration": 5,
            "quality": "high",
            "referenceVideo": "http://localhost/clip.mp4",
        },
        status="refused",
        media=0,
    ),
    Example(
        "failure",
        "a generation fails and is refunded",
        "generate_image",
        {"prompt": "sandbox:fail", "modelId": "z-image-turbo"},
        status="failed",
        media=0,
    ),
)


async def run(output: Path | None, as_json: bool) -> str | None:
    """Run the demo.

    Args:
        output: where the media go; by default a new folder among the temporary files.
        as_json: print one JSON object a line instead of text.

    Returns:
        None, or the sentence that says what went wrong.
    """
    shown = _Json() if as_json else _Text()
    try:
        folder = output or Path(tempfile.mkdtemp(prefix="meigen-demo-"))
    except OSError:
        return "there is no folder for temporary files; set TMPDIR to one that can be written"
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with (
            tempfile.TemporaryFile(dir=folder),  # it can be written
            tempfile.TemporaryDirectory(prefix="meigen-demo-data-") as data,
        ):
            with anyio.fail_after(LONGEST_RUN):
                async with run_sandbox(speed=SPEED) as origin:
                    await _run(origin, Path(data), folder.absolute(), shown)
    except DemoFailed as failed:
        return str(failed)
    except TimeoutError:
        return f"it did not end within {LONGEST_RUN:.0f} s"
    except OSError:
        return f"the folder {folder} or a temporary file cannot be written"
    except Exception as error:  # noqa: BLE001  # a person reads one sentence
        found = _first(error)
        return str(found) if isinstance(found, DemoFailed) else f"unexpected {type(found).__name__}"
    return None


def _first(error: BaseException) -> BaseException:
    """Return what is inside nested groups of errors."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _run(origin: str, data: Path, folder: Path, shown: "_Text | _Json") -> None:
    environment = {name: value for name, value in os.environ.items() if "MEIGEN" not in name}
    environment |= {
        "MEIGEN_API_TOKEN": SANDBOX_TOKEN,
        "MEIGEN_BASE_URL": origin,
        "MEIGEN_UPLOAD_URL": origin,
        "MEIGEN_DATA_DIR": str(data),
        "MEIGEN_OUTPUT_DIR": str(folder),
        "MEIGEN_POLL_INTERVAL": "0.2",
    }
    server = StdioServerParameters(
        command=sys.executable, args=["-P", "-m", "meigen_mcp", "serve"], env=environment
    )
    async with Client(stdio_client(server)) as client:
        await run_examples(client, folder, shown)


async def run_examples(client: Client, folder: Path, shown: "_Text | _Json") -> None:
    """Run the examples one after the other, however long the machine takes for them.

    Args:
        client: of a server on the sandbox that saves media.
        folder: where it saves them.
        shown: what shows them.

    Raises:
        DemoFailed: one did not come out as it should.
    """
    await client.list_tools()
    shown.start(folder)
    last: dict[str, Any] = {}
    video = ""
    for example in EXAMPLES:
        call = {k: video if v == "$video" else v for k, v in example.arguments.items()}
        last = await _example(client, example, call, shown, last)
        if example.name == "video":
            video = last["mediaUrls"][0]
    listing = (await client.call_tool("check_status", {"limit": 50})).structured_content or {}
    shown.end(folder, listing)


async def _example(
    client: Client,
    example: Example,
    call: dict[str, Any],
    shown: "_Text | _Json",
    before: Mapping[str, Any],
) -> dict[str, Any]:
    """Run one example as a chat client would, and hold its end against what it should be."""

    async def progress(done: float, total: float | None, words: str | None) -> None:
        shown.progress(example, done, total, words)

    shown.quoted(example, await _quote(client, example, call), before)
    fields = await _call_tool(client, example.tool, call, progress)
    if fields["status"] == "needs_approval":
        # What a client without forms does once its person said yes.
        ceiling = fields["quote"]["credits"]
        approved = {**call, "requestId": fields["requestId"], "maxCredits": ceiling}
        fields = await _call_tool(client, example.tool, approved, progress)
    while fields["status"] in ("queued", "submitting", "processing"):
        name = "generationId" if "generationId" in fields else "requestId"
        look = {name: fields[name], "wait": 25}
        fields = await _call_tool(client, "check_status", look, progress)
    if fields["status"] != example.status or len(fields.get("mediaUrls", ())) != example.media:
        reason = fields.get("error", {}).get("message", f"it ended as {fields['status']}")
        raise DemoFailed(f"example {example.name}: {reason}")
    if example.media:
        fields = await _wait_until_saved(client, example, fields)
        await _read_back(client, example, fields)
    shown.done(example, fields)
    return fields if "credits" in fields else {**fields, "credits": before.get("credits", {})}


async def _quote(client: Client, example: Example, call: dict[str, Any]) -> dict[str, Any]:
    """Ask for a quote until the server has read the sandbox's list, which has every price."""
    while True:
        fields = await _call_tool(client, example.tool, {**call, "dryRun": True})
        if fields.get("quote", {}).get("kind") != "unknown":
            return fields
        await anyio.sleep(PAUSE)


async def _call_tool(
    client: Client, tool: str, arguments: dict[str, Any], progress: Any = None
) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments, progress_callback=progress)
    if result.structured_content is None:
        raise DemoFailed(f"{tool} answered without structured content")
    return dict(result.structured_content)


async def _wait_until_saved(
    client: Client, example: Example, fields: dict[str, Any]
) -> dict[str, Any]:
    """Look until every medium has its file: an answer does not wait for that on a busy machine."""
    with anyio.move_on_after(LONGEST_SAVING):
        while len(fields.get("files", ())) < example.media:
            await anyio.sleep(PAUSE)
            look = {"generationId": fields["generationId"]}
            fields = await _call_tool(client, "check_status", look)
        return fields
    raise DemoFailed(f"example {example.name}: its media were not saved")


async def _read_back(client: Client, example: Example, fields: Mapping[str, Any]) -> None:
    """Hold the record and the media that the resources give against the answer."""
    uri = fields["resourceUri"]
    record = (await client.read_resource(uri)).contents[0]
    urls = json.loads(getattr(record, "text", "{}")).get("mediaUrls")
    if urls != fields["mediaUrls"]:
        raise DemoFailed(f"example {example.name}: the record does not have the final URLs")
    for index in range(example.media):
        medium = (await client.read_resource(f"{uri}/media/{index}")).contents[0]
        if not getattr(medium, "blob", ""):
            raise DemoFailed(f"example {example.name}: medium {index} cannot be read")


class _Text:
    """Shows the demo to a person: one line an example, with its status word."""

    def __init__(self) -> None:
        self._status = StatusLine(err=False)

    def start(self, folder: Path) -> None:
        say("MeiGen demo on the embedded sandbox: nothing here is real or charged.")
        say(f"Media go to {folder}")

    def quoted(
        self, example: Example, fields: Mapping[str, Any], before: Mapping[str, Any]
    ) -> None:
        quote = fields.get("quote", {})
        price = f", quote {quote.get('credits', 'unknown')} credits" if quote else ""
        have = before.get("credits", {}).get("purchased")
        balance = "" if have is None else f", {have} credits before"
        name = click.style(example.name, bold=True)
        click.echo(f"{name}: {example.about}{price}{balance}")

    def progress(
        self, example: Example, done: float, total: float | None, words: str | None
    ) -> None:
        del done, total
        self._status.show(f"{example.name}: {words}")

    def done(self, example: Example, fields: Mapping[str, Any]) -> None:
        self._status.clear()
        for url in fields.get("mediaUrls", ()):
            say(f"  {url}")
        for name in fields.get("files", ()):
            say(f"  saved {name}")
        if "error" in fields:
            for line in fields["error"]["message"].splitlines():
                say(f"  {line}")
        say(f"  {_summary(example, fields)}")

    def end(self, folder: Path, listing: Mapping[str, Any]) -> None:
        say(
            f"All {len(EXAMPLES)} examples ended as they should;"
            f" {listing.get('spentToday', 0)} sandbox credits spent. Media: {folder}"
            " (the links ended with the demo, the files stay)",
        )


def _summary(example: Example, fields: Mapping[str, Any]) -> str:
    facts = []
    if "elapsedSeconds" in fields:
        facts.append(
            f"{fields['elapsedSeconds']} s of about {fields['expectedSeconds']} s expected"
        )
    error = fields.get("error")
    if "creditsUsed" in fields:
        refunded = error is not None and error["charged"] == "refunded"
        used = f"{fields['creditsUsed']} credits charged"
        facts.append("its credits charged and refunded" if refunded else used)
    elif error:
        facts.append({"no": "nothing charged"}.get(error["charged"], "charge not known"))
    if "purchased" in fields.get("credits", {}):
        facts.append(f"{fields['credits']['purchased']} credits after the charge")
    return f"{example.name} {fields['status']}: {', '.join(facts)}"


class _Json:
    """Prints one JSON object a line: the example's name and the generation's fields."""

    def start(self, folder: Path) -> None:
        """Say nothing: every line is an example."""

    def quoted(
        self, example: Example, fields: Mapping[str, Any], before: Mapping[str, Any]
    ) -> None:
        """Say nothing: the quote is among the fields."""

    def progress(
        self, example: Example, done: float, total: float | None, words: str | None
    ) -> None:
        """Say nothing."""

    def done(self, example: Example, fields: Mapping[str, Any]) -> None:
        say(json.dumps({"example": example.name, **fields}, ensure_ascii=False))

    def end(self, folder: Path, listing: Mapping[str, Any]) -> None:
        """Say nothing."""
