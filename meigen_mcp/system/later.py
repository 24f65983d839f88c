"""What is not made at a start, but when it is needed first."""

from collections.abc import Callable
from importlib import import_module
from typing import Generic, TypeVar

import anyio
import anyio.to_thread

T = TypeVar("T")


class Later(Generic[T]):
    """Something that is made once: when it is asked for first.

    Args:
        make: makes it.
        modules: what it is made of, which a thread loads ahead.
    """

    def __init__(self, make: Callable[[], T], *modules: str) -> None:
        self._make = make
        self._modules = modules
        self._all: list[T] = []
        self._made = anyio.Event()
        self._loading = anyio.Lock()

    def __call__(self) -> T:
        """Return it."""
        if not self._all:
            self._all.append(self._make())
            self._made.set()
        return self._all[0]

    async def get(self) -> T:
        """Return it; whoever asks for something else meanwhile is answered."""
        if not self._all:
            async with self._loading:
                if not self._all:
                    await anyio.to_thread.run_sync(self._load)
        return self()

    @property
    def is_made(self) -> bool:
        """Whether somebody has asked for it."""
        return bool(self._all)

    async def made(self) -> T:
        """Wait until somebody asks for it, and return it."""
        await self._made.wait()
        return self()

    def _load(self) -> None:
        for name in self._modules:
            import_module(name)
