"""What every engine offers to whoever waits: one record as it changes, and all that change."""

from collections.abc import AsyncIterator, Awaitable, Callable, Collection, Iterable
from typing import Protocol
from weakref import WeakValueDictionary

from meigen_mcp.generation import Generation
from meigen_mcp.system import Signal

Name = tuple[str, str]
"""An account, and a request id of it."""
TOGETHER = 0.01
"""Seconds in which what changes comes together."""


class Changes(Protocol):
    """Who is told of what; every method may raise `LedgerUnavailable`."""

    async def follow(
        self, job: Generation, now: float, *, until: float = 0.0, act: bool = False
    ) -> "Followed":
        """Begin to wait for a record that was just read.

        Args:
            job: names the record.
            now: the time.
            until: while a call waits, up to then, every interval is a look.
            act: have the poller act on it now; a parked one is sent again.
        """
        ...

    async def watch(self, names: Iterable[str], now: float, until: float) -> None:
        """Have generations looked at every interval up to a time, from now on."""
        ...

    def changes(self, since: int) -> AsyncIterator[list[Generation]]:
        """Yield the account's records as they change after a version, whoever did it.

        What changes at about the same time comes together.
        """
        ...

    async def version(self) -> int:
        """Return the version of the newest change."""
        ...

    def wake_all(self) -> None:
        """Let everybody who waits for a record look again."""
        ...


class Follower:
    """What those of this process share who follow one record.

    Attributes:
        job: the record as it was told last.
        stale: whether it may have changed since.
        told: happens with each change.
    """

    __slots__ = ("__weakref__", "job", "stale", "told")

    def __init__(self, job: Generation) -> None:
        self.job = job
        self.stale = False
        self.told = Signal()

    def tell(self, job: Generation | None) -> None:
        """Wake those who wait; None: the record must be read."""
        self.stale = job is None
        self.job = job or self.job
        self.told.set()

    def reread(self, job: Generation | None) -> None:
        """Keep the record as it was read, unless something newer was told meanwhile."""
        if job is not None and job.version >= self.job.version:
            self.job, self.stale = job, False


class Followed:
    """One record, for a call that waits for it; every method may raise `LedgerUnavailable`.

    Args:
        follower: what this process is told of it.
        again: reads a record again; None: it is gone.
        place: as `place` is.
        saving: as `Followers.saving` is.
    """

    def __init__(
        self,
        follower: Follower,
        again: Callable[[Generation], Awaitable[Generation | None]],
        place: Callable[[Generation, float], Awaitable[tuple[int, float]]],
        saving: Collection[Name],
    ) -> None:
        self._follower = follower
        self._again = again
        self._place = place
        self._saving = saving
        self._seen = follower.told.count

    @property
    def job(self) -> Generation:
        """The record as it was told last."""
        return self._follower.job

    @property
    def saving(self) -> int:
        """How many have ended in this process and still wait for their media to be saved."""
        return len(self._saving)

    async def change(self) -> None:
        """Wait until it is told anew, or may have changed in another process."""
        await self._follower.told.after(self._seen)
        self._seen = self._follower.told.count
        if self._follower.stale:
            self._follower.reread(await self._again(self.job))

    async def place(self, now: float) -> tuple[int, float]:
        """Return how many are sent before a queued one, and when it is sent, as far as known."""
        return await self._place(self.job, now)


class Followers:
    """Who follows which record in this process; only those who wait hold on to it.

    Attributes:
        any: happens with each change of any record.
        saving: those that have ended in this process, and whose media it is about to save and draw.
    """

    def __init__(self) -> None:
        self._each: WeakValueDictionary[Name, Follower] = WeakValueDictionary()
        self._own: set[int] = set()  # the versions that were told and not noticed yet
        self.any = Signal()
        self.saving: set[Name] = set()

    def follower(self, job: Generation) -> Follower:
        """Return what is told of a record."""
        return self._each.setdefault((job.account, job.request_id), Follower(job))

    def tell(self, job: Generation) -> None:
        """Tell of a change that this process made."""
        self._own.add(job.version)
        self.any.set()
        name = (job.account, job.request_id)
        if job.status == "completed" and not (job.at_rest or job.fetch_failures):
            self.saving.add(name)
        else:
            self.saving.discard(name)
        if (follower := self._each.get(name)) is not None:
            follower.tell(job)

    def notice(self, changed: Collection[tuple[str, str, int]]) -> None:
        """Tell of changes, by account, request id and version, unless this process made them."""
        for account, request_id, version in changed:
            if version in self._own:
                continue
            self.any.set()
            self.saving.discard((account, request_id))  # another process goes on with it
            if (follower := self._each.get((account, request_id))) is not None:
                follower.tell(None)
        newest = max((version for *_, version in changed), default=0)
        self._own = {version for version in self._own if version > newest}

    def wake_all(self) -> None:
        """Let everybody look again, also those who hear of all changes."""
        self.any.set()
        for follower in list(self._each.values()):
            follower.tell(None)
