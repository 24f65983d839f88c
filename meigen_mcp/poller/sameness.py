"""Whether what earlier tokens made is this account's: asked once of each, by what was made.

MeiGen names a finished generation for its key to its own account alone, whatever the token.
"""

import logging
import time
from collections.abc import Callable

from meigen_mcp import errors
from meigen_mcp.api.client import Api
from meigen_mcp.ledger.accounts import Accounts
from meigen_mcp.people import key_of, payer_of

log = logging.getLogger(__name__)

ASKED_OF_EACH = 3
"""Finished generations by which an account is asked about: the oldest of them may be forgotten."""
AGAIN_AFTER = 60.0
"""Seconds after which those are asked about that could not be, or have finished nothing before."""
AGAIN_AT_LAST = 3600.0
"""The same once that could not be asked again and again: an API without keys never answers."""


class Sameness:
    """Finds out which accounts of the ledger are the token's own.

    Args:
        accounts: the ledger's.
        api: the account's API.
        monotonic: seconds that only grow.
    """

    def __init__(
        self, accounts: Accounts, api: Api, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._accounts = accounts
        self._api = api
        self._monotonic = monotonic
        self._next_at = float("-inf")
        self._unanswered = 0
        self._answered: set[str] = set()

    @property
    def due(self) -> bool:
        """Whether there is something to ask, as far as is known, and nobody does."""
        return self._monotonic() >= self._next_at

    async def run(self) -> None:
        """Ask once; what fails is logged, and asked again later."""
        try:
            await self._find_out()
        except errors.LedgerUnavailable as error:
            log.warning("ledger unavailable: %s", error.message)
        except Exception:
            log.exception("asking about earlier tokens failed")

    async def _find_out(self) -> None:
        """Ask by the newest finished generations of each account; an answer is the last word.

        Raises:
            LedgerUnavailable: it cannot be read or written.
        """
        self._next_at = self._monotonic() + min(
            AGAIN_AT_LAST, AGAIN_AFTER * 2 ** max(0, self._unanswered - 1)
        )
        asked: set[str] = set()
        silent: set[str] = set()
        for job in await self._accounts.unproven(ASKED_OF_EACH) if self._api.has_token else ():
            payer = payer_of(job.account)
            if payer in self._answered | silent:
                continue
            asked.add(payer)
            try:
                report = await self._api.lookup(key_of(job))
            except (errors.RequestNotFound, errors.RequestIdCollision, errors.GenerationGone):
                continue  # it knows no such key, or not for this token
            except errors.ApiError:
                silent.add(payer)
            else:
                if report.generation_id == job.generation_id:
                    await self._accounts.join(payer)
                    self._answered.add(payer)
                    log.info("what an earlier token made is this account's: MeiGen knows it")
        self._answered |= asked - silent
        self._unanswered = min(self._unanswered + 1, 9) if silent else 0
