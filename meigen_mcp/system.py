"""What differs between operating systems: private files, locks between processes, signals.

The one home of POSIX-only things; every branch has a Windows side.
"""

import contextlib
import os
import secrets
import signal
from importlib import import_module
from pathlib import Path

import anyio

WINDOWS = os.name == "nt"
SECRET_BYTES = 32
LOOK_EVERY = 0.2
_LOCKED_BYTE = 2**20
"""Windows locks bytes, and nobody else can read them: one behind the end of any of our files."""


def private_folder(path: Path) -> None:
    """Create a folder that only the user can read; one that is there keeps its mode."""
    path.mkdir(mode=0o700, parents=True, exist_ok=True)


def private_file(path: Path) -> None:
    """Create an empty file that only the user can read; one that is there is made so."""
    # One that is there is not opened: closing it again would drop SQLite's locks on it.
    with contextlib.suppress(FileExistsError):
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o600))
    if not WINDOWS and path.stat().st_mode & 0o077:
        with contextlib.suppress(PermissionError):  # a file system that has no modes
            path.chmod(0o600)


def secret(path: Path) -> bytes:
    """Return the random 32 bytes in a private file, made on first use, even by many at once."""
    private_file(path)
    descriptor = os.open(path, os.O_RDWR | getattr(os, "O_BINARY", 0))
    try:
        _lock(descriptor, wait=True)
        found = os.read(descriptor, SECRET_BYTES)
        if len(found) < SECRET_BYTES:  # new, or its first writer died
            found = secrets.token_bytes(SECRET_BYTES)
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, found)
            os.fsync(descriptor)
        return found
    finally:
        os.close(descriptor)


def _lock(descriptor: int, *, wait: bool) -> None:
    """Lock an open file until it is closed; without waiting, an OSError says that it is taken."""
    if WINDOWS:
        msvcrt = import_module("msvcrt")
        os.lseek(descriptor, _LOCKED_BYTE, os.SEEK_SET)
        msvcrt.locking(descriptor, msvcrt.LK_LOCK if wait else msvcrt.LK_NBLCK, 1)
        os.lseek(descriptor, 0, os.SEEK_SET)
    else:
        fcntl = import_module("fcntl")
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))


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
            _lock(descriptor, wait=False)
        except OSError:
            os.close(descriptor)
            return None
        return cls(path, descriptor)

    def release(self) -> None:
        """Give the lock back and remove its file."""
        if WINDOWS:  # an open file cannot be removed there
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink()
        if not WINDOWS:
            os.close(self._descriptor)


async def termination() -> None:
    """Return when the process is asked to end (SIGTERM or SIGINT; Ctrl-C and Break on Windows)."""
    if WINDOWS:
        await _windows_termination()
        return
    with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as received:
        async for _ in received:
            return


async def _windows_termination() -> None:
    asked: list[int] = []
    numbers = (signal.SIGINT, getattr(signal, "SIGBREAK", signal.SIGTERM))
    before = [signal.signal(number, lambda number, _: asked.append(number)) for number in numbers]
    try:
        while not asked:  # noqa: ASYNC110  # a signal interrupts nothing there: look for it
            await anyio.sleep(LOOK_EVERY)
    finally:
        for number, handler in zip(numbers, before, strict=True):
            signal.signal(number, handler)
