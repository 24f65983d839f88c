"""Midjourney's own flags in a prompt: MeiGen takes them out, so they would be paid for and dropped.

The page of the generate endpoint and the official client of 2026-05 say that for Midjourney the
service removes every `--flag`, `::weight` and `[a|b]`, and keeps `--sref` with a code.
"""

import re
from collections.abc import Collection, Iterator, Mapping

from meigen_mcp.catalogue.rules import Rule
from meigen_mcp.errors import Problem
from meigen_mcp.wording import show

_ARGUMENTS: Mapping[str, str] = {
    "aspect": "aspectRatio", "ar": "aspectRatio",
    "version": "modelId", "v": "modelId", "niji": "modelId",
}  # fmt: skip
_OPTIONS: Mapping[str, str] = {
    "stylize": "stylize", "s": "stylize", "chaos": "chaos", "c": "chaos", "iw": "iw", "sw": "sw",
    "sref": "sref", "raw": "raw", "style": "raw", "quality": "quality", "q": "quality",
    "weird": "weird", "w": "weird",
}  # fmt: skip
_NOWHERE = ("no", "seed", "tile", "repeat")
_NAMES = "|".join(
    "".join(f"[{c}{c.upper()}]" for c in name)
    for name in sorted((*_ARGUMENTS, *_OPTIONS, *_NOWHERE), key=len, reverse=True)
)
_KEPT = r"(?![sS][rR][eE][fF]\s+(?:[0-9]+|random)(?:\s|$))"
_FLAG = rf"(?:^|\s)--{_KEPT}(?:{_NAMES})(?![A-Za-z_-])"
_WEIGHT = r"[^\s:]::(?:-?[0-9]+(?:\.[0-9]+)?)?(?:\s|$)"
_CHOICE = r"\[[^\[\]|]*\|[^\[\]]*\]"
DROPPED = rf"{_FLAG}|{_WEIGHT}|{_CHOICE}"
"""What the service takes out, in the dialect that JSON Schema and Python share."""


def explain_dropped(
    text: str, name: str, options: Collection[str], ratio: Rule
) -> Iterator[Problem]:
    """Yield each flag of a prompt once, with the argument that does it, if there is one.

    Args:
        text: the prompt.
        name: the argument that it stands in.
        options: the members of `niji7Options` that the model takes.
        ratio: what its `aspectRatio` may be.
    """
    seen: set[str] = set()
    for match in re.finditer(rf"{_FLAG}[=\s]*([^\s-]\S*)?", text):
        flag, value = _split(match[0])
        if flag not in seen:
            seen.add(flag)
            fix = _instead(flag, value, options, ratio)
            yield Problem(name, f"MeiGen takes --{flag} out of the prompt", fix)
    if re.search(_WEIGHT, text):
        yield Problem(
            name,
            "MeiGen takes weights written with :: out of the prompt",
            "say in words what matters most",
        )
    if re.search(_CHOICE, text):
        yield Problem(
            name,
            "MeiGen takes [a|b] out of the prompt",
            "make one call for each, or name one of them",
        )


def _split(match: str) -> tuple[str, str]:
    """Return the name of a flag, in lower case, and what is written after it."""
    words = match.strip().removeprefix("--")
    flag = re.match(rf"(?:{_NAMES})", words)
    length = flag.end() if flag else len(words)
    return words[:length].lower(), words[length:].strip(" =\t\r\n")


def _instead(flag: str, value: str, options: Collection[str], ratio: Rule) -> str:
    if flag in ("version", "v", "niji"):
        return "take it out; modelId chooses the version"
    if flag in _ARGUMENTS:
        taken = not any(ratio.check(value, "aspectRatio"))
        return f"take it out and give {_ARGUMENTS[flag]}{f' {show(value)}' if taken else ''}"
    if (option := _OPTIONS.get(flag)) in options:
        return f"take it out and give niji7Options.{option}"
    words = "" if flag in ("seed", "repeat") else "; say it in words"
    return f"take it out: it has no effect at MeiGen{words}"


def instead(flag: str) -> str | None:
    """Return what to do instead of a flag that stands outside of a prompt; None: it is none."""
    name = flag.lower()
    if name in ("version", "v", "niji"):
        return "modelId chooses the version"
    if option := _OPTIONS.get(name):
        return f"give it in niji7Options, as JSON with {option}"
    if name in _ARGUMENTS:
        return f"give {_ARGUMENTS[name]}"
    return "it has no effect at MeiGen" if name in _NOWHERE else None
