"""What the person types to add an optional part to the very installation that runs this."""

import shlex
import subprocess
import sys

from meigen_mcp import system


def install_extra(name: str, prefix: str = sys.prefix, executable: str = sys.executable) -> str:
    """Return the whole command that adds an optional part.

    Args:
        name: of the extra: `video` for frames of videos, `team` for PostgreSQL.
        prefix: the folder of the installation; one in the cache of `uvx` may go at any time.
        executable: its interpreter.
    """
    what = f"meigen-mcp[{name}]"
    if "archive-v0" in prefix:
        then = "install CLIENT" if name == "video" else "serve"
        return f'uvx --from "{what}" meigen-mcp {then}'
    words = [executable, "-m", "pip", "install", what]
    return subprocess.list2cmdline(words) if system.WINDOWS else shlex.join(words)
