"""References are public URLs, earlier results or local files: one pattern for schema and check.

A host is judged by its name and its literal address; nothing is resolved. The pattern is in the
dialect that JSON Schema and Python share, so it has no flags and no named groups.
"""

import re
from dataclasses import dataclass

from meigen_mcp.rules import Text


def _ci(word: str) -> str:
    """Write a word as a case-insensitive pattern, for dialects of regex without flags."""
    return "".join(f"[{c}{c.upper()}]" if c.isalpha() else re.escape(c) for c in word)


_PRIVATE_NAMES = "|".join(
    _ci(name)
    for name in (
        "localhost", "local", "localdomain", "internal", "intranet", "private", "lan", "home",
        "corp", "arpa", "test", "invalid", "onion",
    )
)  # fmt: skip
# Digits are written [0-9]: \d would let other scripts' digits through, which become these later.
_BYTE = r"(?:25[0-5]|2[0-4][0-9]|1[0-9]{2}|[1-9]?[0-9])"
# Blocks that RFC 6890 keeps from the public internet, and multicast with everything above it.
_PRIVATE_IPV4 = (
    r"(?:0|10|127|22[4-9]|2[3-5][0-9])\."
    r"|100\.(?:6[4-9]|[7-9][0-9]|1[01][0-9]|12[0-7])\."
    r"|169\.254\.|172\.(?:1[6-9]|2[0-9]|3[01])\.|192\.0\.[02]\.|192\.168\.|198\.1[89]\."
    r"|198\.51\.100\.|203\.0\.113\."
)
_IPV4 = rf"(?!{_PRIVATE_IPV4}){_BYTE}(?:\.{_BYTE}){{3}}"
# Global unicast 2000::/3 without the blocks that carry or document other addresses.
_IPV6 = (
    r"\[(?!2001:0{0,4}:|2001:0?[dD][bB]8:|2002:|3[fF]{3}:0?[0-9a-fA-F]{0,3}:)"
    r"(?![^\]]*:::|[^\]]*::[^\]]*::)"
    r"[23][0-9a-fA-F]{3}(?:(?::[0-9a-fA-F]{1,4}){7}|(?=[^\]]*::)(?:::?[0-9a-fA-F]{1,4}){0,6}(?:::)?)\]"
)
_LABEL = r"[0-9A-Za-z_](?:[0-9A-Za-z_-]*[0-9A-Za-z_])?"
_NAME = (
    rf"(?!(?:[^/?#:]*\.)?(?:{_PRIVATE_NAMES})(?:[:/?#]|$))"
    rf"(?:{_LABEL}\.)+[A-Za-z](?:[0-9A-Za-z-]*[0-9A-Za-z])?"
)
_PORT = r"(?:[1-9][0-9]{0,3}|[1-5][0-9]{4}|6[0-4][0-9]{3}|65[0-4][0-9]{2}|655[0-2][0-9]|6553[0-5])"
_REST = rf"(?::{_PORT})?(?:[/?#][\s\S]*)?$"
# White space, control characters and backslashes are read differently by different programs.
_NO_SPACE = r"(?![\s\S]*[\s\\\x00-\x1f\x7f])"
PUBLIC_HTTPS = rf"{_ci('https')}://(?:{_IPV4}|{_IPV6}|{_NAME}){_REST}"


MEDIUM = r"meigen://generations/[^/\s?#]{1,200}/media/(?:0|[1-9][0-9]{0,2})$"
"""The URI of an earlier result, as the media resources have it."""
_FILE = rf"(?:{_ci('file')}://|/|~|\\\\|[A-Za-z]:[\\/])[^\x00]*$"


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a reference may be besides a public https URL.

    Attributes:
        own_origin: a loopback origin whose URLs count as public (the sandbox's own).
        results: the `meigen://` URI of an earlier result.
        files: an image file of this machine.
    """

    own_origin: str | None = None
    results: bool = False
    files: bool = False

    def image(self) -> Text:
        """Return the rule for a reference image."""
        also = ["the path of an image file"] if self.files else []
        return self._rule(also, rf"|{_FILE}" if self.files else "")

    def video(self) -> Text:
        """Return the rule for a clip to continue."""
        return self._rule([], "")

    def _rule(self, also: list[str], pattern: str) -> Text:
        url = public_url(self.own_origin)
        if self.results:
            also = [*also, "the meigen:// URI of an earlier result"]
            pattern += f"|{MEDIUM}"
        if not also:
            return url
        return Text(
            words=" or ".join([url.words, *also]),
            pattern=rf"^(?:{url.pattern.removeprefix('^')}{pattern})",
            fix=f"{url.fix}, or {' or '.join(also)}",
        )


def public_url(own_origin: str | None = None) -> Text:
    """Return the rule for a reference: a public HTTPS URL, judged by its literal host.

    Args:
        own_origin: a loopback origin whose URLs are allowed as well (the sandbox's own).
    """
    own = rf"|{re.escape(own_origin)}(?:[/?#][\s\S]*)?$" if own_origin else ""
    return Text(
        words="a public https URL",
        pattern=rf"^{_NO_SPACE}(?:{PUBLIC_HTTPS}{own})",
        fix="use an https URL that anyone can open (no localhost, private or link-local host)",
    )


def text_or_public_url(words: str, own_origin: str | None = None) -> Text:
    """Return the rule for a value that is either a word or, when it looks like one, a URL."""
    url = public_url(own_origin)
    return Text(
        words=words,
        pattern=rf"^(?:(?=[\s\S]*\S)(?![\s\S]*://)|(?={url.pattern}))",
        fix=f"use a code, a word or {url.words}",
    )
