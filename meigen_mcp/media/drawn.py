"""What the process that draws hands over; it imports nothing of ours."""

from typing import NamedTuple


class Drawn(NamedTuple):
    """A preview, and which pictures are not in it, by their places from 1.

    For a clip any place says that its end is not in it.

    It is read from a process that hostile media may have taken over: numbers, and bytes.
    """

    data: bytes
    left_out: tuple[int, ...] = ()

    @classmethod
    def read(cls, answer: bytes) -> "Drawn":
        """Read what a process wrote.

        Raises:
            ValueError: it is not what `draw` writes.
        """
        said, _, data = answer.partition(b"\n")
        return cls(data, tuple(map(int, said.split())))

    def written(self) -> bytes:
        """Return it as a process writes it."""
        return b"%b\n%b" % (b" ".join(b"%d" % place for place in self.left_out), self.data)
