"""What others wrote, as it may be shown: to a model, on a terminal, in a log, in a schema.

Words of replies, of the live list, of prompts and of paths may hold characters that do something:
control characters and escapes move a terminal, direction marks turn what a person reads round, and
others are seen by models alone. A record keeps what was given; whatever shows it passes here.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

LONGEST_WORD = 200
LONGEST_ERROR = 500
_ID = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._:-]{1,128}", re.ASCII)
_CONTROLS = r"\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029"
# Format characters, without those that letters of some scripts and emoji are joined by; and the
# variants of which a text can be spelt that nobody sees.
_MARKS = (
    r"\xad\u061c\u180e\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb"
    r"\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e007f\U000e0100-\U000e01ef"
)
_VARIANTS = r"\ufe00-\ufe0f"
_ODD = re.compile(
    rf"(\r\n?)|([{_CONTROLS}])|([{_VARIANTS}])[{_VARIANTS}{_MARKS}]+|[{_MARKS}]|([\ud800-\udfff])"
)
_SPACE = re.compile(r"\s+")


def is_id(text: str) -> bool:
    """Say whether a text is what ids are: it can stand in a sentence, a path and a schema."""
    return _ID.fullmatch(text) is not None


def is_plain(text: str) -> bool:
    """Say at once of most texts that they may be shown as they are."""
    return text.isascii() and text.isprintable()


def printable(text: str) -> str:
    """Return a text without characters that do something; new lines and tabs stay."""
    if is_plain(text):  # most are, and this takes a tenth of the time
        return text
    return _ODD.sub(_replace, text)


def _replace(found: re.Match[str]) -> str:
    newline, control, variant, half = found.groups()
    return "\n" if newline else " " if control else variant or ("?" if half else "")


def flat(text: str) -> str:
    """Return a text on one line."""
    if is_plain(text):
        return text
    return printable(text).replace("\n", " ").replace("\t", " ")


def flat_lines(lines: Sequence[str]) -> Sequence[str]:
    """Return each text on one line."""
    return lines if is_plain("".join(lines)) else [flat(line) for line in lines]


def one_line(text: str, longest: int = LONGEST_WORD) -> str:
    """Return words on one line, cut where they are too many."""
    # Only as much is looked at as can be shown, four times over for what is dropped.
    flat = _SPACE.sub(" ", printable(text[: 4 * longest])).strip()
    return flat if len(flat) <= longest else f"{flat[: longest - 1]}…"


def printable_url(url: str) -> str:
    """Return a URL that opens the same, with its odd characters percent-encoded."""
    return _ODD.sub(lambda found: "".join(f"%{byte:02X}" for byte in found[0].encode()), url)


def printable_values(value: dict[str, Any]) -> dict[str, Any]:
    """Return JSON with every text in it printable; most is, and is returned as it is."""
    written = json.dumps(value)  # what may do something is escaped in it, but for this one
    if "\\" not in written and "\x7f" not in written:
        return value
    printed: dict[str, Any] = _printed(value)
    return printed


def _printed(value: Any) -> Any:
    match value:
        case str():
            return printable(value)
        case dict():
            return {printable(name): _printed(item) for name, item in value.items()}
        case list() | tuple():
            return [_printed(item) for item in value]
        case _:
            return value
