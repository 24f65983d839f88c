"""The pages that quote what was measured."""

from pathlib import Path

from .report import Part

ROOT = Path(__file__).parents[2]
PAGES = (ROOT / "docs" / "performance.md",)
PICTURE = ROOT / "docs" / "growth.svg"
END = "<!-- end -->"


def write(alone: str, beside: str, part: Part) -> None:
    """Put both tables, the cost as it grows and its picture where pages have a place for them."""
    PICTURE.write_text(part.picture, encoding="utf-8")
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for name, said in (("performance", alone), ("beside", beside), ("growth", part.text)):
            text = filled(text, name, said)
        page.write_text(text, encoding="utf-8")


def filled(text: str, name: str, said: str) -> str:
    """Replace what stands between the marker of a name and the next end."""
    before, start, old = text.partition(f"<!-- measured: {name} -->\n")
    return f"{before}{start}{said}\n{END}{old.partition(END)[2]}" if start else text
