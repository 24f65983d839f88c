"""What the numbers of a clip or a picture mean, as an ICC profile, by which they become sRGB.

The codes are those of ITU-T H.273, as FFmpeg and PyAV give them, and PNG and AVIF hold them. It
imports nothing of ours, since the process that makes pictures does without.
"""

import math
import re
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import lru_cache
from typing import BinaryIO

_D65, _DCI, _C = (0.3127, 0.3290), (0.314, 0.351), (0.310, 0.316)
_NTSC = ((0.630, 0.340), (0.310, 0.595), (0.155, 0.070), _D65)
_PRIMARIES = {
    4: ((0.67, 0.33), (0.21, 0.71), (0.14, 0.08), _C),
    5: ((0.64, 0.33), (0.29, 0.60), (0.15, 0.06), _D65),
    6: _NTSC,
    7: _NTSC,
    9: ((0.708, 0.292), (0.170, 0.797), (0.131, 0.046), _D65),
    11: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _DCI),
    12: ((0.680, 0.320), (0.265, 0.690), (0.150, 0.060), _D65),
    22: ((0.630, 0.340), (0.295, 0.605), (0.155, 0.077), _D65),
}
"""Red, green, blue and white in the plane of CIE 1931, where they are not those of sRGB."""
_SRGB = ((0.64, 0.33), (0.30, 0.60), (0.15, 0.06), _D65)
BT2020, PQ, HLG = 9, 16, 18
_WHITE = 203.0
"""Candelas per square metre of white in BT.2408; what is brighter is light that shines."""
_KNEE = 0.8
"""Of white: up to here light is as it is, above it becomes less and less brighter."""
_STEPS = 1024
_HEAD = 65536
"""Bytes from the start of an AVIF in which its codes stand."""
_MOST_CHUNKS = 10_000
"""Of a PNG before its pixels; texts among them may have any length."""
_NCLX = re.compile(rb"colrnclx(..)(..)", re.DOTALL)

_Vector = tuple[float, float, float]
_Point = tuple[float, float]
_Primaries = tuple[_Point, _Point, _Point, _Point]
_Matrix = tuple[_Vector, _Vector, _Vector]
_BRADFORD: _Matrix = (
    (0.8951, 0.2664, -0.1614),
    (-0.7502, 1.7135, 0.0367),
    (0.0389, -0.0685, 1.0296),
)
_D50: _Vector = (0.9642, 1.0, 0.8249)


def is_hdr(transfer: int) -> bool:
    """Say whether numbers stand for light that may be brighter than white (BT.2100)."""
    return transfer in (PQ, HLG)


@lru_cache
def profile(primaries: int, transfer: int) -> bytes | None:
    """Return the profile of such numbers, or None where they are taken for sRGB as they are.

    The curves of BT.709 and BT.2020 count as that of sRGB, as browsers take them. What BT.2100
    makes brighter than white is brought below it.
    """
    if is_hdr(transfer) and primaries not in _PRIMARIES and primaries != 1:
        primaries = BT2020
    curve = _CURVES.get(transfer)
    if primaries not in _PRIMARIES and curve is None:
        return None
    return _described(_PRIMARIES.get(primaries, _SRGB), curve or _srgb)


@lru_cache
def _by_numbers(gamma: int | None, chromaticities: bytes | None) -> bytes | None:
    """Return the profile of a PNG by its gAMA and cHRM; what cannot be counts as not there.

    Args:
        gamma: 100,000 times the exponent from light to a number.
        chromaticities: x and y of white, red, green and blue, each as four bytes.
    """
    curve = _srgb if gamma is None else lambda value: value ** (100_000 / gamma)
    if chromaticities is not None and len(chromaticities) == 32:
        numbers = [part / 100_000 for part in struct.unpack(">8I", chromaticities)]
        white, red, green, blue = zip(numbers[::2], numbers[1::2], strict=True)
        with suppress(ZeroDivisionError, OverflowError, struct.error):
            return _described((red, green, blue, white), curve)
    return None if gamma is None else _described(_SRGB, curve)


def _described(primaries: _Primaries, curve: Callable[[float], float]) -> bytes:
    """Return the profile of three colours under a white, with one curve for all.

    Raises:
        ZeroDivisionError, OverflowError, struct.error: there are no such colours.
    """
    red, green, blue, white = primaries
    tags = {
        b"desc": _text(b"colours of a clip"),
        b"cprt": _text(b"none"),
        b"wtpt": _xyz(_D50),
        **dict(
            zip((b"rXYZ", b"gXYZ", b"bXYZ"), _colorants((red, green, blue), white), strict=True)
        ),
        **dict.fromkeys((b"rTRC", b"gTRC", b"bTRC"), _table(curve)),
    }
    return _icc(tags)


def of_picture(source: BinaryIO, icc: bytes | None) -> bytes | None:
    """Return the profile of a picture, or None where its numbers are taken for sRGB.

    Codes go before a profile in PNG (third edition, 4.3), and behind it in AVIF (ISO/IEC 23000-22,
    7.3.6.4). A PNG without either may be told by its gamma and chromaticities.

    Args:
        source: the whole of its file, at its start.
        icc: the profile that it holds.
    """
    head = source.read(12)
    if head.startswith(b"\x89PNG"):
        said = _colour_chunks(source)
        if len(codes := said.get(b"cICP", b"")) == 4:
            return profile(codes[0], codes[1])
        if icc or b"sRGB" in said:
            return icc
        gamma = int.from_bytes(said.get(b"gAMA", b"")[:4])
        return _by_numbers(gamma or None, said.get(b"cHRM"))
    if icc or head[4:8] != b"ftyp":
        return icc
    found = _NCLX.search(source.read(_HEAD).partition(b"mdat")[0])
    return found and profile(*(int.from_bytes(code) for code in found.groups()))


def _colour_chunks(png: BinaryIO) -> dict[bytes, bytes]:
    """Return the first of each chunk of a PNG that tells its colours (third edition, 11.3.2)."""
    said: dict[bytes, bytes] = {}
    place = 8
    for _ in range(_MOST_CHUNKS):
        png.seek(place)
        start = png.read(8)
        size, kind = int.from_bytes(start[:4]), start[4:]
        if kind in (b"", b"IDAT"):
            break
        if kind in (b"cICP", b"sRGB", b"gAMA", b"cHRM"):
            said.setdefault(kind, png.read(min(size, 32)))
        place += 12 + size
    return said


# --- curves: from a number to light, both of 1 ----------------------------------------------------


def _srgb(value: float) -> float:
    return value / 12.92 if value <= 0.04045 else ((value + 0.055) / 1.055) ** 2.4


def _pq(value: float) -> float:
    """SMPTE ST 2084."""
    root = value ** (32 / 2523)
    light: float = (max(root - 3424 / 4096, 0) / (2413 / 128 - 2392 / 128 * root)) ** (16384 / 2610)
    return _below_white(10_000 * light / _WHITE)


def _hlg(value: float) -> float:
    """ARIB STD-B67, on a screen of 1,000 candelas per square metre (BT.2100, gamma 1.2)."""
    a, b, c = 0.17883277, 0.28466892, 0.55991073
    scene = value * value / 3 if value <= 0.5 else (math.exp((value - c) / a) + b) / 12
    return _below_white(1_000 * scene**1.2 / _WHITE)


def _below_white(light: float) -> float:
    if light <= _KNEE:
        return light
    room = 1 - _KNEE
    return _KNEE + room * (1 - math.exp((_KNEE - light) / room))


_CURVES: dict[int, Callable[[float], float]] = {
    4: lambda value: value**2.2,
    5: lambda value: value**2.8,
    8: lambda value: value,
    PQ: _pq,
    17: lambda value: value**2.6,
    HLG: _hlg,
}
"""Where it is not that of sRGB."""


# --- the profile (ICC.1:2001-04): three colours and their curves ----------------------------------


def _colorants(colours: Sequence[tuple[float, float]], white: tuple[float, float]) -> list[bytes]:
    """Return the colours as they are under the white of profiles."""
    columns = [_from_plane(*colour) for colour in colours]
    matrix: _Matrix = tuple(zip(*columns, strict=True))  # type: ignore[assignment]
    seen = _from_plane(*white)
    amounts = _times(_inverse(matrix), seen)
    cones, wanted = _times(_BRADFORD, seen), _times(_BRADFORD, _D50)
    back = _inverse(_BRADFORD)
    found = []
    for column, amount in zip(columns, amounts, strict=True):
        there = _times(_BRADFORD, column)
        adapted = [t * amount * w / c for t, w, c in zip(there, wanted, cones, strict=True)]
        found.append(_xyz(_times(back, (adapted[0], adapted[1], adapted[2]))))
    return found


def _from_plane(x: float, y: float) -> _Vector:
    return x / y, 1.0, (1 - x - y) / y


def _times(matrix: _Matrix, vector: _Vector) -> _Vector:
    x, y, z = (sum(a * b for a, b in zip(row, vector, strict=True)) for row in matrix)
    return x, y, z


def _inverse(matrix: _Matrix) -> _Matrix:
    (a, b, c), (d, e, f), (g, h, i) = matrix
    size = a * (e * i - f * h) - b * (d * i - f * g) + c * (d * h - e * g)
    return (
        ((e * i - f * h) / size, (c * h - b * i) / size, (b * f - c * e) / size),
        ((f * g - d * i) / size, (a * i - c * g) / size, (c * d - a * f) / size),
        ((d * h - e * g) / size, (b * g - a * h) / size, (a * e - b * d) / size),
    )


def _xyz(colour: _Vector) -> bytes:
    return b"XYZ " + bytes(4) + struct.pack(">3i", *(round(part * 65536) for part in colour))


def _table(curve: Callable[[float], float]) -> bytes:
    steps = [round(65535 * min(1.0, curve(step / (_STEPS - 1)))) for step in range(_STEPS)]
    return b"curv" + bytes(4) + struct.pack(f">I{_STEPS}H", _STEPS, *steps)


def _text(words: bytes) -> bytes:
    return b"text" + bytes(4) + words + b"\0"


def _icc(tags: dict[bytes, bytes]) -> bytes:
    places, body, seen = [], b"", dict[bytes, int]()
    start = 128 + 4 + 12 * len(tags)
    for name, data in tags.items():
        if data not in seen:
            seen[data] = start + len(body)
            body += data + bytes(-len(data) % 4)
        places.append(struct.pack(">4s2I", name, seen[data], len(data)))
    head = struct.pack(
        ">I4sI4s4s4s12s4s28s3i48s",
        start + len(body),
        b"",
        0x02400000,
        b"mntr",
        b"RGB ",
        b"XYZ ",
        bytes(12),
        b"acsp",
        bytes(28),
        *(round(part * 65536) for part in _D50),
        b"",
    )
    return head + struct.pack(">I", len(tags)) + b"".join(places) + body
