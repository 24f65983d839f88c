"""Serving one chat client over stdin and stdout, to an end that comes in time."""

import contextlib
import io
import json
import logging
import os
import sys
from functools import partial
from threading import Timer
from typing import Any, BinaryIO

import anyio
import anyio.to_thread
import mcp_types as t
from anyio.abc import TaskGroup
from anyio.streams.memory import MemoryObjectReceiveStream, MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

import meigen_mcp.server.server  # noqa: F401  # with the transport, and not when it runs
from meigen_mcp.app import App, discard_sandbox, run_app
from meigen_mcp.service.delivery import Delivery
from meigen_mcp.settings import Settings
from meigen_mcp.system import Signal, claim_stdout, termination

log = logging.getLogger(__name__)

_CANCELLED = "notifications/cancelled"
ANSWERED_WITHIN = 0.4
"""Seconds that the end waits for the last answers to leave; who does not read has none."""
LONGEST_END = 0.4
"""Seconds for cleaning up after the last answer; the ledger needs none of it."""


async def serve(settings: Settings) -> None:
    """Serve until the client is gone or the process is asked to end.

    Never returns: the SDK's reader thread cannot be cancelled, so the process ends here.
    """
    status = 1
    outlet = Outlet(claim_stdout())
    write, written = anyio.create_memory_object_stream[SessionMessage]()
    # The SDK's own writer would not say what left.
    async with stdio_server(stdout=anyio.wrap_file(io.StringIO())) as (read, _):
        try:
            async with run_app(settings) as app, anyio.create_task_group() as group:

                async def end_on_signal() -> None:
                    await termination()
                    await _close(app, outlet)
                    group.cancel_scope.cancel()

                async def write_answers() -> None:
                    await outlet.run(written)
                    _end_soon()
                    group.cancel_scope.cancel()

                app.server.delivery_of = outlet.delivery_of
                group.start_soon(end_on_signal)
                group.start_soon(write_answers)
                await _serve_client(app, read, write, outlet)
                group.cancel_scope.cancel()
            status = 0
        except Exception:
            log.exception("the server ends")
        finally:
            discard_sandbox(settings)  # whoever made it is not asked any more
            _end(status)


class Outlet:
    """Writes to stdout, one message after the other, and knows which answers left.

    One did when the system has taken it whole while the client still held stdin open.

    Args:
        out: takes bytes; it may take long.
    """

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._expected: dict[t.RequestId, Delivery] = {}
        self._fewer = Signal()
        self._open = True

    async def expect(self, message: t.JSONRPCMessage) -> None:
        """Note what the client sent: a request, whose answer will leave, or that it wants none."""
        if isinstance(message, t.JSONRPCRequest):
            self._expected[message.id] = Delivery()
        elif isinstance(message, t.JSONRPCNotification) and message.method == _CANCELLED:
            unwanted = self._settle((message.params or {}).get("requestId"))
            if unwanted is not None:
                await unwanted.end(left=False)

    def delivery_of(self, request_id: t.RequestId | None) -> Delivery | None:
        """Return the delivery of a request's answer."""
        return None if request_id is None else self._expected.get(request_id)

    def close(self) -> None:
        """Count no answer as read any more: the client has closed its end."""
        self._open = False

    async def answered(self) -> None:
        """Wait until every request has its answer written, or none is wanted any more."""
        while self._expected:
            await self._fewer.after(self._fewer.count)

    async def run(self, messages: MemoryObjectReceiveStream[SessionMessage]) -> None:
        """Write what is sent, until nobody reads it any more."""
        async with anyio.create_task_group() as group:
            async for sent in messages:
                line = sent.message.model_dump_json(by_alias=True, exclude_unset=True)
                try:
                    await anyio.to_thread.run_sync(
                        self._put, f"{line}\n".encode(), abandon_on_cancel=True
                    )
                except OSError:
                    break
                if isinstance(sent.message, t.JSONRPCResponse | t.JSONRPCError):
                    delivery = self._settle(sent.message.id)
                    if delivery is not None:
                        group.start_soon(partial(delivery.end, left=self._open))
            for delivery in self._expected.values():
                group.start_soon(partial(delivery.end, left=False))

    def _settle(self, request_id: t.RequestId | None) -> Delivery | None:
        """Expect no answer to a request any more, and return its delivery if one was expected."""
        delivery = None if request_id is None else self._expected.pop(request_id, None)
        self._fewer.set()
        return delivery

    def _put(self, line: bytes) -> None:
        self._out.write(line)
        self._out.flush()


async def _serve_client(app: App, read: Any, write: Any, outlet: Outlet) -> None:
    """Hand on what the client sends, answer what is no message, and let calls answer at the end.

    The SDK keeps to the era of the first request. A client that probes with `server/discover` and
    has no answer in time goes on with `initialize`, and finds a server that speaks 2026 only. So as
    long as it has but probed, its `initialize` begins the connection anew.
    """
    async with anyio.create_task_group() as group:
        send, end = _begin(app, write, group)
        requests: set[str] = set()
        async for received in read:
            message = _mend(received) if isinstance(received, ValidationError) else received
            if isinstance(message, t.JSONRPCError):
                await write.send(SessionMessage(message))
                continue
            if message is None:
                continue
            if isinstance(message, SessionMessage):
                await outlet.expect(message.message)
            if isinstance(message, SessionMessage) and isinstance(
                message.message, t.JSONRPCRequest
            ):
                method = message.message.method
                if method == "initialize" and requests == {"server/discover"}:
                    end.cancel()
                    send.close()
                    send, end = _begin(app, write, group)
                requests.add(method)
            await send.send(message)
        outlet.close()
        await _close(app, outlet)
        send.close()


def _begin(
    app: App, write: Any, group: TaskGroup
) -> tuple[MemoryObjectSendStream[SessionMessage | Exception], anyio.CancelScope]:
    """Begin to serve, and return what takes messages, and what ends it early."""
    send, receive = anyio.create_memory_object_stream[SessionMessage | Exception]()
    scope = anyio.CancelScope()

    async def run() -> None:
        with scope:
            options = app.server.create_initialization_options()
            await app.server.run(receive, write.clone(), options)

    group.start_soon(run)
    return send, scope


def _mend(problem: ValidationError) -> SessionMessage | t.JSONRPCError | None:
    """Return what to make of a line that the SDK cannot read and would leave unanswered.

    Half a surrogate pair, which a client makes by cutting a text, is replaced.
    """
    problems = problem.errors(include_url=False)
    seen: list[Any] = [error["input"] for error in problems]
    if problems[0]["type"] == "json_invalid":  # then its input is the whole line
        if not seen[0].strip():
            return None
        try:
            said = json.loads(seen[0])
            clean = json.dumps(said, ensure_ascii=False).encode("utf-8", "replace")
        except (ValueError, RecursionError):
            error = t.ErrorData(code=t.PARSE_ERROR, message="Parse error")
            return t.JSONRPCError(jsonrpc="2.0", id=None, error=error)
        with contextlib.suppress(ValidationError):
            return SessionMessage(t.jsonrpc_message_adapter.validate_json(clean, by_name=False))
        seen = [said]
    ids = [part.get("id") for part in seen if isinstance(part, dict)]
    known = next((name for name in ids if type(name) in (str, int)), None)
    error = t.ErrorData(code=t.INVALID_REQUEST, message="Invalid request")
    return t.JSONRPCError(jsonrpc="2.0", id=known, error=error)


async def _close(app: App, outlet: Outlet) -> None:
    """Have what is open answered, and end the process in time."""
    app.close()
    with anyio.move_on_after(ANSWERED_WITHIN):
        await outlet.answered()
    _end_soon()


def _end_soon() -> None:
    """End the process in time, whatever a clean-up waits for."""
    watchdog = Timer(LONGEST_END, _end, (0,))
    watchdog.daemon = True
    watchdog.start()


def _end(status: int) -> None:
    sys.stderr.flush()
    os._exit(status)
