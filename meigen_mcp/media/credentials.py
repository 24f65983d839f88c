"""Content credentials (C2PA) of a saved medium: who signed it, as the C2PA library tells it.

The library reads what anybody may have written, so `python -m meigen_mcp.media.credentials` does
that in a process of its own; this module imports nothing of ours. What its validator says is told,
and nothing is judged here; no network is asked.
"""

import json
import sys
from importlib.util import find_spec
from typing import Any

LONGEST = 300
"""Letters of what is told of a file."""
_MOST_CODES = 5


def extra() -> bool:
    """Say whether credentials can be read: `meigen-mcp[credentials]`."""
    return find_spec("c2pa") is not None


def read(path: str, mime_type: str) -> str:
    """Return what the library says of a file: its validator's word and codes, and who signed it.

    Raises:
        ImportError: the library is not installed.
        Exception: what it makes of a file that has none, or broken ones.
    """
    import c2pa  # noqa: PLC0415  # slow to import, and an extra

    alone = c2pa.Settings.from_dict(
        {"verify": {"remote_manifest_fetch": False, "ocsp_fetch": False}}
    )
    with (
        open(path, "rb") as file,  # noqa: PTH123  # a path as text is all that is known here
        c2pa.Reader(mime_type, file, context=c2pa.Context(alone)) as reader,
    ):
        return told(json.loads(reader.json()))


def told(found: dict[str, Any]) -> str:
    """Return the words for what a reader found."""
    manifest = found.get("manifests", {}).get(found.get("active_manifest"), {})
    signature = manifest.get("signature_info") or {}
    names = [signature.get(name) for name in ("common_name", "issuer")]
    signer = " of ".join(_plain(name) for name in names if name)
    codes = [_plain(status.get("code")) for status in found.get("validation_status") or []]
    said = [f"the C2PA validator says {_plain(found.get('validation_state')) or 'nothing'}"]
    said += [f"({', '.join(codes[:_MOST_CODES])})"] if codes else []
    return f"{' '.join(said)}; signed by {signer or 'nobody who is named'}"[:LONGEST]


def _plain(text: Any) -> str:
    """Return a text of the file on one line and short: anybody may have written it."""
    letters = (letter if letter.isprintable() else " " for letter in str(text or "")[:100])
    return " ".join("".join(letters).split())


if __name__ == "__main__":
    sys.stdout.buffer.write(read(*sys.argv[1:3]).encode(errors="replace"))

__all__ = ["extra", "read", "told"]
