"""What the doctor found, and how it is written."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from meigen_mcp.foreign import flat
from meigen_mcp.wording import without_none


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        topic: what it is about.
        says: how it is.
        fix: what to do; None: nothing is wrong.
    """

    topic: str
    says: str
    fix: str | None = None


def as_text(findings: Sequence[Finding]) -> str:
    """Return the findings as a person reads them, each on its line; no name makes another one."""
    lines = []
    for finding in findings:
        mark = "ok " if finding.fix is None else "BAD"
        lines.append(f"{mark} {finding.topic:9} {flat(finding.says)}")
        if finding.fix is not None:
            lines.append(f"    {'':9} -> {flat(finding.fix)}")
    problems = sum(finding.fix is not None for finding in findings)
    lines.append("Nothing to mend." if not problems else f"To mend: {problems}.")
    return "\n".join(lines)


def as_json(findings: Sequence[Finding]) -> str:
    """Return the findings for a program."""
    listed = [without_none(asdict(finding)) for finding in findings]
    ok = all(finding.fix is None for finding in findings)
    return json.dumps({"ok": ok, "findings": listed}, indent=2, ensure_ascii=False)
