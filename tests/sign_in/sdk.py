"""The SDK's own client, as a person's: it registers itself, signs in and renews its tokens."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs, urlsplit

import anyio.to_thread
from mcp.client.auth import OAuthClientProvider
from mcp.client.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared._httpx_utils import create_mcp_http_client
from mcp.shared.auth import (
    AuthorizationCodeResult,
    OAuthClientInformationFull,
    OAuthClientMetadata,
    OAuthToken,
)
from pydantic import AnyUrl
from support.in_memory import Mode

from sign_in.forms import sign_in

REDIRECT = "http://127.0.0.1:1/back"


class Kept:
    """What a client keeps.

    Attributes:
        signed_in: how often its person was at the forms.
        renewed: how many tokens it was given.
    """

    def __init__(self) -> None:
        self.tokens: OAuthToken | None = None
        self.client: OAuthClientInformationFull | None = None
        self.signed_in = 0
        self.renewed = 0

    @property
    def access(self) -> str:
        """The token of today."""
        assert self.tokens is not None
        return self.tokens.access_token

    async def get_tokens(self) -> OAuthToken | None:
        """Return the tokens."""
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        """Keep tokens."""
        self.tokens = tokens
        self.renewed += 1

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        """Return as what it is registered."""
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        """Keep as what it is registered."""
        self.client = client_info


@asynccontextmanager
async def signed_in(
    url: str, name: str, mode: Mode = "auto", kept: Kept | None = None
) -> AsyncIterator[Client]:
    """Connect a client whose person signs in by a name when it is asked to."""
    kept = kept or Kept()
    back = ""

    async def go(to: str) -> None:
        nonlocal back
        kept.signed_in += 1
        back = await anyio.to_thread.run_sync(sign_in, to, name, REDIRECT)

    async def came() -> AuthorizationCodeResult:
        told = {key: values[0] for key, values in parse_qs(urlsplit(back).query).items()}
        return AuthorizationCodeResult(**told)

    metadata = OAuthClientMetadata(
        client_name="tests",
        redirect_uris=[AnyUrl(REDIRECT)],
        grant_types=["authorization_code", "refresh_token"],
        response_types=["code"],
    )
    auth = OAuthClientProvider(url, metadata, kept, go, came)
    async with (
        create_mcp_http_client(auth=auth) as http_client,
        Client(streamable_http_client(url, http_client=http_client), mode=mode) as client,
    ):
        yield client
