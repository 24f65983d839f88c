"""What a reply or a result carries, read as it arrives."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import aclosing
from typing import TYPE_CHECKING

from meigen_mcp import errors
from meigen_mcp.api.packing import CannotUnpack, Unpacker

if TYPE_CHECKING:
    import httpx  # loaded on first use: it takes as long as the rest of this package

LARGEST_REPLY = 4 * 2**20


class Body:
    """The body of a response, unpacked as it arrives.

    What stands beside the bytes does not decide what they are: see `packing`.
    """

    def __init__(self, response: httpx.Response) -> None:
        self._response = response
        self._unpacker = Unpacker(response.headers.get("content-encoding", ""))
        self._raw = bytearray()

    async def pieces(self) -> AsyncGenerator[bytes]:
        """Give the bytes, as they arrive.

        Raises:
            UnreadableReply: they are packed, and damaged.
        """
        import httpx  # noqa: PLC0415  # as above

        stream = self._response.stream  # not through httpx's decoders, which believe the label
        assert isinstance(stream, httpx.AsyncByteStream)  # noqa: S101  # of an async transport
        try:
            async for chunk in stream:
                for piece in self._unpacker.feed(chunk):
                    yield piece
            for piece in self._unpacker.feed(b"", last=True):
                yield piece
        except CannotUnpack:
            raise errors.UnreadableReply("What was sent is packed and damaged.") from None

    async def read(self) -> bytes:
        """Return all of a reply's bytes.

        Raises:
            UnreadableReply: they are too many, or damaged.
        """
        async for piece in self.pieces():
            self._raw += piece
            if len(self._raw) > LARGEST_REPLY:
                raise errors.UnreadableReply("MeiGen's reply was too large to read.")
        return self.so_far

    async def start(self) -> bytes:
        """Return the first bytes, and read no more."""
        async with aclosing(self.pieces()) as pieces:
            return await anext(pieces, b"")

    @property
    def so_far(self) -> bytes:
        """What was read of a reply, also of one that broke off."""
        return bytes(self._raw)

    @property
    def packed(self) -> str | None:
        """The packing that was not asked for and is not undone, such as br, by its label."""
        return self._unpacker.foreign

    @property
    def whole(self) -> bool:
        """Whether what was packed came to its end."""
        return self._unpacker.whole
