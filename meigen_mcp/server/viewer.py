"""The in-chat viewer: one HTML file that hosts of MCP Apps show with an answer.

The messages are those of the specification of 2026-01-26 (modelcontextprotocol/ext-apps); the page
itself is `viewer.html`, which loads nothing but the media.
"""

import re
from collections.abc import Collection
from functools import cache
from pathlib import Path
from typing import Any

from meigen_mcp import __version__

URI = "ui://meigen/viewer.html"
MIME = "text/html;profile=mcp-app"
TOOL_META: dict[str, Any] = {"ui": {"resourceUri": URI}}
"""The `_meta` of a tool whose answers it shows. Both the model and the viewer may call it: the
default, so it is left out, as every byte of a tool is in every conversation."""

_ORIGIN = (
    r"https://(\*\.)?[a-z0-9-]+(\.[a-z0-9-]+)*(:\d{1,5})?"
    r"|http://(localhost|127\.0\.0\.1|\[::1\])(:\d{1,5})?"
)


@cache
def page() -> str:
    """Return the page."""
    text = Path(__file__).with_name("viewer.html").read_text(encoding="utf-8")
    return text.replace("$VERSION", __version__)


def meta(origins: Collection[str]) -> dict[str, Any]:
    """Return the `_meta` of the resource: the page may load media, and nothing else.

    Args:
        origins: where media come from, such as `https://images.meigen.ai`. Hosts write them into
            a policy as they are, so what is not an https origin, or one of this machine, is left
            out.
    """
    allowed = sorted({origin for origin in origins if re.fullmatch(_ORIGIN, origin)})
    return {
        "ui": {
            "csp": {"resourceDomains": allowed},
            "permissions": {"clipboardWrite": {}},
            "prefersBorder": True,
        }
    }
