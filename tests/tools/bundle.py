"""The bundle for Claude Desktop: `python -m tests.tools.bundle FOLDER` lays it out and packs it.

Packing needs `mcpb` on the PATH (npm install -g @anthropic-ai/mcpb). `--try` runs its tests, which
pack and start it, with `mcpb` in a folder that is removed again.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from conformance.__main__ import node

import meigen_mcp

PACKER = "@anthropic-ai/mcpb@2.1.2"
ROOT = Path(__file__).parents[2]
FILES = ("mcpb/manifest.json", "mcpb/main.py", "pyproject.toml", "README.md", "LICENSE")


def laid_out(folder: Path) -> Path:
    """Copy what the bundle holds into a new folder, and return it."""
    folder.mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / name, folder)
    package = Path(meigen_mcp.__file__).parent
    shutil.copytree(
        package, folder / "meigen_mcp", ignore=shutil.ignore_patterns("__pycache__", "*.pyc")
    )
    return folder


def packed(folder: Path, bundle: Path, program: str) -> Path:
    """Have a folder that is laid out checked and packed."""
    subprocess.run([program, "validate", folder / "manifest.json"], check=True)
    subprocess.run([program, "pack", folder, bundle], check=True)
    return bundle


def try_out() -> int:
    """Run the tests of the bundle with everything that they need; return their exit status."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        binary, npm = node(folder)
        quiet = ["--no-audit", "--no-fund", "--no-save", "--loglevel=error"]
        subprocess.run([*npm, "install", *quiet, PACKER], cwd=folder, check=True)
        programs = (folder / "node_modules/.bin", Path(binary).parent, Path(sys.executable).parent)
        path = os.pathsep.join([*map(str, programs), os.environ["PATH"]])
        for program in ("mcpb", "uv"):
            if shutil.which(program, path=path) is None:  # its test would be skipped
                raise SystemExit(f"{program} is missing")
        tests = [sys.executable, "-m", "pytest", "-q", str(ROOT / "tests" / "test_bundle.py")]
        return subprocess.run(tests, env={**os.environ, "PATH": path}, check=False).returncode


if __name__ == "__main__":
    if sys.argv[1:] == ["--try"]:
        raise SystemExit(try_out())
    target = Path(sys.argv[1])
    packed(laid_out(target / "bundle"), target / "meigen-mcp.mcpb", shutil.which("mcpb") or "mcpb")
