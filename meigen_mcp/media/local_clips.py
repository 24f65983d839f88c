"""Clips and sounds of this machine as references: looked at, and copied without what is about them.

Where they may lie and how they are opened is that of `local_files`; what is in them is looked at by
`clip_copy`, in a process of its own. Nothing is encoded again.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from meigen_mcp.catalogue.lengths import Measured
from meigen_mcp.media import kinds, previews, processes
from meigen_mcp.media.local_files import LocalReferences
from meigen_mcp.media.refusals import ReferenceRefused, shown

Kind = Literal["video", "audio"]
"""As the upload route calls them."""
MIME: Mapping[str, str] = {
    "mp4": "video/mp4",
    "mov": "video/quicktime",
    "wav": "audio/wav",
    "mp3": "audio/mpeg",
}
_SOUNDS = ("wav", "mp3")
_QUICKTIME = (b"moov", b"mdat", b"wide", b"free", b"skip", b"pnot")
_WITHOUT_PYAV = 'run `pip install "meigen-mcp[video]"` and restart this server, or use a URL'


@dataclass(frozen=True, slots=True)
class LocalClip:
    """A clip or sound of this machine, ready to be uploaded.

    Attributes:
        path: the file, with symlinks resolved.
        data: the same samples in the same kind of file, without metadata.
        kind: mp4, mov, wav or mp3.
        seconds: how long it plays.
        rate: frames a second; None for a sound.
        codec: how its pictures, or its sound, are coded.
        sha256: of the bytes of the file itself, in hexadecimal.
    """

    path: Path
    data: bytes = field(repr=False)
    kind: str
    seconds: float
    rate: float | None
    codec: str
    sha256: str

    @property
    def medium(self) -> Kind:
        """What the upload route calls it."""
        return "audio" if self.kind in _SOUNDS else "video"

    @property
    def mime_type(self) -> str:
        """The type of `data`."""
        return MIME[self.kind]

    @property
    def filename(self) -> str:
        """For the upload; it tells nothing of the person's own names."""
        return f"reference.{self.kind}"

    def measured(self, name: str) -> Measured:
        """Return what is judged of it."""
        return Measured(name, self.seconds, len(self.data), self.kind, self.rate, self.codec)


async def read_clip(local: LocalReferences, text: str, medium: Kind) -> LocalClip:
    """Read a clip or a sound.

    Raises:
        ReferenceRefused: it is not allowed, not there, or not one that can be copied.
    """
    path, source = await local.read_whole(text)
    kind = _kind(source)
    wanted = "WAV or MP3" if medium == "audio" else "MP4 or MOV"
    if kind is None or (kind in _SOUNDS) is not (medium == "audio"):
        raise _refused(text, f"is no {wanted} file by its content", medium)
    if not previews.video_extra():
        raise ReferenceRefused(
            f"{shown(text)} cannot be looked at, nor freed of its metadata, without PyAV",
            _WITHOUT_PYAV,
        )
    known, data = await _copy(source, kind)
    if "refused" in known:
        raise _refused(text, known["refused"], medium)
    return LocalClip(
        path=path,
        data=data,
        kind=kind,
        seconds=known["seconds"],
        rate=known.get("rate"),
        codec=known["codec"],
        sha256=hashlib.sha256(source).hexdigest(),
    )


async def _copy(source: bytes, kind: str) -> tuple[dict[str, Any], bytes]:
    said = await processes.copy_clip(source, kind)
    if said is None:
        return {"refused": "could not be looked through in time"}, b""
    head, _, data = said.partition(b"\n")
    try:
        known: dict[str, Any] = json.loads(head)
    except ValueError:  # its process died
        return {"refused": "cannot be read to its end"}, b""
    return known, data


def _refused(text: str, why: str, medium: Kind) -> ReferenceRefused:
    wanted = "a whole WAV or MP3 file" if medium == "audio" else "a whole MP4 or MOV file"
    return ReferenceRefused(f"{shown(text)} {why}", f"use {wanted}")


def _kind(source: bytes) -> str | None:
    """Return what a file is by its first bytes; its name does not matter."""
    if source[:4] == b"RIFF" and source[8:12] == b"WAVE":
        return "wav"
    if source[:3] == b"ID3" or (source[:1] == b"\xff" and source[1:2] and source[1] & 0xE6 == 0xE2):
        return "mp3"
    if source[4:8] in _QUICKTIME:
        return "mov"
    suffix = kinds.sniff(source[: kinds.HEAD])
    return suffix[1:] if suffix in (".mp4", ".mov") else None
