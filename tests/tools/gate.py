"""What the gate, `.ci/run`, has besides what the README's command tests."""

import re
from pathlib import Path

GATE = Path(__file__).parents[2] / ".ci" / "run"


def list_besides() -> dict[str, str]:
    """Return the gate's own list, each part by the name of its step; a package has no gate."""
    text = GATE.read_text(encoding="utf-8") if GATE.exists() else ""
    return dict(re.findall(r'^  \[(\w+)\]="(.+)"$', text, re.MULTILINE))
