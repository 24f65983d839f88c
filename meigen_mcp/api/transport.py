"""The transport to the network: by the proxy that concerns a request, trusting as the system does.

Loaded on first use, by a server with its first call. What cannot be used is named by its own
variable.
"""

import os
import ssl
import sys
from collections.abc import Mapping
from functools import cache, cached_property, partial
from pathlib import Path

import certifi
import httpcore  # noqa: F401  # httpx loads it with its first connection, on the loop
import httpx
import truststore

from meigen_mcp.api import network, pool
from meigen_mcp.api.network import Proxy
from meigen_mcp.api.pool import Pool
from meigen_mcp.errors import Unreachable

_SOCKS = ("socks", "socks4", "socks4a", "socks5", "socks5h")
_LAST_PORT = 2**16 - 1
_NO_LONGER_OR_NOT_YET = (9, 10)
_OTHER_NAME = (62, 63, 64)
"""OpenSSL's words for why a certificate is refused (X509_V_ERR_...)."""


class SystemTransport(httpx.AsyncBaseTransport):
    """Sends requests over the network.

    Args:
        variables: the proxy and certificate variables.
        most: requests at once.
    """

    def __init__(self, variables: Mapping[str, str], most: int) -> None:
        self._variables = variables
        self._proxy_for = cache(partial(network.proxy_for, variables=variables))
        self._pool = Pool(most)

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Send a request.

        Raises:
            Unreachable: it provably was not sent, for a reason that the person can mend.
            httpx.TransportError: it could not be sent, or not be answered.
        """
        url = request.url
        origin = f"{url.scheme}://{url.netloc.decode()}"
        proxy = self._proxy_for(origin)
        try:
            return await self._pool.send(
                request, origin, lambda: self._connect(proxy, secure=url.scheme == "https")
            )
        except httpx.ConnectError as error:
            refused = _refused_certificate(error)
            if refused is not None:
                raise _not_sent(_untrusted(refused, url.host)) from None
            raise _by_way_of(proxy) or error from None
        except (httpx.ConnectTimeout, httpx.ProxyError) as error:
            raise _by_way_of(proxy) or error from None

    async def aclose(self) -> None:
        """Close all connections."""
        await self._pool.aclose()

    @cached_property
    def _trusted(self) -> ssl.SSLContext:
        return trusted(self._variables)

    def _connect(self, proxy: Proxy | None, *, secure: bool) -> httpx.AsyncHTTPTransport:
        """Return a connection by a proxy, or a straight one, with or without TLS."""
        return _transport(proxy, self._trusted if secure else None)


def _transport(proxy: Proxy | None, context: ssl.SSLContext | None) -> httpx.AsyncHTTPTransport:
    try:
        by = httpx.Proxy(proxy.url) if proxy else None
        return httpx.AsyncHTTPTransport(
            verify=context or _no_context(),
            trust_env=False,
            limits=pool.ONE,
            proxy=by and _usable(by),
        )
    except (ImportError, ValueError, httpx.InvalidURL):
        if proxy is None:
            raise
        scheme = proxy.url.partition("://")[0].lower()
        fix = "set it to http://HOST:PORT"
        if scheme in _SOCKS:
            fix = "set HTTPS_PROXY to an http proxy, or install `httpx[socks]` for socks5://"
        raise _not_sent(f"The proxy in {proxy.shown} cannot be used; {fix}.") from None


def _usable(proxy: httpx.Proxy) -> httpx.Proxy:
    if (proxy.url.port or 0) > _LAST_PORT:  # asyncio's own word for it is no OSError
        raise ValueError(proxy.url.port)
    return proxy


@cache
def _no_context() -> ssl.SSLContext:
    """Return what stands where nothing has a certificate: by itself httpx makes one each time."""
    return ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def trusted(variables: Mapping[str, str]) -> ssl.SSLContext:
    """Return what is trusted: the certificates that variables name, else the system's.

    Raises:
        Unreachable: those that a variable names cannot be read.
    """
    named = {name: variables[name] for name in network.CERTIFICATES if variables.get(name)}
    if named:
        file, folders = (named.get(name) for name in network.CERTIFICATES)
        try:
            if not (file or any(map(Path.is_dir, map(Path, (folders or "").split(os.pathsep))))):
                raise NotADirectoryError  # OpenSSL says nothing of it, and trusts nobody
            return ssl.create_default_context(cafile=file, capath=folders)
        except OSError:
            told = " and ".join(f"{name} ({value})" for name, value in named.items())
            raise _not_sent(f"The certificates in {told} cannot be read.") from None
    if sys.platform in {"darwin", "win32"}:
        return truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    usual = ssl.get_default_verify_paths()
    if usual.cafile or (usual.capath and any(Path(usual.capath).iterdir())):
        # Here truststore would read them all again for each connection, which takes 30 ms.
        return ssl.create_default_context()
    context = truststore.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.load_verify_locations(certifi.where())  # small containers have none of their own
    return context


def _refused_certificate(error: BaseException) -> ssl.SSLCertVerificationError | None:
    """Return why a certificate was refused, if that is what lies under an error."""
    below: BaseException | None = error
    while below is not None:
        if isinstance(below, ssl.SSLCertVerificationError):
            return below
        below = below.__cause__ or below.__context__
    return None


def _untrusted(refused: ssl.SSLCertVerificationError, host: str) -> str:
    code = getattr(refused, "verify_code", 0)
    if code in _NO_LONGER_OR_NOT_YET:
        return (
            f"The certificate of {host} is not valid today; look at this computer's clock. Nothing"
            " was sent."
        )
    if code in _OTHER_NAME:
        return f"The certificate that {host} shows is another host's; nothing was sent."
    return (
        f"The certificate of {host} is not trusted by this computer; nothing was sent. In a network"
        " that looks into connections, its certificate belongs into the system's store, or its file"
        " into SSL_CERT_FILE."
    )


def _by_way_of(proxy: Proxy | None) -> Unreachable | None:
    if proxy is None:
        return None
    return _not_sent(
        f"MeiGen could not be reached by the proxy in {proxy.shown}; nothing was sent."
    )


def _not_sent(message: str) -> Unreachable:
    return Unreachable(message, sent=False)
