"""Whether credits fit: under the cap of a day, and under what needs no yes of the person."""

from decimal import Decimal

from meigen_mcp.errors import OverCap

DAY = 24 * 3600.0
MONTH = 30 * DAY
HOUR = 3600.0
"""Seconds for which what was spent since the person's last yes counts."""


def hold_to_cap(wanted: Decimal | None, cap: Decimal | None, used: Decimal) -> None:
    """Refuse credits that do not fit under a cap of 24 hours.

    Args:
        wanted: the credits.
        cap: the cap; None: there is none.
        used: what was spent or is reserved in the last 24 hours.

    Raises:
        OverCap: they do not fit.
    """
    wanted = wanted or Decimal(0)
    if cap is not None and used + wanted > cap:
        raise OverCap(
            f"It would cost {wanted:f} credits; {used:f} of MEIGEN_MAX_CREDITS_PER_DAY"
            f" {cap:f} are spent or reserved in the last 24 hours. Nothing was sent or charged."
        )
