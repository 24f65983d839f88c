"""An API that answers at once, in a process of its own: `instant.py [PNG]` prints its origin.

A job takes the seconds that its prompt ends with ("a cube, 5.25 s"), else an hour; and an hour is
what the API expects, unless it is "a cube, as expected, 5.25 s"; of "a cube, untold, 5.25 s" it
tells no expectation. `GET /log` says of each job when
it was done and when a status first said so, so that nothing is guessed from outside.
It is no emulator of MeiGen (that is `meigen_mcp.sandbox`): it costs a tenth of it.
"""

import asyncio
import json
import re
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from uuid import uuid4

HOUR = 3600.0
_LASTING = re.compile(r"(, as expected|, untold)?, ([0-9.]+) s$")
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)


@dataclass
class Job:
    """One job: what is expected of it, when it is done and was first said to be, and all looks."""

    prompt: str
    expected: float | None
    done_at: float
    told_at: float = 0.0
    looks: int = 0


@dataclass
class Api:
    """The jobs, and the answers."""

    picture: bytes
    origin: str = ""

    def __post_init__(self) -> None:
        """Start without jobs."""
        self.jobs: dict[str, Job] = {}

    def answer(self, method: str, path: str, body: bytes) -> tuple[int, bytes]:
        """Return status and body."""
        if method == "POST":
            return 200, self._submitted(json.loads(body))
        name = path.rpartition("/")[2]
        if "/status/" in path and name in self.jobs:
            return 200, self._status(name, self.jobs[name])
        if path.startswith("/media/"):
            return 200, self.picture
        if path == "/log":
            return 200, _json([{"id": name, **vars(job)} for name, job in self.jobs.items()])
        return 404, _json({"success": False, "error": "Not found"})

    def _submitted(self, asked: Any) -> bytes:
        lasting = _LASTING.search(asked["prompt"])
        seconds = float(lasting[2]) if lasting else HOUR
        said = lasting[1] if lasting else None
        expected = None if said == ", untold" else seconds if said else HOUR
        name = str(uuid4())
        self.jobs[name] = Job(asked["prompt"], expected, time.time() + seconds)
        return _json(
            {
                "success": True,
                "generationId": name,
                "status": "processing",
                "creditsUsed": 2,  # as shipped
                "modelId": asked.get("modelId"),
                "mediaType": "image",
                **_expecting(expected),
            }
        )

    def _status(self, name: str, job: Job) -> bytes:
        now = time.time()
        job.looks += 1
        done = now >= job.done_at
        if done and not job.told_at:
            job.told_at = now
        return _json(
            {
                "success": True,
                "generationId": name,
                "status": "completed" if done else "processing",
                "imageUrls": [f"{self.origin}/media/{name}.png"] if done else None,
                "mediaType": "image",
                **_expecting(job.expected),
            }
        )


def _expecting(seconds: float | None) -> dict[str, float]:
    return {} if seconds is None else {"expectedWaitSeconds": seconds}


def _json(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


class Connection(asyncio.Protocol):
    """HTTP/1.1 with keep-alive, as much of it as the measured client uses."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._raw = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Keep where answers go."""
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Answer every request that is whole."""
        self._raw += data
        while (end := self._raw.find(b"\r\n\r\n")) >= 0:
            length = _LENGTH.search(self._raw, 0, end)
            whole = end + 4 + (int(length[1]) if length else 0)
            if len(self._raw) < whole:
                return
            method, path, _ = self._raw[: self._raw.index(b"\r\n")].decode().split(" ")
            status, body = self._api.answer(method, path, self._raw[end + 4 : whole])
            self._raw = self._raw[whole:]
            kind = "image/png" if path.startswith("/media/") else "application/json"
            head = f"HTTP/1.1 {status} X\r\ncontent-type: {kind}\r\ncontent-length: {len(body)}"
            self._transport.write(head.encode() + b"\r\n\r\n" + body)


async def _serve(api: Api) -> None:
    loop = asyncio.get_running_loop()
    server = await loop.create_server(lambda: Connection(api), "127.0.0.1", 0, backlog=1024)
    api.origin = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    print(api.origin, flush=True)  # noqa: T201  # to whoever started it
    await loop.run_in_executor(None, sys.stdin.read)  # ends with whoever started it
    server.close()


if __name__ == "__main__":
    asyncio.run(_serve(Api(Path(sys.argv[1]).read_bytes() if sys.argv[1:] else b"")))
