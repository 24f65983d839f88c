"""Pixels as they are meant: which way up, and what a profile, 16 bits or a clear value stand for.

It imports nothing of ours, since the process that makes previews does without.
"""

from contextlib import suppress
from io import BytesIO
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image, Transpose  # slow to import

# EXIF 2.32, tag 274, as the names of Pillow's transpositions.
_UPRIGHT = {
    2: "FLIP_LEFT_RIGHT",
    3: "ROTATE_180",
    4: "FLIP_TOP_BOTTOM",
    5: "TRANSPOSE",
    6: "ROTATE_270",
    7: "TRANSVERSE",
    8: "ROTATE_90",
}


def turn_upright(image: "Image") -> "Transpose | None":
    """Return how an opened picture is turned upright; broken EXIF is as good as none."""
    from PIL import Image  # noqa: PLC0415  # slow to import

    with suppress(Exception):
        return Image.Transpose[_UPRIGHT[image.getexif().get(274, 1)]]
    return None


def as_eight_bits(image: "Image") -> "Image":
    """Return a picture with at most 8 bits a channel, its transparent value as an alpha channel.

    Pillow by itself makes all but black of 16-bit grey white, and forgets its transparent value.
    """
    from PIL import ImageMath  # noqa: PLC0415  # slow to import

    clear = image.info.get("transparency")
    if not image.mode.startswith("I"):
        if isinstance(clear, tuple) and max(clear) > 255:  # of 16-bit RGB: its own value is lost
            image.info["transparency"] = tuple(value >> 8 for value in clear)
        return image
    grey = image.convert("I")
    small = grey.point(lambda value: value / 257).convert("L")
    small.info = {name: value for name, value in image.info.items() if name != "transparency"}
    if not isinstance(clear, int):
        return small
    seen = ImageMath.lambda_eval(
        lambda given: given["convert"](given["notequal"](given["grey"], clear) * 255, "L"),
        grey=grey,
    )
    both = small.convert("LA")
    both.putalpha(seen)
    return both


def in_srgb(image: "Image", profile: bytes, mode: str) -> "Image":
    """Return the colours that a profile means, or those that are there if it is broken."""
    from PIL import ImageCms  # noqa: PLC0415  # slow to import

    with suppress(ImageCms.PyCMSError, ImportError, OSError):
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        meant = ImageCms.profileToProfile(
            image, given, ImageCms.createProfile("sRGB"), outputMode=mode
        )
        return meant or image
    return image
