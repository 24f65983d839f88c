"""What `doctor` says of the issuer by which people sign in."""

from pathlib import Path

import httpx
from support.in_memory import make_settings
from support.issuer import RESOURCE, Issuer

from meigen_mcp.commands import issuer_check
from meigen_mcp.commands.findings import Finding
from meigen_mcp.settings import SignIn


def signing_in(issuer: str, **more: str) -> SignIn:
    """Return how people sign in by an issuer."""
    oauth = {"MEIGEN_OAUTH_ISSUER": issuer, "MEIGEN_OAUTH_RESOURCE": RESOURCE}
    found = make_settings(Path("/nowhere"), **oauth, **more).sign_in
    assert found is not None
    return found


async def look(issuer: Issuer, named: str = "", **more: str) -> Finding:
    """Look at an issuer in memory, by the name that is set."""
    transport = httpx.ASGITransport(issuer)
    return await issuer_check.examine(signing_in(named or issuer.url, **more), transport)


async def test_an_issuer_that_answers_is_told_with_what_tokens_are_for() -> None:
    """The audiences are what differs most from what providers put into them."""
    issuer = Issuer()
    said = f"{issuer.url} answers, keys: 1; tokens are for {RESOURCE}"
    assert await look(issuer) == Finding("sign-in", said)
    other = await look(issuer, MEIGEN_OAUTH_AUDIENCES="a, b")
    assert other.says.endswith("tokens are for a or b")


async def test_one_that_is_away_or_goes_by_another_name_is_a_problem() -> None:
    """With what to look at; nothing of its answer is repeated."""
    issuer = Issuer()
    wrong = await look(issuer, f"{issuer.url}/")
    issuer.away = True
    away = await look(issuer)
    assert [one.says.rpartition(" (")[2] for one in (wrong, away)] == [
        "ValueError)",
        "HTTPStatusError)",
    ]
    assert wrong.fix == away.fix
    assert "byte by byte" in str(wrong.fix)
