"""The generated parts of the pages: `python -m tests.tools.readme` writes, a test compares."""

import json
import re
from collections.abc import Iterable
from pathlib import Path

from commands import test_install_attacks
from media import test_kinds
from media.test_local_clips import HOSTILE_CLIPS
from media.test_local_files import HOSTILE
from media.test_saving_attacks import ATTACKS
from server import test_consent
from test_foreign_words import LIVE, WORDS

from meigen_mcp.catalogue.models import Model, shipped
from meigen_mcp.commands.clients import CLIENTS, Machine
from meigen_mcp.known_clients import RUNS, KnownClient, known_clients
from meigen_mcp.variables import SETTINGS
from meigen_mcp.views import models as model_views

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
PAGES = (README, ROOT / "docs" / "files.md", ROOT / "docs" / "clients.md")
URL = "http://127.0.0.1:8765/mcp"
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
        "remote": _remote(),
        "known-clients": _known(),
        "runs": _runs(),
        "consent": test_consent.table(),
        "kinds": test_kinds.table(),
        "hostile-paths": _table("path", [(name, end) for name, _, end in HOSTILE]),
        "hostile-clips": _table(
            "clip or sound", [(name, end) for name, _, _, end in HOSTILE_CLIPS]
        ),
        "hostile-repositories": _table(
            "in the repository", [(one.name, one.becomes) for one in test_install_attacks.ATTACKS]
        ),
        "hostile-words": _table("words", [(name, end) for name, _, end in (*WORDS, *LIVE)]),
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
    lines += [f"| `{s.name}` | {s.default or s.unset} | {s.about} |" for s in SETTINGS]
    return "\n".join(lines)


def _clients() -> str:
    lines = ["| client | its file | what you see there |", "|---|---|---|"]
    for client in CLIENTS.values():
        places = dict.fromkeys(client.user(machine)[0].as_posix() for machine in MACHINES)
        files = "<br>".join(f"`{place}`" for place in places)
        lines.append(f"| `{client.id}`<br>{client.title} | {files} | {client.shows} |")
    return "\n".join(lines)


def _remote() -> str:
    lines = ["| client | entry |", "|---|---|"]
    for client in CLIENTS.values():
        if client.remote is None:
            continue
        entry = client.remote(URL)
        if client.form == "toml":
            said = "<br>".join(f"`{line}`" for line in client.snippet("meigen", entry).split("\n"))
        else:
            said = f"`{json.dumps(entry)}`"
        lines.append(f"| {client.title} | {said} |")
    return "\n".join(lines)


def _known() -> str:
    lines = [
        "| client | version | run on | protocol | what the model sees | asks you | a call takes at"
        " most | besides |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for client in known_clients().values():
        if client.checked is None:
            continue
        wait = f"{client.wait:g} s" if client.wait != KnownClient("").wait else ""
        if client.wait_in_silence is not None:
            wait += f" ({client.wait_in_silence:g} s without progress)"
        besides = [f"tasks: {client.tasks}"] if client.tasks else []
        besides += ["links to the media are of use"] if client.links else []
        besides += [client.note] if client.note else []
        cells = (client.title, client.version, str(client.checked), client.protocol, client.sees)
        lines.append(f"| {' | '.join((*cells, client.form, wait, '; '.join(besides)))} |")
    return "\n".join(lines)


def _runs() -> str:
    lines = [f"| client | how | {' | '.join(RUNS)} |", "|---|---|" + "---|" * len(RUNS)]
    for client in known_clients().values():
        for how, done in client.ran.items():
            cells = ["yes" if step in done.split() else "" for step in RUNS]
            lines.append(f"| {client.title} {client.version} | {how} | {' | '.join(cells)} |")
    return "\n".join(lines)


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
