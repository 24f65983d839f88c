"""Changing one member of a JSON text, and nothing else in it.

A person's configuration keeps every byte that is not ours: order, indentation, line endings.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

_SPACE = re.compile(r"[ \t\r\n\ufeff]*")
_INDENT = re.compile(r"\n([ \t]+)\S")
_COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_TRAILING = re.compile(r'("(?:[^"\\]|\\.)*")|,(?=\s*[}\]])')


def parsed(text: str) -> Any:
    """Return what a JSON text says; an empty one is an empty object.

    Raises:
        ValueError: it is not JSON.
    """
    try:
        return json.loads(text.removeprefix("\ufeff") if text.strip("\ufeff \t\r\n") else "{}")
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ValueError(f"it is no JSON from {where} on") from None
    except ValueError:  # a number with thousands of digits
        raise ValueError("it has a number that is too long") from None
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def is_plain(text: str) -> bool:
    """Say whether a text is JSON without comments."""
    try:
        parsed(text)
    except ValueError:
        return False
    return True


def parsed_with_comments(text: str) -> Any:
    """Return what a JSON text with comments and trailing commas says.

    Raises:
        ValueError: it is not even that.
    """
    for clutter in (_COMMENTS, _TRAILING):
        text = clutter.sub(lambda match: match[1] or "", text)
    return parsed(text)


def put(text: str, keys: Sequence[str], value: Any) -> str:
    """Return the text with a member set, its parents made where they are missing.

    Args:
        text: a JSON object, or nothing.
        keys: the path of the member; every parent that exists is an object.
        value: what it becomes.
    """
    if not text.strip("\ufeff \t\r\n"):
        text += "{}\n"
    style = _Style.of(text)
    place = _Object.at(text, _skip(text, 0))
    for depth, key in enumerate(keys):
        member = place.member(key)
        last = depth == len(keys) - 1
        if member is None:
            for parent in reversed(keys[depth + 1 :]):
                value = {parent: value}
            new = f"{json.dumps(key)}: {style.dump(value, depth + 1)}"
            return style.spliced(text, place, new, depth)
        if last:
            return text[: member.value] + style.dump(value, depth + 1) + text[member.end :]
        place = _Object.at(text, member.value)
    return text


def drop(text: str, keys: Sequence[str]) -> str:
    """Return the text without a member, and without the parents that this leaves empty.

    Of two with one key the last counts, so that one more would count without it: all go.
    """
    while (shorter := _drop_last(text, keys)) != text:
        text = shorter
    return text


def _drop_last(text: str, keys: Sequence[str]) -> str:
    places = [_Object.at(text, _skip(text, 0))]
    for key in keys[:-1]:
        member = places[-1].member(key)
        if member is None:
            return text
        places.append(_Object.at(text, member.value))
    for place, key in zip(reversed(places), reversed(keys), strict=True):
        member = place.member(key)
        if member is None:
            return text
        if len(place.members) > 1 or place is places[0]:
            return place.without(text, member)
    return text


@dataclass(frozen=True, slots=True)
class _Member:
    key: str
    start: int
    value: int
    end: int


@dataclass(frozen=True, slots=True)
class _Object:
    """Where an object of a valid JSON text begins and ends, and its members."""

    start: int
    end: int
    members: tuple[_Member, ...]

    @classmethod
    def at(cls, text: str, start: int) -> "_Object":
        decoder = json.JSONDecoder()
        members: list[_Member] = []
        at = _skip(text, start + 1)
        while text[at] != "}":
            if text[at] == ",":
                at = _skip(text, at + 1)
            key, colon = decoder.raw_decode(text, at)
            value = _skip(text, _skip(text, colon) + 1)
            end = decoder.raw_decode(text, value)[1]
            members.append(_Member(key, at, value, end))
            at = _skip(text, end)
        return cls(start, at + 1, tuple(members))

    def member(self, key: str) -> _Member | None:
        """Return the member that counts: of two with one key, the last."""
        return next((m for m in reversed(self.members) if m.key == key), None)

    def without(self, text: str, gone: _Member) -> str:
        where = self.members.index(gone)
        if len(self.members) == 1:
            return text[: self.start] + "{}" + text[self.end :]
        if where:
            return text[: self.members[where - 1].end] + text[gone.end :]
        return text[: gone.start] + text[self.members[1].start :]


@dataclass(frozen=True, slots=True)
class _Style:
    """How a text is laid out; without an indentation, all on one line."""

    indent: str | None
    newline: str

    @classmethod
    def of(cls, text: str) -> "_Style":
        found = _INDENT.search(text)
        one_line = "\n" not in text.strip() and len(text.strip("\ufeff \t\r\n")) > 2
        indent = found[1] if found else None if one_line else "  "
        return cls(indent, "\r\n" if "\r\n" in text else "\n")

    def dump(self, value: Any, depth: int) -> str:
        text = json.dumps(value, indent=self.indent, ensure_ascii=False)
        return text.replace("\n", self.newline + (self.indent or "") * depth)

    def spliced(self, text: str, place: _Object, member: str, depth: int) -> str:
        """Return the text with a new last member in one of its objects."""
        if self.indent is None:
            before, after = (" " if place.members else ""), ""
        else:
            before = self.newline + self.indent * (depth + 1)
            after = self.newline + self.indent * depth
        if place.members:
            at = place.members[-1].end
            return text[:at] + "," + before + member + text[at:]
        return text[: place.start] + "{" + before + member + after + "}" + text[place.end :]


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at
