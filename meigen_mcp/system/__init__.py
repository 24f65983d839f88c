"""What differs between operating systems: private files, links, locks, signals, clocks.

The one home of POSIX-only things; every branch has a Windows side.
"""

import contextlib
import mmap
import os
import secrets
import signal
import socket
import time
from collections.abc import Callable, Iterator
from importlib import import_module
from pathlib import Path
from typing import BinaryIO

import anyio

WINDOWS = os.name == "nt"
SECRET_BYTES = 32
LOOK_EVERY = 0.2
_MOST_TIMES = 1000
BINARY = getattr(os, "O_BINARY", 0)
NO_LINK = getattr(os, "O_NOFOLLOW", 0)
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


def sync_names(folder: Path) -> None:
    """Bring the names in a folder to the disk, or a power cut could leave a new one out.

    Windows, and some file systems elsewhere, let no folder be synced, and do it by themselves.
    """
    if WINDOWS:
        return
    with contextlib.suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def secret(path: Path, known: bytes | None = None) -> bytes:
    """Return the random 32 characters in a private file, made on first use, even by many at once.

    Older versions wrote bytes of any kind. One that is known already is what a lost file gets.
    """
    private_file(path)
    descriptor = os.open(path, os.O_RDWR | BINARY)
    try:
        _lock(descriptor, wait=True)
        found = os.read(descriptor, SECRET_BYTES)
        if len(found) < SECRET_BYTES:  # new, or its first writer died
            found = known or secrets.token_urlsafe(SECRET_BYTES * 3 // 4).encode()
            os.lseek(descriptor, 0, os.SEEK_SET)
            os.write(descriptor, found)
            os.fsync(descriptor)
        return found
    finally:
        os.close(descriptor)


def allow_descriptors(wanted: int) -> int:
    """Let this process open as many files and connections at once, if the system does.

    Returns:
        How many it may open now.
    """
    if WINDOWS:  # sockets are no files there
        return wanted
    resource = import_module("resource")
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    allowed = [limit for limit in (wanted, hard) if limit != resource.RLIM_INFINITY]
    if soft == resource.RLIM_INFINITY or soft >= min(allowed):
        return int(wanted if soft == resource.RLIM_INFINITY else soft)
    with contextlib.suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (min(allowed), hard))
    return int(resource.getrlimit(resource.RLIMIT_NOFILE)[0])


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


@contextlib.contextmanager
def alone(path: Path) -> Iterator[None]:
    """Be the only one that holds a lock on a file, which is made; others wait for their turn.

    Raises:
        OSError: the file cannot be made, or its file system knows no locks.
    """
    descriptor = os.open(path, os.O_CREAT | os.O_RDWR | NO_LINK, 0o600)
    try:
        _lock(descriptor, wait=True)
        yield
    finally:
        os.close(descriptor)


def can_lock(folder: Path) -> bool:
    """Return whether files in a folder can be locked and shared in memory, as SQLite does both."""
    probe = folder / f".probe-{secrets.token_hex(8)}"
    descriptor = os.open(probe, os.O_CREAT | os.O_EXCL | os.O_RDWR, 0o600)
    try:
        _lock(descriptor, wait=False)
        if not WINDOWS:
            fcntl = import_module("fcntl")
            fcntl.flock(descriptor, fcntl.LOCK_UN)  # on some file systems both kinds are one
            fcntl.lockf(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        with contextlib.suppress(OSError):  # a full disk says nothing about sharing
            os.write(descriptor, b"-")
        if os.fstat(descriptor).st_size:
            mmap.mmap(descriptor, 1).close()
    except OSError:
        return False
    finally:
        os.close(descriptor)
        probe.unlink()
    return True


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

    def release(self, *, keep: bool = False) -> None:
        """Give the lock back, and remove its file unless others wait for it."""
        if keep:
            os.close(self._descriptor)
            return
        if WINDOWS:  # an open file cannot be removed there
            os.close(self._descriptor)
        with contextlib.suppress(OSError):
            self.path.unlink()
        if not WINDOWS:
            os.close(self._descriptor)


def awake_and_asleep() -> float:
    """Return seconds that only grow, also while the machine sleeps where the system counts that."""
    clock = getattr(time, "CLOCK_BOOTTIME", None)
    return time.monotonic() if clock is None else time.clock_gettime(clock)


class Clocks:
    """The two clocks of a machine, for what ends as soon as either of them says so, or both.

    The wall clock can be set; the monotonic one cannot, but it may stand still while the machine
    sleeps.

    Args:
        wall: seconds since the epoch.
        monotonic: seconds that only grow.
    """

    def __init__(
        self,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self.wall = wall
        self.monotonic = monotonic
        self._began: dict[float, float] = {}
        self._apart = wall() - monotonic()

    def jumped(self) -> float:
        """Return the seconds by which the wall clock went further since the last question.

        It was set, or the machine slept.
        """
        before, self._apart = self._apart, self.wall() - self.monotonic()
        return self._apart - before

    def since(self, at: float, ahead: float = 0.0) -> float | None:
        """Return the seconds since a stored time, by the clock that counts more.

        What happened in this process is to be asked about at once, so that its monotonic time is
        known; otherwise that clock counts from the first question.

        Args:
            at: the time.
            ahead: seconds by which it may lie ahead; then only the monotonic clock counts.

        Returns:
            None: the time lies further ahead. The clock was set back since, so nothing is known.
        """
        if at > self.wall() + ahead:
            return None
        return max(self._elapsed(at))

    def surely_since(self, at: float) -> float:
        """Return the seconds since a stored time, by the clock that counts less; see `since`.

        By this nothing is given up because a clock was set, or the machine slept.
        """
        return max(0.0, min(self._elapsed(at)))

    def _elapsed(self, at: float) -> tuple[float, float]:
        now, running = self.wall(), self.monotonic()
        began = self._began.pop(at, running - max(0.0, now - at))
        if len(self._began) >= _MOST_TIMES:  # whatever was not asked about for longest
            del self._began[next(iter(self._began))]
        self._began[at] = began
        return now - at, running - began


class Signal:
    """Something that happens again and again; whoever counts misses no time of it.

    Attributes:
        count: how often it has happened.
    """

    def __init__(self) -> None:
        self.count = 0
        self._next: anyio.Event | None = None  # only while somebody waits

    def set(self) -> None:
        """Let it happen."""
        self.count += 1
        if self._next is not None:
            self._next.set()
            self._next = None

    async def after(self, count: int) -> None:
        """Wait until it has happened more often than that."""
        while self.count <= count:
            self._next = self._next or anyio.Event()
            await self._next.wait()


def listen_on(host: str, port: int) -> socket.socket:
    """Return a socket that listens on an address, and says of itself that it is TCP.

    Only then asyncio sends each answer at once; else all but the first on a connection wait for
    the client's delayed acknowledgement, 40 ms.

    Raises:
        OSError: the address cannot be bound.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.create_server((host, port), family=family)
    return socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=bound.detach())


def claim_stdout() -> BinaryIO:
    """Return what alone writes to stdout from now on; whatever else writes there reaches stderr."""
    if WINDOWS:
        ours = os.dup(1)
    else:
        fcntl = import_module("fcntl")
        ours = fcntl.fcntl(1, fcntl.F_DUPFD_CLOEXEC, 3)  # no standard one, should one be closed
    with contextlib.suppress(OSError):  # stderr is closed: then nothing else can be heard either
        os.dup2(2, 1)
    return os.fdopen(ours, "wb", closefd=False)


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


def pictures_folder() -> Path:
    """Return the folder for media where none is set; an empty path where no home is known."""
    from platformdirs import user_pictures_path  # noqa: PLC0415  # only without MEIGEN_OUTPUT_DIR

    with contextlib.suppress(RuntimeError):
        return user_pictures_path() / "MeiGen"
    return Path()
