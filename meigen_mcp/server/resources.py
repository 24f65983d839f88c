"""MCP resources: records, finished media and models."""

import base64
import binascii
import contextlib
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote, urlsplit

import anyio
import mcp_types as t
from mcp.shared.exceptions import MCPError
from mcp_types.version import MODERN_PROTOCOL_VERSIONS

from meigen_mcp.errors import LedgerUnavailable
from meigen_mcp.foreign import one_line, printable_url
from meigen_mcp.generation import RECORDS, Generation, media_uri, record_uri
from meigen_mcp.media.store import LARGEST_RESOURCE, Media
from meigen_mcp.server import viewer
from meigen_mcp.server.guard import Context
from meigen_mcp.service.service import Service
from meigen_mcp.views import generations as views
from meigen_mcp.views import models as model_views
from meigen_mcp.views.structure import MODELS, Structure

PAGE = 50
LEGACY_NOT_FOUND = -32002
"""What the 2025 specifications ask for an unknown resource; 2026-07-28 asks for -32602."""
MEDIA_ORIGINS = ("https://images.meigen.ai", "https://images.meigen.art")
"""Where MeiGen keeps results (official client, 2026-09 and 2026-03)."""
LARGEST_IN_EVENT = 7 * 2**20 // 10
"""The Python SDK's client takes at most 1 MiB in one event, and base64 adds a third."""
PLAIN_FOR = 12.0
"""Seconds for which an answer of 2026 is sure to be plain JSON: after 15 the SDK sends events."""
_LONGEST_TITLE = 60
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
        found = await self._service.page(PAGE + 1, before)
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
        parts = uri.removeprefix("meigen://").split("/") if uri.startswith("meigen://") else []
        if uri == viewer.URI:
            return await self._viewer()
        match [unquote(part) for part in parts]:
            case ["generations"]:
                return _json(uri, views.listing(await service.listing(PAGE)))
            case ["generations", name] if job := await service.record(name):
                ends = job.terminal and job.at_rest
                record = views.generation_structure(job, service.clock())
                return _json(uri, record, _FOR_EVER if ends else 0)
            case ["generations", name, "media", index]:
                found = await service.source(name)
                if found is not None and index in map(str, range(len(found.media_urls))):
                    content = await self._medium(ctx, uri, found, int(index))
                    return t.ReadResourceResult(contents=[content], ttl_ms=_FOR_EVER)
            case ["models", *which]:
                kept = await service.catalogue.settle()
                if (models := self._models(which)) is not None:
                    return _json(uri, models, kept)
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        code = t.INVALID_PARAMS if modern else LEGACY_NOT_FOUND
        raise MCPError(code, "Resource not found", {"uri": printable_url(uri)})

    def _models(self, which: Sequence[str]) -> Structure | None:
        """Return all models in brief, or everything about one; None where there is no such."""
        current = self._service.catalogue.current
        match which:
            case []:
                return model_views.models_structure(current.listed(), current.left_out)
            case [model_id] if model := current.find(model_id):
                return model_views.model_details(model, current, self._service.settings.accepts)
        return None

    async def _viewer(self) -> t.ReadResourceResult:
        """Return the in-chat viewer, which may load media from where results come from."""
        newest: Sequence[Generation] = ()
        with contextlib.suppress(LedgerUnavailable):
            newest = (await self._service.listing(PAGE)).jobs
        seen = {_origin(url) for job in newest for url in job.media_urls}
        settings = self._service.settings
        own = [origin for origin in (settings.own_origin, settings.media_url) if origin]
        content = t.TextResourceContents(
            uri=viewer.URI,
            mime_type=viewer.MIME,
            text=viewer.page(),
            _meta=viewer.meta(sorted({*MEDIA_ORIGINS, *seen, *own})),
        )
        return t.ReadResourceResult(contents=[content], ttl_ms=_FRESH)

    async def _medium(
        self, ctx: Context, uri: str, job: Generation, index: int
    ) -> t.BlobResourceContents:
        """Return the bytes of a medium, if they fit into the message that carries them.

        Over HTTP an answer of 2025 is an event, and one of 2026 becomes one when it takes long.

        Raises:
            TooLarge: they do not; the client would fail with an error of its own.
        """
        began = anyio.current_time()
        over_http = ctx.request is not None
        modern = ctx.protocol_version in MODERN_PROTOCOL_VERSIONS
        largest = LARGEST_IN_EVENT if over_http and not modern else LARGEST_RESOURCE
        medium = await self._media.read(job, index, largest)
        late = over_http and anyio.current_time() - began > PLAIN_FOR
        if late and len(medium.data) > LARGEST_IN_EVENT:
            raise await self._media.too_large(job, index, LARGEST_IN_EVENT)
        blob = base64.b64encode(medium.data).decode()
        return t.BlobResourceContents(uri=uri, mime_type=medium.mime_type, blob=blob)


_FIXED = (
    t.Resource(
        uri=RECORDS,
        name="generations",
        title="Newest generations",
        description="The newest 50: prompts, status, URLs, files and what each cost.",
        mime_type="application/json",
    ),
    t.Resource(
        uri=MODELS,
        name="models",
        title="Models and prices",
        description="Every image and video model: what it takes and what it costs.",
        mime_type="application/json",
    ),
    t.Resource(
        uri=viewer.URI,
        name="viewer",
        title="Viewer",
        description="The page that shows results in the chat of hosts with MCP Apps.",
        mime_type=viewer.MIME,
    ),
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
    """Return the entries of one record: itself, then its finished media.

    A menu searches and shows the description or the title: both say the same.
    """
    prompt = one_line(job.prompt, _LONGEST_TITLE)
    entries = [
        t.Resource(
            uri=record_uri(job.name),
            name=job.name,
            title=f"{job.status}: {prompt}",
            description=f"{job.status} {job.media_type}: {views.cut(job.prompt)}",
            mime_type="application/json",
        )
    ]
    for index, (_, name, mime_type) in enumerate(views.media_links(job)):
        entries.append(
            t.Resource(
                uri=media_uri(job.name, index),
                name=f"{job.name} {name}",
                title=f"{name}: {prompt}",
                description=f"{name}: {views.cut(job.prompt)}",
                mime_type=mime_type,
            )
        )
    return entries


def _json(uri: str, structure: Structure, ttl_ms: int = 0) -> t.ReadResourceResult:
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
