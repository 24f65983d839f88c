"""Serving one chat client over stdin and stdout, to an end that comes in time."""

import contextlib
import json
import logging
import os
import sys
from threading import Timer
from typing import Any

import anyio
import mcp_types as t
from anyio.streams.memory import MemoryObjectSendStream
from mcp.server.stdio import stdio_server
from mcp.shared.message import SessionMessage
from pydantic import ValidationError

from meigen_mcp.app import App, on_sandbox, running
from meigen_mcp.settings import Settings
from meigen_mcp.system import termination

log = logging.getLogger(__name__)

LONGEST_END = 0.4
"""Seconds for cleaning up after the last answer; the ledger needs none of it."""


async def serve(settings: Settings) -> None:
    """Serve until the client is gone or the process is asked to end.

    Never returns: the SDK's reader thread cannot be cancelled, so the process ends here.
    """
    status = 1
    async with stdio_server() as (read, write):
        try:
            async with running(settings) as app, anyio.create_task_group() as group:

                async def end_on_signal() -> None:
                    await termination()
                    await app.close()
                    _end_soon()
                    group.cancel_scope.cancel()

                send, receive = anyio.create_memory_object_stream[SessionMessage | Exception]()
                group.start_soon(end_on_signal)
                group.start_soon(_relay, read, send, write, app)
                await app.server.run(receive, write, app.server.create_initialization_options())
                group.cancel_scope.cancel()
            status = 0
        except anyio.get_cancelled_exc_class():
            status = 0  # nobody reads stdout any more
        except Exception:
            log.exception("the server ends")
        finally:
            _end(status)


async def serve_on_sandbox(settings: Settings) -> None:
    """Serve with an API emulator of our own in this process; never returns."""
    from meigen_mcp.sandbox.running import running as sandbox  # noqa: PLC0415  # rarely needed

    async with sandbox() as origin:
        await serve(on_sandbox(settings, origin))


async def _relay(
    read: Any, send: MemoryObjectSendStream[SessionMessage | Exception], write: Any, app: App
) -> None:
    """Hand on what the client sends, answer what is no message, and let calls answer at the end."""
    async with send:
        async for received in read:
            message = _mended(received) if isinstance(received, ValidationError) else received
            if isinstance(message, t.JSONRPCError):
                await write.send(SessionMessage(message))
            elif message is not None:
                await send.send(message)
        await app.close()
        _end_soon()


def _mended(problem: ValidationError) -> SessionMessage | t.JSONRPCError | None:
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


def _end_soon() -> None:
    """End the process in time, whatever a clean-up waits for."""
    watchdog = Timer(LONGEST_END, _end, (0,))
    watchdog.daemon = True
    watchdog.start()


def _end(status: int) -> None:
    sys.stderr.flush()
    os._exit(status)
