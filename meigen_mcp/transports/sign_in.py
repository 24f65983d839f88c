"""People sign in: this server as a resource of OAuth 2.1, on the SDK's own middleware.

The identity provider signs tokens, and its keys say whether one is true. A person is the issuer and
the subject of a token together: a subject alone may be two people at two issuers, and an address
may be given to somebody else. While the provider is away nobody is told that their token is bad:
a client would throw it away and sign in where nobody answers.
"""

import contextlib
import hmac
import logging
import math
import time
from collections.abc import Mapping
from http import HTTPStatus
from typing import Any
from urllib.parse import urlsplit

import anyio
import httpx
import jwt
from mcp.server.auth.middleware.auth_context import AuthContextMiddleware
from mcp.server.auth.middleware.bearer_auth import (
    AuthenticatedUser,
    BearerAuthBackend,
    RequireAuthMiddleware,
)
from mcp.server.auth.provider import AccessToken
from mcp.server.auth.routes import build_resource_metadata_url
from pydantic import AnyHttpUrl
from starlette.authentication import AuthenticationError
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.requests import HTTPConnection
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.ledger.asking import acting_for
from meigen_mcp.ledger.team import Member, Team
from meigen_mcp.media.links import PERSON
from meigen_mcp.people import person_id
from meigen_mcp.server.access_notes import noted
from meigen_mcp.settings import SignIn
from meigen_mcp.transports.issuer_keys import PAUSE, Keys

log = logging.getLogger(__name__)

ALGORITHMS = (
    *("RS256", "RS384", "RS512", "PS256", "PS384", "PS512"),
    *("ES256", "ES384", "ES512", "EdDSA"),
)
"""What a token may be signed with: never with nothing, nor with a secret that we would share."""
STATIC = "meigen-mcp"
"""The issuer of the one token that is no provider's: MEIGEN_HTTP_TOKEN."""
LONGEST_TOKEN = 16_000
MET_WITHIN = 1.0
"""Seconds that a person's first request waits until it is noted who they are."""
_CLIENT_CLAIMS = ("client_id", "azp", "cid", "appid")
_REQUIRED = ["exp", "iat", "iss", "sub", "aud"]
_METADATA_FOR = 3600


class Verifier:
    """Says whose a token is.

    Args:
        sign_in: what a token must be.
        keys: of the issuer.
        static: a token that is no provider's, for scripts; None: there is none.
        static_name: the person that it is.
    """

    def __init__(self, sign_in: SignIn, keys: Keys, static: str | None, static_name: str) -> None:
        self._sign_in = sign_in
        self._keys = keys
        self._static = static
        self._static_name = static_name

    async def verify_token(self, token: str) -> AccessToken | None:
        """Return what a token says; None: it is none of ours.

        Raises:
            ProviderAway: nobody can say now.
        """
        if self._static is not None and hmac.compare_digest(token.encode(), self._static.encode()):
            return AccessToken(
                token="",
                client_id=STATIC,
                scopes=list(self._sign_in.scopes),
                resource=self._sign_in.resource,
                subject=self._static_name,
                claims={"iss": STATIC, "name": self._static_name},
            )
        if len(token) > LONGEST_TOKEN:
            return None
        try:
            header = jwt.get_unverified_header(token)
            algorithm = header.get("alg")
            if algorithm not in ALGORITHMS:
                raise jwt.InvalidAlgorithmError
            key = await self._keys.find(header.get("kid"))
            if key is None:
                raise jwt.InvalidKeyError
            claims = jwt.decode(
                token,
                key.key,  # one that says nothing of its algorithm is good for each of its kind
                algorithms=[algorithm],
                audience=self._sign_in.audiences,
                issuer=self._sign_in.issuer,
                leeway=self._sign_in.leeway,
                options={"require": _REQUIRED},
            )
            return self._read(claims)
        except (jwt.PyJWTError, ValueError, TypeError) as error:
            # The client is told the same whatever is wrong; whoever sets this up reads it here.
            log.info("a token is not taken: %s", type(error).__name__)
            return None

    def _read(self, claims: Mapping[str, Any]) -> AccessToken:
        subject = claims["sub"]
        if not subject:
            raise jwt.InvalidTokenError
        names = (claims.get(claim) for claim in self._sign_in.name_claims)
        clients = (claims.get(claim) for claim in _CLIENT_CLAIMS)
        return AccessToken(
            token="",  # whoever was let in is all that anybody behind may know
            client_id=next((c for c in clients if isinstance(c, str) and c), subject),
            scopes=self._scopes(claims),
            # The SDK compares it with the time by itself, and knows of no leeway.
            expires_at=math.ceil(float(claims["exp"]) + self._sign_in.leeway),
            resource=self._sign_in.resource,  # the audience was compared above
            subject=subject,
            claims={
                "iss": claims["iss"],
                "name": next((n for n in names if isinstance(n, str) and n), subject),
            },
        )

    def _scopes(self, claims: Mapping[str, Any]) -> list[str]:
        """Return the scopes of the first claim that has some: a text, or a list of them."""
        for claim in self._sign_in.scope_claims:
            told = claims.get(claim)
            if isinstance(told, str) and told:
                return told.split()
            if isinstance(told, list):
                return [scope for scope in told if isinstance(scope, str)]
        return []


class Door:
    """What a request to MCP passes where people sign in, and the metadata that says how they do.

    Args:
        inner: what serves MCP.
        sign_in: what a token must be.
        team: is told who comes.
        static: a token that is no provider's; None: there is none.
        static_name: the person that it is.
        transport: what carries requests to the issuer; by default the network.

    Attributes:
        keys: of the issuer; somebody has to run them.
        metadata_path: where it is told who signs people in.
    """

    def __init__(
        self,
        inner: ASGIApp,
        sign_in: SignIn,
        team: Team,
        *,
        static: str | None = None,
        static_name: str = "",
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        self.keys = Keys(sign_in, transport)
        verifier = Verifier(sign_in, self.keys, static, static_name)
        metadata = build_resource_metadata_url(AnyHttpUrl(sign_in.resource))
        self.metadata_path = urlsplit(str(metadata)).path
        self._told = {
            "resource": sign_in.resource,  # as they are written: an added slash is another issuer
            "authorization_servers": [sign_in.issuer],
            **({"scopes_supported": list(sign_in.scopes)} if sign_in.scopes else {}),
            "bearer_methods_supported": ["header"],
        }
        scoped = RequireAuthMiddleware(
            _until_expiry(_acting(inner, team)), list(sign_in.scopes), metadata
        )
        self._app = AuthenticationMiddleware(
            AuthContextMiddleware(scoped), BearerAuthBackend(verifier), on_error=_away
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request in, or say where to sign in."""
        await self._app(scope, receive, send)

    async def metadata(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Say who signs people in."""
        kept = {"cache-control": f"public, max-age={_METADATA_FOR}"}
        await JSONResponse(self._told, headers=kept)(scope, receive, send)


def _away(_: HTTPConnection, __: AuthenticationError) -> Response:
    return PlainTextResponse(
        "Who you are cannot be checked now, since the identity provider does not answer. Nothing"
        " was sent or charged. Your token may be good: keep it, and send the same again.\n",
        HTTPStatus.SERVICE_UNAVAILABLE,
        {"retry-after": str(math.ceil(PAUSE))},
    )


def _acting(app: ASGIApp, team: Team) -> ASGIApp:
    """Ask the ledger for whoever signed in, and for nobody else."""
    met: set[str] = set()

    async def meet(member: Member) -> None:
        """Note who came first; that no note can be made keeps nobody out."""
        with contextlib.suppress(LedgerUnavailable), anyio.move_on_after(MET_WITHIN):
            await team.meet(member)
            met.add(member.id)

    async def asked(scope: Scope, receive: Receive, send: Send) -> None:
        token = scope["user"].access_token
        issuer, subject, name = token.claims["iss"], token.subject, token.claims["name"]
        person = person_id(issuer, subject)
        if (line := noted.get()) is not None:
            line.person = person[:PERSON]
        if person not in met:
            await meet(Member(person, issuer, subject, name, time.time()))
        # Set for each: a request that was sent behind another begins in what that one left.
        with acting_for(person):
            await app(scope, receive, send)

    return asked


def _until_expiry(app: ASGIApp) -> ASGIApp:
    """End the stream of a 2025 session with its token, as if its client had gone.

    A stream of 2026-07-28 ends by itself with a last word; a call is not cut short.
    """

    async def bounded(scope: Scope, receive: Receive, send: Send) -> None:
        user = scope.get("user")
        expires = user.access_token.expires_at if isinstance(user, AuthenticatedUser) else None
        if scope["method"] != "GET" or expires is None:
            await app(scope, receive, send)
            return
        deadline = anyio.current_time() + max(0.0, expires - time.time())
        begun = whole = False

        async def until(message: Message) -> None:
            nonlocal begun, whole
            begun = True
            whole = message["type"] == "http.response.body" and not message.get("more_body")
            await send(message)

        async def hear() -> Message:
            with anyio.CancelScope(deadline=deadline):
                return await receive()
            return {"type": "http.disconnect"}

        await app(scope, hear, until)
        if begun and not whole:
            with contextlib.suppress(OSError):
                await send({"type": "http.response.body", "body": b"", "more_body": False})

    return bounded
