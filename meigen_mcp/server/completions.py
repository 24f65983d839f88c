"""What a client may offer while somebody types an argument of a prompt or of a resource URI."""

from collections.abc import Iterable, Mapping

from meigen_mcp.catalogue.models import Catalogue
from meigen_mcp.server import prompt_templates
from meigen_mcp.service.service import Service

MOST = 100
"""The specification's limit of values in one answer."""
_NEWEST = 200
COMMON_RATIOS = ("1:1", "3:4", "4:3", "16:9", "9:16", "21:9", "5:4", "4:5")
"""What the official page calls common, for models whose own list no source gives."""


def of_prompt(
    name: str, argument: str, typed: str, chosen: Mapping[str, str], catalogue: Catalogue
) -> list[str]:
    """Return what fits a blank of a prompt; unknown ones fit nothing.

    Args:
        name: the prompt.
        argument: the blank that is typed.
        typed: what is there so far.
        chosen: the blanks that are filled in already; the model decides ratios and resolutions.
        catalogue: the models.
    """
    prompt = next((p for p in prompt_templates.offered(catalogue) if p.name == name), None)
    if prompt is None:
        return []
    models = prompt.models(catalogue)
    model = next((m for m in models if m.id == chosen.get("modelId")), models[0])
    values: Mapping[str, Iterable[str]] = {
        "modelId": [m.id for m in models],
        "aspectRatio": ("auto", *(model.ratios or COMMON_RATIOS)),
        "resolution": model.resolutions or (),
    }
    return _matching(typed, values.get(argument, ()))


async def of_template(
    uri: str, argument: str, typed: str, chosen: Mapping[str, str], service: Service
) -> list[str]:
    """Return what fits a part of a resource template.

    Args:
        uri: the template.
        argument: the part that is typed.
        typed: what is there so far.
        chosen: the parts that are there already.
        service: whose generations and models count.
    """
    if argument == "modelId" and uri.startswith("meigen://models"):
        return _matching(typed, [model.id for model in service.catalogue.current.listed()])
    if not uri.startswith("meigen://generations"):
        return []
    if argument == "generationId":
        return _matching(typed, [job.name for _, job in await service.page(_NEWEST, None)])
    job = await service.record(chosen.get("generationId", ""))
    if argument == "index" and job is not None:
        return _matching(typed, map(str, range(len(job.media_urls))))
    return []


def _matching(typed: str, values: Iterable[str]) -> list[str]:
    """Return the values that begin with what was typed, then those that contain it."""
    word = typed.lower()
    known = list(values)
    first = [value for value in known if value.lower().startswith(word)]
    return [*first, *(v for v in known if word in v.lower() and v not in first)]
