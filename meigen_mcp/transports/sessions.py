"""The sessions of 2025 clients: few end theirs, so a bound is kept by letting the oldest go."""

import logging
import math
from typing import Any

from mcp.server.auth.middleware.bearer_auth import AuthorizationContext
from mcp.server.lowlevel.server import Server
from mcp.server.streamable_http import StreamableHTTPServerTransport
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp.server.transport_security import TransportSecuritySettings

MOST_SESSIONS = 2000
LARGEST_REQUEST = 4 * 2**20
"""Bytes of a body."""

logging.getLogger("mcp.server.streamable_http_manager").setLevel(logging.WARNING)  # names sessions


class Sessions(StreamableHTTPSessionManager):
    """What the SDK serves over HTTP, in sessions and without, to whoever was let in.

    Args:
        server: what is served.
        stateless: to 2025 clients without sessions, so that each request may go to another server.
    """

    def __init__(self, server: Server[Any], *, stateless: bool = False) -> None:
        super().__init__(
            server,
            stateless=stateless,
            # Hosts and origins were looked at before.
            security_settings=TransportSecuritySettings(enable_dns_rebinding_protection=False),
            max_request_body_size=LARGEST_REQUEST,
        )

    def _admit_session(
        self, requestor: AuthorizationContext | None
    ) -> StreamableHTTPServerTransport | None:
        """Open a session, for which the one idle longest without an open stream gives way."""
        if len(self._server_instances) >= MOST_SESSIONS:
            self._end_idlest()
        return super()._admit_session(requestor)

    def end_streams(self) -> None:
        """End the streams on which clients hear of changes, as HTTP ends one."""
        for transport in self._server_instances.values():
            transport.close_standalone_sse_stream()

    def _end_idlest(self) -> None:
        """End a session as the SDK does after half an hour: what is under way in one keeps it."""
        ends = {
            name: transport.idle_scope
            for name, transport in self._server_instances.items()
            if transport.idle_scope is not None
        }
        name = min(ends, key=lambda name: ends[name].deadline, default=None)
        if name is not None and ends[name].deadline < math.inf:
            ends[name].cancel()
            del self._server_instances[name]  # its own task forgets the rest of it
