"""Who may use a server over HTTP, at which address, and who is told of this computer's files.

A request counts as one from elsewhere unless it names this computer by a loopback address and says
nothing of a proxy: whoever sends it then needs a token that cannot be guessed, and is told no path.
"""

import contextlib
import hmac
import re
import secrets
import socket
from collections.abc import Iterable
from dataclasses import dataclass
from http import HTTPStatus
from ipaddress import ip_address
from pathlib import Path
from urllib.parse import urlsplit

from starlette.datastructures import Headers

from meigen_mcp.foreign import flat
from meigen_mcp.origins import is_loopback, origin_of
from meigen_mcp.settings import Settings, SignIn
from meigen_mcp.system import private_folder, secret

LEAST_TOKEN = 24
"""Characters of a token that is asked of other computers: nobody guesses as many random ones."""
KEPT_IN = "http-token"
"""The file of the data folder that holds the token that was made here."""
_SHARED = ("MEIGEN_DATABASE_URL", "MEIGEN_DATABASE_DIRECT_URL", "MEIGEN_REQUEST_KEYS_FILE")
"""What must be right for a server to be one of many: without it, it would be one of its own."""
# With a dot at its end a name is the same, written to the root (RFC 1034, 3.1).
_HOST = re.compile(r"(?:(\[[0-9a-f:.]{2,45}\])|([a-z0-9._-]{1,253}?)\.?)(?::[0-9]{0,5})?", re.ASCII)
_ORIGIN = re.compile(r"https?://([^/?#@]+)", re.ASCII)
# Forwarded and X-Forwarded-*, and what proxies and tunnels write besides or in place of them.
_OF_PROXIES = re.compile(
    r".*forwarded.*|via|x-original-.*|x-originating-ip|x-re(?:al|mote)-(?:ip|addr)"
    r"|.*client-?(?:connection-)?ip|.*connecting-ip|x-(?:host|scheme|url-scheme|rewrite-url)"
    r"|front-end-https|surrogate-capability|x-request-start|x-proxy.*|x-(?:nginx-|ms-)proxy"
    r"|cdn-loop|cf-.*|cloudfront-.*|x-amz-cf-.*|x-amzn-.*|(?:x-)?akamai-.*|x-varnish|x-envoy-.*"
    r"|x-arr-.*|x-azure-.*|x-appengine-.*|x-cloud-trace-.*|x-vercel-.*|x-railway-.*|fly-.*"
    r"|x-github-.*|ngrok-.*|x-tunnel-.*|tailscale-.*"
)
_ASKED = (
    'This server asks for its token: send it as "Authorization: Bearer TOKEN", as clients do that'
    ' were set up with "meigen-mcp install CLIENT --url URL" on its own computer.'
)


class CannotServe(Exception):
    """The server does not start, for a reason that the person can mend."""


class NotAdmitted(Exception):
    """A request is not served.

    Attributes:
        status: of HTTP.
        sentence: what to do about it.
    """

    def __init__(self, status: HTTPStatus, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status
        self.sentence = sentence


@dataclass(frozen=True, slots=True)
class Access:
    """Who is let in at an address.

    Attributes:
        names: the hosts that the server goes by, in lower case.
        token: what every request must bring; None: nothing.
        sign_in: how people sign in; then the SDK looks at what a request brings, `token` included.
        token_file: where the token is, if it was made here.
        discreet: all requests count as ones from elsewhere.
        guarded: requests from elsewhere are let in; they bring a token that nobody guesses, or
            there is nothing to protect.
    """

    names: frozenset[str]
    token: str | None
    token_file: Path | None = None
    discreet: bool = False
    guarded: bool = False
    sign_in: SignIn | None = None

    @property
    def asks(self) -> bool:
        """Whether a request must bring anything."""
        return self.token is not None or self.sign_in is not None

    @property
    def guessable(self) -> bool:
        """Whether its token is so short that it counts on this computer alone."""
        return self.token is not None and not self.guarded

    @property
    def spoken(self) -> tuple[str, ...]:
        """The names, and what else it answers to, in words."""
        own = ("the addresses of this computer",) if self.asks else ()
        return (*sorted(self.names), *own)

    def recognise(self, headers: Headers) -> None:
        """Refuse a request to a host, or from a page, that is not ours: a page can reach them all.

        Raises:
            NotAdmitted: with the option that lets it in.
        """
        host = headers.get("host", "").lower()
        if not self._goes_by(host):
            raise NotAdmitted(HTTPStatus.MISDIRECTED_REQUEST, _not_ours("Host", host))
        for origin in filter(None, headers.getlist("origin")):
            page = _ORIGIN.fullmatch(origin.lower())
            if page is None or not self._goes_by(page[1]):
                name = page[1] if page else ""
                raise NotAdmitted(HTTPStatus.FORBIDDEN, _not_ours("Origin", name))

    def _goes_by(self, host: str) -> bool:
        """Say whether a host, with or without a port, is one of ours."""
        name = _name(host)
        return name in self.names or (self.asks and _own_address(name))

    def admit(self, headers: Headers) -> bool:
        """Let a request in whose host is recognised, or not; return whether it is from elsewhere.

        Raises:
            NotAdmitted: it brings no token, or is from elsewhere and must not be.
        """
        if self.sign_in is not None:
            return True  # whose request it is, and whether it is anybody's, the SDK asks next
        if self.token is not None and not self._brought(headers.get("authorization", "")):
            raise NotAdmitted(HTTPStatus.UNAUTHORIZED, _ASKED)
        elsewhere = self.discreet or _elsewhere(headers)
        if elsewhere and not self.guarded:
            why = (
                "was started with --no-token, for this computer alone: start it without"
                if self.token is None
                else f"has a token of fewer than {LEAST_TOKEN} characters: give it a longer one in"
                " MEIGEN_HTTP_TOKEN"
            )
            raise NotAdmitted(
                HTTPStatus.FORBIDDEN, f"This request came through a proxy, and the server {why}."
            )
        return elsewhere

    def _brought(self, authorization: str) -> bool:
        """Compare in a time that says nothing about the token."""
        scheme, _, token = authorization.partition(" ")
        wanted = (self.token or "").encode()
        return scheme.lower() == "bearer" and hmac.compare_digest(token.encode(), wanted)


def access_for(
    settings: Settings,
    host: str,
    allowed_hosts: Iterable[str] = (),
    *,
    sandbox: bool = False,
    no_token: bool = False,
) -> Access:
    """Decide who is let in at an address, if it may be served there at all.

    Args:
        settings: what the environment says.
        host: the address to bind.
        allowed_hosts: further names under which clients may reach the server.
        sandbox: there is nothing to protect.
        no_token: the person wants no token; on this computer alone.

    Raises:
        CannotServe: others could spend, or the answers would name what is wrong on this machine.
    """
    allowed = tuple(allowed_hosts)
    loopback = is_loopback(origin_of(host))
    public = bool(allowed) or not loopback
    for name in allowed:
        if not _name(_spell(name)):
            raise CannotServe(
                f"--allowed-host {flat(name)} is no host name, such as pictures.example."
            )
    sign_in = settings.sign_in
    urls = (sign_in and sign_in.resource, settings.media_url)
    named = [urlsplit(url).netloc for url in urls if url]
    given = ("127.0.0.1", "localhost", "::1", host, socket.gethostname(), *allowed, *named)
    names = frozenset(_name(_spell(name)) for name in given) - {""}
    if no_token:
        if public or sign_in is not None:
            raise CannotServe(
                "--no-token is for this computer alone; leave it out, or --host, --allowed-host and"
                " MEIGEN_OAUTH_ISSUER."
            )
        return Access(names, None)
    token, kept = settings.http_token, None
    own = token is None and loopback and not sandbox and sign_in is None
    shared = () if sandbox else _SHARED
    needed = {"MEIGEN_HTTP_TOKEN", *shared, *(("MEIGEN_DATA_DIR",) if own else ())}
    wrong = [
        str(p)
        for p in settings.problems
        if public or p.field in needed or p.field.startswith("MEIGEN_OAUTH_")
    ]
    if wrong:
        raise CannotServe("\n".join(wrong))
    if sign_in is not None:
        return _where_people_sign_in(names, token, sign_in)
    if own:
        token, kept = _own_token(settings.data_dir)
    if public and len(token or "") < LEAST_TOKEN and not (sandbox and loopback):
        raise CannotServe(
            "Everybody who reaches this server could spend your credits. Set MEIGEN_HTTP_TOKEN to"
            f" a random text of at least {LEAST_TOKEN} characters, which clients then send as a"
            " bearer token, or serve on 127.0.0.1 alone. This one was just made:"
            f" {secrets.token_urlsafe(LEAST_TOKEN)}"
        )
    guarded = sandbox or len(token or "") >= LEAST_TOKEN
    return Access(names, token, kept, discreet=public, guarded=guarded)


def _where_people_sign_in(names: frozenset[str], token: str | None, sign_in: SignIn) -> Access:
    """Let in who signs in, and scripts by a token that nobody guesses; all are from elsewhere."""
    if token is not None and len(token) < LEAST_TOKEN:
        raise CannotServe(
            "MEIGEN_HTTP_TOKEN lets in whoever guesses it, beside those who sign in: give it at"
            f" least {LEAST_TOKEN} characters, or unset it. This one was just made:"
            f" {secrets.token_urlsafe(LEAST_TOKEN)}"
        )
    return Access(names, token, discreet=True, guarded=True, sign_in=sign_in)


def _own_token(folder: Path) -> tuple[str, Path]:
    """Return the token in a private file, made on first use, and the file."""
    kept = folder / KEPT_IN
    token = ""
    with contextlib.suppress(OSError, ValueError):
        private_folder(folder)
        secret(kept)
        token = kept.read_text("ascii").strip()
    if len(token) < LEAST_TOKEN or not token.isprintable() or " " in token:
        raise CannotServe(
            f"The token for clients cannot be kept in {kept}. Remove that file, see that the folder"
            " can be written, or set MEIGEN_HTTP_TOKEN."
        )
    return token, kept


def _spell(host: str) -> str:
    """Write a host as a Host header has it."""
    return origin_of(host.lower()).removeprefix("http://")


def _name(host: str) -> str:
    """Return a host without its port and last dot; nothing for what cannot be one."""
    found = _HOST.fullmatch(host)
    return found[1] or found[2] if found else ""


def _not_ours(header: str, host: str) -> str:
    name = _name(host)
    if not name:
        return f"The {header} header of this request names no host that can be let in."
    return (
        f"This server does not go by the {header} {name}. If it should, start it with"
        f" --allowed-host {name}."
    )


def _elsewhere(headers: Headers) -> bool:
    """Say whether a request may come from another computer."""
    if not is_loopback(f"http://{headers.get('host', '')}"):
        return True
    return any(_OF_PROXIES.fullmatch(name.replace("_", "-")) for name in headers)


def _own_address(name: str) -> bool:
    """Say whether a name is a literal address of this computer: only those can be bound."""
    try:
        address = ip_address(name.strip("[]"))
        family = socket.AF_INET if address.version == 4 else socket.AF_INET6
        with socket.socket(family, socket.SOCK_DGRAM) as trial:
            trial.bind((str(address), 0))
    except (OSError, ValueError):
        return False
    return not (address.is_unspecified or address.is_multicast)
