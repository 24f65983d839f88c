"""The pages that quote what was measured."""

from collections.abc import Mapping
from pathlib import Path

from .report import Part

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "performance.md",)
GROWING = {"growth": "scale", "replicas": "replicas"}
"""The parts that say and draw how the cost grows, by the name of their place and picture."""
END = "<!-- end -->"


def write(alone: str, beside: str, found: Mapping[str, Part]) -> None:
    """Put both tables, and the cost as it grows with its pictures, where pages have a place."""
    said = {"performance": alone, "beside": beside}
    for place, name in GROWING.items():
        said[place] = found[name].text
        (ROOT / "docs" / f"{place}.svg").write_text(found[name].picture, encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for place, each in said.items():
            text = filled(text, place, each)
        page.write_text(text, encoding="utf-8")


def filled(text: str, name: str, said: str) -> str:
    """Replace what stands between the marker of a name and the next end."""
    before, start, old = text.partition(f"<!-- measured: {name} -->\n")
    return f"{before}{start}{said}\n{END}{old.partition(END)[2]}" if start else text
