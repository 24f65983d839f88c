"""Each request has a connection for itself: an idle one of its way, or a new one."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import httpx
import pytest

from meigen_mcp.api import pool
from meigen_mcp.api.pool import Pool


class Network:
    """What connections are made of: the name of each that was opened, used and closed."""

    def __init__(self) -> None:
        self.opened: list[str] = []
        self.used: list[str] = []
        self.closed: list[str] = []
        self.fails = False

    def connect(self) -> httpx.AsyncBaseTransport:
        """Return one more."""
        self.opened.append("abcdef"[len(self.opened)])
        return Connection(self, self.opened[-1])


class Connection(httpx.AsyncBaseTransport):
    """One of them."""

    def __init__(self, network: Network, name: str) -> None:
        self._network = network
        self._name = name

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Answer everything."""
        if self._network.fails:
            raise httpx.ConnectError("refused", request=request)
        self._network.used.append(self._name)
        return httpx.Response(200, stream=httpx.ByteStream(b"done"))

    async def aclose(self) -> None:
        """Close it."""
        self._network.closed.append(self._name)


@pytest.fixture
def network() -> Network:
    """Return one without connections."""
    return Network()


@asynccontextmanager
async def sent(by: Pool, network: Network, way: str = "there") -> AsyncIterator[httpx.Response]:
    """Send a request, which waits a moment for its place, and close the response at the end."""
    timeout = {"timeout": {"pool": 0.01}}
    request = httpx.Request("GET", "https://meigen.example", extensions=timeout)
    response = await by.send(request, way, network.connect)
    try:
        yield response
    finally:
        await response.aclose()


async def test_what_was_used_last_is_used_next(network: Network) -> None:
    """One after another all go by one; two at once by two, of which the rest may grow old."""
    by = Pool(2)
    for _ in range(3):
        async with sent(by, network) as response:
            assert await response.aread() == b"done"
    async with sent(by, network), sent(by, network):
        pass
    async with sent(by, network):
        pass
    assert network.used == [*"aaa", *"ab", "a"]


async def test_each_way_has_connections_of_its_own(network: Network) -> None:
    """A download from another host does not take the API's away."""
    by = Pool(2)
    for way in ("api", "files", "api", "files"):
        async with sent(by, network, way):
            pass
    assert (network.used, network.closed) == ([*"abab"], [])


async def test_more_than_may_be_at_once_wait_for_a_place(network: Network) -> None:
    """And are not sent if none is free in time."""
    by = Pool(1)
    third = anyio.Event()

    async def wait() -> None:
        request = httpx.Request("GET", "https://meigen.example")
        await (await by.send(request, "there", network.connect)).aclose()
        third.set()

    async with anyio.create_task_group() as group:
        async with sent(by, network):
            with pytest.raises(httpx.PoolTimeout):
                async with sent(by, network):
                    pass
            group.start_soon(wait)
            await anyio.wait_all_tasks_blocked()
            before = (list(network.used), third.is_set())
        await third.wait()
    assert (before, network.used) == ((["a"], False), ["a", "a"])


async def test_what_fails_is_closed_and_leaves_its_place(network: Network) -> None:
    """Else no request could be sent after a network that was away."""
    by = Pool(1)
    network.fails = True
    for _ in range(3):
        with pytest.raises(httpx.ConnectError):
            async with sent(by, network):
                pass
    network.fails = False
    async with sent(by, network):
        pass
    assert (network.closed, network.used) == ([*"abc"], ["d"])


async def test_a_body_that_cannot_be_closed_leaves_its_place_too(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few of them would take all the places, and nothing would be sent any more."""

    async def broken(_: httpx.ByteStream) -> None:
        raise httpx.ReadError("")

    by = Pool(1)
    with monkeypatch.context() as patched:
        patched.setattr(httpx.ByteStream, "aclose", broken)
        for _ in range(3):
            with pytest.raises(httpx.ReadError):
                async with sent(by, network):
                    pass
    async with sent(by, network):
        pass
    assert len(network.used) == 4


async def test_what_is_idle_for_long_is_closed(
    network: Network, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other side has closed it by then, and its socket would stay."""
    monkeypatch.setattr(pool, "KEPT_FOR", -1)
    by = Pool(2)
    async with sent(by, network), sent(by, network):
        pass
    async with sent(by, network):
        pass
    assert (network.closed, network.used) == (["b"], [*"aba"])


async def test_no_more_are_kept_than_may_be_at_once(network: Network) -> None:
    """And one: results on many hosts would take all of a process's descriptors."""
    by = Pool(2)
    for way in ("first", "second", "third", "fourth", "fifth"):
        async with sent(by, network, way):
            pass
    assert (network.used, network.closed) == ([*"abcde"], ["a", "b"])


async def test_the_end_closes_those_at_work_too(network: Network) -> None:
    """And each once."""
    by = Pool(3)
    async with sent(by, network), sent(by, network):
        async with sent(by, network):
            pass
        await by.aclose()
        await by.aclose()
    assert sorted(network.closed) == [*"abc"]
