"""Servers behind HTTP, and clients of plain bytes that cost next to nothing."""

import json
import os
import socket
import subprocess
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Literal

import anyio
from anyio.abc import Process, SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from .processes import processor_of, resident

Era = Literal["2025", "2026"]
SECRET = "benchmark-" * 4
_MOST_HEAD, _MOST_BODY = 2**16, 2**24
_NEW = "2026-07-28"
_META = {
    "io.modelcontextprotocol/protocolVersion": _NEW,
    "io.modelcontextprotocol/clientCapabilities": {},
}
_HELLO = {
    "protocolVersion": "2025-11-25",
    "capabilities": {},
    "clientInfo": {"name": "benchmark", "version": "1"},
}


class Caller:
    """One client with a connection of its own, which stays open; of 2025 with a session."""

    def __init__(self, stream: SocketStream, era: Era) -> None:
        self._stream = stream
        self._reader = BufferedByteReceiveStream(stream)
        self._era = era
        self._session = ""

    async def greet(self) -> None:
        """Open a session, in the era that has some."""
        if self._era == "2025":
            await self.request("initialize", _HELLO)
            await self._post({"method": "notifications/initialized"}, {})
            await self._answer()

    async def call(self, tool: str, **arguments: Any) -> dict[str, Any]:
        """Call a tool, and return its structured content."""
        result = await self.request("tools/call", {"name": tool, "arguments": arguments})
        return dict(result.get("structuredContent") or {})

    async def request(self, method: str, params: Mapping[str, Any]) -> dict[str, Any]:
        """Ask, and return the result."""
        headers = {}
        if self._era == "2026":
            params = {**params, "_meta": _META}
            headers = {"mcp-protocol-version": _NEW, "mcp-method": method}
            if "name" in params:
                headers["mcp-name"] = params["name"]
        await self._post({"id": 1, "method": method, "params": params}, headers)
        return dict((await self._answer())["result"])

    async def listen(self, *uris: str) -> None:
        """Have the changes of resources told on this connection from now on."""
        params = {"_meta": _META, "notifications": {"resourceSubscriptions": uris}}
        headers = {"mcp-protocol-version": _NEW, "mcp-method": "subscriptions/listen"}
        await self._post({"id": 1, "method": "subscriptions/listen", "params": params}, headers)
        await self._head()

    async def heard(self, word: bytes) -> None:
        """Read on until a word was told."""
        await self._reader.receive_until(word, _MOST_BODY)

    async def _post(self, message: Mapping[str, Any], headers: Mapping[str, str]) -> None:
        body = json.dumps({"jsonrpc": "2.0", **message}, separators=(",", ":")).encode()
        all_headers = {
            "host": "127.0.0.1",
            "authorization": f"Bearer {SECRET}",
            "accept": "application/json, text/event-stream",
            "content-type": "application/json",
            "content-length": str(len(body)),
            **headers,
            **({"mcp-session-id": self._session} if self._session else {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in all_headers.items())
        await self._stream.send(f"POST /mcp HTTP/1.1\r\n{lines}\r\n".encode() + body)

    async def _head(self) -> dict[str, str]:
        head = (await self._reader.receive_until(b"\r\n\r\n", _MOST_HEAD)).decode()
        status, *lines = head.split("\r\n")
        assert status.split(" ")[1] in ("200", "202"), head
        headers = dict(line.lower().split(": ", 1) for line in lines)
        self._session = headers.get("mcp-session-id", self._session)
        return headers

    async def _answer(self) -> dict[str, Any]:
        headers = await self._head()
        if "content-length" in headers:
            body = await self._reader.receive_exactly(int(headers["content-length"]))
        else:
            body = b""
            while size := int(await self._reader.receive_until(b"\r\n", 64), 16):
                body += await self._reader.receive_exactly(size)
                await self._reader.receive_exactly(2)
            await self._reader.receive_exactly(2)
        if "event-stream" in headers.get("content-type", ""):
            told = [json.loads(line[5:]) for line in body.splitlines() if line.startswith(b"data:")]
            body = json.dumps(next(one for one in told if "id" in one)).encode()
        return dict(json.loads(body)) if body else {}


class Serving:
    """A server process behind HTTP."""

    def __init__(self, process: Process, port: int) -> None:
        self._process = process
        self._port = port

    @asynccontextmanager
    async def caller(self, era: Era) -> AsyncIterator[Caller]:
        """Connect a client, and greet."""
        async with await anyio.connect_tcp("127.0.0.1", self._port) as stream:
            caller = Caller(stream, era)
            await caller.greet()
            yield caller

    def processor(self) -> float:
        """Return the processor time that it has used, in seconds."""
        return processor_of(self._process.pid)

    def memory(self) -> float:
        """Return its resident memory in MB."""
        return resident(self._process.pid)


@asynccontextmanager
async def serving(command: tuple[str, ...], environ: Mapping[str, str]) -> AsyncIterator[Serving]:
    """Run a server that binds the port which its last argument names, until the block has ended."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    told = {**os.environ, **environ, "MEIGEN_HTTP_TOKEN": SECRET}
    process = await anyio.open_process(
        [*command, str(port)], stdin=None, stderr=subprocess.DEVNULL, env=told
    )
    try:
        with anyio.fail_after(60):
            while True:
                try:
                    await (await anyio.connect_tcp("127.0.0.1", port)).aclose()
                    break
                except OSError:
                    await anyio.sleep(0.05)
        yield Serving(process, port)
    finally:
        process.kill()
        with anyio.CancelScope(shield=True):
            await process.aclose()
