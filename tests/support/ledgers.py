"""A ledger for tests, of whatever account."""

from pathlib import Path

from meigen_mcp.ledger.sqlite.ledger import SqliteLedger

ACCOUNT = "https://www.meigen.ai 1"


def make_ledger(
    folder: Path,
    account: str = ACCOUNT,
    *,
    rate_limit: int = 12,
    alone: bool = False,
    threaded: bool = True,
) -> SqliteLedger:
    """Return a ledger in a data folder, which it makes when it is first asked."""
    return SqliteLedger(
        folder,
        origin="https://www.meigen.ai",
        gateway="https://gen.meigen.ai",
        rate_limit=rate_limit,
        name_account=lambda _: account,
        alone=alone,
        threaded=threaded,
    )
