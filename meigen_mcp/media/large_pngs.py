"""Large PNGs by FFmpeg (PyAV), which takes three quarters of the time that Pillow takes.

It imports nothing of ours, since the process that makes previews does without. PyAV is an extra.
"""

from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image  # slow to import

FROM_BYTES = 4 * 2**20
"""Of a file: a smaller one is read by Pillow before PyAV is there."""
_HEADER = 33
"""Bytes of the signature and the first chunk."""
_MORE = {"interlace", "transparency"}
"""What Pillow says of a PNG that is more than its pixels one after another."""
_STRICT = {"err_detect": "crccheck+bitstream+buffer+explode", "discard_damaged_percentage": "0"}
"""Options of FFmpeg's decoder, which else gives a part of a picture for the whole."""


def is_large(path: Path) -> bool:
    """Say whether FFmpeg is asked if it is a plain PNG."""
    return path.stat().st_size >= FROM_BYTES


def pixels_of(path: Path, opened: Any) -> "Image | None":
    """Return the pixels of a PNG that Pillow opened, with what Pillow says of it.

    Returns:
        The same as Pillow gives; None where Pillow is to be asked: the PNG is small, or not just
        eight bits of red, green and blue in rows, or something follows them, or they are broken.

    Args:
        path: the file.
        opened: what Pillow knows of it before it decodes it.
    """
    rows_alone = opened.format == "PNG" and [tile[3] for tile in opened.tile] == ["RGB"]
    if not rows_alone or _MORE & opened.info.keys() or not is_large(path):
        return None
    alone = _pixels_alone(path, opened.tile[0][2] - 8)
    frame = None if alone is None else _decoded(alone)
    if frame is None or (frame.format.name, frame.width, frame.height) != ("rgb24", *opened.size):
        return None
    from PIL import Image  # noqa: PLC0415  # slow to import

    (plane,) = frame.planes
    image = Image.frombuffer("RGB", opened.size, plane, "raw", "RGB", plane.line_size, 1)
    image.info = opened.info
    return image


def _pixels_alone(path: Path, first: int) -> bytearray | None:
    """Return a PNG without what stands between its header and its pixels.

    None: it is cut off, or something follows the pixels.

    Args:
        path: the file.
        first: where the first chunk of pixels begins.
    """
    size = path.stat().st_size - first
    png = bytearray(_HEADER + size)
    with memoryview(png) as view, path.open("rb") as file:
        file.readinto(view[:_HEADER])
        file.seek(first)
        read, place = file.readinto(view[_HEADER:]), _HEADER
    while png[place + 4 : place + 8] == b"IDAT":
        place += 12 + int.from_bytes(png[place : place + 4])
    whole = read == size and png[place + 4 : place + 8] == b"IEND"
    return png if whole else None


def _decoded(png: bytearray) -> Any:
    """Return PyAV's frame of a PNG; None: it cannot be read, or there is no PyAV."""
    try:
        import av  # noqa: PLC0415  # slow to import, and an extra
    except ImportError:
        return None
    decoder = av.CodecContext.create("png", "r")
    decoder.thread_count = 1  # leave the person the other ones
    decoder.options = _STRICT
    try:
        (frame,) = decoder.decode(av.Packet(png))  # type: ignore[arg-type]  # any buffer will do
    except av.FFmpegError:
        return None
    return frame
