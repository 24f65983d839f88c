"""Hostile replies of a media host: what becomes of each, byte by byte over a real socket.

`ATTACKS` is the table of the docs: name and end of each.
"""

import gzip
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import httpx
import pytest
from anyio.abc import SocketAttribute, SocketStream
from media.test_previews import CLIP, HOSTILE, HOSTILE_CLIPS, box, inside
from media.test_store import JPEG, PNG, picture
from support.in_memory import ORIGIN, make_settings
from support.workbench import Fault, Workbench, workbench

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue.arguments import Tool
from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.errors import ApiError
from meigen_mcp.generation import Generation
from meigen_mcp.media import fetching
from meigen_mcp.media.reasons import BREAKS_OFF
from meigen_mcp.media.store import Media, Saved
from meigen_mcp.poller.poller import Poller

Script = Callable[[SocketStream], Awaitable[None]]
LARGEST = 200_000

NOT_IMAGE = "refused: The result is not image data."
NOT_VIDEO = "refused: The result is not video data."
LOST = "refused: The connection to MeiGen was lost."
NOT_PUBLIC = "refused: The result is at an address that is not public."
TOO_LARGE = "refused: The result is larger than it may be."
PACKED = "refused: The result is packed as br, which was not asked for."
CUT = "tried again, then kept and called incomplete"
LATE = "refused: The result did not arrive in time."
LOOP = "refused: The result redirects too often."
SHOWN = "saved, with a preview"
KEPT = "saved as it came, without a preview"
LATER = "refused at first, then saved, with a preview"


def reply(
    body: bytes = b"", status: str = "200 OK", length: int | None = None, **headers: str
) -> bytes:
    """Return the bytes of an HTTP reply; names of headers are written with underscores."""
    named = {"content_type": "image/png", **headers}
    if "transfer_encoding" not in headers:
        named["content_length"] = str(len(body) if length is None else length)
    lines = [f"{name.replace('_', '-')}: {value}" for name, value in named.items()]
    return "\r\n".join([f"HTTP/1.1 {status}", *lines, "", ""]).encode() + body


def moved(where: str) -> bytes:
    """Return a redirect."""
    return reply(status="302 Found", location=where)


def unopened(status: int) -> str:
    """Return what becomes of a reply with a status that is not 200."""
    return f"refused: The result could not be opened (HTTP {status})."


async def endless(stream: SocketStream) -> None:
    """Send an image that never ends, as fast as it is taken."""
    await stream.send(b"HTTP/1.1 200 OK\r\n\r\n" + PNG)
    while True:
        await stream.send(bytes(2**16))


async def dripping(stream: SocketStream) -> None:
    """Send an image byte by byte, each in time for itself."""
    await stream.send(reply(PNG, length=LARGEST))
    while True:
        await stream.send(b"\0")
        await anyio.sleep(0.01)


async def boasting(stream: SocketStream) -> None:
    """Send headers without end."""
    await stream.send(b"HTTP/1.1 200 OK\r\n")
    while True:
        await stream.send(b"x: " + b"y" * 2**14 + b"\r\n")


@dataclass(frozen=True)
class Attack:
    """What a host answers, one reply after the other (the last again and again), and its end."""

    name: str
    replies: tuple[bytes | Script, ...]
    becomes: str
    clip: bool = False
    prompt: str = "a red fox"


def image(name: str, *replies: bytes | Script, becomes: str, prompt: str = "a red fox") -> Attack:
    """Return an attack in place of an image."""
    return Attack(name, replies, becomes, prompt=prompt)


def redirect(name: str, where: str, becomes: str = NOT_PUBLIC) -> Attack:
    """Return an attack that leads elsewhere."""
    return Attack(f"a redirect {name}", (moved(where),), becomes)


def clip(name: str, body: bytes, *, becomes: str) -> Attack:
    """Return an attack in place of a video."""
    return Attack(name, (reply(body, content_type="video/mp4"),), becomes, clip=True)


JAVASCRIPT = b"GIF89a=1/*" + bytes(20) + b"*/;alert(1)"
EMPTY = b"HTTP/1.1 204 No Content\r\n\r\n"
ZIPPED = gzip.compress(gzip.compress(PNG))
DAMAGED = "refused: What was sent is packed and damaged."
BOMB = gzip.compress(bytes(2**24))
LYING = picture(kind="WEBP")[:20] + b"\xff" * 99
MANY_FRAMES = HOSTILE_CLIPS["a quarter of a billion frames"]
CHUNKED = reply(b"5\r\n\x89PNG\r\r\n", transfer_encoding="chunked")
PAGE = b"<!DOCTYPE html><script>alert(1)</script>"
MANY_BOXES = CLIP[:24] + box(b"free", b"") * 20_000
GREEDY = CLIP[:24] + box(b"moov", b"", 2**63, long=True) + box(b"mdat", b"", 3)

ATTACKS = (
    # What it is
    image("HTML as image/png", reply(PAGE), becomes=NOT_IMAGE),
    image("SVG with a script", reply(HOSTILE["SVG"]), becomes=NOT_IMAGE),
    image("EPS, which Ghostscript would run", reply(HOSTILE["EPS"]), becomes=NOT_IMAGE),
    image("PDF", reply(b"%PDF-1.7\n"), becomes=NOT_IMAGE),
    image("a ZIP archive", reply(b"PK\3\4" + bytes(99)), becomes=NOT_IMAGE),
    image("a program for Windows", reply(b"MZ" + bytes(99)), becomes=NOT_IMAGE),
    image("a video in place of an image", reply(CLIP), becomes=NOT_IMAGE),
    clip("an image in place of a video", PNG, becomes=NOT_VIDEO),
    clip("an HLS playlist as video/mp4", b"#EXTM3U\nfile:///etc/passwd\n", becomes=NOT_VIDEO),
    image("an image as text/plain", reply(PNG, content_type="text/plain"), becomes=SHOWN),
    image("a PNG with a web page behind it", reply(PNG + PAGE), becomes=SHOWN),
    image("a GIF that is JavaScript", reply(JAVASCRIPT), becomes=CUT),
    # What it is called
    image(
        "a file name that leads out",
        reply(PNG, content_disposition='attachment; filename="../../../evil.sh"'),
        becomes=SHOWN,
    ),
    image(
        "a prompt that leads out and turns the writing round",
        reply(PNG),
        becomes=SHOWN,
        prompt="../../..\\evil\0\n\u202egnp.sh CON. ",
    ),
    # How it arrives
    image("0 bytes", reply(), becomes=NOT_IMAGE),
    image("204 without content", EMPTY, becomes=unopened(204)),
    image("206, a part", reply(PNG, "206 Partial Content"), becomes=unopened(206)),
    image("fewer bytes than announced", reply(PNG, length=len(PNG) + 9), becomes=LOST),
    image("more bytes than announced", reply(PNG, length=len(PNG) - 40), becomes=CUT),
    image("chunks that break off", CHUNKED, becomes=LOST),
    image("chunks of no size", CHUNKED.replace(b"5\r\n", b"-5\r\n"), becomes=LOST),
    image("a connection that closes", b"", becomes=LOST),
    image("another protocol", b"SSH-2.0-OpenSSH_9.9\r\n", becomes=LOST),
    image("headers without end", boasting, becomes=LOST),
    image("a body over the limit", reply(PNG + bytes(LARGEST)), becomes=TOO_LARGE),
    image("an endless body", endless, becomes=TOO_LARGE),
    image("a slow drip", dripping, becomes=LATE),
    image("a gzip bomb", reply(BOMB, content_encoding="gzip"), becomes=TOO_LARGE),
    image("gzip without saying so", reply(gzip.compress(PNG)), becomes=SHOWN),
    image("gzip within gzip", reply(ZIPPED, content_encoding="gzip, gzip"), becomes=SHOWN),
    image("gzip that breaks off", reply(gzip.compress(PNG)[:-9]), becomes=CUT),
    image("gzip that is damaged", reply(gzip.compress(PNG)[:40] + b"x" * 99), becomes=DAMAGED),
    image("brotli", reply(b"\x8b\x02\x80" * 9, content_encoding="br"), becomes=PACKED),
    image("a label of AWS", reply(PNG, content_encoding="aws-chunked"), becomes=SHOWN),
    image("a label that says nothing", reply(PNG, content_encoding="none"), becomes=SHOWN),
    image("an empty label", reply(PNG, content_encoding=""), becomes=SHOWN),
    image("a label that is not true", reply(PNG, content_encoding="gzip"), becomes=SHOWN),
    image("404 for ever", reply(PAGE, "404 Not Found"), becomes=unopened(404)),
    image("404, then the image", reply(PAGE, "404 Not Found"), reply(PNG), becomes=LATER),
    image("a broken reply, a page, then the image", b"", reply(PAGE), reply(PNG), becomes=LATER),
    # Where it leads
    image("a redirect on the same host", moved(f"{ORIGIN}/media/x"), reply(PNG), becomes=SHOWN),
    redirect("to plain http", "http://images.meigen.ai/x.png"),
    redirect("into the network", "https://10.0.0.1/x.png"),
    redirect("to cloud metadata", "http://169.254.169.254/latest/"),
    redirect("to localhost", "https://localhost/x.png"),
    redirect("to [::1]", "https://[::1]/x.png"),
    redirect("to 127.0.0.1 as a number", "https://2130706433/x.png"),
    redirect("to another local port", "http://127.0.0.1:8001/x.png"),
    redirect("with a name before the host", "https://images.meigen.ai@10.0.0.1/"),
    redirect("to a file", "file:///etc/passwd"),
    redirect("to data:", "data:image/png;base64,AAAA"),
    redirect("to no address", "https://[/"),
    image("a redirect to nowhere", reply(status="302 Found"), becomes=unopened(302)),
    redirect("that never ends", f"{ORIGIN}/media/x", LOOP),
    # What it does to a decoder
    image("a PNG bomb of 3.6 billion pixels", reply(HOSTILE["a bomb"]), becomes=KEPT),
    image("a PNG whose text unpacks to 32 MiB", reply(HOSTILE["a text bomb"]), becomes=KEPT),
    image("a PNG that breaks off", reply(HOSTILE["a cut PNG"]), becomes=CUT),
    image("a JPEG that breaks off", reply(HOSTILE["a cut JPEG"]), becomes=CUT),
    image("a WebP with a size that lies", reply(LYING), becomes=KEPT),
    clip("a video without frames", CLIP[: inside(CLIP, b"mdat")], becomes=CUT),
    clip("a video with absurd box sizes", GREEDY, becomes=CUT),
    clip("a video of 20,000 empty boxes", MANY_BOXES, becomes=CUT),
    clip("a video of 268 million frames", MANY_FRAMES, becomes=CUT),
    clip("a WebM that is a head alone", HOSTILE_CLIPS["Matroska's head"], becomes=KEPT),
    # And what is good
    image("a good image", reply(JPEG), becomes=SHOWN),
    clip("a good video", CLIP, becomes=SHOWN),
)  # fmt: skip


class Watched(Media):
    """Saves, and notes why it could not."""

    said: list[str]

    async def save(self, job: Generation, index: int, *, last: bool = False) -> Saved:
        """Save a medium."""
        try:
            return await super().save(job, index, last=last)
        except ApiError as error:
            self.said.append(error.message)
            raise


@dataclass
class Host:
    """A media host with a script, in place of the sandbox's; nothing else can be reached."""

    replies: list[bytes | Script]
    port: int = 0
    strayed: list[str] = field(default_factory=list)
    network: httpx.AsyncHTTPTransport = field(default_factory=httpx.AsyncHTTPTransport)

    async def answer(self, stream: SocketStream) -> None:
        """Answer one request."""
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                head += await stream.receive()
            script = self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]
            try:
                if isinstance(script, bytes):
                    await stream.send(script)
                else:
                    await script(stream)
            except (anyio.BrokenResourceError, anyio.ClosedResourceError):
                return  # the client has had enough

    async def fetch(self, request: httpx.Request, _: httpx.AsyncBaseTransport) -> httpx.Response:
        """Carry a request for a medium to the host."""
        if not str(request.url).startswith(f"{ORIGIN}/"):
            self.strayed.append(str(request.url))
            return httpx.Response(200, content=PNG)
        url = request.url.copy_with(port=self.port)
        headers = {**request.headers, "connection": "close"}
        there = httpx.Request("GET", url, headers=headers, extensions=request.extensions)
        return await self.network.handle_async_request(there)


@asynccontextmanager
async def hosted(attack: Attack, folder: Path) -> AsyncIterator[tuple[Workbench, Host, Watched]]:
    """Make a workbench whose media come from a hostile host."""
    host = Host(list(attack.replies))
    listener = await anyio.create_tcp_listener(local_host="127.0.0.1")
    host.port = listener.extra(SocketAttribute.local_port)  # noqa: S610  # no Django here
    async with (
        workbench(folder) as bench,
        host.network,
        listener,
        anyio.create_task_group() as group,
    ):
        group.start_soon(listener.serve, host.answer)
        fetch: Fault = host.fetch
        bench.wire.faults["media"] = [fetch] * 100
        api = Api(make_settings(folder), bench.wire)
        watched = Watched(api, folder / "media", folder / "data" / "previews")
        watched.said = []
        bench.poller = Poller(
            bench.ledger,
            api,
            watched,
            clock=bench.clock,
            monotonic=bench.clock.monotonic,
            jitter=lambda: 1.0,
        )
        yield bench, host, watched
        await watched.close()
        await api.close()
        group.cancel_scope.cancel()


NAME = re.compile(r"[0-9-]{10}_[\w.-]+_1\.(png|jpg|gif|webp|mp4|webm)")


def end_of(job: Generation, watched: Watched) -> str:
    """Say what became of a reply."""
    if not any(job.files):
        return f"refused: {watched.said[-1]}"
    if any(item.reason.startswith(BREAKS_OFF) for item in job.unsaved):
        return CUT
    if watched.said:
        return LATER
    return SHOWN if job.preview else KEPT


def left(folder: Path) -> set[str]:
    """Return the files beneath a folder, hidden ones too, that are not the ledger's."""
    data = folder / "home" / "me" / "data"
    found = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path) for path in found if path.parent != data}


def own(job: Generation) -> set[str]:
    """Return the files that belong to a generation: its media, their sidecars, its preview."""
    names = {name for name in (*job.files, job.preview) if name}
    beside = {str(Path(name).with_suffix(".json")) for name in job.files if name}
    return names | {name for name in beside if Path(name).exists()}


@pytest.mark.parametrize("attack", ATTACKS, ids=lambda attack: attack.name)
async def test_a_hostile_reply_is_refused_or_contained(
    attack: Attack, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The job stays completed, nothing is left half done, and nothing lies outside its folder."""
    kind: MediaType = "video" if attack.clip else "image"
    monkeypatch.setitem(fetching.LARGEST, kind, LARGEST)
    if dripping in attack.replies:
        monkeypatch.setitem(fetching.SECONDS, kind, 0.1)
    folder = tmp_path / "home" / "me"
    call: dict[str, Any] = {"modelId": "seedance-2-0", "duration": 4} if attack.clip else {}
    tool: Tool = "generate_video" if attack.clip else "generate_image"
    async with hosted(attack, folder) as (bench, host, watched):
        made = await bench.generate(tool, prompt=attack.prompt, **call)
        job = await bench.settle(made.job)
    assert (job.status, host.strayed, end_of(job, watched)) == ("completed", [], attack.becomes)
    assert left(tmp_path) == own(job)
    assert all(NAME.fullmatch(Path(name).name) for name in job.files if name)
