"""What is not made at a start, but when it is needed first."""

from collections.abc import Callable
from typing import Generic, TypeVar

import anyio

T = TypeVar("T")


class Later(Generic[T]):
    """Something that is made once: when it is asked for first.

    Args:
        make: makes it, and loads what it is made of.
    """

    def __init__(self, make: Callable[[], T]) -> None:
        self._make = make
        self._all: list[T] = []
        self._made = anyio.Event()

    def __call__(self) -> T:
        """Return it."""
        if not self._all:
            self._all.append(self._make())
            self._made.set()
        return self._all[0]

    @property
    def is_made(self) -> bool:
        """Whether somebody has asked for it."""
        return bool(self._all)

    async def made(self) -> T:
        """Wait until somebody asks for it, and return it."""
        await self._made.wait()
        return self()
