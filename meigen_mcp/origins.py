"""Origins: how they are written, and which are this computer; nothing is resolved."""

import re
from ipaddress import IPv6Address, ip_address
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"(https?)://([\w-]+(?:\.[\w-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/*", re.ASCII)


def read_origin(value: str) -> str | None:
    """Return an origin in its one spelling, since it is part of an account's name."""
    found = _ORIGIN.fullmatch(value)
    if found is None:
        return None
    scheme, host, standard = found[1], found[2], 443 if found[1] == "https" else 80
    port = int(found[3] or standard)
    try:
        host = f"[{IPv6Address(host[1:-1])}]" if host.startswith("[") else host
    except ValueError:
        return None
    if not 0 < port < 2**16 or (scheme == "http" and not is_loopback(value)):
        return None
    return f"{scheme}://{host}" + ("" if port == standard else f":{port}")


def origin_of(host: str) -> str:
    """Return the origin of a host, without a port."""
    try:
        return f"http://[{IPv6Address(host.strip('[]'))}]"
    except ValueError:
        return f"http://{host}"


def is_loopback(url: str) -> bool:
    """Say whether the literal host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
