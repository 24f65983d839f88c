"""How one request is sent over httpx's transport, and what its failures mean.

Not by a client of httpx: its layers take as long again as the exchange, for cookies, redirects,
signing in, proxies and decoding, and none of that is wanted here.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import asynccontextmanager, contextmanager
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING

import anyio

from meigen_mcp import errors
from meigen_mcp.settings import network_variables

if TYPE_CHECKING:
    import httpx  # loaded on first use: it takes as long as the rest of this package

READ_WITHIN = 0.5
"""Seconds in which what has arrived is read, though its time is over."""
_MOST_AT_ONCE = 40
_TIMES = ("connect", "read", "write", "pool")


class Wire:
    """Carries requests.

    Args:
        transport: what they go by; by default the network, by way of the proxies and with the
            certificates of the environment.
    """

    def __init__(self, transport: httpx.AsyncBaseTransport | None) -> None:
        self._given = transport

    @cached_property
    def _transport(self) -> httpx.AsyncBaseTransport:
        """What they go by, made on first use."""
        from meigen_mcp.api.transport import SystemTransport  # noqa: PLC0415  # as above

        return self._given or SystemTransport(network_variables(), _MOST_AT_ONCE)

    async def close(self) -> None:
        """Close all connections."""
        if "_transport" in vars(self):
            await self._transport.aclose()

    @asynccontextmanager
    async def open(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        timeout: tuple[float, float | None, float, float],
        content: bytes | AsyncIterator[bytes] | None = None,
    ) -> AsyncIterator[httpx.Response]:
        """Send a request, and give what comes back, whose body is still to be read.

        Args:
            method: of HTTP.
            url: where to; redirects are not followed.
            headers: besides those that say who asks and whom.
            timeout: seconds to connect, for each read, for each write, and for a connection.
            content: the body.

        Raises:
            httpx.InvalidURL: nothing can be asked for there.
        """
        import httpx  # noqa: PLC0415  # as above

        try:
            request = httpx.Request(
                method,
                _parsed(url),
                headers={"Connection": "keep-alive", "User-Agent": "meigen-mcp", **headers},
                content=content,
                extensions={"timeout": dict(zip(_TIMES, timeout, strict=True))},
            )
        except UnicodeError:  # half a character, or a name in Punycode (xn--) that stands for none
            raise httpx.InvalidURL("") from None
        response = await self._transport.handle_async_request(request)
        try:
            yield response
        finally:
            await response.aclose()


@lru_cache(4096)
def _parsed(url: str) -> httpx.URL:
    """Return a URL as httpx has it: to read it takes a twelfth of a look, and each has many."""
    import httpx  # noqa: PLC0415  # as above

    return httpx.URL(url)


def redirected(url: str, response: httpx.Response) -> str:
    """Return where a redirect leads.

    Raises:
        httpx.InvalidURL: nowhere.
    """
    import httpx  # noqa: PLC0415  # as above

    return str(httpx.URL(url).join(response.headers["location"]))


@contextmanager
def giving_up_after(seconds: float) -> Iterator[None]:
    """Give up after some seconds, but not before what has arrived by then is read.

    A process that was stopped, or slept, finds the reply and the end of its time at once.

    Raises:
        TimeoutError: the time is over.
    """
    loop = asyncio.get_running_loop()
    with anyio.CancelScope() as scope:

        def end() -> None:
            timers.append(loop.call_later(READ_WITHIN, scope.cancel))

        timers = [loop.call_later(seconds, end)]
        try:
            yield
        finally:
            for timer in timers:
                timer.cancel()
    if scope.cancelled_caught:
        raise TimeoutError


@contextmanager
def translating() -> Iterator[None]:
    """Turn every failure of httpx and below into an `Unreachable` without its text."""
    import httpx  # noqa: PLC0415  # as above

    try:
        yield
    except (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.ProxyError):
        raise errors.Unreachable(
            "MeiGen could not be reached; nothing was sent.", sent=False
        ) from None
    except (httpx.TimeoutException, TimeoutError):
        raise errors.Unreachable("MeiGen did not answer in time.") from None
    except (httpx.HTTPError, httpx.InvalidURL, httpx.StreamError, ssl.SSLError):
        raise errors.Unreachable("The connection to MeiGen was lost.") from None
