"""Unpacking what a server packed, by what the bytes are; no I/O.

A `Content-Encoding` is what somebody wrote beside them: storage keeps whatever an upload said,
gateways forget to take it away. It is believed only where the bytes cannot tell by themselves.
"""

import zlib
from collections.abc import Iterator

PIECE = 2**18
"""Bytes that come out at once, so that a few packed ones never fill the memory."""
_MOST_LAYERS = 3
_GZIP, _ZSTD = b"\x1f\x8b\x08", b"\x28\xb5\x2f\xfd"
_ENOUGH = 64
"""Bytes by which a packing is known; raw deflate has no signature, but other data soon break it."""
_FOREIGN = ("br", "zstd", "compress", "x-compress", "dcb", "dcz")


class CannotUnpack(Exception):
    """The bytes are packed and damaged, or packed more often than anybody does."""


class Unpacker:
    """Unpacks a body that arrives in pieces: gzip, zlib, and raw deflate where the label says it.

    Attributes:
        foreign: the packing that the label names and nobody asked for (br, zstd), or which the
            bytes show; None otherwise.
        whole: nothing is missing at the end of what was packed.
    """

    def __init__(self, label: str, layer: int = 0) -> None:
        self._label = label
        self._names = [name.strip().lower() for name in label.split(",")]
        self._layer = layer
        self._waiting = b""
        self._decided = False
        self._engine: zlib._Decompress | None = None
        self._within: Unpacker | None = None
        self.foreign = next((name for name in self._names if name in _FOREIGN), None)

    @property
    def whole(self) -> bool:
        """Whether what was packed came to its end."""
        within = self._within is None or self._within.whole
        return within and (self._engine is None or self._engine.eof)

    def feed(self, data: bytes, *, last: bool = False) -> Iterator[bytes]:
        """Yield what some bytes contain.

        Args:
            data: the next bytes.
            last: none follow.

        Raises:
            CannotUnpack: they are damaged.
        """
        if not self._decided:
            self._waiting += data
            if len(self._waiting) < _ENOUGH and not last:
                return  # so few come once, at the beginning
            data, self._waiting, self._decided = self._waiting, b"", True
            self._engine = self._choose(data)
        if self._engine is None:
            if data:
                yield data
            return
        if self._within is None:
            if self._layer == _MOST_LAYERS:
                raise CannotUnpack
            self._within = Unpacker(self._label, self._layer + 1)
        for piece in self._unpack(data):
            yield from self._within.feed(piece)
        if last:
            yield from self._within.feed(self._engine.flush(), last=True)

    def _choose(self, head: bytes) -> "zlib._Decompress | None":
        if head.startswith(_GZIP):
            return zlib.decompressobj(zlib.MAX_WBITS | 16)
        if head.startswith(_ZSTD):
            self.foreign = "zstd"
        elif len(head) > 1 and head[0] & 0x8F == 8 and int.from_bytes(head[:2]) % 31 == 0:
            return zlib.decompressobj()
        elif "deflate" in self._names and _deflated(head):
            return zlib.decompressobj(-zlib.MAX_WBITS)
        return None

    def _unpack(self, data: bytes) -> Iterator[bytes]:
        engine = self._engine
        while data and engine is not None:
            if engine.eof:
                if not data.startswith(_GZIP):  # else another member follows
                    return
                engine = self._engine = zlib.decompressobj(zlib.MAX_WBITS | 16)
            try:
                piece = engine.decompress(data, PIECE)
            except zlib.error:
                raise CannotUnpack from None
            data = engine.unconsumed_tail or engine.unused_data
            if piece:
                yield piece


def _deflated(head: bytes) -> bool:
    """Say whether bytes begin as raw deflate does, which has no signature: JSON does not."""
    try:
        zlib.decompressobj(-zlib.MAX_WBITS).decompress(head)
    except zlib.error:
        return False
    return head.lstrip()[:1] not in (b"{", b"[", b"<")
