"""What a saved file says about itself: its name, and a PNG's own text or a JSON file beside it.

PNG text goes into iTXt chunks (UTF-8) right behind the header; every other byte stays as it is.
https://www.w3.org/TR/png-3/#11iTXt
"""

import json
import re
import shutil
import struct
import unicodedata
import zlib
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, BinaryIO

from meigen_mcp.generation import Generation

Facts = Mapping[str, Any]

_LOCAL = re.compile(r'"file:[^"]*/([^"/]*)"')
_HEADER = 8 + 25
"""Bytes of the signature and of IHDR, which every PNG begins with."""
_MOST_CHUNKS = 1000


def stem(job: Generation) -> str:
    r"""Return the start of a file's name: the day, the model and words of the prompt.

    It begins with a digit and holds no control character and none that turns the direction of
    writing (they are not in \w), so no system takes it for a device and no person for another type.
    """
    day = datetime.fromtimestamp(job.created_at).astimezone().strftime("%Y-%m-%d")
    model = re.sub(r"[^\w.-]", "-", job.model_id, flags=re.ASCII)[:40]
    words = "-".join(re.findall(r"\w+", unicodedata.normalize("NFC", job.prompt))[:6]).lower()
    # Some file systems count bytes, and the strictest takes 143 of them.
    slug = words[:40].encode()[:80].decode(errors="ignore").strip("-_")
    return f"{day}_{model}_{slug or job.media_type}"


def facts(job: Generation, index: int) -> Facts:
    """Return what is known about one medium, by the API's names; what has no value is left out.

    A local reference is named without its folder: files get shared.
    """
    settings = {n: job.arguments[n] for n in job.arguments if n not in ("prompt", "modelId")}
    known = {
        "prompt": job.prompt,
        "modelId": job.model_id,
        "settings": json.loads(_LOCAL.sub(r'"\1"', json.dumps(settings))),
        "generationId": job.generation_id,
        "requestId": job.request_id,
        "mediaUrl": job.media_urls[index],
        "index": index,
        "createdAt": datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "creditsUsed": _credits(job),
        "software": "meigen-mcp",
    }
    return {name: value for name, value in known.items() if value is not None}


def _credits(job: Generation) -> int | float | None:
    if job.credits_used is None:
        return None
    whole = int(job.credits_used)
    return whole if whole == job.credits_used else float(job.credits_used)


def sidecar(known: Facts) -> bytes:
    """Return the JSON file that lies beside a medium."""
    return (json.dumps(known, ensure_ascii=False, indent=2) + "\n").encode(errors="replace")


def inscribe(source: BinaryIO, target: BinaryIO, known: Facts) -> bool:
    """Copy a PNG and put what is known into its text.

    Returns:
        False, with nothing copied, for a file that does not begin as a PNG does, and for one with
        content credentials (C2PA, in a `caBX` chunk): a changed byte would break their signature.
    """
    head = source.read(_HEADER)
    if len(head) < _HEADER or head[8:16] != b"\0\0\0\x0dIHDR" or _signed(source):
        return False
    source.seek(_HEADER)
    target.write(head)
    target.writelines(_chunk(key, text) for key, text in _texts(known).items())
    shutil.copyfileobj(source, target, 2**20)
    return True


def _signed(source: BinaryIO) -> bool:
    """Look through the chunks before the pixels; too many of them count as signed."""
    for _ in range(_MOST_CHUNKS):
        head = source.read(8)
        if len(head) < 8 or head[4:] == b"IDAT":
            return False
        if head[4:] == b"caBX":
            return True
        source.seek(int.from_bytes(head[:4]) + 4, 1)
    return True


def _texts(known: Facts) -> dict[str, str]:
    """Return the texts of a PNG; `parameters` is the one that image browsers show to people."""
    settings = {"model": known["modelId"], **known["settings"]}
    said = ", ".join(f"{name}: {_text(value)}" for name, value in settings.items())
    texts = {"parameters": f"{known['prompt']}\n{said}"}
    for name, value in known.items():
        texts["model" if name == "modelId" else name] = _text(value)
    return texts


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def _chunk(key: str, text: str) -> bytes:
    """Return an iTXt chunk: uncompressed, without a language and a translated key."""
    plain = text.replace("\0", " ").encode(errors="replace")
    data = b"iTXt" + key.encode("latin-1") + b"\0\0\0\0\0" + plain
    return struct.pack(">I", len(data) - 4) + data + struct.pack(">I", zlib.crc32(data))


__all__ = ["Facts", "facts", "inscribe", "sidecar", "stem"]
