"""What a saved file says about itself: its name, its mark as made by an algorithm, its texts.

`marks` puts the mark and the texts into a file; beside one that cannot hold them lies a JSON file.
"""

import json
import re
import unicodedata
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any
from xml.sax.saxutils import escape

from meigen_mcp.catalogue.reference_rules import rename_files
from meigen_mcp.generation import RECORDS, Generation
from meigen_mcp.wording import credits_json, without_none

Facts = Mapping[str, Any]

SOURCE_TYPES = "http://cv.iptc.org/newscodes/digitalsourcetype/"
"""IPTC's vocabulary of how a picture came to be."""
_NAMESPACES = {
    "x": "adobe:ns:meta/",
    "rdf": "http://www.w3.org/1999/02/22-rdf-syntax-ns#",
    "dc": "http://purl.org/dc/elements/1.1/",
    "xmp": "http://ns.adobe.com/xap/1.0/",
    "Iptc4xmpExt": "http://iptc.org/std/Iptc4xmpExt/2008-02-29/",
    "meigen": "https://www.meigen.ai/ns/meigen-mcp/1/",
}
_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")


def stem(job: Generation, *, in_ascii: bool = False) -> str:
    r"""Return the start of a file's name: the day, the model and words of the prompt.

    It begins with a digit and holds no control character and none that turns the direction of
    writing (they are not in \w), so no system takes it for a device and no person for another type.

    Args:
        job: the generation.
        in_ascii: without the letters that some locales and file systems cannot spell.
    """
    day = datetime.fromtimestamp(job.created_at).astimezone().strftime("%Y-%m-%d")
    model = re.sub(r"[^\w.-]", "-", job.model_id, flags=re.ASCII)[:40]
    prompt = unicodedata.normalize("NFKD" if in_ascii else "NFC", job.prompt)
    if in_ascii:
        prompt = prompt.encode("ascii", "ignore").decode()
    words = "-".join(re.findall(r"\w+", prompt)[:6]).lower()
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
        "settings": rename_files(settings, lambda url: url.rpartition("/")[2]),
        "generationId": job.generation_id,
        "requestId": job.request_id,
        "mediaUrl": job.media_urls[index],
        "index": index,
        "createdAt": datetime.fromtimestamp(job.created_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ"),
        "creditsUsed": credits_json(job.credits_used),
        "software": "meigen-mcp",
        "digitalSourceType": _source_type(job),
        "parents": [_record_id(uri) for uri in job.made_from] or None,
    }
    return without_none(known)


def _source_type(job: Generation) -> str:
    """Return how a medium came to be, by IPTC: alone, or with the person's own pictures in it."""
    given = [
        text
        for name, value in job.arguments.items()
        if "reference" in name.lower()
        for text in (value if isinstance(value, list) else [value])
        if isinstance(text, str) and ":" in text
    ]
    own = len(given) > len(job.made_from)
    return "compositeWithTrainedAlgorithmicMedia" if own else "trainedAlgorithmicMedia"


def _record_id(uri: str) -> str:
    return uri.removeprefix(f"{RECORDS}/").partition("/")[0]


def sidecar(known: Facts) -> bytes:
    """Return the JSON file that lies beside a medium."""
    return (json.dumps(known, ensure_ascii=False, indent=2) + "\n").encode(errors="replace")


def png_texts(known: Facts, size: tuple[int, int]) -> dict[str, str]:
    """Return the texts of a PNG.

    `parameters` is in the form of AUTOMATIC1111's web interface, which the readers that people use
    look for; what we do not know they want to see all the same. `prompt` would be ComfyUI's, for a
    graph in JSON.
    """
    texts = {"parameters": _parameters(known, size), "Description": known["prompt"]}
    for name, value in known.items():
        if name != "prompt":
            texts["model" if name == "modelId" else name] = _text(value)
    return texts


def _parameters(known: Facts, size: tuple[int, int]) -> str:
    unknown = dict.fromkeys(("Steps", "Sampler", "CFG scale", "Seed"), "unknown")
    said = {**unknown, "Size": f"{size[0]}x{size[1]}", "Model": known["modelId"]}
    for name, value in known["settings"].items():
        text = _text(value)
        if not isinstance(value, list | dict) and "," not in text and "\n" not in text:
            said[name] = text
    line = ", ".join(f"{name}: {value}" for name, value in said.items())
    return f"{known['prompt']}\n{line}, Version: {known['software']}"


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


# --- XMP ----------------------------------------------------------------------------------------


def properties(known: Facts, *, everything: bool) -> dict[str, str]:
    """Return the XMP properties of a file, each with its name and as XML.

    Args:
        known: see `facts`.
        everything: besides the mark (by an algorithm, which, when) the prompt, the settings and
            the records that it was made from; never a path or a URL.
    """
    said = {
        "Iptc4xmpExt:DigitalSourceType": _xml(SOURCE_TYPES + known["digitalSourceType"]),
        "Iptc4xmpExt:AISystemUsed": _xml(known["modelId"]),
        "xmp:CreatorTool": _xml(known["software"]),
        "xmp:CreateDate": _xml(known["createdAt"]),
    }
    if everything:
        prompt = f'<rdf:Alt><rdf:li xml:lang="x-default">{_xml(known["prompt"])}</rdf:li></rdf:Alt>'
        settings = {n: v for n, v in known["settings"].items() if "reference" not in n.lower()}
        said |= {
            "dc:description": prompt,
            "Iptc4xmpExt:AIPromptInformation": _xml(known["prompt"]),
            "dc:identifier": _xml(known.get("generationId", known["requestId"])),
            "meigen:settings": _xml(_text(settings)),
        }
        if known.get("parents"):
            items = "".join(f"<rdf:li>{_xml(parent)}</rdf:li>" for parent in known["parents"])
            said["dc:relation"] = f"<rdf:Bag>{items}</rdf:Bag>"
    return said


def _xml(text: str) -> str:
    return escape(_NO_XML.sub(" ", text))


def xmp(said: Mapping[str, str]) -> bytes:
    """Return an XMP packet (ISO 16684-1) with these properties."""
    x, rdf = (f'xmlns:{name}="{_NAMESPACES[name]}"' for name in ("x", "rdf"))
    inner = f"<x:xmpmeta {x}><rdf:RDF {rdf}>{_description(said)}</rdf:RDF></x:xmpmeta>"
    begin = '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    return f'{begin}{inner}<?xpacket end="r"?>'.encode()


def merged(packet: bytes, said: Mapping[str, str]) -> bytes | None:
    """Return a packet that is there with those of the properties that it lacks.

    Returns:
        None for one that cannot be added to by its text.
    """
    end = packet.rfind(b"</rdf:RDF>")
    if end < 0:
        return None
    new = {n: value for n, value in said.items() if n.partition(":")[2].encode() not in packet}
    return packet[:end] + _description(new).encode() + packet[end:] if new else packet


def _description(said: Mapping[str, str]) -> str:
    prefixes = sorted({name.partition(":")[0] for name in said})
    spaces = " ".join(f'xmlns:{prefix}="{_NAMESPACES[prefix]}"' for prefix in prefixes)
    items = "".join(f"<{name}>{value}</{name}>" for name, value in said.items())
    return f'<rdf:Description rdf:about="" {spaces}>{items}</rdf:Description>'


__all__ = ["Facts", "facts", "merged", "png_texts", "properties", "sidecar", "stem", "xmp"]
