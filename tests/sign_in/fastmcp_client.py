"""FastMCP's client signs in, in an environment of its own: `python fastmcp_client.py URL NAME`."""

import asyncio
import sys
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

sys.path.insert(0, str(Path(__file__).parents[1]))

from fastmcp import Client
from fastmcp.client.auth import OAuth
from mcp.shared.auth import AuthorizationCodeResult

from sign_in.forms import sign_in


class Scripted(OAuth):  # type: ignore[misc]  # it is installed there alone
    """Its person is at the forms by themselves, and no browser is opened."""

    person = ""
    back = ""

    async def redirect_handler(self, authorization_url: str) -> None:
        """Be at the forms."""
        redirect = parse_qs(urlsplit(authorization_url).query)["redirect_uri"][0]
        self.back = await asyncio.to_thread(sign_in, authorization_url, self.person, redirect)

    async def callback_handler(self) -> AuthorizationCodeResult:
        """Come back."""
        told: dict[str, Any] = {k: v[0] for k, v in parse_qs(urlsplit(self.back).query).items()}
        return AuthorizationCodeResult(**told)


async def main(url: str, name: str) -> None:
    """Make a picture as a person, and print what it came to."""
    auth = Scripted(url)
    auth.person = name
    async with Client(url, auth=auth) as client:
        made = await client.call_tool("generate_image", {"prompt": f"a fox of {name}"})
        print((made.structured_content or {}).get("status"))  # noqa: T201  # it is read


asyncio.run(main(*sys.argv[1:3]))
