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
_MOST_BY_QUALITY = 2.2
"""How much larger than allowed a picture may be at first, so that less quality will do."""
_SAMPLE, _SAMPLES = 64, 4  # pixels of a square's side, and squares in a row and in a column
_JPEG_HEAD = 623  # bytes of a JPEG before its pixels
_LEAST_WEBP = 500  # bytes that one of a pixel has room in


def fit(image: "Image") -> bytes:
    """Encode a picture within the limits, so that as many as possible can read it."""
    from PIL import features  # noqa: PLC0415  # slow to import

    jpeg, quality, size = _within(image, "JPEG", LARGEST)
    if (quality >= USUAL_QUALITY and size == image.size) or not features.check("webp"):
        return jpeg
    import_module("PIL.WebPImagePlugin")  # else Pillow looks for it in all its forty formats
    if not _worth_trying(image, len(jpeg), quality, size):  # a whole WebP takes 20 x as long
        return jpeg
    webp, *_ = _within(image, "WEBP", LARGEST)
    return webp if likeness(image, webp) - likeness(image, jpeg) > VISIBLY_WORSE else jpeg


def _worth_trying(image: "Image", count: int, quality: int, size: tuple[int, int]) -> bool:
    """Say whether a WebP may be visibly better than a JPEG, as a sample of the picture tells.

    Args:
        image: the picture.
        count: bytes of the JPEG.
        quality: of it.
        size: of it, in pixels.
    """
    piece = _sample(image)
    sized = [max(1, round(a * b / c)) for a, b, c in zip(piece.size, size, image.size, strict=True)]
    out = BytesIO()
    piece.resize(sized).save(out, "JPEG", quality=quality)
    alike = likeness(piece, out.getvalue())
    if alike >= 1 - VISIBLY_WORSE:
        return False
    share = (out.tell() - _JPEG_HEAD) / (count - _JPEG_HEAD)
    webp, *_ = _within(piece, "WEBP", max(_LEAST_WEBP, share * LARGEST))
    return likeness(piece, webp) > alike  # seen: what is visible of the whole is more than nothing


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


def _within(image: "Image", kind: str, most: float) -> tuple[bytes, int, tuple[int, int]]:
    """Encode a picture in so many bytes: at less quality, then smaller.

    How far to go is guessed from what came out before, since to encode is what takes time.

    Returns:
        The file, its quality, and the size in pixels.
    """
    quality, scale = USUAL_QUALITY, 1.0
    while True:
        sized = [max(1, round(scale * side)) for side in image.size]
        small = image if scale == 1.0 else image.resize(sized, reducing_gap=2.0)
        out = BytesIO()
        small.save(out, kind, quality=quality, method=_WEBP_METHOD)
        excess = out.tell() / most
        if excess <= 1:
            return out.getvalue(), quality, small.size
        if quality > LEAST_QUALITY and excess < _MOST_BY_QUALITY:
            # Seen: from 80 to 40 a file loses half of its bytes, nearly as the points go.
            quality = max(LEAST_QUALITY, quality - 5 - round(45 * math.log(excess)))
        else:
            quality = LEAST_QUALITY
            scale *= min(0.9, 0.97 / math.sqrt(excess / _MOST_BY_QUALITY if scale == 1 else excess))


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
