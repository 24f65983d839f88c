"""What the sandbox takes as an upload."""

from collections.abc import Mapping
from typing import Any

from meigen_mcp.catalogue.models import Model
from meigen_mcp.sandbox.state import invalid

UPLOAD_TYPES: Mapping[str, str] = {
    "image/jpeg": "jpg",
    "image/png": "png",
    "image/webp": "webp",
    "image/gif": "gif",
}
CLIP_TYPES: Mapping[tuple[str, str], str] = {
    ("video", "video/mp4"): "mp4",
    ("video", "video/quicktime"): "mov",
    ("audio", "audio/wav"): "wav",
    ("audio", "audio/mpeg"): "mp3",
}
"""Endings by kind and type (official client, 2026-09)."""
UPLOAD_BYTES = 9_500_000  # ceiling of the upload gateway (official client, 2026-09)


def check_image(content_type: Any, size: Any) -> str:
    """Return the suffix of an image that is to be uploaded, or refuse it."""
    if content_type not in [*UPLOAD_TYPES]:
        raise invalid(f"contentType must be one of {', '.join(UPLOAD_TYPES)}")
    if type(size) is not int or not 0 < size <= UPLOAD_BYTES:
        raise invalid(f"size must be a whole number of bytes up to {UPLOAD_BYTES}")
    return UPLOAD_TYPES[content_type]


def check_clip(model: Model, asked: Mapping[str, Any]) -> str:
    """Return the suffix of a clip or sound that is to be uploaded for a model, or refuse it."""
    kind = asked.get("kind")
    suffix = CLIP_TYPES.get((str(kind), str(asked.get("contentType"))))
    limits = model.sounds if kind == "audio" else model.continuation
    if suffix is None:
        known = ", ".join(sorted({content_type for _, content_type in CLIP_TYPES}))
        raise invalid(f"kind must be video or audio, contentType fit it: {known}")
    if limits is None or limits.upload_bytes is None:
        raise invalid(f"{model.id} takes no {kind}")
    size = asked.get("size")
    if type(size) is not int or not 0 < size <= limits.upload_bytes:
        raise invalid(f"size must be a whole number of bytes up to {limits.upload_bytes}")
    return suffix
