"""What the operating system is asked for: privacy, locks that die with their process, signals."""

import asyncio
import errno
import os
import signal
import socket
import stat
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier
from types import SimpleNamespace

import anyio
import pytest
from anyio.lowlevel import checkpoint

from meigen_mcp import system
from meigen_mcp.system import (
    Clocks,
    Lock,
    Signal,
    can_lock,
    listen_on,
    private_file,
    private_folder,
    secret,
    termination,
)
from meigen_mcp.system.later import Later

posix = pytest.mark.skipif(system.WINDOWS, reason="modes and signals of POSIX")


def mode(path: Path) -> int:
    """Return who may do what."""
    return stat.S_IMODE(path.stat().st_mode)


# --- private files ----------------------------------------------------------------------------


@posix
def test_what_is_made_is_for_the_user_alone(tmp_path: Path) -> None:
    """Whatever the umask says."""
    before = os.umask(0)
    try:
        private_folder(tmp_path / "a" / "b")
        private_file(tmp_path / "a" / "b" / "file")
        secret(tmp_path / "a" / "b" / "key")
    finally:
        os.umask(before)
    made = ("a/b", "a/b/file", "a/b/key")
    assert [mode(tmp_path / name) for name in made] == [0o700, 0o600, 0o600]


@posix
def test_a_file_that_others_could_read_is_made_private_and_kept(tmp_path: Path) -> None:
    """A folder that the person chose keeps its mode."""
    folder, file = tmp_path / "folder", tmp_path / "folder" / "file"
    folder.mkdir()
    folder.chmod(0o755)
    file.write_text("kept")
    file.chmod(0o644)
    private_folder(folder)
    private_file(file)
    assert (mode(folder), mode(file), file.read_text()) == (0o755, 0o600, "kept")


def test_a_file_system_without_modes_is_good_enough(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some mounts refuse to change them."""

    def refuse(*_: object) -> None:
        raise PermissionError

    file = tmp_path / "file"
    file.write_text("kept")
    file.chmod(0o644)
    monkeypatch.setattr(Path, "chmod", refuse)
    private_file(file)
    assert file.read_text() == "kept"


# --- the secret -------------------------------------------------------------------------------


def test_a_secret_is_made_once(tmp_path: Path) -> None:
    """32 bytes, the same ever after, and another one elsewhere."""
    first, again, other = secret(tmp_path / "a"), secret(tmp_path / "a"), secret(tmp_path / "b")
    assert (len(first), first == again, first == other) == (32, True, False)
    assert sorted(tmp_path.iterdir()) == [tmp_path / "a", tmp_path / "b"]


def test_many_at_once_agree_on_a_secret(tmp_path: Path) -> None:
    """Nobody sees half of one."""
    start = Barrier(20)

    def ask(name: str) -> bytes:
        start.wait()
        return secret(tmp_path / name)

    with ThreadPoolExecutor(20) as threads:
        for name in ("a", "b", "c", "d", "e"):
            found = set(threads.map(ask, [name] * 20))
            assert found == {(tmp_path / name).read_bytes()}
            assert [len(one) for one in found] == [32]


@pytest.mark.parametrize("left", [b"", b"half"])
def test_a_secret_whose_writer_died_is_made_anew(left: bytes, tmp_path: Path) -> None:
    """Nobody was given the half of it."""
    (tmp_path / "key").write_bytes(left)
    made = secret(tmp_path / "key")
    assert (len(made), (tmp_path / "key").read_bytes()) == (32, made)


# --- locks ------------------------------------------------------------------------------------


def test_a_lock_is_taken_by_one(tmp_path: Path) -> None:
    """And by the next one when it is given back; its file goes."""
    path = tmp_path / "lock"
    first = Lock.take(path)
    assert first is not None
    assert Lock.take(path) is None
    first.release()
    assert not path.exists()
    second = Lock.take(path)
    assert second is not None
    second.release()


def test_a_lock_goes_without_its_file(tmp_path: Path) -> None:
    """Somebody may have tidied up."""
    lock = Lock.take(tmp_path / "lock")
    assert lock is not None
    lock.path.unlink()
    lock.release()
    assert list(tmp_path.iterdir()) == []


HOLDER = """
import sys
from pathlib import Path
from meigen_mcp.system import Lock
lock = Lock.take(Path(sys.argv[1]))
print("taken" if lock else "not taken", flush=True)
sys.stdin.read()
"""


def test_a_lock_dies_with_its_process(tmp_path: Path) -> None:
    """Even when that is killed."""
    path = tmp_path / "lock"
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as holder:
        assert holder.stdout is not None
        said, while_alive = holder.stdout.readline(), Lock.take(path)
        holder.kill()
    lock = Lock.take(path)
    assert (said, while_alive, lock is None) == ("taken\n", None, False)
    assert lock is not None
    lock.release()


# --- the Windows side -------------------------------------------------------------------------


@pytest.fixture
def windows(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int, int]]:
    """Make this machine Windows, with a stand-in for its locks, and return what is locked."""
    calls: list[tuple[str, int, int]] = []
    held: dict[int, int] = {}  # inode to descriptor

    def locking(descriptor: int, how: str, count: int) -> None:
        calls.append((how, os.lseek(descriptor, 0, os.SEEK_CUR), count))
        holder = held.get(os.fstat(descriptor).st_ino)
        if holder is not None:
            raise PermissionError
        held[os.fstat(descriptor).st_ino] = descriptor

    def close(descriptor: int, really: object = os.close) -> None:
        for inode in [inode for inode, holder in held.items() if holder == descriptor]:
            del held[inode]
        assert callable(really)
        really(descriptor)

    stand_in = SimpleNamespace(locking=locking, LK_LOCK="wait", LK_NBLCK="now")
    monkeypatch.setitem(sys.modules, "msvcrt", stand_in)
    monkeypatch.setattr(os, "close", close)
    monkeypatch.setattr(system, "WINDOWS", True)
    return calls


def test_on_windows_a_lock_is_taken_by_one(
    windows: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    """It locks a byte behind the end of the file, without waiting."""
    path = tmp_path / "lock"
    first = Lock.take(path)
    second = Lock.take(path)
    assert first is not None
    first.release()
    assert (second, path.exists()) == (None, False)
    again = Lock.take(path)
    assert again is not None
    again.release()
    assert windows == [("now", 2**20, 1)] * 3


def test_on_windows_a_file_that_is_open_elsewhere_stays(
    windows: list[tuple[str, int, int]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Somebody else is looking at it; the lock is given back all the same."""

    def refuse(*_: object) -> None:
        raise PermissionError

    lock = Lock.take(tmp_path / "lock")
    assert lock is not None
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", refuse)
        lock.release()
    again = Lock.take(tmp_path / "lock")
    assert again is not None
    again.release()
    assert len(windows) == 2


def test_on_windows_a_secret_is_made_once(
    windows: list[tuple[str, int, int]], tmp_path: Path
) -> None:
    """It waits for whoever is making it."""
    private_folder(tmp_path / "data")
    first, again = secret(tmp_path / "data" / "key"), secret(tmp_path / "data" / "key")
    assert (len(first), first == again) == (32, True)
    assert windows == [("wait", 2**20, 1)] * 2


# --- signals ----------------------------------------------------------------------------------


async def asked_by(number: signal.Signals) -> bool:
    """Wait for the end, ask for it as soon as somebody listens, and say that it came."""
    before = signal.getsignal(number)
    async with anyio.create_task_group() as group:
        group.start_soon(termination)
        while signal.getsignal(number) is before:
            await checkpoint()
        os.kill(os.getpid(), number)
    return True


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_waiting(number: signal.Signals) -> None:
    """The process itself goes on, to tidy up."""
    assert await asked_by(number)


@posix
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_on_windows_a_signal_is_looked_for(
    number: signal.Signals, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It interrupts nothing there; the handlers are then as before."""
    monkeypatch.setattr(system, "WINDOWS", True)
    monkeypatch.setattr(system, "LOOK_EVERY", 0.001)
    before = signal.getsignal(number)
    assert await asked_by(number)
    assert signal.getsignal(number) is before


async def test_on_windows_a_cancelled_wait_leaves_the_handlers_as_they_were(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Ctrl-C works again in whatever comes next."""
    monkeypatch.setattr(system, "WINDOWS", True)
    before = signal.getsignal(signal.SIGINT)
    async with anyio.create_task_group() as group:
        group.start_soon(termination)
        await checkpoint()
        during = signal.getsignal(signal.SIGINT)
        group.cancel_scope.cancel()
    assert (during is before, signal.getsignal(signal.SIGINT) is before) == (False, True)


# --- clocks -----------------------------------------------------------------------------------


def test_a_time_is_as_long_ago_as_the_clock_that_says_more() -> None:
    """The wall clock is set and goes on in sleep; the other one is not, and does not."""
    wall, monotonic = [1000.0], [0.0]
    clocks = Clocks(lambda: wall[0], lambda: monotonic[0])
    told = [clocks.since(1000.0)]
    wall[0], monotonic[0] = 1100.0, 10.0  # asleep for 90 s
    told.append(clocks.since(1000.0))
    wall[0], monotonic[0] = 1050.0, 200.0  # set back by 240 s
    told.append(clocks.since(1000.0))
    assert told == [0.0, 100.0, 200.0]


def test_a_time_that_another_process_stored_counts_from_what_the_wall_clock_says() -> None:
    """Then the monotonic clock goes on from there."""
    wall, monotonic = [1000.0], [5.0]
    clocks = Clocks(lambda: wall[0], lambda: monotonic[0])
    told = [clocks.since(940.0)]
    wall[0], monotonic[0] = 960.0, 25.0
    told.append(clocks.since(940.0))
    assert told == [60.0, 80.0]


def test_a_time_that_lies_ahead_is_not_known() -> None:
    """Also if it was known before the clock was set back; it is again when the clock is right."""
    wall = [1000.0]
    clocks = Clocks(lambda: wall[0], lambda: 0.0)
    told = []
    for now in (1000.0, 900.0, 1000.0):
        wall[0] = now
        told += [clocks.since(999.0), clocks.since(1001.0)]
    assert told == [1.0, None, None, None, 1.0, None]


def test_a_time_is_surely_as_long_ago_as_the_clock_that_says_less() -> None:
    """So nothing is given up because a clock was set; ahead, or set back, it is from now."""
    wall, monotonic = [1000.0], [0.0]
    clocks = Clocks(lambda: wall[0], lambda: monotonic[0])
    told = [clocks.surely_since(1000.0), clocks.surely_since(940.0)]
    for wall[0], monotonic[0] in ((9000.0, 10.0), (900.0, 20.0), (1030.0, 30.0)):
        told.append(clocks.surely_since(1000.0))
    assert told == [0.0, 60.0, 10.0, 0.0, 30.0]


def test_only_so_many_times_are_remembered() -> None:
    """A server that runs for months asks about many; what nobody asks about any more goes first."""
    monotonic = [0.0]
    clocks = Clocks(lambda: 5000.0, lambda: monotonic[0])
    for at in range(600):
        clocks.since(float(at))
    monotonic[0] = 10.0
    clocks.since(0.0)
    for at in range(600, 1200):
        clocks.since(float(at))
    assert (clocks.since(0.0), clocks.since(1.0)) == (5010.0, 4999.0)


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
async def test_what_is_answered_leaves_at_once(host: str) -> None:
    """An answer in two parts used to wait for the client's delayed acknowledgement, 40 ms."""
    held_back: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def connected(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = writer.get_extra_info("socket")
        held_back.set_result(connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
        writer.close()

    try:
        listener = listen_on(host, 0)
    except OSError:
        pytest.skip(f"this machine has no {host}")
    server = await asyncio.start_server(connected, sock=listener)
    async with server:
        port = server.sockets[0].getsockname()[1]
        _, writer = await asyncio.open_connection(host, port)
        assert await held_back != 0
        writer.close()


# --- what happens again and again ---------------------------------------------------------------


async def test_a_signal_is_missed_by_nobody_who_counts() -> None:
    """Also where it happens while they do something else."""
    happens, heard = Signal(), 0
    with anyio.fail_after(10):
        for _ in range(3):
            happens.set()
            await happens.after(heard)
            heard = happens.count
        async with anyio.create_task_group() as group:
            for _ in range(2):
                group.start_soon(happens.after, heard)
            await anyio.wait_all_tasks_blocked()
            happens.set()
    assert heard == 3


# --- file systems that cannot do it -------------------------------------------------------------


def test_a_usual_folder_can_lock_and_keeps_nothing_of_the_look(tmp_path: Path) -> None:
    """As SQLite needs it."""
    assert can_lock(tmp_path) is True
    assert list(tmp_path.iterdir()) == []


@posix
@pytest.mark.parametrize("kind", ["fcntl.flock", "fcntl.lockf", "mmap.mmap"])
def test_a_folder_that_cannot_lock_or_share_is_known(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Some network file systems can neither; to SQLite that looks like a file that is busy."""

    def refuses(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr(kind, refuses)
    assert can_lock(tmp_path) is False
    assert list(tmp_path.iterdir()) == []


async def test_what_is_loaded_later_is_made_once_and_keeps_nobody_from_an_answer(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A thread loads it: here it waits for the loop, which a loop that loads could not go on."""
    (tmp_path / "loaded_later.py").write_text("import threading\nthreading.go_on.wait(10)\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(threading, "go_on", go_on := threading.Event(), raising=False)
    made: list[object] = []

    def make() -> object:
        made.append(object())
        return made[-1]

    later = Later(make, "loaded_later")
    found: list[object] = []

    async def ask() -> None:
        found.append(await later.get())

    with anyio.fail_after(5):
        async with anyio.create_task_group() as group:
            for _ in range(3):
                group.start_soon(ask)
            await anyio.wait_all_tasks_blocked()
            before = (later.is_made, [*made])
            go_on.set()
    assert (before, found) == ((False, []), made * 3)
    assert await later.made() is later() is made[0]
