"""What a clip's file tells by its whole content: how long it is, and whether it is whole.

Money hangs on a length, so it is measured over all samples, and what a header says only has to
agree. No frame is decoded.
"""

from pathlib import Path

from meigen_mcp.media import matroska, mp4
from meigen_mcp.media.samples import Bytes, Clip


def read(path: Path) -> Clip:
    """Read a clip: MP4, MOV or Matroska; anything else tells nothing.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        source = Bytes(file, path.stat().st_size)
        known = matroska.read if file.read(4) == matroska.SIGNATURE else mp4.read
        return known(source)


__all__ = ["Clip", "read"]
