"""References are public URLs, earlier results or local files: one pattern for schema and check.

A host is judged by its name and its literal address; nothing is resolved. The pattern is in the
dialect that JSON Schema and Python share, so it has no flags and no named groups.
"""

import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from meigen_mcp.catalogue.rules import Except, Text
from meigen_mcp.errors import Problem
from meigen_mcp.origins import unicode_of
from meigen_mcp.wording import listed, show


def _ci(word: str) -> str:
    """Write a word as a case-insensitive pattern, for dialects of regex without flags."""
    return "".join(
        f"[{c}{c.upper()}]" if c.isalpha() and len(c.upper()) == 1 else re.escape(c) for c in word
    )


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


def _ending(endings: tuple[str, ...]) -> str:
    """Return the pattern of addresses and paths whose name has one of some endings."""
    return rf"^[^?#]*\.(?:{'|'.join(map(_ci, endings))})(?:[?#][\s\S]*)?$(?!\n)"


MEDIUM = r"meigen://generations/[^/\s?#]{1,200}/media/(?:0|[1-9][0-9]{0,2})$"
"""The URI of an earlier result, as the media resources have it."""
_PICTURES = ("png", "jpg", "jpeg", "webp", "gif", "avif", "heic", "bmp", "tif", "tiff", "svg")
_CLIPS = ("mp4", "mov", "m4v", "webm", "mkv", "avi", "mpg", "mpeg")
_SOUNDS = ("wav", "mp3", "m4a", "aac", "ogg", "opus", "flac")
NO_CLIP = _ending((*_PICTURES, *_SOUNDS))
"""A URL whose well-known ending says that it is a picture or a sound."""
OWN_HOST = (
    rf"{_ci('https')}://(?:[0-9A-Za-z-]+\.)*{_ci('meigen')}\.(?:{_ci('ai')}|{_ci('art')})"
    r"\.?(?::443)?[/?#]"
)
"""How a URL begins that is on a host of MeiGen's results (client of 2026-09, pages of 2026-03)."""
_ELSEWHERE = r"(?!localhost|127\.|10\.|192\.168\.|\[|[^/]*\.local(?:[:/]|$))"
_HTTPS = "give the https:// URL of the same file, if there is one"
_ONE_MEDIUM = (
    "name one of a generation's media, counted from 0: meigen://generations/GENERATIONID/media/0"
)
_PATH = "the path of an image file"
_NO_UPLOAD = "MeiGen's list announces no upload of local clips or sounds for this model"
_A_PICTURE = "give a picture, or leave it out"
_CLIP_USE = "a clip is given as referenceVideo"
_PICTURE_USE = "a picture is given in referenceImages"
_SOUND_USE = "a sound is given in referenceAudios"
FILE = rf"(?:{_ci('file')}://|/|~|\\\\|[A-Za-z]:[\\/])[^\x00]*$"


@dataclass(frozen=True, slots=True)
class Accepts:
    """What a reference may be besides a public https URL.

    Attributes:
        own_origin: a loopback origin whose URLs count as public (the sandbox's own).
        results: the `meigen://` URI of an earlier result.
        files: an image file of this machine.
        folders: where such files may lie; a refusal names them.
    """

    own_origin: str | None = None
    results: bool = False
    files: bool = False
    folders: tuple[str, ...] = ()

    def image(self, *, continues: bool = False) -> Except:
        """Return the rule for a reference image.

        Args:
            continues: whether the model takes a `referenceVideo`.
        """
        also = [_PATH] if self.files else []
        rule = self.rule(also, rf"|{FILE}" if self.files else "")
        uses = {"clip": _CLIP_USE if continues else _A_PICTURE, "sound": _A_PICTURE}
        return Except(rule, _ending((*_CLIPS, *_SOUNDS)), _explain_medium("picture", uses))

    def video(self, hosts: Sequence[str] = (), *, uploads: bool = False) -> Except:
        """Return the rule for a clip.

        Args:
            hosts: where alone its URL may lie, if the list says so.
            uploads: whether the list announces that one can be uploaded.
        """
        uses = {"picture": _PICTURE_USE, "sound": _SOUND_USE}
        files = self.files and uploads
        also = ["the path of an MP4 or MOV file"] if files else []
        rule = self.rule(also, rf"|{FILE}" if files else "", hosts)
        if self.files and not files:
            rule = replace(rule, fix=f"{rule.fix}; {_NO_UPLOAD}")
        return Except(rule, NO_CLIP, _explain_medium("clip", uses))

    def sound(self, hosts: Sequence[str] = (), *, uploads: bool = False) -> Except:
        """Return the rule for a sound; its arguments are those of a clip. No result is a sound."""
        uses = {"picture": _PICTURE_USE, "clip": _CLIP_USE}
        files = self.files and uploads
        also = ["the path of a WAV or MP3 file"] if files else []
        rule = replace(self, results=False).rule(also, rf"|{FILE}" if files else "", hosts)
        if self.files and not files:
            rule = replace(rule, fix=f"{rule.fix}; {_NO_UPLOAD}")
        return Except(rule, _ending((*_PICTURES, *_CLIPS)), _explain_medium("sound", uses))

    def rule(self, also: list[str], pattern: str, hosts: Sequence[str] = ()) -> Text:
        """Return what the arguments and an earlier result allow, besides a URL."""
        url = public_url(self.own_origin, hosts)
        if self.results:
            also = [*also, "the meigen:// URI of an earlier result"]
            pattern += f"|{MEDIUM}"
        if not also:
            return url
        return Text(
            words=" or ".join([url.words, *also]),
            pattern=rf"^(?:{url.pattern.removeprefix('^')}{pattern})",
            fix=f"{url.fix}, or {' or '.join(also)}",
            hints=_hints(self.folders if FILE in pattern else None, results=self.results),
        )


def _hints(folders: Sequence[str] | None, *, results: bool) -> tuple[tuple[str, str, str], ...]:
    """Return what else people give as a reference, what is wrong with it, and what to do.

    Args:
        folders: where a file of this machine may lie; None: it may be none.
        results: whether an earlier result may be one.
    """
    place = f" in {listed(folders)}" if folders else ""
    path = f"give the whole path of a file{place or ', from the root folder on'}"
    url = "give a public https URL"
    own = (rf"^{_ci('meigen')}:", "is the URI of no single medium", _ONE_MEDIUM)
    return (
        *([own] if results else []),
        (
            rf"^{_ci('http')}://{_ELSEWHERE}",
            "is not encrypted, and MeiGen takes https only",
            _HTTPS,
        ),
        (
            rf"^{_ci('data')}:",
            "holds the file itself, which is not taken",
            url if folders is None else f"save it as a file{place} and give its path, or {url}",
        ),
        (
            r"^[^:/\\~][^:]*$",
            "is no whole path, and nothing says from which folder it goes on",
            url if folders is None else f"{path}, or {url}",
        ),
    )


def public_url(own_origin: str | None = None, hosts: Sequence[str] = ()) -> Text:
    """Return the rule for a reference: a public HTTPS URL, judged by its literal host.

    Args:
        own_origin: a loopback origin whose URLs are allowed as well (the sandbox's own).
        hosts: the only hosts that are allowed besides, if not all are, as `read_host` writes them.
    """
    own = rf"|{re.escape(own_origin)}(?:[/?#][\s\S]*)?$" if own_origin else ""
    if hosts:
        names = "|".join(map(_spellings, hosts))
        return Text(
            words=f"an https URL on {listed(hosts)}",
            pattern=rf"^{_NO_SPACE}(?:{_ci('https')}://(?:{names})(?:[/?#][\s\S]*)?$(?!\n){own})",
            fix=f"use a URL on {listed(hosts)}: MeiGen's list allows no other host",
        )
    return Text(
        words="a public https URL",
        pattern=rf"^{_NO_SPACE}(?:{PUBLIC_HTTPS}{own})",
        fix="use an https URL that anyone can open (no localhost, private or link-local host)",
    )


def _spellings(host: str) -> str:
    """Return the pattern of a host as URLs may write it (see `read_host`)."""
    name, _, port = host.partition(":")
    names = dict.fromkeys((_ci(name), _ci(unicode_of(name))))
    return rf"(?:{'|'.join(names)})\.?" + (f":{port}" if port else "(?::443)?")


def text_or_public_url(words: str, own_origin: str | None = None) -> Text:
    """Return the rule for a value that is either a word or, when it looks like one, a URL."""
    url = public_url(own_origin)
    return Text(
        words=words,
        pattern=rf"^(?:(?=[\s\S]*\S)(?![\s\S]*://)|(?={url.pattern}))",
        fix=f"use a code, a word or {url.words}",
    )


def style_code(own_origin: str | None = None) -> Text:
    """Return the rule for a style of Midjourney V8.2: a number, `random` or a public URL."""
    url = public_url(own_origin)
    return Text(
        words='a numeric code, "random" or a public https URL',
        pattern=rf"^(?:[0-9]{{1,20}}$(?!\n)|random$(?!\n)|(?={url.pattern}))",
        fix=f'use a numeric code, "random" or {url.words}',
    )


def _explain_medium(
    wanted: str, uses: Mapping[str, str]
) -> Callable[[str, str], Iterator[Problem]]:
    """Say what a file is by its ending, and where that is given instead."""

    def explain(text: str, name: str) -> Iterator[Problem]:
        is_it = next(kind for kind in uses if re.search(_ENDINGS[kind], text))
        yield Problem(name, f"{show(text)} is a {is_it}, not a {wanted}", uses[is_it])

    return explain


_ENDINGS = {
    "picture": _ending(_PICTURES),
    "clip": _ending(_CLIPS),
    "sound": _ending(_SOUNDS),
}


_FILE_URL = re.compile(r"file://", re.ASCII | re.IGNORECASE)


def rename_files(arguments: Mapping[str, Any], rename: Callable[[str], str]) -> dict[str, Any]:
    """Return generation arguments, as a record keeps them, with every local file named otherwise.

    Only a value that is a file's URL as a whole names a file; a prompt is the person's own words.
    """
    return {
        name: value if name == "prompt" else _rename(value, rename)
        for name, value in arguments.items()
    }


def _rename(value: Any, rename: Callable[[str], str]) -> Any:
    match value:
        case str():
            return rename(value) if _FILE_URL.match(value) else value
        case list():
            return [_rename(item, rename) for item in value]
        case dict():
            return {name: _rename(item, rename) for name, item in value.items()}
    return value
