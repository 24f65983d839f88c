"""MCP resources: records, finished media and models."""

import base64
import binascii
import json
from typing import Any
from urllib.parse import unquote, urlsplit

import mcp_types as t
from mcp.server.context import ServerRequestContext
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from meigen_mcp import model_views, viewer, views
from meigen_mcp.generation import RECORDS, Generation, media_uri, record_uri
from meigen_mcp.media import Media
from meigen_mcp.service import Service

Context = ServerRequestContext[Any, Any]

PAGE = 50
LEGACY_NOT_FOUND = -32002
"""What the 2025 specifications ask for an unknown resource; 2026-07-28 asks for -32602."""
MEDIA_ORIGINS = ("https://images.meigen.ai", "https://images.meigen.art")
"""Where MeiGen keeps results (official client, 2026-09 and 2026-03)."""
_FRESH = 300_000
_FOR_EVER = 24 * 3600 * 1000
"""Milliseconds for which a client may keep what never changes."""


class Resources:
    """What the resource methods answer."""

    def __init__(self, service: Service, media: Media) -> None:
        self._service = service
        self._media = media

    async def list(self, ctx: Context, params: Any) -> t.ListResourcesResult:
        """Serve `resources/list`: what is fixed, then records with their media, newest first."""
        del ctx
        cursor = params.cursor if params is not None else None
        before = None if cursor is None else _place(cursor)
        found = self._service.ledger.newest(self._service.account, PAGE + 1, before)
        resources = list(_FIXED) if before is None else []
        for _, job in found[:PAGE]:
            resources += _resources(job)
        more = _cursor(found[PAGE - 1][0]) if len(found) > PAGE else None
        return t.ListResourcesResult(resources=resources, next_cursor=more)

    async def list_templates(self, ctx: Context, params: Any) -> t.ListResourceTemplatesResult:
        """Serve `resources/templates/list`."""
        del ctx
        if params is not None and params.cursor is not None:
            raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
        return t.ListResourceTemplatesResult(resource_templates=list(_TEMPLATES))

    async def read(self, ctx: Context, params: t.ReadResourceRequestParams) -> t.ReadResourceResult:
        """Serve `resources/read`."""
        uri = str(params.uri)
        service = self._service
        current = service.catalogue.current
        parts = uri.removeprefix("meigen://").split("/") if uri.startswith("meigen://") else []
        if uri == viewer.URI:
            return self._viewer()
        match [unquote(part) for part in parts]:
            case ["generations"]:
                return _json(uri, views.listing(service.listing(PAGE)))
            case ["generations", name] if job := service.ledger.get(service.account, name):
                ends = job.terminal and job.next_look is None
                record = views.generation(service.shown(job), service.clock())
                return _json(uri, record, _FOR_EVER if ends else 0)
            case ["generations", name, "media", index]:
                found = service.ledger.get(service.account, name)
                if found is not None and index in map(str, range(len(found.media_urls))):
                    return await self._medium(uri, found, int(index))
            case ["models"]:
                rows = [model_views.model_row(model) for model in current.listed()]
                return _json(uri, {"models": rows}, _FRESH)
            case ["models", model_id] if model := current.find(model_id):
                return _json(
                    uri, model_views.model_details(model, current, service.settings.accepts), _FRESH
                )
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        code = t.INVALID_PARAMS if modern else LEGACY_NOT_FOUND
        raise MCPError(code, "Resource not found", {"uri": uri})

    def _viewer(self) -> t.ReadResourceResult:
        """Return the in-chat viewer, which may load media from where results come from."""
        newest = self._service.listing(PAGE).jobs if self._service.ledger.available() else ()
        seen = {_origin(url) for job in newest for url in job.media_urls}
        own = self._service.settings.own_origin
        content = t.TextResourceContents(
            uri=viewer.URI,
            mime_type=viewer.MIME,
            text=viewer.page(),
            _meta=viewer.meta(sorted({*MEDIA_ORIGINS, *seen, *([own] if own else [])})),
        )
        return t.ReadResourceResult(contents=[content], ttl_ms=_FRESH)

    async def _medium(self, uri: str, job: Generation, index: int) -> t.ReadResourceResult:
        medium = await self._media.read(job, index)
        blob = base64.b64encode(medium.data).decode()
        content = t.BlobResourceContents(uri=uri, mime_type=medium.mime_type, blob=blob)
        return t.ReadResourceResult(contents=[content], ttl_ms=_FOR_EVER)


_FIXED = (
    t.Resource(
        uri=RECORDS,
        name="generations",
        title="Newest generations",
        mime_type="application/json",
    ),
    t.Resource(
        uri=views.MODELS, name="models", title="Models and prices", mime_type="application/json"
    ),
    t.Resource(uri=viewer.URI, name="viewer", title="Viewer", mime_type=viewer.MIME),
)
_TEMPLATES = (
    t.ResourceTemplate(
        uri_template="meigen://generations/{generationId}",
        name="generation",
        title="A generation",
        description="The record with its final URLs; requestId works as well.",
        mime_type="application/json",
    ),
    t.ResourceTemplate(
        uri_template="meigen://generations/{generationId}/media/{index}",
        name="medium",
        title="A finished image or video",
        description="The bytes; index counts from 0.",
    ),
    t.ResourceTemplate(
        uri_template="meigen://models/{modelId}",
        name="model",
        title="A model",
        description="Rules, prices and the complete JSON Schema.",
        mime_type="application/json",
    ),
)


def _origin(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


def _resources(job: Generation) -> list[t.Resource]:
    """Return the entries of one record: itself, then its finished media."""
    title = f"{job.status}: {job.prompt[:60]}"
    entries = [
        t.Resource(
            uri=record_uri(job.name),
            name=job.name,
            title=title,
            mime_type="application/json",
        )
    ]
    for index, (_, name, mime_type) in enumerate(views.media_links(job)):
        entries.append(
            t.Resource(
                uri=media_uri(job.name, index),
                name=f"{job.name} {name}",
                title=f"{name}: {job.prompt[:60]}",
                mime_type=mime_type,
            )
        )
    return entries


def _json(uri: str, structure: views.Structure, ttl_ms: int = 0) -> t.ReadResourceResult:
    text = json.dumps(structure, ensure_ascii=False)
    content = t.TextResourceContents(uri=uri, mime_type="application/json", text=text)
    return t.ReadResourceResult(contents=[content], ttl_ms=ttl_ms)


def _cursor(place: int) -> str:
    return base64.urlsafe_b64encode(f"before {place}".encode()).decode()


def _place(cursor: str) -> int:
    try:
        word, _, place = base64.urlsafe_b64decode(cursor).decode().partition(" ")
    except (binascii.Error, ValueError):
        word, place = "", ""
    if word != "before" or not (place.isascii() and place.isdigit()) or len(place) > 18:
        raise MCPError(t.INVALID_PARAMS, "Invalid cursor")
    return int(place)
