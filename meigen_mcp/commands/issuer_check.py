"""What `doctor` says of the issuer by which people sign in."""

import httpx

from meigen_mcp.commands.findings import Finding
from meigen_mcp.settings import SignIn
from meigen_mcp.transports.issuer_keys import Keys


async def examine(sign_in: SignIn, transport: httpx.AsyncBaseTransport | None = None) -> Finding:
    """Look whether the issuer's keys can be had, as the server does.

    Args:
        sign_in: how people sign in.
        transport: what carries the requests; by default the network.
    """
    try:
        keys = await Keys(sign_in, transport).look()
    except Exception as error:  # noqa: BLE001  # whatever an issuer answers
        return Finding(
            "sign-in",
            f"nobody can sign in: the keys of {sign_in.issuer} cannot be fetched"
            f" ({type(error).__name__})",
            "Open ISSUER/.well-known/openid-configuration: it must answer, and name"
            " MEIGEN_OAUTH_ISSUER byte by byte; or set MEIGEN_OAUTH_KEYS_URL (docs/team.md).",
        )
    whom = " or ".join(sign_in.audiences)
    return Finding("sign-in", f"{sign_in.issuer} answers, keys: {keys}; tokens are for {whom}")
