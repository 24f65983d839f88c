"""Getting a medium from its URL into a file: bounded in size and time, and judged by its head."""

import anyio
import anyio.to_thread

from meigen_mcp.api.client import Api
from meigen_mcp.catalogue.models import MediaType
from meigen_mcp.errors import UnreadableReply
from meigen_mcp.generation import Generation
from meigen_mcp.media.kinds import HEAD, MIME, sniff
from meigen_mcp.media.whole_files import Partial

LARGEST: dict[MediaType, int] = {"image": 64 * 2**20, "video": 512 * 2**20}
SECONDS: dict[MediaType, float] = {"image": 60.0, "video": 180.0}
WRITTEN_TOGETHER = 2**20
"""Bytes that are written at a time: each turn of a thread takes as long as a small picture."""


async def download(api: Api, job: Generation, index: int, partial: Partial) -> tuple[str, bool]:
    """Gather a medium in a partial file; what comes last is not written yet.

    Returns:
        What it is by its head, as a suffix, and whether all that was packed came out.

    Raises:
        ApiError: it cannot be had, is too large or is not what it should be.
        OSError: the file cannot be written.
    """
    head, size = b"", 0
    seconds = SECONDS[job.media_type]
    with anyio.move_on_after(seconds) as scope:
        async with api.download(job.media_urls[index], seconds) as body:
            async for chunk in body.pieces():
                size += len(chunk)
                if size > LARGEST[job.media_type]:
                    raise UnreadableReply("The result is larger than it may be.")
                partial.gathered += chunk
                if len(partial.gathered) >= WRITTEN_TOGETHER:
                    head = head or bytes(partial.gathered[:HEAD])
                    await anyio.to_thread.run_sync(partial.write)
    if scope.cancelled_caught:
        raise UnreadableReply("The result did not arrive in time.")
    suffix = sniff(head or bytes(partial.gathered[:HEAD]))
    if suffix is None and body.packed:
        raise UnreadableReply(f"The result is packed as {body.packed}, which was not asked for.")
    return must_be(job.media_type, suffix), body.whole


def must_be(medium: MediaType, suffix: str | None) -> str:
    """Return the suffix of what is the right kind of medium.

    Raises:
        UnreadableReply: it is not.
    """
    if suffix is None or not MIME[suffix].startswith(medium):
        raise UnreadableReply(f"The result is not {medium} data.")
    return suffix
