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


def in_srgb(image: "Image", profile: bytes) -> "Image":
    """Return the colours that a profile means, or those that are there if it is broken.

    Grey is converted by a profile of grey or of colours; colours are not by one of grey.

    Returns:
        RGB, or RGBA if the picture is; the picture itself if it cannot be converted.
    """
    from PIL import ImageCms  # noqa: PLC0415  # slow to import

    with suppress(ImageCms.PyCMSError, ImportError, OSError):
        given = ImageCms.ImageCmsProfile(BytesIO(profile))
        ready = _fit_for(image, given.profile.xcolor_space.strip())
        seen = image.getchannel("A") if image.mode == "RGBA" else None
        mode = "RGB" if ready.mode != "RGBA" else "RGBA"
        meant = ImageCms.profileToProfile(
            ready, given, ImageCms.createProfile("sRGB"), outputMode=mode
        )
        if meant is not None and seen is not None:
            meant.putalpha(seen)
        return meant or image
    return image


def _fit_for(image: "Image", space: str) -> "Image":
    """Return a picture with the channels of a profile, where grey allows it.

    Grey comes as three equal colours where it is transparent, and from formats that know no other.
    """
    from PIL import ImageChops  # noqa: PLC0415  # slow to import

    if image.mode == "L" and space == "RGB":
        return image.convert("RGB")
    if image.mode in ("RGB", "RGBA") and space == "GRAY":
        red, *others = image.split()[:3]
        if not any(ImageChops.difference(red, other).getbbox() for other in others):
            return red
    return image
