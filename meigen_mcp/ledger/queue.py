"""What every engine offers to the poller: what is due, and who may POST when."""

from collections.abc import Collection, Mapping, Sequence
from typing import Literal, NamedTuple, Protocol

from meigen_mcp.generation import Generation, Status
from meigen_mcp.ledger.records import Change
from meigen_mcp.system import Signal

Kind = Literal["post", "look", "fetch"]
"""What there is to do for a generation, by its state."""
SLOT_FREED_AFTER = 60.0
"""Seconds after its reply for which a POST holds its slot."""
RESUMED_FOR = 7 * 24 * 3600.0
"""Seconds after completion in which a start tries to save what is not saved."""

LONGEST_HOLD = 300.0
"""Seconds for which the API may want no submission at the most, as the wire reads it."""


class Wanted(NamedTuple):
    """How much of one kind of work may be begun.

    Attributes:
        statuses: the states that are of that kind.
        places: how many there may be.
    """

    statuses: Sequence[Status]
    places: int


class Due(NamedTuple):
    """What is to be done now.

    Attributes:
        jobs: the longest due of each kind, with the kind.
        next_at: when the next thing is due; None: nothing is known of.
    """

    jobs: Sequence[tuple[Kind, Generation]] = ()
    next_at: float | None = None


class Slot(NamedTuple):
    """The right to POST once.

    Attributes:
        id: its name.
        job: the record as it was committed for this POST.
        first: whether it was never POSTed before.
    """

    id: int | str
    job: Generation
    first: bool


class Standing(NamedTuple):
    """What is under way, whoever's it is.

    Attributes:
        jobs: how many, by status; one that completed is saved.
        oldest_at: when the oldest was asked for; None: there is none.
    """

    jobs: Mapping[str, int]
    oldest_at: float | None


class Queue(Protocol):
    """What this process has to do for one account; any method may raise `LedgerUnavailable`.

    Attributes:
        work: set when there may be something to do.
        together: seconds for which what comes due waits for more, since each question costs.
        rest: seconds after which there may be something to do though `work` did not happen: by
            another process, or since a clock was set or the machine slept.
    """

    work: Signal
    together: float
    rest: float

    async def due(
        self, now: float, wanted: Mapping[Kind, Wanted], but: Collection[str] = ()
    ) -> Due:
        """Return this process's generations whose time has come, the longest due first.

        Args:
            now: the time.
            wanted: how much of each kind, by its name.
            but: the keys, as in `people.key_of`, of those that are being acted on.
        """
        ...

    async def standing(self) -> Standing:
        """Return what is under way, of all accounts and processes."""
        ...

    async def postpone(self, looks: Sequence[tuple[Generation, float]]) -> None:
        """Have records acted on at other times, in one step.

        One that is not as it was read any more, or that is to be acted on at another time
        meanwhile, stays as it is.

        Args:
            looks: records as they were read, each with the time.
        """
        ...

    async def durations(self, model_id: str) -> list[float]:
        """Return how many seconds the last 20 of a model took, from acceptance to completion."""
        ...

    async def keyed(self) -> bool:
        """Say whether the API has shown that it knows idempotency keys, to whichever process."""
        ...

    async def note_keyed(self) -> None:
        """Note that it has."""
        ...

    async def reclaim(self, now: float) -> None:
        """Take over what dead processes left, and end what is too old to be sent.

        A call that died with its process before its answer leaves an orphan to adopt. Intents end
        whatever their account: those of a token that is no longer used would hold their
        reservation for ever.
        """
        ...

    async def resume_saving(self, now: float, failures: int) -> None:
        """Have results of the last seven days that are not saved tried anew, from now on.

        Asked at a start, or when the machine woke; one that is at rest is nobody's, whichever
        process had it.

        Args:
            now: the time.
            failures: how many tries count as made, at the most.
        """
        ...

    async def hurry(self, now: float) -> None:
        """Have everything of this process done now, and no submission held back.

        Its times were stored before the clock was set, so nobody knows when they are.
        """
        ...

    async def look_again(self, now: float) -> None:
        """Have looked at soon whatever is not proven to have ended, the newest first.

        Those are meant whose next look is put off for long, or was the last. To be called once,
        when a process starts.
        """
        ...

    async def begin_post(self, job: Generation, now: float, held_until: float) -> Slot | None:
        """Take a slot and commit that a POST is about to leave, in one step.

        Args:
            job: names the record.
            now: the time.
            held_until: when its POST has surely ended.

        Raises:
            TakenOver: it has another owner than when it was read.

        Returns:
            None if it may not leave now. Then it is due again when a slot may be free: that of a
            POST under way is, at the earliest, in 60 s; or it ended meanwhile.
        """
        ...

    def may_post(self, slot: Slot) -> bool:
        """Say whether this process surely is still the owner: asked right before the POST leaves.

        One that was stopped meanwhile, as a machine sleeps, may have been taken for dead.
        """
        ...

    async def end_post(
        self, slot: Slot, change: Change, now: float, *, hold_until: float | None = None
    ) -> Generation:
        """Commit what became of a POST, and free its slot in 60 s, in one step.

        It waits for a busy ledger for as long as it takes: the reply is nowhere else. It raises
        `TakenOver` if the record has another owner than when the POST began.

        Args:
            slot: what `begin_post` gave.
            change: the transition.
            now: when the reply came, or did not.
            hold_until: a time until which the API wants no submission of the account.
        """
        ...


def turn(place: int, taken: Sequence[float], limit: int, job: Generation, now: float) -> float:
    """Return when a queued one is sent, as far as is known.

    Args:
        place: how many are sent before it.
        taken: when the slots that are taken are free again, the soonest first.
        limit: how many slots there are.
        job: the one that waits.
        now: the time.
    """
    taken = [min(at, now + SLOT_FREED_AFTER) for at in taken]
    # The slots that are free now come first, then each as it frees itself, then once more.
    free = max(0, limit - len(taken))
    rounds, slot = divmod(place, free + len(taken))
    free_at = now if slot < free else taken[slot - free]
    return max(free_at + rounds * SLOT_FREED_AFTER, job.next_look or now)
