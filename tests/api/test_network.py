"""The way out of this computer: proxies by request, certificates by the system, all by name."""

import asyncio
import datetime as dt
import hashlib
import os
import ssl
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from types import SimpleNamespace

import certifi
import httpx
import pytest
import truststore
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from meigen_mcp.api import network, transport
from meigen_mcp.api.network import Proxy, proxy_for
from meigen_mcp.api.transport import SystemTransport, trusted
from meigen_mcp.errors import Unreachable

API = "https://www.meigen.ai/api"
GOOD = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("variables", "url", "proxy"),
    [
        ({}, API, None),
        ({"HTTPS_PROXY": GOOD}, API, Proxy(GOOD, "HTTPS_PROXY")),
        ({"https_proxy": GOOD, "HTTPS_PROXY": "http://other"}, API, Proxy(GOOD, "https_proxy")),
        ({"HTTPS_PROXY": "proxy:3128"}, API, Proxy("http://proxy:3128", "HTTPS_PROXY")),
        ({"HTTP_PROXY": GOOD}, API, None),
        ({"HTTP_PROXY": GOOD}, "http://api.example", Proxy(GOOD, "HTTP_PROXY")),
        ({"ALL_PROXY": GOOD}, API, Proxy(GOOD, "ALL_PROXY")),
        ({"ALL_PROXY": "socks5://s:1", "HTTPS_PROXY": GOOD}, API, Proxy(GOOD, "HTTPS_PROXY")),
        ({"ALL_PROXY": GOOD, "HTTPS_PROXY": " "}, API, Proxy(GOOD, "ALL_PROXY")),
        ({"ALL_PROXY": GOOD}, "http://127.0.0.1:8787/api", None),
        ({"ALL_PROXY": GOOD}, "http://[::1]:8787/api", None),
        ({"ALL_PROXY": GOOD}, "http://localhost:8787/api", None),
    ],
)
def test_a_request_goes_by_the_proxy_of_its_own_scheme(
    variables: Mapping[str, str], url: str, proxy: Proxy | None
) -> None:
    """Else by the one of all, and to this computer by none."""
    assert proxy_for(url, variables) == proxy


@pytest.mark.parametrize(
    ("entry", "url", "excepted"),
    [
        ("*", API, True),
        ("www.meigen.ai", API, True),
        ("meigen.ai", API, True),
        (".meigen.ai", API, True),
        ("*.meigen.ai", API, True),
        ("MEIGEN.AI", API, True),
        ("meigen.ai:443", API, True),
        ("meigen.ai:8443", API, False),
        ("https://meigen.ai", API, True),
        ("eigen.ai", API, False),
        ("meigen.ai.example", API, False),
        ("other.example", API, False),
        ("10.0.0.0/8", "https://10.1.2.3", True),
        ("10.0.0.0/8", "https://11.1.2.3", False),
        ("10.1.2.3/8", "https://10.9.9.9", True),
        ("10.1.2.3", "https://10.1.2.3", True),
        ("10.1.2.3:443", "https://10.1.2.3", True),
        ("fd00::/8", "https://[fd00::1]", True),
        ("[fd00::]/8", "https://[fd00::1]", True),
        ("fd00::1", "https://[fd00::1]", True),
        ("[fd00::1]", "https://[fd00::1]", True),
        ("[fd00::1]:443", "https://[fd00::1]", True),
        ("[fd00::1]:80", "https://[fd00::1]", False),
        ("fd00::/8", API, False),
        ("[::1]", API, False),
        ("::1", API, False),
        ("[", API, False),
        ("]:x[", API, False),
        ("fd00::/999", API, False),
        (":", API, False),
        (".", API, False),
        ("http://", API, False),
        ("%zz", API, False),
        ("{}", API, False),
    ],
)
def test_each_entry_of_no_proxy_stands_for_itself(entry: str, url: str, excepted: bool) -> None:
    """One that cannot be read says nothing, and the others count beside it."""
    variables = {"HTTPS_PROXY": GOOD, "NO_PROXY": f"a.example, {entry}"}
    assert (proxy_for(url, variables) is None) is excepted
    for odd in ("fd00::/8", "[::1]", "[", "x://[", "*.*", "a b"):
        beside = {"HTTPS_PROXY": GOOD, "no_proxy": f"{odd},{entry}"}
        assert (proxy_for(url, beside) is None) is excepted or "fd00" in url + odd


async def outcome(url: str, variables: Mapping[str, str]) -> int | str:
    """Return the status of an answer, or why there is none."""
    async with httpx.AsyncClient(
        transport=SystemTransport(variables, 2), trust_env=False
    ) as client:
        try:
            return (await client.get(url)).status_code
        except Unreachable as error:
            return f"{error.message}{' It was sent.' if error.sent else ''}"
        except httpx.TransportError as error:
            return type(error).__name__


@pytest.mark.parametrize(
    ("name", "url", "says"),
    [
        ("ALL_PROXY", "socks5://me:p4ss@s.example:1080", "install `httpx[socks]` for socks5://"),
        ("all_proxy", "socks://s.example:1080", "set HTTPS_PROXY to an http proxy"),
        ("HTTPS_PROXY", "gopher://s.example", "set it to http://HOST:PORT"),
        ("HTTPS_PROXY", "http://a.example:x", "set it to http://HOST:PORT"),
        ("HTTPS_PROXY", "127.0.0.1:80800", "set it to http://HOST:PORT"),
    ],
)
async def test_a_proxy_that_cannot_be_used_is_named_by_its_variable(
    name: str, url: str, says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without its password; where another one is good, it is of no importance."""
    monkeypatch.setitem(sys.modules, "socksio", None)
    said = await outcome(API, {name: url})
    assert isinstance(said, str)
    assert said.startswith(f"The proxy in {name} (")
    assert says in said
    assert "p4ss" not in said
    async with serving() as (port, seen):
        proxy = {"HTTP_PROXY": f"127.0.0.1:{port}"}
        assert await outcome("http://api.example/x", {name: url, **proxy}) == 200
    assert seen == ["GET http://api.example/x HTTP/1.1"]


@asynccontextmanager
async def serving(
    tls: ssl.SSLContext | None = None, status: int = 200
) -> AsyncIterator[tuple[int, list[str]]]:
    """Answer every request alike on a port of this computer; yield it, and the first lines."""
    seen: list[str] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = await reader.readuntil(b"\r\n\r\n")
        seen.append(head.decode().splitlines()[0])
        writer.write(f"HTTP/1.1 {status} Word\r\ncontent-length: 0\r\n\r\n".encode())
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=tls)
    async with server:
        yield server.sockets[0].getsockname()[1], seen


@asynccontextmanager
async def leading(port: int) -> AsyncIterator[str]:
    """Yield a proxy that leads to a port of this computer, whatever is asked for."""
    leads: list[asyncio.Task[None] | None] = []

    async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await source.read(2**16):
                target.write(data)
        target.close()
        with suppress(OSError):
            await target.wait_closed()

    async def lead(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        leads.append(asyncio.current_task())
        await reader.readuntil(b"\r\n\r\n")
        there, back = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
        await asyncio.gather(copy(reader, back), copy(there, writer))

    proxy = await asyncio.start_server(lead, "127.0.0.1", 0)
    async with proxy:
        yield f"http://127.0.0.1:{proxy.sockets[0].getsockname()[1]}"
        await asyncio.wait([lead for lead in leads if lead is not None])


async def test_a_proxy_that_does_not_let_through_is_named() -> None:
    """Not the connection, nor another variable."""
    async with serving(status=407) as (port, seen):
        said = await outcome(API, {"HTTPS_PROXY": f"http://me:p4ss@127.0.0.1:{port}"})
    assert seen == ["CONNECT www.meigen.ai:443 HTTP/1.1"]
    gone = await outcome(API, {"https_proxy": f"127.0.0.1:{port}"})
    by = "MeiGen could not be reached by the proxy in"
    assert (said, gone) == (
        f"{by} HTTPS_PROXY (http://***@127.0.0.1:{port}); nothing was sent.",
        f"{by} https_proxy (http://127.0.0.1:{port}); nothing was sent.",
    )
    assert await outcome(f"http://127.0.0.1:{port}/", {}) == "ConnectError"


# --- certificates ---------------------------------------------------------------------------------


def authority(folder: Path, name: str = "localhost", days: int = 2) -> tuple[Path, ssl.SSLContext]:
    """Return the certificate of an authority of its own, and a server that it vouches for."""
    now = dt.datetime.now(dt.UTC)
    root_key, key = (ec.generate_private_key(ec.SECP256R1()) for _ in range(2))
    root_name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "a company")])

    def begun(subject: x509.Name) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(root_name)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - dt.timedelta(days=800))  # some processes see no moved clock
        )

    later = now + dt.timedelta(days=2)
    root = (
        begun(root_name)
        .public_key(root_key.public_key())
        .not_valid_after(later)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(root_key, hashes.SHA256())
    )
    leaf = (
        begun(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .public_key(key.public_key())
        .not_valid_after(now + dt.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .sign(root_key, hashes.SHA256())
    )
    file, chain = folder / "company.pem", folder / "server.pem"
    file.write_bytes(root.public_bytes(serialization.Encoding.PEM))
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    chain.write_bytes(private + leaf.public_bytes(serialization.Encoding.PEM))
    tls = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    tls.load_cert_chain(chain)
    return file, tls


@pytest.mark.parametrize("variable", ["SSL_CERT_FILE", "SSL_CERT_DIR"])
async def test_a_certificate_that_a_variable_names_is_trusted(
    variable: str, tmp_path: Path
) -> None:
    """The variables win over the system's store."""
    file, tls = authority(tmp_path)
    place = file
    if variable == "SSL_CERT_DIR":
        place = tmp_path / "certs"
        place.mkdir()
        (place / f"{_hash(file)}.0").write_bytes(file.read_bytes())
    async with serving(tls) as (port, _):
        assert await outcome(f"https://localhost:{port}/", {variable: str(place)}) == 200


def _hash(file: Path) -> str:
    """Return the name under which OpenSSL looks for a certificate in a folder."""
    name = x509.load_pem_x509_certificate(file.read_bytes()).subject.public_bytes()
    # It hashes the name, in lower case and in UTF-8 as ours is, without the outer tag.
    digest = hashlib.sha1(name[2:], usedforsecurity=False).digest()
    return f"{int.from_bytes(digest[:4], 'little'):08x}"


@pytest.mark.skipif(sys.platform in {"darwin", "win32"}, reason="their stores are not a file")
async def test_what_the_system_trusts_is_trusted(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A company's certificate is in the system's store, and not in a package's."""
    file, tls = authority(tmp_path)
    async with serving(tls) as (port, _):
        monkeypatch.setenv("SSL_CERT_FILE", str(file))  # where OpenSSL looks, as its default
        assert await outcome(f"https://localhost:{port}/", {}) == 200


@pytest.mark.parametrize(
    ("name", "days", "says"),
    [
        (
            "localhost",
            2,
            "The certificate of localhost is not trusted by this computer; nothing was sent. In a"
            " network that looks into connections, its certificate belongs into the system's store,"
            " or its file into SSL_CERT_FILE.",
        ),
        (
            "other.example",
            2,
            "The certificate that localhost shows is another host's; nothing was sent.",
        ),
        (
            "localhost",
            -1,
            "The certificate of localhost is not valid today; look at this computer's clock."
            " Nothing was sent.",
        ),
    ],
)
async def test_a_certificate_that_is_not_trusted_has_a_sentence_of_its_own(
    name: str, days: int, says: str, tmp_path: Path
) -> None:
    """It is not "could not be reached": the person mends something else."""
    file, tls = authority(tmp_path, name, days)
    known = "is not trusted" not in says
    async with serving(tls) as (port, seen):
        trusting = {"SSL_CERT_FILE": str(file) if known else certifi.where()}
        assert await outcome(f"https://localhost:{port}/", trusting) == says
    assert seen == []


async def test_a_certificate_that_is_refused_behind_a_proxy_keeps_no_place(tmp_path: Path) -> None:
    """However often it is tried: once it is trusted, the next request goes through."""
    file, tls = authority(tmp_path, "meigen.example")
    trust = tmp_path / "trust.pem"
    trust.write_bytes(Path(certifi.where()).read_bytes())
    said: list[object] = []
    async with serving(tls) as (port, _), leading(port) as proxy:
        way = SystemTransport({"HTTPS_PROXY": proxy, "SSL_CERT_FILE": str(trust)}, 1)
        async with httpx.AsyncClient(transport=way, trust_env=False) as client:
            for number in range(3):
                if number == 2:
                    way._trusted.load_verify_locations(file)  # noqa: SLF001  # as if it were mended
                try:
                    said.append((await client.get(f"https://meigen.example:{port}/")).status_code)
                except Unreachable as error:
                    said.append(error.message.partition(" is ")[0])
    assert said == [*["The certificate of meigen.example"] * 2, 200]


async def test_certificates_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    """They do not matter to a request without TLS."""
    text = tmp_path / "text.pem"
    text.write_text("no certificate", encoding="utf-8")
    for file in (text, tmp_path / "gone.pem"):
        said = await outcome(API, {"SSL_CERT_FILE": str(file)})
        assert said == f"The certificates in SSL_CERT_FILE ({file}) cannot be read."
        async with serving() as (port, _):
            url = f"http://127.0.0.1:{port}/"
            assert await outcome(url, {"SSL_CERT_FILE": str(file)}) == 200


async def test_a_folder_of_certificates_that_is_not_there_is_named(tmp_path: Path) -> None:
    """OpenSSL would say that nobody is trusted; beside a file that can be read it is no matter."""
    file, tls = authority(tmp_path)
    gone = str(tmp_path / "gone")
    for folders in (gone, os.pathsep.join((gone, str(file)))):
        said = await outcome(API, {"SSL_CERT_DIR": folders})
        assert said == f"The certificates in SSL_CERT_DIR ({folders}) cannot be read."
    async with serving(tls) as (port, _):
        named = {"SSL_CERT_FILE": str(file), "SSL_CERT_DIR": gone}
        assert await outcome(f"https://localhost:{port}/", named) == 200


@pytest.mark.parametrize(
    ("platform", "paths", "by"),
    [
        ("darwin", ("/there", None), truststore.SSLContext),
        ("win32", (None, None), truststore.SSLContext),
        ("linux", (None, None), truststore.SSLContext),
        ("linux", (None, "empty"), truststore.SSLContext),
        ("linux", ("/there", None), ssl.SSLContext),
        ("linux", (None, "full"), ssl.SSLContext),
    ],
)
def test_each_system_is_asked_in_its_own_way(
    platform: str,
    paths: tuple[str | None, str | None],
    by: type,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Where OpenSSL knows the store it is read once; elsewhere truststore knows where to look."""
    (tmp_path / "empty").mkdir()
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "0.0").touch()
    folder = paths[1] and str(tmp_path / paths[1])
    usual = SimpleNamespace(cafile=paths[0], capath=folder)
    monkeypatch.setattr(transport, "sys", SimpleNamespace(platform=platform))
    monkeypatch.setattr(ssl, "get_default_verify_paths", lambda: usual)
    assert type(trusted({})) is by


def test_what_leads_to_the_network_can_be_shown() -> None:
    """Without the passwords, also those with the signs of a URL in them."""
    environment = {
        "HTTPS_PROXY": "http://me:p@ss@proxy.example:8080",
        "HTTP_PROXY": "http://me:p/a?s#s@proxy.example:8080",
        "http_proxy": "me:p/ss@proxy.example",
        "all_proxy": "me:pa55@proxy.example",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "SSL_CERT_DIR": "",
        "PATH": "/bin",
    }
    assert network.shown(environment) == {
        "HTTPS_PROXY": "http://***@proxy.example:8080",
        "HTTP_PROXY": "http://***@proxy.example:8080",
        "http_proxy": "***@proxy.example",
        "NO_PROXY": "localhost",
        "SSL_CERT_FILE": "/etc/ca.pem",
        "all_proxy": "***@proxy.example",
    }


@pytest.mark.parametrize(("stays", "connections"), [(True, 1), (False, 3)])
async def test_a_connection_that_was_closed_meanwhile_is_not_used_again(
    stays: bool, connections: int
) -> None:
    """One that stays open is."""
    opened: list[asyncio.StreamWriter] = []

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        opened.append(writer)
        while await reader.readline():
            while await reader.readline() != b"\r\n":
                pass
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        way = SystemTransport({}, 2)
        for _ in range(3):
            request = httpx.Request("GET", f"http://127.0.0.1:{port}")
            response = await way.handle_async_request(request)
            await response.aread()
            if not stays:
                opened[-1].close()
                await opened[-1].wait_closed()
        await way.aclose()
        for writer in opened:
            writer.close()
            await writer.wait_closed()
    assert len(opened) == connections
