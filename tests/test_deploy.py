"""What `deploy/` has agrees with the pages and with the settings there are."""

import re
from pathlib import Path

import pytest

from meigen_mcp.variables import SETTINGS

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
PAGE = (ROOT / "docs" / "team.md").read_text(encoding="utf-8")
PORTS = {"8771", "8772", "8773"}


def _lines(text: str, start: str) -> list[str]:
    """Return the lines of a block from its first one to the end, without those of servers."""
    lines = text[text.index(start) :].splitlines()
    kept = [" ".join(line.split()) for line in lines if not line.strip().startswith("server ")]
    return [line for line in kept if line]


def _block(language: str, start: str) -> str:
    """Return the block of the page that has a line."""
    blocks = re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)
    (found,) = [block for block in blocks if start in block]
    return str(found)


def test_the_lines_of_haproxy_are_those_of_the_page() -> None:
    """Which `python -m tests.balancers` runs under load."""
    start = "backend meigen"
    own = (DEPLOY / "haproxy.cfg").read_text(encoding="utf-8")
    assert _lines(own, f"\n{start}") == _lines(_block("haproxy", start), start)


def test_the_lines_of_nginx_are_those_of_the_page() -> None:
    """But for TLS, of which the certificates are each one's own."""
    start = "location / {"
    own = (DEPLOY / "nginx.conf").read_text(encoding="utf-8")
    assert _lines(own, start) == _lines(_block("nginx", start), start)


@pytest.mark.parametrize("name", ["compose.yaml", "haproxy.cfg", "nginx.conf"])
def test_the_replicas_are_where_the_balancers_look(name: str) -> None:
    """All three, by their ports."""
    assert set(re.findall(r"877\d", (DEPLOY / name).read_text(encoding="utf-8"))) == PORTS


@pytest.mark.parametrize("name", ["compose.yaml", "compose.trial.yaml"])
def test_every_setting_that_is_set_exists(name: str) -> None:
    """And what the example asks for is used, all of it."""
    text = (DEPLOY / name).read_text(encoding="utf-8")
    known = {setting.name for setting in SETTINGS}
    assert set(re.findall(r"^ +(MEIGEN_\w+):", text, re.MULTILINE)) - known == set()
    if name == "compose.yaml":
        example = (DEPLOY / "example.env").read_text(encoding="utf-8")
        asked = set(re.findall(r"^(\w+)=", example, re.MULTILINE))
        assert asked == set(re.findall(r"\$\{(\w+)", text))
