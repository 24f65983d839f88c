"""Origins: how they are written, and which are this computer; nothing is resolved."""

import re
from functools import lru_cache
from ipaddress import IPv6Address, ip_address
from unicodedata import normalize
from urllib.parse import urlsplit

_ORIGIN = re.compile(r"(https?)://([\w-]+(?:\.[\w-]+)*|\[[0-9a-f:.]+\])(?::(\d{1,5}))?/*", re.ASCII)
_HOST = re.compile(
    r"\s*(?:https://)?(?:[^@/?#\s]*@)?([^:@/?#\s\[\]]+?)\.?(?::([0-9]{1,5}))?/?\s*", re.IGNORECASE
)
_LONGEST_HOST = 300
"""Characters, with what may stand around one; a name has 253."""
_ACE = "xn--"


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


def read_host(text: str) -> str | None:
    """Return a host of https in its one spelling, or None if it is none.

    Returns:
        The name in small letters, in ASCII (RFC 5891, 4.4), without a dot at its end; behind it
        a colon and the port, unless it is that of https.
    """
    found = _HOST.fullmatch(text) if len(text) <= _LONGEST_HOST else None
    if found is None:
        return None
    labels = normalize("NFKC", found[1]).lower().split(".")
    host = ".".join(
        label if label.isascii() else _ACE + label.encode("punycode").decode() for label in labels
    )
    return host if found[2] is None or int(found[2]) == 443 else f"{host}:{int(found[2])}"


def unicode_of(host: str) -> str:
    """Return a name as people write it, as far as its labels are letters and digits."""
    return ".".join(_decoded(label) for label in host.split("."))


def _decoded(label: str) -> str:
    if not label.startswith(_ACE):
        return label
    try:
        word = label[len(_ACE) :].encode().decode("punycode")
    except UnicodeError:
        return label
    return word if word.replace("-", "").isalnum() else label


def origin_of(host: str) -> str:
    """Return the origin of a host, without a port."""
    try:
        return f"http://[{IPv6Address(host.strip('[]'))}]"
    except ValueError:
        return f"http://{host}"


@lru_cache(maxsize=64)  # of the few origins in the settings it is asked with each call
def is_loopback(url: str) -> bool:
    """Say whether the literal host of a URL is this machine."""
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
