"""The keys of an issuer: fetched on the loop by one task, and kept while it is away."""

import contextlib
import logging
import math
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import jwt
from starlette.authentication import AuthenticationError

from meigen_mcp.api.transport import SystemTransport
from meigen_mcp.origins import is_loopback
from meigen_mcp.settings import SignIn, network_variables
from meigen_mcp.system import Signal

log = logging.getLogger("meigen_mcp.transports.sign_in")  # whoever sets sign-in up filters by that

PAUSE = 5.0
"""Seconds between two fetches at the least: tokens with unknown keys must not become requests."""
KEYS_EVERY = 3600.0
FETCHED_WITHIN = 5.0
_LARGEST_ANSWER = 2**20


class ProviderAway(AuthenticationError):
    """Whether a token is good cannot be said now; raised where the SDK asks about it."""


class Keys:
    """The keys of an issuer, fetched on the loop by one task, and kept while it is away.

    Args:
        sign_in: names the issuer.
        transport: what carries the requests; by default the network.
        monotonic: the clock of the pause between two fetches.
    """

    def __init__(
        self,
        sign_in: SignIn,
        transport: httpx.AsyncBaseTransport | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._sign_in = sign_in
        self._transport = transport
        self._monotonic = monotonic
        self._url = sign_in.keys_url
        self._keys: Mapping[str | None, jwt.PyJWK] = {}
        self._away = True
        self._tried_at = -math.inf
        self._tried = Signal()
        self._wanted = Signal()

    async def run(self) -> None:
        """Fetch them now, each hour, and when a token names one that is not known."""
        async with self._client() as client:
            while True:
                await self._fetch(client)
                wanted = self._wanted.count  # who asked before was given what was just fetched
                with anyio.move_on_after(PAUSE if self._away else KEYS_EVERY):
                    await self._wanted.after(wanted)

    async def look(self) -> int:
        """Fetch them once, and return how many there are; raises whatever goes wrong."""
        async with self._client() as client:
            with anyio.fail_after(FETCHED_WITHIN):
                return len({id(key) for key in (await self._read(client)).values()})

    def _client(self) -> httpx.AsyncClient:
        transport = self._transport or SystemTransport(network_variables(), 2)
        return httpx.AsyncClient(transport=transport, trust_env=False)

    async def find(self, key_id: str | None) -> jwt.PyJWK | None:
        """Return a key; None: the issuer has none of that name.

        Raises:
            ProviderAway: the issuer cannot be asked.
        """
        if key_id not in self._keys and self._monotonic() - self._tried_at >= PAUSE:
            tried = self._tried.count
            self._wanted.set()
            with anyio.move_on_after(2 * FETCHED_WITHIN):
                await self._tried.after(tried)
        key = self._keys.get(key_id)
        if key is None and self._away:
            raise ProviderAway
        return key

    async def _fetch(self, client: httpx.AsyncClient) -> None:
        """Fetch the keys; whatever goes wrong leaves those that are there."""
        why = ""
        try:
            with anyio.fail_after(FETCHED_WITHIN):
                found = await self._read(client)
        except Exception as error:  # noqa: BLE001  # else nobody would fetch them again
            why = type(error).__name__
        else:
            self._keys = found
        if why and not self._away:
            log.warning("the keys of %s cannot be fetched: %s", self._sign_in.issuer, why)
        elif why and self._tried_at == -math.inf:
            log.warning("nobody can sign in: no keys of %s: %s", self._sign_in.issuer, why)
        self._away = bool(why)
        self._tried_at = self._monotonic()
        self._tried.set()

    async def _read(self, client: httpx.AsyncClient) -> Mapping[str | None, jwt.PyJWK]:
        if self._url is None:
            self._url = await self._discover(client)
        told = await _json(client, self._url)
        keys: dict[str | None, jwt.PyJWK] = {}
        for given in told["keys"]:
            with contextlib.suppress(jwt.PyJWTError):  # of a kind that is not known here
                if given.get("use", "sig") == "sig":
                    keys[given.get("kid")] = jwt.PyJWK(given)
        if not keys:
            raise ValueError
        if len(keys) == 1:  # a token need not name the only one
            keys[None] = next(iter(keys.values()))
        return keys

    async def _discover(self, client: httpx.AsyncClient) -> str:
        """Ask the issuer where its keys are, as OpenID Connect does and then as OAuth does."""
        issuer = self._sign_in.issuer
        parts = urlsplit(issuer)
        path = parts.path.rstrip("/")
        origin = f"{parts.scheme}://{parts.netloc}"
        ways = (
            f"{issuer.rstrip('/')}/.well-known/openid-configuration",
            f"{origin}/.well-known/oauth-authorization-server{path}",
        )
        problem: Exception = ValueError()
        for way in ways:
            try:
                told = await _json(client, way)
            except (httpx.HTTPError, ValueError) as error:
                problem = error
                continue
            if told["issuer"] != issuer:
                log.warning("%s calls itself %s", issuer, str(told["issuer"])[:200])
                raise ValueError
            url = str(told["jwks_uri"])
            if not (url.startswith("https://") or is_loopback(url)):
                raise ValueError(url)
            return url
        raise problem


async def _json(client: httpx.AsyncClient, url: str) -> Any:
    async with client.stream("GET", url, headers={"accept": "application/json"}) as answer:
        answer.raise_for_status()
        body = b""
        async for part in answer.aiter_bytes():
            body += part
            if len(body) > _LARGEST_ANSWER:
                raise ValueError
    return httpx.Response(200, content=body).json()
