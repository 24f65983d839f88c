"""The bundle for Claude Desktop: `python tests/bundle.py FOLDER` lays it out and packs it.

Packing needs `mcpb` on the PATH (npm install -g @anthropic-ai/mcpb).
"""

import shutil
import subprocess
import sys
from pathlib import Path

import meigen_mcp

ROOT = Path(__file__).parent.parent
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


if __name__ == "__main__":
    target = Path(sys.argv[1])
    packed(laid_out(target / "bundle"), target / "meigen-mcp.mcpb", shutil.which("mcpb") or "mcpb")
