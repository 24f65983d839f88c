"""What a file is, by the first bytes of its content; its name does not matter.

Libraries were tried on the same matrix (see `docs/files.md`): none of them is right on all of it.
"""

import re

HEAD = 4096
"""Bytes that are looked at."""

MIME = {
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".webp": "image/webp",
    ".gif": "image/gif",
    ".avif": "image/avif",
    ".heic": "image/heic",
    ".heif": "image/heif",
    ".jxl": "image/jxl",
    ".mp4": "video/mp4",
    ".mov": "video/quicktime",
    ".webm": "video/webm",
    ".mkv": "video/x-matroska",
    ".m4a": "audio/mp4",
    ".weba": "audio/webm",
    ".mka": "audio/x-matroska",
}
SOUND = {".mp4": ".m4a", ".mov": ".m4a", ".webm": ".weba", ".mkv": ".mka"}
"""What a clip without pictures is."""
_AVIF = {b"avif", b"avis"}
_HEIC = {b"heic", b"heix", b"heim", b"heis", b"hevc", b"hevx", b"hevm", b"hevs"}
_HEIF = {b"mif1", b"mif2", b"msf1", b"miaf"}
_DOCTYPE = re.compile(rb"\x42\x82(?:[\x81-\xff]|\x40.|\x01.{7})(webm|matroska)", re.DOTALL)


def sniff(head: bytes) -> str | None:
    """Return the suffix for what begins so, or None for none of ours.

    Args:
        head: the first HEAD bytes, or all there are.
    """
    if head.startswith(b"\x89PNG\r\n\x1a\n"):
        return ".png"
    if head.startswith(b"\xff\xd8\xff"):
        return ".jpg"
    if head.startswith((b"GIF87a", b"GIF89a")):
        return ".gif"
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        return ".webp"
    if head.startswith((b"\xff\x0a", b"\0\0\0\x0cJXL \r\n\x87\n")):
        return ".jxl"
    if head[4:8] == b"ftyp":
        return _by_brands(head)
    if head.startswith(b"\x1a\x45\xdf\xa3"):
        found = _DOCTYPE.search(head)
        return ".mkv" if found and found[1] == b"matroska" else ".webm"
    return None


def _by_brands(head: bytes) -> str:
    """Tell the kinds of ISO files apart, by all the brands that they claim (14496-12, 4.3).

    The major brand may be one that says nothing, such as mif1 for AVIF and HEIC alike.
    """
    end = min(int.from_bytes(head[:4]), len(head))
    major = head[8:12]
    brands = {major, *(head[place : place + 4] for place in range(16, end - 3, 4))}
    if major == b"qt  ":
        return ".mov"
    for suffix, names in ((".avif", _AVIF), (".heic", _HEIC)):
        if major in names:
            return suffix
    if brands & _AVIF:
        return ".avif"
    if brands & _HEIC:
        return ".heic"
    if major in _HEIF:
        return ".heif"
    return ".mp4"
