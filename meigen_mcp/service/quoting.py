"""What a call asks for and what it would cost; nothing is written and nothing is sent."""

from collections.abc import Mapping
from dataclasses import replace
from typing import Any
from uuid import uuid4

from meigen_mcp import errors
from meigen_mcp.catalogue import arguments as args
from meigen_mcp.catalogue import pricing
from meigen_mcp.catalogue.arguments import TOOL_OF, Tool
from meigen_mcp.catalogue.lengths import check_measured
from meigen_mcp.catalogue.models import Model
from meigen_mcp.catalogue.pricing import Quote
from meigen_mcp.catalogue.reference_rules import Accepts
from meigen_mcp.catalogue.rules import absent, present
from meigen_mcp.errors import Problem
from meigen_mcp.generation import Generation
from meigen_mcp.service.current_catalogue import CurrentCatalogue
from meigen_mcp.service.references import References

DEFAULT_EXPECTED: Mapping[str, float] = {"image": 30.0, "video": 120.0}
_CATALOGUE_WAIT = 5.0


async def quote_call(
    tool: Tool, references: References, catalogue: CurrentCatalogue, accepts: Accepts
) -> tuple[Model, Quote]:
    """Judge the arguments and quote them; the live list is awaited for an unknown price.

    Raises:
        InvalidArguments: all that is wrong with them.
    """
    arguments = references.arguments
    for attempt in ("as it is", "with a fresh list"):
        model, problems = args.judge(tool, catalogue.current, arguments, accepts)
        problems = _together(model, problems, references)
        quote = None
        if model is not None and not problems:
            named = not absent(arguments.get("modelId"))
            quote = pricing.quote(model, present(arguments), catalogue.today(), named=named)
            if quote.kind != "unknown":
                return model, quote
        if attempt == "as it is":
            await catalogue.wait_until_fresh(_CATALOGUE_WAIT)
    if model is None or quote is None:
        raise errors.InvalidArguments(problems)
    return model, quote


def _together(
    model: Model | None, problems: list[Problem], references: References
) -> list[Problem]:
    """Return what is wrong with a call, each argument named once."""
    if model is not None:
        told = any(problem.field == "referenceVideoDuration" for problem in problems)
        measured = check_measured(model, references.lengths)
        # How long all of them are together is said once.
        said = (p for p in measured if not told or p.field != "referenceVideos")
        problems = [*problems, *said]
    named = {problem.field for problem in problems}
    if references.measured:  # nobody gave the length that we measured
        wrong_clip = named & {"referenceVideo", "referenceVideos"}
        problems = [
            replace(problem, fix="use a clip of such a length")
            if problem.field == "referenceVideoDuration"
            else problem
            for problem in problems
            if problem.field != "referenceVideoDuration" or not wrong_clip
        ]
    return [*problems, *(p for p in references.problems if p.field not in named)]


def make_draft(
    model: Model,
    given: Mapping[str, Any],
    quote: Quote,
    references: References,
    *,
    body: str,
    now: float,
) -> Generation:
    """Return a generation that is not stored: what a call asks for, at its price."""
    return Generation(
        request_id=str(uuid4()),
        tool=TOOL_OF[model.media_type],
        media_type=model.media_type,
        model_id=model.id,
        prompt=given["prompt"],
        arguments=given,
        body=body,
        quote=quote,
        made_from=references.made_from,
        created_at=now,
        expected_seconds=model.expected_seconds or DEFAULT_EXPECTED[model.media_type],
    )
