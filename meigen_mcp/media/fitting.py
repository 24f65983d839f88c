"""A small picture in as few bytes as a preview may have, and as alike as that lets it be.

It imports nothing of ours, since the process that makes previews does without.
"""

import math
from collections.abc import Callable
from importlib import import_module
from io import BytesIO
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.Image import Image  # slow to import

LARGEST = 70_000
"""Bytes of a preview."""
LEAST_QUALITY, USUAL_QUALITY = 40, 80
"""Of JPEG and WebP, as Pillow counts."""
VISIBLY_WORSE = 0.02
"""Structural similarity by which a JPEG must be worse, so that a WebP takes its place."""

_WEBP_METHOD = 2  # 3 % larger than by 4, which is usual, in less than half of the time
_BY_QUALITY = 2.2
"""How much larger than allowed a picture may be at first, so that less quality will do."""
_SAMPLE, _SAMPLES = 32, 8  # pixels of a square's side, and squares in a row and in a column
_TRIES, _NEARLY, _AIM = 4, 0.93, 0.97  # of what a sample may take
_JPEG_HEAD = 623  # bytes of a JPEG before its pixels


def fit(image: "Image") -> bytes:
    """Encode a picture within the limits, so that as many as possible can read it.

    How far to go is tried with a sample, since to encode all of it again and again takes longest.
    """
    from PIL import features  # noqa: PLC0415  # slow to import

    first = _encode(image, "JPEG", USUAL_QUALITY)
    if len(first) <= LARGEST:
        return first
    piece = _sample(image)
    share = (len(_encode(piece, "JPEG", USUAL_QUALITY)) - _JPEG_HEAD) / (len(first) - _JPEG_HEAD)
    tried, quality, scale = _aim(piece, "JPEG", share * (LARGEST - _JPEG_HEAD) + _JPEG_HEAD)
    jpeg = _within(image, "JPEG", quality, scale)
    alike = likeness(piece, tried)
    if alike >= 1 - VISIBLY_WORSE or not features.check("webp"):
        return jpeg
    import_module("PIL.WebPImagePlugin")  # else Pillow looks for it in all its forty formats
    tried, quality, scale = _aim(piece, "WEBP", share * LARGEST)
    if likeness(piece, tried) - alike < VISIBLY_WORSE / 2:
        return jpeg
    webp = _within(image, "WEBP", quality, scale)
    return webp if likeness(image, webp) - likeness(image, jpeg) > VISIBLY_WORSE else jpeg


def _sample(image: "Image") -> "Image":
    """Return squares from all over a picture as one, or a small picture as it is."""
    from PIL import Image  # noqa: PLC0415  # slow to import

    across, down = (min(_SAMPLES, side // _SAMPLE) for side in image.size)
    if across * down <= 1:
        return image
    piece = Image.new("RGB", (across * _SAMPLE, down * _SAMPLE))
    for place in range(across * down):
        x, y = place % across, place // across
        left = (image.width - _SAMPLE) * x // max(1, across - 1)
        top = (image.height - _SAMPLE) * y // max(1, down - 1)
        square = image.crop((left, top, left + _SAMPLE, top + _SAMPLE))
        piece.paste(square, (x * _SAMPLE, y * _SAMPLE))
    return piece


def _aim(piece: "Image", kind: str, most: float) -> tuple[bytes, int, float]:
    """Return a sample in about so many bytes: at less quality, then smaller; and both of these.

    How far to go is guessed from what came out before.
    """
    quality, scale, half = USUAL_QUALITY, 1.0, _BY_QUALITY
    made = _encode(piece, kind, quality)
    for _ in range(_TRIES):
        excess = len(made) / most
        if _NEARLY <= excess <= 1 or (excess < 1 and quality == USUAL_QUALITY):
            break
        if scale == 1 and excess < half:
            quality = _less(quality, excess)
        else:
            scale = min(1.0, scale * math.sqrt(_AIM * half / excess))
            quality, half = LEAST_QUALITY, 1.0
        made = _encode(piece, kind, quality, scale)
    return made, quality, scale


def _less(quality: int, excess: float) -> int:
    """Return with what quality a file is not so many times too large, or not too small."""
    # Seen: from 80 to 40 a file loses half of its bytes, nearly as the points go.
    wanted = quality - 2 - round(45 * math.log(excess))
    return min(USUAL_QUALITY, max(LEAST_QUALITY, wanted))


def _within(image: "Image", kind: str, quality: int, scale: float) -> bytes:
    """Encode a picture in LARGEST bytes: at some quality and scale, or at less of it."""
    while True:
        made = _encode(image, kind, quality, scale)
        if (excess := len(made) / LARGEST) <= 1:
            return made
        if quality > LEAST_QUALITY:
            quality = _less(quality, excess)
        else:
            scale *= min(0.98, 0.98 / math.sqrt(excess))


def _encode(image: "Image", kind: str, quality: int, scale: float = 1.0) -> bytes:
    from PIL import Image  # noqa: PLC0415  # slow to import

    if scale < 1:
        width, height = (max(1, round(scale * side)) for side in image.size)
        # As alike as by Pillow's usual one, in half of the time.
        image = image.resize((width, height), Image.Resampling.HAMMING, reducing_gap=2.0)
    out = BytesIO()
    image.save(out, kind, quality=quality, method=_WEBP_METHOD)
    return out.getvalue()


def likeness(image: "Image", packed: bytes) -> float:
    """Return how alike a picture and an encoded one look, 1 for the same (SSIM of 8 x 8 tiles)."""
    from PIL import Image, ImageMath  # noqa: PLC0415  # slow to import

    one = image.convert("L").convert("F")
    with Image.open(BytesIO(packed)) as other:
        two = other.convert("L").resize(image.size, Image.Resampling.BICUBIC).convert("F")

    def mean(make: Callable[[Any], Any], **given: "Image.Image") -> Any:
        return ImageMath.lambda_eval(make, **given).reduce(8)

    def alike(given: Any) -> Any:
        m, n = given["m"], given["n"]
        spread = given["mm"] - m * m + given["nn"] - n * n
        return ((2 * m * n + 6.5025) * (2 * (given["mn"] - m * n) + 58.5225)) / (
            (m * m + n * n + 6.5025) * (spread + 58.5225)
        )

    tiles = ImageMath.lambda_eval(
        alike,
        m=one.reduce(8),
        n=two.reduce(8),
        mm=mean(lambda given: given["a"] * given["a"], a=one),
        nn=mean(lambda given: given["a"] * given["a"], a=two),
        mn=mean(lambda given: given["a"] * given["b"], a=one, b=two),
    )
    # ImageStat counts in 256 steps, which is wrong for fractions.
    return float(tiles.resize((1, 1), Image.Resampling.BOX).getpixel((0, 0)))
