"""For how long something may be sent, by the clock that says more is over."""

from meigen_mcp import generation
from meigen_mcp.generation import Generation
from meigen_mcp.system import Clocks


class Permission:
    """Whether a generation may still be POSTed.

    Args:
        clocks: either of them ends it.
    """

    def __init__(self, clocks: Clocks) -> None:
        self._clocks = clocks

    def to_send(self, job: Generation) -> bool:
        """Say whether one that was asked for then may be sent now."""
        return self._lasts(job.created_at, generation.SUBMIT_WITHIN)

    def to_repeat(self, job: Generation) -> bool:
        """Say whether one whose reply was lost may be sent again."""
        began = job.posted_at or job.created_at
        return self._lasts(began, generation.RESUBMIT_WITHIN) and self.to_send(job)

    def _lasts(self, at: float, within: float) -> bool:
        # What lies far ahead was stored before the clock was set back: then nobody knows.
        elapsed = self._clocks.since(at, generation.AHEAD)
        return elapsed is not None and elapsed < within
