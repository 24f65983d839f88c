"""What `meigen-mcp jobs` does: see the ledger, download again, settle what stayed unknown."""

import json
import time
from dataclasses import replace

import httpx

from meigen_mcp import generation, views
from meigen_mcp.app import Parts, opened
from meigen_mcp.errors import NotFound, Refusal
from meigen_mcp.generation import Generation
from meigen_mcp.service import Listing
from meigen_mcp.settings import Settings
from meigen_mcp.window import DAY


class NotPossible(Refusal):
    """The command does not fit the state of the generation."""

    code = "not_possible"
    next = "Look at it with `meigen-mcp jobs ID`."


async def run(
    settings: Settings,
    name: str | None = None,
    *,
    fetch_again: bool = False,
    outcome: str | None = None,
    limit: int = 20,
    transport: httpx.AsyncBaseTransport | None = None,
) -> str:
    """Do what the command says and return what it prints.

    Args:
        settings: what the environment says.
        name: the `generationId` or `requestId`; None lists the newest.
        fetch_again: download the media again.
        outcome: `charged` or `not-charged` settles an unknown one.
        limit: how many to list.
        transport: what carries requests to the API; by default the network.

    Raises:
        MeigenError: it cannot be done, and why.
    """
    async with opened(settings, transport) as parts:
        now = time.time()
        if name is None:
            newest = tuple(job for _, job in parts.ledger.newest(parts.account, limit))
            spent = [parts.ledger.spent(now - days * DAY) for days in (1, 30)]
            return views.listing_text(views.listing(Listing(newest, *spent)))
        job = found(parts, name)
        if fetch_again:
            job = await fetch(parts, job)
        elif outcome is not None:
            job = settle(parts, job, now, charged=outcome == "charged")
        return json.dumps(views.generation(job, now), indent=2, ensure_ascii=False)


def found(parts: Parts, name: str) -> Generation:
    """Return a record by `generationId` or `requestId`.

    Raises:
        NotFound: this account has none with that id.
    """
    job = parts.ledger.get(parts.account, name)
    if job is None:
        raise NotFound(f"This account has no generation {name} in its ledger.")
    return job


async def fetch(parts: Parts, job: Generation) -> Generation:
    """Download the media of a completed generation again, beside what is there.

    Raises:
        NotPossible: it is not completed, or saving is turned off.
        ApiError: a medium cannot be had.
        NotSaved: the folder cannot be written.
    """
    if job.status != "completed":
        raise NotPossible(f"{job.name} is {job.status}; only a completed one has media.")
    if parts.media.folder is None:
        raise NotPossible("MEIGEN_OUTPUT_DIR is off, so nothing can be saved.")
    files = [str(await parts.media.save(job, index)) for index in range(len(job.media_urls))]
    return parts.ledger.save(replace(job, files=tuple(files), next_look=None))


def settle(parts: Parts, job: Generation, now: float, *, charged: bool) -> Generation:
    """End an `unknown` generation, whose reservation would be held for ever.

    Raises:
        NotPossible: it is not unknown.
    """
    if job.status != "unknown":
        raise NotPossible(f"{job.name} is {job.status}; only an unknown one can be settled.")
    return parts.ledger.save(generation.settled(job, now, charged=charged))
