"""What differs between operating systems: private files, locks between processes, signals.

The one home of POSIX-only things; every branch has a Windows side.
"""

import contextlib
import os
import secrets
import signal
from collections.abc import AsyncIterator
from importlib import import_module
from pathlib import Path

import anyio

WINDOWS = os.name == "nt"


def private_folder(path: Path) -> None:
    """Create a folder, and its parents, that only the user can read."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    if not WINDOWS:
        path.chmod(0o700)


def private_file(path: Path) -> None:
    """Create an empty file that only the user can read, unless it is there already."""
    if not WINDOWS:
        with contextlib.suppress(FileExistsError):
            os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
        path.chmod(0o600)


def secret(path: Path) -> bytes:
    """Return the random 32 bytes in a private file, made on first use, even by two at once."""
    if not path.exists():
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        private_file(draft)
        draft.write_bytes(secrets.token_bytes(32))
        with contextlib.suppress(FileExistsError):
            os.link(draft, path)
        draft.unlink()
    return path.read_bytes()


class Lock:
    """An operating-system lock on a file; it goes when its process dies, however it dies."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor

    @classmethod
    def take(cls, path: Path) -> "Lock | None":
        """Take the lock, or return None while another process has it."""
        descriptor = os.open(path, os.O_CREAT | os.O_RDWR, 0o600)
        try:
            if WINDOWS:
                msvcrt = import_module("msvcrt")
                msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
            else:
                fcntl = import_module("fcntl")
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if not WINDOWS:  # an open file cannot be removed there
            self.path.unlink(missing_ok=True)
        os.close(self._descriptor)
        if WINDOWS:
            self.path.unlink(missing_ok=True)


async def termination() -> None:
    """Return when the process is asked to end (SIGTERM or SIGINT; Ctrl-C and Break on Windows)."""
    if WINDOWS:
        asked = anyio.Event()
        loop = import_module("asyncio").get_running_loop()
        for number in (signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGTERM)):
            signal.signal(number, lambda *_: loop.call_soon_threadsafe(asked.set))
        while not asked.is_set():  # a signal interrupts nothing there: look for it
            with anyio.move_on_after(0.2):
                await asked.wait()
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        await _first(received)


async def _first(received: AsyncIterator[signal.Signals]) -> None:
    async for _ in received:
        return
