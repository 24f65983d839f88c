"""The whole sign-in of real clients: `python -m tests.sign_in`, by hand; some minutes.

It fetches oidc-provider, the TypeScript SDKs (npm) and FastMCP (pip) into a temporary folder, and
runs the provider of `deploy/issuer` before a server on a sandbox. The exit status is 0 if all that
it prints is well. `--sdk` leaves the clients out that have to be fetched.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import httpx
from cryptography.hazmat.primitives.asymmetric import rsa
from jwt.algorithms import RSAAlgorithm
from support.over_http import bearer, patient, post, process

from meigen_mcp.sandbox.running import run_sandbox
from sign_in.sdk import Kept, signed_in

ISSUER = Path(__file__).parents[2] / "deploy" / "issuer"
HERE = Path(__file__).parent
NPM = ("@modelcontextprotocol/sdk@1.32.2", "@modelcontextprotocol/client@2.4.0")
FASTMCP = "fastmcp==4.2.3"


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


def run(*command: str | Path, at: Path | None = None) -> str:
    """Run a program, and return what it says; it must end well."""
    done = subprocess.run(
        [str(word) for word in command], cwd=at, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{command[0]}: {done.stdout[-2000:]}{done.stderr[-2000:]}")
    return done.stdout.strip()


def new_key(name: str) -> dict[str, Any]:
    """Return a private key as a provider keeps it."""
    made = RSAAlgorithm.to_jwk(rsa.generate_private_key(65537, 2048), as_dict=True)
    return {**made, "kid": name, "use": "sig", "alg": "RS256"}


@dataclass
class Provider:
    """The provider of `deploy/issuer`, which can be ended and begun again.

    Attributes:
        seconds: for which its tokens are good.
        keys: its keys; the first signs.
    """

    folder: Path
    port: int = field(default_factory=free_port)
    seconds: int = 600
    keys: list[dict[str, Any]] = field(default_factory=lambda: [new_key("first")])
    _process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        """Its name."""
        return f"http://127.0.0.1:{self.port}"

    async def begin(self) -> None:
        """Start it, and return when it answers."""
        keys = self.folder / "keys.json"
        keys.write_text(json.dumps({"keys": self.keys}), encoding="utf-8")
        told = {"ISSUER": self.url, "SECONDS": str(self.seconds), "KEYS": str(keys)}
        self._process = subprocess.Popen(  # noqa: ASYNC220  # it begins at once
            ["node", "index.mjs"],  # noqa: S607  # as a person starts it
            cwd=self.folder,
            env={**os.environ, **told},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        async with httpx.AsyncClient(trust_env=False) as client:
            with anyio.fail_after(30):
                while True:
                    try:
                        await client.get(f"{self.url}/jwks")
                    except httpx.TransportError:
                        await anyio.sleep(0.1)
                    else:
                        return

    def end(self) -> None:
        """End it; what it knew but its keys is gone."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@dataclass
class Stage:
    """A server with its provider."""

    provider: Provider
    url: str
    origin: str

    async def status_of(self, token: str) -> httpx.Response:
        """Ask for the tools with a token."""
        async with patient(self.origin) as client:
            return await post(client, "auto", "tools/list", {}, **bearer(token))


@asynccontextmanager
async def stage(provider: Provider, sandbox: str, **more: str) -> AsyncIterator[Stage]:
    """Run a server to which people sign in by a provider."""
    port = free_port()
    variables = {
        "MEIGEN_OAUTH_ISSUER": provider.url,
        "MEIGEN_OAUTH_RESOURCE": f"http://127.0.0.1:{port}/mcp",
        "MEIGEN_OAUTH_SCOPES": "meigen",
        "MEIGEN_OAUTH_LEEWAY": "0",
        **more,
    }
    with tempfile.TemporaryDirectory() as folder:
        async with process(Path(folder), sandbox, "--port", str(port), **variables) as served:
            yield Stage(provider, f"{served.origin}/mcp", served.origin)


# --- what is tried ------------------------------------------------------------------------------


async def two_people(on: Stage) -> str:
    """Two sign in with the SDK's client, in both eras, and one sees nothing of the other."""
    told = []
    for mode in ("auto", "legacy"):
        async with (
            signed_in(on.url, f"ann-{mode}", mode) as ann,
            signed_in(on.url, f"bob-{mode}", mode) as bob,
        ):
            made = (await ann.call_tool("generate_image", {"prompt": "a fox"})).structured_content
            seen = (await bob.call_tool("check_status", {})).structured_content
            assert made is not None
            assert seen is not None
            assert (made["status"], seen["generations"]) == ("completed", [])
            told.append(f"{mode}: made by one, unseen by the other")
    return "; ".join(told)


async def renewed(on: Stage) -> str:
    """A token of two seconds is renewed by the client, without its person."""
    kept = Kept()
    async with signed_in(on.url, "ann", kept=kept) as ann:
        await ann.call_tool("list_models", {})
        await anyio.sleep(on.provider.seconds + 1)
        await ann.call_tool("list_models", {})
    assert (kept.signed_in, kept.renewed >= 2) == (1, True)
    return f"at the forms {kept.signed_in} time, {kept.renewed} tokens"


async def stream_ends(on: Stage) -> str:
    """A stream ends with its token, cleanly, and the next one is opened with a fresh one."""
    async with signed_in(on.url, "ann") as ann:
        began = time.monotonic()
        async with ann.listen(resources_list_changed=True) as events:
            with anyio.fail_after(on.provider.seconds + 20):
                heard = [event async for event in events]
        lasted = time.monotonic() - began
        async with ann.listen(resources_list_changed=True):
            pass
    assert heard == []
    assert lasted < on.provider.seconds + 3
    return f"a token of {on.provider.seconds} s: the stream ended after {lasted:.1f} s; reopened"


async def key_rotated(on: Stage) -> str:
    """With a new key beside the old one, both are taken; with the old one gone, only the new."""
    old, new = Kept(), Kept()
    async with signed_in(on.url, "ann", kept=old) as ann:
        await ann.call_tool("list_models", {})
    on.provider.end()
    on.provider.keys.insert(0, new_key("second"))
    await on.provider.begin()
    began = time.monotonic()
    async with signed_in(on.url, "ann", kept=new) as ann:
        await ann.call_tool("list_models", {})
    took = time.monotonic() - began
    both = [(await on.status_of(one.access)).status_code for one in (old, new)]
    on.provider.end()
    assert both == [200, 200]
    away = [(await on.status_of(one.access)).status_code for one in (old, new)]
    assert away == [200, 200]
    return f"signed in anew in {took:.1f} s; old and new {both}; the provider away: {away}"


async def provider_away(provider: Provider, sandbox: str) -> str:
    """A server that starts while it is away says 503 and never 401, and then takes the token."""
    kept = Kept()
    port = free_port()
    resource = f"http://127.0.0.1:{port}/mcp"
    await provider.begin()
    variables = {"MEIGEN_OAUTH_RESOURCE": resource}
    with tempfile.TemporaryDirectory() as folder:
        more = {
            "MEIGEN_OAUTH_ISSUER": provider.url,
            "MEIGEN_OAUTH_SCOPES": "meigen",
            **variables,
        }
        async with process(Path(folder), sandbox, "--port", str(port), **more) as served:
            async with signed_in(f"{served.origin}/mcp", "ann", kept=kept) as ann:
                await ann.call_tool("list_models", {})
            served.process.terminate()
            await served.ended()
        provider.end()
        async with process(Path(folder), sandbox, "--port", str(port), **more) as served:
            on = Stage(provider, resource, served.origin)
            refused = await on.status_of(kept.access)
            asks = refused.headers.get("retry-after")
            await provider.begin()
            with anyio.fail_after(30):
                while (await on.status_of(kept.access)).status_code == 503:  # noqa: ASYNC110  # nothing tells
                    await anyio.sleep(0.5)
            after = await on.status_of(kept.access)
    assert (refused.status_code, asks, after.status_code) == (503, "5", 200)
    return f"away: {refused.status_code}, Retry-After {asks}; back: {after.status_code}"


async def of_others(on: Stage, fetched: Path) -> Mapping[str, str]:
    """FastMCP and both TypeScript SDKs sign in and make a picture."""
    python, forms = fetched / "venv" / "bin" / "python", HERE / "forms.py"
    script = fetched / "typescript.mjs"
    shutil.copy(HERE / "typescript.mjs", script)
    commands = {
        FASTMCP: (python, HERE / "fastmcp_client.py", on.url, "fast"),
        NPM[0]: ("node", script, "v1", on.url, "type-1", forms, sys.executable),
        NPM[1]: ("node", script, "v2", on.url, "type-2", forms, sys.executable),
    }
    told = {}
    for name, command in commands.items():
        told[name] = await anyio.to_thread.run_sync(lambda words=command: run(*words))  # type: ignore[misc]
    return told


def fetch(folder: Path, *, others: bool) -> None:
    """Fetch what is tried."""
    for name in ("package.json", "index.mjs"):
        shutil.copy(ISSUER / name, folder / name)
    quiet = ("--no-audit", "--no-fund", "--silent")
    run("npm", "install", *quiet, *(NPM if others else ()), at=folder)
    if others:
        run(sys.executable, "-m", "venv", folder / "venv")
        run(folder / "venv" / "bin" / "pip", "install", "-q", FASTMCP)


async def tried(what: str, trying: Callable[[], Awaitable[object]]) -> bool:
    """Try something, and print what came of it."""
    try:
        said: object = await trying()
    except Exception as error:  # noqa: BLE001  # it is told
        while isinstance(error, ExceptionGroup):
            error = error.exceptions[0]
        sys.stdout.write(f"{what}: FAILED, {type(error).__name__}: {str(error)[:2000]}\n")
        return False
    sys.stdout.write(f"{what}: {said}\n")
    sys.stdout.flush()
    return True


async def main(*, others: bool) -> int:
    """Try everything."""
    well = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        await anyio.to_thread.run_sync(lambda: fetch(folder, others=others))
        provider = Provider(folder)
        try:
            async with run_sandbox(speed=0.01) as sandbox:
                await provider.begin()
                async with stage(provider, sandbox) as on:
                    well.append(await tried("two people", lambda: two_people(on)))
                    if others:
                        well.append(await tried("others", lambda: of_others(on, folder)))
                    well.append(await tried("a rotated key", lambda: key_rotated(on)))
                provider.seconds = 3
                await provider.begin()
                async with stage(provider, sandbox) as on:
                    well.append(await tried("a token that expires", lambda: renewed(on)))
                    well.append(await tried("within a stream", lambda: stream_ends(on)))
                provider.end()
                provider.seconds = 600
                well.append(await tried("no provider", lambda: provider_away(provider, sandbox)))
        finally:
            provider.end()
    return 0 if all(well) else 1


if __name__ == "__main__":
    raise SystemExit(anyio.run(lambda: main(others="--sdk" not in sys.argv)))
