"""What makes a replica the owner of what it acts on: a lease, renewed while it lives.

It ends by the clock of the database for everybody else, and for the replica itself by a clock that
goes on while the machine sleeps, counted from before the renewal was asked for: so it is over here
before it is over there. A lease that has ended is never revived: what was owned by it may be
another's by now, so the replica goes on under a new name.
"""

import logging
import time
from collections.abc import Callable, Sequence
from uuid import uuid4

from meigen_mcp.ledger.postgres.rows import Connection
from meigen_mcp.system import awake_and_asleep

log = logging.getLogger(__name__)

LEASE = 12.0
"""Seconds without a renewal after which others take over."""
BEAT_EVERY = 3.0
SENT_WITHIN = 0.2
"""Seconds of the lease that a POST needs to leave."""
MISSED = LEASE - 1.5 * BEAT_EVERY
"""Seconds of the lease that are left when a renewal was missed: whether it lives is not known."""
_UNTIL = "clock_timestamp() + %s * interval '1 second'"
_NOW = "RETURNING extract(epoch FROM clock_timestamp())::float8 AS now"


class Lease:
    """One replica's lease, and the clock of the database as it learns of it with each renewal.

    Args:
        elapsed: seconds that also pass while the machine sleeps.
        wall: the clock of this machine, which counts until that of the database is known.

    Attributes:
        owner: the replica's name in the rows that it acts on; another one after the lease was lost.
    """

    def __init__(
        self,
        elapsed: Callable[[], float] = awake_and_asleep,
        wall: Callable[[], float] = time.time,
    ) -> None:
        self.owner = uuid4().hex
        self._elapsed = elapsed
        self._wall = wall
        self._ahead: float | None = None  # of the database's clock, before `elapsed`
        self._until = float("-inf")

    @property
    def held(self) -> bool:
        """Whether the lease is surely held as long as a POST takes to leave."""
        return self._elapsed() < self._until - SENT_WITHIN

    def clock(self) -> float:
        """Return the time by the database's clock, which all replicas share."""
        return self._wall() if self._ahead is None else self._elapsed() + self._ahead

    async def begin(self, db: Connection) -> None:
        """Take a lease under this name, which nobody else knows yet."""
        begun = (
            f"INSERT INTO meigen.owners VALUES (%s, {_UNTIL}) ON CONFLICT (id)"  # noqa: S608  # ours
            f" DO UPDATE SET lease_until = excluded.lease_until {_NOW}"
        )
        await self._take(db, begun, (self.owner, LEASE))

    async def renew(self, db: Connection) -> None:
        """Renew the lease; if it has ended, take one under another name."""
        owner = self.owner
        renewed = (
            f"UPDATE meigen.owners SET lease_until = {_UNTIL} WHERE id = %s"  # noqa: S608  # ours
            f" AND lease_until > clock_timestamp() {_NOW}"
        )
        if not await self._take(db, renewed, (LEASE, owner)) and owner == self.owner:
            log.warning("the lease was lost: what this server had begun may be another's by now")
            self.owner, self._until = uuid4().hex, float("-inf")
            await self.begin(db)

    async def _take(self, db: Connection, statement: str, values: Sequence[object]) -> bool:
        owner, sent = self.owner, self._elapsed()
        row = await (await db.execute(statement.encode(), values)).fetchone()
        if row is None:
            return False
        if owner == self.owner:
            self._until = max(self._until, sent + LEASE)
        self._set_clock(row["now"], sent, self._elapsed())
        return True

    def _set_clock(self, now: float, sent: float, received: float) -> None:
        """Take over the database's clock, unless what is known of it fits as well."""
        ahead = now - (sent + received) / 2
        if self._ahead is None or abs(ahead - self._ahead) > (received - sent) / 2 + 0.001:
            self._ahead = ahead

    async def end(self, db: Connection) -> None:
        """Give the lease up: others may take over at once."""
        self._until = float("-inf")
        await db.execute(
            "UPDATE meigen.owners SET lease_until = '-infinity' WHERE id = %s", (self.owner,)
        )
