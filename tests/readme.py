"""The generated parts of README.md: `python tests/readme.py` writes them, a test compares them."""

import re
from pathlib import Path

from meigen_mcp import model_views
from meigen_mcp.catalogue import Model, shipped
from meigen_mcp.settings import SETTINGS

README = Path(__file__).parent.parent / "README.md"


def generated() -> dict[str, str]:
    """Return each generated part by name."""
    return {"models": _models(), "settings": _settings()}


def _models() -> str:
    lines = [
        "| model | ratios | resolutions | more | references | credits | usually |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [_model(model) for model in shipped().listed()]
    return "\n".join(lines)


def _model(model: Model) -> str:
    row = model_views.model_row(model)
    default = " (default)" if model.default else ""
    more = []
    if model.qualities:
        more.append(f"quality {', '.join(model.qualities)}")
    if model.tiers:
        more.append(f"tier {', '.join(model.tiers)}")
    if "durations" in row:
        more.append(f"{row['durations']} s (default {model.default_duration})")
    if model.options:
        more.append(f"niji7Options {', '.join(model.options)}; four candidates")
    if model.continuation is not None:
        more.append("referenceVideo")
    if model.adaptive:
        more.append("adaptive with a reference")
    prices = "; ".join(row["prices"]) if model.prices else ""
    low, high = model.typical_seconds or (0, 0)
    usually = f"{low:g} s" if low == high else f"{low:g}-{high:g} s"
    cells = [
        f"`{model.id}`{default}<br>{model.name}",
        ", ".join(model.ratios or ()),
        ", ".join(model.resolutions or ()),
        "<br>".join(more),
        "" if model.max_reference_images is None else str(model.max_reference_images),
        prices,
        usually,
    ]
    return f"| {' | '.join(cells)} |"


def _settings() -> str:
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    lines += [f"| `{s.name}` | {s.default} | {s.about} |" for s in SETTINGS]
    return "\n".join(lines)


def filled(text: str) -> str:
    """Return the README with its generated parts made anew."""
    for name, part in generated().items():
        pattern = rf"(<!-- generated: {name} -->\n).*?(<!-- end -->)"
        text = re.sub(pattern, lambda m, part=part: f"{m[1]}{part}\n{m[2]}", text, flags=re.DOTALL)
    return text


def commands() -> dict[str, str]:
    """Return the commands that a reader is told to run, by name."""
    text = README.read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- run: (\w+) -->\n```sh\n(.*?)\n```", text, flags=re.DOTALL))


if __name__ == "__main__":
    README.write_text(filled(README.read_text(encoding="utf-8")), encoding="utf-8")
