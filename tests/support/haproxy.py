"""HAProxy itself (Debian: haproxy) before replicas, by the lines that docs/team.md tells."""

import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

PAGE = Path(__file__).parents[2] / "docs" / "team.md"
HAPROXY = """
defaults
  mode http
  timeout connect 5s
  timeout client 60s
frontend front
  bind 127.0.0.1:{port}
  default_backend meigen
{lines}
"""


def lines_of(language: str, first: str, ports: Sequence[int]) -> str:
    """Return the lines of a balancer as the page has them, with the replicas that are here."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    (block,) = [block for block in blocks if first in block]
    kept = [line for line in block.splitlines() if not re.search(r"10\.0\.0\.[2-9]", line)]
    (at,) = [number for number, line in enumerate(kept) if "10.0.0.1:8765" in line]
    servers = [
        kept[at]
        .replace("10.0.0.1:8765", f"127.0.0.1:{port}")
        .replace("server a", f"server s{port}")
        for port in ports
    ]
    return "\n".join([*kept[:at], *servers, *kept[at + 1 :]])


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return int(taken.getsockname()[1])


@contextmanager
def running(
    command: Sequence[str], ready: Path | int, **options: Any
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run a program until the block ends, from when its socket is there."""
    program = subprocess.Popen(command, stderr=subprocess.PIPE, **options)
    try:
        for _ in range(600):
            if program.poll() is not None:
                sys.exit(f"{command[0]} ended: {program.stderr and program.stderr.read().decode()}")
            with socket.socket(socket.AF_INET if isinstance(ready, int) else socket.AF_UNIX) as to:
                if not to.connect_ex(
                    ("127.0.0.1", ready) if isinstance(ready, int) else str(ready)
                ):
                    break
            time.sleep(0.05)
        yield program
    finally:
        program.terminate()
        program.communicate()


@contextmanager
def haproxy(folder: Path, ports: Sequence[int]) -> Iterator[str]:
    """Run HAProxy before replicas, and return its origin."""
    port, config = free_port(), folder / "haproxy"
    lines = lines_of("haproxy", "backend meigen", ports)
    config.write_text(HAPROXY.format(port=port, lines=lines), encoding="utf-8")
    with running(["haproxy", "-q", "-db", "-f", str(config)], port):
        yield f"http://127.0.0.1:{port}"
