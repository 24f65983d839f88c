"""The sound of a WAV, told from all that may stand beside it.

Readers take a sound without a length for one to the end of the file, with the tags behind it, and a
format with more bytes than it needs as it is; so both are written anew.
"""

import struct

_PLAIN = (1, 3, 6, 7)
"""Formats that need nothing beyond 16 bytes: whole numbers, fractions, A-law and mu-law."""
_EXTENSIBLE = 0xFFFE


def sound_alone(source: bytes) -> bytes | None:
    """Return a WAV that has the format and the first sound of another and nothing else.

    Returns:
        None if the sound is cut, or there is none.
    """
    found: dict[bytes, bytes] = {}
    place = 12
    while place + 8 <= len(source) and b"data" not in found:
        kind, size = struct.unpack_from("<4sI", source, place)
        if kind in (b"fmt ", b"data"):
            if place + 8 + size > len(source):
                return None
            found.setdefault(kind, source[place + 8 : place + 8 + size])
        place += 8 + size + size % 2
    form, sound = found.get(b"fmt ", b""), found.get(b"data")
    if len(form) < 16 or sound is None:
        return None
    tag = int.from_bytes(form[:2], "little")
    if tag in _PLAIN:
        form = form[:16]
    elif tag == _EXTENSIBLE:
        form = form[:16] + struct.pack("<H", 22) + form[18:40]
    chunks = _chunk(b"fmt ", form) + _chunk(b"data", sound)
    return b"RIFF" + struct.pack("<I", 4 + len(chunks)) + b"WAVE" + chunks


def _chunk(kind: bytes, data: bytes) -> bytes:
    return kind + struct.pack("<I", len(data)) + data + bytes(len(data) % 2)
