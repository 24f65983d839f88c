"""What every engine decides in one place: which account is meant, and whose records are shown.

What was made is shown, taken as a reference and saved whatever the token, unless the server is one
for other computers. To send, adopt and approve needs the account: the token's own, and those of
earlier tokens of which MeiGen proved that they are the same.
"""

from collections.abc import Sequence
from typing import Protocol

from meigen_mcp.generation import Generation


class Accounts(Protocol):
    """The account of this process and those beside it; any method may raise `LedgerUnavailable`."""

    def own(self, job: Generation) -> bool:
        """Say whether a record that was just read is the account's own, by token or by proof."""
        ...

    async def unproven(self, limit: int) -> Sequence[Generation]:
        """Return finished generations of accounts that may be this one under an earlier token.

        Args:
            limit: how many of each account at the most, the newest first.
        """
        ...

    async def join(self, account: str) -> None:
        """Note as proven that an account is this one; what it left open is then acted on too."""
        ...
