"""Colour profiles, and what their numbers mean in sRGB, worked out without a library."""

import struct

Rgb = tuple[float, float, float]
# Columns: the primaries as XYZ under D50 (ICC.1:2022, F.3), as they stand in the vendors' profiles.
_DISPLAY_P3 = (
    (0.51512, 0.24120, -0.00105),
    (0.29198, 0.69225, 0.04189),
    (0.15710, 0.06657, 0.78407),
)
_ADOBE_RGB = ((0.60974, 0.31111, 0.01947), (0.20528, 0.62567, 0.06087), (0.14919, 0.06322, 0.74457))
# XYZ under D50 to linear sRGB.
_TO_SRGB = (
    (3.1338561, -1.6168667, -0.4906146),
    (-0.9787684, 1.9161415, 0.0334540),
    (0.0719453, -0.2289914, 1.4052427),
)  # fmt: skip
_GAMMA = 563 / 256
_SRGB_CURVE = (2.4, 1 / 1.055, 0.055 / 1.055, 1 / 12.92, 0.04045)


def _fixed(*numbers: float) -> bytes:
    return struct.pack(f">{len(numbers)}i", *(round(number * 65536) for number in numbers))


_WHITE = b"XYZ " + bytes(4) + _fixed(0.9642, 1.0, 0.8249)


def _profile(primaries: tuple[Rgb, Rgb, Rgb], curve: bytes) -> bytes:
    """Return a display profile of primaries and one curve."""
    xyz = [b"XYZ " + bytes(4) + _fixed(*primary) for primary in primaries]
    named = dict(zip((b"rXYZ", b"gXYZ", b"bXYZ", b"wtpt"), (*xyz, _WHITE), strict=True))
    return _written(b"RGB ", named | dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), curve))


def _written(space: bytes, named: dict[bytes, bytes]) -> bytes:
    """Return a display profile (ICC.1:2022)."""
    table, body = b"", b""
    start = 128 + 4 + 12 * len(named)
    for name, data in named.items():
        padded = data + bytes(-len(data) % 4)
        table += name + struct.pack(">II", start + len(body), len(data))
        body += padded
    size = start + len(body)
    head = struct.pack(">I4xI4s4s4s12x4s", size, 0x04300000, b"mntr", space, b"XYZ ", b"acsp")
    head += bytes(28) + _fixed(0.9642, 1.0, 0.8249)
    return head.ljust(128, b"\0") + struct.pack(">I", len(named)) + table + body


DISPLAY_P3 = _profile(
    _DISPLAY_P3, b"para" + bytes(4) + struct.pack(">HH", 3, 0) + _fixed(*_SRGB_CURVE)
)
ADOBE_RGB = _profile(_ADOBE_RGB, b"curv" + bytes(4) + struct.pack(">IH", 1, 563))
GREY = _written(
    b"GRAY", {b"wtpt": _WHITE, b"kTRC": b"curv" + bytes(4) + struct.pack(">IH", 1, 461)}
)
"""Of grey alone, with an exponent of 1.8, as old printers and screens have it."""
PROFILES = {"Display P3": DISPLAY_P3, "Adobe RGB": ADOBE_RGB}


def meant(name: str, pixel: tuple[int, int, int]) -> tuple[int, int, int]:
    """Return the sRGB that a pixel of a profile means, clipped as a screen does."""
    if name == "Display P3":
        linear, primaries = [_light(value / 255) for value in pixel], _DISPLAY_P3
    else:
        linear, primaries = [(value / 255) ** _GAMMA for value in pixel], _ADOBE_RGB
    xyz = [sum(part * primary[row] for part, primary in zip(linear, primaries, strict=True))
           for row in range(3)]  # fmt: skip
    red, green, blue = (
        round(255 * _number(sum(a * b for a, b in zip(row, xyz, strict=True)))) for row in _TO_SRGB
    )
    return red, green, blue


def meant_by_exponent(value: int, exponent: float) -> int:
    """Return the sRGB of a number between 0 and 255 whose light is that power of it."""
    return round(255 * _number((value / 255) ** exponent))


def _light(number: float) -> float:
    return number / 12.92 if number <= 0.04045 else ((number + 0.055) / 1.055) ** 2.4


def _number(light: float) -> float:
    light = min(1.0, max(0.0, light))
    encoded: float = 12.92 * light if light <= 0.0031308 else 1.055 * light ** (1 / 2.4) - 0.055
    return encoded
