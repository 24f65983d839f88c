"""What the four tools answer, with the border at which every error becomes an answer."""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import anyio
import anyio.to_thread
import mcp_types as t
from mcp.shared.exceptions import MCPError

from meigen_mcp.catalogue.models import Model
from meigen_mcp.errors import BadSettings, MeigenError, Problem, Unforeseen
from meigen_mcp.foreign import one_line
from meigen_mcp.generation import Generation
from meigen_mcp.ledger.asking import acting
from meigen_mcp.media import previews
from meigen_mcp.media.links import PERSON
from meigen_mcp.media.reasons import NO_FRAMES
from meigen_mcp.media.store import Media
from meigen_mcp.server.access_notes import note
from meigen_mcp.server.elicitation import Asked, ClientPerson
from meigen_mcp.server.generation_tasks import GenerationTasks
from meigen_mcp.server.guard import Context, foresee
from meigen_mcp.server.sender import client_of
from meigen_mcp.server.tasks import wants_tasks
from meigen_mcp.server.tool_schemas import ABOUT_TOOLS
from meigen_mcp.service.aftermath import after_money
from meigen_mcp.service.results import Listing, Outcome
from meigen_mcp.service.service import Service
from meigen_mcp.system.extras import install_extra
from meigen_mcp.views import generations as views
from meigen_mcp.views import models as model_views
from meigen_mcp.views.structure import Structure


class Tools:
    """What a call of a tool answers."""

    def __init__(self, service: Service, media: Media) -> None:
        self._service = service
        self._media = media
        self.tasks = GenerationTasks(service, self._tell)

    async def call(
        self, ctx: Context, params: t.CallToolRequestParams
    ) -> t.CallToolResult | t.InputRequiredResult | dict[str, Any]:
        """Serve `tools/call`."""
        if params.name not in ABOUT_TOOLS:
            raise MCPError(t.INVALID_PARAMS, f"Unknown tool: {one_line(params.name)}")
        given = _readable(params.arguments or {})
        try:
            answer = self._call(ctx, params, given)
            told: t.CallToolResult | dict[str, Any] = await foresee(answer, params.name, (Asked,))
        except Asked as asked:
            return asked.question
        except MeigenError as error:
            return self._refused(error, params.name, given)
        return told

    async def _call(
        self, ctx: Context, params: t.CallToolRequestParams, given: Mapping[str, Any]
    ) -> t.CallToolResult | dict[str, Any]:
        service = self._service
        if problems := service.settings.problems:
            known = problems if service.settings.names_paths else ["`meigen-mcp doctor` says which"]
            lines = "\n".join(f"- {problem}" for problem in known)
            raise BadSettings(f"Settings of this server are wrong; nothing was sent.\n{lines}")
        if params.name == "list_models":
            self._note(params.name)
            await service.catalogue.settle()
            return self._models(given)
        polls = service.settings.tasks and wants_tasks(ctx)
        person = ClientPerson(ctx, params, service.clocks.monotonic, polls=polls)
        match params.name:
            case "generate_image" | "generate_video" as tool:
                result: Any = await service.generate(tool, given, person)
            case _:
                result = await service.check(given, person)
        self._note(params.name, result if isinstance(result, Outcome) else "")
        if isinstance(result, Listing):
            structure = views.listing(result)
            return _result(structure, views.listing_text(structure), [])
        if result.later:
            return self.tasks.create(result)
        try:
            return await foresee(self._tell(ctx, result), params.name)  # type: ignore[no-any-return]
        except Unforeseen as error:
            if result.status in ("dry_run", "needs_approval"):
                raise
            raise after_money(error, result.job.request_id) from None

    async def _tell(self, ctx: Context, result: Outcome) -> t.CallToolResult:
        """Return what is answered about one generation, with a picture of it if there is one."""
        links = _links(result.job) if client_of(ctx).links == "media" else []
        job, picture = result.job, await self._picture(result)
        if (sandbox := self._service.settings.sandbox) is not None:
            result = replace(result, anew=sandbox == "", sandbox=True)
        if job.media_urls:
            film = job.media_type == "video" and not picture
            result = replace(
                result,
                saving=self._media.folder is not None and is_being_saved(job),
                frameless=self._frameless() if film else "",
                unwritable=None if any(job.files) else await self._unwritable(),
            )
        structure = views.outcome(result, self._service.clock())
        told = _result(structure, views.text(structure), [*picture, *links])
        if job.media_urls and job.media_type == "video":
            by = continues_by(self._service.catalogue.current.find(job.model_id))
            told.meta = {"meigen/continuesBy": by}  # for the viewer; no model sees it
        return told

    def _note(self, tool: str, result: Outcome | str = "") -> None:
        """Say in the log, the counts and the span of this request what it came to."""
        note(tool, result)
        answer = result.status if isinstance(result, Outcome) else result or "told"
        self._service.tally.count("calls", tool=tool, answer=answer)
        who = (acting.get() or "")[:PERSON]
        self._service.tally.tell({"meigen.answer": answer, **({"enduser.id": who} if who else {})})

    def _frameless(self) -> str:
        """Say what the person does to see frames of videos, if they cannot."""
        if previews.video_extra():
            return ""
        if not self._service.settings.names_paths:
            return NO_FRAMES
        return f"To see frames of videos here, the person runs: {install_extra('video')}"

    async def _unwritable(self) -> Problem | None:
        """Return why nothing can be saved, if that is so and paths may be named."""
        if self._media.folder is None or not self._service.settings.names_paths:
            return None
        with anyio.move_on_after(1):  # a folder on a network may hang
            return await anyio.to_thread.run_sync(self._media.problem, abandon_on_cancel=True)
        return None

    async def _picture(self, result: Outcome) -> Sequence[t.ImageContent]:
        """Return the preview of a finished generation, for clients that show pictures."""
        found = await self._media.read_preview(result.preview) if result.preview else None
        if found is None:
            return []
        data = base64.b64encode(found.data).decode()
        return [t.ImageContent(data=data, mime_type=found.mime_type)]

    def _models(self, given: Mapping[str, Any]) -> t.CallToolResult:
        models, details = self._service.models(given)
        if details:
            rows = [self._details(model) for model in models]
            return _result({"models": rows}, model_views.details_text(rows[0]), [])
        left_out = self._service.catalogue.current.left_out
        structure = model_views.models_structure(models, left_out)
        return _result(structure, model_views.models_text(models, left_out), [])

    def _details(self, model: Model) -> Structure:
        current = self._service.catalogue.current
        return model_views.model_details(model, current, self._service.settings.accepts)

    def _refused(self, error: MeigenError, tool: str, given: Mapping[str, Any]) -> t.CallToolResult:
        self._note(tool, error.code)
        structure = views.refusal(error, tool, given.get("prompt"))
        problem = structure["error"]
        problem["message"] = self._service.settings.without_paths(problem["message"])
        return _result(structure, views.text(structure), [])


def continues_by(model: Model | None) -> str:
    """Return the argument in which a model takes the clip that it goes on from."""
    if model is None or model.continuation is not None:
        return "referenceVideo"  # where nothing is known, the call says what is wrong with it
    return "none" if model.max_reference_images == 0 else "referenceImages"


def is_being_saved(job: Generation) -> bool:
    """Say whether a result is not saved yet, and nothing stands in the way of that."""
    return not job.at_rest and bool(job.missing) and not job.unsaved


def _links(job: Generation) -> list[t.ResourceLink]:
    """Return one link per final medium."""
    return [
        t.ResourceLink(uri=url, name=name, mime_type=mime_type)
        for url, name, mime_type in views.media_links(job)
    ]


def _result(structure: Structure, text: str, more: Sequence[t.ContentBlock]) -> t.CallToolResult:
    return t.CallToolResult(
        content=[t.TextContent(text=text), *more],
        structured_content=structure,
        is_error=views.is_error(structure),
    )


def _readable(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Replace half surrogate pairs, which a client makes by cutting a text: no file holds them."""
    clean: dict[str, Any] = json.loads(
        json.dumps(arguments, ensure_ascii=False).encode("utf-8", "replace")
    )
    return clean
