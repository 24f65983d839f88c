"""The generated parts of README.md and docs: `python tests/readme.py` writes, a test compares."""

import base64
import json
import re
from collections.abc import Iterable
from pathlib import Path
from urllib.parse import quote, unquote, urlencode, urlsplit

from test_local_references import HOSTILE
from test_saving_attacks import ATTACKS

from meigen_mcp import model_views
from meigen_mcp.catalogue import Model, shipped
from meigen_mcp.clients import CLIENTS, Machine
from meigen_mcp.settings import SETTINGS

ROOT = Path(__file__).parent.parent
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "files.md")
_NOWHERE = Path("nowhere")
MACHINES = (
    Machine("macos", Path("~"), Path("~/Library/Application Support"), _NOWHERE, _NOWHERE),
    Machine("windows", Path("~"), Path("%APPDATA%"), _NOWHERE, _NOWHERE),
    Machine("linux", Path("~"), Path("~/.config"), _NOWHERE, _NOWHERE),
)


def generated() -> dict[str, str]:
    """Return each generated part by name."""
    return {
        "models": _models(),
        "settings": _settings(),
        "clients": _clients(),
        "install-links": _install_links(),
        "hostile-paths": _table("path", [(name, end) for name, _, end in HOSTILE]),
        "hostile-replies": _table("reply", [(attack.name, attack.becomes) for attack in ATTACKS]),
    }


def _table(what: str, rows: Iterable[tuple[str, str]]) -> str:
    lines = [f"| {what} | what becomes of it |", "|---|---|"]
    return "\n".join([*lines, *(f"| {name} | {end} |" for name, end in rows)])


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


def _clients() -> str:
    lines = ["| client | its file | what you see there |", "|---|---|---|"]
    for client in CLIENTS.values():
        places = dict.fromkeys(client.user(machine)[0].as_posix() for machine in MACHINES)
        files = "<br>".join(f"`{place}`" for place in places)
        lines.append(f"| `{client.id}`<br>{client.title} | {files} | {client.shows} |")
    return "\n".join(lines)


def _install_links() -> str:
    plain = {"command": "uvx", "args": ["meigen-mcp"]}
    cursor = plain | {"env": {"MEIGEN_API_TOKEN": "${env:MEIGEN_API_TOKEN}"}}
    code = base64.b64encode(_compact(cursor).encode()).decode()
    for_cursor = urlencode({"name": "meigen", "config": code}, quote_via=quote)
    question = {
        "id": "meigen",
        "type": "promptString",
        "description": "MeiGen token",
        "password": True,
    }
    vscode = plain | {"type": "stdio", "env": {"MEIGEN_API_TOKEN": "${input:meigen}"}}
    for_vscode = urlencode(
        {"name": "meigen", "inputs": _compact([question]), "config": _compact(vscode)},
        quote_via=quote,  # VS Code reads a + as a +
        safe="",
    )
    return (
        f"[Add to Cursor](https://cursor.com/en/install-mcp?{for_cursor}) ·"
        f" [Add to VS Code](https://vscode.dev/redirect/mcp/install?{for_vscode})"
    )


def _compact(value: object) -> str:
    return json.dumps(value, separators=(",", ":"))


def links(text: str) -> dict[str, dict[str, str]]:
    """Return what each install link of a README asks its client to do, by the link's host."""
    found = re.findall(r"\[Add to [^\]]+\]\((https://[^)]+)\)", text)
    parts = [urlsplit(link) for link in found]
    queries = {part.netloc: part.query.split("&") for part in parts}
    return {
        host: {name: unquote(value) for name, _, value in (item.partition("=") for item in query)}
        for host, query in queries.items()
    }


def filled(text: str) -> str:
    """Return a page with its generated parts made anew."""
    end = "<!-- end -->"
    for name, part in generated().items():
        before, start, old = text.partition(f"<!-- generated: {name} -->\n")
        if start:
            text = f"{before}{start}{part}\n{end}{old.partition(end)[2]}"
    return text


def commands() -> dict[str, str]:
    """Return the commands that a reader is told to run, by name."""
    text = README.read_text(encoding="utf-8")
    return dict(re.findall(r"<!-- run: (\w+) -->\n```sh\n(.*?)\n```", text, flags=re.DOTALL))


if __name__ == "__main__":
    for page in PAGES:
        page.write_text(filled(page.read_text(encoding="utf-8")), encoding="utf-8")
