"""Which client sent a request, so that the answer fits it."""

import re
from collections.abc import Mapping
from dataclasses import replace
from functools import cache

from meigen_mcp.known_clients import KnownClient, known_clients
from meigen_mcp.server.guard import Context

UNKNOWN = KnownClient("unknown")
_BRIDGED = re.compile(r" \(via mcp-remote [^)]*\)$")
"""What mcp-remote adds to the name in 2025; the rest of the client shows through it."""


@cache
def _by_name() -> Mapping[str, KnownClient]:
    return {name: client for client in known_clients().values() for name in client.names}


def client_of(ctx: Context) -> KnownClient:
    """Return the client that sent a request, with the wait that this request survives."""
    sender = ctx.session.client_params
    name = _BRIDGED.sub("", sender.client_info.name) if sender else ""
    client = _by_name().get(name, UNKNOWN)
    if client.wait_in_silence is not None and not (ctx.meta and "progress_token" in ctx.meta):
        return replace(client, wait=client.wait_in_silence)
    return client
