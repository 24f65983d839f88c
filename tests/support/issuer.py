"""An identity provider for tests: keys of its own, served on loopback or in memory."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import jwt
import uvicorn
from cryptography.hazmat.primitives.asymmetric import ec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.types import Receive, Scope, Send

from meigen_mcp.system import listen_on

RESOURCE = "https://pictures.example/mcp"


class Issuer:
    """Signs tokens, and says with which keys.

    Attributes:
        url: its name.
        asked: the paths that were asked for, in order.
        away: it answers nothing of use.
        open: while it is not set, its keys are not answered.
        also: what it publishes besides its keys.
        keys: those with which it signs, by name.
    """

    def __init__(self, url: str = "https://id.example/tenant") -> None:
        self.url = url
        self.asked: list[str] = []
        self.away = False
        self.open = anyio.Event()
        self.open.set()
        self.also: list[dict[str, str]] = []
        self.keys: dict[str, ec.EllipticCurvePrivateKey] = {}
        self.rotate("first")

    def rotate(self, name: str) -> None:
        """Publish a new key, with which it signs from now on."""
        self.keys[name] = ec.generate_private_key(ec.SECP256R1())

    @property
    def key_url(self) -> str:
        """Where its keys are."""
        return f"{self.url}/keys"

    def token(self, key: str = "", /, **claims: Any) -> str:
        """Return a token of its newest key, or of another; a claim of None is left out."""
        name = key or next(reversed(self.keys))
        return jwt.encode(self.claims(**claims), self.keys[name], "ES256", {"kid": name})

    def claims(self, **claims: Any) -> dict[str, Any]:
        """Return what a token says."""
        now = int(time.time())
        usual = {"iss": self.url, "sub": "ann", "aud": RESOURCE, "iat": now, "exp": now + 600}
        return {n: v for n, v in {**usual, "client_id": "chat", **claims}.items() if v is not None}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        await (await self._answer(Request(scope)))(scope, receive, send)

    async def _answer(self, request: Request) -> Response:
        path = request.url.path
        self.asked.append(path)
        await self.open.wait()
        if self.away:
            return Response("<h1>Bad gateway</h1>", 502)
        if path.endswith("/.well-known/openid-configuration"):
            return JSONResponse({"issuer": self.url, "jwks_uri": self.key_url})
        if path.endswith("/keys"):
            published = [
                jwt.algorithms.ECAlgorithm.to_jwk(key.public_key(), as_dict=True) | {"kid": name}
                for name, key in self.keys.items()
            ]
            return JSONResponse({"keys": [*published, *self.also]})
        return Response(status_code=404)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None: ...


@asynccontextmanager
async def serving() -> AsyncIterator[Issuer]:
    """Serve an issuer on a free port."""
    with listen_on("127.0.0.1", 0) as listener:
        issuer = Issuer(f"http://127.0.0.1:{listener.getsockname()[1]}")
        server = _Server(uvicorn.Config(issuer, log_config=None, lifespan="off"))
        async with anyio.create_task_group() as group:
            group.start_soon(server._serve, [listener])  # noqa: SLF001  # without its signals
            try:
                yield issuer
            finally:
                issuer.open.set()
                server.should_exit = server.force_exit = True
