"""The way of a request out of this computer: the proxies and certificates that variables name.

Each request is judged by what concerns it alone, and each entry of NO_PROXY by itself: a variable
that is of no use for a request does not stop it.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from urllib.parse import urlsplit

CERTIFICATES = ("SSL_CERT_FILE", "SSL_CERT_DIR")
PROXIES = ("HTTPS_PROXY", "HTTP_PROXY", "ALL_PROXY", "NO_PROXY")
_PASSWORD = re.compile(r"((?:\w+:)?//)?.*@", re.DOTALL)
_BRACKETS = re.compile(r"\[([^\]]*)\](/\d+)?(?::(\d{1,5}))?")
_PORT = re.compile(r"(.*?):(\d{1,5})")


@dataclass(frozen=True, slots=True)
class Proxy:
    """A proxy, and the variable that names it."""

    url: str
    variable: str

    @property
    def shown(self) -> str:
        """Both, without a password."""
        return f"{self.variable} ({hide_password(self.url)})"


def hide_password(url: str) -> str:
    """Return the URL of a proxy, or what stands in its place, as it may be shown."""
    return _PASSWORD.sub(r"\1***@", url, count=1)


def spellings(name: str) -> tuple[str, str]:
    """Return the two ways in which a proxy variable is written; the first one counts."""
    return name.lower(), name


def shown(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the proxy and certificate variables that are set, without passwords."""
    names = {name for proxy in PROXIES for name in spellings(proxy)} | set(CERTIFICATES)
    set_ones = {name: environment[name] for name in sorted(names) if environment.get(name)}
    return {name: hide_password(value) for name, value in set_ones.items()}


def proxy_for(url: str, variables: Mapping[str, str]) -> Proxy | None:
    """Return the proxy that a request goes by; None: it goes straight.

    This computer is never asked by way of another one.

    Args:
        url: http or https, as it will be sent.
        variables: the proxy variables.
    """
    parts = urlsplit(url)
    host = (parts.hostname or "").rstrip(".")
    port = parts.port or (443 if parts.scheme == "https" else 80)
    if _is_this_computer(host) or _excepted(host, port, _value(variables, "NO_PROXY")[1]):
        return None
    for name in (f"{parts.scheme.upper()}_PROXY", "ALL_PROXY"):
        variable, value = _value(variables, name)
        if value:
            return Proxy(value if "://" in value else f"http://{value}", variable)
    return None


def _value(variables: Mapping[str, str], name: str) -> tuple[str, str]:
    for spelling in spellings(name):
        if value := variables.get(spelling, "").strip():
            return spelling, value
    return name, ""


def _is_this_computer(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def _excepted(host: str, port: int, entries: str) -> bool:
    """Say whether NO_PROXY speaks of a host; what cannot be read in it says nothing."""
    return any(
        _matches(host, port, entry.lower()) for entry in re.split(r"[,\s]+", entries) if entry
    )


def _matches(host: str, port: int, entry: str) -> bool:
    if entry == "*":
        return True
    name, only_port = _without_port(entry.rpartition("://")[2])
    if only_port not in (None, port):
        return False
    if (network := _network(name)) is not None:
        try:
            return ip_address(host) in network
        except ValueError:
            return False
    name = name.removeprefix("*").strip(".")
    return bool(name) and (host == name or host.endswith(f".{name}"))


def _without_port(entry: str) -> tuple[str, int | None]:
    if found := _BRACKETS.fullmatch(entry):
        return found[1] + (found[2] or ""), int(found[3]) if found[3] else None
    if _network(entry) is None and (found := _PORT.fullmatch(entry)):
        return found[1], int(found[2])
    return entry, None


def _network(text: str) -> IPv4Network | IPv6Network | None:
    """Return an address, or a range of them, that a text means."""
    try:
        return ip_network(text, strict=False)
    except ValueError:
        return None
