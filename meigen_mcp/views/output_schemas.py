"""The output schemas of the tools: the fields of a structure on which a program acts."""

from meigen_mcp.views.structure import Structure

_TEXT: Structure = {"type": "string"}
_NUMBER: Structure = {"type": "number"}
_TEXTS: Structure = {"type": "array", "items": _TEXT}
_OBJECT: Structure = {"type": "object"}

# What a program acts on; what a result repeats of its call comes besides, and would be said thrice.
GENERATION_FIELDS: Structure = {
    "generationId": _TEXT,
    "requestId": _TEXT,
    "status": _TEXT,
    "modelId": _TEXT,
    "mediaUrls": _TEXTS,
    "files": _TEXTS,
    "preview": _TEXT,
    "resourceUri": _TEXT,
    "creditsUsed": _NUMBER,
    "quote": _OBJECT,
    "credits": _OBJECT,
    "expectedSeconds": _NUMBER,
    "error": _OBJECT,
    "next": _TEXT,
}
GENERATION_SCHEMA: Structure = {"type": "object", "properties": GENERATION_FIELDS}
STATUS_SCHEMA: Structure = {
    "type": "object",
    "properties": {
        **GENERATION_FIELDS,
        "generations": {"type": "array", "items": _OBJECT},
        "spentToday": _NUMBER,
        "spentMonth": _NUMBER,
    },
}
